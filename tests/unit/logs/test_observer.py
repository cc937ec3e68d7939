"""What is logged, and that nobody else can write in the log."""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from rawclient import TIMEOUT
from tools import ROOT, python

from wsgi_async.errors import ConfigError
from wsgi_async.events import RequestInfo, ResponseInfo
from wsgi_async.logs.observer import (
    LogObserver,
    configure,
    descriptors,
    error_descriptor,
    escape,
    release,
    reopen,
)
from wsgi_async.wsgi.calling import WSGIResponse

ALL_LATIN_1 = "".join(map(chr, range(256)))
HOSTILE = 'a\r\n\x1b[31m\x00\x7f\x85\x9b"\\é\tz'
ESCAPED = r"a\x0d\x0a\x1b[31m\x00\x7f\x85\x9b\x22\x5c\xe9\x09z"

REQUEST = RequestInfo(
    id="r-1",
    method="GET",
    target="/path?q=1",
    version="HTTP/1.1",
    client="127.0.0.1:50312",
    fields=(
        ("Host", "localhost"),
        ("User-Agent", "curl/8"),
        ("Authorization", "Basic c2VjcmV0OnNlY3JldA=="),
        ("REFERER", "http://a/"),
    ),
)
RESPONSE = ResponseInfo(status=200, body_size=12, duration=0.0, complete=True)


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    """Leave the loggers as an embedded server finds them."""
    yield
    release()
    for name in ("wsgi_async", "wsgi_async.access"):
        target = logging.getLogger(name)
        for handler in target.handlers[:]:
            target.removeHandler(handler)
            handler.close()
        target.setLevel(logging.NOTSET)
        target.propagate = True
        target.disabled = False


def access_line(request: RequestInfo, response: ResponseInfo, path: Path) -> str:
    configure(error_logfile="-", access_logfile=str(path), log_level="critical")
    LogObserver(access=True).request_finished(request, response)
    [line] = path.read_text("ascii").split("\n")[:-1]
    return line


def error_lines(path: Path) -> list[str]:
    """The lines of an error log without their time stamps and process ids."""
    lines = path.read_text("utf-8").split("\n")
    assert lines.pop() == ""
    stamp = r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[\d+\] "
    return [re.sub(stamp, "", line) for line in lines]


@pytest.fixture
def error_log(tmp_path: Path) -> Path:
    path = tmp_path / "error.log"
    configure(error_logfile=str(path), access_logfile="", log_level="info")
    return path


def test_escape_leaves_printable_ascii_only() -> None:
    escaped = escape(ALL_LATIN_1 + "\u2028€")
    assert all(" " <= character <= "~" for character in escaped)
    assert '"' not in escaped
    for code in (*range(0x20), 0x22, 0x5C, *range(0x7F, 0x100)):
        assert escape(chr(code)) == f"\\x{code:02x}"
    assert escape("\u2028") == r"\u2028"
    assert escape("GET /plain?a=b&c='d'") == "GET /plain?a=b&c='d'"


# --- Access log


def test_access_log_in_the_combined_format(tmp_path: Path) -> None:
    line = access_line(REQUEST, RESPONSE, tmp_path / "access.log")
    assert re.fullmatch(
        r"127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "
        r'"GET /path\?q=1 HTTP/1\.1" 200 12 "http://a/" "curl/8"',
        line,
    )


def test_access_log_has_the_time_at_which_the_request_came(tmp_path: Path) -> None:
    before = int(time.time()) - 3600
    response = RESPONSE._replace(duration=3600.0)
    stamp = access_line(REQUEST, response, tmp_path / "a.log").split("[")[1].split("]")[0]
    came = time.mktime(time.strptime(stamp[:-6], "%d/%b/%Y:%H:%M:%S"))
    assert before <= came <= int(time.time()) - 3600


