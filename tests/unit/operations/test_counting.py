"""The subscriber that counts: what happens in a server, in its area of the scoreboard."""

from __future__ import annotations

import math
import os
import re
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from wire import Held, Site, echo, hello, responding

from wsgi_async.connection.vitals import LoopVitals
from wsgi_async.events import CertificateInfo, RequestInfo, ResponseInfo
from wsgi_async.operations import counting
from wsgi_async.operations.counting import FILES_EVERY, CountingObserver
from wsgi_async.scoreboard import table
from wsgi_async.scoreboard.board import Scoreboard
from wsgi_async.scoreboard.table import METHODS, STATUSES, Kind, Metric
from wsgi_async.server.figures import Figures, take_figures
from wsgi_async.system.usage import open_files, resident_memory

REQUEST = RequestInfo("1", "GET", "/", "HTTP/1.1", "127.0.0.1:1", ())
RESPONSE = ResponseInfo(200, 13, 0.02, True)


class Counted:
    """A scoreboard, and the subscriber of its first process."""

    def __init__(self) -> None:
        self.board = Scoreboard(2)
        self.observer = CountingObserver(self.board.area(0))

    def count(self, metric: Metric, *labels: str) -> int:
        return self.board.read().count(metric, *labels)

    def requests(self) -> dict[tuple[str, ...], int]:
        """Those of which there are some."""
        reading = self.board.read()
        counts = {
            labels: reading.count(table.REQUESTS, *labels) for labels in table.REQUESTS.series
        }
        return {labels: count for labels, count in counts.items() if count}

    def gauge(self, metric: Metric, *labels: str) -> float | None:
        """As it is shown; None where it is not."""
        return dict(self.board.read().gauge(metric, *labels)).get("0")

    def times(self, metric: Metric) -> int:
        return self.board.read().histogram(metric).counts[-1]


def figures(site: Site) -> Figures:
    return take_figures(site.connections, site.loop.time())


# --- Requests


def test_each_is_counted_once_by_method_and_class_of_status() -> None:
    counted = Counted()
    with Site(responding("201 Created"), subscribers=[counted.observer]) as site:
        client = site.connect()
        for method in ("GET", "POST", "BREW", "get"):
            client.get("/", method=method)
    assert counted.requests() == {("GET", "2xx"): 1, ("POST", "2xx"): 1, ("other", "2xx"): 2}
    assert counted.gauge(table.IN_FLIGHT) == 0.0


@pytest.mark.parametrize(
    ("status", "kind"), [(200, "2xx"), (304, "3xx"), (499, "4xx"), (599, "5xx"), (999, "5xx")]
)
def test_every_status_that_pep_3333_allows_has_a_class(status: int, kind: str) -> None:
    counted = Counted()
    counted.observer.request_finished(REQUEST, RESPONSE._replace(status=status))
    assert counted.requests() == {("GET", kind): 1}


def test_no_client_makes_a_label() -> None:
    """Whatever it sends as its method, and whatever is refused."""
    counted = Counted()
    hostile = ("A" * 60, "GET2", "x-y", "OPTIONS\x00", '"} 1\n', "", "\xff")
    for method in hostile:
        counted.observer.request_finished(REQUEST._replace(method=method), RESPONSE)
        request = REQUEST._replace(method=method)
        counted.observer.request_refused("127.0.0.1:1", 418, "no", request)
    assert counted.requests() == {("other", "2xx"): len(hostile), ("other", "4xx"): len(hostile)}
    assert counted.count(table.REFUSED, table.OTHER) == len(hostile)


def test_bytes_and_times_of_a_request() -> None:
    counted = Counted()
    with Site(echo, subscribers=[counted.observer]) as site:
        client = site.connect()
        answer = client.get("/up", "Content-Length: 5", method="POST", body=b"12345")
        client.get("/")
    assert counted.count(table.RECEIVED) == 5
    assert counted.count(table.SENT) == len(answer.body) + len("GET /\n")
    for metric in (table.DURATION, table.QUEUE, table.APPLICATION):
        assert counted.times(metric) == 2
    assert counted.board.read().histogram(table.DURATION).sum > 0


