"""The measurement of an application's metrics runs, and finds what its table is about."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from serving import ROOT
from tools import require_module

pytestmark = pytest.mark.soak


def test_files_grow_with_each_process_and_memory_has_none() -> None:
    require_module("gunicorn")
    require_module("prometheus_client")
    command = [sys.executable, "-m", "benchmarks.micro.exposing", "--python", sys.executable]
    done = subprocess.run(
        [*command, "--replacements", "1"], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert done.returncode == 0, done.stderr
    rows = [
        (name, int(replaced), int(files))
        for name, replaced, files in re.findall(
            r"^\| (\w+) \| (\d+) \| [\d.]+ ms \| \d+ KiB \| (\d+) \| \d+ KiB \|$",
            done.stdout,
            re.MULTILINE,
        )
    ]
    assert rows[:2] == [("wsgi_async", 0, 0), ("wsgi_async", 4, 0)]
    (name, _, new), (other_name, _, later) = rows[2:]
    assert (name, other_name) == ("gunicorn", "gunicorn")
    assert 0 < new < later
