"""A request as front servers tell it, in variables of CGI (RFC 3875 §4.1), turned into a head.
Pure functions; any thread.

They are judged as strictly as a head's lines are. Some of them a client chooses, the fields above
all; the others are the front server's configuration, which may have names of its own, and are
passed on as they are. What cannot be seen in variables is for the front server to see to: how the
lines of a head were cut, whether a name had a hyphen or an underscore, whether a slash in a path
was encoded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import quote

from wsgi_async.errors import HTTPError
from wsgi_async.http.admission import read_length
from wsgi_async.http.limits import Limits
from wsgi_async.http.origin import Origin
from wsgi_async.http.request import RequestHead
from wsgi_async.http.target import read_target
from wsgi_async.http.tokens import is_token
from wsgi_async.http.variables import path_info

from .origins import name_server, origin_of
from .paths import place_in
from .taking import Pair, lines_of, take

__all__ = ["GatewayHead", "most_bytes", "request_head"]

OWN_SIZE = 64 * 1024
"""Bytes of variables that are no fields of the client's: a certificate in PEM is the largest."""

_VERSION = re.compile(r"HTTP/([0-9])(?:\.([0-9]))?")
_TARGET = re.compile(r"[!-~]+")
_QUERY = re.compile(r"[!-~\x80-\xff]*")  # front servers may write it anew
_IN_PATH = "/~:@!$&'()*+,;="


@dataclass(slots=True)
class GatewayHead(RequestHead):
    """A request head that came as variables. It has no `text`.

    Whether the connection is kept is for the protocol to say, and so is whether there is a body
    that only the protocol ends: its reader sets `keep_alive` and `chunked`, before anybody else
    has the head.
    """

    origin: Origin = field(kw_only=True)
    """The client, and how it has reached the front server."""

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """The fields that are in the variables: their names as they are mostly written, those that
        came several times as one."""
        fields = []
        for key, value in self.variables.items():
            if key[:5] == "HTTP_":
                fields.append((key[5:].replace("_", "-").title(), value))
            elif key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                fields.append((key.replace("_", "-").title(), value))
        return tuple(fields)


@lru_cache(maxsize=16)
def _bounds(limits: Limits) -> tuple[Limits, int, int]:
    """The limits as bounds; up to how many bytes, and lines, none of them can be exceeded.

    A field has more bytes as a variable than as a line; what else a head has, and two more lines
    (CONTENT_TYPE and CONTENT_LENGTH), is less than the names of the method and the target.
    """
    bounds = limits.bounds()
    small = min(bounds.request_line, bounds.field_size, bounds.header_size)
    return bounds, small, bounds.fields - 2


def most_bytes(limits: Limits) -> int:
    """How many bytes the names and values of a request's variables may have, before a reader has
    them judged: what a head may have, and the front server's own."""
    return limits.bounds().header_size + OWN_SIZE


def request_head(
    variables: Sequence[Pair],
    limits: Limits,
    *,
    size: int | None = None,
    ends_bodies: bool = False,
) -> GatewayHead:
    """Judge a request, and say what it means.

    :param variables: names and values as they were received, in their order.
    :param limits: bounds on what the client has sent, as if it had sent that here; see
        :func:`most_bytes` for all the others together.
    :param size: bytes that all of them have, or have at most. None: they are counted here.
    :param ends_bodies: whether the protocol says where a body ends, and so needs no length.
    :raises HTTPError: 400; 411 for a body without a length; 414; 431; 501 for CONNECT and for a
        transfer coding other than chunked; 505.
    :raises ProtocolFault: no front server has such names.
    """
    told, passed, lines = take(variables)
    method = told.get("REQUEST_METHOD", "")
    said = told.get("SERVER_PROTOCOL", "HTTP/1.0")
    version = _USUAL_VERSIONS.get(said) or _version(said)
    if method not in _USUAL_METHODS and not is_token(method):
        raise HTTPError(400, "REQUEST_METHOD is not a method" if method else _NO_METHOD)
    if size is None:
        size = sum([len(name) + len(value) for name, value in variables])
    bounds, small, few = _bounds(limits)
    target = told.get("REQUEST_URI", "")
    if not target or size > small or lines > few:
        document = passed.get("DOCUMENT_URI", "")
        target = target or _make_target(told, document)
        of_target = target, document, *[told.get(name, "") for name in _OF_TARGET]
        _check_sizes(method, of_target, version, told, lines_of(variables), bounds)
    if method == "CONNECT":
        raise HTTPError(501, "This is not a proxy")
    name_server(told, passed, required=version != "HTTP/1.0")
    length, chunked = _framing(told, passed, version, ends_bodies)
    if not _TARGET.fullmatch(target):
        raise HTTPError(400, "REQUEST_URI contains what no request target does")
    raw_path, raw_query, authority = read_target(method, target)
    query = told.get("QUERY_STRING", raw_query)
    if not _QUERY.fullmatch(query):
        raise HTTPError(400, "QUERY_STRING contains what no query does")
    root, path = "", ""
    if raw_path:
        decoded = path_info(raw_path)
        named = told.get("SCRIPT_NAME"), told.get("PATH_INFO"), passed.get("DOCUMENT_URI")
        root, below = place_in(*named, decoded)
        path = root + below
        if path != decoded:
            raw_path = _quoted(path)
    if authority is not None:
        passed["HTTP_HOST"] = authority
    head = _make(GatewayHead)
    head.origin = origin_of(told, passed, root)
    passed.pop("HTTP_PROXY", None)
    passed["REQUEST_METHOD"] = head.method = method
    passed["RAW_URI"] = passed["REQUEST_URI"] = head.target = target
    passed["PATH_INFO"] = path
    passed["QUERY_STRING"] = head.query = query
    passed["SERVER_PROTOCOL"] = head.version = version
    head.path = raw_path
    head.text = ""
    head.field_count = lines
    head.variables = passed
    head.content_length = length
    head.chunked = chunked
    head.keep_alive = head.expect_continue = head.drops = False
    return head


