"""How a server, its requests and its journal look as text, with whatever is in the answers."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from control_sockets import STATUS

from wsgi_async.ctl.in_flight import STATES, describe_requests
from wsgi_async.ctl.reports import describe_config, describe_errors, describe_level
from wsgi_async.ctl.status import describe_status
from wsgi_async.ctl.text import Screen
from wsgi_async.server import in_flight

PLAIN = Screen(None, False)
HOSTILE = "/\x1b[2J\x1b]0;owned\x07\nForged line"
REQUEST = {
    "id": "3f2a",
    "age": 12.34,
    "state": "running",
    "thread": "wsgi-0",
    "method": "GET",
    "target": HOSTILE,
    "client": "192.0.2.7:4711",
    "sent": 0,
    "received": 12_000,
    "stack": ['  File "shop.py", line 7, in view', "    rows = slow()"],
}
REQUESTS: dict[str, Any] = {
    "processes": [
        {
            "number": 0,
            "pid": 4300,
            "loop": {"blocked": False, "stack": None},
            "threads": 8,
            "lost": 0,
            "connections": 21,
            "more": 0,
            "requests": [{**REQUEST, "id": "late", "age": 0.1, "state": "queued", "stack": None}],
        },
        {
            "number": 1,
            "pid": 4301,
            "threads": 8,
            "lost": 1,
            "connections": 3,
            "more": 17,
            "loop": {"blocked": True, "stack": ["    time.sleep(60)"]},
            "application_loop": {"blocked": True, "stack": ["    requests.get(url)"]},
            "requests": [REQUEST],
        },
    ],
    "missing": [{"pid": 4302, "number": 2, "heard": 31.0}],
}


def test_a_status() -> None:
    assert describe_status(STATUS, PLAIN) == [
        "wsgi_async 1.0: shop, process 4242, for 2h46m",
        "  http://127.0.0.1:8000",
        "  unix:/run/shop.sock",
        "",
        "fleet     up, 2 of 2 ready, generation 3, 2 reloads (0 failed), replaced: 1 died",
        "requests  246,912 in all, 246,000 2xx, 900 4xx, 12 5xx",
        "refused   4 queue_full",
        "besides   2 responses cut",
        "bodies    11.8 M received, 9.2 G sent",
        "",
        "PROCESS   PID  STATE       AGE  HEARD  GEN  RESTARTS  REQUESTS  NOW     THREADS"
        "  QUEUED  OLDEST  CONNS  MEMORY  FILES",
        "      0  4300  ready     2h05m   0.4s    3         0   123,456    3         3/8     "
        "  0       -     24  64.1 M     41",
        "      1  4301  retiring  2h05m    31s    3         1   123,456    3  7/8 1 lost     "
        "  1    0.2s     24  64.1 M     41",
    ]


def test_live_responses_and_what_blocks_them() -> None:
    status = copy.deepcopy(STATUS)
    first, second = status["processes"]
    first["live"], second["live"] = 1200, 34
    second["application_loop_blocked"] = 4.2
    status["totals"]["live"] = {"ended": 7, "left": 4000, "error": 0}
    lines = describe_status(status, PLAIN)
    assert "blocked   application loop of process 1, for 4.2s" in lines
    assert "live      1,234 now, 7 ended, 4,000 left" in lines


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_no_line_is_longer_than_the_terminal_is_wide(width: int) -> None:
    status = copy.deepcopy(STATUS)
    status["addresses"] = ["unix:/" + "x" * 300]
    for lines in (
        describe_status(status, Screen(width, False))[:-3],
        describe_status(status, Screen(width, False))[-3:],
        [line for line in describe_requests(REQUESTS, Screen(width, False)) if "rows" not in line],
    ):
        assert max(map(len, lines)) <= width, lines
    table = describe_status(status, Screen(width, False))[-3:]
    assert all(re.search(r"ready|retiring|STATE", line) for line in table)


def test_what_is_not_known_is_no_error() -> None:
    status = copy.deepcopy(STATUS)
    for process in status["processes"]:
        for name in set(process) - {"number", "pid", "state"}:
            process[name] = None
    status["totals"] = dict.fromkeys(status["totals"])
    status["fleet"]["restarts"] = None
    lines = describe_status(status, PLAIN)
    assert lines[-2].split() == ["0", "4300", "ready", *"-" * 12]


def test_colours_say_what_is_wrong() -> None:
    status = copy.deepcopy(STATUS)
    status["fleet"]["reload"] = "failed"
    text = "\n".join(describe_status(status, Screen(160, True)))
    assert "\x1b[32mready\x1b[0m" in text
    assert "\x1b[31mthe last reload has failed\x1b[0m" in text
    assert "\x1b[31m31s\x1b[0m" in text  # its last sign of life
    assert "\x1b[31m7/8 1 lost\x1b[0m" in text


def test_requests_the_oldest_first_and_who_has_not_answered() -> None:
    lines = describe_requests(REQUESTS, PLAIN)
    target = "/\\x1b[2J\\x1b]0;owned\\x07\\x0aForged line"
    assert lines == [
        "19 in flight, 1 queued, 1 running; 2 processes, 16 threads (1 lost), 24 connections",
        "",
        " AGE  PROCESS  STATE    ID    THREAD  SENT  RECEIVED  CLIENT          METHOD  TARGET",
        f" 12s        1  running  3f2a  wsgi-0   0 B    11.7 K  192.0.2.7:4711  GET     {target}",
        '          File "shop.py", line 7, in view',
        "            rows = slow()",
        f"0.1s        0  queued   late  wsgi-0   0 B    11.7 K  192.0.2.7:4711  GET     {target}",
        "and 17 more in process 1",
        "",
        "process 1 (4301): its event loop is blocked, here:",
        "            time.sleep(60)",
        "",
        "process 1 (4301): its application loop is blocked, here:",
        "            requests.get(url)",
        "",
        "process 2 (4302): no answer; its last sign of life: 31s ago",
    ]


def test_what_is_meant_to_be_old_is_last() -> None:
    answer = copy.deepcopy(REQUESTS)
    live = {**REQUEST, "id": "events", "age": 90_000.0, "state": "live", "thread": None}
    answer["processes"][0]["requests"].insert(0, live)
    rows = [line for line in describe_requests(answer, PLAIN) if "192.0.2.7" in line]
    assert [re.split("  +", row.strip())[3] for row in rows] == ["3f2a", "late", "events"]


def test_each_state_of_a_request_is_explained() -> None:
    assert set(STATES) == set(in_flight.STATES)


def test_nothing_in_flight() -> None:
    answer = {"processes": [{**REQUESTS["processes"][0], "requests": []}], "missing": []}
    assert describe_requests(answer, PLAIN) == ["0 in flight; 1 process, 8 threads, 21 connections"]


def test_a_journal_is_read_like_a_log() -> None:
    at = STATUS["now"]
    answer = {
        "errors": [
            {"at": at + 5, "kind": "refused", "process": 1, "text": HOSTILE, "id": ""},
            {"at": at, "kind": "error", "process": None, "text": "ValueError: x", "id": "3f2a"},
        ]
    }
    head, first, last, lost = describe_errors({**answer, "lost": 7}, PLAIN)
    assert lost == "and 7 for which there was no room"
    assert head.split() == ["WHEN", "PROCESS", "KIND", "ID", "WHAT"]
    assert first.split()[2:] == ["-", "error", "3f2a", "ValueError:", "x"]
    assert last.endswith("refused  -     /\\x1b[2J\\x1b]0;owned\\x07\\x0aForged line")
    assert describe_errors({"errors": []}, PLAIN) == ["No errors, refusals or notes so far"]


def test_options_with_their_origins() -> None:
    options = {
        "workers": {"value": 2, "origin": "command line"},
        "bind": {"value": ["127.0.0.1:0"], "origin": "default"},
        "keyfile_password": {"value": None, "origin": "$WSGI_ASYNC_X", "hidden": True},
    }
    assert describe_config({"options": options, "notices": ["mind\nthis"]}, PLAIN) == [
        "workers = 2                              # command line",
        'bind = ["127.0.0.1:0"]                   # default',
        "keyfile_password = (set, and not shown)  # $WSGI_ASYNC_X",
        "# mind\\x0athis",
    ]


def test_who_logs_from_which_level_on() -> None:
    answer = {"processes": [4300, 4301], "missing": REQUESTS["missing"]}
    assert describe_level(answer, "debug", PLAIN) == [
        "From debug on is logged by 2 processes, and by those that begin before a reload",
        "process 2 (4302): no answer; its last sign of life: 31s ago",
    ]
