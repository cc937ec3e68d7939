"""How the server is, made of shared memory alone."""

from __future__ import annotations

import json
import math
import time

from wsgi_async.operations.counting import begin
from wsgi_async.operations.state import Facts, state
from wsgi_async.scoreboard import table
from wsgi_async.scoreboard.board import Scoreboard
from wsgi_async.scoreboard.register import FleetRow, ProcessRow, Register

FACTS = Facts(4711, 1.5, "the application site:app", ("http://127.0.0.1:1",))


def test_what_is_known_is_told_and_what_is_not_is_null() -> None:
    board, register, now = Scoreboard(4), Register(4), time.monotonic()
    begin(board.parent)
    area = board.area(0)
    begin(area)
    area.add(table.REQUESTS, "GET", "2xx", by=3)
    area.add(table.REQUESTS, "POST", "5xx")
    area.add(table.REFUSED, "queue_full", by=2)
    area.histogram(table.DURATION).add(0.002)
    area.histogram(table.DURATION).add(1000.0)
    area.set(table.IN_FLIGHT, 2.0)
    area.set(table.THREADS, 5, "busy")
    area.set(table.OLDEST_WAIT, 0.12345)
    area.set(table.LOOP_BLOCKED, 3.21987)
    area.set(table.MEMORY, 1 << 20)
    board.parent.add(table.RELOADS, "control", by=2)
    board.parent.add(table.RESTARTS, "died", by=4)
    rows = [
        ProcessRow(0, "ready", 11, 0, 2, 4, now - 10, now - 9, now - 1),
        ProcessRow(1, "booting", 0, 1, 3, 0, now, math.nan, math.nan),
    ]
    register.write(FleetRow("up", "under_way", 2, 1, 3), rows)
    found = json.loads(json.dumps(state(board, register, FACTS), allow_nan=False))
    assert (found["pid"], found["name"]) == (4711, "the application site:app")
    assert found["addresses"] == ["http://127.0.0.1:1"]
    assert abs(found["now"] - time.time()) < 60
    fleet = found["fleet"]
    assert (fleet["state"], fleet["reload"], fleet["generation"]) == ("up", "under_way", 3)
    assert (fleet["wanted"], fleet["ready"]) == (2, 1)
    assert (fleet["reloads"], fleet["reloads_failed"]) == (2, 0)
    assert fleet["restarts"]["died"] == sum(fleet["restarts"].values()) == 4
    first, second = found["processes"]
    assert (first["number"], first["pid"], first["state"]) == (0, 11, "ready")
    assert (first["requests"], first["in_flight"], first["restarts"]) == (4, 2, 4)
    assert first["threads"] == {"busy": 5, "idle": None, "aside": None, "lost": None}
    assert (first["oldest_wait"], first["memory"], first["queued"]) == (0.123, 1 << 20, None)
    assert (first["application_loop_blocked"], second["application_loop_blocked"]) == (3.22, None)
    assert 10 <= first["age"] < 60
    assert 1 <= first["heard"] < 60
    assert (second["pid"], second["state"], second["heard"]) == (None, "booting", None)
    assert (second["requests"], second["in_flight"]) == (None, None)
    totals = found["totals"]
    assert totals["requests"] == {"1xx": 0, "2xx": 3, "3xx": 0, "4xx": 0, "5xx": 1}
    assert totals["refused"]["queue_full"] == sum(totals["refused"].values()) == 2
    lasted = dict(
        zip([*totals["duration"]["bounds"], "all"], totals["duration"]["counts"], strict=True)
    )
    assert (lasted[0.001], lasted[0.0025], lasted[60.0], lasted["all"]) == (0, 1, 1, 2)


def test_a_process_that_is_gone_has_left_its_counts() -> None:
    board, register = Scoreboard(4), Register(4)
    area = board.area(0)
    begin(area)
    area.add(table.REQUESTS, "GET", "2xx", by=3)
    board.ended(0)
    found = state(board, register, Facts(1, 0.0, "", ()))
    assert (found["processes"], found["name"]) == ([], None)
    assert found["totals"]["requests"]["2xx"] == 3
