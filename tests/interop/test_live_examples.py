"""The programs of examples/live/, by clients that are no browsers."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import signal
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

import httpx
from event_sources import EventSource, event_source
from event_streams import Received
from live_examples import LIVE, example
from rawclient import TIMEOUT
from serving import serving
from tools import ReservedPort, require_module

STREAMS = 8
"""So many at once, where the server has two threads."""


@contextlib.contextmanager
def streams(url: str, count: int = STREAMS) -> Iterator[list[EventSource]]:
    """So many of them at once."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(event_source(url)) for _ in range(count)]


def test_all_are_listed_and_say_how_they_are_run() -> None:
    page = (LIVE / "README.md").read_text()
    for path in LIVE.glob("*.py"):
        assert f"[`{path.name}`]({path.name})" in page
        told = ast.get_docstring(ast.parse(path.read_text())) or ""
        assert re.search(rf"^    wsgi-async (?:.* )?examples/live/{path.name}$", told, re.M), path


# --- An event stream in Flask


def numbers(events: Iterable[Received]) -> list[int]:
    return [int(event.last_id) for event in events]


def test_events_over_a_reload(tmp_path: Path) -> None:
    """A job goes on in the process that has begun it, its stream in the next one, also where the
    client keeps its connections: each event comes once, in the journal's own numbering."""
    require_module("flask")
    with example("flask_events.py", tmp_path) as process, httpx.Client(trust_env=False) as client:
        url = process.url
        seen: list[Received] = []
        with event_source(f"{url}/events", client=client) as stream:
            assert stream.response.headers["Content-Type"] == "text/event-stream"
            assert stream.response.headers["X-Accel-Buffering"] == "no"
            seen.append(stream.next("prices"))
            assert set(json.loads(seen[0].data)) == {"tea", "coffee", "cocoa"}
            job = httpx.post(f"{url}/jobs?seconds=3", trust_env=False).json()["name"]
            for event in stream:
                seen.append(event)
                if event.type == "job":
                    break
            process.signal(signal.SIGHUP)
            # To the end that a reload makes: the stream is over, not cut.
            seen += stream
            assert stream.retry is not None
        assert json.loads(seen[-1].data).get("percent") != 100, "the job was over too soon"
        with event_source(f"{url}/events", last_id=seen[-1].last_id, client=client) as stream:
            done = {"name": job, "percent": 100}
            for event in stream:
                seen.append(event)
                if event.type == "job" and json.loads(event.data) == done:
                    break
    found = numbers(seen)
    assert found == list(range(found[0], found[0] + len(found)))
    percents = [json.loads(event.data)["percent"] for event in seen if event.type == "job"]
    assert percents == list(range(0, 101, 4))


def test_many_streams_hold_no_thread(tmp_path: Path) -> None:
    require_module("flask")
    with example("flask_events.py", tmp_path) as process, streams(f"{process.url}/events") as all_:
        for stream in all_:
            stream.next("prices")
        # Two threads could not answer this if eight streams held one each.
        assert b"Live from Flask" in httpx.get(process.url, trust_env=False).content
        httpx.post(f"{process.url}/jobs?seconds=0", trust_env=False)
        for stream in all_:
            while json.loads(stream.next("job").data)["percent"] < 100:
                pass


def test_an_id_that_is_not_the_examples_own(tmp_path: Path) -> None:
    """It begins as for somebody new, also after a journal that was thrown away."""
    require_module("flask")
    with example("flask_events.py", tmp_path) as process:
        for last_id in ("nonsense", "-1", "9" * 18, "9" * 5000, "1' OR '1"):
            with event_source(f"{process.url}/events", last_id=last_id) as stream:
                assert stream.response.status_code == 200
                assert stream.next("prices").last_id == "1", last_id


# --- Ten at once


class Upstream:
    """Ten that wait for each other: nobody gets an answer before all have asked."""

    def __init__(self) -> None:
        self._all_here = threading.Barrier(10)
        self.ports: list[str] = []
        """Of the client, a request each: who keeps its connections has the same again."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        self.ports.append(environ["REMOTE_PORT"])
        self._all_here.wait(TIMEOUT)
        failed = environ["PATH_INFO"].endswith("/Graz")
        start_response("500 No" if failed else "200 OK", [("Content-Type", "text/plain")])
        return [b"fine"]


def test_ten_are_asked_at_once_by_one_client(tmp_path: Path) -> None:
    require_module("flask")
    upstream = Upstream()
    with (
        serving(upstream, threads=10) as served,
        example("fetch_ten.py", tmp_path, UPSTREAM=served.url) as process,
    ):
        for _ in range(2):
            cities = httpx.get(process.url, timeout=TIMEOUT, trust_env=False).json()["cities"]
            assert len(cities) == 10
            assert [city["city"] for city in cities if city.get("weather") != "fine"] == ["Graz"]
            assert "500" in next(city["error"] for city in cities if "error" in city)
    assert len(upstream.ports) == 20
    assert len(set(upstream.ports)) == 10, "connections were not kept"


def test_it_asks_itself_with_two_threads(tmp_path: Path) -> None:
    require_module("flask")
    with ReservedPort() as port:
        url = f"http://127.0.0.1:{port.number}"
        with example("fetch_ten.py", tmp_path, "--bind", url[7:], UPSTREAM=url) as process:
            process.wait_for("Listening on")
            answer = httpx.get(url, timeout=TIMEOUT, trust_env=False).json()
            assert all("degrees" in city["weather"] for city in answer["cities"])


# --- A dashboard in Django


def results(stream: EventSource) -> dict[str, int]:
    """What the next event says: votes by drink, and how many watch."""
    told = json.loads(stream.next().data)
    return {"watching": told["watching"]} | {one["name"]: one["votes"] for one in told["drinks"]}


def test_a_vote_is_seen_by_all_who_watch(tmp_path: Path) -> None:
    require_module("django")
    with (
        example("django_dashboard.py", tmp_path) as process,
        httpx.Client(base_url=process.url, timeout=TIMEOUT, trust_env=False) as client,
    ):
        with streams(f"{process.url}/results") as all_:
            for stream in all_:
                assert stream.response.headers["Content-Type"] == "text/event-stream"
                assert results(stream)["Tea"] == 0
            assert client.get("/").status_code == 200
            token = {"X-CSRFToken": client.cookies["csrftoken"]}
            assert client.post("/vote/1").status_code == 403
            assert client.post("/vote/1", headers=token).status_code == 204
            assert client.post("/vote/99", headers=token).status_code == 404
            for stream in all_:
                while not {"watching": STREAMS, "Tea": 1}.items() <= results(stream).items():
                    pass
        with event_source(f"{process.url}/results") as stream:
            # The last ones may just be going.
            while results(stream)["watching"] != 1:
                pass
