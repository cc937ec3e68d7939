"""The programs of examples/live/, each served as its docstring says, with two threads."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Iterator
from pathlib import Path

from tools import ROOT, Process, python, running

__all__ = ["LIVE", "example"]

LIVE = ROOT / "examples" / "live"


@contextlib.contextmanager
def example(name: str, directory: Path, *options: str, **env: str) -> Iterator[Process]:
    """The server, at a free port, with its files in `directory`; it ends cleanly."""
    places = {name: str(directory / name) for name in ("JOURNAL", "POLL")}
    command = ("wsgi_async", "--threads", "2", str(LIVE / name), "--live-grace", "0.3")
    words = options if "--bind" in options else ("--port", "0", *options)
    with running(*python("-m", *command, *words), cwd=directory, env=places | env) as process:
        yield process
        process.signal(signal.SIGTERM)
        assert process.wait() == 0, process.output
        assert not re.search(r"Traceback|Warning|ERROR", process.output), process.output
