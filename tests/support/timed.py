"""A clock that a test moves, and a subscriber that asks where the time of requests went."""

from __future__ import annotations

import threading

import pytest

from wsgi_async.connection import timing
from wsgi_async.events import Observer, RequestInfo, ResponseInfo


class Clock:
    """In the place of the module `time`; each thread has its own processor time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._threads = threading.local()

    def monotonic(self) -> float:
        return self.now

    def thread_time(self) -> float:
        return getattr(self._threads, "cpu", 0.0)

    def work(self, seconds: float, cpu: float) -> None:
        """This thread takes so long, and so much of a processor."""
        self.now += seconds
        self._threads.cpu = self.thread_time() + cpu


def put_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Have requests timed by a new one."""
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


class Timed(Observer):
    """Keeps what it is told of requests."""

    wants_timings = True

    def __init__(self) -> None:
        self.requests: list[RequestInfo] = []
        self.ended: list[ResponseInfo] = []

    def request_finished(self, request: RequestInfo, response: ResponseInfo) -> None:
        self.requests.append(request)
        self.ended.append(response)
