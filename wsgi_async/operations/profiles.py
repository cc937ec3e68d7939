"""*In the operations process:* a profile of all processes that serve, as one.

Each is asked to begin, and once the time is over to give what it has: see :mod:`.sampling`. What is
in the whole, and what is made of it, is in :mod:`.flame`.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .json_pages import Refusal
from .questions import Questions
from .sampled_stacks import OTHER
from .sampling import ASK, BEGIN, TAKE

__all__ = ["LEAST_SECONDS", "MOST_HZ", "MOST_SECONDS", "Profiles", "merged"]

LEAST_SECONDS, MOST_SECONDS = 0.05, 60.0
"""Of one profile."""

MOST_HZ = 250.0
"""Samples a second."""

TAKING = 6.0
"""Seconds for a process to give what it has, which may be some megabytes."""

GRACE = 0.05
"""Seconds to let it finish by itself: it has begun a little later than it was asked."""

MOST_TEXT = 16 << 20
"""Characters of all stacks of a profile: the rarest ones beyond it are one."""

Processes = Mapping[int, dict[str, Any]]
"""What processes have answered, by their pids."""


class Profiles:
    """Takes profiles, one at a time. *Any thread.*

    :param questions: puts questions to the processes that serve.
    :param sleep: lets so many seconds pass.
    """

    def __init__(self, questions: Questions, sleep: Callable[[float], object] = time.sleep) -> None:
        self._questions = questions
        self._sleep = sleep
        self._lock = threading.Lock()

    def take(self, seconds: float, hz: float) -> dict[str, Any]:
        """Take one, which takes so long.

        :param seconds: :data:`LEAST_SECONDS` to :data:`MOST_SECONDS`.
        :param hz: samples a second: 1 to :data:`MOST_HZ`.
        :returns: see :mod:`.flame`; and ``missing``, the processes that did not answer.
        :raises Refusal: another one is being taken, or no process answers.
        """
        if not self._lock.acquire(blocking=False):
            raise Refusal(409, "another profile is being taken: ask again once it is done")
        try:
            return self._take(seconds, hz)
        finally:
            self._lock.release()

    def _take(self, seconds: float, hz: float) -> dict[str, Any]:
        what = {"id": secrets.token_hex(8), "seconds": seconds, "hz": hz}
        begun, missing = self._questions.ask(ASK, {"do": BEGIN, **what})
        refused = {pid: answer for pid, answer in begun.items() if answer["why"]}
        if not begun:
            raise Refusal(503, _nobody(missing))
        if len(refused) == len(begun):
            raise Refusal(409, "; ".join(dict.fromkeys(each["why"] for each in refused.values())))
        self._sleep(seconds + GRACE)
        taken, missing = self._questions.ask(ASK, {"do": TAKE, **what}, patience=TAKING)
        return {**merged({**taken, **refused}, seconds, hz), "missing": missing}


def _nobody(missing: Iterable[Mapping[str, Any]]) -> str:
    reasons = [f"process {each['number']} (pid {each['pid']}): {each['why']}" for each in missing]
    return "; ".join(["no process answers that could be sampled", *reasons])


def merged(answers: Processes, seconds: float, hz: float) -> dict[str, Any]:
    """One profile of what several processes have answered.

    :param seconds: for how long they were to sample.
    :param hz: how many times a second.
    """
    samples: dict[str, int] = {}
    cpu: dict[str, float] = {}
    tells_cpu = True
    processes: list[dict[str, Any]] = []
    for pid, answer in answers.items():
        process = {"pid": pid, "number": answer["number"]}
        processes.append(process)
        if answer["why"]:
            process["error"] = answer["why"]
            continue
        process.update({name: answer[name] for name in ("taken", "missed", "cost", "seconds")})
        for text, count, used in answer["stacks"]:
            samples[text] = samples.get(text, 0) + count
            cpu[text] = cpu.get(text, 0.0) + (used or 0.0)
            tells_cpu = tells_cpu and used is not None
    kept = _kept(samples)
    sums = {name: sum(p.get(name, 0) for p in processes) for name in ("taken", "missed", "cost")}
    return {
        "seconds": seconds,
        "hz": hz,
        "samples": _cut(samples, kept),
        "cpu": _cut(cpu, kept, 6) if tells_cpu else None,
        **sums,
        "cost": round(sums["cost"], 6),
        "processes": processes,
    }


def _kept(samples: Mapping[str, int]) -> list[str]:
    """The stacks for which there is room, the most frequent first."""
    kept, size = [], 0
    for text in sorted(samples, key=lambda text: (-samples[text], text)):
        size += len(text)
        if size <= MOST_TEXT and text != OTHER:
            kept.append(text)
    return kept


def _cut(figures: Mapping[str, Any], kept: list[str], digits: int | None = None) -> dict[str, Any]:
    """Those that are kept, and the rest as one."""
    found = {text: figures[text] for text in kept}
    if len(figures) > len(kept):
        found[OTHER] = max(sum(figures.values()) - sum(found.values()), 0)
    return {text: round(figure, digits) for text, figure in found.items()} if digits else found
