"""Django's ``StreamingHttpResponse`` with an asynchronous generator, through all that sites put
around it: it holds no thread, and no database connection outlives it."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import PACKAGE, Command
from tools import require_module

TIMEOUT = 20.0
PLENTY = 12


class Site:
    """The site of ``live_django``, served by one process with two threads.

    :param around: what is around the application, or nothing.
    """

    def __init__(self, command: Command) -> None:
        self.command = command
        host, port = command.address
        self.url = f"http://{host}:{port}"
        self.client = httpx.Client(
            base_url=self.url, timeout=TIMEOUT, trust_env=False, headers={"Accept-Encoding": ""}
        )

    def get(self, target: str, **fields: str) -> httpx.Response:
        return self.client.get(target, headers=fields)

    def stream(self, target: str, method: str = "GET", **fields: str) -> Any:
        return self.client.stream(method, target, headers=fields)

    def push(self, name: str, data: str) -> None:
        assert self.get(f"/push?{name}={data}").text == "pushed"

    @property
    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/facts").json()
        return {
            "opened": 0,
            "closed": 0,
            "begun": 0,
            "over": 0,
            "waiting": 0,
            "finished": 0,
            **found,
        }

    def wait_until(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        end = time.monotonic() + TIMEOUT
        while not condition(facts := self.facts):
            assert time.monotonic() < end, f"{facts} {self.command.lines}"
            threading.Event().wait(0.005)  # the site has others to answer
        return facts

    @property
    def connections(self) -> int:
        facts = self.facts
        return int(facts["opened"] - facts["closed"])


@contextlib.contextmanager
def serving_django(tmp_path: Path, *args: str, path: str = "", **env: str) -> Iterator[Site]:
    """Serve it in a process of its own.

    :param path: a directory with another Django.
    :param env: what the site is to be, see there.
    """
    for module in ("django", "whitenoise", "sentry_sdk", "opentelemetry"):
        require_module(module)
    variables = {"LIVE_DATABASE": str(tmp_path / "database.sqlite3")}
    variables |= {f"LIVE_{name.upper()}": value for name, value in env.items()}
    if path:
        variables["PYTHONPATH"] = f"{path}{os.pathsep}{PACKAGE.parent}"
    flags = ["--bind", "127.0.0.1:0", "--threads", "2", "--graceful-timeout", "5", *args]
    with Command("live_django:application", *flags, env=variables) as command:
        site = Site(command)
        try:
            yield site
        finally:
            site.client.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One without `wsgi_async.django` among its applications."""
    with serving_django(tmp_path_factory.mktemp("django")) as served:
        yield served
        served.command.signal(signal.SIGTERM)
        assert served.command.wait() == 0


def lines_of(response: httpx.Response) -> Iterator[str]:
    return response.iter_lines()


# --- As it is


def test_streams_hold_no_thread(site: Site) -> None:
    with contextlib.ExitStack() as stack:
        streams = [
            lines_of(stack.enter_context(site.stream(f"/stream/held{number}")))
            for number in range(PLENTY)
        ]
        for lines in streams:
            assert next(lines).startswith("begun ")
        for number, lines in enumerate(streams):
            site.push(f"held{number}", "hello")  # an ordinary view, beside twelve streams
            assert next(lines) == "hello"
        names = site.facts["threads"]
        assert {names[f"held{number}"][0] for number in range(PLENTY)} == {"wsgi_async-application"}
        for number, lines in enumerate(streams):
            site.push(f"held{number}", "end")
            assert list(lines) == []
    facts = site.wait_until(lambda facts: facts["over"] == facts["begun"])
    assert facts["begun"] >= PLENTY


def test_what_the_body_sees_of_its_request(site: Site) -> None:
    """The session is saved before it begins; language, time zone and URLs are the request's."""
    with site.stream("/around/guest", **{"Accept-Language": "de"}) as response:
        assert "sessionid" in response.cookies
        assert response.headers["Content-Language"] == "de"
        assert next(lines := lines_of(response)) == "begun"
        site.push("guest", "go")
        assert list(lines) == ["['de', 'Asia/Kathmandu'] de /rows ['guest']"]


def test_a_head_request_and_a_304_do_not_begin_it(site: Site) -> None:
    before = site.facts
    with site.stream("/stream/head", "HEAD") as response:
        assert (response.status_code, response.read()) == (200, b"")
    same = {"If-Modified-Since": "Mon, 30 Nov 2026 06:00:00 GMT"}
    response = site.get("/stream/same?modified=1", **same)
    assert (response.status_code, response.content) == (304, b"")
    after = site.facts
    assert after["begun"] == before["begun"]
    # Each was closed, and so was each answer to us.
    assert after["finished"] - before["finished"] == 3
    assert "finished by the loop" not in after


