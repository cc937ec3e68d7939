"""What the operations process answers, without a process."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from rawclient import TIMEOUT

from wsgi_async.launch.handed import put_census
from wsgi_async.operations.application import SCRAPES, OperationsApplication
from wsgi_async.processes import Census, FleetState
from wsgi_async.processes.states import Asker, Restart
from wsgi_async.scoreboard import table
from wsgi_async.scoreboard.board import Scoreboard
from wsgi_async.testing import TestClient

pytest.importorskip("prometheus_client")


@pytest.fixture
def board() -> Scoreboard:
    board = Scoreboard(2)
    board.parent.begin()
    return board


@pytest.fixture
def client(board: Scoreboard) -> TestClient:
    return TestClient(OperationsApplication(board))


def test_metrics_in_both_formats(client: TestClient) -> None:
    plain = client.get("/metrics")
    assert plain.status == 200
    assert plain.headers["Content-Type"].startswith("text/plain; version=")
    assert "# TYPE wsgi_async_requests_total counter" in plain.text
    assert plain.headers["Cache-Control"] == "no-store"
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    assert client.get("/metrics", headers=accept).text.endswith("# EOF\n")


def test_what_is_not_there_and_what_may_not_be(client: TestClient) -> None:
    answer = client.get("/")
    assert (answer.status, answer.text) == (
        404,
        "Not here. There are: /metrics, /-/healthy, /-/ready\n",
    )
    assert client.get("/metrics/").status == 404
    refused = client.post("/metrics", data=b"")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD")
    head = client.head("/-/healthy")
    assert (head.status, head.headers["Content-Length"], head.body) == (200, "3", b"")


@pytest.mark.parametrize(
    ("state", "ready", "expected"),
    [
        (FleetState.STARTING, 0, (503, "not ready: no process is ready\n")),
        # Each that is ready serves already.
        (FleetState.STARTING, 1, (200, "ready\n")),
        (FleetState.UP, 2, (200, "ready\n")),
        (FleetState.UP, 0, (503, "not ready: no process is ready\n")),
        (FleetState.STOPPING, 2, (503, "not ready: the server stops\n")),
    ],
)
def test_ready(
    board: Scoreboard,
    client: TestClient,
    state: FleetState,
    ready: int,
    expected: tuple[int, str],
) -> None:
    put_census(board, Census(state, 2, ready, Counter(), Counter(), 0))
    answer = client.get("/-/ready")
    assert (answer.status, answer.text) == expected
    assert client.get("/-/healthy").text == "ok\n"


class Busy:
    """Of processes that do not answer: a scrape takes until that is over."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.is_over = threading.Event()

    def collect(self) -> Iterable[Any]:
        self.entered.release()
        assert self.is_over.wait(TIMEOUT)
        return []


def test_scrapes_that_wait_leave_threads_to_the_probes(board: Scoreboard) -> None:
    """Else a fleet that hangs is taken for dead by whoever probes it, for many scrape it."""
    busy = Busy()
    client = TestClient(OperationsApplication(board, busy))
    with ThreadPoolExecutor(SCRAPES) as scrapers:
        waiting = [scrapers.submit(client.get, "/metrics") for _ in range(SCRAPES)]
        try:
            for _ in waiting:
                assert busy.entered.acquire(timeout=TIMEOUT)
            refused = client.get("/metrics")
            assert (refused.status, refused.text) == (503, "6 scrapes are under way\n")
            assert client.get("/-/healthy").status == 200
        finally:
            busy.is_over.set()
        assert [each.result(TIMEOUT).status for each in waiting] == [200] * SCRAPES
    assert client.get("/metrics").status == 200


def test_before_the_parent_has_said_anything_nobody_is_ready(client: TestClient) -> None:
    assert client.get("/-/ready").status == 503


def test_a_census_has_a_place_for_each_of_its_words(board: Scoreboard) -> None:
    """The parent's enums have the words of the metrics' labels."""
    restarts = Counter({restart: number for number, restart in enumerate(Restart, 1)})
    reloads = Counter({asker: number for number, asker in enumerate(Asker, 1)})
    put_census(board, Census(FleetState.UP, 3, 2, restarts, reloads, 4, 5))
    reading = board.read()
    for restart, count in restarts.items():
        assert reading.count(table.RESTARTS, restart.value) == count
    for asker, count in reloads.items():
        assert reading.count(table.RELOADS, asker.value) == count
    assert reading.count(table.RELOADS_FAILED) == 4
    assert reading.count(table.OPERATIONS_RESTARTS) == 5
    assert {label for [label] in table.RESTARTS.series} == {restart.value for restart in Restart}
    assert {label for [label] in table.RELOADS.series} == {asker.value for asker in Asker}
    assert {label for [label] in table.FLEET.series} == {state.name.lower() for state in FleetState}
