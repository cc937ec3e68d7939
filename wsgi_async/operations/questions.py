"""*In the operations process:* what is asked of all processes that serve, and what comes of it.

Each process answers within half a second, also where its loop is blocked. One that has not within a
second is named, with its last sign of life: it is stopped, or short of a processor, or its end is
near.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from wsgi_async.logs import setup as logs

from .answers import INTERRUPT, LOG_LEVEL, REQUESTS
from .asking import Asking, Reply
from .log_level import LogLevel

__all__ = ["PATIENCE", "Questions", "Serving"]

PATIENCE = 1.0
"""Seconds for a process to answer."""


class Serving(Protocol):
    """A process, as the register has it. Times are those of ``time.monotonic()``, NaN where there
    is none yet."""

    @property
    def number(self) -> int: ...
    @property
    def pid(self) -> int: ...
    @property
    def ready(self) -> float:
        """When it was ready to serve."""

    @property
    def heard(self) -> float:
        """When it last gave a sign of life."""


class Questions:
    """See the module. *Any thread,* several at once.

    :param asking: asks them.
    :param processes: those that there are, as their parent knows them.
    :param log_level: for those that begin later.
    """

    def __init__(
        self,
        asking: Asking,
        processes: Callable[[], Iterable[Serving]],
        log_level: LogLevel,
    ) -> None:
        self._asking = asking
        self._processes = processes
        self._log_level = log_level

    def requests(self, *, stacks: bool) -> dict[str, Any]:
        """The requests in flight, by process, and who has not answered.

        :param stacks: with what their threads are doing.
        """
        answers, missing = self.ask(REQUESTS, {"stacks": stacks})
        return {"processes": list(answers.values()), "missing": missing}

    def interrupt(self, id: str) -> dict[str, Any]:
        """Break a request off, wherever it is: whether that was done, and in one line why not, or
        what happens now.

        :param id: as :meth:`requests` has it.
        """
        answers, missing = self.ask(INTERRUPT, {"id": id})
        for answer in answers.values():
            if answer["found"]:
                return {"interrupted": answer["interrupted"], "why": answer["why"]}
        # A loop that is blocked, or one that is over, could not look.
        reasons = [*dict.fromkeys(answer["why"] for answer in answers.values())]
        if missing:
            names = ", ".join(f"{each['number']} (pid {each['pid']})" for each in missing)
            reasons.append(f"no answer from process {names}")
        why = "; ".join(reasons) or "no process serves"
        return {"interrupted": False, "why": why}

    def set_log_level(self, level: str) -> dict[str, Any]:
        """Have what the processes tell be logged from a level on, in those that begin later too,
        until a reload.

        :param level: one of :data:`.log_level.LEVELS`.
        :raises ValueError: it is none of these.
        """
        self._log_level.ask(level)  # first: who is not asked below looks there later
        logs.set_level(level)
        answers, missing = self.ask(LOG_LEVEL, {"level": level})
        return {"level": level, "processes": list(answers), "missing": missing}

    def ask(
        self, ask: str, arguments: Mapping[str, Any], patience: float | None = None
    ) -> tuple[dict[int, dict[str, Any]], list[dict[str, Any]]]:
        """Put one to all of them: the answers of those that have, by pid, and the others.

        :param ask: what is asked.
        :param arguments: what the question says besides.
        :param patience: seconds to wait for answers, at most; None: :data:`PATIENCE`.
        """
        patience = PATIENCE if patience is None else patience
        known = [each for each in self._processes() if each.pid and not math.isnan(each.ready)]
        awaited = [each.pid for each in known]
        replies = self._asking.ask(ask, arguments, patience=patience, awaited=awaited)
        answers = {
            reply.pid: reply.answer
            for reply in replies
            if reply.answer is not None and "error" not in reply.answer
        }
        heard = {each.pid: each.heard for each in known}
        failed = {reply.pid: reply for reply in replies if reply.pid not in answers}
        # One that is not there has ended meanwhile, or cannot put itself in the way of questions.
        late = [failed.get(each.pid, Reply(each.pid, each.number, None)) for each in known]
        missing = [
            _missing(reply, heard[reply.pid], patience)
            for reply in late
            if reply.pid not in answers
        ]
        return answers, missing


def _missing(reply: Reply, heard: float, patience: float) -> dict[str, Any]:
    ago = None if math.isnan(heard) else round(max(0.0, time.monotonic() - heard), 3)
    error = None if reply.answer is None else reply.answer.get("error")
    return {
        "pid": reply.pid,
        "number": reply.number,
        "heard": ago,
        "why": error or f"no answer within {patience:g} s",
    }
