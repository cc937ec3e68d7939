"""The reader of FastCGI: requests one after another, and one clear verdict on everything else."""

from __future__ import annotations

import pytest
from fastcgi_peer import (
    ABORT,
    DATA,
    END,
    GET_VALUES,
    PARAMS,
    STDIN,
    STDOUT,
    UNKNOWN,
    VALUES,
    Record,
    Responses,
    begin,
    pair,
    pairs,
    request,
    variables,
    write,
)
from fastcgi_stories import LIMITS, Story, read

from wsgi_async.errors import ProtocolFault
from wsgi_async.gateways.fastcgi import BESIDE_LIMIT, FastCGIReader
from wsgi_async.gateways.variables import most_bytes
from wsgi_async.http.reading import Signal
from wsgi_async.http.request import RequestHead

PADDING = b"\xff" * 7
GOOD = write(request())
GOOD_END = [Record(PARAMS, 1), Record(STDIN, 1)]


def replies_of(story: Story) -> Responses:
    responses = Responses()
    responses.take(story.replies)
    assert responses.is_between_records
    return responses


def test_requests_one_after_another() -> None:
    records = [
        *request(variables(target="/a?b"), padding=PADDING),
        *request(body=[b"one, ", b"two"], request_id=7, padding=PADDING),
        *request(variables("PUT", length=0), request_id=65535, keep=False),
    ]
    story = read([write(records)])
    assert story == Story(
        requests=[
            ("GET", "/a?b", None, False, True),
            ("POST", "/", 8, False, True),
            ("PUT", "/", 0, False, False),
        ],
        bodies=[None, b"one, two", None],
    )


def test_a_body_whose_length_nobody_knows_ends_with_its_stream() -> None:
    caddy = {"CONTENT_LENGTH": "-1"}
    for more in ({}, {"HTTP_TRANSFER_ENCODING": "chunked"}, caddy):
        story = read([write(request({**variables("POST"), **more}, [b"abc", b"de"]))])
        assert story.requests == [("POST", "/", None, True, True)]
        assert story.bodies == [b"abcde"]


def test_such_a_body_need_not_have_begun_where_its_coding_tells_of_it() -> None:
    records = request(variables("POST", HTTP_TRANSFER_ENCODING="chunked"))
    story = read([write(records[:-1])])
    assert story.requests == [("POST", "/", None, True, True)]
    assert read([write(records)]).bodies == [b""]


def test_a_request_in_one_piece_has_a_quicker_way() -> None:
    for number, padding in ((1, b""), (258, PADDING)):
        for keep in (True, False):
            reader = FastCGIReader(LIMITS)
            whole = request(request_id=number, keep=keep, padding=padding)
            head = reader.lone_head(write(whole))
            assert head is not None
            assert (head.method, head.keep_alive, reader.request_id) == ("GET", keep, number)
            assert reader.next_event() is Signal.NEED_DATA
            assert reader.lone_head(write(whole)) is None, "that would be a second one at once"
            assert reader.buffered == 0


@pytest.mark.parametrize(
    "records",
    [
        request(body=b"a"),
        request(variables(HTTP_TRANSFER_ENCODING="chunked")),
        request(variables("POST", length=1)),
        request()[:-1],
        [*request(), begin()],
        [begin(), *GOOD_END],
        [begin(role=2), *request()[1:]],
        [begin(2), *request()[1:]],
        [begin(), *request(request_id=2)[1:]],
        [begin(0), *request(request_id=0)[1:]],
        [begin()._replace(version=2), *request()[1:]],
        [begin()._replace(padding=b"1"), *request()[1:]],
        request(variables(HTTP_HOST="a b")),
        [begin(), Record(PARAMS, 1, b"\x05\x05abc"), *GOOD_END],
    ],
)
def test_what_is_not_just_that_goes_the_other_way(records: list[Record]) -> None:
    reader = FastCGIReader(LIMITS)
    assert reader.lone_head(write(records)) is None
    reader.receive_data(GOOD)
    assert isinstance(reader.next_event(), RequestHead), "something was done"


def test_a_large_record_passes_as_it_comes() -> None:
    reader = FastCGIReader(LIMITS)
    records = request(body=bytes(60_000))
    reader.receive_data(write(records[:-2]) + records[-2].raw[:8])
    assert isinstance(reader.next_event(), RequestHead)
    assert reader.next_event() is Signal.NEED_DATA
    piece = bytes(40_000)
    reader.receive_data(piece)
    assert reader.next_event() is piece, "it was copied"
    assert reader.buffered == 0
    assert (reader.body_left, reader.head_started) == (0, False)


def test_many_records_of_a_body_are_one_event() -> None:
    reader = FastCGIReader(LIMITS)
    reader.receive_data(write(request(body=[b"x"] * 3000, padding=PADDING)))
    assert isinstance(reader.next_event(), RequestHead)
    assert reader.next_event() == b"x" * 3000
    assert reader.next_event() is Signal.END_OF_BODY


