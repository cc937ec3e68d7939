"""One application loop for each process: its start, what it is given, and what it survives."""

from __future__ import annotations

import asyncio
import contextvars
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest
from application_loops import await_no_loop_thread, ending_with_the_test, loop_threads
from forked import run_forked
from rawclient import TIMEOUT
from state_tables import assert_held, assert_whole, last_of

from wsgi_async import events
from wsgi_async.realtime import application_loop as home
from wsgi_async.realtime.application_loop import application_loop, existing
from wsgi_async.realtime.ending import finish
from wsgi_async.realtime.loop_states import NEXT, LoopState
from wsgi_async.realtime.loop_thread import ApplicationLoop
from wsgi_async.system.event_loop import new_event_loop


@pytest.fixture(autouse=True, params=["uvloop", "asyncio"])
def own_loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "asyncio":
        monkeypatch.setitem(sys.modules, "uvloop", None)
    with ending_with_the_test():
        yield


async def answer(value: int) -> int:
    await asyncio.sleep(0)
    return value


def test_it_starts_when_it_is_first_asked_for_and_is_the_only_one() -> None:
    assert existing() is None
    assert loop_threads() == 0
    found: list[ApplicationLoop] = []
    threads = [threading.Thread(target=lambda: found.append(application_loop())) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    assert set(found) == {existing()}
    assert loop_threads() == 1


def test_a_finalizer_that_asks_for_it_while_it_is_made_does_not_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The collector may run one wherever something is made."""

    def make() -> asyncio.AbstractEventLoop:
        monkeypatch.setattr("wsgi_async.realtime.loop_thread.new_event_loop", new_event_loop)
        inner.append(application_loop())
        return new_event_loop()

    inner: list[ApplicationLoop] = []
    monkeypatch.setattr("wsgi_async.realtime.loop_thread.new_event_loop", make)
    assert application_loop() is inner[0]
    until = time.monotonic() + TIMEOUT
    while loop_threads() > 1 and time.monotonic() < until:
        pass
    assert loop_threads() == 1


def test_a_coroutine_runs_in_its_thread() -> None:
    async def where() -> tuple[int, asyncio.AbstractEventLoop]:
        return threading.get_ident(), asyncio.get_running_loop()

    loop = application_loop()
    assert loop.start(where()).result(TIMEOUT) == (loop.ident, loop.loop)
    assert loop.ident != threading.get_ident()


def test_what_it_raises_arrives_with_its_traceback() -> None:
    async def fail() -> None:
        raise ValueError("as it is")

    with pytest.raises(ValueError, match="as it is") as caught:
        application_loop().start(fail()).result(TIMEOUT)
    assert caught.traceback[-1].name == "fail"


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")


def test_it_runs_in_the_callers_context_or_in_the_given_one() -> None:
    async def change(value: str) -> str:
        before = VARIABLE.get()
        VARIABLE.set(value)
        return before

    context = contextvars.copy_context()
    context.run(VARIABLE.set, "the caller's")
    loop = application_loop()
    copied = context.run(lambda: loop.start(change("its own")))
    assert copied.result(TIMEOUT) == "the caller's"
    assert context[VARIABLE] == "the caller's"  # the coroutine has changed a copy
    assert loop.start(change("kept"), context=context).result(TIMEOUT) == "the caller's"
    assert context[VARIABLE] == "kept"


def test_cancelled_it_is_done_only_when_its_last_line_has_run() -> None:
    ended = threading.Event()
    waits = threading.Event()

    async def wait() -> None:
        try:
            waits.set()
            await asyncio.sleep(TIMEOUT)
        finally:
            await asyncio.sleep(0)
            ended.set()

    started = application_loop().start(wait())
    assert waits.wait(TIMEOUT)
    assert started.cancel()
    with pytest.raises(CancelledError):
        started.result(TIMEOUT)
    assert ended.is_set()
    assert not started.cancel()  # there is nothing left to cancel


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_what_ends_programs_ends_that_task_alone(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def leave() -> None:
        raise error

    loop = application_loop()
    with pytest.raises(type(error)):
        loop.start(leave()).result(TIMEOUT)
    assert loop.start(answer(1)).result(TIMEOUT) == 1
    assert caplog.records == []  # who waited for it was told

    async def leave_unseen() -> None:
        task = asyncio.ensure_future(leave())
        await asyncio.sleep(0)
        del task

    loop.start(leave_unseen())
    assert loop.start(answer(2)).result(TIMEOUT) == 2
    until = time.monotonic() + TIMEOUT
    while "ends programs" not in caplog.text and time.monotonic() < until:
        loop.start(answer(3)).result(TIMEOUT)  # the loop goes through other callbacks first
    assert "ends programs" in caplog.text


def test_what_nobody_catches_is_told_to_a_server_that_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Hears(events.Observer):
        def error(self, message: str, error: BaseException | None = None) -> None:
            told.append((message, error))

    def fail() -> None:
        raise ValueError

    told: list[tuple[str, BaseException | None]] = []
    monkeypatch.setattr(events, "RUNNING", [Hears()])
    loop = application_loop()
    loop.call(fail)
    loop.start(answer(1)).result(TIMEOUT)
    ((message, error),) = told
    assert message.startswith("on the application loop: Exception in callback")
    assert isinstance(error, ValueError)
    events.RUNNING.clear()


def test_code_that_blocks_it_is_seen_with_its_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsgi_async.realtime.blocking.BLOCKED", 0.0)
    go_on, blocks = threading.Event(), threading.Event()

    async def block() -> None:
        blocks.set()
        go_on.wait(TIMEOUT)

    loop = application_loop()
    assert loop.blocked_for() == 0.0  # nobody has looked
    started = loop.start(block())
    assert blocks.wait(TIMEOUT)
    loop.look()
    loop.look()
    before = time.monotonic()
    while not loop.blocked_for() and time.monotonic() < before + TIMEOUT:
        pass
    assert 0 < loop.blocked_for() < TIMEOUT
    first = loop.stack()[0]
    assert first.startswith(f'File "{__file__}"')
    assert first.endswith("in block")
    go_on.set()
    started.result(TIMEOUT)
    loop.start(answer(1)).result(TIMEOUT)
    assert loop.blocked_for() == 0.0


def test_closed_it_takes_nothing_and_leaves_nobody_waiting() -> None:
    loop = application_loop()
    waiting = loop.start(asyncio.sleep(TIMEOUT))
    finish(loop, 0.0).result(TIMEOUT)
    assert waiting.cancelled()
    await_no_loop_thread()
    assert not loop.call(print)
    late = answer(1)
    with pytest.raises(RuntimeError, match="has ended"):
        loop.start(late)
    assert late.cr_frame is None  # closed: nobody is told that it was never awaited
    assert loop.blocked_for() == 0.0
    finish(loop, 0.0).result(TIMEOUT)
    assert application_loop() is not loop  # the next one is another


def test_the_table_of_its_states_is_whole() -> None:
    assert_whole(NEXT, LoopState.RUNNING)
    assert last_of(NEXT) == {LoopState.CLOSED}
    loop = application_loop()
    for state in NEXT:
        assert_held(NEXT, state, loop, "state", loop.enter)
    loop.state = LoopState.RUNNING


# --- forks -----------------------------------------------------------------------------------


def descriptors() -> dict[str, str]:
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:  # that of the directory itself
            continue
    return found


def test_a_forked_process_has_none_of_it_and_may_start_its_own() -> None:
    before = descriptors()
    loop = application_loop()
    loop.start(answer(1)).result(TIMEOUT)
    new = {n: kind for n, kind in descriptors().items() if n not in before}
    assert new  # a poller, and a way to wake it

    def child() -> None:
        here = descriptors()
        assert {here[number] for number in new} == {"/dev/null"}
        assert existing() is None
        assert not home._inherited[-1].loop.is_closed()  # an end would be one for the parent's
        assert application_loop().start(answer(2)).result(TIMEOUT) == 2

    assert run_forked(child) == 0
    assert loop.start(answer(3)).result(TIMEOUT) == 3


@pytest.mark.parametrize(("error", "code"), [(None, 0), (SystemExit(7), 7), (ValueError(), 1)])
def test_a_coroutine_that_forks_goes_on_once_only(error: BaseException | None, code: int) -> None:
    gone_on: list[int] = []

    async def fork() -> int:
        pid = os.fork()
        if not pid and error is not None:
            raise error
        await asyncio.sleep(0)
        gone_on.append(os.getpid())
        os.write(writer, b"x")
        return pid

    reader, writer = os.pipe()
    pid = application_loop().start(fork()).result(TIMEOUT)
    _, status = os.waitpid(pid, 0)
    os.close(writer)
    assert os.waitstatus_to_exitcode(status) == code
    assert os.read(reader, 9) == b"x"  # the child had nothing to come back to
    os.close(reader)
    assert gone_on == [os.getpid()]


def test_no_loop_is_made_where_no_thread_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def make() -> asyncio.AbstractEventLoop:
        made.append(new_event_loop())
        return made[0]  # type: ignore[no-any-return]

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("wsgi_async.realtime.loop_thread.new_event_loop", make)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="start new thread"):
            application_loop()
    assert made[0].is_closed()
    assert existing() is None
