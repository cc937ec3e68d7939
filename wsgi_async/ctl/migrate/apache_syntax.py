"""Apache's configuration as directives, each with its line and the sections around it.

Sections that only ask what Apache is (``<IfModule>``, ``<IfVersion>``) are looked through, as if it
had every module; what stands in ``<IfModule !NAME>`` is left out. Variables are those of ``Define``
and of Debian's ``envvars``. Included files are read where they are there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from wsgi_async.errors import ConfigError

from .bounds import LARGEST
from .report import Source

__all__ = ["Directive", "Section", "directives", "is_of_modules", "options", "words"]


class Section(NamedTuple):
    kind: str
    """In lower case: ``virtualhost``."""
    value: str
    """``*:443``."""
    where: str


class Directive(NamedTuple):
    where: str
    """``site.conf:3``."""
    name: str
    """As it is written."""
    text: str
    """What follows the name, variables resolved."""
    sections: tuple[Section, ...] = ()
    """The outermost first."""
    is_read: bool = False
    """Of ``Include``: what it names has been read, and follows."""

    @property
    def key(self) -> str:
        """The name as Apache compares it."""
        return self.name.lower()

    @property
    def words(self) -> list[str]:
        """The arguments, without their quotes."""
        return words(self.text)

    @property
    def first(self) -> str:
        """The first argument; empty where there is none."""
        return "".join(self.words[:1])

    def around(self, *kinds: str) -> Section | None:
        """The innermost section of these kinds; None where there is none."""
        return next((each for each in reversed(self.sections) if each.kind in kinds), None)


_DEEPEST = 50
"""Sections in one another."""

MOST_FILES = 100
"""Files that are read for one report: an Include may name its own file."""

_MOST_PATTERNS = 2
"""Parts of a path that are patterns: all of the disk is in four."""

_LOOKED_THROUGH = ("ifmodule", "ifversion", "ifdefine", "iffile", "ifdirective", "ifsection")
_OF_MODULES = re.compile(r"(?:.*/)?(?:mods-enabled|conf\.modules\.d)/")
"""Directories in which Debian and Red Hat say of modules what these distributions want."""

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_TAG = re.compile(r"<(/?)\s*([A-Za-z]+)\s*(.*?)>?\s*$", re.DOTALL)
_STARS = re.compile(r"\*{2,}")
_OPTION = re.compile(r'([\w-]+)=(?:"([^"]*)"|\'([^\']*)\'|(\S*))')
_WORD = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'|(\S+))', re.DOTALL)

# /etc/apache2/envvars of Debian and Ubuntu
_DEBIAN = {
    "APACHE_LOCK_DIR": "/var/lock/apache2",
    "APACHE_LOG_DIR": "/var/log/apache2",
    "APACHE_PID_FILE": "/var/run/apache2/apache2.pid",
    "APACHE_RUN_DIR": "/var/run/apache2",
    "APACHE_RUN_GROUP": "www-data",
    "APACHE_RUN_USER": "www-data",
}


def directives(source: Source) -> list[Directive]:
    """All that apply, in their order. What is not closed ends with the text: people give a part of
    their configuration."""
    return list(_Reading().directives(source, ()))


def is_of_modules(name: str) -> bool:
    """Whether a distribution says there what it wants of Apache's modules."""
    return _OF_MODULES.match(name) is not None


def words(text: str) -> list[str]:
    """Words as Apache tells them apart: in quotes they may have spaces."""
    found = []
    for match in _WORD.finditer(text):
        double, single, bare = match.groups()
        quoted = double if double is not None else single
        found.append(bare if quoted is None else re.sub(r"\\([\"'\\])", r"\1", quoted))
    return found


def options(text: str) -> dict[str, str]:
    """The ``NAME=VALUE`` of mod_wsgi's, where quotes may be around a value alone."""
    return {match[1]: match[2] or match[3] or match[4] or "" for match in _OPTION.finditer(text)}


class _Reading:
    def __init__(self) -> None:
        self._variables = dict(_DEBIAN)
        self._files = 0

    def directives(self, source: Source, around: tuple[Section, ...]) -> Iterator[Directive]:
        self._files += 1
        sections = list(around)
        for number, line in _lines(source.text):
            where = f"{source.name}:{number}"
            if line.startswith("<"):
                self._enter_or_leave(line, where, sections)
                if len(sections) > _DEEPEST:
                    raise ConfigError(
                        f"{where}: more than {_DEEPEST} sections stand in one another"
                    )
                continue
            if any(map(self._omits, sections)):
                continue
            name, text = (*line.split(None, 1), "")[:2]
            text = self._resolve(text)
            if len(text) > LARGEST:
                raise ConfigError(f"{where}: its variables come to more than 64 KiB")
            if name.lower() == "define":
                variable, value = (*words(text), "", "")[:2]
                self._variables[variable] = value
                continue
            applying = tuple(each for each in sections if each.kind not in _LOOKED_THROUGH)
            found = Directive(where, name, text, applying)
            others = self._included(found, source) if found.key.startswith("include") else []
            yield found._replace(is_read=bool(others))
            for other in others:
                if self._files < MOST_FILES:
                    yield from self.directives(other, applying)

    def _included(self, directive: Directive, source: Source) -> list[Source]:
        """The files that are there. Their names are relative to ServerRoot, in which sites-enabled/
        is; patterns may be in them."""
        name = directive.first
        if not name or self._files >= MOST_FILES or is_of_modules(name):
            return []
        for directory in ("", ".."):
            names = _matching(name, source.directory / directory)
            if found := [other for each in names if (other := source.beside(each, directory))]:
                return found
        return []

    def _enter_or_leave(self, line: str, where: str, sections: list[Section]) -> None:
        match = _TAG.match(line)
        if match is None:
            return
        closes, kind, value = match[1], match[2].lower(), match[3]
        if not closes:
            sections.append(Section(kind, " ".join(words(self._resolve(value))), where))
            return
        kinds = [section.kind for section in sections]
        if kind in kinds:  # whatever is open within it ends as well
            del sections[len(kinds) - 1 - kinds[::-1].index(kind) :]

    def _omits(self, section: Section) -> bool:
        """Whether nothing that stands in it applies there."""
        is_negated, name = section.value.startswith("!"), section.value.lstrip("!")
        if section.kind == "ifdefine":
            return is_negated and name in self._variables
        return section.kind == "macro" or (is_negated and section.kind == "ifmodule")

    def _resolve(self, text: str) -> str:
        return _VARIABLE.sub(lambda match: self._variables.get(match[1], match[0]), text)


def _matching(name: str, directory: Path) -> list[str]:
    """The names that a pattern stands for; one that is none stands for itself."""
    patterns = [part for part in name.split("/") if not {"*", "?", "["}.isdisjoint(part)]
    if not patterns:
        return [name]
    if len(patterns) > _MOST_PATTERNS:
        return []
    name = _STARS.sub("*", name)  # two of them are no more in Apache
    root = Path(name).anchor
    try:
        found = sorted(Path(root or directory).glob(name.removeprefix(root)))
    except (OSError, ValueError, NotImplementedError):
        return []
    return [str(path if root else path.relative_to(directory)) for path in found[:MOST_FILES]]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; a backslash at the end joins the next one to it."""
    begun: list[str] = []
    first = 0
    for number, raw in enumerate([*text.splitlines(), ""], 1):
        first = first if begun else number
        if raw.endswith("\\"):
            begun.append(raw[:-1])
            continue
        line = "".join([*begun, raw]).strip()
        begun = []
        if line and not line.startswith("#"):
            yield first, line
