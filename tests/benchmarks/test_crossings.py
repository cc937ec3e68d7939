"""What wakes whom, by the servers' own counters: an event of a held stream takes no thread."""

from __future__ import annotations

import re
import subprocess
import sys

from serving import ROOT
from tools import require_module


def test_neither_requests_nor_events_cross_the_threads_more_often_than_they_must() -> None:
    require_module("flask")
    command = [sys.executable, "-m", "benchmarks.micro.crossings"]
    command += ["--requests", "20", "--streams", "4", "--seconds", "0.4"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=50)
    assert done.returncode == 0, done.stderr
    found = [
        (what, float(pool), float(loop), None if calls == "-" else float(calls))
        for what, pool, loop, calls in re.findall(
            r"^(\S.*?) +([\d.]+) +([\d.]+) +([\d.]+|-)$", done.stdout, re.MULTILINE
        )
    ]
    names = [what for what, *_ in found]
    assert names[:2] == ["hello", "flask"]
    assert [rest for _, *rest in found[:2]] == [[1, 1, None]] * 2
    assert found[-1][:3] == ("flask, after them", 1, 1)
    begins = [rest for what, *rest in found if what.endswith("begins")]
    events = [rest for what, *rest in found if what == "an event of it"]
    assert len(begins) == len(events) == 2
    assert [pool for pool, *_ in begins] == [1, 1]
    for pool, loop, calls in events:
        assert pool == 0
        # A little more than one where an event is at the edge of the time that is looked at.
        assert 0 < loop <= 1.5
        # The server looks a few times a second whether that loop goes on.
        assert calls is not None
        assert calls < 0.5
