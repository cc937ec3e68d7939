"""A thread line without a loop: whoever calls :meth:`Line.turn` is the loop thread."""

from __future__ import annotations

import os
import queue
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

from wsgi_async.buffers.budgets import Budgets
from wsgi_async.http.response import ResponseHead
from wsgi_async.threads import (
    BlockedWriters,
    Mailbox,
    Overflow,
    Patience,
    Producer,
    ResponseBounds,
    ResponsePipe,
    ResponseWriter,
    SpoolTurns,
    response_writer,
)
from wsgi_async.threads.response_states import CONSUMER_MOVES, PRODUCER_MOVES, Consumer
from wsgi_async.threads.stand_ins import StandIn

WAIT = 10.0
KIB = 1024
MIB = 1024 * KIB

HEAD = ResponseHead(200, "OK", ())


class Line:
    """What the exchanges of one server share, with small bounds and nothing behind them.

    :param memory: bytes of one response in RAM.
    :param disk: bytes of one response on disk.
    :param process_memory: bytes of all responses in RAM, beyond what is free of charge.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        overflow: str = "spool",
        memory: int = MIB,
        disk: int = 64 * MIB,
        process_memory: int = 256 * MIB,
        process_disk: int = 256 * MIB,
        files: int = 64,
        blocked: int = 4,
        others_wait: Callable[[], bool] = lambda: False,
        patience: int = 4,
    ) -> None:
        self.wakes: queue.Queue[Callable[[], None]] = queue.Queue()
        self.errors: list[BaseException] = []
        self.warnings: list[str] = []
        self.stand_in: Callable[[], StandIn | None] = lambda: None
        """No thread has another one to stand in for it, unless a test says so."""
        self.mailbox = Mailbox(self.wakes.put, self.errors.append)
        self.budgets = Budgets(
            memory=process_memory, disk=process_disk, files=files, directory=str(directory)
        )
        self.bounds = ResponseBounds(
            overflow=Overflow(overflow),
            memory=memory,
            disk=disk,
            budgets=self.budgets,
            blocked=BlockedWriters(blocked),
            others_wait=others_wait,
            patience=Patience(patience),
            turns=SpoolTurns(others_wait, lambda: 0),
            warn=self.warnings.append,
            stand_in=lambda: self.stand_in(),
        )

    def turn(self) -> None:
        """*Loop:* wait for one wake and serve it."""
        self.wakes.get(timeout=WAIT)()

    @property
    def used(self) -> tuple[int, int, int]:
        """RAM, disk and files that are reserved now."""
        budgets = self.budgets
        return budgets.memory.used, budgets.disk.used, budgets.files.used


class HeldToTables(ResponsePipe):
    """A pipe that notes each change of its states that is not in the tables."""

    __slots__ = ("states",)

    faults: ClassVar[list[str]] = []
    changes: ClassVar[set[tuple[Consumer | Producer, Consumer | Producer]]] = set()

    def _change(self, after: Any, moves: dict[Any, set[Any]]) -> None:
        try:
            states = self.states
        except AttributeError:
            states = self.states = {}
        before = states.get(type(after))
        states[type(after)] = after
        if before is None:
            return
        self.changes.add((before, after))
        if after not in moves[before]:
            self.faults.append(f"from {before} to {after}")

    @property  # type: ignore[override]
    def _producer(self) -> Producer:
        return self.states[Producer]

    @_producer.setter
    def _producer(self, state: Producer) -> None:
        self._change(state, PRODUCER_MOVES)

    @property  # type: ignore[override]
    def _consumer(self) -> Consumer:
        return self.states[Consumer]

    @_consumer.setter
    def _consumer(self, state: Consumer) -> None:
        self._change(state, CONSUMER_MOVES)


@contextmanager
def held_to_tables() -> Iterator[None]:
    """Have each pipe that is made meanwhile change its states by the tables only."""
    before = response_writer.ResponsePipe
    response_writer.ResponsePipe = HeldToTables  # type: ignore[misc]
    HeldToTables.faults.clear()
    try:
        yield
    finally:
        response_writer.ResponsePipe = before  # type: ignore[misc]
    assert HeldToTables.faults == []


class Client:
    """The loop's side of one response: what a connection does, on a transport that sends only
    what :meth:`drain` tells it to.

    It calls the writer exactly when asyncio would have a connection do so: at a wake, and when
    the transport's buffer falls to its low water; never just because some bytes have left.

    :param writer: default: one of its own.
    """

    def __init__(self, line: Line, writer: ResponseWriter | None = None) -> None:
        self.high = line.bounds.high_water
        self.low = self.high // 4
        self.writer = writer or ResponseWriter(line.bounds, line.mailbox, self)
        self.head: ResponseHead | None = None
        self.length: int | None = None
        self.body = bytearray()
        self.unsent = 0
        self.most_unsent = 0
        self.is_writable = True
        self.end: str | None = None
        self.woken = 0
        self.resumes: queue.Queue[str] = queue.Queue()

    @property
    def pipe(self) -> ResponsePipe:
        """What the writer has started."""
        assert self.writer.pipe is not None
        return self.writer.pipe

    def on_wake(self) -> None:
        self.woken += 1
        if self.end is not None:
            self.leave()
        else:
            self.send()

    def send(self) -> None:
        """Take what there is, as ``Sender.send`` does."""
        if self.writer.whole is not None:
            self.head, body, self.length = self.writer.whole
            self._write([body])
            self.end = "finished"
            return
        pipe = self.writer.pipe
        if pipe is None:
            return
        while True:
            chunks, end = pipe.take()
            self.head, self.length = pipe.head, pipe.length
            self._write(chunks)
            if end is Producer.FINISHED:
                self.end = "finished"
                self.writer.release()
                return
            if end is Producer.CUT:
                self.end = "cut"
                self.leave()
                return
            extent = pipe.extent() if self.is_writable else None
            if extent is None:
                break
            data = os.pread(extent.descriptor, pipe.block_size(extent.size), extent.offset)
            assert data
            pipe.consumed(len(data))
            self._write([data])
        if pipe.settle(self.unsent, writable=self.is_writable):
            self.resume("go on")

    def _write(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            assert type(chunk) is bytes
            self.body += chunk
            self.unsent += len(chunk)
        self.most_unsent = max(self.most_unsent, self.unsent)
        if self.unsent > self.high:
            self.is_writable = False

    def drain(self, amount: int | None = None) -> None:
        """Let the transport send, all of it by default."""
        self.unsent -= min(self.unsent, self.unsent if amount is None else amount)
        if not self.is_writable and self.unsent <= self.low:
            self.is_writable = True
            if self.end is None:
                self.send()

    def leave(self) -> None:
        """The client goes away."""
        if self.end is None:
            self.end = "left"
        if self.writer.abort():
            self.resume("close")

    def resume(self, why: str) -> None:
        """A parked iteration is to be run again: to "go on" or to "close"."""
        self.resumes.put(why)


def descriptors() -> set[tuple[str, str]]:
    """The open descriptors of this process, and what each is of, where the system can tell.

    To be compared with later ones by what is new: what an earlier test has left to the collector
    may be closed meanwhile.
    """
    found = set()
    for number in os.listdir("/proc/self/fd") if sys.platform == "linux" else ():
        with suppress(FileNotFoundError):  # that of the listing itself
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
    return found


@contextmanager
def no_leaks() -> Iterator[Callable[..., Line]]:
    """Gives out lines, and at the end holds them to their budgets and looks for open files. What
    is sent meanwhile is held to the tables of its states."""
    before = descriptors()
    lines: list[Line] = []

    def make(directory: Path | str, **options: Any) -> Line:
        lines.append(Line(directory, **options))
        return lines[-1]

    with held_to_tables():
        yield make
    for line in lines:
        assert line.used == (0, 0, 0)
        assert len(line.bounds.blocked) == 0
        assert line.errors == []
    assert not descriptors() - before
