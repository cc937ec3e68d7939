"""What the formats of the access log are made of: gunicorn's atoms and ours, and the keys of JSON.

The tables of the guide are made of these.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import Any

from .access_entry import Entry
from .text import log_time, rfc3339

__all__ = ["ATOMS", "KEYS", "NAMED", "Atom", "Key", "Kind", "Named", "Need"]


class Need(enum.Enum):
    """What is known only where an observer asks for it; by the attribute that does."""

    TIMINGS = "wants_timings"
    FIELDS = "wants_fields"
    ENVIRON = "wants_environ"


class Kind(enum.Enum):
    """What an atom's value is, and what is done to it therefore."""

    TEXT = "of a client or an application: escaped"
    WORD = "likewise, and a space is escaped too, for it mostly stands outside of quotes"
    OWN = "the server's own text"
    NUMBER = "a whole number, which is always known"


@dataclass(frozen=True, slots=True)
class Atom:
    """One ``%(NAME)s``."""

    meaning: str
    kind: Kind
    take: Callable[[Entry], object]
    need: Need | None = None
    unit: str = ""
    is_gunicorns: bool = True


@dataclass(frozen=True, slots=True)
class Named:
    """What stands behind the brace of ``%({NAME}i)s``."""

    meaning: str
    take: Callable[[Entry, str], str | None]
    need: Need | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """One key of JSON."""

    meaning: str
    take: Callable[[Entry], str]
    """Gives the value, written as JSON."""
    need: Need | None = None
    unit: str = ""


# --- Values


def _whole_line(entry: Entry) -> str:
    return " ".join(entry.line or ())


def _method(entry: Entry) -> str | None:
    return entry.line[0] if entry.line is not None else None


def _target(entry: Entry) -> str | None:
    return entry.line[1] if entry.line is not None else None


def _version(entry: Entry) -> str | None:
    return entry.line[2] if entry.line is not None else None


def _field(name: str) -> Callable[[Entry], str | None]:
    return lambda entry: entry.field(name)


def _told(name: str, show: Callable[[Any], str], unknown: str) -> Callable[[Entry], str]:
    """What only the server knows, by its name in :class:`.ResponseInfo`.

    :param unknown: in its place where it is not known.
    """

    def take(entry: Entry) -> str:
        response = entry.response
        value = None if response is None else getattr(response, name)
        return unknown if value is None else show(value)

    return take


def _fact(name: str, words: tuple[str, str, str]) -> Callable[[Entry], str]:
    """Something that was so or was not, likewise.

    :param words: for no, yes and unknown.
    """

    def take(entry: Entry) -> str:
        response = entry.response
        if response is None or response.received is None:  # nobody has asked for such facts
            return words[2]
        return words[bool(getattr(response, name))]

    return take


_decimal = "{:.6f}".format


def _ours(
    meaning: str,
    kind: Kind,
    take: Callable[[Entry], object],
    unit: str = "",
    need: Need | None = Need.TIMINGS,
) -> Atom:
    return Atom(meaning, kind, take, need, unit, is_gunicorns=False)


_TIMES = {
    "upload": "of the duration: while the request's body came",
    "queue": "waiting for a thread",
    "app": "with a thread, in the application",
    "first": "of `app`, until its first chunk was there",
    "cpu": "of `app`, on a processor",
    "send": "waiting for nobody but the client",
}
"""The parts of the duration, by their names in :class:`.ResponseInfo`."""

_WORDS = ("no", "yes", "-")
_TEXT, _WORD, _OWN, _NUMBER = Kind.TEXT, Kind.WORD, Kind.OWN, Kind.NUMBER

