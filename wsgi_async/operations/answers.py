"""*In a process that serves:* what it answers of itself, and does, for the operations process.

=============== ===============================================================================
``requests``    the requests in flight, and with ``stacks`` what their threads are doing
``interrupt``   breaks off the one of this ``id``, as ``interrupt_late`` does
``log-level``   logs from this ``level`` on
``profile``     samples the stacks of its threads (:mod:`.sampling`)
``metrics``     what it alone has of the application's own (:mod:`.app_metrics`)
=============== ===============================================================================
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wsgi_async.logs import setup as logs
from wsgi_async.server.in_flight import Entry
from wsgi_async.server.insight import Insight, LoopStanding

from . import sampling
from .exchange import Answer

__all__ = ["INTERRUPT", "LOG_LEVEL", "METRICS", "REQUESTS", "Answers"]

REQUESTS = "requests"
INTERRUPT = "interrupt"
LOG_LEVEL = "log-level"
METRICS = "metrics"

MOST_OF_STACKS = 2 << 20
"""Characters of stacks in an answer, which has a bound itself: further requests have none."""

LONGEST_LINE = 500
"""Characters of a line of a stack."""


class Answers:
    """See the module.

    :param number: the process's.
    :param insight: the server's; None before it has begun.
    """

    def __init__(self, number: int, insight: Callable[[], Insight | None]) -> None:
        self._number = number
        self._insight = insight
        self._last: Insight | None = None
        self._sampler = sampling.Sampler(self._at_work)

    @property
    def table(self) -> dict[str, Answer]:
        """By what is asked, who answers it."""
        return {
            REQUESTS: self._requests,
            INTERRUPT: self._interrupt,
            LOG_LEVEL: self._set_log_level,
            sampling.ASK: self._profile,
        }

    def _found(self) -> Insight | None:
        """Once the server is over, what its threads still do is there to see."""
        insight = self._insight()
        if insight is not None:
            self._last = insight
        return self._last

    def _at_work(self) -> list[tuple[int, int]]:
        insight = self._found()
        return [] if insight is None else insight.at_work()

    def _requests(self, question: Mapping[str, Any]) -> dict[str, Any]:
        insight = self._found()
        named = {"pid": os.getpid(), "number": self._number}
        if insight is None:
            return {**named, **_NOTHING}
        look = insight.look()
        table = look.table
        stacks: Sequence[list[str] | None] = [None] * len(table.entries)
        if question.get("stacks"):
            stacks = _bounded(insight.stacks(table.entries))
        return {
            **named,
            "loop": _standing(look.loop is LoopStanding.BLOCKED, look.loop_stack),
            "application_loop": _standing(
                look.application_loop_stack is not None, look.application_loop_stack
            ),
            "threads": table.threads,
            "lost": table.lost,
            "connections": table.connections,
            "more": table.more,
            "requests": list(map(_wired, table.entries, stacks)),
        }

    def _profile(self, question: Mapping[str, Any]) -> dict[str, Any]:
        return {"number": self._number, **self._sampler.answer(question)}

    def _interrupt(self, question: Mapping[str, Any]) -> dict[str, Any]:
        insight = self._found()
        if insight is None:
            return {"found": False, "interrupted": False, "why": "this process has just begun"}
        done = insight.interrupt(str(question["id"]))
        return {"found": done.is_found, "interrupted": done.has_worked, "why": done.why}

    def _set_log_level(self, question: Mapping[str, Any]) -> dict[str, Any]:
        logs.set_level(question["level"])
        return {"level": question["level"]}


def _standing(is_blocked: bool, stack: list[str] | None) -> dict[str, Any]:
    """What there is to say of a loop."""
    return {"blocked": is_blocked, "stack": None if stack is None else _bounded([stack])[0]}


_NOTHING: dict[str, Any] = {
    "loop": _standing(False, None),
    "application_loop": _standing(False, None),
    "threads": 0,
    "lost": 0,
    "connections": 0,
    "more": 0,
    "requests": [],
}
"""What a process says of its requests before its server has begun."""


def _wired(entry: Entry, stack: list[str] | None) -> dict[str, Any]:
    return {
        "id": entry.id,
        "age": round(entry.age, 3),
        "state": entry.state,
        "thread": None if entry.thread is None else entry.thread.name,
        "method": entry.method,
        "target": entry.target,
        "client": entry.client,
        "sent": entry.sent,
        "received": entry.received,
        "stack": stack,
    }


def _bounded(stacks: Sequence[list[str] | None]) -> list[list[str] | None]:
    room = MOST_OF_STACKS
    found: list[list[str] | None] = []
    for stack in stacks:
        lines = None if stack is None else [line[:LONGEST_LINE] for line in stack]
        room -= sum(map(len, lines or ()))
        found.append(lines if room >= 0 else None)
    return found
