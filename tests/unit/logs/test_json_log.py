"""The error log as JSON: one object a line, whatever anybody wrote."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from log_lines import REQUEST, restored
from processes import Site
from properties import examples

from wsgi_async.logs.json_lines import json_line
from wsgi_async.logs.observer import LogObserver
from wsgi_async.logs.setup import configure, logger, put_own, release
from wsgi_async.logs.stderr import capture_stderr, finish_stderr

_restore = pytest.fixture(autouse=True)(restored)

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d")


def objects(text: str) -> list[dict[str, Any]]:
    """The objects of a log; each is whole, on a line of its own, and in printable ASCII."""
    lines = text.split("\n")
    assert lines.pop() == ""
    assert all(" " <= character <= "~" for line in lines for character in line)
    found = list(map(json.loads, lines))
    assert all(isinstance(each, dict) for each in found)
    return found


def logged(act: Callable[[LogObserver], object]) -> list[dict[str, Any]]:
    """What is in the log for it."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "error.log"
        configure(error_logfile=str(path), access_logfile="", log_level="debug", log_format="json")
        try:
            act(LogObserver())
            return objects(path.read_text("ascii"))
        finally:
            release()


# --- Records


def test_a_record_about_a_request() -> None:
    before = datetime.now().astimezone() - timedelta(milliseconds=1)
    [found] = logged(lambda log: log.app_warning(REQUEST, "odd"))
    assert TIME.fullmatch(found["time"])
    assert before <= datetime.fromisoformat(found.pop("time")) <= datetime.now().astimezone()
    assert found == {
        "level": "WARNING",
        "logger": "wsgi_async",
        "pid": os.getpid(),
        "message": "odd",
        "request_id": "r-1",
        "client": "127.0.0.1:50312",
        "method": "GET",
        "target": "/path?q=1",
    }


def test_a_traceback_is_a_field() -> None:
    def fail() -> None:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise json.JSONDecodeError("of\nthe application", "{", 0) from error

    def act(log: LogObserver) -> None:
        try:
            fail()
        except ValueError as error:
            log.app_error(REQUEST, "it failed", error)

    [found] = logged(act)
    assert found["message"] == "it failed"
    exception = found["exception"]
    assert exception["type"] == "json.decoder.JSONDecodeError"
    assert exception["message"].startswith("of\nthe application: line 1")
    assert exception["traceback"].startswith("Traceback (most recent call last):\n")
    assert "KeyError: 'inner'\n\nThe above exception was" in exception["traceback"]
    assert "c2Vj" not in json.dumps(found)


def test_an_exception_whose_text_cannot_be_had() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise OSError

    [found] = logged(lambda log: log.error("failed", Broken()))
    assert found["exception"]["type"].endswith("<locals>.Broken")
    assert found["exception"]["message"] == "its text cannot be had"


def test_stacks_and_reports_are_fields() -> None:
    [found] = logged(lambda log: log.thread_lost(REQUEST, "t-1", 5.0, ["File x", "  y()"]))
    assert found["message"].endswith(
        "nothing from the application for 5.0 s; thread t-1 is given up"
    )
    assert found["stack"] == ["File x", "  y()"]
    [found] = logged(lambda log: log.application_loop_blocked(0.75, ["File x", "  y()"]))
    assert found["message"] == "the application loop has been blocked for 0.8 s"
    assert found["stack"] == ["File x", "  y()"]
    [found] = logged(lambda log: log.report("first\n  second\nthird\n"))
    assert (found["message"], found["details"]) == ("first", ["  second", "third"])


def test_a_refusal_says_what_is_known() -> None:
    [found] = logged(lambda log: log.request_refused("[::1]:7", 413, "too large"))
    assert found["client"] == "[::1]:7"
    assert found["status"] == 413
    assert "request_id" not in found
    [found] = logged(lambda log: log.request_refused("[::1]:7", 413, "too large", REQUEST))
    assert found["request_id"] == "r-1"


def test_records_of_others() -> None:
    """Of middleware, and of hooks of gunicorn's with arguments and a stack."""
    log = logging.getLogger("wsgi_async.middleware")
    [found] = logged(lambda _: log.error("%s: %d", "many", 5, stack_info=True))
    assert (found["logger"], found["message"]) == ("wsgi_async.middleware", "many: 5")
    assert found["stack"][0].startswith("Stack (most recent call last)")


