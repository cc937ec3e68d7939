"""Records of FastCGI: numbers of the specification, pairs of any length, and large pieces cut."""

from __future__ import annotations

import pytest
from fastcgi_peer import Responses, pair
from hypothesis import strategies as st
from properties import examples

from wsgi_async.errors import ProtocolFault
from wsgi_async.gateways.fastcgi_records import (
    FAULTY,
    Kind,
    ProtocolStatus,
    end_request,
    name_value,
    name_values,
    read_header,
    record,
    stream,
)

SIZES = st.sampled_from([0, 1, 2, 126, 127, 128, 129, 300, 70_000])
TEXTS = st.builds(lambda size, byte: bytes((byte,)) * size, SIZES, st.integers(0, 255))


def test_a_record_is_as_the_specification_draws_it() -> None:
    assert record(Kind.STDOUT, 258, b"abc") == b"\x01\x06\x01\x02\x00\x03\x00\x00abc"
    ended = end_request(1, ProtocolStatus.CANT_MPX_CONN, app_status=7)
    assert ended == b"\x01\x03\x00\x01\x00\x08\x00\x00" + b"\x00\x00\x00\x07\x01\x00\x00\x00"


def test_a_header_says_what_the_specification_draws() -> None:
    header = read_header(b"..\x01\x05\x01\x02\x03\x04\x06\xff", 2)
    assert header == (1, Kind.STDIN, 258, 772, 6)


def test_what_is_written_for_a_cut_is_of_no_version() -> None:
    assert read_header(FAULTY, 0) == (0, 0, 0, 0, 0)


@examples(200, st.lists(st.tuples(TEXTS, TEXTS, st.booleans()), max_size=5))
def test_pairs_of_any_length_are_read(given: list[tuple[bytes, bytes, bool]]) -> None:
    content = b"".join([pair(name, value, long=long) for name, value, long in given])
    assert name_values(content) == [(name, value) for name, value, _ in given]


@examples(100, TEXTS, TEXTS)
def test_pairs_are_written_as_a_front_server_writes_them(name: bytes, value: bytes) -> None:
    assert name_value(name, value) == pair(name, value)


@pytest.mark.parametrize("long", [False, True])
def test_no_truncated_pairs_pass(long: bool) -> None:
    whole = pair(b"A", b"one", long=long) + pair(b"B" * 130, b"", long=long)
    first = len(pair(b"A", b"one", long=long))
    for size in range(1, len(whole)):
        if size != first:
            with pytest.raises(ProtocolFault, match="lengths"):
                name_values(whole[:size])


@pytest.mark.parametrize(
    "lie", [b"\x02\x01A", b"\x01\x7fAb", b"\xff\xff\xff\xff\x00A", b"\x00\x80\x00\x00\x01", b"\x80"]
)
def test_lengths_that_lie_are_refused(lie: bytes) -> None:
    with pytest.raises(ProtocolFault, match="lengths"):
        name_values(lie)


@examples(
    200,
    st.lists(st.sampled_from([0, 1, 7, 8, 4096, 65527, 65528, 65535, 65536, 131_072, 200_001])),
)
def test_pieces_of_any_size_arrive_whole(sizes: list[int]) -> None:
    pieces = [bytes((index % 251,)) * size for index, size in enumerate(sizes)]
    framed = stream(Kind.STDOUT, 3, pieces)
    responses = Responses()
    responses.take(b"".join(framed))
    assert responses.is_between_records
    assert (responses.open[3].stdout if responses.open else b"") == b"".join(pieces)
    assert 0 not in responses.sizes, "that would be the stream's end"
    for piece in pieces:
        if 0 < len(piece) <= 65535:
            assert any(part is piece for part in framed), "it was copied without need"


def test_large_pieces_are_cut_in_equal_parts() -> None:
    for size, parts in ((65_535, 1), (65_536, 2), (1 << 20, 17)):
        responses = Responses()
        responses.take(b"".join(stream(Kind.STDOUT, 1, [bytes(size)])))
        assert len(responses.sizes) == parts
        assert max(responses.sizes) - min(responses.sizes) <= 8 * parts
        assert all(part % 8 == 0 for part in responses.sizes[:-1]), "headers are not aligned"


def test_small_pieces_share_a_record() -> None:
    responses = Responses()
    responses.take(b"".join(stream(Kind.STDOUT, 1, [b"abc"] * 1000)))
    assert responses.sizes == [3000]
