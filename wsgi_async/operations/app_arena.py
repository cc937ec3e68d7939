"""Where the figures of the application are: memory that outlives every process that counts in it.

A file without a name (``system/private_files.py``), made by the parent before it forks, and sparse:
what nobody has written takes no memory. In it are

* a head: who has which area, and which of two places is in force;
* two places for what those have left who are gone, of which the other one is written;
* an area for each process that counts, with a record for each of its samples.

Whoever begins to count claims an area, whatever process it is: one that serves, the loader of
``--preload``, or one that the application has forked. What it writes there needs no lock, and is
there when it is not, however it has ended: nothing is handed over at an end, so no end can come too
early for it. The areas of the dead are folded into what is left by whoever reads, or by who needs
room. That is done under a POSIX record lock, which ends with the process that holds it, and comes
into force by one word; who is killed in the middle of it has done nothing.

Nothing here knows what is in a record. The parent never reads one.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from wsgi_async.system.inodes import inode_of
from wsgi_async.system.private_files import shared_file

from .app_records import Area, Record, pack, read_area, unpack

__all__ = ["Arena", "Fold", "Snapshot"]

AREAS = 128
"""Processes that count at once. Others are served as well, and not counted."""

AREA_SIZE = 4 << 20
"""Bytes of samples of a process: some 20 thousand of them."""

LEFT_SIZE = 16 << 20
"""Bytes of what is left of all who are gone."""

CLAIMING = 2.0
"""Seconds to wait for an area, at most: somebody may have been stopped in the middle of a fold."""

_UNIT = 65536
"""Mappings begin at a multiple of it, on every machine."""

_TURN, _CLAIMS, _REFUSED, _TABLE = 0, 1, 2, 8
"""Words of the head: how often there was a fold, how often an area was claimed, and samples without
room; then the table."""

_PID, _BIRTH, _CLAIM, _OWN_REFUSED, _ROW = 0, 1, 2, 3, 4
"""Words of a row of the table. Where the pid is 0 the area is free."""

_LEFT = struct.Struct("=QQ")
"""Before what is left: how many bytes, and how many claims, which stand between."""


Fold = Callable[
    [Iterable[Record], Sequence[tuple[int, Iterable[Record]]], int], tuple[Iterable[Record], int]
]
"""Makes one set of records of what is left and what the dead had, the newest first, each with its
pid. It is told how many bytes they may have, and returns how many records had no room."""


class Snapshot(NamedTuple):
    """All records of about one moment."""

    living: list[tuple[int, Iterable[Record]]]
    """Each process that counts, by its pid, the newest first."""
    left: Iterable[Record]
    """What is left of the others."""
    refused: int
    """Samples for which there was no room."""


class _Owner(NamedTuple):
    """A row of the table."""

    area: int
    pid: int
    birth: int
    claim: int


class Arena:
    """The memory, in whatever process. One thread at a time.

    :param fold: see :data:`Fold`.
    :param areas: how many processes it is for.
    :param area_size: bytes of each, a multiple of 64 K.
    :param left_size: bytes of what is left, a multiple of 64 K.
    :raises OSError: there is no such memory.
    """

    def __init__(
        self,
        fold: Fold,
        *,
        areas: int = AREAS,
        area_size: int = AREA_SIZE,
        left_size: int = LEFT_SIZE,
    ) -> None:
        self.capacity = areas
        self._fold = fold
        self._area_size = area_size
        self._left_size = left_size
        self._file = _unnamed_file(_UNIT + 2 * left_size + areas * area_size)
        self._inode = inode_of(self._file)
        self._words = memoryview(mmap.mmap(self._file, _UNIT)).cast("Q")

    def fileno(self) -> int:
        return self._file

    def close(self) -> None:
        """This process's descriptor; whoever counts goes on."""
        if inode_of(self._file) == self._inode:
            os.close(self._file)
        self._inode = None

    # --- counting ------------------------------------------------------------------------------

    def claim(self, patience: float = CLAIMING) -> Area | None:
        """An area for this process, until it ends. None where there is none: all are taken, or
        the application has closed the descriptor.

        :param patience: seconds to wait for others that claim, or read.
        """
        with contextlib.suppress(OSError), self._locked(patience) as is_mine:
            if is_mine:
                self._free_folded()
                index = self._free_index()
                if index is None:
                    with contextlib.suppress(Exception):  # it is no fault of who wants to count
                        self._bury()
                    index = self._free_index()
                if index is not None:
                    return self._take(index)
        return None

    def refuse(self) -> None:
        """There is a sample of a process without an area. Not exact where several say so."""
        self._words[_REFUSED] += 1

    def _free_index(self) -> int | None:
        for index in range(self.capacity):
            if not self._words[_TABLE + index * _ROW + _PID]:
                return index
        return None

    def _take(self, index: int) -> Area:
        memory = mmap.mmap(self._file, self._area_size, offset=self._offset(index))
        with contextlib.suppress(AttributeError, OSError):  # Linux; else its pages are kept
            memory.madvise(mmap.MADV_REMOVE)
        row = _TABLE + index * _ROW
        area = Area(memory, self._words[row + _OWN_REFUSED : row + _OWN_REFUSED + 1])
        self._words[_CLAIMS] += 1
        pid = os.getpid()
        self._words[row + _OWN_REFUSED] = 0
        self._words[row + _CLAIM] = self._words[_CLAIMS]
        self._words[row + _BIRTH] = _birth(pid) or 0
        self._words[row + _PID] = pid  # last: until then it is free
        return area

    # --- reading -------------------------------------------------------------------------------

    def snapshot(self, patience: float = 0.3) -> Snapshot:
        """All there is, once what the dead had is folded.

        :param patience: seconds to wait for others that fold. After that there is no fold.
        :raises OSError: it cannot be read.
        """
        with self._locked(patience) as is_mine:
            if is_mine:
                with contextlib.suppress(OSError):  # no room for it: read as it is
                    self._free_folded()
                    self._bury()
            while True:
                turn = self._words[_TURN]
                found = self._read()
                if is_mine or turn == self._words[_TURN]:
                    return found

    def _read(self) -> Snapshot:
        left, folded = self._left(), self._folded()
        owners = [owner for owner in self._owners() if owner.claim not in folded]
        refused = self._words[_REFUSED]
        for owner in owners:
            refused += self._words[_TABLE + owner.area * _ROW + _OWN_REFUSED]
        living = [(owner.pid, self._records(owner)) for owner in owners]
        return Snapshot(living, left, refused)

    def _owners(self) -> list[_Owner]:
        """The areas that are taken, the newest claim first."""
        rows = (
            (index, self._words[_TABLE + index * _ROW : _TABLE + (index + 1) * _ROW].tolist())
            for index in range(self.capacity)
        )
        owners = [_Owner(index, row[_PID], row[_BIRTH], row[_CLAIM]) for index, row in rows]
        return sorted((o for o in owners if o.pid), key=lambda owner: -owner.claim)

    def _records(self, owner: _Owner) -> Iterable[Record]:
        return read_area(self._file, self._offset(owner.area), self._area_size)

    def _left(self) -> Iterable[Record]:
        """What is left of the dead."""
        turn = self._words[_TURN]
        if not turn:
            return ()
        offset = self._left_offset(turn)
        size, count = _LEFT.unpack(os.pread(self._file, _LEFT.size, offset))
        begin = _LEFT.size + 8 * min(count, self.capacity)
        return unpack(os.pread(self._file, min(size, self._left_size), offset + begin))

    def _folded(self) -> set[int]:
        """The claims of those that were folded last: what their areas have is left already."""
        turn = self._words[_TURN]
        if not turn:
            return set()
        head = os.pread(self._file, _LEFT.size + 8 * self.capacity, self._left_offset(turn))
        _, count = _LEFT.unpack_from(head)
        return set(struct.unpack_from(f"={min(count, self.capacity)}Q", head, _LEFT.size))

    def _offset(self, index: int) -> int:
        return _UNIT + 2 * self._left_size + index * self._area_size

    def _left_offset(self, turn: int) -> int:
        return _UNIT + turn % 2 * self._left_size

    # --- folding, under the lock ---------------------------------------------------------------

    def _bury(self) -> None:
        """Fold what the dead had into what is left."""
        dead = [owner for owner in self._owners() if _birth(owner.pid) != owner.birth]
        if not dead:
            return
        head = _LEFT.size + 8 * len(dead)
        records, lost = self._fold(
            self._left(),
            [(owner.pid, self._records(owner)) for owner in dead],
            self._left_size - head,
        )
        data = b"".join(map(pack, records))
        claims = [owner.claim for owner in dead]
        head_data = _LEFT.pack(len(data), len(dead)) + struct.pack(f"={len(dead)}Q", *claims)
        turn = self._words[_TURN] + 1
        _write_all(self._file, head_data + data, self._left_offset(turn))
        self._words[_TURN] = turn  # from now on it is what is left
        self._words[_REFUSED] += lost
        self._free_folded()

    def _free_folded(self) -> None:
        """Free the areas that are in what is left. Who was to do it may have been killed."""
        folded = self._folded()
        for owner in self._owners() if folded else ():
            if owner.claim in folded:
                row = _TABLE + owner.area * _ROW
                self._words[row + _PID] = 0
                self._words[_REFUSED] += self._words[row + _OWN_REFUSED]

    @contextlib.contextmanager
    def _locked(self, patience: float) -> Iterator[bool]:
        """Whether this process has the lock in this block. Nothing in it may close a descriptor of
        the file, a mapping's included: that would give the lock back (fcntl(2))."""
        until = time.monotonic() + patience
        while not (is_mine := self._try_to_lock()) and time.monotonic() < until:
            time.sleep(0.002)
        try:
            yield is_mine
        finally:
            if is_mine:
                fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _try_to_lock(self) -> bool:
        if inode_of(self._file) != self._inode:
            raise OSError("the application has closed the descriptor")
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        return True


def _unnamed_file(size: int) -> int:
    """Its descriptor."""
    writer, reader = shared_file()
    with writer, reader:
        os.ftruncate(writer.fileno(), size)
        return os.dup(writer.fileno())


def _write_all(number: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(number, view, offset)
        view, offset = view[written:], offset + written


def _birth(pid: int) -> int | None:
    """When that process began, in the system's ticks (proc(5)); 0 where the system does not tell;
    None where there is no such process, or it has ended and waits to be reaped."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return None if fields[0] in (b"Z", b"X") else int(fields[19])
    except (OSError, IndexError, ValueError):
        if os.path.exists("/proc/self/stat"):
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return 0
