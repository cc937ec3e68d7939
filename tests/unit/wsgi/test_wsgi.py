"""PEP 3333 on a pool thread's side: every sentence of it that binds a server."""

from __future__ import annotations

import gzip
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast
from wsgiref.util import is_hop_by_hop, setup_testing_defaults
from wsgiref.validate import validator

import pytest

from wsgi_async.errors import ApplicationError, ClientDisconnected
from wsgi_async.http1.framing import ResponseHead
from wsgi_async.wsgi.calling import JOIN_LIMIT, Step, WSGIResponse
from wsgi_async.wsgi.checks import HEADS, HOP_BY_HOP
from wsgi_async.wsgi.file_wrapper import LARGEST_PAGE, FileWrapper

TEXT = [("Content-Type", "text/plain")]
App = Callable[..., Any]


class Recorder:
    """A writer that keeps what it gets, and what it should never have got.

    :param parks: whether each ``write`` asks for the iteration to be suspended.
    :param leaves_after: writes after which the client is gone.
    :param files: whether it has room for another open file.
    """

    def __init__(
        self, *, parks: bool = False, leaves_after: int | None = None, files: bool = True
    ) -> None:
        self.parks = parks
        self.leaves_after = leaves_after
        self.files = files
        self.head: ResponseHead | None = None
        self.length: int | None = None
        self.body = b""
        self.calls: list[str] = []
        self.end: str | None = None
        self.violations: list[str] = []

    def _note(self, call: str, data: bytes = b"") -> None:
        if self.end is not None:
            self.violations.append(f"{call} after the end")
        elif call in ("write", "write_and_wait", "write_last"):
            if self.head is None:
                self.violations.append(f"{call} before the head")
            if not isinstance(data, bytes) or not data:
                self.violations.append(f"{call} of {data!r}")
        self.calls.append(call)
        self.body += data

    def respond(self, head: ResponseHead, body: bytes, length: int | None) -> None:
        self._note("respond", body)
        self._take_head(head, length)
        self.end = "finished"

    def start(self, head: ResponseHead, length: int | None) -> Recorder:
        self._note("start")
        self._take_head(head, length)
        return self

    def _take_head(self, head: ResponseHead, length: int | None) -> None:
        if self.head is not None:
            self.violations.append("a second head")
        self.head = head
        self.length = length

    def write(self, data: bytes) -> bool:
        self._leave()
        self._note("write", data)
        return not self.parks

    def write_and_wait(self, data: bytes) -> None:
        self._leave()
        self._note("write_and_wait", data)

    def _leave(self) -> None:
        if self.leaves_after is not None:
            self.leaves_after -= 1
            if self.leaves_after < 0:
                raise ClientDisconnected("the client has gone")

    def write_last(self, data: bytes) -> None:
        self._note("write_last", data)
        self.end = "finished"

    def send_file(self, head: ResponseHead, descriptor: int, offset: int, count: int) -> bool:
        if not self.files:
            return False
        self._note("send_file", os.pread(descriptor, count, offset))
        self._take_head(head, count)
        self.end = "finished"
        return True

    def finish(self) -> None:
        self._note("finish")
        self.end = "finished"

    def cut(self) -> None:
        if self.end is None:
            self.end = "cut"


class Reports(list[tuple[str, BaseException | None]]):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[tuple[str, str]] = []

    def app_error(self, message: str, error: BaseException | None) -> None:
        self.append((message, error))

    def app_warning(self, topic: str, message: str) -> None:
        self.warnings.append((topic, message))


class Outcome(NamedTuple):
    """What became of one call of an application."""

    status: int | None
    fields: bytes
    length: int | None
    body: bytes
    end: str | None
    reports: Reports
    writer: Recorder
    parked: int

    @property
    def messages(self) -> list[str]:
        return [message for message, _ in self.reports]


def make_environ(method: str = "GET") -> dict[str, Any]:
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "wsgi.file_wrapper": FileWrapper}
    setup_testing_defaults(environ)
    environ["QUERY_STRING"] = ""
    return environ


def call(application: App, method: str = "GET", writer: Recorder | None = None) -> Outcome:
    """Run an application to the end of its response."""
    writer = writer or Recorder()
    reports = Reports()
    response = WSGIResponse(application, writer, reports, method == "HEAD")
    parked = 0
    step = response.begin(make_environ(method))
    while step is Step.PARKED:
        parked += 1
        step = response.advance()
    assert writer.violations == []
    for message in (message for message, _ in reports):
        assert "\n" not in message
    head = writer.head
    return Outcome(
        head.status if head else None,
        head.fields if head else b"",
        writer.length,
        writer.body,
        writer.end,
        reports,
        writer,
        parked,
    )


