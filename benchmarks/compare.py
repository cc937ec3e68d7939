"""Has it become slower? Two checkouts measured by turns, or a run beside an earlier one."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .figures import advantage, figures, quantile
from .record import Run
from .servers import OURS, is_ours
from .units import ratio_text

__all__ = ["LIMIT", "OLD", "Incomparable", "Verdict", "by_turns", "judge", "table", "with_earlier"]

LIMIT = 0.97
"""A median ratio below this is slower, one above its inverse faster, if the spread agrees."""
LEAST_ROUNDS = 3
"""With two rounds, a spread says nothing."""
MANY_ROUNDS = 8
"""From here on a quarter of the rounds may contradict: the more rounds, the more outliers."""
OLD = "wsgi_async (old)"
"""The label of the other checkout's server."""


class Incomparable(Exception):
    """The two runs cannot be compared; the message says why in one line."""


@dataclass(frozen=True)
class Verdict:
    """What a scenario says."""

    scenario: str
    verdict: str
    """``faster``, ``slower``, ``no difference``, ``void`` or ``not judged``."""
    ratio: float = math.nan
    """How many times as good the new one is."""
    low: float = math.nan
    high: float = math.nan
    note: str = ""

    @property
    def bad(self) -> bool:
        """Whether the guard fails because of it."""
        return self.verdict in ("slower", "void")


def judge(scenario: str, ratios: Sequence[float]) -> Verdict:
    """From the ratios of paired rounds, each the new figure as a multiple of the old one."""
    if len(ratios) < LEAST_ROUNDS:
        return Verdict(scenario, "not judged", note=f"fewer than {LEAST_ROUNDS} rounds")
    middle = statistics.median(ratios)
    part = 0.25 if len(ratios) >= MANY_ROUNDS else 0.0
    low, high = quantile(ratios, part), quantile(ratios, 1 - part)
    return Verdict(scenario, _word(middle, low, high), middle, low, high)


def _word(middle: float, low: float, high: float) -> str:
    if middle < LIMIT and high < 1:
        return "slower"
    if middle > 1 / LIMIT and low > 1:
        return "faster"
    return "no difference"


def by_turns(run: Run, new: str = OURS, old: str = OLD) -> list[Verdict]:
    """Compare two servers of one run, round by round."""
    verdicts = []
    for scenario, kind in run.scenarios.items():
        pairs = _pairs(run, scenario, new, old)
        found = figures(run, scenario)
        if old in found and new not in found:
            verdicts.append(Verdict(scenario, "void", note="the new one has no figures"))
        elif old not in found:
            verdicts.append(Verdict(scenario, "not judged", note="the old one has no figures"))
        else:
            ratios = [advantage(ours, theirs, kind.more_is_better) for ours, theirs in pairs]
            ratios = [ratio for ratio in ratios if not math.isnan(ratio)]
            verdicts.append(judge(scenario, ratios))
    return verdicts


def _pairs(run: Run, scenario: str, new: str, old: str) -> list[tuple[float, float]]:
    values: dict[tuple[str, int], float] = {
        (row.server, row.round): row.value
        for row in run.rows
        if row.scenario == scenario and row.value is not None
    }
    return [
        (values[new, number], values[old, number])
        for number in range(1, run.rounds + 1)
        if (new, number) in values and (old, number) in values
    ]


def with_earlier(new: Run, old: Run) -> tuple[list[Verdict], str]:
    """Compare wsgi_async in two runs, by what the peers have changed by.

    :returns: the verdicts, and a warning; empty if there is none.
    :raises Incomparable: Python, threads or seconds differ, or the machine does and there is no
        peer that both have measured.
    """
    for what, now, then in (
        ("Python", new.python, old.python),
        ("threads", new.threads, old.threads),
        ("seconds per round", new.seconds, old.seconds),
    ):
        if now != then:
            raise Incomparable(f"not comparable: {what} {then} then, {now} now")
    shared = _peers(new) & _peers(old)
    differ = [
        name
        for name in ("cpu", "cores", "kernel", "pinned")
        if new.environment.get(name) != old.environment.get(name)
    ]
    warning = ""
    if differ:
        told = ", ".join(
            f"{name} {old.environment.get(name)!r} then, {new.environment.get(name)!r} now"
            for name in differ
        )
        if not shared:
            raise Incomparable(f"not comparable, another machine and no common peer: {told}")
        warning = f"another machine, compared only by {', '.join(sorted(shared))}: {told}"
    elif not shared:
        warning = "no common peer: what changed on the machine counts as ours"
    scenarios = [name for name in new.scenarios if name in old.scenarios]
    if not scenarios:
        raise Incomparable("not comparable: no common scenario")
    return [_beside(new, old, name, shared, bool(differ)) for name in scenarios], warning


def _peers(run: Run) -> set[str]:
    return {row.server for row in run.rows if row.value is not None and not is_ours(row.server)}


def _beside(new: Run, old: Run, scenario: str, shared: set[str], elsewhere: bool) -> Verdict:
    more = new.scenarios[scenario].more_is_better
    now, then = figures(new, scenario), figures(old, scenario)
    if OURS not in then:
        return Verdict(scenario, "not judged", note="it was not measured then")
    if OURS not in now:
        return Verdict(scenario, "void", note="it has no figures now")
    ours, theirs = now[OURS], then[OURS]
    if min(ours.rounds, theirs.rounds) < LEAST_ROUNDS:
        return Verdict(scenario, "not judged", note=f"fewer than {LEAST_ROUNDS} rounds")
    drifts = [
        advantage(now[peer].median, then[peer].median, more)
        for peer in sorted(shared)
        if peer in now and peer in then and now[peer].median and then[peer].median
    ]
    if elsewhere and not drifts:
        return Verdict(scenario, "not judged", note="another machine, and no peer")
    drift = statistics.median(drifts) if drifts else 1.0
    ratio = advantage(ours.median, theirs.median, more) / drift
    worst = (ours.low, theirs.high) if more else (ours.high, theirs.low)
    best = (ours.high, theirs.low) if more else (ours.low, theirs.high)
    low, high = (advantage(*pair, more) / drift for pair in (worst, best))
    note = f"peers {ratio_text(drift)}" if drifts else "no peer"
    return Verdict(scenario, _word(ratio, low, high), ratio, low, high, note)


def table(verdicts: Sequence[Verdict], names: Mapping[str, str]) -> str:
    """As Markdown; `names` says what ``new`` and ``old`` are."""
    lines = [f"new: {names['new']}", f"old: {names['old']}", ""]
    lines += ["| scenario | new is | lowest to highest | verdict |", "|---|---:|---:|---|"]
    for one in verdicts:
        judged = not math.isnan(one.ratio)
        ratio = ratio_text(one.ratio)
        spread = f"{ratio_text(one.low)} to {ratio_text(one.high)}" if judged else ""
        note = f" ({one.note})" if one.note else ""
        lines.append(f"| {one.scenario} | {ratio} | {spread} | {one.verdict}{note} |")
    return "\n".join(lines)
