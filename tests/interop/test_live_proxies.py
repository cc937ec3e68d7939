"""Debian's nginx and HAProxy in front: events pass at once, and who leaves is told of."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from event_sources import event_source
from front_ends import haproxy, listener, nginx
from gateway_nginx import WAYS, binds, fronted
from tools import Process, python, running

SOURCE = """
import asyncio
from wsgi_async import live, sse

async def body(name):
    yield sse.event("the first")
    try:
        await asyncio.Event().wait()
    finally:
        print(f"the client has gone: {name}", flush=True)

def application(environ, start_response):
    start_response("200 OK", list(dict(sse.headers()).items()))
    return live(body(environ["QUERY_STRING"]))
"""

NGINX = """
    server {{
        listen 127.0.0.1:{listen};
        location / {{
            proxy_pass {upstream};
            proxy_http_version {version};
        }}
    }}
"""

HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s
    option abortonclose

frontend front
    bind fd@{fd}
    default_backend back

backend back
    server one {upstream}
"""


@contextlib.contextmanager
def endless(directory: Path, *words: str) -> Iterator[Process]:
    (directory / "endless.py").write_text(SOURCE)
    command = python("-m", "wsgi_async", "endless", "-b", "127.0.0.1:0", *words)
    with running(*command, cwd=directory) as process:
        yield process
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert not re.search("Traceback|Warning|ERROR", process.output), process.output


def come_and_go(port: int, process: Process, name: str = "one") -> None:
    """The event comes while the body waits for ever."""
    with event_source(f"http://127.0.0.1:{port}/?{name}") as stream:
        assert stream.next().data == "the first"
    process.wait_for(f"^the client has gone: {name}$")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_nginx_as_it_is(version: str, tmp_path: Path) -> None:
    """Because the response says `X-Accel-Buffering: no`."""
    with endless(tmp_path) as process, listener() as inherited:
        port = inherited.getsockname()[1]
        text = NGINX.format(listen=port, upstream=process.url, version=version)
        with nginx(tmp_path, text, [inherited]):
            come_and_go(port, process)


def test_haproxy(tmp_path: Path) -> None:
    with endless(tmp_path) as process, listener() as inherited:
        upstream = process.url.removeprefix("http://")
        text = HAPROXY.format(fd=inherited.fileno(), upstream=upstream)
        with haproxy(tmp_path, text, [inherited]):
            come_and_go(inherited.getsockname()[1], process)


def test_nginx_by_its_other_protocols(tmp_path: Path) -> None:
    """Also where it collects responses, and where it keeps its connections."""
    words = [word for bind in binds(tmp_path) for word in ("-b", bind)]
    with endless(tmp_path, *words) as process:
        told = process.wait_for(r"Listening on (.*) \(")[1]
        with fronted(tmp_path, told) as nginx_in_front:
            for way in WAYS:
                come_and_go(nginx_in_front.front.ports[f"http-{way.name}"], process, way.name)
