"""Bytes in memory, then in a file, within budgets; and nothing left over afterwards."""

from __future__ import annotations

import errno
import io
import os
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from threadline import descriptors

from wsgi_async.buffers import reading
from wsgi_async.buffers.budgets import Budget, Budgets
from wsgi_async.buffers.reading import can_read_nowait, read_nowait
from wsgi_async.buffers.spool import (
    JOINED_PART,
    SMALL_PART,
    BodySpool,
    Part,
    SourceFile,
    SpoolFile,
    append_part,
)
from wsgi_async.errors import StorageExhausted


class Rig:
    """Makes budgets, which have to be empty again in the end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.made: list[Budgets] = []

    def budgets(self, *, memory: int = 10**6, disk: int = 10**6, files: int = 10) -> Budgets:
        budgets = Budgets(memory=memory, disk=disk, files=files, directory=str(self.directory))
        self.made.append(budgets)
        return budgets


def used(budgets: Budgets) -> tuple[int, int, int]:
    return budgets.memory.used, budgets.disk.used, budgets.files.used


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    before = descriptors()
    rig = Rig(tmp_path)
    yield rig
    for budgets in rig.made:
        assert used(budgets) == (0, 0, 0)
        assert budgets.response_disk.used == 0
    assert not descriptors() - before
    assert list(tmp_path.iterdir()) == [], "temporary files have no name"


# --- budgets -------------------------------------------------------------------------------------


def test_a_budget_gives_all_or_nothing() -> None:
    budget = Budget(10)
    assert budget.reserve(6)
    assert not budget.reserve(5)
    assert budget.used == 6
    assert budget.reserve(4)
    assert not budget.reserve(1)
    assert budget.reserve(0)
    budget.release(10)
    assert (budget.used, budget.peak) == (0, 10)


def test_many_threads_never_pass_the_limit() -> None:
    budget = Budget(7)
    over = []

    def work() -> None:
        for _ in range(5000):
            if budget.reserve(3):
                if budget.used > 7:
                    over.append(budget.used)
                budget.release(3)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (budget.used, over) == (0, [])
    assert budget.peak <= 7


def test_a_directory_where_files_can_be_made(rig: Rig) -> None:
    budgets = rig.budgets()
    assert budgets.probe_disk() is None
    assert budgets.has_disk


def test_a_directory_where_no_file_can_be_made(rig: Rig) -> None:
    rig.directory = rig.directory / "gone"
    budgets = rig.budgets()
    rig.directory = rig.directory.parent
    assert isinstance(budgets.probe_disk(), OSError)
    assert not budgets.has_disk


# --- SpoolFile and SourceFile --------------------------------------------------------------------


def test_a_file_grows_at_its_end_and_is_read_anywhere(rig: Rig) -> None:
    budgets = rig.budgets()
    file = SpoolFile(budgets, 100)
    file.append(b"hello ")
    file.append(memoryview(b"world"))
    assert file.size == 11
    assert os.pread(file.fileno(), 5, 6) == b"world"
    assert used(budgets) == (0, 11, 1)
    file.empty()
    assert (file.size, used(budgets)) == (0, (0, 0, 1))
    assert os.fstat(file.fileno()).st_size == 0
    file.append(b"again")
    assert os.pread(file.fileno(), 100, 0) == b"again"
    file.close()
    assert used(budgets) == (0, 0, 0)
    file.close()


@pytest.mark.parametrize(("limit", "disk"), [(10, 100), (100, 10)])
def test_at_its_bound_nothing_is_written(rig: Rig, limit: int, disk: int) -> None:
    budgets = rig.budgets(disk=disk)
    file = SpoolFile(budgets, limit)
    file.append(b"x" * 8)
    with pytest.raises(StorageExhausted) as caught:
        file.append(b"y" * 3)
    assert caught.value.errno == errno.EDQUOT
    assert (file.size, budgets.disk.used) == (8, 8)
    file.append(b"z" * 2)
    assert os.pread(file.fileno(), 100, 0) == b"xxxxxxxxzz"
    file.close()


def test_responses_leave_half_of_the_disk_to_uploads(rig: Rig) -> None:
    budgets = rig.budgets(disk=100)
    responses = [SpoolFile(budgets, 1000, for_response=True) for _ in range(2)]
    responses[0].append(b"x" * 30)
    responses[1].append(b"x" * 20)
    for file in responses:
        with pytest.raises(StorageExhausted):
            file.append(b"y")
    upload = SpoolFile(budgets, 1000)
    upload.append(b"u" * 50)
    with pytest.raises(StorageExhausted):
        upload.append(b"u")
    responses[0].empty()
    upload.append(b"u" * 10)
    with pytest.raises(StorageExhausted):
        responses[0].append(b"y" * 21)  # what uploads have taken is gone for responses too
    assert (budgets.disk.used, budgets.response_disk.used) == (80, 20)
    responses[0].append(b"y" * 20)
    assert (budgets.disk.used, budgets.response_disk.used) == (100, 40)
    for file in (*responses, upload):
        file.close()


def test_a_file_that_may_hold_nothing_gives_its_place_back_too(rig: Rig) -> None:
    budgets = rig.budgets()
    file = SpoolFile(budgets, 0)
    with pytest.raises(StorageExhausted):
        file.append(b"x")
    assert budgets.files.used == 1
    for _ in range(2):
        file.close()
        assert used(budgets) == (0, 0, 0)


def test_without_room_for_a_file_none_is_opened(rig: Rig) -> None:
    budgets = rig.budgets(files=0)
    with pytest.raises(StorageExhausted):
        SpoolFile(budgets, 100)
    with pytest.raises(StorageExhausted):
        SourceFile(budgets, 0)


def test_a_file_that_cannot_be_made_costs_no_budget(rig: Rig) -> None:
    rig.directory = rig.directory / "gone"
    budgets = rig.budgets()
    rig.directory = rig.directory.parent
    with pytest.raises(FileNotFoundError):
        SpoolFile(budgets, 100)


def test_a_write_that_is_cut_into_pieces_by_the_system(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:3], offset))
    file = SpoolFile(rig.budgets(), 100)
    file.append(b"0123456789")
    assert os.pread(file.fileno(), 100, 0) == b"0123456789"
    file.close()


def test_a_full_disk_is_the_systems_own_error_and_gives_the_budget_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite = os.pwrite

    def fill(descriptor: int, data: Any, offset: int) -> int:
        if offset >= 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(descriptor, data[: 5 - offset], offset)

    budgets = rig.budgets()
    file = SpoolFile(budgets, 100, for_response=True)
    monkeypatch.setattr(os, "pwrite", fill)
    with pytest.raises(OSError, match="No space left") as caught:
        file.append(b"0123456789")
    assert not isinstance(caught.value, StorageExhausted)
    assert used(budgets) == (0, 0, 1)
    assert budgets.response_disk.used == 0
    assert os.fstat(file.fileno()).st_size == 0, "what it took is given back to others"
    file.close()


def test_a_write_that_writes_nothing_is_a_full_disk(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: 0)
    file = SpoolFile(rig.budgets(), 100)
    with pytest.raises(OSError, match="No space left"):
        file.append(b"0123456789")
    file.close()


def test_a_file_that_does_not_close_in_order_gives_everything_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an application wrote to ``wsgi.input`` is still in its buffer, and the disk is full."""
    budgets = rig.budgets()
    file = SpoolFile(budgets, 100)
    file.append(b"0123456789")
    with open("/dev/full", "wb", buffering=0) as full:
        os.dup2(full.fileno(), file.fileno())
    file.file.write(b"x")
    file.close()
    assert used(budgets) == (0, 0, 0)
    detached = SpoolFile(budgets, 100)
    raw = detached.file.detach()
    detached.close()
    raw.close()


