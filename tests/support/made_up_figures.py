"""The dashboard's page with figures that are made up: rich ones, hostile ones, and none at all.

``python made_up_figures.py PORT`` shows it to whoever works on the page.
"""

from __future__ import annotations

import json
import math
import random
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import wsgi_async

__all__ = ["COLUMNS", "HOSTILE", "PAGE", "MadeUp"]

PAGE = Path(wsgi_async.__file__).with_name("operations") / "page"

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

COLUMNS = (
    *("t", "rps_1xx", "rps_2xx", "rps_3xx", "rps_4xx", "rps_5xx", "refused", "cut", "p50", "p90"),
    *("p99", "queue", "app", "cpu", "client", "in_flight", "live", "busy", "threads", "queued"),
    *("oldest_wait", "connections", "memory", "received", "sent", "processes"),
)

HOSTILE = "/<script>alert(1)</script>?\"'><img src=x onerror=alert(2)>\u202e\x1b[31m\0&amp;"
"""What a client may ask for, and nobody's page may take for anything but text."""

STACK = [
    'File "flask/app.py", line 1536, in __call__',
    'File "flask/app.py", line 1511, in wsgi_app',
    'File "flask/app.py", line 902, in dispatch_request',
    'File "shop/views.py", line 214, in report',
    "  rows = list(ledger.between(first, last))",
    'File "shop/ledger.py", line 57, in between',
    "  yield from self.connection.execute(QUERY, (first, last))",
    'File "psycopg/cursor.py", line 97, in execute',
    "  self._conn.wait(self._execute_gen(query, params))",
]


AWAITED = [
    'File "shop/board.py", line 31, in events',
    "  async for change in changes:",
    'File "shop/board.py", line 52, in listen',
    "  await self.changed.wait()",
]
"""Where a live response is suspended."""


class MadeUp:
    """A WSGI application: the page, and figures of the time that it is asked at.

    :param may_act: whether it says that actions are allowed.
    :param streams: whether there is a place for the event stream.
    """

    def __init__(self, *, may_act: bool = True, streams: bool = True) -> None:
        self.may_act = may_act
        self.streams = streams
        self.is_away = False
        """Whether it answers nothing of its figures."""
        self.is_hung = False
        """Whether whoever asks for them, or has an event stream, waits."""
        self.blocked = 0.0
        """For how long code has blocked the application loop of the last process."""
        self.fleet: dict[str, Any] = {}
        """What its fleet says that is not so well as it could be."""
        self.asked: list[tuple[str, dict[str, Any]]] = []
        """Actions, and what with."""
        self.ended = threading.Event()
        self._began = time.time() - 3.3 * 86400

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"].removeprefix("/")
        if not path.startswith("api/"):
            return self._file(path or "index.html", start_response)
        self._hang()
        if self.is_away:
            return self._json(start_response, {"error": "away"}, "503 Service Unavailable")
        if environ["REQUEST_METHOD"] == "POST":
            self.asked.append((path, json.loads(environ["wsgi.input"].read())))
            return self._json(start_response, {"accepted": True, "interrupted": True})
        if path == "api/events":
            if not self.streams:
                return self._json(start_response, {"error": "full"}, "503 Service Unavailable")
            start_response("200 OK", [("Content-Type", "text/event-stream")])
            return self._events()
        if path == "api/history":
            now = int(time.time())
            rows = [row_at(second) for second in range(now - 3599, now + 1)]
            return self._json(start_response, {"columns": COLUMNS, "step": 1, "rows": rows})
        if path == "api/requests":
            return self._json(start_response, requests(environ["QUERY_STRING"].endswith("1")))
        return self._json(start_response, self.state())

    def _file(self, name: str, start_response: Any) -> Iterable[bytes]:
        file = PAGE / name
        if file.suffix not in KINDS or not file.is_file():
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b""]
        policy = "default-src 'self'"
        fields = [("Content-Type", KINDS[file.suffix]), ("Content-Security-Policy", policy)]
        start_response("200 OK", fields)
        return [file.read_bytes()]

    def _json(self, start_response: Any, value: object, status: str = "200 OK") -> Iterable[bytes]:
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(value).encode()]

    def _hang(self) -> None:
        while self.is_hung and not self.ended.wait(0.1):
            pass

    def _events(self) -> Iterator[bytes]:
        while not self.is_away:
            self._hang()
            yield b"event: state\ndata: %s\n\n" % json.dumps(self.state()).encode()
            if self.ended.wait(1.0):
                return

    def state(self) -> dict[str, Any]:
        """As ``/api/state`` has it."""
        now = time.time()
        processes = [_process(number, now) for number in range(4)]
        processes[-1]["application_loop_blocked"] = self.blocked
        return {
            "version": wsgi_async.__version__,
            "name": "shop.wsgi:application",
            "pid": 4242,
            "now": now,
            "started": self._began,
            "addresses": ["http://127.0.0.1:8000"],
            "actions": self.may_act,
            "fleet": {
                "state": "up",
                "reload": "none",
                "wanted": 4,
                "ready": 4,
                "generation": 3,
                "reloads": 2,
                "reloads_failed": 1,
                "restarts": {"died": 1, "max_requests": 14, "loop_blocked": 0, "threads_lost": 1},
                **self.fleet,
            },
            "processes": processes,
            "totals": {
                "requests": {"1xx": 0, "2xx": 48201734, "3xx": 9120344, "4xx": 812377, "5xx": 4102},
                "refused": {"bad_request": 312, "target_too_long": 4, "queue_timeout": 91},
                "cut": 57,
                "spooled": 1290,
                "parked": 8812,
                "given_up": 12,
                "received": 91e9,
                "sent": 2.1e12,
                "log_dropped": 0,
            },
            "now_row": row_at(int(now)),
            "errors_lost": 0,
            "errors": errors(now),
        }


