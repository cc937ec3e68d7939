"""The chunked decoder: strict, indifferent to segmentation, and never beyond what h11 accepts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import h11
import pytest
from hypothesis import example
from hypothesis import strategies as st
from properties import examples

from wsgi_async.errors import HTTPError
from wsgi_async.http.limits import Limits
from wsgi_async.http1 import chunked
from wsgi_async.http1.chunked import (
    FREE_FRAMING_SIZE,
    MAX_EXTENSIONS_SIZE,
    MAX_LINE_SIZE,
    ChunkedDecoder,
)

LIMITS = Limits(request_line=0, fields=4, field_size=60, header_size=120).bounds()


class Verdict(NamedTuple):
    """What became of a body."""

    data: bytes
    status: int | None
    rest: bytes | None
    """What follows a complete body; None where it is not complete."""


def decode(pieces: Iterable[bytes], limits: Limits = LIMITS) -> Verdict:
    decoder = ChunkedDecoder(limits)
    data: list[bytes] = []
    rest: list[bytes] = []
    try:
        for piece in [*pieces, b""]:
            if decoder.finished:
                rest.append(piece)
            else:
                data.append(decoder.decode(piece))
                assert decoder.buffered <= MAX_LINE_SIZE + 1
    except HTTPError as error:
        return Verdict(b"".join(data), error.status, None)
    if decoder.finished:
        return Verdict(b"".join(data), None, decoder.trailing_data + b"".join(rest))
    return Verdict(b"".join(data), None, None)


def decode_with_h11(pieces: Iterable[bytes]) -> Verdict:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    connection.next_event()
    data = bytearray()
    finished = False
    try:
        for piece in pieces:
            if piece:
                connection.receive_data(piece)
            while not finished and (event := connection.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Data):
                    data += event.data
                else:
                    finished = isinstance(event, h11.EndOfMessage)
    except h11.RemoteProtocolError:
        return Verdict(bytes(data), 400, None)
    return Verdict(bytes(data), None, connection.trailing_data[0] if finished else None)


SIZES = st.sampled_from([b"0", b"1", b"2", b"a", b"0A", b"000", b"0" * 15 + b"1", b"0" * 16 + b"1"])
EXTENSIONS = st.sampled_from(
    [b"", b"", b";a", b";a=b", b'; a = "b;\\"c" ', b";a;b=c", b" ;a", b";", b";a=", b';a="', b" "]
)
ENDS = st.sampled_from([b"\r\n"] * 6 + [b"\n", b"\r", b"", b"\r\r\n"])
CHUNKS = st.builds(
    lambda size, extension, end, data, crlf: (
        size + extension + end + (data * 20)[: int(size, 16)] + crlf
    ),
    SIZES,
    EXTENSIONS,
    ENDS,
    st.sampled_from([b"x", b"\r\n", b"0\r\n\r\n"]),
    ENDS,
)
TRAILERS = st.sampled_from(
    [
        *(b"X: y\r\n", b"X:\r\n", b"X: \xe9\r\n", b" y\r\n", b"X : y\r\n", b"X\r\n", b"X: y\n"),
        *(b"\r", b"Content-Length: 1\r\n", b"Transfer-Encoding: x\r\n", b"X: \x01\r\n"),
        b"X: %b\r\n" % (b"y" * 60),
    ]
)
BODIES = st.builds(
    lambda chunks, last, trailers, end, after: b"".join([*chunks, last, *trailers, end, after]),
    st.lists(CHUNKS, max_size=4),
    st.sampled_from([b"0\r\n"] * 6 + [b"", b"00;a\r\n", b"0 \r\n"]),
    st.lists(TRAILERS, max_size=5),
    ENDS,
    st.sampled_from([b"", b"GET / HTTP/1.1\r\n\r\n", b"\r\n"]),
)
STREAMS = st.one_of(
    BODIES,
    st.binary(max_size=30),
    st.lists(st.sampled_from([b"0", b"1", b"f", b";", b"a", b"=", b'"', b" ", b"\t", b"\r\n", b"\n",
                              b"\r", b"\0", b"\x7f", b"\xff", b":", b"\\"])).map(b"".join),
)  # fmt: skip


@examples(2500, STREAMS, st.lists(st.integers(0, 80), max_size=6))
@example(b'2;a="\\"";b\r\nhi\r\n1\r\n!\r\n0\r\nX: y\r\n\r\nGET', [1, 5, 20])
def test_segmentation_does_not_matter_and_h11_agrees(stream: bytes, cuts: list[int]) -> None:
    ends = sorted({min(cut, len(stream)) for cut in cuts} | {len(stream)})
    pieces = [stream[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    assert b"".join(pieces) == stream
    verdict = decode([stream])
    assert decode(pieces) == verdict
    assert decode(stream[at : at + 1] for at in range(len(stream))) == verdict
    if verdict.rest is not None:
        assert decode_with_h11([stream]) == verdict
        assert decode_with_h11(pieces) == verdict


@examples(1000, STREAMS, st.lists(st.integers(0, 80), max_size=6), st.integers(0, 40))
def test_segmentation_does_not_matter_to_the_bound_on_framing(
    stream: bytes, cuts: list[int], free: int
) -> None:
    ends = sorted({min(cut, len(stream)) for cut in cuts} | {len(stream)})
    pieces = [stream[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    unbounded = decode([stream])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunked, "FREE_FRAMING_SIZE", free)
        verdict = decode([stream])
        assert decode(pieces) == verdict
        assert decode(stream[at : at + 1] for at in range(len(stream))) == verdict
    if verdict.status is None:
        assert verdict == unbounded
    else:
        assert unbounded.data.startswith(verdict.data)


def test_says_that_there_is_too_much_framing() -> None:
    decoder = ChunkedDecoder(LIMITS)
    most = FREE_FRAMING_SIZE // 4
    assert decoder.decode(b"1\r\nx\r\n" * (most + 2)) == b"x" * most
    with pytest.raises(HTTPError, match="The chunk framing is larger than the body"):
        decoder.decode(b"")


def test_hands_data_out_as_it_came() -> None:
    decoder = ChunkedDecoder(LIMITS)
    piece = b"x" * 1000
    assert decoder.decode(b"fa0\r\n") == b""
    assert all(decoder.decode(piece) is piece for _ in range(4))
    assert decoder.decode(b"\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n") == b"abcdef"
    assert not decoder.finished
    assert decoder.decode(b"\r\nGET") == b""
    assert decoder.finished
    assert decoder.trailing_data == b"GET"


def test_gives_the_data_before_an_error_and_then_the_error_for_good() -> None:
    decoder = ChunkedDecoder(LIMITS)
    assert decoder.decode(b"2\r\nhi\r\n2\r\nyou\r\n") == b"hiyo"
    for data in (b"", b"0\r\n\r\n"):
        with pytest.raises(HTTPError, match="400"):
            decoder.decode(data)
    assert not decoder.finished
    assert decoder.buffered == 0


def test_counts_the_bytes_of_a_line_that_is_not_complete() -> None:
    decoder = ChunkedDecoder(LIMITS)
    decoder.decode(b"2\r\nhi\r\n00")
    decoder.decode(b"0")
    assert decoder.buffered == 3
    decoder.decode(b"\r\n")
    assert decoder.buffered == 0


def line(size: int) -> bytes:
    """A line of `size` bytes before a chunk of one byte, with that chunk."""
    return b"1;" + b"a" * (size - 2) + b"\r\nx\r\n"


@pytest.mark.parametrize(
    ("stream", "status"),
    [
        pytest.param(line(MAX_LINE_SIZE), None, id="longest line"),
        pytest.param(line(MAX_LINE_SIZE + 1), 400, id="line too long"),
        pytest.param(b"1;" + b"a" * MAX_LINE_SIZE, 400, id="line without end"),
        pytest.param(line(1025) * (MAX_EXTENSIONS_SIZE // 1024), None, id="most extensions"),
        pytest.param(
            line(1025) * (MAX_EXTENSIONS_SIZE // 1024) + line(3), 400, id="too many extensions"
        ),
        # Each chunk of one byte takes four of what is free: five of framing, less one of data.
        pytest.param(b"1\r\nx\r\n" * (FREE_FRAMING_SIZE // 4), None, id="most framing"),
        pytest.param(
            b"1\r\nx\r\n" * (FREE_FRAMING_SIZE // 4) + b"1\r\n", 400, id="too much framing"
        ),
        pytest.param(b"5\r\nhello\r\n" * 20_000, None, id="as much data as framing"),
        pytest.param(b"f" * 16 + b"\r\nx", None, id="largest size"),
        pytest.param(b"0" * 17 + b"\r\n", 400, id="too many digits"),
        pytest.param(b"0\r\n" + b"A: b\r\n" * 4, None, id="most trailers"),
        pytest.param(b"0\r\n" + b"A: b\r\n" * 4 + b"C", 431, id="too many trailers"),
        pytest.param(b"0\r\nA: " + b"b" * 57 + b"\r\n", None, id="longest trailer"),
        pytest.param(b"0\r\nA: " + b"b" * 58, 431, id="trailer too long"),
        pytest.param(b"0\r\n" + (b"A: " + b"b" * 54 + b"\r\n") * 2 + b"\r\n", None, id="largest"),
        pytest.param(b"0\r\n" + (b"A: " + b"b" * 55 + b"\r\n") * 2 + b"\r\n", 431, id="too large"),
    ],
)
def test_limits(stream: bytes, status: int | None) -> None:
    assert decode([stream]).status == status
    assert decode(stream[at : at + 1] for at in range(len(stream))).status == status
