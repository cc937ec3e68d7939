"""gunicorn, with a worker of ours."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from guide_programs import behind_nginx
from processes import Life
from proxy_headers import LINE
from rawclient import RawClient, request
from tools import Process, python, require_module, running

pytest.importorskip("gunicorn")

SITE = """
import os, threading, time

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/block":
        os.write(1, b"blocking\\n")
        time.sleep(60)
    if path == "/wait":
        os.write(1, b"waiting\\n")
        with open(environ["QUERY_STRING"]) as fifo:
            fifo.read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {environ['wsgi.multithread']} {path}".encode()]
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    require_module("gunicorn")
    (tmp_path / "gunicorn_site.py").write_text(SITE)
    return tmp_path


@contextmanager
def gunicorn(
    directory: Path, *args: str, bind: str = "127.0.0.1:0", env: Mapping[str, str] | None = None
) -> Iterator[Process]:
    command = python(
        *("-m", "gunicorn", "-k", "wsgi_async.gunicorn.Worker", "-b", bind),
        *("--no-control-socket", *args, "gunicorn_site"),
    )
    variables = {"GUNICORN_CMD_ARGS": "", **(env or {})}
    with running(*command, cwd=directory, env=variables) as process:
        yield process
        process.signal(signal.SIGQUIT)


def url(process: Process) -> str:
    return process.wait_for(r"Listening at: (http://127\.0\.0\.1:[0-9]+)")[1]


def get(process: Process, path: str = "/") -> str:
    with urllib.request.urlopen(url(process) + path, timeout=20) as response:
        assert response.headers["Server"] == "wsgi_async"
        return str(response.read().decode())


def test_it_serves_with_threads_and_logs_as_gunicorn_does(directory: Path) -> None:
    (directory / "gunicorn.conf.py").write_text(
        "def pre_request(worker, req): worker.log.info('before %s', req.uri)\n"
        "def post_request(worker, req, environ, resp): worker.log.info('after %s', resp.status)\n"
        "def post_fork(server, worker): server.log.info('forked %s', worker.pid)\n"
        "def worker_exit(server, worker): server.log.info('gone %s', worker.pid)\n"
    )
    args = ("--threads", "3", "--access-logfile", "-", "--access-logformat", "%(m)s|%(U)s|%(s)s")
    with gunicorn(directory, *args) as process:
        pid = get(process, "/x?a=1").split()[0]
        assert get(process, "/").split()[1] == "True"
        process.wait_for(r"^GET\|/x\|200$")
        process.wait_for(r"\[INFO\] before /x\?a=1$")
        process.wait_for(r"\[INFO\] after 200 OK$")
        process.wait_for(rf"\[INFO\] forked {pid}$")
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        process.wait_for(rf"\[INFO\] gone {pid}$")


def test_subscribers_of_a_configuration_file(directory: Path) -> None:
    (directory / "gunicorn.conf.py").write_text(
        "from wsgi_async import Observer\n"
        "class Heard(Observer):\n"
        "    wants_timings = True\n"
        "    def __init__(self, log): self.log = log\n"
        "    def request_started(self, request): self.log.info('started %s', request.target)\n"
        "    def request_finished(self, request, response):\n"
        "        self.log.info('finished %s %s', request.target, response.app >= 0)\n"
        "def post_worker_init(worker): worker.subscribe(Heard(worker.log))\n"
    )
    with gunicorn(directory, "--access-logfile", "-") as process:
        get(process, "/x")
        process.wait_for(r"\[INFO\] started /x$")
        process.wait_for(r"\[INFO\] finished /x True$")
        process.wait_for(r'"GET /x HTTP/1.1" 200')


