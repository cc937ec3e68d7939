"""Bodies of str: what becomes of them, of their heads, and of their lengths."""

from __future__ import annotations

import io
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from serving import serving

import wsgi_async
from wsgi_async.applications.str_encoding import EncodeStr
from wsgi_async.errors import ApplicationError, ConfigError
from wsgi_async.wsgi.file_wrapper import FileWrapper

PAGE = "grün: 日本"
SIZE = len(PAGE.encode())
assert len(PAGE) < SIZE

Head = tuple[str, list[tuple[str, str]]]


class Server:
    """Calls an application as a server does, and keeps what it was given."""

    def __init__(self, application: Any, method: str = "GET") -> None:
        self.calls: list[Any] = []
        self.written = b""
        environ: dict[str, Any] = {"REQUEST_METHOD": method, "QUERY_STRING": ""}
        setup_testing_defaults(environ)
        environ["wsgi.file_wrapper"] = FileWrapper
        self.result = application(environ, self.start_response)

    def start_response(self, *args: Any) -> Any:
        self.calls.append(args)
        return self.write

    def write(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        self.written += data

    @property
    def fields(self) -> list[tuple[str, str]]:
        fields: list[tuple[str, str]] = self.calls[-1][1]
        return fields

    def body(self) -> list[Any]:
        try:
            return list(self.result)
        finally:
            if hasattr(self.result, "close"):
                self.result.close()


def responding(body: Any, *fields: tuple[Any, Any], status: Any = "200 OK") -> Any:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response(status, [("Content-Type", "text/plain"), *fields])
        return body() if callable(body) else body

    return application


def length(value: int) -> tuple[str, str]:
    return ("content-LENGTH", str(value))


def generator() -> Iterator[Any]:
    yield ""
    yield "grün"
    yield b"\xff"
    yield ": 日本"


def test_chunks_are_encoded_one_by_one() -> None:
    server = Server(EncodeStr(responding(generator), "utf-8"))
    expected = [b"", b"gr\xc3\xbcn", b"\xff", ": 日本".encode()]
    assert [next(server.result) for _ in expected] == expected
    assert list(server.result) == []
    for kind in (list, tuple):
        assert Server(EncodeStr(responding(kind(generator())), "utf-8")).body() == expected
    assert Server(EncodeStr(responding("grün"), "latin-1")).body() == [b"gr\xfcn"]
    assert Server(EncodeStr(responding(["grün"]), "cp1252")).body() == [b"gr\xfcn"]


@pytest.mark.parametrize(
    "body", [[PAGE], (PAGE,), PAGE, ["grün", ": 日本"], ["grün", b": ", "日本"]]
)
def test_number_of_characters_becomes_number_of_bytes(body: Any) -> None:
    server = Server(EncodeStr(responding(body, length(len(PAGE)), ("X", "y")), "utf-8"))
    assert b"".join(server.body()) == PAGE.encode()
    assert server.fields == [
        ("Content-Type", "text/plain"),
        ("Content-Length", str(SIZE)),
        ("X", "y"),
    ]
    assert len(server.calls) == 1


@pytest.mark.parametrize("given", [SIZE, SIZE + 1, 3, 0])
def test_other_lengths_stay(given: int) -> None:
    server = Server(EncodeStr(responding([PAGE], length(given)), "utf-8"))
    assert server.fields[-1] == length(given)


def test_length_of_an_iterator_goes_with_its_first_text() -> None:
    def application(first: Any) -> Any:
        return responding(lambda: iter([first, PAGE]), length(10), ("X", "y"))

    server = Server(EncodeStr(application("a"), "utf-8"))
    assert server.calls == []
    assert next(server.result) == b"a"
    assert server.fields == [("Content-Type", "text/plain"), ("X", "y")]
    server = Server(EncodeStr(application(b"a"), "utf-8"))
    assert next(server.result) == b"a"
    assert length(10) in server.fields
    server = Server(EncodeStr(application("a"), "iso-8859-1"))
    assert next(server.result) == b"a"
    assert length(10) in server.fields, "a character is a byte"


def test_length_of_a_body_that_never_comes_stays() -> None:
    server = Server(EncodeStr(responding(lambda: iter([]), length(10)), "utf-8"), "HEAD")
    assert server.body() == []
    assert length(10) in server.fields


def test_head_without_length_goes_at_once() -> None:
    server = Server(EncodeStr(responding(generator), "utf-8"))
    assert server.calls == [("200 OK", [("Content-Type", "text/plain")])]


@pytest.mark.parametrize("data", [PAGE, PAGE.encode()])
@pytest.mark.parametrize("with_length", [True, False])
def test_write(data: Any, with_length: bool) -> None:
    fields = [length(len(data))] if with_length else []

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        write = start_response("200 OK", fields)
        write(data)
        write(data)
        return ["end"]

    server = Server(EncodeStr(application, "utf-8"))
    assert server.written == 2 * PAGE.encode()
    assert server.body() == [b"end"]
    assert server.calls == [("200 OK", [] if isinstance(data, str) else fields)]


def test_start_response_within_the_iterable() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterator[str]:
        start_response("200 OK", [length(len(PAGE))])
        yield PAGE

    server = Server(EncodeStr(application, "utf-8"))
    assert server.body() == [PAGE.encode()]
    assert server.calls == [("200 OK", [])]


def test_a_response_replaced() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [length(1)])
        try:
            raise ValueError
        except ValueError:
            start_response("500 Broken", [length(len(PAGE))], sys.exc_info())
        return [PAGE]

    server = Server(EncodeStr(application, "utf-8"))
    assert [call[:2] for call in server.calls] == [("500 Broken", [("Content-Length", str(SIZE))])]


