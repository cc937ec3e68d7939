"""The fundamentals: patterns of applications and middleware, other servers' files, deployment."""

from __future__ import annotations

import base64
import contextlib
import grp
import json
import os
import pwd
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guide_programs import APPS, Site, behind_nginx, command
from rawclient import TIMEOUT, RawClient, request
from serving import serving
from tools import ReservedPort, python, running

SITE = APPS / "patterns_site"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with command("app", "--threads", "5", "--access-logfile", "-", cwd=SITE) as site:
        yield site


def test_environ_is_indexed_and_printed(site: Site) -> None:
    text = site.ask("/dump").text
    assert text.startswith(f"Server: 127.0.0.1:{site.port}\n")
    assert f"'SERVER_PORT': '{site.port}'" in text


def test_routes(site: Site) -> None:
    assert site.ask("/").text == "<h1>Home</h1>"
    assert site.ask("/none").status == 404
    assert site.ask("/", "DELETE").status == 404


def test_forms_json_and_queries(site: Site) -> None:
    form = site.ask(
        "/echo?q=1&q=2", "POST", b"a=b%20c", Content_Type="application/x-www-form-urlencoded"
    )
    found = json.loads(form.body)
    assert (found["query"], found["form"], found["length"]) == (
        {"q": ["1", "2"]},
        {"a": ["b c"]},
        7,
    )
    sent = site.ask("/echo", "POST", b'{"x": [1]}', Content_Type="application/json; charset=utf-8")
    assert json.loads(sent.body)["form"] == {"x": [1]}


def test_chunked_body_has_a_length(site: Site) -> None:
    chunks = iter([b'{"some', b'": ', b'"json"}'])
    reply = site.ask("/echo", "POST", chunks, Content_Type="application/json")
    found = json.loads(reply.body)
    assert (found["form"], found["length"]) == ({"some": "json"}, 16)


def test_repeated_fields_are_joined(site: Site) -> None:
    fields = ("Cookie: a=1; b=2", "Cookie: c=3", "Accept: text/html", "Accept: text/plain")
    with RawClient(("127.0.0.1", site.port)) as client:
        client.send(request("/echo", fields=fields))
        found = json.loads(client.response().body)
    assert found["cookies"] == {"a": "1", "b": "2", "c": "3"}
    assert re.fullmatch(r"text/html, ?text/plain", found["accept"])


def test_options_by_an_empty_chunk_keeps_the_connection(site: Site) -> None:
    with RawClient(("127.0.0.1", site.port)) as client:
        client.send(request(method="OPTIONS"))
        response = client.response("OPTIONS")
        assert (response.status, response.fields["content-length"]) == (200, "0")
        assert client.get("/").status == 200


def test_middleware_may_add_to_the_list_of_headers(site: Site) -> None:
    for _ in range(2):
        headers = site.ask("/").headers
        assert headers.get_all("Access-Control-Allow-Origin") == ["*"]
        assert headers.get_all("Content-Type") == ["text/html"]


