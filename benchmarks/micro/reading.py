"""A request's way in: bytes to head, head to environ."""

from __future__ import annotations

import io
from contextlib import ExitStack
from itertools import cycle, islice

from wsgi_async.http.limits import Limits
from wsgi_async.http.request import RequestHead
from wsgi_async.http1 import fast_path
from wsgi_async.http1.reader import RequestReader
from wsgi_async.wsgi.environ import build_environ, server_variables
from wsgi_async.wsgi.error_stream import ErrorStream
from wsgi_async.wsgi.file_wrapper import FileWrapper

from .benchmark import Heads, Opened, WrongResult
from .heads import DISTINCT

__all__ = ["environ_of", "open_environ", "open_fast_path", "open_lines", "open_reader"]

LIMITS = Limits(request_line=8190, fields=100, field_size=8190, header_size=65536)


def _expected(raw: bytes) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    """Method, target and fields, read without any care."""
    line, *fields = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    method, target, _ = line.split(" ")
    pairs = (field.split(": ", 1) for field in fields)
    return method, target, tuple((name, value) for name, value in pairs)


def _is_parsed(result: object) -> bool:
    assert isinstance(result, tuple)
    raw, head = result
    return isinstance(head, RequestHead) and (
        (head.method, head.target, head.fields) == _expected(raw)
        and (head.version, head.keep_alive, head.has_body) == ("HTTP/1.1", True, False)
    )


def open_fast_path(supply: Heads, stack: ExitStack) -> Opened:
    source, parse = supply(), fast_path.FastPath().parse

    def run(count: int) -> object:
        for raw in islice(source, count):
            head = parse(raw)
        return raw, head

    return Opened(run, _is_parsed)


def open_lines(supply: Heads, stack: ExitStack) -> Opened:
    source, read_lines = supply(), fast_path.read_lines

    def run(count: int) -> object:
        for raw in islice(source, count):
            head = read_lines(raw.decode("latin-1"))
        return raw, head

    return Opened(run, _is_parsed)


def open_reader(supply: Heads, parser: str, stack: ExitStack) -> Opened:
    source, reader = supply(), RequestReader(LIMITS, parser)

    def run(count: int) -> object:
        receive_data, next_event = reader.receive_data, reader.next_event
        for raw in islice(source, count):
            receive_data(raw)
            head = next_event()
        return raw, head

    return Opened(run, _is_parsed)


def _facts() -> dict[str, object]:
    return server_variables(
        ("127.0.0.1", 8000), root_path="", scheme="http", threads=8, file_wrapper=FileWrapper
    )


def _read(raw: bytes) -> RequestHead:
    reader = RequestReader(LIMITS)
    reader.receive_data(raw)
    head = reader.next_event()
    assert isinstance(head, RequestHead)
    return head


class _Log:
    """Nothing comes to it."""

    def app_stderr(self, line: str) -> None:
        raise WrongResult(line)


def environ_of(raw: bytes) -> dict[str, object]:
    head, errors = _read(raw), ErrorStream(_Log())
    return build_environ(head, _facts(), "127.0.0.1", "50312", io.BytesIO(), 0, errors, print)


def open_environ(supply: Heads, stack: ExitStack) -> Opened:
    # Heads of their own, as from a parser: equal names that are not the same object.
    found, facts = [_read(raw) for raw in islice(supply(), DISTINCT)], _facts()
    source, body, errors = cycle(found), io.BytesIO(), ErrorStream(_Log())

    def run(count: int) -> object:
        for head in islice(source, count):
            environ = build_environ(head, facts, "127.0.0.1", "50312", body, 0, errors, print)
        return head, environ

    return Opened(run, _is_environ)


def _is_environ(result: object) -> bool:
    assert isinstance(result, tuple)
    head, environ = result
    fields = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in head.fields}
    return (
        {key: value for key, value in environ.items() if key.startswith("HTTP_")} == fields
        and (environ["PATH_INFO"], environ["QUERY_STRING"]) == (head.path, head.query)
        and (environ["REMOTE_PORT"], environ["wsgi.multithread"]) == ("50312", True)
    )