def test_a_range_is_answered_by_all_of_it(site: Site) -> None:
    with site.stream("/stream/range", Range="bytes=0-3") as response:
        assert response.status_code == 200
        assert next(lines := lines_of(response)).startswith("begun ")
        site.push("range", "end")
        assert list(lines) == []


def test_nobody_gets_an_etag_for_it(site: Site) -> None:
    """``ConditionalGetMiddleware`` would have to read it to its end."""
    with site.stream("/stream/tag") as response:
        assert "ETag" not in response.headers
        next(lines := lines_of(response))
        site.push("tag", "end")
        assert list(lines) == []


# --- Database connections


@pytest.mark.parametrize("end", ["end", "fail", "leaves", "leaves in a call", "leaves unread"])
def test_no_connection_outlives_a_body(site: Site, end: str) -> None:
    """Neither that of the view's thread nor one of those in which it asks the database."""
    site.wait_until(lambda facts: facts["opened"] == facts["closed"])
    before = site.facts
    for number in range(5):
        name = f"{end.replace(' ', '-')}-{number}"
        if end == "leaves unread":
            client = site.command.client()
            client.send(f"GET /large/{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert client.receive(1000)
            client.reset()
        elif end == "leaves in a call":
            with site.stream(f"/slow/{name}") as response:
                assert next(lines := lines_of(response)) == "begun"
                site.wait_until(lambda f, n=number: f["waiting"] > before["waiting"] + n)
            site.push(name, "go")
        else:
            target = f"/stream/{name}?asked=1&type=text/event-stream"
            with site.stream(target) as response:
                assert next(lines := lines_of(response)).startswith("begun")
                site.push(name, "hello")
                assert next(lines) == "hello"
                if end != "leaves":
                    site.push(name, end)
                    with contextlib.suppress(httpx.TransportError):
                        assert list(lines) == []
    # Each ends once, is closed once (and so is each answer to us), and closes what it has opened.
    after = site.wait_until(
        lambda facts: facts["over"] == before["over"] + 5 and facts["opened"] == facts["closed"]
    )
    assert after["begun"] == before["begun"] + 5
    assert after["opened"] > before["opened"]
    assert "finished by the loop" not in after


def test_the_views_connection_is_closed_when_it_hands_over(site: Site) -> None:
    with site.stream("/stream/over?asked=1") as response:
        assert next(lines := lines_of(response)).startswith("begun")
        site.wait_until(lambda facts: facts["opened"] - facts["closed"] == 1)  # the body's own
        site.push("over", "end")
        assert list(lines) == []
    site.wait_until(lambda facts: facts["opened"] == facts["closed"])


def test_a_stop_ends_streams_and_their_connections(tmp_path: Path) -> None:
    with serving_django(tmp_path, "--graceful-timeout", "0.5", "--live-grace", "0") as site:
        target = "/stream/{}?type=text/event-stream"
        with site.stream("/stream/file") as file, site.stream(target.format("news")) as news:
            next(parts := lines_of(file))
            next(events := lines_of(news))
            site.command.signal(signal.SIGTERM)
            for line in events:  # completed, not cut
                assert line.startswith("retry:") or not line
            with pytest.raises(httpx.TransportError):
                list(parts)
        assert site.command.wait() == 0
        site.command.assert_clean()


# --- With wsgi_async.django


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One with it, whose connections persist."""
    with serving_django(tmp_path_factory.mktemp("django"), installed="1", age="600") as served:
        yield served
        served.command.signal(signal.SIGTERM)
        assert served.command.wait() == 0


@pytest.mark.parametrize(("kind", "coding"), [("plain", "gzip"), ("event-stream", None)])
def test_each_chunk_leaves_at_once_through_gzip(
    installed: Site, kind: str, coding: str | None
) -> None:
    """Django before 6 makes a gzip file of each chunk: browsers would show the first one only."""
    with installed.stream(f"/stream/{kind}?type=text/{kind}", **{"Accept-Encoding": "gzip"}) as got:
        assert got.headers.get("Content-Encoding") == coding
        assert next(lines := lines_of(got)) == "begun 0"
        for data in ("one", "two"):
            installed.push(kind, data)
            assert next(lines) == data
        installed.push(kind, "end")
        assert list(lines) == []


def test_connections_that_persist_do(installed: Site) -> None:
    for number in range(4):
        with installed.stream(f"/stream/n{number}?asked=1") as response:
            assert next(lines := lines_of(response)).startswith("begun")
            installed.push(f"n{number}", "end")
            assert list(lines) == []
    # One for each of the two threads of the pool, and one for that of the bodies.
    assert 2 <= installed.connections <= 3


def two_event_streams(site: Site) -> None:
    """Two at once, of each the first lines as they are made; then both clients go."""
    target = "/stream/{}?type=text/event-stream"
    with site.stream(target.format("one")) as one, site.stream(target.format("two")) as two:
        for name, response in (("one", one), ("two", two)):
            assert next(lines := lines_of(response)) == "begun 0"
            site.push(name, "hello")
            assert next(lines) == "hello"


def test_sentry_hands_it_on(tmp_path: Path) -> None:
    """Its wrapper would iterate it, on a thread of the pool, of which there is one."""
    with serving_django(tmp_path, "--threads", "1", around="sentry", installed="1") as site:
        two_event_streams(site)
        site.wait_until(lambda facts: facts["over"] == 2 and facts["opened"] == facts["closed"])
        site.command.signal(signal.SIGTERM)
        assert site.command.wait() == 0
        assert not [line for line in site.command.lines if "holds a thread" in line]


def test_a_wrapper_that_iterates_gets_chunks_one_by_one(tmp_path: Path) -> None:
    """It hides the body: that holds a thread then, which the log says once; and nothing hangs."""
    with serving_django(tmp_path, "--threads", "3", around="telemetry", installed="1") as site:
        two_event_streams(site)
        # Both clients have gone: whoever waits for a chunk does so no more.
        site.wait_until(lambda facts: facts["over"] == 2 and facts["opened"] == facts["closed"])
        with site.stream("/stream/three") as response:
            next(lines := lines_of(response))
            site.push("three", "end")
            assert list(lines) == []
        site.command.signal(signal.SIGTERM)
        assert site.command.wait() == 0
        told = [line for line in site.command.lines if "holds a thread" in line]
        assert len(told) == 1, site.command.lines
        assert "_end_span_after_iterating" in told[0]


# --- Long ones


@pytest.mark.soak
def test_a_thousand_streams_leave_no_connection(site: Site) -> None:
    """They end in every way, twenty-five at once, on eight threads for their calls."""
    lot = random.Random(18)
    ways = ["end", "fail", "leaves", "leaves at once", "leaves in a call", "leaves unread"]
    before = site.wait_until(lambda facts: facts["opened"] == facts["closed"])
    waiting, unread = before["waiting"], 0
    for round_ in range(40):
        with contextlib.ExitStack() as stack:
            streams = []
            for number in range(25):
                way, name = lot.choice(ways), f"soak-{round_}-{number}"
                if way in ("leaves unread", "leaves at once"):
                    client = site.command.client()
                    client.send(f"GET /large/{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                    if way == "leaves unread":
                        assert client.receive(1000)
                    client.reset()
                    unread += 1
                    continue
                kind = "slow" if way == "leaves in a call" else "stream"
                target = f"/{kind}/{name}?asked=1&type=text/event-stream"
                response = stack.enter_context(site.stream(target))
                lines = lines_of(response)
                assert next(lines).startswith("begun")
                if way == "leaves in a call":
                    waiting += 1
                    site.wait_until(lambda facts, now=waiting: facts["waiting"] == now)
                    response.close()
                    site.push(name, "go")
                else:
                    streams.append((way, name, lines))
            for way, name, lines in streams:
                if way != "leaves":
                    site.push(name, way)
                    with contextlib.suppress(httpx.TransportError):
                        assert list(lines) == []
    after = site.wait_until(
        lambda facts: facts["over"] == facts["begun"] and facts["opened"] == facts["closed"]
    )
    assert 1000 - unread <= after["begun"] - before["begun"] <= 1000
    assert after["opened"] - before["opened"] > 300
    assert "finished by the loop" not in after


@pytest.mark.soak
def test_the_oldest_django_that_streams_asynchronously(tmp_path: Path) -> None:
    """4.2, as .ci/run has put it into a directory. The newest there is for a CPython is what the
    tests above run with."""
    path = os.environ.get("TESTS_DJANGO_4_2", "")
    if not path:
        assert "TESTS_REQUIRE_ALL" not in os.environ, "TESTS_DJANGO_4_2 names no directory"
        pytest.skip("TESTS_DJANGO_4_2 names no directory with Django 4.2")
    with serving_django(tmp_path, path=path, installed="1") as site:
        assert site.facts["version"].startswith("4.2")
        test_streams_hold_no_thread(site)
        test_a_head_request_and_a_304_do_not_begin_it(site)
        for end in ("end", "fail", "leaves", "leaves in a call", "leaves unread"):
            test_no_connection_outlives_a_body(site, end)
        for kind, coding in (("plain", "gzip"), ("event-stream", None)):
            test_each_chunk_leaves_at_once_through_gzip(site, kind, coding)
        test_what_the_body_sees_of_its_request(site)
        site.command.signal(signal.SIGTERM)
        assert site.command.wait() == 0
