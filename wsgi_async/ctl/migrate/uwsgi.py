"""uWSGI's options as a plan: those of an ini file, and those of a command line.

What one comes to here is asked of the reader that serves with such files
(:mod:`wsgi_async.foreign.uwsgi`), of one option after the other.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from wsgi_async.errors import ConfigError
from wsgi_async.foreign.uwsgi import Line, Reader, written
from wsgi_async.foreign.uwsgi_addresses import SOCKETS, is_reached_from_afar

from .checked import KNOWN
from .report import Plan, Source, Verdict
from .rules import NO_BODY_BOUND, OTHER_ENVIRONMENT, UNKNOWN, Rule, missing, taken, unused
from .uwsgi_families import family_of
from .uwsgi_fates import NOT_SET, fate_of, fate_of_socket
from .words import has_variable

__all__ = ["NOT_READ", "Entry", "entries_of", "fill", "is_uwsgi", "read"]

NOT_READ = (
    "uWSGI's XML, YAML and JSON are not read: uwsgi --show-config, behind the option that names "
    "it, prints such a file as ini: give that"
)

_OTHER_SYNTAX = re.compile(r"<uwsgi\b|^uwsgi:\s*$|\"uwsgi\"\s*:\s*\{", re.MULTILINE)
_SECTION = re.compile(r"^\s*\[uwsgi\]\s*$", re.MULTILINE)

_ENVIRONMENTS = ("home", "pyhome", "venv", "virtualenv")
_CONTEXT = ("callable", "chdir", "gid", "protocol", "socket-protocol", "uid")
"""Options by which others are read, wherever they stand."""
_TLS = ("https", "https-socket")
"""Of these some parts are the same at all addresses here."""
_PLACEHOLDERS = ("set", "set-ph", "set-placeholder")


_SERVERS_OWN = unused("the server writes that field where it belongs")


class Entry(NamedTuple):
    """An option as it stands somewhere."""

    where: str
    key: str
    value: str | None
    """None where there is none."""
    flag: str = ""
    """As it was typed, on a command line."""
    file: Path | None = None
    """That it stands in, which ``%n`` and the like are of."""


def is_uwsgi(source: Source) -> str:
    """By what a source is one of uWSGI's; empty where it is none."""
    if _SECTION.search(source.text):
        return "by its section [uwsgi]"
    suffix = PurePath(source.name).suffix
    if suffix in (".xml", ".yaml", ".yml", ".json") and _OTHER_SYNTAX.search(source.text):
        return "by its name and what is in it"
    return ""


def read(source: Source) -> list[Plan]:
    """What the file comes to.

    :raises ConfigError: it is one of XML, YAML or JSON, or none of uWSGI's.
    """
    if not _SECTION.search(source.text) and _OTHER_SYNTAX.search(source.text):
        raise ConfigError(f"{source.name}: {NOT_READ}")
    if not _SECTION.search(source.text):
        raise ConfigError(f"{source.name} has no section [uwsgi]")
    plan = Plan("uWSGI")
    fill(plan, entries_of(source), source)
    if all(finding.verdict is not Verdict.MISSING for finding in plan.findings):
        plan.kept = source.name
    return [plan]


def entries_of(source: Source, section: str = "uwsgi") -> list[Entry]:
    """The options in an ini file."""
    file = _file_of(source)
    return [
        Entry(f"{source.name}:{number}", key, value, file=file)
        for number, current, key, value in written(source.text)
        if key and current == section
    ]


def fill(plan: Plan, entries: Iterable[Entry], source: Source) -> None:
    """Put what the options come to into the plan."""
    _Filling(plan, source).fill(list(entries))


