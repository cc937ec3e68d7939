"""Has it become slower? Two checkouts measured by turns, or a run beside an earlier one.

A verdict other than "no difference shown" is wrong in one table of a hundred at most, however noisy
the machine is (:data:`ERROR`): its interval does not reach 1, and it is made as wide as the number
of questions that the table answers demands.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.harness.record import Run
from benchmarks.harness.servers import OURS, is_ours
from benchmarks.harness.units import ratio_text

from . import intervals
from .figures import advantage

__all__ = [
    "ERROR",
    "LIMIT",
    "Incomparable",
    "Verdict",
    "by_turns",
    "fewest_rounds",
    "fewest_rounds_each",
    "is_decided",
    "judge",
    "most_rounds",
    "old_label",
    "shared_lines",
    "table",
    "table_length",
    "with_earlier",
]

ERROR = 0.01
"""The probability that a table says "slower" or "faster" anywhere of what is equal, at most."""
LIMIT = 0.97
"""What is worth a word: a ratio below this, or above its inverse."""
LOOKS = (1.0, 1.5, 2.0)
"""When the rounds may end, in multiples of the fewest that can show anything. Each look is another
chance to err, and is given its part of the error."""
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
    """``faster``, ``slower``, ``no difference shown``, ``void`` or ``not judged``."""
    ratio: float = math.nan
    """How many times as good the new one is."""
    low: float = math.nan
    """It is between these, as surely as :data:`ERROR` asks."""
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


def fewest_rounds(comparisons: int) -> int:
    """Of two checkouts, by turns: with fewer, nothing can be shown in a table of so many lines."""
    return intervals.fewest_pairs(_error(comparisons))


def most_rounds(comparisons: int) -> int:
    """When the last look is taken, decided or not."""
    return _looks(comparisons)[-1]


def fewest_rounds_each(comparisons: int) -> int:
    """Of two runs that are no pairs, in each."""
    return intervals.fewest_each(ERROR / comparisons / 2)


def _error(comparisons: int) -> float:
    """Each line of the table has its part, and each look at it."""
    return ERROR / max(comparisons, 1) / len(LOOKS)


def _looks(comparisons: int) -> list[int]:
    fewest = fewest_rounds(comparisons)
    return [math.ceil(part * fewest) for part in LOOKS]


def judge(
    scenario: str, ratios: Sequence[float], server: str = OURS, comparisons: int = 1
) -> Verdict:
    """From the ratios of paired rounds, each the new figure as a multiple of the old one.

    :param comparisons: how many lines the table has.
    """
    fewest = fewest_rounds(comparisons)
    if len(ratios) < fewest:
        return Verdict(scenario, "not judged", server=server, note=f"fewer than {fewest} rounds")
    found = intervals.of_pairs(ratios, _error(comparisons))
    return Verdict(scenario, _word(*found), *found, server=server)


def _word(ratio: float, low: float, high: float) -> str:
    if ratio < LIMIT and high < 1:
        return "slower"
    if ratio > 1 / LIMIT and low > 1:
        return "faster"
    return "no difference shown"


def by_turns(run: Run) -> list[Verdict]:
    """Compare each server of this checkout with the same one of the other, round by round."""
    lines = _lines(run)
    return [_turns(run, scenario, server, len(lines)) for scenario, server in lines]


def is_decided(run: Run, scenario: str, number: int) -> bool:
    """Whether more rounds of a scenario than `number` would tell nothing new.

    That is so at the looks only: to look after each round, and to stop where it pleases, would
    find a difference in any noise.
    """
    lines = _lines(run)
    if number not in _looks(len(lines)):
        return False
    return all(
        _is_clear(_turns(run, name, server, len(lines)))
        for name, server in lines
        if name == scenario
    )


def _is_clear(found: Verdict) -> bool:
    if found.verdict in ("slower", "faster", "void"):
        return True
    return found.low > LIMIT and found.high < 1 / LIMIT


def table_length(run: Run) -> int:
    """How many lines the table of two checkouts has."""
    return len(_lines(run))


def _lines(run: Run) -> list[tuple[str, str]]:
    """What the table tells of: scenarios and servers."""
    return [
        (scenario, server)
        for scenario in run.scenarios
        for server in run.servers
        if old_label(server) in run.servers
    ]


def _turns(run: Run, scenario: str, server: str, comparisons: int) -> Verdict:
    old = old_label(server)
    if spoilt := _spoilt(run, run, scenario, server, old):
        return spoilt
    more = run.scenarios[scenario].more_is_better
    ratios = [advantage(ours, theirs, more) for ours, theirs in _pairs(run, scenario, server, old)]
    ratios = [ratio for ratio in ratios if not math.isnan(ratio)]
    return judge(scenario, ratios, server, comparisons)


def _spoilt(new: Run, old: Run, scenario: str, server: str, before: str) -> Verdict | None:
    """A verdict without ratios: a server that crashes or fails more often than it did must not
    pass because the rounds that are left look well, or are too few.

    :param before: its label in `old`.
    """
    now, then = _Rounds.of(new, scenario, server), _Rounds.of(old, scenario, before)
    if not then.good:
        return Verdict(scenario, "not judged", server=server, note="the old one has no figures")
    if not now.good or now.lost / now.rounds > then.lost / then.rounds:
        note = f"{now.lost} of {now.rounds} rounds, {then.lost} of {then.rounds} of the old one"
        return Verdict(scenario, "void", server=server, note=note)
    if now.failed / now.good > then.failed / then.good:
        note = f"requests fail in {now.failed} of {now.good} rounds, "
        note += f"in {then.failed} of {then.good} of the old one"
        return Verdict(scenario, "void", server=server, note=note)
    return None


class _Rounds(NamedTuple):
    """How many rounds a scenario had, and how many of a server have a figure, are void, and have a
    figure but failures."""

    rounds: int
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
        rounds = _rounds(run, scenario)
        lost = rounds - len(good) if void or not good else 0
        return cls(rounds, len(good), lost, sum(row.errors > 0 for row in good))


def _rounds(run: Run, scenario: str) -> int:
    """Of one scenario, which may have had fewer than it was granted."""
    return max((row.round for row in run.rows if row.scenario == scenario), default=run.rounds)


def _pairs(run: Run, scenario: str, new: str, old: str) -> list[tuple[float, float]]:
    values: dict[tuple[str, int], float] = {
        (row.server, row.round): row.value
        for row in run.rows
        if row.scenario == scenario and row.value is not None
    }
    return [
        (values[new, number], values[old, number])
        for number in range(1, _rounds(run, scenario) + 1)
        if (new, number) in values and (old, number) in values
    ]


def with_earlier(new: Run, old: Run) -> tuple[list[Verdict], str]:
    """Compare wsgi_async in two runs, each of its servers, by what the peers have changed by.

    :returns: the verdicts, and a warning; empty if there is none.
    :raises Incomparable: Python, threads or seconds differ, or the machine does and there is no
        peer that both have measured in the same version; or they have nothing in common.

    What has changed on the machine between the runs shows in the peers. Each has an interval of
    its own for its change, and ours has changed by more only where it is beyond all of theirs.
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
        warning = "no common peer: what changed on the machine is not known"
    if not any(name in old.scenarios for name in new.scenarios):
        raise Incomparable("not comparable: no common scenario")
    lines = shared_lines(new, old)
    if not lines:
        raise Incomparable(f"not comparable: no common server of {OURS}")
    return [_beside(new, old, *line, shared, len(lines)) for line in lines], warning


