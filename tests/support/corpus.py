"""The raw requests of tests/corpus/, and what one reader makes of their bytes."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from wsgi_async.errors import HTTPError
from wsgi_async.http.limits import Limits
from wsgi_async.http.reading import Signal
from wsgi_async.http.request import RequestHead
from wsgi_async.http1 import reader as http1
from wsgi_async.http1.reader import RequestReader

CORPUS = Path(__file__).parents[1] / "corpus"
DEFAULTS = Limits(request_line=8190, fields=100, field_size=8190, header_size=65536)


class Case(NamedTuple):
    """One raw request (or several) and what is to become of it; see corpus/README.md."""

    id: str
    raw: bytes
    requests: list[tuple[str, str, bytes]]
    status: int | None
    in_body: bool
    incomplete: bool
    limits: Limits
    expect: dict[str, Any]
    host: str | None


def expand(text: str) -> bytes:
    """Latin-1 bytes of `text`, with ``<a*3>`` written out."""
    return re.sub(r"<([^<>]*?)\*([0-9]+)>", lambda m: m[1] * int(m[2]), text).encode("latin-1")


def load() -> Iterator[Case]:
    for file in sorted(CORPUS.glob("*.toml")):
        for case in tomllib.loads(file.read_text(encoding="utf-8"))["case"]:
            name, raw = case.pop("name"), case.pop("raw")
            yield Case(
                f"{file.stem}: {name}",
                expand(raw),
                [
                    (method, expand(target).decode("latin-1"), expand(body))
                    for method, target, body in case.pop("requests", [])
                ],
                case.pop("status", None),
                case.pop("in_body", False),
                case.pop("incomplete", False),
                DEFAULTS._replace(**case.pop("limits", {})),
                case.pop("expect", {}),
                case.pop("host", None),
            )
            assert not case, f"{file.name}: {name}: unknown keys {list(case)}"


CASES = list(load())


class Verdict(NamedTuple):
    """What a reader made of a stream."""

    heads: list[RequestHead]
    requests: list[tuple[str, str, bytes]]
    status: int | None
    incomplete: bool
    text: str = ""
    """What a client is told that is refused."""
    cause: str = ""
    """What else the log is told."""


def read(limits: Limits, parser: str, pieces: Iterable[bytes]) -> Verdict:
    """Feed a reader as a connection does that answers each request at once."""
    http1._heads.clear()  # what one parser has read must not answer for the other
    reader = RequestReader(limits, parser)
    heads: list[RequestHead] = []
    requests: list[tuple[str, str, bytes]] = []
    body: list[bytes] | None = None
    try:
        for piece in pieces:
            reader.receive_data(piece)
            while (event := reader.next_event()) is not Signal.NEED_DATA:
                if isinstance(event, RequestHead):
                    assert body is None
                    heads.append(event)
                    body = []
                elif isinstance(event, bytes):
                    assert event
                    assert body is not None
                    body.append(event)
                if event is Signal.END_OF_BODY or not heads[-1].has_body:
                    assert body is not None
                    requests.append((heads[-1].method, heads[-1].target, b"".join(body)))
                    body = None
    except HTTPError as error:
        with pytest.raises(HTTPError, match=re.escape(str(error))):
            reader.next_event()
        reader.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        with pytest.raises(HTTPError, match=re.escape(str(error))):
            reader.next_event()
        assert reader.buffered == 0
        return Verdict(heads, requests, error.status, False, error.detail, error.cause)
    return Verdict(heads, requests, None, reader.head_started or body is not None)


@cache
def text_of(raw: bytes, limits: Limits) -> str:
    return read(limits, "h11", [raw]).text
