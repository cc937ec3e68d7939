"""What an application logs, to ``wsgi.errors`` and to standard error."""

from __future__ import annotations

import logging
import os
import re
import signal
import time

import pytest
from processes import Site
from rawclient import TIMEOUT, RawClient
from tools import require_module

from wsgi_async.testing import live_server

LOGGING_APP = """
import json, logging, sys, threading
{before}
log = logging.getLogger("shop")

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    log.warning("first\\n[2026-01-01 00:00] [1] [INFO] forged \\x1b[2J\\x1b[31mred\\x1b[0m")
    log.warning(json.dumps({{"message": "for a program"}}))
    environ["wsgi.errors"].write("plain\\x1b[2J\\n")
    thread = threading.Thread(target=log.warning, args=("of no request",))
    thread.start()
    thread.join()
    return [b"x"]
"""

OWN = {
    "unconfigured": "",
    "basicConfig": "logging.basicConfig(format='%(message)s')",
    "a logger's": "logging.getLogger('shop').addHandler(logging.StreamHandler())",
}


@pytest.mark.parametrize("before", OWN.values(), ids=OWN)
@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_what_is_logged_to_standard_error(
    before: str, preload: tuple[str, ...], site: Site
) -> None:
    site.write_source(LOGGING_APP.format(before=before))
    with site.serve("--log-level", "critical", "-b", "unix:socket", *preload, bind="") as servers:
        _get(site)
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        lines = servers.lines
    _assert_lines(lines)


LATE = {
    "in a view": "",
    "by hand": "logging.Logger.addHandler = lambda self, handler: self.handlers.append(handler)",
}


@pytest.mark.parametrize("before", LATE.values(), ids=LATE)
@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_a_handler_that_comes_after_the_load(
    before: str, preload: tuple[str, ...], site: Site
) -> None:
    source = LOGGING_APP.format(before=before)
    first = '    start_response("200'
    late = "    log.addHandler(logging.StreamHandler())\n    log.propagate = False\n"
    site.write_source(source.replace(first, late + first))
    with site.serve("--log-level", "critical", "-b", "unix:socket", *preload, bind="") as servers:
        _get(site)
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        _assert_lines(servers.lines)


def test_a_handler_behind_a_queue_and_one_of_a_hook(site: Site) -> None:
    site.write_source(
        "import logging, logging.handlers, queue\nlog = logging.getLogger('shop')\n"
        "waiting = queue.SimpleQueue()\nlog.addHandler(logging.handlers.QueueHandler(waiting))\n"
        "def application(environ, start_response):\n"
        "    listener = logging.handlers.QueueListener(waiting, logging.StreamHandler())\n"
        "    listener.start()\n    log.warning('queued\\x1b[2J')\n    listener.stop()\n"
        "    logging.getLogger('hook').warning('hooked\\x1b[2J')\n"
        "    start_response('200 OK', [])\n    return [b'x']\n"
    )
    (site.directory / "gunicorn.conf.py").write_text(
        "import logging\ndef post_worker_init(worker):\n"
        "    log = logging.getLogger('hook')\n    log.addHandler(logging.StreamHandler())\n"
    )
    with site.serve("-c", "gunicorn.conf.py") as servers:
        with servers.client() as client:
            assert client.get().body == b"x"
        servers.wait_for(r"^queued\\x1b\[2J$")
        servers.wait_for(r"^\[[0-9a-f]+-1\] hooked\\x1b\[2J$")


def _assert_lines(lines: list[str]) -> None:
    [name] = set(re.findall(r"^\[([0-9a-f]{8}-1)\] ", "\n".join(lines), re.MULTILINE))
    assert sorted(lines) == sorted(
        [
            f"[{name}] first",
            f"[{name}] [2026-01-01 00:00] [1] [INFO] forged \\x1b[2J\x1b[31mred\x1b[0m",
            '{"message": "for a program"}',
            f"[{name}] plain\\x1b[2J",
            "of no request",
        ]
    )


