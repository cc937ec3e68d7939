"""Exceptions that are responses."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from gateway import TEXT, App, ask, environ_of

from wsgi_async.middleware import Errors, HTTPException, HTTPExceptions


def raising(error: BaseException) -> App:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        raise error

    return application


def test_it_becomes_a_page() -> None:
    reply = ask(HTTPExceptions(raising(HTTPException(404, "no book <7>"))))
    assert reply.reports == []
    assert (reply.status, reply.head and reply.head.reason) == (404, "Not Found")
    assert reply.field("Content-Type") == "text/html; charset=utf-8"
    assert b"<h1>404 Not Found</h1><p>no book &lt;7&gt;</p>" in reply.body
    assert reply.length == len(reply.body)


def test_or_json_where_that_is_liked_better() -> None:
    app = HTTPExceptions(raising(HTTPException(409, "taken", [("X-Why", "name")])))
    reply = ask(app, environ_of(HTTP_ACCEPT="application/json"))
    assert json.loads(reply.body) == {"status": 409, "title": "Conflict", "detail": "taken"}
    assert reply.field("X-Why") == "name"
    assert reply.field("Vary") == "Accept"


def test_with_a_content_type_the_detail_is_the_body() -> None:
    headers = [("content-type", "text/plain"), ("Content-Length", "1")]
    reply = ask(HTTPExceptions(raising(HTTPException(403, "nö", headers))))
    assert (reply.body, reply.length) == ("nö".encode(), 3)


def test_a_redirect() -> None:
    reply = ask(HTTPExceptions(raising(HTTPException(303, headers=[("Location", "/there")]))))
    assert (reply.status, reply.field("Location")) == (303, "/there")


def test_not_modified_has_no_content() -> None:
    reply = ask(HTTPExceptions(raising(HTTPException(304, "x", [("ETag", '"a"')]))))
    assert (reply.status, reply.body, reply.field("Content-Type")) == (304, b"", "")
    assert (reply.length, reply.field("ETag")) == (None, '"a"')


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (HTTPException(418), "418 I'm a Teapot"),
        (HTTPException(599), "599 Unknown"),
        (HTTPException(404, reason="Gone fishing"), "404 Gone fishing"),
    ],
)
def test_the_reason(error: HTTPException, line: str) -> None:
    reply = ask(HTTPExceptions(raising(error)))
    assert reply.head is not None
    # "I'm a teapot" has another spelling in newer versions of http.HTTPStatus.
    assert f"{reply.status} {reply.head.reason}".lower() == line.lower()


def test_a_class_of_ones_own() -> None:
    class NoSuchBook(HTTPException):
        def __init__(self, number: int) -> None:
            super().__init__(404, f"there is no book {number}")

    assert b"there is no book 7" in ask(HTTPExceptions(raising(NoSuchBook(7)))).body


def test_it_replaces_a_response_that_has_begun() -> None:
    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [*TEXT, ("Content-Length", "1000")])
        yield b""
        raise HTTPException(503, headers=[("Retry-After", "7")])

    reply = ask(HTTPExceptions(application))
    assert (reply.status, reply.field("Retry-After"), reply.end) == (503, "7", "finished")
    assert b"503 Service Unavailable" in reply.body
    assert reply.reports == []


def test_too_late_it_is_an_exception_like_any() -> None:
    error = HTTPException(503)

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        yield b"begun"
        raise error

    reply = ask(Errors(HTTPExceptions(application)))
    assert (reply.body, reply.end) == (b"begun", "cut")
    assert [found for _, found in reply.reports] == [error]


def test_it_is_an_application_too() -> None:
    def application(environ: Any, start_response: Any) -> Any:
        try:
            raise HTTPException(404, "by hand")
        except HTTPException as error:
            return error(environ, start_response)

    reply = ask(application)
    assert reply.status == 404
    assert b"by hand" in reply.body


def test_what_is_wrong_with_its_headers_is_told() -> None:
    reply = ask(HTTPExceptions(raising(HTTPException(404, "", [("X-Text", "a\r\nb")]))))
    assert reply.status == 500
    assert "control character" in reply.reports[0][0]


@pytest.mark.parametrize("status", [0, 99, 100, 200, 299, 600, -404])
def test_a_status_that_is_none(status: int) -> None:
    with pytest.raises(ValueError, match="a status from 300 to 599"):
        HTTPException(status)


@pytest.mark.parametrize("reason", ["a\nb", "\xe9", "\x7f"])
def test_a_reason_that_is_none(reason: str) -> None:
    with pytest.raises(ValueError, match="on one line"):
        HTTPException(404, reason=reason)


def test_its_text() -> None:
    assert str(HTTPException(404)) == "404 Not Found"
    assert str(HTTPException(404, "no book")) == "404 Not Found: no book"


def test_nothing_refers_to_a_frame_afterwards() -> None:
    error = HTTPException(404)
    counts = []
    for _ in range(3):
        ask(HTTPExceptions(raising(error)))
        error.__traceback__ = None
        counts.append(sys.getrefcount(error))
    assert counts[0] == counts[2]