@pytest.mark.parametrize(
    ("client", "host"),
    [("127.0.0.1:50312", "127.0.0.1"), ("[::1]:50312", "::1"), ("unix", "unix"), ("", "-")],
)
def test_access_log_names_the_client_without_its_port(
    tmp_path: Path, client: str, host: str
) -> None:
    line = access_line(REQUEST._replace(client=client), RESPONSE, tmp_path / "access.log")
    assert line.startswith(host + " - - [")


def test_access_log_writes_a_dash_for_nothing(tmp_path: Path) -> None:
    response = ResponseInfo(status=499, body_size=0, duration=0.0, complete=False)
    line = access_line(REQUEST._replace(fields=()), response, tmp_path / "access.log")
    assert line.endswith('" 499 - "-" "-"')


def test_access_log_escapes_what_the_client_sent(tmp_path: Path) -> None:
    fields = (("Referer", HOSTILE), ("User-Agent", HOSTILE))
    request = REQUEST._replace(method=HOSTILE, target=HOSTILE, fields=fields)
    line = access_line(request, RESPONSE, tmp_path / "access.log")
    assert line.endswith(
        f'"{ESCAPED} {ESCAPED} HTTP/1.1" 200 12 "{ESCAPED}" "{ESCAPED}"',
    )


def test_no_log_has_the_authorization(tmp_path: Path, error_log: Path) -> None:
    assert "c2Vj" not in access_line(REQUEST, RESPONSE, tmp_path / "access.log")
    configure(error_logfile=str(error_log), access_logfile="", log_level="debug")
    LogObserver().app_error(REQUEST, "failed", ValueError("x"))
    assert "c2Vj" not in error_log.read_text()


def test_no_request_is_wanted_without_an_access_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert not LogObserver().wants_requests
    assert LogObserver(access=True).wants_requests
    LogObserver().request_finished(REQUEST, RESPONSE)
    assert not caplog.records


@pytest.mark.parametrize(
    ("request_", "end"),
    [
        (REQUEST, '"GET /path?q=1 HTTP/1.1" 413 - "http://a/" "curl/8"'),
        (None, '"-" 413 - "-" "-"'),
        (
            REQUEST._replace(method=HOSTILE, target=HOSTILE, fields=(("referer", HOSTILE),)),
            f'"{ESCAPED} {ESCAPED} HTTP/1.1" 413 - "{ESCAPED}" "-"',
        ),
    ],
    ids=["known", "unknown", "hostile"],
)
def test_access_log_has_what_the_server_refused(
    tmp_path: Path, request_: RequestInfo | None, end: str
) -> None:
    path = tmp_path / "access.log"
    configure(error_logfile="-", access_logfile=str(path), log_level="critical")
    before = int(time.time())
    LogObserver(access=True).request_refused("[::1]:7", 413, "too large", request_)
    [line] = path.read_text("ascii").split("\n")[:-1]
    assert line.startswith("::1 - - [")
    assert line.endswith("] " + end)
    came = time.mktime(time.strptime(line[9:29], "%d/%b/%Y:%H:%M:%S"))
    assert before <= came <= int(time.time())


def test_access_log_has_every_refusal_also_where_the_error_log_has_one_a_second(
    tmp_path: Path,
) -> None:
    error, access = tmp_path / "error.log", tmp_path / "access.log"
    configure(error_logfile=str(error), access_logfile=str(access), log_level="info")
    observer = LogObserver(access=True)
    for _ in range(3):
        observer.request_refused("unix", 503, "the queue is full", REQUEST)
    assert access.read_text().count('" 503 - "') == 3
    assert error.read_text().count("refused with 503") == 1


