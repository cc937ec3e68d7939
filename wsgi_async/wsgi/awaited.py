"""A response whose body is asynchronous: somebody else awaits its chunks, and hands them over.

None of it waits, so it may run on a loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import cast

from wsgi_async.errors import HTTPError
from wsgi_async.http.response import error_response

from .async_bodies import is_event_stream
from .checks import check_chunk
from .delivery import Delivery
from .outside import Step

__all__ = ["AwaitedResponse"]

_DONE = Step.DONE
_PARKED = Step.PARKED
_LIVE = Step.LIVE


class AwaitedResponse(Delivery):
    """What a response has for whoever awaits its body, from :attr:`Step.LIVE` on: ``go_live``, then
    ``take`` for each chunk, and ``end`` or ``fail``; or ``refuse``. Never two at once."""

    __slots__ = ()

    @property
    def async_iterator(self) -> AsyncIterator[bytes] | None:
        """*Any thread, from* :meth:`go_live` *until it is closed:* what gives the chunks; else
        None."""
        iterator: AsyncIterator[bytes] | None = self._iterator
        return iterator

    @property
    def iterable(self) -> object:
        """*Any thread, until it is closed:* what the application has returned."""
        return self._iterable

    @property
    def is_event_stream(self) -> bool:
        """*Whoever awaits it:* whether the response, as far as its head is known, is a stream of
        server-sent events, to which some may be added."""
        head = self._head
        return (
            head is not None
            and head.content_length is None
            and not self._head_only
            and is_event_stream(head.fields)
        )

    @property
    def has_begun(self) -> bool:
        """*Whoever awaits it:* whether its head has been handed over."""
        return self._head_sent

    def go_live(self) -> Step:
        """*Whoever awaits it, before the first chunk:* from now on nothing waits in here.

        :returns: :attr:`Step.PARKED` where the client is to take first what was written.
        :raises Exception: what the body's ``__aiter__`` raises.
        """
        self._iterator = aiter(cast("AsyncIterable[bytes]", self._iterable))
        return _LIVE if self._pipe.go_live() else _PARKED

    def take(self, chunk: bytes) -> Step:
        """*Whoever awaits it:* one chunk.

        :returns: :attr:`Step.LIVE` to go on; :attr:`Step.PARKED` where the client is to take first
            what waits; :attr:`Step.DONE` where no more is wanted.
        :raises ApplicationError: it is no chunk, or there is no head.
        :raises ClientDisconnected: nobody is there to take it.
        """
        if type(chunk) is not bytes:
            check_chunk(chunk, is_live=True)
        if not chunk:
            return _LIVE
        if not self._head_sent:
            # Never at once, as _is_all() does it: what is large would wait there for its client.
            if not self._start():
                return _DONE
            self._pipe.go_live()
        write = self._pipe.write
        if self._remaining is None:
            return _LIVE if write(chunk) else _PARKED
        if not self._write_counted(chunk, write):
            return _PARKED
        return _DONE if self._remaining < 0 else _LIVE

    def end(self) -> None:
        """*Whoever awaits it:* nothing follows.

        :raises ApplicationError: there is no head.
        """
        if self._remaining != 0:
            self._end()

    def fail(self, error: BaseException) -> None:
        """*Whoever awaits it:* it has raised, or nobody wants it any more
        (:class:`ClientDisconnected`)."""
        self._fail(error)

    def refuse(self, error: HTTPError) -> None:
        """*Pool thread, after* :attr:`Step.LIVE`: nobody awaits it. The server's own answer, or a
        cut."""
        if self._head_sent:
            self._writer.cut()
            return
        self._head_sent = True
        head, body = error_response(error)
        self._writer.respond(head, b"" if self._head_only else body, len(body))