def test_a_request_in_flight_is_finished_at_a_stop(directory: Path, fifo: Path) -> None:
    path = directory / "socket"
    with gunicorn(directory, bind=f"unix:{path}") as process:
        process.wait_for("Booting worker")
        process.wait_for("Listening at")
        with RawClient(str(path)) as client:
            client.send(f"GET /wait?{fifo} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            process.wait_for("^waiting$")
            process.signal(signal.SIGTERM)
            process.wait_for(r"\[INFO\] Stopping; requests in flight: 1$")
            os.close(os.open(fifo, os.O_WRONLY))
            assert client.response().status == 200
        assert process.wait() == 0
        assert not path.exists()


def test_workers_are_replaced_after_requests(directory: Path) -> None:
    with gunicorn(directory, "--max-requests", "2") as process:
        first = get(process).split()[0]
        get(process)
        deadline = time.monotonic() + 20
        while get(process).split()[0] == first:
            assert time.monotonic() < deadline
        process.wait_for("Autorestarting worker after [0-9]+ requests")


def test_a_reload(directory: Path) -> None:
    with gunicorn(directory) as process:
        first = get(process).split()[0]
        process.signal(signal.SIGHUP)
        process.wait_for(rf"\[{first}\] \[INFO\] Worker exiting")
        assert get(process).split()[0] != first


def test_a_reload_with_a_wrong_setting_is_one_line(directory: Path) -> None:
    """gunicorn asks for it to be checked at a start only, and ends with a worker that cannot
    start."""
    settings = directory / "settings.py"
    settings.write_text("forwarder_headers = 'SCRIPT_NAME'\n")
    with gunicorn(directory, "-c", "settings.py") as process:
        get(process)
        settings.write_text("forwarder_headers = 'X_FORWARDED_FOR'\n")
        process.signal(signal.SIGHUP)
        process.wait_for(r"\[ERROR\] --forwarder-headers: X_FORWARDED_FOR would pass for X-For")
        assert process.wait() == 3
        assert "Traceback" not in process.output


def test_gunicorns_reloader(directory: Path) -> None:
    with gunicorn(directory, "--reload", "--reload-engine", "poll") as process:
        first = get(process).split()[0]
        os.utime(directory / "gunicorn_site.py", (1, time.time() + 5))
        process.wait_for("Worker reloading: .*gunicorn_site.py modified")
        process.wait_for(rf"\[{first}\] \[INFO\] Worker exiting")
        assert get(process).split()[0] != first


def test_requests_may_take_longer_than_the_timeout(directory: Path, fifo: Path) -> None:
    with gunicorn(directory, "--timeout", "1", "--threads", "2") as process:
        host, port = url(process).removeprefix("http://").split(":")
        with RawClient((host, int(port))) as client:
            client.send(f"GET /wait?{fifo} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            process.wait_for("^waiting$")
            pid = get(process).split()[0]
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                assert get(process).split()[0] == pid
            os.close(os.open(fifo, os.O_WRONLY))
            assert client.response().status == 200


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (("--certfile", "x.pem", "--cert-reqs", "2"), r"^Error: --cert-reqs required needs --ca-"),
        (
            ("--forwarder-headers", "*"),
            r"^Error: --forwarder-headers takes names of fields such as",
        ),
        (
            ("--forwarder-headers", "X_FORWARDED_FOR"),
            r"^Error: --forwarder-headers: X_FORWARDED_FOR would pass for X-Forwarded-For, ",
        ),
    ],
)
def test_settings_that_it_cannot_follow(directory: Path, args: tuple[str, ...], line: str) -> None:
    (directory / "x.pem").touch()
    with gunicorn(directory, *args) as process:
        process.wait_for(line)
        assert process.wait() == 1


@pytest.mark.parametrize(
    ("args", "allowed"),
    [
        (("--proxy-protocol",), True),
        (("--proxy-protocol", "v1", "--proxy-allow-from", "10.0.0.0/8,127.0.0.1"), True),
        (("--proxy-protocol", "v1", "--proxy-allow-from", "10.0.0.0/8"), False),
    ],
)
def test_the_proxy_protocol_is_as_gunicorns_options_say(
    directory: Path, args: tuple[str, ...], allowed: bool
) -> None:
    (directory / "gunicorn_site.py").write_text(
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [environ['REMOTE_ADDR'].encode()]\n"
    )
    with gunicorn(directory, *args, "--access-logfile", "-", "--threads", "2") as process:
        host, port = url(process).removeprefix("http://").split(":")
        with RawClient((host, int(port))) as client, contextlib.suppress(ConnectionError):
            client.send(LINE + request())
            if allowed:
                assert client.response().body == b"192.168.0.1"
                process.wait_for(r"^192\.168\.0\.1 .*GET / HTTP/1\.1")
                process.wait_for("without a PROXY header is closed here, where gunicorn serves it")
            else:
                assert client.is_dropped()
        if not allowed:
            process.wait_for("--proxy-allow-from does not name its address")


def test_the_uwsgi_protocol_is_as_gunicorns_options_say(directory: Path) -> None:
    """``--protocol uwsgi``, for nginx's ``uwsgi_pass``, with a worker of ours."""
    path = directory / "gunicorn.sock"
    args = ("--protocol", "uwsgi", "--threads", "2")
    with gunicorn(directory, *args, bind=f"unix:{path}") as process:
        process.wait_for("Listening at: unix:")
        with behind_nginx(directory, "uwsgi", path, process) as site:
            reply = site.ask("/x?y=z")
            assert (reply.status, reply.text.split()[1:]) == (200, ["True", "/x"])
    assert "Traceback" not in process.output


