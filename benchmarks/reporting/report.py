"""Markdown from runs: the tables, ``benchmarks/README.md`` and the section of the project's README.

Everything is computed from the JSON; the same files give the same text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

from benchmarks.harness.record import Run
from benchmarks.harness.servers import OURS
from benchmarks.harness.units import number, ratio_text

from . import targets
from .figures import Figure, advantage, figures, voids
from .prose import GUARD, H11, HOW, INTRODUCTION, LIMITED, NO_RUN, REPEAT, TARGETS

__all__ = [
    "GROUPS",
    "ONE_THREAD",
    "grouped",
    "labels",
    "parser_table",
    "readme",
    "readme_section",
    "scenario_table",
    "targets_table",
]

GROUPS = {
    "applications": ("Real applications", ("flask", "django")),
    "bodies": ("Streams, files and uploads", ("lines", "stream", "file", "upload")),
    "slow": ("Slow clients and idle connections", ("slow", "idle")),
    "live": ("Held event streams", ("live",)),
    "requests": ("Small answers", ("hello", "varied", "close")),
    "tls": ("Over TLS", ("tls",)),
    "processes": ("Two processes", ("processes",)),
    "told": ("Logs, metrics and times", ("told",)),
    "patience": ("Slow applications and the start", ()),
}
"""How the report is divided: a title, and what a scenario's name starts with. The last one takes
what is left."""
OVERVIEW = "Real applications, streams, slow clients and small answers: each server's bar"
"""What stands for the main plot where it cannot be seen."""
OURS_H11 = f"{OURS}-h11"
"""The server with its other parser."""
ONE_THREAD = "one thread"
"""What is said of a server that runs one request at a time."""
CLIENT_BUSY = 0.9
"""From this part of its core on, a load client measures itself."""

Column = Callable[[Figure], float | None]


def labels(runs: Sequence[Run]) -> list[str]:
    """A name for each run, in plots' files too: its Python, numbered where several have one."""
    names = [run.python for run in runs]
    counts = [names[: place + 1].count(name) for place, name in enumerate(names)]
    return [
        name if count == 1 else f"{name}-{count}" for name, count in zip(names, counts, strict=True)
    ]


def grouped(runs: Sequence[Run]) -> dict[str, list[str]]:
    """The scenarios of all runs by group, in the order in which they were measured."""
    names = list(dict.fromkeys(chain.from_iterable(run.scenarios for run in runs)))
    last = list(GROUPS)[-1]
    found: dict[str, list[str]] = {key: [] for key in GROUPS}
    for name in names:
        key = next((key for key, (_, starts) in GROUPS.items() if name.startswith(starts)), last)
        found[key].append(name)
    return {key: listed for key, listed in found.items() if listed}


