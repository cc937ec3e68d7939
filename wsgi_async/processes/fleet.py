"""What a supervisor decides: which processes to start, to tell, and to kill. No I/O, no clock.

Events go in by methods, each with the time it happened; what is to be done comes out in
:attr:`Fleet.actions`, for :mod:`~wsgi_async.processes.supervisor` to do and to clear.

Everything follows from one rule, applied after every event: there are to be `wanted` processes, of
the current generation, that did not ask to be replaced. A process that is to go leaves only after
another one is ready in its place, and one goes at a time. A crash, a reload, ``--max-requests`` and
SIGTTIN/SIGTTOU are all cases of it.
"""

from __future__ import annotations

import math
import signal
from collections import Counter
from typing import NamedTuple

from wsgi_async.errors import EXIT_FAILED, EXIT_NOT_LOADED
from wsgi_async.events import INTERRUPTED_AFTER

from .actions import Action, Close, Interrupted, Kill, Note, Spawn, Tell
from .pauses import STEADY, Pauses
from .process import Process, ProcessState
from .states import FLEET_MOVES, RELOAD_MOVES, Asker, Census, FleetState, Reload, Restart

__all__ = ["Fleet", "TimeLimits"]

_BOOTING = ProcessState.BOOTING
_READY = ProcessState.READY
_RETIRING = ProcessState.RETIRING
_LEAVING = ProcessState.LEAVING
_DOOMED = ProcessState.DOOMED
_SERVING = (_READY, _RETIRING, _LEAVING)
"""Its loop runs, and it shows that it lives."""
_ENDING = (_RETIRING, _LEAVING)

LAST_WORDS = 2.0
"""Seconds from the signal that makes a process write its stacks to the one that ends it."""

MARGIN = 5.0
"""Seconds beyond --graceful-timeout: its end is the process's own to see."""

HASTE = 5.0
"""Seconds that a process gets to end at once."""


class TimeLimits(NamedTuple):
    """The time limits of a fleet, in seconds; 0 is none."""

    boot: float
    beat: float
    graceful: float
    drain_delay: float
    linger: float
    """How long a process that was replaced waits for the next request of idle connections."""


def _may_accept_still(process: Process) -> bool:
    return process.state is _RETIRING


def _least_besides(taken: set[int]) -> int:
    return next(number for number in range(len(taken) + 1) if number not in taken)


