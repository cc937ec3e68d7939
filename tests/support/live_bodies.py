"""Asynchronous bodies whose every step a test decides, and which note where they are run."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

__all__ = ["MARK", "Fields", "Live", "Tap", "live_app"]

Fields = list[tuple[str, str]]
MARK: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="")


class Live:
    """What an application returns: as ``wsgi_async.live()`` and Django make it."""

    is_async = True

    def __init__(self, source: AsyncIterator[bytes], log: list[str] | None = None) -> None:
        self.source = source
        self.log = [] if log is None else log
        self.closed = threading.Event()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.source

    def close(self) -> None:
        self.log.append(f"closed on {_thread()} in {MARK.get()}")
        self.closed.set()


class Tap:
    """A source whose chunks a test gives it, from any thread; it ends, or raises, when told."""

    def __init__(self, log: list[str] | None = None) -> None:
        self.log = [] if log is None else log
        self.begun = threading.Event()
        self.asked = 0
        self._items: list[bytes | BaseException | None] = []
        self._news: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    def give(self, *items: bytes | BaseException | None) -> None:
        """Chunks, an exception to raise, or None for the end."""
        with self._lock:
            self._items += items
            if self._loop is not None and self._news is not None:
                self._loop.call_soon_threadsafe(self._news.set)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The generator."""
        self.log.append(f"began on {_thread()} in {MARK.get()}")
        try:
            async for chunk in self._chunks():
                yield chunk
        except asyncio.CancelledError:
            self.log.append("cancelled")
            raise
        except GeneratorExit:
            self.log.append("closed at a yield")
            raise
        finally:
            self.log.append(f"finally on {_thread()} in {MARK.get()}")

    async def _chunks(self) -> AsyncIterator[bytes]:
        with self._lock:
            self._loop, self._news = asyncio.get_running_loop(), asyncio.Event()
        self.begun.set()
        while True:
            while self._items:
                item = self._items.pop(0)
                if item is None:
                    return
                if isinstance(item, BaseException):
                    try:
                        raise item
                    finally:
                        del item  # its traceback has this frame: leave no cycle
                self.asked += 1
                yield item
            self._news.clear()
            if not self._items:
                await self._news.wait()


def live_app(
    make: Callable[[], Any], fields: Fields | None = None, status: str = "200 OK"
) -> Callable[..., Any]:
    """An application that returns what is made for each request."""

    def application(environ: Any, start_response: Any) -> Any:
        MARK.set(environ["PATH_INFO"])
        start_response(status, [("Content-Type", "text/plain")] if fields is None else fields)
        return make()

    return application


def _thread() -> str:
    return threading.current_thread().name.rstrip("0123456789")
