"""Applications that are late: their steps are taken when the test says so."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from wire import TIMEOUT, Site

LIMIT = 10.0
Application = Callable[..., Any]


class Steps:
    """An application whose every step is taken when the test says so.

    An item is a chunk, or the class of an exception to be raised.
    """

    def __init__(self, *items: Any, fields: list[tuple[str, str]] | None = None) -> None:
        self.items = items
        self.fields = fields or []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.closed: list[str] = []
        self.close_gate: threading.Event | None = None
        self.seen: list[BaseException] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        self.environ = environ
        start_response("200 OK", self.fields)
        return self._Body(self)

    def wait(self) -> None:
        """Until the application has come to its next step."""
        assert self.entered.acquire(timeout=TIMEOUT)

    def step(self) -> None:
        self.gate.release()

    class _Body:
        def __init__(self, steps: Steps) -> None:
            self.steps = steps
            self.items = iter(steps.items)

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> bytes:
            steps = self.steps
            item = next(self.items)
            steps.entered.release()
            assert steps.gate.acquire(timeout=TIMEOUT)
            if isinstance(item, type):
                raise item
            return item  # type: ignore[no-any-return]

        def close(self) -> None:
            self.steps.closed.append(threading.current_thread().name)
            if self.steps.close_gate is not None:
                self.steps.entered.release()
                assert self.steps.close_gate.wait(TIMEOUT)


def limited(application: Application, **options: Any) -> Site:
    options.setdefault("request_timeout", LIMIT)
    options.setdefault("threads", 1)
    return Site(application, **options)
