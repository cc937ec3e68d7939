"""``wsgi.early_hints``: what it takes, what it refuses, and until when."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from responses import TEXT, Body, Recorder, Reports, make_environ

from wsgi_async.errors import ApplicationError
from wsgi_async.wsgi.calling import WSGIResponse
from wsgi_async.wsgi.early_hints import SIZE_LIMIT

LINK = ("Link", "</style.css>; rel=preload; as=style")


class Hinting:
    """One response, which its application and the test give hints to."""

    def __init__(self, application: Callable[..., Any], **writer: Any) -> None:
        self.writer = Recorder(**writer)
        self.reports = Reports()
        self.response = WSGIResponse(application, self.writer, self.reports, False)
        environ = make_environ() | {"wsgi.early_hints": self.response}
        self.response.begin(environ)
        assert self.writer.violations == []

    @property
    def sent(self) -> list[tuple[tuple[str, str], ...]]:
        heads = [head for head, _ in self.writer.interim]
        assert all((head.status, head.reason) == (103, "Early Hints") for head in heads)
        return [head.fields for head in heads]


def giving(*calls: Any, late: bool = False) -> Callable[..., Any]:
    """An application that gives these hints, before or after start_response."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        if late:
            start_response("200 OK", TEXT)
        for fields in calls:
            environ["wsgi.early_hints"](fields)
        if not late:
            start_response("200 OK", TEXT)
        return [b"body"]

    return application


def test_each_call_is_a_103_of_its_own() -> None:
    second = [("Link", "</a.js>; rel=preload"), ("X-Other", "latin-1: \xe9")]
    hinting = Hinting(giving([LINK], second))
    assert hinting.sent == [(LINK,), tuple(second)]
    assert hinting.writer.body == b"body"
    assert list(hinting.reports) == hinting.reports.warnings == []


@pytest.mark.parametrize(
    "fields",
    [
        (LINK,),
        [list(LINK)],
        iter([LINK]),
        {LINK[0]: LINK[1]}.items(),
        [(LINK[0].encode(), LINK[1].encode())],
        [(type("Name", (str,), {"__str__": lambda self: "Other"})("Link"), LINK[1])],
    ],
    ids=["tuple", "lists", "iterator", "items", "bytes", "subclass"],
)
def test_what_gunicorn_takes_is_taken(fields: Iterable[Any]) -> None:
    assert Hinting(giving(fields)).sent == [(LINK,)]


def test_until_the_head_is_handed_over_they_are_sent() -> None:
    """start_response alone sends nothing, so as with gunicorn there is still time."""
    assert Hinting(giving([LINK], late=True)).sent == [(LINK,)]


def test_after_that_nothing_is_sent_and_nothing_is_said() -> None:
    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        yield b"one"
        environ["wsgi.early_hints"]([LINK])
        yield b"two"

    hinting = Hinting(application)
    hinting.response([LINK])
    hinting.response("whatever that is: nobody looks")  # type: ignore[arg-type]
    assert (hinting.sent, hinting.writer.body) == ([], b"onetwo")
    assert list(hinting.reports) == hinting.reports.warnings == []


def test_after_an_error_neither() -> None:
    def application(environ: Any, start_response: Any) -> Body:
        return Body(fails_in="next")

    hinting = Hinting(application)
    hinting.response([LINK])
    assert hinting.writer.head is not None
    assert (hinting.writer.head.status, hinting.sent) == (500, [])


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ([("Link", "a\r\nSet-Cookie: b")], "control character"),
        ([("Link", "a\nb")], "control character"),
        ([("Link", "a\0")], "control character"),
        ([("Link\r\nX", "a")], "not a valid header name"),
        ([("Link:", "a")], "not a valid header name"),
        ([("", "a")], "not a valid header name"),
        ([("Link", "\u20ac")], "outside latin-1"),
        ([(b"Link\r\n", b"a")], "not a valid header name"),
        ([("Link", 1)], "must be str"),
        ([("Link", None)], "must be str"),
        ([("Link", bytearray(b"a"))], "must be str"),
        ([("Link", "a", "b")], "(name, value) tuple"),
        (["ab"], "(name, value) tuple"),
        ({"Link": "a"}, "(name, value) tuple"),
        ("Link: a", "takes an iterable"),
        (b"Link: a", "takes an iterable"),
        (None, "takes an iterable"),
        (5, "takes an iterable"),
    ],
)
def test_what_is_not_a_list_of_fields_is_refused_in_the_application(
    fields: Any, complaint: str
) -> None:
    """The exception comes out of the call, and the application may go on without hints."""
    seen: list[str] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        with pytest.raises(ApplicationError) as caught:
            environ["wsgi.early_hints"](fields)
        seen.append(str(caught.value))
        start_response("200 OK", TEXT)
        return [b"body"]

    hinting = Hinting(application)
    assert complaint in seen[0]
    assert "\n" not in seen[0]
    assert (hinting.sent, hinting.writer.body) == ([], b"body")


def test_an_error_that_is_let_out_is_a_500() -> None:
    hinting = Hinting(giving([LINK], [("Link", "a\r\nb")]))
    assert hinting.sent == [(LINK,)]
    assert hinting.writer.head is not None
    assert hinting.writer.head.status == 500
    assert "control character" in hinting.reports[0][0]


def test_an_error_of_the_iterable_is_the_applications() -> None:
    def fields() -> Iterator[tuple[str, str]]:
        yield LINK
        raise ZeroDivisionError

    hinting = Hinting(giving(fields()))
    assert hinting.sent == []
    assert isinstance(hinting.reports[0][1], ZeroDivisionError)


@pytest.mark.parametrize(
    "name",
    ["Content-Length", "transfer-encoding", "Connection", "Upgrade", "Keep-Alive", "Trailer"],
)
def test_framing_is_not_for_an_interim_response(name: str) -> None:
    """RFC 9110 §8.6, RFC 9112 §6.1: a client might look for a body."""
    hinting = Hinting(giving([LINK, (name, "5")], [(name, "5")]))
    assert hinting.sent == [(LINK,)]
    topics = {topic for topic, _ in hinting.reports.warnings}
    assert topics == {f"early hint {name.lower()}"}
    assert f"the early hint {name} was not sent" in hinting.reports.warnings[0][1]


def test_no_fields_are_no_103() -> None:
    assert Hinting(giving([], iter(()))).sent == []


@pytest.mark.parametrize(
    "fields",
    [
        [("Link", "x" * 1_000_000)],
        [("X", "")] * 1_000_000,
        itertools.repeat(("X", "")),
    ],
    ids=["value", "fields", "endless"],
)
def test_more_than_16_kib_in_a_call_are_left_out_and_said(fields: Any) -> None:
    """A hint is advice: the response is worth more than to fail for it."""
    hinting = Hinting(giving(fields, [LINK]))
    assert (hinting.sent, hinting.writer.body) == ([(LINK,)], b"body")
    assert hinting.reports.warnings == [
        ("early hints", f"early hints were not sent: those of one call may have {SIZE_LIMIT} bytes")
    ]


def test_the_size_told_is_that_of_the_fields_on_the_wire() -> None:
    hinting = Hinting(giving([LINK, ("X", "")]))
    [(head, size)] = hinting.writer.interim
    assert size == len("".join(f"{name}: {value}\r\n" for name, value in head.fields))


def test_what_finds_no_room_is_said() -> None:
    hinting = Hinting(giving([LINK]), hints=False)
    assert hinting.writer.body == b"body"
    [(topic, message)] = hinting.reports.warnings
    assert (topic, message.split(":")[0]) == ("early hints", "early hints were not sent")
