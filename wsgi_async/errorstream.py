"""``wsgi.errors``: the application's text for the error log."""

from __future__ import annotations

from collections.abc import Callable, Iterable

__all__ = ["LINE_LIMIT", "ErrorStream"]

LINE_LIMIT = 64 * 1024
"""Characters of a line that has not ended; a longer one is passed on in parts."""


class ErrorStream:
    """A write-only text stream that passes complete lines on (PEP 3333, "Input and Error Streams").

    :param emit: given each line without its newline, on the thread that wrote it.
    """

    __slots__ = ("_emit", "unfinished")

    def __init__(self, emit: Callable[[str], None]) -> None:
        self._emit = emit
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
            self._emit(line)
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
            self._emit(line)
