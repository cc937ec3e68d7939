"""SVG plots of runs, by matplotlib: readable on light and dark pages, equal for equal figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness.record import Run
from benchmarks.harness.servers import OURS, is_ours
from benchmarks.harness.units import number, ratio_text

from . import overview
from .figures import advantage, best_peer, figures, voids
from .panels import Panel, panels
from .report import GROUPS, ONE_THREAD, grouped, labels
from .style import LINE, OURS_COLOUR, PEER, STYLE, TEXT, WORSE, colour, save

__all__ = ["draw"]

BETTER = f"{OURS} is better →"


def draw(runs: Sequence[Run], directory: Path) -> list[Path]:
    """Write the overview (of the first run), the ratios of all, and a plot per group and Python.

    :returns: the files.
    :raises ImportError: matplotlib is not installed.
    """
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    written = []
    with matplotlib.rc_context(STYLE):
        if runs and overview.columns(runs[0]):
            written.append(save(overview.draw(pyplot, runs[0]), directory / "overview.svg"))
        if runs:
            written.append(save(_ratio_dots(pyplot, runs), directory / "ratios.svg"))
        for key, names in grouped(runs).items():
            for label, run in zip(labels(runs), runs, strict=True):
                shown = [
                    panel for name in names if name in run.scenarios for panel in panels(run, name)
                ]
                there = [panel for panel in shown if _servers(run, panel)]
                if there:
                    title = f"{GROUPS[key][0]}, Python {label} (in brackets: wsgi_async is)"
                    figure = _panels(pyplot, run, there, title)
                    written.append(save(figure, directory / f"{key}-{label}.svg"))
        pyplot.close("all")
    return written


def _servers(run: Run, panel: Panel) -> list[str]:
    """From the worst to the best, first those that have no figure because it is void."""
    found = panel.values(run)
    order = sorted(found, key=lambda one: found[one][0], reverse=not panel.more_is_better)
    measured = figures(run, panel.scenario)
    return [*(server for server in voids(run, panel.scenario) if server not in measured), *order]


def _named(run: Run, server: str) -> str:
    one = run.servers.get(server)
    return f"{server} ({ONE_THREAD})" if one and one.one_thread else server


def _panels(pyplot: Any, run: Run, shown: Sequence[Panel], title: str) -> Any:
    """Bars for each panel, two side by side."""
    columns = 2 if len(shown) > 1 else 1
    rows = math.ceil(len(shown) / columns)
    bars = max(len(_servers(run, panel)) for panel in shown)
    size = (5.0 * columns, (0.26 * bars + 0.75) * rows + 0.3)
    figure, grid = pyplot.subplots(rows, columns, figsize=size, squeeze=False)
    figure.suptitle(title, fontsize=12, y=1.0)
    axes = list(grid.flat)
    for axis, panel in zip(axes, shown, strict=False):
        _bars(axis, run, panel, bars)
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    figure.tight_layout()
    return figure


def _bars(axis: Any, run: Run, panel: Panel, bars: int) -> None:
    """Medians with whiskers from the lowest to the highest round; the best at the top. With room
    for `bars`, so that all panels have the same scale."""
    found = panel.values(run)
    # matplotlib draws from the bottom: the best comes last.
    order = _servers(run, panel)
    ours = found.get(OURS)
    longest = max((high for _, _, high in found.values()), default=0) or 1
    for place, server in enumerate(order):
        if server not in found:
            axis.text(longest * 0.02, place, "void", va="center", fontsize=9)
            continue
        median, low, high = found[server]
        tint, alpha = colour(server)
        axis.barh(place, median, height=0.68, color=tint, alpha=alpha, linewidth=0)
        if high > low:
            spread = [low, high]
            axis.plot(spread, [place, place], color=TEXT, linewidth=1.4, marker="|", markersize=6)
        words = number(median)
        if ours is not None and server != OURS:
            ratio = ratio_text(advantage(ours[0], median, panel.more_is_better))
            words += f"  ({ratio})" if ratio else ""
        axis.text(high + longest * 0.02, place, words, va="center", fontsize=9)
    axis.set_yticks(range(len(order)), [_named(run, server) for server in order])
    for label, server in zip(axis.get_yticklabels(), order, strict=True):
        if is_ours(server):
            label.set_fontweight("bold")
    axis.tick_params(length=0)
    axis.set_xticks([])
    axis.set_xlim(0, longest * 1.45)
    axis.set_ylim(len(order) - bars - 0.5, len(order) - 0.5)
    axis.spines["left"].set_bounds(-0.5, len(order) - 0.5)
    axis.set_title(panel.title, loc="left", fontsize=10.5)
    for side in ("top", "right", "bottom"):
        axis.spines[side].set_visible(False)


def _ratio_dots(pyplot: Any, runs: Sequence[Run]) -> Any:
    """For each scenario a dot per peer: how many times as good wsgi_async is, on a log scale. The
    best peer's dot is the large one with its name."""
    names = [name for listed in grouped(runs).values() for name in listed]
    names = [name for name in names if any(_ratios(run, name) or _lost(run, name) for run in runs)]
    found = [ratio for run in runs for name in names for ratio in _ratios(run, name).values()]
    shown = [ratio for ratio in found if 0 < ratio < math.inf]
    size = (4.6 * len(runs) + 1.2, 0.32 * len(names) + 1.0)
    figure, grid = pyplot.subplots(
        1, len(runs), figsize=size, squeeze=False, sharey=True, sharex=True
    )
    for axis, label, run in zip(grid.flat, labels(runs), runs, strict=True):
        for place, name in enumerate(reversed(names)):
            _dots(axis, run, name, place)
        axis.axvline(1, color=TEXT, linewidth=1.2)
        for x, side, words in ((0.0, "left", "← the other is better"), (1.0, "right", BETTER)):
            axis.annotate(
                words,
                (x, 0),
                (0, -22),
                xycoords="axes fraction",
                textcoords="offset points",
                ha=side,
                va="top",
                fontsize=9,
            )
        _marks(axis, min([1, *shown]), max([2, *shown]))
        axis.set_yticks(range(len(names)), list(reversed(names)))
        axis.set_ylim(-0.6, len(names) - 0.4)
        axis.tick_params(length=0, which="both")
        axis.set_title(f"Python {label}: wsgi_async is ... times as good", fontsize=10.5)
        for side in ("top", "right", "left"):
            axis.spines[side].set_visible(False)
    figure.tight_layout()
    return figure


