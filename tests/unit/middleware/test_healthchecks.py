"""Health checks: what they answer, and how often and where they run."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gateway import ask, environ_of, stream
from rawclient import TIMEOUT

from wsgi_async.errors import ConfigError
from wsgi_async.middleware import Check, HealthChecks
from wsgi_async.testing import FakeClock

Checks = dict[str, Callable[[], object] | Check]

quiet = logging.Logger("health")
quiet.addHandler(logging.NullHandler())


def probe(checks: Checks | HealthChecks, path: str = "/health", method: str = "GET") -> Any:
    app = checks if isinstance(checks, HealthChecks) else health(checks)
    reply = ask(app, environ_of(path, method))
    return reply.status, json.loads(reply.body or b"null")


def health(checks: Checks, **options: Any) -> HealthChecks:
    return HealthChecks(stream(b'"the application"'), checks, **{"logger": quiet, **options})


def fails() -> None:
    raise ConnectionRefusedError("postgres://user:hunter2@db refused")


def exits() -> None:
    raise SystemExit(3)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a check may wait for; opened at the end."""
    gate = threading.Event()
    yield gate
    gate.set()


def test_all_is_well() -> None:
    status, state = probe({"database": lambda: None, "cache": lambda: True})
    assert (status, state["status"]) == (200, "healthy")
    assert list(state["checks"]) == ["database", "cache"]
    assert state["checks"]["database"]["status"] == "healthy"
    assert state["checks"]["database"]["seconds"] >= 0
    assert "error" not in state["checks"]["cache"]
    assert state["timestamp"] > 1e9


@pytest.mark.parametrize(
    ("check", "error"),
    [
        (lambda: False, "failed"),
        (fails, "ConnectionRefusedError"),
        (exits, "SystemExit"),
        (lambda: 0, "returned int"),
        (lambda: "ok", "returned str"),
    ],
)
def test_one_that_fails(check: Callable[[], object], error: str) -> None:
    status, state = probe({"good": lambda: True, "bad": check})
    assert (status, state["status"]) == (503, "unhealthy")
    assert state["checks"]["good"]["status"] == "healthy"
    assert state["checks"]["bad"]["status"] == "unhealthy"
    assert state["checks"]["bad"]["error"] == error
    assert "hunter2" not in json.dumps(state)


def test_nothing_to_check_is_healthy() -> None:
    assert probe({})[0] == 200


def test_head_has_no_body_and_nobody_keeps_it() -> None:
    reply = ask(health({}), environ_of("/health", "HEAD"))
    assert (reply.status, reply.body) == (200, b"")
    assert reply.length
    assert reply.field("Cache-Control") == "no-store"
    assert reply.field("Content-Type") == "application/json"


def test_another_method_is_not_allowed() -> None:
    reply = ask(health({"bad": fails}), environ_of("/health", "POST"))
    assert (reply.status, reply.field("Allow")) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/", "/healthy", "/health/", "/Health", "//health"])
def test_another_path_is_the_applications(path: str) -> None:
    assert probe({"bad": fails}, path) == (200, "the application")


def test_a_path_of_ones_own() -> None:
    app = health({}, path="/-/up")
    assert probe(app, "/-/up?verbose")[1]["status"] == "healthy"
    assert probe(app, "/health") == (200, "the application")


def test_a_check_that_hangs_is_given_up_and_not_begun_again(gate: threading.Event) -> None:
    begun = []

    def hangs() -> None:
        begun.append(threading.current_thread())
        assert gate.wait(TIMEOUT)

    app = health({"slow": Check(hangs, timeout=0.02), "good": lambda: True}, ttl=0)
    for _ in range(3):
        status, state = probe(app)
        assert status == 503
        assert state["checks"]["slow"]["error"] == "no answer for 0.02 s"
        assert state["checks"]["good"]["status"] == "healthy"
    assert len(begun) == 1
    assert begun[0].daemon
    gate.set()
    begun[0].join(TIMEOUT)
    assert probe(app)[0] == 200
    assert len(begun) == 2


def test_checks_run_at_the_same_time() -> None:
    meeting = threading.Barrier(3)

    def meets() -> None:
        meeting.wait(TIMEOUT)

    names = ("one", "two", "three")
    assert probe({name: Check(meets, timeout=TIMEOUT) for name in names})[0] == 200