class Fleet:
    """The processes of one server.

    :param wanted: how many are to serve, at least 1.
    :param limits: see :class:`TimeLimits`.
    :param hasty: for development: at a reload the old ones leave at once, and what cannot start
        waits for the next reload. Clients wait meanwhile, and never meet code that is out of date.
    """

    def __init__(self, wanted: int, limits: TimeLimits, *, hasty: bool = False) -> None:
        self.actions: list[Action] = []
        self.wanted = wanted
        self.limits = limits
        self.processes: list[Process] = []
        """Those that live, oldest first."""
        self.generation = 1
        """That of the processes to start; those of an earlier one are to be replaced."""
        self.exit_code: int | None = None
        """Set once all is over."""
        self.state = FleetState.STARTING
        self.last_reload = Reload.NONE
        self._hasty = hasty
        self._latest = self._proven = 1  # generations
        self._restarts: Counter[Restart] = Counter()
        self._restarts_at: Counter[int] = Counter()
        self._reloads: Counter[Asker] = Counter()
        self._failed_reloads = 0
        self._pauses = Pauses()
        self._may_spawn_at = -math.inf
        self._close_at = self._notice_at = math.inf
        self._stop_code = 0

    @property
    def generations(self) -> set[int]:
        """Those of which a process may yet be started."""
        return {self.generation, self._proven}

    @property
    def is_stopping(self) -> bool:
        """Whether nothing is to be started or replaced any more."""
        return self.state is FleetState.STOPPING

    def census(self) -> Census:
        """Who there is, and what there is to count."""
        ready = sum(process.state is _READY for process in self.processes)
        return Census(
            self.state,
            self.wanted,
            ready,
            self._restarts,
            self._reloads,
            self._failed_reloads,
            reload=self.last_reload,
            generation=self.generation,
            processes=self.processes,
            restarts_at=self._restarts_at,
        )

    # --- events ------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """The beginning."""
        self._reconcile(now)

    def ready(self, process: Process, now: float) -> None:
        """It has loaded the application, and accepts once it is told to."""
        if process.state is not _BOOTING:
            return
        process.enter(_READY)
        process.beat_at = process.began = process.ready_at = (
            now  # from here on it counts how long it serves
        )
        # Only now may it accept: had it done so before, one that is ended while it starts could
        # have requests already.
        self.actions.append(Tell(process, "serve"))
        if self.state is FleetState.UP:
            self._note("info", f"{process} is ready")
        self._reconcile(now)

    def beat(self, process: Process, now: float) -> None:
        """Its event loop runs, and its threads take what waits for them."""
        process.beat_at = max(process.beat_at, now)
        process.is_stalled = False

    def fading(self, process: Process) -> None:
        """Its interpreter ends, and soon nobody in it can show that it lives: from here on it has
        until its deadline."""
        process.beat_at = math.inf

    def stalled(self, process: Process) -> None:
        """Its event loop runs, but requests wait although a thread is idle."""
        process.is_stalled = True

    def deaf(self, process: Process, now: float) -> None:
        """It accepts no more connections, as it has been told to."""
        if process.state is _RETIRING:
            process.enter(_LEAVING)
            self._reconcile(now)

    def recycle(
        self, process: Process, why: str, now: float, reason: Restart = Restart.OTHER
    ) -> None:
        """It asks to be replaced.

        :param why: in words, for the log.
        """
        if process.state is _READY and not process.asked and not self.is_stopping:
            process.asked = True
            self._count_restart(process, reason)
            self._note("info", f"{process} is to be replaced: {why}")
            self._reconcile(now)

    def exited(self, process: Process, how: str, code: int, now: float) -> None:
        """It has ended.

        :param how: in words, for the log; empty where it has said why itself.
        :param code: its exit code, or EXIT_NOT_LOADED where it was ended by a signal.
        """
        self.processes.remove(process)
        before = process.state
        process.enter(_DOOMED)
        if before in _ENDING:
            if code:
                self._note("warning", f"{process} did not end well: {how}")
                self._count_bad_end()
        elif before is not _DOOMED:
            booted = before is _READY
            self._count_restart(process, Restart.DIED if booted else Restart.NOT_STARTED)
            if how:
                self._note("error", f"{process} {'died' if booted else 'did not start'}: {how}")
            self._count_failure(process, now, booted=booted, code=EXIT_NOT_LOADED if how else code)
        self._reconcile(now)

    def reload(self, now: float, asker: Asker = Asker.SIGNAL) -> None:
        """Replace all, one by one, by processes of a new generation."""
        if self.is_stopping:
            return
        self._reloads[asker] += 1
        self._latest += 1
        self.generation = self._latest
        self._enter_reload(Reload.UNDER_WAY)
        self._pauses.reset()
        self._may_spawn_at = -math.inf
        for process in self.processes:
            if process.state is _BOOTING:
                self._kill(process, now)
            elif process.state is _READY and self._hasty:
                self._retire(process, now)
        self._note("info", "Reloading")
        self._reconcile(now)

    def not_reloaded(self, asker: Asker) -> None:
        """The options are wrong, so that all stays as it is."""
        self._reloads[asker] += 1
        self._failed_reloads += 1

    def change_wanted(self, by: int, now: float) -> None:
        """SIGTTIN and SIGTTOU: one more, or one less."""
        if self.is_stopping:
            return
        if self.wanted + by < 1:
            self._note("warning", "One process is the least there can be")
            return
        self.wanted += by
        self._note("info", f"Processes wanted: {self.wanted}")
        self._reconcile(now)

    def scale(self, wanted: int, now: float) -> None:
        """So many."""
        if wanted != self.wanted:
            self.change_wanted(wanted - self.wanted, now)

    def report(self) -> None:
        """SIGUSR1: each is to reopen its logs and to tell what it is doing; one that still boots
        has opened them already, and does so once it is ready."""
        for process in self.processes:
            if process.state is not _DOOMED:
                self.actions.append(Tell(process, "report"))

    def interrupt(self, now: float) -> None:
        """SIGINT, which the second time, or after SIGTERM, waits for nobody."""
        if self.is_stopping:
            self.stop_now(now)
            return
        self.drain(now)
        self._notice_at = now + INTERRUPTED_AFTER

    def drain(self, now: float) -> None:
        """SIGTERM and the first SIGINT: finish what is in flight, and end."""
        if self.is_stopping:
            return
        self._enter(FleetState.STOPPING)
        limits = self.limits
        self._close_at = now + limits.drain_delay
        end = now + limits.drain_delay + limits.graceful + MARGIN if limits.graceful else math.inf
        for process in self.processes:
            if process.state is _BOOTING:
                self._kill(process, now)
            elif process.state is not _DOOMED:
                self._tell(process, "drain", end)
        self._reconcile(now)

    def stop_now(self, now: float) -> None:
        """SIGQUIT and the second SIGINT."""
        self.drain(now)
        self._close_at, self._notice_at = now, math.inf
        for process in self.processes:
            if process.state is not _DOOMED:
                self._tell(process, "now", now + HASTE)
        self._reconcile(now)

    def tick(self, now: float) -> None:
        """Time has passed."""
        limits = self.limits
        for process in self.processes:
            state = process.state
            if process.deadline <= now:
                self._execute(process, now)
            elif state is _BOOTING and limits.boot and now - process.began >= limits.boot:
                self._note(
                    "error", f"{process} is not ready after {limits.boot:g} s (--boot-timeout)"
                )
                self._abort(process, now)
            elif state in _SERVING and limits.beat and now - process.beat_at >= limits.beat:
                what = f"the event loop of {process} has been blocked"
                if process.is_stalled:
                    what = f"requests wait in {process} beside a thread that is idle, and have"
                self._note(
                    "error",
                    f"{what} for {limits.beat:g} s (--timeout): its stacks follow, and it is "
                    "killed",
                )
                self._abort(process, now)
        if self._close_at <= now:
            self._close_at = math.inf
            self.actions.append(Close())
        if self._notice_at <= now:
            self._notice_at = math.inf
            if any(process.state in _ENDING for process in self.processes):
                patience = limits.graceful and limits.drain_delay + limits.graceful
                self.actions.append(Interrupted(patience))
        self._reconcile(now)

    def overslept(self, now: float) -> None:
        """The supervisor did not run for a while, and so perhaps nobody did: a terminal's Ctrl-Z,
        ``docker pause``. Whoever would be late by that gets a moment more."""
        limits, grace = self.limits, now + HASTE
        for process in self.processes:
            process.deadline = max(process.deadline, grace)
            process.beat_at = max(process.beat_at, grace - limits.beat)
            if process.state is _BOOTING:
                process.began = max(process.began, grace - limits.boot)

    def next_time(self) -> float:
        """When :meth:`tick` has something to do at the latest."""
        limits = self.limits
        times = [self._close_at, self._notice_at]
        if self._is_short():
            times.append(self._may_spawn_at)
        for process in self.processes:
            times.append(process.deadline)
            if process.state is _BOOTING and limits.boot:
                times.append(process.began + limits.boot)
            elif process.state in _SERVING and limits.beat:
                times.append(process.beat_at + limits.beat)
        return min(times)

    # --- states ------------------------------------------------------------------------------

    def _enter(self, state: FleetState) -> None:
        """The one place where the fleet's state changes."""
        if state not in FLEET_MOVES[self.state]:
            raise RuntimeError(f"a fleet cannot go from {self.state.name} to {state.name}")
        self.state = state

    def _enter_reload(self, reload: Reload) -> None:
        """The one place where that of a reload does."""
        if reload not in RELOAD_MOVES[self.last_reload]:
            raise RuntimeError(f"a reload cannot go from {self.last_reload.name} to {reload.name}")
        self.last_reload = reload
        self._failed_reloads += reload is Reload.FAILED

    # --- decisions ---------------------------------------------------------------------------

    def _reconcile(self, now: float) -> None:
        """Bring what there is nearer to what is wanted."""
        if self.is_stopping:
            if not self.processes and self.exit_code is None:
                if self._close_at < math.inf:
                    self._close_at = math.inf
                    self.actions.append(Close())
                self.exit_code = self._stop_code
            return
        ready = [process for process in self.processes if process.state is _READY]
        while len(ready) > self.wanted:
            leaver = self._leaver(ready)
            ready.remove(leaver)
            self._retire(leaver, now)
        is_complete = len(ready) == self.wanted
        if is_complete and self.state is FleetState.STARTING:
            self._enter(FleetState.UP)
        is_reloading = self.last_reload is Reload.UNDER_WAY
        # Whoever waits for the word "Reloaded" is to meet the new code from then on.
        is_over = is_complete and not any(map(self._is_stale, ready))
        if is_over and is_reloading and not any(map(_may_accept_still, self.processes)):
            self._enter_reload(Reload.NONE)
            self._proven = self.generation
            self._note("info", "Reloaded")
        while self._is_short() and self._may_spawn_at <= now:
            self._spawn(now)

    def _is_stale(self, process: Process) -> bool:
        """Whether it is to be replaced."""
        return process.asked or process.generation < self.generation

    def _is_short(self) -> bool:
        """Whether a process is missing: one of the wanted, or the successor of a stale one."""
        if self.is_stopping:
            return False
        booting = ready = stale = 0
        for process in self.processes:
            if process.state is _READY:
                ready += 1
                stale += self._is_stale(process)
            elif process.state is _BOOTING:
                booting += 1
        return ready + booting < self.wanted or bool(stale and not booting)

    def _spawn(self, now: float) -> None:
        taken = {process.number for process in self.processes}
        process = Process(_least_besides(taken), self._free_place(), self.generation, now)
        self.processes.append(process)
        self.actions.append(Spawn(process))

    def _leaver(self, ready: list[Process]) -> Process:
        """Of too many: who is to be replaced, first whose place its successor has already, then the
        oldest; else who has the last place."""
        stale = [process for process in ready if self._is_stale(process)]
        if not stale:
            return max(ready, key=lambda process: process.place)
        taken = {process.place for process in ready if not self._is_stale(process)}
        return next((process for process in stale if process.place in taken), stale[0])

    def _free_place(self) -> int:
        """One that nobody has who is to stay."""
        staying = (_BOOTING, _READY)
        taken = {
            process.place
            for process in self.processes
            if process.state in staying and not self._is_stale(process)
        }
        return _least_besides(taken)

    def _count_failure(self, process: Process, now: float, *, booted: bool, code: int) -> None:
        """A process died, or could not start. Decide what that means for the next one."""
        if booted and now - process.began >= STEADY:
            self._pauses.reset()
            return
        is_reloading = self.last_reload is Reload.UNDER_WAY
        if not booted and self._hasty:
            if is_reloading:
                self._enter_reload(Reload.FAILED)
            self._may_spawn_at = math.inf
            self._note("info", "Waiting for the next change")
            return
        if not booted and self.state is FleetState.STARTING and not self._anybody_is_ready():
            # The first ones cannot start: nothing would get better by trying again.
            self._enter(FleetState.STOPPING)
            self._stop_code = code
            self._close_at = now
            for other in self.processes:
                self._kill(other, now)
            return
        if not booted and is_reloading and self._anybody_is_ready():
            self._give_reload_up()
        pause = self._pauses.next()
        self._may_spawn_at = now + pause
        if pause and self._is_short():
            self._note("warning", f"The next process is started in {pause:g} s")

    def _count_restart(self, process: Process, reason: Restart) -> None:
        self._restarts[reason] += 1
        self._restarts_at[process.place] += 1

    def _count_bad_end(self) -> None:
        """A process did not end as it was asked to."""
        if self.is_stopping:
            self._stop_code = self._stop_code or EXIT_FAILED

    def _anybody_is_ready(self) -> bool:
        return any(process.state is _READY for process in self.processes)

    def _give_reload_up(self) -> None:
        """The new code does not start: who serves the old one goes on."""
        self._enter_reload(Reload.FAILED)
        self.generation = self._proven
        self._note("error", "The reload has failed: the processes that serve go on as they are")

    # --- deeds -------------------------------------------------------------------------------

    def _tell(
        self, process: Process, word: str, deadline: float, state: ProcessState = _LEAVING
    ) -> None:
        process.enter(state)
        process.deadline = min(process.deadline, deadline)
        self.actions.append(Tell(process, word))

    def _retire(self, process: Process, now: float) -> None:
        limits = self.limits
        end = now + limits.linger + limits.graceful + MARGIN if limits.graceful else math.inf
        self._tell(process, "retire", end, _RETIRING)

    def _kill(self, process: Process, now: float) -> None:
        """End one that does not serve."""
        if process.state is not _DOOMED:
            process.enter(_DOOMED)
            process.deadline = now + LAST_WORDS
            self.actions.append(Kill(process, signal.SIGTERM))

    def _abort(self, process: Process, now: float) -> None:
        """End one that does not answer; its last words are the stacks of its threads."""
        was_booting = process.state is _BOOTING
        if process.state in _ENDING:
            self._count_bad_end()
        else:
            late = Restart.STALLED if process.is_stalled else Restart.BLOCKED
            self._count_restart(process, Restart.BOOT_TIMEOUT if was_booting else late)
        process.enter(_DOOMED)
        process.deadline = now + LAST_WORDS
        self.actions.append(Kill(process, signal.SIGABRT))
        if not self.is_stopping:
            self._count_failure(process, now, booted=not was_booting, code=EXIT_NOT_LOADED)

    def _execute(self, process: Process, now: float) -> None:
        """The last resort; repeated for one that even this does not end (it waits for a device)."""
        if process.state in _ENDING:
            self._note("error", f"{process} has not ended in time, and is killed")
            self._count_bad_end()
        process.enter(_DOOMED)
        process.deadline = now + LAST_WORDS
        self.actions.append(Kill(process, signal.SIGKILL))

    def _note(self, level: str, message: str) -> None:
        self.actions.append(Note(level, message[0].upper() + message[1:]))
