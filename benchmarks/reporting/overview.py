"""The main plot: which server is how good at what, for somebody with ten seconds.

A row for each server, a column for each kind of work, what matters most first. A longer bar is
better everywhere, and the line down a column is how far wsgi_async gets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from benchmarks.harness.record import Run
from benchmarks.harness.servers import OURS, is_ours
from benchmarks.harness.units import number

from .figures import figures, voids
from .report import ONE_THREAD, labels
from .style import LINE, OURS_COLOUR, PEER, TEXT, WORSE

__all__ = ["COLUMNS", "Column", "columns", "draw", "length"]


WIDTH = 1.3
"""Of a column, in inches."""
GAP = 0.18
"""Between two groups, in columns."""
INSIDE = 0.55
"""A bar of this length holds its figure."""
HEIGHT = 0.27
"""Of a row, in inches."""


class Column(NamedTuple):
    """One kind of work."""

    group: str
    title: str
    scenario: str
    figure: str = "value"
    """See :meth:`benchmarks.reporting.figures.Figure.get`."""
    write: Callable[[float], str] = number
    """How a figure is written beside its bar."""


def _percent(value: float) -> str:
    return f"{value:.0%}"


def _milliseconds(value: float) -> str:
    return f"{number(value)} ms"


APPLICATIONS = "Real applications"
STREAMS = "Streams"
SLOW = "Beside slow clients: speed left"
SMALL = "Small answers"
COLUMNS = (
    Column(APPLICATIONS, "Flask\nrequests/s", "flask"),
    Column(APPLICATIONS, "Django\nrequests/s", "django"),
    Column(APPLICATIONS, "beside CPU work\n99 % wait below", "cpu-mix", write=_milliseconds),
    Column(STREAMS, "small chunks\nchunks/s", "lines"),
    Column(STREAMS, "large chunks\nMB/s", "stream"),
    Column(SLOW, "64 do not read:\nfrom the onset", "slow-readers", "onset", _percent),
    Column(SLOW, "64 do not read:\nonce settled", "slow-readers", write=_percent),
    Column(SLOW, "500 trickle\ntheir heads", "slow-heads", write=_percent),
    Column(SMALL, "browsers' heads\nrequests/s", "varied"),
    Column(SMALL, "the same request\nrequests/s", "hello"),
)
"""What is shown, from the left to the right."""


def draw(pyplot: Any, run: Run) -> Any:
    """The figure, of one run that has measured some of the columns; the others are left out."""
    shown = columns(run)
    rows = _rows(run, shown)
    starts = [
        place for place, column in enumerate(shown) if column.group not in _groups(shown[:place])
    ]
    lefts = [place + GAP * sum(start <= place for start in starts) for place in range(len(shown))]
    inches, rows_inches = WIDTH * (len(shown) + GAP * len(starts)), HEIGHT * len(rows)
    figure = pyplot.figure(figsize=(inches, rows_inches))
    whole = len(shown) + GAP * len(starts)
    axes = [figure.add_axes((left / whole, 0, 0.94 / whole, 1)) for left in lefts]
    for axis, column in zip(axes, shown, strict=True):
        _column(axis, run, column, rows)
    for start in starts:
        axes[start].annotate(
            shown[start].group,
            (0, 1),
            (0, 42),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=11,
            fontweight="bold",
        )
    _names(axes[0], run, rows)
    axes[0].annotate(
        f"A longer bar is better. Blue: wsgi_async; orange: better than it. One process, "
        f"{run.threads} threads, Python {labels([run])[0]}.",
        (0, 0),
        (0, -8),
        xycoords="axes fraction",
        textcoords="offset points",
        va="top",
        fontsize=9.5,
    )
    return figure


def _groups(shown: Sequence[Column]) -> set[str]:
    return {column.group for column in shown}


def columns(run: Run) -> list[Column]:
    """Those that the run has measured."""
    return [
        column
        for column in COLUMNS
        if any(one.get(column.figure) is not None for one in figures(run, column.scenario).values())
    ]


def _rows(run: Run, shown: Sequence[Column]) -> list[str]:
    """The servers from the bottom to the top: wsgi_async on top, then those with threads, then
    those that do one thing at a time; the more of the columns one does well, the higher."""
    scenarios = {column.scenario for column in shown}
    names = {row.server for row in run.rows if row.scenario in scenarios}
    peers = [name for name in run.servers if name in names and not is_ours(name)]

    def order(name: str) -> tuple[bool, float]:
        return not run.servers[name].one_thread, sum(length(run, one, name) for one in shown)

    return [*sorted(peers, key=order), *(name for name in run.servers if name == OURS)]


def length(run: Run, column: Column, server: str) -> float:
    """Of a bar: 1 for the best server of the column."""
    found = {
        name: value
        for name, one in figures(run, column.scenario).items()
        if not (is_ours(name) and name != OURS) and (value := one.get(column.figure)) is not None
    }
    if server not in found:
        return 0.0
    if column.figure == "value" and not run.scenarios[column.scenario].more_is_better:
        least = min(found.values())
        return least / found[server] if found[server] else 1.0
    most = max(found.values())
    return found[server] / most if most else 0.0


def _column(axis: Any, run: Run, column: Column, rows: Sequence[str]) -> None:
    found = figures(run, column.scenario)
    lost = voids(run, column.scenario)
    ours = length(run, column, OURS)
    for place, server in enumerate(rows):
        value = found[server].get(column.figure) if server in found else None
        if value is None:
            axis.text(0.02, place, "void" if server in lost else "-", va="center", fontsize=8.5)
            continue
        long = length(run, column, server)
        tint, alpha = (OURS_COLOUR, 0.75) if server == OURS else (PEER, 0.38)
        if server != OURS and long > ours:
            tint, alpha = WORSE, 0.4
        axis.barh(place, long, height=0.74, color=tint, alpha=alpha, linewidth=0)
        words = axis.text(0.03, place, column.write(value), va="center", fontsize=8.5)
        if server == OURS:
            words.set(fontweight="bold", color="white")
            if long < INSIDE:
                words.set(x=long + 0.05, color=OURS_COLOUR)
    axis.axvline(ours, color=OURS_COLOUR, linewidth=1, linestyle=(0, (2, 2)))
    axis.set_title(column.title, loc="left", fontsize=8.5, color=TEXT)
    axis.set_xlim(0, 1.02)
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.set_xticks([])
    axis.set_yticks([])
    for side in ("top", "right", "bottom"):
        axis.spines[side].set_visible(False)
    axis.spines["left"].set_color(LINE)


def _names(axis: Any, run: Run, rows: Sequence[str]) -> None:
    named = [
        f"{server} ({ONE_THREAD})" if run.servers[server].one_thread else server for server in rows
    ]
    axis.set_yticks(range(len(named)), named)
    axis.tick_params(length=0)
    for label, server in zip(axis.get_yticklabels(), rows, strict=False):
        if server == OURS:
            label.set_fontweight("bold")
            label.set_color(OURS_COLOUR)
