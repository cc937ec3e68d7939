"""The fast path: proves an ordinary request head from memory, as far as that reaches.

:class:`FastPath` accepts a strict subset of what h11 and :func:`admit` accept, with the
identical :class:`RequestHead`; for everything else, every error included, it returns None and h11
has the word. A differential property test holds it to that. An optimisation and nothing more: the
server works without this file, and ``parser="h11"`` turns it off.

The heads of a kept connection are mostly alike: target, cookie and ids differ, the rest is the same
to the byte. What is the same is a :class:`Shape`, found in the connection's second head; the later
ones are compared with it, and only what differs is looked at. A head that does not fit is read line
by line. The lines of a client's heads are mostly known too: what such a line means is remembered
when it has been proved for the first time; of the rest only the value is new.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from wsgi_async.http.bounded_cache import BoundedCache
from wsgi_async.http.recurring import RECURRING
from wsgi_async.http.request import RequestHead
from wsgi_async.http.target import valid_authority
from wsgi_async.http.variables import DROPPED, KEYS, key_of, path_info

__all__ = ["FastPath", "Shape", "read_lines", "shape_of"]

MAX_FIELDS = 40
"""A head with more fields is for h11. Browsers send 10 to 16; each proxy adds some."""

_METHOD_NAMES = """
    GET HEAD POST PUT DELETE OPTIONS PATCH TRACE
    PROPFIND PROPPATCH REPORT SEARCH MKCOL COPY MOVE LOCK UNLOCK
"""
_METHODS = frozenset(_METHOD_NAMES.split())

# A name without underscore; at most one space, then a value that has no whitespace at its ends and
# is not empty. Possessive (*+): what one part has matched no other could.
_match_field = re.compile(
    r"([-!#$%&'*+.^`|~0-9A-Za-z]++): ?([!-~\x80-\xff][\t -~\x80-\xff]*+)(?<![\t ])"
).fullmatch

_KEEP_ALIVE = {"keep-alive": True, "Keep-Alive": True, "close": False, "Close": False}


_is_length = re.compile(r"[0-9]{1,18}").fullmatch


def _never(value: str) -> bool:
    return False


_CHECKS: dict[str, Callable[[str], object]] = {
    "HTTP_HOST": valid_authority,
    "HTTP_CONNECTION": _KEEP_ALIVE.__contains__,
    "CONTENT_LENGTH": _is_length,
    "HTTP_TRANSFER_ENCODING": _never,
    "HTTP_EXPECT": _never,
    "HTTP_UPGRADE": _never,
    DROPPED: _never,
}
"""Fields whose value decides whether the head is an ordinary one."""

_NOT_PLAIN = RECURRING.union(_CHECKS)

_lines: BoundedCache[str, tuple[str, str]] = BoundedCache(1024)
"""Line -> key in the environ and value; each has been proved. 1 MB at worst."""

_known = _lines.get

_LINE_SIZE_LIMIT = 256

_shapes: BoundedCache[tuple[str, ...], Shape] = BoundedCache(256)
"""What is the same in its heads -> shape. 2 MB at worst. A connection keeps its own, also where
others have taken all places: that is what its size is bounded for."""

_SHAPE_SIZE_LIMIT = 2048

_make: Callable[[type[RequestHead]], RequestHead] = RequestHead.__new__
"""Makes a head whose fields are then set, each by its name: a constructor that is called so takes
several times as long, and does no more."""

MISSES = 4
"""After so many heads in a row that were not like the one before, a connection is not asked for a
shape any more: it may be a proxy's, with the heads of many clients."""


class FastPath:
    """The heads of one connection. One thread at a time."""

    __slots__ = ("_misses", "_shape")

    def __init__(self) -> None:
        self._shape: Shape | None = None
        self._misses = -1  # the first head has nothing to be like

    def parse(self, raw: bytes) -> RequestHead | None:
        """Read one complete head (it ends in CRLF CRLF), or decline."""
        text = raw.decode("latin-1")
        if self._shape is not None:
            head = self._shape.read(text)
            if head is not None:
                self._misses = 0
                return head
        head = read_lines(text)
        # What is declined teaches nothing: it may be several heads in one piece.
        if head is not None and self._misses < MISSES:
            self._misses += 1
            self._shape = shape_of(head) if 0 < self._misses < MISSES else None
        return head


