"""The benchmarks by name, in the order of the table."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import ExitStack

from wsgi_async.events import Observer

from . import heads
from .answering import PIECES, open_cookie, open_response, open_wsgi, stream
from .benchmark import Benchmark, Opened
from .connecting import as_http, as_uwsgi, open_accepted, open_connected, open_variables
from .encrypting import open_bare, open_transport
from .inside import closing, hello
from .reading import open_environ, open_fast_path, open_lines, open_reader
from .running import AT_ONCE
from .serving import BURST, counting, logging, open_pool, open_protocol, statsd

__all__ = ["BENCHMARKS"]

STREAMED = (200, b"".join(PIECES))
NOTHING = (204, b"")


def _logging_and_counting(stack: ExitStack) -> list[Observer]:
    return [*logging("combined", stack), *counting(stack)]


def _all() -> list[Benchmark]:
    of, whole = functools.partial, open_protocol
    rows: list[tuple[str, str, Callable[[ExitStack], Opened]]] = [
        ("fast_path.short", "a short head", of(open_fast_path, heads.short)),
        ("fast_path.browser", "a browser's head", of(open_fast_path, heads.browser)),
        ("fast_path.lines", "the same, the connection's first", of(open_lines, heads.browser)),
        ("http1.hello", "a head seen before", of(open_reader, heads.hello, "auto")),
        ("http1.short", "a short head", of(open_reader, of(heads.short, "auto"), "auto")),
        ("http1.browser", "a browser's head", of(open_reader, heads.browser, "auto")),
        ("http1.h11.short", "a short head", of(open_reader, of(heads.short, "h11"), "h11")),
        ("http1.h11.browser", "a browser's head", of(open_reader, heads.browser, "h11")),
        ("environ.hello", "an environ", of(open_environ, heads.hello)),
        ("environ.browser", "an environ", of(open_environ, heads.browser)),
        ("wsgi.list", "a call, a list of one", of(open_wsgi, hello, 0)),
        ("wsgi.stream", "a call, ten chunks", of(open_wsgi, stream, len(PIECES))),
        ("wsgi.cookie", "a head with a Set-Cookie, and its bytes", open_cookie),
        ("threads.respond", "a whole response", of(open_response, [])),
        ("threads.stream", "a response of ten chunks", of(open_response, PIECES)),
        (
            "protocol.none",
            "what the stand-ins take",
            of(whole, heads.hello, None, answer=NOTHING),
        ),
        ("protocol.hello", "a request", of(whole, heads.hello, hello)),
        ("protocol.browser", "a request", of(whole, heads.browser, hello)),
        (
            "protocol.proxied",
            "a request that a proxy has passed on",
            of(whole, heads.proxied, hello, proxy_headers="for,proto"),
        ),
        (
            "protocol.proxied.off",
            "the same, where nobody looks",
            of(whole, heads.proxied, hello, proxy_headers="off"),
        ),
        ("protocol.closing", "a request, as of Flask", of(whole, heads.hello, closing)),
        (
            "protocol.h11.browser",
            "a request",
            of(whole, heads.browser, hello, parser="h11"),
        ),
        ("gateways.uwsgi", "a browser's, as nginx tells it", of(open_variables, heads.uwsgi)),
        (
            "connection.http",
            "a connection with one request, in memory",
            of(open_connected, heads.closing, as_http),
        ),
        (
            "connection.uwsgi",
            "the same, a browser's request by nginx",
            of(open_connected, heads.uwsgi, as_uwsgi),
        ),
        (
            "connection.accepted",
            "the same of HTTP, by real sockets, its client included",
            of(open_accepted, heads.closing),
        ),
        (
            "protocol.stream",
            "a request, ten chunks",
            of(whole, heads.hello, stream, answer=STREAMED),
        ),
        (
            "told.log",
            "a request with its line in the access log",
            of(whole, heads.hello, hello, listen=of(logging, "combined")),
        ),
        (
            "told.json",
            "the same, as JSON",
            of(whole, heads.hello, hello, listen=of(logging, "json")),
        ),
        (
            "told.metrics",
            "a request that is counted",
            of(whole, heads.hello, hello, listen=counting),
        ),
        (
            "told.statsd",
            "a request that statsd is told of",
            of(whole, heads.hello, hello, listen=statsd),
        ),
        (
            "told.both",
            "a request with its line that is counted",
            of(whole, heads.hello, hello, listen=_logging_and_counting),
        ),
        (
            "told.timing",
            "a request with a Server-Timing field",
            of(whole, heads.hello, hello, server_timing=True),
        ),
        ("tls.bare", "a small exchange, by OpenSSL alone, its client included", open_bare),
        ("tls.transport", "the same, by our transport", open_transport),
    ]
    pools: list[tuple[str, str, Callable[[ExitStack], Opened]]] = [
        ("pool.1", "a task and back, one thread", of(open_pool, 1, 1)),
        ("pool.8", "the same, eight threads", of(open_pool, 8, 1)),
        ("pool.8.burst", f"a task of {BURST} at once", of(open_pool, 8, BURST)),
    ]
    return [
        *(Benchmark(*row) for row in rows),
        *(Benchmark(*row, has_threads=True) for row in pools),
        *AT_ONCE,
    ]


BENCHMARKS = {benchmark.name: benchmark for benchmark in _all()}
