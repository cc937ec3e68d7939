"""What was measured: as JSON, as a table, and next to what was measured before."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

__all__ = ["Figures", "Report", "read", "table", "write"]

FORMAT = 1


@dataclass(frozen=True)
class Figures:
    """Of one operation."""

    times: list[float]
    """Nanoseconds, as each batch found them."""
    calls: float | None = None
    """Python calls."""
    instructions: float | None = None
    """Machine instructions."""

    @property
    def best(self) -> float:
        return min(self.times)

    @property
    def median(self) -> float:
        return statistics.median(self.times)


@dataclass(frozen=True)
class Report:
    """One run."""

    results: dict[str, Figures]
    python: str = field(
        default_factory=lambda: f"{platform.python_implementation()} {platform.python_version()}"
    )
    machine: str = field(default_factory=platform.platform)


def write(report: Report, path: Path) -> None:
    """Keep a run for later comparison.

    :raises OSError: the file cannot be written.
    """
    path.write_text(json.dumps({"format": FORMAT, **asdict(report)}, indent=1) + "\n")


def read(path: Path) -> Report:
    """What :func:`write` wrote.

    :raises OSError: the file cannot be read.
    :raises ValueError: it is something else, or of another version of this program.
    """
    try:
        content = json.loads(path.read_text())
        if content.pop("format") != FORMAT:
            raise ValueError("another format")
        results = {name: Figures(**figures) for name, figures in content.pop("results").items()}
        return Report(results, **content)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not what --json writes: {error}") from error


def table(report: Report, old: Report | None = None) -> str:
    """The figures in columns; next to them new / old, where there is an old one."""
    header = ["", "min us", "median us", "calls", "instructions"]
    if old is not None:
        header += ["| min", "median", "calls", "instructions"]
    rows = [header]
    for name, figures in report.results.items():
        row = [name, _us(figures.best), _us(figures.median)]
        row += [_number(figures.calls, ",.1f"), _number(figures.instructions, ",.0f")]
        if old is not None:
            row += _ratios(figures, old.results.get(name))
        rows.append(row)
    lines = _aligned(rows)
    if old is not None:
        lines += ["", "Right of the line: new / old; below 1 is less than before."]
        if (old.python, old.machine) != (report.python, report.machine):
            lines.append(f"The old figures are of {old.python} on {old.machine}.")
    return "\n".join([f"{report.python}, {report.machine}", "", *lines])


def _ratios(new: Figures, old: Figures | None) -> list[str]:
    if old is None:
        return ["| -", "-", "-", "-"]
    return [
        "| " + _ratio(new.best, old.best),
        _ratio(new.median, old.median),
        _ratio(new.calls, old.calls),
        _ratio(new.instructions, old.instructions),
    ]


def _ratio(new: float | None, old: float | None) -> str:
    return f"{new / old:.3f}" if new is not None and old else "-"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _us(nanoseconds: float) -> str:
    """Microseconds, with a digit for every ten nanoseconds at least."""
    microseconds = nanoseconds / 1000
    return f"{microseconds:.3f}" if microseconds < 10 else f"{microseconds:.2f}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
