"""Heads of responses to front servers: what is in them, and how their bodies end."""

from __future__ import annotations

import pytest

from wsgi_async.errors import HTTPError
from wsgi_async.gateways.cgi_framing import CGIFramer, StatusLine
from wsgi_async.http.framing import BodyFraming, FramedHead
from wsgi_async.http.response import ResponseHead

NOW = "Mon, 01 Jan 2024 00:00:00 GMT"
NONE, LENGTH, CLOSE = BodyFraming.NONE, BodyFraming.LENGTH, BodyFraming.CLOSE

each_kind = pytest.mark.parametrize(
    ("kind", "begins"), [(StatusLine.HTTP, b"HTTP/1.1 "), (StatusLine.CGI, b"Status: ")]
)


def framer(kind: StatusLine = StatusLine.CGI, *fields: tuple[str, str]) -> CGIFramer:
    made = CGIFramer("test", fields, status_line=kind)
    made.set_date(NOW)
    return made


def frame(
    status: int, length: int | None, method: str = "GET", *, persists: bool = True, **flags: bool
) -> FramedHead:
    head = ResponseHead(status, "Reason", (("X-A", "b"),), None, **flags)
    return framer()[head, length, method, "HTTP/1.1", persists]


@each_kind
def test_a_whole_head(kind: StatusLine, begins: bytes) -> None:
    head = ResponseHead(200, "OK", (("Content-Type", "text/plain"), ("X-A", "\xe9")))
    framed = framer(kind, ("X-Own", "1"))[head, 3, "GET", "HTTP/1.1", False]
    assert framed.data == begins + (
        b"200 OK\r\nServer: test\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
        b"Content-Type: text/plain\r\nX-A: \xe9\r\nX-Own: 1\r\nContent-Length: 3\r\n\r\n"
    )
    assert framed.framing is LENGTH


@each_kind
@pytest.mark.parametrize("name", ["Status", "STATUS"])
@pytest.mark.parametrize("recurs", [False, True])
def test_a_status_is_said_once(kind: StatusLine, begins: bytes, name: str, recurs: bool) -> None:
    """In CGI a field of that name is the status (RFC 3875 §6.3.3); in HTTP it is any field."""
    fields = (("X-A", "b"), (name, "404 Not Found"), ("X-Status", "c"), ("X-B", "Status: d"))
    framed = framer(kind)[
        ResponseHead(200, "OK", fields, recurs=recurs), 0, "GET", "HTTP/1.1", True
    ]
    said = [line for line in framed.data.split(b"\r\n") if line.lower().startswith(b"status:")]
    own = f"{name}: 404 Not Found".encode()
    assert said == ([b"Status: 200 OK"] if kind is StatusLine.CGI else [own])
    assert b"\r\nX-A: b\r\n" in framed.data
    assert b"\r\nX-Status: c\r\nX-B: Status: d\r\n" in framed.data
    assert framed.data.startswith(begins)


@pytest.mark.parametrize(
    ("status", "length", "method", "framing", "line"),
    [
        (200, 5, "GET", LENGTH, b"5"),
        (200, 0, "GET", LENGTH, b"0"),
        (200, None, "GET", CLOSE, None),
        (404, None, "POST", CLOSE, None),
        # RFC 9110 §9.3.2, §8.6, §15.3.6, §15.4.5: as in HTTP
        (200, 5, "HEAD", NONE, b"5"),
        (200, None, "HEAD", NONE, None),
        (204, 5, "GET", NONE, None),
        (205, None, "GET", NONE, b"0"),
        (304, 5, "GET", NONE, b"5"),
        (304, None, "GET", NONE, None),
    ],
)
def test_how_a_body_ends(
    status: int, length: int | None, method: str, framing: BodyFraming, line: bytes | None
) -> None:
    framed = frame(status, length, method)
    assert framed.framing is framing
    assert framed.status == status
    lines = framed.data.split(b"\r\n")
    found = [found for found in lines if found.startswith(b"Content-Length: ")]
    assert found == ([] if line is None else [b"Content-Length: " + line])
    assert not [found for found in lines if found.startswith((b"Transfer-", b"Connection"))]


def test_whether_a_connection_persists_is_the_callers_and_the_heads_to_say() -> None:
    assert frame(200, 1).persists
    assert not frame(200, 1, persists=False).persists
    assert not frame(200, 1, closes=True).persists


def test_what_the_application_says_itself_is_not_added() -> None:
    assert b"Date" not in frame(200, 1, has_date=True).data
    assert b"Server" not in frame(200, 1, has_server=True).data


def test_a_head_that_recurs_is_framed_once_a_second() -> None:
    made, head = framer(), ResponseHead(200, "OK", (), recurs=True)
    wanted = (head, 3, "GET", "HTTP/1.1", False)
    first = made[wanted]
    assert made[wanted] is first
    made.set_date(NOW.replace("00:00:00", "00:00:01"))
    assert made[wanted].data == first.data.replace(b"00:00:00", b"00:00:01")


@each_kind
def test_an_answer_of_the_servers_own(kind: StatusLine, begins: bytes) -> None:
    made, error = framer(kind), HTTPError(503, "Busy", retry_after=7)
    whole = made.error_answer(error, head_only=False, fields=(("X-Id", "1"),))
    head, _, body = whole.partition(b"\r\n\r\n")
    assert head.startswith(begins + b"503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 7\r\nX-Id: 1\r\n" in head
    assert body == b"503 Service Unavailable\n\nBusy\n"
    assert made.error_answer(error, head_only=True).endswith(b"\r\n\r\n")


def test_there_are_no_interim_responses_nor_words_for_an_early_end() -> None:
    made = framer()
    assert made.continue_head == b""
    assert made.interim_head(ResponseHead(103, "Early Hints", ()), "HTTP/1.1") == b""
    assert made.cut() == made.aborted() == b""
