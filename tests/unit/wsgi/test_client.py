"""``wsgi_async.client``: the object, and the watch that tells when its client goes."""

from __future__ import annotations

import contextvars
import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest
from state_tables import assert_held, assert_whole, last_of

from wsgi_async.testing import TestClient
from wsgi_async.wsgi.client import Client, current_client
from wsgi_async.wsgi.client_watch import CALL_MOVES, NEXT, CallState, Presence, Registration, Watch

WAIT = 10.0


class AnyRequest:
    """A request whose callbacks are called when the test says so."""

    def __init__(self) -> None:
        self.kept = Watch()
        self.is_given_up = False
        self.due: list[Callable[[], object]] = []
        self.errors: list[BaseException] = []

    @property
    def client_gone(self) -> bool:
        return self.kept.gone

    def watch(self) -> Watch:
        return self.kept

    def call_soon(self, function: Callable[[], object]) -> None:
        assert self.kept.lock.acquire(blocking=False)
        self.kept.lock.release()
        self.due.append(function)

    def callback_failed(self, error: BaseException) -> None:
        self.errors.append(error)

    def run(self) -> None:
        due, self.due = self.due, []
        for function in due:
            function()


class Rig:
    """The object of a request, the request it is of, and what was called."""

    def __init__(self) -> None:
        self.request = AnyRequest()
        self.watch = self.request.kept
        self.client = Client()
        type(self.client)._reporter = self.request  # type: ignore[misc]
        self.called: list[str] = []

    def note(self, name: str) -> Callable[[], None]:
        return lambda: self.called.append(name)


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr(Client, "_reporter", None, raising=False)
    return Rig()


# --- its states -----------------------------------------------------------------------------------


def test_presence_changes_by_its_table_only() -> None:
    assert_whole(NEXT, Presence.HERE)
    assert last_of(NEXT) == {Presence.FORKED}
    watch = Watch()
    for presence in Presence:
        assert_held(NEXT, presence, watch, "presence", watch._enter)


def test_a_call_changes_by_its_table_only() -> None:
    assert_whole(CALL_MOVES, CallState.WAITING)
    assert last_of(CALL_MOVES) == {CallState.OVER, CallState.CANCELLED}
    registration = Registration(Watch(), print)
    for state in CallState:
        assert_held(CALL_MOVES, state, registration, "_state", registration.enter)


# --- on_gone --------------------------------------------------------------------------------------


def test_each_is_called_once_when_it_goes(rig: Rig) -> None:
    for name in "ab":
        rig.client.on_gone(rig.note(name))
    same = rig.note("same")
    rig.client.on_gone(same)
    rig.client.on_gone(same)  # two registrations are two calls
    rig.request.run()
    assert not rig.client.gone
    assert rig.called == []
    for _ in range(2):
        rig.watch.leave(rig.request)
        rig.request.run()
    assert rig.client.gone
    assert rig.called == ["a", "b", "same", "same"]
    rig.client.on_gone(rig.note("late"))
    assert len(rig.called) == 4  # not by the thread that registers it
    rig.request.run()
    assert rig.called[4:] == ["late"]


@pytest.mark.parametrize("had_gone", [False, True])
def test_none_is_called_once_the_response_has_ended(rig: Rig, had_gone: bool) -> None:
    """Also where it had ended its side, and its callbacks were still waiting for a thread."""
    before = rig.client.on_gone(rig.note("before"))
    if had_gone:
        rig.watch.leave(rig.request)
    rig.watch.serve()
    rig.watch.leave(rig.request)
    after = rig.client.on_gone(rig.note("after"))
    rig.request.run()
    assert rig.called == []
    assert rig.client.gone is had_gone
    assert before.cancel()
    assert after.cancel()
    assert rig.client.wait(WAIT) is had_gone