class _Environment(Mapping[str, str]):
    """One in which each variable is set, to what a shell puts it in by."""

    def __getitem__(self, name: str) -> str:
        return f"${{{name}}}"

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class _Filling:
    """One plan in the making."""

    def __init__(self, plan: Plan, source: Source) -> None:
        self._plan = plan
        self._source = source
        self._file = _file_of(source)
        self._names: dict[Path, Reader] = {}
        """By file. Each knows what placeholders stand for, of all files."""
        self._before: Mapping[str, object] = {}
        """What those options come to by which others are read."""

    def _reader(self, file: Path | None = None) -> Reader:
        return Reader(file or self._file, self._source.name, _Environment())

    def fill(self, entries: list[Entry]) -> None:
        self._names = {file: self._reader(file) for file in map(self._file_in, entries)}
        lines = [self._line(number, entry) for number, entry in enumerate(entries)]
        known = [line for line in lines if isinstance(line, Line)]
        context = [line for line in known if line.key in _CONTEXT and self._is_sound(line)]
        self._chdir = next((line.value for line in reversed(context) if line.key == "chdir"), "")
        refused = self._refused(known, context)
        self._before = self._reader().convert(context).options
        for entry, line in zip(entries, lines, strict=True):
            if entry.key in _PLACEHOLDERS or self._is_name(entry, lines):
                continue
            if not isinstance(line, Line):
                self._say(entry, missing(line))
            elif line.key in _ENVIRONMENTS:
                self._enter(entry, line)
            elif line.number in refused:
                rule = fate_of(line.key) or family_of(line.key)
                if rule is None or rule.verdict is not Verdict.MISSING:
                    rule = missing(refused[line.number])
                self._say(entry, rule)
            else:
                self._one(entry, line, context)
        good = [line for line in known if self._counts(line) and line.number not in refused]
        options = dict(self._reader().convert([*context, *good]).options)
        application = options.pop("app", None)
        if application is not None:
            self._plan.application = str(application)
        for option, value in options.items():
            self._put(option, value)
        keys = {line.key for line in known}
        self._not_set(keys, entries)

    def _line(self, number: int, entry: Entry) -> Line | str:
        """The option with its references resolved; else why it cannot be read."""
        text = entry.key if entry.value is None else f"{entry.key} = {entry.value}"
        found: list[Line] = []
        why = ""
        for file, names in self._names.items():
            try:
                read = names.lines(f"[uwsgi]\n{text}", "uwsgi")
            except ConfigError as error:
                why = _why(error, entry.key)
                continue
            if file == self._file_in(entry):
                found = read
        if why:
            return why
        if not found:
            return Line(number, entry.key, entry.value or "")
        return found[0]._replace(number=number)

    def _refused(self, known: list[Line], context: list[Line]) -> dict[int, str]:
        """By number the lines of which nothing can be made, by themselves or beside others, and
        why."""
        refused = {}
        good = list(context)
        for line in filter(self._counts, known):
            beside: list[Line] = []
            if line.key not in _CONTEXT:
                alike = (*_CONTEXT, *(_TLS if line.key in _TLS else (line.key,)))
                beside = [each for each in good if each.key in alike]
            try:
                self._reader().convert([*beside, line])
            except ConfigError as error:
                refused[line.number] = _why(error, line.key)
            else:
                good.append(line)
        return refused

    def _counts(self, line: Line) -> bool:
        """Whether something is made of it together with others."""
        return line.key not in _ENVIRONMENTS

    def _file_in(self, entry: Entry) -> Path:
        return entry.file or self._file

    def _is_sound(self, line: Line) -> bool:
        try:
            self._reader().convert([line])
        except ConfigError:
            return False
        return True

    def _is_name(self, entry: Entry, lines: Sequence[Line | str]) -> bool:
        """Whether it is no option, but a name that other lines refer to."""
        if fate_of(entry.key) is not None or family_of(entry.key) is not None or entry.flag:
            return False
        is_referred_to = any(entry.key in names.referred for names in self._names.values())
        return is_referred_to and not self._becomes_something(entry, lines)

    def _becomes_something(self, entry: Entry, lines: Sequence[Line | str]) -> bool:
        line = next(
            (each for each in lines if isinstance(each, Line) and each.key == entry.key), None
        )
        if line is None:
            return False
        try:
            return bool(self._reader().convert([line]).options)
        except ConfigError:
            return True

    def _one(self, entry: Entry, line: Line, context: list[Line]) -> None:
        reader, before = self._reader(), self._before
        after = reader.convert([*context, line]).options
        changes = [name for name, value in after.items() if before.get(name) != value]
        rule = fate_of(line.key)
        if line.key in SOCKETS and rule is None:
            rule = _socket(line, after, before)
        if f"{line.key} = {line.value}" in reader.ignored:
            rule = _SERVERS_OWN
        elif rule is None:
            if changes or line.key in _CONTEXT:
                rule = taken(_named(changes[:1], line.key))
            elif line.key in reader.ignored:
                rule = family_of(line.key) or UNKNOWN
            else:
                rule = family_of(line.key) or taken("as it is here anyway")
        elif line.key == "limit-post" and line.value == "0":
            rule = NO_BODY_BOUND
        elif _is_off(line.value) and (rule.matters or _is_nothing_else(rule, after, changes)):
            rule = taken("off, as here")
        self._say(entry, rule)

    def _enter(self, entry: Entry, line: Line) -> None:
        directory = posixpath.join(self._chdir, line.value)
        self._plan.program = posixpath.join(directory, "bin", "wsgi-async")
        self._say(entry, OTHER_ENVIRONMENT)

    def _put(self, option: str, value: object) -> None:
        """Into the options, or where an environment has to say it, into the variables."""
        texts = value if isinstance(value, list) else [value]
        if not any(has_variable(str(text)) for text in texts):
            self._plan.options[option] = value
        elif len(texts) == 1:
            self._plan.variables[option] = str(texts[0])
        else:
            self._plan.options[option] = [text for text in texts if not has_variable(str(text))]

    def _not_set(self, keys: set[str], entries: list[Entry]) -> None:
        where = self._source.name
        has_several = any(entry.key in ("processes", "workers", "p") for entry in entries)
        for key, rule in NOT_SET.items():
            if key in keys or (key == "lazy-apps" and ("lazy" in keys or not has_several)):
                continue
            self._plan.add(where, key, "", rule.verdict, rule.text, matters=rule.matters)

    def _say(self, entry: Entry, rule: Rule) -> None:
        self._plan.add(
            entry.where,
            entry.flag or entry.key,
            entry.value or "",
            rule.verdict,
            rule.text,
            matters=rule.matters,
        )


