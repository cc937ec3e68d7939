"""From the parent to its processes: the newest certificates, and a key that only root may read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from certificates import Pair, authority

from wsgi_async.system.forks import keeping
from wsgi_async.tls.inherited import SharedContexts
from wsgi_async.tls.material import Material, PairBytes
from wsgi_async.tls.settings import PairFiles, TLSSettings
from wsgi_async.tls.shelf import Shelf

OLD, NEW = (Material((PairBytes(name, b"key"),), "Paßwort") for name in (b"old", b"new"))


def begin_process(job: Callable[[], object], *, is_ours: bool = True) -> int:
    """Have a new process assert something: its number."""
    if is_ours:
        with keeping():
            pid = os.fork()
    else:
        pid = os.fork()
    if not pid:
        code = 1
        try:
            job()
            code = 0
        finally:
            os._exit(code)
    return pid


def end_process(pid: int) -> None:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def in_process(job: Callable[[], object], *, is_ours: bool = True) -> None:
    end_process(begin_process(job, is_ours=is_ours))


def expect(found: object, expected: object) -> None:
    assert found == expected


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return authority().issue(tmp_path, "a.example")


def share(pair: Pair) -> tuple[SharedContexts, list[str]]:
    said: list[str] = []
    files = PairFiles(str(pair.certificate), str(pair.key))
    return SharedContexts(TLSSettings(pairs=(files,)), said.append), said


def test_a_process_takes_what_is_newer_than_what_it_has() -> None:
    shelf = Shelf()
    shelf.put(OLD)
    assert shelf.take() is None  # it is this process's own
    write, read = (os.pipe() for _ in range(2))

    def job() -> None:
        shelf.inherit()
        assert shelf.take() is None
        os.write(read[1], b".")
        os.read(write[0], 1)
        assert shelf.take() == NEW
        assert shelf.take() is None
        shelf.forget()
        assert shelf.take() == NEW

    pid = begin_process(job)
    os.read(read[0], 1)
    shelf.put(NEW)
    os.write(write[1], b".")
    end_process(pid)
    for descriptor in (*write, *read):
        os.close(descriptor)


def test_what_is_being_put_there_is_not_taken() -> None:
    shelf = Shelf()
    shelf.put(OLD)
    shelf.forget()
    os.pwrite(shelf._writer.fileno(), b"half of something", 10)
    assert shelf.take() is None
    shelf.put(NEW)
    shelf.forget()
    assert shelf.take() == NEW


def test_nobody_else_has_it() -> None:
    shelf = Shelf()
    shelf.put(OLD)
    numbers = [file.fileno() for file in (shelf._reader, shelf._writer)]
    inodes = {os.fstat(number).st_ino for number in numbers}
    # What the application forks has something else in its place.
    in_process(
        lambda: expect([n for n in numbers if os.fstat(n).st_ino in inodes], []), is_ours=False
    )
    look = f"import os\nfor number in {numbers}:\n os.fstat(number)"
    found = subprocess.run(
        [sys.executable, "-c", look], check=False, close_fds=False, capture_output=True, text=True
    )
    assert "Bad file descriptor" in found.stderr


def test_what_a_process_that_serves_forks_has_it_neither() -> None:
    shelf = Shelf()
    shelf.put(OLD)
    inode = os.fstat(shelf._reader.fileno()).st_ino

    def job() -> None:
        shelf.inherit()
        number = shelf._reader.fileno()
        in_process(lambda: expect(os.fstat(number).st_ino == inode, False), is_ours=False)
        assert os.fstat(number).st_ino == inode

    in_process(job)


def test_it_is_closed_with_the_last_who_knows_it() -> None:
    # A reload with other options has another one.
    shelf = Shelf()
    numbers = [file.fileno() for file in (shelf._reader, shelf._writer)]
    del shelf
    for number in numbers:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)


def test_a_process_shows_what_its_parent_shows(pair: Pair) -> None:
    shared, said = share(pair)

    def job() -> None:
        own = shared.inherit()
        assert own.contexts is shared.contexts  # sessions can be resumed in all processes
        assert not own.look()

    in_process(job)
    assert not shared.look()
    assert said == []


def test_a_process_of_a_loader_takes_what_the_parent_has_found_meanwhile(
    pair: Pair, tmp_path: Path
) -> None:
    shared, _ = share(pair)
    tell, hear = os.pipe()
    with keeping():
        loader = os.fork()
    if not loader:
        code = 1
        try:
            os.read(tell, 1)
            own = shared.inherit()
            assert own.contexts.certificates[0].names == ("b.example",)
            assert not own.look()
            code = 0
        finally:
            os._exit(code)
    pair.replace(authority().issue(tmp_path, "b.example"))
    assert shared.look()
    os.write(hear, b".")
    assert os.waitstatus_to_exitcode(os.waitpid(loader, 0)[1]) == 0
    os.close(tell)
    os.close(hear)


def test_what_a_reload_finds_is_told_with_the_next_look(pair: Pair, tmp_path: Path) -> None:
    shared, _ = share(pair)
    shared.reread()
    assert not shared.look()
    pair.replace(authority().issue(tmp_path, "b.example"))
    shared.reread()
    assert shared.look()
    assert not shared.look()


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes somebody else")
def test_a_key_that_only_root_may_read_is_used_by_somebody_else(pair: Pair, tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o700)
    shared, _ = share(pair)
    new = authority().issue(tmp_path, "b.example")

    def job() -> None:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        with pytest.raises(PermissionError):
            pair.key.read_bytes()
        own = shared.inherit()
        assert own.contexts.certificates[0].names == ("a.example",)
        own._shelf.forget()
        assert own.look()  # made afresh, as this user
        assert own.contexts.certificates[0].names == ("a.example",)

    in_process(job)
    pair.replace(new)
    assert shared.look()


def test_a_process_whose_descriptors_are_closed_goes_on(pair: Pair) -> None:
    # As daemons do that close all there are.
    shared, said = share(pair)

    def job() -> None:
        own = shared.inherit()
        os.close(shared._shelf._reader.fileno())
        assert not own.look()
        assert not own.look()
        [line] = said
        assert line.startswith("Certificates are not renewed in this process")

    in_process(job)
