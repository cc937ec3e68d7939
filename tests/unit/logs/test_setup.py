"""Who has a say in where the logs go: the options, and the application."""

from __future__ import annotations

import gc
import io
import json
import logging
import logging.config
import os
import re
import select
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from processes import Site
from rawclient import TIMEOUT
from serving import Served

from wsgi_async.logs.observer import LogObserver
from wsgi_async.logs.setup import (
    Mode,
    access_logger,
    configure,
    error_descriptor,
    flush,
    logger,
    reclaim,
    release,
    set_mode,
    write_by_thread,
)
from wsgi_async.middleware import AccessLog

if TYPE_CHECKING:
    from wsgiref.types import StartResponse

Environ = dict[str, Any]

PLAIN_APP = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/raise":
        raise KeyError("no such thing")
    return [b"x"]
"""


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    """Leave logging as it was found: a dictConfig disables all loggers that there are."""
    root = logging.root
    level, handlers = root.level, root.handlers[:]
    others = [each for each in root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    disabled = [each.disabled for each in others]
    yield
    release()
    root.setLevel(level)
    root.handlers[:] = handlers
    for other, was_disabled in zip(others, disabled, strict=True):
        other.disabled = was_disabled
    for name in ("wsgi_async", "wsgi_async.access", "wsgi_async.application"):
        target = logging.getLogger(name)
        target.handlers.clear()
        target.setLevel(logging.NOTSET)
        target.propagate, target.disabled = True, False


def test_a_program_that_goes_on_has_its_loggers_back() -> None:
    """Its own handlers are called by logging itself, whatever has become of the log's threads."""
    target = logging.getLogger("wsgi_async.access")
    write_by_thread()
    assert "callHandlers" in vars(target)
    release()
    assert "callHandlers" not in vars(target)


# --- Standard streams


@pytest.mark.parametrize(
    "loss",
    [
        "sys.stderr = open(os.devnull, 'w'); sys.stdout = sys.stderr",
        "sys.stderr = io.StringIO(); sys.stdout = io.StringIO()",
        "sys.stderr.close(); sys.stdout.close()",
        "sys.stderr = sys.stdout = None",
        "os.close(2); os.close(1)",
    ],
)
@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_an_application_that_loses_the_standard_streams(
    loss: str, preload: tuple[str, ...], site: Site
) -> None:
    """They are the server's too: it has remembered them."""
    site.write_source(f"import io, os, sys\n{loss}\n{PLAIN_APP}")
    with site.serve("--access-logfile", "-", *preload) as servers:
        servers.get("/first")
        with servers.client() as client:
            assert client.get("/raise").status == 500
        servers.wait_for(r"\[ERROR\] GET /raise ")
        servers.wait_for("KeyError: 'no such thing'$")
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.wait_for(r"\[INFO\] Stopped$")
        assert servers.process.stdout is not None
        assert re.findall("GET (/[a-z]+) ", servers.process.stdout.read()) == ["/first", "/raise"]


def test_a_standard_stream_is_remembered_until_there_is_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = {"error_logfile": "-", "access_logfile": "", "log_level": "info"}
    with open(tmp_path / "1", "w") as first, open(tmp_path / "2", "w") as second:
        monkeypatch.setattr("sys.stderr", first)
        configure(**options)
        descriptor = error_descriptor()
        assert descriptor != first.fileno()
        monkeypatch.setattr("sys.stderr", None)
        configure(**options)
        assert error_descriptor() == descriptor
        LogObserver().warning("one")
        monkeypatch.setattr("sys.stderr", second)
        configure(**options)
        LogObserver().warning("two")
    assert (tmp_path / "1").read_text().endswith("one\n")
    assert (tmp_path / "2").read_text().endswith("two\n")


