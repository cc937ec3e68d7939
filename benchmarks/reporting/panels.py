"""What the plots show of a scenario: its own figure, and of some scenarios others beside it."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.harness.record import Run

from .figures import Figure, figures

__all__ = ["Panel", "panels"]


class Panel(NamedTuple):
    """One figure of one scenario."""

    scenario: str
    unit: str
    more_is_better: bool
    figure: str = "value"
    """See :meth:`benchmarks.reporting.figures.Figure.get`."""

    @property
    def title(self) -> str:
        less = "" if self.more_is_better else ", less is better"
        return f"{self.scenario} ({self.unit}{less})"

    def values(self, run: Run) -> dict[str, tuple[float, float, float]]:
        """Median, lowest, highest, of the servers that have this figure. Of a figure that is not
        the scenario's own the median stands for all."""
        found = {}
        for server, one in figures(run, self.scenario).items():
            if (spread := self._spread(one)) is not None:
                found[server] = spread
        return found

    def _spread(self, one: Figure) -> tuple[float, float, float] | None:
        if self.figure == "value":
            return one.median, one.low, one.high
        value = one.get(self.figure)
        return None if value is None else (value, value, value)


MORE = {
    "live-held": (
        ("bytes for each stream", False, "bytes_each"),
        ("the others' speed that is left", True, "speed"),
    ),
    "live-events": (
        ("99 % come within ms", False, "p99"),
        ("the part of the events that comes", True, "delivered"),
    ),
}
"""Figures that are shown beside the scenario's own: unit, whether more is better, name."""


def panels(run: Run, scenario: str) -> list[Panel]:
    """All of a scenario."""
    kind = run.scenarios[scenario]
    more = [Panel(scenario, *one) for one in MORE.get(scenario, ())]
    return [Panel(scenario, kind.unit, kind.more_is_better), *more]
