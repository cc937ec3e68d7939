"""Which event loop runs, and what of it must not pass on to processes that are forked."""

from __future__ import annotations

import asyncio
import os
import weakref

from wsgi_async._imports import preload
from wsgi_async.system import forks

__all__ = ["hold_loop", "import_late_modules", "loop_name", "new_event_loop"]

_LATE = (
    "concurrent.futures.thread",
    "encodings.idna",
    "uvloop",
)


def import_late_modules() -> None:
    """Import what this package and the standard library import only when it is needed: by then an
    application's directory may be first on the path."""
    preload(*_LATE)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A uvloop where it is installed, else asyncio's own loop."""
    import_late_modules()
    try:
        import uvloop
    except ImportError:
        loop = asyncio.new_event_loop()
    else:
        loop = uvloop.new_event_loop()
    _own_loops.add(loop)
    return loop


_own_loops: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


async def hold_loop(holding: forks.Holding) -> None:
    """Have a loop of our own not pass on to processes that the application forks. A loop of the
    program around this is the program's."""
    loop = asyncio.get_running_loop()
    if loop not in _own_loops:
        return
    ends = [getattr(loop, name) for name in ("_ssock", "_csock") if hasattr(loop, name)]
    holding.files = lambda: ends
    reader, writer = os.pipe()
    try:
        loop.add_reader(reader, lambda: None)
        for _ in range(2):  # until the loop watches it
            await asyncio.sleep(0)
        holding.descriptors = forks.poller_of(reader)
        loop.remove_reader(reader)
    finally:
        os.close(reader)
        os.close(writer)


def loop_name() -> str:
    """*Loop.* The kind of the loop that is running: ``uvloop`` or ``asyncio``."""
    module = type(asyncio.get_running_loop()).__module__
    return "uvloop" if module.startswith("uvloop") else "asyncio"
