"""PEP 3333 on start_response: when it may come, what it refuses, and what becomes of the fields."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any
from wsgiref.util import is_hop_by_hop

import pytest
from responses import TEXT, App, LateClass, Recorder, call, returning, with_length

from wsgi_async.errors import ApplicationError
from wsgi_async.wsgi.checks import HEADS, HOP_BY_HOP, NAMES

# --- start_response ------------------------------------------------------------------------------


def late_generator(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("201 Created", TEXT)
    yield b"late"


class LateNext:
    def __init__(self, environ: Any, start_response: Any) -> None:
        self.start_response = start_response
        self.rest = [b"te", b"la"]

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if len(self.rest) == 2:
            self.start_response("201 Created", TEXT)
        if not self.rest:
            raise StopIteration
        return self.rest.pop()


@pytest.mark.parametrize("application", [late_generator, LateClass, LateNext])
def test_start_response_may_be_called_at_the_first_iteration(application: App) -> None:
    outcome = call(application)
    assert (outcome.status, outcome.body, outcome.end) == (201, b"late", "finished")
    assert outcome.fields == (("Content-Type", "text/plain"),)
    assert outcome.length is None
    assert outcome.reports == []


@pytest.mark.parametrize("result", [[b"x"], [], (), iter([b"x"]), iter([])])
def test_without_start_response_the_answer_is_500(result: Iterable[bytes]) -> None:
    outcome = call(lambda environ, start_response: result)
    assert (outcome.status, outcome.end) == (500, "finished")
    assert outcome.body == b"500 Internal Server Error\n"
    [message] = outcome.messages
    assert "start_response was not called" in message


def test_a_second_start_response_without_exc_info_is_500_and_keeps_the_first_error() -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        try:
            start_response("200 OK", TEXT)
            raise KeyError("the original")
        except KeyError:
            start_response("500 Oops", TEXT)
            return [b"x"]

    outcome = call(application)
    assert outcome.status == 500
    [(message, error)] = outcome.reports
    assert "second time without exc_info" in message
    assert "sys.exc_info()" in message
    assert isinstance(error, ApplicationError)
    assert isinstance(error, AssertionError)
    assert isinstance(error.__context__, KeyError)


@pytest.mark.parametrize("how", ["positional", "keyword"])
def test_exc_info_replaces_a_head_that_is_not_sent(how: str) -> None:
    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("X-First", "1")])
        yield b""
        try:
            raise KeyError("boom")
        except KeyError:
            info = sys.exc_info()
            if how == "positional":
                start_response("503 Sorry", TEXT, info)
            else:
                start_response("503 Sorry", TEXT, exc_info=info)
        yield b"sorry"

    outcome = call(application)
    assert (outcome.status, outcome.body) == (503, b"sorry")
    assert outcome.fields == (("Content-Type", "text/plain"),)
    assert outcome.writer.head is not None
    assert (outcome.status, outcome.writer.head.reason) == (503, "Sorry")
    assert outcome.reports == []


@pytest.mark.parametrize("legacy", [False, True])
def test_exc_info_reraises_once_headers_are_sent(legacy: bool) -> None:
    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        write = start_response("200 OK", TEXT)
        if legacy:
            write(b"sent")
        else:
            yield b"sent"
        try:
            raise KeyError("the original")
        except KeyError:
            start_response("500 Oops", TEXT, sys.exc_info())
        yield b"never"

    outcome = call(application)
    assert (outcome.status, outcome.body, outcome.end) == (200, b"sent", "cut")
    [(message, error)] = outcome.reports
    assert message == "the application raised"
    assert type(error) is KeyError
    assert error.args == ("the original",)


@pytest.mark.parametrize(("status", "headers"), [(200, TEXT), ("200 OK", [("X", [])])])
def test_a_complaint_about_the_application_has_no_cause_inside_the_server(
    status: Any, headers: Any
) -> None:
    [(_, error)] = call(returning([b"x"], status, headers)).reports
    assert isinstance(error, ApplicationError)
    assert error.__context__ is None


def test_exc_info_of_none_is_as_if_it_were_not_there() -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT, None)
        return [b"x"]

    assert call(application).status == 200

    def twice(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT, None)
        start_response("200 OK", TEXT, None)
        return [b"x"]

    assert "second time" in call(twice).messages[0]


def test_exc_info_may_come_with_the_first_call() -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        try:
            raise KeyError
        except KeyError:
            start_response("500 Oops", TEXT, sys.exc_info())
        return [b"x"]

    outcome = call(application)
    assert (outcome.status, outcome.body, outcome.reports) == (500, b"x", [])


def test_the_list_of_headers_is_copied() -> None:
    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        headers = [("X-Kept", "1")]
        start_response("200 OK", headers)
        headers.append(("X-Late", "2"))
        headers[0] = ("X-Changed", "3")
        yield b"x"

    assert call(application).fields == (("X-Kept", "1"),)


def test_headers_are_held_until_the_first_chunk_that_is_not_empty() -> None:
    writer = Recorder()

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        write = start_response("200 OK", TEXT)
        write(b"")
        for _ in range(3):
            yield b""
            assert writer.calls == []
        yield b"x"
        assert writer.calls == ["start", "write"]
        yield b""

    outcome = call(application, writer=writer)
    assert (outcome.reports, outcome.body, outcome.end) == ([], b"x", "finished")
    assert writer.calls == ["start", "write", "finish"]


def test_the_applications_reason_and_fields_are_kept_as_they_are() -> None:
    headers = [("X-B", "2"), ("x-a", ""), ("X-B", " tab\tand \xe9 "), ("Set-Cookie", "a=b")]
    outcome = call(returning([b"x"], "299 Très bien", headers))
    assert outcome.writer.head is not None
    assert (outcome.status, outcome.writer.head.reason) == (299, "Très bien")
    assert outcome.fields == tuple(headers)


@pytest.mark.parametrize("name", ["Date", "date", "Server", "SERVER"])
def test_the_applications_own_date_and_server_are_noticed(name: str) -> None:
    head = call(returning([b""], headers=[(name, "mine")])).writer.head
    assert head is not None
    assert head.fields == ((name, "mine"),)
    assert (head.has_date, head.has_server) == (name.lower() == "date", name.lower() == "server")


@pytest.mark.parametrize("status", ["204", "204 "])
def test_a_status_may_have_no_reason(status: str) -> None:
    outcome = call(returning([], status))
    assert outcome.writer.head is not None
    assert (outcome.status, outcome.writer.head.reason) == (204, "")


def test_what_was_judged_is_sent_whatever_a_subclass_of_str_says() -> None:
    class Text(str):
        def __str__(self) -> str:
            return "a\r\nb"

        __format__ = __repr__ = lambda self, *_: "a\r\nb"

    outcome = call(returning([b"x"], Text("200 OK"), [(Text("X-A"), Text("1"))]))
    assert outcome.writer.head is not None
    assert (outcome.writer.head.reason, outcome.fields) == ("OK", (("X-A", "1"),))
    assert {type(text) for text in outcome.fields[0]} == {str}


# --- wrong types and wrong syntax ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (b"200 OK", "must be str like '200 OK', not bytes"),
        (200, "must be str like '200 OK', not int"),
        (None, "must be str"),
        ("20 OK", "three digits from 200 to 999"),
        ("2000 OK", "three digits"),
        ("200OK", "three digits"),
        ("OK", "three digits"),
        ("", "three digits"),
        (" 200 OK", "three digits"),
        ("²00 OK", "three digits"),
        ("٢٠٠ OK", "three digits"),
        ("100 Continue", "from 200 to 999"),
        ("101 Switching Protocols", "from 200 to 999"),
        ("199 Early", "from 200 to 999"),
        ("000 None", "from 200 to 999"),
        ("200 OK\r\nX-Injected: 1", "three digits"),
        ("200 OK\n", "three digits"),
        ("200 \x00", "three digits"),
        ("200 \x7f", "three digits"),
        ("200 \u20ac", "three digits"),
    ],
)
def test_a_wrong_status_is_refused(status: Any, hint: str) -> None:
    outcome = call(returning([b"x"], status))
    assert outcome.status == 500
    [message] = outcome.messages
    assert hint in message


@pytest.mark.parametrize(
    ("headers", "hint"),
    [
        ((("X", "1"),), "must be a list of (name, value) tuples, not tuple"),
        ({"X": "1"}, "not dict"),
        (None, "not NoneType"),
        ("X: 1", "not str"),
        (iter([("X", "1")]), "must be a list"),
        ([["X", "1"]], "each header must be a (name, value) tuple, not ['X', '1']"),
        ([("X",)], "each header must be"),
        ([("X", "1", "2")], "each header must be"),
        (["X: 1"], "each header must be"),
        ([("X", 1)], "names and values must be str, not 'X': 1"),
        ([("X", None)], "must be str"),
        ([("X", b"1")], "must be str"),
        ([(b"X", "1")], "must be str"),
        ([("X", ["1"])], "must be str"),
        ([("X", {})], "must be str"),
        ([("", "1")], "not a valid header name"),
        ([("X Y", "1")], "'X Y' is not a valid header name (RFC 9110 §5.1)"),
        ([("X:", "1")], "not a valid header name"),
        ([("X\r\nY", "1")], "not a valid header name"),
        ([("X\n", "1")], "not a valid header name"),
        ([("Größe", "1")], "not a valid header name"),
        ([("X", "1\r\nInjected: 2")], "control character"),
        ([("X", "1\r")], "control character"),
        ([("X", "1\n")], "control character"),
        ([("X", "a\x00b")], "control character"),
        ([("X", "a\x1bb")], "control character"),
        ([("X", "a\x7fb")], "control character"),
        ([("X", "\u20ac")], "outside latin-1: '\u20ac'; encode it first (RFC 9110 §5.5)"),
        ([("X", "\ud800")], "outside latin-1"),
        ([("Content-Length", "")], "Content-Length must be digits only"),
        ([("Content-Length", "-1")], "digits only"),
        ([("Content-Length", "+1")], "digits only"),
        ([("Content-Length", "1.0")], "digits only"),
        ([("Content-Length", "1_0")], "digits only"),
        ([("Content-Length", " 1")], "digits only"),
        ([("Content-Length", "²")], "digits only"),
        ([("content-length", "0x1")], "digits only"),
        ([("Content-Length", "9" * 5000)], "digits only"),
        ([("Content-Length", "1"), ("content-length", "2")], "two Content-Length headers"),
    ],
)
def test_a_wrong_header_is_refused(headers: Any, hint: str) -> None:
    outcome = call(returning([b"x"], headers=headers))
    assert (outcome.status, outcome.end) == (500, "finished")
    assert outcome.body == b"500 Internal Server Error\n"
    [(message, error)] = outcome.reports
    assert hint in message
    assert len(message) < 300
    assert isinstance(error, ApplicationError)


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "keep-alive",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "TE",
        "Trailer",
        "Trailers",
        "Transfer-Encoding",
        "UPGRADE",
    ],
)
def test_hop_by_hop_headers_are_dropped_with_a_warning(name: str) -> None:
    for _ in range(2):  # nothing of it is remembered
        outcome = call(
            returning([b"x"], headers=[("A", "1"), (name, "x"), (name, "y"), ("B", "2")])
        )
        assert (outcome.status, outcome.body, outcome.reports) == (200, b"x", [])
        assert outcome.fields == (("A", "1"), ("B", "2"))
        head = outcome.writer.head
        assert head is not None
        assert not head.closes
        assert not head.recurs
        [(topic, message)] = outcome.reports.warnings
        assert topic == name.lower()
        assert f"header {name} was not sent" in message
        assert message.endswith("(PEP 3333)")
        assert ("framed twice" in message) is (name == "Transfer-Encoding")


def test_our_list_has_all_that_wsgiref_calls_hop_by_hop() -> None:
    names = ["Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "TE"]
    names += ["Trailers", "Transfer-Encoding", "Upgrade"]
    assert all(map(is_hop_by_hop, names))
    assert HOP_BY_HOP.issuperset(map(str.lower, names))


@pytest.mark.parametrize(
    ("values", "closes", "warns"),
    [
        (["close"], True, False),
        ([" Close\t"], True, False),
        (["close", "close,"], True, False),
        (["keep-alive"], False, True),
        (["keep-alive, close"], True, True),
        (["upgrade", "close"], True, True),
        (["closed"], False, True),
        ([""], False, True),
    ],
)
def test_of_connection_close_is_obeyed(values: list[str], closes: bool, warns: bool) -> None:
    outcome = call(returning([b"x"], headers=[("Connection", value) for value in values]))
    assert (outcome.status, outcome.fields) == (200, ())
    assert outcome.writer.head is not None
    assert outcome.writer.head.closes is closes
    assert bool(outcome.reports.warnings) is warns


def test_a_bad_value_is_refused_also_where_the_field_would_be_dropped() -> None:
    assert call(returning([b"x"], headers=[("Keep-Alive", "a\nb")])).status == 500


def test_equal_content_lengths_count_as_one() -> None:
    outcome = call(returning([b"abc"], headers=[*with_length(3), ("content-length", "03")]))
    assert (outcome.status, outcome.length, outcome.reports) == (200, 3, [])
    assert outcome.fields == (("Content-Type", "text/plain"),)


def test_a_refused_header_stays_refused_when_it_comes_again() -> None:
    for _ in range(2):
        assert call(returning([b"x"], headers=[("X-Twice", "a\nb")])).status == 500
        assert call(returning([b"x"], headers=[("X-Twice", "ab")])).status == 200


def test_the_memory_of_checked_heads_is_bounded() -> None:
    for number in range(1500):
        value = f"{number:04}"
        outcome = call(returning([b"x"], headers=[("X-Number", value)]))
        assert outcome.fields == (("X-Number", value),)
        call(returning([b"x"], headers=[("X-Long", "y" * 600)]))
        call(returning([b"x"], headers=[("Set-Cookie", value)]))
        assert len(HEADS) <= HEADS.limit
    assert not any(name in ("X-Long", "Set-Cookie") for _, (name, _), *_ in HEADS)


def test_the_memory_of_checked_names_is_bounded() -> None:
    for number in range(1500):
        fields = ((f"X-Number-{number}", "1"), (f"X-{'long' * 16}", "2"))
        assert call(returning([b"x"], headers=list(fields))).fields == fields
        assert len(NAMES) <= NAMES.limit
    assert max(map(len, NAMES)) <= 64


@pytest.mark.parametrize("value", [*map(chr, range(0x180)), "\u2028", "\ud800", "\U0001f600"])
def test_a_value_is_latin_1_without_control_characters_whatever_is_looked_at_first(
    value: str,
) -> None:
    # What is valid is told in two ways, of which the faster one must not take more.
    code = ord(value)
    is_valid = value == "\t" or 0x20 <= code <= 0x7E or 0x80 <= code <= 0xFF
    for text in (value, f"a{value}", f"{value}b"):
        outcome = call(returning([b"x"], headers=[("X-Value", text)]))
        assert outcome.status == (200 if is_valid else 500)


def test_a_remembered_head_is_only_for_a_list_of_the_same() -> None:
    for status, headers in [
        ("200 OK", (("X", "1"),)),
        ("200 OK", [["X", "1"]]),
        (("X", "1"), []),
        ("200 OK", [("X", 1)]),
    ]:
        assert call(returning([b"x"], headers=[("X", "1")])).status == 200
        assert call(returning([b"x"], status, headers)).status == 500  # type: ignore[arg-type]
    assert call(returning([b"x"], "201 OK", [("X", "1")])).status == 201
