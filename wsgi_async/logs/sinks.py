"""Where the lines of a log go: descriptors that may take nothing for a while, or for ever.

A pipe that nobody reads blocks who writes to it. Nobody but its owner may set O_NONBLOCK on it, as
that would change it for every process that has it; but poll(2) says when a pipe takes PIPE_BUF
bytes at once, and so it does for terminals and sockets. So no more than that is written at a time,
and only then. A regular file always takes what it is given.
"""

from __future__ import annotations

import math
import os
import select
import stat
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["OVERHEAD", "Drops", "Outlet", "Sink", "wait_for_any"]

MAX_HELD = 4 * 1024 * 1024
"""Bytes that wait for one log, at most."""

OVERHEAD = 64
"""Bytes that a record takes in memory beyond its own."""

LARGEST_WRITE = 256 * 1024
"""Bytes that are written to a file at once, unless one record is longer."""

AT_ONCE = select.PIPE_BUF
"""Bytes that what is no file takes at once where it takes any (poll(2), pipe(7))."""

TELL_EVERY = 60.0
"""Seconds between two reports of a log of which records are dropped all the time."""

TOO_SLOW = "nobody reads it fast enough"


class Drops:
    """Records of one log that were dropped, and when to say so: at once, once a minute where it
    goes on, and when it is over.

    :param name: what to call the log in a message, such as ``access log``.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0
        """Those that nobody has been told of."""
        self.total = 0
        """All that there ever were."""
        self.why = ""
        """Why the last one was."""
        self._told_at = -math.inf
        self._is_behind = False

    def add(self, records: int, why: str, *, is_behind: bool = False) -> None:
        """Count some.

        :param is_behind: whether it is for those that wait, so that it is over once none does.
        """
        self.count += records
        self.total += records
        self.why = why
        self._is_behind = self._is_behind or is_behind

    def take(self, now: float, *, is_over: bool, can_wait: bool) -> int:
        """How many to tell of now. They are told of from then on.

        :param is_over: whether nothing waits any more.
        :param can_wait: whether there is a better time than now, if it is not over.
        """
        is_over = is_over and self._is_behind
        if not self.count or not (is_over or (now - self._told_at >= TELL_EVERY and not can_wait)):
            return 0
        self._told_at = now
        self._is_behind = self._is_behind and not is_over
        return self.take_all()

    def take_all(self) -> int:
        """Those that nobody has been told of, to tell of them now."""
        count, self.count = self.count, 0
        return count


class _Switch(NamedTuple):
    """Stands among records: what comes after it is for another file."""

    descriptor: int


class Outlet:
    """The records of one log that wait. It has no lock:
    :class:`~wsgi_async.logs.thread.LogWriter`, which has one, says which method needs it.

    :param name: see :class:`Drops`.
    :param tells: whether it is the log in which is said what was dropped.
    """

    descriptor = -1
    """What it is written to; negative where there is nothing at the moment."""
    is_file = False
    """Whether it takes in any case what it is given."""
    largest_write = AT_ONCE
    """Bytes that are written at once, unless one record is longer."""
    max_held = MAX_HELD
    """Bytes that wait, at most."""

    def __init__(self, name: str, *, tells: bool = False) -> None:
        self.drops = Drops(name)
        self.tells = tells
        self.is_taking = True
        """Whether it took something when last it was to."""
        self._waiting: deque[bytes | _Switch] = deque()
        self._held = 0
        self._rest = b""
        """What is to be written next."""
        self._records = 0
        """How many records `_rest` is of."""
        self._has_begun = False
        """Whether a part of it is written already."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting and not self._rest

    @property
    def is_gone(self) -> bool:
        """Whether there is no hope that it takes something soon: who ends does not wait for it."""
        return False

    @property
    def refusal(self) -> str:
        """Why it takes nothing, where that is so."""
        return TOO_SLOW

    def put(self, record: bytes) -> None:
        """Have a record wait, or drop it."""
        size = len(record) + OVERHEAD
        if self._held + size > self.max_held and self._waiting:
            self.drops.add(1, self.refusal, is_behind=True)
            return
        self._held += size
        self._waiting.append(record)

    def drop_all(self) -> None:
        """Drop what waits, but for what is written in part."""
        records = 0
        while self._waiting:
            item = self._waiting.popleft()
            if isinstance(item, _Switch):
                self._switch(item)
            else:
                records += 1
        self._held = 0
        if not self._has_begun:
            records += self._records if self._rest else 0
            self._rest = b""
        self.drops.add(records, self.refusal, is_behind=True)

    def take_drops(self, now: float) -> int:
        """How many dropped records to tell of now."""
        # One that is empty for all was dropped is over nothing: what it is told would be the next.
        is_over = self.is_empty and self.is_taking
        return self.drops.take(now, is_over=is_over, can_wait=self.tells and not is_over)

    def forget(self) -> None:
        """Leave all that waits to another process."""
        for item in self._waiting:
            if isinstance(item, _Switch):
                os.close(item.descriptor)
        self._waiting = deque()  # a thread that this process does not have may be at the old one
        self._held = 0
        self._rest = b""

    def takes_more(self, timeout: float = 0.0) -> bool:
        """Whether a write would not block.

        :param timeout: seconds to wait for that, at most.
        """
        self.is_taking = self.is_file or wait_for_any([self], timeout)
        return self.is_taking

    def take(self) -> bool:
        """Decide what is to be written next. False where there is nothing."""
        if self._rest:
            return True
        waiting, size = self._waiting, 0
        self._records, self._has_begun = 0, False
        if not waiting:
            return False
        if len(waiting) == 1 and isinstance(record := waiting[0], bytes):  # where no thread writes
            waiting.popleft()
            self._rest = record
            self._held -= len(record) + OVERHEAD
            self._records = 1
            return True
        limit = self.largest_write
        records: list[bytes] = []
        while waiting:
            record = waiting[0]
            if isinstance(record, _Switch):
                if records:
                    break
                self._switch(record)
            else:
                if records and size + len(record) > limit:
                    break
                size += len(record)
                records.append(record)
            waiting.popleft()
        self._held -= size + OVERHEAD * len(records)
        self._rest = b"".join(records)
        self._records = len(records)
        return bool(records)

    def write(self, *, whole: bool = False) -> OSError | None:
        """Write once what was taken; it must take more, or this waits.

        :param whole: write all of it, also if that has to wait.
        :returns: why it cannot be written; it is forgotten then. See :meth:`failed`.
        """
        raise NotImplementedError

    def failed(self, error: OSError) -> None:
        """Count what :meth:`write` could not write: a reader has gone, a disk is full."""
        self.drops.add(self._records, error.strerror or str(error))

    def close(self) -> None:
        """Close the descriptor."""
        raise NotImplementedError

    def _switch(self, switch: _Switch) -> None:
        raise NotImplementedError


