"""The terminal that ``top`` has for itself, and gives back as it was, whatever happens.

Its own screen (the alternate one), keys as they are pressed, and no cursor; signals become events
in the same order as keys. *Main thread:* all of it, but for :meth:`Terminal.wake`.
"""

from __future__ import annotations

import contextlib
import enum
import os
import select
import signal
import termios
from collections.abc import Sequence
from types import FrameType
from typing import NamedTuple, Self

from .decoding import Decoder

__all__ = ["Event", "Heard", "Terminal"]

# DEC's private modes: the alternate screen with the cursor saved (1049), the cursor (25), and no
# wrapping (7), so that the last cell can be written.
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[0m\x1b[2J"
_LEAVE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"

_LEAVING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT}
_HEARD = {*_LEAVING, signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH}

_AFTER_ESCAPE = 0.05
"""Seconds in which the rest of a key's sequence comes; without it, it was the key Esc."""
_STUCK = 2.0
"""Seconds that a terminal may take nothing before what it was to be given is dropped."""
_DEFAULT = (80, 24)


class Event(enum.Enum):
    """What has happened beside keys."""

    WOKEN = "another thread has something"
    CHANGED = "the screen is to be drawn again"
    ENDED = "a signal asked to leave, or the terminal has gone"


class Heard(NamedTuple):
    """What :meth:`Terminal.wait` has."""

    keys: list[str]
    events: set[Event]


class Terminal:
    """While it is entered, the terminal is ours.

    :param source: the descriptor that keys come from.
    :param sink: the descriptor that shows what is written.
    :param encoding: what is written there; other characters become question marks.
    """

    def __init__(self, source: int, sink: int, encoding: str = "utf-8") -> None:
        self.exit_code = 0
        """128 and the number of the signal that asked to leave; Ctrl-C is a key like others."""
        self._source = source
        self._sink = sink
        self._encoding = encoding
        self._decoder = Decoder()
        self._shown: list[str] = []
        self._is_ours = False
        self._before = termios.tcgetattr(source)
        self._wakes, self._wakeup = os.pipe()
        for descriptor in (self._wakes, self._wakeup):
            os.set_blocking(descriptor, False)

    def __enter__(self) -> Self:
        # The numbers of signals come out of the pipe, so that they are acted on here in the loop,
        # and never in the middle of something.
        self._handlers = {number: signal.signal(number, _note) for number in _HEARD}
        self._former = signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        try:
            self._take()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self._give_back()
        finally:
            signal.set_wakeup_fd(self._former)
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def close(self) -> None:
        """Let go of its own descriptors, once no other thread has it any more."""
        os.close(self._wakes)
        os.close(self._wakeup)

    def wake(self) -> None:
        """*Any thread:* make :meth:`wait` return."""
        with contextlib.suppress(OSError):  # it is full, and wakes, or closed, and nobody waits
            os.write(self._wakeup, b"\0")

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        try:
            columns, rows = os.get_terminal_size(self._sink)
        except OSError:
            return _DEFAULT
        return (columns or _DEFAULT[0], rows or _DEFAULT[1])

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines; only those are written that are others than before.

        :param lines: each as wide as the terminal is.
        """
        written = [
            f"\x1b[{number + 1};1H{line}\x1b[0m"
            for number, line in enumerate(lines)
            if number >= len(self._shown) or self._shown[number] != line
        ]
        if written and not self._write("".join(written)):
            self._shown = []
            return
        self._shown = list(lines)

    def wait(self, seconds: float) -> Heard:
        """What there is to react to, as soon as there is something, or nothing after `seconds`."""
        patience = min(seconds, _AFTER_ESCAPE) if self._decoder.is_waiting else seconds
        ready, _, _ = select.select([self._source, self._wakes], [], [], max(patience, 0.0))
        heard = Heard([], set())
        if self._source in ready:
            heard.keys.extend(self._read_keys(heard))
        elif self._decoder.is_waiting:
            heard.keys.extend(self._decoder.flush())
        if self._wakes in ready:
            self._react(heard)
        return heard

    def _read_keys(self, heard: Heard) -> list[str]:
        try:
            data = os.read(self._source, 4096)
        except BlockingIOError:
            return []
        except OSError:  # EIO: it has hung up
            data = b""
        if not data:
            heard.events.add(Event.ENDED)
            return []
        return self._decoder.feed(data)

    def _react(self, heard: Heard) -> None:
        noted = self._noted()
        if 0 in noted:
            heard.events.add(Event.WOKEN)
        if signal.SIGWINCH in noted:
            self._shown = []
            heard.events.add(Event.CHANGED)
        if self._is_to_leave(noted, heard):
            return
        if signal.SIGTSTP in noted:
            self._give_back()
            self._stop()
            # Where it was ended meanwhile the terminal is another's.
            if self._is_to_leave(self._noted(), heard):
                return
        elif signal.SIGCONT not in noted:
            return
        # Whoever had the terminal meanwhile may have changed it.
        try:
            self._take()
            heard.events.add(Event.CHANGED)
        except termios.error:  # it has gone
            heard.events.add(Event.ENDED)

    def _is_to_leave(self, noted: bytes, heard: Heard) -> bool:
        asked = [number for number in noted if number in _LEAVING]
        for number in asked:
            heard.events.add(Event.ENDED)
            if number != signal.SIGINT and not self.exit_code:
                self.exit_code = 128 + number
        return bool(asked)

    def _noted(self) -> bytes:
        try:
            return os.read(self._wakes, 65536)
        except BlockingIOError:
            return b""

    def _stop(self) -> None:
        """As every program at Ctrl-Z; this returns when the shell lets it go on."""
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, _note)

    def _take(self) -> None:
        mode = termios.tcgetattr(self._source)
        # Keys one by one and without echo. Ctrl-C and Ctrl-Z remain signals; Ctrl-S is a key, so
        # that nobody stops the output by accident. Enter is CR here as anywhere.
        mode[0] &= ~(termios.IXON | termios.ICRNL)
        mode[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        self._is_ours = True
        # In the background this waits, as SIGTTOU has it, until the shell gives us the terminal.
        termios.tcsetattr(self._source, termios.TCSADRAIN, mode)
        self._shown = []
        self._write(_ENTER)

    def _give_back(self) -> None:
        if not self._is_ours:
            return
        self._is_ours = False
        self._shown = []
        self._write(_LEAVE)
        with contextlib.suppress(termios.error):  # it has gone
            # What was typed and not read is for nobody else.
            termios.tcsetattr(self._source, termios.TCSAFLUSH, self._before)

    def _write(self, text: str) -> bool:
        """Whether it was written."""
        data = memoryview(text.encode(self._encoding, "replace"))
        while data:
            try:
                data = data[os.write(self._sink, data) :]
            except BlockingIOError:  # somebody has made it so
                if not select.select([], [self._sink], [], _STUCK)[1]:
                    return False
            except OSError:  # it has gone, which reading tells
                return False
        return True


def _note(number: int, frame: FrameType | None) -> None:
    """The signal's number is in the pipe by now."""
