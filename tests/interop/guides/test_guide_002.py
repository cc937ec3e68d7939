"""The primer: an object as application, forms, late statuses, middleware, many ways to serve."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import front_ends
import pytest
from guide_programs import APPS, command, program
from rawclient import TIMEOUT, RawClient, request
from serving import serving
from tools import ROOT, ReservedPort, python, running

SITE = APPS / "primer_site"


@pytest.mark.parametrize(
    ("spec", "greeting"),
    [
        ("my_wsgi_app:app", "Hello 8"),
        ("my_wsgi_app:core", "Hello 8"),
        ("my_wsgi_app:Core()", "Hello 8"),
        ("my_wsgi_app:make(greeting='Good day')", "Good day 8"),
        ("my_wsgi_app.app", "Hello 8"),  # App Engine's `script: my_wsgi_app.app`
    ],
)
def test_ways_to_name_an_application(spec: str, greeting: str) -> None:
    with command(spec, cwd=SITE) as site:
        assert site.ask().text == greeting


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="cgi has left the standard library")
@pytest.mark.parametrize("buffering", ["full", "stream"])
def test_field_storage(buffering: str) -> None:
    multipart = (
        b'--xx\r\nContent-Disposition: form-data; name="a"\r\n\r\none\r\n'
        b'--xx\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
        b"l1\nl2\r\n\r\n--xx--\r\n"
    )
    with command("my_wsgi_app:app", "--request-buffering", buffering, cwd=SITE) as site:
        url = "application/x-www-form-urlencoded"
        reply = site.ask("/form?a=query", "POST", b"a=1&b=&a=2", Content_Type=url)
        assert reply.text == "[('a', ['1', '2']), ('b', [''])]"
        kind = "multipart/form-data; boundary=xx"
        reply = site.ask("/form", "POST", multipart, Content_Type=kind)
        assert reply.text == "[('a', ['one']), ('f', [b'l1\\nl2\\r\\n'])]"


@pytest.mark.parametrize("buffering", ["full", "stream"])
def test_input_reads_and_lines_are_exact(buffering: str) -> None:
    def read(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"]
        found = [body.read(2), body.readline(2), body.readline(100), body.readline(), *body]
        found += [body.read(5), body.readline(), body.read()]
        start_response("200 OK", [])
        return [repr(found).encode()]

    with serving(read, request_buffering=buffering) as served, served.client() as client:
        client.send(request(method="POST", body=b"abcdef\nsecond\nthird\nfourth"))
        expected = [b"ab", b"cd", b"ef\n", b"second\n", b"third\n", b"fourth", b"", b"", b""]
        assert client.response().body == repr(expected).encode()


def test_status_may_change_until_the_first_byte() -> None:
    with command("my_wsgi_app:app", cwd=SITE) as site:
        reply = site.ask("/late")
        assert (reply.status, reply.headers.get_all("X-State")) == (404, ["gone"])
        assert reply.text == "not there"


def test_head_is_not_sent_before_the_first_byte() -> None:
    go_on = threading.Event()

    def late(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b""
        assert go_on.wait(TIMEOUT)
        try:
            raise LookupError
        except LookupError:
            start_response("400 Bad Request", [], sys.exc_info())
        yield b"no"

    with serving(late) as served, served.client() as client:
        client.send(request())
        client.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.socket.recv(1)
        client.socket.settimeout(TIMEOUT)
        go_on.set()
        assert client.response().status == 400


def test_middleware_may_change_a_500_into_a_503() -> None:
    with command("my_wsgi_app:app", cwd=SITE) as site:
        reply = site.ask("/fail")
        assert (reply.status, reply.text) == (503, "<p>Come back later</p>")
        assert (reply.headers["X-Contact"], reply.headers["X-Named"]) == ("webmaster", "yes")


def test_middleware_of_the_command_line() -> None:
    options = ("--middleware", "my_wsgi_app:Named", "--middleware", "my_wsgi_app:Unavailable")
    with command("my_wsgi_app:core", *options, cwd=SITE) as site:
        reply = site.ask("/fail")
        assert (reply.status, reply.headers["X-Named"]) == (503, "yes")


@pytest.mark.parametrize("name", ["with_wsgiref.py", "with_gevent.py"])
def test_programs_with_a_server(name: str, tmp_path: Path) -> None:
    with program(SITE / name, port=5000, directory=tmp_path) as site:
        for host in ("127.0.0.1", "::1"):
            assert site.ask(host=host).text == "Hello 8"
        assert site.ask("/fail").status == 503
        site.process.signal(signal.SIGINT)
        assert site.process.wait() != 0
        site.process.wait_for("^KeyboardInterrupt")


def test_gunicorns_line_with_gevent() -> None:
    options = ("-k", "gevent", "-w", "2", "-b", "127.0.0.1:0")
    with command(*options, "my_wsgi_app:app", bind="", cwd=SITE) as site:
        assert site.ask().text == "Hello 8"
        site.process.wait_for("2 processes")
        notices = re.findall(r".*gevent.*", site.process.output)
        assert len(notices) == 1, site.process.output


PLAIN = """
server {
    listen 80;
    server_name _;
    location / {
        proxy_redirect off;
        proxy_set_header Host $host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_pass http://127.0.0.1:8000;
    }
}
"""
"""As the guide has it: HTTP/1.0 to the server, and a new connection for each request."""


def test_nginx_in_front(tmp_path: Path) -> None:
    with front_ends.listener() as inherited, command("my_wsgi_app:app", cwd=SITE) as site:
        port = inherited.getsockname()[1]
        assert "listen 80;" in PLAIN
        assert "proxy_pass http://127.0.0.1:8000;" in PLAIN
        text = PLAIN.replace("listen 80;", f"listen 127.0.0.1:{port};")
        text = text.replace("127.0.0.1:8000", f"127.0.0.1:{site.port}")
        with (
            front_ends.nginx(tmp_path, text, [inherited]),
            RawClient(("127.0.0.1", port)) as client,
        ):
            fields = "Host: some.host\r\nX-Forwarded-For: 10.1.2.3"
            client.send(f"GET /headers HTTP/1.1\r\n{fields}\r\n\r\n".encode())
            reply = client.response().body.decode()
        assert "HTTP_X_FORWARDED_FOR: 10.1.2.3, 127.0.0.1\n" in reply
        assert "HTTP_X_REAL_IP: 127.0.0.1\n" in reply
        assert "HTTP_HOST: some.host\n" in reply


def test_stream_by_http_1_0_ends_with_the_connection() -> None:
    def stream(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"one "
        yield b"two"

    with serving(stream) as served, served.client() as client:
        client.send(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = client.read_to_end()
        assert answer.endswith(b"\r\n\r\none two")
        assert b"chunked" not in answer


def test_static_files_without_a_proxy() -> None:
    with command("my_wsgi_app:app", "--static", "/static=./static", cwd=SITE) as site:
        reply = site.ask("/static/site.css")
        assert reply.text == (SITE / "static" / "site.css").read_text()
        assert reply.headers["Content-Type"].startswith("text/css")
        tag = reply.headers["ETag"]
        assert site.ask("/static/site.css", If_None_Match=tag).status == 304
        assert site.ask("/static/site.css", Range="bytes=0-3").status == 206
        for path in ("/static/../my_wsgi_app.py", "/static/%2e%2e/my_wsgi_app.py"):
            assert b"class Core" not in site.ask(path).body
        assert site.ask("/").text == "Hello 8"


def test_wrong_static_is_one_clear_line() -> None:
    static = ("--static", "/static=./nowhere")
    line = python("-m", "wsgi_async", "my_wsgi_app:app", "--bind=127.0.0.1:0", *static)
    with running(*line, cwd=SITE) as process:
        assert process.wait() == 1
        assert "nowhere" in process.output
        assert len(process.output.splitlines()) == 1


def test_procfile_of_heroku() -> None:
    """``web: wsgi-async my_wsgi_app:app``, with what the platform sets, until its SIGTERM."""
    with ReservedPort() as reserved:
        env = {"PORT": str(reserved.number), "WEB_CONCURRENCY": "2"}
        with command("my_wsgi_app:app", bind="--threads=3", cwd=SITE, env=env) as site:
            assert site.port == reserved.number
            site.process.wait_for("2 processes, 3 threads each")
            for host in ("127.0.0.1", "::1"):
                assert site.ask(host=host).text == "Hello 3"


def test_one_thread_for_who_is_not_safe_with_more() -> None:
    with command("my_wsgi_app.app", "--threads", "1", cwd=SITE) as site:
        assert site.ask().text == "Hello 1"


def test_requirements_are_pure_python() -> None:
    """``requirements.txt`` needs no compiler: the package itself is Python alone."""
    assert not [path for path in (ROOT / "wsgi_async").rglob("*") if path.suffix in (".c", ".so")]
    done = subprocess.run(
        python("-c", "import wsgi_async, sys; sys.exit(not wsgi_async.__version__)"),
        env={"PYTHONPATH": str(ROOT)},
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0