def test_a_result_is_good_for_a_moment() -> None:
    clock = FakeClock()
    runs = []
    app = health({"counted": lambda: runs.append(1)}, ttl=1.0, clock=clock.time)
    for _ in range(5):
        probe(app)
    assert len(runs) == 1
    clock.advance(0.75)
    probe(app)
    assert len(runs) == 1
    clock.advance(0.5)
    probe(app)
    assert len(runs) == 2


def test_a_storm_of_probes_runs_it_once(gate: threading.Event) -> None:
    came: set[int] = set()
    all_came = threading.Event()
    runs = []

    def clock() -> float:
        came.add(threading.get_ident())  # the first thing each of them does
        if len(came) == 8:
            all_came.set()
        return time.monotonic()

    def waits() -> None:
        runs.append(1)
        assert gate.wait(TIMEOUT)

    app = health({"slow": Check(waits, timeout=TIMEOUT)}, ttl=0, clock=clock)
    replies: list[Any] = []
    threads = [threading.Thread(target=lambda: replies.append(probe(app))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert all_came.wait(TIMEOUT)
    gate.set()
    for thread in threads:
        thread.join(TIMEOUT)
    assert [status for status, _ in replies] == [200] * 8
    assert len(runs) == 1
    probe(app)
    assert len(runs) == 2


def test_while_it_is_renewed_the_last_result_is_good(gate: threading.Event) -> None:
    """One thread waits for the check, not one for each probe."""
    clock = FakeClock()
    entered = threading.Semaphore(0)
    runs = []

    def second_waits() -> None:
        runs.append(1)
        if len(runs) == 2:
            entered.release()
            assert gate.wait(TIMEOUT)

    app = health({"slow": Check(second_waits, timeout=TIMEOUT)}, ttl=1, clock=clock.time)
    _, first = probe(app)
    clock.advance(2)
    replies: list[Any] = []
    waiting = threading.Thread(target=lambda: replies.append(probe(app)))
    waiting.start()
    assert entered.acquire(timeout=TIMEOUT)
    for _ in range(5):
        assert probe(app) == (200, first)
    assert len(runs) == 2
    gate.set()
    waiting.join(TIMEOUT)
    assert len(replies) == 1


def test_an_old_result_is_not_good_even_then(gate: threading.Event) -> None:
    clock = FakeClock()
    entered = threading.Semaphore(0)
    runs = []

    def second_waits() -> bool:
        runs.append(1)
        if len(runs) == 2:
            entered.release()
            assert gate.wait(TIMEOUT)
        return len(runs) == 1

    app = health({"slow": Check(second_waits, timeout=TIMEOUT)}, ttl=1, clock=clock.time)
    assert probe(app)[0] == 200
    clock.advance(3600)
    replies: list[Any] = []
    threads = [threading.Thread(target=lambda: replies.append(probe(app))) for _ in range(2)]
    threads[0].start()
    assert entered.acquire(timeout=TIMEOUT)
    threads[1].start()
    gate.set()
    for thread in threads:
        thread.join(TIMEOUT)
    assert [status for status, _ in replies] == [503, 503]
    assert len(runs) == 2


def test_the_log_tells_of_changes_once(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.Logger("changes")
    logger.addHandler(caplog.handler)
    good = [True]

    def check() -> None:
        if not good[0]:
            fails()

    app = health({"database": check}, ttl=0, logger=logger)
    for is_good in (True, True, False, False, False, True, True):
        good[0] = is_good
        probe(app)
    assert [record.getMessage() for record in caplog.records] == [
        "The health check database fails: ConnectionRefusedError",
        "The health check database passes again",
    ]
    assert "hunter2@db refused" in caplog.text, "the operator needs it"


def test_no_thread_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoThread(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading, "Thread", NoThread)
    status, state = probe({"database": lambda: True})
    assert (status, state["checks"]["database"]["error"]) == (503, "no thread for it")


@pytest.mark.parametrize(
    ("checks", "options", "message"),
    [
        ({}, {"path": "health"}, "begins with a slash"),
        ({}, {"ttl": -1}, "ttl is a number of seconds"),
        ({"a": 7}, {}, "the check 'a' must be a function"),
        ({"a": Check(print, timeout=0)}, {}, "the timeout of 'a'"),
    ],
)
def test_a_bad_option_is_an_error(checks: Any, options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        health(checks, **options)
