"""Response heads and body framing as bytes, with h11 as the client that judges them."""

from __future__ import annotations

from collections.abc import Iterator

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgi_async.errors import HTTPError
from wsgi_async.http.framed_heads import FRAMED_LIMIT, FRAMED_SIZE_LIMIT, LINES_LIMIT
from wsgi_async.http.framing import BodyFraming, FramedHead
from wsgi_async.http.response import ResponseHead
from wsgi_async.http1.framing import CONTINUE, HTTP1Framer, frame_chunks

NOW = "Mon, 01 Jan 2024 00:00:00 GMT"
DATE = f"Date: {NOW}\r\n".encode()
SERVER = b"Server: test\r\n"
NONE, LENGTH, CHUNKED, CLOSE = (
    BodyFraming.NONE,
    BodyFraming.LENGTH,
    BodyFraming.FRAMED,
    BodyFraming.CLOSE,
)


def make_head(status: int = 200, *fields: tuple[str, str], **flags: bool) -> ResponseHead:
    return ResponseHead(status, "Reason", fields, None, **flags)


def frame(
    head: ResponseHead,
    length: int | None,
    *,
    head_only: bool = False,
    http10: bool = False,
    persists: bool = True,
) -> FramedHead:
    framer = HTTP1Framer("test")
    framer.set_date(NOW)
    method, version = "HEAD" if head_only else "GET", "HTTP/1.0" if http10 else "HTTP/1.1"
    return framer[head, length, method, version, persists]


@pytest.mark.parametrize("http10", [False, True])
@pytest.mark.parametrize("length", [5, None])
def test_a_head_may_end_the_connection(length: int | None, http10: bool) -> None:
    framed = frame(make_head(closes=True), length, http10=http10)
    assert not framed.persists
    assert framed.data.endswith(b"Connection: close\r\n\r\n")
    assert framed.framing is (LENGTH if length else CLOSE if http10 else CHUNKED)


@pytest.mark.parametrize(
    ("status", "length", "head_only", "http10", "framing", "line"),
    [
        (200, 5, False, False, LENGTH, b"Content-Length: 5"),
        (200, 0, False, False, LENGTH, b"Content-Length: 0"),
        (200, 5, False, True, LENGTH, b"Content-Length: 5"),
        (200, None, False, False, CHUNKED, b"Transfer-Encoding: chunked"),
        (404, None, False, False, CHUNKED, b"Transfer-Encoding: chunked"),
        (200, None, False, True, CLOSE, b""),
        # RFC 9110 §9.3.2: the same fields as for a GET, as far as they are known
        (200, 5, True, False, NONE, b"Content-Length: 5"),
        (200, None, True, False, NONE, b""),
        (200, None, True, True, NONE, b""),
        # §8.6: never in a 204; in a 304 only what the application knows
        (204, 5, False, False, NONE, b""),
        (204, None, False, False, NONE, b""),
        (204, 0, True, True, NONE, b""),
        (304, 5, False, False, NONE, b"Content-Length: 5"),
        (304, None, False, False, NONE, b""),
        # §15.3.6: a 205 says that it is empty
        (205, 5, False, False, NONE, b"Content-Length: 0"),
        (205, None, False, True, NONE, b"Content-Length: 0"),
        (205, None, True, False, NONE, b"Content-Length: 0"),
    ],
)
def test_how_a_body_is_delimited(
    status: int,
    length: int | None,
    head_only: bool,
    http10: bool,
    framing: BodyFraming,
    line: bytes,
) -> None:
    framed = frame(make_head(status), length, head_only=head_only, http10=http10)
    assert framed.framing is framing
    assert framed.status == status
    lines = framed.data.split(b"\r\n")
    found = [one for one in lines if one.startswith((b"Content-Length", b"Transfer-Encoding"))]
    assert found == ([line] if line else [])
    assert framed.data.count(b"\r\n\r\n") == 1
    assert framed.data.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("http10", "persists", "length", "connection", "result"),
    [
        (False, True, 1, None, True),
        (False, False, 1, b"close", False),
        (True, True, 1, b"keep-alive", True),
        (True, False, 1, b"close", False),
        (False, True, None, None, True),
        (True, True, None, b"close", False),
    ],
)
def test_whether_the_connection_persists_is_said(
    http10: bool, persists: bool, length: int | None, connection: bytes | None, result: bool
) -> None:
    framed = frame(make_head(), length, http10=http10, persists=persists)
    assert framed.persists is result
    lines = framed.data.split(b"\r\n")
    expected = [b"Connection: " + connection] if connection else []
    assert [line for line in lines if line.startswith(b"Connection")] == expected


