"""What is served on the control socket: who may ask, and what the parent is told."""

from __future__ import annotations

from typing import Any

import pytest

from wsgi_async.operations.control import ControlApplication, Steering
from wsgi_async.operations.json_pages import Refusal
from wsgi_async.testing import TestClient
from wsgi_async.wsgi.environ import PEER_UID


class Asked:
    """The processes that serve, of which one has the request 7."""

    def requests(self, *, stacks: bool) -> dict[str, Any]:
        return {"processes": [], "missing": [], "stacks": stacks}

    def interrupt(self, id: str) -> dict[str, Any]:
        return {"interrupted": id == "7", "why": ""}

    def set_log_level(self, level: str) -> dict[str, Any]:
        if level != "debug":
            raise ValueError(f"{level!r} is none of debug")
        return {"level": level}


class Profiling:
    """Takes one profile at a time, and never ends."""

    def __init__(self) -> None:
        self.is_under_way = False

    def take(self, seconds: float, hz: float) -> dict[str, Any]:
        if self.is_under_way:
            raise Refusal(409, "ask again")
        self.is_under_way = True
        return {"seconds": seconds, "hz": hz}


class Parent:
    """What is said to it, and noted of that."""

    def __init__(self) -> None:
        self.state = "up"
        self.hears = True
        self.words: list[tuple[str, str]] = []
        self.notes: list[str] = []

    def say(self, word: str, detail: str) -> bool:
        if self.hears:
            self.words.append((word, detail))
        return self.hears

    def status(self) -> dict[str, Any]:
        return {"fleet": {"state": self.state}}

    def client(self, uid: int = 1000) -> TestClient:
        steering = Steering(self.status, self.say, 100, self.notes.append)
        asked: Any = Asked()
        profiles: Any = Profiling()
        application = ControlApplication(
            self.status, steering, lambda: {"options": {}}, asked, profiles, {0, 1000}
        )

        def connected(environ: dict[str, Any], start_response: Any) -> Any:
            return application({**environ, PEER_UID: uid}, start_response)

        return TestClient(connected)


def test_orders_are_told_to_the_parent_and_noted() -> None:
    parent = Parent()
    client = parent.client()
    for path, body in [("/reload", b""), ("/scale", b'{"processes": 3}'), ("/drain", b"{}")]:
        answer = client.post(path, data=body)
        assert answer.status == 200
        assert answer.json() == {"accepted": True, "before": {"state": "up"}}
    assert parent.words == [("reload", ""), ("scale", "3"), ("drain", "")]
    assert parent.notes == [
        "Asked on --control-socket by uid 1000: reload",
        "Asked on --control-socket by uid 1000: scale 3",
        "Asked on --control-socket by uid 1000: drain",
    ]
    assert client.get("/status").json() == {"fleet": {"state": "up"}}
    assert client.get("/config").json() == {"options": {}}


@pytest.mark.parametrize("uid", [1, 1001, 65534, -1])
def test_nobody_else_may_ask_for_anything(uid: int) -> None:
    parent = Parent()
    client = parent.client(uid)
    for answer in (client.get("/status"), client.post("/drain"), client.get("/none")):
        assert answer.status == 403
        assert answer.json()["error"].startswith("only root and the user that has started")
    assert parent.words == []


def test_who_has_not_been_asked_for_is_nobody() -> None:
    """On a socket of which the kernel is not asked there is no such variable."""
    steering = Steering(dict, lambda word, detail: True, 100, lambda line: None)
    unused: Any = None
    application = ControlApplication(dict, steering, dict, unused, unused, {0, 1000})
    assert TestClient(application).get("/status").status == 403


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"processes": 0}', b'{"processes": 101}', b'{"processes": "2"}']
)
def test_how_many_there_may_be(body: bytes) -> None:
    parent = Parent()
    answer = parent.client().post("/scale", data=body)
    assert answer.status == 400
    assert answer.json() == {"error": 'send {"processes": N}, a number from 1 to 100'}
    assert parent.words == []


def test_what_processes_are_asked_to_do_is_noted_and_forges_no_line() -> None:
    parent = Parent()
    client = parent.client()
    assert client.post("/interrupt", data=b'{"id": "7\\nroot: drain"}').status == 200
    assert client.post("/log-level", data=b'{"level": "debug"}').status == 200
    assert client.post("/profile", data=b'{"seconds": 2}').status == 200
    assert client.post("/interrupt", data=b"{}").status == 400  # nothing was done
    who = "Asked on --control-socket by uid 1000"
    assert parent.notes == [
        f"{who}: interrupt id 7\\x0aroot: drain",
        f"{who}: log-level level debug",
        f"{who}: profile seconds 2",
    ]


def test_half_a_process_is_none() -> None:
    answer = Parent().client().post("/scale", data=b'{"processes": 2.5}')
    assert answer.json() == {"error": 'send {"processes": N}, a whole number up to 100'}


def test_a_server_that_stops_is_told_nothing_but_that() -> None:
    parent = Parent()
    parent.state = "stopping"
    client = parent.client()
    for path, body in [("/reload", b""), ("/scale", b'{"processes": 3}')]:
        answer = client.post(path, data=body)
        assert answer.status == 409
        assert answer.json()["error"].startswith("the server stops: there is nothing to")
    assert client.post("/drain").status == 200
    assert parent.words == [("drain", "")]


def test_a_parent_that_is_not_reached_has_accepted_nothing() -> None:
    parent = Parent()
    parent.hears = False
    answer = parent.client().post("/reload")
    assert answer.status == 503
    assert parent.notes == []


def test_questions_go_to_the_processes_that_serve() -> None:
    client = Parent().client()
    assert client.get("/requests").json()["stacks"] is False
    assert client.get("/requests?stacks=1").json()["stacks"] is True
    assert client.get("/requests?stacks=yes").status == 400
    assert client.post("/interrupt", data=b'{"id": "7"}').json()["interrupted"] is True
    assert client.post("/log-level", data=b'{"level": "debug"}').json() == {"level": "debug"}
    answer = client.post("/log-level", data=b'{"level": "loud"}')
    assert (answer.status, answer.json()) == (400, {"error": "the level 'loud' is none of debug"})
    for body in (b"", b'{"id": 7}', b'{"id": ""}'):
        answer = client.post("/interrupt", data=body)
        assert answer.status == 400
        assert answer.json() == {"error": 'send {"id": "..."}, a text'}


def test_one_profile_at_a_time() -> None:
    client = Parent().client()
    for name, range in (("seconds", "0.05 to 60"), ("hz", "1 to 250")):
        for value in (b'"x"', b"251", b"true"):
            answer = client.post("/profile", data=b'{"%b": %b}' % (name.encode(), value))
            said = f'send {{"{name}": N}}, a number from {range}'
            assert (answer.status, answer.json()) == (400, {"error": said})
    assert client.post("/profile", data=b'{"hz": 50}').json() == {"seconds": 5.0, "hz": 50}
    answer = client.post("/profile")
    assert (answer.status, answer.json()) == (409, {"error": "ask again"})
