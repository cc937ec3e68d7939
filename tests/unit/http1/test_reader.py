"""The reader's own duties: events, buffering, cost. Its verdicts are in corpus/."""

from __future__ import annotations

import pytest
from corpus import CASES, DEFAULTS, Case, read
from hypothesis import strategies as st
from properties import examples

from wsgi_async.errors import HTTPError
from wsgi_async.http.admission import admit
from wsgi_async.http.limits import Limits
from wsgi_async.http.reading import Signal
from wsgi_async.http.request import RequestHead
from wsgi_async.http1 import reader as http1
from wsgi_async.http1.reader import RequestReader

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
NEED_DATA, END_OF_BODY = Signal.NEED_DATA, Signal.END_OF_BODY

parsers = pytest.mark.parametrize("parser", ["auto", "h11"])


def reader_with(data: bytes, parser: str = "auto") -> RequestReader:
    http1._heads.clear()
    reader = RequestReader(DEFAULTS, parser)
    reader.receive_data(data)
    return reader


def head_of(reader: RequestReader) -> RequestHead:
    head = reader.next_event()
    assert isinstance(head, RequestHead)
    return head


@parsers
def test_a_head_without_body_is_its_only_event(parser: str) -> None:
    reader = reader_with(GET, parser)
    assert not head_of(reader).has_body
    assert reader.next_event() is NEED_DATA
    assert reader.next_event() is NEED_DATA
    reader.receive_data(GET)
    assert head_of(reader).target == "/"


@parsers
def test_a_body_with_a_length(parser: str) -> None:
    reader = reader_with(POST + b"he", parser)
    head = head_of(reader)
    assert (head.content_length, head.chunked, head.has_body) == (5, False, True)
    assert reader.next_event() == b"he"
    assert reader.next_event() is NEED_DATA
    reader.receive_data(b"lloGET")
    assert reader.next_event() == b"llo"
    assert reader.next_event() is END_OF_BODY
    assert reader.next_event() is NEED_DATA
    assert reader.buffered == 3


@pytest.mark.parametrize("size", [1, 3])
def test_a_part_of_a_body_that_somebody_else_received(size: int) -> None:
    reader = reader_with(POST + b"he")
    assert reader.body_left == 0
    head_of(reader)
    assert reader.body_left == 0
    assert reader.next_event() == b"he"
    assert reader.body_left == 3
    reader.skip_body(size)
    assert reader.body_left == 3 - size
    reader.receive_data(b"lo"[: 3 - size] + GET)
    if size < 3:
        assert reader.next_event() == b"lo"
    assert reader.next_event() is END_OF_BODY
    assert reader.body_left == 0
    assert head_of(reader).method == "GET"


@parsers
def test_a_chunked_body(parser: str) -> None:
    reader = reader_with(CHUNKED + b"2\r\nhe\r\n3\r\nl", parser)
    head = head_of(reader)
    assert (head.content_length, head.chunked, head.has_body) == (None, True, True)
    assert reader.next_event() == b"hel"
    assert reader.next_event() is NEED_DATA
    reader.receive_data(b"lo\r\n0\r\n\r\nGET")
    assert reader.next_event() == b"lo"
    assert reader.next_event() is END_OF_BODY
    assert reader.next_event() is NEED_DATA
    assert reader.buffered == 3


def test_an_empty_chunked_body_has_an_end() -> None:
    reader = reader_with(CHUNKED + b"0\r\n\r\n")
    assert head_of(reader).has_body
    assert reader.next_event() is END_OF_BODY
    assert reader.next_event() is NEED_DATA


def test_a_broken_body_gives_its_data_first() -> None:
    """So whoever counts the data (413) and the decoder (400) do not race."""
    reader = reader_with(CHUNKED + b"2\r\nhe\r\nrubbish\r\n")
    head_of(reader)
    assert reader.next_event() == b"he"
    for _ in range(2):
        with pytest.raises(HTTPError) as caught:
            reader.next_event()
        assert caught.value.status == 400


