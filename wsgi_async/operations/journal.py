"""The last errors and refusals of all processes, for who looks at the server and not at its log.

Whoever has something to say sends it as a datagram of JSON into a pair of sockets that the parent
has made, and waits for nobody: what finds no room is dropped and counted, and so is what one
process has too much of. The operations process takes them out, and keeps the last ones in memory
that outlives it; what comes while there is none waits for its successor.

Two shelves, of equal size: what a client can cause never pushes out what the application or the
server itself has to say.
"""

from __future__ import annotations

import contextlib
import enum
import json
import math
import mmap
import re
import socket
from typing import Any

from wsgi_async.system.forks import Holding
from wsgi_async.system.inodes import inode_of

__all__ = [
    "KEPT",
    "PARENT",
    "Entry",
    "Journal",
    "JournalKind",
    "cut",
    "without_query",
    "without_values",
]

KEPT = 200
"""Entries, half of them on each shelf."""

_SLOT = 4096
"""Bytes of an entry: its number, its length, and JSON."""

_WORD = 8
_HEAD = 16
_ROOM = _SLOT - 2 * _WORD
_LOST = 0
"""The word of what was dropped; behind it, for each shelf, how many entries it ever had."""

PARENT = "parent"
"""Who the parent is, where others have their number."""


class JournalKind(enum.Enum):
    """What an entry is about."""

    APPLICATION = "application"
    """The application failed."""
    SERVER = "server"
    """Something of the server's own failed."""
    SLOW = "slow"
    """A request has passed the age of ``--slow-request``, or code blocks the application loop."""
    LOST = "lost"
    """A thread was given up, or so many that requests are refused."""
    WARNING = "warning"
    NOTE = "note"
    """What the parent says of its processes."""
    REFUSED = "refused"
    """The server answered a request itself."""
    DROPPED = "dropped"
    """A connection was given up."""


_BY_CLIENTS = (JournalKind.REFUSED, JournalKind.DROPPED)
"""Those that clients cause as they like."""

_MOST_LOST = 2**32
"""Entries that one datagram may say were dropped: the word has room for many of these."""

