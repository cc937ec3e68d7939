"""What the command does: sources, their kinds, their plans, and the text of it all."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from wsgi_async.ctl.text import Paint, Screen, clean
from wsgi_async.errors import ConfigError

from .checked import check
from .kinds import Kind, kind_of
from .printed import describe
from .report import COMMAND, Plan, Source, read_source

__all__ = ["Report", "report"]


class Report(NamedTuple):
    """What there is to print."""

    lines: list[str]
    loses_something: bool
    """Whether something of consequence would be lost."""


def report(
    files: Sequence[str],
    words: Sequence[str],
    screen: Screen,
    *,
    kind: str = "",
    may_execute: bool = False,
    directory: Path | None = None,
) -> Report:
    """Read them all, and say what they come to here.

    :param files: by name.
    :param words: another server's command line; may be empty.
    :param kind: which they are; empty where names and contents say it.
    :param directory: where the files are, and where the command line starts; None for the current
        one.
    :raises ConfigError: one of them cannot be read, or is of no kind that is known.
    """
    directory = Path() if directory is None else directory
    given = {Path(name).name: (name, directory / name) for name in files}
    sources = [read_source(name, directory, may_execute=may_execute, given=given) for name in files]
    if words:
        sources.append(Source(COMMAND, shlex.join(words), directory, may_execute, given))
    found: list[tuple[Source, Kind, str, list[Plan]]] = []
    for source in sources:
        named = "command" if source.name == COMMAND else kind
        what, how = kind_of(source, named)
        plans = what.read(source)
        if not plans:
            raise ConfigError(f"{source.name}: there is nothing of a server in it")
        found.append((source, what, how, plans))
    # What a command line reads is told there, and not once more.
    parts = {file for *_, plans in found for plan in plans for file in plan.files}
    lines: list[str] = []
    loses_something = False
    for source, what, how, plans in found:
        if source.name in parts:
            continue
        for plan in plans:
            check(plan, source.name)
            title = f", {plan.title}" if plan.title else ""
            if plan.title and len(plans) > 1:
                plan.file = f"{plan.title}.toml"
            if source.name == COMMAND:
                head = f"{source.name}: {plan.server}"
            else:
                head = f"{source.name}{title}: {what.title} ({how})"
            lines += [*(["", ""] if lines else []), screen.painted(clean(head), Paint.HEAD)]
            lines += describe(plan, screen)
            loses_something |= plan.loses_something
    return Report(lines, loses_something)
