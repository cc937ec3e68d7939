"""Requests to be logged, and the lines that came of them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

from wsgi_async.events import RequestInfo, ResponseInfo
from wsgi_async.logs.setup import configure, release

REQUEST = RequestInfo(
    id="r-1",
    method="GET",
    target="/path?q=1",
    version="HTTP/1.1",
    client="127.0.0.1:50312",
    fields=(
        ("Host", "localhost"),
        ("User-Agent", "curl/8"),
        ("Authorization", "Basic YWRhOmxvdmVsYWNl"),
        ("REFERER", "http://a/"),
    ),
)


RESPONSE = ResponseInfo(status=200, body_size=12, duration=0.0, complete=True)


def restored() -> Iterator[None]:
    """Leave the loggers as an embedded server finds them."""
    yield
    release()
    _reset("wsgi_async", "wsgi_async.access")


def _reset(*names: str) -> None:
    """As loggers are made."""
    for name in names:
        target = logging.getLogger(name)
        for handler in target.handlers[:]:
            target.removeHandler(handler)
            handler.close()
        target.setLevel(logging.NOTSET)
        target.propagate = True
        target.disabled = False


def error_lines(path: Path) -> list[str]:
    """The lines of an error log without their time stamps and process ids."""
    lines = path.read_text("utf-8").split("\n")
    assert lines.pop() == ""
    stamp = r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[\d+\] "
    return [re.sub(stamp, "", line) for line in lines]


def error_log_of(tmp_path: Path) -> Path:
    path = tmp_path / "error.log"
    configure(error_logfile=str(path), access_logfile="", log_level="info")
    return path


def configured_by(directory: Path, config: object, **more: str) -> Path:
    """Configure by --log-config as the parent does. Returns the error log."""
    error = directory / "error.log"
    options = {"access_logfile": "", "log_level": "info", "directory": str(directory)}
    configure(error_logfile=str(error), log_config=config, **{**options, **more})  # type: ignore[arg-type]
    return error


def restored_root() -> Iterator[None]:
    """Leave the root logger, and those that others' configurations name, as they were; and those
    that they silence by not naming them."""
    root = logging.root
    level, handlers = root.level, root.handlers[:]
    known = [each for each in root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    silent = [each for each in known if each.disabled]
    yield
    for target in known:
        target.disabled = target in silent
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.setLevel(level)
    root.handlers[:] = handlers
    _reset("gunicorn.error", "gunicorn.access")
    _reset("uvicorn", "uvicorn.error", "uvicorn.access", "shop")
