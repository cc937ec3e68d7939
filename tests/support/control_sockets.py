"""A control socket whose answers a test writes, and the command ``wsgi-asyncctl``, which asks."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rawclient import TIMEOUT

from wsgi_async.ctl import command

__all__ = ["FLEET", "STATUS", "ControlSocket", "Ended", "run", "saying", "status"]

FLEET: dict[str, Any] = {
    "state": "up",
    "reload": "none",
    "wanted": 2,
    "ready": 2,
    "generation": 3,
    "reloads": 2,
    "reloads_failed": 0,
    "restarts": {"died": 1, "blocked": 0},
}

STATUS: dict[str, Any] = {
    "version": "1.0",
    "name": "shop",
    "pid": 4242,
    "now": 1_800_000_000.0,
    "started": 1_799_990_000.0,
    "addresses": ["http://127.0.0.1:8000", "unix:/run/shop.sock"],
    "fleet": FLEET,
    "processes": [
        {
            "number": number,
            "pid": 4300 + number,
            "place": number,
            "restarts": number,
            "generation": 3,
            "state": state,
            "age": 7501.5,
            "heard": heard,
            "requests": 123456,
            "in_flight": 3,
            "threads": {"busy": busy, "idle": 8 - busy, "aside": 0, "lost": number},
            "queued": number,
            "oldest_wait": 0.25 * number,
            "connections": {"new": 0, "head": 1, "busy": 3, "idle": 20, "lingering": 0},
            "memory": 67_200_000,
            "files": 41,
        }
        for number, state, heard, busy in ((0, "ready", 0.4, 3), (1, "retiring", 31.0, 7))
    ],
    "totals": {
        "requests": {"1xx": 0, "2xx": 246_000, "3xx": 0, "4xx": 900, "5xx": 12},
        "refused": {"queue_full": 4, "connections_full": 0},
        "cut": 2,
        "spooled": 0,
        "parked": 0,
        "given_up": 0,
        "received": 12_345_678,
        "sent": 9_876_543_210,
        "log_dropped": None,
    },
}
"""An answer to ``GET /status``."""


def status(**fleet: Any) -> dict[str, Any]:
    """That answer with another fleet."""
    return {**STATUS, "fleet": {**FLEET, **fleet}}


class Asked(NamedTuple):
    """A request, as a test looks at it."""

    method: str
    target: str
    body: Any


Answer = Callable[[Asked], "tuple[int, Any] | None"]
"""Status and body; bytes as they are, anything else as JSON. None: it is never answered."""


class ControlSocket(contextlib.ExitStack):
    """Somebody who listens on a unix socket and answers as a test has it, each request in a thread
    of its own.

    :param path: of the socket.
    :param answer: see :data:`Answer`.
    """

    def __init__(self, path: Path | str, answer: Answer) -> None:
        super().__init__()
        self.path = str(path)
        self.asked: list[Asked] = []
        self._was_asked = threading.Event()
        self._over = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                asked = Asked(
                    self.command,
                    self.path,
                    json.loads(self.rfile.read(length)) if length else None,
                )
                outer.asked.append(asked)
                outer._was_asked.set()
                found = answer(asked)
                if found is None:
                    outer._over.wait()
                    return
                code, body = found
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(code)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_GET

            def address_string(self) -> str:
                return "unix"

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Listener(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            block_on_close = False

        self._listener = Listener(self.path, Handler)
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.01,))
        self._thread.start()
        self.callback(self.end)

    def wait_for_question(self) -> None:
        """Until somebody has asked something."""
        assert self._was_asked.wait(TIMEOUT)

    def end(self) -> None:
        """As a server ends that leaves its socket file behind. Harmless if repeated."""
        if not self._over.is_set():
            self._over.set()
            self._listener.shutdown()
            self._thread.join()
            self._listener.server_close()


@contextlib.contextmanager
def saying(path: Path, data: bytes, *, byte_by_byte: bool = False) -> Iterator[str]:
    """Somebody at `path` who says these bytes to the first who connects, and then nothing more."""
    over = threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def speak() -> None:
            client, _ = listener.accept()
            with client, contextlib.suppress(OSError):
                if byte_by_byte:
                    for byte in data:
                        client.sendall(bytes([byte]))
                        over.wait(0.02)
                    over.wait()
                else:
                    client.sendall(data)
                    client.shutdown(socket.SHUT_WR)
                    over.wait()

        thread = threading.Thread(target=speak)
        thread.start()
        try:
            yield str(path)
        finally:
            over.set()
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as last:
                last.connect(str(path))  # where nobody has come
            thread.join()


class Ended(NamedTuple):
    """How a call of the command ended."""

    code: int
    out: str
    error: str


def run(capsys: pytest.CaptureFixture[str], *args: str) -> Ended:
    """The command with these arguments, in this process."""
    with pytest.raises(SystemExit) as ended:
        command.main(args)
    out, error = capsys.readouterr()
    assert "Traceback" not in error
    assert isinstance(ended.value.code, int)
    return Ended(int(ended.value.code), out, error)