def test_what_never_came_to_it_has_no_time() -> None:
    """The loop answers a health check itself: it waits for no thread."""
    counted = Counted()
    with Site(subscribers=[counted.observer], health_path="/health") as site:
        site.connect().get("/health")
    assert counted.times(table.DURATION) == 1
    assert counted.times(table.QUEUE) == counted.times(table.APPLICATION) == 0


def test_those_in_flight_are_counted_as_they_come_and_go() -> None:
    counted, application = Counted(), Held()
    with Site(application, subscribers=[counted.observer]) as site:
        first, second = site.connect(), site.connect()
        first.ask("/a")
        second.ask("/b")
        application.wait_entered()
        application.wait_entered()
        assert counted.gauge(table.IN_FLIGHT) == 2.0
        application.gate.release()
        application.gate.release()
        site.settle()
        assert counted.gauge(table.IN_FLIGHT) == 0.0


def test_a_refusal_is_a_request_too_and_has_a_reason() -> None:
    """A client that counts its answers counts these."""
    counted = Counted()
    with Site(subscribers=[counted.observer]) as site:
        site.connect().send("nonsense\r\n\r\n", "GET")
        site.connect().send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: more\r\n\r\n", "PUT")
        site.settle()
    assert counted.requests() == {("other", "4xx"): 2}
    assert counted.count(table.REFUSED, "bad_request") == 1
    assert counted.count(table.REFUSED, "expectation") == 1


def reasons(counted: Counted) -> dict[str, int]:
    """Of refusals."""
    counts = {label: counted.count(table.REFUSED, label) for [label] in table.REFUSED.series}
    return {label: count for label, count in counts.items() if count}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"queue_size": 1}, "queue_full"),
        ({"queue_timeout": 1}, "queue_timeout"),
        ({"cap": 2}, "connections_full"),
    ],
    ids=["queue_full", "queue_timeout", "connections_full"],
)
def test_what_is_full_is_told_apart(options: dict[str, int], expected: str) -> None:
    """More threads help against the one, and more connections against the other."""
    counted, application = Counted(), Held()
    with Site(application, subscribers=[counted.observer], threads=1, **options) as site:
        site.connect().ask("/runs")
        application.wait_entered()
        site.connect().ask("/waits")
        if "queue_timeout" in options:
            site.advance(2)
        else:
            site.connect().ask("/third")
        assert reasons(counted) == {expected: 1}
        application.gate.release(2)
        site.settle()


def test_a_body_for_which_there_is_no_room_is_told_apart_too() -> None:
    counted = Counted()
    with Site(
        echo, subscribers=[counted.observer], spool_threshold=1000, max_spool_size=20_000
    ) as site:
        client = site.connect()
        client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n", "PUT")
        client.transport.receive(b"x" * 30_000)
        site.settle()
    assert reasons(counted) == {"buffers_full": 1}


def test_a_request_that_is_refused_while_it_runs_is_counted_once() -> None:
    counted, application = Counted(), Held()
    with Site(application, subscribers=[counted.observer], request_timeout=1) as site:
        site.connect().ask("/late", method="DELETE")
        application.wait_entered()
        site.sweep(2)
        application.gate.release()
        site.settle()
    assert counted.requests() == {("DELETE", "5xx"): 1}
    assert counted.count(table.REFUSED, "application_late") == 1
    assert counted.count(table.GIVEN_UP) == 1
    assert counted.gauge(table.IN_FLIGHT) == 0.0


def test_a_client_that_leaves_is_4xx() -> None:
    counted, application = Counted(), Held()
    with Site(application, subscribers=[counted.observer]) as site:
        client = site.connect()
        client.ask("/")
        application.wait_entered()
        client.transport.abort()
        application.gate.release()
        site.settle()
    assert counted.requests() == {("GET", "4xx"): 1}
    assert counted.count(table.CUT) == 1
    assert counted.gauge(table.IN_FLIGHT) == 0.0


