"""What there is to say of one request in the access log, whoever tells it: the server itself, or a
middleware around the application, which has an entry of its own."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Protocol

from wsgi_async.errors import HTTPError
from wsgi_async.events import RequestInfo, ResponseInfo, client_address
from wsgi_async.http.target import read_target
from wsgi_async.http.variables import path_info

__all__ = [
    "Entry",
    "ServerEntry",
    "basic_user",
    "by_name",
    "host_of",
    "joined",
    "plain_text",
    "user_of",
    "variable_of",
]


class Entry(Protocol):
    """One request that is over. Text is as it was sent, and *not* escaped."""

    came: float
    """When its head was complete, as of ``time.time()``."""
    status: int
    size: int
    """Bytes of the response's body."""
    seconds: float
    """From the complete head to the end of the response."""

    @property
    def host(self) -> str:
        """The client's address, ``unix``, or nothing."""

    @property
    def id(self) -> str:
        """The request's, or nothing."""

    @property
    def line(self) -> tuple[str, str, str] | None:
        """Method, target and version; None where the head could not be read."""

    @property
    def path(self) -> str:
        """The target's path, percent-decoded: the bytes read as latin-1."""

    @property
    def query(self) -> str:
        """What follows the first "?", without it."""

    @property
    def user(self) -> str:
        """Whom the client says it is, or nothing."""

    @property
    def is_complete(self) -> bool | None:
        """Whether the response is; None where the server refused the request."""

    @property
    def response(self) -> ResponseInfo | None:
        """What only the server knows: the parts of the time."""

    def field(self, name: str) -> str | None:
        """The request's fields of a name, in lower case; None where there is none."""

    def response_field(self, name: str) -> str | None:
        """Likewise of the response."""

    def variable(self, name: str) -> str | None:
        """A variable of the environ, in whatever case its name is."""


class ServerEntry:
    """An entry of the server's.

    :param client: :attr:`.RequestInfo.client`.
    :param request: None where its head could not be read.
    :param response: None where the server refused it.
    """

    __slots__ = (
        "_client",
        "_fields",
        "_request",
        "came",
        "line",
        "response",
        "seconds",
        "size",
        "status",
    )

    def __init__(
        self,
        client: str,
        came: float,
        request: RequestInfo | None,
        status: int,
        size: int,
        response: ResponseInfo | None = None,
    ) -> None:
        self._client = client
        self._request = request
        self._fields: dict[str, str] | None = None
        self.line = None if request is None else (request.method, request.target, request.version)
        self.came = came
        self.status = status
        self.size = size
        self.seconds = 0.0 if response is None else response.duration
        self.response = response

    @property
    def host(self) -> str:
        return host_of(self._client)

    @property
    def id(self) -> str:
        return "" if self._request is None else self._request.id

    @property
    def path(self) -> str:
        return path_info(self._target()[0])

    @property
    def query(self) -> str:
        return self._target()[1]

    def _target(self) -> tuple[str, str]:
        request = self._request
        if request is None or not request.target:
            return "", ""
        try:
            return read_target(request.method, request.target)[:2]
        except HTTPError:  # for which it was refused
            path, _, query = request.target.partition("?")
            return path, query

    @property
    def user(self) -> str:
        return "" if self._request is None else user_of(self._request.fields)

    @property
    def is_complete(self) -> bool | None:
        return None if self.response is None else self.response.complete

    def field(self, name: str) -> str | None:
        fields = self._fields
        if fields is None:
            fields = self._fields = by_name(() if self._request is None else self._request.fields)
        return fields.get(name)

    def response_field(self, name: str) -> str | None:
        fields = None if self.response is None else self.response.fields
        return None if fields is None else by_name(fields).get(name)

    def variable(self, name: str) -> str | None:
        environ = None if self.response is None else self.response.environ
        return None if environ is None else variable_of(environ, name)


@lru_cache(maxsize=1024)  # of a connection that is kept it is the same each time
def host_of(client: str) -> str:
    """The address of ``127.0.0.1:50312`` or ``[::1]:50312``; anything else as it is."""
    return client_address(client)[0] or client


def by_name(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Fields by their names in lower case."""
    found: dict[str, str] = {}
    for name, value in fields:
        key = name.lower()
        found[key] = joined(found.get(key), value)
    return found


def joined(before: str | None, value: str) -> str:
    """The value of a name, and that of one more field of it, as one (RFC 9110 §5.3); an empty one
    adds nothing (§5.6.1)."""
    if not before:
        return value
    return f"{before}, {value}" if value else before


def basic_user(authorization: str) -> str:
    """The user's name in an Authorization field of the scheme Basic (RFC 7617 §2); nothing where it
    has none. What has no colon has no name, and may all be a password."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        user, colon, _ = base64.b64decode(credentials.strip()).partition(b":")
        return user.decode() if colon else ""
    except ValueError:
        return ""


def user_of(fields: Iterable[tuple[str, str]]) -> str:
    """What the first Authorization field that has a name says, or nothing."""
    for name, value in fields:
        if len(name) == 13 and name.lower() == "authorization" and (user := basic_user(value)):
            return user
    return ""


def variable_of(environ: Mapping[str, object], name: str) -> str | None:
    """A variable by its name in any case, as gunicorn finds it."""
    if name not in environ:
        lowered = name.lower()
        # The application's thread may still be adding to it.
        names = (key for key in list(environ) if isinstance(key, str))
        name = next((key for key in names if str.lower(key) == lowered), name)
    return plain_text(environ.get(name))


_PLAIN = (str, int, float, bool, bytes)
_LIBRARIES = ("datetime", "decimal", "ipaddress", "uuid")


def plain_text(value: object) -> str | None:
    """A value as text, where that takes no code of the application's, which the loop must not run,
    and shows nothing that is in it by chance: text, bytes, numbers, dates, addresses, UUIDs, and
    tuples of those. None of anything else."""
    found = _without_code(value)
    try:
        return None if found is None else str(found)
    except ValueError:  # a number of thousands of digits
        return None


def _without_code(value: object) -> object:
    """The value, such that to make text of it runs none of the application's code; or None."""
    kind = type(value)
    if kind is tuple:
        assert isinstance(value, tuple)
        parts = tuple(map(_without_code, value))
        return None if None in parts else parts
    if kind in _PLAIN or kind.__module__ in _LIBRARIES:
        return value
    return str.__str__(value) if isinstance(value, str) else None
