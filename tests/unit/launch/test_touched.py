"""Files of an application that somebody touches: which are looked at; each change is told once."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wsgi_async.launch.touched import Scripts


def settings(app: str, *mount: str) -> Any:
    return SimpleNamespace(launch=SimpleNamespace(app=app, mount=mount))


def touch(path: Path, time: int) -> None:
    path.touch()
    os.utime(path, ns=(time, time))


def test_a_change_is_told_once(tmp_path: Path) -> None:
    """As mod_wsgi has it, ``touch`` is enough: the content need not change."""
    for name in ("app.wsgi", "other.wsgi"):
        touch(tmp_path / name, 1000)
    scripts = Scripts()
    assert scripts.follow(settings("app.wsgi", "GET /o=other.wsgi:app"), str(tmp_path))
    assert scripts.look() == []
    touch(tmp_path / "app.wsgi", 2000)
    assert scripts.look() == [str(tmp_path / "app.wsgi")]
    assert scripts.look() == []
    touch(tmp_path / "other.wsgi", 500)  # an older version is back
    assert scripts.look() == [str(tmp_path / "other.wsgi")]


def test_a_file_that_is_being_replaced_is_told_once_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "app.wsgi"
    touch(path, 1000)
    scripts = Scripts()
    scripts.follow(settings(str(path)), "/")
    path.unlink()
    assert scripts.look() == []
    touch(path, 2000)
    assert scripts.look() == [str(path)]


def test_after_a_reload_the_files_of_its_options_count(tmp_path: Path) -> None:
    for name in ("old.wsgi", "new.wsgi"):
        touch(tmp_path / name, 1000)
    scripts = Scripts()
    scripts.follow(settings("old.wsgi"), str(tmp_path))
    touch(tmp_path / "new.wsgi", 2000)  # before it was loaded
    scripts.follow(settings("new.wsgi"), str(tmp_path))
    touch(tmp_path / "old.wsgi", 3000)
    assert scripts.look() == []


@pytest.mark.parametrize("app", ["site.wsgi", "site:app", "", "no/such.wsgi"])
def test_a_module_is_no_file(tmp_path: Path, app: str) -> None:
    """A server of modules is not to be woken for anything."""
    assert not Scripts().follow(settings(app), str(tmp_path))