def _get(site: Site) -> None:
    path = str(site.directory / "socket")
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            client = RawClient(path)
            break
        except (FileNotFoundError, ConnectionRefusedError):
            assert time.monotonic() < deadline
    with client:
        assert client.get().body == b"x"


def test_what_is_printed_stays_as_it_is(site: Site) -> None:
    site.write_source(
        "import sys\nfrom process_app import make_application\n"
        "print('\\x1b[2Ja', file=sys.stderr, flush=True)\napplication = make_application('v')\n"
        "assert sys.stderr is sys.__stderr__\n"
    )
    with site.serve() as servers:
        servers.get("/?x")
        servers.wait_for("^\x1b\\[2Ja$")


def test_a_log_to_standard_error_that_nobody_reads_stops_no_thread(site: Site) -> None:
    site.write_source(
        "import logging\ndef application(environ, start_response):\n"
        "    start_response('200 OK', [])\n    logging.warning('x' * 10000)\n    return [b'x']\n"
    )
    os.mkfifo(site.directory / "pipe")
    reading = os.open(site.directory / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    # The server's standard error is the pipe; what it is told goes to another log.
    program = (
        "import os\nos.dup2(os.open('pipe', os.O_WRONLY), 2)\n"
        "from wsgi_async.cli import main\nmain(prog_name='wsgi-async')"
    )
    log = ("--error-logfile", "log", "-b", "unix:socket", "--threads", "2")
    try:
        with site.serve(*log, bind="", program=program) as servers:
            for _ in range(30):
                _get(site)
            servers.signal(signal.SIGTERM)
            assert servers.wait() == 0
    finally:
        os.close(reading)


def test_a_warning_of_flask_has_one_level_and_one_time(site: Site) -> None:
    require_module("flask")
    site.write_source(
        "import flask\napplication = flask.Flask(__name__)\n"
        "@application.route('/')\ndef index():\n"
        "    application.logger.warning('one\\ntwo')\n    return 'x'\n"
    )
    with site.serve() as servers:
        servers.get("/")
        first = servers.wait_for(r"^\[([0-9a-f]+-1)\] \[\S+ \S+\] WARNING in site_app: one$")
        servers.wait_for(rf"^\[{first[1]}\] two$")
        assert "ERROR" not in "\n".join(servers.lines)


def test_what_flask_logs_outside_a_request(site: Site) -> None:
    """Its handler writes to what is standard error there, by a proxy."""
    require_module("flask")
    site.write_source(
        "import threading, flask\napplication = flask.Flask(__name__)\n"
        "def work():\n    application.logger.warning('a\\x1b[2J\\nb')\n"
        "@application.route('/')\ndef index():\n"
        "    thread = threading.Thread(target=work)\n    thread.start()\n    thread.join()\n"
        "    application.logger.warning('in it')\n    return 'x'\n"
    )
    with site.serve() as servers:
        servers.get("/")
        servers.wait_for(r"^\[\S+ \S+\] WARNING in site_app: a\\x1b\[2J$")
        servers.wait_for(r"^\[[0-9a-f]+-1\] \[\S+ \S+\] WARNING in site_app: in it$")
        assert servers.count("WARNING in site_app") == 2


def test_a_live_server_keeps_it(caplog: pytest.LogCaptureFixture) -> None:
    def application(environ: dict[str, object], start_response: object) -> list[bytes]:
        environ["wsgi.errors"].write("noted\n")  # type: ignore[attr-defined]
        start_response("200 OK", [])  # type: ignore[operator]
        return [b"x"]

    caplog.set_level(logging.CRITICAL, "wsgi_async")
    with live_server(application) as live:  # type: ignore[arg-type]
        host, port = live.url.removeprefix("http://").split(":")
        with RawClient((host, int(port))) as client:
            assert client.get().status == 200
        live.wait_for_requests(1)
        [record] = [record for record in live.logs if record.name == "wsgi_async.application"]
    assert record.getMessage().endswith("] noted")
    assert not [record for record in caplog.records if record.name == "wsgi_async.application"]