def table(head: Sequence[str], lines: Sequence[Sequence[str]], columns: str = "---:") -> str:
    """A Markdown table; the first column is text, the others are figures unless `columns` is
    ``---``."""
    rule = ["---", *(columns for _ in head[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *lines])


def scenario_table(run: Run, scenario: str) -> str:
    """Medians, their spread, and how many times as good wsgi_async is as each server; the best
    first. Below it what is void, and why."""
    kind = run.scenarios[scenario]
    found = figures(run, scenario)
    ours = found.get(OURS)
    order = sorted(found, key=lambda name: found[name].median, reverse=kind.more_is_better)
    shown = list(found.values())
    extras = sorted({name for figure in shown for name in figure.extra})
    optional: list[tuple[str, Column]] = [
        ("p50 ms", lambda figure: figure.p50),
        ("p99 ms", lambda figure: figure.p99),
        ("failed", lambda figure: figure.errors or None),
        *(_extra(name) for name in extras),
        ("MB", lambda figure: _in_megabytes(figure.memory)),
    ]
    columns = [(head, get) for head, get in optional if any(get(one) is not None for one in shown)]
    lines = []
    notes = []
    for name in order:
        figure = found[name]
        ratio = ""
        if ours is not None and name != OURS:
            ratio = ratio_text(advantage(ours.median, figure.median, kind.more_is_better))
        cells = [number(value) if (value := get(figure)) is not None else "" for _, get in columns]
        shown_name = f"**{name}**" if name == OURS else name
        if name in run.servers and run.servers[name].one_thread:
            shown_name += f" ({ONE_THREAD})"
        spread = f"{number(figure.low)} to {number(figure.high)}"
        median = number(figure.median)
        if figure.extra.get("client_busy", 0) > CLIENT_BUSY:
            median += " †"
            notes = [LIMITED]
        lines.append([shown_name, median, spread, *cells, ratio])
    unit = kind.unit if kind.more_is_better else f"{kind.unit} (less is better)"
    head = ["server", unit, "lowest to highest", *(head for head, _ in columns), f"{OURS} is"]
    parts = [table(head, lines)] if lines else []
    notes += [f"- {name}: {why}" for name, why in voids(run, scenario).items()]
    if notes:
        parts.append("\n".join(notes).replace("|", "\\|"))
    return "\n\n".join(parts)


def _extra(name: str) -> tuple[str, Column]:
    """The column of a scenario's own figure."""
    if name == "memory":
        return "MB meanwhile", lambda figure: _in_megabytes(figure.extra.get(name))
    return name.replace("_", " "), lambda figure: figure.extra.get(name)


def _in_megabytes(value: float | None) -> float | None:
    return None if value is None else value / 1e6


def targets_table(runs: Sequence[Run]) -> str:
    """What was asked, and what was reached, whichever side of it the figures fall."""
    head = ["scenario", "asked", "reach for"]
    names = labels(runs)
    head += [*(f"reached on {name}" for name in names), "met?"]
    lines = []
    for row, clauses in targets.rows(targets.load()).items():
        cells: list[list[str]] = [[] for _ in range(3 + len(runs))]
        for clause in clauses:
            cells[0].append(clause.asked())
            cells[1].append(clause.reach())
            verdicts = []
            for cell, name, run in zip(cells[2:], names, runs, strict=False):
                found = targets.reached(clause, run)
                cell.append(found.text(clause))
                verdicts.append((name, found.verdict(clause)))
            cells[-1].append(_together(verdicts))
        lines.append([row, *("<br>".join(cell) for cell in cells)])
    return table(head, lines, "---")


def parser_table(runs: Sequence[Run]) -> str:
    """What was reached with ``--parser h11``, where that was measured; empty if nowhere. Without
    verdicts: the default parser is what something was asked of."""
    measured = {row.scenario for run in runs for row in run.rows if row.server == OURS_H11}
    lines = []
    for row, clauses in targets.rows(targets.load()).items():
        there = [clause for clause in clauses if clause.scenario in measured]
        if there:
            columns = [[clause.asked() for clause in there]]
            columns += [
                [targets.reached(clause, run, OURS_H11).text(clause) for clause in there]
                for run in runs
            ]
            lines.append([row, *("<br>".join(column) for column in columns)])
    head = ["scenario", "asked of the default", *(f"h11 on {name}" for name in labels(runs))]
    return table(head, lines, "---") if lines else ""


def _together(verdicts: Sequence[tuple[str, str]]) -> str:
    """One word if all Pythons agree."""
    if len({verdict for _, verdict in verdicts}) == 1:
        return verdicts[0][1]
    return ", ".join(f"{python} {verdict}" for python, verdict in verdicts)


def readme_section(runs: Sequence[Run]) -> str:
    """What stands in the project's README between its markers ``benchmarks``: the main plot, the
    targets, how to repeat it."""
    if not runs:
        return NO_RUN
    first = runs[0].environment
    where = f"{first['cpu']}, {first['kernel']}, one core for the server, {runs[0].threads} threads"
    return "\n\n".join(
        [
            f"![{OVERVIEW}](benchmarks/results/overview.svg)",
            f"Medians of {_rounds(runs)} rounds, servers interleaved ({where}; "
            f"{', '.join(run.environment['python'] for run in runs)}). {TARGETS}",
            targets_table(runs),
            "Every figure, its spread and its latency: [benchmarks](benchmarks/README.md). To "
            "repeat it:",
            REPEAT,
        ]
    )


def _rounds(runs: Sequence[Run]) -> str:
    counts = sorted({run.rounds for run in runs})
    return " or ".join(map(str, counts))


def readme(runs: Sequence[Run], plots: str = "results") -> str:
    """The whole report.

    :param plots: the directory of the plots, as the report links to it; empty for none.
    """
    parts = ["# Benchmarks", INTRODUCTION]
    if not runs:
        return "\n\n".join([*parts, NO_RUN, "## How to repeat it", REPEAT, HOW, GUARD]) + "\n"
    parts += ["## What was asked, and what was reached"]
    if plots:
        parts.append(f"![{OVERVIEW}]({plots}/overview.svg)")
    parts += [TARGETS, targets_table(runs)]
    if plots:
        parts.append(f"![wsgi_async as a multiple of each other server]({plots}/ratios.svg)")
    if with_h11 := parser_table(runs):
        parts += [H11, with_h11]
    parts += ["## How to repeat it", REPEAT, HOW, "## Where it was measured", _where(runs)]
    for key, names in grouped(runs).items():
        parts.append(f"## {GROUPS[key][0]}")
        if plots:
            parts += [
                f"![Medians on Python {label}]({plots}/{key}-{label}.svg)"
                for label, run in zip(labels(runs), runs, strict=True)
                if set(names) & set(run.scenarios)
            ]
        for name in names:
            parts += _scenario(runs, name)
    parts += ["## The servers and their commands", _commands(runs), GUARD]
    return "\n\n".join(parts) + "\n"


def _scenario(runs: Sequence[Run], name: str) -> list[str]:
    there = [
        (label, run) for label, run in zip(labels(runs), runs, strict=True) if name in run.scenarios
    ]
    kind = there[0][1].scenarios[name]
    parts = [f"### {name}", kind.about]
    if kind.left_out:
        left_out = ", ".join(f"{server} ({why})" for server, why in kind.left_out.items())
        parts.append(f"Left out: {left_out}.")
    if kind.options:
        given = ", ".join(f"{server} `{value}`" for server, value in kind.options.items())
        parts.append(f"With these options: {given}.")
    for label, run in there:
        when = run.scenarios[name].measured
        parts += [
            f"Python {label}, measured {when}:" if when else f"Python {label}:",
            scenario_table(run, name),
        ]
    return parts


def _where(runs: Sequence[Run]) -> str:
    names = dict.fromkeys(chain.from_iterable(run.environment for run in runs))
    lines = [[name, *(run.environment.get(name) or "-" for run in runs)] for name in names]
    lines.append(["rounds", *(f"{run.rounds} of {run.seconds:g} s" for run in runs)])
    lines.append(["threads", *(str(run.threads) for run in runs)])
    packages = sorted({name for run in runs for name in run.packages})
    lines += [[name, *(run.packages.get(name, "-") for run in runs)] for name in packages]
    text = table(["", *labels(runs)], lines, "---")
    for label, run in zip(labels(runs), runs, strict=True):
        for server, why in run.skipped.items():
            text += f"\n\nLeft out on {label}: {server} ({why})."
    return text


def _commands(runs: Sequence[Run]) -> str:
    names = dict.fromkeys(chain.from_iterable(run.servers for run in runs))
    lines = []
    for name in names:
        measured = [run.servers[name] for run in runs if name in run.servers]
        versions = dict.fromkeys(one.version for one in measured)
        lines.append([name, ", ".join(versions), f"`{measured[-1].command}`"])
    return table(["server", "version", "command"], lines, "---")
