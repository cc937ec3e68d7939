"""What lives on the application loop from a server's start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from application_loops import ending_with_the_test
from rawclient import TIMEOUT

from wsgi_async import events
from wsgi_async.errors import LoadError
from wsgi_async.realtime import hooks
from wsgi_async.realtime.application_loop import application_loop, existing
from wsgi_async.realtime.ending import finish
from wsgi_async.realtime.hooks import on_start, start_all, start_all_and_wait
from wsgi_async.realtime.spawning import spawn


@pytest.fixture(autouse=True)
def own_loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(hooks, "_hooks", [])
    with ending_with_the_test():
        yield


def end() -> None:
    loop = existing()
    assert loop is not None
    finish(loop, 0.0).result(TIMEOUT)


def begin(limit: float = 0.0) -> None:
    """As a server does it, on its own loop."""
    asyncio.run(start_all(limit))


def noting(story: list[str], name: str) -> Callable[[], AsyncIterator[str]]:
    async def hook() -> AsyncIterator[str]:
        story.append(f"enter {name}")
        yield name
        await asyncio.sleep(0)
        story.append(f"leave {name}")

    return hook


def test_they_are_entered_in_order_and_left_in_reverse_after_what_was_spawned() -> None:
    story: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0.01)
        story.append("spawned")

    one, two = on_start(noting(story, "one")), on_start(noting(story, "two"))
    begin()
    assert (one(), two()) == ("one", "two")
    begin()  # another server in this process: they are entered already
    spawn(work())
    loop = existing()
    assert loop is not None
    finish(loop, TIMEOUT).result(TIMEOUT)
    assert story == ["enter one", "enter two", "spawned", "leave two", "leave one"]


def test_each_server_that_is_started_after_the_last_one_enters_them_anew() -> None:
    story: list[str] = []
    hook = on_start(noting(story, "one"))
    for _ in range(2):
        begin()
        assert hook() == "one"
        end()
        with pytest.raises(RuntimeError, match="has nothing yet"):
            hook()
    assert story == ["enter one", "leave one"] * 2


def test_a_server_that_starts_while_the_last_one_ends_waits_for_that() -> None:
    story: list[str] = []
    leaves, may_end = threading.Event(), threading.Event()

    @on_start
    async def slow() -> AsyncIterator[int]:
        story.append("enter")
        yield 1
        leaves.set()
        await asyncio.to_thread(may_end.wait, TIMEOUT)
        story.append("leave")

    begin()
    loop = existing()
    assert loop is not None
    over = finish(loop, TIMEOUT)
    assert leaves.wait(TIMEOUT)
    starter = threading.Thread(target=begin)
    starter.start()
    may_end.set()
    over.result(TIMEOUT)
    starter.join(TIMEOUT)
    assert story == ["enter", "leave", "enter"]
    assert slow() == 1


def test_any_function_that_returns_an_async_context_manager_will_do() -> None:
    class Manager:
        async def __aenter__(self) -> int:
            return 5

        async def __aexit__(self, *exc_info: object) -> None:
            pass

    @contextlib.asynccontextmanager
    async def decorated() -> AsyncIterator[int]:
        yield 6

    given = on_start(Manager)
    wrapped = on_start(decorated)
    partial = on_start(functools.partial(contextlib.nullcontext, 7))
    begin()
    assert (given(), wrapped(), partial()) == (5, 6, 7)
    assert wrapped.__name__ == "decorated"


def test_it_is_entered_and_left_in_one_task() -> None:
    tasks: list[asyncio.Task[Any] | None] = []

    @on_start
    async def group() -> AsyncIterator[asyncio.TaskGroup]:
        tasks.append(asyncio.current_task())
        async with asyncio.TaskGroup() as group:  # which demands just that
            yield group
        tasks.append(asyncio.current_task())

    begin()
    assert isinstance(group(), asyncio.TaskGroup)
    end()
    assert tasks[0] is tasks[1] is not None


def sync_generator() -> Iterator[int]:
    yield 1


async def coroutine() -> int:
    return 1


async def with_parameter(dsn: str) -> AsyncIterator[str]:
    yield dsn


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (sync_generator, "async def sync_generator(): ... yield value"),
        (coroutine, "async def coroutine(): ... yield value"),
        (with_parameter, r"calls with_parameter\(\) without arguments, and it wants some"),
        (5, "async def hook"),
    ],
)
def test_anything_else_is_refused_with_what_to_write(given: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words.replace("():", r"\(\):")):
        on_start(given)
    assert hooks._hooks == []


def test_what_returns_no_context_manager_fails_at_the_start() -> None:
    @on_start
    def wrong() -> Any:
        return 5

    with pytest.raises(LoadError, match=r"The on_start hook .*wrong failed: TypeError: on_start"):
        begin()


def test_one_that_fails_names_itself_and_those_before_it_are_left() -> None:
    story: list[str] = []
    on_start(noting(story, "one"))

    @on_start
    async def two() -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    on_start(noting(story, "three"))
    with pytest.raises(LoadError) as caught:
        begin()
    assert str(caught.value).endswith("two failed: OSError: no database")
    cause = caught.value.__cause__
    assert isinstance(cause, OSError)
    assert cause.__traceback__ is not None
    end()
    assert story == ["enter one", "leave one"]


@pytest.mark.parametrize("error", [SystemExit(2), KeyboardInterrupt(), asyncio.CancelledError()])
def test_whatever_it_raises_is_a_failure(error: BaseException) -> None:
    @on_start
    async def one() -> AsyncIterator[None]:
        raise error
        yield

    with pytest.raises(LoadError, match="failed: "):
        begin()


def test_one_that_does_not_yield_in_time_is_named_and_cancelled() -> None:
    ended: list[int] = []

    @on_start
    async def late() -> AsyncIterator[None]:
        try:
            await asyncio.Event().wait()
            yield
        finally:
            ended.append(1)

    with pytest.raises(LoadError, match=r"late has not started within 0\.02 s \(--boot-timeout\)"):
        begin(0.02)
    assert ended == [1]


def test_one_that_takes_its_time_is_named_before_its_process_is_ended_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has no thread of its own, whose stack would tell."""
    told: list[str] = []
    is_told = asyncio.Event()
    monkeypatch.setattr(hooks, "SLOW", 0.02)

    def warn(line: str) -> None:
        told.append(line)
        is_told.set()

    async def late() -> AsyncIterator[None]:
        await is_told.wait()
        yield

    on_start(late)
    monkeypatch.setattr(application_loop(), "warn", warn)
    begin(2 * TIMEOUT)
    [line] = told
    assert "waits for the on_start hook" in line
    assert "late, which has not yielded after 0.02 s: File" in line
    assert "await is_told.wait()" in line


