"""Several subscribers of one embedded server."""

from __future__ import annotations

import asyncio
import logging
import urllib.request
from typing import Any

import pytest
from serving import Recorder
from wire import hello

from wsgi_async import ConfigError, Observer, Server
from wsgi_async.events import RequestInfo, ResponseInfo


class Heard(Observer):
    def __init__(self, name: str, heard: list[tuple[str, str]]) -> None:
        self.name = name
        self.heard = heard

    def started(self, *args: Any) -> None:
        self.heard.append((self.name, "started"))

    def request_started(self, request: RequestInfo) -> None:
        self.heard.append((self.name, "request_started"))

    def request_finished(self, request: RequestInfo, response: ResponseInfo) -> None:
        self.heard.append((self.name, "request_finished"))

    def stopped(self, stuck_threads: int) -> None:
        self.heard.append((self.name, "stopped"))


def ask(server: Server) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/", timeout=20) as response:
        assert response.status == 200


@pytest.mark.parametrize("log", ["a log", "the default"])
def test_all_are_told_in_their_order(log: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    heard: list[tuple[str, str]] = []
    first = {"observer": Heard("log", heard)} if log == "a log" else {}
    server = Server(
        hello, 0, host="127.0.0.1", observers=(Heard(name, heard) for name in "ab"), **first
    )
    server.subscribe(Heard("c", heard))
    with server:
        ask(server)
    names = [*(["log"] if first else []), *"abc"]
    assert heard == [
        (name, event)
        for event in ("started", "request_started", "request_finished", "stopped")
        for name in names
    ]
    assert ("Listening on" in caplog.text) is not bool(first)


def test_nobody_subscribes_to_what_runs() -> None:
    server = Server(hello, 0, host="127.0.0.1", observer=Recorder())
    with server, pytest.raises(RuntimeError, match="subscribe before its start"):
        server.subscribe(Observer())
    heard: list[tuple[str, str]] = []
    server.subscribe(Heard("a", heard))  # for the next start
    with server:
        ask(server)
    assert heard[0] == ("a", "started")


def test_what_is_no_subscriber() -> None:
    anything: Any = Observer
    with pytest.raises(ConfigError, match=r"not a class: write Observer\(\)"):
        Server(hello, observers=[anything])
    with pytest.raises(ConfigError, match="3 has none of its methods"):
        Server(hello).subscribe(3)  # type: ignore[arg-type]


def test_a_subscriber_that_ends_the_program_does_not(caplog: pytest.LogCaptureFixture) -> None:
    """SystemExit on the loop would end it."""

    class Leaving(Observer):
        def request_finished(self, request: RequestInfo, response: ResponseInfo) -> None:
            raise SystemExit(1)

        def stopped(self, stuck_threads: int) -> None:
            raise asyncio.CancelledError

    with Server(hello, 0, host="127.0.0.1", observers=[Leaving()]) as server:
        for _ in range(3):
            ask(server)
    assert [r.levelname for r in caplog.records if r.levelname != "INFO"] == ["ERROR"]
    assert "Leaving failed in request_finished()" in caplog.text


def test_the_only_one_is_reported_too(caplog: pytest.LogCaptureFixture) -> None:
    """In the log, which nobody else writes here."""

    class Failing(Observer):
        def request_finished(self, request: RequestInfo, response: ResponseInfo) -> None:
            raise ValueError("no")

    with Server(hello, 0, host="127.0.0.1", observer=Failing()) as server:
        ask(server)
        ask(server)
    assert [r.levelname for r in caplog.records] == ["ERROR"]
