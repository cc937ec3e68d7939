"""Variables one by one: whether each may be, and which part of a request it is.

Most of them are the front server's configuration, or what one browser says each time: such a pair
of name and value is judged once, and found again by its bytes. Pure functions; any thread.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable

from wsgi_async.errors import HTTPError, ProtocolFault
from wsgi_async.http.admission import has_control
from wsgi_async.http.bounded_cache import BoundedCache
from wsgi_async.http.recurring import RECURRING
from wsgi_async.http.variables import join_values

__all__ = ["Pair", "lines_of", "take"]

Pair = tuple[bytes, bytes]
"""Name and value, as they were received."""


class _Part(enum.Enum):
    FIELD = "of the client's head"
    TOLD = "what is asked, by whom and on which way: it is told in other places, or not at all"
    OWN = "the front server's, passed on as it is"


_FIELD, _TOLD, _OWN = _Part.FIELD, _Part.TOLD, _Part.OWN

_GIVEN_ONCE = (
    *("REQUEST_METHOD", "REQUEST_URI", "QUERY_STRING", "SERVER_PROTOCOL"),
    *("CONTENT_TYPE", "CONTENT_LENGTH"),
)
"""What is asked: two readers are not to take it for two things. By whom it is, a site may say anew:
nginx's ``fastcgi_params`` has REMOTE_USER, which is empty where something else has let them in."""

_TOLD_NAMES = {
    *_GIVEN_ONCE,
    *("SCRIPT_NAME", "PATH_INFO", "REMOTE_ADDR", "REMOTE_PORT", "SERVER_PORT", "SERVER_NAME"),
    *("HTTPS", "SERVER_SOFTWARE", "GATEWAY_INTERFACE"),
}

_BY_WHOM = ": the web server in front says it twice, maybe once in a file that it includes"

_FIELDS_ONCE = {
    "HTTP_HOST": f"There is more than one Host field, HTTP_HOST{_BY_WHOM}",
    "HTTP_CONTENT_TYPE": "There is more than one Content-Type field",
    "HTTP_CONTENT_LENGTH": "Content-Length is given more than once",
}

_COMING_AGAIN = RECURRING | {
    *("REQUEST_METHOD", "SERVER_PROTOCOL", "CONTENT_TYPE", "CONTENT_LENGTH"),
    *("SERVER_PORT", "SERVER_NAME"),
    *("REQUEST_SCHEME", "HTTPS", "UWSGI_SCHEME", "SERVER_ADDR", "SERVER_SOFTWARE", "SCGI"),
    *("GATEWAY_INTERFACE", "DOCUMENT_ROOT", "REDIRECT_STATUS", "SCRIPT_NAME"),
}
"""Whose values do. None is a person's, or a request's."""

_NAME = re.compile(rb"[!-<>-~]+")
_FIELD_NAME = re.compile(r"HTTP_[!#$%&'*+.^_`|~0-9A-Z]+")

_Name = tuple[str, _Part, bool]
"""As text; the part; whether its values come again."""

_names: BoundedCache[bytes, _Name] = BoundedCache(1024)
"""Names that have been judged."""

_NAME_SIZE_LIMIT = 64

_Judged = tuple[str, str, _Part]
"""Name, value and part."""

_judged: BoundedCache[Pair, _Judged] = BoundedCache(1024)
"""1 MB at worst."""

_VALUE_SIZE_LIMIT = 256


def take(variables: Iterable[Pair]) -> tuple[dict[str, str], dict[str, str], int]:
    """The variables that say what is asked; those that are passed on, fields among them; and how
    many lines of fields there are.

    Until 1.23 nginx has a variable for each line, and so the same name several times. It has one
    twice, too, where a file of parameters is included and one of them is then said in another way,
    as guides have it (``fastcgi_param SCRIPT_NAME ""``): the last counts, as in other servers.

    :raises HTTPError: 400, one of them may not be, or not twice.
    :raises ProtocolFault: no front server has such names.
    """
    told: dict[str, str] = {}
    passed: dict[str, str] = {}
    known = _judged.get
    lines = 0
    for pair in variables:
        name, value, part = known(pair) or _judge(pair)
        if part is _FIELD:
            lines += 1
            if name in passed:
                if name in _FIELDS_ONCE:
                    raise HTTPError(400, _FIELDS_ONCE[name])
                value = join_values(name, passed[name], value)
            passed[name] = value
        elif part is _OWN:
            passed[name] = value
        elif name in told and name in _GIVEN_ONCE:
            raise HTTPError(400, f"The variable {name} is given twice{_BY_WHOM}")
        else:
            told[name] = value
    return told, passed, lines


def lines_of(variables: Iterable[Pair]) -> list[tuple[str, str]]:
    """The lines of fields among them, in their order."""
    known = _judged.get
    judged = [known(pair) or _judge(pair) for pair in variables]
    return [(name, value) for name, value, part in judged if part is _FIELD]


def _judge(pair: Pair) -> _Judged:
    """What a pair is that is not among those that come again."""
    raw, data = pair
    name, part, comes_again = _names.get(raw) or _name_of(raw)
    value = data.decode("latin-1")
    if not value.isprintable():  # most are, and then have no such thing
        if "\0" in value:
            raise HTTPError(400, "A variable contains NUL")
        if (part is _FIELD or name == "CONTENT_TYPE") and has_control(value.strip(" \t")):
            raise HTTPError(400, "A header field contains a control character")
    if part is _FIELD:
        value = value.strip(" \t")
    judged = name, value, part
    if comes_again and len(data) <= _VALUE_SIZE_LIMIT:
        _judged.keep(pair, judged)
    return judged


def _name_of(raw: bytes) -> _Name:
    """Judge a name that is not among :data:`_names` yet."""
    if not _NAME.fullmatch(raw):
        raise ProtocolFault("a variable has no name, or one that no variable can have")
    name = raw.decode("ascii")
    if name[:5].upper() == "HTTP_" and not _FIELD_NAME.fullmatch(name):
        raise HTTPError(400, "A variable has the name of no header field")
    if name.startswith(("wsgi.", "wsgi_async.")):
        raise HTTPError(400, "A variable has a name that only the server may use")
    part = _FIELD if name[:5] == "HTTP_" else _TOLD if name in _TOLD_NAMES else _OWN
    known = name, part, name in _COMING_AGAIN
    if len(raw) <= _NAME_SIZE_LIMIT:
        _names.keep(raw, known)
    return known
