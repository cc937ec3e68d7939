"""A bounded pool of threads. It knows tasks, not HTTP.

Guarantees:

* At most `threads` tasks run at once, those of lost threads not counted; each thread is a daemon
  and has a name.
* ``submit`` refuses (returns False) instead of growing its queue beyond `queue_size`.
* ``submit_urgent`` never refuses: resumed iterations and closes must always find a place.
  The two queues are served alternately, so neither can starve the other.
* A task that raises, ``SystemExit`` included, costs nobody a thread.
* Whatever is raised in a thread, wherever that is (``PyThreadState_SetAsyncExc``: timeout
  decorators), costs that thread at most, which is replaced. A task that it had not begun goes back
  to the head of its queue; one that it had is told so (:meth:`Task.abandon`).
* A task that never returns costs nobody a thread either, once somebody has said so: :meth:`lose`
  gives its thread up and starts another. A lost thread never takes a task again.
* A task that waits for a client need not cost a thread: :meth:`stand_in` has another one take its
  thread's place. That thread may run again, to the end of its task, only while one of the others
  waits (:mod:`.stand_ins`). Where none does for a second, for all may need what it holds, one such
  thread goes on all the same.
* There are never more than `threads` + `max_lost` + `max_aside` threads, and a few spare ones for
  calls that wait for a thread and are no tasks (:mod:`.errands`).
* A task is either run or, if it is withdrawn before, not; never both.
* No lock is held while a task runs.

What a thread holds is written down in its :class:`.places.Place`, so that nothing is lost where it
is struck; and :meth:`ThreadPool._settle` gives it all back. It may be struck itself, and so may be
called again and again. The thread does so twice; after that, and where it was struck before it
began, :meth:`ThreadPool.mend` does, on the loop.

Threads wake in a chain: a submit wakes at most one sleeping thread, and a woken thread wakes the
next only if work remains. Waking eight threads for eight tiny tasks makes them fight over the GIL.
The most recently idle thread is woken first: its stack and its caches are warm, and spare threads
stay asleep.

A loop that submits has that thread woken at the end of its turn (`soon`), not in the middle. uvloop
takes and gives back the GIL for each socket that it reads: a thread that was awake by then took it
in between, and the two changed places for every request.
"""

from __future__ import annotations

import contextlib
import enum
import operator
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, NamedTuple

from .errands import Errand, Errands
from .places import Orphan, Place, Stage, Standing
from .stand_ins import Permit, StandIn
from .task_queues import TaskQueues
from .tasks import Call, T, Task

__all__ = ["Call", "Running", "Task", "ThreadPool"]

CLAIM_TIME = 1.0
"""Seconds that a thread which stands aside waits for one that is free, before it may go on as the
only one beside all others."""

TRIES = 8
"""How many threads a task may cost that fails to be abandoned."""


class Running(NamedTuple, Generic[T]):
    """A thread at work."""

    ident: int
    name: str
    task: T
    is_lost: bool


_TAKEN = Stage.TAKEN
_CALLED = Stage.CALLED
_OVER = Stage.OVER
_SERVING = Standing.SERVING
_ASIDE = Standing.ASIDE
_LOST = Standing.LOST
_SHIELDED = Standing.SHIELDED
_TOLD = Standing.TOLD


class _PoolState(enum.Enum):
    """Where the pool is in its life."""

    OPEN = "its threads wait for tasks"
    STOPPING = "each thread ends where no task waits"
    ENDED = "none is left, and somebody tells so or has done so"

    __hash__ = object.__hash__


_OPEN = _PoolState.OPEN
_STOPPING = _PoolState.STOPPING
_ENDED = _PoolState.ENDED

_STATES: dict[_PoolState, set[_PoolState]] = {
    _OPEN: {_STOPPING},
    _STOPPING: {_ENDED},
    # Who tells of it may be struck: whoever settles that thread says it again.
    _ENDED: {_STOPPING},
}


