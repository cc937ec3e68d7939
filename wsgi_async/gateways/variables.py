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
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import quote

from wsgi_async.errors import HTTPError, ProtocolFault
from wsgi_async.http.admission import has_control, read_length
from wsgi_async.http.bounded_cache import BoundedCache
from wsgi_async.http.limits import Limits
from wsgi_async.http.origin import Origin
from wsgi_async.http.request import RequestHead
from wsgi_async.http.target import read_target
from wsgi_async.http.tokens import is_token
from wsgi_async.http.variables import join_values, path_info

from .origins import check_names, origin_of
from .paths import place_in

__all__ = ["GatewayHead", "most_bytes", "request_head"]

OWN_SIZE = 64 * 1024
"""Bytes of variables that are no fields of the client's: a certificate in PEM is the largest."""

_NAME = re.compile(rb"[!-<>-~]+")
_FIELD = re.compile(r"HTTP_[!#$%&'*+.^_`|~0-9A-Z]+")

_names: BoundedCache[bytes, str] = BoundedCache(1024)
"""Names that have been judged."""

_NAME_SIZE_LIMIT = 64

_NOT_PASSED_ON = (
    *("SCRIPT_NAME", "PATH_INFO", "REMOTE_ADDR", "REMOTE_PORT", "SERVER_PORT", "HTTPS"),
    *("HTTP_PROXY", "HTTP_TRANSFER_ENCODING", "HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE"),
    *("SERVER_SOFTWARE", "GATEWAY_INTERFACE"),
)
"""What is said in another place, must not be said (see :mod:`wsgi_async.http.variables`), or is the
server's own."""

_GIVEN_ONCE = (
    *("REQUEST_METHOD", "REQUEST_URI", "QUERY_STRING", "SERVER_PROTOCOL"),
    *("CONTENT_TYPE", "CONTENT_LENGTH"),
)
"""What is asked: two readers are not to take it for two things. By whom it is, a site may say anew:
nginx's ``fastcgi_params`` has REMOTE_USER, which is empty where something else has let them in."""

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
    variables: Iterable[tuple[bytes, bytes]], limits: Limits, *, ends_bodies: bool = False
) -> GatewayHead:
    """Judge a request, and say what it means.

    :param variables: names and values as they were received, in their order.
    :param limits: bounds on what the client has sent, as if it had sent that here; see
        :func:`most_bytes` for all the others together.
    :param ends_bodies: whether the protocol says where a body ends, and so needs no length.
    :raises HTTPError: 400; 411 for a body without a length; 414; 431; 501 for CONNECT and for a
        transfer coding other than chunked; 505.
    :raises ProtocolFault: no front server has such names.
    """
    given, lines, size = _take(variables)
    method, version = given.pop("REQUEST_METHOD", ""), _version(given)
    if not is_token(method):
        raise HTTPError(400, "REQUEST_METHOD is not a method" if method else _NO_METHOD)
    bounds, small, few = _bounds(limits)
    target = given.pop("REQUEST_URI", "")
    if not target or size > small or len(lines) > few:
        target = target or _make_target(given)
        _check_sizes(method, target, version, given, lines, bounds)
    if method == "CONNECT":
        raise HTTPError(501, "This is not a proxy")
    fields = _fields(lines)
    check_names(given, fields, required=version != "HTTP/1.0")
    length, chunked = _framing(given, fields, version, ends_bodies)
    if not _TARGET.fullmatch(target):
        raise HTTPError(400, "REQUEST_URI contains what no request target does")
    raw_path, raw_query, authority = read_target(method, target)
    if authority is not None:
        fields["HTTP_HOST"] = authority
    query = given.get("QUERY_STRING", raw_query)
    if not _QUERY.fullmatch(query):
        raise HTTPError(400, "QUERY_STRING contains what no query does")
    root, path = "", ""
    if raw_path:
        decoded = path_info(raw_path)
        named = given.get("SCRIPT_NAME"), given.get("PATH_INFO"), given.get("DOCUMENT_URI")
        root, below = place_in(*named, decoded)
        path = root + below
        if path != decoded:
            raw_path = _quoted(path)
    origin = origin_of(given, fields, root)
    given |= fields
    for name in _NOT_PASSED_ON:
        given.pop(name, None)
    given["REQUEST_METHOD"] = method
    given["RAW_URI"] = given["REQUEST_URI"] = target
    given["PATH_INFO"] = path
    given["QUERY_STRING"] = query
    given["SERVER_PROTOCOL"] = version
    return GatewayHead(
        method=method,
        target=target,
        path=raw_path,
        query=query,
        version=version,
        text="",
        field_count=len(lines),
        variables=given,
        content_length=length,
        chunked=chunked,
        keep_alive=False,
        expect_continue=False,
        origin=origin,
    )


_BY_WHOM = ": the web server in front says it twice, maybe once in a file that it includes"
_NO_METHOD = (
    "REQUEST_METHOD is missing: in nginx, include uwsgi_params, fastcgi_params or scgi_params"
)


def _take(
    variables: Iterable[tuple[bytes, bytes]],
) -> tuple[dict[str, str], list[tuple[str, str]], int]:
    """The variables, and apart from them the lines of fields, in their order; and the bytes of all.

    Until 1.23 nginx has a variable for each line, and so the same name several times. It has one
    twice, too, where a file of parameters is included and one of them is then said in another way,
    as guides have it (``fastcgi_param SCRIPT_NAME ""``): the last counts, as in other servers.
    """
    given: dict[str, str] = {}
    lines: list[tuple[str, str]] = []
    known = _names.get
    size = 0
    for raw, data in variables:
        name = known(raw) or _name_of(raw)
        value = data.decode("latin-1")
        size += len(raw) + len(data)
        if "\0" in value:
            raise HTTPError(400, "A variable contains NUL")
        if name[:5] == "HTTP_":
            lines.append((name, value.strip(" \t")))
        elif name in given and name in _GIVEN_ONCE:
            raise HTTPError(400, f"The variable {name} is given twice{_BY_WHOM}")
        else:
            given[name] = value
    return given, lines, size


