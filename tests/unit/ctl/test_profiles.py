"""``profile``: three files, what was found and what it cost; and no files where there is none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from control_sockets import Asked, ControlSocket, run

from wsgi_async.ctl.exits import Exit

PROFILE: dict[str, Any] = {
    "samples": {"app (shop.py:3);hot (shop.py:9)": 90, "app (shop.py:3)": 10},
    "hz": 100,
    "seconds": 1.0,
    "taken": 100,
    "missed": 0,
    "cost": 0.004,
    "processes": [{"number": 0, "pid": 4300}, {"number": 1, "pid": 4301, "error": "no\nroom"}],
    "missing": [{"number": 2, "pid": 4302}],
}


def answer(asked: Asked) -> tuple[int, Any]:
    assert asked == ("POST", "/profile", {"seconds": 1.0, "hz": 100})
    return 200, PROFILE


def test_three_files_and_what_they_cost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with ControlSocket(tmp_path / "c", answer) as control:
        ended = run(capsys, "profile", "1s", "-o", "hot", "-s", control.path)
        named_by_the_time = run(capsys, "profile", "1", "-s", control.path)
    assert ended.code == named_by_the_time.code == Exit.PARTLY
    lines = ended.out.splitlines()
    assert "sampling used 0.4 % of a CPU" in ended.out
    assert lines[3].split()[:3] == ["90.0%", "90.0%", "hot"]
    assert lines[4].split()[:3] == ["10.0%", "100.0%", "app"]
    assert lines[-6:] == [
        *("hot.svg", "hot.speedscope.json", "hot.txt", ""),
        *("process 1 (4301): no\\x0aroom", "process 2 (4302): no answer"),
    ]
    assert ElementTree.parse("hot.svg").getroot().tag.endswith("svg")
    speedscope = json.loads(Path("hot.speedscope.json").read_text())
    assert speedscope["shared"]["frames"][1]["name"] == "hot"
    assert "app (shop.py:3);hot (shop.py:9) 90\n" in Path("hot.txt").read_text()
    assert len(list(tmp_path.glob("profile-*"))) == 3


def test_a_profile_that_fails_leaves_no_files_and_harms_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hot.txt").write_text("of yesterday")
    with ControlSocket(tmp_path / "c", lambda _: (503, {"error": "busy"})) as control:
        prefix = str(tmp_path / "hot")
        ended = run(capsys, "profile", "1s", "-o", prefix, "-s", control.path)
    assert ended == (Exit.REFUSED, "", "wsgi-asyncctl: error: busy\n")
    assert sorted(os.listdir(tmp_path)) == ["c", "hot.txt"]
    assert (tmp_path / "hot.txt").read_text() == "of yesterday"


def test_where_it_cannot_be_written_nobody_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ControlSocket(tmp_path / "c", answer) as control:
        ended = run(capsys, "profile", "1s", "-o", "/none/hot", "-s", control.path)
    assert ended.code == Exit.WRONG
    assert "Cannot write /none/hot.svg: No such file or directory; see -o PREFIX" in ended.error
    assert control.asked == []
