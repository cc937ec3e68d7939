"""wsgiref.validate around the application: it has nothing to say about the server."""

from __future__ import annotations

import io
import sys
from typing import Any
from wsgiref.validate import validator

import pytest
from responses import DATA, TEXT, App, Recorder, call, returning, with_length, wrapping, writing

# --- wsgiref.validate ----------------------------------------------------------------------------


def reads_input(environ: Any, start_response: Any) -> list[bytes]:
    data = environ["wsgi.input"].read(10)
    environ["wsgi.errors"].write("noted")
    environ["wsgi.errors"].flush()
    start_response("200 OK", TEXT)
    return [data, b"."]


def starts_again(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", TEXT)
    try:
        raise KeyError
    except KeyError:
        start_response("500 Oops", TEXT, sys.exc_info())
    return [b"oops"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("parks", [False, True])
@pytest.mark.parametrize(
    ("application", "status", "body"),
    [
        (returning([b"list"]), 200, b"list"),
        (returning([]), 200, b""),
        (returning([b"a", b"b"], headers=with_length(2)), 200, b"ab"),
        (writing(b"a", b"b", then=[b"c"]), 200, b"abc"),
        (writing(b"a", then=[], headers=with_length(1)), 200, b"a"),
        (returning([], "204 No Content", []), 204, b""),
        (reads_input, 200, b"."),
        (starts_again, 500, b"oops"),
        (wrapping(lambda: io.BytesIO(DATA)), 200, DATA),
    ],
)
def test_the_validator_has_nothing_to_say(
    application: App, status: int, body: bytes, parks: bool, method: str
) -> None:
    outcome = call(validator(application), method, Recorder(parks=parks))
    assert outcome.reports == []
    assert outcome.status == status
    assert outcome.body == (b"" if method == "HEAD" else body)
    assert outcome.end == "finished"


def test_the_validators_own_complaint_is_a_500() -> None:
    outcome = call(validator(returning([b"x"], "200 OK", [])))  # it wants a Content-Type
    assert outcome.status == 500
    assert isinstance(outcome.reports[0][1], AssertionError)
