"""Server-sent events: what is framed here, read by a reader written from the HTML standard."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from event_streams import Received, is_stream, read
from hypothesis import example
from hypothesis import strategies as st
from properties import examples

from wsgi_async import sse
from wsgi_async.realtime.event_stream import EventTail
from wsgi_async.realtime.framing import ends_event, framed

TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\r\n:\0\ufeff "))
LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"))
ID = LINE.filter(lambda text: not re.search("[\x00-\x08\x0b-\x1f\x7f]|^[\t ]|[\t ]$", text))
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=5,
)


@st.composite
def arguments(draw: st.DrawFn) -> dict[str, Any]:
    """Those of an event that browsers dispatch."""
    found: dict[str, Any] = {"data": draw(TEXT)}
    if draw(st.booleans()):
        found["event"] = draw(LINE)
    if draw(st.booleans()):
        found["id"] = draw(ID | st.integers())
    if draw(st.booleans()):
        found["retry"] = draw(st.integers(0, 10**9))
    return found


def expected(fields: Mapping[str, Any], last_id: str) -> Received:
    lines = re.sub("\r\n|\r", "\n", fields["data"])
    return Received(fields.get("event") or "message", lines, str(fields.get("id", last_id)))


@examples(500, st.lists(arguments(), max_size=6))
@example([{"data": ""}])
@example([{"data": "\n"}, {"data": "\r\r\n"}])
@example([{"data": "\ufeffa"}, {"data": " a"}, {"data": ": a"}, {"data": "\0"}])
@example([{"data": "1", "id": 7}, {"data": "2"}, {"data": "3", "id": ""}])
def test_events_arrive_as_they_were_given(sent: list[dict[str, Any]]) -> None:
    data = b"".join(sse.event(**fields) for fields in sent)
    assert is_stream(data)
    wanted: list[Received] = []
    last_id, retry = "", None
    for fields in sent:
        wanted.append(expected(fields, last_id))
        last_id, retry = wanted[-1].last_id, fields.get("retry", retry)
    assert read(data) == (wanted, [], retry, last_id)


@examples(200, TEXT)
def test_a_comment_is_no_event_and_ends_none(text: str) -> None:
    """It may come between any two events."""
    data = sse.event("a", id=1) + sse.comment(text) + sse.event("b")
    assert is_stream(data)
    stream = read(data)
    assert [event.data for event in stream.events] == ["a", "b"]
    assert stream.last_id == "1"
    assert stream.comments == re.sub("\r\n|\r", "\n", text).split("\n")


@examples(200, VALUE)
def test_json_arrives_as_json(value: Any) -> None:
    (event,) = read(sse.event(json=value)).events
    assert json.loads(event.data) == value


def test_an_event_is_one_chunk_that_ends_with_an_empty_line() -> None:
    """A server that adds a word of its own at a stop looks for just that."""
    assert sse.event("a\nb", event="tick", id=5, retry=100) == (
        b"event: tick\nid: 5\nretry: 100\ndata: a\ndata: b\n\n"
    )
    assert sse.comment() == b":\n\n"
    assert sse.event(id=3) == b"id: 3\n\n"
    assert sse.event(json=None) == b"data: null\n\n"


@pytest.mark.parametrize("end", [b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r\n", b"\r\n\n", b"\r\n\r"])
def test_an_event_has_ended_however_its_lines_end_and_its_chunks_are_cut(end: bytes) -> None:
    """Only there may a server add a word of its own."""
    data = b"data: a" + end
    assert framed(data) == data
    for cut in range(1, len(data)):
        tail = EventTail()
        tail.feed(data[:cut])
        assert tail.is_between_events == ends_event(data[:cut])
        tail.feed(data[cut:])
        assert tail.is_between_events
    assert not ends_event(b"data: a" + end[:1])


@pytest.mark.parametrize(
    ("fields", "error", "says"),
    [
        ({}, ValueError, "needs data"),
        ({"data": b"a"}, TypeError, "must be a str, not bytes"),
        ({"data": {"a": 1}}, TypeError, "json= for a value"),
        ({"data": "a", "json": 1}, ValueError, "either data or json"),
        ({"data": "a", "event": "a\nb"}, ValueError, "one line"),
        ({"data": "a", "event": 1}, TypeError, "must be a str, not int"),
        ({"event": "a"}, ValueError, "data=''"),
        ({"data": "a", "id": "a\0b"}, ValueError, "control characters"),
        ({"data": "a", "id": "a\nb"}, ValueError, "control characters"),
        ({"data": "a", "id": "a\x1bb"}, ValueError, "control characters"),
        ({"data": "a", "id": " a"}, ValueError, "space"),
        ({"data": "a", "id": 1.5}, TypeError, "a str or an int, not float"),
        ({"data": "a", "id": True}, TypeError, "a str or an int, not bool"),
        ({"data": "a", "retry": 1.5}, TypeError, "milliseconds"),
        ({"data": "a", "retry": True}, TypeError, "milliseconds"),
        ({"data": "a", "retry": -1}, ValueError, "negative"),
        ({"data": "\ud800"}, ValueError, "lone surrogate"),
        ({"json": float("nan")}, ValueError, "JSON"),
    ],
)
def test_what_cannot_be_sent_is_refused(
    fields: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        sse.event(**fields)


@examples(200, ID)
@example("\N{SNOWMAN}é")
def test_an_id_comes_back_as_it_was(text: str) -> None:
    """Browsers encode it as UTF-8, an environ has it decoded as latin-1 (PEP 3333)."""
    sent = read(sse.event("a", id=text)).last_id
    environ = {"HTTP_LAST_EVENT_ID": sent.encode().decode("latin-1")}
    assert sse.last_event_id(environ) == (text or None)


def test_no_id_is_none() -> None:
    assert sse.last_event_id({}) is None
    assert sse.last_event_id({"HTTP_LAST_EVENT_ID": ""}) is None
    assert sse.last_event_id({"HTTP_LAST_EVENT_ID": "\xff"}) == "\N{REPLACEMENT CHARACTER}"


def test_headers_are_new_each_time() -> None:
    sse.headers()["Content-Type"] = "text/plain"
    assert sse.headers() == {
        "Content-Type": "text/event-stream",
        "Cache-Control": "no-cache, no-transform",
        "Content-Encoding": "identity",
        "X-Accel-Buffering": "no",
    }
