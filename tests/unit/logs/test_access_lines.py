"""Lines of the access log go past logging where nobody can tell, and else through it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wsgi_async.events import RequestInfo, ResponseInfo
from wsgi_async.logs import setup
from wsgi_async.logs.observer import LogObserver
from wsgi_async.logs.setup import access_logger, configure, release

FIELDS = (("Host", "h"), ("USER-agent", 'a"b'), ("Referer", ""), ("referer", "http://x/"))
REQUEST = RequestInfo("id-1", "GET", "/p\x7f", "HTTP/1.1", "[::1]:50312", FIELDS)
RESPONSE = ResponseInfo(200, 13, 0.0, True)
LINE = r'"GET /p\x7f HTTP/1.1" 200 13 "http://x/" "a\x22b"'


@pytest.fixture(autouse=True)
def _released() -> Iterator[None]:
    yield
    release()
    access_logger.filters.clear()
    access_logger.handlers.clear()
    access_logger.disabled = False


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def logged(path: Path) -> str:
    LogObserver(access=True).request_finished(REQUEST, RESPONSE)
    return path.read_text()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "access.log"
    configure(error_logfile="-", access_logfile=str(path), log_level="info")
    return path


def make_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
    return logging.LogRecord(*args, **kwargs)


CALL_HANDLERS = logging.Logger.callHandlers


def test_a_line_is_the_same_either_way(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = logged(path)
    monkeypatch.setattr(setup.logging, "getLogRecordFactory", lambda: make_record)
    both = logged(path)
    assert LINE in quick
    assert quick.startswith("::1 - - [")
    first, second = both.splitlines()
    assert first.partition("]")[2] == second.partition("]")[2]


def a_filter(handler: logging.Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    access_logger.addFilter(lambda record: False)


def a_filter_of_the_handler(handler: logging.Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    handler.addFilter(lambda record: False)
    monkeypatch.setattr(handler, "filters", handler.filters)


def a_level(handler: logging.Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    access_logger.setLevel("WARNING")


def a_level_of_the_handler(handler: logging.Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    handler.setLevel("WARNING")


def an_end_of_it(handler: logging.Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    access_logger.disabled = True


def no_handler(handler: logging.Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    access_logger.removeHandler(handler)
    access_logger.addHandler(logging.NullHandler())


def another_logger_s_method(handler: logging.Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.Logger, "handle", lambda self, record: None)


@pytest.mark.parametrize(
    "silence",
    [
        a_filter,
        a_filter_of_the_handler,
        a_level,
        a_level_of_the_handler,
        an_end_of_it,
        no_handler,
        another_logger_s_method,
    ],
)
def test_who_silences_the_log_is_obeyed(
    silence: Callable[[logging.Handler, pytest.MonkeyPatch], None],
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    silence(access_logger.handlers[0], monkeypatch)
    assert logged(path) == ""


def test_a_handler_beside_ours_gets_a_record_with_all_its_parts(path: Path) -> None:
    kept = Kept()
    access_logger.addHandler(kept)
    assert logged(path).count(LINE) == 1
    (record,) = kept.records
    assert isinstance(record.args, tuple)
    assert record.args[4:6] == (200, 13)
    assert LINE in record.getMessage()


def test_a_logger_that_propagates_reaches_the_others(path: Path) -> None:
    kept = Kept()
    logging.getLogger("wsgi_async").addHandler(kept)
    access_logger.propagate = True
    assert logged(path).count(LINE) == 1
    assert len(kept.records) == 1


def test_a_formatter_of_the_application_is_used(path: Path) -> None:
    access_logger.handlers[0].setFormatter(logging.Formatter("%(levelname)s!"))
    assert logged(path) == "INFO!\n"


def test_who_replaces_what_calls_handlers_sees_every_line(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def call(self: logging.Logger, record: logging.LogRecord) -> None:
        seen.append(record)
        CALL_HANDLERS(self, record)

    monkeypatch.setattr(logging.Logger, "callHandlers", call)
    assert logged(path).count(LINE) == 1
    assert len(seen) == 1
