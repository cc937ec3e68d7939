"""Requests of a :class:`~wsgi_async.testing.TestClient` as the bytes a real client would send.

Pure; any thread.
"""

from __future__ import annotations

import base64
import json as json_module
import mimetypes
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode, urljoin

from wsgi_async.http.tokens import is_token

__all__ = [
    "Fields",
    "Files",
    "Origin",
    "Pairs",
    "Payload",
    "Request",
    "add_query",
    "basic_auth",
    "field_pairs",
    "make_payload",
    "merge",
    "redirected",
    "split_url",
]

Fields = Mapping[str, str | Iterable[str] | None] | Iterable[tuple[str, str]]
"""Header fields: a mapping, a list of values repeats its field and None takes a default away; or
pairs."""
Pairs = Mapping[str, Any] | Iterable[tuple[str, Any]]
"""Of a query or form: a mapping, in which a list repeats its name; or pairs."""
File = str | bytes | BinaryIO | tuple[str, "str | bytes | BinaryIO"] | tuple[str, Any, str]
"""A content; ``(filename, content)``; or ``(filename, content, content_type)``."""
Files = Mapping[str, File] | Iterable[tuple[str, File]]

_BAD_IN_VALUE = re.compile(r"[\x00\r\n]")
# RFC 3986 §3.3 and §3.4; "%" because the caller may have encoded a part already.
_IN_PATH = "/%:@!$&'()*+,;=~"
_IN_QUERY = _IN_PATH + "?"
_URL = re.compile(r"(https?)://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme and authority of a URL."""

    scheme: str
    """``http`` or ``https``."""
    authority: str
    """Host, and the port where it is given, as for the Host field."""

    @property
    def host(self) -> str:
        """In lower case, without the port; an IPv6 address without its brackets."""
        if self.authority.startswith("["):
            return self.authority[1 : self.authority.find("]")].lower()
        return self.authority.partition(":")[0].lower()

    @property
    def port(self) -> int:
        """80 or 443 where none is given."""
        text = self.authority.rpartition("]")[2].partition(":")[2]
        return int(text) if text else {"http": 80, "https": 443}[self.scheme]


def split_url(url: str, base: Origin) -> tuple[Origin, str]:
    """The origin and the request target of a URL, or of a path (and query) at `base`.

    What may not stand in a target is percent-encoded as UTF-8; a "%" stays as it is. A fragment is
    dropped. ``*`` is the target of ``OPTIONS *``.

    :raises ValueError: it is neither, or the URL has no host or a port that is no number.
    """
    match = _URL.match(url)
    origin, rest = base, url
    if match is not None:
        origin, rest = Origin(match[1].lower(), match[2]), match[3]
        if not origin.host or "@" in match[2]:
            raise ValueError(f"{url!r} has no host, or more than a host and a port")
        _ = origin.port
    if rest == "*" and match is None:
        return origin, rest
    path, mark, query = rest.partition("#")[0].partition("?")
    path = path or "/"
    if not path.startswith("/"):
        raise ValueError(f"a path begins with /, or a URL with http:// or https://: {url!r}")
    return origin, quote(path, safe=_IN_PATH) + mark + quote(query, safe=_IN_QUERY)


@dataclass(frozen=True, slots=True)
class Request:
    """One request, complete."""

    method: str
    origin: Origin
    target: str
    """As it stands in the request line: path and query, or ``*``."""
    fields: tuple[tuple[str, str], ...]
    """Host and the body's own included."""
    body: tuple[bytes, ...] = ()
    """Without framing; one item for each that an iterable gave."""
    is_chunked: bool = False
    """Whether it goes in the chunked coding, because its size was not known."""

    @property
    def url(self) -> str:
        """The whole URL."""
        target = "" if self.target == "*" else self.target
        return f"{self.origin.scheme}://{self.origin.authority}{target}"

    @property
    def path(self) -> str:
        """Percent-encoded, without the query."""
        return self.target.partition("?")[0]

    def wire(self) -> list[bytes]:
        """The bytes that a client sends: the head, then the body in its pieces, framed."""
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self.fields]
        pieces = ["\r\n".join([*lines, "", ""]).encode("latin-1")]
        if self.is_chunked:
            pieces += [b"%x\r\n%b\r\n" % (len(data), data) for data in self.body if data]
            pieces.append(b"0\r\n\r\n")
        else:
            pieces += [data for data in self.body if data]
        return pieces


