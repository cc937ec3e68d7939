"""Where ``sync_to_async`` of asynchronous bodies, and of ``run()``, calls what is synchronous."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import nullcontext
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("asgiref")

from application_loops import ending_with_the_test
from asgiref.local import Local
from asgiref.sync import SyncToAsync, async_to_sync, sync_to_async

from wsgi_async.realtime import executors, frameworks, sync_threads
from wsgi_async.realtime.application_loop import application_loop
from wsgi_async.realtime.executors import CallingThread, context_for_body
from wsgi_async.realtime.spawning import spawn
from wsgi_async.realtime.sync_threads import SyncThreads

TIMEOUT = 20.0


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncThreads]:
    """The process's set, for this test: of two."""
    made = SyncThreads(2, idle_time=0.05)
    monkeypatch.setattr(executors, "_set", made)
    yield made
    wait_until(lambda: len(made) == 0)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The application loop, as far as these tests go."""
    made = asyncio.new_event_loop()
    thread = threading.Thread(target=made.run_forever, daemon=True)
    thread.start()
    yield made
    made.call_soon_threadsafe(made.stop)
    thread.join(TIMEOUT)
    made.close()


def wait_until(condition: Any) -> None:
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.002)


def run(*bodies: Coroutine[Any, Any, Any]) -> list[Any]:
    """These at the same time, each a body."""

    async def as_body(coroutine: Coroutine[Any, Any, Any]) -> Any:
        with context_for_body():
            return await coroutine

    async def main() -> list[Any]:
        return await asyncio.gather(*map(as_body, bodies))

    return asyncio.run(main())


def waited_for(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """As ``run()`` does."""
    here = CallingThread()

    async def main() -> Any:
        with context_for_body(here):
            return await coroutine

    future = asyncio.run_coroutine_threadsafe(main(), loop)
    try:
        assert here.wait_for(future, TIMEOUT)
    finally:
        here.end()
    return future.result(0)


async def ident() -> int:
    found: int = await sync_to_async(threading.get_ident)()
    return found


# --- A thread for each body


def test_a_body_has_one_thread_from_its_first_call_to_its_end(threads: SyncThreads) -> None:
    async def body() -> set[int]:
        found = {await ident() for _ in range(5)}
        return found | set(await asyncio.gather(*(ident() for _ in range(5))))

    (found,) = run(body())
    assert len(found) == 1
    assert threading.get_ident() not in found


def test_bodies_do_not_wait_for_one_another(threads: SyncThreads) -> None:
    meet = threading.Barrier(2, timeout=TIMEOUT)

    async def body() -> None:
        await sync_to_async(meet.wait)()  # alone in a thread it would wait for ever

    run(body(), body())


def test_more_bodies_than_threads_share_them(threads: SyncThreads) -> None:
    async def body(together: asyncio.Event, started: list[None]) -> set[int]:
        found = {await ident()}
        started.append(None)
        if len(started) == 7:
            together.set()
        await together.wait()
        return found | {await ident()}

    async def all_of_them() -> list[set[int]]:
        event, started = asyncio.Event(), list[None]()

        async def one() -> set[int]:
            with context_for_body():
                return await body(event, started)

        return await asyncio.gather(*(one() for _ in range(7)))

    found = asyncio.run(all_of_them())
    assert all(len(one) == 1 for one in found)
    idents = [one.pop() for one in found]
    assert sorted(map(idents.count, set(idents))) == [3, 4]  # evenly


def test_new_bodies_keep_off_a_thread_that_is_in_a_long_call(
    threads: SyncThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that never returns is to cost one thread of the set, and not each body in turn."""
    monkeypatch.setattr(sync_threads, "LONG", -1.0)
    gate, idents = threading.Event(), list[int]()

    async def main() -> set[int]:
        hangs_now, loop = asyncio.Event(), asyncio.get_running_loop()

        def hang() -> None:
            idents.append(threading.get_ident())
            loop.call_soon_threadsafe(hangs_now.set)
            assert gate.wait(TIMEOUT)

        async def hangs() -> None:
            with context_for_body():
                await sync_to_async(hang)()

        async def one(until: asyncio.Event) -> int:
            with context_for_body():
                found = await ident()
                await until.wait()
                return found

        hung = asyncio.create_task(hangs())
        await hangs_now.wait()
        until = asyncio.Event()
        others = [asyncio.create_task(one(until)) for _ in range(4)]
        await asyncio.sleep(0)
        until.set()
        found = set(await asyncio.gather(*others))
        gate.set()
        await hung
        return found

    found = asyncio.run(main())
    assert len(found) == 1
    assert found.isdisjoint(idents)