class Body:
    """An application's iterable that counts its ``close`` and can fail wherever it is told to."""

    def __init__(self, *chunks: Any, fails_in: str = "", error: BaseException | None = None):
        self.chunks = iter(chunks)
        self.fails_in = fails_in
        self.error = error or RuntimeError("boom")
        self.closed = 0
        self.taken = 0

    def __iter__(self) -> Iterator[Any]:
        if self.fails_in == "iter":
            raise self.error
        return self

    def __next__(self) -> Any:
        if self.fails_in == "next":
            raise self.error
        chunk = next(self.chunks, None)
        if chunk is None:
            if self.fails_in == "end":
                raise self.error
            raise StopIteration
        self.taken += 1
        return chunk

    def close(self) -> None:
        self.closed += 1
        if self.fails_in == "close":
            raise self.error


def returning(result: Any, status: str = "200 OK", headers: Any = TEXT) -> App:
    """An application that starts a response and returns `result`."""

    def application(environ: Any, start_response: Any) -> Any:
        start_response(status, headers)
        return result

    return application


def writing(*chunks: bytes, then: Any = (), headers: Any = TEXT, status: str = "200 OK") -> App:
    """An application that uses the legacy ``write()`` callable."""

    def application(environ: Any, start_response: Any) -> Any:
        write = start_response(status, headers)
        for chunk in chunks:
            write(chunk)
        return then

    return application


def with_length(length: object) -> list[tuple[str, str]]:
    return [*TEXT, ("Content-Length", str(length))]


# --- start_response ------------------------------------------------------------------------------