def _marks(axis: Any, low: float, high: float) -> None:
    """A log scale with round marks, and room for the words left of the first dot."""
    axis.set_xscale("log")
    span = math.log(high / low)
    marks = [mark * 10**power for power in range(-3, 6) for mark in (1, 2, 5)]
    if span > math.log(200):
        marks = [10.0**power for power in range(-3, 6)]
    marks = [mark for mark in marks if low * 0.95 <= mark <= high * 1.3]
    axis.set_xlim(low / math.exp(0.45 * span + 0.3), high * math.exp(0.05 * span))
    axis.set_xticks(marks, [f"{mark:g}x" for mark in marks], fontsize=9)
    axis.set_xticks([], minor=True)


def _ratios(run: Run, name: str) -> dict[str, float]:
    """By peer; infinite where the peer did nothing at all, 0 where only wsgi_async did nothing."""
    found = figures(run, name)
    if OURS not in found:
        return {}
    more = run.scenarios[name].more_is_better
    ratios = {
        peer: advantage(found[OURS].median, figure.median, more)
        for peer, figure in found.items()
        if not is_ours(peer)
    }
    return {peer: ratio for peer, ratio in ratios.items() if not math.isnan(ratio)}


def _lost(run: Run, name: str) -> str:
    """What a log scale cannot show, as words: wsgi_async has no figure, or one of nothing."""
    if OURS not in figures(run, name):
        return "void" if OURS in voids(run, name) else ""
    more = run.scenarios[name].more_is_better
    best = best_peer(figures(run, name), more)
    if best is None:
        return ""
    ratio = _ratios(run, name).get(best[0])
    if ratio is None:  # neither did anything
        return "0" if more else ""
    return f"0 {best[0]}" if ratio == 0 else ""


def _dots(axis: Any, run: Run, name: str, place: int) -> None:
    ratios = _ratios(run, name)
    if words := _lost(run, name):
        edge = axis.get_yaxis_transform()
        axis.scatter(
            [0], [place], s=60, marker="X", color=WORSE, linewidths=0, transform=edge, clip_on=False
        )
        axis.text(0.02, place, words, transform=edge, va="center", fontsize=9)
    if ratios and min(ratios.values()) == math.inf:
        axis.text(1, place, "  no other does it at all", va="center", fontsize=9)
    ratios = {peer: ratio for peer, ratio in ratios.items() if 0 < ratio < math.inf}
    if not ratios:
        return
    axis.plot([min(ratios.values()), max(ratios.values())], [place] * 2, color=LINE, linewidth=1)
    best = best_peer(figures(run, name), run.scenarios[name].more_is_better)
    others = [ratio for peer, ratio in ratios.items() if best is None or peer != best[0]]
    axis.scatter(others, [place] * len(others), s=16, color=PEER, linewidths=0)
    if best is None or best[0] not in ratios:
        return
    ratio = ratios[best[0]]
    tint = OURS_COLOUR if ratio >= 1 else WORSE
    axis.scatter([ratio], [place], s=60, color=tint, linewidths=0, zorder=3)
    words = f"{ratio_text(ratio)} {best[0]}"
    axis.text(0.02, place, words, transform=axis.get_yaxis_transform(), va="center", fontsize=9)
