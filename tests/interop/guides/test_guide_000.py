"""The definitive guide: Tornado's container, a class as application, environ, gunicorn, mounts."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from guide_programs import APPS, Site, command, program
from rawclient import TIMEOUT, RawClient, request
from serving import serving
from tools import python, require_program, running

SITE = APPS / "tornado_site"

KEYS = {
    *("HTTP_ACCEPT", "HTTP_HOST", "HTTP_USER_AGENT", "PATH_INFO", "QUERY_STRING", "REMOTE_ADDR"),
    *("REQUEST_METHOD", "SCRIPT_NAME", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL"),
    *("wsgi.errors", "wsgi.input", "wsgi.multiprocess", "wsgi.multithread", "wsgi.run_once"),
    *("wsgi.url_scheme", "wsgi.version"),
}
"""The listing of the guide."""


def shown(text: str) -> dict[str, str]:
    """The environ that Environment.py has written."""
    return dict(re.findall(r"^([\w.]+): ?(.*)$", text, re.MULTILINE))


def curl(site: Site, *args: str, host: str = "localhost") -> str:
    path = args[-1]
    done = subprocess.run(
        [
            require_program("curl"),
            "-sS",
            "-m",
            "10",
            *args[:-1],
            f"http://{host}:{site.port}{path}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_program_serves_both_families_and_ends_without_a_complaint(tmp_path: Path) -> None:
    with program(SITE / "simple.py", port=8080, directory=tmp_path) as site:
        assert site.ask().text == "Good morning\n"
        assert site.ask(host="::1").text == "Good morning\n"
        assert curl(site, "/") == "Good morning\n"
        head = curl(site, "-I", "/")
        assert head.startswith("HTTP/1.1 200 OK\n")
        assert "Good" not in head
        site.process.signal(signal.SIGINT)
        assert site.process.wait() == 0
        assert site.process.output == "Listening\n"


def test_package_with_an_option_of_its_own(tmp_path: Path) -> None:
    path = SITE / "server" / "__main__.py"
    with program(path, module="server", args=("--port={port}",), directory=tmp_path) as site:
        assert f"Listening on port {site.port}\n" in site.process.output
        environ = shown(curl(site, "-g", "/example?user=Joe", host="[::1]"))
        assert environ["REMOTE_ADDR"] == "::1"
        assert environ["SERVER_PORT"] == str(site.port)
        site.process.signal(signal.SIGINT)
        assert site.process.wait() == 0
        assert "Traceback" not in site.process.output


def test_options_of_the_package(tmp_path: Path) -> None:
    path = SITE / "server" / "__main__.py"
    with program(
        path, module="server", args=("--help",), directory=tmp_path, printed="--port"
    ) as site:
        assert site.process.wait() == 0
        assert "where to listen (default 8080)" in site.process.output


def test_two_line_main() -> None:
    line = python("two_lines.py", "--port", "0", "--threads", "2")
    with running(*line, cwd=SITE) as process:
        site = Site(int(process.url.rpartition(":")[2]), process)
        assert site.ask().text == "Good morning\n"
        process.signal(signal.SIGINT)
        assert process.wait() == 0
        assert "Traceback" not in process.output


def test_class_that_starts_its_response_late() -> None:
    """By ``python -m wsgi_async``, with --port."""
    with command("server.Application:Application", "--port=0", bind="", cwd=SITE) as site:
        reply = site.ask()
        assert (reply.status, reply.text) == (200, "Good morning\n")
        assert (reply.headers["X-Lazy"], reply.headers["Content-Type"]) == ("yes", "text/plain")
        answer = curl(site, "-i", "/")
        assert answer.startswith("HTTP/1.1 200 OK")
        assert "Transfer-Encoding: chunked" in answer
        with RawClient(("127.0.0.1", site.port)) as client:
            client.send(request(method="HEAD") + request())
            head = client.response("HEAD")
            assert (head.status, head.fields["x-lazy"], head.body) == (200, "yes", b"")
            assert client.response().body == b"Good morning\n"  # the connection was kept


def test_first_chunk_does_not_wait_for_the_next() -> None:
    go_on = threading.Event()

    class Slow:
        def __init__(self, environ: dict[str, Any], start_response: Any) -> None:
            self.start = start_response

        def __iter__(self) -> Any:
            self.start("200 OK", [])
            yield b"one"
            assert go_on.wait(TIMEOUT)
            yield b"two"
            yield b"three"

    with serving(Slow) as served, served.client() as client:
        client.send(request())
        client.read_until(b"\r\n\r\n")
        assert client.receive(8) == b"3\r\none\r\n"
        go_on.set()
        rest = client.read_until(b"0\r\n\r\n")
        # What is ready at the same time may share a chunk.
        assert b"".join(re.findall(rb"[a-z]+", rest)) == b"twothree"


def test_environ_of_a_get_and_of_a_post() -> None:
    secret = {"SECRET_OF_THE_SERVER": "do not tell", "BROKEN": "\udcff"}
    with command("server.Environment:Environment", cwd=SITE, env=secret) as site:
        text = curl(site, "/example?user=Joe", host="127.0.0.1")
        environ = shown(text)
        assert environ.keys() >= KEYS
        assert not environ.keys() & {"CONTENT_LENGTH", "CONTENT_TYPE"}
        assert "do not tell" not in text
        assert environ["PATH_INFO"] == "/example"
        assert environ["QUERY_STRING"] == "user=Joe"
        assert environ["SCRIPT_NAME"] == ""
        assert environ["HTTP_HOST"] == f"127.0.0.1:{site.port}"
        assert environ["HTTP_USER_AGENT"].startswith("curl/")
        assert environ["wsgi.version"] == "(1, 0)"
        assert all(len(environ[key]) < 100 for key in ("wsgi.input", "wsgi.errors"))

        form = "email=ada@example.com&password=difference123"
        text = curl(site, "-X", "POST", "-d", form, "/login", host="127.0.0.1")
        environ = shown(text)
        assert len(form) == 44
        assert environ["CONTENT_LENGTH"] == "44"
        assert environ["CONTENT_TYPE"] == "application/x-www-form-urlencoded"
        assert environ["wsgi.input"].startswith("<_io.BytesIO object")
        assert text.endswith(f"\n{form}\n")


def test_gunicorns_line() -> None:
    """``gunicorn -b :8080 server.Application:Application``, and a module without a colon."""
    with command("-b", ":0", "server.Application:Application", bind="", cwd=SITE) as site:
        for host in ("127.0.0.1", "::1"):
            assert site.ask(host=host).text == "Good morning\n"
    with command("server.Application", cwd=SITE) as site:
        assert site.ask().text == "Good morning\n"


@pytest.mark.parametrize("bind", ["*:{}", ":{}"])
def test_bare_port_is_both_families(bind: str) -> None:
    with command("server.Application", bind=f"--bind={bind.format(0)}", cwd=SITE) as site:
        assert curl(site, "-4", "/") == curl(site, "-6", "/") == "Good morning\n"


def test_server_default_is_both_loopback_addresses() -> None:
    with serving(lambda e, s: (s("200 OK", []), [b"x"])[1], host="", port=0) as served:
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with RawClient((host, served.server.port or 0)) as client:
                assert client.socket.family == family
                assert client.get().body == b"x"


def test_mounts_of_the_command_line() -> None:
    mounts = (
        "--mount",
        "/env=server.Environment:Environment",
        "--mount",
        "GET /hello=server.Application:Application",
    )
    with command(*mounts, cwd=SITE) as site:
        environ = shown(site.ask("/env/a%20b?c=d", Accept="*/*", User_Agent="somebody").text)
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/env", "/a b")
        assert environ["QUERY_STRING"] == "c=d"
        assert environ["HTTP_USER_AGENT"] == "somebody"
        hello = site.ask("/hello")
        assert (hello.headers["X-Lazy"], hello.text) == ("yes", "Good morning\n")
        assert site.ask("/hello", "HEAD").status == 200
        refused = site.ask("/hello", "POST", b"")
        assert refused.status == 405
        assert "GET" in refused.headers["Allow"]
        assert site.ask("/none").status == 404
        assert site.ask("/environment").status == 404


def test_mounts_of_a_program() -> None:
    from wsgi_async.applications.mounts import Mounts

    def say(text: str) -> Any:
        def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            start_response("200 OK", [])
            return [f"{text} {environ['SCRIPT_NAME']}|{environ['PATH_INFO']}".encode()]

        return application

    urls = Mounts({"GET /": say("root"), "/env": say("env")})
    with serving(urls) as served, served.client() as client:
        assert client.get("/").body == b"root |/"
        assert client.get("/env/x").body == b"env /env|/x"
        client.send(request("/", "DELETE"))
        response = client.response()
        assert (response.status, "GET" in response.fields["allow"]) == (405, True)


def test_wrong_mount_is_one_clear_line() -> None:
    with running(*python("-m", "wsgi_async", "--mount", "nonsense"), cwd=SITE) as process:
        assert process.wait() == 1
        assert len(process.output.splitlines()) == 1
