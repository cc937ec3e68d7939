"""Has it become slower? Two checkouts measured by turns, or a run beside an earlier one."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .figures import advantage, figures, quantile
from .record import Run
from .servers import OURS, is_ours
from .units import ratio_text

__all__ = [
    "LEAST_ROUNDS",
    "LIMIT",
    "Incomparable",
    "Verdict",
    "by_turns",
    "judge",
    "old_label",
    "table",
    "with_earlier",
]

LIMIT = 0.97
"""A median ratio below this is slower, one above its inverse faster, if the spread agrees."""
LEAST_ROUNDS = 3
"""With two rounds, a spread says nothing."""
MANY_ROUNDS = 8
"""From here on a quarter of the rounds may contradict: the more rounds, the more outliers."""
OLD = " (old)"
"""What ends the label of another checkout's server."""
SPEEDS = ("requests/s", "chunks/s", "MB/s", "ms")
"""Units of figures that a faster machine makes better. A ratio and a size are not corrected by what
the peers have changed by: theirs change for reasons of their own."""


class Incomparable(Exception):
    """The two runs cannot be compared; the message says why in one line."""


@dataclass(frozen=True)
class Verdict:
    """What a scenario says of a server."""

    scenario: str
    verdict: str
    """``faster``, ``slower``, ``no difference``, ``void`` or ``not judged``."""
    ratio: float = math.nan
    """How many times as good the new one is."""
    low: float = math.nan
    high: float = math.nan
    note: str = ""
    server: str = OURS

    @property
    def judged(self) -> bool:
        """Whether it says anything about the new one."""
        return self.verdict != "not judged"

    @property
    def bad(self) -> bool:
        """Whether the guard fails because of it."""
        return self.verdict in ("slower", "void")


def old_label(server: str) -> str:
    """The name under which the other checkout's server of that name is measured."""
    return server + OLD


def judge(scenario: str, ratios: Sequence[float], server: str = OURS) -> Verdict:
    """From the ratios of paired rounds, each the new figure as a multiple of the old one."""
    if len(ratios) < LEAST_ROUNDS:
        note = f"fewer than {LEAST_ROUNDS} rounds"
        return Verdict(scenario, "not judged", server=server, note=note)
    middle = statistics.median(ratios)
    part = 0.25 if len(ratios) >= MANY_ROUNDS else 0.0
    low, high = quantile(ratios, part), quantile(ratios, 1 - part)
    return Verdict(scenario, _word(middle, low, high), middle, low, high, server=server)


def _word(middle: float, low: float, high: float) -> str:
    if middle < LIMIT and high < 1:
        return "slower"
    if middle > 1 / LIMIT and low > 1:
        return "faster"
    return "no difference"


def by_turns(run: Run) -> list[Verdict]:
    """Compare each server of this checkout with the same one of the other, round by round."""
    return [
        _turns(run, scenario, server)
        for scenario in run.scenarios
        for server in run.servers
        if old_label(server) in run.servers
    ]


def _turns(run: Run, scenario: str, server: str) -> Verdict:
    old = old_label(server)
    if spoilt := _spoilt(run, run, scenario, server, old):
        return spoilt
    more = run.scenarios[scenario].more_is_better
    ratios = [advantage(ours, theirs, more) for ours, theirs in _pairs(run, scenario, server, old)]
    ratios = [ratio for ratio in ratios if not math.isnan(ratio)]
    return judge(scenario, ratios, server)


def _spoilt(new: Run, old: Run, scenario: str, server: str, before: str) -> Verdict | None:
    """A verdict without ratios: a server that crashes or fails more often than it did must not
    pass because the rounds that are left look well, or are too few.

    :param before: its label in `old`.
    """
    now, then = _Rounds.of(new, scenario, server), _Rounds.of(old, scenario, before)
    if not then.good:
        return Verdict(scenario, "not judged", server=server, note="the old one has no figures")
    if not now.good or now.lost / new.rounds > then.lost / old.rounds:
        note = f"{now.lost} of {new.rounds} rounds, {then.lost} of {old.rounds} of the old one"
        return Verdict(scenario, "void", server=server, note=note)
    if now.failed / now.good > then.failed / then.good:
        note = f"requests fail in {now.failed} of {now.good} rounds, "
        note += f"in {then.failed} of {then.good} of the old one"
        return Verdict(scenario, "void", server=server, note=note)
    return None


