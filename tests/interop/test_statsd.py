"""What statsd is told of the same requests: by gunicorn, by gunicorn with our worker, and here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from rawclient import RawClient, request
from statsds import StatsdReceiver
from tools import Process, python, require_module, running

pytest.importorskip("gunicorn")

SITE = """
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/fail":
        raise ValueError("as it is meant to")
    start_response("404 Not Found" if path == "/missing" else "200 OK", [("Content-Length", "0")])
    return []
"""

FILE = """
bind = "127.0.0.1:0"
workers = 1
threads = 2
statsd_prefix = "shop"
dogstatsd_tags = "env:test,service:shop"
def post_worker_init(worker):
    worker.log.debug("", extra={"metric": "shop.ready", "value": 1, "mtype": "counter"})
    worker.log.info("", extra={"metric": "shop.size", "value": 2.5, "mtype": "histogram"})
"""

PATHS = ("/", "/", "/missing", "/fail", "/")

COMMANDS = {
    "gunicorn": ("-m", "gunicorn", "--no-control-socket", "-k", "gthread"),
    "worker": ("-m", "gunicorn", "--no-control-socket", "-k", "wsgi_async.gunicorn.Worker"),
    "here": ("-m", "wsgi_async"),
}


@contextmanager
def server(directory: Path, which: str, statsd: str, *more: str) -> Iterator[tuple[Process, int]]:
    (directory / "gunicorn_site.py").write_text(SITE)
    (directory / "gunicorn.conf.py").write_text(f"{FILE}statsd_host = {statsd!r}\n")
    command = python(*COMMANDS[which], "-c", "gunicorn.conf.py", *more, "gunicorn_site")
    with running(*command, cwd=directory, env={"GUNICORN_CMD_ARGS": ""}) as process:
        address = process.wait_for(r"Listening (?:at:|on) http://127\.0\.0\.1:([0-9]+)")
        yield process, int(address[1])


def tell(port: int, receiver: StatsdReceiver) -> None:
    for path in PATHS:
        receiver.read_what_is_there()  # gunicorn, and so its client, would wait for that
        with RawClient(("127.0.0.1", port)) as client:
            client.send(request(path, fields=("Connection: close",)))
            client.response()
    with RawClient(("127.0.0.1", port)) as client:  # refused
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nA b: c\r\n\r\n")
        assert client.response().status == 400


class Heard(NamedTuple):
    """What one server has told of the same requests."""

    names: set[tuple[str, str]]
    """Names and types."""
    counters: dict[str, int]
    """What each comes to."""


def hear(directory: Path, which: str, kind: str) -> Heard:
    directory.mkdir()
    with StatsdReceiver(directory / "sock" if kind == "unix" else "127.0.0.1") as receiver:
        statsd = receiver.option.replace("unix:", "unix://")
        with server(directory, which, statsd) as (process, port):
            tell(port, receiver)
            receiver.read_until(lambda: receiver.sums["shop.gunicorn.requests"] >= len(PATHS))
            receiver.read_until(lambda: receiver.sums["shop.gunicorn.log.exception"])
            receiver.read_until(lambda: "shop.gunicorn.workers" in receiver.gauges)
            process.signal(15)
            assert process.wait() == 0
        receiver.read_what_is_there()
        lines, sums = receiver.lines, receiver.sums
    assert {line.tags for line in lines} == {"env:test,service:shop"}
    assert [line.value for line in lines if line.kind == "h"] == [2.5]
    assert sums["shop.gunicorn.request.duration"] >= len(PATHS)
    lines = [line for line in lines if not line.name.startswith("shop.wsgi_async")]
    # gunicorn logs a request that it refuses as a warning, which would be any client's to cause,
    # and counts it where its head could be read to some part.
    refused = sums["shop.gunicorn.request.status.400"]
    assert refused == 1 or which == "gunicorn"
    sums["shop.gunicorn.requests"] -= refused
    left_out = ("shop.gunicorn.request.status.400", "shop.gunicorn.log.warning")
    lines = [line for line in lines if line.name not in left_out]
    return Heard(
        {(line.name, line.kind) for line in lines},
        {line.name: sums[line.name] for line in lines if line.kind == "c"},
    )


@pytest.mark.parametrize("kind", ["udp", "unix"])
def test_names_and_types_are_the_same(tmp_path: Path, kind: str) -> None:
    require_module("gunicorn")
    theirs, worker, here = (hear(tmp_path / which, which, kind) for which in COMMANDS)
    assert theirs == worker == here
    assert here.counters == {
        "shop.gunicorn.requests": 5,
        "shop.gunicorn.request.status.200": 3,
        "shop.gunicorn.request.status.404": 1,
        "shop.gunicorn.request.status.500": 1,
        "shop.gunicorn.log.exception": 1,
        "shop.shop.ready": 1,
    }


def test_under_gunicorn_a_logger_of_ones_own_is_left_alone(tmp_path: Path) -> None:
    """What it makes of a request is its own to know, and ours does not count it as well."""
    (tmp_path / "own_log.py").write_text(
        "from gunicorn.instrument.statsd import Statsd\n"
        "class Own(Statsd):\n"
        "    def access(self, resp, req, environ, request_time):\n"
        "        self.increment('own.' + str(resp.status), 1)\n"
    )
    with StatsdReceiver() as receiver:
        options = ("--logger-class", "own_log.Own")
        with server(tmp_path, "worker", receiver.option, *options) as (_, port):
            tell(port, receiver)
            receiver.read_until(lambda: receiver.sums["shop.own.200"] == 3)
            receiver.read_until(lambda: receiver.sums["shop.own.404"] == 1)
    names = {line.name for line in receiver.lines}
    assert not any(re.search(r"gunicorn\.request|wsgi_async", name) for name in names)


def test_under_gunicorn_the_access_log_is_as_before(tmp_path: Path) -> None:
    with StatsdReceiver() as receiver:
        options = ("--access-logfile", "-", "--access-logformat", "%(m)s|%(U)s|%(s)s")
        with server(tmp_path, "worker", receiver.option, *options) as (process, port):
            tell(port, receiver)
            process.wait_for(r"^GET\|/missing\|404$")
            receiver.read_until(lambda: receiver.sums["shop.gunicorn.requests"] >= len(PATHS))
        assert process.output.count("GET|/|200") == 3
