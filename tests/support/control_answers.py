"""What a control socket answers, made up: a busy shop with a little of everything."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["HOSTILE", "Shop"]

HOSTILE = "/a\x1b[2J\x1b]0;owned\x07[bold red]x[/]\u202e\u2028\x9b31m\r\n\t:smile:"
"""A target that would steer a terminal, forge a line, or be markup."""

STACK = [
    'File "/srv/venv/lib/python3.11/site-packages/flask/app.py", line 88, in full_dispatch_request',
    "  rv = self.dispatch_request()",
    'File "/srv/venv/lib/python3.11/site-packages/flask/app.py", line 865, in dispatch_request',
    "  return self.ensure_sync(self.view_functions[rule.endpoint])(**view_args)",
    'File "/srv/shop/shop/views/reports.py", line 118, in yearly',
    "  rows = ledger.sum_up(year, group_by=customer)",
    'File "/srv/shop/shop/ledger.py", line 57, in sum_up',
    "  return [self._row(entry) for entry in self.entries(year)]",
    'File "/srv/shop/shop/ledger.py", line 81, in entries',
    "  cursor.execute(QUERY, (year,))",
]

_TARGETS = (
    ("GET", "/reports/yearly?year=2026&group=customer", "running", 41.7),
    ("POST", "/uploads/photos", "receiving", 12.3),
    ("GET", "/exports/customers.csv", "parked", 9.8),
    ("GET", "/videos/unboxing.mp4", "sending", 7.41),
    ("GET", "/search?q=blue+bicycle&page=2", "running", 1.62),
    ("POST", "/cart/checkout", "running", 0.84),
    ("GET", "/products/1832", "running", 0.31),
    ("GET", "/search?q=lamp", "queued", 0.22),
    ("GET", "/api/stock?ids=5,8,13,21,34,55,89,144,233,377,610", "running", 0.12),
    ("GET", "/", "queued", 0.05),
    ("DELETE", "/cart/items/9", "queued", 0.01),
)


class Shop:
    """A server whose clock the caller turns.

    ``status`` and ``requests`` are as the control socket answers; a test changes them as it likes.
    """

    def __init__(self, processes: int = 4) -> None:
        self.asked: list[str] = []
        self.status: dict[str, Any] = {
            "version": "0.9.0",
            "name": "shop",
            "pid": 4100,
            "now": 1_800_000_000.0,
            "started": 1_800_000_000.0 - 275_520,
            "addresses": ["http://127.0.0.1:8000"],
            "fleet": {
                "state": "up",
                "reload": "none",
                "wanted": processes,
                "ready": processes,
                "generation": 3,
                "reloads": 2,
                "reloads_failed": 0,
                "restarts": {"died": 1, "max_requests": 6, "signal": 0},
            },
            "processes": [self._process(number) for number in range(processes)],
            "totals": {
                "requests": {"1xx": 0, "2xx": 0, "3xx": 0, "4xx": 0, "5xx": 0},
                "refused": {"overloaded": 14, "bad_request": 3},
                "cut": 2,
                "spooled": 318,
                "parked": 41,
                "given_up": 1,
                "log_dropped": 0,
                "received": 0,
                "sent": 0,
            },
        }
        self.requests: dict[str, Any] = {
            "processes": [
                {
                    "pid": 4101 + number,
                    "number": number,
                    "loop": {"blocked": False, "stack": None},
                    "more": 0,
                    "requests": [],
                }
                for number in range(processes)
            ],
            "missing": [],
        }
        for number, (method, target, state, age) in enumerate(_TARGETS):
            self.add(target, number % processes, method=method, state=state, age=age)

    def _process(self, number: int) -> dict[str, Any]:
        busy = (7, 3, 5, 2)[number % 4]
        return {
            "number": number,
            "pid": 4101 + number,
            "place": number,
            "generation": 3,
            "state": "ready",
            "age": 8_040.0 + number * 12,
            "heard": 0.2 * number,
            "requests": 0,
            "in_flight": busy + 1,
            "threads": {"busy": busy, "idle": 8 - busy, "aside": number % 2, "lost": 0},
            "queued": 3 if number == 0 else 0,
            "oldest_wait": 0.22 if number == 0 else 0,
            "connections": {
                "new": 1,
                "head": 3,
                "busy": busy + 1,
                "idle": 48 + number * 7,
                "lingering": 0,
            },
            "memory": (88 + number * 5) << 20,
            "files": 74 + number,
        }

    def add(
        self,
        target: str,
        process: int = 0,
        *,
        method: str = "GET",
        state: str = "running",
        age: float = 0.5,
        id: str = "",
    ) -> str:
        """A request in flight; its id."""
        requests = self.requests["processes"][process]["requests"]
        id = id or f"r-{process}-{len(requests)}"
        has_thread = state in ("running", "lost", "abandoned")
        requests.append(
            {
                "id": id,
                "age": age,
                "state": state,
                "thread": f"wsgi-{len(requests) + 1}" if has_thread else None,
                "method": method,
                "target": target,
                "client": f"203.0.113.{17 + 11 * len(requests) + process}:{50000 + process}",
                "sent": 3_400_000 if state in ("sending", "parked") else 0,
                "received": 18_200_000 if state == "receiving" else 0,
                "stack": list(STACK) if has_thread else None,
            }
        )
        return id

    def turn(self, seconds: float = 1.0, **answered: int) -> None:
        """Let time go by, in which so many requests of each class are answered: ``s2xx=7``."""
        self.status["now"] += seconds
        totals = self.status["totals"]
        for name, number in answered.items():
            totals["requests"][name[1:]] += number
            totals["sent"] += number * 14_000
            totals["received"] += number * 900
            for process in self.status["processes"]:
                process["requests"] += number // len(self.status["processes"])

    def ask(self, target: str) -> dict[str, Any]:
        """As a client of the control socket."""
        self.asked.append(target)
        told = self.status if target == "/status" else self.requests
        answer: dict[str, Any] = json.loads(json.dumps(told))
        if target == "/status":
            return answer
        if not target.endswith("stacks=1"):
            for process in answer["processes"]:
                for request in process["requests"]:
                    request["stack"] = None
        return answer
