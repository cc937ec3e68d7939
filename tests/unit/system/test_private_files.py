"""Files that no other user can read, for keys: in memory, or nearly."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from wsgi_async.system.private_files import private_path, shared_file


@pytest.fixture(params=["memory", "disk"])
def kind(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if request.param == "disk":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    elif not hasattr(os, "memfd_create"):
        pytest.skip("memfd_create")
    return str(request.param)


def test_a_path_is_there_as_long_as_it_is_needed(kind: str, tmp_path: Path) -> None:
    with private_path(b"secret") as path:
        assert Path(path).read_bytes() == Path(path).read_bytes() == b"secret"
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        files = list(tmp_path.iterdir())
        assert len(files) == (kind == "disk")
        assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError):
        open(path).close()


def test_what_is_shared_has_no_name_and_goes_to_no_program(kind: str, tmp_path: Path) -> None:
    writer, reader = shared_file()
    with writer, reader:
        assert not list(tmp_path.iterdir())
        os.pwrite(writer.fileno(), b"secret", 0)
        assert os.pread(reader.fileno(), 100, 0) == b"secret"
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.pwrite(reader.fileno(), b"other", 0)
        assert stat.S_IMODE(os.fstat(reader.fileno()).st_mode) == 0o600
        assert not os.get_inheritable(writer.fileno())
        assert not os.get_inheritable(reader.fileno())


def test_without_proc_a_file_on_the_disk_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("wsgi_async.system.private_files._path", lambda file: "/nowhere")
    with private_path(b"secret") as path:
        assert Path(path).parent == tmp_path


def test_what_the_application_forks_does_not_have_it() -> None:
    with private_path(b"secret") as path:
        inode = os.stat(path).st_ino
        pid = os.fork()
        if not pid:
            found = [number for number in range(3, 256) if _inode(number) == inode]
            os._exit(len(found))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _inode(number: int) -> int:
    try:
        return os.fstat(number).st_ino
    except OSError:
        return 0