def test_what_a_request_has_been_through() -> None:
    counted = Counted()
    facts = {"was_spooled": True, "was_parked": True, "is_given_up": True, "complete": False}
    counted.observer.request_finished(REQUEST, RESPONSE)
    counted.observer.request_finished(REQUEST, RESPONSE._replace(**facts))
    for metric in (table.SPOOLED, table.PARKED, table.GIVEN_UP, table.CUT):
        assert counted.count(metric) == 1
    counted.observer.connection_dropped("127.0.0.1:1", "it does not take its response")
    assert counted.count(table.DROPPED) == 1


# --- How full it is


def test_threads_and_queue_as_they_are() -> None:
    counted, application = Counted(), Held()
    with Site(application, subscribers=[counted.observer], threads=2) as site:
        for target in ("/a", "/b", "/c"):
            site.connect().ask(target)
        application.wait_entered()
        application.wait_entered()
        site.loop.clock.advance(1.5)
        counted.observer.sample(figures(site))
        states = {kind.value: counted.gauge(table.THREADS, kind.value) for kind in table.ThreadKind}
        assert states == {"busy": 2.0, "idle": 0.0, "aside": 0.0, "lost": 0.0}
        assert counted.gauge(table.QUEUED) == 1.0
        assert counted.gauge(table.OLDEST_WAIT) == 1.5
        for _ in range(3):
            application.gate.release()
        site.settle()
        counted.observer.sample(figures(site))
        assert counted.gauge(table.THREADS, "idle") == 2.0
        assert counted.gauge(table.QUEUED) == counted.gauge(table.OLDEST_WAIT) == 0.0


def test_an_application_loop_that_is_blocked() -> None:
    counted = Counted()
    with Site(Held(), subscribers=[counted.observer]) as site:
        counted.observer.sample(figures(site))
        assert counted.gauge(table.LOOP_BLOCKED) == 0.0
        counted.observer.application_loop_blocked(0.75, [])
        site.connections.loop_vitals = lambda: LoopVitals(0.75, 3)
        counted.observer.sample(figures(site))
        assert (counted.gauge(table.LOOP_BLOCKED), counted.count(table.LOOP_BLOCKS)) == (0.75, 1)


def test_each_connection_is_in_one_state() -> None:
    counted, application = Counted(), Held()
    with Site(application, subscribers=[counted.observer], cap=50) as site:
        site.connect()
        site.connect().send("GET / HTT")
        running, idle, lingering = site.connect(), site.connect(), site.connect()
        application.gate.release()
        idle.get("/")
        application.wait_entered()
        running.ask("/")
        application.wait_entered()
        lingering.send("nonsense\r\n\r\n", "GET")
        site.loop.run_pending()
        counted.observer.sample(figures(site))
        for state in ("new", "head", "busy", "idle", "lingering"):
            assert counted.gauge(table.CONNECTIONS, state) == 1.0, state
        assert counted.gauge(table.CONNECTIONS_LIMIT) == 50.0
        application.gate.release()
        site.settle()


def test_budgets_in_use_beside_their_limits() -> None:
    counted = Counted()
    with Site(hello, subscribers=[counted.observer], files=7, max_buffer_size=1000) as site:
        assert site.budgets.memory.reserve(300)
        assert site.budgets.files.reserve(2)
        assert site.budgets.disk.reserve(50)
        counted.observer.sample(figures(site))
        site.budgets.memory.release(300)
        site.budgets.files.release(2)
        site.budgets.disk.release(50)
    assert counted.gauge(table.BUFFERED) == 300.0
    assert counted.gauge(table.BUFFER_LIMIT) == 1000.0
    assert counted.gauge(table.SPOOL) == 50.0
    assert counted.gauge(table.SPOOL_FILES) == 2.0
    assert counted.gauge(table.SPOOL_FILES_LIMIT) == 7.0


def test_the_first_certificate_that_ends_counts() -> None:
    counted = Counted()
    assert counted.gauge(table.TLS_EXPIRY) is None
    certificates = tuple(CertificateInfo("a", "", (), 0.0, end) for end in (30.0, 20.0, 25.0))
    counted.observer.certificates(certificates)
    assert counted.gauge(table.TLS_EXPIRY) == 20.0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_and_descriptors_are_what_the_system_says() -> None:
    counted = Counted()
    counted.observer.sample(None)
    assert counted.gauge(table.FILES) == len(os.listdir("/proc/self/fd")) - 1 == open_files()
    memory = counted.gauge(table.MEMORY)
    assert memory is not None
    assert 2**20 < memory < 2**40
    assert math.isclose(memory, resident_memory(), rel_tol=0.5)


