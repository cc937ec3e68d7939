"""A log on a disk that takes a part of a record, or nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from log_lines import error_lines, error_log_of, restored

from wsgi_async.logs.observer import LogObserver
from wsgi_async.logs.setup import Mode, dropped, flush, reopen, set_mode, write_by_thread

_restore = pytest.fixture(autouse=True)(restored)
error_log = pytest.fixture(error_log_of)


class Disk:
    """Room for so many bytes; None is enough."""

    def __init__(self) -> None:
        self.room: int | None = None
        self._write = os.write

    def write(self, descriptor: int, data: bytes) -> int:
        if self.room is None:
            return self._write(descriptor, data)
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._write(descriptor, data[: self.room])
        self.room -= written
        return written


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk()
    monkeypatch.setattr(os, "write", disk.write)
    yield disk
    disk.room = None


@pytest.mark.parametrize("mode", list(Mode))
def test_no_record_begins_behind_one_that_was_cut(mode: Mode, error_log: Path, disk: Disk) -> None:
    before = dropped()
    if mode is Mode.QUEUED:
        write_by_thread()
    else:
        set_mode(mode)
    LogObserver().warning("whole")
    if mode is Mode.QUEUED:
        flush()
        write_by_thread()
    disk.room = 40
    LogObserver().warning("cut " + "x" * 100)
    LogObserver().warning("lost")
    flush()
    disk.room = None
    LogObserver().warning("next")
    lines = error_lines(error_log)
    assert lines[0] == "[WARNING] whole"
    assert len(lines[1]) <= 40
    # It says so of itself, once it can.
    others = [line for line in lines[2:] if " dropped: No space left on device" not in line]
    assert others == ["[WARNING] next"]
    assert dropped() - before >= 2


def test_a_new_file_does_not_begin_with_an_empty_line(error_log: Path, disk: Disk) -> None:
    disk.room = 40
    LogObserver().warning("cut " + "x" * 100)
    disk.room = None
    error_log.rename(error_log.with_name("old"))
    reopen()
    LogObserver().warning("next")
    assert error_lines(error_log)[-1] == "[WARNING] next"
    assert error_log.read_text()[0] == "["
