"""What the formats of the access log are made of: gunicorn's atoms and ours, and the keys of JSON.

The tables of the guide are made of these.
"""

from __future__ import annotations

import enum
import json
import os
from collections.abc import Callable
from dataclasses import dataclass

from wsgi_async.events import ResponseInfo

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


def _part(name: str) -> Callable[[Entry], float | None]:
    """A part of the time, by its name in :class:`.ResponseInfo`."""

    def take(entry: Entry) -> float | None:
        seconds: float | None = getattr(entry.response, name, None)
        return seconds

    return take


def _is_measured(response: ResponseInfo | None) -> bool:
    return response is not None and response.received is not None


def _received(entry: Entry) -> int | None:
    return None if entry.response is None else entry.response.received


def _thread(entry: Entry) -> str | None:
    return None if entry.response is None else entry.response.thread


def _fact(name: str) -> Callable[[Entry], bool | None]:
    """Something that was so or was not, likewise."""

    def take(entry: Entry) -> bool | None:
        return bool(getattr(entry.response, name)) if _is_measured(entry.response) else None

    return take


# --- As text


def _decimal(take: Callable[[Entry], float | None]) -> Callable[[Entry], str]:
    def text(entry: Entry) -> str:
        seconds = take(entry)
        return "-" if seconds is None else f"{seconds:.6f}"

    return text


def _said(take: Callable[[Entry], bool | None]) -> Callable[[Entry], str]:
    return lambda entry: {True: "yes", False: "no", None: "-"}[take(entry)]


def _or_dash(take: Callable[[Entry], int | None]) -> Callable[[Entry], str]:
    def text(entry: Entry) -> str:
        value = take(entry)
        return "-" if value is None else str(value)

    return text


def _ours(
    meaning: str,
    kind: Kind,
    take: Callable[[Entry], object],
    unit: str = "",
    need: Need | None = Need.TIMINGS,
) -> Atom:
    return Atom(meaning, kind, take, need, unit, is_gunicorns=False)


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
    "L": Atom("duration", _OWN, _decimal(lambda entry: entry.seconds), unit="s, decimal"),
    "p": Atom("id of the process: `<123>`", _OWN, lambda entry: f"<{os.getpid()}>"),
    "id": _ours("id of the request, as other logs have it", _WORD, lambda e: e.id, need=None),
    "upload": _ours(
        "of the duration: the body arrives", _OWN, _decimal(_part("upload")), "s, decimal"
    ),
    "queue": _ours("it waits for a thread", _OWN, _decimal(_part("queue")), "s, decimal"),
    "app": _ours("the application has a thread", _OWN, _decimal(_part("app")), "s, decimal"),
    "cpu": _ours("of that, time on a processor", _OWN, _decimal(_part("cpu")), "s, decimal"),
    "send": _ours("only the client is waited for", _OWN, _decimal(_part("send")), "s, decimal"),
    "received": _ours("size of the request's body", _OWN, _or_dash(_received), "bytes"),
    "thread": _ours("name of the thread that took it first", _WORD, _thread),
    "spooled": _ours(
        "whether a body waited in a file: `yes` or `no`", _OWN, _said(_fact("was_spooled"))
    ),
    "parked": _ours("whether the response was suspended", _OWN, _said(_fact("was_parked"))),
}
"""gunicorn's, and ours behind them."""

NAMED: dict[str, Named] = {
    "i": Named("fields of the request of that name", lambda entry, name: entry.field(name)),
    "o": Named(
        "fields of the response, as the application gave them",
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


_write = json.JSONEncoder().encode
"""In ASCII: nothing of a text can end it, or a line."""


def _json(
    take: Callable[[Entry], str | None], *, is_known_by_text: bool = False
) -> Callable[[Entry], str]:
    """Text; null where it is not known.

    :param is_known_by_text: whether empty text means that it is not.
    """

    def write(entry: Entry) -> str:
        value = take(entry)
        return "null" if value is None or (is_known_by_text and not value) else _write(value)

    return write


def _json_number(take: Callable[[Entry], float | None]) -> Callable[[Entry], str]:
    def write(entry: Entry) -> str:
        value = take(entry)
        if value is None:
            return "null"
        return f"{value:.6f}" if isinstance(value, float) else str(value)

    return write


def _json_fact(take: Callable[[Entry], bool | None]) -> Callable[[Entry], str]:
    return lambda entry: {True: "true", False: "false", None: "null"}[take(entry)]


_TIMINGS = Need.TIMINGS

KEYS: dict[str, Key] = {
    "time": Key(
        'when the request came: `"2026-10-10T13:55:36.042+02:00"` (RFC 3339)',
        lambda entry: f'"{rfc3339(entry.came)}"',
    ),
    "client": Key(
        "address of the client, or `unix`", _json(lambda e: e.host, is_known_by_text=True)
    ),
    "user": Key(
        "name of the user, by the scheme Basic", _json(lambda e: e.user, is_known_by_text=True)
    ),
    "method": Key("method", _json(_method)),
    "target": Key("what was asked for, as it was sent", _json(_target)),
    "version": Key("version, such as `HTTP/1.1`", _json(_version)),
    "status": Key("status; 499 where the client left before", lambda entry: str(entry.status)),
    "body_size": Key("size of the response's body", lambda entry: str(entry.size), unit="bytes"),
    "referer": Key("field Referer", _json(_field("referer"))),
    "user_agent": Key("field User-Agent", _json(_field("user-agent"))),
    "id": Key(
        "id of the request, as other logs have it", _json(lambda e: e.id, is_known_by_text=True)
    ),
    "duration": Key(
        "from the complete head to the end of the response",
        _json_number(lambda entry: entry.seconds),
        unit="s",
    ),
    "upload": Key(
        "of the duration: the body arrives", _json_number(_part("upload")), _TIMINGS, "s"
    ),
    "queue": Key("it waits for a thread", _json_number(_part("queue")), _TIMINGS, "s"),
    "app": Key("the application has a thread", _json_number(_part("app")), _TIMINGS, "s"),
    "cpu": Key("of that, time on a processor", _json_number(_part("cpu")), _TIMINGS, "s"),
    "send": Key("only the client is waited for", _json_number(_part("send")), _TIMINGS, "s"),
    "received": Key("size of the request's body", _json_number(_received), _TIMINGS, "bytes"),
    "complete": Key(
        "whether all of the response was sent", _json_fact(lambda entry: entry.is_complete)
    ),
    "spooled": Key("whether a body waited in a file", _json_fact(_fact("was_spooled")), _TIMINGS),
    "parked": Key("whether the response was suspended", _json_fact(_fact("was_parked")), _TIMINGS),
    "thread": Key("name of the thread that took it first", _json(_thread), _TIMINGS),
    "process": Key("id of the process", lambda entry: str(os.getpid())),
}
"""In their order."""
