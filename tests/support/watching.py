"""What a browser, and a program, see of a server with ``--dashboard-bind``."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from processes import Servers
from rawclient import TIMEOUT, Address, RawClient, Response

__all__ = ["DASHBOARD", "Watcher"]

DASHBOARD = ("--dashboard-bind", "127.0.0.1:0")


class Watcher:
    """Asks, over a connection of its own each time.

    :param address: where; see :meth:`of`.
    :param fields: sent with each request, as lines.
    """

    def __init__(self, address: Address, fields: tuple[str, ...] = ()) -> None:
        self.address = address
        self.fields = fields

    @classmethod
    def of(cls, servers: Servers, fields: tuple[str, ...] = ()) -> Watcher:
        """Of a server at :data:`DASHBOARD`, once it has said where."""
        found = servers.wait_for(r"The dashboard is served on http://127\.0\.0\.1:([0-9]+)\b")
        return cls(("127.0.0.1", int(found[1])), fields)

    def request(self, target: str, method: str = "GET", *fields: str, body: bytes = b"") -> bytes:
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *self.fields, *fields]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode() + body

    def ask(self, target: str, method: str = "GET", *fields: str, body: bytes = b"") -> Response:
        with RawClient(self.address) as client:
            client.send(self.request(target, method, "Connection: close", *fields, body=body))
            return client.response(method)

    def get(self, path: str) -> Any:
        """What that path has, as JSON."""
        answer = self.ask(f"/api/{path}")
        assert answer.status == 200, answer
        return json.loads(answer.body)

    def rows(self) -> list[dict[str, float | None]]:
        """The history, by names of columns."""
        found = self.get("history")
        return [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]

    def wait_until(self, condition: Callable[[Any], object], what: str, path: str = "state") -> Any:
        """What that path has, once the condition holds for it."""
        deadline = time.monotonic() + TIMEOUT
        while not condition(found := self.get(path)):
            assert time.monotonic() < deadline, f"{what}: {found}"
            time.sleep(0.05)  # made anew twice a second
        return found

    def events(self) -> Iterator[Any]:
        """The states of an event stream, as they come."""
        with RawClient(self.address) as client:
            client.send(self.request("/api/events"))
            received = bytearray()
            while True:
                more = client.socket.recv(65536)
                if not more:
                    return
                received += more
                while match := re.search(rb"data: (.+)\n\n", received):
                    yield json.loads(match[1])
                    del received[: match.end()]
