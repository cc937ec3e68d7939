"""An application in which threads hang for as long as a test wants."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

from rawclient import TIMEOUT

__all__ = ["Hanging", "hanging_application"]


class Hanging:
    """``/hang`` waits until it is let go, ``/spin`` until something is raised in it, ``/stall``
    after its first chunk; the rest is quick."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        self.raised: list[type[BaseException]] = []
        self.asked: list[str] = []
        """The paths."""

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [])
        path = environ["PATH_INFO"]
        self.asked.append(path)
        if path == "/stall":
            return self.stall()
        if path == "/hang":
            self.hang()
        if path == "/spin":
            self.spin()
        return [b"quick"]

    def hang(self) -> None:
        self.entered.release()
        assert self.gate.wait(3 * TIMEOUT)

    def spin(self) -> None:
        self.entered.release()
        try:
            self.loop()  # CPython 3.13.0: not in this function
        except BaseException as error:
            self.raised.append(type(error))
            raise

    def loop(self) -> None:
        while not self.gate.is_set():
            pass

    def stall(self) -> Iterator[bytes]:
        yield b"first"
        self.hang()
        yield b"second"

    def wait(self) -> None:
        assert self.entered.acquire(timeout=TIMEOUT)


def hanging_application() -> Iterator[Hanging]:
    """A fixture: at its end whoever hangs is let go."""
    application = Hanging()
    yield application
    application.gate.set()
