"""What the benchmark's clients make of bytes: wrk's report, heads, bodies, percentiles."""

from __future__ import annotations

import pytest

from benchmarks.clients import mix, wire
from benchmarks.clients.download import Body
from benchmarks.scenarios import wrk

WRK = """Running 1s test @ http://127.0.0.1:8000/
  1 threads and 64 connections
  100 requests in 1.00s, 12KB read
{"requests": 100, "duration": 2000000, "p50": 1500, "p99": 9000, \
"connect": 1, "read": 2, "write": 3, "status": 10, "timeout": 4}
"""


def test_wrk_is_read() -> None:
    assert wrk.parse(WRK) == wrk.Report(
        succeeded=90, seconds=2.0, refused=10, errors=20, p50=1.5, p99=9.0
    )
    assert wrk.parse(WRK).rate == 45


def test_wrk_without_a_response_is_read() -> None:
    found = wrk.parse(WRK.replace("1500", "null").replace("9000", "null").replace("100,", "10,"))
    assert (found.p50, found.p99, found.rate) == (None, None, 0)


def test_wrk_without_a_report_is_not_read() -> None:
    with pytest.raises(ValueError, match="wrk reported nothing"):
        wrk.parse("unable to create thread 0: Too many open files")


@pytest.mark.parametrize(
    ("fields", "length", "chunked", "close"),
    [
        (b"Content-Length: 12\r\n", 12, False, False),
        (b"content-length:7\r\nConnection: Close\r\n", 7, False, True),
        (b"Transfer-Encoding: chunked\r\n", None, True, False),
        (b"X-Content-Length: 12\r\n", None, False, True),
        (b"", None, False, True),
    ],
)
def test_heads_are_read(fields: bytes, length: int | None, chunked: bool, close: bool) -> None:
    head = b"HTTP/1.1 201 Created\r\n" + fields + b"\r\n"
    assert wire.Head.parse(head + b"body") == (wire.Head(201, length, chunked, close), len(head))
    assert wire.Head.parse(head[:-1]) is None


@pytest.mark.parametrize("received", [b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200" + b" " * 70_000])
def test_what_is_no_head_is_refused(received: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a response|does not end"):
        wire.Head.parse(received)


CHUNKED = wire.Head(200, None, chunked=True, close=False)
COUNTED = wire.Head(200, 6, chunked=False, close=False)


@pytest.mark.parametrize(
    ("head", "pieces"),
    [
        (COUNTED, [b"", b"abc", b"def"]),
        (CHUNKED, [b"6\r\nabcdef\r\n0\r", b"\n\r\n"]),
        (CHUNKED, [b"3\r\nabc\r\n3\r\ndef\r", b"\n0\r\n\r\n"]),
    ],
)
def test_bodies_end_where_they_end(head: wire.Head, pieces: list[bytes]) -> None:
    body = Body(head, 6, b"ef")
    assert [body.receive(memoryview(piece)) for piece in pieces] == [False] * (len(pieces) - 1) + [
        True
    ]
    body.check()


@pytest.mark.parametrize(
    ("head", "received"),
    [
        (COUNTED, b"abcde"),
        (COUNTED, b"abcdefg"),
        (COUNTED, b"abcdeX"),
        (CHUNKED, b"3\r\nabc\r\n"),
        (CHUNKED, b"6\r\nabcdeX\r\n0\r\n\r\n"),
        (CHUNKED, b"700\r\n" + b"f" * 0x700 + b"\r\n0\r\n\r\n"),
    ],
)
def test_bodies_of_another_size_or_end_are_wrong(head: wire.Head, received: bytes) -> None:
    body = Body(head, 6, b"ef")
    body.receive(memoryview(received))
    with pytest.raises(ValueError, match="a body of"):
        body.check()


def test_percentiles_are_values_that_were_there() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert mix.percentile(values, 0.5) == 50
    assert mix.percentile(values, 0.99) == 99
    assert mix.percentile([7.0], 0.99) == 7
