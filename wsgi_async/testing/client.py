"""A client that asks an application in process.

::

    client = TestClient(app)
    response = client.get("/search", query={"q": "wsgi"})
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "3 results" in response.text

No socket, no thread, no waiting: an exception of the application arrives in the test, and a
debugger stops where it was raised. What a request passes on its way is the server itself, from the
bytes to the framed head; see :mod:`wsgi_async.testing.inprocess`.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, BinaryIO

from wsgi_async._version import __version__
from wsgi_async.config.calls import from_options
from wsgi_async.connection.connections import make_framer
from wsgi_async.errors import ConfigError
from wsgi_async.events import Observer
from wsgi_async.logs.observer import LogObserver
from wsgi_async.server.proxy_fields import proxy_fields
from wsgi_async.wsgi.types import Application

from . import application_loop
from .cookies import Cookie, CookieJar
from .inprocess import InProcessExchange, Setting
from .request import (
    Fields,
    Files,
    Origin,
    Pairs,
    Request,
    add_query,
    basic_auth,
    field_pairs,
    make_payload,
    merge,
    redirected,
    split_url,
)
from .response import Response

__all__ = ["MAX_REDIRECTS", "TestClient", "TooManyRedirects"]

MAX_REDIRECTS = 20
"""Redirects that are followed one after another."""

_USED = {
    "header",
    "forwarded_allow_ips",
    "forwarder_headers",
    "limit_request_field_size",
    "limit_request_fields",
    "limit_request_line",
    "max_body_size",
    "max_buffer_size",
    "max_header_size",
    "max_spool_size",
    "parser",
    "proxy_headers",
    "request_id_header",
    "root_path",
    "server_header",
    "server_timing",
    "secure_scheme_headers",
    "spool_dir",
    "spool_limit",
    "spool_threshold",
    "threads",
    "workers",
}
"""Options of the server that say something about one request."""

_EXPECT_CONTENT = {"PATCH", "POST", "PUT"}
"""Methods that send ``Content-Length: 0`` where there is none (RFC 9110 §8.6)."""


class TooManyRedirects(Exception):
    """More than :data:`MAX_REDIRECTS` in a row; the message has the last URLs."""


class TestClient:
    """Asks a WSGI application, and keeps its cookies from request to request.

    :param application: the WSGI application.
    :param base_url: scheme, host and port for the Host field, ``wsgi.url_scheme`` and the cookies;
        ``https://…`` for an application that is served so.
    :param https: whether `base_url` is https in any case: short for the default with that scheme.
        Then ``wsgi.url_scheme`` is ``https``, ``HTTPS`` is ``on``, and cookies that are ``Secure``
        come back.
    :param headers: fields of every request, behind Host, User-Agent and Accept, which they may
        replace or, with None, take away.
    :param auth: user and password for basic authentication.
    :param raise_exceptions: whether what the application raises comes out of the call. If not it is
        logged and answered as by the server: 500, or a body that is cut. Broken rules of PEP 3333
        and promises of a length that is not kept count too, as :class:`.ApplicationError`.
    :param follow_redirects: whether redirects are followed where a call does not say.
    :param server: address and port for SERVER_NAME and SERVER_PORT; default: 127.0.0.1 and the port
        of `base_url`.
    :param peer: address and port for REMOTE_ADDR and REMOTE_PORT; None for a unix socket.
    :param observer: is told of errors and of ``wsgi.errors``; default: the loggers of the server.
    :param options: options of the server, by name: ``root_path``, ``threads``, ``max_body_size``,
        ``limit_request_line`` and what else has to do with one request.
    :raises ConfigError: a wrong option, or one that needs a socket: that is for
        :func:`~wsgi_async.testing.live_server`.
    :raises ValueError: a `base_url` or `headers` that cannot be.

    Use it on one thread at a time; an application may ask another client from within. As a context
    manager it closes, at the end, the responses that stand open. Hooks of
    :func:`~wsgi_async.on_start` are entered at the first request, and left at the end of the block,
    or of the program.
    """

    __test__ = False  # it is not a class of tests, whatever pytest's naming rule says

    def __init__(
        self,
        application: Application,
        *,
        base_url: str = "http://localhost",
        https: bool = False,
        headers: Fields | None = None,
        auth: tuple[str, str] | None = None,
        raise_exceptions: bool = True,
        follow_redirects: bool = False,
        server: tuple[str, int] | None = None,
        peer: tuple[str, int] | None = ("127.0.0.1", 50000),
        observer: Observer | None = None,
        **options: Any,
    ) -> None:
        if not callable(application):
            raise ConfigError(f"The application is not callable: {application!r}")
        config = from_options(**options)
        for name in sorted(options.keys() - _USED):
            raise ConfigError(f"{name} needs a real server: use live_server(app, {name}=...)")
        self.application = application
        self._origin, target = split_url(base_url, Origin("", ""))
        if not self._origin.scheme or target != "/":
            raise ValueError(f"base_url is http://HOST[:PORT] or https://…, not {base_url!r}")
        if https:
            self._origin = dataclasses.replace(self._origin, scheme="https")
        self.cookies = CookieJar()
        """Sent with each request that they are for; set by responses, or with :meth:`set_cookie`"""
        self._headers = field_pairs(headers)
        self._auth = auth
        self._follows = follow_redirects
        self._setting = Setting(
            config=config,
            server=server if server is not None else ("127.0.0.1", self._origin.port),
            peer=peer,
            framer=make_framer(config),
            proxy_fields=proxy_fields(config, Observer()),
            observer=observer if observer is not None else LogObserver(),
            raise_exceptions=raise_exceptions,
            warned=set(),
        )
        self._open: weakref.WeakSet[Response] = weakref.WeakSet()

    # --- asking ------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        url: str = "/",
        *,
        query: Pairs | str | None = None,
        data: str | bytes | Pairs | Iterable[bytes] | BinaryIO | None = None,
        form: Pairs | None = None,
        files: Files | None = None,
        json: object | None = None,
        headers: Fields | None = None,
        cookies: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        environ: Mapping[str, object] | None = None,
        follow_redirects: bool | None = None,
        stream: bool = False,
        query_params: Pairs | None = None,
        json_data: object | None = None,
    ) -> Response:
        """Ask for something.

        :param method: sent as it is; methods are case-sensitive (RFC 9110 §9.1).
        :param url: a path with its query, or a whole URL. What is not ASCII is percent-encoded; a
            ``%`` is left alone.
        :param query: goes behind the query that `url` has. A list as a value repeats its name.
        :param data: the body: bytes, text (as UTF-8) or an open file; an iterable of bytes, sent in
            the chunked coding; a mapping is a `form`.
        :param form: ``application/x-www-form-urlencoded``, or with `files` their companions.
        :param files: ``multipart/form-data``: ``{"field": ("name.txt", b"content")}``; instead of
            the pair a third item is its type, and an open file or the content alone will do too.
        :param json: what ``json.dumps`` takes; None is none.
        :param headers: mapping or pairs; they replace defaults of the same name. A list as a value
            repeats its field; None takes a default away.
        :param cookies: for this request, with those of the jar; they are not kept.
        :param auth: user and password, in place of the client's.
        :param environ: keys of the environ to add or replace: the last word.
        :param follow_redirects: see :func:`.redirected` for the rules; a redirect to another host
            is not followed but returned, because that host is not the application.
        :param stream: return as soon as the application has produced its first chunk, and let it
            stand still there; then iterate ``response.chunks()`` and ``close()`` it, or use it as a
            context manager.
        :param query_params: another name of `query`.
        :param json_data: another name of `json`.
        :raises ValueError: arguments that cannot be sent, or contradict each other.
        :raises TooManyRedirects: they go in circles.
        :raises Exception: whatever the application raises, unless ``raise_exceptions`` is off.
        :raises ClientDisconnected: the application raised that, with nothing sent.
        """
        query = query if query is not None else query_params
        json = json if json is not None else json_data
        content = (data, form, files, json)
        request = self._make_request(method, url, query, content, headers, auth)
        own_cookies = dict(cookies or {})
        response = self._ask(request, own_cookies, environ)
        history: list[Response] = []
        follows = self._follows if follow_redirects is None else follow_redirects
        while follows:
            location = response.headers.get("Location", "")
            following = redirected(response.request, response.status, location)
            if following is None:
                break
            _ = response.body  # a browser reads it, and the application is done with it
            history.append(response)
            if len(history) > MAX_REDIRECTS:
                urls = " -> ".join(past.request.url for past in history[-3:])
                raise TooManyRedirects(f"{len(history)} redirects in a row: ... {urls}")
            response = self._ask(following, own_cookies, environ)
        response.history = tuple(history)
        if not stream:
            _ = response.body
        return response

    def get(self, url: str = "/", query: Pairs | str | None = None, **options: Any) -> Response:
        """GET; for the options see :meth:`request`."""
        return self.request("GET", url, query=query, **options)

    def head(self, url: str = "/", **options: Any) -> Response:
        """HEAD: a response without a body."""
        return self.request("HEAD", url, **options)

    def post(self, url: str = "/", data: Any = None, **options: Any) -> Response:
        """POST."""
        return self.request("POST", url, data=data, **options)

    def put(self, url: str = "/", data: Any = None, **options: Any) -> Response:
        """PUT."""
        return self.request("PUT", url, data=data, **options)

    def patch(self, url: str = "/", data: Any = None, **options: Any) -> Response:
        """PATCH."""
        return self.request("PATCH", url, data=data, **options)

    def delete(self, url: str = "/", **options: Any) -> Response:
        """DELETE."""
        return self.request("DELETE", url, **options)

    def options(self, url: str = "/", **options: Any) -> Response:
        """OPTIONS; of the whole server with ``"*"``."""
        return self.request("OPTIONS", url, **options)

    def set_cookie(self, name: str, value: str, **attributes: Any) -> None:
        """Put a cookie for this host into the jar.

        :param attributes: fields of :class:`Cookie` (``path``, ``expires``, ``domain`` …).
        """
        self.cookies.add(Cookie(name, value, **{"domain": self._origin.host, **attributes}))

    # --- how ---------------------------------------------------------------------------------

    def _make_request(
        self,
        method: str,
        url: str,
        query: Pairs | str | None,
        content: tuple[Any, Pairs | None, Files | None, object | None],
        headers: Fields | None,
        auth: tuple[str, str] | None,
    ) -> Request:
        field_pairs([(method, "")])  # a method is a token too
        origin, target = split_url(url, self._origin)
        target = add_query(target, query)
        payload = make_payload(*content)
        defaults: list[tuple[str, str | None]] = [
            ("Host", origin.authority),
            ("User-Agent", f"wsgi_async-test/{__version__}"),
            ("Accept", "*/*"),
        ]
        auth = auth if auth is not None else self._auth
        if auth is not None:
            defaults.append(("Authorization", basic_auth(*auth)))
        if payload.content_type is not None:
            defaults.append(("Content-Type", payload.content_type))
        mine = {name.lower() for name, _ in self._headers}
        defaults = [pair for pair in defaults if pair[0].lower() not in mine]
        fields = merge([*defaults, *self._headers], headers)
        framing: list[tuple[str, str]] = []
        if payload.is_chunked:
            framing = [("Transfer-Encoding", "chunked")]
        elif payload.body or method in _EXPECT_CONTENT:
            framing = [("Content-Length", str(payload.size))]
        for name, value in fields:
            is_framing = name.lower() in ("content-length", "transfer-encoding")
            if is_framing and (name.title(), value) not in framing:
                raise ValueError(f"{name}: {value} does not fit the body, and is made from it")
        fields = [
            pair
            for pair in fields
            if pair[0].lower() not in ("content-length", "transfer-encoding")
        ]
        return Request(
            method, origin, target, (*fields, *framing), payload.body, payload.is_chunked
        )

    def _ask(
        self, request: Request, cookies: dict[str, str], environ: Mapping[str, object] | None
    ) -> Response:
        """One exchange, with the cookies before and after it."""
        origin, path = request.origin, request.path
        secure = origin.scheme == "https"
        pairs = [
            (cookie.name, cookie.value)
            for cookie in self.cookies.matching(origin.host, path, secure=secure)
            if cookie.name not in cookies
        ]
        line = "; ".join(f"{name}={value}" for name, value in [*pairs, *cookies.items()])
        sent = request
        if line:
            field_pairs({"Cookie": line})
            sent = Request(
                request.method,
                origin,
                request.target,
                (*request.fields, ("Cookie", line)),
                request.body,
                request.is_chunked,
            )
        application_loop.enter_hooks()
        exchange = InProcessExchange(self.application, sent, self._setting, dict(environ or {}))
        status, reason, headers = exchange.head
        received = self.cookies.receive(headers.all("Set-Cookie"), origin.host, path)
        found = {cookie.name: cookie for cookie in received}
        response = Response(sent, status, reason, headers, exchange, found)
        self._open.add(response)
        return response

    def close(self) -> None:
        """Close the responses that stand open."""
        for response in list(self._open):
            response.close()

    def __enter__(self) -> TestClient:
        application_loop.begin(self._setting.observer)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.close()
        finally:
            application_loop.end(self._setting.observer)