def field_pairs(fields: Fields | None) -> list[tuple[str, str | None]]:
    """`fields` as pairs, checked.

    :raises ValueError: a name that is no token, a value with a line break or NUL, or with a
        character that is not in latin-1: these would be another request than the one that is meant.
    """
    pairs: list[tuple[str, str | None]] = []
    items = fields.items() if isinstance(fields, Mapping) else fields or ()
    for name, value in items:
        values = [value] if value is None or isinstance(value, str) else list(value)
        pairs += [(name, item) for item in values]
    for name, item in pairs:
        if not is_token(name):
            raise ValueError(f"not the name of a header field: {name!r}")
        if item is None:
            continue
        if _BAD_IN_VALUE.search(item):
            raise ValueError(f"header {name} has a line break or NUL in its value: {item!r}")
        try:
            item.encode("latin-1")
        except UnicodeEncodeError:
            raise ValueError(
                f"header {name} has a value that is not latin-1; encode it: {item!r}"
            ) from None
    return pairs


def merge(defaults: Iterable[tuple[str, str | None]], more: Fields | None) -> list[tuple[str, str]]:
    """`defaults`, those of a name that is in `more` replaced by what stands there."""
    given = field_pairs(more)
    names = {name.lower() for name, _ in given}
    kept = [(name, value) for name, value in defaults if name.lower() not in names]
    return [(name, value) for name, value in [*kept, *given] if value is not None]


def add_query(target: str, query: Pairs | str | None) -> str:
    """`target` with `query` behind the one it has."""
    if not query:
        return target
    text = quote(query, safe=_IN_QUERY) if isinstance(query, str) else urlencode(_pairs(query))
    if not text:
        return target
    return f"{target}{'&' if '?' in target else '?'}{text}"


def basic_auth(user: str, password: str) -> str:
    """The value of an ``Authorization`` field (RFC 7617), in UTF-8.

    :raises ValueError: the user has a colon.
    """
    if ":" in user:
        raise ValueError("a user's name for basic authentication has no colon (RFC 7617 §2)")
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


# --- bodies -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Payload:
    """A request's body and what it is."""

    body: tuple[bytes, ...] = ()
    content_type: str | None = None
    is_chunked: bool = False

    @property
    def size(self) -> int:
        """In bytes, without framing."""
        return sum(map(len, self.body))


def make_payload(
    data: str | bytes | Pairs | Iterable[bytes] | BinaryIO | None,
    form: Pairs | None,
    files: Files | None,
    json: object | None,
) -> Payload:
    """The body that a call's arguments ask for; None asks for nothing.

    :param data: bytes; text, as UTF-8; a file; an iterable of bytes, sent in the chunked coding,
        one chunk for each; a mapping is a `form`.
    :param form: fields of a form: ``application/x-www-form-urlencoded``, or, with `files`, parts.
    :param files: ``multipart/form-data`` (RFC 7578).
    :param json: anything that ``json.dumps`` takes.
    :raises TypeError: `data` is nothing of that kind.
    :raises ValueError: more than one kind of body.
    """
    if isinstance(data, Mapping):
        if form is not None:
            raise ValueError("data is a mapping, so a form; give either data or form")
        data, form = None, data
    kinds = [data is not None, form is not None or files is not None, json is not None]
    if sum(kinds) > 1:
        raise ValueError("a request has one body: data, json, or form with files")
    if json is not None:
        return Payload((json_module.dumps(json).encode(),), "application/json")
    if files is not None:
        return _multipart(_pairs(form or ()), files)
    if form is not None:
        text = urlencode(_pairs(form))
        return Payload((text.encode("ascii"),), "application/x-www-form-urlencoded")
    if data is None:
        return Payload()
    if isinstance(data, str):
        return Payload((data.encode(),))
    if isinstance(data, bytes | bytearray | memoryview):
        return Payload((bytes(data),))
    if hasattr(data, "read"):
        return Payload((_content(data),))
    pieces: tuple[Any, ...] = tuple(data)
    for piece in pieces:
        if not isinstance(piece, bytes):
            raise TypeError(f"data gives {type(piece).__name__}; an iterable body is of bytes")
    return Payload(pieces, is_chunked=True)