def test_one_that_yields_at_the_moment_its_start_is_given_up_is_left_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    story: list[str] = []

    @on_start
    async def late() -> AsyncIterator[None]:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        yield
        story.append("leave")

    with pytest.raises(LoadError, match="has not started within"):
        begin(0.02)
    end()
    assert story == ["leave"]
    assert [line for line in caplog.messages if "the start waits for" not in line] == []


def test_one_that_blocks_the_loop_is_found_by_its_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "_LAST", 0.02)
    go_on = threading.Event()

    @on_start
    async def blocks() -> AsyncIterator[None]:
        go_on.wait(TIMEOUT)
        yield

    try:
        with pytest.raises(LoadError, match=r"the application loop is blocked, in .*threading\.py"):
            begin(0.02)
    finally:
        go_on.set()


def test_one_that_fails_or_hangs_at_its_end_holds_nothing_up(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsgi_async.realtime.ending.CLOSE_TIME", 0.05)
    story: list[str] = []
    on_start(noting(story, "one"))

    @on_start
    async def hangs() -> AsyncIterator[None]:
        yield
        await asyncio.Event().wait()

    @on_start
    async def fails() -> AsyncIterator[None]:
        yield
        raise ValueError

    begin()
    end()
    assert story == ["enter one", "leave one"]
    messages = [record.message.rpartition(".")[2] for record in caplog.records]
    assert messages == ["fails failed", "hangs does not end: it is cancelled"]


def test_one_that_ends_before_the_server_is_told_of_and_has_no_value(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failed = threading.Event()

    @on_start
    async def group() -> AsyncIterator[None]:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                yield
        finally:
            failed.set()

    async def fail() -> None:
        raise ValueError

    begin()
    assert failed.wait(TIMEOUT)
    end()
    assert "group failed" in caplog.records[0].message
    with pytest.raises(RuntimeError, match="has nothing yet"):
        group()


def test_asked_too_early_it_says_when_it_starts() -> None:
    @on_start
    async def pool() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(RuntimeError) as caught:
        pool()
    assert "it starts with the server, before the first request" in str(caught.value)
    assert "pool.start() first" in str(caught.value)
    assert existing() is None


def test_who_forgets_to_call_it_is_told_so() -> None:
    @on_start
    async def pool() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(AttributeError, match=r"pool\(\) is what .* so pool\(\)\.acquire"):
        pool.acquire  # noqa: B018
    assert not hasattr(pool, "acquire")


def test_a_program_without_a_server_starts_it_itself() -> None:
    @on_start
    async def pool() -> AsyncIterator[int]:
        yield 1

    assert pool.start() == 1
    assert pool.start() == pool() == 1

    async def on_a_loop() -> None:
        pool.start()

    with pytest.raises(RuntimeError, match="an event loop runs in this thread"):
        asyncio.run(on_a_loop())


def test_one_that_was_imported_after_the_servers_start_is_entered_when_asked_for() -> None:
    events.RUNNING.append(events.Observer())
    try:
        pool = on_start(contextlib.nullcontext)
        assert pool() is None
        assert pool in application_loop().values

        async def ask() -> None:
            on_start(contextlib.nullcontext)()

        with pytest.raises(RuntimeError, match="has nothing yet"):  # it would wait for itself
            application_loop().start(ask()).result(TIMEOUT)
    finally:
        events.RUNNING.clear()


def test_clients_of_tests_have_them_entered_once() -> None:
    story: list[str] = []
    start_all_and_wait()
    assert existing() is None  # there are none: no loop is started for them
    hook = on_start(noting(story, "one"))
    start_all_and_wait()
    start_all_and_wait()
    assert hook() == "one"
    assert story == ["enter one"]
