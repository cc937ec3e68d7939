"""Tools for tests: of an application, of what talks to one, and of protocols.

===================== ===========================================================================
:class:`TestClient`   asks an application in process, through the server's own parser, environ and
                      PEP 3333 rules, without a socket and without a thread
:func:`live_server`   serves one on a real socket while a block runs; keeps logs, errors, timings
:class:`FakeTransport` with :class:`FakeLoop` and :class:`FakeClock`: run an asyncio protocol
                      without a network and without waiting
===================== ===========================================================================

With pytest installed the fixtures ``wsgi_client`` and ``wsgi_server`` are there by themselves; see
:mod:`wsgi_async.testing.plugin`. Each name is imported when it is first used: pytest imports this
package in every run.

Runs on: the test's thread; ``live_server`` has a loop in a thread of its own.

May import: buffers, config, connection, errors, events, http, http1, logs, realtime, server,
system, wsgi.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsgi_async._lazy import lazy_names

if TYPE_CHECKING:
    from .client import TestClient, TooManyRedirects
    from .cookies import Cookie, CookieJar
    from .fakes import FakeClock, FakeLoop, FakeSocket, FakeTransport
    from .live import AppError, LiveRequest, LiveServer, live_server
    from .request import Request
    from .response import Headers, Response

__all__ = [
    "AppError",
    "Cookie",
    "CookieJar",
    "FakeClock",
    "FakeLoop",
    "FakeSocket",
    "FakeTransport",
    "Headers",
    "LiveRequest",
    "LiveServer",
    "Request",
    "Response",
    "TestClient",
    "TooManyRedirects",
    "live_server",
]

__getattr__, __dir__ = lazy_names(
    globals(),
    {
        "AppError": "live",
        "Cookie": "cookies",
        "CookieJar": "cookies",
        "FakeClock": "fakes",
        "FakeLoop": "fakes",
        "FakeSocket": "fakes",
        "FakeTransport": "fakes",
        "Headers": "response",
        "LiveRequest": "live",
        "LiveServer": "live",
        "Request": "request",
        "Response": "response",
        "TestClient": "client",
        "TooManyRedirects": "client",
        "live_server": "live",
    },
)
