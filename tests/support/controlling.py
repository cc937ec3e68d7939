"""What is asked on a server's control socket, and answered: JSON in and out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from processes import Servers, Site
from rawclient import TIMEOUT, RawClient, request

__all__ = ["Control", "control_socket", "pair_of"]


class Control:
    """Asks, over a connection of its own each time.

    :param path: the socket file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def options(self) -> tuple[str, str]:
        """Those by which a server has it."""
        return ("--control-socket", str(self.path))

    def ask(self, target: str, body: object = None, *, method: str = "") -> tuple[int, Any]:
        """Status and value of an answer; by POST where there is a body."""
        method = method or ("GET" if body is None else "POST")
        sent = b"" if body is None else json.dumps(body).encode()
        with RawClient(str(self.path)) as client:
            client.send(request(target, method, body=sent, fields=("Connection: close",)))
            answer = client.response(method)
        assert answer.fields["content-type"] == "application/json"
        return answer.status, json.loads(answer.body)

    def status(self) -> dict[str, Any]:
        """How the server is."""
        status, answer = self.ask("/status")
        assert status == 200, answer
        found: dict[str, Any] = answer
        return found

    def wait_until(
        self, condition: Callable[[dict[str, Any]], object], what: str
    ) -> dict[str, Any]:
        """Ask for it again and again until it is so."""
        deadline = time.monotonic() + TIMEOUT
        while not condition(found := self.status()):
            assert time.monotonic() < deadline, (what, found)
        return found

    def order(self, target: str, **body: object) -> dict[str, Any]:
        """Have the parent do something, and return how its fleet was before."""
        status, answer = self.ask(target, body)
        assert (status, answer["accepted"]) == (200, True), answer
        before: dict[str, Any] = answer["before"]
        return before


def control_socket(tmp_path: Path) -> Control:
    """A fixture: one that nobody listens on yet."""
    return Control(tmp_path / "control.sock")


def pair_of(site: Site, control: Control, *args: str) -> Iterator[Servers]:
    """Two processes that listen, with that control socket."""
    with site.serve("--workers", "2", *args, *control.options) as servers:
        servers.wait_for("Listening on ")
        yield servers