class Sink(Outlet):
    """The descriptor of a log that is a file, or a stream such as a pipe.

    :param descriptor: it is this object's from now on.
    """

    def __init__(self, descriptor: int, name: str, *, tells: bool = False) -> None:
        super().__init__(name, tells=tells)
        self._is_torn = False
        """Whether what was written last is not the end of a line."""
        self.descriptor = descriptor
        self._look()

    def _look(self) -> None:
        self._identity, self.is_file = _look_at(self.descriptor)
        self.largest_write = LARGEST_WRITE if self.is_file else AT_ONCE
        self._is_torn = False

    @property
    def identity(self) -> tuple[int, int]:
        """What tells its file from others: device and inode."""
        return self._identity

    def switch(self, descriptor: int) -> None:
        """Have what is put from now on written to another file, by the same descriptor: not an
        earlier record, nor a part of one.

        :param descriptor: of that file; it is closed then.
        """
        self._waiting.append(_Switch(descriptor))

    def _switch(self, switch: _Switch) -> None:
        # At once for everybody, also for faulthandler, which was given the number.
        os.dup2(switch.descriptor, self.descriptor, inheritable=False)
        os.close(switch.descriptor)
        self._look()

    def renew(self, descriptors: Iterable[int]) -> None:
        """Take another descriptor where somebody has closed this one; where there is none, that of
        nothing.

        :param descriptors: those of the same file, perhaps; one that is becomes a copy.
        """
        if self._is(self.descriptor):
            return
        for other in descriptors:
            if self._is(other):
                self.descriptor = os.dup(other)
                return
        # Not the old one: its number may have come to mean a file of the application's.
        self.descriptor = os.open(os.devnull, os.O_WRONLY)

    def _is(self, descriptor: int) -> bool:
        try:
            return _look_at(descriptor)[0] == self._identity
        except OSError:
            return False

    def take(self) -> bool:
        has_rest = bool(self._rest)
        if not super().take():
            return False
        if self._is_torn and not has_rest:  # a full disk took a part: no record begins behind it
            self._rest = b"\n" + self._rest
        return True

    def write(self, *, whole: bool = False) -> OSError | None:
        piece = self._rest if whole or self.is_file else _piece(self._rest)
        try:
            written = os.write(self.descriptor, piece)
        except BlockingIOError:  # another process has set O_NONBLOCK on it
            if whole:
                self.takes_more(1.0)
            return None
        except OSError as error:
            if self._has_begun:  # a part of it is there
                self._records = self._rest.count(b"\n")
            self._rest = b""
            return error
        self.is_taking = self._has_begun = True
        self._is_torn = not piece.endswith(b"\n", 0, written)
        self._rest = self._rest[written:]
        return None

    def close(self) -> None:
        os.close(self.descriptor)


def _look_at(descriptor: int) -> tuple[tuple[int, int], bool]:
    """What tells a file from others, and whether it is a regular one."""
    found = os.fstat(descriptor)
    return (found.st_dev, found.st_ino), stat.S_ISREG(found.st_mode)


def wait_for_any(sinks: Iterable[Outlet], timeout: float) -> bool:
    """Wait until one of them takes more.

    :param timeout: seconds, at most.
    """
    poll = select.poll()
    for sink in sinks:
        if sink.is_file:
            return True
        if sink.descriptor >= 0:
            poll.register(sink.descriptor, select.POLLOUT)
    return bool(poll.poll(timeout * 1000))


def _piece(data: bytes) -> bytes:
    """As much as is taken at once, and up to the end of a line where there is one: another process
    may write in between."""
    if len(data) <= AT_ONCE:
        return data
    return data[: data.rfind(b"\n", 0, AT_ONCE) + 1 or AT_ONCE]
