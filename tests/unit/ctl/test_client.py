"""Asking over a unix socket: an answer within its time, or one line that says what to do."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest
from control_sockets import Asked, ControlSocket, saying

from wsgi_async.ctl.client import Client
from wsgi_async.ctl.exits import Exit, Failed

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def failure(client: Client, target: str = "/status") -> Failed:
    with pytest.raises(Failed) as caught:
        client.get(target)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()
    return caught.value


def test_questions_and_answers(tmp_path: Path) -> None:
    def answer(asked: Asked) -> tuple[int, object]:
        return 200, {"asked": asked.target, "body": asked.body}

    with ControlSocket(tmp_path / "c", answer) as control:
        client = Client(control.path)
        assert client.get("/requests?stacks=1") == {"asked": "/requests?stacks=1", "body": None}
        assert client.post("/scale", {"processes": 3})["body"] == {"processes": 3}
        assert client.peer == os.getpid()  # as the kernel says
    assert [asked.method for asked in control.asked] == ["GET", "POST"]


@pytest.mark.parametrize("code", [400, 403, 404, 405, 409, 503])
def test_a_refusal_is_the_servers_own_line(code: int, tmp_path: Path) -> None:
    answer = code, {"error": "Nobody but root\n\x1b[2J: ask him"}
    with ControlSocket(tmp_path / "c", lambda _: answer) as control:
        failed = failure(Client(control.path))
    assert failed.code is Exit.REFUSED
    assert str(failed) == "Nobody but root\\x0a\\x1b[2J: ask him"


@pytest.mark.parametrize(
    "answer",
    [
        (404, b"<h1>Not Found</h1>"),
        (200, b"<h1>An application's own page</h1>"),
        (200, b""),
        (200, b"[1, 2]"),
        (200, b"[" * 100_000),
        (200, b'{"a": "\xff"}'),
        (302, {}),
        (500, {"error": 5}),
    ],
)
def test_who_is_no_control_socket_is_named(answer: tuple[int, object], tmp_path: Path) -> None:
    with ControlSocket(tmp_path / "c", lambda _: answer) as control:
        failed = failure(Client(control.path))
    assert failed.code is Exit.UNREACHABLE
    assert f"{control.path} is no control socket of wsgi_async" in str(failed)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        OK.replace(b"2\r", b"9\r"),
        OK.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked"),
        b"\x00\xff" * 100,
        OK[:10],
    ],
)
def test_garbage_is_one_line(data: bytes, tmp_path: Path) -> None:
    with saying(tmp_path / "c", data) as path:
        assert failure(Client(path, 5.0)).code is Exit.UNREACHABLE


@pytest.mark.parametrize("data", [b"", OK[:-1]], ids=["before it", "within it"])
def test_an_answer_that_breaks_off_is_no_other_programs(data: bytes, tmp_path: Path) -> None:
    """So ends a profile that a reload strikes: its operations process is replaced."""
    with saying(tmp_path / "c", data) as path:
        failed = failure(Client(path, 5.0))
    assert failed.code is Exit.UNREACHABLE
    assert "broke before the answer" in str(failed)
    assert "replaced by a reload" in str(failed)


@pytest.mark.parametrize("data", [b"", OK[:-1] + b" " * 100], ids=["silent", "byte by byte"])
def test_an_answer_that_never_comes_is_given_up_in_time(data: bytes, tmp_path: Path) -> None:
    data = data.replace(b"Content-Length: 2", b"Content-Length: 99")
    began = time.monotonic()
    with saying(tmp_path / "c", data, byte_by_byte=True) as path:
        failed = failure(Client(path, 0.3))
        assert time.monotonic() - began < 10
    assert failed.code is Exit.LATE
    assert "No answer on" in str(failed)
    assert "within 0.3 s" in str(failed)


def test_where_too_many_wait_already_it_waits_too_and_no_longer(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "c"))
        listener.listen(0)
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(str(tmp_path / "c"))
            assert failure(Client(str(tmp_path / "c"), 0.2)).code is Exit.LATE


def test_nobody_there(tmp_path: Path) -> None:
    failed = failure(Client(str(tmp_path / "none")))
    assert failed.code is Exit.UNREACHABLE
    assert f"There is no {tmp_path}/none: does the server run, and with" in str(failed)
    (tmp_path / "file").touch()
    assert f"{tmp_path}/file is no socket" in str(failure(Client(str(tmp_path / "file"))))
    with ControlSocket(tmp_path / "c", lambda _: (200, {})):
        pass
    failed = failure(Client(str(tmp_path / "c")))
    assert f"Nobody listens on {tmp_path}/c: the server has ended" in str(failed)
    assert failed.code is Exit.UNREACHABLE
    assert "too long" in str(failure(Client("/" + "x" * 200)))
    assert failure(Client(f"@wsgi-async-{os.getpid()}-none")).code is Exit.UNREACHABLE


def test_names_without_a_file(tmp_path: Path) -> None:
    name = f"wsgi-async-{os.getpid()}-{tmp_path.name}"
    with ControlSocket(f"\0{name}", lambda _: (200, {"is": "here"})):
        assert Client(f"@{name}").get("/") == {"is": "here"}


def test_who_may_not_is_told_who_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root, whom permissions do not stop, a test has to say so itself."""
    (tmp_path / "c").touch()

    def connect(self: object, path: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("wsgi_async.ctl.client._Socket.connect", connect, raising=False)
    failed = failure(Client(str(tmp_path / "c")))
    assert failed.code is Exit.REFUSED
    assert f"be root, or the user with the number {os.getuid()}, whose it is" in str(failed)


def test_an_answer_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsgi_async.ctl.client.LARGEST", 1000)
    with ControlSocket(tmp_path / "c", lambda _: (200, {"text": "x" * 1000})) as control:
        assert failure(Client(control.path)).code is Exit.UNREACHABLE