def late_generator(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("201 Created", TEXT)
    yield b"late"


class LateClass:
    """PEP 3333's own example of a class as application: start_response comes in ``__iter__``."""

    def __init__(self, environ: Any, start_response: Any) -> None:
        self.start_response = start_response

    def __iter__(self) -> Iterator[bytes]:
        self.start_response("201 Created", TEXT)
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
    assert outcome.fields == b"Content-Type: text/plain\r\n"
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
    assert outcome.fields == b"Content-Type: text/plain\r\n"
    assert outcome.writer.head is not None
    assert outcome.writer.head.start_line == b"HTTP/1.1 503 Sorry\r\n"
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

    assert call(application).fields == b"X-Kept: 1\r\n"


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
    assert outcome.writer.head.start_line == "HTTP/1.1 299 Très bien\r\n".encode("latin-1")
    assert outcome.fields == b"X-B: 2\r\nx-a: \r\nX-B:  tab\tand \xe9 \r\nSet-Cookie: a=b\r\n"


@pytest.mark.parametrize("name", ["Date", "date", "Server", "SERVER"])
def test_the_applications_own_date_and_server_are_noticed(name: str) -> None:
    head = call(returning([b""], headers=[(name, "mine")])).writer.head
    assert head is not None
    assert (head.has_date, head.has_server) == (name.lower() == "date", name.lower() == "server")


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
        assert outcome.fields == b"A: 1\r\nB: 2\r\n"
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
    assert (outcome.status, outcome.fields) == (200, b"")
    assert outcome.writer.head is not None
    assert outcome.writer.head.closes is closes
    assert bool(outcome.reports.warnings) is warns


def test_a_bad_value_is_refused_also_where_the_field_would_be_dropped() -> None:
    assert call(returning([b"x"], headers=[("Keep-Alive", "a\nb")])).status == 500


def test_equal_content_lengths_count_as_one() -> None:
    outcome = call(returning([b"abc"], headers=[*with_length(3), ("content-length", "03")]))
    assert (outcome.status, outcome.length, outcome.reports) == (200, 3, [])
    assert outcome.fields == b"Content-Type: text/plain\r\n"


def test_a_refused_header_stays_refused_when_it_comes_again() -> None:
    for _ in range(2):
        assert call(returning([b"x"], headers=[("X-Twice", "a\nb")])).status == 500
        assert call(returning([b"x"], headers=[("X-Twice", "ab")])).status == 200


def test_the_memory_of_checked_heads_is_bounded() -> None:
    for number in range(1500):
        value = f"{number:04}"
        outcome = call(returning([b"x"], headers=[("X-Number", value)]))
        assert outcome.fields == f"X-Number: {value}\r\n".encode()
        call(returning([b"x"], headers=[("X-Long", "y" * 600)]))
        call(returning([b"x"], headers=[("Set-Cookie", value)]))
        assert len(HEADS) <= HEADS.limit
    assert not any(name in ("X-Long", "Set-Cookie") for _, (name, _), *_ in HEADS)


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


WRONG_CHUNKS = [
    ("text", "yielded str; encode it"),
    ("", "yielded str; encode it"),
    (bytearray(b"x"), "yielded bytearray; convert it with bytes(...)"),
    (memoryview(b"x"), "yielded memoryview; convert it with bytes(...)"),
    (1, "yielded int; the body must be bytes"),
    ([b"x"], "yielded list; the body must be bytes"),
]


@pytest.mark.parametrize(("chunk", "hint"), WRONG_CHUNKS)
@pytest.mark.parametrize("shape", ["list", "tuple", "generator", "write"])
def test_a_chunk_that_is_not_bytes_is_500_with_a_hint(chunk: Any, hint: str, shape: str) -> None:
    application = {
        "list": returning([b"", chunk]),
        "tuple": returning((chunk,)),
        "generator": returning(iter([b"", chunk])),
        "write": writing(chunk),
    }[shape]
    outcome = call(application)
    assert (outcome.status, outcome.body) == (500, b"500 Internal Server Error\n")
    [message] = outcome.messages
    assert hint in message


@pytest.mark.parametrize("shape", ["list", "generator"])
def test_none_as_a_chunk_is_500(shape: str) -> None:
    result = [None] if shape == "list" else iter([None])
    [message] = call(returning(result)).messages
    assert "yielded NoneType" in message


def test_a_wrong_chunk_after_a_good_one_cuts_the_response() -> None:
    outcome = call(returning(iter([b"good", "bad"])))
    assert (outcome.status, outcome.body, outcome.end) == (200, b"good", "cut")
    assert "yielded str" in outcome.messages[0]


@pytest.mark.parametrize(
    ("result", "hint"),
    [
        (None, "returned None; it must return an iterable of bytes"),
        (7, "returned 7; it must return an iterable"),
        (LateClass, "it must return an iterable"),
        ("text", "returned str; encode it and return a list"),
        (b"bytes", "returned bytes; return a list with it, as [b'...']"),
        (bytearray(b"x"), "returned bytearray; return a list"),
    ],
)
def test_what_is_returned_must_be_an_iterable_of_chunks(result: Any, hint: str) -> None:
    outcome = call(returning(result))
    assert (outcome.status, outcome.body) == (500, b"500 Internal Server Error\n")
    [message] = outcome.messages
    assert hint in message


def test_a_coroutine_is_refused_and_closed() -> None:
    async def application(environ: Any, start_response: Any) -> list[bytes]:
        raise AssertionError("nobody awaits it")

    outcome = call(application)  # "never awaited" would be a warning, and a failure here
    assert outcome.status == 500
    assert "must return an iterable" in outcome.messages[0]


def test_a_type_error_of_the_applications_own_iter_is_not_taken_for_a_wrong_type() -> None:
    body = Body(fails_in="iter", error=TypeError("a bug in __iter__"))
    outcome = call(returning(body))
    [(message, error)] = outcome.reports
    assert message == "the application raised"
    assert str(error) == "a bug in __iter__"
    assert body.closed == 1


def test_subclasses_of_bytes_str_and_list_are_what_they_are() -> None:
    class Bytes(bytes):
        pass

    class Str(str):
        __slots__ = ()

    class List(list):  # type: ignore[type-arg]
        pass

    headers = List([("X", Str("1"))])
    outcome = call(returning(List([Bytes(b"a"), b"b"]), Str("200 OK"), headers))
    assert (outcome.status, outcome.body, outcome.reports) == (200, b"ab", [])


# --- Content-Length ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "length"),
    [
        ([b"abc"], 3),
        ([b"a", b"", b"bc"], 3),
        ((b"a", b"bc"), 3),
        ([], 0),
        ((), 0),
        ([b""], 0),
        (iter([]), 0),
        (iter([b"", b""]), 0),
        (iter([b"abc"]), None),
        (Body(b"abc"), None),
        ({b"abc": 1}, None),
    ],
)
def test_a_length_is_derived_from_lists_tuples_and_empty_bodies(
    result: Any, length: int | None
) -> None:
    outcome = call(returning(result))
    assert (outcome.length, outcome.end, outcome.reports) == (length, "finished", [])


def test_a_list_goes_out_in_one_call() -> None:
    assert call(returning([b"a", b"b"])).writer.calls == ["respond"]


def test_a_big_list_is_not_copied_but_its_length_is_known() -> None:
    items = [b"a" * JOIN_LIMIT, b"", b"b" * 10, b"c"]
    outcome = call(returning(items))
    assert outcome.length == JOIN_LIMIT + 11
    assert outcome.body == b"".join(items)
    assert outcome.writer.calls == ["start", "write", "write", "write_last"]
    single = call(returning([b"a" * (2 * JOIN_LIMIT)]))
    assert single.writer.calls == ["respond"]
    assert single.length == 2 * JOIN_LIMIT