class ThreadPool(Generic[T]):
    """A fixed number of daemon threads behind two queues.

    :param threads: how many tasks may run at once, at least 1.
    :param queue_size: how many tasks may wait beyond the threads that are free, at least 0.
    :param name: threads are called ``name-1``, ``name-2`` …
    :param max_lost: how many lost threads are replaced. At so many ``submit`` refuses, whatever
        the queue, until one of them returns.
    :param max_aside: how many threads may stand aside, see :meth:`stand_in`.
    :param on_error: told of an exception that a task let out. *Pool thread.*
    :param on_returned: told of the task of a lost thread that has returned or raised at last, when
        the pool does not count the thread any more, and how many seconds after it was lost. *Pool
        thread.*
    :param soon: the ``call_soon`` of the loop that submits all tasks, and nobody else does; it is
        to outlive the pool. Default: a thread is woken at once, and anybody may submit.
    """

    def __init__(
        self,
        threads: int,
        queue_size: int,
        *,
        name: str = "wsgi_async",
        max_lost: int = 0,
        max_aside: int = 0,
        on_error: Callable[[BaseException], None],
        on_returned: Callable[[T, float], object] | None = None,
        soon: Callable[[Callable[[], object]], object] | None = None,
    ) -> None:
        self.threads = threads
        self.max_lost = max_lost
        self.max_aside = max_aside
        self.submitted = 0
        """Tasks accepted so far: one crossing of the thread line each."""
        self.completed = 0
        """Of the tasks of :meth:`submit`, those that have returned or raised: what became of the
        queue. Urgent tasks go on with something that was counted here."""
        self._name = name
        self._on_error = on_error
        self._on_returned = on_returned
        self._soon = operator.call if soon is None else soon
        self._lock = threading.Lock()
        self._queues: TaskQueues[T] = TaskQueues(queue_size)
        self._sleepers: list[threading.Lock] = []
        self._waking: threading.Lock | None = None
        """The one that was woken last and is not awake yet. Nobody else is woken meanwhile."""
        self._places: set[Place[T]] = set()
        self._lost: set[Place[T]] = set()
        self._aside: set[Place[T]] = set()
        self._extra: Place[T] | None = None
        """The one that stands aside and runs although nobody waits instead."""
        self._started = 0
        self._starting = threading.Lock()
        """Held while threads are started: a thread that is not alive has ended."""
        self._errands = Errands(name)
        self._is_short = False
        """Whether the system did not let a thread start, in whatever state the pool is: it is told
        of once, and tried again."""
        self._state = _OPEN
        self._on_stopped: Callable[[], object] = int

    def start(self) -> None:
        """*Any thread, once:* start the threads."""
        with self._lock:
            places = [self._add_place() for _ in range(self.threads)]
        with self._starting:
            for place in places:
                self._start_thread(place)

    def _add_place(self) -> Place[T]:
        """With the lock held."""
        self._started += 1
        place: Place[T] = Place(f"{self._name}-{self._started}")
        self._places.add(place)
        return place

    def _start_thread(self, place: Place[T]) -> None:
        """With `_starting` held."""
        place.thread = threading.Thread(
            target=self._work, args=(place,), name=place.name, daemon=True
        )
        place.thread.start()

    @property
    def queued(self) -> int:
        """*Any thread:* tasks that wait for a thread now."""
        return self._queues.waiting

    @property
    def alive(self) -> int:
        """*Any thread:* threads that have not ended, lost ones not counted."""
        return len(self._places) + len(self._aside)

    @property
    def busy(self) -> int:
        """*Any thread:* of those, the ones that run a task now, or are about to; those that stand
        aside not counted, for others wait while they do."""
        return len(self._places) - len(self._sleepers)

    @property
    def lost(self) -> int:
        """*Any thread:* lost threads that have not returned."""
        return len(self._lost)

    @property
    def aside(self) -> int:
        """*Any thread:* threads that stand aside, see :meth:`stand_in`."""
        return len(self._aside)

    @property
    def is_exhausted(self) -> bool:
        """*Any thread:* whether ``submit`` refuses because too many threads are lost."""
        return 0 < self.max_lost <= len(self._lost)

    @property
    def full(self) -> bool:
        """*Any thread:* whether ``submit`` would refuse now."""
        queues = self._queues
        waiting = len(queues.new) - len(queues.withdrawn)
        return waiting >= queues.room + len(self._sleepers) + (self._waking is not None)

    @property
    def oldest(self) -> T | None:
        """*Any thread:* of the tasks of :meth:`submit`, the one that has waited the longest."""
        with self._lock:
            return self._queues.heads[0]

    def running(self) -> list[Running[T]]:
        """*Any thread:* what each thread runs, or has just run, the lost ones included."""
        with self._lock:
            return [
                Running(place.ident, place.name, task, place in self._lost)
                for place in self._all_places()
                if (task := place.own_task) is not None
            ]

    def at_work(self) -> list[tuple[int, int]]:
        """*Any thread:* of each thread that runs something, or has just run it, the ident and the
        system's number."""
        with self._lock:
            return [
                (place.ident, place.thread.native_id or 0)
                for place in self._all_places()
                if place.own_task is not None and place.thread is not None
            ]

    def waiting(self) -> list[T]:
        """*Any thread:* the tasks of :meth:`submit` that wait for a thread, in their order."""
        with self._lock:
            queues = self._queues
            return [task for task in queues.new if task not in queues.withdrawn]

    def own_task(self) -> T | None:
        """*A pool thread, where it is the only thread there is:* its task. Takes no lock, which a
        thread that a fork has left behind may hold."""
        ident = threading.get_ident()
        places = self._all_places()
        return next((place.own_task for place in places if place.ident == ident), None)

    def _all_places(self) -> list[Place[T]]:
        return [*self._places, *self._lost, *self._aside]

    def neglected(self) -> tuple[object, object] | None:
        """*Any thread:* the tasks at the heads of the two queues, where a thread has nothing to do,
        be it that it sleeps or that it is about to wake; else None."""
        with self._lock:
            heads = self._queues.heads
            if heads == (None, None):
                return None
            held = {place.held for place in self._aside}
            is_idle = any(
                place.task is None and place.sleeper not in held for place in self._places
            )
            return heads if is_idle else None

    def submit(self, task: T) -> bool:
        """*Any thread, or the loop of `soon`:* queue a task.

        :returns: False, and nothing done, where the queue is full.
        """
        # Not acquire() and release(): a signal's handler may raise between the two and their `try`.
        with self._lock:
            sleepers, queues = self._sleepers, self._queues
            # What `full` asks first, and _sleeper_to_wake(), written out: every request comes by.
            if len(queues.new) >= queues.room + len(sleepers) and self.full:
                return False
            self.submitted += 1
            queues.new.append(task)
            if self._waking is not None or not sleepers:
                return True
            self._waking = sleeper = sleepers[-1]
            del sleepers[-1]
        self._wake_soon(sleeper)
        return True

    def submit_errand(self, errand: Errand) -> None:
        """*Any thread, or the loop of `soon`:* have a function called, by a spare thread if all are
        busy for long: see :mod:`.errands`."""
        self._errands.add(errand)
        self.submit_urgent(errand)

    def submit_urgent(self, task: T | Errand) -> None:
        """*Any thread, or the loop of `soon`:* queue a task that must not be refused."""
        with self._lock:
            self.submitted += 1
            self._queues.urgent.append(task)
            sleeper = self._sleeper_to_wake()
        if sleeper is not None:
            self._wake_soon(sleeper)

    def _wake_soon(self, sleeper: threading.Lock) -> None:
        try:
            self._soon(sleeper.release)
        except Exception:  # the loop is closed, and has no further turn; or memory has run out
            sleeper.release()

    def withdraw(self, task: T) -> bool:
        """*Any thread:* take a task out of the queue again.

        :param task: one that :meth:`submit` has accepted. Where this returns True it will not be
            run, and from now on its ``has_begun`` is to be True.
        :returns: False, and nothing done, where a thread has it, or had it.
        """
        with self._lock:
            if task in self._queues.withdrawn or task.has_begun:
                return False
            # A thread shows in its place what it has taken, until that says that it has begun.
            if any(place.task is task for place in self._all_places()):
                return False
            self._queues.withdraw(task)  # the last call: what is withdrawn is told to be
        return True

    def lose(self, task: T) -> int | None:
        """*Any thread:* give up the thread that runs a task.

        It never takes another one, and does not keep :meth:`stop` waiting. Another thread takes
        its place, unless `max_lost` of them were replaced already and have not returned: then as
        soon as one of those has.

        :returns: the thread's ident; None, and nothing done, where no thread runs it any more.
        """
        with self._lock:
            places = (*self._places, *self._aside)
            place = next((place for place in places if place.task is task), None)
            if place is None:
                return None
            place.change(_LOST)
            place.lost_at = time.monotonic()
            self._places.discard(place)
            self._aside.discard(place)
            self._lost.add(place)
            self._replace_lost()
        self._give_way(place)
        self._start_threads()
        self._tell_end()
        return place.ident

    def interrupt(self, task: T, strike: Callable[[int], bool]) -> bool | None:
        """*Any thread:* do something to the lost thread that runs a task, while it still does: at
        most once, for it takes no other task, but has to be counted.

        :param strike: given the thread's ident, with the lock held; returns False where it did
            nothing, so that it may be tried again. It may raise :class:`RequestTimeout` there.
        :returns: what that returned; None where nothing is to be struck any more.
        """
        with self._lock:
            for place in self._lost:
                if place.task is task and place.standing is _LOST:
                    has_struck = strike(place.ident)
                    if has_struck:
                        place.change(_SHIELDED)
                    return has_struck
        return None

    def stand_in(self) -> StandIn | None:
        """*Pool thread, in its task:* have another thread take its place, for it is about to wait.

        It goes on by what this returns: it is to ``release`` before it waits, and to ``claim``
        after that, any number of times. It takes no other task, and ends with the one it has.

        :returns: None where it keeps its place: `max_aside` have none, no thread can be started,
            too many are lost, the pool stops, or the thread is lost.
        """
        with self._lock:
            place = self._place_here()
            if place is None or self._state is not _OPEN or not self._has_room_aside():
                return None
            # Struck from here on, it ends with its task and is replaced.
            place.change(_ASIDE)
            self._aside.add(place)
            self._places.discard(place)
            self._replace_lost()
        self._start_threads()
        if self._is_short and self._came_back(place):
            return None
        return StandIn(lambda: self._claim(place), lambda: self._give_way(place))

    def _has_room_aside(self) -> bool:
        """With the lock held: whether there may be one more, and another one in its place. Of those
        that are lost some may have stood aside."""
        can_be_replaced = len(self._places) + len(self._lost) <= self.threads + self.max_lost
        return can_be_replaced and len(self._aside) < self.max_aside

    def _place_here(self) -> Place[T] | None:
        ident = threading.get_ident()
        for place in self._places:
            if place.ident == ident:
                return place
        return None

    def _came_back(self, place: Place[T]) -> bool:
        """Give a thread its place back, if nobody has it."""
        with self._lock:
            if place.standing is not _ASIDE or len(self._places) >= self.threads:
                return False
            self._places.add(place)
            place.change(_SERVING)
            self._aside.discard(place)
        return True

    def _claim(self, place: Place[T]) -> None:
        """Have one of the others wait, so that this thread, which stands aside, may run."""
        with self._lock:
            # Of one that has ended nobody would take back what it is given here.
            if place not in self._aside or self._state is not _OPEN:
                return
            if self._sleepers:
                place.held = self._sleepers[0]  # the coldest
                del self._sleepers[0]
                return
            permit = place.permit = Permit()
            self._queues.urgent.append(permit)  # nobody sleeps that would have to be woken
        while not permit.await_grant(CLAIM_TIME):
            # Perhaps all of them wait for something that this one holds.
            with self._lock:
                if place.standing is not _ASIDE:
                    return
                if self._extra is None:
                    self._extra = place
                    return

    def _give_way(self, place: Place[T]) -> None:
        """What may run in place of this thread, which stood aside, or stands so, may run again."""
        if place.held is not None:
            self._give_back(place)
        if place.permit is not None:
            place.permit.end()
        if self._extra is place:  # nobody else makes it another one then
            self._extra = None

    def _give_back(self, place: Place[T]) -> None:
        try:
            with self._lock:
                sleeper = place.held
                if sleeper is None:
                    return
                if self._state is not _OPEN:
                    if sleeper.locked():
                        sleeper.release()
                    place.held = None
                else:
                    self._let_sleep(place, sleeper)
                if place.next is None and (self._queues.new or self._queues.urgent):
                    self._choose_next(place)
            self._wake_next(place)
        except BaseException:
            self._wake_next(place)  # it may have been struck, and its task goes on for long
            raise

    def _let_sleep(self, place: Place[T], sleeper: threading.Lock) -> None:
        """With the lock held: have one that was left asleep for `place` be one that may be woken,
        unless it was struck meanwhile and has ended."""
        sleepers = self._sleepers
        if sleeper in [other.sleeper for other in self._places]:
            sleepers = [sleeper, *sleepers]  # it is the coldest still
        # No call comes between: struck before, this is done again, and after that it is not.
        place.held, self._sleepers = None, sleepers

    def stop(self, on_stopped: Callable[[], object]) -> None:
        """*Any thread, once:* let the threads end when both queues are empty.

        Threads that stand aside wait for no other any more: there may be little time for them.

        `on_stopped` is called by the last of them. Lost threads are not awaited. A task that never
        returns keeps its thread; being a daemon, that thread does not keep the process.
        """
        with self._lock:
            self._on_stopped = on_stopped
            self._enter(_STOPPING)
            sleepers, self._sleepers = self._sleepers, []
            permits = [place.permit for place in self._aside if place.permit is not None]
        for sleeper in sleepers:
            sleeper.release()
        for permit in permits:
            permit.grant()
        self._tell_end()

    def mend(self) -> None:
        """*Any thread, now and then:* replace threads that have ended without a word: one that was
        struck before it began, or in its own code again and again; and see that errands are run."""
        if self._errands:
            self._errands.look()
        if self._starting.locked():
            return  # the next time will do: the loop does not wait for others to start theirs
        with self._starting, self._lock:
            places = self._all_places()
            dead = [place for place in places if place.thread and not place.thread.is_alive()]
            if self._is_short:
                self._replace_lost()
        for place in dead:
            self._settle(place)
        self._start_threads()
        self._tell_end()

    # --- with the lock held --------------------------------------------------------------------

    def _enter(self, state: _PoolState) -> None:
        """The one place where the state changes, but for :meth:`_tell_end`, which takes it back."""
        if state not in _STATES[self._state]:
            raise RuntimeError(f"a pool cannot go from {self._state.name} to {state.name}")
        self._state = state

    def _replace_lost(self) -> None:
        """Make places for threads, which are to be started."""
        self._queues.set_room(refuses=self.is_exhausted)
        wanted = self.threads - len(self._places)
        if self._state is _ENDED:
            wanted = 0
        elif self._state is _STOPPING:
            wanted = min(wanted, self.queued)
        allowed = self.threads + self.max_lost - len(self._places) - len(self._lost)
        for _ in range(min(wanted, allowed)):
            self._add_place()

    def _sleeper_to_wake(self) -> threading.Lock | None:
        """The one sleeping thread to wake for the work at hand, if any."""
        if self._waking is not None or not self._sleepers:
            return None
        self._waking = sleeper = self._sleepers[-1]
        del self._sleepers[-1]
        return sleeper

    def _choose_next(self, place: Place[T]) -> None:
        """Have a thread wake the next one, as :meth:`_sleeper_to_wake`."""
        queues = self._queues
        if queues.withdrawn and not queues.waiting:
            return  # nothing is left but what nobody will run
        if self._waking is None and self._sleepers:
            place.next = self._waking = self._sleepers[-1]
            del self._sleepers[-1]

    def _take_back(self, place: Place[T]) -> None:
        """Take from a thread that ends what it holds. Nothing that was taken before."""
        if place.sleeper in self._sleepers:
            self._sleepers.remove(place.sleeper)
        if self._waking is place.sleeper:
            self._waking = None
        task, stage, is_new = place.task, place.stage, place.counts
        if stage is _OVER or task is None:
            return
        if stage is _TAKEN and place.standing is _SERVING:
            queues = self._queues
            back: deque[T] | deque[T | Orphan[T] | Permit | Errand]
            back = queues.new if is_new else queues.urgent
            # No call comes between: what it holds is here or there.
            place.stage, place.counts = _OVER, False
            back.appendleft(task)  # type: ignore[arg-type]
            return
        orphan: Orphan[T] = task if isinstance(task, Orphan) else Orphan(task, place.turn)
        orphan.tries += 1
        self.completed += is_new
        place.stage, place.counts = _OVER, False
        if orphan.tries <= TRIES:
            self._queues.urgent.appendleft(orphan)

    # --- threads -------------------------------------------------------------------------------

    def _start_threads(self) -> None:
        """Start those for which there is a place, as far as the system allows."""
        with self._starting:
            self._start_each()

    # No loop stands beneath a lock in the same function, see _shield().

    def _start_each(self) -> None:
        with self._lock:
            newcomers = self._unstarted()
        was_short = self._is_short
        if newcomers:
            self._is_short = False
        for place in newcomers:
            error = self._try_to_start(place)
            if error is not None:
                self._is_short = True
                with self._lock:
                    self._places.discard(place)
                if not was_short:
                    self._report(error)

    def _unstarted(self) -> list[Place[T]]:
        return [place for place in self._places if place.thread is None]

    def _try_to_start(self, place: Place[T]) -> RuntimeError | None:
        try:
            self._start_thread(place)
        except RuntimeError as error:  # the system's bound; mend() tries again
            if place.thread is not None and place.thread.is_alive():
                raise
            return error
        return None

    def _tell_end(self) -> None:
        """Where the last thread has ended, say so once."""
        is_mine = False
        try:
            with self._lock:
                if self._state is not _STOPPING or self._places or self._aside:
                    return
                self._enter(_ENDED)
                is_mine = True
            self._on_stopped()
        except BaseException:
            if is_mine:
                self._state = _STOPPING  # not by a call, which could be struck itself
            raise

    def _work(self, place: Place[T]) -> None:
        """The body of each thread."""
        try:
            place.ident = threading.get_ident()
            try:
                self._serve(place)
                if place.standing is _LOST or place.standing is _SHIELDED:
                    self._shield(place)
            finally:
                self._settle(place)
        except BaseException as error:
            self._settle(place)
            if place.standing is _SERVING:  # else it was too late for its task
                self._report(error)

    def _settle(self, place: Place[T]) -> None:
        """*Any thread:* a thread ends, or has ended. Take back what it holds, have others go on
        with that, and replace it, unless it was to end. May be called again."""
        with self._lock:
            self._take_back(place)
            self._places.discard(place)
            self._lost.discard(place)
            self._aside.discard(place)
            self._replace_lost()
            if place.next is None and (self._queues.new or self._queues.urgent):
                self._choose_next(place)
        self._wake_next(place)
        self._give_way(place)
        self._start_threads()
        self._tell_end()
        if place.standing is _LOST or place.standing is _SHIELDED:
            place.change(_TOLD)
            task = place.own_task
            if self._on_returned is not None and task is not None:
                with contextlib.suppress(Exception):
                    self._on_returned(task, time.monotonic() - place.lost_at)

    def _serve(self, place: Place[T]) -> None:
        """Run tasks until the pool stops or the thread is lost."""
        sleeper = place.sleeper
        lock, queues = self._lock, self._queues
        while True:
            upcoming: T | Orphan[T] | Permit | Errand | None = None
            with lock:
                if place.counts:
                    self.completed += 1  # the task before this one
                    place.counts = False
                if place.standing is not _SERVING:
                    place.stage = _OVER
                    return
                if self._waking is sleeper:
                    self._waking = None
                if queues.withdrawn:
                    queues.trim()
                # Urgent tasks and new ones in turn. `task` keeps the one before until the lock is
                # let go: what it holds may be anything. Here and in all that takes something, no
                # call comes between: not popleft(), of which what it returns could be lost.
                if queues.urgent and (queues.urgent_next or not queues.new):
                    upcoming = queues.urgent[0]
                    place.turn = upcoming.turn
                    queues.urgent_next = False
                    place.stage = _TAKEN
                    place.task = upcoming
                    del queues.urgent[0]
                elif queues.new:
                    queues.urgent_next = place.counts = True
                    place.turn = 0
                    place.stage = _TAKEN
                    place.task = upcoming = queues.new[0]
                    del queues.new[0]
                else:
                    place.task = None
                    if self._state is not _OPEN:
                        return
                    self._sleepers.append(sleeper)
                if upcoming is not None and (queues.new or queues.urgent):
                    self._choose_next(place)
            task = upcoming
            if task is None:
                sleeper.acquire()
                continue
            if place.next is not None:
                self._wake_next(place)
            place.stage = _CALLED
            try:
                task.run()
            except BaseException as error:
                self._clear_up(place, task, error)

    def _clear_up(
        self, place: Place[T], task: T | Orphan[T] | Permit | Errand, error: BaseException
    ) -> None:
        """A task has let something out."""
        task.abandon(place.turn)
        if place.standing is _SERVING or place.standing is _ASIDE:
            self._report(error)

    @staticmethod
    def _wake_next(place: Place[T]) -> None:
        sleeper, place.next = place.next, None
        if sleeper is not None:
            sleeper.release()

    def _shield(self, place: Place[T]) -> None:
        """Have nothing of ours raised in this thread any more, or what is on its way now.

        A function of its own: in CPython 3.13.0 the jump back of a loop, where such exceptions
        come, is not covered by a ``try`` around the loop in the same function.
        """
        with self._lock:
            place.change(_SHIELDED)
        for _ in range(2):
            pass

    def _report(self, error: BaseException) -> None:
        with contextlib.suppress(BaseException):  # a failing report must not end the thread
            self._on_error(error)
