"""The name that a client asks for: what any bytes come to, however they are cut."""

from __future__ import annotations

import contextlib
import ssl
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgi_async.tls.hello import LONGEST, ClientHello


def hello(name: str | None = "www.example.org", maximum: str = "TLSv1_3") -> bytes:
    """As OpenSSL sends it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.maximum_version = ssl.TLSVersion[maximum]
    outgoing = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


HELLO = hello()


def in_records(data: bytes, size: int) -> bytes:
    """The same message in records of `size` bytes (RFC 8446 §5.1)."""
    head, message = data[:3], data[5:]
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(head + len(part).to_bytes(2, "big") + part for part in parts)


@pytest.mark.parametrize("maximum", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("name", ["www.example.org", "xn--bcher-kva.example", None])
def test_the_name_is_found(name: str | None, maximum: str) -> None:
    found = ClientHello()
    assert found.feed(hello(name, maximum))
    assert found.name == name


def test_it_is_known_with_the_last_byte_and_not_before() -> None:
    for data in (HELLO, in_records(HELLO, 50), in_records(HELLO, 1)):
        found = ClientHello()
        for at in range(len(data) - 1):
            assert not found.feed(data[at : at + 1])
        assert found.feed(data[-1:])
        assert found.name == "www.example.org"
        assert found.data == data


def test_a_name_that_is_not_ascii_is_none() -> None:
    # The callback of ssl writes a traceback of it.
    found = ClientHello()
    assert found.feed(HELLO.replace(b"www", b"w\xffw"))
    assert found.name is None


@pytest.mark.parametrize("name", [b"w\nw", b"w w", b"\x1b[w", b"w\0w"])
def test_a_name_that_no_host_has_is_none(name: bytes) -> None:
    """Nobody gets a line of his own into a log by it."""
    found = ClientHello()
    assert found.feed(HELLO.replace(b"www", name[:3]))
    assert found.name is None


def test_a_byte_costs_the_same_whatever_came_before() -> None:
    """Else 16 KB in records of a byte, each sent by itself, held the loop for seconds."""
    # It says that it is long, and may therefore be fed for long.
    message = b"\x01\x00\x40\x00" + bytes(3000)
    data = in_records(b"\x16\x03\x01\x00\x00" + message, 1)
    found = ClientHello()
    lines = 0

    def count(frame: object, event: str, arg: object) -> object:
        nonlocal lines
        lines += event == "line"
        return count

    def lines_of(part: bytes) -> int:
        nonlocal lines
        lines = 0
        before = sys.gettrace()
        sys.settrace(count)  # type: ignore[arg-type]
        try:
            for at in range(len(part)):
                found.feed(part[at : at + 1])
        finally:
            sys.settrace(before)
        return lines

    first = lines_of(data[6:606])
    found.feed(data[606:-600])
    assert lines_of(data[-600:]) <= first * 1.2


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", b"\x15\x03\x01\x00\x02\x02\x28", b"\0"])
def test_what_is_no_hello_is_known_at_once(data: bytes) -> None:
    found = ClientHello()
    assert found.feed(data)
    assert found.name is None


def test_nobody_makes_us_keep_more_than_a_bound() -> None:
    found = ClientHello()
    endless = b"\x16\x03\x01\x40\x00\x01\x00\xff\xff" + bytes(LONGEST)
    assert not found.feed(endless[:LONGEST])
    assert found.feed(endless[LONGEST:])


@given(st.binary(max_size=200), st.integers(0, len(HELLO) - 1), st.integers(0, 255))
def test_no_bytes_raise(data: bytes, at: int, byte: int) -> None:
    for each in (data, b"\x16\x03\x01" + data, HELLO[:at] + bytes([byte]) + HELLO[at + 1 :]):
        found = ClientHello()
        found.feed(each)
        assert found.name is None or found.name.isascii()