def row_at(second: int) -> list[float | None]:
    """A second: a wave with a peak every nine minutes, and a disturbance within it."""
    chance = random.Random(second)
    wave = 1 + 0.35 * math.sin(second / 400) + 0.12 * math.sin(second / 37)
    phase = second % 540
    trouble = math.exp(-(((phase - 300) / 28) ** 2))
    rate = 210 * wave * (1 + 0.5 * trouble) * chance.uniform(0.93, 1.07)
    wrong = rate * (0.002 + 0.13 * trouble) * chance.uniform(0.5, 1.5)
    cpu = 0.0062 * chance.uniform(0.9, 1.1)
    app = 0.019 * (1 + 3.2 * trouble) * chance.uniform(0.85, 1.15)
    queue = 0.0008 + 0.05 * trouble**2 * chance.uniform(0.7, 1.2)
    client = 0.004 * chance.uniform(0.7, 1.4)
    busy = min(32.0, round(rate * (app + cpu) * 0.6 + chance.uniform(0, 2)))
    mean = cpu + app + queue + client
    waiting = round(14 * trouble**2 * chance.uniform(0.6, 1.2))
    values = (
        *(second, 0.0, rate * 0.8, rate * 0.15, rate * 0.045 * chance.uniform(0.6, 1.6), wrong),
        *(3 * trouble**2, 0.2 * chance.random() ** 6, mean * 0.55),
        *(mean * 1.9, mean * chance.uniform(3.2, 4.6), queue, app, cpu, client),
        *(busy + waiting + round(9 * wave), round(4 * wave), busy, 32, waiting, waiting * 0.03),
        *(round(340 * wave + 40 * trouble), 4.1e8 + 6e7 * math.sin(second / 900) + 9e7 * trouble),
        *(rate * 900 * chance.uniform(0.5, 1.6), rate * 21000 * chance.uniform(0.8, 1.2), 4),
    )
    return [round(value, 6) for value in values]