@pytest.mark.parametrize("has_date", [False, True])
@pytest.mark.parametrize("has_server", [False, True])
def test_date_and_server_are_never_doubled(has_date: bool, has_server: bool) -> None:
    data = frame(make_head(has_date=has_date, has_server=has_server), 0).data
    assert data.count(DATE) == (not has_date)
    assert data.count(SERVER) == (not has_server)


def test_the_order_of_a_head() -> None:
    head = make_head(201, ("X-A", "1"), ("X-A", " \xe9 "))
    assert frame(head, 3, persists=False).data == (
        b"HTTP/1.1 201 Reason\r\n" + SERVER + DATE + b"X-A: 1\r\nX-A:  \xe9 \r\n"
        b"Content-Length: 3\r\nConnection: close\r\n\r\n"
    )


def test_an_empty_reason_leaves_its_space() -> None:
    assert frame(ResponseHead(200, "", ()), 0).data.startswith(b"HTTP/1.1 200 \r\n")


def test_a_head_that_recurs_is_framed_once_a_second() -> None:
    framer = HTTP1Framer("test")
    head = make_head(recurs=True)
    framer.set_date(NOW)
    ways = [("GET", "HTTP/1.1", True), ("HEAD", "HTTP/1.1", True), ("GET", "HTTP/1.0", False)]
    first = [framer[head, length, *way] for way in ways for length in (1, None)]
    again = [framer[head, length, *way] for way in ways for length in (1, None)]
    assert all(one is other for one, other in zip(first, again, strict=True))
    assert len(set(first)) == 6
    framer.set_date("later")
    assert b"Date: later\r\n" in framer[head, 1, *ways[0]].data


@pytest.mark.parametrize("persists", [False, True])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("length", [5, None])
def test_to_look_a_head_up_is_to_frame_it(
    length: int | None, method: str, version: str, persists: bool
) -> None:
    framer = HTTP1Framer("test")
    framer.set_date(NOW)
    framed = framer[make_head(), length, method, version, persists]
    wanted = frame(
        make_head(),
        length,
        head_only=method == "HEAD",
        http10=version == "HTTP/1.0",
        persists=persists,
    )
    assert framed.data == wanted.data
    assert (framed.framing, framed.persists) == (wanted.framing, wanted.persists)


def test_what_would_not_be_found_again_is_not_kept() -> None:
    framer = HTTP1Framer("test")
    kept = make_head(recurs=True)
    first = framer[kept, 1, "GET", "HTTP/1.1", True]
    for _ in range(FRAMED_LIMIT):
        framer[make_head(), 1, "GET", "HTTP/1.1", True]
    assert framer[kept, 1, "GET", "HTTP/1.1", True] is first
    large = make_head(200, ("X", "x" * FRAMED_SIZE_LIMIT), recurs=True)
    framed = [framer[large, 1, "GET", "HTTP/1.1", True] for _ in range(2)]
    assert framed[0] is not framed[1]
    for _ in range(FRAMED_LIMIT):
        framer[make_head(recurs=True), 1, "GET", "HTTP/1.1", True]
    assert framer[kept, 1, "GET", "HTTP/1.1", True] is not first  # a bounded memory


def test_the_lines_of_a_head_that_recurs_are_written_once() -> None:
    """Also where its Date changes; and no more of them are remembered than a bound allows."""
    written = []

    class Counted(tuple[tuple[str, str], ...]):
        def __iter__(self) -> Iterator[tuple[str, str]]:
            written.append(self)
            return super().__iter__()

    framer = HTTP1Framer("test")
    way = ("GET", "HTTP/1.1", True)
    head = ResponseHead(200, "OK", Counted([("X", "1")]), recurs=True)
    for date in ("now", "later", "still later"):
        framer.set_date(date)
        for length in (1, 2, None):
            assert f"Date: {date}\r\nX: 1\r\n".encode() in framer[head, length, *way].data
    assert len(written) == 1
    once = ResponseHead(200, "OK", Counted([("X", "1")]))
    for _ in range(2):
        assert b"\r\nX: 1\r\n" in framer[once, 1, *way].data
    assert len(written) == 3
    for _ in range(LINES_LIMIT):
        framer[make_head(recurs=True), 1, *way]
    framer.set_date("at last")
    assert b"\r\nX: 1\r\n" in framer[head, 1, *way].data
    assert len(written) == 4


