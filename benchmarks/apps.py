"""The applications that are measured: the same work on every server, strictly by PEP 3333."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from zlib import crc32

__all__ = [
    "BLOCK",
    "BODY",
    "DONE",
    "FILE_SIZE",
    "LARGE_BLOCKS",
    "LINES",
    "PAUSE",
    "PAUSING",
    "SMALL_FILE_SIZE",
    "STREAM_BLOCKS",
    "WHO",
    "cpu",
    "file",
    "hello",
    "lines",
    "mixed",
    "processes",
    "sleep",
    "small_file",
    "start",
    "stream",
    "upload",
]

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

BODY = b"Hello, world!\n"
BLOCK = (b"0123456789abcdefghijklmnopqrstuvwxyz_ABCDEFGHIJKLMNOPQRSTUVWXYZ" + b".") * 1024
"""64 KiB without a line end: what streams and files are made of."""
STREAM_BLOCKS = 256
"""Blocks of one stream: 16 MiB."""
LARGE_BLOCKS = 4096
"""Blocks of one that fits into no server's buffers: 256 MiB."""
FILE_SIZE = 1024 * len(BLOCK)
"""64 MiB."""
SMALL_FILE_SIZE = 16 * len(BLOCK)
"""1 MiB."""
LINES = tuple(b"line %04d of a response in small parts\n" % number for number in range(1000))
SLEEP = 0.020
"""Seconds."""
PAUSING = "/pausing"
"""Where those that are measured by their parts pause before the last one."""
PAUSE = 0.3
"""Seconds."""
DONE = b"done\n"
WHO = "/process"
"""Where those that are measured with several processes say which one answers."""

TEXT = ("Content-Type", "text/plain")
BINARY = ("Content-Type", "application/octet-stream")
IMPORTS = {
    "wsgi_async": "wsgi_async.cli, wsgi_async.launch.serving",
    "wsgi_async-h11": "wsgi_async.cli, wsgi_async.launch.serving",
    "granian": "granian.cli",
    "waitress": "waitress.runner, waitress",
    "gunicorn": "gunicorn.app.wsgiapp, gunicorn.workers.gthread",
    "gunicorn-sync": "gunicorn.app.wsgiapp, gunicorn.workers.sync",
    "bjoern": "bjoern",
    "fastwsgi": "fastwsgi",
    "tornado": "tornado.httpserver, tornado.wsgi",
    "freastal": "freastal",
    "fastpysgi": "fastpysgi",
    "cheroot": "cheroot.wsgi",
    "hypercorn": "hypercorn.asyncio",
    "uvicorn-a2wsgi": "uvicorn, a2wsgi",
    "gevent": "gevent.pywsgi",
}
"""What a server's process imports before it can serve, by the name of its template."""


def _answer(start_response: StartResponse, body: bytes, status: str = "200 OK") -> list[bytes]:
    start_response(status, [TEXT, ("Content-Length", str(len(body)))])
    return [body]


