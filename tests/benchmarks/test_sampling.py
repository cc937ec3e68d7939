"""The cost of a profile is measured, of threads that wait and that compute, and not judged."""

from __future__ import annotations

import pytest

from benchmarks.micro.sampling import main


def test_each_row_has_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--threads", "2", "--seconds", "0.1", "--rounds", "1"])
    title, *rows = capsys.readouterr().out.splitlines()
    assert title.split() == ["threads", "Hz", "CPU", "a", "sample", "missed", "work"]
    assert [row.split()[:3] for row in rows] == [
        ["2", "wait", "100"],
        ["2", "wait", "250"],
        ["2", "compute", "100"],
        ["2", "compute", "250"],
    ]
    assert all(float(row.split()[5]) > 0 for row in rows), "each sample takes its time"
    assert all(float(row.split()[-1]) > 0 for row in rows[2:]), "the threads have gone on"
