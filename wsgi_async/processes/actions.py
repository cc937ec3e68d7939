"""What a fleet wants done: for the supervisor to do, in this order."""

from __future__ import annotations

import signal
from typing import NamedTuple

from .process import Process

__all__ = ["Action", "Close", "Interrupted", "Kill", "Note", "Spawn", "Tell"]


class Spawn(NamedTuple):
    """Start this process."""

    process: Process


class Tell(NamedTuple):
    """Send it a word: ``serve``, ``drain``, ``retire``, ``now``, ``report``."""

    process: Process
    word: str


class Kill(NamedTuple):
    """Send it a signal."""

    process: Process
    signal: signal.Signals


class Note(NamedTuple):
    """Write a line. `level` is the name of a method of the observer: info, warning, error."""

    level: str
    message: str


class Interrupted(NamedTuple):
    """Say that a stop by Ctrl-C waits for requests: see :meth:`.Observer.interrupted`."""

    patience: float


class Close(NamedTuple):
    """Close the listening sockets, and remove their files."""


Action = Spawn | Tell | Kill | Note | Interrupted | Close
