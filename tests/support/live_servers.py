"""Servers with asynchronous bodies: what is held for them, and how they have ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from application_loops import ending_with_the_test
from live_bodies import Live, live_app
from rawclient import request
from serving import Served, serving

from wsgi_async.realtime.bodies import Bodies
from wsgi_async.server.live_responses import LiveResponses

__all__ = [
    "APPLICATION",
    "POOL",
    "Serve",
    "bodies_of",
    "ends",
    "idle",
    "left_after",
    "live_of",
    "live_servers",
    "state_of",
]

POOL, APPLICATION = "wsgi_async-", "wsgi_async-application"
"""What threads are called, without their numbers."""

Serve = Callable[..., Served]


def live_servers() -> Iterator[Serve]:
    """``serve(application, **options)``: the application loop ends with the test too."""
    with ending_with_the_test(), ExitStack() as stack:

        def start(application: Any, **options: Any) -> Served:
            return stack.enter_context(serving(application, **options))

        yield start


def left_after(first: bytes, body: Live, serve: Serve) -> Served:
    """A server with this body, whose client has taken the first of it and left by a reset."""
    served = serve(live_app(lambda: body))
    with served.client() as client:
        client.send(request())
        client.read_until(first)
        client.reset()
    return served


def live_of(served: Served) -> LiveResponses:
    live = served.connections.gateway.live
    assert isinstance(live, LiveResponses)
    return live


def bodies_of(served: Served) -> Bodies:
    bodies = live_of(served).bodies
    assert bodies is not None
    return bodies


def ends(served: Served) -> dict[str, int]:
    """How many have ended, by why."""
    return {end.value: count for end, count in bodies_of(served).ends.items() if count}


def state_of(served: Served) -> str:
    """Where the only one stands."""
    bodies = live_of(served).bodies
    return next((body.state.name for body in bodies._all()), "") if bodies else ""


def idle(served: Served) -> None:
    """Wait until nothing is held for anybody, bodies included."""
    served.wait_until_idle()  # nobody can begin a body any more
    served.wait_until(lambda: not len(live_of(served)), "a body is left")
    served.wait_until_idle()  # those that were left have been closed
