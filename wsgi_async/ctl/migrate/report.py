"""What a reader is given, and what it says.

A reader is a function from a :class:`Source` to plans, of which there may be several: a Procfile
may start two servers. It fills a :class:`Plan`: options by our names, with values as an operator
may write them (text, numbers, lists), and a :class:`Finding` for each setting that it has seen.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from wsgi_async.errors import ConfigError
from wsgi_async.system.files import read_text

from .bounds import LETTERS, check_text
from .words import Word

__all__ = [
    "Command",
    "Finding",
    "Plan",
    "Quoting",
    "ReadCommand",
    "Reader",
    "Source",
    "Verdict",
    "read_source",
]

COMMAND = "command line"
"""What a source is called that is no file, but words behind ``--``."""


class Verdict(enum.Enum):
    """What becomes of a setting. The values are the headings of the report, in this order."""

    TAKEN_OVER = "Taken over"
    CHANGED = "Changed"
    """There is something like it, which behaves differently."""
    WITHOUT_EFFECT = "Without effect"
    """Nothing here needs it, or nothing does it: the sentence says what follows from that."""
    MISSING = "Missing"
    """What it does cannot be had by an option: the sentence says what is the way round."""


class Quoting(enum.Enum):
    """How words stand in a line."""

    SHELL = enum.auto()
    SYSTEMD = enum.auto()
    """A per cent sign is doubled, and a variable has no default."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A setting, and what becomes of it."""

    where: str
    """``gunicorn.conf.py:3``, or the name of the source alone for what is not written there."""
    setting: str
    """As the other server calls it."""
    value: str
    """As it is written; empty where there is none. Secrets in it are masked when it is printed."""
    verdict: Verdict
    text: str
    """A sentence without its full stop: what is different, what follows, what to do. May be empty
    of what is taken over."""
    matters: bool = False
    """Whether something of consequence is lost: somebody has to decide before the move."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a reader is given.

    :param name: what the operator calls it; it begins each ``where``.
    :param text: its text; of words behind ``--`` those, quoted as for a shell.
    :param directory: what names in it are relative to.
    :param may_execute: whether code in it may be run.
    :param given: other files that were given, by their last names: each as it was typed, and where
    it is.
    :param path: where it is; None of what is no file.
    """

    name: str
    text: str
    directory: Path = Path()
    may_execute: bool = False
    given: Mapping[str, tuple[str, Path]] = field(default_factory=dict)
    path: Path | None = None

    def beside(self, name: str, directory: str = "") -> Source | None:
        """Another file that this one names: where it says, or else the one of that name that was
        given; None where it is neither there nor given, or cannot be read.

        :param directory: what the name is relative to, where that is not the source's own.
        """
        last = PurePath(name).name
        places = [self.directory / directory / name]
        if last in self.given:
            places.append(self.given[last][1])
        names = name, self.given.get(last, ("",))[0]
        for path, called in zip(places, names, strict=False):
            try:
                text = read_text(path)
                check_text(text, called)
            except (ConfigError, OSError, ValueError):  # a name with NUL, or what is no text
                continue
            return Source(called, text, path.parent, self.may_execute, self.given, path)
        return None


@dataclass(frozen=True, slots=True)
class Command:
    """A server's command line, without its program."""

    server: str
    source: Source
    where: str
    """Of the program."""
    words: list[Word]
    directory: str = ""
    """Where it starts; empty for the source's own."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that are known to be set."""
    before: tuple[str, ...] = ()
    """Words of what runs it: ``exec``, ``newrelic-admin run-program``."""
    assigned: Mapping[str, str] = field(default_factory=dict)
    """Variables that the command line itself sets."""
    program: str = "wsgi-async"
    """Ours, in the place of the server's."""
    wrapper: tuple[str, ...] = ()
    """The shell that the command line is given to as one word: ``sh -c``."""
    ahead: str = ""
    """What the shell does before, up to its ``&&``."""
    rest: str = ""
    """What it has behind."""


