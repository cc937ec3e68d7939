"""TLS by the arguments that programs for gevent, Tornado and wsgiref give it."""

from __future__ import annotations

import contextlib
import http.client
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import LOCAL, Authority, Pair, authority
from rawclient import TIMEOUT

from wsgi_async.compat.pywsgi import WSGIServer
from wsgi_async.compat.simple_server import WSGIRequestHandler, make_server
from wsgi_async.compat.tornado import HTTPServer, IOLoop, WSGIContainer, bind_sockets
from wsgi_async.errors import ConfigError
from wsgi_async.tls.given import GivenContext


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [f"{environ['wsgi.url_scheme']} {environ.get('HTTPS')}".encode()]


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def ca() -> Authority:
    return authority()


@pytest.fixture
def pair(tmp_path: Path, ca: Authority) -> Pair:
    return ca.issue(tmp_path, *LOCAL)


def context_of(pair: Pair) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


def ask(port: int | None, client: ssl.SSLContext, host: str = "127.0.0.1") -> bytes:
    assert port is not None
    connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=client)
    with contextlib.closing(connection):
        connection.request("GET", "/")
        with connection.getresponse() as response:
            assert response.status == 200
            return response.read()


@contextlib.contextmanager
def pywsgi(**ssl_args: Any) -> Iterator[int | None]:
    with WSGIServer(("127.0.0.1", 0), application, log=None, **ssl_args) as server:
        assert "https://127.0.0.1:" in repr(server)
        yield server.server_port


def tornado(ssl_options: Any, client: ssl.SSLContext) -> bytes:
    """What the application has answered, on Tornado's loop."""
    loop: Any = IOLoop.current()
    (sock,) = bind_sockets(0, "127.0.0.1")
    port = sock.getsockname()[1]
    HTTPServer(WSGIContainer(application), ssl_options=ssl_options).add_sockets([sock])
    answers: list[bytes] = []

    def run() -> None:
        try:
            answers.append(ask(port, client))
        finally:
            loop.add_callback(loop.stop)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        loop.start()
    finally:
        thread.join(TIMEOUT)
        loop.close()
    return answers[0]


# --- files ----------------------------------------------------------------------------------------


def test_pywsgi_takes_files_as_gevent_does(pair: Pair, ca: Authority) -> None:
    files = {"certfile": str(pair.certificate), "keyfile": pair.key, "server_side": True}
    with pywsgi(**files, ssl_version=ssl.PROTOCOL_TLS, ciphers=None) as port:
        assert ask(port, ca.client()) == b"https on"


def test_tornado_takes_a_dict_of_files(pair: Pair, ca: Authority) -> None:
    assert tornado(pair.options, ca.client()) == b"https on"


def test_clients_that_must_show_a_certificate(pair: Pair, ca: Authority, tmp_path: Path) -> None:
    """Whoever moves over with ``cert_reqs`` must not come to serve everybody."""
    known = ca.issue(tmp_path, "someone@example.org", file="someone")
    with pywsgi(
        certfile=pair.certificate,
        keyfile=pair.key,
        ca_certs=str(ca.write(tmp_path)),
        cert_reqs=ssl.CERT_REQUIRED,
    ) as port:
        assert ask(port, ca.client(known)) == b"https on"
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.BadStatusLine)):
            ask(port, ca.client())


# --- contexts -------------------------------------------------------------------------------------


def test_pywsgi_takes_a_context(pair: Pair, ca: Authority) -> None:
    with pywsgi(ssl_context=context_of(pair)) as port:
        assert ask(port, ca.client()) == b"https on"


def test_what_no_client_may_do_is_off_in_a_context_that_is_given() -> None:
    """OpenSSL before 3.0 has clients renegotiate, again and again (CVE-2011-1473)."""
    off = ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options &= ~off
    assert GivenContext(context).contexts.context.options & off == off


def test_tornado_takes_a_context(pair: Pair, ca: Authority) -> None:
    assert tornado(context_of(pair), ca.client()) == b"https on"


def test_a_socket_that_was_wrapped_is_served_by_tls(pair: Pair, ca: Authority) -> None:
    """The usual way with wsgiref: by the socket's descriptor alone it would be plain HTTP."""

    with make_server("127.0.0.1", 0, application, handler_class=Quiet) as httpd:
        httpd.socket = context_of(pair).wrap_socket(httpd.socket, server_side=True)
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        try:
            assert ask(httpd.server_port, ca.client()) == b"https on"
        finally:
            httpd.shutdown()
            thread.join(TIMEOUT)


def test_one_request_at_a_socket_that_was_wrapped(pair: Pair, ca: Authority) -> None:
    with make_server("127.0.0.1", 0, application, handler_class=Quiet) as httpd:
        httpd.socket = context_of(pair).wrap_socket(httpd.socket, server_side=True)
        thread = threading.Thread(target=httpd.handle_request)
        thread.start()
        assert ask(httpd.server_port, ca.client()) == b"https on"
        thread.join(TIMEOUT)
        assert not thread.is_alive()


# --- what cannot be -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keyfile": "a.key"}, "--keyfile needs --certfile"),
        ({"certfile": "a", "cert_reqs": 2}, "--cert-reqs required needs --ca-certs"),
        ({"certfile": "a", "ssl_version": 3}, "--ssl-version 3: RFC 8996"),
        ({"ssl_context": 3}, "a context for TLS is an ssl.SSLContext, not 3"),
        ({"ssl_context": ssl.create_default_context()}, "this context for TLS is a client's"),
        (
            {"ssl_context": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), "certfile": "a"},
            "certfile: the context has its own: give one or the other",
        ),
        ({"npn_protocols": 1}, "no argument npn_protocols|ssl_options has no npn_protocols"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        WSGIServer(0, application, **arguments)
    assert "\n" not in str(caught.value)
    options = dict(arguments)
    context = options.pop("ssl_context", None)
    if context is None or not options:  # it takes one or the other
        with pytest.raises(ConfigError, match=message):
            HTTPServer(WSGIContainer(application), ssl_options=context or options)


def test_a_file_that_is_not_there_is_said_at_the_start() -> None:
    with pytest.raises(ConfigError, match=r"^--certfile .*/nowhere.pem: No such file"):
        WSGIServer(0, application, log=None, certfile="nowhere.pem").start()
