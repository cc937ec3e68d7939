"""The raw requests of corpus/ through a whole connection: an invalid one reaches no application."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from corpus import CASES, Case, read, text_of
from wire import Site

from wsgi_async.connection.states import ConnectionState
from wsgi_async.http.limits import Limits

MAX_BODY_SIZE = 1 << 30


class Listener:
    """An application that notes what it is given."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, bytes]] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        body = environ["wsgi.input"].read()
        self.requests.append((environ["REQUEST_METHOD"], environ["RAW_URI"], body))
        start_response("200 OK", [])
        return [b"ok"]


def expected(case: Case) -> tuple[list[tuple[str, str, bytes]], int | None, bool]:
    """Requests to be answered, the status of the refusal after them, whether more is awaited."""
    verdict = read(case.limits, "h11", [case.raw])
    for number, head in enumerate(verdict.heads, 1):
        if (head.content_length or 0) > MAX_BODY_SIZE:
            return case.requests[: number - 1], 413, False
        if not head.keep_alive and number <= len(case.requests):
            return case.requests[:number], None, False  # what follows is ignored
    return case.requests, case.status, case.incomplete


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_the_verdict(case: Case) -> None:
    """By either parser, the bytes together and one by one."""
    requests, status, incomplete = expected(case)
    for parser in ("auto", "h11"):
        for size in (1 << 20, 1):
            try:
                check(case, parser, size, requests, status, incomplete)
            except BaseException as error:
                error.add_note(f"by {parser}, {size} bytes at a time")
                raise


def check(
    case: Case,
    parser: str,
    size: int,
    requests: list[tuple[str, str, bytes]],
    status: int | None,
    incomplete: bool,
) -> None:
    application = Listener()
    limits = Limits(*(limit or 1 << 30 for limit in case.limits))  # no option means no limit
    with Site(
        application,
        threads=1,
        parser=parser,
        max_body_size=MAX_BODY_SIZE,
        limit_request_line=limits.request_line,
        limit_request_fields=limits.fields,
        limit_request_field_size=limits.field_size,
        max_header_size=limits.header_size,
    ) as site:
        client = site.connect()
        client.judge.methods += [method for method, _, _ in requests]
        client.judge.methods.append("GET")
        for start in range(0, len(case.raw), size):
            client.transport.receive(case.raw[start : start + size])
        site.settle()
        statuses = [200] * len(requests)
        if status is not None:
            statuses.append(status)
            assert client.state is ConnectionState.LINGERING
        assert [answer.status for answer in client.answers] == statuses
        if status is not None and status == case.status:
            text = client.answers[-1].body.decode().split("\n")[2]
            assert text == text_of(case.raw, case.limits)
        assert application.requests == requests
        if incomplete:
            assert client.state in (ConnectionState.HEAD, ConnectionState.BODY)
            client.transport.receive_eof()
            assert client.answers[-1].status == 400
            assert application.requests == requests
