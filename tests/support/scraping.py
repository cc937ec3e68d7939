"""What a scraper and a prober see of a server with ``--metrics-bind``."""

from __future__ import annotations

import time
from collections.abc import Callable

from expositions import parsed
from processes import Servers, children
from rawclient import TIMEOUT, Address, RawClient, Response, request

__all__ = ["METRICS", "Scraper", "operations_of"]

METRICS = ("--metrics-bind", "127.0.0.1:0")


def operations_of(servers: Servers) -> int:
    """The number of its operations process, which has loaded no application."""
    [found] = children(servers.process.pid) - set(servers.loaded())
    return found


class Scraper:
    """Asks, over a connection of its own each time.

    :param address: where; see :meth:`of`.
    """

    def __init__(self, address: Address) -> None:
        self.address = address

    @classmethod
    def of(cls, servers: Servers) -> Scraper:
        """Of a server at :data:`METRICS`, once it has said where."""
        found = servers.wait_for(r"Metrics and probes .* on http://127\.0\.0\.1:([0-9]+)$")
        return cls(("127.0.0.1", int(found[1])))

    def get(self, path: str = "/metrics", *, accept: str = "", method: str = "GET") -> Response:
        fields = ("Connection: close", *([f"Accept: {accept}"] if accept else []))
        with RawClient(self.address) as client:
            client.send(request(path, method, fields=fields))
            return client.response(method)

    def ready(self) -> tuple[int, str]:
        """Status and text of that probe."""
        answer = self.get("/-/ready")
        return answer.status, answer.body.decode().strip()

    def total(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels."""
        answer = self.get()
        assert answer.status == 200, answer
        return float(
            sum(
                sample.value
                for family in parsed(answer.body.decode())
                for sample in family.samples
                if sample.name == name and labels.items() <= sample.labels.items()
            )
        )

    def answered(self) -> float:
        """Requests with status 200 so far."""
        return self.total("wsgi_async_requests_total", status="2xx")

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Ask again and again until it holds."""
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, what

    def wait_for_total(self, wanted: float, name: str, **labels: str) -> None:
        """Until that sum is so much."""
        found: list[float] = []

        def look() -> bool:
            found[:] = [self.total(name, **labels)]
            return found == [wanted]

        try:
            self.wait_until(look, f"{name} {labels}")
        except AssertionError as error:
            error.add_note(f"{found} in place of {wanted}")
            raise