def _pairs(pairs: Pairs) -> list[tuple[str, Any]]:
    """As pairs, a list or tuple as several of the same name."""
    found: list[tuple[str, Any]] = []
    for name, value in pairs.items() if isinstance(pairs, Mapping) else pairs:
        values = value if isinstance(value, list | tuple) else (value,)
        found += [(name, item) for item in values]
    return found


def _content(source: Any) -> bytes:
    if isinstance(source, str):
        return source.encode()
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if hasattr(source, "read"):
        data = source.read()
        return data.encode() if isinstance(data, str) else bytes(data)
    raise TypeError(f"a file is text, bytes or an open file, not {type(source).__name__}")


def _multipart(form: list[tuple[str, Any]], files: Files) -> Payload:
    boundary = os.urandom(16).hex()  # 128 bits by chance: no content has them
    parts: list[bytes] = []
    for name, value in form:
        content = value if isinstance(value, bytes) else str(value).encode()
        parts += _part(boundary, name, None, None, content)
    for name, file in files.items() if isinstance(files, Mapping) else files:
        filename, source, kind = _described(name, file)
        parts += _part(boundary, name, filename, kind, _content(source))
    body = b"".join([*parts, f"--{boundary}--\r\n".encode("ascii")])
    return Payload((body,), f"multipart/form-data; boundary={boundary}")


def _described(name: str, file: File) -> tuple[str, Any, str]:
    """Its filename, content and type."""
    if isinstance(file, tuple):
        filename, source = str(file[0]), file[1]
        if len(file) == 3:
            return filename, source, file[2]
    else:
        known = getattr(file, "name", None)
        filename, source = (os.path.basename(known) if isinstance(known, str) else name), file
    return filename, source, mimetypes.guess_type(filename)[0] or "application/octet-stream"


def _part(
    boundary: str, name: str, filename: str | None, kind: str | None, content: bytes
) -> list[bytes]:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"'
    if filename is not None:
        head += f'; filename="{_quoted(filename)}"\r\nContent-Type: {kind}'
    return [head.encode(), b"\r\n\r\n", content, b"\r\n"]


def _quoted(text: str) -> str:
    """As browsers do (the HTML standard, "Multipart form data")."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


# --- redirects ----------------------------------------------------------------------------------

_ABOUT_CONTENT = ("content-", "transfer-encoding", "digest", "last-modified")
_REDIRECTS = {301, 302, 303, 307, 308}


def redirected(request: Request, status: int, location: str) -> Request | None:
    """The request that a redirect asks for (RFC 9110 §15.4), without Cookie.

    303 turns every method but HEAD into GET, 301 and 302 turn POST into it, as browsers do; 307 and
    308 keep method and body. Who goes from https to http does not show its ``Authorization``.

    :param location: the value of ``Location``.
    :returns: None where nothing is to be followed: another status, no http URL, or another host,
        which is not the application under test.
    """
    if status not in _REDIRECTS or not location:
        return None
    # A server that sends UTF-8 here means that (RFC 9110 §5.5).
    text = quote(location.encode("latin-1"), safe=_IN_QUERY + "#[]")
    try:
        origin, target = split_url(urljoin(request.url, text), request.origin)
    except ValueError:
        return None
    if origin.host != request.origin.host:
        return None
    method, fields = request.method, list(request.fields)
    keeps = status in (307, 308) or (status in (301, 302) and method != "POST")
    keeps = keeps or method == "HEAD"
    if not keeps:
        method = "GET"
        fields = [pair for pair in fields if not pair[0].lower().startswith(_ABOUT_CONTENT)]
    dropped = {"cookie", "host"}
    if request.origin.scheme == "https" and origin.scheme == "http":
        dropped.add("authorization")
    fields = [pair for pair in fields if pair[0].lower() not in dropped]
    return Request(
        method,
        origin,
        target,
        (("Host", origin.authority), *fields),
        request.body if keeps else (),
        request.is_chunked and keeps,
    )
