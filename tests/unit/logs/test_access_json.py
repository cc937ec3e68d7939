"""The access log in JSON: what was sent is what is read, whatever it is."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from log_lines import REQUEST, RESPONSE, restored
from properties import examples

from wsgi_async.events import RequestInfo, ResponseInfo
from wsgi_async.logs.access_atoms import KEYS
from wsgi_async.logs.access_entry import ServerEntry
from wsgi_async.logs.access_format import AccessFormat
from wsgi_async.logs.access_quick import json_line
from wsgi_async.logs.observer import LogObserver
from wsgi_async.logs.setup import configure
from wsgi_async.logs.text import _second_and_offset, rfc3339

_restore = pytest.fixture(autouse=True)(restored)

CAME = 1_790_000_000.25
FORMAT = AccessFormat("json")


def read(line: str) -> dict[str, Any]:
    """One object, each key once, in the table's order, and nothing behind it."""
    assert line.isascii()
    assert len(line.splitlines()) == 1
    pairs = json.loads(line, object_pairs_hook=list)
    assert [key for key, _ in pairs] == list(KEYS)
    return dict(pairs)


def object_of(request: RequestInfo | None, response: ResponseInfo | None) -> dict[str, Any]:
    status, size = (400, 0) if response is None else (response.status, response.body_size)
    client = "127.0.0.1:50312" if request is None else request.client
    line = FORMAT.line(ServerEntry(client, CAME, request, status, size, response))
    # What the server logs is made in a way of its own: always the same.
    assert json_line(client, CAME, request, status, size, response) == line
    return read(line)


def test_the_keys() -> None:
    response = RESPONSE._replace(
        duration=1.5,
        upload=0.1,
        queue=0.2,
        app=0.3,
        first=0.25,
        cpu=0.000001,
        send=0.9,
        received=7,
        thread="wsgi_async-1",
        was_parked=True,
    )
    found = object_of(REQUEST, response)
    came = found.pop("time")
    assert datetime.fromisoformat(came).timestamp() == CAME
    assert found == {
        "client": "127.0.0.1",
        "user": "ada",
        "method": "GET",
        "target": "/path?q=1",
        "version": "HTTP/1.1",
        "status": 200,
        "body_size": 12,
        "referer": "http://a/",
        "user_agent": "curl/8",
        "id": "r-1",
        "duration": 1.5,
        "upload": 0.1,
        "queue": 0.2,
        "app": 0.3,
        "first": 0.25,
        "cpu": 0.000001,
        "send": 0.9,
        "received": 7,
        "complete": True,
        "spooled": False,
        "parked": True,
        "given_up": False,
        "thread": "wsgi_async-1",
        "process": os.getpid(),
    }


@pytest.mark.parametrize("request_", [None, REQUEST._replace(fields=())])
def test_what_is_not_known_is_null(request_: RequestInfo | None) -> None:
    found = object_of(request_, None)
    known = {key for key, value in found.items() if value is not None}
    always = {"time", "client", "status", "body_size", "duration", "process"}
    assert known == (always if request_ is None else always | {"method", "target", "version", "id"})


def test_of_the_parts_of_the_time_those_that_are_known_are_told() -> None:
    """A client left the queue: there is no thread whose time could be told."""
    found = object_of(REQUEST, RESPONSE._replace(upload=0.25, queue=1.5, received=0))
    parts = [found[name] for name in ("upload", "queue", "app", "first", "cpu", "send")]
    assert parts == [0.25, 1.5, None, None, None, None]
    assert (found["received"], found["spooled"], found["thread"]) == (0, False, None)


def test_what_was_sent_empty_is_empty() -> None:
    assert object_of(REQUEST._replace(fields=(("Referer", ""),)), RESPONSE)["referer"] == ""


anything = st.text(st.characters(exclude_categories=()))
"""With surrogates that stand alone, control characters, quotes, separators of lines."""
numbers = st.integers(0, 1 << 62)
seconds = st.floats(0, 1e6)


@examples(
    500,
    st.tuples(anything, anything, anything, anything),
    st.tuples(anything, anything, anything),
    st.tuples(numbers, numbers, numbers),
    st.lists(seconds, min_size=6, max_size=6),
    st.booleans(),
)
def test_what_was_sent_is_what_is_read(
    line: tuple[str, str, str, str],
    fields: tuple[str, str, str],
    sizes: tuple[int, int, int],
    parts: list[float],
    flag: bool,
) -> None:
    method, target, version, id = line
    referer, agent, thread = fields
    status, size, received = sizes
    request = RequestInfo(
        id or "-", method, target, version, "unix", (("ReFerer", referer), ("user-agent", agent))
    )
    duration, upload, queue, app, cpu, send = parts
    response = ResponseInfo(
        status,
        size,
        duration,
        flag,
        upload=upload,
        queue=queue,
        app=app,
        cpu=cpu,
        send=send,
        received=received,
        thread=thread,
        was_spooled=flag,
        was_parked=not flag,
    )
    found = object_of(request, response)
    texts = ("id", "method", "target", "version", "referer", "user_agent", "thread")
    assert [found[key] for key in texts] == [id or "-", *line[:3], *fields]
    assert [found[key] for key in ("status", "body_size", "received")] == list(sizes)
    times = [found[key] for key in ("duration", "upload", "queue", "app", "cpu", "send")]
    assert times == pytest.approx(parts, abs=1e-6, rel=1e-12)
    assert [found[key] for key in ("complete", "spooled", "parked")] == [flag, flag, not flag]
    assert found["client"] == "unix"


@examples(100, st.text().filter(lambda text: ":" not in text))
def test_any_user_is_read(user: str) -> None:
    encoded = base64.b64encode(f"{user}:password".encode()).decode()
    found = object_of(REQUEST._replace(fields=(("authorization", f"Basic {encoded}"),)), RESPONSE)
    assert found["user"] == (user or None)
    assert "password" not in json.dumps(found)


def test_a_line_in_a_file(tmp_path: Path) -> None:
    """Past logging, and by it where a handler of the application's is there too: the same."""
    path = tmp_path / "access.log"
    configure(error_logfile="-", access_logfile=str(path), log_level="critical")
    observer = LogObserver(access=True, format="json")
    target = '/"}\n{"status": 200, "\ud800\u2028é'
    observer.request_finished(REQUEST._replace(target=target), RESPONSE)
    observer.request_refused("[::1]:7", 400, "bad", REQUEST._replace(target=target))
    first, second = path.read_text("ascii").splitlines()
    assert read(first)["target"] == read(second)["target"] == target
    assert (read(second)["status"], read(second)["client"]) == (400, "::1")


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    yield monkeypatch
    monkeypatch.undo()
    time.tzset()
    _second_and_offset.cache_clear()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("UTC0", "2026-09-21T14:13:20.250+00:00"),
        ("AAA-5:45", "2026-09-21T19:58:20.250+05:45"),
        ("BBB3:30", "2026-09-21T10:43:20.250-03:30"),
    ],
)
def test_times_have_the_offset_of_the_place(
    name: str, expected: str, zone: pytest.MonkeyPatch
) -> None:
    zone.setenv("TZ", name)
    time.tzset()
    _second_and_offset.cache_clear()
    assert rfc3339(CAME) == expected
    assert datetime.fromisoformat(expected) - datetime.fromtimestamp(CAME).astimezone() == (
        timedelta()
    )