class _Rounds(NamedTuple):
    """How many rounds of a server have a figure, are void, and have a figure but failures."""

    good: int
    lost: int
    failed: int

    @classmethod
    def of(cls, run: Run, scenario: str, server: str) -> _Rounds:
        rows = [row for row in run.rows if row.scenario == scenario and row.server == server]
        good = [row for row in rows if row.value is not None]
        if any(row.wrong for row in rows):
            good = []
        void = any(row.void is not None for row in rows)
        # After a wrong answer, and where it does not start, the other rounds are not even tried.
        # Without a void row, what is missing was interrupted.
        lost = run.rounds - len(good) if void or not good else 0
        return cls(len(good), lost, sum(row.errors > 0 for row in good))


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
    """Compare wsgi_async in two runs, each of its servers, by what the peers have changed by.

    :returns: the verdicts, and a warning; empty if there is none.
    :raises Incomparable: Python, threads or seconds differ, or the machine does and there is no
        peer that both have measured in the same version; or they have nothing in common.
    """
    for what, now, then in (
        ("Python", new.python, old.python),
        ("threads", new.threads, old.threads),
        ("seconds per round", new.seconds, old.seconds),
    ):
        if now != then:
            raise Incomparable(f"not comparable: {what} {then} then, {now} now")
    shared = {
        peer
        for peer in _peers(new) & _peers(old)
        if new.servers[peer].version == old.servers[peer].version
    }
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
    servers = [
        name
        for name in old.servers
        if is_ours(name) and not name.endswith(OLD) and (name in new.servers or name in new.skipped)
    ]
    if not servers:
        raise Incomparable(f"not comparable: no common server of {OURS}")
    verdicts = [
        _beside(new, old, scenario, server, shared, bool(differ))
        for scenario in scenarios
        for server in servers
        if any(row.scenario == scenario and row.server == server for row in old.rows)
    ]
    return verdicts, warning


def _peers(run: Run) -> set[str]:
    return {row.server for row in run.rows if row.value is not None and not is_ours(row.server)}


def _beside(
    new: Run, old: Run, scenario: str, server: str, shared: set[str], elsewhere: bool
) -> Verdict:
    measured = any(row.scenario == scenario and row.server == server for row in new.rows)
    if not measured and server in new.servers:
        return Verdict(scenario, "not judged", server=server, note="the run was interrupted")
    if spoilt := _spoilt(new, old, scenario, server, server):
        return spoilt
    kind = new.scenarios[scenario]
    more = kind.more_is_better
    now, then = figures(new, scenario), figures(old, scenario)
    ours, theirs = now[server], then[server]
    if min(ours.rounds, theirs.rounds) < LEAST_ROUNDS:
        note = f"fewer than {LEAST_ROUNDS} rounds"
        return Verdict(scenario, "not judged", server=server, note=note)
    drifts = [
        advantage(now[peer].median, then[peer].median, more)
        for peer in (sorted(shared) if kind.unit in SPEEDS else ())
        if peer in now and peer in then and now[peer].median and then[peer].median
    ]
    if elsewhere and not drifts:
        note = "another machine, and no peer"
        return Verdict(scenario, "not judged", server=server, note=note)
    drift = statistics.median(drifts) if drifts else 1.0
    ratio = advantage(ours.median, theirs.median, more) / drift
    worst = (ours.low, theirs.high) if more else (ours.high, theirs.low)
    best = (ours.high, theirs.low) if more else (ours.low, theirs.high)
    low, high = (advantage(*pair, more) / drift for pair in (worst, best))
    note = f"peers {ratio_text(drift)}" if drifts else "no peer"
    if kind.unit not in SPEEDS:
        note = "as it is"
    return Verdict(scenario, _word(ratio, low, high), ratio, low, high, note, server)


def table(verdicts: Sequence[Verdict], names: Mapping[str, str]) -> str:
    """As Markdown; `names` says what ``new`` and ``old`` are."""
    lines = [f"new: {names['new']}", f"old: {names['old']}", ""]
    lines += ["| scenario | server | new is | lowest to highest | verdict |"]
    lines += ["|---|---|---:|---:|---|"]
    for one in verdicts:
        there = not math.isnan(one.ratio)
        ratio = ratio_text(one.ratio)
        spread = f"{ratio_text(one.low)} to {ratio_text(one.high)}" if there else ""
        note = f" ({one.note})" if one.note else ""
        cells = [one.scenario, one.server, ratio, spread, one.verdict + note]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