def test_one_that_cannot_be_formatted(capfd: pytest.CaptureFixture[str]) -> None:
    """Is told on standard error, where each line is an object too."""
    before = sys.stderr
    with open(os.dup(2), "w", encoding="utf-8") as stream:
        sys.stderr = stream
        try:
            configure(error_logfile="-", access_logfile="", log_level="info", log_format="json")
            logger.warning("%d\n", "no number")
        finally:
            sys.stderr = before
    first, *_, last = objects(capfd.readouterr().err)
    assert first["message"].startswith(r"Cannot format '%d\n', logged in ")
    assert first["stream"] == "stderr"
    assert last["message"].startswith("TypeError: ")


# --- Hostile text

HOSTILE = st.text() | st.text(
    '\x00\n\r\x1b[]{}":,\\\x7f\x85\u2028\ud800\udc80é\U0001f600', min_size=1
)


def sound(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


@examples(500, st.dictionaries(HOSTILE, HOSTILE | st.lists(HOSTILE) | st.integers()))
def test_any_fields_are_one_line(fields: dict[str, Any]) -> None:
    [found] = objects(json_line(fields) + "\n")
    expected = {
        sound(name): [sound(each) for each in value]
        if isinstance(value, list)
        else sound(value)
        if isinstance(value, str)
        else value
        for name, value in fields.items()
    }
    assert found == expected


@examples(200, HOSTILE, HOSTILE)
def test_nothing_forges_a_line_or_a_field(text: str, other: str) -> None:
    request = REQUEST._replace(
        id=other, method=text, target=text, client=text, fields=(("Authorization", other),)
    )
    plain = {"level", "logger", "message", "pid", "time"}
    known = plain | {"client", "method", "request_id", "target"}

    def act(log: LogObserver) -> None:
        log.app_warning(request, text)
        log.app_error(request, text, ValueError(text))
        log.app_stderr(request, text)
        log.thread_lost(request, text, 1.0, [text])
        log.request_refused(text, 400, text, request)
        log.connection_dropped(text, text)
        log.warning(text)
        log.report(text)

    warned, failed, told, lost, refused, dropped, warning, report = logged(act)
    assert set(warned) == known
    assert warned["message"] == warned["target"] == warned["client"] == sound(text)
    assert warned["request_id"] == sound(other)
    assert set(failed) == known | {"exception"}
    assert failed["exception"]["message"] == sound(text)
    assert set(told) == {"client", "message", "pid", "request_id", "stream", "time"}
    assert told["message"] == sound(text.rstrip("\r\n"))
    assert told["stream"] == "wsgi.errors"
    assert set(lost) == known | {"stack"}
    assert lost["stack"] == [sound(text)]
    assert set(refused) == known | {"status"}
    assert set(dropped) == plain | {"client"}
    assert set(warning) == plain
    assert set(report) == plain | {"details"}
    everything = (warned, failed, lost, refused, dropped, warning, report)
    assert all(each["logger"] == "wsgi_async" for each in everything)


@examples(200, st.lists(HOSTILE), HOSTILE)
def test_no_text_of_the_application_forges_one(lines: list[str], name: str) -> None:
    """On standard error, where it says in which request it was written."""
    with tempfile.TemporaryFile("w+") as stream:
        before, sys.stderr = sys.stderr, stream
        try:
            configure(error_logfile="-", access_logfile="", log_level="info", log_format="json")
            put_own(lines, name)
        finally:
            sys.stderr = before
            release()
        stream.seek(0)
        found = objects(stream.read())
    assert [each["message"] for each in found] == list(map(sound, lines))
    for each in found:
        assert set(each) <= {"message", "pid", "request_id", "stream", "time"}
        assert each["stream"] == "stderr"


# --- What is printed


class _Log:
    """Standard error, whose lines are objects; and which request each thread runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.request = threading.local()

    @property
    def printed(self) -> list[tuple[str, str]]:
        found = objects(self.path.read_text())
        return [(each.get("request_id", ""), each["message"]) for each in found]


@contextmanager
def capturing(directory: Path) -> Iterator[_Log]:
    """In a test itself, for pytest has another `sys.stderr` while it makes a fixture."""
    log = _Log(directory / "stderr")
    before = sys.stderr, sys.__stderr__
    with open(log.path, "w", encoding="utf-8") as stream:
        sys.stderr = sys.__stderr__ = stream  # type: ignore[misc]
        try:
            configure(error_logfile="-", access_logfile="", log_level="info", log_format="json")
            capture_stderr(lambda: getattr(log.request, "id", ""))
            yield log
        finally:
            release()
            sys.stderr, sys.__stderr__ = before  # type: ignore[misc]


def test_what_is_printed_comes_line_by_line(tmp_path: Path) -> None:
    with capturing(tmp_path) as printed:
        print("one", 'tw"o', file=sys.stderr)
        print("a\nb\x1b[2J", end="", file=sys.stderr)
        assert printed.printed == [("", 'one tw"o'), ("", "a")]
        sys.stderr.flush()
        assert printed.printed[2:] == [("", "b\x1b[2J")]
        with pytest.raises(TypeError):
            sys.stderr.write(b"x")  # type: ignore[arg-type]
        assert sys.stderr.fileno() == sys.__stderr__.fileno()  # type: ignore[union-attr]
        assert sys.stderr.buffer is sys.__stderr__.buffer  # type: ignore[union-attr]


def test_parts_of_lines_are_kept_apart(tmp_path: Path) -> None:
    """Those of threads, and those of the requests of one thread."""
    with capturing(tmp_path) as printed:
        printed.request.id = "r-1"
        sys.stderr.write("first ")

        def other() -> None:
            printed.request.id = "r-2"
            sys.stderr.write("other\nunfinished")
            printed.request.id = "r-3"
            sys.stderr.write("next")

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        sys.stderr.write("line\n")
        assert printed.printed == [("r-2", "other"), ("r-2", "unfinished"), ("r-1", "first line")]
        finish_stderr()
        assert printed.printed[3:] == [("r-3", "next")]


def test_a_line_without_end_is_passed_on_in_parts(tmp_path: Path) -> None:
    with capturing(tmp_path) as printed:
        for _ in range(200):
            sys.stderr.write("x" * 1000)
        finish_stderr()
        texts = [text for _, text in printed.printed]
        assert sum(map(len, texts)) == 200_000
        assert len(texts) == 4


# --- In a server

APP = """
import logging, sys, threading, warnings
print("as it is loaded", file=sys.stderr)
log = logging.getLogger("shop")
{before}

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/raise":
        raise KeyError("no\\nsuch thing")
    log.warning('first\\n{{"level": "forged"}}')
    environ["wsgi.errors"].write('{{"stream": "forged"}}\\n')
    print("printed", file=sys.stderr)
    def fail():
        raise RuntimeError("in a thread")
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    return [b"x"]
"""

HANDLERS = {
    "unconfigured": "",
    "basicConfig": "logging.basicConfig(format='%(message)s')",
    "of __stderr__": "log.addHandler(logging.StreamHandler(sys.__stderr__)); log.propagate = False",
}


@pytest.mark.parametrize("before", HANDLERS.values(), ids=HANDLERS)
@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_each_line_of_a_server_is_an_object(
    before: str, preload: tuple[str, ...], site: Site
) -> None:
    site.write_source(APP.format(before=before))
    with site.serve("--log-format", "json", *preload) as servers:
        for target, status in (("/", 200), ("/raise", 500)):
            with servers.client() as client:
                assert client.get(target).status == status
        servers.signal(signal.SIGUSR1)
        servers.wait_for("requests in flight")
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        lines = servers.lines
    found = objects("".join(f"{line}\n" for line in lines))
    assert all(TIME.fullmatch(each["time"]) for each in found)
    own = {each["message"]: each for each in found if "stream" in each}
    assert "request_id" not in own["as it is loaded"]
    request_id = own["printed"]["request_id"]
    for text, stream in (
        ("first", "stderr"),
        ('{"level": "forged"}', "stderr"),
        ('{"stream": "forged"}', "wsgi.errors"),
        ("printed", "stderr"),
    ):
        assert own[text]["request_id"] == request_id
        assert own[text]["stream"] == stream
    assert own["RuntimeError: in a thread"]["stream"] == "stderr"
    [failed] = [each for each in found if "exception" in each]
    assert failed["exception"]["type"] == "KeyError"
    assert failed["exception"]["message"] == r"'no\nsuch thing'"
    assert (failed["method"], failed["target"]) == ("GET", "/raise")
    assert failed["request_id"] != request_id
    assert {each["message"] for each in found if each.get("level") == "INFO"} >= {"Stopped"}


def test_a_refusal_of_the_command_line_is_text(site: Site) -> None:
    """It is for who typed it, and the options are not known yet, perhaps."""
    with site.serve("--log-format", "json", "--threads", "0") as servers:
        assert servers.wait() == 1
        [line] = servers.lines
    assert line.startswith("wsgi-async: error: --threads takes ")
