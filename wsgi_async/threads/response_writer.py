"""The response's way from a pool thread to the loop: at once, or by a pipe."""

from __future__ import annotations

import threading
from typing import NoReturn, Protocol, cast

from wsgi_async.buffers.spool import SourceFile
from wsgi_async.errors import ClientDisconnected
from wsgi_async.http.response import ResponseHead
from wsgi_async.system.forks import leave

from .bounds import ResponseBounds
from .interim_heads import Added, InterimHeads
from .mailbox import Posted, Posting
from .response_account import FREE_MEMORY, Progress
from .response_pipe import ResponsePipe
from .response_states import Producer

__all__ = ["ExtendingWriter", "ForkedWriter", "ResponseWriter", "Whole"]

Whole = tuple[ResponseHead, bytes, int | None]
"""A response that is all there: head, body, and the size of the body as for
:meth:`ResponseWriter.start`."""

_NOTHING: Progress = (0, 0, Producer.RUNNING)
_EVERYTHING: Progress = (0, 0, Producer.FINISHED)

_meeting = threading.Lock()
"""Held, for a moment, where a pipe is opened and where its client leaves: one of the two has to
see the other; and where two threads may send the first early hints. All are rare enough for all
responses to share it."""


class ResponseWriter:
    """One response on its way from a pool thread to the loop.

    Most are small and all there at once: such a one crosses as one immutable value, and the
    mailbox's lock is the only one it takes. Whatever else there is belongs to a
    :class:`ResponsePipe`, which is made when the first part of such a response comes.

    :param bounds: what all responses share.
    :param mailbox: how the loop is woken.
    :param owner: the exchange that the loop is woken for.
    """

    __slots__ = ("_bounds", "_mailbox", "_owner", "gone", "interim", "pipe", "whole")

    def __init__(self, bounds: ResponseBounds, mailbox: Posting, owner: Posted) -> None:
        self._bounds = bounds
        self._mailbox = mailbox
        self._owner: Posted | None = owner
        self.whole: Whole | None = None
        """*Any thread:* the response, where it came at once."""
        self.pipe: ResponsePipe | None = None
        """*Any thread:* what carries it, where it does not."""
        self.gone = False
        """*Any thread:* whether the client has gone."""
        self.interim: InterimHeads | None = None
        """*Any thread:* what goes before the response, once there was something."""

    # --- pool thread -------------------------------------------------------------------------

    def respond(self, head: ResponseHead, body: bytes, length: int | None) -> None:
        """*Pool thread:* the whole response at once: one wake.

        :param length: as for :meth:`start`.
        """
        size = len(body)
        if size > FREE_MEMORY or size > self._bounds.memory:
            self._open(head, length).write_last(body)
            return
        self.whole = head, body, length
        owner = self._owner
        if owner is not None and not self.gone:
            self._mailbox.post(owner)
        self._owner = None  # nothing more will come, and it refers to this

    def start(self, head: ResponseHead, length: int | None) -> ResponsePipe:
        """*Pool thread:* the head, to go out with the first chunk.

        :param length: the size of the body in bytes, or None where it is not known.
        :returns: what takes the chunks.
        """
        return self._open(head, length)

    def send_file(self, head: ResponseHead, descriptor: int, offset: int, count: int) -> bool:
        """*Pool thread:* the whole response: `count` bytes of a file from `offset`.

        The descriptor is duplicated, so the caller may close its own at once.

        :returns: False, and nothing done, where no more files may be open.
        """
        try:
            source = SourceFile(self._bounds.budgets, descriptor)
        except OSError:
            return False
        self._open(head, count).send_file(source, offset, count)
        return True

    def send_interim(self, head: ResponseHead, size: int) -> bool:
        """*Any thread:* an interim response, to go out at once. It goes before the response, or not
        at all: not to a client that has gone, nor once the response has been begun.

        :param size: bytes of its fields.
        :returns: False where so many wait for the client that this one is left out.
        """
        owner = self._owner
        if owner is None or self.gone:
            return True
        interim = self.interim
        if interim is None:
            with _meeting:
                interim = self.interim
                if interim is None:
                    # As much as a response may hold without asking the process's budget.
                    interim = InterimHeads(min(FREE_MEMORY, self._bounds.memory))
                    self.interim = interim
        added = interim.add(head, size)
        if added is Added.FIRST:
            # Once for all that wait: a thread that gives them without end would have the loop come
            # for each, and for nothing else.
            self._mailbox.post(owner)
        return added is not Added.LEFT_OUT

    def step_through(self, body: object) -> None:
        """*Pool thread:* an asynchronous body: whoever has this writer awaits it."""

    def cut(self) -> None:
        """*Pool thread:* the response ends here without being complete. If it has ended, the loop
        is told once more: what broke the thread off may have done so before it could."""
        if self.whole is None:
            pipe = self.pipe
            if pipe is None:
                pipe = self._open(None, None)
            pipe.cut()
        elif self._owner is not None:
            self._mailbox.post(self._owner)
            self._owner = None

    def _open(self, head: ResponseHead | None, length: int | None) -> ResponsePipe:
        if self.pipe is not None:
            return self.pipe  # it was cut, and takes nothing more
        pipe = ResponsePipe(self._bounds, self._mailbox, self._owner, head, length)
        with _meeting:
            self.pipe = pipe
            gone = self.gone
        self._owner = None
        if gone:
            pipe.abort()
        return pipe

    # --- any thread --------------------------------------------------------------------------

    @property
    def has_ended(self) -> bool:
        """*Any thread:* whether nothing more will come from the application."""
        pipe = self.pipe
        return self.whole is not None or (pipe is not None and pipe.has_ended)

    @property
    def is_parked(self) -> bool:
        """*Any thread:* whether the iteration is suspended."""
        pipe = self.pipe
        return pipe is not None and pipe.is_parked

    @property
    def progress(self) -> Progress:
        """*Any thread:* changes whenever the application has produced something."""
        pipe = self.pipe
        if pipe is not None:
            return pipe.progress
        return _NOTHING if self.whole is None else _EVERYTHING

    @property
    def waits(self) -> int:
        """*Any thread:* how often the thread has begun or ended to wait for the client: odd while
        it does."""
        pipe = self.pipe
        return 0 if pipe is None else pipe.waits

    # --- loop --------------------------------------------------------------------------------

    def wake_by(self, mailbox: Posting) -> None:
        """*Loop, before a thread has it:* have the loop woken by this mailbox."""
        self._mailbox = mailbox

    def answer(self, head: ResponseHead, body: bytes) -> None:
        """*Loop:* the whole response, where the loop itself makes it."""
        self.whole = head, body, len(body)
        self._owner = None

    def abort(self) -> bool:
        """*Loop:* the client has gone.

        :returns: True where a parked iteration is to be closed, by the caller, on a pool thread.
        """
        with _meeting:
            self.gone = True
            pipe = self.pipe
        self.forget_body()
        return pipe is not None and pipe.abort()

    def forget_body(self) -> None:
        """*Loop:* the body of a response that came at once is with the transport, or for nobody."""
        if self.whole is not None:
            head, _, length = self.whole
            self.whole = head, b"", length

    def release(self) -> None:
        """*Loop:* the response is on its way, or no thread has this or will: see
        :meth:`ResponsePipe.release`."""
        self._owner = None  # a cycle of references would leave every request to the collector
        if self.pipe is not None:
            self.pipe.release()


