"""Debian's nginx in front, as it is by default: events pass at once, because the response says
`X-Accel-Buffering: no`."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from event_sources import event_source
from front_ends import listener, nginx
from tools import python, running

SOURCE = """
import asyncio
from wsgi_async import live, sse

async def body():
    yield sse.event("the first")
    try:
        await asyncio.Event().wait()
    finally:
        print("the client has gone", flush=True)

def application(environ, start_response):
    start_response("200 OK", list(dict(sse.headers()).items()))
    return live(body())
"""

CONFIG = """
    server {{
        listen 127.0.0.1:{listen};
        location / {{
            proxy_pass {upstream};
            proxy_http_version {version};
        }}
    }}
"""


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_event_passes_at_once(version: str, tmp_path: Path) -> None:
    """It comes while the body waits for ever; and when the client leaves, nginx does, too."""
    (tmp_path / "endless.py").write_text(SOURCE)
    command = python("-m", "wsgi_async", "endless", "--port", "0")
    with running(*command, cwd=tmp_path) as process, listener() as inherited:
        port = inherited.getsockname()[1]
        text = CONFIG.format(listen=port, upstream=process.url, version=version)
        with nginx(tmp_path, text, [inherited]):
            with event_source(f"http://127.0.0.1:{port}/") as stream:
                assert stream.next().data == "the first"
            process.wait_for("^the client has gone$")
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert not re.search("Traceback|Warning|ERROR", process.output), process.output