def test_a_big_list_keeps_the_length_that_was_promised() -> None:
    items = [b"a" * JOIN_LIMIT, b"b"]
    outcome = call(returning(items, headers=with_length(JOIN_LIMIT)))
    assert (outcome.length, outcome.body) == (JOIN_LIMIT, items[0])
    assert "longer than its Content-Length" in outcome.messages[0]


SHAPES: dict[str, Callable[..., App]] = {
    "list": lambda *chunks, **kw: returning(list(chunks), **kw),
    "tuple": lambda *chunks, **kw: returning(chunks, **kw),
    "generator": lambda *chunks, **kw: returning(iter(chunks), **kw),
    "write": lambda *chunks, **kw: writing(*chunks, **kw),
    "write, then a generator": lambda first, *chunks, **kw: writing(first, then=iter(chunks), **kw),
    "write, then a list": lambda first, *chunks, **kw: writing(first, then=list(chunks), **kw),
}


@pytest.fixture(params=sorted(SHAPES))
def shape(request: pytest.FixtureRequest) -> Callable[..., App]:
    return SHAPES[request.param]


def test_a_length_that_is_kept(shape: Callable[..., App]) -> None:
    outcome = call(shape(b"ab", b"c", headers=with_length(3)))
    assert (outcome.length, outcome.body) == (3, b"abc")
    assert (outcome.end, outcome.reports) == ("finished", [])


def test_the_chunk_that_completes_the_length_ends_the_response() -> None:
    outcome = call(returning(Body(b"ab", b"c"), headers=with_length(3)))
    assert outcome.writer.calls == ["start", "write", "write_last"]


@pytest.mark.parametrize(
    "chunks", [(b"ab", b"c"), (b"abc", b""), (b"", b"a"), (b"ab", b"cd"), (b"", b"abcd")]
)
def test_a_body_that_is_too_short_is_cut(shape: Callable[..., App], chunks: Any) -> None:
    outcome = call(shape(*chunks, headers=with_length(5)))
    body = b"".join(chunks)
    assert (outcome.status, outcome.length, outcome.body) == (200, 5, body)
    assert outcome.end == "cut"
    missing = 5 - len(body)
    assert outcome.messages == [f"the body is {missing} bytes shorter than its Content-Length"]


@pytest.mark.parametrize("result", [[], [b""], (), iter([]), iter([b""])])
@pytest.mark.parametrize("length", [1, 5])
def test_an_empty_body_with_a_promise_is_cut(result: Any, length: int) -> None:
    outcome = call(returning(result, headers=with_length(length)))
    assert (outcome.status, outcome.length, outcome.body, outcome.end) == (200, length, b"", "cut")
    assert outcome.messages == [f"the body is {length} bytes shorter than its Content-Length"]


@pytest.mark.parametrize(
    "chunks", [(b"abcd",), (b"ab", b"cd"), (b"abc", b"d"), (b"abc", b"d", b"e")]
)
@pytest.mark.parametrize("length", [3, 2, 1, 0])
def test_a_body_that_is_too_long_is_trimmed_and_reported_once(
    shape: Callable[..., App], chunks: tuple[bytes, ...], length: int
) -> None:
    outcome = call(shape(*chunks, headers=with_length(length)))
    assert (outcome.status, outcome.length, outcome.body) == (200, length, b"abc"[:length])
    assert outcome.end == "finished"
    assert outcome.messages == ["the body is longer than its Content-Length; the rest was not sent"]


def test_an_endless_body_ends_where_its_length_does() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"xx"

    outcome = call(returning(endless(), headers=with_length(5)))
    assert (outcome.body, outcome.end) == (b"xxxxx", "finished")


# --- bodiless responses --------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["204 No Content", "205 Reset Content", "304 Not Modified"])
def test_responses_without_content_have_none(shape: Callable[..., App], status: str) -> None:
    for chunks in [(b"", b""), (b"body", b"more")]:
        outcome = call(shape(*chunks, status=status))
        assert (outcome.status, outcome.body, outcome.end) == (int(status[:3]), b"", "finished")
        assert outcome.length is None, "RFC 9110 §8.6: not derived from what is not the 200's body"
        assert outcome.reports == []


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_their_iterable_is_left_alone_after_the_first_chunk(status: str) -> None:
    body = Body(b"", b"x", b"y", b"z")
    outcome = call(returning(body, status))
    assert (outcome.body, outcome.end) == (b"", "finished")
    assert (body.taken, body.closed) == (2, 1)


def test_a_304_keeps_the_length_that_the_application_gave() -> None:
    for result in ([], [b""], iter([])):
        outcome = call(returning(result, "304 Not Modified", with_length(99)))
        assert (outcome.length, outcome.end, outcome.reports) == (99, "finished", [])


