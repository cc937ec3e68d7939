"""The programs of examples/live/ whose work ends with the client that has asked for it."""

from __future__ import annotations

import contextlib
import http.client
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from postgres import database
from rawclient import TIMEOUT, RawClient, request
from tools import ROOT, Process, python, require_module, running

LIVE = ROOT / "examples" / "live"


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    require_module("psycopg")
    with database() as connection:
        yield connection


def server(name: str, directory: Path, **env: str) -> Iterator[Process]:
    command = python("-m", "wsgi_async", "--threads", "4", "--port", "0", str(LIVE / name))
    with running(*command, cwd=directory, env=env) as process:
        yield process
        process.signal(signal.SIGTERM)
        assert process.wait() == 0, process.output
        assert not re.search(r"Traceback|ResourceWarning", process.output), process.output


@pytest.fixture
def queries(postgres: str, tmp_path: Path) -> Iterator[Process]:
    require_module("flask")
    yield from server("cancelled_query.py", tmp_path, DATABASE=postgres)


@pytest.fixture
def computations(tmp_path: Path) -> Iterator[Process]:
    yield from server("long_computation.py", tmp_path)


def get(url: str, target: str) -> str:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT)
    try:
        connection.request("GET", target)
        with connection.getresponse() as response:
            assert response.status == 200
            return response.read().decode().rstrip("\n")
    finally:
        connection.close()


def until(url: str, target: str, expected: str) -> None:
    """Ask again and again: what goes on there tells nobody."""
    deadline = time.monotonic() + TIMEOUT
    while (found := get(url, target)) != expected:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def client(url: str) -> RawClient:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return RawClient((parts.hostname, parts.port))


LEAVES = [RawClient.close, RawClient.half_close, RawClient.reset]


@contextlib.contextmanager
def clients_that_leave(url: str, target: str) -> Iterator[Callable[[], None]]:
    """One for each way to leave, who have asked for this; they leave when that is called."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(client(url)) for _ in LEAVES]
        for one in clients:
            one.send(request(target))

        def leave_all() -> None:
            for one, leave in zip(clients, LEAVES, strict=True):
                leave(one)

        yield leave_all


def test_the_query_of_a_tab_that_is_closed_is_cancelled(queries: Process) -> None:
    """All but one of the threads wait for the database."""
    url = queries.url
    assert get(url, "/report?seconds=0") == "The answer is 42."
    with clients_that_leave(url, "/report?seconds=600") as leave:
        until(url, "/running", "3")
        leave()
        until(url, "/running", "0")
    for _ in LEAVES:
        queries.wait_for("A report that nobody waits for was cancelled")
    assert get(url, "/report?seconds=0") == "The answer is 42."


def test_a_query_whose_tab_is_closed_at_once_is_cancelled(queries: Process) -> None:
    """Before it has reached the database, or even a thread."""
    url = queries.url
    for _ in range(20):
        with client(url) as one:
            one.send(request("/report?seconds=600"))
    until(url, "/running", "0")
    assert get(url, "/report?seconds=0") == "The answer is 42."


def test_the_queries_of_all_threads_are_cancelled(queries: Process) -> None:
    """None is free to do it, and one more comes."""
    url = queries.url
    clients = [client(url) for _ in range(4)]
    for one in clients:
        one.send(request("/report?seconds=600"))
    with client(url) as waiting:
        waiting.send(request("/report?seconds=0"))
        for one in clients:
            one.close()
        assert waiting.response().body == b"The answer is 42.\n"
    until(url, "/running", "0")


def test_a_computation_stops_that_nobody_waits_for(computations: Process) -> None:
    url = computations.url
    assert get(url, "/primes?below=1000") == "168 primes below 1000"
    with clients_that_leave(url, "/primes?below=1000000000") as leave:
        until(url, "/", "3 running, 1 complete, 0 stopped")
        leave()
        until(url, "/", "0 running, 1 complete, 3 stopped")
