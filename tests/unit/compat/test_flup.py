"""wsgi_async.compat.fcgi and its like: what flup's arguments mean here."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wsgi_async.compat import fcgi, fcgi_fork, fcgi_single, flup, scgi
from wsgi_async.errors import ConfigError

FASTCGI = (fcgi.WSGIServer, fcgi_fork.WSGIServer, fcgi_single.WSGIServer)
ANY = [*FASTCGI, scgi.WSGIServer]


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [environ["x.added"]]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What ``serve()`` was called with, in the place of serving."""
    found: dict[str, Any] = {}

    def serve(application: Any, **options: Any) -> None:
        found.update(options, application=application)

    monkeypatch.setattr(flup, "serve", serve)
    for name in ("FCGI_WEB_SERVER_ADDRS", "FCGI_FORCE_CGI"):
        monkeypatch.delenv(name, raising=False)
    return found


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_threads_processes_and_one_thread(served: dict[str, Any]) -> None:
    """The three FastCGI servers of flup differ in who runs the application."""
    address = ("localhost", 9000)
    for server, expected in [
        (fcgi.WSGIServer(application, bindAddress=address), {"threads": 8}),
        (fcgi.WSGIServer(application, bindAddress=address, maxThreads=3), {"threads": 3}),
        (fcgi.WSGIServer(application, None, False, bindAddress=address), {"threads": 1}),
        (fcgi_single.WSGIServer(application, bindAddress=address), {"threads": 1}),
        (
            fcgi_fork.WSGIServer(application, bindAddress=address, maxRequests=9),
            {"threads": 1, "workers": 5, "max_requests": 9},
        ),
        (
            fcgi_fork.WSGIServer(application, bindAddress=address, maxChildren=2),
            {"threads": 1, "workers": 2, "max_requests": 0},
        ),
    ]:
        served.clear()
        assert server.run() is False
        assert served.pop("application") is application
        assert served == {"bind": ("fastcgi://localhost:9000",), **expected}


@pytest.mark.parametrize(
    ("address", "where"),
    [
        (("127.0.0.1", 9000), "fastcgi://127.0.0.1:9000"),
        (("", 9000), "fastcgi://:9000"),
        (("::1", 9000), "fastcgi://[::1]:9000"),
        ("/run/app.sock", "fastcgi+unix:/run/app.sock"),
        (Path("/run/app.sock"), "fastcgi+unix:/run/app.sock"),
    ],
)
@pytest.mark.parametrize("kind", FASTCGI)
def test_where_it_listens(kind: Any, address: Any, where: str, served: dict[str, Any]) -> None:
    kind(application, bindAddress=address, umask=0o007).run()
    assert served["bind"] == (where,)
    assert served["socket_mode"] == 0o770


def test_scgi(served: dict[str, Any]) -> None:
    scgi.WSGIServer(application).run()
    assert served.pop("application") is application
    assert served == {"bind": ("scgi://localhost:4000",), "threads": 8, "root_path": ""}
    scgi.WSGIServer(application, "/shop/", allowedServers=["10.0.0.1"]).run()
    assert (served["root_path"], served["uwsgi_allow_from"]) == ("/shop", ("10.0.0.1",))


def test_who_may_connect(served: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """FastCGI 1.0, section 3.2."""
    monkeypatch.setenv("FCGI_WEB_SERVER_ADDRS", "199.170.183.28, 199.170.183.71")
    fcgi.WSGIServer(application, bindAddress=("", 9000)).run()
    assert served["uwsgi_allow_from"] == ("199.170.183.28", "199.170.183.71")


def test_the_environ_has_what_it_is_given(served: dict[str, Any]) -> None:
    fcgi.WSGIServer(application, {"x.added": b"yes"}, bindAddress=("", 9000)).run()
    assert served["application"]({}, lambda status, fields: None) == [b"yes"]


def test_hanging_up_ends_it_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts for flup begin anew where run() returns True."""
    ended: list[int] = []

    def serve(application: Any, **options: Any) -> None:
        signal.raise_signal(signal.SIGHUP)

    monkeypatch.setattr(flup, "serve", serve)
    terminate = signal.signal(signal.SIGTERM, lambda number, frame: ended.append(number))
    before = signal.getsignal(signal.SIGHUP)
    try:
        assert fcgi.WSGIServer(application, bindAddress=("", 9000)).run() is True
    finally:
        signal.signal(signal.SIGTERM, terminate)
    assert ended == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGHUP) is before


@pytest.mark.parametrize("variables", [{}, {"REQUEST_METHOD": "GET"}, {"FCGI_FORCE_CGI": "y"}])
def test_who_runs_it_by_hand_learns_why_it_ends(
    variables: dict[str, str],
    served: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its one response says nothing about that; of a CGI script it is all that is asked."""
    monkeypatch.setattr(fcgi, "is_spawned", lambda: False)
    monkeypatch.setattr(flup, "run_as_script", lambda application: sys.exit(0))
    monkeypatch.delenv("REQUEST_METHOD", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        fcgi.WSGIServer(application).run()
    assert ("no bindAddress says where to listen" in capsys.readouterr().err) == (not variables)
    assert not served


def test_a_listening_descriptor_is_told_from_any_other(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no listening socket makes the process a CGI script (FastCGI 1.0, section 2.2)."""
    reads, writes = os.pipe()
    with socket.create_connection(listening.getsockname()) as connected:
        for descriptor, is_spawned in [
            (listening.fileno(), True),
            (connected.fileno(), False),
            (reads, False),
            (1_000_000, False),
        ]:
            monkeypatch.setattr(flup, "LISTENING_DESCRIPTOR", descriptor)
            assert flup.is_spawned() is is_spawned
    os.close(reads)
    os.close(writes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bindAddress": 9000}, r"bindAddress takes \(host, port\) or the path of a socket, not 9"),
        ({"bindAddress": ("", "x")}, "bindAddress takes"),
        ({"roles": (1, 2)}, r"roles: an application answers requests here, not \(1, 2\)"),
    ],
)
def test_what_cannot_be_had(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fcgi.WSGIServer(application, **arguments)


@pytest.mark.parametrize("base", ANY)
def test_hooks_of_flup_are_refused(base: Any) -> None:
    """``error`` is what flup's programs override for pages of their own: it would not be called."""
    kind = type("Server", (base,), {"error": lambda self, request: None})
    with pytest.raises(ConfigError, match=r"Server\.error: there are no such hooks here"):
        kind(application, bindAddress=("", 9000))
