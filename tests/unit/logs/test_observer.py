"""What is logged, and that nobody else can write in the log."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from log_lines import REQUEST, RESPONSE, error_lines, error_log_of, restored

from wsgi_async.events import RequestInfo, ResponseInfo
from wsgi_async.logs.observer import LogObserver
from wsgi_async.logs.setup import configure
from wsgi_async.logs.text import escape
from wsgi_async.wsgi.calling import WSGIResponse

_restore = pytest.fixture(autouse=True)(restored)
error_log = pytest.fixture(error_log_of)


ALL_LATIN_1 = "".join(map(chr, range(256)))


HOSTILE = 'a\r\n\x1b[31m\x00\x7f\x85\x9b"\\é\tz'


ESCAPED = r"a\x0d\x0a\x1b[31m\x00\x7f\x85\x9b\x22\x5c\xe9\x09z"


def access_line(request: RequestInfo, response: ResponseInfo, path: Path) -> str:
    configure(error_logfile="-", access_logfile=str(path), log_level="critical")
    LogObserver(access=True).request_finished(request, response)
    [line] = path.read_text("ascii").split("\n")[:-1]
    return line


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
        r"127\.0\.0\.1 - ada \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "
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
    assert line.startswith(host + " - ada [")


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
    line = access_line(REQUEST, RESPONSE, tmp_path / "access.log")
    assert "YWRh" not in line
    assert "lovelace" not in line
    configure(error_logfile=str(error_log), access_logfile="", log_level="debug")
    LogObserver().app_error(REQUEST, "failed", ValueError("x"))
    assert "YWRh" not in error_log.read_text()


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
    user = "ada" if request_ is REQUEST else "-"
    assert line.startswith(f"::1 - {user} [")
    assert line.endswith("] " + end)
    came = time.mktime(time.strptime(line.partition("[")[2][:20], "%d/%b/%Y:%H:%M:%S"))
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


def test_a_slow_request_has_its_stack_beneath_it(error_log: Path) -> None:
    stack = ['File "a.py", line 3, in slow', "  sleep(9)\n\x1b"]
    LogObserver().request_slow(REQUEST._replace(target=HOSTILE), "wsgi_async-2", 5.26, stack)
    LogObserver().request_slow(REQUEST, "wsgi_async-3", 6, [])
    assert error_lines(error_log) == [
        f"[WARNING] GET {ESCAPED} [127.0.0.1:50312 r-1]: in the application for 5.3 s, and still "
        "is; thread wsgi_async-2 is in",
        '    File "a.py", line 3, in slow',
        r"      sleep(9)\x0a\x1b",
        "[WARNING] GET /path?q=1 [127.0.0.1:50312 r-1]: in the application for 6.0 s, and still "
        "is; thread wsgi_async-3 is in code that is not Python",
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


def test_a_refusal_names_its_request_where_it_has_one(error_log: Path) -> None:
    """A client that was told an id asks about it."""
    LogObserver().request_refused("[::1]:1", 413, "too large", REQUEST._replace(id='a"b\n'))
    LogObserver().request_refused("[::1]:1", 400, "no Host", None)
    assert error_lines(error_log) == [
        r"[INFO] [[::1]:1 a\x22b\x0a] refused with 413: too large",
        "[INFO] [[::1]:1] refused with 400: no Host",
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


def test_a_loop_that_is_blocked_again_and_again_is_told_every_ten_seconds(error_log: Path) -> None:
    times = [0.0, 1.0, 2.0, 10.0]
    observer = LogObserver(clock=lambda: times.pop(0))
    while times:
        observer.application_loop_blocked(0.6, ["File x", "  sleep(1)"])
        observer.application_loop_recovered(1.0)
    instead = "what blocks belongs into `await asyncio.to_thread(...)`"
    blocked = "[ERROR] the application loop has been blocked for 0.6 s"
    lines = [line for line in error_lines(error_log) if not line.startswith(" ")]
    assert lines == [
        f"{blocked}: live responses and run() wait; {instead}:",
        "[INFO] The application loop goes on; it was blocked for 1.0 s",
        f"{blocked} (and 2 more before): live responses and run() wait; {instead}:",
        "[INFO] The application loop goes on; it was blocked for 1.0 s",
    ]
