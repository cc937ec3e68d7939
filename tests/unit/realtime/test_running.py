"""A thread that waits for a coroutine: what it gets, and what ends its wait."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import ctypes
import gc
import logging
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from application_loops import ending_with_the_test
from rawclient import TIMEOUT

from wsgi_async.errors import ClientDisconnected, RequestTimeout
from wsgi_async.realtime import running
from wsgi_async.realtime.application_loop import application_loop, existing
from wsgi_async.realtime.ending import finish
from wsgi_async.realtime.running import run
from wsgi_async.realtime.spawning import spawn


@pytest.fixture(autouse=True)
def own_loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(running, "CANCEL_TIME", TIMEOUT)
    monkeypatch.setattr(running, "_warned_at", float("-inf"))
    with ending_with_the_test():
        yield


@pytest.fixture(autouse=True, params=["plain", "asgiref"])
def both_waits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where asgiref is in use, the thread runs meanwhile what the coroutine calls."""
    import asgiref.sync

    if request.param == "plain":
        monkeypatch.delitem(__import__("sys").modules, "asgiref.sync")
    del asgiref


def in_thread(work: Callable[[], Any]) -> Any:
    """What a thread of the application's own gets: a result, or an exception."""
    found: list[Any] = []

    def call() -> None:
        try:
            found.append(work())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(TIMEOUT)
    (one,) = found
    return one


class Steps:
    """A coroutine that tells where it is."""

    def __init__(self) -> None:
        self.begun, self.ended = threading.Event(), threading.Event()

    async def forever(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # what it has to do at its end may take a while
            self.ended.set()


async def answer(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


async def fail(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


def test_it_returns_what_the_coroutine_returns_wherever_it_is_called() -> None:
    assert run(answer(1)) == 1
    assert in_thread(lambda: run(answer(2))) == 2


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), KeyboardInterrupt()])
def test_it_raises_what_the_coroutine_raises_with_its_traceback(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        run(fail(error))
    assert caught.value is error
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names[-1] == "fail"
    assert names.index("run") < names.index("fail")
    assert run(answer(1)) == 1


def test_an_error_leaves_no_cycle_to_the_collector() -> None:
    class Kept:
        pass

    async def fail_with(kept: Kept) -> None:
        raise ValueError(kept)

    def call() -> weakref.ref[Kept]:
        kept = Kept()
        with contextlib.suppress(ValueError):
            run(fail_with(kept))
        return weakref.ref(kept)

    gc.disable()
    try:
        run(answer(1))
        gone = call()
        deadline = time.monotonic() + 1.0
        while gone() is not None and time.monotonic() < deadline:
            run(answer(1))  # the loop lets go of the task a moment later
        assert gone() is None
    finally:
        gc.enable()


VARIABLE: contextvars.ContextVar[int] = contextvars.ContextVar("variable")


def test_the_coroutine_sees_the_callers_variables_in_a_copy() -> None:
    async def see() -> int:
        value = VARIABLE.get()
        VARIABLE.set(0)
        return value

    VARIABLE.set(5)
    assert run(see()) == 5
    assert VARIABLE.get() == 5


# --- who may not wait --------------------------------------------------------------------------


def test_on_the_application_loop_it_is_refused() -> None:
    async def outer() -> None:
        coroutine = answer(1)
        try:
            run(coroutine)
        finally:
            assert coroutine.cr_frame is None  # nobody is told that it was never awaited

    with pytest.raises(RuntimeError, match=r"on the application loop.* await the coroutine"):
        run(outer())


def test_on_any_other_loop_it_is_refused() -> None:
    async def outer() -> None:
        # What the error says one may do instead.
        assert await asyncio.wrap_future(spawn(answer(1))) == 1
        run(answer(1))

    with pytest.raises(RuntimeError, match="which would stand still: await the coroutine instead"):
        asyncio.run(outer())


def test_what_is_no_coroutine_is_refused() -> None:
    with pytest.raises(TypeError, match=r"call it: run\(answer\(...\)\)"):
        run(answer)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not int: write an async function"):
        run(5)  # type: ignore[arg-type]
    assert existing() is None


@pytest.mark.parametrize(
    ("timeout", "error"), [(-1, ValueError), (float("nan"), ValueError), ("5", TypeError)]
)
def test_a_timeout_that_is_none_is_refused(timeout: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"run\(\) takes a timeout"):
        run(answer(1), timeout)


def test_a_coroutine_that_was_awaited_before_is_an_error() -> None:
    coroutine = answer(1)
    assert run(coroutine) == 1
    with pytest.raises(RuntimeError, match="already awaited"):
        run(coroutine)


# --- what ends the wait ------------------------------------------------------------------------


def run_until_late(make: Callable[[threading.Event], Any]) -> Any:
    """run() with a timeout that ends only once the coroutine has begun: a machine may be slow.

    :param make: makes the coroutine, which is to set an event as it begins.
    """
    timeout, begun = 0.02, threading.Event()
    while True:
        try:
            return run(make(begun), timeout)
        except TimeoutError:
            if begun.is_set():
                raise
            timeout *= 4


def test_at_the_timeout_it_is_cancelled_and_has_ended_before_the_error_is_raised() -> None:
    steps = Steps()

    def make(begun: threading.Event) -> Any:
        steps.begun = begun
        return steps.forever()

    with pytest.raises(TimeoutError, match=r"forever has not ended within [0-9.]+ s") as caught:
        run_until_late(make)
    assert steps.ended.is_set()
    # Where it was at that moment.
    frames = traceback.extract_tb(caught.value.__cause__.__traceback__)  # type: ignore[union-attr]
    assert "forever" in [frame.name for frame in frames]


def test_without_any_time_it_still_begins() -> None:
    steps = Steps()
    with pytest.raises(TimeoutError):
        run(steps.forever(), 0)
    assert steps.begun.is_set() == steps.ended.is_set()
    assert run(answer(1), 1000) == 1


def test_a_result_at_the_last_moment_counts() -> None:
    async def late(begun: threading.Event) -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "all the same"
        return ""

    async def late_error(begun: threading.Event) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("at its end")

    assert run_until_late(late) == "all the same"
    with pytest.raises(ValueError, match="at its end"):
        run_until_late(late_error)


def test_timeouts_and_results_of_the_same_moment_lose_nothing() -> None:
    """Either a result or a timeout, never both and never neither."""

    async def work() -> int:
        await asyncio.sleep(0.005)
        return 1

    outcomes = set()
    for number in range(40):
        try:
            outcomes.add(run(work(), 0.004 + number * 0.00005))
        except TimeoutError:
            outcomes.add("late")
    assert outcomes <= {1, "late"}
    assert not [task for task in run(tasks()) if "work" in task]


async def tasks() -> list[str]:
    return [str(task.get_coro()) for task in asyncio.all_tasks()]


def test_one_that_ignores_its_cancellation_holds_nobody(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "CANCEL_TIME", 0.2)
    stop = threading.Event()

    async def stay(begun: threading.Event) -> None:
        begun.set()
        while not stop.is_set():
            try:
                await asyncio.sleep(0.005)
            except asyncio.CancelledError:
                continue

    for _ in range(3):
        with pytest.raises(TimeoutError):
            run_until_late(stay)
    (record,) = caplog.records  # however many there are
    assert "stay was cancelled 0.2 s ago and has not ended" in record.message
    stop.set()


def test_a_timeout_of_the_coroutines_own_is_its_own() -> None:
    async def impatient() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError) as caught:
        run(impatient(), 1000)
    assert "has not ended" not in str(caught.value)


