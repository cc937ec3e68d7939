"""What else is told of a request where somebody wants timings: bytes in, thread, disk, parking."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from late import Steps, limited
from streams import CHUNK, Streamer
from timed import Timed
from wire import TIMEOUT, Held, Site, echo

from wsgi_async.events import ResponseInfo

POST = "POST / HTTP/1.1\r\nHost: a\r\n"


def facts(response: ResponseInfo) -> tuple[object, ...]:
    return (
        response.received,
        response.thread,
        response.was_spooled,
        response.was_parked,
        response.is_given_up,
    )


def test_what_nobody_asks_for_is_not_told() -> None:
    with Site(echo) as site:
        site.connect().get(method="POST", body=b"", version="1.1")
        [(_, response)] = site.observer.finished
    assert facts(response) == (None, None, False, False, False)


@pytest.mark.parametrize("buffering", ["full", "stream"])
@pytest.mark.parametrize(
    ("head", "body", "received"),
    [
        ("", b"", 0),
        ("Content-Length: 5\r\n", b"12345", 5),
        ("Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n", 7),
    ],
)
def test_bytes_of_the_body_are_counted_without_framing(
    buffering: str, head: str, body: bytes, received: int
) -> None:
    timed = Timed()
    with Site(echo, request_buffering=buffering, threads=1, subscribers=[timed]) as site:
        client = site.connect()
        client.send(f"{POST}{head}\r\n", "POST")
        if body:
            client.send(body)
        client.wait()
    assert [facts(response) for response in timed.ended] == [
        (received, "wsgi_async-1", False, False, False)
    ]


def test_a_body_is_counted_although_nobody_has_read_it() -> None:
    """Its client leaves the queue, where what it had sent is dropped at once."""
    timed, held = Timed(), Held()
    with Site(held, threads=1, subscribers=[timed]) as site:
        site.connect().ask()
        held.wait_entered()
        client = site.connect()
        client.send(f"{POST}Content-Length: 3\r\n\r\nabc", "POST")
        client.transport.reset()
        site.loop.run_until(lambda: timed.ended)
        held.gate.release()
        site.settle()
    assert facts(timed.ended[0]) == (3, None, False, False, False)


def test_a_request_that_waited_on_disk_was_spooled() -> None:
    timed = Timed()
    with Site(echo, spool_threshold=10, subscribers=[timed]) as site:
        client = site.connect()
        client.send(f"{POST}Content-Length: 11\r\n\r\n", "POST")
        client.send(b"x" * 11)
        assert client.wait().body.endswith(b"x" * 11)
        client.send(f"{POST}Content-Length: 10\r\n\r\n", "POST")
        client.send(b"x" * 10)
        client.wait(2)
    assert [response.was_spooled for response in timed.ended] == [True, False]


def chunks(count: int) -> Streamer:
    return Streamer(lambda: itertools.repeat(CHUNK, count))


@pytest.mark.parametrize(
    ("overflow", "expected"), [("spool", (True, False)), ("park", (False, True))]
)
def test_a_response_that_waits_for_its_client(overflow: str, expected: tuple[bool, bool]) -> None:
    timed = Timed()
    options: dict[str, Any] = {"response_overflow": overflow, "response_buffer": 65536}
    with Site(chunks(64), subscribers=[timed], **options) as site:
        client = site.connect(window=0)
        client.ask()
        site.settle()
        while not client.answers:
            client.transport.take(200_000)
            site.settle()
    [response] = timed.ended
    assert (response.was_spooled, response.was_parked) == expected
    assert response.body_size == len(CHUNK) * 64


def test_a_file_of_the_application_is_not_a_spool() -> None:
    timed = Timed()

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        file = tempfile.TemporaryFile()  # noqa: SIM115
        file.write(b"x" * 100_000)
        file.seek(0, os.SEEK_SET)
        return environ["wsgi.file_wrapper"](file)  # type: ignore[no-any-return]

    with Site(application, subscribers=[timed]) as site:
        assert len(site.connect().get().body) == 100_000
    assert [response.was_spooled for response in timed.ended] == [False]


def test_a_request_whose_thread_is_lost_is_given_up() -> None:
    timed, application = Timed(), Steps(b"late")
    with limited(application, subscribers=[timed]) as site:
        client = site.connect()
        client.ask()
        application.wait()
        site.sweep(10.2)
        assert client.wait().status == 504
        application.step()
        site.observer.returned.get(timeout=TIMEOUT)
    [response] = timed.ended
    assert response.status == 504
    assert facts(response) == (0, "wsgi_async-1", False, False, True)
