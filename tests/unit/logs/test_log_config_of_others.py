"""Files for --log-config that were made for gunicorn or uvicorn."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from log_lines import configured_by, restored, restored_root

from wsgi_async.logs.observer import LogObserver
from wsgi_async.logs.setup import (
    access_logger,
    flush,
    follow_log_config,
    has_configured_access_log,
    log_config_notices,
    logger,
)

_restored = pytest.fixture(autouse=True)(restored)
_restored_root = pytest.fixture(autouse=True)(restored_root)


def gunicorn_like(**loggers: Any) -> dict[str, Any]:
    return {
        "handlers": {"file": {"class": "logging.FileHandler", "filename": "own.log"}},
        "loggers": {name.replace("__", "."): value for name, value in loggers.items()},
    }


def test_loggers_of_gunicorn_stand_for_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And are configured as well: applications take handlers from them."""
    monkeypatch.chdir(tmp_path)
    named = {"handlers": ["file"], "level": "INFO", "propagate": False}
    configured_by(tmp_path, gunicorn_like(gunicorn__error=named, gunicorn__access=named))
    assert log_config_notices() == [
        "--log-config: gunicorn.error is taken for wsgi_async",
        "--log-config: gunicorn.access is taken for wsgi_async.access",
    ]
    assert has_configured_access_log()
    follow_log_config()
    LogObserver().warning("told")
    access_logger.info("asked")
    logging.getLogger("gunicorn.error").info("theirs")
    assert (tmp_path / "own.log").read_text() == "told\nasked\ntheirs\n"


GUNICORNS = """
[loggers]
keys=root, gunicorn.error, gunicorn.access
[handlers]
keys=console, error_file, access_file
[formatters]
keys=generic, access
[logger_root]
level=INFO
handlers=console
[logger_gunicorn.error]
level=INFO
handlers=error_file
propagate=1
qualname=gunicorn.error
[logger_gunicorn.access]
level=INFO
handlers=access_file
propagate=0
qualname=gunicorn.access
[handler_console]
class=StreamHandler
formatter=generic
args=(sys.stdout, )
[handler_error_file]
class=logging.FileHandler
formatter=generic
args=('%(here)s/gunicorn.error.log',)
[handler_access_file]
class=logging.FileHandler
formatter=access
args=('%(here)s/gunicorn.access.log',)
[formatter_generic]
format=%(asctime)s [%(process)d] [%(levelname)s] %(message)s
datefmt=%Y-%m-%d %H:%M:%S
class=logging.Formatter
[formatter_access]
format=%(message)s
class=logging.Formatter
"""
"""examples/logging.conf of gunicorn, with other places for the files."""


def test_gunicorns_own_example(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In the parent and where it is applied: in the file, and by the root logger on the console."""
    path = tmp_path / "logging.conf"
    path.write_text(GUNICORNS)
    for apply in (lambda: None, follow_log_config):
        configured_by(tmp_path, str(path))
        apply()
        LogObserver().warning("told")
    access_logger.info("asked")
    flush()
    lines = (tmp_path / "gunicorn.error.log").read_text().splitlines()
    assert [line.split("] ", 1)[1] for line in lines] == ["[WARNING] told"] * 2
    assert (tmp_path / "gunicorn.access.log").read_text() == "asked\n"
    assert capfd.readouterr().out.count("[WARNING] told") == 2


def test_ours_go_before_theirs(tmp_path: Path) -> None:
    config = gunicorn_like(gunicorn__error={"handlers": ["file"]}, wsgi_async={"level": "ERROR"})
    configured_by(tmp_path, config)
    assert log_config_notices() == []
    assert logger.level == logging.ERROR


def test_uvicorns_own_configuration(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Its formatter of access lines takes apart what ours are not made of."""
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "default": {"format": "%(levelname)s: %(message)s"},
            "access": {"()": "uvicorn.logging.AccessFormatter", "fmt": "%(client_addr)s"},
        },
        "handlers": {
            "default": {
                "formatter": "default",
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
            },
            "access": {
                "formatter": "access",
                "class": "logging.FileHandler",
                "filename": str(tmp_path / "a.log"),
            },
        },
        "loggers": {
            "uvicorn": {"handlers": ["default"], "level": "INFO", "propagate": False},
            "uvicorn.error": {"level": "INFO"},
            "uvicorn.access": {"handlers": ["access"], "level": "INFO", "propagate": False},
        },
    }
    configured_by(tmp_path, config)
    assert len(log_config_notices()) == 3
    follow_log_config()
    LogObserver().warning("told")
    access_logger.info("a line")
    assert (tmp_path / "a.log").read_text() == "a line\n"
    assert "WARNING: told\n" in capfd.readouterr().err