def test_descriptors_are_not_counted_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand of them may take a while."""
    looks: list[int] = []

    def look() -> float:
        looks.append(1)
        return 5.0

    monkeypatch.setattr(counting, "open_files", look)
    counted = Counted()
    for _ in range(FILES_EVERY + 1):
        counted.observer.sample(None)
    assert len(looks) == 2


def test_lines_of_the_logs_that_were_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those of its own time: a process that was forked has its parent's count."""
    total = [100]
    monkeypatch.setattr(counting, "dropped", lambda: total[0])
    counted = Counted()
    counted.observer.sample(None)
    assert counted.count(table.LOG_DROPPED) == 0
    total[0] += 7
    counted.observer.sample(None)
    counted.observer.sample(None)
    assert counted.count(table.LOG_DROPPED) == 7


# --- Processes after one another


def test_a_successor_counts_on_and_begins_with_nothing_in_flight() -> None:
    counted = Counted()
    counted.observer.request_started(REQUEST)
    counted.observer.request_started(REQUEST)
    counted.observer.request_finished(REQUEST, RESPONSE)
    counted.board.ended(0)  # it was killed
    assert counted.gauge(table.IN_FLIGHT) is None
    assert counted.gauge(table.UP) is None
    successor = CountingObserver(counted.board.area(0))
    successor.request_finished(REQUEST, RESPONSE)
    assert counted.requests() == {("GET", "2xx"): 2}
    assert counted.gauge(table.UP) == 1.0
    started = counted.gauge(table.STARTED)
    assert started is not None
    assert started > 1.5e9


def test_every_metric_of_a_process_is_filled() -> None:
    """None of the table is left out: a server that does all of it leaves no figure unknown."""
    counted = Counted()
    with Site(hello, subscribers=[counted.observer]) as site:
        site.connect().get("/")
        counted.observer.certificates((CertificateInfo("a", "", (), 0.0, 1.0),))
        counted.observer.sample(figures(site))
    reading = counted.board.read()
    unknown = {
        metric.name
        for metric in table.METRICS
        if metric.kind is Kind.GAUGE
        for labels in metric.series
        if not dict(reading.gauge(metric, *labels))
    }
    # Of all processes together the parent tells.
    assert table.WANTED.name in unknown
    assert all(re.match("wsgi_async_(processes|fleet)_", name) for name in unknown), unknown


def test_all_of_it_is_on_the_loop() -> None:
    """A word has one writer: no event of a pool thread is heard."""
    counted = Counted()
    threads: set[str] = set()

    def noting(name: str) -> Callable[..., None]:
        hear = getattr(counted.observer, name)

        def note(*args: Any, **kwargs: Any) -> None:
            threads.add(threading.current_thread().name)
            hear(*args, **kwargs)

        return note

    heard = [
        name for name in vars(CountingObserver) if name in vars(type(counted.observer).__base__)
    ]
    for name in heard:
        if callable(getattr(counted.observer, name)) and not name.startswith("_"):
            setattr(counted.observer, name, noting(name))

    def failing(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        environ["wsgi.errors"].write("a line\n")
        raise ValueError("no")

    with Site(failing, subscribers=[counted.observer]) as site:
        client = site.connect()
        assert client.get("/").status == 500
    assert threads == {threading.current_thread().name}
    assert counted.requests() == {("GET", "5xx"): 1}


def test_classes_and_methods_are_where_the_table_has_them() -> None:
    """The place of a figure is computed: of every method and status it is that of the table."""
    counted = Counted()
    for method in METHODS:
        for status in (102, 204, 302, 404, 502):
            request = REQUEST._replace(method=method)
            counted.observer.request_finished(request, RESPONSE._replace(status=status))
    assert counted.requests() == {(method, kind): 1 for method in METHODS for kind in STATUSES}