@pytest.mark.parametrize("status", ["204 No Content", "205 Reset", "304 Not Modified"])
def test_write_raises_nothing_where_a_status_has_no_body(status: str) -> None:
    reached: list[str] = []

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        write = start_response(status, [])
        write(b"one")
        write(b"two")
        reached.append("the end")
        return iter([b"three"])

    outcome = call(application)
    assert (outcome.body, outcome.end, outcome.reports) == (b"", "finished", [])
    assert outcome.writer.calls == ["respond"]
    assert reached == ["the end"]


# --- HEAD ----------------------------------------------------------------------------------------


def test_head_takes_the_first_chunk_and_then_closes() -> None:
    body = Body(b"", b"x", b"y", b"z")
    outcome = call(returning(body), "HEAD")
    assert (outcome.status, outcome.length, outcome.body) == (200, None, b"")
    assert outcome.writer.calls == ["respond"]
    assert (body.taken, body.closed) == (2, 1)


@pytest.mark.parametrize("chunks", [(b"ab", b"c"), (b"", b"")])
def test_head_has_no_body_and_derives_no_length(
    shape: Callable[..., App], chunks: tuple[bytes, ...]
) -> None:
    outcome = call(shape(*chunks), "HEAD")
    assert (outcome.status, outcome.length, outcome.body) == (200, None, b"")
    assert (outcome.end, outcome.reports) == ("finished", [])


@pytest.mark.parametrize("chunks", [(b"abc", b"d"), (b"", b""), (b"a" * JOIN_LIMIT, b"b")])
def test_head_keeps_the_length_that_was_promised(
    shape: Callable[..., App], chunks: tuple[bytes, ...]
) -> None:
    outcome = call(shape(*chunks, headers=with_length(1234567)), "HEAD")
    assert (outcome.length, outcome.body, outcome.end) == (1234567, b"", "finished")
    assert outcome.reports == []


def test_a_head_that_fails_is_a_500_without_body() -> None:
    outcome = call(returning(None), "HEAD")
    assert (outcome.status, outcome.body, outcome.length) == (500, b"", 26)


# --- write() -------------------------------------------------------------------------------------


def test_write_sends_at_once_and_the_iterable_follows() -> None:
    outcome = call(writing(b"a", b"", b"b", then=iter([b"c", b"d"])))
    assert (outcome.body, outcome.end, outcome.length) == (b"abcd", "finished", None)
    assert outcome.writer.calls == [
        "start",
        "write_and_wait",
        "write_and_wait",
        "write",
        "write",
        "finish",
    ]


def test_write_may_be_called_before_the_iterable_has_begun() -> None:
    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        write = start_response("200 OK", TEXT)
        write(b"a")
        yield b"b"

    outcome = call(application)
    assert (outcome.body, outcome.end) == (b"ab", "finished")


def test_write_raises_when_the_response_was_sent_at_once() -> None:
    """An application may keep it, and call it when all is over."""
    kept: list[Callable[[bytes], object]] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        kept.append(start_response("200 OK", TEXT))
        return [b"a"]

    outcome = call(application)
    assert (outcome.body, outcome.writer.calls) == (b"a", ["respond"])
    with pytest.raises(ClientDisconnected):
        kept[0](b"b")


def test_write_raises_after_a_response_that_was_cut_before_its_head() -> None:
    """As when the application lets out another connection's error."""

    class Upstream:
        def __init__(self, write: Callable[[bytes], object]) -> None:
            self.write = write

        def __iter__(self) -> Iterator[bytes]:
            raise ClientDisconnected("the upstream has gone")

        def close(self) -> None:
            self.write(b"late")

    outcome = call(lambda environ, start_response: Upstream(start_response("200 OK", TEXT)))
    assert (outcome.body, outcome.end) == (b"", "cut")
    assert "start" not in outcome.writer.calls


def test_write_raises_when_the_client_has_gone() -> None:
    seen: list[BaseException] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", TEXT)
        write(b"a")
        try:
            write(b"b")
        except OSError as error:
            seen.append(error)
            raise
        return []

    outcome = call(application, writer=Recorder(leaves_after=1))
    assert (outcome.body, outcome.end, outcome.reports) == (b"a", "cut", [])
    assert isinstance(seen[0], ClientDisconnected)


# --- errors and close() --------------------------------------------------------------------------

ERRORS = [RuntimeError("x"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), MemoryError()]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["call", "iter", "next", "end", "close"])
def test_any_exception_is_contained_and_close_is_called_once(
    error: BaseException, where: str
) -> None:
    body = Body(b"some", fails_in=where, error=error)

    def application(environ: Any, start_response: Any) -> Body:
        start_response("200 OK", TEXT)
        if where == "call":
            raise error
        return body

    outcome = call(application)
    [(message, reported)] = outcome.reports
    assert reported is error
    assert body.closed == (0 if where == "call" else 1)
    if where == "close":
        assert message == "the iterable's close() raised"
        assert (outcome.status, outcome.body, outcome.end) == (200, b"some", "finished")
    elif where == "end":
        assert (outcome.status, outcome.body, outcome.end) == (200, b"some", "cut")
    else:
        assert message == "the application raised"
        assert (outcome.status, outcome.end) == (500, "finished")
        assert outcome.body == b"500 Internal Server Error\n", "nothing of the traceback"
        assert outcome.fields == b"Content-Type: text/plain; charset=utf-8\r\n"
        assert outcome.length == len(outcome.body)


