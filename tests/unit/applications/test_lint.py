"""The validator: what it finds, what it lets pass, and how it says so."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from serving import serving

from wsgi_async.applications.lint import Lint, Violation
from wsgi_async.errors import ApplicationError
from wsgi_async.wsgi.file_wrapper import FileWrapper

TEXT = [("Content-Type", "text/plain")]


def environ_of(method: str = "GET", path: str = "/a", **more: Any) -> dict[str, Any]:
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "SCRIPT_NAME": "", "PATH_INFO": path}
    setup_testing_defaults(environ)
    environ |= {
        "QUERY_STRING": "",
        "wsgi.errors": io.StringIO(),
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.input_terminated": True,
        **more,
    }
    return environ


class Server:
    """As much of a server as an application under test needs."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.sent = b""

    def start_response(self, *args: Any) -> Any:
        self.calls.append(args)
        return self.write

    def write(self, data: bytes) -> None:
        self.sent += data

    def run(self, application: Any, environ: dict[str, Any] | None = None) -> bytes:
        result: Iterable[bytes] = application(environ or environ_of(), self.start_response)
        try:
            for chunk in result:
                self.sent += chunk
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()
        return self.sent


def run(application: Any, environ: dict[str, Any] | None = None) -> bytes:
    return Server().run(Lint(application, "the application x:app"), environ)


def responding(
    body: Any, headers: Any = TEXT, status: Any = "200 OK", *rest: Any, **named: Any
) -> Callable[..., Any]:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response(status, headers, *rest, **named)
        return body() if callable(body) else body

    return application


class Closing:
    """An iterable with a close()."""

    def __init__(self, *chunks: Any) -> None:
        self.chunks = chunks
        self.closed = 0

    def __iter__(self) -> Iterator[Any]:
        yield from self.chunks

    def close(self) -> None:
        self.closed += 1


class Sized(Closing):
    def __len__(self) -> int:
        return 2


