"""What a process makes around its application, at each start anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rawclient import TIMEOUT
from tools import ROOT, python, require_module

from wsgi_async.errors import ConfigError
from wsgi_async.system.surroundings import Surroundings, start_directory

PROGRAM = """
import json, os, sys, time
sys.path[:] = json.loads(sys.argv[3]) + sys.path
{before}
from wsgi_async.errors import ConfigError
from wsgi_async.system.surroundings import Surroundings, start_directory
try:
    Surroundings(start=start_directory(os.environ), **json.loads(sys.argv[1])).enter(os.environ)
    error = ""
except ConfigError as caught:
    error = str(caught)
wanted = json.loads(sys.argv[2])
print(json.dumps({{
    "error": error, "cwd": os.getcwd(), "path": sys.path, "zone": time.strftime("%Z"),
    "env": {{name: os.environ.get(name) for name in wanted}},
}}))
"""


class Found(NamedTuple):
    error: str
    cwd: str
    path: list[str]
    zone: str
    env: dict[str, str | None]


def enter(
    directory: Path,
    *names: str,
    environ: dict[str, str] | None = None,
    path: tuple[str, ...] = (),
    before: str = "",
    **options: Any,
) -> Found:
    """What a process that was started in `directory` has then, and the variables `names`."""
    env = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "TZ": "UTC", **(environ or {})}
    done = subprocess.run(
        python(
            "-c",
            PROGRAM.format(before=before),
            *map(json.dumps, (options, names, path)),
        ),
        cwd=directory,
        env=env,
        check=True,
        timeout=TIMEOUT,
        stdout=subprocess.PIPE,
    )
    return Found(**json.loads(done.stdout))


# --- Directory and path


def test_nothing_asked(tmp_path: Path) -> None:
    found = enter(tmp_path)
    assert (found.error, found.cwd) == ("", str(tmp_path))
    assert found.path[0] == str(tmp_path)
    assert "" not in found.path
    assert str(ROOT) in found.path


def test_the_directory_is_first_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    found = enter(tmp_path, chdir="app")
    assert found.cwd == found.path[0] == f"{tmp_path}/app"


def test_the_directory_of_the_start_leaves_the_path(tmp_path: Path) -> None:
    """Where ``python -m`` has put it: it may be the release before this one."""
    (tmp_path / "app").mkdir()
    found = enter(tmp_path, chdir="app", path=(str(tmp_path),))
    assert found.path[0] == f"{tmp_path}/app"
    assert str(tmp_path) not in found.path


def test_the_path_keeps_its_order_and_has_nothing_twice(tmp_path: Path) -> None:
    for name in ("app", "app/lib", "b"):
        (tmp_path / name).mkdir()
    names = (f"{tmp_path}/b", "lib", f"{tmp_path}/app/lib/../lib")
    found = enter(tmp_path, chdir="app", pythonpath=names[:2], path=("/x", f"{tmp_path}/b"))
    assert found.path[:4] == [f"{tmp_path}/app", f"{tmp_path}/b", f"{tmp_path}/app/lib", "/x"]
    assert found.path.count(f"{tmp_path}/b") == 1


def test_a_link_is_followed_anew_and_by_its_own_name(tmp_path: Path) -> None:
    """Started in a link that points elsewhere since: where it points now is where the code is."""
    for release in ("1", "2"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "release.py").write_text(f"NUMBER = {release}\n")
    current = tmp_path / "current"
    current.symlink_to("1")
    program = """
import json, os, sys
from wsgi_async.system.surroundings import Surroundings, start_directory
surroundings = Surroundings(start=start_directory(os.environ), chdir=sys.argv[1])
numbers = []
for release in "12":
    os.symlink(release, "../new")
    os.replace("../new", "../current")
    reading, writing = os.pipe()
    if os.fork() == 0:
        surroundings.enter(os.environ)
        import release
        os.write(writing, b"%d" % release.NUMBER)
        os._exit(0)
    numbers.append(os.read(reading, 9).decode())
    os.close(reading)
    os.close(writing)
    os.wait()
print(numbers)
"""
    for chdir in ("", "../current", str(current)):
        done = subprocess.run(
            [sys.executable, "-c", program, chdir],
            cwd=current,
            env={"PATH": os.defpath, "PYTHONPATH": str(ROOT), "PWD": str(current)},
            check=True,
            timeout=TIMEOUT,
            stdout=subprocess.PIPE,
        )
        assert done.stdout == b"['1', '2']\n", chdir


def test_a_false_pwd_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    here = str(tmp_path)
    assert start_directory({"PWD": f"{here}/link"}) == f"{here}/link"
    for wrong in ("/", "", ".", f"{here}/none", "link"):
        assert start_directory({"PWD": wrong}) == here
    assert start_directory({}) == here


def test_a_start_in_a_directory_that_has_been_removed(tmp_path: Path) -> None:
    program = """
