"""The tables of the guide, made from the code.

A page has the place of a table between two comments, ``<!-- NAME:begin -->`` and
``<!-- NAME:end -->``. A test holds the pages to what is made here; :func:`refresh` writes it there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from wsgi_async.config.option import Option
from wsgi_async.config.options import ALL_OPTIONS, in_groups
from wsgi_async.ctl.exits import Exit
from wsgi_async.ctl.in_flight import STATES
from wsgi_async.logs.access_atoms import ATOMS, KEYS, NAMED
from wsgi_async.operations import statsd_lines
from wsgi_async.operations.history import COLUMNS, MEANINGS, UNITS
from wsgi_async.processes.signals import SIGNALS
from wsgi_async.scoreboard.table import METRICS, PROCESS, Kind

from . import DIRECTORY

__all__ = [
    "TABLES",
    "atoms_table",
    "exits_table",
    "filled",
    "history_table",
    "json_table",
    "metrics_table",
    "options_in_groups",
    "options_table",
    "refresh",
    "signals_table",
    "standings_table",
    "statsd_table",
]

_PLACE = re.compile(r"(<!-- (\w+):begin -->\n).*?(<!-- \2:end -->)", re.DOTALL)


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, *rows)]
    lines.insert(1, f"|{'---|' * len(heads)}")
    return "\n".join(lines) + "\n"


def options_table(options: Iterable[Option] = ALL_OPTIONS) -> str:
    """Options as a Markdown table: option, default, meaning."""
    rows = []
    for spec in options:
        names = ", ".join(f"`{name}`" for name in (*spec.flags, spec.flag))
        default = f"`{spec.shown_default}`" if spec.shown_default else ""
        choices = f" One of {', '.join(spec.choices)}." if spec.choices else ""
        rows.append((names, default, f"{spec.help}{choices}"))
    return _table(("Option", "Default", "Meaning"), rows)


def options_in_groups() -> str:
    """A heading and a table for each group of options."""
    return "\n".join(
        f"## {group.value}\n\n{options_table(options)}" for group, options in in_groups().items()
    )


def signals_table() -> str:
    """The signals as a Markdown table: signal, what the parent does."""
    rows = [(number.name, meaning) for number, meaning in SIGNALS.items()]
    return _table(("Signal", "What the parent does"), rows)


def exits_table() -> str:
    """The exit codes of ``wsgi-asyncctl`` as a Markdown table: code, what it means."""
    return _table(("Code", "Meaning"), [(str(exit.value), exit.meaning) for exit in Exit])


def standings_table() -> str:
    """Where a request may stand, as ``wsgi-asyncctl requests`` has it, as a Markdown table."""
    rows = [(f"`{state}`", meaning) for state, meaning in STATES.items()]
    return _table(("State", "Where the request is"), rows)


def atoms_table() -> str:
    """What a format of the access log is made of, as a Markdown table: atom, unit, what it is."""

    def rows(*, are_gunicorns: bool) -> list[tuple[str, ...]]:
        return [
            (f"`%({name})s`", atom.unit, atom.meaning)
            for name, atom in ATOMS.items()
            if atom.is_gunicorns is are_gunicorns
        ]

    named = [(f"`%({{NAME}}{end})s`", "", each.meaning) for end, each in NAMED.items()]
    heads = ("Atom", "Unit", "What it is")
    return _table(heads, [*rows(are_gunicorns=True), *named, *rows(are_gunicorns=False)])


def json_table() -> str:
    """The keys of the access log in JSON as a Markdown table: key, unit, what it is."""
    rows = [(f"`{name}`", key.unit, key.meaning) for name, key in KEYS.items()]
    return _table(("Key", "Unit", "What it is"), rows)


def metrics_table() -> str:
    """The metrics as a Markdown table: name, kind, labels with their values, meaning."""
    rows = []
    for metric in METRICS:
        labels = [f"`{label.name}` ({', '.join(label.values)})" for label in metric.labels]
        if metric.kind is Kind.GAUGE:
            labels.insert(0, f"`{PROCESS}`")
        rows.append((f"`{metric.name}`", metric.kind.value, "; ".join(labels), metric.help))
    return _table(("Metric", "Kind", "Labels", "Meaning"), rows)


def statsd_table() -> str:
    """What is told to statsd as a Markdown table: name, type, meaning."""
    rows = [
        (f"`{metric.name}`", metric.kind.name.lower(), metric.help)
        for metric in statsd_lines.METRICS
    ]
    return _table(("Metric", "Type", "What it says"), rows)


def history_table() -> str:
    """The columns of the dashboard's history as a Markdown table: column, unit, meaning."""
    rows = [(f"`{name}`", UNITS.get(name, ""), MEANINGS[name]) for name in COLUMNS]
    return _table(("Column", "Unit", "What it is"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "atoms": atoms_table,
    "exits": exits_table,
    "history": history_table,
    "json": json_table,
    "metrics": metrics_table,
    "options": options_in_groups,
    "signals": signals_table,
    "standings": standings_table,
    "statsd": statsd_table,
}
"""What makes the table of a name; a place of another name is written by hand."""


def filled(markdown: str) -> str:
    """The page with its tables as the code has them."""

    def fill(match: re.Match[str]) -> str:
        make = TABLES.get(match[2])
        return match[0] if make is None else f"{match[1]}{make()}{match[3]}"

    return _PLACE.sub(fill, markdown)


def refresh() -> None:
    """Write the tables into all pages."""
    for path in DIRECTORY.glob("*.md"):
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
