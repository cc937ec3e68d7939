"""A pool of threads that tells the loop of a test when a task has ended."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

from wsgi_async.connection.exchange import Exchange
from wsgi_async.testing import FakeLoop
from wsgi_async.threads.pool import Running, ThreadPool


class WatchedTask:
    """Tells when a task has ended."""

    def __init__(self, pool: WatchedPool, task: Exchange | Any) -> None:
        self.pool = pool
        self.task = task

    @property
    def has_begun(self) -> bool:
        return self.task.has_begun  # type: ignore[no-any-return]

    @property
    def turn(self) -> int:
        return self.task.turn  # type: ignore[no-any-return]

    def run(self) -> None:
        try:
            self.task.run()
        finally:
            self.pool.task_ended(self)

    def abandon(self, turn: int) -> None:
        self.task.abandon(turn)


class WatchedPool(ThreadPool[Any]):
    """Tells the loop when a task has ended, so that a test can wait for that."""

    def __init__(self, loop: FakeLoop, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, on_returned=self._has_returned, **kwargs)
        self._loop = loop
        self._ended_lock = threading.Lock()
        self._tasks: dict[Any, WatchedTask] = {}
        self.ended = 0
        self.has_ended = threading.Condition(self._ended_lock)

    @staticmethod
    def _has_returned(watched: WatchedTask, seconds: float) -> None:
        watched.task.has_returned(seconds)

    def _watched(self, task: Any) -> WatchedTask:
        with self._ended_lock:
            self._tasks[task] = watched = WatchedTask(self, task)
        return watched

    def submit(self, task: Any) -> bool:
        return super().submit(self._watched(task))

    def submit_urgent(self, task: Any) -> None:
        super().submit_urgent(self._watched(task))

    @property
    def oldest(self) -> Any:
        watched = super().oldest
        return watched.task if watched is not None else None

    def running(self) -> list[Running[Any]]:
        return [running._replace(task=running.task.task) for running in super().running()]

    def waiting(self) -> list[Any]:
        return [watched.task for watched in super().waiting()]

    def withdraw(self, task: Any) -> bool:
        watched = self._tasks.get(task)
        if watched is None or not super().withdraw(watched):
            return False
        self.task_ended(watched)
        return True

    def lose(self, task: Any) -> int | None:
        watched = self._tasks.get(task)
        return super().lose(watched) if watched is not None else None

    def interrupt(self, task: Any, strike: Callable[[int], bool]) -> bool | None:
        watched = self._tasks.get(task)
        return super().interrupt(watched, strike) if watched is not None else None

    def task_ended(self, watched: WatchedTask) -> None:
        with self._ended_lock:
            self.ended += 1
            if self._tasks.get(watched.task) is watched:
                del self._tasks[watched.task]
            self.has_ended.notify_all()
        with contextlib.suppress(RuntimeError):  # a test may have closed the loop
            self._loop.call_soon_threadsafe(int)

    @property
    def is_idle(self) -> bool:
        return self.ended == self.submitted
