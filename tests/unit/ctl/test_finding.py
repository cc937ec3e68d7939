"""The control socket is found where it is named, or by the process that listens on it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from control_sockets import STATUS, ControlSocket

from wsgi_async.ctl.exits import Exit, Failed
from wsgi_async.ctl.finding import find_socket

PID = str(os.getpid())
NOBODY = "999999999"
"""No process has such a number: they end at 2^22."""


def failure(named: str = "", pid_file: str = "", **environ: str) -> Failed:
    with pytest.raises(Failed) as caught:
        find_socket(named, pid_file, environ)
    assert "\n" not in str(caught.value)
    return caught.value


def test_an_option_goes_before_a_variable() -> None:
    environ = {"WSGI_ASYNC_CONTROL_SOCKET": "/run/variable", "WSGI_ASYNC_PID": NOBODY}
    assert find_socket("/run/option", "", environ) == "/run/option"
    assert find_socket("unix:/run/option", "", environ) == "/run/option"
    assert find_socket("", "", environ) == "/run/variable"
    assert NOBODY in str(failure("", "", WSGI_ASYNC_PID=NOBODY))


def test_where_nothing_is_said_the_line_says_what_to_say() -> None:
    failed = failure()
    assert failed.code is Exit.UNREACHABLE
    for word in ("--socket PATH", "--pid FILE", "$WSGI_ASYNC_CONTROL_SOCKET", "--control-socket"):
        assert word in str(failed)
    assert failure("/run/c", "/run/pid").code is Exit.WRONG


def test_of_the_sockets_of_a_process_it_is_the_one_that_tells_of_a_fleet(tmp_path: Path) -> None:
    """And not the application's, which is not even asked where the other one is known by its
    mode."""
    (tmp_path / "pid").write_text(f"{PID}\n")
    with (
        ControlSocket(tmp_path / "a.sock", lambda _: (200, {"an": "application"})) as application,
        ControlSocket(tmp_path / "z control", lambda _: (200, STATUS)) as control,
    ):
        os.chmod(application.path, 0o660)
        os.chmod(control.path, 0o600)
        assert find_socket("", str(tmp_path / "pid"), {}) == control.path
        assert find_socket("", PID, {}) == control.path
        assert application.asked == []
        # Where both are for a group, each is asked what no application minds.
        os.chmod(control.path, 0o660)
        assert find_socket("", PID, {}) == control.path
        assert {asked.method for asked in application.asked} <= {"GET"}


def test_a_relative_path_is_that_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with ControlSocket("c", lambda _: (200, STATUS)):
        assert find_socket("", PID, {}) == str(tmp_path / "c")


def test_a_process_without_one(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "c"))  # and does not listen
        failed = failure("", PID)
    assert failed.code is Exit.UNREACHABLE
    assert "has no control socket: start the server with --control-socket PATH" in str(failed)


def test_one_that_hangs_is_found_and_said_to_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsgi_async.ctl.finding._PATIENCE", 0.1)
    with ControlSocket(tmp_path / "c", lambda _: None) as control:
        os.chmod(control.path, 0o600)
        failed = failure("", PID)
    assert failed.code is Exit.LATE
    assert control.path in str(failed)


def test_pid_files_that_name_nobody(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    assert f"There is no {file}: does the server run" in str(failure("", str(file)))
    file.write_text(NOBODY)
    failed = failure("", str(file))
    assert f"Process {NOBODY} of {file} has ended: the server does not run" in str(failed)
    assert failed.code is Exit.UNREACHABLE
    for text in ("", "no number", "-1", "0", "\0" * 100):
        file.write_text(text)
        assert f"{file} is no pid file" in str(failure("", str(file)))
    assert "Cannot read" in str(failure("", str(tmp_path)))
    os.mkfifo(tmp_path / "pipe")
    assert "is no pid file" in str(failure("", str(tmp_path / "pipe")))
