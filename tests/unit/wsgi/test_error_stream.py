"""``wsgi.errors``: whole lines, as soon as they are whole."""

from __future__ import annotations

import logging
import traceback

import pytest

from wsgi_async.wsgi.error_stream import LINE_LIMIT, ErrorStream


class Lines(list[str]):
    """Keeps what it is told."""

    app_stderr = list.append


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def stream(lines: Lines) -> ErrorStream:
    return ErrorStream(lines)


def test_a_line_is_passed_on_when_it_is_complete(stream: ErrorStream, lines: list[str]) -> None:
    assert stream.write("half") == 4
    assert lines == []
    assert stream.write(" a line\n") == 8
    assert lines == ["half a line"]


def test_several_lines_at_once(stream: ErrorStream, lines: list[str]) -> None:
    stream.write("one\ntwo\n\nrest")
    assert lines == ["one", "two", ""]
    stream.flush()
    assert lines == ["one", "two", "", "rest"]


def test_flush_passes_on_an_unfinished_line_once(stream: ErrorStream, lines: list[str]) -> None:
    stream.flush()
    assert lines == []
    stream.write("unfinished")
    stream.flush()
    stream.flush()
    stream.write("\n")
    assert lines == ["unfinished", ""]


def test_only_newline_ends_a_line(stream: ErrorStream, lines: list[str]) -> None:
    stream.write("a\x85b\x1cc\u2028d\re\n")
    assert lines == ["a\x85b\x1cc\u2028d\re"]


def test_writelines_adds_no_newlines(stream: ErrorStream, lines: list[str]) -> None:
    stream.writelines(["a", "b\n", "c\n"])
    assert lines == ["ab", "c"]


@pytest.mark.parametrize("text", [b"bytes", 1, None])
def test_it_takes_str_only(stream: ErrorStream, lines: list[str], text: object) -> None:
    with pytest.raises(TypeError, match="takes str, not"):
        stream.write(text)  # type: ignore[arg-type]
    assert lines == []


def test_print_and_traceback_write_to_it(stream: ErrorStream, lines: list[str]) -> None:
    print("a", "b", file=stream)
    try:
        raise KeyError("x")
    except KeyError:
        traceback.print_exc(file=stream)
    assert lines[0] == "a b"
    assert lines[-1] == "KeyError: 'x'"


def test_a_logging_handler_writes_to_it(stream: ErrorStream, lines: list[str]) -> None:
    handler = logging.StreamHandler(stream)
    handler.emit(logging.LogRecord("name", logging.INFO, "", 0, "message", (), None))
    assert lines == ["message"]


def test_a_line_that_never_ends_is_passed_on_in_parts() -> None:
    parts = Lines()
    stream = ErrorStream(parts)
    for _ in range(3 * LINE_LIMIT // 1000):
        stream.write("x" * 1000)
    assert len(parts) == 2
    stream.flush()
    assert sum(map(len, parts)) == 3 * LINE_LIMIT // 1000 * 1000
