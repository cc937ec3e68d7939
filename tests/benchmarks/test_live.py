"""Measurements of held event streams: what counts as held, as an event, as late."""

from __future__ import annotations

import resource
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from benchmark_targets import Here
from serving import Served
from tools import python, require_module, require_program, running

from benchmarks import live
from benchmarks.clients import streams
from benchmarks.clients.streams import Stream, Streams
from benchmarks.harness import servers
from benchmarks.harness.model import Load, Sample, WrongAnswer
from benchmarks.harness.processes import Server
from benchmarks.scenarios import SCENARIOS
from benchmarks.scenarios import live as scenarios
from benchmarks.scenarios.live import Events, Held

Serve = Callable[..., Served]

LOAD = Load(seconds=0.2, pin=(), python=sys.executable)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.fixture
def stream() -> Iterator[Stream]:
    with socket.socket() as sock:
        yield Stream(sock)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_events_are_read_in_pieces_of_any_size(stream: Stream, size: int) -> None:
    sent = HEAD + b"".join(chunk(live.event(number, 5 + number / 4)) for number in range(3))
    sent += chunk(b": heartbeat\n\n") + chunk(b"id: 7\ndata: 3 5.75\n\n")
    pieces = [sent[start : start + size] for start in range(0, len(sent), size)]
    assert [due for piece in pieces for due in stream.receive(piece)] == [5.0, 5.25, 5.5, 5.75]
    assert (stream.first, stream.number) == (5.0, 3)