def lazily(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield b"lazy"


def replacing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", TEXT)
    try:
        raise ValueError
    except ValueError:
        start_response("500 Broken", TEXT, sys.exc_info())
    return [b"replaced"]


def writing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    write = start_response("200 OK", [("Content-Length", "6")])
    write(b"by ")
    write(b"")
    return [b"two"]


def reading(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    stream = environ["wsgi.input"]
    parts = [stream.read(2), stream.readline(), stream.readline(1), *stream.readlines(), *stream]
    start_response("200 OK", TEXT)
    environ["wsgi.errors"].writelines(["a\n"])
    environ["wsgi.errors"].flush()
    return [b"|".join(parts), stream.read(), stream.read(-1), stream.read(None)]


# --- What is right


@pytest.mark.parametrize(
    ("application", "expected"),
    [
        (responding([b"x", b"y"]), b"xy"),
        (responding((b"x",)), b"x"),
        (responding([]), b""),
        (responding(Closing(b"", b"x")), b"x"),
        (responding(Sized(b"1", b"2")), b"12"),
        (responding(lambda: iter([b"x"]), TEXT, "200 OK", None), b"x"),
        (responding([b"xx"], [("Content-Length", "2")]), b"xx"),
        # What wsgiref.validate refuses, and PEP 3333 does not.
        (responding([b"x"], []), b"x"),
        (responding([], [*TEXT, ("Content-Length", "5")], "304 Not Modified"), b""),
        (responding([b""], [("1-Name-", "a\tb")]), b""),
        (responding([b"x"], TEXT, "299 "), b"x"),
        (lazily, b"lazy"),
        (replacing, b"replaced"),
        (writing, b"by two"),
        (reading, b"by|tes\n|m|ore\n"),
    ],
)
def test_what_keeps_the_rules_passes(application: Any, expected: bytes) -> None:
    environ = environ_of(**{"wsgi.input": io.BytesIO(b"bytes\nmore\n")})
    assert run(application, environ) == expected
    assert environ["wsgi.errors"]._stream.getvalue() in ("", "a\n")


def test_results_that_pass_as_they_are() -> None:
    for body in ([b"x"], (b"x",), FileWrapper(io.BytesIO(b"x"))):
        lint = Lint(responding(body))
        assert lint(environ_of(), Server().start_response) is body


def test_head_and_its_length() -> None:
    application = responding([], [("Content-Length", "7")])
    assert run(application, environ_of("HEAD")) == b""


# --- What is wrong


def second_call(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", TEXT)
    start_response("200 OK", TEXT)
    return []


def write_late(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    write = start_response("200 OK", TEXT)
    write(b"early")
    yield b"x"
    write(b"late")


def silent(environ: dict[str, Any], start_response: Any) -> Any:
    return [b"x"]


def silent_iterable(environ: dict[str, Any], start_response: Any) -> Any:
    return iter([b""])


def silent_end(environ: dict[str, Any], start_response: Any) -> Any:
    return iter([])


def silent_file(environ: dict[str, Any], start_response: Any) -> Any:
    return environ["wsgi.file_wrapper"](io.BytesIO())


def using(act: Callable[[dict[str, Any], Any], object]) -> Callable[..., Any]:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", TEXT)
        act(environ, write)
        return []

    return application


class List(list[Any]):
    pass


WRONG = [
    (responding([b""], status="200 OK", headers=TEXT, exc_info=None), "positional arguments"),
    (responding([], TEXT, "200 OK", None, None), "two or three positional arguments"),
    (responding([], TEXT, "200 OK", (1, 2, 3)), r"not what sys.exc_info\(\) gives"),
    (responding([], TEXT, "200 OK", True), r"not what sys.exc_info\(\) gives"),
    (responding([], tuple(TEXT)), "headers must be a list"),
    (responding([], List(TEXT)), "gave start_response a List of headers, not a plain list"),
    (responding([], [["a", "b"]]), "each header must be a"),
    (responding([], [("a", 1)]), "must be str"),
    (responding([], [("a b", "c")]), "not a valid header name"),
    (responding([], [("a", "b\r\nc: d")]), "control character"),
    (responding([], [("a", "日")]), "outside latin-1"),
    (responding([], [("Connection", "close")]), "hop-by-hop"),
    (responding([], [("Content-Length", "x")]), "digits only"),
    (responding([], [("Status", "200 OK")]), "set the header Status"),
    (responding([], TEXT, b"200 OK"), "the status must be str"),
    (responding([], TEXT, "200"), "takes a space and a reason"),
    (responding([], TEXT, "OK"), "three digits"),
    (responding([], TEXT, "100 Continue"), "from 200 to 999"),
    (second_call, "called start_response a second time without exc_info"),
    (responding(None), "returned None, which is no iterable of bytes"),
    (responding("text"), "returned str; return a list"),
    (responding(b"bytes"), "returned bytes; return a list"),
    (responding(["text"]), "gave a chunk that is not bytes: .* yielded str"),
    (responding(lambda: iter([b"x", None])), "gave a chunk that is not bytes: .* NoneType"),
    (responding([bytearray(b"x")]), "yielded bytearray"),
    (responding([b"xyz"], [("Content-Length", "2")]), "longer than its Content-Length 2"),
    (responding([b"x"], [("Content-Length", "2")]), "gave 1 bytes of body for .* of 2"),
    (responding(Closing(b"x"), [("Content-Length", "2")]), "gave 1 bytes of body for .* of 2"),
    (responding(Closing(b"xyz"), [("Content-Length", "2")]), "longer than its Content-Length 2"),
    (responding(Sized(b"1")), r"returned an iterable of len\(\) 2 with 1 chunks"),
    (silent, "did not call start_response before the first chunk"),
    (silent_iterable, "did not call start_response before the first chunk"),
    (silent_end, "did not call start_response before the end"),
    (silent_file, "returned a file without having called start_response"),
    (write_late, r"called write\(\) from within its iterable"),
    (using(lambda environ, write: write("text")), "yielded str"),
    (using(lambda environ, write: write()), r"must call write\(\) with one argument"),
    (using(lambda environ, write: environ["wsgi.input"].read("1")), "takes one number of bytes"),
    (using(lambda environ, write: environ["wsgi.input"].read(1, 2)), "takes one number of bytes"),
    (using(lambda environ, write: environ["wsgi.input"].readline(b"")), "takes one number"),
    (using(lambda environ, write: environ["wsgi.input"].close()), "closed wsgi.input"),
    (using(lambda environ, write: environ["wsgi.input"].getvalue()), "asked wsgi.input for getval"),
    (using(lambda environ, write: environ["wsgi.errors"].close()), "closed wsgi.errors"),
    (
        using(lambda environ, write: environ["wsgi.errors"].write(b"x")),
        "wrote bytes to wsgi",
    ),
    (using(lambda environ, write: environ["wsgi.errors"].writelines([1])), "wrote int to wsgi.er"),
    (using(lambda environ, write: environ["wsgi.errors"].fileno()), "asked wsgi.errors for fileno"),
]


@pytest.mark.parametrize(("application", "why"), WRONG)
def test_violations(application: Any, why: str) -> None:
    with pytest.raises(Violation, match=why) as caught:
        run(application)
    message = str(caught.value)
    assert message.startswith("GET /a: the application x:app ")
    assert message.count("PEP 3333") == 1
    error = caught.value
    assert error.__context__ is None or error.__suppress_context__, "shown in the log"
    assert "\n" not in message
    assert isinstance(caught.value, ApplicationError)


def test_reading_without_a_size_where_the_body_may_not_end() -> None:
    environ = environ_of(**{"wsgi.input_terminated": False})
    with pytest.raises(Violation, match=r"read wsgi\.input without a size"):
        run(using(lambda environ, write: environ["wsgi.input"].read()), environ)


def test_to_look_for_a_method_is_no_violation() -> None:
    def look(environ: dict[str, Any], write: Any) -> None:
        assert not hasattr(environ["wsgi.input"], "seek")
        assert getattr(environ["wsgi.errors"], "encoding", 1) == 1

    assert run(using(look)) == b""


def test_violation_that_the_application_catches_is_raised_again() -> None:
    body = Closing(b"sorry")

    def careless(environ: dict[str, Any], start_response: Any) -> Any:
        try:
            start_response("OK", TEXT)
        except Exception:
            start_response("500 Broken", TEXT)
        return body

    with pytest.raises(Violation, match="three digits"):
        run(careless)
    assert body.closed == 1

    def later(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        try:
            environ["wsgi.input"].close()
        except Exception:
            yield b"nothing happened"

    with pytest.raises(Violation, match=r"closed wsgi\.input"):
        run(later)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"REQUEST_METHOD": None}, "REQUEST_METHOD in the environ that is a NoneType"),
        ({"X": 1}, "X in the environ that is a int"),
        ({"HTTP_X": "日"}, "HTTP_X in the environ that has a character outside latin-1"),
        ({1: "x"}, "the key 1 in the environ, which is no str"),
        ({"HTTP_CONTENT_TYPE": "x"}, "HTTP_CONTENT_TYPE in the environ, not CONTENT_TYPE"),
        ({"SCRIPT_NAME": "/"}, "SCRIPT_NAME '/'; the root's is empty"),
        ({"SCRIPT_NAME": "a"}, "SCRIPT_NAME 'a', which begins with no slash"),
        ({"PATH_INFO": "a"}, "PATH_INFO 'a', which begins with no slash"),
        ({"CONTENT_LENGTH": "+1"}, "the CONTENT_LENGTH '\\+1'"),
        ({"wsgi.version": [1, 0]}, "the wsgi.version"),
        ({"wsgi.url_scheme": "ftp"}, "the wsgi.url_scheme 'ftp'"),
        ({"wsgi.input": None}, "a wsgi.input that has no read"),
        ({"wsgi.errors": sys}, "a wsgi.errors that has no write"),
    ],
)
def test_what_callers_do_wrong(change: dict[Any, Any], why: str) -> None:
    """Between middleware and an application: the fault of the former."""
    with pytest.raises(Violation, match=f"the application x:app was called with (a |the )?{why}"):
        run(responding([]), environ_of() | change)


def test_other_wrong_calls() -> None:
    lint = Lint(responding([]))
    environ = environ_of()
    del environ["wsgi.run_once"]
    with pytest.raises(Violation, match=r"was called without wsgi\.run_once in the environ"):
        run(responding([]), environ)
    with pytest.raises(Violation, match="other than two positional arguments"):
        lint(environ_of())
    with pytest.raises(Violation, match="other than two positional arguments"):
        lint(environ_of(), Server().start_response, more=1)

    class Environ(dict[str, Any]):
        pass

    with pytest.raises(Violation, match="an environ that is no dict but a Environ"):
        lint(Environ(environ_of()), Server().start_response)


# --- close()


def test_a_length_that_raises_is_none() -> None:
    class Broken(Closing):
        def __len__(self) -> int:
            raise ValueError

    body = Broken(b"x")
    assert run(responding(body)) == b"x"
    assert body.closed == 1


def test_close_is_passed_on_once_and_a_second_is_told() -> None:
    body = Closing(b"x")
    environ = environ_of()
    errors = environ["wsgi.errors"]
    result: Any = Lint(responding(body))(environ, Server().start_response)
    assert list(result) == [b"x"]
    result.close()
    assert (body.closed, errors.getvalue()) == (1, "")
    result.close()
    assert body.closed == 1
    assert errors.getvalue() == (
        "GET /a: the application had the close() of its iterable called twice (PEP 3333)\n"
    )
    with pytest.raises(Violation, match=r"is iterated after its close\(\)"):
        next(result)


def test_iterable_that_nobody_closes_is_told() -> None:
    environ = environ_of()
    errors = environ["wsgi.errors"]
    result: Any = Lint(responding(Closing(b"x")))(environ, Server().start_response)
    assert list(result) == [b"x"]
    del result
    assert "had its iterable dropped by its caller without close()" in errors.getvalue()


def test_wrong_results_are_closed() -> None:
    class Uniterable(Closing):
        __iter__ = None  # type: ignore[assignment]

    class Broken(Closing):
        def __iter__(self) -> Iterator[Any]:
            raise ValueError("broken")

    for body, error in ((Uniterable(), Exception), (Broken(), ValueError)):
        with pytest.raises(error):
            run(responding(body))
        assert body.closed == 1


def test_errors_of_the_application_are_its_own() -> None:
    def fails() -> Iterator[bytes]:
        yield b"x"
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(responding(fails))


# --- The request's name


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"SCRIPT_NAME": "/shop", "PATH_INFO": "/caf\xc3\xa9"}, "GET /shop/café: "),
        ({"PATH_INFO": ""}, "GET /: "),
        ({"PATH_INFO": "/a\nGET /b\x1b[0m"}, r"GET /a\u000aGET /b\u001b[0m: "),
        ({"HTTP_X_REQUEST_ID": "ab\n1"}, r"GET /a ['ab\n1']: "),
        ({"HTTP_X_REQUEST_ID": "client", "wsgi_async.request_id": "ours"}, "GET /a ['ours']: "),
    ],
)
def test_names_the_request(more: dict[str, Any], name: str) -> None:
    with pytest.raises(Violation) as caught:
        run(silent, environ_of(**more))
    assert str(caught.value).startswith(name)