def test_access_log_has_a_request_that_ran_when_it_was_refused_only_once(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    configure(error_logfile="-", access_logfile=str(path), log_level="critical")
    observer = LogObserver(access=True)
    observer.request_refused("unix", 400, "broken chunk", REQUEST, is_running=True)
    observer.request_finished(REQUEST, RESPONSE._replace(status=400, complete=False))
    assert path.read_text().count("\n") == 1


def test_no_refusal_is_in_an_access_log_that_is_off(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    LogObserver().request_refused("unix", 400, "no Host", REQUEST)
    assert [record.name for record in caplog.records] == ["wsgi_async"]


# --- Error log


def test_the_life_of_a_server(error_log: Path) -> None:
    observer = LogObserver()
    observer.started(("http://127.0.0.1:8000", "http://[::1]:8000"), 8, "uvloop", "auto")
    observer.started(("unix:/run/app.sock",), 1, "asyncio", "h11")
    observer.stopping(3)
    observer.stopped(0)
    observer.stopped(2)
    assert error_lines(error_log) == [
        "[INFO] Listening on http://127.0.0.1:8000, http://[::1]:8000 "
        "(8 threads, uvloop, parser auto)",
        "[INFO] Listening on unix:/run/app.sock (1 thread, asyncio, parser h11)",
        "[INFO] Stopping; requests in flight: 3",
        "[INFO] Stopped",
        "[ERROR] Stopped; threads still in the application: 2",
    ]


def test_an_application_error_is_one_line_and_an_indented_traceback(error_log: Path) -> None:
    try:
        raise ValueError("bad\n[2026-01-01 00:00:00 +0000] [1] [INFO] forged\x1b[0m\x9b")
    except ValueError as error:
        LogObserver().app_error(REQUEST, "the application raised ValueError", error)
    first, *trace = error_lines(error_log)
    assert first == (
        "[ERROR] GET /path?q=1 [127.0.0.1:50312 r-1]: the application raised ValueError"
    )
    assert trace[0] == "  Traceback (most recent call last):"
    assert trace[-2:] == [
        "  ValueError: bad",
        r"  [2026-01-01 00:00:00 +0000] [1] [INFO] forged\x1b[0m\x9b",
    ]
    assert all(line.startswith("  ") for line in trace)


@pytest.mark.parametrize(
    ("path", "trace"),
    [
        ("/raises", ["application", "KeyError: 'no such thing'"]),
        ("/wrong-call", ["application", "ApplicationError: the status must"]),
        ("/wrong-return", []),
    ],
)
def test_a_traceback_begins_in_the_application(
    path: str, trace: list[str], error_log: Path
) -> None:
    def application(environ: dict[str, str], start_response: Callable[..., object]) -> object:
        if environ["PATH_INFO"] == "/raises":
            raise KeyError("no such thing")
        if environ["PATH_INFO"] == "/wrong-call":
            start_response(200, [])
        start_response("200 OK", [])
        return "text"

    class Nowhere:
        def respond(self, *_: object) -> None:
            pass

        def app_error(self, message: str, error: BaseException | None) -> None:
            LogObserver().app_error(REQUEST, message, error)

    nowhere: Any = Nowhere()
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path}
    WSGIResponse(cast("Any", application), nowhere, nowhere, False).begin(environ)
    first, *lines = error_lines(error_log)
    assert first.startswith("[ERROR] GET /path?q=1 [127.0.0.1:50312 r-1]: ")
    shown = [line.rpartition(" in ")[2] for line in lines if line.startswith('    File "')][:1]
    shown += [line.removeprefix("  ").removeprefix("wsgi_async.errors.") for line in lines[-1:]]
    assert len(shown) == len(trace)
    assert all(map(str.startswith, shown, trace)), shown


def test_an_application_error_without_an_exception(error_log: Path) -> None:
    LogObserver().app_error(REQUEST._replace(target=HOSTILE), "str body:\nencode it")
    assert error_lines(error_log) == [
        f"[ERROR] GET {ESCAPED} [127.0.0.1:50312 r-1]: str body:\\x0aencode it"
    ]


def test_a_warning_to_the_application(error_log: Path) -> None:
    LogObserver().app_warning(REQUEST._replace(target=HOSTILE), "not sent:\nremove it")
    assert error_lines(error_log) == [
        f"[WARNING] GET {ESCAPED} [127.0.0.1:50312 r-1]: not sent:\\x0aremove it"
    ]


def test_what_the_application_writes_to_wsgi_errors(error_log: Path) -> None:
    LogObserver().app_stderr(REQUEST, "käse\t€\x1b\x85\u2028\n")
    assert error_lines(error_log) == ["[r-1] käse\t€" r"\x1b\x85\u2028"]


def test_warnings_and_errors(error_log: Path) -> None:
    observer = LogObserver()
    observer.warning("100% full\n")
    observer.error("broken")
    observer.error("broken", OSError("why"))
    assert error_lines(error_log) == [
        r"[WARNING] 100% full\x0a",
        "[ERROR] broken",
        "[ERROR] broken",
        "  OSError: why",
    ]


def test_refusals_of_5xx_are_one_line_a_second(error_log: Path) -> None:
    now = 0.0
    observer = LogObserver(clock=lambda: now)
    for _ in range(5):
        observer.request_refused("[::1]:1", 503, "the queue is full")
    observer.request_refused("[::1]:1", 507, "the disk is full")
    observer.request_refused("[::1]:1", 400, "no Host\r\n")
    observer.request_refused("[::1]:1", 400, "no Host")
    now = 1.0
    observer.request_refused("[::1]:2", 503, "the queue is full")
    assert error_lines(error_log) == [
        "[WARNING] [[::1]:1] refused with 503: the queue is full",
        "[WARNING] [[::1]:1] refused with 507: the disk is full",
        r"[INFO] [[::1]:1] refused with 400: no Host\x0d\x0a",
        "[INFO] [[::1]:1] refused with 400: no Host",
        "[WARNING] [[::1]:2] refused with 503: the queue is full (and 4 more before)",
    ]


def test_dropped_connections_are_one_line_a_second(error_log: Path) -> None:
    now = 0.0
    observer = LogObserver(clock=lambda: now)
    for port in range(3):
        observer.connection_dropped(f"[::1]:{port}", "it sent nothing for 30 s\n")
    now = 1.5
    observer.connection_dropped("unix", "its head was not complete after 10 s")
    assert error_lines(error_log) == [
        r"[INFO] [[::1]:0] dropped: it sent nothing for 30 s\x0a",
        "[INFO] [unix] dropped: its head was not complete after 10 s (and 2 more before)",
    ]


# --- Handlers


def test_an_embedded_server_attaches_no_handler() -> None:
    LogObserver(access=True).warning("x")
    assert not logging.getLogger("wsgi_async").handlers
    assert not logging.getLogger("wsgi_async.access").handlers


def test_the_level_filters_the_error_log_only(tmp_path: Path) -> None:
    error, access = tmp_path / "error.log", tmp_path / "access.log"
    configure(error_logfile=str(error), access_logfile=str(access), log_level="critical")
    observer = LogObserver(access=True)
    observer.error("hidden")
    observer.request_finished(REQUEST, RESPONSE)
    assert error.read_text() == ""
    assert access.read_text().count("\n") == 1


def test_the_standard_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout, stderr = io.StringIO(), io.StringIO()
    monkeypatch.setattr("sys.stdout", stdout)
    monkeypatch.setattr("sys.stderr", stderr)
    configure(error_logfile="-", access_logfile="-", log_level="info")
    observer = LogObserver(access=True)
    observer.warning("careful")
    observer.request_finished(REQUEST, RESPONSE)
    assert stderr.getvalue().endswith("[WARNING] careful\n")
    assert stdout.getvalue().endswith('"curl/8"\n')
    assert stdout.getvalue().count("\n") == stderr.getvalue().count("\n") == 1


def test_a_standard_stream_that_the_parent_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", stderr)
    configure(error_logfile="-", access_logfile="-", log_level="info")
    LogObserver(access=True).request_finished(REQUEST, RESPONSE)
    assert stderr.getvalue() == ""


def test_files_are_appended_to_and_never_fail_to_encode(tmp_path: Path) -> None:
    path = tmp_path / "error.log"
    path.write_text("before\n")
    configure(error_logfile=str(path), access_logfile="", log_level="info")
    LogObserver().warning("lone \udc80")
    assert path.read_text().startswith("before\n")
    assert path.read_text().endswith("lone \\udc80\n")


def test_configuring_again_replaces_and_revives(tmp_path: Path) -> None:
    first, second = tmp_path / "1.log", tmp_path / "2.log"
    configure(error_logfile=str(first), access_logfile="", log_level="info")
    # What logging.config.dictConfig() does to a logger that it does not name.
    logging.getLogger("wsgi_async").disabled = True
    configure(error_logfile=str(second), access_logfile="", log_level="info")
    LogObserver().warning("x")
    assert first.read_text() == ""
    assert second.read_text().endswith("x\n")


@pytest.mark.parametrize("option", ["error_logfile", "access_logfile"])
def test_a_file_that_cannot_be_written(tmp_path: Path, option: str) -> None:
    names = {"error_logfile": str(tmp_path / "error.log"), "access_logfile": ""}
    names[option] = str(tmp_path / "no" / "x.log")
    with pytest.raises(ConfigError) as caught:
        configure(log_level="info", **names)
    assert str(caught.value) == (
        f"--{option.replace('_', '-')}: cannot write to '{tmp_path}/no/x.log': "
        "No such file or directory"
    )


# --- Rotation


def test_reopening_goes_on_in_a_new_file(tmp_path: Path) -> None:
    error, access = tmp_path / "error.log", tmp_path / "access.log"
    configure(error_logfile=str(error), access_logfile=str(access), log_level="info")
    observer = LogObserver(access=True)
    before = descriptors()
    for number in range(3):
        observer.warning(f"number {number}")
        observer.request_finished(REQUEST, RESPONSE)
        for path in (error, access):
            path.rename(f"{path}.{number}")
        reopen()
    observer.warning("number 3")
    for number in range(3):
        assert (tmp_path / f"error.log.{number}").read_text().endswith(f"number {number}\n")
        assert (tmp_path / f"access.log.{number}").read_text().count("\n") == 1
    [line] = error_lines(error)
    assert line == "[WARNING] number 3"
    assert access.read_text() == ""
    assert descriptors() == before
    assert not any(map(os.get_inheritable, before))


def test_reopening_files_that_nobody_moved_loses_nothing(error_log: Path) -> None:
    LogObserver().warning("before")
    reopen()
    LogObserver().warning("after")
    assert error_lines(error_log) == ["[WARNING] before", "[WARNING] after"]


def test_reopening_follows_a_change_of_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    configure(error_logfile="error.log", access_logfile="", log_level="info")
    monkeypatch.chdir("/")
    (tmp_path / "error.log").unlink()
    reopen()
    LogObserver().warning("x")
    assert error_lines(tmp_path / "error.log") == ["[WARNING] x"]


def test_a_file_that_cannot_be_reopened_stays_in_use(tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    error, access = directory / "error.log", tmp_path / "access.log"
    configure(error_logfile=str(error), access_logfile=str(access), log_level="info")
    access.rename(tmp_path / "access.log.1")
    directory.rename(tmp_path / "old")
    reopen()
    LogObserver(access=True).request_finished(REQUEST, RESPONSE)
    assert error_lines(tmp_path / "old" / "error.log") == [
        f"[WARNING] Cannot reopen the log '{error}': No such file or directory"
    ]
    assert access.read_text().count("\n") == 1


def test_what_is_no_file_is_not_reopened(tmp_path: Path) -> None:
    """A pipe without a reader would block; a terminal may be another user's by now."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        configure(error_logfile=str(pipe), access_logfile=os.devnull, log_level="info")
        pipe.unlink()
        reopen()
        LogObserver().warning("x")
        assert os.read(reading, 1000).endswith(b"[WARNING] x\n")
        assert not pipe.exists()
    finally:
        os.close(reading)


def test_standard_streams_are_not_reopened() -> None:
    configure(error_logfile="-", access_logfile="-", log_level="info")
    assert descriptors() == []
    reopen()


def test_no_record_is_lost_while_files_are_reopened(tmp_path: Path) -> None:
    path = tmp_path / "error.log"
    configure(error_logfile=str(path), access_logfile="", log_level="info")
    done = threading.Event()
    count = 0

    def write() -> None:
        nonlocal count
        while not done.is_set():
            LogObserver().warning(f"number {count}")
            count += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(200):
            path.rename(f"{path}.{number:03}")
            reopen()
    finally:
        done.set()
        writer.join(TIMEOUT)
    files = [*sorted(tmp_path.glob("error.log.*")), path]
    lines = [line for file in files for line in error_lines(file)]
    assert lines == [f"[WARNING] number {number}" for number in range(count)]


@pytest.mark.parametrize("where", ["file", "stderr"])
@pytest.mark.skipif(sys.platform != "linux", reason="counts the writes that Linux counts")
def test_a_record_is_one_write(tmp_path: Path, where: str) -> None:
    """Which is what keeps the records of several processes apart: O_APPEND, and one write(2)."""
    path = tmp_path / "error.log"
    program = """
import re, sys
from wsgi_async.logs.observer import LogObserver, configure
configure(error_logfile=sys.argv[1], access_logfile="", log_level="info")
def count():
    with open("/proc/self/io") as file:
        return int(re.search("syscw: ([0-9]+)", file.read())[1])
observer = LogObserver()
counts = []
for size in (1, 5_000, 70_000, 1_000_000):
    before = count()
    observer.warning("é" * size)
    counts.append(count() - before)
try:
    raise ValueError("line\\n" * 20_000)
except ValueError as error:
    before = count()
    observer.error("failed", error)
    counts.append(count() - before)
print(counts)
"""
    with open(path, "a") as log:
        done = subprocess.run(
            python("-c", program, str(path) if where == "file" else "-"),
            cwd=ROOT,
            check=True,
            timeout=TIMEOUT,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert done.stdout == b"[1, 1, 1, 1, 1]\n"
    text = path.read_text("utf-8")
    assert (text.count("é"), text.count("line\n")) == (1_075_001, 20_000)


def test_records_of_several_processes_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "error.log"
    program = """
import sys
from wsgi_async.logs.observer import LogObserver, configure
configure(error_logfile=sys.argv[1], access_logfile="", log_level="info")
sys.stdin.readline()
for number in range(50):
    LogObserver().warning(f"{sys.argv[2]} {number} " + sys.argv[2] * (number * 500))
"""
    processes = [
        subprocess.Popen(python("-c", program, str(path), name), cwd=ROOT, stdin=subprocess.PIPE)
        for name in "abc"
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0
    assert sorted(error_lines(path)) == sorted(
        f"[WARNING] {name} {number} " + name * (number * 500)
        for name in "abc"
        for number in range(50)
    )


def test_the_descriptor_for_stack_dumps(tmp_path: Path) -> None:
    """It stays good when the log is reopened: what is dumped then is in the new file."""
    path = tmp_path / "error.log"
    configure(error_logfile=str(path), access_logfile="", log_level="info")
    descriptor = error_descriptor()
    os.write(descriptor, b"first\n")
    path.rename(tmp_path / "error.log.1")
    reopen()
    os.write(descriptor, b"second\n")
    assert (tmp_path / "error.log.1").read_text() == "first\n"
    assert path.read_text() == "second\n"
    assert error_descriptor() == descriptor


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_the_descriptor_for_stack_dumps_without_a_file(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None
) -> None:
    assert error_descriptor() == 2
    monkeypatch.setattr("sys.stderr", stream)
    configure(error_logfile="-", access_logfile="", log_level="info")
    assert error_descriptor() == 2
