"""The pid file: whose it is, and when it goes."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from rawclient import TIMEOUT
from tools import ROOT, python

from wsgi_async.errors import ConfigError
from wsgi_async.system.pid_file import PidFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.pid"


@pytest.fixture
def living() -> Iterator[int]:
    """Another process."""
    process = subprocess.Popen(
        python("-c", "input()"), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    yield process.pid
    process.communicate(b"\n", TIMEOUT)


@pytest.fixture
def dead() -> int:
    """One that was."""
    process = subprocess.Popen(python("-c", ""))
    process.wait(TIMEOUT)
    return process.pid


def test_it_holds_the_number_while_the_server_runs(path: Path) -> None:
    file = PidFile(str(path))
    file.create()
    assert path.read_bytes() == b"%d\n" % os.getpid()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(path.parent) == ["app.pid"]
    file.remove()
    assert not path.exists()
    file.remove()


def test_one_of_a_process_that_lives_is_left_alone(path: Path, living: int) -> None:
    path.write_text(f"{living}\n")
    with pytest.raises(ConfigError) as caught:
        PidFile(str(path)).create()
    assert str(caught.value) == (
        f"--pid: '{path}' says that process {living} runs already; stop it, or remove the file "
        "if that is another program"
    )
    assert path.read_text() == f"{living}\n"
    assert os.listdir(path.parent) == ["app.pid"]


@pytest.mark.parametrize(
    "text", ["", "\n", "x", "0", "-1", "1 2", "99999999999999999999", "²", "4242\0", "9" * 100]
)
def test_one_that_names_nobody_is_replaced(path: Path, text: str) -> None:
    path.write_text(text)
    PidFile(str(path)).create()
    assert path.read_text() == f"{os.getpid()}\n"


def test_one_of_a_dead_process_is_replaced(path: Path, dead: int) -> None:
    path.write_text(f"{dead}\n")
    PidFile(str(path)).create()
    assert path.read_text() == f"{os.getpid()}\n"
    assert os.listdir(path.parent) == ["app.pid"]


def test_our_own_number_in_an_old_file_is_no_obstacle(path: Path) -> None:
    """In a container the number is the same at each start."""
    path.write_text(f"{os.getpid()}\n")
    PidFile(str(path)).create()
    assert path.read_text() == f"{os.getpid()}\n"


def test_a_successors_file_is_not_removed(path: Path, living: int) -> None:
    file = PidFile(str(path))
    file.create()
    path.write_text(f"{living}\n")
    file.remove()
    assert path.read_text() == f"{living}\n"


def test_one_that_was_not_created_is_not_removed(path: Path) -> None:
    path.write_text(f"{os.getpid()}\n")
    PidFile(str(path)).remove()
    assert path.exists()


def test_one_that_somebody_removed_is_no_error(path: Path) -> None:
    file = PidFile(str(path))
    file.create()
    path.unlink()
    file.remove()


def test_a_child_does_not_remove_its_parents(tmp_path: Path) -> None:
    program = """
import os
from wsgi_async.system.pid_file import PidFile
file = PidFile("app.pid")
file.create()
child = os.fork()
if child == 0:
    file.remove()
    os._exit(0)
os.waitpid(child, 0)
assert os.path.exists("app.pid")
os.chdir("/")
file.remove()
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(python("-c", program), cwd=tmp_path, env=env, check=True, timeout=TIMEOUT)
    assert os.listdir(tmp_path) == []


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        PidFile(f"{tmp_path}/no/app.pid").create()
    assert str(caught.value) == (
        f"--pid: cannot write '{tmp_path}/no/app.pid': No such file or directory"
    )


@pytest.mark.parametrize("name", [os.devnull, "."])
def test_what_is_no_ordinary_file_is_not_replaced(name: str) -> None:
    with pytest.raises(ConfigError, match=r"is a (device|directory), not an ordinary file"):
        PidFile(name).create()
    assert not stat.S_ISREG(os.stat(name).st_mode)


def test_a_link_is_replaced_and_its_target_left(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    path.symlink_to(target)
    PidFile(str(path)).create()
    assert not path.is_symlink()
    assert target.read_text() == "precious"


def test_of_two_that_start_at_once_one_is_refused(path: Path) -> None:
    """The file appears after the first look: the link fails, and the second look tells."""
    program = """
import os, sys
from wsgi_async.errors import ConfigError
from wsgi_async.system.pid_file import PidFile
sys.stdin.readline()
try:
    PidFile(sys.argv[1]).create()
    print("created", flush=True)
except ConfigError:
    print("refused", flush=True)
sys.stdin.readline()
"""
    processes = [
        subprocess.Popen(
            python("-c", program, str(path)),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = []
    for process in processes:
        assert process.stdout is not None
        said.append(process.stdout.readline())
    for process in processes:
        process.communicate("\n", TIMEOUT)
    assert sorted(said) == ["created\n", "refused\n", "refused\n", "refused\n"]