_make: Callable[[type[GatewayHead]], GatewayHead] = GatewayHead.__new__
"""As that of the fast path: a constructor that is called with as much takes several times as long.
"""

_USUAL_METHODS = {"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"}
_USUAL_VERSIONS = {said: said for said in ("HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/3.0")}

_NO_METHOD = (
    "REQUEST_METHOD is missing: in nginx, include uwsgi_params, fastcgi_params or scgi_params"
)


def _version(version: str) -> str:
    """What the client speaks with the front server; of HTTP/1 as :func:`.admit` has it."""
    match = _VERSION.fullmatch(version)
    if match is None or (match[1] == "1" and match[2] is None):
        raise HTTPError(400, "SERVER_PROTOCOL is not a version of HTTP")
    if match[1] == "0":
        raise HTTPError(505, "HTTP/0.9 is not spoken here")
    return "HTTP/1.1" if match[1] == "1" and match[2] != "0" else version


def _quoted(path: str) -> str:
    return quote(path.encode("latin-1"), safe=_IN_PATH)


def _make_target(told: dict[str, str], document: str) -> str:
    """A target for where nobody says what the client has sent: CGI has no REQUEST_URI."""
    script, info = told.get("SCRIPT_NAME", ""), told.get("PATH_INFO", "")
    path = (script.rstrip("/") if info[:1] == "/" else script) + info
    path = path or document or "/"
    query = told.get("QUERY_STRING", "")
    return f"{_quoted(path)}?{query}" if query else _quoted(path)


_NO_LENGTH = ("", "0")
"""CONTENT_LENGTH where the client may have sent none: SCGI wants it always."""

_OF_TARGET = ("SCRIPT_NAME", "PATH_INFO", "QUERY_STRING")


def _check_sizes(
    method: str,
    of_target: tuple[str, ...],
    version: str,
    given: dict[str, str],
    lines: list[tuple[str, str]],
    bounds: Limits,
) -> None:
    """Hold what the client has sent to the limits, in the form of HTTP/1.1.

    :param of_target: the target, and what else says it.
    """
    line = len(method) + len(of_target[0]) + len(version) + 2
    if max(line, *map(len, of_target)) > bounds.request_line:
        raise HTTPError(414, "The request line is too long")
    sizes = [len(name) - 3 + len(value) for name, value in lines]  # "HTTP_" for ": "
    names = {name for name, _ in lines}
    sizes += [
        len(name) + 2 + len(given[name])
        for name in ("CONTENT_TYPE", "CONTENT_LENGTH")
        if given.get(name, "") not in _NO_LENGTH and f"HTTP_{name}" not in names
    ]
    if len(sizes) > bounds.fields:
        raise HTTPError(431, "There are too many header fields")
    if sizes and max(sizes) > bounds.field_size:
        raise HTTPError(431, "A header field is too long")
    if line + sum(sizes) + 2 * len(sizes) + 4 > bounds.header_size:
        raise HTTPError(431, "The request head is too long")


def _framing(
    told: dict[str, str], passed: dict[str, str], version: str, ends_bodies: bool
) -> tuple[int | None, bool]:
    """The length of the body, and whether there is one without. What says so is not passed on, but
    in CONTENT_TYPE and CONTENT_LENGTH.

    A front server that has collected a chunked body passes on the field beside its length.
    """
    content_type = told.get("CONTENT_TYPE") or None
    said = passed.pop("HTTP_CONTENT_TYPE", None)
    if said is not None and content_type is not None and content_type.strip(" \t") != said:
        raise HTTPError(400, "CONTENT_TYPE is not what the field says")
    if content_type is not None or said is not None:
        passed["CONTENT_TYPE"] = (content_type or said or "").strip(" \t")
    coding = passed.pop("HTTP_TRANSFER_ENCODING", None)
    if coding is not None and version == "HTTP/1.0":
        raise HTTPError(400, "HTTP/1.0 has no Transfer-Encoding")
    if coding is not None and coding.lower() != "chunked":
        raise HTTPError(501, "The only transfer coding understood here is chunked")
    text = told.get("CONTENT_LENGTH")
    said = passed.pop("HTTP_CONTENT_LENGTH", None)
    length_said = None if said is None else read_length(said)
    if text:
        length = read_length(text)
        if length_said not in (None, length):
            raise HTTPError(400, "CONTENT_LENGTH is not what the field says")
        passed["CONTENT_LENGTH"] = str(length)
        return length, False
    if text is None and said is not None:
        raise HTTPError(400, "CONTENT_LENGTH is missing beside the field")
    # Empty it may be on purpose, where nginx asks by auth_request and passes no body on.
    if coding is None or said is not None:
        return None, False
    if not ends_bodies:
        raise HTTPError(411, "The body is chunked, and CONTENT_LENGTH is missing")
    return None, True
