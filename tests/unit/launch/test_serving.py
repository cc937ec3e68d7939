"""serve() where it does not come to serving."""

from __future__ import annotations

import logging
import socket
from typing import Any

import pytest

from wsgi_async import serve
from wsgi_async.errors import ConfigError


def _hello(environ: object, start_response: object) -> list[bytes]:
    raise AssertionError("nobody asks")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"workers": 1}, "the address is in use"),
        ({"workers": 2}, "the address is in use"),
        ({"workers": 2, "preload": True}, "--preload is for the command line"),
    ],
    ids=["alone", "processes", "preload"],
)
def test_a_program_whose_server_cannot_start_has_its_logging_back(
    options: dict[str, Any], problem: str
) -> None:
    # It may log what went wrong, or try another port: two handlers would write each line twice.
    loggers = [logging.getLogger(name) for name in ("wsgi_async", "wsgi_async.access")]
    before = [(each.handlers[:], each.propagate, each.level) for each in loggers]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=problem):
            serve(_hello, port, host="127.0.0.1", log_level="error", **options)
    assert [(each.handlers[:], each.propagate, each.level) for each in loggers] == before
