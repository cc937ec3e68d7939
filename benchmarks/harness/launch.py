"""The servers that have no command line, or one that cannot be told what a fair comparison needs:
``python -m benchmarks.harness.launch bjoern --port 8000 --threads 8 benchmarks.apps:hello``.

What only some of them need is imported there: it counts for the start and the memory.
"""

from __future__ import annotations

import argparse
import importlib
import socket
from collections.abc import Callable
from typing import Any

__all__ = ["SERVERS", "main"]

HOST = "127.0.0.1"
BACKLOG = 2048
CONNECTIONS = 12_000
KEEP_ALIVE = 75
LARGEST_BODY = 1 << 30

Application = Callable[..., Any]
Pair = tuple[str | None, str | None]
"""Files with a certificate and its key."""
NO_PAIR: Pair = (None, None)
"""Without TLS."""
NAMES = ("certfile", "keyfile")


def waitress(application: Application, port: int, threads: int) -> None:
    """Its command line logs a warning for nearly every request that waits for a thread, and has no
    option against it; its maintainers name the logger to turn off (Pylons/waitress#235)."""
    import logging

    import waitress as server

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    server.serve(
        application,
        host=HOST,
        port=port,
        threads=threads,
        backlog=BACKLOG,
        connection_limit=CONNECTIONS,
        asyncore_use_poll=True,
        log_socket_errors=False,
    )


def bjoern(application: Application, port: int, threads: int) -> None:
    """Without threads: the application runs on the loop.

    It leaves Nagle's algorithm on, as gevent does; see there.
    """
    import bjoern as server

    listener = server.listen(application, HOST, port, listen_backlog=BACKLOG)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server.run()


def fastwsgi(application: Application, port: int, threads: int) -> None:
    """Without threads: the application runs on the loop."""
    import fastwsgi as server

    server.server.backlog = BACKLOG
    server.server.tcp_nodelay = 1
    server.run(application, HOST, port)


def freastal(application: Application, port: int, threads: int, pair: Pair = NO_PAIR) -> None:
    """Without threads: the application runs on the loop. It has no settings to speak of."""
    import freastal as server

    server.serve(application, host=HOST, port=port, certfile=pair[0], keyfile=pair[1])


def fastpysgi(application: Application, port: int, threads: int, pair: Pair = NO_PAIR) -> None:
    """Without threads: the application runs on the loop. Its default refuses bodies above 10 MB."""
    import fastpysgi as server

    server.server.backlog = BACKLOG
    server.server.tcp_nodelay = 1
    server.server.max_content_length = LARGEST_BODY
    if pair != NO_PAIR:
        server.server.tls_list = [pair]
    server.run(application, HOST, port)


def tornado(application: Application, port: int, threads: int, pair: Pair = NO_PAIR) -> None:
    """The application runs in an executor, the rest on asyncio's own loop."""
    import asyncio
    import logging
    from concurrent.futures import ThreadPoolExecutor

    from tornado.httpserver import HTTPServer
    from tornado.wsgi import WSGIContainer

    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)

    async def serve() -> None:
        container = WSGIContainer(application, executor=ThreadPoolExecutor(threads))
        server = HTTPServer(
            container,
            max_body_size=LARGEST_BODY,
            max_buffer_size=LARGEST_BODY,
            ssl_options=None if pair == NO_PAIR else dict(zip(NAMES, pair, strict=True)),
        )
        server.listen(port, HOST, backlog=BACKLOG)
        await asyncio.Event().wait()

    asyncio.run(serve())


def cheroot(application: Application, port: int, threads: int, pair: Pair = NO_PAIR) -> None:
    """`numthreads` is where its pool starts, `max` where it ends."""
    from cheroot.wsgi import Server

    server = Server(
        (HOST, port),
        application,
        numthreads=threads,
        max=threads,
        request_queue_size=BACKLOG,
        timeout=KEEP_ALIVE,
    )
    server.keep_alive_conn_limit = CONNECTIONS
    if pair != NO_PAIR:
        from cheroot.ssl.builtin import BuiltinSSLAdapter

        server.ssl_adapter = BuiltinSSLAdapter(*pair)
    server.start()


def uvicorn_a2wsgi(application: Application, port: int, threads: int, pair: Pair = NO_PAIR) -> None:
    """The server for ASGI, and the adapter that its documentation names for WSGI."""
    import uvicorn
    from a2wsgi import WSGIMiddleware

    uvicorn.run(
        WSGIMiddleware(application, workers=threads),
        host=HOST,
        port=port,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        access_log=False,
        log_level="warning",
        ssl_certfile=pair[0],
        ssl_keyfile=pair[1],
    )


def hypercorn(application: Application, port: int, threads: int, pair: Pair = NO_PAIR) -> None:
    """Its WSGI mode uses the loop's default executor."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    import uvloop
    from hypercorn.asyncio import serve as run
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"{HOST}:{port}"]
    config.backlog = BACKLOG
    config.keep_alive_timeout = KEEP_ALIVE
    config.keep_alive_max_requests = 1 << 62
    config.wsgi_max_body_size = LARGEST_BODY
    config.certfile, config.keyfile = pair

    async def serve() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(threads))
        await run(application, config, mode="wsgi")

    uvloop.run(serve())


def gevent(application: Application, port: int, threads: int, pair: Pair = NO_PAIR) -> None:
    """A greenlet for each connection.

    It sends head and body apart and leaves Nagle's algorithm on, which costs 40 ms per response
    on a kept connection; connections inherit the option from the listener.
    """
    from gevent.pywsgi import WSGIServer

    listener = socket.create_server((HOST, port), backlog=BACKLOG)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    files = {} if pair == NO_PAIR else dict(zip(NAMES, pair, strict=True))
    WSGIServer(listener, application, log=None, **files).serve_forever()


SERVERS: dict[str, Callable[..., None]] = {
    "waitress": waitress,
    "bjoern": bjoern,
    "fastwsgi": fastwsgi,
    "freastal": freastal,
    "fastpysgi": fastpysgi,
    "tornado": tornado,
    "cheroot": cheroot,
    "uvicorn-a2wsgi": uvicorn_a2wsgi,
    "hypercorn": hypercorn,
    "gevent": gevent,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.harness.launch", description=__doc__
    )
    parser.add_argument("server", choices=SERVERS)
    parser.add_argument("app", help="module:object")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--certfile", help="speak TLS with this certificate")
    parser.add_argument("--keyfile", help="and its key")
    options = parser.parse_args()
    if options.server == "gevent":
        # Before the application is imported, as gevent's documentation demands.
        from gevent import monkey

        monkey.patch_all()
    module, _, name = options.app.partition(":")
    application = getattr(importlib.import_module(module), name)
    more = {"pair": (options.certfile, options.keyfile)} if options.certfile else {}
    SERVERS[options.server](application, options.port, options.threads, **more)


if __name__ == "__main__":
    main()
