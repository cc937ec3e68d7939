"""Our TLS and that of a loop answer alike where they are compared. Nothing here looks at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_layers_are_compared(loop: str) -> None:
    # Another process, because it forks: this one may have threads.
    command = [sys.executable, "-m", "benchmarks.micro.tls_layers"]
    ended = subprocess.run(
        [*command, "--rounds", "1", "--count", "10", "--loops", loop],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    title, *rows = ended.stdout.splitlines()
    assert title.split()[-4:] == ["exchange", "1", "MB", "handshake"]
    names = [f"{loop}, plain", f"{loop}, ours", f"{loop}, its own", "ours by its own"]
    assert [row[:20].rstrip() for row in rows] == names
    assert all(float(figure.replace(",", "")) > 0 for row in rows for figure in row[20:].split())