@pytest.mark.parametrize("has_gone", [False, True])
def test_one_that_is_cancelled_is_not_called(rig: Rig, has_gone: bool) -> None:
    registration = rig.client.on_gone(rig.note("cancelled"))
    rig.client.on_gone(rig.note("other"))
    if has_gone:
        rig.watch.leave(rig.request)
    assert registration.cancel()
    assert registration.cancel()
    rig.watch.leave(rig.request)
    rig.request.run()
    assert rig.called == ["other"]


def test_one_that_was_called_cannot_be_cancelled(rig: Rig) -> None:
    results: list[bool] = []

    def callback() -> None:
        results.append(registration.cancel())
        with registration:  # its own thread does not wait for itself
            rig.called.append("within")

    registration = rig.client.on_gone(callback)
    rig.watch.leave(rig.request)
    rig.request.run()
    assert (results, rig.called, rig.request.errors) == ([False], ["within"], [])
    assert not registration.cancel()


def test_the_end_of_a_block_waits_for_the_callback_that_is_being_called(rig: Rig) -> None:
    """A connection whose query it cancels must not be somebody else's meanwhile."""
    began, gate, left = threading.Event(), threading.Event(), threading.Event()

    def callback() -> None:
        began.set()
        assert gate.wait(WAIT)
        assert not left.is_set()

    with rig.client.on_gone(rig.note("cancelled")) as registration:
        pass
    assert registration.cancel()
    caller = threading.Thread(target=rig.request.run)

    def block() -> None:
        with rig.client.on_gone(callback):
            rig.watch.leave(rig.request)
            caller.start()
            assert began.wait(WAIT)
        left.set()

    blocked = threading.Thread(target=block)
    blocked.start()
    assert began.wait(WAIT)
    assert not left.wait(0.02)
    gate.set()
    for thread in (blocked, caller):
        thread.join(WAIT)
    assert left.is_set()
    assert (rig.request.errors, rig.called) == ([], [])


def test_what_one_raises_is_told_and_the_others_are_called(rig: Rig) -> None:
    errors = [ValueError("callback"), SystemExit(3), KeyboardInterrupt()]

    def raising(error: BaseException) -> Callable[[], None]:
        def callback() -> None:
            raise error

        return callback

    for error in errors:
        rig.client.on_gone(raising(error))
    rig.client.on_gone(rig.note("last"))
    rig.watch.leave(rig.request)
    rig.request.run()
    assert rig.request.errors == errors
    assert rig.called == ["last"]


def test_it_runs_in_a_copy_of_the_context_that_registered_it(rig: Rig) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    seen: list[str] = []

    def callback() -> None:
        seen.append(variable.get())
        variable.set("by the callback")

    variable.set("registered")
    rig.client.on_gone(callback)
    variable.set("later")
    rig.watch.leave(rig.request)
    contextvars.Context().run(rig.request.run)
    assert (seen, variable.get()) == (["registered"], "later")


def test_what_cannot_be_called_is_refused_in_words(rig: Rig) -> None:
    async def coroutine() -> None: ...

    with pytest.raises(TypeError, match="a callable, not str"):
        rig.client.on_gone("print")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"plain function.*wsgi_async\.spawn"):
        rig.client.on_gone(coroutine)


def test_the_collector_may_come_at_any_time(rig: Rig) -> None:
    """And run an application's __del__, which asks again, while the watch's lock is held."""
    registration = rig.client.on_gone(rig.note("never"))
    with rig.watch.lock:
        assert registration.cancel()
    assert not rig.watch.registrations


def test_nothing_is_kept_once_the_response_has_ended(rig: Rig) -> None:
    class Kept:
        def callback(self) -> None: ...

    rig.client.on_gone(Kept().callback)
    assert [found for found in gc.get_objects() if type(found) is Kept]
    rig.watch.serve()
    assert not [found for found in gc.get_objects() if type(found) is Kept]


# --- wait -----------------------------------------------------------------------------------------


def test_a_wait_ends_with_its_time(rig: Rig) -> None:
    for seconds in (0, -1, 0.001):
        assert not rig.client.wait(seconds)
    assert rig.watch._sleepers == []


