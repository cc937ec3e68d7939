"""Responses of FastCGI: CGI's head in records, an end that is told, and a cut that shows."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from fastcgi_peer import ABORT, Record, Responses, request, write

from wsgi_async.errors import HTTPError
from wsgi_async.gateways.cgi_framing import CGIFramer, StatusLine
from wsgi_async.gateways.fastcgi import FastCGIReader
from wsgi_async.gateways.fastcgi_framing import FastCGIFramer
from wsgi_async.gateways.fastcgi_records import Kind
from wsgi_async.http.framing import BodyFraming
from wsgi_async.http.limits import Limits
from wsgi_async.http.reading import Signal
from wsgi_async.http.response import ResponseHead

LIMITS = Limits(request_line=8190, fields=100, field_size=8190, header_size=65536)
OK = ResponseHead(200, "OK", (("Content-Type", "text/plain"),))


@dataclass
class Side:
    """One connection's reader and framer, and the front server."""

    reader: FastCGIReader
    framer: FastCGIFramer
    front: Responses

    def ask(self, request_id: int = 1, body: bytes = b"") -> None:
        self.reader.receive_data(write(request(body=body, request_id=request_id)))
        while self.reader.next_event() is not Signal.NEED_DATA:
            pass


@pytest.fixture
def side() -> Side:
    reader = FastCGIReader(LIMITS)
    heads = CGIFramer("test", status_line=StatusLine.CGI)
    heads.set_date("today")
    return Side(reader, FastCGIFramer(heads, reader), Responses())


def test_a_response_is_a_head_and_a_body_in_records(side: Side) -> None:
    for request_id in (1, 258):
        side.ask(request_id)
        framed = side.framer[OK, 5, "GET", "HTTP/1.1", True]
        assert (framed.framing, framed.persists) == (BodyFraming.FRAMED, True)
        side.front.take(framed.data)
        side.front.take(b"".join(framed.frame_body([b"he", b"", b"llo"], False)))
        assert side.front.open[request_id].closed == []
        side.front.take(b"".join(framed.frame_body([], True)))
        number, ended = side.front.ended[-1]
        assert (number, ended.app_status, ended.protocol_status) == (request_id, 0, 0)
        assert ended.body == b"hello"
        assert ended.fields == {
            "Status": "200 OK",
            "Server": "test",
            "Date": "today",
            "Content-Type": "text/plain",
            "Content-Length": "5",
        }
        side.reader.answered()


@pytest.mark.parametrize(
    ("status", "method", "length"),
    [(200, "HEAD", "5"), (204, "GET", None), (304, "GET", "5"), (205, "GET", "0")],
)
def test_without_a_body_the_end_is_told_with_the_head(
    side: Side, status: int, method: str, length: str | None
) -> None:
    side.ask()
    framed = side.framer[ResponseHead(status, "", ()), 5, method, "HTTP/1.1", True]
    assert framed.framing is BodyFraming.NONE
    side.front.take(framed.data)
    (_, ended), *_ = side.front.ended
    assert ended.body == b""
    assert ended.fields.get("Content-Length") == length


def test_a_stream_says_no_length_and_nothing_of_the_connection(side: Side) -> None:
    side.ask()
    framed = side.framer[OK, None, "GET", "HTTP/1.0", True]
    side.front.take(framed.data + b"".join(framed.frame_body([b"x"], True)))
    (_, ended), *_ = side.front.ended
    names = {name.lower() for name in ended.fields}
    assert not names & {"content-length", "transfer-encoding", "connection"}


