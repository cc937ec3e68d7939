"""What another thread finds out of a server, and has it do, also where its loop is blocked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hanging import Hanging, hanging_application
from pools import until
from rawclient import TIMEOUT, request
from serving import Served, both_loops, serving

from wsgi_async import RequestTimeout, Server
from wsgi_async.server import insight as module
from wsgi_async.server.in_flight import Entry
from wsgi_async.server.insight import Insight, Look, LoopStanding

hanging = pytest.fixture(hanging_application)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, a loop that is not blocked is none that is."""
    monkeypatch.setattr(module, "PATIENCE", TIMEOUT)


@contextmanager
def blocked(served: Served) -> Iterator[None]:
    """The loop does something else meanwhile."""
    entered, gate = threading.Event(), threading.Event()

    def block_the_loop() -> None:
        entered.set()
        gate.wait(3 * TIMEOUT)

    served.thread.loop.call_soon_threadsafe(block_the_loop)
    assert entered.wait(TIMEOUT)
    try:
        yield
    finally:
        gate.set()


def insight_of(served: Served) -> Insight:
    insight = served.server.insight
    assert insight is not None
    return insight


def entry(look: Look, target: str) -> Entry:
    [found] = [entry for entry in look.table.entries if entry.target == target]
    return found


@both_loops
def test_where_each_request_stands(loop: str, hanging: Hanging) -> None:
    with (
        serving(hanging, loop=loop, threads=1) as served,
        served.client() as running,
        served.client() as queued,
        served.client() as uploading,
    ):
        insight = insight_of(served)
        running.send(request("/hang"))
        hanging.wait()
        queued.send(request("/queued"))
        head = b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
        uploading.send(head + b"1234")
        until(lambda: len(insight.look().table.entries) == 3)
        until(lambda: entry(insight.look(), "/up").received == 4)
        look = insight.look()
        assert look.loop is LoopStanding.RUNS
        assert look.loop_stack is None
        states = {entry.target: entry.state for entry in look.table.entries}
        assert states == {"/hang": "running", "/queued": "queued", "/up": "receiving"}
        assert look.table.connections == 3
        assert (look.table.threads, look.table.lost, look.table.more) == (1, 0, 0)
        assert all(entry.age >= 0 for entry in look.table.entries)
        stacks = dict(zip(states, insight.stacks(look.table.entries), strict=True))
        assert any("in hang" in line for line in stacks.pop("/hang") or ())
        assert set(stacks.values()) == {None}
        uploading.send(b"56789")
        hanging.gate.set()
        for client in running, queued, uploading:
            assert client.response().body == b"quick"


@both_loops
def test_a_blocked_loop_is_told_with_its_stack(
    loop: str, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And with what there is to see without it."""
    with (
        serving(hanging, loop=loop, threads=1) as served,
        served.client() as running,
        served.client() as queued,
    ):
        insight = insight_of(served)
        running.send(request("/hang"))
        hanging.wait()
        queued.send(request("/queued"))
        served.wait_until(lambda: served.pool.queued)
        monkeypatch.setattr(module, "PATIENCE", 0.05)
        with blocked(served):
            look = insight.look()
            assert look.loop is LoopStanding.BLOCKED
            assert any("in block_the_loop" in line for line in look.loop_stack or ())
            states = {entry.target: entry.state for entry in look.table.entries}
            assert states == {"/hang": "running", "/queued": "queued"}
            assert {entry.sent for entry in look.table.entries} == {None}
            assert entry(look, "/hang").age < TIMEOUT
            [stack, _] = insight.stacks(look.table.entries)
            assert any("in hang" in line for line in stack or ())
            # Who asks next does not wait again, nor for each time that somebody has asked.
            monkeypatch.setattr(module, "PATIENCE", 3600.0)
            assert insight.look().loop is LoopStanding.BLOCKED
        assert served.recorder.of("error") == []
        until(lambda: insight.look().loop is LoopStanding.RUNS)
        hanging.gate.set()
        assert queued.response().body == b"quick"


@both_loops
def test_a_request_is_interrupted_without_such_an_option(loop: str, hanging: Hanging) -> None:
    with (
        serving(hanging, loop=loop, threads=1) as served,
        served.client() as spinning,
        served.client() as other,
    ):
        insight = insight_of(served)
        spinning.send(request("/spin"))
        hanging.wait()
        [id] = [entry.id for entry in insight.look().table.entries]
        done = insight.interrupt(id)
        assert (done.is_found, done.has_worked) == (True, True)
        assert "RequestTimeout is raised in wsgi_async-" in done.why
        answer = spinning.response()
        assert answer.status == 504
        assert b"broken off by an operator" in answer.body
        [(info, _, _, stack)] = served.recorder.of("thread_lost")
        assert info.id == id
        assert any("in spin" in line for line in stack)
        served.recorder.wait_for("thread_returned")
        assert hanging.raised == [RequestTimeout]
        assert other.get("/").body == b"quick"
        assert served.server.lost_threads == 0
        assert insight.interrupt(id).is_found is False


def test_what_a_blocked_loop_was_to_do_it_does_never(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a request would be broken off of which the operator was told that it was not."""
    with serving(hanging, threads=1) as served, served.client() as client:
        insight = insight_of(served)
        client.send(request("/hang"))
        hanging.wait()
        [id] = [entry.id for entry in insight.look().table.entries]
        monkeypatch.setattr(module, "PATIENCE", 0.05)
        with blocked(served):
            done = insight.interrupt(id)
            assert (done.is_found, done.has_worked) == (False, False)
            assert "is blocked" in done.why
        until(lambda: insight.look().loop is LoopStanding.RUNS)
        assert served.server.lost_threads == 0
        hanging.gate.set()
        assert client.response().body == b"quick"


def test_a_stack_is_that_of_its_request_or_none(hanging: Hanging) -> None:
    with serving(hanging, threads=1) as served, served.client() as client:
        insight = insight_of(served)
        client.send(request("/hang"))
        hanging.wait()
        before = insight.look().table.entries
        hanging.gate.set()
        assert client.response().body == b"quick"
        hanging.gate.clear()
        client.send(request("/hang"))
        hanging.wait()
        assert insight.stacks(before) == [None]
        [stack] = insight.stacks(insight.look().table.entries)
        assert stack
        hanging.gate.set()
        assert client.response().body == b"quick"


def test_after_the_end_the_threads_are_there_to_see(hanging: Hanging) -> None:
    server = Server(hanging, 0, host="127.0.0.1", threads=1)
    assert server.insight is None
    with serving(hanging, threads=1, graceful_timeout=0.1) as served:
        insight = insight_of(served)
        with served.client() as client:
            client.send(request("/hang"))
            hanging.wait()
            assert served.stop() == 1
        assert served.server.insight is None
        assert insight.look().loop is LoopStanding.RUNS  # it is another's
    look = insight.look()
    assert look.loop is LoopStanding.OVER
    assert [entry.state for entry in look.table.entries] == ["running"]
    assert any("in hang" in line for line in insight.stacks(look.table.entries)[0] or ())
    done = insight.interrupt(look.table.entries[0].id)
    assert (done.has_worked, "about to end" in done.why) == (False, True)
