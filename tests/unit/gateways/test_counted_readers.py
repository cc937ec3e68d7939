"""uwsgi and SCGI however they are cut, truncated and made up: one request, or one refusal.

The models below read whole requests a second time, from the specifications: what is right does not
depend on how bytes come.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

import pytest
from cgi_variables import Asked, encode, nginx
from corpus import DEFAULTS
from front_servers import scgi, uwsgi
from hypothesis import strategies as st
from properties import examples

from wsgi_async.errors import HTTPError, ProtocolFault
from wsgi_async.gateways.counted import CountedReader
from wsgi_async.gateways.scgi import SCGIReader
from wsgi_async.gateways.uwsgi import UwsgiReader
from wsgi_async.gateways.variables import GatewayHead, most_bytes, request_head
from wsgi_async.http.limits import Limits
from wsgi_async.http.reading import Signal

Pairs = list[tuple[bytes, bytes]]
MORE = "more must come"
FAULT = "fault"
Parsed = tuple[Pairs, bytes] | str
"""Variables and what follows them; or what is said instead."""

BODY = b"hello\r\n\0"


def uwsgi_model(data: bytes) -> Parsed:
    if data[0] not in (0, 30):
        return FAULT
    if len(data) < 4:
        return MORE
    (size,) = struct.unpack_from("<H", data, 1)
    block, rest = data[4 : 4 + size], data[4 + size :]
    if len(block) < size:
        return MORE
    parts = []
    while block:
        if len(block) < 2:
            return FAULT
        (size,) = struct.unpack_from("<H", block)
        if len(block) < 2 + size:
            return FAULT
        parts.append(block[2 : 2 + size])
        block = block[2 + size :]
    if len(parts) % 2:
        return FAULT
    return list(zip(parts[::2], parts[1::2], strict=True)), rest


def scgi_model(data: bytes) -> Parsed:
    number, colon, rest = data.partition(b":")
    if not colon:
        return MORE if number.isdigit() and number[:1] != b"0" and len(number) <= 9 else FAULT
    if not number.isdigit() or number[:1] == b"0" or len(number) > 9:
        return FAULT
    size = int(number)
    if size > most_bytes(DEFAULTS):
        return "431"
    if len(rest) <= size:
        return MORE
    block, comma, rest = rest[:size], rest[size : size + 1], rest[size + 1 :]
    if comma != b"," or block[-1:] != b"\0":
        return FAULT
    parts = block[:-1].split(b"\0")
    if len(parts) % 2:
        return FAULT
    pairs = list(zip(parts[::2], parts[1::2], strict=True))
    if pairs[0][0] != b"CONTENT_LENGTH" or (b"SCGI", b"1") not in pairs:
        return FAULT
    return pairs, rest


class Protocol(NamedTuple):
    reader: Callable[[Limits], CountedReader]
    model: Callable[[bytes], Parsed]
    request: bytes
    """A whole one, with :data:`BODY`."""

    @property
    def body_begins(self) -> int:
        return len(self.request) - len(BODY)


def told(protocol: str) -> dict[str, str]:
    asked = Asked("/a%20b?c=d", "POST", lines=[("Host", "a"), ("Cookie", "e=f")], length=len(BODY))
    return dict(nginx(protocol, asked))


PROTOCOLS = {
    "uwsgi": Protocol(UwsgiReader, uwsgi_model, uwsgi(told("uwsgi"), BODY)),
    "scgi": Protocol(SCGIReader, scgi_model, scgi(told("scgi"), BODY)),
}
each_protocol = pytest.mark.parametrize("name", PROTOCOLS)


class Read(NamedTuple):
    """What a reader has made of bytes."""

    head: GatewayHead | None = None
    body: bytes = b""
    is_complete: bool = False
    said: str = ""
    """Instead of a head."""


def read(reader: CountedReader, pieces: Iterable[bytes]) -> Read:
    """Feed a reader, and hold it to what holds of all of them."""
    head: GatewayHead | None = None
    body, is_complete, said = b"", False, ""
    for piece in pieces:
        reader.receive_data(piece)
        while True:
            try:
                event = reader.next_event()
            except HTTPError as error:
                said += str(error.status)
            except ProtocolFault:
                said += FAULT
            else:
                if event is Signal.NEED_DATA:
                    break
                if isinstance(event, bytes):
                    assert event
                    assert head is not None
                    body += event
                elif event is Signal.END_OF_BODY:
                    assert not is_complete
                    is_complete = True
                else:
                    assert isinstance(event, GatewayHead)
                    assert head is None, "there is one request"
                    head = event
                    is_complete = not head.has_body
        assert reader.head_started is (not said and head is None)
        if head is not None or said:
            assert reader.buffered == 0, "what comes after a request is not kept"
    assert reader.replies() == b""
    return Read(head, body, is_complete, said)


def expected(name: str, data: bytes) -> Read:
    """By the model."""
    parsed = PROTOCOLS[name].model(data) if data else MORE
    if isinstance(parsed, str):
        return Read(said="" if parsed is MORE else parsed)
    try:
        head = request_head(parsed[0], DEFAULTS)
    except HTTPError as error:
        return Read(said=str(error.status))
    except ProtocolFault:
        return Read(said=FAULT)
    length = head.content_length or 0
    return Read(head, parsed[1][:length], len(parsed[1]) >= length)


def reader_of(name: str) -> CountedReader:
    return PROTOCOLS[name].reader(DEFAULTS)


@each_protocol
def test_every_truncation_waits_for_more(name: str) -> None:
    data, begins = PROTOCOLS[name].request, PROTOCOLS[name].body_begins
    for end in range(1, len(data)):
        result = read(reader_of(name), [data[:end]])
        assert result == expected(name, data[:end])
        assert not result.said
        assert (result.head is not None) is (end >= begins)
        assert (result.body, result.is_complete) == (data[begins:end], False)


@each_protocol
def test_every_cut_gives_the_same(name: str) -> None:
    data = PROTOCOLS[name].request
    whole = read(reader_of(name), [data])
    assert whole == expected(name, data)
    assert whole.head is not None
    assert (whole.head.target, whole.body, whole.is_complete) == ("/a%20b?c=d", BODY, True)
    assert read(reader_of(name), [data[at : at + 1] for at in range(len(data))]) == whole
    for at in range(1, len(data)):
        assert read(reader_of(name), [data[:at], data[at:]]) == whole


@each_protocol
def test_what_comes_after_a_request_is_nobodys(name: str) -> None:
    data = PROTOCOLS[name].request
    whole = read(reader_of(name), [data])
    for more in (b"x", data, b"GET / HTTP/1.1\r\n\r\n"):
        assert read(reader_of(name), [data + more]) == whole
        assert read(reader_of(name), [data, more, more]) == whole


@each_protocol
def test_whoever_receives_a_body_says_so(name: str) -> None:
    """As an upload that reads the socket itself."""
    data, begins = PROTOCOLS[name].request, PROTOCOLS[name].body_begins
    reader = reader_of(name)
    reader.receive_data(data[: begins + 3])
    assert isinstance(reader.next_event(), GatewayHead)
    assert reader.body_left == 0, "there is something of it here"
    assert reader.next_event() == BODY[:3]
    assert reader.body_left == len(BODY) - 3
    reader.skip_body(len(BODY) - 3)
    assert reader.body_left == 0
    assert reader.next_event() is Signal.END_OF_BODY
    assert reader.next_event() is Signal.NEED_DATA


@each_protocol
def test_any_byte_may_be_another(name: str) -> None:
    """A size that lies above all: the same verdict as the model's, however it is cut."""
    data, begins = PROTOCOLS[name].request, PROTOCOLS[name].body_begins
    for at in range(begins):
        for byte in {0, 1, 30, 32, 44, 48, 57, 58, 61, 255, data[at] ^ 1, (data[at] + 1) % 256}:
            wrong = data[:at] + bytes((byte,)) + data[at + 1 :]
            result = read(reader_of(name), [wrong])
            assert result == expected(name, wrong), (at, byte)
            assert read(reader_of(name), [wrong[: at + 1], wrong[at + 1 :]]) == result