def test_events_are_bytes_and_not_copied_where_they_need_not_be() -> None:
    reader = reader_with(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
    head_of(reader)
    piece = b"x" * 30
    reader.receive_data(piece)
    assert reader.next_event() is piece
    reader.receive_data(piece)
    reader.receive_data(piece)
    event = reader.next_event()
    assert type(event) is bytes
    assert event == piece * 2


def test_an_error_is_for_good() -> None:
    reader = reader_with(b"GET / HTTP/1.1\r\n\r\n" + GET)
    for _ in range(2):
        with pytest.raises(HTTPError, match="Host") as caught:
            reader.next_event()
        assert caught.value.status == 400
        reader.receive_data(GET)
        assert reader.buffered == 0
        assert not reader.head_started


@parsers
@pytest.mark.parametrize(
    "raw",
    [
        b"GET / SECRET\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nSECRET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: SECRET SECRET\r\n\r\n",
        b"GET SECRET HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: SECRET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: SECRET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nExpect: SECRET\r\n\r\n",
        b"SECRET: x\r\n\r\n",
    ],
)
def test_an_error_quotes_nothing_of_the_client(raw: bytes, parser: str) -> None:
    with pytest.raises(HTTPError) as caught:
        reader_with(raw, parser).next_event()
    assert caught.value.detail
    assert "SECRET" not in str(caught.value).upper()


@pytest.mark.parametrize(
    ("data", "started"),
    [
        (b"", False),
        (b"\r", False),
        (b"\r\n", False),
        (b"\r\n\r", True),
        (b"\r\nG", True),
        (b"\rG", True),
        (b"G", True),
        (b"\n", True),
        (GET, True),
    ],
)
def test_head_started(data: bytes, started: bool) -> None:
    assert reader_with(data).head_started is started
    after = reader_with(GET + data)
    head_of(after)
    assert after.head_started is started
    behind_a_body = reader_with(POST + b"hello" + data)
    head_of(behind_a_body)
    assert behind_a_body.head_started is started
    assert behind_a_body.next_event() == b"hello"
    assert behind_a_body.head_started is started
    assert behind_a_body.next_event() is END_OF_BODY
    assert behind_a_body.head_started is started
    if len(data) < 3 and data.startswith(b"\r\n"[: len(data)]):
        reader = reader_with(data)
        assert reader.next_event() is NEED_DATA
        assert not reader.head_started
        reader.receive_data(b"\r\nG"[len(data) :])
        assert reader.head_started


def test_head_started_is_not_about_this_body() -> None:
    reader = reader_with(POST + b"hell")
    head_of(reader)
    assert not reader.head_started
    reader = reader_with(CHUNKED + b"4\r\nhell")
    head_of(reader)
    assert not reader.head_started
    assert reader.next_event() == b"hell"
    reader.receive_data(b"\r\n0\r\n\r\nG")
    assert reader.next_event() is END_OF_BODY
    assert reader.head_started


def test_buffered_counts_what_is_not_an_event_yet() -> None:
    reader = reader_with(GET + POST + b"hello" + CHUNKED + b"1")
    total = len(GET + POST + CHUNKED) + 6
    assert reader.buffered == total
    head_of(reader)
    assert reader.buffered == total - len(GET)
    head_of(reader)
    assert reader.next_event() == b"hello"
    assert reader.next_event() is END_OF_BODY
    assert reader.buffered == len(CHUNKED) + 1
    head_of(reader)
    assert reader.next_event() is NEED_DATA
    assert reader.buffered == 1  # the size of a chunk, not complete
    reader.receive_data(b"0")
    assert reader.buffered == 2


@parsers
def test_an_idle_reader_holds_nothing(parser: str) -> None:
    reader = reader_with(CHUNKED + b"1\r\nx\r\n0\r\n\r\n" + POST + b"hello" + GET, parser)
    while reader.next_event() is not NEED_DATA:
        pass
    held = [getattr(reader, name) for name in RequestReader.__slots__]
    assert not [value for value in held if type(value).__module__.startswith("h11")]
    assert not [value for value in held if isinstance(value, (bytes, bytearray)) and value]
    assert reader._decoder is None


# What follows would take minutes, and run into the time limit, were its cost quadratic.


@parsers
def test_many_pipelined_requests_in_one_buffer(parser: str) -> None:
    count = 100_000 if parser == "auto" else 10_000
    reader = reader_with(GET * count, parser)
    for _ in range(count):
        head_of(reader)
    assert reader.next_event() is NEED_DATA


def test_pipelined_requests_that_come_while_others_are_read() -> None:
    reader = reader_with(GET * 40_000)
    for _ in range(40_000):
        reader.receive_data(GET)
        head_of(reader)
    assert reader.buffered == len(GET) * 40_000


def test_a_large_head_byte_by_byte() -> None:
    reader = RequestReader(Limits(request_line=0, fields=0, field_size=0, header_size=0))
    raw = b"GET /%b HTTP/1.1\r\nHost: a\r\n%bX: %b\r\n\r\n" % (
        b"a" * 200_000,
        b"Y: z\r\n" * 30_000,
        b"x" * 200_000,
    )
    for at in range(len(raw) - 1):
        reader.receive_data(raw[at : at + 1])
        assert reader.next_event() is NEED_DATA
    reader.receive_data(raw[-1:])
    assert len(head_of(reader).fields) == 30_002


def test_bytes_that_pile_up_behind_a_request() -> None:
    reader = reader_with(POST)
    for _ in range(300_000):
        reader.receive_data(b"x")
    head_of(reader)
    assert reader.next_event() == b"xxxxx"
    assert reader.buffered == 299_995


def test_unlimited_is_not_zero() -> None:
    head = read(Limits(0, 0, 0, 0), "auto", [GET.replace(b"/", b"/" + b"a" * 100_000, 1)]).heads[0]
    assert len(head.path) == 100_001


def test_admit_takes_what_any_parser_gives() -> None:
    text = "GET /a?b HTTP/1.1\r\nHost: c\r\nContent-Length:3\t\r\n\r\n"
    head = admit("GET", "/a?b", "1.1", text)
    assert head == RequestHead(
        "GET",
        "/a?b",
        "/a",
        "b",
        "HTTP/1.1",
        text,
        2,
        {
            "REQUEST_METHOD": "GET",
            "RAW_URI": "/a?b",
            "REQUEST_URI": "/a?b",
            "PATH_INFO": "/a",
            "QUERY_STRING": "b",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": "c",
            "CONTENT_LENGTH": "3",
        },
        3,
        False,
        True,
        False,
    )
    assert head.fields == (("Host", "c"), ("Content-Length", "3"))


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Host: a", "Content-Length: 5, 5"], 400),
        (["Host: a", "Content-Length: 5", "content-length: 5"], 400),
        (["Host: a", "Transfer-Encoding: gzip"], 501),
        (["Host: a", "Transfer-Encoding: chunked", "transfer-encoding: chunked"], 501),
        ([], 400),
        (["Host: a", "host: a"], 400),
    ],
)
def test_admit_does_not_rely_on_h11(lines: list[str], status: int) -> None:
    with pytest.raises(HTTPError) as caught:
        admit("GET", "/", "1.1", "\r\n".join(["GET / HTTP/1.1", *lines, "", ""]))
    assert caught.value.status == status