def shared_lines(new: Run, old: Run) -> list[tuple[str, str]]:
    """What the table of two runs tells of: scenarios and servers."""
    servers = [
        name
        for name in old.servers
        if is_ours(name) and not name.endswith(OLD) and (name in new.servers or name in new.skipped)
    ]
    return [
        (scenario, server)
        for scenario in new.scenarios
        if scenario in old.scenarios
        for server in servers
        if any(row.scenario == scenario and row.server == server for row in old.rows)
    ]


def _peers(run: Run) -> set[str]:
    return {row.server for row in run.rows if row.value is not None and not is_ours(row.server)}


def _beside(
    new: Run, old: Run, scenario: str, server: str, shared: set[str], comparisons: int
) -> Verdict:
    measured = any(row.scenario == scenario and row.server == server for row in new.rows)
    if not measured and server in new.servers:
        return Verdict(scenario, "not judged", server=server, note="the run was interrupted")
    if spoilt := _spoilt(new, old, scenario, server, server):
        return spoilt
    kind = new.scenarios[scenario]
    fewest = fewest_rounds_each(comparisons)
    error = ERROR / comparisons / 2  # ours may miss the truth, or all of the peers'

    def changed(name: str) -> intervals.Interval | None:
        now, then = _values(new, scenario, name), _values(old, scenario, name)
        if min(len(now), len(then)) < fewest:
            return None
        if kind.more_is_better:
            return intervals.of_two(now, then, error)
        return intervals.of_two(then, now, error)

    ours = changed(server)
    if ours is None:
        return Verdict(scenario, "not judged", server=server, note=f"fewer than {fewest} rounds")
    if kind.unit not in SPEEDS:
        return Verdict(scenario, _word(*ours), *ours, "as it is", server)
    peers = [found for name in sorted(shared) if (found := changed(name)) is not None]
    if not peers:
        return Verdict(scenario, "not judged", *ours, "no peer", server)
    drift = statistics.median([peer.ratio for peer in peers])
    most, least = max(peer.high for peer in peers), min(peer.low for peer in peers)
    high = ours.high / least if least else math.inf
    found = intervals.Interval(ours.ratio / drift, ours.low / most, high)
    return Verdict(scenario, _word(*found), *found, f"peers {ratio_text(drift)}", server)


def _values(run: Run, scenario: str, server: str) -> list[float]:
    return [
        row.value
        for row in run.rows
        if row.scenario == scenario and row.server == server and row.value is not None
    ]


def table(verdicts: Sequence[Verdict], names: Mapping[str, str]) -> str:
    """As Markdown; `names` says what ``new`` and ``old`` are."""
    lines = [f"new: {names['new']}", f"old: {names['old']}", ""]
    lines += [f"| scenario | server | new is | {1 - ERROR:.0%} sure | verdict |"]
    lines += ["|---|---|---:|---:|---|"]
    for one in verdicts:
        there = not math.isnan(one.ratio)
        ratio = ratio_text(one.ratio)
        spread = f"{ratio_text(one.low)} to {ratio_text(one.high)}" if there else ""
        note = f" ({one.note})" if one.note else ""
        cells = [one.scenario, one.server, ratio, spread, one.verdict + note]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