class Shape:
    """What the heads of a connection have in common; shared by all connections with such heads.

    :param method: of the request.
    :param parts: what is the same in each head, from the version on. Between one part and the next
        is a value that differs.
    :param keys: of those values.
    :param like: a head of this shape.
    """

    __slots__ = ("_first", "_method", "_others", "_size", "_variables")

    def __init__(
        self, method: str, parts: tuple[str, ...], keys: tuple[str, ...], like: RequestHead
    ) -> None:
        self._method = method
        self._first = parts[0]
        self._others = tuple(zip(keys, parts[1:], strict=True))
        # Those that differ are kept for their place only: none of their values is.
        self._variables = like.variables | dict.fromkeys((*_OF_TARGET, *keys), "")
        self._size = like.field_count

    def read(self, text: str) -> RequestHead | None:
        """Read a head, if it is of this shape."""
        try:
            method, target, fields = text.split(" ", 2)
        except ValueError:
            return None
        rest = fields.removeprefix(self._first)
        if rest is fields or method != self._method:
            return None
        variables = self._variables.copy()
        for key, following in self._others:
            # A printable value has no CR: what follows it is the end of its line.
            value, found, rest = rest.partition(following)
            if not (found and value and value.isprintable() and value.strip(" ") == value):
                return None
            variables[key] = value
        return None if rest else _finish(method, target, variables, text, self._size)


_OF_TARGET = ("RAW_URI", "REQUEST_URI", "PATH_INFO", "QUERY_STRING")


def shape_of(head: RequestHead) -> Shape | None:
    """The shape of a head that was read line by line; None where it has an unusual line, or much
    that would have to be kept."""
    parts, keys = ["HTTP/1.1\r\n"], []
    for line in head.text.split("\r\n")[1:-2]:
        if line in _lines:
            parts[-1] += line + "\r\n"
            continue
        name, colon, _ = line.partition(": ")
        key = KEYS.get(name)
        if not colon or key is None or (key in _NOT_PLAIN and key != "CONTENT_LENGTH"):
            return None
        parts[-1] += name + colon
        parts.append("\r\n")
        keys.append(key)
    parts[-1] += "\r\n"
    if sum(map(len, parts)) > _SHAPE_SIZE_LIMIT:
        return None
    common = head.method, *parts
    shape = _shapes.get(common)
    if shape is None:
        shape = Shape(head.method, tuple(parts), tuple(keys), head)
        _shapes.keep(common, shape)
    return shape


def read_lines(text: str) -> RequestHead | None:
    """Read one complete head line by line, or decline. Any thread."""
    # No CR or LF is left in a line that is then proved, so a bare one needs no look of its own;
    # nor does an empty line before the last, which is no field.
    lines = text.split("\r\n")
    fields = lines[1:-2]
    if text[-4:] != "\r\n\r\n" or len(fields) > MAX_FIELDS:
        return None
    try:
        method, target, version = lines[0].split(" ")
    except ValueError:
        return None
    if version != "HTTP/1.1" or method not in _METHODS:
        return None
    variables = {"REQUEST_METHOD": method, "SERVER_PROTOCOL": version}
    others = len(variables)
    for line in fields:
        pair = _known(line)
        if pair is None:
            # In place, as most new lines are plain
            name, _, value = line.partition(": ")
            key = KEYS.get(name, DROPPED)  # a name in there is a token
            if (
                key in _NOT_PLAIN
                or not value
                or not value.isprintable()  # of latin-1, a part of what a value may hold
                or value.strip(" ") != value
            ):
                pair = _take_apart(line)
                if pair is None:
                    return None
                key, value = pair
        else:
            key, value = pair
        variables[key] = value
    if len(variables) != others + len(fields):  # a name is repeated
        return None
    return _finish(method, target, variables, text, len(fields))


def _finish(
    method: str, target: str, variables: dict[str, str], text: str, field_count: int
) -> RequestHead | None:
    """The head, whose fields have been proved, if its target and its framing are ordinary too."""
    if (
        target[:1] != "/"
        or not target.isprintable()
        or not target.isascii()
        or "#" in target
        or "HTTP_HOST" not in variables
    ):
        return None
    path, _, query = target.partition("?")
    variables["RAW_URI"] = variables["REQUEST_URI"] = target
    variables["PATH_INFO"] = path_info(path) if "%" in path else path
    variables["QUERY_STRING"] = query
    keep_alive = True
    if "HTTP_CONNECTION" in variables:
        keep_alive = _KEEP_ALIVE[variables["HTTP_CONNECTION"]]
    length = None
    if "CONTENT_LENGTH" in variables:
        if not _is_length(variables["CONTENT_LENGTH"]):
            return None
        length = int(variables["CONTENT_LENGTH"])
        variables["CONTENT_LENGTH"] = str(length)
    head = _make(RequestHead)
    head.method = method
    head.target = target
    head.path = path
    head.query = query
    head.version = "HTTP/1.1"
    head.text = text
    head.field_count = field_count
    head.variables = variables
    head.content_length = length
    head.chunked = False
    head.keep_alive = keep_alive
    head.expect_continue = False
    head.drops = False
    return head


def _take_apart(line: str) -> tuple[str, str] | None:
    """Key and value of any field line, which may be remembered now; None where it is for h11."""
    match = _match_field(line)
    if match is None:
        return None
    name, value = match.groups()
    key = KEYS.get(name) or key_of(name)
    check = _CHECKS.get(key)
    if check is not None and not check(value):
        return None
    pair = key, value
    if key in RECURRING and len(line) <= _LINE_SIZE_LIMIT:
        _lines.keep(line, pair)
    return pair