def _process(number: int, now: float) -> dict[str, Any]:
    busy = (3, 5, 2, 8)[number]
    return {
        "number": number + 12,
        "pid": 4250 + number,
        "place": number,
        "generation": 3,
        "state": "ready",
        "age": 3000 + 7777 * number,
        "heard": (now * 7 + number) % 3,
        "requests": 1204411 + 90021 * number,
        "in_flight": busy + 4,
        "live": (0, 3, 0, 1)[number],
        "application_loop_blocked": 0.0,
        "queued": 2 * (number == 3),
        "threads": {"busy": busy, "idle": 8 - busy, "aside": int(number == 1), "lost": 0},
        "oldest_wait": 0.041 if number == 3 else 0.0,
        "connections": {"new": 1, "head": 0, "busy": busy + 4, "idle": 71, "lingering": 1},
        "restarts": number % 2,
        "memory": 98e6 + 4e6 * number,
        "files": 113 + number,
    }


def requests(with_stacks: bool) -> dict[str, Any]:
    """As ``/api/requests`` has it."""
    stack, awaited = (STACK, AWAITED) if with_stacks else (None, None)
    shown = [
        (41.7, "running", "GET", "/reports/2026/q3?...", 0, 0, 3),
        (12.2, "sending", "GET", "/downloads/catalogue.pdf", 8_130_560, 0, 1),
        (7.4, "receiving", "PUT", "/media/7f3a/original", 0, 23_068_672, 0),
        (5.2, "live", "GET", "/board/events", 18_432, 0, 1),
        (3.1, "parked", "GET", "/feeds/orders.xml", 1_048_576, 0, 2),
        (0.9, "running", "GET", HOSTILE, 0, 0, 1),
        (0.31, "running", "POST", "/basket/checkout", 0, 512, 3),
        (0.04, "queued", "GET", "/api/stock/4711", 0, 0, 3),
    ]
    answers = []
    for number in range(4):
        found = [
            {
                "id": f"4f{number}{at}",
                "age": age + time.time() % 60 * (at == 0),
                "state": state,
                "method": method,
                "target": target,
                "client": "203.0.113.9:51514",
                "sent": sent,
                "received": received,
                "thread": f"wsgi-async-{at}" if state == "running" else None,
                "stack": {"running": stack, "live": awaited}.get(state),
            }
            for at, (age, state, method, target, sent, received, of) in enumerate(shown)
            if of == number
        ]
        answers.append(
            {
                "pid": 4250 + number,
                "number": number + 12,
                "threads": 8,
                "lost": 0,
                "connections": 80,
                "more": 0,
                "requests": found,
                "loop": {"blocked": False, "stack": None},
                "application_loop": {"blocked": False, "stack": None},
            }
        )
    return {"processes": answers, "missing": []}


def errors(now: float) -> list[dict[str, Any]]:
    """As a journal has them."""
    found = [
        (
            14,
            "application",
            15,
            "the application raised ValueError: GET /prices",
        ),
        (31, "application", 13, "the application raised KeyError: GET /basket"),
        (47, "application", 12, "the application raised KeyError: GET /basket"),
        (52, "refused", 12, "503: no thread was free for 10 s: GET /search?..."),
        (318, "slow", 15, "in the application for 30.2 s, and still is: GET /reports/2026/q2"),
        (344, "application", 13, f"the application raised KeyError: GET {HOSTILE}"),
        (1290, "refused", 14, "400: a line of the head ends in a bare LF"),
        (5100, "note", "parent", "process 11 (pid 4249) has died: signal 9; another one starts"),
    ]
    return [
        {
            "at": now // 60 * 60 - ago,
            "kind": kind,
            "process": process,
            "text": text,
            "id": f"9c{ago}",
        }
        for ago, kind, process, text in found
    ]


if __name__ == "__main__":
    wsgi_async.serve(MadeUp(), int(sys.argv[1]), host="127.0.0.1", threads=16)