def test_a_stream_that_is_not_what_its_descriptor_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a notebook: what is written to it goes elsewhere."""

    class Cell(io.StringIO):
        def fileno(self) -> int:
            return 2

    cell = Cell()
    monkeypatch.setattr("sys.stderr", cell)
    configure(error_logfile="-", access_logfile="", log_level="info")
    write_by_thread()
    LogObserver().warning("here")
    flush()
    assert cell.getvalue().endswith("[WARNING] here\n")


# --- What the application has configured


def config(**loggers: object) -> dict[str, object]:
    """A dictConfig with a handler `list`, which remembers records."""
    return {
        "version": 1,
        "handlers": {"list": {"class": f"{__name__}.Kept"}},
        "loggers": {name.replace("__", "."): value for name, value in loggers.items()},
    }


class Kept(logging.Handler):
    """Keeps what the last one was given."""

    records: list[logging.LogRecord]
    threads: list[str]

    def __init__(self) -> None:
        super().__init__()
        Kept.records, Kept.threads = [], []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.threads.append(threading.current_thread().name)


def load(application: object, tmp_path: Path, *, access: bool = True) -> tuple[Path, Path]:
    """Configure as a command line does, and have an application do it while it is loaded."""
    error, access_log = tmp_path / "error.log", tmp_path / "access.log"
    configure(
        error_logfile=str(error),
        access_logfile=str(access_log) if access else "",
        log_level="info",
    )
    logging.config.dictConfig(application)  # type: ignore[arg-type]
    reclaim()
    logger.warning("told")
    access_logger.info("asked")
    return error, access_log


def messages() -> list[str]:
    return [record.getMessage() for record in Kept.records]


def test_a_configuration_of_other_loggers_only(tmp_path: Path) -> None:
    """Which disables those that it does not name, and closes all handlers."""
    error, access = load(config(shop={"handlers": ["list"]}), tmp_path)
    assert error.read_text().endswith("told\n")
    assert access.read_text() == "asked\n"
    assert messages() == []


def test_a_configuration_of_the_root_logger_has_no_line_twice(tmp_path: Path) -> None:
    error, access = load(config() | {"root": {"handlers": ["list"], "level": "DEBUG"}}, tmp_path)
    assert error.read_text().count("told") == access.read_text().count("asked") == 1
    assert messages() == []


def test_a_configuration_of_this_package_s_logger_holds(tmp_path: Path) -> None:
    error, access = load(config(wsgi_async={"handlers": ["list"], "level": "ERROR"}), tmp_path)
    logger.error("bad")
    assert messages() == ["bad"]
    assert error.read_text() == ""
    assert access.read_text() == "asked\n"  # it was asked for by its own option


def test_a_configuration_of_the_access_log_holds(tmp_path: Path) -> None:
    error, access = load(config(wsgi_async__access={"handlers": ["list"]}), tmp_path)
    assert messages() == ["asked"]
    assert error.read_text().endswith("told\n")
    assert access.read_text() == ""


def test_a_logger_that_is_left_to_the_root_logger(tmp_path: Path) -> None:
    error, _ = load(
        config(wsgi_async={"propagate": True}) | {"root": {"handlers": ["list"]}}, tmp_path
    )
    assert "told" in messages()
    assert error.read_text() == ""


def test_a_level_alone_leaves_the_log_where_it_was(tmp_path: Path) -> None:
    """Also that of the access log, from which a configuration of its parent takes everything."""
    error, access = load(
        config(wsgi_async={"level": "DEBUG"}) | {"root": {"handlers": ["list"]}}, tmp_path
    )
    logger.debug("much")
    assert [line.split()[-1] for line in error.read_text().splitlines()] == ["told", "much"]
    assert access.read_text() == "asked\n"
    assert messages() == []


def test_a_handler_that_the_application_adds_stays(tmp_path: Path) -> None:
    error = tmp_path / "error.log"
    configure(error_logfile=str(error), access_logfile="", log_level="info")
    logger.addHandler(kept := Kept())
    reclaim()
    logger.warning("told")
    assert error.read_text().endswith("told\n")
    assert [record.getMessage() for record in kept.records] == ["told"]


def test_an_application_configures_the_loggers_of_the_server(tmp_path: Path, site: Site) -> None:
    """As the hint for --log-config says."""
    path = tmp_path / "site.log"
    settings = {
        "version": 1,
        "formatters": {"own": {"format": "%(levelname)s %(threadName)s %(message)s"}},
        "handlers": {
            "file": {"class": "logging.FileHandler", "filename": str(path), "formatter": "own"}
        },
        "loggers": {
            "wsgi_async": {"handlers": ["file"]},
            "wsgi_async.access": {"handlers": ["file"], "propagate": False},
        },
    }
    site.write_source(
        f"import json, logging.config\n"
        f"logging.config.dictConfig(json.loads({json.dumps(settings)!r}))\n{PLAIN_APP}"
    )
    with site.serve("--access-logfile", "-") as servers:
        with servers.client() as client:
            assert client.get("/raise").status == 500
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        assert servers.process.stdout is not None
        assert servers.process.stdout.read() == ""
        assert not servers.count("KeyError")
    lines = path.read_text().splitlines()
    assert [line for line in lines if re.match("ERROR wsgi_async-[0-9] GET /raise", line)]
    assert [line for line in lines if '"GET /raise HTTP/1.1" 500' in line]
    assert lines[-1].endswith(" Stopped")


# --- The thread, and handlers of the application


def test_a_handler_of_the_application_runs_in_a_thread_of_its_own(tmp_path: Path) -> None:
    configure(error_logfile=str(tmp_path / "log"), access_logfile="", log_level="info")
    logger.addHandler(kept := Kept())
    write_by_thread()
    value = ["a list"]
    logger.warning("%s %d", value, 1)
    logger.warning("by name: %(name)s", {"name": value})
    value.clear()
    flush()
    assert kept.threads == ["wsgi_async-handlers"] * 2
    [first, second] = kept.records
    assert first.getMessage() == "['a list'] 1"
    assert second.getMessage() == "by name: ['a list']"
    assert first.threadName == threading.current_thread().name
    logger.warning("later")
    assert kept.threads[2] == threading.current_thread().name


def test_a_handler_beside_ours_that_hangs_takes_no_line(tmp_path: Path) -> None:
    """Nor does the end of the process wait for its lock."""
    path = tmp_path / "log"
    configure(error_logfile=str(path), access_logfile="", log_level="info")
    entered, done = threading.Event(), threading.Event()

    class Hung(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            entered.set()
            done.wait(TIMEOUT)

    logger.addHandler(hung := Hung())
    write_by_thread()
    logger.warning("first")
    assert entered.wait(TIMEOUT)
    logger.warning("second")
    flush()
    logger.warning("third")
    lines = [line.split("] ", 3)[-1] for line in path.read_text().splitlines()]
    assert lines == [
        "first",
        "second",
        "2 lines of the log of the application's handlers were dropped: they take too long",
        "third",
    ]
    known = [reference() for reference in logging._handlerList]  # type: ignore[attr-defined]
    assert hung not in known
    done.set()


def test_no_frame_waits_for_a_log(tmp_path: Path) -> None:
    """What an application has in its variables ends where it would without the log: not later,
    and not in another thread."""
    path = tmp_path / "log"
    configure(error_logfile=str(path), access_logfile="", log_level="info")
    entered, done = threading.Event(), threading.Event()

    class Slow(Kept):
        def emit(self, record: logging.LogRecord) -> None:
            entered.set()
            done.wait(TIMEOUT)
            super().emit(record)

    class Thing:
        pass

    logger.addHandler(slow := Slow())
    write_by_thread()
    logger.warning("first")
    assert entered.wait(TIMEOUT)

    def fail() -> weakref.ref[Thing]:
        thing = Thing()
        try:
            raise ValueError(f"about\n{type(thing).__name__}")
        except ValueError as error:
            LogObserver().error("failed", error)
        return weakref.ref(thing)

    reference = fail()
    gc.collect()
    assert reference() is None
    done.set()
    flush()
    assert slow.records[1].exc_info is None
    assert (slow.records[1].exc_text or "").endswith("ValueError: about\nThing")
    assert path.read_text().endswith("\n  ValueError: about\n  Thing\n")


def test_who_replaces_logging_s_own_method_sees_every_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Sentry's client does."""
    seen: list[str] = []
    call = logging.Logger.callHandlers

    def spy(self: logging.Logger, record: logging.LogRecord) -> None:
        seen.append(record.getMessage())
        call(self, record)

    monkeypatch.setattr(logging.Logger, "callHandlers", spy)
    configure(error_logfile=str(tmp_path / "log"), access_logfile="", log_level="info")
    write_by_thread()
    logger.warning("seen")
    flush()
    assert seen == ["seen"]
    assert (tmp_path / "log").read_text().endswith("seen\n")


