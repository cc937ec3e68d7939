"""``--header`` and ``--no-server-header`` on fakes: each response has them, whoever made it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from wire import HELLO, Site, responding

HEADER = ["X-Added: 1", "Cache-Control: no-cache"]
Application = Callable[..., Any]


def raises(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("application", "status"),
    [
        (responding(), 200),
        (responding(stream=True), 200),
        (responding("204 No Content"), 204),
        (responding("304 Not Modified"), 304),
        (responding("404 Not Found", [("Set-Cookie", "a=b")]), 404),
        (raises, 500),
    ],
    ids=["list", "stream", "204", "304", "cookie", "500"],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_responses_of_the_application(application: Application, status: int, method: str) -> None:
    with Site(application, header=HEADER) as site:
        client = site.connect()
        for _ in range(3):
            answer = client.get(method=method)
            assert answer.status == status
            assert (answer["x-added"], answer["cache-control"]) == ("1", "no-cache")
            assert answer["server"] == "wsgi_async"


def test_never_over_the_applications_own() -> None:
    application = responding(fields=[("CACHE-control", "public"), ("x-added", "")])
    with Site(application, header=HEADER) as site:
        answer = site.connect().get()
        assert (answer.all("cache-control"), answer.all("x-added")) == (["public"], [""])


def test_fields_are_added_to_each_answer() -> None:
    """Also a refusal: what is for security must be on each. A field of its own stays."""
    with Site(header=HEADER, health_path="/healthz", max_body_size=10) as site:
        client = site.connect()
        health = client.get("/healthz")
        assert (health["x-added"], health["cache-control"]) == ("1", "no-store")
        client.ask("/", "Content-Length: 11", method="POST")
        refusal = client.wait(2)
        assert (refusal.status, refusal["x-added"]) == (413, "1")


def test_it_is_one_write_and_no_bytes_are_made_anew() -> None:
    with Site(header=[f"X-Long: {'x' * 5000}"]) as site:
        client = site.connect()
        client.get()
        framer = site.connections.framer
        assert isinstance(framer, dict)
        known = dict(framer)
        client.get()
        assert dict(framer) == known
        assert len(client.transport.writes) == 2


@pytest.mark.parametrize(
    ("options", "fields", "expected"),
    [
        ({"server_header": False}, [], []),
        ({"server_header": False}, [("Server", "app")], ["app"]),
        ({"header": ["Server: mine"]}, [], ["mine"]),
        ({"header": ["Server: mine"], "server_header": False}, [], ["mine"]),
        ({"header": ["Server: mine"]}, [("Server", "app")], ["app"]),
    ],
)
def test_the_server_field(
    options: dict[str, Any], fields: list[tuple[str, str]], expected: list[str]
) -> None:
    with Site(responding(fields=fields), **options) as site:
        client = site.connect()
        client.judge.has_server = bool(expected)
        answer = client.get()
        assert (answer.all("server"), answer.body) == (expected, HELLO)