@dataclass(slots=True)
class Plan:
    """One server, as it would be here."""

    server: str = ""
    """Who serves so far: ``gunicorn``."""
    title: str = ""
    """Which of several it is: ``web``."""
    application: str | None = None
    """As ``wsgi-async`` takes it; None where the source does not say."""
    options: dict[str, object] = field(default_factory=dict)
    """By our names; not validated."""
    variables: dict[str, str] = field(default_factory=dict)
    """Options that a variable has to say: our name, and the text as a shell has it,
    ``0.0.0.0:${PORT:-8000}``; of a list, a text on each line. Where ``options`` has the same
    name, that is the default."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables that are set for the command line: ``A=b gunicorn ...``."""
    findings: list[Finding] = field(default_factory=list)
    before: tuple[str, ...] = ()
    """Words of a wrapper, which stay: ``newrelic-admin run-program``."""
    program: str = "wsgi-async"
    """With its directory, where the other server's has one."""
    wrapper: tuple[str, ...] = ()
    """The shell that the command is given to as one word: ``sh -c``."""
    inside: str = "{command}"
    """What such a shell, or the one of the line, does besides: ``cd backend && {command}``."""
    place: str = "{command}"
    """The line in which that stands: ``web: {command}``."""
    file: str = "wsgi_async.toml"
    """Which file the options go to."""
    quoting: Quoting = Quoting.SHELL
    kept: str = ""
    """A file that ``wsgi-async -c`` takes as it is."""
    besides_kept: frozenset[str] = frozenset()
    """Names of options that are not read out of that file: they are given besides."""
    without: list[str] = field(default_factory=list)
    """Settings that have to go out of it first: it is refused with them."""
    needs_kept: str = ""
    """Why that file has to stay, if so: what TOML cannot say."""
    between: str = " = "
    """What stands between a setting and its value."""
    files: list[str] = field(default_factory=list)
    """Other files that were read for it."""

    def add(
        self,
        where: str,
        setting: str,
        value: str,
        verdict: Verdict,
        text: str = "",
        *,
        matters: bool = False,
    ) -> None:
        """Say what becomes of a setting."""
        self.findings.append(Finding(where, setting, value, verdict, text, matters))

    def append(self, option: str, *texts: str) -> None:
        """Add to an option that takes several texts."""
        before = self.options.get(option)
        self.options[option] = [*(before if isinstance(before, list) else ()), *texts]

    @property
    def loses_something(self) -> bool:
        """Whether something of consequence is lost."""
        return any(finding.matters for finding in self.findings)


ReadCommand = Callable[[Command], Plan]
"""Reads a server's command line.

:raises ConfigError: it cannot be read.
"""

Reader = Callable[[Source], list[Plan]]
"""Reads a source.

:raises ConfigError: it cannot be read; one line, which names it.
"""


def read_source(
    named: str,
    directory: Path,
    *,
    may_execute: bool = False,
    given: Mapping[str, tuple[str, Path]] | None = None,
) -> Source:
    """The file of that name, or for ``-`` standard input; the other arguments are those of
    :class:`Source`.

    :raises ConfigError: there is none, or it is no text.
    """
    path = directory / named
    name, text = named, ""
    try:
        if named == "-":
            name = "standard input"
            text = sys.stdin.read(LETTERS + 1)
        else:
            text = read_text(path)
    except FileNotFoundError:
        raise ConfigError(f"There is no file {named!r}") from None
    except IsADirectoryError:
        raise ConfigError(f"{named} is a directory: name a file in it") from None
    except OSError as error:
        raise ConfigError(f"{named}: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{name} is not UTF-8") from None
    check_text(text, name)
    if named == "-":
        return Source(name, text, directory, may_execute, given or {})
    return Source(name, text, path.parent, may_execute, given or {}, path)