def test_a_duplicate_that_does_not_close_in_order_gives_its_place_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets = rig.budgets()
    source = SourceFile(budgets, 0)
    close = os.close

    def fail(descriptor: int) -> None:
        close(descriptor)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", fail)
        source.close()
    assert budgets.files.used == 0


def test_a_file_of_the_applications_is_duplicated(rig: Rig, tmp_path: Path) -> None:
    budgets = rig.budgets()
    path = tmp_path / "data"
    path.write_bytes(b"hello")
    with path.open("rb") as file:
        source = SourceFile(budgets, file.fileno())
    path.unlink()
    assert os.pread(source.fileno(), 10, 0) == b"hello"
    assert budgets.files.used == 1
    source.close()


def test_a_closed_descriptor_is_not_duplicated(rig: Rig) -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        SourceFile(rig.budgets(), 10**6)


# --- BodySpool -----------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [[], [b"one"], [b"one", b"two"], [b"x" * 100]])
def test_a_small_body_stays_in_memory(rig: Rig, parts: list[bytes]) -> None:
    budgets = rig.budgets()
    spool = BodySpool(budgets, 100, 1000)
    for part in parts:
        spool.append(part)
    size = sum(map(len, parts))
    assert spool.size == size
    assert used(budgets) == (size, 0, 0)
    file = spool.open()
    assert type(file) is io.BytesIO
    assert file.read() == b"".join(parts)
    spool.close()


