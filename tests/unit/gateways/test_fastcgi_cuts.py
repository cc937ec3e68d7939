"""FastCGI however it is cut, truncated and made up: events, and never anything else.

The model below is a second reader, of whole records: what is right does not depend on bytes.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from fastcgi_peer import (
    ABORT,
    BEGIN,
    DATA,
    END,
    GET_VALUES,
    PARAMS,
    STDIN,
    STDOUT,
    UNKNOWN,
    VALUES,
    Record,
    begin,
    number,
    pair,
    pairs,
    request,
    variables,
    write,
)
from fastcgi_stories import LIMITS, Story, read
from hypothesis import strategies as st
from properties import examples

from wsgi_async.errors import HTTPError, ProtocolFault
from wsgi_async.gateways.fastcgi import FastCGIReader
from wsgi_async.gateways.variables import request_head
from wsgi_async.http.reading import Signal

NUMBERS = st.sampled_from([1, 1, 1, 2, 0, 300])
PADDING = st.sampled_from([b"", b"", b"\x01", bytes(7), b"\xff" * 255])
CONTENTS = st.sampled_from(
    [
        b"",
        b"a",
        b"hello",
        pairs(variables()),
        pairs(variables("POST", length=5)),
        pairs(variables("POST")),
        pairs({"FCGI_MPXS_CONNS": ""}),
        begin().content,
        begin(flags=0).content,
        begin(role=2).content,
    ]
)
KINDS = st.sampled_from([BEGIN, PARAMS, STDIN, ABORT, GET_VALUES, 0, END, STDOUT, DATA, 99])
ANY = st.builds(Record, KINDS, NUMBERS, CONTENTS, PADDING, st.sampled_from([1] * 20 + [0, 2]))
LIKELY = st.builds(
    lambda record, padding: record._replace(padding=padding),
    st.sampled_from(
        [
            Record(ABORT, 1),
            Record(ABORT, 300),
            begin(9),
            begin(9, role=3),
            Record(STDIN, 9, b"stray"),
            Record(GET_VALUES, 0, pairs({"FCGI_MPXS_CONNS": ""})),
            Record(77, 0, b"?"),
        ]
    ),
    PADDING,
)
BODIES = st.lists(st.binary(min_size=1, max_size=9), max_size=3)


def _request(body: list[bytes], off: int, number: int, padding: bytes, keep: bool) -> list[Record]:
    length = sum(map(len, body)) + off if body or off else None
    given = variables("POST", length=length)
    return request(given, body, number, keep=keep, padding=padding)


REQUESTS = st.builds(
    _request, BODIES, st.sampled_from([0] * 8 + [1]), NUMBERS, PADDING, st.booleans()
)


@st.composite
def stories(draw: st.DrawFn) -> list[Record]:
    """Requests, with records in between, some of them left out and some swapped."""
    records = [record for one in draw(st.lists(REQUESTS, max_size=3)) for record in one]
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(records)))
        what = draw(st.sampled_from(["insert", "insert", "any", "drop", "swap"]))
        if what in ("insert", "any"):
            records.insert(place, draw(LIKELY if what == "insert" else ANY))
        elif what == "drop":
            del records[place : place + 1]
        elif place + 1 < len(records):
            records[place : place + 2] = records[place + 1], records[place]
    return records


def expected(records: list[Record]) -> Story:
    """The model."""
    story = Story()
    active: int | None = None
    state, given, keeps, owed = "", b"", False, None

    def reply(kind: int, request_id: int, content: bytes) -> None:
        story.replies += Record(kind, request_id, content).raw

    def end(request_id: int, app: int = 0, protocol: int = 0) -> None:
        reply(END, request_id, number(app, 4) + number(protocol, 1) + bytes(3))

    try:
        for kind, request_id, content, _, version in records:
            assert version == 1
            if request_id == 0:
                assert kind not in range(BEGIN, GET_VALUES)
                assert kind not in (VALUES, UNKNOWN)
                if kind == GET_VALUES:
                    asks = content == pairs({"FCGI_MPXS_CONNS": ""})
                    assert asks or _is_sound(content)
                    reply(VALUES, 0, pairs({"FCGI_MPXS_CONNS": "0"}) if asks else b"")
                else:
                    reply(UNKNOWN, 0, bytes((kind, *bytes(7))))
            elif request_id != active:
                if kind != BEGIN:
                    continue
                if active is not None:
                    end(request_id, protocol=1)
                    continue
                assert len(content) == 8
                keeps = bool(content[2] & 1)
                if content[:2] != b"\0\1":
                    end(request_id, protocol=3)
                    assert keeps
                    continue
                active, state, given = request_id, "variables", b""
            elif kind == ABORT:
                active = None
                if state == "body":
                    story.aborted += 1
                    continue
                end(request_id, app=1)
                assert keeps
            elif state == "variables":
                assert kind == PARAMS
                given += content
                if content:
                    continue
                head = request_head(_split(given), LIMITS, ends_bodies=True)
                owed, state = head.content_length, "body" if head.has_body else "due"
                told = (head.method, head.target, owed, head.chunked, keeps)
                if head.has_body:
                    story.requests.append(told)
                    story.partial = b""
            else:
                assert kind == STDIN
                if owed is not None and (len(content) > owed if content else owed):
                    raise HTTPError(400, "The body is not as long as CONTENT_LENGTH says")
                if state == "due":
                    story.requests.append((*told[:3], bool(content), keeps))
                    story.partial = b""
                    if not content:
                        story.bodies.append(None)
                if content:
                    state = "body"
                    story.partial += content
                    owed = None if owed is None else owed - len(content)
                    continue
                if state == "body":
                    story.bodies.append(story.partial)
                    story.partial = b""
                active = None
    except AssertionError:
        story.error = "fault"
    except (HTTPError, ProtocolFault) as error:
        story.error = str(error) if isinstance(error, HTTPError) else "fault"
    return story


def _split(content: bytes) -> list[tuple[bytes, bytes]]:
    found = []
    while content:
        sizes = []
        for _ in range(2):
            assert content
            long = content[0] > 127
            assert not long or len(content) >= 4
            sizes.append(int.from_bytes(content[: 4 if long else 1], "big") & 0x7FFFFFFF)
            content = content[4 if long else 1 :]
        name, value = content[: sizes[0]], content[sizes[0] : sum(sizes)]
        assert len(content) >= sum(sizes)
        found.append((name, value))
        content = content[sum(sizes) :]
    return found


def _is_sound(content: bytes) -> bool:
    try:
        _split(content)
    except AssertionError:
        return False
    return True


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({0, len(data), *[place % (len(data) + 1) for place in places]})
    return [data[start:end] for start, end in pairwise(ends)]


@examples(500, stories(), st.lists(st.integers(0, 5000), max_size=6))
def test_the_reader_agrees_with_the_model_however_it_is_cut(
    records: list[Record], places: list[int]
) -> None:
    data = write(records)
    whole = read([data])
    assert read(cut(data, places)) == whole
    assert read([data], by_lone_heads=False) == whole
    assert read([record.raw for record in records]) == whole
    if whole.error and not whole.error[0].isdigit():
        whole.error = "fault"
    assert whole == expected(records)


SHORT = {"REQUEST_METHOD": "POST", "REQUEST_URI": "/", "CONTENT_LENGTH": "5", "HTTP_HOST": "a"}
THREE = [
    *request(SHORT, [b"he", b"llo"], padding=b"\xff\xff"),
    Record(GET_VALUES, 0, pair(b"FCGI_MPXS_CONNS", b"")),
    *request({**SHORT, "REQUEST_METHOD": "GET", "CONTENT_LENGTH": ""}, request_id=2),
    begin(3),
    Record(ABORT, 3),
]


def test_every_cut_gives_the_same() -> None:
    data = write(THREE)
    whole = read([data])
    assert (whole.bodies, whole.error) == ([b"hello", None], "")
    assert read([bytes((byte,)) for byte in data]) == whole
    for first in range(len(data)):
        assert read([data[:first], data[first:]]) == whole
        assert read([data[:first], data[first : first + 3], data[first + 3 :]]) == whole


@examples(200, REQUESTS, stories(), st.lists(st.integers(0, 300), max_size=2))
def test_a_request_in_one_piece_is_the_same(
    first: list[Record], then: list[Record], places: list[int]
) -> None:
    """It has a quicker way, if it has no body."""
    pieces = [write(first), *cut(write(then), places), write(first)]
    assert read(pieces) == read(pieces, by_lone_heads=False)


def test_every_truncation_waits_for_more() -> None:
    data = write(THREE)
    for size in range(len(data)):
        story = read([data[:size]])
        assert story.error == ""
        assert len(story.bodies) <= 2


@examples(300, st.binary(max_size=100), st.booleans())
def test_garbage_is_a_fault_or_waited_for(garbage: bytes, begins_well: bool) -> None:
    story = read([(write(THREE) if begins_well else b"") + garbage])
    assert len(story.requests) == 2 * begins_well or garbage[:1] == b"\x01"
    if len(garbage) >= 8 and garbage[0] != 1:
        assert story.error


@pytest.mark.parametrize("size", [65_535, 65_536, 200_000])
@pytest.mark.parametrize("step", [1, 4096, 65_535])
def test_large_variables_come_in_any_number_of_records(size: int, step: int) -> None:
    """A certificate, say; a record a byte is a front server's right."""
    if step == 1:
        size //= 100
    content = pairs({**SHORT, "CONTENT_LENGTH": "", "SSL_CLIENT_CERT": "x" * size})
    records = [Record(PARAMS, 1, content[at : at + step]) for at in range(0, len(content), step)]
    reader = FastCGIReader(LIMITS._replace(header_size=400_000))
    events = []
    for record in (begin(), *records, Record(PARAMS, 1), Record(STDIN, 1)):
        reader.receive_data(record.raw)
        events.append(reader.next_event())
    (head,) = [event for event in events if event is not Signal.NEED_DATA]
    assert head.variables["SSL_CLIENT_CERT"] == "x" * size  # type: ignore[union-attr]
