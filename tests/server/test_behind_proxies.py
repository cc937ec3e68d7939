"""Behind proxies, with a server that is all there: its sockets, its log, and what runs on top."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django_settings
import pytest
from rawclient import Address, RawClient, request
from serving import serving
from wire import Held, Site

from wsgi_async.logs.observer import LogObserver
from wsgi_async.middleware.tracepage import is_local
from wsgi_async.server.in_flight import describe
from wsgi_async.testing import TestClient

FOR = "X-Forwarded-For: 203.0.113.7"
HTTPS = "X-Forwarded-Proto: https"
SAID = ("REMOTE_ADDR", "wsgi.url_scheme", "HTTP_X_FORWARDED_FOR", "wsgi_async.peer")

App = Callable[..., Any]


def show(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps([environ.get(name) for name in SAID]).encode()]


def ask(address: Address, *fields: str) -> list[Any]:
    with RawClient(address) as client:
        client.send(request(fields=fields))
        response = client.response()
    assert response.status == 200
    return json.loads(response.body)  # type: ignore[no-any-return]


def test_over_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    with serving(show, bind=f"unix:{path}", forwarded_allow_ips="unix"):
        assert ask(path, FOR, HTTPS) == ["203.0.113.7", "https", "203.0.113.7", "unix"]
    # Whoever names proxies and forgets it has it told, for that is a proxy in all likelihood.
    with serving(show, bind=f"unix:{path}", forwarded_allow_ips="10.0.0.1") as served:
        assert ask(path, FOR, HTTPS) == ["", "http", None, "unix"]
        ((warning,),) = served.recorder.wait_for("warning")
        assert warning.startswith("X-Forwarded-For, from a unix socket, is removed")
        assert "--forwarded-allow-ips" in warning


def test_the_port_on_a_unix_socket_is_the_schemes() -> None:
    def port(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["SERVER_PORT"].encode()]

    with Site(port) as site:
        assert site.connect(peername="", sockname="/s").get("/", HTTPS).body == b"443"
        assert site.connect(peername="", sockname="/s").get("/").body == b"80"
        assert site.connect(sockname=("10.0.0.1", 8000)).get("/", HTTPS).body == b"8000"


def test_over_ipv6() -> None:
    with serving(show, host="::1", port=0, proxy_headers=True) as served:
        address = ("::1", served.address[1])
        addr, scheme, _, peer = ask(address, "X-Forwarded-For: [2001:DB8::7]:4711", HTTPS)
        assert (addr, scheme) == ("2001:db8::7", "https")
        assert peer.startswith("[::1]:")


# --- what is logged -----------------------------------------------------------------------------


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "wsgi_async")
    return lambda: [record.getMessage() for record in caplog.records]


def test_log_lines_have_the_client(lines: Callable[[], list[str]]) -> None:
    def fails(environ: dict[str, Any], start_response: Any) -> Any:
        environ["wsgi.errors"].write("a line\n")
        raise ValueError("no")

    with Site(fails, subscribers=[LogObserver(access=True)], proxy_headers=True) as site:
        client = site.connect()
        client.ask("/failed", "X-Forwarded-For: 203.0.113.7:4711")
        client.wait()
        client.ask("/failed", "X-Forwarded-For: 2001:db8::7")
        client.wait(2)
        client.ask("/refused", "X-Forwarded-For: 203.0.113.8", "Expect: nothing")
        text = "\n".join(lines())
    assert "GET /failed [203.0.113.7:4711 " in text
    assert "GET /failed [[2001:db8::7] " in text
    access = [line for line in lines() if '"GET /' in line]
    assert [line.partition(" ")[0] for line in access] == ["203.0.113.7", "2001:db8::7"]


def test_requests_in_flight_are_their_clients() -> None:
    held = Held()
    with Site(held, proxy_headers=True, threads=1) as site:
        client = site.connect()
        client.ask("/slow", "X-Forwarded-For: 203.0.113.7:4711")
        held.wait_entered()
        (line,) = (line for line in describe(site.connections, site.loop.time()) if "/slow" in line)
        assert "[203.0.113.7:4711 " in line
        held.gate.release()
        client.wait()


def test_late_requests_are_their_clients() -> None:
    held = Held()
    with Site(held, proxy_headers=True, threads=1, request_timeout=1) as site:
        client = site.connect()
        client.ask("/slow", "X-Forwarded-For: 203.0.113.7:4711")
        held.wait_entered()
        site.sweep(2)
        assert client.wait().status == 504
        assert [lost[0].client for lost in site.observer.lost] == ["203.0.113.7:4711"]
        assert site.observer.clients == ["203.0.113.7:4711"]
        held.gate.release()


# --- the debugging page -------------------------------------------------------------------------


def local(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"local" if is_local(environ) else b"not local"]


@pytest.mark.parametrize(
    ("options", "fields", "expected"),
    [
        ({}, {}, "local"),
        ({"proxy_headers": True}, {}, "local"),
        # A client of a trusted proxy that says it is this machine.
        ({"proxy_headers": True}, {"X-Forwarded-For": "127.0.0.1"}, "not local"),
        ({"proxy_headers": "forwarded"}, {"Forwarded": "for=127.0.0.1"}, "not local"),
        ({}, {"X-Forwarded-Proto": "https"}, "not local"),
        # A proxy that is not trusted, whose fields are removed.
        ({"forwarded_allow_ips": "10.0.0.1"}, {"X-Forwarded-For": "127.0.0.1"}, "not local"),
        ({"forwarded_allow_ips": "10.0.0.1"}, {"Forwarded": "for=127.0.0.1"}, "not local"),
        # Fields that only an operator knows.
        ({"secure_scheme_headers": "X-Scheme=https"}, {"X-Scheme": "http"}, "not local"),
        ({"forwarder_headers": "SCRIPT_NAME"}, {"SCRIPT_NAME": "/a"}, "not local"),
        ({"proxy_headers": "off"}, {"X-Forwarded-For": "127.0.0.1"}, "not local"),
    ],
)
def test_no_proxy_makes_anybody_local(
    options: dict[str, Any], fields: dict[str, str], expected: str
) -> None:
    """What opens the page with the traceback is who is at the other end of the socket, and that
    nobody passes on what others ask."""
    client = TestClient(local, base_url="http://localhost:8000", **options)
    assert client.get("/a", headers=fields).text == expected


# --- what others do about it, on top ------------------------------------------------------------


def proxy_fix(app: App, count: int) -> App:
    fix = pytest.importorskip("werkzeug.middleware.proxy_fix").ProxyFix
    return fix(app, x_for=count, x_proto=count)  # type: ignore[no-any-return]


@pytest.mark.parametrize("options", [{}, {"proxy_headers": True}])
def test_flask_with_proxy_fix_on_top_and_without(options: dict[str, Any]) -> None:
    flask = pytest.importorskip("flask")
    app = flask.Flask("behind")

    @app.get("/")
    def index() -> Any:
        asked = flask.request
        return [asked.remote_addr, asked.is_secure, asked.url, flask.url_for("index")]

    fields = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    expected = ["203.0.113.7", True, "https://localhost/", "/"]
    fixed = TestClient(proxy_fix(app, 1), **options)
    assert fixed.get("/", headers=fields).json() == expected
    if options:
        assert TestClient(app, **options).get("/", headers=fields).json() == expected
    # Two proxies, both of them named.
    chain = {
        "X-Forwarded-For": "6.6.6.6, 203.0.113.7, 127.0.0.2",
        "X-Forwarded-Proto": "http, https, http",
    }
    fixed = TestClient(proxy_fix(app, 2), **options)
    assert fixed.get("/", headers=chain).json() == expected
    if options:
        assert TestClient(app, **options).get("/", headers=chain).json() == expected


def test_django_is_secure_with_its_own_setting_and_without() -> None:
    pytest.importorskip("django")
    from django.core.handlers.wsgi import WSGIRequest
    from django.core.wsgi import get_wsgi_application  # noqa: F401
    from django.test.utils import override_settings

    django_settings.configure()
    kept: list[dict[str, Any]] = []

    def keep(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        kept.append(environ)
        return show(environ, start_response)

    TestClient(keep).get("/", headers={"X-Forwarded-Proto": "https"})
    TestClient(keep).get("/", headers={"X-Forwarded-Proto": "http"})
    TestClient(keep).get("/")
    for header in None, ("HTTP_X_FORWARDED_PROTO", "https"):
        with override_settings(SECURE_PROXY_SSL_HEADER=header):
            assert [WSGIRequest(environ).is_secure() for environ in kept] == [True, False, False]


def test_an_application_that_insists_on_https_redirects_once(tmp_path: Path) -> None:
    """The loop that a deployment of gunicorn's ran into here: nothing is set, nginx does TLS."""

    def insists(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["wsgi.url_scheme"] != "https":
            location = f"https://{environ['HTTP_HOST']}{environ['PATH_INFO']}"
            start_response("301 Moved Permanently", [("Location", location)])
            return [b""]
        return show(environ, start_response)

    with serving(insists) as served, served.client() as client:
        client.send(request())
        assert client.response().status == 301
        client.send(request(fields=(HTTPS,)))
        assert client.response().status == 200


# --- a path in front ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "script_name", "path_info"),
    [
        ("/app/x", "/app", "/x"),  # the proxy has passed it on as it is
        ("/x", "/app", "/x"),  # it has taken it off
        ("/app", "/app", ""),
        ("/app/", "/app", "/"),
        ("/apple", "/app", "/apple"),
        ("/apple/app/x", "/app", "/apple/app/x"),
        ("/app/app/x", "/app", "/app/x"),
        ("/%61pp/x", "/app", "/x"),
        ("/app/a%2Fb", "/app", "/a/b"),
        ("/a%2Fb", "/app", "/a/b"),
        ("/app%2Fx", "/app", "/x"),  # to the application it is the same as /app/x
        ("/app%20le", "/app", "/app le"),
    ],
)
@pytest.mark.parametrize("fields", [{}, {"X-Forwarded-Proto": "https"}])
def test_root_path(target: str, script_name: str, path_info: str, fields: dict[str, str]) -> None:
    def paths(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        assert environ["RAW_URI"] == target
        return [f"{environ['SCRIPT_NAME']} {environ['PATH_INFO']}".encode()]

    with serving(paths, root_path="/app") as served, served.client() as client:
        lines = tuple(f"{name}: {value}" for name, value in fields.items())
        client.send(request(target, fields=lines))
        assert client.response().body.decode() == f"{script_name} {path_info}"
