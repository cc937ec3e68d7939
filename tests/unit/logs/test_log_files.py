"""Where logs go: handlers, files, and their rotation."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from log_lines import REQUEST, RESPONSE, error_lines, error_log_of, restored
from rawclient import TIMEOUT
from tools import ROOT, python

from wsgi_async.errors import ConfigError
from wsgi_async.logs.observer import LogObserver
from wsgi_async.logs.setup import configure, descriptors, error_descriptor, reopen

_restore = pytest.fixture(autouse=True)(restored)
error_log = pytest.fixture(error_log_of)


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
from wsgi_async.logs.observer import LogObserver
from wsgi_async.logs.setup import configure
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
from wsgi_async.logs.observer import LogObserver
from wsgi_async.logs.setup import configure
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
