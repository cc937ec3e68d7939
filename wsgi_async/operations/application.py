"""What the operations process serves: metrics, and two probes that speak for the whole server.

========================= ======================================================================
``/metrics``              all metrics, as text of Prometheus's or OpenMetrics'; 503 where too many
                          ask at once
``/-/healthy``            200: this process answers, and with the parent it would have ended
``/-/ready``              200 while a process serves, and the server is not to stop; else 503
========================= ======================================================================

The paths of the probes are Prometheus's own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from wsgi_async.scoreboard import table
from wsgi_async.scoreboard.board import PARENT, Scoreboard
from wsgi_async.wsgi.types import Environ, StartResponse

from .exposition import Collector, expose

__all__ = ["HEALTHY", "SCRAPES", "OperationsApplication"]

HEALTHY = "/-/healthy"
"""For ``health_path`` too: then the loop answers it, also where all connections are taken."""

SCRAPES = 6
"""Scrapes at once. Each may wait for a process that is busy; the probes need threads meanwhile, for
whoever is killed for not answering them is killed when that helps least."""

_TEXT = "text/plain; charset=utf-8"

_Answer = tuple[str, str, bytes]
"""Status, content type, body."""


class OperationsApplication:
    """A WSGI application. *Pool threads,* several at once.

    :param board: what is shown.
    :param others: what else is, behind it.
    """

    def __init__(self, board: Scoreboard, *others: Collector) -> None:
        self._board = board
        self._others = others
        self._may_scrape = threading.BoundedSemaphore(SCRAPES)
        self._pages: dict[str, Callable[[Environ], _Answer]] = {
            "/metrics": self._metrics,
            HEALTHY: self._healthy,
            "/-/ready": self._ready,
        }

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        page = self._pages.get(environ["SCRIPT_NAME"] + environ["PATH_INFO"])
        more = []
        if page is None:
            paths = ", ".join(self._pages)
            status, kind, body = "404 Not Found", _TEXT, f"Not here. There are: {paths}\n".encode()
        elif environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            status, kind, body = "405 Method Not Allowed", _TEXT, b"GET or HEAD\n"
            more = [("Allow", "GET, HEAD")]
        else:
            status, kind, body = page(environ)
        fields = [
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        start_response(status, fields + more)
        return [body] if environ["REQUEST_METHOD"] != "HEAD" else []

    def _metrics(self, environ: Environ) -> _Answer:
        if not self._may_scrape.acquire(blocking=False):
            return "503 Service Unavailable", _TEXT, f"{SCRAPES} scrapes are under way\n".encode()
        try:
            kind, body = expose(self._board, environ.get("HTTP_ACCEPT", ""), *self._others)
        finally:
            self._may_scrape.release()
        return "200 OK", kind, body

    def _healthy(self, environ: Environ) -> _Answer:
        return "200 OK", _TEXT, b"ok\n"

    def _ready(self, environ: Environ) -> _Answer:
        why = self._why_not_ready()
        if why:
            return "503 Service Unavailable", _TEXT, f"not ready: {why}\n".encode()
        return "200 OK", _TEXT, b"ready\n"

    def _why_not_ready(self) -> str:
        reading = self._board.read()
        if dict(reading.gauge(table.FLEET, "stopping")).get(PARENT):
            return "the server stops"
        if not dict(reading.gauge(table.READY)).get(PARENT):
            return "no process is ready"
        return ""