# --- Served


def test_passes_wsgiref_on_both_sides() -> None:
    assert Server().run(validator(Lint(validator(responding(lambda: iter([b"x"])))))) == b"x"


def test_violation_is_a_500_and_a_line_with_the_request() -> None:
    with serving(Lint(silent, "the application x:app")) as served:
        with served.client() as client:
            response = client.get("/some/path")
            assert response.status == 500
            assert b"start_response" not in response.body
        ((info, message, error),) = served.recorder.wait_for("app_error")
    assert (info.method, info.target) == ("GET", "/some/path")
    assert message.startswith("GET /some/path: the application x:app did not call start_response")
    assert isinstance(error, Violation)


def test_file_is_still_sent_by_its_descriptor(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"x" * 1_000_000)

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", TEXT)
        return environ["wsgi.file_wrapper"](open(tmp_path / "file", "rb"))

    def no_reading(self: FileWrapper) -> Any:
        raise AssertionError("the file is iterated")

    monkeypatch.setattr(FileWrapper, "__iter__", no_reading)
    with serving(Lint(application)) as served, served.client() as client:
        assert len(client.get().body) == 1_000_000


def test_streams_chunk_by_chunk() -> None:
    asked: list[int] = []

    def body() -> Iterator[bytes]:
        for number in range(3):
            asked.append(number)
            yield b"x"

    result = iter(Lint(responding(body))(environ_of(), Server().start_response))
    assert asked == []
    next(result)
    assert asked == [0]
    result.close()  # type: ignore[attr-defined]