import os
os.rmdir(os.getcwd())
from wsgi_async.errors import ConfigError
from wsgi_async.system.surroundings import Surroundings, start_directory
try:
    start_directory(os.environ)
except ConfigError as error:
    print(error)
Surroundings(start="/").enter(os.environ)
print(os.getcwd())
"""
    done = subprocess.run(
        python("-c", program),
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PWD": str(tmp_path)},
        check=True,
        timeout=TIMEOUT,
        stdout=subprocess.PIPE,
    )
    assert done.stdout == b"The current directory: No such file or directory\n/\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chdir": "no"}, "--chdir: cannot change to '{}/no': No such file or directory"),
        ({"chdir": "file"}, "--chdir: cannot change to '{}/file': Not a directory"),
        ({"pythonpath": ["no"]}, "--pythonpath: there is no '{}/no'"),
        ({"env_file": "no"}, "--env-file: cannot read '{}/no': No such file or directory"),
        ({"env_file": "."}, "--env-file: cannot read '{}': Is a directory"),
    ],
)
def test_what_is_missing(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    (tmp_path / "file").write_text("")
    assert enter(tmp_path, **options).error == message.format(tmp_path)


def test_the_directory_of_the_start_has_gone() -> None:
    with pytest.raises(ConfigError) as caught:
        Surroundings(start="/no/such").enter({})
    assert str(caught.value) == (
        "Cannot change to '/no/such', where it was started: No such file or directory"
    )


# --- Environment


def test_variables_win_over_the_file_and_the_file_over_nothing(tmp_path: Path) -> None:
    require_module("dotenv")
    (tmp_path / ".env").write_text(
        "# which is which\n"
        'FILE=file\nBOTH=file\nexport QUOTED="a b"\nTHREE=file\nJOINED=${FILE}/${OURS}\nOURS=file\n'
    )
    found = enter(
        tmp_path,
        *("FILE", "BOTH", "THREE", "OURS", "QUOTED", "JOINED", "ARGUMENT", "EMPTY"),
        environ={"OURS": "environment", "THREE": "environment"},
        env_file=".env",
        env=["BOTH=argument", "ARGUMENT=a=b,c", "THREE=argument", "EMPTY="],
    )
    assert found.error == ""
    assert found.env == {
        "FILE": "file",
        "BOTH": "argument",
        "THREE": "argument",
        "OURS": "environment",
        "QUOTED": "a b",
        "JOINED": "file/environment",
        "ARGUMENT": "a=b,c",
        "EMPTY": "",
    }


def test_the_file_is_relative_to_the_directory(tmp_path: Path) -> None:
    require_module("dotenv")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / ".env").write_text("WHERE=käse")
    found = enter(tmp_path, "WHERE", chdir="app", env_file=".env")
    assert found.env == {"WHERE": "käse"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"A=\xff\n", "--env-file: '{}/.env' is not UTF-8"),
        (b"A=a\0b\n", "--env-file: '{}/.env': embedded null byte"),
    ],
)
def test_a_file_that_is_broken(tmp_path: Path, content: bytes, message: str) -> None:
    require_module("dotenv")
    (tmp_path / ".env").write_bytes(content)
    assert enter(tmp_path, env_file=".env").error == message.format(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody who may not read")
def test_a_file_that_may_not_be_read() -> None:
    before = "import importlib.metadata, wsgi_async.system.surroundings\nos.seteuid(1)"
    with tempfile.TemporaryDirectory() as name:  # pytest's own lets nobody else in
        os.chmod(name, 0o755)
        Path(name, ".env").touch(mode=0o600)
        found = enter(Path(name), env_file=".env", before=before)
    assert found.error == f"--env-file: cannot read '{name}/.env': Permission denied"


def test_without_python_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1")
    found = enter(tmp_path, env_file=".env", before="sys.modules['dotenv'] = None")
    assert found.error == "--env-file needs python-dotenv: pip install 'wsgi_async[env]'"


@pytest.mark.parametrize("way", ["file", "argument"])
def test_a_time_zone_is_in_force_at_once(tmp_path: Path, way: str) -> None:
    require_module("dotenv")
    (tmp_path / ".env").write_text("TZ=ABC-3")
    if way == "file":
        found = enter(tmp_path, environ={}, before="del os.environ['TZ']", env_file=".env")
    else:
        found = enter(tmp_path, env=["TZ=ABC-3"])
    assert (found.error, found.zone) == ("", "ABC")