ATOMS: dict[str, Atom] = {
    "h": Atom("address of the client, or `unix`", _WORD, lambda entry: entry.host),
    "l": Atom("always `-`", _OWN, lambda entry: "-"),
    "u": Atom("name of the user, by the scheme Basic", _WORD, lambda entry: entry.user),
    "t": Atom(
        "when the request came: `[10/Oct/2026:13:55:36 +0200]`",
        _OWN,
        lambda entry: f"[{log_time(entry.came)}]",
    ),
    "r": Atom("request line", _TEXT, _whole_line),
    "m": Atom("method", _TEXT, _method),
    "U": Atom("path, percent-decoded", _TEXT, lambda entry: entry.path),
    "q": Atom("query, without the `?`", _TEXT, lambda entry: entry.query),
    "H": Atom("version, such as `HTTP/1.1`", _TEXT, _version),
    "s": Atom("status; 499 where the client left before", _NUMBER, lambda entry: entry.status),
    "B": Atom("size of the response's body", _NUMBER, lambda entry: entry.size, unit="bytes"),
    "b": Atom("likewise, and `-` for 0", _OWN, lambda entry: str(entry.size or "-"), unit="bytes"),
    "f": Atom("field Referer", _TEXT, _field("referer")),
    "a": Atom("field User-Agent", _TEXT, _field("user-agent")),
    "T": Atom(
        "duration: from the complete head to the end of the response",
        _NUMBER,
        lambda entry: int(entry.seconds),
        unit="s",
    ),
    "M": Atom("duration", _NUMBER, lambda entry: int(entry.seconds * 1e3), unit="ms"),
    "D": Atom("duration", _NUMBER, lambda entry: int(entry.seconds * 1e6), unit="µs"),
    "L": Atom("duration", _OWN, lambda entry: _decimal(entry.seconds), unit="s, decimal"),
    "p": Atom("id of the process: `<123>`", _OWN, lambda entry: f"<{os.getpid()}>"),
    "id": _ours("id of the request, as other logs have it", _WORD, lambda e: e.id, need=None),
    **{
        name: _ours(meaning, _OWN, _told(name, _decimal, "-"), "s, decimal")
        for name, meaning in _TIMES.items()
    },
    "received": _ours("size of the request's body", _OWN, _told("received", str, "-"), "bytes"),
    "thread": _ours("name of the thread that took it first", _WORD, _told("thread", str, "")),
    "spooled": _ours(
        "whether a body waited in a file: `yes` or `no`", _OWN, _fact("was_spooled", _WORDS)
    ),
    "parked": _ours(
        "whether the response was suspended for its client", _OWN, _fact("was_parked", _WORDS)
    ),
    "given_up": _ours(
        "whether its thread was given up (`--request-timeout`)",
        _OWN,
        _fact("is_given_up", _WORDS),
    ),
}
"""gunicorn's, and ours behind them."""

NAMED: dict[str, Named] = {
    "i": Named("fields of the request of that name", lambda entry, name: entry.field(name)),
    "o": Named(
        "fields of the response: those of the application, of `--server-timing` and of "
        "`--request-id-header`",
        lambda entry, name: entry.response_field(name),
        Need.FIELDS,
    ),
    "e": Named(
        "variable of the environ: text, numbers and the like",
        lambda entry, name: entry.variable(name),
        Need.ENVIRON,
    ),
}
"""Likewise, where a name goes before."""


# --- As JSON


_write = encode_basestring_ascii
"""Nothing of a text can end it, or a line."""

_JSON_WORDS = ("false", "true", "null")


def _json(take: Callable[[Entry], str | None]) -> Callable[[Entry], str]:
    """Text; null where there is none."""

    def write(entry: Entry) -> str:
        value = take(entry)
        return "null" if value is None else _write(value)

    return write


def _complete(entry: Entry) -> str:
    return {True: "true", False: "false", None: "null"}[entry.is_complete]


_TIMINGS = Need.TIMINGS

KEYS: dict[str, Key] = {
    "time": Key(
        'when the request came: `"2026-10-10T13:55:36.042+02:00"` (RFC 3339)',
        lambda entry: f'"{rfc3339(entry.came)}"',
    ),
    "client": Key("address of the client, or `unix`", _json(lambda e: e.host or None)),
    "user": Key("name of the user, by the scheme Basic", _json(lambda e: e.user or None)),
    "method": Key("method", _json(_method)),
    "target": Key("what was asked for, as it was sent", _json(_target)),
    "version": Key("version, such as `HTTP/1.1`", _json(_version)),
    "status": Key("status; 499 where the client left before", lambda entry: str(entry.status)),
    "body_size": Key("size of the response's body", lambda entry: str(entry.size), unit="bytes"),
    "referer": Key("field Referer", _json(_field("referer"))),
    "user_agent": Key("field User-Agent", _json(_field("user-agent"))),
    "id": Key("id of the request, as other logs have it", _json(lambda e: e.id or None)),
    "duration": Key(
        "from the complete head to the end of the response",
        lambda entry: _decimal(entry.seconds),
        unit="s",
    ),
    **{
        name: Key(meaning, _told(name, _decimal, "null"), _TIMINGS, "s")
        for name, meaning in _TIMES.items()
    },
    "received": Key(
        "size of the request's body", _told("received", str, "null"), _TIMINGS, "bytes"
    ),
    "complete": Key("whether all of the response was sent", _complete),
    "spooled": Key("whether a body waited in a file", _fact("was_spooled", _JSON_WORDS), _TIMINGS),
    "parked": Key(
        "whether the response was suspended for its client",
        _fact("was_parked", _JSON_WORDS),
        _TIMINGS,
    ),
    "given_up": Key(
        "whether its thread was given up (`--request-timeout`)",
        _fact("is_given_up", _JSON_WORDS),
        _TIMINGS,
    ),
    "thread": Key(
        "name of the thread that took it first", _told("thread", _write, "null"), _TIMINGS
    ),
    "process": Key("id of the process", lambda entry: str(os.getpid())),
}
"""In their order."""