_UNSOUND = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What comes of a datagram that is no entry."""

Entry = dict[str, Any]
"""As it is sent and kept: what is shown of it, and ``more``, ``method`` and ``target`` apart, to be
shown or not; ``masked`` is the text for who is not to see values, where it is another."""


def without_query(text: str, target: str) -> str:
    """`text` without what `target` has behind its question mark.

    :param text: has `target` in it, or its query alone, or neither.
    :param target: of a request, as it stands in `text`.
    """
    path, mark, query = target.partition("?")
    if not query:
        return text
    text = text.replace(target, f"{path}{mark}...")
    return text.replace(query, "...") if len(query) > 3 else text


def without_values(text: str) -> str:
    """`text` as far as its first quotation mark: what the server itself says of an application that
    is wrong ends with what that gave, such as the value of a field, as `repr` shows it.
    """
    place = re.search("['\"]", text)
    return text if place is None else f"{text[: place.start()]}..."


class Journal:
    """The sockets and the memory, in whatever process. Made before the processes are forked.

    :raises OSError: there are no more descriptors.
    """

    def __init__(self) -> None:
        self._desk, self._door = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for sock in (self._desk, self._door):
            sock.setblocking(False)
        self._inode = inode_of(self._door.fileno())
        memory = memoryview(mmap.mmap(-1, _HEAD * _WORD + KEPT * _SLOT))
        self._words = memory[: _HEAD * _WORD].cast("q")
        self._slots = memory[_HEAD * _WORD :]

    # --- whoever has something to say --------------------------------------------------------

    def hold(self) -> None:
        """*In a serving process:* let none that the application forks have it."""
        Holding(files=lambda: [self._desk, self._door])

    def send(self, entry: Entry) -> bool:
        """*Any thread:* send it, or do not; never waits.

        :returns: whether it was sent.
        """
        if inode_of(self._door.fileno()) != self._inode:  # the application has closed it
            return False
        try:
            self._door.send(_packed(entry))
        except OSError:
            return False
        return True

    def close(self) -> None:
        """This process has nothing more to say, nor to keep. Harmless if repeated."""
        for sock in (self._desk, self._door):
            with contextlib.suppress(OSError):
                sock.close()

    # --- the operations process --------------------------------------------------------------

    def collect(self, most: int = 1000) -> None:
        """*In the operations process, one thread:* take out what has come, and keep it.

        :param most: entries, so that nobody holds the loop.
        """
        for _ in range(most):
            try:
                data = self._desk.recv(_SLOT)
            except OSError:  # nothing more, above all
                return
            try:
                entry = json.loads(data)
                lost, kind = int(entry.pop("lost", 0)), JournalKind(entry["kind"])
                is_sound = math.isfinite(entry["at"]) and 0 <= lost < _MOST_LOST
            except _UNSOUND:
                continue  # the application has found the socket, perhaps
            if is_sound:
                self._words[_LOST] += lost
                self._keep(json.dumps(entry).encode(), is_by_client=kind in _BY_CLIENTS)

    def _keep(self, data: bytes, *, is_by_client: bool) -> None:
        if len(data) > _ROOM:
            return
        number = self._words[1 + is_by_client] + 1
        words, text = self._slot(number, is_by_client=is_by_client)
        words[0] = 0
        words[1] = len(data)
        text[: len(data)] = data
        words[0] = number
        self._words[1 + is_by_client] = number

    def _slot(self, number: int, *, is_by_client: bool) -> tuple[memoryview, memoryview]:
        half = KEPT // 2
        begin = (number % half + half * is_by_client) * _SLOT
        slot = self._slots[begin : begin + _SLOT]
        return slot[: 2 * _WORD].cast("q"), slot[2 * _WORD :]

    @property
    def lost(self) -> int:
        """*Any thread:* entries that were dropped."""
        return int(self._words[_LOST])

    def entries(self, most: int = KEPT, *, shows_queries: bool = True) -> list[Entry]:
        """*In the operations process, any thread:* the last ones, the newest first.

        :param shows_queries: whether they are shown with the queries of their targets.
        :returns: of each `at` (seconds since 1970), `kind`, `process` (a number, or ``parent``),
            `text`, and `id`, of its request if there is one.
        """
        found = [
            entry
            for is_by_client in (False, True)
            for number in range(*self._range(is_by_client))
            if (entry := self._read(number, is_by_client=is_by_client)) is not None
        ]
        found.sort(key=lambda entry: float(entry["at"]), reverse=True)
        return [_shown(entry, shows_queries=shows_queries) for entry in found[:most]]

    def _range(self, is_by_client: bool) -> tuple[int, int]:
        last = self._words[1 + is_by_client]
        return max(1, last - KEPT // 2 + 1), last + 1

    def _read(self, number: int, *, is_by_client: bool) -> Entry | None:
        """None where another one is about to have its place."""
        words, text = self._slot(number, is_by_client=is_by_client)
        data = bytes(text[: words[1]])
        if words[0] != number:
            return None
        entry: Entry = json.loads(data)
        return entry


def _packed(entry: Entry) -> bytes:
    """As a slot can hold it: what is not ASCII takes up to twelve bytes a character."""
    while len(data := json.dumps(entry).encode()) > _ROOM:
        entry = {
            name: cut(value, len(value) // 2)
            if isinstance(value, str) and name != "kind"
            else value
            for name, value in entry.items()
        }
    return data


def _shown(entry: Entry, *, shows_queries: bool) -> Entry:
    text, more, target = (str(entry.get(name, "")) for name in ("text", "more", "target"))
    if not shows_queries:
        text = str(entry.get("masked", text))
    if more and shows_queries:
        text = f"{text}: {more}"
    if target:
        text = f"{text}: {entry.get('method', '')} {target}"
    if not shows_queries:
        text = without_query(text, target)
    shown = {name: entry.get(name) for name in ("at", "kind", "process", "id")}
    return {**shown, "text": text}


def cut(text: str, longest: int) -> str:
    """`text`, or its beginning, so long at most, and a sign that there was more."""
    return text if len(text) <= longest else f"{text[:longest]}..."
