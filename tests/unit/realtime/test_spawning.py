"""Coroutines that outlive whoever has started them: their bound, their errors, their end."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest
from application_loops import ending_with_the_test
from rawclient import TIMEOUT

from wsgi_async import events
from wsgi_async.realtime import ending, spawning
from wsgi_async.realtime.application_loop import application_loop
from wsgi_async.realtime.ending import finish, hurry
from wsgi_async.realtime.spawning import spawn


@pytest.fixture(autouse=True)
def own_loop() -> Iterator[None]:
    with ending_with_the_test():
        yield


class Hears(events.Observer):
    """A server that runs here, as far as the application loop knows one."""

    def __init__(self) -> None:
        self.errors: list[tuple[str, BaseException | None]] = []
        self.warnings: list[str] = []

    def error(self, message: str, error: BaseException | None = None) -> None:
        self.errors.append((message, error))

    def warning(self, message: str) -> None:
        self.warnings.append(message)


def stopping(hears: Hears, grace: float) -> None:
    """End the loop as a server does that ends."""
    loop = application_loop()
    loop.observer = hears
    finish(loop, grace).result(TIMEOUT)


async def forever() -> None:
    await asyncio.Event().wait()


VARIABLE: contextvars.ContextVar[int] = contextvars.ContextVar("variable")


def test_it_outlives_who_has_spawned_it_and_sees_his_context() -> None:
    async def see() -> int:
        await asyncio.sleep(0)
        return VARIABLE.get()

    found: list[Any] = []

    def request() -> None:
        VARIABLE.set(7)
        found.append(spawn(see()))

    thread = threading.Thread(target=request)
    thread.start()
    thread.join()
    assert found[0].result(TIMEOUT) == 7


def test_it_may_be_spawned_from_the_application_loop_itself() -> None:
    async def outer() -> Any:
        return await asyncio.wrap_future(spawn(inner()))

    async def inner() -> str:
        task = asyncio.current_task()
        assert task is not None
        return task.get_name()

    assert spawn(outer()).result(TIMEOUT).endswith("inner")
    assert spawn(inner(), name="mail").result(TIMEOUT) == "mail"


def test_what_it_raises_is_logged_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail() -> None:
        raise ValueError("no mail")

    monkeypatch.setattr(events, "RUNNING", [hears := Hears()])
    with pytest.raises(ValueError, match="no mail"):
        spawn(fail(), name="mail").result(TIMEOUT)
    deadline = time.monotonic() + TIMEOUT
    while not hears.errors and time.monotonic() < deadline:
        pass
    ((message, error),) = hears.errors
    assert message == "the spawned coroutine mail failed"
    assert error is not None
    assert error.__traceback__ is not None
    events.RUNNING.clear()


def test_without_a_server_its_error_is_logged_as_asyncio_logs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail() -> None:
        raise ValueError("no mail")

    with pytest.raises(ValueError, match="no mail"):
        spawn(fail(), name="mail").result(TIMEOUT)
    finish(application_loop(), 0.0).result(TIMEOUT)
    (record,) = caplog.records
    assert record.name == "asyncio"
    assert record.message == "the spawned coroutine mail failed"
    assert record.exc_info is not None


def test_cancelled_it_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    started = spawn(forever())
    assert started.cancel()
    with pytest.raises(CancelledError):
        started.result(TIMEOUT)
    finish(application_loop(), 0.0).result(TIMEOUT)
    assert caplog.records == []


def test_there_is_a_bound_and_it_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawning, "MOST", 30)
    refused: list[str] = []
    spawned: list[Any] = []

    def many() -> None:
        for _ in range(10):
            coroutine = forever()
            try:
                spawned.append(spawn(coroutine))
            except RuntimeError as error:
                refused.append(str(error))
                assert coroutine.cr_frame is None  # closed

    threads = [threading.Thread(target=many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(spawned), len(refused)) == (30, 50)
    assert set(refused) == {
        "30 spawned coroutines are running: spawn() takes no more until some have ended"
    }
    spawned[0].cancel()
    with pytest.raises(CancelledError):
        spawned[0].result(TIMEOUT)
    spawn(forever())  # there is room for one
    with pytest.raises(RuntimeError, match="takes no more"):
        spawn(forever())


async def agen() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (forever, "not the function of one: call it: spawn(forever(...))"),
        (agen(), "an async generator is none"),
        (agen, "an async generator is none"),
        (None, "not NoneType: write an async function"),
        (print, "write an async function, and spawn(function())"),
    ],
)
def test_what_is_no_coroutine_is_refused_with_what_to_write(given: Any, words: str) -> None:
    with pytest.raises(TypeError) as caught:
        spawn(given)
    assert words in str(caught.value)


def test_an_awaitable_of_another_loop_is_refused() -> None:
    loop = asyncio.SelectorEventLoop()
    future = loop.create_future()
    with pytest.raises(TypeError, match="not Future, which belongs to a loop already"):
        spawn(future)  # type: ignore[arg-type]
    loop.close()


# --- the end -----------------------------------------------------------------------------------


def test_at_the_end_it_is_awaited_within_the_grace() -> None:
    go_on = threading.Event()
    ended: list[int] = []

    async def work() -> None:
        await asyncio.to_thread(go_on.wait, TIMEOUT)
        spawn(follow())  # what it spawns is awaited as well

    async def follow() -> None:
        await asyncio.sleep(0.01)
        ended.append(1)

    spawn(work())
    over = finish(application_loop(), TIMEOUT)
    assert not over.done()
    go_on.set()
    over.result(TIMEOUT)
    assert ended == [1]


def test_after_the_grace_it_is_cancelled_and_told_of() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0)
            ended.append("finally")

    spawn(work())
    stopping(hears := Hears(), 0.02)
    assert ended == ["finally"]
    assert hears.warnings == ["spawned coroutines that were cancelled at the end: 1"]


def test_who_hurries_ends_the_grace() -> None:
    started = spawn(forever())
    loop = application_loop()
    over = finish(loop, 1000.0)
    hurry(loop)
    over.result(TIMEOUT)
    assert started.cancelled()


def test_one_that_ignores_its_cancellation_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ending, "CLOSE_TIME", 0.02)

    async def stay() -> None:
        while True:
            try:
                await asyncio.sleep(TIMEOUT)
            except asyncio.CancelledError:
                continue

    started = spawn(stay())
    stopping(hears := Hears(), 0.0)
    assert hears.warnings[0].endswith("at the end: 1; that ignore it: 1")
    assert started.cancelled()  # as far as anybody is told who waits


def test_where_a_server_runs_it_is_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    started = spawn(forever())
    loop = application_loop()
    events.RUNNING.append(Hears())
    finish(loop, 0.0).result(TIMEOUT)
    assert not started.done()
    events.RUNNING.clear()
    assert application_loop() is loop