def test_a_call_that_outlives_its_body_keeps_no_other_waiting(threads: SyncThreads) -> None:
    """asgiref does not wait for a call whose task is cancelled."""
    gate = threading.Event()

    async def main() -> None:
        begun, loop = asyncio.Event(), asyncio.get_running_loop()

        def hang() -> None:
            loop.call_soon_threadsafe(begun.set)
            assert gate.wait(TIMEOUT)

        async def hangs() -> None:
            with context_for_body():
                await sync_to_async(hang)()

        hung = asyncio.create_task(hangs())
        await begun.wait()
        hung.cancel()
        await asyncio.sleep(0.01)
        with context_for_body():
            await ident()
        gate.set()
        await asyncio.wait([hung])

    asyncio.run(main())


def test_bodies_one_after_another_need_one_thread(threads: SyncThreads) -> None:
    async def one() -> int:
        with context_for_body():
            return await ident()

    async def main() -> set[int]:
        return {await one() for _ in range(20)}

    assert len(asyncio.run(main())) == 1


def test_a_body_that_calls_nothing_has_no_thread(threads: SyncThreads) -> None:
    async def body() -> None:
        await asyncio.sleep(0)

    run(body(), body())
    assert len(threads) == 0


def test_errors_and_results_come_back(threads: SyncThreads) -> None:
    async def body() -> tuple[str, str]:
        try:
            await sync_to_async(int)("no number")
        except ValueError as error:
            return type(error).__name__, await sync_to_async("{}".format)(7)
        raise AssertionError

    assert run(body()) == [("ValueError", "7")]


def test_what_a_cancelled_body_has_not_begun_is_not_called(threads: SyncThreads) -> None:
    gate, called = threading.Event(), list[str]()

    async def main() -> None:
        async def body() -> None:
            with context_for_body():
                first = asyncio.create_task(sync_to_async(gate.wait)(TIMEOUT))
                second = asyncio.create_task(sync_to_async(called.append)("second"))
                await asyncio.sleep(0)
                second.cancel()
                await asyncio.wait([second])
                gate.set()
                await first
                await sync_to_async(called.append)("third")

        await body()

    asyncio.run(main())
    assert called == ["third"]


def test_a_task_that_a_body_leaves_behind_can_still_call(threads: SyncThreads) -> None:
    async def main() -> int:
        async def later() -> int:
            await over.wait()
            return await ident()

        over = asyncio.Event()
        with context_for_body():
            await ident()
            left = asyncio.create_task(later())
            await asyncio.sleep(0)
        over.set()
        return await left

    assert asyncio.run(main()) != threading.get_ident()


def test_the_server_that_allows_most_threads_counts(
    threads: SyncThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "_allowed", 0)
    executors.allow(1)
    assert threads.most == 1
    executors.allow(3)
    executors.allow(2)
    assert threads.most == 3
    monkeypatch.setattr(executors, "_set", None)
    assert executors._current().most == 3


def test_a_body_in_a_child_process_has_threads_of_its_own(threads: SyncThreads) -> None:
    async def body() -> int:
        return await ident()

    run(body())
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            run(body())
            os.write(writer, b"done")
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as answer:
        assert answer.read() == b"done"
    os.waitpid(pid, 0)


