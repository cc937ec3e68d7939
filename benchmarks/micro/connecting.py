"""A connection that has one request, from its beginning to its last close."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Callable
from contextlib import ExitStack
from itertools import islice
from typing import Any

from wsgi_async.connection.connections import Connections
from wsgi_async.connection.gateway_protocol import GatewayProtocol, Speech
from wsgi_async.connection.protocol import HTTPProtocol
from wsgi_async.gateways.uwsgi import UwsgiReader
from wsgi_async.http.request import RequestHead
from wsgi_async.server.acceptor import BATCH, Acceptor
from wsgi_async.system.event_loop import new_event_loop
from wsgi_async.system.spoken import Spoken

from .benchmark import Heads, Opened, WrongResult
from .inside import BODY, PEER, WALL, InlinePool, Inside, Line, connections_of, hello, raising

__all__ = ["as_http", "as_uwsgi", "open_accepted", "open_connected", "open_variables"]

SETTLED = 5.0
"""Seconds after which connections that were not answered are an error."""

Protocols = Callable[[Connections, Any], Callable[[object], asyncio.Protocol]]
"""Given what connections share and the loop: what makes one's protocol, of its client's address."""


def as_http(shared: Connections, loop: Any) -> Callable[[object], asyncio.Protocol]:
    return functools.partial(HTTPProtocol, shared, loop)


def as_uwsgi(shared: Connections, loop: Any) -> Callable[[object], asyncio.Protocol]:
    speech = Speech(shared, Spoken.UWSGI)
    return lambda peer: GatewayProtocol(shared, loop, peer, speech)


def open_connected(supply: Heads, protocols: Protocols, stack: ExitStack) -> Opened:
    """In memory: what is made and let go, beside the request itself."""
    inside, source = Inside(hello), supply()
    make = protocols(inside.connections, inside.loop)
    loop, run_tasks, run_pending = inside.loop, inside.pool.run_tasks, inside.loop.run_pending

    def run(count: int) -> object:
        lost, last = 0, b""
        for head in islice(source, count):
            line = Line(loop, make(PEER))
            line.receive(head)
            run_tasks()
            run_pending()
            lost += line.is_lost
            last = line.last
        return last, lost - count

    return Opened(run, _is_hello)


def _is_hello(result: object) -> bool:
    assert isinstance(result, tuple)
    last, too_many = result
    return too_many == 0 and last.startswith(b"HTTP/1.1 200 ") and last.endswith(BODY)


class _LoopPool(InlinePool):
    """Runs each task in the loop's next turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop

    def submit(self, task: Any) -> bool:
        self._loop.call_soon(task.run)
        return True


def open_accepted(supply: Heads, stack: ExitStack) -> Opened:
    """By real sockets and the server's loop, as many at once as it accepts in a turn. The clients
    are in it: a socket each, which connects, sends, receives and closes."""
    loop, source = new_event_loop(), supply()
    stack.callback(loop.close)
    loop.set_exception_handler(
        lambda loop, context: raising(context.get("exception") or WrongResult(context["message"]))
    )
    shared = connections_of(hello, loop, _LoopPool(loop))
    shared.tick(loop.time(), WALL)
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=2 * BATCH))
    listener.setblocking(False)
    address = listener.getsockname()
    acceptor = Acceptor(
        loop,
        [listener],
        as_http(shared, loop),
        None,
        count_open=lambda: len(shared.open),
        warn=lambda why: raising(WrongResult(why)),
    )
    stack.callback(acceptor.close)
    acceptor.start()

    def lost() -> None:
        if not shared.open:
            loop.call_soon(loop.stop)

    shared.on_lost = lost

    def run(count: int) -> object:
        last, ends = b"", 0
        heads = islice(source, count)
        while batch := list(islice(heads, BATCH)):
            clients = []
            for head in batch:
                client = socket.create_connection(address, SETTLED)
                client.sendall(head)
                clients.append(client)
            loop.run_forever()
            for client in clients:
                last = client.recv(4096)
                ends += not client.recv(4096)
                client.close()
        return last, ends - count

    return Opened(run, _is_hello)


def open_variables(supply: Heads, stack: ExitStack) -> Opened:
    """The reading of them alone."""
    source = supply()
    shared = Inside(hello).connections

    def run(count: int) -> object:
        head: object = None
        for data in islice(source, count):
            head = UwsgiReader(shared.limits).lone_head(data)
        return head

    return Opened(run, lambda head: isinstance(head, RequestHead) and head.method == "GET")
