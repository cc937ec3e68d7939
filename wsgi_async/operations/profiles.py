"""*In the operations process:* a profile of all processes that serve, as one.

Each is asked to begin, and once the time is over to give what it has: see ``sampling``. What is
made of the whole is in ``flame``, which says what is in it.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .asking import Asking, Reply
from .sampled_stacks import OTHER
from .sampling import ASK, BEGIN, TAKE

__all__ = ["MOST_HZ", "MOST_SECONDS", "ProfileUnderWayError", "Profiles", "merged"]

MOST_SECONDS = 60.0
"""Of one profile."""

MOST_HZ = 250.0
"""Samples a second."""

PATIENCE = 1.0
"""Seconds that a process has to say that it has begun."""

TAKING = 6.0
"""Seconds that it has to give what it has, which may be some megabytes."""

GRACE = 0.05
"""Seconds to let it finish by itself: it has begun a little later than it was asked."""

MOST_TEXT = 16 << 20
"""Characters of all stacks of a profile: the rarest ones beyond it are one."""


class ProfileUnderWayError(Exception):
    """There is one already. Its text is one line for who has asked for another one."""


class Profiles:
    """Takes profiles, one at a time. *Any thread.*

    :param asking: asks the processes that serve.
    :param sleep: lets so many seconds pass.
    """

    def __init__(self, asking: Asking, sleep: Callable[[float], object] = time.sleep) -> None:
        self._asking = asking
        self._sleep = sleep
        self._lock = threading.Lock()

    def take(self, seconds: object, hz: object = 100) -> dict[str, Any]:
        """Take one, which takes so long.

        :param seconds: more than 0, :data:`MOST_SECONDS` at most.
        :param hz: samples a second: 1 to :data:`MOST_HZ`.
        :returns: see ``flame``; and ``missing``, the processes that did not answer.
        :raises ValueError: one of the two is no such number.
        :raises ProfileUnderWayError: another one is being taken.
        """
        length = _number("seconds", seconds, 0.05, MOST_SECONDS)
        rate = _number("hz", hz, 1.0, MOST_HZ)
        if not self._lock.acquire(blocking=False):
            raise ProfileUnderWayError("another profile is being taken: ask again once it is done")
        try:
            return self._take(length, rate)
        finally:
            self._lock.release()

    def _take(self, seconds: float, hz: float) -> dict[str, Any]:
        what = {"id": secrets.token_hex(8), "seconds": seconds, "hz": hz}
        begun = self._asking.ask(ASK, {"do": BEGIN, **what}, patience=PATIENCE)
        refused = [reply for reply in begun if reply.answer and "error" in reply.answer]
        if refused and len(refused) == len(begun):
            raise ProfileUnderWayError(str((refused[0].answer or {})["error"]))
        self._sleep(seconds + GRACE)
        taken = self._asking.ask(ASK, {"do": TAKE, **what}, patience=TAKING)
        reasons = {reply.number: reply for reply in refused}
        return merged([reasons.get(reply.number, reply) for reply in taken], seconds, hz)


def _number(name: str, value: object, least: float, most: float) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:
        return float(value)
    raise ValueError(f"{name} is to be a number from {least:g} to {most:g}, not {value!r:.50}")


def merged(replies: Iterable[Reply], seconds: float, hz: float) -> dict[str, Any]:
    """One profile of what several processes have answered.

    :param seconds: for how long they were to sample.
    :param hz: how many times a second.
    """
    samples: dict[str, int] = {}
    cpu: dict[str, float] = {}
    tells_cpu = True
    processes: list[dict[str, Any]] = []
    missing: list[dict[str, Any]] = []
    for pid, number, answer in replies:
        process: dict[str, Any] = {"pid": pid, "number": number}
        if answer is None:
            missing.append(process)
            continue
        processes.append(process)
        if "error" in answer:
            process["error"] = str(answer["error"])
            continue
        process.update({name: answer[name] for name in ("taken", "missed", "cost", "seconds")})
        for text, count, used in answer["stacks"]:
            samples[text] = samples.get(text, 0) + count
            cpu[text] = cpu.get(text, 0.0) + (used or 0.0)
            tells_cpu = tells_cpu and used is not None
    kept = _kept(samples)
    return {
        "seconds": seconds,
        "hz": hz,
        "samples": _cut(samples, kept),
        "cpu": _cut(cpu, kept, 6) if tells_cpu else None,
        **{
            name: round(sum(process.get(name, 0) for process in processes), 6)
            for name in ("taken", "missed", "cost")
        },
        "processes": processes,
        "missing": missing,
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
        rest = sum(figures.values()) - sum(found.values())
        found[OTHER] = max(rest, 0)
    return {text: round(figure, digits) for text, figure in found.items()} if digits else found