@pytest.mark.parametrize("length", [4, 6, 1000])
def test_a_body_that_is_not_as_long_as_promised_is_refused(length: int) -> None:
    """FastCGI 1.0, section 6.2: nothing is to be done where the two differ."""
    story = read([write(request(variables("POST", length=length), [b"ab", b"cde"]))])
    assert story.error == "400 Bad Request: The body is not as long as CONTENT_LENGTH says"
    assert story.bodies == []
    assert story.partial == (b"ab" if length == 4 else b"abcde")


def test_a_body_that_is_not_promised_is_refused() -> None:
    story = read([write(request(variables("POST", length=0), [b"a"]))])
    assert story.error.startswith("400")
    assert story.requests == []


def test_a_request_is_taken_back() -> None:
    whole = request(body=b"hello")
    for so_far in range(1, len(whole) + 1):
        reader = FastCGIReader(LIMITS)
        reader.receive_data(write(whole[:so_far]))
        heads = 0
        while (event := reader.next_event()) is not Signal.NEED_DATA:
            heads += isinstance(event, RequestHead)
        # Its padding is still to come: it counts all the same.
        reader.receive_data(Record(ABORT, 1, padding=PADDING).raw[:8])
        event = reader.next_event()
        assert event is (Signal.ABORTED if heads else Signal.NEED_DATA)
        responses = Responses()
        responses.take(reader.replies())
        assert len(responses.ended) == (not heads)
        if heads:
            reader.answered()
        else:
            assert responses.ended[0][1].app_status == 1
        reader.receive_data(PADDING + write(request(variables(target="/next"))))
        event = reader.next_event()
        assert isinstance(event, RequestHead)
        assert event.target == "/next"


def test_who_takes_back_the_only_request_of_a_connection_is_let_go() -> None:
    story = read([write([begin(flags=0), Record(ABORT, 1)])])
    assert "taken back" in story.error
    assert [ended.app_status for _, ended in replies_of(story).ended] == [1]


def test_two_at_once_are_refused_to_the_second() -> None:
    first, second = request(body=b"hello"), request(request_id=2)
    mixed = [record for two in zip(first, second, strict=False) for record in two]
    story = read([write([*mixed, *first[len(second) :], *request(request_id=2)])])
    assert story.bodies == [b"hello", None]
    refused = replies_of(story).ended
    assert [(number, ended.protocol_status) for number, ended in refused] == [(2, 1)]


def test_a_second_one_under_the_first_ones_number_is_none() -> None:
    assert "cannot be" in read([write([begin(), begin()])]).error


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("role", [0, 2, 3, 77, 65535])
def test_other_roles_are_refused(role: int, keep: bool) -> None:
    refused = [begin(3, role, int(keep)), *request(request_id=3, keep=keep)[1:]]
    story = read([write([*refused, *request()])])
    assert [ended.protocol_status for _, ended in replies_of(story).ended] == [3]
    assert bool(story.requests) == keep
    assert ("role" in story.error) == (not keep)


def test_what_a_front_server_may_ask_is_answered() -> None:
    asked = {"FCGI_MAX_CONNS": "", "FCGI_MPXS_CONNS": "", "FCGI_MAX_REQS": "", "FCGI_COLOUR": ""}
    question = Record(GET_VALUES, 0, pairs(asked), PADDING)
    story = read([write([question, *request(), question])])
    assert len(story.requests) == 1
    first, second = replies_of(story).managed
    assert first == second
    assert first == Record(
        VALUES,
        0,
        pairs({"FCGI_MAX_CONNS": "5", "FCGI_MPXS_CONNS": "0", "FCGI_MAX_REQS": "5"}),
    )
    empty = read([write([Record(GET_VALUES, 0)])])
    assert replies_of(empty).managed == [Record(VALUES, 0)]


@pytest.mark.parametrize("kind", [0, 12, 255])
def test_unknown_records_of_management_are_answered(kind: int) -> None:
    story = read([write([Record(kind, 0, b"what?", PADDING), *request()])])
    assert replies_of(story).managed == [Record(UNKNOWN, 0, bytes((kind, *bytes(7))))]
    assert len(story.requests) == 1


def test_what_belongs_to_no_request_is_passed_over() -> None:
    """FastCGI 1.0, section 3.3: records of a request that there is not."""
    strays = [Record(kind, 9, b"stray", PADDING) for kind in (ABORT, PARAMS, STDIN, DATA, 200)]
    first = request(body=b"hello")
    mixed = [record for one in first for record in (*strays, one)]
    story = read([write([*mixed, *strays])])
    assert (story.bodies, story.error, story.replies) == ([b"hello"], "", b"")