pieces = st.sampled_from(
    [
        *(b"", b"\0", b"\1", b"\2\0", b"\0\0", b"\xff\xff", b"70:", b"2:", b",", b":", b"0"),
        *(b"CONTENT_LENGTH\0", b"5\0", b"SCGI\0001\0", b"REQUEST_METHOD\0GET\0", b"\x1e\0\0"),
        *(b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"\1\1\0\1\0\10\0\0"),
        uwsgi({"REQUEST_METHOD": "GET", "SERVER_NAME": "a"}),
        uwsgi({"REQUEST_METHOD": "GET", "SERVER_NAME": "a"})[4:],
        scgi({"REQUEST_METHOD": "GET", "SERVER_NAME": "a"}),
    ]
)


@examples(1000, st.sampled_from(sorted(PROTOCOLS)), st.lists(pieces | st.binary(max_size=4)))
def test_whatever_comes_is_as_by_the_model(name: str, parts: list[bytes]) -> None:
    """But that a beginning which may become HTTP is waited for, since the log is to name it."""
    data = b"".join(parts)
    if not data:
        return
    result = read(reader_of(name), [data])
    if result.said or not (data.isalpha() and data.isupper()):
        assert result == expected(name, data)
    sizes = [len(part) for part in parts]
    cut = [data[sum(sizes[:place]) :][:size] for place, size in enumerate(sizes)]
    assert read(reader_of(name), [part for part in cut if part]) == result


