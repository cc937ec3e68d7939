"""What was asked of wsgi_async, as data (``targets.toml``), and what a run says to it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .figures import advantage, best_peer, figures
from .record import Run
from .servers import OURS
from .units import number, ratio_text

__all__ = ["BEST", "Clause", "Reached", "load", "reached"]

BEST = "best peer"
"""Stands for the best of all measured servers that are not wsgi_async."""


@dataclass(frozen=True)
class Clause:
    """One demand on one figure of one scenario."""

    row: str
    """The line of the table it belongs to."""
    scenario: str
    figure: str = "value"
    """See :meth:`benchmarks.figures.Figure.get`."""
    against: str = ""
    """A server or `BEST`; empty if the figure itself is asked for."""
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

    def verdict(self, value: float | None) -> str:
        """``reached`` is better than ``yes``."""
        if value is None:
            return "not measured"
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

    def text(self, clause: Clause) -> str:
        if self.value is None:
            return "-"
        if not clause.against:
            return number(self.value)
        named = f" ({self.peer})" if clause.against == BEST else ""
        return f"{ratio_text(self.value)}{named}"


def load(path: Path | None = None) -> list[Clause]:
    """All clauses, in the order of the file."""
    path = path or Path(__file__).with_name("targets.toml")
    return [Clause(**table) for table in tomllib.loads(path.read_text(encoding="utf-8"))["target"]]


def reached(clause: Clause, run: Run) -> Reached:
    """Compute the figure of a clause; by ratios of medians where it is against a server."""
    found = figures(run, clause.scenario)
    ours = found[OURS].get(clause.figure) if OURS in found else None
    if ours is None or not clause.against:
        return Reached(ours, "")
    # Only the scenario's own figure can be one of which more is better.
    more = clause.figure == "value" and run.scenarios[clause.scenario].more_is_better
    if clause.against == BEST:
        peer = best_peer(found, more, clause.figure)
    else:
        value = found[clause.against].get(clause.figure) if clause.against in found else None
        peer = None if value is None else (clause.against, value)
    if peer is None:
        return Reached(None, "")
    name, other = peer
    if clause.at_least is not None:
        return Reached(advantage(ours, other, more), name)
    return Reached(ours / other if other else float("inf"), name)


def rows(clauses: Iterable[Clause]) -> dict[str, list[Clause]]:
    """The clauses of each line of the table, in order."""
    found: dict[str, list[Clause]] = {}
    for clause in clauses:
        found.setdefault(clause.row, []).append(clause)
    return found
