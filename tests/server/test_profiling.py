"""A server's own profile of itself: it finds what is hot, and needs no loop for that."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from rawclient import TIMEOUT, request
from serving import Served, both_loops, serving
from tools import require_module

from wsgi_async.operations.answers import Answers
from wsgi_async.operations.flame import hottest
from wsgi_async.operations.profiles import merged
from wsgi_async.operations.sampling import ASK, BEGIN, TAKE


class Shop:
    """A Flask application in which ``/prices`` computes and ``/stock`` waits, until all is over."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.entered = threading.Semaphore(0)

    def make(self) -> Callable[..., Any]:
        import flask

        app = flask.Flask("shop")
        app.add_url_rule("/prices", view_func=self.prices)
        app.add_url_rule("/stock", view_func=self.stock)
        return app

    def prices(self) -> str:
        self.entered.release()
        return str(crunch(lambda: self.over.is_set()))

    def stock(self) -> str:
        self.entered.release()
        assert self.over.wait(3 * TIMEOUT)
        return "none"


def crunch(is_over: Callable[[], bool]) -> int:
    """The hot function."""
    total = 0
    while not is_over():
        for number in range(20_000):
            total = (total + number * number) % 1_000_003
    return total


class Profiled:
    """What the operations process would ask."""

    def __init__(self, served: Served) -> None:
        self._answer = Answers(3, lambda: served.server.insight).table[ASK]
        self._names = 0

    def profile(self, seconds: float) -> dict[str, Any]:
        self._names += 1
        what = {"id": str(self._names), "seconds": seconds, "hz": 100}
        assert self._answer({"do": BEGIN, **what}) == {"number": 3, "why": ""}
        threading.Event().wait(seconds)  # it is as long as it is
        return merged({1: self._answer({"do": TAKE, **what})}, seconds, 100)


@both_loops
@pytest.mark.parametrize("loop_is_blocked", [False, True])
def test_the_hot_function_of_a_flask_application_is_on_top(
    loop: str, loop_is_blocked: bool
) -> None:
    require_module("flask")
    shop, gate = Shop(), threading.Event()
    with (
        serving(shop.make(), loop=loop, threads=4) as served,
        served.client() as computing,
        served.client() as another,
        served.client() as waiting,
    ):
        try:
            for client, path in ((computing, "prices"), (another, "prices"), (waiting, "stock")):
                client.send(request(f"/{path}"))
                assert shop.entered.acquire(timeout=TIMEOUT)
            if loop_is_blocked:
                served.thread.loop.call_soon_threadsafe(gate.wait)
            found = Profiled(served).profile(0.5)
        finally:
            gate.set()
            shop.over.set()
        for client in (computing, another, waiting):
            assert client.response().status == 200
    hot, *others = hottest(found)
    assert hot.name.startswith("crunch (")
    # A sample has all three, unless one of them came back from a function just then. The fourth
    # thread is idle, and is in none.
    due = found["taken"] + found["missed"]
    assert found["taken"] < sum(found["samples"].values()) <= 3 * due
    for stack in found["samples"]:
        assert stack.startswith("Flask.__call__ (flask/app.py:")
    if sys.platform == "linux":
        assert hot.cpu is not None
        assert sum(other.cpu or 0.0 for other in others if "wait" in other.name) < 0.05 * hot.cpu


def test_of_an_idle_server_there_is_nothing_and_a_second_profile_begins_anew() -> None:
    with serving(lambda environ, start_response: [], threads=2) as served:
        profiled = Profiled(served)
        for _ in range(2):
            found = profiled.profile(0.05)
            assert found["samples"] == {}
            assert found["taken"] > 0
    assert profiled.profile(0.05)["samples"] == {}, "it is over, and nothing is left in it"
