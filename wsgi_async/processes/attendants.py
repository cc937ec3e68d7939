"""Processes beside those that serve: one watches files, one shows how the server is.

None of them has an application, or a client of one, so that their lives and deaths disturb nobody.
Each has a channel; one that is worth it is started again, after pauses, and all end with the
parent.
"""

from __future__ import annotations

import contextlib
import enum
import math
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from wsgi_async.events import Observer

from .channel import Channel, Word
from .forking import Forked, end_child, fork_with_channel
from .pauses import STEADY, Pauses

__all__ = ["ATTENDANT_MOVES", "TERMS", "Attendant", "AttendantState", "Attendants", "Duty", "Work"]

Work = Callable[[Channel], int]
"""What it does, *in a process of its own*, until the other end of its channel is closed, which may
be when its parent is gone: ends with an exit code. Its first word says that it is at work."""


class Duty(enum.Enum):
    """What attendants are for; started in this order, and ended."""

    WATCHING = "The process that watches files"
    OPERATING = "The operations process"


class Terms(NamedTuple):
    """What becomes of an attendant."""

    lament: str = ""
    """Said when it has ended, where it is for good. Empty: it is started again."""
    awaited: float = 0.0
    """Seconds, at most, for which nothing else is started until it is at work."""
    late: str = ""
    """What is said then."""
    silence: float = math.inf
    """Seconds without a word from it, after which it is killed."""
    grace: float = 0.0
    """Seconds for its end, if it is at work."""
    is_renewed: bool = False
    """Whether a reload replaces it, so that it has the options as they are then."""


TERMS: dict[Duty, Terms] = {
    Duty.WATCHING: Terms(
        lament="Files are not watched any more: restart to have them watched",
        awaited=10.0,  # it takes 0.2
        late="Files are not watched yet",
    ),
    Duty.OPERATING: Terms(silence=30.0, grace=2.0, is_renewed=True),
}


class AttendantState(enum.Enum):
    """Where an attendant stands."""

    WAITING = "it is to be forked, once its time has come"
    STARTING = "it has been forked, and has said nothing yet"
    WORKING = "it has said something"
    LEAVING = "it has been told to end, for another one is to have its place"
    OVER = "it has ended for good"


ATTENDANT_MOVES: dict[AttendantState, set[AttendantState]] = {
    # A fork may fail.
    AttendantState.WAITING: {
        AttendantState.STARTING,
        AttendantState.WAITING,
        AttendantState.OVER,
    },
    AttendantState.STARTING: {
        AttendantState.WORKING,
        AttendantState.LEAVING,
        AttendantState.WAITING,
        AttendantState.OVER,
    },
    AttendantState.WORKING: {
        AttendantState.LEAVING,
        AttendantState.WAITING,
        AttendantState.OVER,
    },
    AttendantState.LEAVING: {AttendantState.WAITING, AttendantState.OVER},
    AttendantState.OVER: set(),
}

LEAVES_WITHIN = 10.0
"""Seconds for one that is to be replaced, after which it is killed: nobody waits for it."""

_SERVING = (AttendantState.STARTING, AttendantState.WORKING)
_LIVING = (*_SERVING, AttendantState.LEAVING)


class Attendant:
    """One of them, as its parent knows it.

    :param duty: what it is for.
    :param work: what it does.
    :param observer: told of its deaths.
    """

    def __init__(self, duty: Duty, work: Work, observer: Observer) -> None:
        self.duty = duty
        self.state = AttendantState.WAITING
        self.pid = 0
        """0 while there is none."""
        self.channel: Channel | None = None
        """The way to it. Who leaves has it until its end: what it says was asked of it before."""
        self.terms = TERMS[duty]
        self._work = work
        self._observer = observer
        self._pauses = Pauses()
        self._starts_at = -math.inf
        self.restarts = 0
        """How often it was to be started again."""
        self._began = self._heard_at = 0.0

    def enter(self, state: AttendantState) -> None:
        """The one place where its state changes."""
        if state not in ATTENDANT_MOVES[self.state]:
            raise RuntimeError(
                f"{self.duty.value} cannot go from {self.state.name} to {state.name}"
            )
        self.state = state

    @property
    def due(self) -> float:
        """When it is to be forked, or killed, at the latest."""
        if self.state is AttendantState.WAITING:
            return self._starts_at
        if self.state is AttendantState.LEAVING:
            return self._heard_at + LEAVES_WITHIN
        return self._heard_at + self.terms.silence if self.state in _SERVING else math.inf

    def start(self, now: float, leave_parent: Callable[[], object]) -> bool:
        """Fork it. Where there can be no more processes or descriptors it waits for another time.

        :param leave_parent: drops, in the new process, what is the parent's alone.
        :returns: whether there is one.
        """
        try:
            pid, channel = fork_with_channel()
        except OSError as error:
            self.ended(error.strerror or str(error), now)
            return False
        if not pid:
            leave_parent()
            raise Forked(partial(self._work, channel))
        self.enter(AttendantState.STARTING)
        self.pid, self.channel = pid, channel
        self._began = self._heard_at = now
        return True

    def listen(self, now: float) -> list[Word]:
        """What it has said."""
        words = self.channel.listen() if self.channel is not None else []
        if words and self.state is not AttendantState.LEAVING:  # whose time does not begin anew
            self._heard_at = now
            if self.state is AttendantState.STARTING:
                self.enter(AttendantState.WORKING)
        return words

    def ended(self, how: str, now: float, *, is_stopping: bool = False) -> None:
        """It has ended, or could not be forked: decide what that means for the next one.

        :param how: in words.
        :param is_stopping: whether the server is: then nothing is missed that is over anyway.
        """
        self.close()
        if self.state is AttendantState.LEAVING:
            self.enter(AttendantState.WAITING)
            self._starts_at = now
            return
        if self.terms.lament:
            self.enter(AttendantState.OVER)
            if not is_stopping:
                self._observer.error(self.terms.lament)
            return
        if self.state in _SERVING and now - self._began >= STEADY:
            self._pauses.reset()
        self.restarts += 1
        pause = self._pauses.next()
        self.enter(AttendantState.WAITING)
        self._starts_at = now + pause
        when = f"in {pause:g} s" if pause else "at once"
        self._observer.error(f"{self.duty.value} ended: {how}. It is started {when}")

    def kill(self, now: float) -> None:
        """It has said nothing for too long, or has not ended in time: it hangs."""
        what = f"has not shown for {self.terms.silence:g} s that it lives"
        if self.state is AttendantState.LEAVING:
            what = "has not ended in time"
        self._observer.error(f"{self.duty.value} (process {self.pid}) {what}, and is killed")
        self._heard_at = now
        self._signal(signal.SIGKILL)

    def renew(self, now: float) -> None:
        """A reload: have another one in its place. What has ended one before is mended, perhaps:
        the next one waits for no time."""
        self._pauses.reset()
        self._starts_at = -math.inf
        if self.state not in _SERVING or self.channel is None:
            return
        if self.state is AttendantState.STARTING:  # nobody relies on it yet
            self._signal(signal.SIGTERM)
        self.enter(AttendantState.LEAVING)
        self._heard_at = now
        self.channel.say("retire")

    def _signal(self, number: signal.Signals) -> None:
        # It is a child that was not reaped, so the number is still its own.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def excuse(self, now: float) -> None:
        """Nobody could say anything before."""
        self._heard_at = now

    def end(self) -> None:
        """End it for good, and wait until it has ended."""
        grace = self.terms.grace if self.state is AttendantState.WORKING else 0.0
        is_living, pid = self.state in _LIVING, self.pid
        self.close()
        if self.state is not AttendantState.OVER:
            self.enter(AttendantState.OVER)
        if is_living:
            end_child(pid, grace)

    def close(self) -> None:
        """Drop the way to it."""
        self.pid = 0
        if self.channel is not None:
            self.channel.close()
            self.channel = None