def test_headers_are_copied_when_start_response_is_called() -> None:
    shared = [("X-Count", "one")]

    def change(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", shared)
        shared.append(("X-Late", "no"))
        shared.pop()
        shared[0] = ("X-Count", "two")
        return [b""]

    with serving(change) as served, served.client() as client:
        assert client.get().fields["x-count"] == "one"
        assert client.get().fields["x-count"] == "two"
    assert shared == [("X-Count", "two")]


@pytest.mark.parametrize(
    ("code", "reason"),
    [(400, "Bad Request"), (403, "Forbidden"), (418, "Unknown"), (599, "Unknown")],
)
def test_exceptions_become_pages_with_any_reason(site: Site, code: int, reason: str) -> None:
    reply = site.ask(f"/raises?{code}")
    assert (reply.status, reply.reason, reply.text) == (code, reason, "sorry")


@pytest.mark.parametrize(("status", "reason"), [("299", ""), ("299+Fine+by+me", "Fine by me")])
def test_status_of_any_number(site: Site, status: str, reason: str) -> None:
    reply = site.ask(f"/reasonless?{status}")
    assert (reply.status, reply.reason) == (299, reason)


def test_error_page_without_exc_info_after_a_start_is_an_error(site: Site) -> None:
    reply = site.ask("/fails_after_start")
    assert (reply.status, reply.text) == (500, "500 Internal Server Error\n")
    site.process.wait_for("LookupError: the first reason")
    site.process.wait_for("second time without exc_info")


def test_assertion_error_is_what_is_raised() -> None:
    seen: list[type[BaseException]] = []

    def twice(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        try:
            start_response("500 Oops", [])
        except AssertionError as error:
            seen.append(type(error))
        return [b"first"]

    with serving(twice) as served, served.client() as client:
        assert client.get().body == b"first"
    assert seen


def test_generator_that_fails_before_its_first_byte_is_a_500(site: Site) -> None:
    assert site.ask("/fails_late?at-once").status == 500
    site.process.wait_for("LookupError: from the generator")


def test_generator_that_fails_later_is_a_cut_response(site: Site) -> None:
    with RawClient(("127.0.0.1", site.port)) as client:
        client.send(request("/fails_late"))
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while data := client.socket.recv(65536):
                received += data
    assert b"200 OK" in received
    assert not received.endswith(b"0\r\n\r\n")


def test_stream_of_a_thousand_chunks_keeps_the_connection(site: Site) -> None:
    with RawClient(("127.0.0.1", site.port)) as client:
        for _ in range(2):
            response = client.get("/stream")
            assert response.fields["transfer-encoding"] == "chunked"
            assert response.body.splitlines() == [b"Line %d" % n for n in range(1000)]


def test_stream_comes_chunk_by_chunk() -> None:
    go_on = [threading.Event() for _ in range(3)]

    def stream(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        for number, event in enumerate(go_on):
            yield b"Line %d\n" % number
            assert event.wait(TIMEOUT)

    with serving(stream) as served, served.client() as client:
        client.send(request())
        client.read_until(b"\r\n\r\n")
        for number, event in enumerate(go_on):
            assert client.receive(12) == b"7\r\nLine %d\n\r\n" % number
            event.set()
        assert client.receive(5) == b"0\r\n\r\n"


def test_threads_are_published_for_pools(site: Site) -> None:
    assert site.ask("/pool_size").text == "5"


def test_basic_authentication_reaches_the_application_and_no_log() -> None:
    secret = base64.b64encode(b"admin:secret").decode()
    with command("app:guarded", "--access-logfile", "-", cwd=SITE) as site:
        refused = site.ask("/user", Authorization="Basic " + base64.b64encode(b"a:b").decode())
        assert refused.status == 401
        assert refused.headers["WWW-Authenticate"] == 'Basic realm="Here"'
        assert site.ask("/user", Authorization=f"Basic {secret}").text == "admin"
        site.process.wait_for('"GET /user HTTP/1.1" 200')
    assert secret not in site.process.output


# --- Other servers' files


def test_gunicorn_conf_py_as_it_is() -> None:
    with command("-c", "gunicorn.conf.py", "app:application", bind="", cwd=SITE) as site:
        site.process.wait_for("2 processes")
        assert site.ask().text == "<h1>Home</h1>"
        site.process.wait_for("the hook when_ready")
        site.process.wait_for("the hook post_fork")
        assert "worker_connections" in site.process.output or "worker_class" in site.process.output


def test_wrong_gunicorn_conf_py_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "gunicorn.conf.py"
    path.write_text("workers = 'many'\n")
    line = python("-m", "wsgi_async", "-c", str(path), "app")
    with running(*line, cwd=SITE) as process:
        assert process.wait() == 1
        assert "workers" in process.output
        assert len(process.output.splitlines()) == 1


def test_uwsgi_ini_as_it_is() -> None:
    command = python("-m", "wsgi_async", "-c", "uwsgi.ini", "--check-config")
    with running(*command, cwd=SITE) as process:
        assert process.wait() == 0
        *notices, last = process.output.splitlines()
        assert last == "The configuration and the application app:application are good"
        # Of its lines none is ignored; of threads it says nothing.
        assert [notice.partition(": ")[2][:18] for notice in notices] == ["threads is not set"]


def test_uwsgi_ini_behind_uwsgi_pass(tmp_path: Path) -> None:
    """The guide's file, with its socket elsewhere, and nginx with its own uwsgi_params."""
    path = tmp_path / "patterns.sock"
    text = (SITE / "uwsgi.ini").read_text()
    assert text.count("/tmp/patterns.sock") == 1
    (tmp_path / "uwsgi.ini").write_text(text.replace("/tmp/patterns.sock", str(path)))
    line = python("-m", "wsgi_async", "-c", str(tmp_path / "uwsgi.ini"), "--access-logfile", "-")
    with running(*line, cwd=SITE) as process:
        process.wait_for(rf"Listening on uwsgi\+unix:{path} \(2 processes")
        assert path.stat().st_mode & 0o777 == 0o666
        with behind_nginx(tmp_path, "uwsgi", path, process) as site:
            assert site.ask("/").text == "<h1>Home</h1>"
            form = site.ask(
                "/echo?q=1", "POST", b"a=b%20c", Content_Type="application/x-www-form-urlencoded"
            )
            found = json.loads(form.body)
            assert (found["query"], found["form"], found["length"]) == (
                {"q": ["1"]},
                {"a": ["b c"]},
                7,
            )
            chunks = iter([b'{"some', b'": ', b'"json"}'])
            sent = site.ask("/echo", "POST", chunks, Content_Type="application/json")
            assert json.loads(sent.body)["form"] == {"some": "json"}
            assert site.ask("/none").status == 404
            assert site.ask("/stream").text.splitlines()[999] == "Line 999"
            reply = site.ask("/fails_after_start")
            assert (reply.status, reply.text) == (500, "500 Internal Server Error\n")
        process.wait_for(r'127\.0\.0\.1 .*"GET /none HTTP/1\.[01]" 404')  # nginx's client
        process.signal(15)
        assert process.wait() == 0
        assert not path.exists()  # vacuum


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a socket away")
def test_uwsgi_ini_with_a_socket_for_nginxs_group(tmp_path: Path) -> None:
    """As tutorials have it: who serves owns the socket, and nginx's group may connect."""
    path = tmp_path / "shop.sock"
    (tmp_path / "uwsgi.ini").write_text(
        f"[uwsgi]\nproject = app\nuid = daemon\nchdir = {SITE}\nmodule = %(project):application\n"
        f"socket = {path}\nchown-socket = %(uid):www-data\nchmod-socket = 660\nvacuum = true\n"
    )
    line = python("-m", "wsgi_async", "-c", "uwsgi.ini", "--user", "root", "--check-config")
    with running(*line, cwd=tmp_path) as process:
        assert process.wait() == 0, process.output
    # Its processes stay root, who can read this checkout: what is shown is whose the socket is.
    with running(*line[:-1], cwd=tmp_path) as process:
        process.wait_for(rf"Listening on uwsgi\+unix:{path} ")
        found = path.stat()
        owner = (pwd.getpwnam("daemon").pw_uid, grp.getgrnam("www-data").gr_gid)
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (*owner, 0o660)
        process.signal(15)
        assert process.wait() == 0
        assert not path.exists()


def test_uwsgi_ini_with_http(tmp_path: Path) -> None:
    text = (SITE / "uwsgi.ini").read_text()
    text = text.replace("socket = /tmp/patterns.sock\n", "http-socket = 127.0.0.1:0\n")
    path = tmp_path / "uwsgi.ini"
    path.write_text(text + f"chdir = {SITE}\nthreads = 3\nenv = DATABASE_URL=some://where\n")
    with command("-c", str(path), bind="", cwd=tmp_path) as site:
        site.process.wait_for("2 processes, 3 threads each")
        assert json.loads(site.ask("/settings").body)["DATABASE_URL"] == "some://where"


def test_script_of_mod_wsgi(tmp_path: Path) -> None:
    """``WSGIScriptAlias / /path/app.wsgi`` with ``python-path=``."""
    script = str(SITE / "app.wsgi")
    with command("--pythonpath", str(SITE), script, cwd=tmp_path) as site:
        assert site.ask().text == "<h1>Home</h1>"
    with command("--pythonpath", str(SITE), "--mount", f"/={script}", cwd=tmp_path) as site:
        assert site.ask().text == "<h1>Home</h1>"


def test_scripts_of_mod_wsgi_in_two_directories_are_two_applications(tmp_path: Path) -> None:
    """Two lines ``WSGIScriptAlias``, whose scripts have one name, in one process."""
    mounts = []
    for name in ("shop", "blog"):
        (tmp_path / name).mkdir()
        script = tmp_path / name / "app.wsgi"
        script.write_text(
            f"import sys\nsys.path.insert(0, '{tmp_path / name}')\n"
            f"from {name}_code import application\n"
        )
        (tmp_path / name / f"{name}_code.py").write_text(
            "def application(environ, start_response):\n"
            "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
            f"    return [b'{name} ', environ['SCRIPT_NAME'].encode()]\n"
        )
        mounts += ["--mount", f"/{name}={script}"]
    with command(*mounts, cwd=tmp_path) as site:
        assert site.ask("/shop/x").text == "shop /shop"
        assert site.ask("/blog/x").text == "blog /blog"
        assert site.ask("/").status == 404


# --- Testing


def patterns() -> Any:
    """The application, imported from its file."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("patterns_app", SITE / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.application


def test_client_in_process() -> None:
    from wsgi_async.testing import TestClient

    client = TestClient(patterns())
    home = client.get("/")
    assert home["status"] == "200 OK"
    assert home["body"] == b"<h1>Home</h1>"
    assert home["text"] == "<h1>Home</h1>"
    assert home["headers"]["Content-Type"] == "text/html"
    sent = client.post("/echo", json={"message": "test"})
    assert "application/json" in sent.headers["Content-Type"]
    assert sent.json()["form"] == {"message": "test"}
    assert client.post("/echo", {"a": "b"}).json()["form"] == {"a": ["b"]}


def test_live_server() -> None:
    import urllib.request

    from wsgi_async.testing import live_server

    with live_server(patterns()) as server, urllib.request.urlopen(server.url) as response:
        assert response.read() == b"<h1>Home</h1>"


# --- Deployment


def test_factory_with_settings_of_the_environment(tmp_path: Path) -> None:
    env_file = tmp_path / "settings.env"
    env_file.write_text("DEBUG=true\nDATABASE_URL=some://where\n")
    env = {"HOST": "192.0.2.1", "WORKERS": "7", "LOG_LEVEL": "nonsense"}
    options = ("--factory", "--env-file", str(env_file))
    with command("app:create_app", *options, cwd=SITE, env=env) as site:
        found = json.loads(site.ask("/settings").body)
        assert found == {**env, "DEBUG": "true", "DATABASE_URL": "some://where"}
        site.process.wait_for(r"/settings 200 OK in")  # middleware that passes exc_info=None
        assert "processes" not in site.process.output


def test_port_of_the_environment() -> None:
    with ReservedPort() as reserved:
        env = {"PORT": str(reserved.number)}
        with command("app:create_app()", bind="--threads=2", cwd=SITE, env=env) as site:
            assert site.port == reserved.number
            assert site.ask("/pool_size").text == "2"


@pytest.mark.parametrize(
    ("env", "status"), [({}, 200), ({"BROKEN_DATABASE": "1"}, 503)], ids=["well", "ill"]
)
def test_health_of_the_application_and_of_the_server(env: dict[str, str], status: int) -> None:
    with command("app", "--health-path", "/alive", cwd=SITE, env=env) as site:
        reply = site.ask("/health")
        assert reply.status == status
        assert json.loads(reply.body)["checks"] == {"database": status == 200}
        assert (site.ask("/alive").status, site.ask("/alive").body[:2]) == (200, b"ok")


def test_our_own_middleware_in_the_place_of_the_guides() -> None:
    from wsgi_async.middleware import (
        CORS,
        AccessLog,
        BasicAuth,
        Errors,
        HealthChecks,
        HTTPException,
        HTTPExceptions,
    )

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/forbidden":
            raise HTTPException(403)
        if environ["PATH_INFO"] == "/error":
            raise LookupError("do not show")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["REMOTE_USER"].encode()]

    wrapped = HTTPExceptions(application)
    guarded = BasicAuth(wrapped, {"admin": "secret"}, realm="Here")
    checked = HealthChecks(Errors(guarded), {"database": lambda: False})
    whole = AccessLog(CORS(checked, origins=["https://example.org"]))
    secret = base64.b64encode(b"admin:secret").decode()
    fields = (f"Authorization: Basic {secret}", "Origin: https://example.org")
    with serving(whole) as served, served.client() as client:
        assert client.get("/").status == 401
        client.send(request("/", fields=fields))
        response = client.response()
        assert (response.status, response.body) == (200, b"admin")
        assert response.fields["access-control-allow-origin"] == "https://example.org"
        client.send(request("/forbidden", fields=fields))
        assert client.response().status == 403
        client.send(request("/error", fields=fields))
        response = client.response()
        assert (response.status, b"do not show" in response.body) == (500, False)
        response = client.get("/health")
        assert (response.status, "application/json" in response.fields["content-type"]) == (
            503,
            True,
        )
        client.send(
            request("/", "OPTIONS", fields=(fields[1], "Access-Control-Request-Method: GET"))
        )
        assert client.response("OPTIONS").status == 204
