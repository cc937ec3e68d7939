"""An application with every fault that a server has to live with."""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rawclient import TIMEOUT, request
from serving import Served

Serve = Callable[..., Served]
Environ = dict[str, Any]
BLOCK = b"x" * 65536
each_overflow = pytest.mark.parametrize("overflow", ["spool", "park", "block"])


class Body:
    """An iterable whose steps and close() a test can see."""

    def __init__(self, app: Faulty, blocks: int | None) -> None:
        self._app = app
        self._blocks = blocks

    def __iter__(self) -> Iterator[bytes]:
        count = 0
        while self._blocks is None or count < self._blocks:
            count += 1
            yield BLOCK

    def close(self) -> None:
        self._app.closed.put(threading.current_thread().name)


STRIPES = b"".join(bytes([number]) * 65536 for number in range(160))


class Stripes(Body):
    """The 10 MiB of STRIPES, by blocks."""

    def __init__(self, app: Faulty) -> None:
        super().__init__(app, None)

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(STRIPES), 65536):
            yield STRIPES[start : start + 65536]


class Faulty:
    """An application with a misbehaviour for each path; what it sees goes into its queues."""

    def __init__(self) -> None:
        self.called: queue.Queue[str] = queue.Queue()
        self.closed: queue.Queue[str] = queue.Queue()
        self.raised: queue.Queue[BaseException] = queue.Queue()
        self.release = threading.Event()
        self.file: Path | None = None

    def __call__(self, environ: Environ, start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        self.called.put(path)
        answer = getattr(self, "on_" + path[1:].replace("-", "_"), self.on_)
        return answer(environ, start_response)

    def calls(self) -> list[str]:
        """Paths of all calls so far."""
        with contextlib.suppress(queue.Empty):
            found: list[str] = []
            while True:
                found.append(self.called.get_nowait())
        return found

    def wait_called(self, path: str) -> None:
        assert self.called.get(timeout=TIMEOUT) == path

    def on_(self, environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", [])
        return [b"fine"]

    def on_block(self, environ: Environ, start_response: Any) -> Any:
        assert self.release.wait(TIMEOUT)
        start_response("200 OK", [])
        return Body(self, 1)

    def on_stream(self, environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", [])
        return Body(self, None)

    def on_stripes(self, environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", [])
        return Stripes(self)

    def on_write(self, environ: Environ, start_response: Any) -> Any:
        write = start_response("200 OK", [])
        try:
            while True:
                write(BLOCK)
        except BaseException as error:
            self.raised.put(error)
            raise

    def on_file(self, environ: Environ, start_response: Any) -> Any:
        assert self.file is not None
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](self.file.open("rb"))

    def on_read(self, environ: Environ, start_response: Any) -> Any:
        try:
            size = len(environ["wsgi.input"].read())
        except BaseException as error:
            self.raised.put(error)
            raise
        start_response("200 OK", [])
        return [b"%d" % size]

    # -- exceptions

    def on_raise(self, environ: Environ, start_response: Any) -> Any:
        raise LookupError("in the call")

    def on_exit(self, environ: Environ, start_response: Any) -> Any:
        sys.exit("in the call")

    def on_iter(self, environ: Environ, start_response: Any) -> Any:
        class Broken(Body):
            def __iter__(self) -> Iterator[bytes]:
                raise LookupError("in __iter__")

        start_response("200 OK", [])
        return Broken(self, 0)

    def on_first_next(self, environ: Environ, start_response: Any) -> Any:
        return self._failing(0, start_response)

    def on_second_next(self, environ: Environ, start_response: Any) -> Any:
        return self._failing(1, start_response)

    def _failing(self, blocks: int, start_response: Any) -> Any:
        class Broken(Body):
            def __iter__(self) -> Iterator[bytes]:
                yield from super().__iter__()
                raise LookupError("in __next__")

        start_response("200 OK", [])
        return Broken(self, blocks)

    def on_close(self, environ: Environ, start_response: Any) -> Any:
        class Broken(Body):
            def close(self) -> None:
                super().close()
                raise LookupError("in close")

        start_response("200 OK", [])
        return Broken(self, 1)


def still_answers(served: Served) -> None:
    with served.client() as client:
        assert client.get().body == b"fine"


UPLOAD = request("/read", "POST", body=b"x" * 300_000)