def test_an_exception_raised_in_a_thread_costs_nobody_a_call(
    threads: SyncThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    strikes = iter([RuntimeError("struck"), None])

    def strike() -> None:
        if error := next(strikes, None):
            raise error

    monkeypatch.setattr(frameworks, "before_call", strike)

    async def body() -> int:
        with pytest.raises(RuntimeError, match="struck"):
            await ident()
        return await ident()

    assert run(body()) != [threading.get_ident()]


def test_nothing_of_a_body_is_kept(threads: SyncThreads) -> None:
    async def body() -> None:
        await ident()

    kept = SyncToAsync.context_to_thread_executor
    gc.collect()
    before = len(kept)
    run(*(body() for _ in range(10)))
    gc.collect()
    assert len(kept) == before


def test_where_asgiref_is_not_imported_nothing_is_done(
    threads: SyncThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "asgiref.sync")
    assert isinstance(context_for_body(), nullcontext)


def test_an_asgiref_of_another_kind_does_what_it_always_does(
    threads: SyncThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(SyncToAsync, "thread_sensitive_context")
    assert isinstance(context_for_body(), nullcontext)
    monkeypatch.setitem(sys.modules, "asgiref.sync", ModuleType("asgiref.sync"))  # being imported
    assert isinstance(context_for_body(), nullcontext)


def test_what_asgiref_keeps_for_a_request_is_seen_by_its_body(threads: SyncThreads) -> None:
    """As Django's language, time zone and prefix of URLs are."""
    local = Local()
    local.language = "nds"
    copied = contextvars.copy_context()  # as at the hand-over

    async def body() -> tuple[str, str]:
        with context_for_body():
            here = local.language
            return here, await sync_to_async(lambda: local.language)()

    found: Future[tuple[str, str]] = Future()

    def main() -> None:
        found.set_result(asyncio.run(body()))

    thread = threading.Thread(target=copied.run, args=(main,))
    thread.start()
    thread.join(TIMEOUT)
    assert found.result(0) == ("nds", "nds")
    assert local.language == "nds"


def test_what_is_spawned_has_a_thread_of_its_own(threads: SyncThreads) -> None:
    """Not the one that all of asgiref's calls share, whose database connection nobody closes; nor
    that of a body that it may outlive."""
    with ending_with_the_test():
        meet = threading.Barrier(2, timeout=TIMEOUT)

        async def spawned() -> tuple[int, int]:
            await sync_to_async(meet.wait)()
            return await ident(), await ident()

        both = spawn(spawned()), spawn(spawned())
        found = {each.result(TIMEOUT) for each in both}
        assert len(found) == 2
        assert all(first == second for first, second in found)


def test_what_is_spawned_and_cancelled_at_once_is_not_complained_of(threads: SyncThreads) -> None:
    with ending_with_the_test():
        gate = threading.Event()
        loop = application_loop()
        loop.call(gate.wait, TIMEOUT)
        spawned = spawn(ident())
        spawned.cancel()
        gate.set()
        with pytest.raises(CancelledError):
            spawned.result(TIMEOUT)


# --- The thread that waits


def test_the_thread_that_waits_for_a_coroutine_runs_its_calls(
    loop: asyncio.AbstractEventLoop, threads: SyncThreads
) -> None:
    async def coroutine() -> set[int]:
        return {await ident(), *await asyncio.gather(ident(), ident())}

    assert waited_for(loop, coroutine()) == {threading.get_ident()}
    assert len(threads) == 0


def test_it_does_so_inside_of_a_call_that_somebody_else_waits_for(
    loop: asyncio.AbstractEventLoop, threads: SyncThreads
) -> None:
    """A thread under ``async_to_sync`` waits for calls too: those would wait for it, and it for
    them."""

    def view() -> tuple[int, int]:
        return waited_for(loop, ident()), threading.get_ident()

    ran, here = async_to_sync(sync_to_async(view))()
    assert ran == here


def test_what_it_runs_leaves_no_loop_to_later_views(
    loop: asyncio.AbstractEventLoop, threads: SyncThreads
) -> None:
    waited_for(loop, ident())

    async def view() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    assert async_to_sync(view)() is not loop


def test_what_is_called_after_it_has_left_goes_to_another_thread(
    loop: asyncio.AbstractEventLoop, threads: SyncThreads
) -> None:
    here = CallingThread()
    left = threading.Event()

    async def coroutine() -> list[int]:
        with context_for_body(here):
            try:
                await asyncio.sleep(TIMEOUT)
            finally:
                queued = asyncio.ensure_future(ident())
                await asyncio.sleep(0)
                await asyncio.to_thread(left.wait, TIMEOUT)
                return [await queued, await ident()]  # noqa: B012

    async def begin() -> asyncio.Task[list[int]]:
        task = asyncio.create_task(coroutine())
        await asyncio.sleep(0)
        return task

    task = asyncio.run_coroutine_threadsafe(begin(), loop).result(TIMEOUT)
    never: Future[None] = Future()
    assert not here.wait_for(never, 0.01)
    assert not here.wait_for(never, 0.0)
    loop.call_soon_threadsafe(task.cancel)
    wait_until(lambda: not here._calls.empty())
    here.end()
    here.end()
    left.set()
    done: Future[list[int]] = asyncio.run_coroutine_threadsafe(
        asyncio.wait_for(task, TIMEOUT), loop
    )
    assert threading.get_ident() not in done.result(TIMEOUT)


def test_an_interrupt_meant_for_it_does_not_reach_the_loop(
    loop: asyncio.AbstractEventLoop, threads: SyncThreads
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        waited_for(loop, sync_to_async(interrupted)())
    assert waited_for(loop, ident()) == threading.get_ident()
