"""``wsgi.errors``: the application's text for the error log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

__all__ = ["LINE_LIMIT", "ErrorStream", "Log"]

LINE_LIMIT = 64 * 1024
"""Characters of a line that has not ended; a longer one is passed on in parts."""


class Log(Protocol):
    """Where the lines go. An object, for a method of one would be bound anew in each request."""

    def app_stderr(self, line: str) -> None:
        """A line without its newline, on the thread that wrote it."""


class ErrorStream:
    """A write-only text stream that passes complete lines on (PEP 3333, "Input and Error Streams").

    :param log: given each line.
    """

    __slots__ = ("log", "unfinished")

    def __init__(self, log: Log) -> None:
        self.log = log
        """Who is given each line: the exchange, in a server."""
        self.unfinished = ""
        """The beginning of a line that is not passed on yet."""

    def write(self, text: str, /) -> int:
        """Pass on the lines this completes, and keep the rest.

        :raises TypeError: `text` is not str.
        """
        if not isinstance(text, str):
            raise TypeError(f"wsgi.errors takes str, not {type(text).__name__}")
        *lines, self.unfinished = (self.unfinished + text).split("\n")
        for line in lines:
            self.log.app_stderr(line)
        if len(self.unfinished) > LINE_LIMIT:
            self.flush()
        return len(text)

    def writelines(self, lines: Iterable[str], /) -> None:
        """Write each of `lines`; no newlines are added."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Pass on an unfinished line too."""
        if self.unfinished:
            line, self.unfinished = self.unfinished, ""
            self.log.app_stderr(line)