def test_a_body_in_tiny_parts_takes_little_more_than_its_size(rig: Rig) -> None:
    budgets = rig.budgets()
    data = bytes(range(250)) * 800
    spool = BodySpool(budgets, len(data), 1000)
    tracemalloc.start()
    try:
        for start in range(0, len(data), 2):
            spool.append(data[start : start + 2])
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1.25 * len(data)
    assert used(budgets) == (len(data), 0, 0)
    assert spool.open().read() == data
    spool.close()


def test_tiny_parts_move_to_the_file_in_order(rig: Rig) -> None:
    data = bytes(range(250)) * 4
    spool = BodySpool(rig.budgets(), 500, 1000)
    for start in range(0, len(data), 3):
        spool.append(data[start : start + 3])
    assert spool.open().read() == data
    spool.close()


def test_parts_are_joined_while_they_are_small() -> None:
    big, small = b"b" * SMALL_PART, b"s" * (SMALL_PART - 1)
    parts: list[Part] = []
    arrived = [small, small, big, b"1", b"2", big, b"3", *[small] * 17, b"4"]
    for part in arrived:
        append_part(parts, part)
    assert b"".join(parts) == b"".join(arrived)
    sizes = [len(small) * 2, len(big), 2, len(big), 1 + len(small) * 17, 1]
    assert sizes[4] > JOINED_PART > sizes[4] - len(small)
    assert [len(part) for part in parts] == sizes
    assert parts[1] is parts[3] is big, "large ones are not copied"


def test_one_part_alone_is_not_copied() -> None:
    parts: list[Part] = [memoryview(b"rest of one that was read in part")]
    for number in range(1, 4):
        only = b"only"
        append_part(parts, only)
        assert len(parts) == 2
        assert (parts[1] is only) is (number == 1)
    assert parts[1] == b"only" * 3


def test_a_larger_body_moves_to_a_file_as_a_whole(rig: Rig) -> None:
    budgets = rig.budgets()
    spool = BodySpool(budgets, 100, 1000)
    spool.append(b"a" * 60)
    spool.append(b"b" * 41)
    assert used(budgets) == (0, 101, 1)
    spool.append(b"c\n" * 100)
    assert (spool.size, used(budgets)) == (301, (0, 301, 1))
    file = spool.open()
    assert file.read(60) == b"a" * 60
    assert file.readline() == b"b" * 41 + b"c\n"
    assert file.readlines() == [b"c\n"] * 99
    assert file.read() == b""
    spool.close()
    assert file.closed
    spool.close()


