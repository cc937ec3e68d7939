"""What framers of heads have in common, whatever bytes they make: what recurs is remembered, what
the server adds is added. On the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from wsgi_async.errors import HTTPError

from .bounded_cache import BoundedCache
from .framing import FramedHead, Wanted
from .head_lines import Added, Lines, as_added, lines_of
from .response import ResponseHead, error_response

__all__ = ["FRAMED_LIMIT", "FRAMED_SIZE_LIMIT", "LINES_LIMIT", "FramedHeads"]

FRAMED_LIMIT = 256
FRAMED_SIZE_LIMIT = 1024
"""Framed heads that are remembered, and bytes of each at most."""
LINES_LIMIT = 1024
"""Heads whose lines are remembered; ``wsgi/checks.py`` bounds the size of a head that recurs."""


class FramedHeads(BoundedCache[Wanted, FramedHead]):
    """The framed heads of one server's responses: looking one up frames it; see
    :class:`wsgi_async.http.framing.Framer`. Those that recur are remembered for as long as the Date
    stays the same, their lines beyond that.

    :param server: what the ``Server`` field says; empty for none.
    :param fields: name and value of each field that is added to responses, the server's own
        answers included, which have none of that name.
    """

    __slots__ = ("_added", "_date", "_lines", "_lines_of", "_server", "_size_limit")

    def __init__(self, server: str, fields: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(FRAMED_LIMIT)
        self._added = added = as_added(fields)
        # What is added must not be why a head is framed anew for each response.
        self._size_limit = FRAMED_SIZE_LIMIT + sum(len(line) for _, line in added)
        if not server or any(name == "server" for name, _ in added):
            self._server = b""
        else:
            self._server = f"Server: {server}\r\n".encode("latin-1")
        self._date = b""
        self._lines: BoundedCache[ResponseHead, Lines] = BoundedCache(LINES_LIMIT)
        self._lines_of: Callable[[ResponseHead, Added], Lines] = lines_of

    def set_date(self, date: str) -> None:
        """Begin another second."""
        self._date = f"Date: {date}\r\n".encode("latin-1")
        self.clear()

    def __missing__(self, wanted: Wanted) -> FramedHead:
        head = wanted[0]
        lines = self._lines.get(head) if head.recurs else None
        if lines is None:
            lines = self._lines_of(head, self._added)
            if head.recurs:
                self._lines.keep(head, lines)
        framed = self._frame(wanted, lines)
        if head.recurs and len(framed.data) <= self._size_limit:
            self.keep(wanted, framed)
        return framed

    def _frame(self, wanted: Wanted, lines: Lines) -> FramedHead:
        """Decide the framing and write the head.

        :param lines: what the head says.
        """
        raise NotImplementedError

    def error_answer(
        self, error: HTTPError, *, head_only: bool, fields: tuple[tuple[str, str], ...] = ()
    ) -> bytes:
        """A whole answer of the server's own, after which the connection is closed."""
        head, body = error_response(error, fields)
        framed = self[head, len(body), "HEAD" if head_only else "GET", "HTTP/1.1", False]
        return framed.data if head_only else framed.data + body
