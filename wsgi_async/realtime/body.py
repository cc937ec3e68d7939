"""One asynchronous body: it is awaited on the application loop, and holds no thread meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextvars import Context
from typing import Protocol

from wsgi_async.errors import ClientDisconnected, HTTPError
from wsgi_async.events import RequestInfo
from wsgi_async.threads import Posted, RequestBody, ResponsePipe, ResponseWriter
from wsgi_async.wsgi.calling import Step, Writer, WSGIResponse

from . import awaiting, frameworks
from .application_loop import ApplicationLoop
from .body_states import MOVES, BodyState, End
from .event_stream import EventTail, retry_event
from .executors import context_for_body

__all__ = ["RUN", "Body", "LiveExchange"]

TURN = 32
"""Chunks after which a body that has them all at once lets the others have their turn."""

_HANDED = BodyState.HANDED
_RUNNING = BodyState.RUNNING
_BEHIND = BodyState.BEHIND
_ENDING = BodyState.ENDING
_CLOSING = BodyState.CLOSING
_OVER = BodyState.OVER
_LIVE = Step.LIVE
_PARKED = Step.PARKED
_DONE = Step.DONE


class LiveExchange(Protocol):
    """The exchange of a body, as far as it knows it."""

    writer: ResponseWriter
    body: RequestBody | None
    waits_since: float

    @property
    def info(self) -> RequestInfo: ...
    @property
    def live(self) -> object: ...
    def app_error(self, message: str, error: BaseException | None) -> None: ...
    def post(self, item: Posted) -> None: ...
    def give_up_response(self, error: HTTPError) -> None: ...
    def resume_to_close(self) -> None: ...
    def run(self) -> object: ...


class BodyOwner(Protocol):
    """Looks after bodies."""

    def close_soon(self, body: Body) -> None:
        """*Application loop:* have a thread close it."""

    def drop(self, body: Body) -> None:
        """*Pool thread:* it is closed."""


class Body:
    """Stands for the response of an exchange from when its thread has handed it over.

    All that its application does runs in one task of the application loop, in a *copy* of the
    request's Context. When no more is wanted of it, its generators are closed there, the innermost
    ones too; then the exchange is queued, and what the application has returned is closed by a pool
    thread, in the request's own Context.

    The response's pipe has one producer, as ever: the application loop. Where the client is behind
    the pipe is parked, and resumes this instead of being queued for a thread.

    :param owner: who looks after it.
    :param loop: the application loop.
    :param exchange: the request's.
    :param response: what checks the chunks.
    :param context: the copy.
    """

    __slots__ = (
        "_context",
        "_is_queued",
        "_loop",
        "_must_announce",
        "_owner",
        "_response",
        "_room",
        "_tail",
        "_task",
        "begun_at",
        "cancelled_at",
        "end",
        "ended_at",
        "exchange",
        "is_event_stream",
        "is_told",
        "marks",
        "seen",
        "since",
        "state",
    )

    def __init__(
        self,
        owner: BodyOwner,
        loop: ApplicationLoop,
        exchange: LiveExchange,
        response: WSGIResponse,
        context: Context,
    ) -> None:
        self.exchange = exchange
        self.state = _HANDED
        self.end: End | None = None
        """*Any thread:* why no more of it is wanted; None as long as more is."""
        self.is_event_stream = response.is_event_stream
        """*Any thread:* see :attr:`.WSGIResponse.is_event_stream`."""
        self.marks = 0
        """*Any thread:* how often it has produced something, was suspended, or resumed."""
        self.seen = 0
        """*Loop:* how many of these were seen."""
        self.since = exchange.waits_since
        """*Loop:* the loop's time from which on it is late."""
        self.begun_at = 0.0
        """*Any thread:* when it was to begin; of ``time.monotonic``."""
        self.cancelled_at = 0.0
        """*Any thread:* when it was last cancelled; of ``time.monotonic``. 0.0 where it was not."""
        self.ended_at = 0.0
        """*Any thread:* since when it has an :attr:`end`, or when it was last cancelled after that;
        of the same clock."""
        self.is_told = False
        """*Loop:* whether it was told of that it does not end."""
        self._owner = owner
        self._loop = loop
        self._response = response
        self._context = context
        self._task: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._tail: EventTail | None = None
        self._must_announce = False
        self._is_queued = False  # of the loop

    def _enter(self, state: BodyState) -> None:
        """The one place where the state changes."""
        if state not in MOVES[self.state]:
            raise RuntimeError(f"a body cannot go from {self.state.name} to {state.name}")
        self.state = state

    # --- any thread --------------------------------------------------------------------------

    def begin(self) -> None:
        """*Any thread:* have it awaited from now on. Harmless if repeated."""
        self.begun_at = time.monotonic()
        self._call(self._start)

    def resume(self) -> None:
        """*Loop:* the client has taken what it was suspended for."""
        self._call(self._have_room)

    def leave(self) -> None:
        """*Loop:* nobody is there to take anything any more."""
        self.cancel(End.LEFT)

    def break_off(self) -> None:
        """*Any thread:* it has taken too long."""
        self.cancel(End.TIMEOUT)

    def cancel(self, end: End) -> None:
        """*Any thread:* no more of it is wanted. Nothing, where that was so before."""
        self._call(self.stop, end)

    def cancel_again(self) -> None:
        """*Any thread:* it goes on although it was cancelled."""
        self._call(self._cancel_again)

    def stack(self) -> list[str]:
        """*Any thread:* what it awaits, or is doing just now, outermost call first."""
        task = self._task
        if task is None:
            return []
        return self._loop.stack() if awaiting.is_running(task) else awaiting.stack_of(task)

    def _call(self, function: object, *args: object) -> None:
        if not self._loop.call(function, *args):  # type: ignore[arg-type]
            self.exchange.post(self)  # that loop has ended, and nobody awaits anything any more

    def on_wake(self) -> None:
        """*Loop:* it is to be closed; once, whoever says so."""
        if self.exchange.live is self and not self._is_queued:
            self._is_queued = True
            self.exchange.resume_to_close()

    def disown(self, writer: Writer) -> None:
        """See :meth:`.WSGIResponse.disown`."""
        self._response.disown(writer)

    # --- pool thread -------------------------------------------------------------------------

    def advance(self) -> Step:
        """*Pool thread, in the request's own Context:* close what the application has returned."""
        self.abandon()
        return _DONE

    def abandon(self) -> None:
        """*Pool thread, in the request's own Context:* the same. May be called again."""
        self._response.abandon()
        self._enter(_OVER)
        self._owner.drop(self)

    # --- application loop --------------------------------------------------------------------

    def _start(self) -> None:
        """*Application loop.*"""
        if self.state is _HANDED and self._task is None:
            self._task = self._loop.loop.create_task(self._run(), context=self._context)

    def _have_room(self) -> None:
        """*Application loop.*"""
        room = self._room
        if room is not None and not room.done():
            room.set_result(None)

    def stop(self, end: End) -> None:
        """*Application loop:* see :meth:`cancel`. It is never cancelled before it has begun: a
        task's coroutine would not run at all then."""
        if self.end is not None:
            return
        self._set_end(end)
        self.cancelled_at = self.ended_at
        if end is End.STOPPED and self.is_event_stream:
            self._complete()  # its client is to have it at once, whatever it does about that
        if self.state is not _HANDED and self._task is not None:
            self._task.cancel()

    def _cancel_again(self) -> None:
        """*Application loop.*"""
        task = self._task
        if task is not None and self.state in (_RUNNING, _BEHIND, _ENDING):
            self.cancelled_at = self.ended_at = time.monotonic()
            task.cancel()

    def _set_end(self, end: End) -> None:
        self.ended_at = time.monotonic()
        self.end = end  # the last one: who sees it looks at the others

    def announce(self) -> None:
        """*Application loop:* the server is about to stop. An event stream has its client told how
        soon to come again, as soon as that is not within an event."""
        self._must_announce = True
        if self.state is _RUNNING and self.end is None:
            self._announce()

    def _announce(self) -> None:
        tail = self._tail
        if tail is None or not tail.is_between_events:
            return
        self._must_announce = False
        self.marks += 1
        with contextlib.suppress(ClientDisconnected):  # it is about to be told
            self._response.take(retry_event())

    async def _run(self) -> None:
        self._enter(_RUNNING)
        try:
            with context_for_body():
                await self._produce()
                self._enter(_ENDING)
                await self._close_generators()
        except BaseException as error:  # the loop has ended, or there is no memory
            if self.state is _OVER:
                return  # it is closed, and this coroutine is only being collected
            self._fail(error)
        self._room = None
        if self.state is not _ENDING:
            self._enter(_ENDING)
        self._enter(_CLOSING)
        self._owner.close_soon(self)

    async def _produce(self) -> None:
        response = self._response
        try:
            if self.end is None:
                if self.exchange.writer.gone:
                    raise ClientDisconnected("the client has gone")
                if response.go_live() is _PARKED:
                    await self._await_client()
                await self._iterate()
        except GeneratorExit:
            raise  # nobody may await any more
        except BaseException as error:  # SystemExit must not end the loop
            self._fail(error)
        else:
            if self.end is None:
                self._set_end(End.ENDED)
            elif self.end is not End.ENDED:
                self._cut_short()

    def _fail(self, error: BaseException) -> None:
        """It has raised, on its own or as it was cancelled."""
        if self.end is None:
            self._set_end(End.LEFT if isinstance(error, ClientDisconnected) else End.ERROR)
            frameworks.advise(error)
            self._response.fail(error)
        elif isinstance(error, asyncio.CancelledError | ClientDisconnected | GeneratorExit):
            self._cut_short()
        else:
            self.exchange.app_error("the application raised as its body was cancelled", error)
            self._cut_short()

    def _cut_short(self) -> None:
        """No more of it was wanted, and it has obeyed: the client, where it is there, can tell."""
        if not (self.end is End.STOPPED and self.is_event_stream):  # which is complete
            self._response.fail(ClientDisconnected("no more of it is wanted"))

    def _complete(self) -> None:
        """End the response as if the body had come to its end."""
        try:
            self._response.end()
        except Exception as error:
            self._response.fail(error)

    async def _iterate(self) -> None:
        response, iterator = self._response, self._response.async_iterator
        assert iterator is not None
        step_on = type(iterator).__anext__
        take = response.take
        if self.is_event_stream:
            self._tail = EventTail()
        has_begun = False
        left = TURN
        while True:
            if self._must_announce and self.end is None:
                self._announce()
            try:
                chunk = await step_on(iterator)
            except StopAsyncIteration:
                if self.end is None:
                    response.end()
                return
            if self.end is not None:
                return  # it has caught that it was cancelled
            step = take(chunk)
            if chunk:
                self.marks += 1
                if not has_begun:
                    has_begun = True  # only now its head is known for certain
                    self.is_event_stream = response.is_event_stream
                    self._tail = (self._tail or EventTail()) if self.is_event_stream else None
                if self._tail is not None:
                    self._tail.feed(chunk)
            if step is _PARKED:
                await self._await_client()
            elif step is _DONE:
                return
            left -= 1
            if not left:
                left = TURN
                await asyncio.sleep(0)

    async def _await_client(self) -> None:
        """The pipe has as much as it may: wait until the client has taken it."""
        pipe = self.exchange.writer.pipe
        assert isinstance(pipe, ResponsePipe)
        self._room = room = self._loop.loop.create_future()
        self._enter(_BEHIND)
        self.marks += 1
        if pipe.park():
            await room
        self._room = None
        self._enter(_RUNNING)
        self.marks += 1
        if self.exchange.writer.gone:
            raise ClientDisconnected("the client has gone")

    async def _close_generators(self) -> None:
        """First the one that was asked; then those inside it that nobody else closes."""
        iterator = self._response.async_iterator
        inner = frameworks.inner(self._response.iterable)
        for generator in (iterator, *inner):
            aclose = getattr(generator, "aclose", None)
            if aclose is None:
                continue
            try:
                await aclose()
            except asyncio.CancelledError:
                pass  # again: it has taken too long
            except BaseException as error:
                self.exchange.app_error("closing the asynchronous body raised", error)


RUN = Body._run
"""What is at the root of the stack of all code that a body runs in its own task."""
