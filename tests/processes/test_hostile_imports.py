"""Whatever an application does when it is imported is its own fault: exit code 3, and all of the
traceback that can be had."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Command

from wsgi_async.applications.loading import application_traceback, load_application
from wsgi_async.errors import LoadError

APP = "def app(environ, start_response): ...\n"

RAISING = {
    "base": ("raise BaseException('mine')", "raised BaseException: mine"),
    "interrupt": ("raise KeyboardInterrupt", "raised KeyboardInterrupt"),
    "generator": ("raise GeneratorExit", "raised GeneratorExit"),
    "exit": ("raise SystemExit(0)", "raised SystemExit: 0"),
    "cancelled": ("import asyncio; raise asyncio.CancelledError", "raised CancelledError"),
    "stop": ("raise StopIteration(3)", "raised StopIteration: 3"),
    "memory": ("raise MemoryError", "raised MemoryError"),
    "group": ("raise ExceptionGroup('two', [OSError('a')])", r"raised ExceptionGroup: two \("),
    "mute": (
        "class Mute(Exception):\n    def __str__(self): raise SystemExit\nraise Mute",
        "raised Mute, whose text cannot be had",
    ),
    "own_name": (f"raise ModuleNotFoundError('mine', name='{'hostile'}')", "Error: mine"),
    "directory": ("import os; os.chdir('/'); raise ValueError('mine')", "raised ValueError: mine"),
    "recursion": ("def f(): f()\nf()", "raised RecursionError: maximum recursion depth"),
    "shallow": (
        "import sys; sys.setrecursionlimit(40)\ndef f(n): 1 / n if not n else f(n - 1)\nf(3)",
        "raised ZeroDivisionError: division by zero",
    ),
    "syntax": ("def (:", "raised SyntaxError"),
    "indentation": ("if 1:\n  x\n y", "raised IndentationError"),
    "path": ("import sys; sys.path.clear(); import nowhere", "No module named 'nowhere'"),
    "modules": ("import sys; sys.modules.clear(); raise ValueError('mine')", "ValueError: mine"),
    "hook": (
        "import sys; sys.excepthook = sys.unraisablehook = None; raise ValueError('mine')",
        "raised ValueError: mine",
    ),
    "library": (
        "import sys, traceback, linecache\n"
        "linecache.getline = traceback.TracebackException = None\n"
        "for name in ('traceback', 'linecache', 're', 'os', 'socket', 'asyncio'):\n"
        "    del sys.modules[name]\n"
        "raise ValueError('mine')",
        "raised ValueError: mine",
    ),
    "long": ("raise ValueError('x' * 10**7)", r"raised ValueError: x{500}\.\.\."),
    "unprintable": (r"raise ValueError('\udc80\x00\x1b mine')", "raised ValueError: .* mine"),
    "circle": ("e = ValueError('mine'); e.__cause__ = e; raise e", "raised ValueError: mine"),
    "proxy": (
        "class Proxy:\n"
        "    def __call__(self, environ, start_response): ...\n"
        "    @property\n"
        "    def __class__(self): raise SystemExit('mine')\n"
        "app = Proxy()",
        "Looking at 'app' in 'hostile' raised SystemExit: mine",
    ),
    "names": (
        "globals()[3] = print; raise ValueError('mine')",
        "raised ValueError: mine",
    ),
}
"""What a module does, and what the error line has."""


@pytest.mark.parametrize("source", RAISING)
def test_what_is_raised_is_the_application_s_fault(tmp_path: Path, source: str) -> None:
    text, said = RAISING[source]
    (tmp_path / "hostile.py").write_text(text)
    with Command("hostile:app", "-b", "127.0.0.1:0", directory=tmp_path) as command:
        assert command.wait() == 3
    *shown, last = command.lines
    assert last.startswith("wsgi-async: error: ")
    assert re.search(said, last)
    assert any("hostile.py" in line for line in shown) or source in ("proxy",)
    assert sum(map(len, command.lines)) < 65536


QUIET = {
    "descriptors": (
        "import os; os.closerange(3, 1000)",
        "closed descriptors that are the server's",
    ),
    "taken": (
        "import os; os.closerange(3, 1000)\nfiles = [os.open('/dev/null', 0) for _ in range(40)]",
        "closed descriptors that are the server's",
    ),
    "both": (
        "import os; os.closerange(3, 1000); raise ValueError('mine')",
        "raised ValueError: mine",
    ),
    "gone": ("import os; os._exit(0)", "did not start: exit code 0"),
    "killed": ("import os; os.kill(os.getpid(), 9)", "did not start: signal 9"),
}


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["alone", "preload"])
@pytest.mark.parametrize("source", QUIET)
def test_a_process_that_is_damaged_is_no_server(
    tmp_path: Path, source: str, preload: tuple[str, ...]
) -> None:
    text, said = QUIET[source]
    (tmp_path / "hostile.py").write_text(f"{text}\n{APP}")
    with Command("hostile:app", "-b", "127.0.0.1:0", *preload, directory=tmp_path) as command:
        assert command.wait() == 3
    if preload and source in ("gone", "killed"):
        said = said.replace("did not start: ", "")
    assert re.search(said, "\n".join(command.lines))


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["alone", "preload"])
def test_it_is_so_with_a_loader_and_in_a_check(tmp_path: Path, preload: tuple[str, ...]) -> None:
    (tmp_path / "hostile.py").write_text("raise GeneratorExit('mine')")
    for arguments in (("-b", "127.0.0.1:0"), ("--check-config",)):
        with Command("hostile:app", *preload, *arguments, directory=tmp_path) as command:
            assert command.wait() == 3
        assert "line 1, in <module>" in "\n".join(command.lines)
        assert command.lines[-1].endswith("Importing 'hostile' raised GeneratorExit: mine")


@pytest.fixture
def recursion_limit() -> Iterator[None]:
    before = sys.getrecursionlimit()
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("recursion_limit")
def test_a_traceback_that_cannot_be_formatted_is_given_by_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "hostile_format.py").write_text("def f():\n    raise ValueError('mine')\nf()")
    with pytest.raises(LoadError) as caught:
        load_application("hostile_format")
    cause = caught.value.__cause__
    assert cause is not None
    monkeypatch.setattr("traceback.format_exception", None)
    text = application_traceback(cause)
    assert 'hostile_format.py", line 3, in <module>\n' in text
    assert 'hostile_format.py", line 2, in f\n' in text
    assert "ValueError: mine\n(its traceback cannot be shown: TypeError: " in text


def test_of_a_long_traceback_the_end_is_shown() -> None:
    error = ValueError("a" * 100_000 + "the end")
    text = application_traceback(error)
    assert text.startswith("ValueError: aaa")
    assert text.endswith("the end\n")
    assert "characters ...]" in text
    assert len(text) < 16_100
