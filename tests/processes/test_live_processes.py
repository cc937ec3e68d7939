"""A reload and a stop of whole processes that have asynchronous bodies."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from rawclient import request
from serving import Command, both_loops

APP = """
import asyncio, os
import wsgi_async

HERE = os.path.dirname(__file__)

async def events():
    yield b"data: %d\\n\\n" % os.getpid()
    try:
        while True:
            await asyncio.sleep(3600)
    finally:
        with open(os.path.join(HERE, "finally"), "a") as file:
            file.write("finally\\n")

async def download():
    yield b"first"
    while not os.path.exists(os.path.join(HERE, "go on")):
        await asyncio.sleep(0.01)
    yield b"last"

def app(environ, start_response):
    if environ["PATH_INFO"] == "/events":
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return wsgi_async.live(events())
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/download":
        return wsgi_async.live(download())
    return [b"%d" % os.getpid()]
"""


@both_loops
def test_a_reload_ends_event_streams_with_a_word_and_cuts_no_download(
    loop: str, tmp_path: Path
) -> None:
    (tmp_path / "shop.py").write_text(APP)
    with Command(
        *("shop:app", "-b", "127.0.0.1:0", "--threads", "1", "--live-grace", "100ms"),
        directory=tmp_path,
        loop=loop,
    ) as command:
        with command.client() as stream, command.client() as download:
            stream.send(request("/events"))
            before = re.search(rb"data: ([0-9]+)", stream.read_until(b"\n\n"))
            download.send(request("/download"))
            download.read_until(b"first")
            command.signal(signal.SIGHUP)
            rest = stream.read_to_end()
            assert re.search(rb"retry: [0-9]+\n\n", rest)
            assert rest.endswith(b"0\r\n\r\n")
            command.wait_for("Reloaded$")
            with command.client() as client:
                after = client.get().body
            assert before is not None
            assert after != before[1]
            (tmp_path / "go on").touch()
            assert download.read_until(b"0\r\n\r\n").endswith(b"last\r\n0\r\n\r\n")
        assert (tmp_path / "finally").read_text() == "finally\n"
        with command.client() as stream:
            stream.send(request("/events"))
            stream.read_until(b"data: ")
            command.signal(signal.SIGTERM)
            assert stream.read_to_end().endswith(b"0\r\n\r\n")
        assert command.wait() == 0
        assert (tmp_path / "finally").read_text() == "finally\n" * 2
        command.assert_clean()