def test_an_error_before_start_response_is_500() -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        raise RuntimeError("early")

    assert call(application).status == 500


def test_an_error_after_the_head_was_written_cuts() -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)(b"sent")
        raise RuntimeError("late")

    outcome = call(application)
    assert (outcome.status, outcome.body, outcome.end) == (200, b"sent", "cut")


def test_an_error_after_the_last_promised_byte_leaves_the_response_complete() -> None:
    body = Body(b"abc", fails_in="end")
    outcome = call(returning(body, headers=with_length(3)))
    assert (outcome.body, outcome.end, body.closed) == (b"abc", "finished", 1)
    assert outcome.messages == ["the application raised"]


def test_a_client_that_leaves_ends_the_iteration_quietly() -> None:
    body = Body(b"a", b"b", b"c", b"d")
    outcome = call(returning(body), writer=Recorder(leaves_after=2))
    assert (outcome.body, outcome.end, outcome.reports) == (b"ab", "cut", [])
    assert (body.taken, body.closed) == (3, 1)


def test_close_is_called_where_the_length_is_reached_or_passed() -> None:
    for chunks in ([b"abc"], [b"abcd", b"e"], [b"a"]):
        body = Body(*chunks)
        call(returning(body, headers=with_length(3)))
        assert body.closed == 1


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_list_with_a_close_method_is_closed(kind: type) -> None:
    class Closing(kind):  # type: ignore[misc]
        closed = 0

        def close(self) -> None:
            type(self).closed += 1

    assert call(returning(Closing([b"a"]))).body == b"a"
    assert Closing.closed == 1


def test_a_close_that_cannot_even_be_looked_up_is_reported() -> None:
    class Hostile(Body):
        @property
        def close(self) -> Any:  # type: ignore[override]
            raise RuntimeError("working outside of request context")

    outcome = call(returning(Hostile(b"a")))
    assert (outcome.body, outcome.end) == (b"a", "finished")
    assert outcome.messages == ["the iterable's close() raised"]


def test_an_iterable_without_close_is_fine() -> None:
    assert call(returning(iter([b"a"]))).reports == []


def test_the_generators_finally_runs_when_it_is_closed() -> None:
    ended: list[str] = []

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        try:
            yield b"a"
            yield b"b"
        finally:
            ended.append("finally")

    call(application, "HEAD")
    assert ended == ["finally"]


def test_a_full_writer_suspends_the_iteration_and_close_waits_for_its_end() -> None:
    body = Body(b"a", b"b", b"c")
    outcome = call(returning(body), writer=Recorder(parks=True))
    assert (outcome.body, outcome.end, outcome.parked) == (b"abc", "finished", 3)
    assert body.closed == 1


def test_a_suspended_iteration_counts_its_promised_length() -> None:
    outcome = call(
        returning(Body(b"a", b"b", b"c"), headers=with_length(3)), writer=Recorder(parks=True)
    )
    assert (outcome.body, outcome.end, outcome.parked, outcome.reports) == (
        b"abc",
        "finished",
        2,
        [],
    )