def test_arguments_by_name() -> None:
    """As the server itself takes them, so that the option breaks nothing that ran without."""

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response(status="200 OK", headers=[length(5)])
        try:
            raise ValueError
        except ValueError:
            start_response("500 Broken", [length(1)], exc_info=sys.exc_info())
        return ["x"]

    server = Server(EncodeStr(application, "utf-8"))
    assert server.body() == [b"x"]
    [(status, fields, exc_info)] = server.calls
    assert (status, fields, exc_info[0]) == ("500 Broken", [length(1)], ValueError)


def test_exc_info_after_the_first_chunk_reaches_the_server() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterator[str]:
        start_response("200 OK", [])
        yield "x"
        try:
            raise ValueError("late")
        except ValueError:
            start_response("500 Broken", [length(5)], sys.exc_info())

    server = Server(EncodeStr(application, "utf-8"))
    assert next(server.result) == b"x"
    assert next(server.result, None) is None
    status, fields, exc_info = server.calls[-1]
    assert (status, fields, exc_info[0]) == ("500 Broken", [length(5)], ValueError)


def test_second_start_response_reaches_the_server() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [length(1)])
        start_response("201 Created", [])
        return ["x"]

    server = Server(EncodeStr(application, "utf-8"))
    assert [status for status, _ in server.calls] == ["200 OK", "201 Created"]


def test_status_and_headers_become_native() -> None:
    fields = [("X-A", "é"), ("X-B", "日本"), (b"X-C", b"\xc3\xa9"), ("X-D", 4), ["X-E", "日"]]
    server = Server(EncodeStr(responding([], *fields, status=b"200 OK"), "utf-8"))  # type: ignore[arg-type]
    status, (_, *found) = server.calls[0]
    assert status == "200 OK"
    native = "日本".encode().decode("latin-1")
    assert found == [("X-A", "é"), ("X-B", native), ("X-C", "\xc3\xa9"), ("X-D", 4), ["X-E", "日"]]


def test_what_the_server_refuses_reaches_it() -> None:
    for body in (None, 3, b"bytes", bytearray(b"x")):
        assert Server(EncodeStr(responding(body, length(1)), "utf-8")).result is body
    assert Server(EncodeStr(responding([3], length(1)), "utf-8")).result == [3]
    assert Server(EncodeStr(responding([None, "é"], length(1)), "utf-8")).fields[-1] == length(1)


def test_wrapped_files_are_not_touched() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [length(4)])
        return environ["wsgi.file_wrapper"](io.BytesIO(b"file"))

    server = Server(EncodeStr(application, "utf-8"))
    assert type(server.result) is FileWrapper
    assert server.fields == [length(4)]


def test_an_asynchronous_body_is_not_touched() -> None:
    """Around it, it would hold a thread; and no such application has one."""

    async def chunks() -> AsyncIterator[bytes]:
        yield PAGE.encode()

    body = wsgi_async.live(chunks())

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", str(SIZE))])
        return body

    served = Server(EncodeStr(application, "utf-8"))
    assert served.result is body
    assert served.fields == [("Content-Length", str(SIZE))]


def test_close_is_passed_on_once_and_errors_too() -> None:
    class Body:
        closed = 0

        def __iter__(self) -> Iterator[str]:
            yield "x"
            raise ValueError("broken")

        def close(self) -> None:
            self.closed += 1

    body = Body()
    server = Server(EncodeStr(responding(body), "utf-8"))
    assert body.closed == 0
    with pytest.raises(ValueError, match="broken"):
        server.body()
    assert body.closed == 1


def test_character_that_the_encoding_lacks() -> None:
    for body in (["grün"], iter(["grün"])):
        with pytest.raises(
            ApplicationError, match=r"--encode-str ascii has no '\\xfc', which is in the body"
        ):
            Server(EncodeStr(responding(body), "ascii")).body()


@pytest.mark.parametrize(
    ("encoding", "why"),
    [
        ("utf-9", "there is no text encoding 'utf-9'"),
        ("base64", "there is no text encoding"),
        ("rot13", "there is no text encoding"),
        ("utf\0", "there is no text encoding"),
        ("utf-16", "marks the beginning of a text"),
        ("utf-8-sig", "marks the beginning of a text"),
    ],
)
def test_wrong_encodings(encoding: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        EncodeStr(responding([]), encoding)


@pytest.mark.parametrize("body", [["grün"], generator])
def test_passes_the_validator(body: Any) -> None:
    result = Server(validator(EncodeStr(responding(body, length(4)), "utf-8")))
    assert b"".join(result.body()).startswith(b"gr\xc3\xbcn")
    inside = EncodeStr(validator(responding([b"x"])), "utf-8")
    assert Server(inside).body() == [b"x"]


def test_served(tmp_path: Path) -> None:
    with serving(EncodeStr(responding([PAGE], length(len(PAGE))), "utf-8")) as served:
        with served.client() as client:
            response = client.get()
        assert (response.status, response.body) == (200, PAGE.encode())
        assert served.recorder.of("app_error") == []


@pytest.mark.parametrize("body", ["text", ["text"], generator])
def test_without_it_the_log_names_the_option(body: Any) -> None:
    with serving(responding(body)) as served:
        with served.client() as client:
            assert client.get().status == 500
        ((_, message, _),) = served.recorder.wait_for("app_error")
    assert message.endswith("or start with --encode-str utf-8")