def test_dropped_lines_are_told_in_the_error_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    configure(error_logfile=str(path), access_logfile="/dev/full", log_level="critical")
    logger.setLevel("ERROR")
    set_mode(Mode.POLLED)
    access_logger.info("lost")
    access_logger.info("lost too")
    [line] = path.read_text().splitlines()
    assert line.endswith("[ERROR] 1 line of the access log was dropped: No space left on device")


def test_a_record_that_cannot_be_formatted_is_told_without_a_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where standard error takes nothing, who logs does not wait for it."""
    reading, writing = os.pipe()
    log = tmp_path / "log"
    try:
        with open(log, "w") as stream:
            monkeypatch.setattr("sys.stderr", stream)
            configure(error_logfile="-", access_logfile="", log_level="info")
        with open(writing, "w") as full:
            while select.select([], [full], [], 0)[1]:
                os.write(writing, b"x" * select.PIPE_BUF)
            monkeypatch.setattr("sys.stderr", full)
            thread = threading.Thread(target=logger.warning, args=("%d\n", "no number"))
            thread.start()
            thread.join(TIMEOUT)
            is_waiting = thread.is_alive()
            os.read(reading, 1 << 20)
            monkeypatch.undo()
    finally:
        os.close(reading)
    assert not is_waiting
    first, *_, last = log.read_text().splitlines()
    assert first.startswith("Cannot format '%d\\n', logged in ")
    assert last.startswith("TypeError: ")


def test_an_application_that_closes_all_descriptors(tmp_path: Path) -> None:
    """And opens its own, which get their numbers: the log is opened again."""
    path, other = tmp_path / "log", tmp_path / "application's"
    configure(error_logfile=str(path), access_logfile="", log_level="info")
    os.close(error_descriptor())
    with open(other, "w"):
        reclaim()
        logger.warning("told")
    assert other.read_text() == ""
    assert path.read_text().endswith("told\n")


@pytest.mark.parametrize("where", ["", "-", "access.log"])
def test_an_access_log_of_middleware_has_each_request_once(where: str, site: Site) -> None:
    """In its own format; what reaches no middleware is the server's to log, if it is asked to."""
    site.write_source(PLAIN_APP)
    own = "wsgi_async.middleware:AccessLog(format='mine %(U)s %(s)s')"
    options: tuple[str, ...] = ("--middleware", own)
    if where:
        options += ("--access-logfile", where)
    with site.serve(*options) as servers:
        servers.get("/list")
        with servers.client() as client:
            assert client.get("/raise").status == 500
        with servers.client() as client:
            client.send(b"broken\r\n\r\n")
            assert client.response().status == 400
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        assert servers.process.stdout is not None
        text = servers.process.stdout.read()
    if where == "access.log":
        assert text == ""
        text = (site.directory / where).read_text()
    *lines, last = text.splitlines()
    if not where:
        lines, last = [*lines, last], '"-" 400 - "-" "-"'
    assert lines == ["mine /list 200", "mine /raise 500"]
    assert last.endswith('"-" 400 - "-" "-"')


def test_an_access_log_of_middleware_elsewhere_is_another_one(
    serve: Callable[..., Served],
) -> None:
    def application(environ: Environ, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [])
        return []

    other = logging.getLogger("elsewhere")
    other.setLevel("INFO")
    for middleware, is_logged in ((AccessLog(application), True), (application, False)):
        served = serve(AccessLog(middleware, logger=other))
        access_logger.setLevel("INFO")
        served.recorder.wants_requests = True
        with served.client() as client:
            assert client.get().status == 200
        [(_, response)] = served.recorder.wait_for("request_finished")
        assert response.is_logged is is_logged
