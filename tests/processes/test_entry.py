"""``wsgi_async.main()``: a program's own command line."""

from __future__ import annotations

import signal
import urllib.request
from pathlib import Path

import pytest
from tools import Process, python, running

import wsgi_async

PROGRAM = """
from wsgi_async import main

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]

if __name__ == "__main__":
    main(app)
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "own_program.py").write_text(PROGRAM)
    return tmp_path


def ask(process: Process) -> bytes:
    with urllib.request.urlopen(process.url) as response:
        body: bytes = response.read()
    return body


@pytest.mark.parametrize(
    "args",
    [
        ("-m", "own_program", "--port=0", "--host", "127.0.0.1"),
        ("own_program.py", "-b", "127.0.0.1:0", "--workers", "2"),
        ("own_program.py", "-b", "127.0.0.1:0", "--preload"),
    ],
)
def test_a_program_with_two_lines(directory: Path, args: tuple[str, ...]) -> None:
    with running(*python(*args), cwd=directory) as process:
        assert ask(process) == b"hello"
        process.signal(signal.SIGHUP)
        process.wait_for(r"\] Reloaded$")
        assert ask(process) == b"hello"
        process.signal(signal.SIGTERM)
        assert process.wait() == 0


def test_an_application_from_the_arguments(directory: Path) -> None:
    program = "from wsgi_async import main\nmain()"
    args = ("-c", program, "own_program:app", "-b", "127.0.0.1:0")
    with running(*python(*args), cwd=directory) as process:
        assert ask(process) == b"hello"
        process.signal(signal.SIGTERM)
        assert process.wait() == 0


@pytest.mark.parametrize(
    ("args", "code", "line"),
    [
        (("-m", "own_program", "x:y"), 1, "python -m own_program: error: This program has its own"),
        (("own_program.py", "--prot", "1"), 1, "own_program.py: error: No such option: --prot."),
        (("own_program.py", "--check-config"), 0, "The configuration and the application are good"),
    ],
)
def test_what_it_says(directory: Path, args: tuple[str, ...], code: int, line: str) -> None:
    with running(*python(*args), cwd=directory) as process:
        assert process.wait() == code
        assert process.output.startswith(line)


def test_arguments_of_the_call(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        wsgi_async.main(None, ["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("wsgi-async ")