def test_an_application_may_end_the_connection(side: Side) -> None:
    side.ask()
    head = ResponseHead(200, "OK", (), closes=True)
    assert not side.framer[head, 5, "GET", "HTTP/1.1", True].persists


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("keep", "persists", "says"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_a_connection_that_is_not_kept_has_more_than_the_end(
    side: Side, keep: bool, persists: bool, says: bool, method: str
) -> None:
    """So that nginx does not keep it either; who did not want that is told nothing."""
    side.reader.receive_data(write(request(keep=keep)))
    side.reader.next_event()
    framed = side.framer[OK, 1, method, "HTTP/1.1", persists]
    side.front.take(framed.data)
    if method == "GET":
        side.front.take(b"".join(framed.frame_body([b"x"], True)))
    assert len(side.front.ended) == 1
    assert [record.kind for record in side.front.managed] == [Kind.UNKNOWN_TYPE] * says


def test_the_next_request_waits_for_the_end_of_the_response(side: Side) -> None:
    side.ask()
    framed = side.framer[OK, 0, "GET", "HTTP/1.1", True]
    framed.frame_body([], True)
    side.reader.receive_data(write(request(request_id=1)))
    assert side.reader.next_event() is Signal.NEED_DATA
    assert side.reader.buffered
    side.reader.answered()
    assert side.reader.next_event() is not Signal.NEED_DATA
    assert side.reader.replies() == b""


def test_answers_of_the_servers_own(side: Side) -> None:
    error = HTTPError(503, "All threads are busy", retry_after=7)
    assert side.framer.error_answer(error, head_only=False) == b"", "nobody has asked"
    side.ask()
    side.front.take(side.framer.error_answer(error, head_only=False, fields=(("X-Id", "9"),)))
    (_, ended), *_ = side.front.ended
    assert (ended.status, ended.fields["Retry-After"], ended.fields["X-Id"]) == (503, "7", "9")
    assert b"All threads are busy" in ended.body
    assert len(side.front.managed) == 1, "it is the connection's last one"


def test_a_refused_head_can_be_answered(side: Side) -> None:
    side.reader.receive_data(write(request({"REQUEST_METHOD": "G T"}, request_id=4)))
    with pytest.raises(HTTPError) as caught:
        side.reader.next_event()
    side.front.take(side.framer.error_answer(caught.value, head_only=True))
    assert [(number, ended.status) for number, ended in side.front.ended] == [(4, 400)]


def test_a_cut_is_no_end(side: Side) -> None:
    assert side.framer.cut() == b"", "there is no response"
    side.ask()
    framed = side.framer[OK, None, "GET", "HTTP/1.1", True]
    side.front.take(framed.data + b"".join(framed.frame_body([b"so far"], False)))
    side.front.take(side.framer.cut())
    assert side.front.is_cut
    assert side.front.ended == []
    assert side.front.open[1].body == b"so far"
    assert b"not complete" in side.front.open[1].stderr
    assert side.framer.cut() == b""


def test_after_the_end_there_is_nothing_to_cut(side: Side) -> None:
    side.ask()
    framed = side.framer[OK, 5, "HEAD", "HTTP/1.1", True]
    side.front.take(framed.data + side.framer.cut())
    assert not side.front.is_cut


def test_text_for_the_front_servers_log(side: Side) -> None:
    assert side.framer.errors(b"too early") == b""
    side.ask()
    side.front.take(side.framer.errors(b"one\n"))
    framed = side.framer[OK, None, "GET", "HTTP/1.1", True]
    side.front.take(framed.data + side.framer.errors(b"two\n"))
    side.front.take(b"".join(framed.frame_body([b"x"], True)))
    assert side.framer.errors(b"too late") == b""
    (_, ended), *_ = side.front.ended
    assert ended.stderr == b"one\ntwo\n"
    assert len(ended.closed) == 2, "each stream that had something is ended"


def test_a_request_that_was_taken_back_is_ended(side: Side) -> None:
    side.ask()
    side.front.take(side.framer.errors(b"one\n"))
    side.reader.receive_data(Record(ABORT, 1).raw)
    assert side.reader.next_event() is Signal.ABORTED
    assert side.framer.errors(b"two\n") == b""
    side.front.take(side.framer.aborted())
    (_, ended), *_ = side.front.ended
    assert (ended.app_status, ended.protocol_status) == (1, 0)
    side.reader.answered()
    side.ask()
    framed = side.framer[OK, 0, "GET", "HTTP/1.1", True]
    side.front.take(framed.data + b"".join(framed.frame_body([], True)))
    assert side.front.ended[1][1].closed == [6]


def test_heads_of_any_size(side: Side) -> None:
    side.ask()
    fields = tuple((f"X-{number}", "y" * 8000) for number in range(20))
    framed = side.framer[ResponseHead(200, "OK", fields), 0, "GET", "HTTP/1.1", True]
    side.front.take(framed.data + b"".join(framed.frame_body([], True)))
    (_, ended), *_ = side.front.ended
    assert len(ended.fields) == 24
    assert side.framer.interim_head(ResponseHead(103, "Early Hints", ()), "HTTP/1.1") == b""