class Attendants:
    """All of one parent.

    :param works: what they do; nobody is started for a duty with None.
    :param observer: told of their deaths.
    :param selector: their words are heard by it, its data being the :class:`Attendant`.
    :param leave_parent: see :meth:`Attendant.start`.
    """

    def __init__(
        self,
        works: Mapping[Duty, Work | None],
        observer: Observer,
        selector: selectors.BaseSelector,
        leave_parent: Callable[[], object],
    ) -> None:
        self._all = [
            Attendant(duty, work, observer)
            for duty in Duty
            if (work := works.get(duty)) is not None
        ]
        self._observer = observer
        self._selector = selector
        self._leave_parent = leave_parent

    def __iter__(self) -> Iterator[Attendant]:
        return iter(self._all)

    def restarts(self, duty: Duty) -> int:
        """How often the one for it was to be started again."""
        return sum(attendant.restarts for attendant in self._all if attendant.duty is duty)

    def begin(self) -> None:
        """Start them. Who is awaited is at work, or has ended, or a signal has come."""
        for attendant in self._all:
            self._start(attendant, time.monotonic())
            terms = attendant.terms
            is_awaited = terms.awaited and attendant.state is AttendantState.STARTING
            if is_awaited and not self._selector.select(terms.awaited):
                self._observer.info(terms.late)

    def next_time(self) -> float:
        """When :meth:`tick` has something to do at the latest."""
        return min((attendant.due for attendant in self._all), default=math.inf)

    def tick(self, now: float) -> None:
        """Time has passed."""
        for attendant in self._all:
            if attendant.due > now:
                continue
            if attendant.state is AttendantState.WAITING:
                self._start(attendant, now)
            else:
                attendant.kill(now)

    def overslept(self, now: float) -> None:
        """The parent did not run for a while, and so perhaps nobody did."""
        for attendant in self._all:
            attendant.excuse(now)

    def renew(self) -> None:
        """A reload: see :meth:`Attendant.renew`."""
        for attendant in self._all:
            if attendant.terms.is_renewed:
                attendant.renew(time.monotonic())

    def hear(self, attendant: Attendant) -> list[Word]:
        """What one has said."""
        words = attendant.listen(time.monotonic())
        if attendant.channel is not None and not attendant.channel.is_open:
            self._forget(attendant)
        return words

    def tell(self, word: str) -> None:
        """A word to all of them."""
        for attendant in self._all:
            if attendant.channel is not None:
                attendant.channel.say(word)

    def buried(self, pid: int, how: str, *, is_stopping: bool) -> None:
        """A child has ended, one of them perhaps."""
        for attendant in self._all:
            if pid and attendant.pid == pid:
                self._forget(attendant)
                attendant.ended(how, time.monotonic(), is_stopping=is_stopping)

    def end(self) -> None:
        """End them for good, in order, and wait until they have ended."""
        for attendant in self._all:
            self._forget(attendant)
            attendant.end()

    def close(self) -> None:
        """*In a new process:* they are none of its own."""
        for attendant in self._all:
            attendant.close()

    def _start(self, attendant: Attendant, now: float) -> None:
        if attendant.start(now, self._leave_parent):
            assert attendant.channel is not None
            self._selector.register(attendant.channel, selectors.EVENT_READ, attendant)

    def _forget(self, attendant: Attendant) -> None:
        if attendant.channel is not None:
            with contextlib.suppress(KeyError):  # its end was read before
                self._selector.unregister(attendant.channel)