@pytest.mark.parametrize(
    "records",
    [
        [begin(0)],
        *[[Record(kind, 0)] for kind in (ABORT, PARAMS, STDIN, DATA, END, STDOUT)],
        *[[Record(kind, 0)] for kind in (VALUES, UNKNOWN)],
        *[[begin(), Record(kind, 1)] for kind in (STDIN, DATA, END, STDOUT, GET_VALUES, 0, 99)],
        [*request(body=b"a")[:-1], Record(PARAMS, 1)],
        [Record(1, 1, bytes((0, 1, 1, 0, 0, 0, 0)))],
        [Record(1, 1, bytes((0, 1, 1, 0, 0, 0, 0, 0, 0)))],
        [Record(1, 1)],
        [begin(), Record(PARAMS, 1, b"\x05\x05abc"), Record(PARAMS, 1)],
        [Record(GET_VALUES, 0, b"\x05\x05abc")],
        [begin(), Record(PARAMS, 1, version=2)],
        [begin(), Record(PARAMS, 1, version=0)],
    ],
)
def test_what_cannot_be_is_a_fault(records: list[Record]) -> None:
    for before in (b"", GOOD):
        story = read([before + write(records), GOOD])
        assert story.error
        assert not story.error[0].isdigit(), "there is nobody who would understand an answer"
        assert len(story.requests) == (before != b"") + (len(records) > 3)


def test_a_body_after_the_end_of_the_body_is_a_fault() -> None:
    reader = FastCGIReader(LIMITS)
    reader.receive_data(GOOD + Record(STDIN, 1).raw)
    assert isinstance(reader.next_event(), RequestHead)
    with pytest.raises(ProtocolFault, match="cannot be"):
        reader.next_event()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP was spoken to a FastCGI port"),
        (b"PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP was spoken to a FastCGI port"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS was spoken"),
        (b"\x00\xb5\x01\x00\x0c\x00QUERY_STRING", "it looks like uwsgi"),
        (b"70:CONTENT_LENGTH\x0027\x00SCGI\x001\x00", "it looks like SCGI"),
        (b"\xff" * 9, "is not FastCGI"),
    ],
)
def test_other_protocols_are_told_by_name(data: bytes, what: str) -> None:
    assert what in read([data]).error
    assert read([data[:7]]).error == "", "it is too early to say"
    later = read([GOOD, data]).error
    assert what not in later
    assert "FastCGI 1.0" in later


def test_variables_have_bounds() -> None:
    limits = LIMITS._replace(header_size=20_000)
    room = most_bytes(limits) - len(pairs(variables()))
    for size, error in ((room - 9, ""), (room - 8, "431")):
        given = pairs(variables()) + pair(b"FILL", bytes(size))
        assert len(given) == most_bytes(limits) + (error != "")
        pieces = [given[start : start + 999] for start in range(0, len(given), 999)]
        records = [begin(), *[Record(PARAMS, 1, piece) for piece in pieces], *GOOD_END]
        story = read([write(records)], limits)
        # NUL is what keeps the whole one from being a request.
        assert story.error[:3] == (error or "400")


def test_a_refused_head_is_refused_for_good() -> None:
    story = read([write(request({**variables(), "HTTP_HOST": "a b"})), GOOD])
    assert story.error.startswith("400")
    assert story.requests == []


def test_a_front_server_that_only_asks_is_let_go() -> None:
    asked = pairs({"FCGI_MAX_CONNS": ""})
    question = Record(GET_VALUES, 0, asked).raw
    answer = replies_of(read([question])).managed[0].raw
    many = BESIDE_LIMIT // (len(asked) + len(answer))
    assert read([question * many]).error == ""
    assert "too many" in read([question * (many + 1)]).error
    assert read([question * many, GOOD, question * many]).error == ""


def test_who_sends_nothing_that_belongs_to_a_request_is_let_go() -> None:
    """Each such record is time of the loop's, and none of them has an answer that would count."""
    large = Record(GET_VALUES, 0, pair(b"NAME", bytes(40_000))).raw
    stray, running = Record(STDIN, 9).raw, write(request())
    for before in (b"", running):
        assert "too many" in read([before + large * 2]).error
        assert read([before + stray * (BESIDE_LIMIT // 8)]).error == ""
        assert "too many" in read([before + stray * (BESIDE_LIMIT // 8 + 1)]).error


def test_whether_a_head_has_begun() -> None:
    reader = FastCGIReader(LIMITS)
    whole = request(padding=PADDING)
    assert not reader.head_started
    for record in whole[:-1]:
        for byte in record.raw:
            reader.receive_data(bytes((byte,)))
            reader.next_event()
            assert reader.head_started
    reader.receive_data(Record(STDIN, 1, padding=PADDING).raw[:-1])
    assert isinstance(reader.next_event(), RequestHead)
    assert not reader.head_started
    reader.response_ended()
    reader.answered()
    reader.receive_data(PADDING[:1])
    assert not reader.head_started, "that was padding"
    reader.receive_data(b"\x01")
    assert reader.head_started