def test_many_pieces_are_one_chunk() -> None:
    assert frame_chunks([b"ab", b"", b"c" * 14], False) == [
        b"10\r\n",
        b"ab",
        b"",
        b"c" * 14,
        b"\r\n",
    ]


def test_an_empty_piece_never_ends_the_body() -> None:
    """A chunk of size 0 is the end of the body in HTTP."""
    assert frame_chunks([], False) == []
    assert frame_chunks([b"", b""], False) == []


def test_the_last_chunk() -> None:
    assert frame_chunks([], True) == [b"0\r\n\r\n"]
    assert b"".join(frame_chunks([b"x"], True)) == b"1\r\nx\r\n0\r\n\r\n"


class Received:
    """A response as h11 understands it."""

    def __init__(self, data: bytes, method: str = "GET") -> None:
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        connection.send(h11.EndOfMessage())
        connection.receive_data(data)
        response = connection.next_event()
        assert isinstance(response, h11.Response)
        self.status = response.status_code
        self.headers = dict(response.headers)
        self.body = b""
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            assert isinstance(event, h11.Data), event
            self.body += event.data
        self.must_close = connection.our_state is h11.MUST_CLOSE


@given(st.lists(st.lists(st.binary(max_size=40), max_size=4), max_size=6))
def test_h11_reads_back_what_was_chunked(takes: list[list[bytes]]) -> None:
    framed = frame(make_head(), None)
    pieces = [piece for take in takes for piece in frame_chunks(take, False)]
    pieces += frame_chunks([], True)
    received = Received(framed.data + b"".join(pieces))
    assert received.body == b"".join(piece for take in takes for piece in take)
    assert not received.must_close


@pytest.mark.parametrize("status", [200, 204, 205, 304, 404, 500, 999])
@pytest.mark.parametrize("length", [None, 0])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_h11_agrees_where_the_body_ends(status: int, length: int | None, method: str) -> None:
    framed = frame(make_head(status), length, head_only=method == "HEAD")
    body = b"".join(frame_chunks([], True)) if framed.framing is CHUNKED else b""
    received = Received(framed.data + body, method)
    assert (received.status, received.body) == (status, b"")


@pytest.mark.parametrize("status", [400, 408, 413, 414, 417, 431, 500, 501, 503, 504, 505, 507])
@pytest.mark.parametrize("head_only", [False, True])
def test_the_servers_own_answers(status: int, head_only: bool) -> None:
    error = HTTPError(status, "It says why")
    framer = HTTP1Framer("test")
    framer.set_date(NOW)
    answer = framer.error_answer(error, head_only=head_only)
    received = Received(answer, "HEAD" if head_only else "GET")
    assert received.status == status
    body = f"{status} {error.reason}\n\nIt says why\n".encode()
    assert received.body == (b"" if head_only else body)
    assert received.headers[b"content-length"] == b"%d" % len(body)
    assert received.headers[b"content-type"] == b"text/plain; charset=utf-8"
    assert received.headers[b"connection"] == b"close"
    assert b"retry-after" not in received.headers
    assert DATE in answer
    assert SERVER in answer
    assert not framer


def test_retry_after() -> None:
    answer = HTTP1Framer("").error_answer(HTTPError(503, "Busy", retry_after=7), head_only=False)
    assert Received(answer).headers[b"retry-after"] == b"7"


# --- fields that are added ------------------------------------------------------------------------

ADDED = [("X-Added", "1"), ("Vary", "a"), ("Vary", "b")]
WAY = ("GET", "HTTP/1.1", True)