@pytest.mark.parametrize(
    "data",
    [
        *(b"070:", b"+70:", b" 70:", b"70 :", b"0x46:", b"-1:", b"0:,", b":", b"1" * 10, b"7_0:"),
        *(b"\xb2:", b"24:CONTENT_LENGTH\0000\0SCGI\0001\0;", b"1:\0,", b"3:A\0B,", b"2:A\0,"),
        *(b"24:SCGI\0001\0CONTENT_LENGTH\0000\0,", b"17:CONTENT_LENGTH\0000\0,"),
        *(b"24:CONTENT_LENGTH\0000\0SCGI\0002\0,", b"24:content_length\0000\0SCGI\0001\0,"),
        b"23:CONTENT_LENGTH\0000\0SCGI\0001\0,",
    ],
)
def test_netstrings_that_are_none(data: bytes) -> None:
    assert read(SCGIReader(DEFAULTS), [data]).said == FAULT


@pytest.mark.parametrize(
    "block",
    [
        *(b"\0", b"\1\0", b"\1\0A", b"\1\0A\1", b"\1\0A\1\0", b"\1\0A\2\0B", b"\xff\xff"),
        *(b"\1\0A\1\0B\0", b"\1\0A\1\0B\0\0", b"\1\0A\1\0B\1\0C"),
        *(b"\0\0\0\0", b"\0\0\1\0B"),  # a name without a letter
    ],
)
def test_blocks_of_uwsgi_whose_sizes_lie(block: bytes) -> None:
    data = b"\0" + struct.pack("<H", len(block)) + b"\0" + block
    assert read(UwsgiReader(DEFAULTS), [data]).said == FAULT


@each_protocol
def test_variables_of_64_kilobytes(name: str) -> None:
    """All that uwsgi can say, and SCGI more: what is a client's is refused with its status, what
    is not is taken up to its bound."""
    room = 65535 - len(uwsgi(told("uwsgi"))) + 4
    make = {"uwsgi": uwsgi, "scgi": scgi}[name]
    for variable, said in (("HTTP_X", "431"), ("QUERY_STRING", "414"), ("SSL_CLIENT_CERT", "")):
        named = told(name)
        named.pop(variable, None)
        value = "a" * (room - len(variable) - 4)
        data = make({**named, variable: value}, BODY)
        assert len(data) > 65000
        result = read(reader_of(name), [data])
        assert result.said == said
        parts = [data[at : at + 4096] for at in range(0, len(data), 4096)]
        assert read(reader_of(name), parts) == result
        if result.head is not None:
            assert result.head.variables[variable] == value
            assert result.body == BODY


def test_a_netstring_has_a_bound_before_it_comes() -> None:
    most = most_bytes(DEFAULTS)
    assert read(SCGIReader(DEFAULTS), [b"%d:" % most]).said == ""
    assert read(SCGIReader(DEFAULTS), [b"%d:" % (most + 1)]).said == "431"
    named = {**told("scgi"), "X": ""}
    named["X"] = "a" * (most - len(scgi(named)) + len(b"123456:,") - 3)
    data = scgi(named, BODY)
    assert data.startswith(b"%d:" % most)
    result = read(SCGIReader(DEFAULTS), [data])
    assert result.head is not None
    assert result.is_complete


@each_protocol
@pytest.mark.parametrize("length", [0, 1, len(BODY) - 1, len(BODY), len(BODY) + 1, 10**19])
def test_a_body_is_as_long_as_is_said(name: str, length: int) -> None:
    """Whatever comes: less of it is waited for, more is nobody's."""
    named = told(name)
    named["CONTENT_LENGTH"] = str(length)
    data = uwsgi(named, BODY) if name == "uwsgi" else netstring(named) + BODY
    result = read(reader_of(name), [data])
    assert result.head is not None
    assert result.head.content_length == length
    assert (result.body, result.is_complete) == (BODY[:length], len(BODY) >= length)


def netstring(named: dict[str, str]) -> bytes:
    block = b"".join([name + b"\0" + value + b"\0" for name, value in encode(named)])
    return b"%d:%s," % (len(block), block)
