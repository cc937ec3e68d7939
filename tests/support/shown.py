"""Applications that show what they were given."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

TEXT = [("Content-Type", "text/plain; charset=utf-8")]


def echo(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """The environ, and the body."""
    environ.pop("wsgi_async.times", None)  # a live server always measures them
    shown = {key: value for key, value in environ.items() if isinstance(value, str | int | tuple)}
    shown["body"] = environ["wsgi.input"].read().decode("latin-1")
    shown["types"] = {key: type(value).__name__ for key, value in environ.items()}
    body = json.dumps(shown, sort_keys=True).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]


def streamed(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 Fine", TEXT)
    yield b""
    yield b"one "
    yield b"two"


def many(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    fields = [("X-Twice", "1"), ("X-Twice", "2"), ("Server", "mine"), ("Vary", "A")]
    start_response("418 I'm a teapot", [*TEXT, *fields])
    return [b"a", b"", b"b" * 300_000]


def empty(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return []


def a_file(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    file = Path(__file__).open("rb")  # noqa: SIM115 (the wrapper closes it)
    file.seek(10)
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](file)  # type: ignore[no-any-return]


def raises(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise KeyError("the app's own")
