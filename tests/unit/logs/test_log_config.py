"""What files of --log-config say: in the forms of Python's logging, and as others have them."""

from __future__ import annotations

import json
import logging
import logging.config
import threading
from pathlib import Path
from typing import Any

import pytest
from log_lines import REQUEST, configured_by, error_lines, restored, restored_root

from wsgi_async.logs.configuration import PlainHandler, read_log_config
from wsgi_async.logs.observer import LogObserver
from wsgi_async.logs.setup import (
    Mode,
    access_logger,
    dropped,
    flush,
    follow_log_config,
    log_config_notices,
    logger,
    reclaim,
    reopen,
    set_mode,
    write_by_thread,
)

_restored = pytest.fixture(autouse=True)(restored)


_restored_root = pytest.fixture(autouse=True)(restored_root)


INI = """
[loggers]
keys = root, {key}
[handlers]
keys = file
[formatters]
keys = plain
[logger_root]
handlers =
level = WARNING
[logger_{key}]
qualname = {name}
handlers = file
level = ERROR
propagate = 0
[handler_file]
class = FileHandler
args = ('%(here)s/own.log', 'a')
formatter = plain
[formatter_plain]
format = own %(levelname)s %(message)s
"""

TABLE: dict[str, Any] = {
    "formatters": {"plain": {"format": "own %(levelname)s %(message)s"}},
    "handlers": {
        "file": {"class": "logging.FileHandler", "filename": "own.log", "formatter": "plain"}
    },
    "loggers": {"wsgi_async": {"handlers": ["file"], "level": "ERROR", "propagate": False}},
}

TOML = """
[formatters.plain]
format = "own %(levelname)s %(message)s"
[handlers.file]
class = "logging.FileHandler"
filename = "own.log"
formatter = "plain"
[loggers.wsgi_async]
handlers = ["file"]
level = "ERROR"
propagate = false
"""