def test_the_path_that_a_variable_says(directory: Path) -> None:
    with gunicorn(directory, "--env", "SCRIPT_NAME=/shop", "--threads", "2") as process:
        assert get(process, "/shop/x").split()[2] == "/x"


@pytest.mark.parametrize(
    ("args", "env", "expected"),
    [
        # As gunicorn's own workers do: the scheme, from this machine.
        ((), {}, "127.0.0.1 https 203.0.113.7"),
        (("--forwarded-allow-ips", "127.0.0.1"), {}, "203.0.113.7 https 203.0.113.7"),
        (("--forwarded-allow-ips", "127.0.0.0/8"), {}, "203.0.113.7 https 203.0.113.7"),
        ((), {"FORWARDED_ALLOW_IPS": "*"}, "203.0.113.7 https 203.0.113.7"),
        # Set by hand, though to what is gunicorn's default.
        ((), {"FORWARDED_ALLOW_IPS": "127.0.0.1"}, "203.0.113.7 https 203.0.113.7"),
        (("--forwarded-allow-ips", "10.0.0.1"), {}, "127.0.0.1 http -"),
    ],
)
def test_proxies_are_believed_as_gunicorns_options_say(
    directory: Path, args: tuple[str, ...], env: dict[str, str], expected: str
) -> None:
    (directory / "gunicorn_site.py").write_text(
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    names = ('REMOTE_ADDR', 'wsgi.url_scheme', 'HTTP_X_FORWARDED_FOR')\n"
        "    return [' '.join(environ.get(name, '-') for name in names).encode()]\n"
    )
    fields = ("X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https")
    with gunicorn(directory, *args, "--access-logfile", "-", env=env) as process:
        host, port = url(process).removeprefix("http://").split(":")
        with RawClient((host, int(port))) as client:
            client.send(request(fields=fields))
            assert client.response().body.decode() == expected
        address = expected.partition(" ")[0].replace(".", r"\.")
        process.wait_for(rf"^{address} .*GET / HTTP/1\.1")
        if not (args or env):
            process.wait_for(r"is not used, .*of gunicorn's options --forwarded-allow-ips 127\.0")


HOOKED = """
import os, wsgi_async

@wsgi_async.on_start
async def pool():
    os.write(1, b"enter\\n")
    yield os.getpid()
    os.write(1, b"leave\\n")

async def ask():
    return pool()

def application(environ, start_response):
    start_response("200 OK", [])
    return [f"{os.getpid()} {wsgi_async.run(ask())}".encode()]
"""


@pytest.mark.parametrize("args", [(), ("--preload",)])
def test_hooks_are_entered_and_left_in_its_workers(directory: Path, args: tuple[str, ...]) -> None:
    (directory / "gunicorn_site.py").write_text(HOOKED)
    with gunicorn(directory, *args) as process:
        process.wait_for("^enter$")
        worker, found = get(process).split()
        assert worker == found
        process.signal(signal.SIGTERM)
        process.wait_for("^leave$")
        assert process.wait() == 0


def test_a_hook_that_fails_is_told_and_not_tried_again(directory: Path) -> None:
    source = HOOKED.replace('os.write(1, b"enter\\n")', 'raise OSError("no database")')
    (directory / "gunicorn_site.py").write_text(source)
    with gunicorn(directory) as process:
        process.wait_for("The on_start hook pool failed: OSError: no database")
        assert process.wait() == 3


def test_an_application_that_cannot_be_loaded(directory: Path) -> None:
    (directory / "gunicorn_site.py").write_text("1 / 0")
    with gunicorn(directory) as process:
        assert process.wait() == 3
        assert "ZeroDivisionError" in process.output


LEAVING = (
    SITE
    + """
def leave(environ, start_response):
    if environ["PATH_INFO"] == "/start":
        import multiprocessing
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        child.start()
        child.terminate()
        child.join(8)
        start_response("200 OK", [])
        return [str(child.exitcode).encode()]
    if environ["PATH_INFO"] == "/leave":
        threading.Thread(target=threading.Event().wait, name="endless", daemon=False).start()
    return inner(environ, start_response)

inner, application = application, leave
"""
)


def test_a_process_that_the_application_forks_obeys_sigterm(directory: Path) -> None:
    (directory / "gunicorn_site.py").write_text(LEAVING)
    with gunicorn(directory) as process:
        assert get(process, "/start") == "-15"


def test_a_worker_without_an_arbiter_ends_whatever_threads_are_left(directory: Path) -> None:
    (directory / "gunicorn_site.py").write_text(LEAVING)
    with gunicorn(directory, "--graceful-timeout", "1") as process:
        worker = Life(int(get(process, "/leave").split()[0]))
        process.signal(signal.SIGKILL)
        worker.await_end()
        process.wait_for("This process ends, and these threads .*: endless")
