"""The formats of the access log: what an operator writes, read once; a line of each request."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from wsgi_async.errors import ConfigError

from .access_atoms import ATOMS, KEYS, NAMED, Atom, Kind, Need
from .access_entry import Entry
from .text import escape

__all__ = ["COMBINED", "COMMON", "FORMATS", "JSON", "AccessFormat", "is_secret"]

COMMON = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s'
"""Apache's "common" format."""
COMBINED = f'{COMMON} "%(f)s" "%(a)s"'
"""Apache's "combined" format; gunicorn's default."""
JSON = "json"

FORMATS: dict[str, str] = {
    "combined": COMBINED,
    "common": COMMON,
    JSON: JSON,
}
"""Formats that have a name. JSON is none that could be written with atoms."""

_ATOM = re.compile(
    r"%\((?P<name>[^()]*)\)(?P<how>[-+ #0]*[0-9]{0,3}(?:\.[0-9]{0,3})?)[hlL]?(?P<type>[A-Za-z])"
)
_INNER = re.compile(r"\{(.*)\}([a-z])", re.DOTALL | re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_OF_TEXT = "sra"
_OF_NUMBERS = f"{_OF_TEXT}diuoxXeEfFgG"

_SECRET = ("authorization", "proxy-authorization")

_ELSEWHERE: dict[str, str] = {
    # granian
    "addr": "h",
    "dt_ms": "M",
    "method": "m",
    "path": "U",
    "protocol": "H",
    "query_string": "q",
    "scheme": "{wsgi.url_scheme}e",
    "status": "s",
    "time": "t",
    # hypercorn
    "R": "r",
    "S": "{wsgi.url_scheme}e",
    "Uq": "{request_uri}e",
    "st": "s",
}
"""What other servers call an atom: what it is called here."""

Take = Callable[[Entry], object]


class AccessFormat:
    """One format, compiled. Any thread.

    :param text: ``combined``, ``common``, ``json``, or text with atoms: ``%(NAME)s``, each with
        flags, width, precision and type as Python's ``%`` has them.
    :param what: what the operator calls it, such as ``--access-logformat``.
    :raises ConfigError: there is no such atom, or the text is not well-formed.
    """

    def __init__(self, text: str, what: str = "--access-logformat") -> None:
        self._what = what
        self.is_json = text == JSON
        self._needs: set[Need] = set()
        self._takes: list[Take] = []
        self.has_ours = text in FORMATS
        """Whether gunicorn would not understand it."""
        if self.is_json:
            pairs = [f'"{key}": %s' for key in KEYS]
            self.template = f"{{{', '.join(pairs)}}}"
            self._takes += [key.take for key in KEYS.values()]
            self._needs |= {key.need for key in KEYS.values() if key.need is not None}
        else:
            self.template = "".join(self._compile(FORMATS.get(text, text)))
            if not self._takes:
                raise self._refuse(f"{text!r} is none of {', '.join(FORMATS)}, and has no %(NAME)s")

    @property
    def needs(self) -> frozenset[Need]:
        """What has to be asked for."""
        return frozenset(self._needs)

    def args(self, entry: Entry) -> tuple[object, ...]:
        """What goes into :attr:`template`."""
        return tuple([take(entry) for take in self._takes])

    def line(self, entry: Entry) -> str:
        """A line, without its end."""
        return self.template % self.args(entry)

    # --- Reading

    def _refuse(self, why: str) -> ConfigError:
        return ConfigError(f"{self._what}: {why}")

    def _compile(self, text: str) -> Iterator[str]:
        """The parts of the template."""
        if control := _CONTROL.search(text):
            raise self._refuse(f"a line has no {control[0]!r} in it")
        done = 0
        while (found := text.find("%", done)) >= 0:
            yield text[done:found]
            if text.startswith("%%", found):
                yield "%%"
                done = found + 2
                continue
            match = _ATOM.match(text, found)
            if match is None:
                part = text[found : found + 20]
                raise self._refuse(f"each % is %% or begins %(NAME)s, which {part!r} does not")
            yield self._read(match)
            done = match.end()
        yield text[done:]

    def _read(self, match: re.Match[str]) -> str:
        """One atom: what stands for it in the template."""
        atom = self._find(match["name"])
        types = _OF_NUMBERS if atom.kind is Kind.NUMBER else _OF_TEXT
        if match["type"] not in types:
            raise self._refuse(f"{match[0]} cannot be: write %({match['name']})s")
        if atom.need is not None:
            self._needs.add(atom.need)
        self.has_ours = self.has_ours or not atom.is_gunicorns
        self._takes.append(_shown(atom))
        return f"%{match['how']}{match['type']}"

    def _find(self, name: str) -> Atom:
        if name in ATOMS:
            return ATOMS[name]
        match = _INNER.fullmatch(name)
        named = NAMED.get(match[2].lower()) if match is not None else None
        if match is None or named is None:
            hint = f"write %({_ELSEWHERE[name]})s" if name in _ELSEWHERE else "see --guide logging"
            raise self._refuse(f"there is no %({name})s: {hint}")
        inner, take = match[1], named.take
        if is_secret(inner):
            return Atom(named.meaning, Kind.OWN, lambda entry: "-")
        if named.need is not Need.ENVIRON:
            inner = inner.lower()
        return Atom(named.meaning, Kind.TEXT, lambda entry: take(entry, inner), named.need)


def is_secret(name: str) -> bool:
    """Whether no log has what is under this name, of a field or of its variable in the environ."""
    return name.lower().replace("_", "-").removeprefix("http-") in _SECRET


def _shown(atom: Atom) -> Take:
    """What gives an atom's value as a log may have it."""
    take = atom.take
    if atom.kind is Kind.TEXT:
        return lambda entry: escape(str(take(entry) or "")) or "-"
    if atom.kind is Kind.WORD:
        return lambda entry: escape(str(take(entry) or "")).replace(" ", r"\x20") or "-"
    return take