FILES = {
    "log.ini": INI.format(key="ours", name="wsgi_async"),
    "log.conf": INI.format(key="ours", name="wsgi_async"),
    "log.json": json.dumps(TABLE),
    "log.toml": TOML,
    "gunicorn.ini": INI.format(key="g", name="gunicorn.error"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("is_applied", [False, True], ids=["parent", "applied"])
def test_each_kind_of_file(
    name: str, is_applied: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent, which applies nothing, writes the same."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(FILES[name])
    error = configured_by(tmp_path, str(tmp_path / name))
    if is_applied:
        follow_log_config()
        reclaim()  # the application was loaded
        assert any(type(handler) is logging.FileHandler for handler in logger.handlers)
    LogObserver().warning("less")
    LogObserver().error("more")
    flush()
    assert (tmp_path / "own.log").read_text() == "own ERROR more\n"
    assert error.read_text() == ""


def test_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    configured_by(tmp_path, TABLE)
    follow_log_config()
    LogObserver().error("x")
    assert (tmp_path / "own.log").read_text() == "own ERROR x\n"
    assert TABLE["handlers"]["file"]["formatter"] == "plain"  # what was given is as it was


def test_loggers_that_are_not_named_stay_with_the_options(tmp_path: Path) -> None:
    """Also those of which a file silences all that there are."""
    config = {
        "disable_existing_loggers": True,
        "handlers": {"null": {"class": "logging.NullHandler"}},
        "root": {"handlers": ["null"], "level": "DEBUG"},
    }
    shop = logging.getLogger("shop")
    error = configured_by(tmp_path, config, access_logfile=str(tmp_path / "access.log"))
    follow_log_config()
    assert shop.disabled
    LogObserver().warning("told")
    access_logger.info("asked")
    silent, told = error_lines(error)
    assert silent.startswith("[WARNING] --log-config: silent from now on: ")
    assert "shop" in silent
    assert "wsgi_async" not in silent
    assert told == "[WARNING] told"
    assert (tmp_path / "access.log").read_text() == "asked\n"


def test_loggers_are_not_silenced_unasked(tmp_path: Path) -> None:
    shop = logging.getLogger("shop")
    configured_by(tmp_path, {"root": {"level": "ERROR"}})
    follow_log_config()
    assert not shop.disabled


def test_a_level_alone_leaves_the_log_where_it_was(tmp_path: Path) -> None:
    error = configured_by(tmp_path, {"loggers": {"wsgi_async": {"level": "DEBUG"}}})
    follow_log_config()
    reclaim()
    logger.debug("much")
    assert error_lines(error) == ["[DEBUG] much"]


def test_what_the_application_configures_later_resets_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not to the options, which the file has won over: a configuration that does not name the
    server's loggers takes nothing from it."""
    monkeypatch.chdir(tmp_path)
    error = configured_by(tmp_path, TABLE)
    follow_log_config()
    logging.config.dictConfig({"version": 1, "loggers": {"shop": {"level": "INFO"}}})
    reclaim()
    LogObserver().error("x")
    assert (tmp_path / "own.log").read_text() == "own ERROR x\n"
    assert error.read_text() == ""


def test_json_for_a_handler_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ours = {"()": "wsgi_async.logs.formatters.JsonFormatter"}
    configured_by(tmp_path, {**TABLE, "formatters": {"plain": ours}})
    follow_log_config()
    LogObserver().app_error(REQUEST, "x")
    assert json.loads((tmp_path / "own.log").read_text())["request_id"] == "r-1"


# --- What the parent takes of it


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        ({"class": "logging.StreamHandler"}, ("sys.stderr", False)),
        ({"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}, ("sys.stdout", False)),
        ({"class": "logging.FileHandler", "filename": "x"}, ("x", False)),
        ({"class": "logging.handlers.WatchedFileHandler", "filename": "x"}, ("x", True)),
        ({"class": "logging.FileHandler", "filename": "x", "mode": "w"}, None),
        ({"class": "logging.FileHandler", "filename": "x", "filters": ["f"]}, None),
        ({"class": "logging.StreamHandler", "stream": "ext://shop.stream"}, None),
        ({"class": "logging.handlers.SysLogHandler"}, None),
        ({"class": "shop.FileHandler", "filename": "x"}, None),
        ({"()": "shop.handler"}, None),
    ],
)
def test_handlers_that_the_parent_may_call(
    handler: dict[str, Any], expected: tuple[str, bool] | None
) -> None:
    config = read_log_config({"handlers": {"it": handler}})
    assert config is not None
    found = config.plain.get("it")
    assert (found and found[:2]) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("class = StreamHandler\nargs = (sys.stdout,)", ("sys.stdout", False)),
        ("class = logging.StreamHandler", ("sys.stderr", False)),
        ("class = FileHandler\nargs = ('x', 'a')", ("x", False)),
        ("class = handlers.WatchedFileHandler\nargs = ('x',)", ("x", True)),
        ("class = FileHandler\nargs = ('x', 'w')", None),
        ("class = FileHandler\nargs = (os.environ['X'],)", None),
        ("class = FileHandler\nkwargs = {'filename': 'x'}", None),
        ("class = shop.Handler\nargs = ('x',)", None),
    ],
)
def test_those_of_an_ini_file(
    lines: str, expected: tuple[str, bool] | None, tmp_path: Path
) -> None:
    path = tmp_path / "log.ini"
    path.write_text(
        "[loggers]\nkeys = root\n[handlers]\nkeys = it\n[formatters]\nkeys =\n"
        f"[logger_root]\nhandlers = it\n[handler_it]\n{lines}\n"
    )
    config = read_log_config(str(path))
    assert config is not None
    found = config.plain.get("it")
    assert (found and found[:2]) == expected
    assert found is None or isinstance(found, PlainHandler)


def test_a_parent_whose_handlers_are_not_plain(tmp_path: Path) -> None:
    """Nothing is lost, and it is said where it goes."""
    config = {
        "handlers": {"far": {"class": "shop.Handler"}},
        "loggers": {"wsgi_async": {"handlers": ["far"]}},
    }
    error = configured_by(tmp_path, config)
    [notice] = log_config_notices()
    assert "does not go to far, which may wait, or run code of others" in notice
    LogObserver().warning("told")
    assert error_lines(error) == ["[WARNING] told"]


def test_a_parent_follows_a_file_that_was_renamed(tmp_path: Path) -> None:
    handler = {"class": "logging.handlers.WatchedFileHandler", "filename": "own.log"}
    config = {"handlers": {"it": handler}, "loggers": {"wsgi_async": {"handlers": ["it"]}}}
    configured_by(tmp_path, config)
    LogObserver().warning("one")
    (tmp_path / "own.log").rename(tmp_path / "own.log.1")
    LogObserver().warning("two")
    assert (tmp_path / "own.log.1").read_text() == "one\n"
    assert (tmp_path / "own.log").read_text() == "two\n"


# --- Files that are renamed, and that take nothing


@pytest.mark.parametrize("is_applied", [False, True], ids=["parent", "applied"])
def test_sigusr1_has_its_files_opened_anew(
    is_applied: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    configured_by(tmp_path, TABLE)
    if is_applied:
        follow_log_config()
    LogObserver().error("one")
    (tmp_path / "own.log").rename(tmp_path / "own.log.1")
    reopen()
    LogObserver().error("two")
    assert (tmp_path / "own.log.1").read_text() == "own ERROR one\n"
    assert (tmp_path / "own.log").read_text() == "own ERROR two\n"


def test_what_a_full_disk_does_not_take_is_counted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where logging's own prints a traceback for each."""
    full = {"class": "logging.FileHandler", "filename": "/dev/full"}
    config = {
        "handlers": {"full": full, "file": {**full, "filename": str(tmp_path / "own.log")}},
        "loggers": {"wsgi_async": {"handlers": ["full", "file"]}},
    }
    configured_by(tmp_path, config)
    follow_log_config()
    before = dropped()
    write_by_thread()
    for number in range(100):
        LogObserver().warning(f"number {number}")
    flush()
    set_mode(Mode.DIRECT)
    lines = (tmp_path / "own.log").read_text().splitlines()
    # The first of them are said at once, perhaps while the others still come.
    told = [line for line in lines if line.endswith("dropped: No space left on device")]
    assert [line for line in lines if line not in told] == [f"number {n}" for n in range(100)]
    assert sum(int(line.split()[0]) for line in told) >= 100
    assert dropped() - before >= 100
    assert "Traceback" not in capfd.readouterr().err


def test_its_handlers_are_called_by_a_thread_of_their_own(tmp_path: Path) -> None:
    """So that nobody waits for one that hangs: see test_setup.py."""
    seen: list[str] = []

    class Own(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(f"{threading.current_thread().name} {record.getMessage()}")

    config = {
        "handlers": {"own": {"()": Own}},
        "loggers": {"wsgi_async": {"handlers": ["own"]}},
    }
    configured_by(tmp_path, config)
    follow_log_config()
    write_by_thread()
    LogObserver().warning("x")
    flush()
    assert seen[0] == "wsgi_async-handlers x"
