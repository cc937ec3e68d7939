"""The raw-request corpus once over real sockets: the valid is answered, the invalid refused."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from corpus import CASES, Case
from rawclient import RawClient
from serving import Served, serving

from wsgi_async.http.limits import Limits

SERVED = [case for case in CASES if all(case.limits)]
"""A server has always limits; only the reader knows none (0)."""

TOO_LARGE = {"content-length: 2**64 + 5 is not 5"}
"""Bodies that the reader would wait for, and that no server's limit allows."""

SAMPLE = 12
"""Of so many cases one is asked over TLS also in an ordinary run."""

Call = tuple[str, str, bytes]
Start = Callable[..., tuple[Served, list[Call]]]


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """A server with the given limits, and the list of what reaches its application."""
    servers: dict[tuple[Limits, bool], tuple[Served, list[Call]]] = {}
    with contextlib.ExitStack() as stack:

        def start(limits: Limits, tls: bool) -> tuple[Served, list[Call]]:
            if (limits, tls) not in servers:
                calls: list[Call] = []

                def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
                    body = environ["wsgi.input"].read()
                    calls.append((environ["REQUEST_METHOD"], environ["REQUEST_URI"], body))
                    start_response("200 OK", [])
                    return [b"answer"]

                options = {
                    "limit_request_line": limits.request_line,
                    "limit_request_fields": limits.fields,
                    "limit_request_field_size": limits.field_size,
                    "max_header_size": limits.header_size,
                }
                served = stack.enter_context(serving(app, threads=2, tls=tls, **options))
                servers[limits, tls] = served, calls
            return servers[limits, tls]

        yield start


def over_tls() -> Iterator[Any]:
    for number, case in enumerate(SERVED):
        marks = [pytest.mark.soak] if number % SAMPLE else []
        yield pytest.param(case, True, id=f"tls: {case.id}", marks=marks)


@pytest.mark.parametrize(
    ("case", "tls"),
    [*(pytest.param(case, False, id=case.id) for case in SERVED), *over_tls()],
)
def test_over_a_socket(case: Case, tls: bool, start: Start) -> None:
    served, calls = start(case.limits, tls)
    calls.clear()
    expected = list(case.requests)
    with served.client() as client:
        client.send(case.raw)
        for number, (method, _, _) in enumerate(case.requests, 1):
            response = client.response(method)
            assert response.status == 200
            assert response.body == (b"" if method == "HEAD" else b"answer")
            if response.fields.get("connection") == "close":
                # What the client sent after that is none of the server's business.
                expected = case.requests[:number]
                break
        else:
            check_the_rest(case, client)
        assert client.is_dropped()
    assert calls == expected


def check_the_rest(case: Case, client: RawClient) -> None:
    """After the requests that are answered, with the connection still open."""
    if case.status is not None:
        response = client.response()
        assert response.status == case.status
        assert response.fields["connection"] == "close"
        return
    client.half_close()
    if case.incomplete:
        assert client.response().status == (413 if case.id in TOO_LARGE else 400)