@pytest.mark.parametrize(
    ("received", "why"),
    [
        (HEAD.replace(b"200 OK", b"500 No") + b"why", "status 500, b'why'"),
        (HEAD.replace(b"event-stream", b"plain"), "status 200"),
        (HEAD + live.event(0, 1) + live.event(0, 1), "event 0 after event 0"),
    ],
)
def test_what_is_no_such_stream_is_told(stream: Stream, received: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        stream.receive(received)


def test_each_event_that_is_due_is_expected(stream: Stream) -> None:
    assert stream.due_between(0, 9) == 0
    stream.receive(HEAD + live.event(0, 10.5))
    counts = [stream.due_between(*span) for span in [(11, 13), (11.5, 13.5), (0, 11), (20, 20.4)]]
    assert counts == [2, 3, 1, 0]


def blocking(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """The views for any server, without Flask."""
    bodies = {live.HELD: live.blocking_held, live.TICKING: live.blocking_ticking}
    make = bodies.get(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", live.EVENTS if make else "text/plain")])
    return make() if make else [live.BODY]


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Ends the streams that have no end: their threads are of this process."""
    told = threading.Event()

    def held() -> Iterator[bytes]:
        yield live.event(0, time.monotonic())
        told.wait(30)

    monkeypatch.setattr(live, "blocking_held", held)
    return told


def test_a_server_with_threads_holds_as_many_streams_as_it_has_of_them(
    serve: Serve, ending: threading.Event
) -> None:
    """And nobody else is answered, which is a speed of nothing and no failure of the harness."""
    require_program("wrk")
    target = Here(serve(blocking, threads=4).server.port)
    try:
        sample = Held(streams=6)(target, LOAD)
    finally:
        ending.set()
    assert sample.value == 4
    assert sample.extra["asked"] == 6
    assert sample.extra["speed"] == sample.extra["rate_with"] == 0
    assert sample.extra["rate_without"] > 0
    assert "bytes_each" not in sample.extra


def test_events_are_measured_by_when_they_were_due(serve: Serve) -> None:
    events = Events(streams=3, seconds=1.1)
    sample = events(Here(serve(blocking, threads=4).server.port), LOAD)
    assert sample.value > 0
    assert (sample.errors, sample.extra["held"], sample.extra["delivered"]) == (0, 3, 1)
    assert sample.p50 is not None
    assert sample.p99 is not None
    assert 0 <= sample.p50 <= sample.p99 < 1000 * streams.LATE
    assert 0 < sample.extra["client_busy"] < 1


def failing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    is_stream = environ["PATH_INFO"] in (live.HELD, live.TICKING)
    start_response("500 Internal Server Error" if is_stream else "200 OK", [])
    return [live.BODY]


@pytest.mark.parametrize("measure", [Held(streams=2), Events(streams=2, seconds=0.1)])
def test_a_wrong_answer_voids(measure: Callable[..., Sample], serve: Serve) -> None:
    require_program("wrk")
    with pytest.raises(WrongAnswer, match="status 500"):
        measure(Here(serve(failing).server.port), LOAD)


def test_a_full_server_gets_room_for_others(
    serve: Serve, ending: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "STALLED", 0.3)
    served = serve(blocking, threads=20)
    assert served.server.port is not None
    client = Streams(served.server.port, live.HELD)
    try:
        begun = time.monotonic()
        assert not client.fill(22)
        assert 0 < client.filled <= time.monotonic() - begun - streams.STALLED
        assert len(client.held) == 20
        client.make_room()
        assert len(client.held) == 18
        assert client.ended == 0
    finally:
        ending.set()
        client.close()
    served.wait_until_idle()  # what has been queued may be called yet


def test_streams_that_end_are_counted(serve: Serve, ending: threading.Event) -> None:
    served = serve(blocking, threads=4)
    assert served.server.port is not None
    client = Streams(served.server.port, live.HELD)
    try:
        assert client.fill(3)
        ending.set()
        until = time.monotonic() + 10
        while client.held and time.monotonic() < until:
            client.read(0.1)
        assert client.ended == 3
    finally:
        client.close()


def test_where_descriptors_are_short_there_are_fewer_streams_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = {scenarios.RESERVE + 300: 300, 100_000: 500, resource.RLIM_INFINITY: 500, 64: 1}
    for limit, streams_allowed in limits.items():
        monkeypatch.setattr(resource, "getrlimit", lambda which, limit=limit: (limit, limit))
        assert scenarios.allowed(500) == streams_allowed
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "300 streams instead of 500: 1300 descriptors are allowed",
        "1 streams instead of 500: 64 descriptors are allowed",
    ]


def test_the_time_of_a_server_on_its_processor_is_known(tmp_path: Path) -> None:
    code = "import time\nwhile time.process_time() < 0.1: pass\nprint('done', flush=True)\n"
    with Server("fake", 8) as server:
        server.start([sys.executable, "-c", code + "time.sleep(60)"], tmp_path)
        until = time.monotonic() + 30
        while server.last_line() != "done" and time.monotonic() < until:
            time.sleep(0.01)
        assert 0.1 <= server.cpu() < 5


@pytest.mark.parametrize("name", ["live-held", "live-events"])
def test_each_server_is_given_its_own_form(name: str) -> None:
    scenario = SCENARIOS[name]
    there = [one for one in servers.load().values() if one.suits(scenario)]
    assert {one.name for one in there} == set(scenario.applications) == set(scenario.also)
    for one in there:
        module, _, application = scenario.target(one.name).partition(":")
        assert module == "benchmarks.live"
        assert application in live._LAZY
    assert SCENARIOS["hello"].target("gunicorn") == "benchmarks.apps:hello"


def test_a_publisher_tells_every_channel_in_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "EVERY", 0.02)
    told: list[tuple[str, int, float]] = []
    enough = threading.Event()

    def publish(channel: str, said: str) -> None:
        number, due = said.split()
        told.append((channel, int(number), float(due)))
        if len(told) >= 8:
            enough.set()

    publisher = live.Publisher(publish)
    firsts = dict(publisher.channel() for _ in range(2))
    assert enough.wait(30)
    monkeypatch.setattr(live, "EVERY", 1000.0)
    for channel, first in firsts.items():
        own = [(number, due) for name, number, due in told if name == channel][:3]
        assert own == [(number, pytest.approx(first + number * 0.02)) for number in (1, 2, 3)]


def test_the_form_of_m0serve_names_a_channel_for_each_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_module("flask")
    package, module = ModuleType("m0serve"), ModuleType("m0serve.m0pub")
    module.publish = lambda channel, said: None  # type: ignore[attr-defined]
    package.m0pub = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "m0serve", package)
    monkeypatch.setitem(sys.modules, "m0serve.m0pub", module)
    client = live._channels().test_client()
    assert client.get("/").data == live.BODY
    answers = [client.get(path) for path in (live.HELD, live.TICKING, live.TICKING)]
    assert [one.headers["M0-Hold"] for one in answers] == ["stream"] * 3
    assert [one.headers["M0-Channel"] for one in answers] == ["held", "ticking-0", "ticking-1"]
    for one in answers:
        assert one.mimetype == live.EVENTS
        assert streams.EVENT.fullmatch(one.data)


@pytest.mark.parametrize("path", [live.HELD, live.TICKING])
def test_the_form_for_any_server_is_flask_with_generators(path: str) -> None:
    require_module("flask")
    answer = live._blocking().test_client().get(path, buffered=False)
    assert answer.mimetype == live.EVENTS
    assert streams.EVENT.fullmatch(next(answer.response))
    answer.close()


@pytest.mark.parametrize(
    "measure", [Held(streams=150), Events(streams=40, seconds=1.2)], ids=["held", "events"]
)
def test_wsgi_async_is_measured(measure: Callable[..., Sample], tmp_path: Path) -> None:
    """Far more streams than threads, and every event."""
    require_program("wrk")
    require_module("flask")
    command = python("-m", "wsgi_async", "--bind", "127.0.0.1:0", "--threads", "2")
    with running(*command, "benchmarks.live:flask", cwd=tmp_path) as process:
        sample = measure(Here(int(process.url.rpartition(":")[2])), LOAD)
    assert sample.errors == 0
    if isinstance(measure, Held):
        assert sample.value == 150
        assert sample.extra["speed"] > 0
        assert sample.extra["bytes_each"] >= 0
    else:
        assert sample.extra["held"] == 40
        assert sample.extra["delivered"] == 1
