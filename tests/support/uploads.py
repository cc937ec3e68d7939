"""Requests with bodies, byte by byte, and an application that reads them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from wire import TIMEOUT, Client

POST = "POST {} HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST.format("/") + "Transfer-Encoding: chunked\r\n\r\n"
EXPECT = POST.format("/") + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"
both = pytest.mark.parametrize("buffering", ["full", "stream"])


class Reader:
    """An application that reads its body by pieces, each when it is told to."""

    def __init__(self, *, early_head: bool = False) -> None:
        self.orders: threading.Semaphore = threading.Semaphore(0)
        self.entered = threading.Event()
        self.got: list[bytes] = []
        self.errors: list[BaseException] = []
        self._early_head = early_head

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        self.entered.set()
        start_response("200 OK", [])
        return self.body(environ["wsgi.input"])

    def body(self, stream: Any) -> Iterator[bytes]:
        if self._early_head:
            yield b"early"
        while True:
            assert self.orders.acquire(timeout=TIMEOUT)
            try:
                data = stream.read1(65536)
            except BaseException as error:
                self.errors.append(error)
                raise
            if not data:
                break
            self.got.append(data)
        yield b"".join(self.got)


def upload(client: Client, size: int, *, target: str = "/") -> None:
    client.send(POST.format(target) + f"Content-Length: {size}\r\n\r\n", "POST")
    client.transport.receive(b"x" * size)
