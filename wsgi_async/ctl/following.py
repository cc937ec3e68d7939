"""Until a reload, a drain or a change of processes is over: ``GET /status``, again and again.

The process that answers is itself replaced at a reload, and at a drain goes last: nobody there for
a moment is no end, and an answer that broke is asked for again.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from .client import Client
from .exits import Exit, Failed
from .text import age, many

__all__ = ["Follower", "Outcome"]

_EVERY = 0.2
"""Seconds between two questions."""
_PATIENCE = 3.0
"""Seconds for one of them."""
_NOBODY = 5.0
"""Seconds of nobody at all until the server counts as ended, where its process is out of sight."""

Status = dict[str, Any]


class Outcome(NamedTuple):
    """How it has ended."""

    code: Exit
    text: str
    """In words, on a line."""
    status: Status
    """The last one seen."""


class _Watch:
    """Whether the server's parent lives, where this process can see that."""

    def __init__(self, client: Client, pid: object) -> None:
        self._descriptor = -1
        # In another container numbers mean something else: the kernel has the last word.
        if isinstance(pid, int) and pid > 0 and pid in (client.peer, _parent_of(client.peer)):
            with contextlib.suppress(OSError, AttributeError):
                self._descriptor = os.pidfd_open(pid)

    @property
    def can_see(self) -> bool:
        return self._descriptor >= 0

    def has_ended(self, seconds: float) -> bool:
        """Whether it has, after that time at most."""
        if self._descriptor < 0:
            time.sleep(seconds)
            return False
        return bool(select.select([self._descriptor], [], [], seconds)[0])

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _parent_of(pid: int) -> int:
    """0 where that cannot be seen."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            # pid (comm) state ppid ...; comm may have anything in it (proc(5))
            return int(file.read().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


class _Seen(NamedTuple):
    """What a look has shown."""

    status: Status
    """The last one so far."""
    is_over: bool
    """Whether the server has ended."""


class Follower:
    """Looks at a server from before it is asked for something, until that is over.

    :param client: asked once at once, so that it is known who is to be watched.
    :param timeout: seconds from now; 0 is no limit.
    :raises Failed: nobody answers.
    """

    def __init__(self, client: Client, timeout: float) -> None:
        self._client = client
        self._timeout = timeout
        self._began = time.monotonic()
        self._alone_since: float | None = None
        self._status = client.get("/status")
        self._watch = _Watch(client, self._status.get("pid"))

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return time.monotonic() - self._began

    def close(self) -> None:
        """Watch nobody any more."""
        self._watch.close()

    def reload(self, before: dict[str, Any]) -> Outcome:
        """Until the reload that was asked for is complete, or given up.

        :param before: the fleet, as it was when it was asked for.
        """

        def judge(status: Status) -> Outcome | None:
            fleet = status["fleet"]
            if fleet["reloads"] <= before["reloads"] or fleet["reload"] == "under_way":
                return None
            if fleet["reloads_failed"] > before["reloads_failed"]:
                text = "The reload has failed: the processes that serve go on; the log says why"
                return Outcome(Exit.FAILED, text, status)
            text = (
                f"Reloaded: {many(fleet['ready'], 'process')} of generation {fleet['generation']}"
            )
            return Outcome(Exit.DONE, f"{text} in {age(self.seconds)}", status)

        return self._follow(lambda seen: _while_it_serves(seen) or judge(seen.status))

    def scale(self, wanted: int) -> Outcome:
        """Until so many processes are ready, and no others are left."""

        def judge(status: Status) -> Outcome | None:
            fleet = status["fleet"]
            if fleet["wanted"] == fleet["ready"] == len(status["processes"]) == wanted:
                text = f"{many(wanted, 'process')} ready, after {age(self.seconds)}"
                return Outcome(Exit.DONE, text, status)
            return None

        return self._follow(lambda seen: _while_it_serves(seen) or judge(seen.status))

    def drain(self) -> Outcome:
        """Until the server has ended."""
        cut = _cut(self._status)

        def judge(seen: _Seen) -> Outcome | None:
            if not seen.is_over:
                return None
            text = f"The server has drained and ended, after {age(self.seconds)}"
            if more := _cut(seen.status) - cut:
                text += f"; cut meanwhile: {many(more, 'response')}"
            return Outcome(Exit.DONE, text, seen.status)

        return self._follow(judge)

    def _follow(self, judge: Callable[[_Seen], Outcome | None]) -> Outcome:
        """Look until the judge has an outcome, twice in a row: counts and states are no one look of
        the server's, and may be of different moments."""
        before: Exit | None = None
        while True:
            is_over = self._look()
            outcome = judge(_Seen(self._status, is_over))
            if outcome is not None and (is_over or outcome.code is before):
                return outcome
            before = outcome.code if outcome is not None else None
            if self._timeout and self.seconds >= self._timeout:
                text = f"Not over after {self._timeout:g} s (--timeout); it goes on"
                return Outcome(Exit.LATE, text, self._status)
            self._watch.has_ended(_EVERY)

    def _look(self) -> bool:
        """Whether the server has ended; else there is perhaps a new status."""
        if self._watch.has_ended(0.0):
            return True
        try:
            self._status = self._client.get("/status", patience=_PATIENCE)
            self._alone_since = None
        except Failed as failed:
            if failed.code is Exit.REFUSED:
                raise
            if failed.code is Exit.UNREACHABLE:
                self._alone_since = self._alone_since or time.monotonic()
        if self._alone_since is None or self._watch.can_see:
            return False
        return time.monotonic() - self._alone_since >= _NOBODY


def _while_it_serves(seen: _Seen) -> Outcome | None:
    """For what only a server that is to go on does."""
    if seen.is_over:
        return Outcome(Exit.FAILED, "The server has ended meanwhile; the log says why", seen.status)
    if seen.status["fleet"]["state"] == "stopping":
        return Outcome(Exit.FAILED, "The server is stopping; nothing else is done", seen.status)
    return None


def _cut(status: Status) -> int:
    """Responses so far that were cut."""
    return int((status.get("totals") or {}).get("cut") or 0)
