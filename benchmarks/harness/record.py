"""What a run leaves behind: every sample of every round, and where it was measured. As JSON."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .processes import pins

__all__ = [
    "FORMAT",
    "BadRecord",
    "Kind",
    "Measured",
    "Row",
    "Run",
    "commit",
    "environment",
    "merged",
    "pathless",
    "read",
    "write",
]

FORMAT = 1
"""Of the JSON; raised when a reader of the old one would misread it."""


class BadRecord(Exception):
    """A file that holds no run, or one of another format."""


@dataclass(frozen=True)
class Row:
    """One server in one round of one scenario."""

    scenario: str
    server: str
    round: int
    """From 1."""
    value: float | None = None
    """The figure in the scenario's unit; None if the row is void."""
    p50: float | None = None
    p99: float | None = None
    errors: int = 0
    memory: int | None = None
    """Bytes in RAM after the load."""
    extra: dict[str, float] = field(default_factory=dict)
    void: str | None = None
    """Why there is no figure."""
    wrong: bool = False
    """It is void because an answer was wrong: the other rounds do not count either."""


DEFAULTS = {one.name: one.default for one in fields(Row)}


@dataclass(frozen=True)
class Kind:
    """A scenario, as far as a report needs it."""

    about: str
    unit: str
    more_is_better: bool
    options: dict[str, str] = field(default_factory=dict)
    """Further options of the servers, by name."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Why a server does not take part, by name."""
    measured: str = ""
    """When and at which commit, where that is not the run's."""


@dataclass(frozen=True)
class Measured:
    """A server, as far as a report needs it."""

    version: str
    command: str
    one_thread: bool = False
    """It runs one request at a time: whatever waits or computes stops everybody."""


@dataclass
class Run:
    """Everything that was measured, in the order in which it was."""

    environment: dict[str, str]
    rounds: int
    seconds: float
    threads: int
    packages: dict[str, str] = field(default_factory=dict)
    servers: dict[str, Measured] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    """Why a server was left out, by name."""
    scenarios: dict[str, Kind] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    @property
    def python(self) -> str:
        """As ``3.11``."""
        return ".".join(self.environment["python"].split()[-1].split(".")[:2])


def merged(old: Run, new: Run) -> Run:
    """`old` with the scenarios of `new` in the place of its own of these names.

    A ratio compares what was measured together, within a scenario, so scenarios may be of different
    days; but not of different machines or interpreters.

    :raises BadRecord: they do not go together.
    """
    for name in ("python", "cpu", "cores", "kernel", "wrk"):
        if old.environment[name] != new.environment[name]:
            raise BadRecord(
                f"{name}: {new.environment[name]} now, {old.environment[name]} in the file"
            )
    if (old.rounds, old.seconds, old.threads) != (new.rounds, new.seconds, new.threads):
        raise BadRecord("measured with other --rounds, --seconds or --threads")
    when = f"{new.environment['date']}, commit {new.environment['commit']}"
    kinds = {name: replace(kind, measured=when) for name, kind in new.scenarios.items()}
    return replace(
        old,
        packages={**old.packages, **new.packages},
        servers={**new.servers, **old.servers},
        skipped={**new.skipped, **old.skipped},
        scenarios={**old.scenarios, **kinds},
        rows=[row for row in old.rows if row.scenario not in kinds] + new.rows,
    )


def environment(python: str, checkout: Path) -> dict[str, str]:
    """Where and when, with `python` as ``CPython 3.11.7``."""
    where = pins()
    pinned = "not pinned"
    if where.server:
        pinned = f"server on core {where.server[-1]}, load on core {where.load[-1]}"
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "python": python,
        "commit": commit(checkout),
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "pinned": pinned,
        "kernel": f"{platform.system()} {platform.release()}",
        "wrk": _wrk(),
    }


def commit(checkout: Path) -> str:
    """As git describes it; empty without git."""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty"]
    if shutil.which("git") is None:
        return ""
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _wrk() -> str:
    if shutil.which("wrk") is None:
        return ""
    words = subprocess.run(["wrk", "-v"], capture_output=True, text=True).stdout.split()
    return words[1] if len(words) > 1 else ""


ABSOLUTE = re.compile(r"(?<![\w.:/])(?<!GET )(?<!POST )/(?:[^\s/'\"<>:,;()]+/)+")
"""The directories of an absolute path. A request's target is none, nor what follows a host."""


def pathless(text: str) -> str:
    """The last line of what an exception or a server said, with names of files but without the
    directories that only the machine it ran on has."""
    lines = [line for line in text.splitlines() if line.strip()]
    return ABSOLUTE.sub("", lines[-1].strip()) if lines else text.strip()


def write(run: Run, path: Path) -> None:
    """One line for each row, so that a difference between two files can be read. A file that is
    there is replaced as a whole, at once."""
    head = asdict(run)
    rows = head.pop("rows")
    head["skipped"] = {name: pathless(why) for name, why in run.skipped.items()}
    text = json.dumps({"format": FORMAT, **head, "rows": []}, indent=1, ensure_ascii=False)
    lines = ",\n".join("  " + json.dumps(_bare(row), ensure_ascii=False) for row in rows)
    assert text.endswith("[]\n}")
    made = path.with_name(f".{path.name}.new")
    made.write_text(f"{text[:-4]}[\n{lines}\n ]\n}}\n", encoding="utf-8")
    made.replace(path)


def _bare(row: dict[str, Any]) -> dict[str, Any]:
    """Without the fields that say nothing, and with no more digits than mean something."""
    told = {name: value for name, value in row.items() if value != DEFAULTS.get(name, ...)}
    if row["void"] is not None:
        told["void"] = pathless(row["void"])
    told["extra"] = {name: _digits(value) for name, value in row["extra"].items()}
    if not told["extra"]:
        del told["extra"]
    return {name: _digits(value) for name, value in told.items()}


def _digits(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def read(path: Path) -> Run:
    """:raises BadRecord: it is not such a file."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.pop("format") != FORMAT:
            raise BadRecord(f"{path}: not of format {FORMAT}; measure again")
        data["servers"] = {name: Measured(**value) for name, value in data["servers"].items()}
        data["scenarios"] = {name: Kind(**value) for name, value in data["scenarios"].items()}
        data["rows"] = [Row(**row) for row in data["rows"]]
        return Run(**data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadRecord(f"{path}: not the JSON of a run ({error})") from error