def _socket(line: Line, after: Mapping[str, object], before: Mapping[str, object]) -> Rule:
    addresses, known = after.get("bind"), before.get("bind")
    new = addresses if isinstance(addresses, list) else []
    added = [text for text in new if not isinstance(known, list) or text not in known]
    return fate_of_socket("".join(added[:1]), from_afar=is_reached_from_afar(line.value))


def _is_nothing_else(rule: Rule, after: Mapping[str, object], changes: Sequence[str]) -> bool:
    """Whether what is said to be different has been left as it is by default."""
    are_defaults = (KNOWN[name].parse(after[name]) == KNOWN[name].default for name in changes)
    return rule.verdict is Verdict.CHANGED and all(are_defaults)


def _file_of(source: Source) -> Path:
    return (source.directory / PurePath(source.name).name).absolute()


def _named(changes: Sequence[str], key: str) -> str:
    """Which of our options it has become, where it is called otherwise."""
    if not changes or changes[0] == key.replace("-", "_"):
        return ""
    return f"as {KNOWN[changes[0]].flag}" if changes[0] in KNOWN else ""


def _is_off(value: str) -> bool:
    return value.lower() in ("0", "false", "no", "off")


def _why(error: ConfigError, key: str) -> str:
    """What is wrong, without the place that stands in front of it."""
    return str(error).partition(f": {key}: ")[2] or str(error)