def test_the_application_may_close_its_input(rig: Rig) -> None:
    for size in (10, 200):
        spool = BodySpool(rig.budgets(), 100, 1000)
        spool.append(b"x" * size)
        spool.open().close()
        spool.close()


def test_without_memory_a_body_goes_straight_to_the_file(rig: Rig) -> None:
    budgets = rig.budgets(memory=5)
    spool = BodySpool(budgets, 100, 1000)
    spool.append(b"abc")
    spool.append(b"def")
    assert used(budgets) == (0, 6, 1)
    assert spool.open().read() == b"abcdef"
    spool.close()


def test_without_a_disk_a_body_stays_in_memory(rig: Rig) -> None:
    budgets = rig.budgets(memory=1000)
    budgets.has_disk = False
    spool = BodySpool(budgets, 100, 10_000)
    spool.append(b"x" * 900)
    assert used(budgets) == (900, 0, 0)
    with pytest.raises(StorageExhausted):
        spool.append(b"y" * 200)
    spool.close()


@pytest.mark.parametrize(
    ("bounds", "limit"),
    [({}, 150), ({"disk": 150}, 1000), ({"disk": 50}, 1000), ({"files": 0}, 1000)],
)
def test_beyond_a_bound_a_body_is_refused(rig: Rig, bounds: dict[str, int], limit: int) -> None:
    budgets = rig.budgets(**bounds)
    spool = BodySpool(budgets, 100, limit)
    spool.append(b"x" * 90)
    for _ in range(2):
        with pytest.raises(StorageExhausted):
            spool.append(b"y" * 90)
    spool.close()


def test_a_disk_that_fails_while_a_body_moves_to_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", fail)
    spool = BodySpool(rig.budgets(), 100, 1000)
    spool.append(b"x" * 90)
    with pytest.raises(OSError, match="No space left"):
        spool.append(b"y" * 90)
    spool.close()


# --- read_nowait ---------------------------------------------------------------------------------

needs_nowait = pytest.mark.skipif(
    not hasattr(os, "RWF_NOWAIT"), reason="preadv2 with RWF_NOWAIT is of Linux"
)


@needs_nowait
def test_what_is_in_the_page_cache_is_read_at_once(rig: Rig) -> None:
    file = SpoolFile(rig.budgets(), 100)
    file.append(b"0123456789")
    assert read_nowait(file.fileno(), 4, 3) in (b"3456", None)  # None: not on this file system
    assert read_nowait(file.fileno(), 100, 8) in (b"89", None)
    assert read_nowait(file.fileno(), 100, 10) in (b"", None)
    file.close()


@needs_nowait
def test_whether_a_byte_is_in_the_page_cache_is_told_as_by_reading(rig: Rig) -> None:
    file = SpoolFile(rig.budgets(), 100)
    file.append(b"0123456789")
    known = read_nowait(file.fileno(), 1, 0) is not None
    assert [can_read_nowait(file.fileno(), offset) for offset in (0, 9, 10)] == [
        known,
        known,
        False,
    ]
    assert not can_read_nowait(10**6, 0)
    file.close()


@needs_nowait
@pytest.mark.parametrize("code", ["EAGAIN", "EOPNOTSUPP", "EINVAL", "ENOSYS"])
def test_where_it_would_wait_it_says_so(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    def refuse(*args: object) -> int:
        raise OSError(getattr(errno, code), code)

    monkeypatch.setattr(os, "preadv", refuse)
    assert read_nowait(0, 10, 0) is None


@needs_nowait
def test_a_disk_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> int:
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(OSError, match="I/O error"):
        read_nowait(0, 10, 0)


def test_without_preadv2_only_an_io_thread_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_NOWAIT", 0)
    assert read_nowait(0, 10, 0) is None