class Rewinding:
    """An iterator that begins anew whenever it is asked for its iterator, as tutorials show it."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks
        self.asked = 0
        self.has_ended = False
        self.left: list[bytes] = []

    def __iter__(self) -> Rewinding:
        self.asked += 1
        self.left = list(self.chunks)
        return self

    def __next__(self) -> bytes:
        if self.left:
            return self.left.pop(0)
        assert not self.has_ended, "asked after its end: a cursor would be closed, a queue block"
        self.has_ended = True
        raise StopIteration


@pytest.mark.parametrize("parks", [False, True])
@pytest.mark.parametrize("length", [None, 6])
@pytest.mark.parametrize("chunks", [(), (b"abcdef",), (b"abc", b"def"), (b"", b"ab", b"cd", b"ef")])
def test_an_iterator_is_asked_for_once_and_ends_once(
    chunks: tuple[bytes, ...], length: int | None, parks: bool
) -> None:
    iterator = Rewinding(*chunks)
    length = length and len(b"".join(chunks))
    headers = [] if length is None else [("Content-Length", str(length))]
    outcome = call(returning(iterator, headers=headers), writer=Recorder(parks=parks))
    assert (outcome.status, outcome.body) == (200, b"".join(chunks))
    assert outcome.end == "finished"
    assert outcome.reports == []
    assert iterator.asked == 1
    assert iterator.has_ended


def test_start_response_may_be_called_by_iter() -> None:
    class Late:
        def __init__(self, start_response: Callable[..., Any]) -> None:
            self.start_response = start_response

        def __iter__(self) -> Iterator[bytes]:
            self.start_response("200 OK", [])
            return iter([b"late"])

    outcome = call(lambda environ, start_response: Late(start_response))  # type: ignore[arg-type]
    assert (outcome.status, outcome.body, outcome.reports) == (200, b"late", [])


def test_an_abandoned_iteration_is_closed_and_never_asked_for_more() -> None:
    body = Body(b"a", b"b")
    reports = Reports()
    response = WSGIResponse(returning(body), Recorder(parks=True), reports, head_only=False)
    assert response.begin(make_environ()) is Step.PARKED
    assert (body.taken, body.closed) == (1, 0)
    response.abandon()
    assert (body.taken, body.closed) == (1, 1)
    response.abandon()
    assert body.closed == 1
    assert reports == []


def test_the_environ_belongs_to_the_application() -> None:
    seen: list[dict[str, Any]] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        seen.append(environ)
        assert type(environ) is dict
        environ["REQUEST_METHOD"] = "HEAD"
        environ.clear()
        start_response("200 OK", TEXT)
        return [b"still a GET"]

    assert call(application).body == b"still a GET"
    assert seen == [{}]


# --- file_wrapper --------------------------------------------------------------------------------

DATA = bytes(range(256)) * 40


class CountedFile(io.BytesIO):
    closes = 0

    def close(self) -> None:
        self.closes += 1
        super().close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "data"
    file.write_bytes(DATA)
    return file


def wrapping(make: Callable[[], Any], headers: Any = TEXT, status: str = "200 OK") -> App:
    def application(environ: Any, start_response: Any) -> Any:
        start_response(status, headers)
        return environ["wsgi.file_wrapper"](make(), 1000)

    return application


@pytest.mark.parametrize("mode", ["rb", "r+b"])
@pytest.mark.parametrize("buffering", [0, -1])
def test_a_plain_file_is_handed_over_and_closed_at_once(
    path: Path, mode: str, buffering: int
) -> None:
    file = open(path, mode, buffering=buffering)  # noqa: SIM115
    file.read(300)
    outcome = call(wrapping(lambda: file))
    assert outcome.writer.calls == ["send_file"]
    assert (outcome.body, outcome.length) == (DATA[300:], len(DATA) - 300)
    assert file.closed
    assert outcome.reports == []


def test_what_was_written_but_not_flushed_is_sent_too(path: Path) -> None:
    def make() -> Any:
        file = open(path, "r+b")  # noqa: SIM115
        file.write(b"fresh")
        file.seek(0)
        file.write(b"FRESH")
        file.seek(0)
        return file

    assert call(wrapping(make)).body == b"FRESH" + DATA[5:]


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("BytesIO", lambda path: CountedFile(DATA)),
        ("gzip", lambda path: _gzipped(path)),
        ("pipe", lambda path: _piped()),
        ("no close", lambda path: _Reader(DATA)),
        ("buffered gzip", lambda path: io.BufferedReader(cast("Any", _gzipped(path)))),
    ],
)
def test_anything_else_is_iterated(path: Path, name: str, make: Callable[[Path], Any]) -> None:
    expected = DATA if name != "pipe" else b"through a pipe"
    file = make(path)
    outcome = call(wrapping(lambda: file))
    assert (outcome.body, outcome.end, outcome.reports) == (expected, "finished", [])
    assert outcome.length is None
    assert "send_file" not in outcome.writer.calls
    if name == "BytesIO":
        assert file.closes == 1
    elif name != "no close":
        assert file.closed


class _Reader:
    """The least that PEP 3333 asks of a file-like object: ``read``."""

    def __init__(self, data: bytes) -> None:
        self.read = io.BytesIO(data).read


def _gzipped(path: Path) -> Any:
    compressed = path.with_suffix(".gz")
    compressed.write_bytes(gzip.compress(DATA))
    return gzip.open(compressed)


def _piped() -> Any:
    read_end, write_end = os.pipe()
    os.write(write_end, b"through a pipe")
    os.close(write_end)
    return os.fdopen(read_end, "rb")


def test_without_room_for_another_file_it_is_iterated(path: Path) -> None:
    file = path.open("rb")
    outcome = call(wrapping(lambda: file), writer=Recorder(files=False))
    assert (outcome.body, outcome.end) == (DATA, "finished")
    assert file.closed


def test_a_closed_file_is_500(path: Path) -> None:
    file = path.open("rb")
    file.close()
    outcome = call(wrapping(lambda: file))
    assert outcome.status == 500
    assert outcome.messages == ["the application raised"]


def test_a_file_opened_for_text_is_500_with_a_hint(path: Path) -> None:
    path.write_text("text")
    outcome = call(wrapping(path.open))
    assert outcome.status == 500
    assert "yielded str" in outcome.messages[0]


@pytest.mark.parametrize("is_plain", [True, False])
def test_a_length_shorter_than_the_file_ends_it(path: Path, is_plain: bool) -> None:
    """PEP 3333: "until the end is reached, or until Content-Length bytes have been written"."""

    def make() -> Any:
        file = path.open("rb") if is_plain else io.BytesIO(DATA)
        file.seek(100)
        return file

    outcome = call(wrapping(make, with_length(2500)))
    assert (outcome.body, outcome.length) == (DATA[100:2600], 2500)
    assert (outcome.end, outcome.reports) == ("finished", [])


@pytest.mark.parametrize("is_plain", [True, False])
def test_a_length_longer_than_the_file_is_cut(path: Path, is_plain: bool) -> None:
    def make() -> Any:
        return path.open("rb") if is_plain else io.BytesIO(DATA)

    outcome = call(wrapping(make, with_length(len(DATA) + 7)))
    assert (outcome.body, outcome.end) == (DATA, "cut")
    assert outcome.messages == ["the body is 7 bytes shorter than its Content-Length"]


@pytest.mark.parametrize("offset", [len(DATA), len(DATA) + 10])
def test_a_file_at_or_behind_its_end_is_empty(path: Path, offset: int) -> None:
    def make() -> Any:
        file = path.open("rb")
        file.seek(offset)
        return file

    outcome = call(wrapping(make))
    assert (outcome.status, outcome.length, outcome.body, outcome.end) == (200, 0, b"", "finished")


@pytest.mark.parametrize(("method", "status"), [("HEAD", "200 OK"), ("GET", "304 Not Modified")])
def test_a_file_that_is_not_to_be_sent_is_only_closed(path: Path, method: str, status: str) -> None:
    file = path.open("rb")
    outcome = call(wrapping(lambda: file, status=status), method)
    assert (outcome.body, outcome.writer.calls) == (b"", ["respond"])
    assert file.closed


@pytest.mark.parametrize("buffering", [0, -1])
@pytest.mark.parametrize(
    "path",
    [
        Path("/proc/version"),
        Path("/proc/self/cmdline"),
        Path("/sys/kernel/mm/transparent_hugepage/enabled"),
    ],
    ids=str,
)
def test_a_file_whose_size_means_nothing_is_iterated(path: Path, buffering: int) -> None:
    if not path.exists():
        pytest.skip(f"{path} is of Linux")
    outcome = call(wrapping(lambda: open(path, "rb", buffering=buffering)))  # noqa: SIM115
    assert outcome.body == path.read_bytes() != b""
    assert (outcome.end, outcome.reports) == ("finished", [])
    assert "send_file" not in outcome.writer.calls


def test_a_large_file_of_nothing_but_holes_is_handed_over(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(LARGEST_PAGE + 1)
    outcome = call(wrapping(lambda: path.open("rb")))
    assert outcome.writer.calls == ["send_file"]
    assert outcome.body == bytes(LARGEST_PAGE + 1)


def test_an_empty_file_is_an_empty_response(path: Path) -> None:
    path.write_bytes(b"")
    outcome = call(wrapping(lambda: path.open("rb")))
    assert (outcome.status, outcome.body, outcome.length) == (200, b"", 0)
    assert (outcome.end, outcome.reports) == ("finished", [])


def test_a_buffer_that_has_lost_its_file_is_an_error_of_the_applications(path: Path) -> None:
    file = path.open("rb")
    file.detach().close()
    outcome = call(wrapping(lambda: file))
    assert outcome.status == 500


def test_a_file_without_start_response_is_500(path: Path) -> None:
    file = path.open("rb")
    outcome = call(lambda environ, start_response: FileWrapper(file))
    assert outcome.status == 500
    assert "start_response was not called" in outcome.messages[0]
    assert file.closed


def test_a_file_that_follows_write_is_iterated(path: Path) -> None:
    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", TEXT)(b"first")
        return FileWrapper(path.open("rb"))

    assert call(application).body == b"first" + DATA


def test_a_file_whose_read_fails_midway_is_cut_and_closed() -> None:
    class Failing(CountedFile):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() >= 2000:
                raise OSError("I/O error")
            return super().read(size)

    file = Failing(DATA)
    outcome = call(wrapping(lambda: file))
    assert (outcome.body, outcome.end, file.closes) == (DATA[:2000], "cut", 1)


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
