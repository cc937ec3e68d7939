"""From the committed JSON to what a reader sees: README.md, its plots, the project's section."""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness.record import Run, read

from . import plots, report

__all__ = ["BEGIN", "END", "RESULTS", "publish", "runs", "with_section"]

RESULTS = Path(__file__).resolve().parents[1] / "results"
"""The runs that are committed, one JSON file for each Python version."""
BEGIN = "<!-- benchmarks:begin -->"
END = "<!-- benchmarks:end -->"


def runs(directory: Path = RESULTS) -> list[Run]:
    """All runs of a directory, by Python version.

    :raises benchmarks.harness.record.BadRecord: a file is not a run.
    """
    found = [read(path) for path in sorted(directory.glob("*.json"))]
    return sorted(found, key=lambda run: [int(part) for part in run.python.split(".")])


def with_section(text: str, found: list[Run]) -> str:
    """The text with what is between its markers replaced; as it is if it has none."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        return text
    return f"{before}{begin}\n{report.readme_section(found)}\n{end}{after}"


def publish(directory: Path = RESULTS) -> list[Path]:
    """Write the report and its plots; of the committed runs to benchmarks/README.md, together with
    the section of the project's README, else into the same directory.

    :returns: the files.
    :raises ImportError: matplotlib is not installed.
    """
    directory = directory.resolve()
    found = runs(directory)
    written = []
    if directory == RESULTS:
        target, prefix = directory.parent / "README.md", "results"
        project = directory.parent.parent / "README.md"
        before = project.read_text(encoding="utf-8")
        after = with_section(before, found)
        if after != before:
            project.write_text(after, encoding="utf-8")
            written.append(project)
    else:
        target, prefix = directory / "README.md", "."
    target.write_text(report.readme(found, prefix), encoding="utf-8")
    return [*written, target, *plots.draw(found, directory)]
