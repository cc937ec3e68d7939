"""What may be at the path that an option names: none of it makes the start hang, or misleads it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rawclient import TIMEOUT
from tools import ROOT, python
from warm_starts import WarmStarts

from wsgi_async.system.files import LARGEST, append, read_text

APP = "def app(environ, start_response): ...\n"
HUGE = 1 << 40


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.path.relpath(path))


KINDS: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "directory": os.mkdir,
    "socket": make_socket,
    "dangling": lambda path: path.symlink_to("nothing"),
    "loop": lambda path: path.symlink_to(path.name),
    "link": lambda path: (os.mkfifo(f"{path}.fifo"), path.symlink_to(f"{path}.fifo")),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "huge": lambda path: (path.touch(), os.truncate(path, HUGE)),
}

BIND = ("-b", "127.0.0.1:0", "shop:app")
OPTIONS: dict[str, tuple[tuple[str, ...], str, int, set[str]]] = {
    # what is given; the exit code; what the last line has; and for which kinds it serves
    "toml": ((*BIND, "-c", "{}.toml"), r"\.toml", 1, set()),
    "gunicorn": ((*BIND, "-c", "{}.py"), r"\.py", 1, set()),
    "uwsgi": ((*BIND, "-c", "{}.ini"), r"\.ini", 1, set()),
    "env-file": ((*BIND, "--env-file", "{}"), "--env-file: ", 1, set()),
    "pid": ((*BIND, "--pid", "{}"), "--pid: ", 1, {"dangling", "huge"}),
    "errors": (
        (*BIND, "--error-logfile", "{}"),
        "--error-logfile: ",
        1,
        {"dangling", "device", "huge"},
    ),
    "access": (
        (*BIND, "--access-logfile", "{}"),
        "--access-logfile: ",
        1,
        {"dangling", "device", "huge"},
    ),
    "app": ((*BIND[:2], "{}.py"), r"\.py", 3, set()),
    "wsgi": ((*BIND[:2], "{}.wsgi"), r"\.wsgi", 3, set()),
    "mount": ((*BIND, "--mount", "/a={}.wsgi"), "--mount ", 3, set()),
    "pythonpath": ((*BIND, "--pythonpath", "{}"), "--pythonpath: ", 1, {"directory"}),
    "chdir": ((*BIND[:2], "empty:app", "--chdir", "{}"), "--chdir: |'empty'", 1, set()),
    "spool": ((*BIND, "--spool-dir", "{}"), "--spool-dir: ", 1, {"directory"}),
    "reload": ((*BIND, "--reload", "--reload-dir", "{}"), "--reload-dir: ", 1, {"directory"}),
    "static": ((*BIND, "--static", "/s={}"), "--static|no directory", 1, {"directory"}),
    "bind": (("-b", "unix:{}", "shop:app"), "unix:|[Cc]annot listen", 1, {"socket"}),
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.py").write_text(APP)
    return tmp_path


@contextlib.contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        python("-m", "wsgi_async", *arguments),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def starts() -> Iterator[WarmStarts]:
    with WarmStarts() as starts:
        yield starts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("option", OPTIONS)
def test_no_kind_of_file_makes_the_start_hang(
    project: Path, starts: WarmStarts, option: str, kind: str
) -> None:
    arguments, said, code, serves = OPTIONS[option]
    if kind == "huge" and code == 3:
        pytest.skip("it runs out of memory, or not, as any import of such a module does")
    found = re.search(r"\{\}(\.\w+)?", " ".join(arguments))
    assert found is not None
    KINDS[kind](project / f"{kind}{found[1] or ''}")
    words = [text.replace("{}", kind) for text in arguments]
    with starts.start(*words, directory=project) as process:
        if kind not in serves:
            text = process.rest()
            last = text.splitlines()[-1]
            assert process.wait() == (3 if "empty" in last else code), text
            assert re.search(said, last), text
            assert "An error inside the server" not in text, text
        elif option != "errors":  # there it says that it serves
            assert "Listening on" in process.line()
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait() == 0


def test_files_that_are_found_by_themselves(project: Path) -> None:
    for name in ("wsgi_async.toml", "pyproject.toml"):
        os.mkfifo(name)
        with started(*BIND) as process:
            _, text = process.communicate(timeout=TIMEOUT)
            assert process.returncode == 1
            assert f"{name}: it is a pipe, not an ordinary file" in text
        os.unlink(name)
    os.mkfifo("gunicorn.conf.py")
    with started(*BIND) as process:
        assert process.stderr is not None
        assert "Listening on" in process.stderr.readline()


def test_reading(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes("é".encode() * (LARGEST // 2))
    assert len(read_text(path)) == LARGEST // 2
    with path.open("ab") as file:
        file.write(b"1")
    with pytest.raises(OSError, match="larger than 1 MiB"):
        read_text(path)
    path.write_bytes(b"\xff")
    with pytest.raises(UnicodeDecodeError):
        read_text(path)
    with pytest.raises(OSError, match="a device"):
        read_text("/dev/zero")
    with pytest.raises(OSError, match="a directory"):
        read_text(tmp_path)


def test_appending_to_a_pipe_that_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    with pytest.raises(OSError, match="a pipe that nobody reads"):
        append(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = append(path)
    assert os.get_blocking(writer)
    assert not os.get_inheritable(writer)
    os.write(writer, b"said")
    assert os.read(reader, 10) == b"said"
    os.close(writer)
    os.close(reader)
