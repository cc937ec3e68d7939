"""Debian's nginx and HAProxy in front: events pass at once, and who leaves is told of."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
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


def come_and_go(
    port: int, process: Process, name: str = "one", client: httpx.Client | None = None
) -> None:
    """The event comes while the body waits for ever."""
    with event_source(f"http://127.0.0.1:{port}/?{name}", client=client) as stream:
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
        with fronted(tmp_path, told) as nginx_in_front, httpx.Client(trust_env=False) as client:
            for way in WAYS:
                port = nginx_in_front.front.ports[f"http-{way.name}"]
                come_and_go(port, process, way.name, client)


def test_a_server_that_stops_completes_what_nginx_passes_on(tmp_path: Path) -> None:
    """By those protocols, too: nginx takes none for cut, and clients know when to come again."""
    words = [word for bind in binds(tmp_path) for word in ("-b", bind)]
    with (
        endless(tmp_path, *words, "--live-grace", "100ms") as process,
        contextlib.ExitStack() as stack,
    ):
        told = process.wait_for(r"Listening on (.*) \(")[1]
        nginx_in_front = stack.enter_context(fronted(tmp_path, told))
        client = stack.enter_context(httpx.Client(trust_env=False))
        streams = []
        for way in WAYS:
            url = f"http://127.0.0.1:{nginx_in_front.front.ports[f'http-{way.name}']}/?{way.name}"
            streams.append(stack.enter_context(event_source(url, client=client)))
            assert streams[-1].next().data == "the first"
        process.signal(signal.SIGTERM)
        for stream in streams:
            assert list(stream) == []
            assert stream.retry is not None
