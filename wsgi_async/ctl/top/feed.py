"""Asks the server again and again in a thread of its own, so that keys work while it does not
answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from wsgi_async.ctl.exits import Failed

from .reading import Json

__all__ = ["Answer", "Ask", "Feed", "ask_once"]

Ask = Callable[[str], Json]
"""Gives the answer to a target, as ``/status``; raises Failed where there is none."""

AGAIN = 0.5
"""Seconds to the next question at most after one that failed: a reload replaces who answers."""


class Answer(NamedTuple):
    """What there was to learn once."""

    status: Json | None
    requests: Json | None
    failure: str = ""
    """Why there is no status."""


def ask_once(ask: Ask, *, stacks: bool) -> Answer:
    """The status and the requests in flight, or without these where only they failed.

    :raises Failed: not even the status is to be had.
    """
    status = ask("/status")
    try:
        requests = ask(f"/requests?stacks={int(stacks)}")
    except Failed:
        requests = None
    return Answer(status, requests)


class Feed:
    """Answers as they come.

    :param ask: called in the thread of this feed.
    :param wake: called there when there is an answer to take.
    :param interval: seconds from one question to the next.
    """

    def __init__(self, ask: Ask, wake: Callable[[], None], interval: float) -> None:
        self._ask = ask
        self._wake = wake
        self._interval = interval
        self._stack_of: str | None = None
        self._is_held = False
        self._is_hurried = False
        self._has_ended = False
        self._answers: list[Answer] = []
        self._broken: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="top-feed", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask no more. An answer that is being waited for then is dropped."""
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()
        self._thread.join(0.2)

    @property
    def is_alive(self) -> bool:
        """Whether its thread still waits for an answer."""
        return self._thread.is_alive()

    def want(self, *, stack_of: str | None, held: bool, interval: float) -> None:
        """*Any thread:* what to ask from now on.

        :param stack_of: a request, whose stack is asked for at once where another one's was before,
            even where everything else is held; with None stacks cost nothing.
        """
        with self._changed:
            others = stack_of is not None and stack_of != self._stack_of
            if others or (self._is_held and not held):
                self._is_hurried = True
            self._stack_of, self._is_held, self._interval = stack_of, held, interval
            self._changed.notify_all()

    def take(self) -> list[Answer]:
        """*Any thread:* the answers since the last time, the newest last. What struck the thread
        that asks, beside Failed, is raised here."""
        with self._changed:
            if self._broken is not None:
                raise self._broken
            taken, self._answers = self._answers, []
        return taken

    def _run(self) -> None:
        try:
            self._ask_on()
        except BaseException as error:
            with self._changed:
                self._broken = error
            self._wake()

    def _ask_on(self) -> None:
        failed = False
        while self._wait(failed):
            try:
                answer = ask_once(self._ask, stacks=self._stack_of is not None)
            except Failed as error:
                answer = Answer(None, None, str(error))
            failed = bool(answer.failure)
            with self._changed:
                self._answers.append(answer)
            self._wake()

    def _wait(self, failed: bool) -> bool:
        """Until it is time to ask; whether there is somebody to ask for still."""
        began = time.monotonic()
        with self._changed:
            while not self._has_ended and not self._is_hurried:
                pause = min(self._interval, AGAIN) if failed else self._interval
                left = began + pause - time.monotonic()
                if left <= 0 and not self._is_held:
                    break
                self._changed.wait(None if self._is_held else left)
            self._is_hurried = False
            return not self._has_ended
