"""What a connection asks of whatever turns its responses into bytes: the seam between versions.

``http1/framing.py`` is one side of it. Another version of HTTP is another :class:`Framer`; the
heads above it and the sender below it stay as they are.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from wsgi_async.errors import HTTPError

from .response import ResponseHead

__all__ = ["BodyFraming", "FrameBody", "FramedHead", "Framer", "Wanted"]


class BodyFraming(enum.Enum):
    """What is done to a body on its way, and how its end is told."""

    NONE = "there is no body"
    LENGTH = "none: the head has said how long it is"
    FRAMED = "each piece is framed, and the end as well"
    CLOSE = "none: it ends with the connection"


FrameBody = Callable[[list[bytes], bool], list[bytes]]
"""Frames pieces of a body that are ready together; the flag says whether they are the last."""


def _as_they_are(pieces: list[bytes], last: bool) -> list[bytes]:
    return pieces


@dataclass(slots=True, eq=False)  # as ResponseHead
class FramedHead:
    """A head ready to send, and what follows from it."""

    status: int
    data: bytes
    framing: BodyFraming
    persists: bool
    """Whether the connection may carry another request afterwards."""
    frame_body: FrameBody = _as_they_are
    """To be asked where `framing` is FRAMED."""


Wanted = tuple[ResponseHead, int | None, str, str, bool]
"""What is to be framed: a head, the length of its body (promised or known, None where nobody knows
it yet), the request's method and version, and whether the connection may persist."""


class Framer(Protocol):
    """Frames the responses of one server. On the loop."""

    continue_head: bytes
    """The interim answer that a client with ``Expect: 100-continue`` waits for (RFC 9110
    §10.1.1)."""

    def set_date(self, date: str) -> None:
        """Begin another second.

        :param date: as in a Date field (RFC 9110 §6.6.1).
        """

    def __getitem__(self, wanted: Wanted, /) -> FramedHead:
        """Frame a head. What recurs may be remembered."""

    def interim_head(self, head: ResponseHead, version: str) -> bytes:
        """An interim response (RFC 9110 §15.2): it has no body, and says nothing of the connection.

        :param version: the request's.
        :returns: nothing for a client whose version has none.
        """

    def error_answer(
        self, error: HTTPError, *, head_only: bool, fields: tuple[tuple[str, str], ...] = ()
    ) -> bytes:
        """A whole answer of the server's own, after which the connection is closed.

        :param fields: those that it has beside its own.
        """
