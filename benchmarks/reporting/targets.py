"""What was asked of wsgi_async, as data (``targets.toml``), and what a run says to it."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness.record import Run
from benchmarks.harness.servers import OURS
from benchmarks.harness.units import number, ratio_text

from .figures import advantage, best_peer, figures

__all__ = ["BEST", "BEST_THREADED", "Clause", "Reached", "load", "reached"]

BEST = "best peer"
"""Stands for the best of all measured servers that are not wsgi_async."""
BEST_THREADED = "best threaded peer"
"""Stands for the best of those that do not run the application on one thread."""
MORE_IS_BETTER = frozenset({"held", "onset", "speed"})
"""Of the figures that are not the scenario's own; of all others less is better."""
MOST_DIGITS = 5
"""How many digits more than usual a figure near a bound is given, at most."""


@dataclass(frozen=True)
class Clause:
    """One demand on one figure of one scenario."""

    row: str
    """The line of the table it belongs to."""
    scenario: str
    figure: str = "value"
    """See :meth:`benchmarks.reporting.figures.Figure.get`."""
    against: str = ""
    """A server, `BEST` or `BEST_THREADED`; empty if the figure itself is asked for."""
    peers_of: str = ""
    """The scenario in which the peers were measured, where that is another one: the same work,
    with an option that only wsgi_async has."""
    at_least: float | None = None
    """Against a server: how many times as good."""
    at_most: float | None = None
    """Against a server: our figure divided by its figure."""
    reach_for: float | None = None

    def asked(self) -> str:
        """The demand in words."""
        bound = self.at_least if self.at_least is not None else self.at_most
        assert bound is not None
        which = "" if self.figure == "value" else f"{self.figure} "
        limit = "at least" if self.at_least is not None else "at most"
        if not self.against:
            return f"{which}{limit} {bound:,g}"
        return f"{which}{limit} {bound:g}x {self.against}"

    def reach(self) -> str:
        """What was to be reached for in words."""
        if self.reach_for is None:
            return "-"
        return f"{self.reach_for:,g}{'x' if self.against else ''}"

    def met(self, value: float, bound: float | None) -> bool:
        """Whether a reached figure satisfies a bound of this clause; False without a bound."""
        if bound is None:
            return False
        return value >= bound if self.at_least is not None else value <= bound

    def word(self, value: float) -> str:
        """``reached`` is better than ``yes``."""
        bound = self.at_least if self.at_least is not None else self.at_most
        if not self.met(value, bound):
            return "no"
        return "reached" if self.met(value, self.reach_for) else "yes"


class Reached(NamedTuple):
    """What a run says to a clause."""

    value: float | None
    """None if it was not measured."""
    peer: str
    """The server it is compared with; empty if none."""
    good: int = 0
    """Rounds in which ours has a figure."""
    rounds: int = 0
    """Rounds in which it should have one; 0 where it was not measured at all."""

    def text(self, clause: Clause) -> str:
        """With more digits where rounding would say something else than the verdict."""
        if self.value is None:
            return "void" if self.good < self.rounds else "-"
        if not math.isfinite(self.value):
            text = ratio_text(self.value)
        else:
            write = ratio_text if clause.against else number
            texts = [write(self.value, more) for more in range(MOST_DIGITS)]
            text = next(
                (one for one in texts if clause.word(_read(one)) == clause.word(self.value)),
                texts[-1],
            )
        named = f" ({self.peer})" if clause.against in (BEST, BEST_THREADED) else ""
        return text + named

    def verdict(self, clause: Clause) -> str:
        """The word of the clause, and ``no`` where rounds are void: a server that crashed in two
        of three rounds has not reached anything in the third."""
        if self.good < self.rounds:
            return f"no ({self.good} of {self.rounds} rounds)"
        return "not measured" if self.value is None else clause.word(self.value)


def _read(text: str) -> float:
    """What a reader takes a figure for."""
    return float(text.removesuffix("x").replace(",", ""))


def load(path: Path | None = None) -> list[Clause]:
    """All clauses, in the order of the file."""
    path = path or Path(__file__).with_name("targets.toml")
    return [Clause(**table) for table in tomllib.loads(path.read_text(encoding="utf-8"))["target"]]


def reached(clause: Clause, run: Run, server: str = OURS) -> Reached:
    """Compute the figure of a clause; by ratios of medians where it is against a server.

    :param server: which one of ours.
    """
    found = figures(run, clause.scenario)
    good = found[server].rounds if server in found else 0
    asked = any(row.scenario == clause.scenario and row.server == server for row in run.rows)
    rounds = run.rounds if asked else 0
    ours = found[server].get(clause.figure) if server in found else None
    if ours is None or not clause.against:
        return Reached(ours, "", good, rounds)
    more = clause.figure in MORE_IS_BETTER
    if clause.figure == "value":
        more = run.scenarios[clause.scenario].more_is_better
    if clause.peers_of:
        found = figures(run, clause.peers_of)
    if clause.against == BEST_THREADED:
        found = {name: one for name, one in found.items() if not run.servers[name].one_thread}
    if clause.against in (BEST, BEST_THREADED):
        peer = best_peer(found, more, clause.figure)
    else:
        value = found[clause.against].get(clause.figure) if clause.against in found else None
        peer = None if value is None else (clause.against, value)
    if peer is None:
        return Reached(None, "", good, rounds)
    name, other = peer
    if clause.at_least is not None:
        ratio = advantage(ours, other, more)
    else:
        ratio = ours / other if other else math.inf
    return Reached(ratio, name, good, rounds)


def rows(clauses: Iterable[Clause]) -> dict[str, list[Clause]]:
    """The clauses of each line of the table, in order."""
    found: dict[str, list[Clause]] = {}
    for clause in clauses:
        found.setdefault(clause.row, []).append(clause)
    return found