@pytest.mark.parametrize("recurs", [False, True])
def test_fields_are_added_where_a_head_has_none_of_that_name(recurs: bool) -> None:
    framer = HTTP1Framer("test", ADDED)
    framer.set_date(NOW)
    start = b"HTTP/1.1 200 Reason\r\n" + SERVER + DATE
    added = b"X-Added: 1\r\n"
    varied = b"Vary: a\r\nVary: b\r\n"
    end = b"Content-Length: 1\r\n\r\n"
    for _ in range(2):
        for fields, lines in [
            ((), added + varied),
            ((("X", "y"),), b"X: y\r\n" + added + varied),
            ((("vary", "own"),), b"vary: own\r\n" + added),
            ((("X-ADDED", ""), ("X-ADDED", "")), b"X-ADDED: \r\n" * 2 + varied),
        ]:
            head = make_head(200, *fields, recurs=recurs)
            assert framer[head, 1, *WAY].data == start + lines + end


@pytest.mark.parametrize("status", [200, 204, 205, 304])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_they_are_added_whatever_the_response(status: int, version: str) -> None:
    framed = HTTP1Framer("test", ADDED)[make_head(status), 0, "HEAD", version, True]
    assert framed.data.count(b"\r\nX-Added: 1\r\n") == 1


def test_they_are_added_to_the_servers_own_answers() -> None:
    framer = HTTP1Framer("test", [*ADDED, ("Content-Type", "x/y"), ("Retry-After", "1")])
    answer = framer.error_answer(HTTPError(503, "Busy", retry_after=7), head_only=False)
    headers = Received(answer).headers
    assert headers[b"x-added"] == b"1"
    assert headers[b"content-type"] == b"text/plain; charset=utf-8"
    assert headers[b"retry-after"] == b"7"
    assert b"Server: test\r\n" in answer


def test_interim_responses_have_none() -> None:
    framer = HTTP1Framer("test", ADDED)
    head = ResponseHead(103, "Early Hints", (("Link", "</a>"),))
    assert b"Added" not in framer.interim_head(head, "HTTP/1.1") + framer.continue_head


@pytest.mark.parametrize(
    ("server", "fields", "own", "expected"),
    [
        ("test", [], None, [b"test"]),
        ("test", [], "app", [b"app"]),
        ("", [], None, []),
        ("", [], "app", [b"app"]),
        ("test", [("sERVER", "x")], None, [b"x"]),
        ("", [("Server", "x")], None, [b"x"]),
        ("test", [("Server", "x")], "app", [b"app"]),
    ],
)
def test_who_says_server(
    server: str, fields: list[tuple[str, str]], own: str | None, expected: list[bytes]
) -> None:
    """The application, then --header, then the server, where it may."""
    framer = HTTP1Framer(server, fields)
    mine = [("Server", own)] if own else []
    head = ResponseHead(200, "OK", tuple(mine), has_server=bool(own))
    data = framer[head, 1, *WAY].data
    found = [line[8:] for line in data.split(b"\r\n") if line.lower().startswith(b"server: ")]
    assert found == expected
    refusal = framer.error_answer(HTTPError(400, "Why"), head_only=True)
    assert refusal.lower().count(b"server: ") == (1 if server or fields else 0)


def test_what_is_added_is_no_reason_to_frame_a_head_anew() -> None:
    framer = HTTP1Framer("test", [("X-Long", "x" * 4 * FRAMED_SIZE_LIMIT)])
    head = make_head(recurs=True)
    assert framer[head, 1, *WAY] is framer[head, 1, *WAY]


# --- interim answers ------------------------------------------------------------------------------


def test_continue_is_a_whole_interim_answer() -> None:
    assert CONTINUE == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert HTTP1Framer("test").continue_head == CONTINUE


def test_an_interim_head_says_what_it_was_given_and_nothing_else() -> None:
    """RFC 9110 §15.2: no framing, and nothing of the connection, Date or Server."""
    head = ResponseHead(103, "Early Hints", (("Link", "</a>; x"), ("Link", "</\xe9>")))
    assert HTTP1Framer("test").interim_head(head, "HTTP/1.1") == (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>; x\r\nLink: </\xe9>\r\n\r\n"
    )


def test_http_1_0_has_no_interim_head() -> None:
    head = ResponseHead(103, "Early Hints", (("Link", "</a>"),))
    assert HTTP1Framer("test").interim_head(head, "HTTP/1.0") == b""
