"""An operator's word that a request is to end: what comes of it where the request stands. On the
loop."""

from __future__ import annotations

from typing import NamedTuple

from wsgi_async.connection.connections import Connections

from .in_flight import find

__all__ = ["BLOCKED", "NO_LOOP", "Interruption", "interrupt"]


class Interruption(NamedTuple):
    """What has come of it."""

    is_found: bool
    """Whether a request of this id is in flight here."""
    has_worked: bool
    why: str
    """In one line: what happens now, or what is in the way."""


BLOCKED = Interruption(
    is_found=False,
    has_worked=False,
    why="the loop of this process is blocked: its stack is beside the requests in flight",
)
NO_LOOP = Interruption(
    is_found=False, has_worked=False, why="this process is about to end: its loop is over"
)

_UNKNOWN = Interruption(
    is_found=False, has_worked=False, why="no request of this id is in flight: it may have ended"
)

_NO_THREAD = {
    "receiving": (
        "its body is still arriving, and no thread has it: "
        "--body-timeout and --min-rate end what stands still"
    ),
    "parked": (
        "its client is behind, and no thread has it: "
        "--send-timeout and --min-rate end what stands still"
    ),
    "sending": (
        "the application has done its part, and its client is taking the rest: "
        "--send-timeout and --min-rate end what stands still"
    ),
}


def interrupt(connections: Connections, id: str, now: float) -> Interruption:
    """*Loop:* break a request off: its thread is given up and replaced, ``RequestTimeout`` is
    raised in it, and the client gets a 504, or a cut response where its head is out.

    :param id: as it is shown.
    :param now: the loop's time.
    """
    found = find(connections, id)
    if found is None:
        return _UNKNOWN
    exchange, state, thread = found
    # One whose close() hangs is "sending", and has a thread; one that is parked may have it still.
    if state in _NO_THREAD and (thread is None or state == "parked"):
        return Interruption(True, False, _NO_THREAD[state])
    timeouts = connections.request_timeouts
    if state == "live":
        if timeouts.break_off(exchange):
            return Interruption(True, True, "its body is cancelled; the thread pool never had it")
        return Interruption(True, False, "it has ended in this moment")
    if state == "queued":
        if timeouts.call_off(exchange):
            return Interruption(True, True, "it waited for a thread, and was answered 504")
        return Interruption(True, False, "a thread has taken it in this moment: ask again")
    if state == "lost":
        if timeouts.interrupt_lost(exchange):
            return Interruption(
                True,
                True,
                "its thread had been given up: RequestTimeout is raised there once it runs code of "
                "the application",
            )
        return Interruption(
            True,
            False,
            "it was interrupted before: the application has caught that, or is in a call into C",
        )
    if thread is None or not timeouts.interrupt(exchange, thread.name, now):
        return Interruption(True, False, "it has ended in this moment")
    return Interruption(
        True,
        True,
        f"RequestTimeout is raised in {thread.name} once it runs code of the application; "
        "another thread has its place",
    )