@pytest.mark.parametrize("how", ["leave", "serve", "give_up"])
def test_all_that_wait_go_on(rig: Rig, how: str) -> None:
    results: list[bool] = []
    waiting = [
        threading.Thread(target=lambda: results.append(rig.client.wait(1e300))) for _ in range(3)
    ]
    for thread in waiting:
        thread.start()
    while len(rig.watch._sleepers) < 3:
        pass
    getattr(rig.watch, how)(*([] if how == "serve" else [rig.request]))
    for thread in waiting:
        thread.join(WAIT)
    assert results == [how != "serve"] * 3
    assert rig.watch._sleepers == []


# --- on_over --------------------------------------------------------------------------------------


def test_alarms_are_sounded_at_once_and_by_whoever_says_so(rig: Rig) -> None:
    for gone in (False, True):
        rig.client.on_over(rig.note(f"alarm {gone}"), gone=gone)
    rig.watch.leave(rig.request)
    assert rig.called == ["alarm True"]
    rig.request.is_given_up = True
    rig.watch.give_up(rig.request)
    assert rig.called == ["alarm True", "alarm False"]
    for gone in (False, True):
        rig.client.on_over(rig.note("at once"), gone=gone)
    assert rig.called[2:] == ["at once"] * 2
    assert rig.client.is_given_up


def test_an_alarm_that_was_cancelled_or_sounded_is_not_sounded(rig: Rig) -> None:
    cancelled = rig.client.on_over(rig.note("cancelled"))
    sounded = rig.client.on_over(rig.note("sounded"))
    assert cancelled.cancel()
    assert not cancelled.cancel()
    rig.watch.leave(rig.request)
    rig.watch.give_up(rig.request)
    assert not sounded.cancel()
    assert rig.called == ["sounded"]


def test_one_that_is_given_up_as_its_end_is_late_is_told_after_the_response(rig: Rig) -> None:
    """Its thread may be in close(), and wait for a coroutine there."""
    rig.client.on_gone(rig.note("gone"))
    rig.client.on_over(rig.note("over"), gone=False)
    rig.watch.serve()
    rig.watch.give_up(rig.request)
    rig.request.run()
    assert rig.called == ["over"]


def test_an_alarm_that_fails_keeps_the_others_from_nothing(rig: Rig) -> None:
    rig.client.on_over(lambda: 1 / 0)
    rig.client.on_over(rig.note("other"))
    rig.watch.leave(rig.request)
    assert rig.called == ["other"]
    assert [type(error) for error in rig.request.errors] == [ZeroDivisionError]


# --- current_client, and the test client ----------------------------------------------------------


def test_the_client_of_the_request_that_a_thread_runs_is_found_on_its_stack() -> None:
    seen: list[bool] = []

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        client = environ["wsgi_async.client"]

        class Body:
            def __iter__(self) -> Any:
                seen.append(current_client() is client)
                yield b"chunk"

            def close(self) -> None:
                seen.append(current_client() is client)

        start_response("200 OK", [])
        seen.append(current_client() is client)
        return Body()

    assert current_client() is None
    assert TestClient(application).get("/").body == b"chunk"
    assert seen == [True] * 3
    assert current_client() is None


def test_a_client_of_the_test_client_goes_where_the_test_closes_its_response() -> None:
    called: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        client: Client = environ["wsgi_async.client"]
        client.on_gone(lambda: called.append(environ["PATH_INFO"]))
        start_response("200 OK", [])
        assert not client.wait(0)
        try:
            yield b"first"
            yield b"second"
        finally:
            called.append(f"closed, {client.gone}")

    client = TestClient(application)
    assert client.get("/read").body == b"firstsecond"
    assert called == ["closed, False"]
    with client.get("/left", stream=True) as response:
        next(response.chunks())
    assert called[1:] == ["/left", "closed, True"]
