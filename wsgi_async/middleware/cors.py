"""Cross-origin resource sharing: the server's part of the Fetch standard, "CORS protocol".

The browser judges; a server only tells it what it allows. Nothing here keeps a request from the
application: a form, or a client that is not a browser, asks without any of this.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from wsgi_async.errors import ConfigError
from wsgi_async.http.tokens import is_token, members_of
from wsgi_async.wsgi.types import Environ, Fields

from .interface import answer, start_with

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

__all__ = ["CORS"]

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_DEFAULT_PORTS = (("http://", ":80"), ("https://", ":443"))
_FORBIDDEN = ("CONNECT", "TRACE", "TRACK")
"""Methods that no page may use (the Fetch standard, "forbidden method")."""


class CORS:
    """Says which pages of other origins may read the responses, and answers preflight requests.

    A preflight request is an OPTIONS with an Origin and an Access-Control-Request-Method; it is
    answered here, with 204, or 403 for an origin that is not allowed. Any other OPTIONS is the
    application's. Where the answer depends on the origin, every response says ``Vary: Origin``,
    those without an origin too, lest a cache hands one of them to a page that asks with it. Of an
    application that sends Access-Control-Allow-Origin by itself the rest is left as it is.

    Put Errors inside, so that a page can read those too, and BasicAuth.

    :param application: the WSGI application.
    :param origins: whose pages may: ``"*"`` for everybody's; a list of origins as browsers spell
        them, ``https://example.org`` or ``http://localhost:3000``, or ``null``; or a function of
        an origin that says whether it may.
    :param methods: what they may use besides GET, HEAD and POST, which any page may; case matters.
    :param headers: fields they may send besides those any page may; ``"*"`` for all.
    :param expose: fields of a response they may see besides those any page may.
    :param credentials: whether they may send cookies and passwords along, and so act for the user.
        Never with `origins` ``"*"`` or ``null``; a function is then not asked about ``null``.
    :param max_age: seconds for which a browser may keep the answer to a preflight request; 0: not
        at all. None: as it likes, 5 s.
    :raises ConfigError: an origin that no browser would send, a bad name, or credentials for
        everybody.
    """

    def __init__(
        self,
        application: WSGIApplication,
        *,
        origins: str | Iterable[str] | Callable[[str], object],
        methods: Iterable[str] = (),
        headers: str | Iterable[str] = (),
        expose: Iterable[str] = (),
        credentials: bool = False,
        max_age: int | None = 600,
    ) -> None:
        self._application = application
        self._is_open = origins == "*"
        self._allows = _allowance(origins)
        self._credentials = credentials
        if credentials and self._is_open:
            raise ConfigError("CORS: credentials need a list of origins, they are not for '*'")
        if credentials and not callable(origins) and self._allows("null"):
            raise ConfigError("CORS: 'null' is the origin of too many to have credentials")
        self._methods = _tokens(methods, "methods")
        if found := [name for name in self._methods if name.upper() in _FORBIDDEN]:
            raise ConfigError(f"CORS: no page may use the method {found[0]}")
        self._takes_all_headers = headers == "*"
        self._headers = () if headers == "*" else _tokens(headers, "headers")
        self._expose = _tokens(expose, "expose")
        if max_age is not None and max_age < 0:
            raise ConfigError("CORS: max_age is a number of seconds, or None")
        self._max_age = max_age

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        origin = environ.get("HTTP_ORIGIN", "")
        wanted = environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD")
        if environ["REQUEST_METHOD"] == "OPTIONS" and origin and wanted is not None:
            return self._preflight(environ, start_response, origin)
        sharing = self._sharing(origin)
        if sharing and self._expose:
            sharing.append(("Access-Control-Expose-Headers", ", ".join(self._expose)))

        def add(fields: Fields) -> Fields:
            names = {str(field[0]).lower() for field in fields}
            if "access-control-allow-origin" not in names:
                fields = fields + sharing
            return fields if self._is_open else _varied(fields)

        return self._application(environ, start_with(start_response, add))

    def _sharing(self, origin: str) -> Fields:
        """The fields that let a page of `origin` read a response; none where it may not."""
        if self._is_open:
            return [("Access-Control-Allow-Origin", "*")]
        if not origin or (self._credentials and origin == "null") or not self._allows(origin):
            return []
        fields = [("Access-Control-Allow-Origin", origin)]
        if self._credentials:
            fields.append(("Access-Control-Allow-Credentials", "true"))
        return fields

    def _preflight(
        self, environ: Environ, start_response: StartResponse, origin: str
    ) -> Iterable[bytes]:
        # A preflight's answer is no page's to cache (RFC 9110 §9.3.7); some proxies do it anyway.
        vary = ("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")
        fields = self._sharing(origin)
        if not fields:
            # The standard's advice to a server that does not take part.
            fields = [("Content-Type", "text/plain; charset=utf-8"), vary]
            text = b"403 Forbidden: this origin is not allowed\n"
            return answer(environ, start_response, "403 Forbidden", fields, text)
        fields.append(vary)
        if self._methods:
            fields.append(("Access-Control-Allow-Methods", ", ".join(self._methods)))
        if names := self._allowed_headers(environ):
            fields.append(("Access-Control-Allow-Headers", ", ".join(names)))
        if self._max_age is not None:
            fields.append(("Access-Control-Max-Age", str(self._max_age)))
        return answer(environ, start_response, "204 No Content", fields, b"")

    def _allowed_headers(self, environ: Environ) -> Iterable[str]:
        if not self._takes_all_headers:
            return self._headers
        # By name: "*" does not cover Authorization, and means nothing where there are credentials.
        wanted = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "").split(",")
        return [name for item in wanted if is_token(name := item.strip(" \t"))]


def _allowance(
    origins: str | Iterable[str] | Callable[[str], object],
) -> Callable[[str], object]:
    if origins == "*":
        return lambda origin: True
    if callable(origins):
        allows = origins
        return lambda origin: (
            (origin == "null" or _ORIGIN.fullmatch(origin) is not None) and allows(origin)
        )
    if isinstance(origins, str):
        raise ConfigError(f"CORS: origins must be '*' or a list, such as [{origins!r}]")
    allowed = frozenset(origins)
    for origin in allowed:
        _check_origin(origin)
    return lambda origin: origin in allowed


def _check_origin(origin: object) -> None:
    """Refuse what would never be equal to an origin that a browser sends."""
    if origin == "*":
        raise ConfigError("CORS: '*' stands alone, not in a list: origins='*'")
    if origin == "null":
        return
    hint = ""
    if isinstance(origin, str):
        for scheme, port in _DEFAULT_PORTS:
            if origin.startswith(scheme) and origin.endswith(port):
                hint = f"; leave out {port}"
                break
        else:
            if _ORIGIN.fullmatch(origin):
                return
            if _ORIGIN.fullmatch(origin.lower().rstrip("/")):
                hint = f"; write {origin.lower().rstrip('/')!r}"
    raise ConfigError(f"CORS: no browser sends the origin {origin!r}{hint}")


def _tokens(names: Iterable[str], option: str) -> tuple[str, ...]:
    if isinstance(names, str):
        raise ConfigError(f"CORS: {option} must be a list, such as [{names!r}]")
    found = tuple(names)
    for name in found:
        if not isinstance(name, str) or not is_token(name) or name == "*":
            raise ConfigError(f"CORS: {name!r} among {option} is not a name")
    return found


def _varied(fields: Fields) -> Fields:
    """`fields` with Origin in their Vary."""
    for name, value in fields:
        if str(name).lower() == "vary" and members_of((str(value),)) & {"origin", "*"}:
            return fields
    return [*fields, ("Vary", "Origin")]