def _name_of(raw: bytes) -> str:
    """Judge a name that is not among :data:`_names` yet."""
    if not _NAME.fullmatch(raw):
        raise ProtocolFault("a variable has no name, or one that no variable can have")
    name = raw.decode("ascii")
    if name[:5].upper() == "HTTP_" and not _FIELD.fullmatch(name):
        raise HTTPError(400, "A variable has the name of no header field")
    if name.startswith(("wsgi.", "wsgi_async.")):
        raise HTTPError(400, "A variable has a name that only the server may use")
    if len(raw) <= _NAME_SIZE_LIMIT:
        _names.keep(raw, name)
    return name


def _version(given: dict[str, str]) -> str:
    """What the client speaks with the front server; of HTTP/1 as :func:`.admit` has it."""
    version = given.pop("SERVER_PROTOCOL", "HTTP/1.0")
    match = _VERSION.fullmatch(version)
    if match is None or (match[1] == "1" and match[2] is None):
        raise HTTPError(400, "SERVER_PROTOCOL is not a version of HTTP")
    if match[1] == "0":
        raise HTTPError(505, "HTTP/0.9 is not spoken here")
    return "HTTP/1.1" if match[1] == "1" and match[2] != "0" else version


def _quoted(path: str) -> str:
    return quote(path.encode("latin-1"), safe=_IN_PATH)


def _make_target(given: dict[str, str]) -> str:
    """A target for where nobody says what the client has sent: CGI has no REQUEST_URI."""
    script, info = given.get("SCRIPT_NAME", ""), given.get("PATH_INFO", "")
    path = (script.rstrip("/") if info[:1] == "/" else script) + info
    path = path or given.get("DOCUMENT_URI") or "/"
    query = given.get("QUERY_STRING", "")
    return f"{_quoted(path)}?{query}" if query else _quoted(path)


_NO_LENGTH = ("", "0")
"""CONTENT_LENGTH where the client may have sent none: SCGI wants it always."""

_OF_TARGET = ("SCRIPT_NAME", "PATH_INFO", "DOCUMENT_URI", "QUERY_STRING")


def _check_sizes(
    method: str,
    target: str,
    version: str,
    given: dict[str, str],
    lines: list[tuple[str, str]],
    bounds: Limits,
) -> None:
    """Hold what the client has sent to the limits, in the form of HTTP/1.1."""
    line = len(method) + len(target) + len(version) + 2
    longest = max([len(given.get(name, "")) for name in _OF_TARGET])
    if max(line, longest) > bounds.request_line:
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


def _fields(lines: list[tuple[str, str]]) -> dict[str, str]:
    """The fields, those that came several times as one."""
    if has_control("\t".join([value for _, value in lines])):
        raise HTTPError(400, "A header field contains a control character")
    fields: dict[str, str] = {}
    for name, value in lines:
        if name in fields:
            if name in _ONCE:
                raise HTTPError(400, _ONCE[name])
            value = join_values(name, fields[name], value)
        fields[name] = value
    return fields


_ONCE = {
    "HTTP_HOST": f"There is more than one Host field, HTTP_HOST{_BY_WHOM}",
    "HTTP_CONTENT_TYPE": "There is more than one Content-Type field",
    "HTTP_CONTENT_LENGTH": "Content-Length is given more than once",
}


def _framing(
    given: dict[str, str], fields: dict[str, str], version: str, ends_bodies: bool
) -> tuple[int | None, bool]:
    """The length of the body, and whether there is one without.

    A front server that has collected a chunked body passes on the field beside its length.
    """
    content_type = given.pop("CONTENT_TYPE", None) or None
    said = fields.get("HTTP_CONTENT_TYPE")
    if content_type is not None and has_control(content_type):
        raise HTTPError(400, "A header field contains a control character")
    if said is not None and content_type is not None and content_type.strip(" \t") != said:
        raise HTTPError(400, "CONTENT_TYPE is not what the field says")
    if content_type is not None or said is not None:
        given["CONTENT_TYPE"] = (content_type or said or "").strip(" \t")
    coding = fields.get("HTTP_TRANSFER_ENCODING")
    if coding is not None and version == "HTTP/1.0":
        raise HTTPError(400, "HTTP/1.0 has no Transfer-Encoding")
    if coding is not None and coding.lower() != "chunked":
        raise HTTPError(501, "The only transfer coding understood here is chunked")
    text = given.pop("CONTENT_LENGTH", None)
    said = fields.get("HTTP_CONTENT_LENGTH")
    length_said = None if said is None else read_length(said)
    if text:
        length = read_length(text)
        if length_said not in (None, length):
            raise HTTPError(400, "CONTENT_LENGTH is not what the field says")
        given["CONTENT_LENGTH"] = str(length)
        return length, False
    if text is None and said is not None:
        raise HTTPError(400, "CONTENT_LENGTH is missing beside the field")
    # Empty it may be on purpose, where nginx asks by auth_request and passes no body on.
    if coding is None or said is not None:
        return None, False
    if not ends_bodies:
        raise HTTPError(411, "The body is chunked, and CONTENT_LENGTH is missing")
    return None, True