EDITS = st.lists(
    st.tuples(
        st.integers(0, 200),
        st.integers(0, 3),
        st.one_of(
            st.sampled_from([b"\r\n", b"\r", b"\n", b" ", b"\t", b":", b"\r\n\r\n", b"\r\n ", b""]),
            st.binary(max_size=2),
        ),
    ),
    max_size=3,
)
SMALL = [case for case in CASES if len(case.raw) < 2000]


@examples(1500, st.sampled_from(SMALL), EDITS, st.lists(st.integers(0, 300), max_size=5))
def test_segmentation_and_parser_do_not_matter(
    case: Case, edits: list[tuple[int, int, bytes]], cuts: list[int]
) -> None:
    """Damaged requests of the corpus: whatever the verdict is, there is one."""
    raw = case.raw
    for at, cut, new in edits:
        raw = raw[:at] + new + raw[at + cut :]
    ends = sorted({min(cut, len(raw)) for cut in cuts} | {len(raw)})
    pieces = [raw[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    verdict = read(case.limits, "h11", [raw])
    assert read(case.limits, "auto", [raw]) == verdict
    assert read(case.limits, "auto", pieces) == verdict
    assert read(case.limits, "h11", pieces) == verdict
    assert read(case.limits, "auto", [raw[at : at + 1] for at in range(len(raw))]) == verdict


def test_admit_refuses_two_lengths_whichever_parser_asks() -> None:
    text = "GET / HTTP/1.1\r\nHost: a\r\n" + "Content-Length: 5\r\n" * 2 + "\r\n"
    with pytest.raises(HTTPError) as caught:
        admit("GET", "/", "1.1", text)
    assert caught.value.status == 400


@pytest.mark.parametrize("parser", ["auto", "h11"])
def test_a_short_head_that_repeats_is_read_once(parser: str) -> None:
    http1._heads.clear()
    reader = RequestReader(DEFAULTS, parser)
    raw = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
    reader.receive_data(raw)
    first = reader.next_event()
    reader.receive_data(b"GET /other HTTP/1.1\r\nHost: a\r\n\r\n" + raw)
    assert head_of(reader) is not first
    assert reader.next_event() is first


def test_the_fast_lane_is_taken_unless_it_is_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    with_h11: list[bytes] = []
    parse = http1._parse_with_h11
    monkeypatch.setattr(http1, "_parse_with_h11", lambda raw: with_h11.append(raw) or parse(raw))
    assert head_of(reader_with(GET, "auto")) == head_of(reader_with(GET, "h11"))
    assert with_h11 == [GET]


@pytest.mark.parametrize("parser", ["auto", "h11"])
def test_what_is_remembered_is_bounded(parser: str) -> None:
    http1._heads.clear()
    reader = RequestReader(DEFAULTS, parser)
    for number in range(2 * http1._heads.limit):
        reader.receive_data(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number)
        assert isinstance(reader.next_event(), RequestHead)
        assert len(http1._heads) <= http1._heads.limit
    reader.receive_data(b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 300))
    long = reader.next_event()
    assert long not in http1._heads.values()


def test_a_remembered_head_obeys_the_limits_of_each_connection() -> None:
    http1._heads.clear()
    raw = b"GET / HTTP/1.1\r\nHost: a\r\nX-B: c\r\n\r\n"
    for fields, accepted in [(2, True), (1, False), (2, True)]:
        reader = RequestReader(DEFAULTS._replace(fields=fields))
        reader.receive_data(raw)
        if accepted:
            assert isinstance(reader.next_event(), RequestHead)
        else:
            with pytest.raises(HTTPError, match="431"):
                reader.next_event()
