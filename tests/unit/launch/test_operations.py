"""What the parent makes for the operations process, before there is one."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from wsgi_async.config.options import Config
from wsgi_async.errors import ConfigError
from wsgi_async.launch.operations import Operations
from wsgi_async.operations.journal import Journal


def test_where_there_are_no_descriptors_that_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(journal: Journal) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(Journal, "__init__", fail)
    path = tmp_path / "control.sock"
    with pytest.raises(ConfigError, match="for the operations process: Too many open files"):
        Operations(Config(control_socket=str(path)), "", ())
    assert not path.exists()