class Extending(Posted, Protocol):
    """The exchange of an :class:`ExtendingWriter`."""

    def extended(self, head: ResponseHead) -> ResponseHead:
        """*Pool thread:* the head with what is added to it."""


class ExtendingWriter(ResponseWriter):
    """Has its exchange add to the head of the response, as the thread hands it over."""

    __slots__ = ()

    @classmethod
    def in_place_of(cls, writer: ResponseWriter, owner: Extending) -> ExtendingWriter:
        """*Loop, before a thread has it:* with the same bounds and mailbox."""
        return cls(writer._bounds, writer._mailbox, owner)

    def respond(self, head: ResponseHead, body: bytes, length: int | None) -> None:
        """*Pool thread:* see there."""
        super().respond(self._extended(head), body, length)

    def start(self, head: ResponseHead, length: int | None) -> ResponsePipe:
        """*Pool thread:* see there."""
        return super().start(self._extended(head), length)

    def send_file(self, head: ResponseHead, descriptor: int, offset: int, count: int) -> bool:
        """*Pool thread:* see there."""
        return super().send_file(self._extended(head), descriptor, offset, count)

    def _extended(self, head: ResponseHead) -> ResponseHead:
        owner = self._owner
        return head if owner is None else cast("Extending", owner).extended(head)


class ForkedWriter(ResponseWriter):
    """The writer in a process that the application has forked: nothing is sent from there, and a
    response, or its end, ends the process."""

    __slots__ = ()

    def respond(self, head: ResponseHead, body: bytes, length: int | None) -> NoReturn:
        leave()

    def start(self, head: ResponseHead, length: int | None) -> NoReturn:
        raise ClientDisconnected("the client belongs to the process that this one was forked off")

    def send_file(self, head: ResponseHead, descriptor: int, offset: int, count: int) -> NoReturn:
        leave()

    def send_interim(self, head: ResponseHead, size: int) -> bool:
        return True

    def cut(self) -> NoReturn:
        leave()