def hello(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The least an application can do: what is measured is the server."""
    start_response("200 OK", [TEXT, ("Content-Length", str(len(BODY)))])
    return [BODY]


def sleep(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Waits as if for a database."""
    time.sleep(SLEEP)
    return _answer(start_response, BODY)


def lines(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """1000 small parts, of a length that is not known before."""
    start_response("200 OK", [TEXT])
    return _pausing() if environ["PATH_INFO"] == PAUSING else (line for line in LINES)


def _pausing() -> Iterator[bytes]:
    yield from LINES[:-1]
    time.sleep(PAUSE)
    yield LINES[-1]


def stream(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Large parts, of a length that is not known before."""
    if environ["PATH_INFO"] == PAUSING:
        return lines(environ, start_response)
    return _blocks(start_response, STREAM_BLOCKS)


def _blocks(start_response: StartResponse, count: int) -> Iterable[bytes]:
    start_response("200 OK", [BINARY])
    return (BLOCK for _ in range(count))


def _file_path(size: int, suffix: str = "") -> Path:
    """A file of that many bytes, repetitions of `BLOCK`; made once, kept for the next run."""
    path = Path(tempfile.gettempdir()) / f"wsgi-async-benchmark-{os.getuid()}{suffix}"
    if not path.is_file() or path.stat().st_size != size:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as made:
            for _ in range(size // len(BLOCK)):
                made.write(BLOCK)
        os.replace(made.name, path)
    return path


def file(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """A file, by the server's own means where it has them."""
    return _sent(_file_path(FILE_SIZE), FILE_SIZE, environ, start_response)


def small_file(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The same of `SMALL_FILE_SIZE`: what a response costs counts as well."""
    return _sent(_file_path(SMALL_FILE_SIZE, "-small"), SMALL_FILE_SIZE, environ, start_response)


def _sent(
    path: Path, size: int, environ: Environ, start_response: StartResponse
) -> Iterable[bytes]:
    opened = open(path, "rb")  # noqa: SIM115 - the server closes it
    start_response("200 OK", [BINARY, ("Content-Length", str(size))])
    if "wsgi.file_wrapper" in environ:
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](opened, len(BLOCK))
        return wrapped
    return _read_all(opened)


def _read_all(opened: Any) -> Iterator[bytes]:
    with opened:
        while piece := opened.read(len(BLOCK)):
            yield piece


def upload(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Reads the body and forgets it; answers with its size, and with ``?crc`` its CRC-32 too."""
    read = environ["wsgi.input"].read
    checked = environ.get("QUERY_STRING") == "crc"
    size = crc = 0
    left = int(environ.get("CONTENT_LENGTH") or 0)
    while left and (piece := read(min(left, 65536))):
        left -= len(piece)
        size += len(piece)
        if checked:
            crc = crc32(piece, crc)
    return _answer(start_response, b"%d %08x" % (size, crc) if checked else b"%d" % size)


def cpu(seconds: float) -> int:
    """Work in pure Python until this thread has used that much CPU time."""
    end = time.thread_time() + seconds
    number = 1
    while time.thread_time() < end:
        for _ in range(1000):
            number = number * 1103515245 + 12345 & 0x7FFFFFFF
    return number


def mixed(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Trivial on ``/``, ``/stream`` as `stream`, ``/large`` the same of `LARGE_BLOCKS`,
    ``/cpu?ms=N`` as much CPU time."""
    path = environ.get("PATH_INFO", "/")
    if path == "/":
        return hello(environ, start_response)
    if path == "/stream":
        return stream(environ, start_response)
    if path == "/large":
        return _blocks(start_response, LARGE_BLOCKS)
    if path == "/cpu":
        cpu(int(parse_qs(environ["QUERY_STRING"])["ms"][0]) / 1000)
        return _answer(start_response, DONE)
    return _answer(start_response, b"", "404 Not Found")


def start(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """As `hello`; ``/imports/NAME``: milliseconds a new interpreter takes to import that server.

    Where that is not known, as `hello` too.
    """
    name = environ.get("PATH_INFO", "/").rpartition("/imports/")[2]
    if name not in IMPORTS:
        return hello(environ, start_response)
    code = (
        "import time; begun = time.perf_counter()\n"
        f"import {IMPORTS[name]}\n"
        "print((time.perf_counter() - begun) * 1000)"
    )
    command = [sys.executable, "-c", code]
    try:
        found = [subprocess.check_output(command, timeout=10, text=True) for _ in range(3)]
    except (OSError, subprocess.SubprocessError):
        return hello(environ, start_response)
    return _answer(start_response, b"%.3f" % min(map(float, found)))


def _telling(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """`application`, which says at :data:`WHO` in which process it is."""

    def telling(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == WHO:
            return _answer(start_response, b"%d" % os.getpid())
        return application(environ, start_response)

    return telling


processes = _telling(hello)


def _flask() -> Any:
    from flask import Flask, jsonify, request

    app = Flask("benchmark")

    @app.get("/", defaults={"path": ""})
    @app.get("/<path:path>")
    def view(path: str) -> Any:
        return jsonify(path=path, page=request.args.get("page"), user=request.cookies.get("user"))

    return app


def _django() -> Any:
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, HttpResponse
    from django.urls import re_path

    def view(request: HttpRequest, path: str) -> HttpResponse:
        found = {
            "path": path,
            "page": request.GET.get("page"),
            "user": request.COOKIES.get("user"),
        }
        return HttpResponse(json.dumps(found), content_type="application/json")

    settings.configure(
        DEBUG=False,
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="nothing that is secret",
        ROOT_URLCONF=(re_path(r"^(?P<path>.*)$", view),),
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
        LOGGING_CONFIG=None,
    )
    return get_wsgi_application()


def _processes_flask() -> Any:
    return _telling(_flask())


_LAZY = {"flask": _flask, "django": _django, "processes_flask": _processes_flask}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(name)
    application = globals()[name] = _LAZY[name]()
    return application