def test_one_that_is_cancelled_by_somebody_else_says_so() -> None:
    with pytest.raises(asyncio.CancelledError):
        run(fail(asyncio.CancelledError()))
    assert run(answer(1)) == 1


def test_the_end_of_the_loop_ends_the_wait() -> None:
    steps = Steps()

    def end() -> None:
        steps.begun.wait(TIMEOUT)
        finish(application_loop(), 0.0)

    threading.Thread(target=end).start()
    with pytest.raises(asyncio.CancelledError):
        run(steps.forever())
    assert steps.ended.is_set()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RequestTimeout, ValueError])
def test_what_is_raised_in_the_thread_leaves_nothing_running(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "SLICE", 0.01)
    steps = Steps()

    def strike() -> None:
        steps.begun.wait(TIMEOUT)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(error))

    def wait() -> None:
        nonlocal ident
        ident = threading.get_ident()
        run(steps.forever())

    ident = 0
    striker = threading.Thread(target=strike)
    striker.start()
    raised = in_thread(wait)
    striker.join()
    assert type(raised) is error
    assert steps.ended.wait(TIMEOUT)


# --- under a request ---------------------------------------------------------------------------


class Client:
    """The client of a request, as far as run() knows it; see wsgi/client.py."""

    def __init__(self) -> None:
        self.is_given_up = False
        self.alarms: list[tuple[Callable[[], object], bool]] = []
        self.is_over = self.is_told = False

    def on_over(self, callback: Callable[[], object], *, gone: bool = True) -> Client:
        self.alarms.append((callback, gone))
        if self.is_over:
            self.sound(is_given_up=self.is_given_up)
        return self

    def cancel(self) -> bool:
        self.alarms.clear()
        return True

    def tell_thread(self) -> None:
        self.is_told = True

    def sound(self, *, is_given_up: bool) -> None:
        self.is_over, self.is_given_up = True, is_given_up
        for callback, gone in list(self.alarms):
            if gone or is_given_up:
                callback()


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    client = Client()
    monkeypatch.setattr(running, "current_client", lambda: client)
    return client


@pytest.mark.parametrize(
    ("is_given_up", "error"), [(True, RequestTimeout), (False, ClientDisconnected)]
)
def test_a_request_that_is_over_ends_the_wait(
    client: Client, is_given_up: bool, error: type[BaseException]
) -> None:
    steps = Steps()

    def sound() -> None:
        steps.begun.wait(TIMEOUT)
        client.sound(is_given_up=is_given_up)

    threading.Thread(target=sound).start()
    with pytest.raises(error, match=r"while run\(\) waited") as caught:
        run(steps.forever(), until_gone=True)
    assert steps.ended.is_set()
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert client.alarms == []
    assert client.is_told is is_given_up


def test_unasked_a_client_that_goes_ends_nothing(client: Client) -> None:
    async def work() -> int:
        client.sound(is_given_up=False)
        await asyncio.sleep(0.01)
        return 1

    assert run(work()) == 1
    assert client.alarms == []


def test_once_the_request_is_over_nothing_begins(client: Client) -> None:
    client.is_over = client.is_given_up = True
    steps = Steps()
    with pytest.raises(RequestTimeout):
        run(steps.forever())
    assert not steps.begun.is_set()


def test_a_lost_thread_that_ignores_it_cannot_go_on_waiting(client: Client) -> None:
    """A loop that catches every error does not catch this one."""
    client.is_over = client.is_given_up = True
    rounds = 0

    def stubborn() -> None:
        nonlocal rounds
        while rounds < 100:
            rounds += 1
            try:
                run(answer(1))
            except Exception:
                logging.exception("again")

    with pytest.raises(RequestTimeout):
        stubborn()
    assert rounds == 1
