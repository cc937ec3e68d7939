"""Servers to test against: in a thread with either kind of loop, or as a process of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from certificates import authority, local_pair
from rawclient import TIMEOUT, Address, RawClient

import wsgi_async
from wsgi_async.connection.connections import Connections
from wsgi_async.events import CertificateInfo, Observer, RequestInfo, ResponseInfo
from wsgi_async.server.server import Server
from wsgi_async.system.event_loop import new_event_loop

__all__ = [
    "APPS",
    "PACKAGE",
    "Command",
    "LoopThread",
    "Recorder",
    "Served",
    "both_loops",
    "one_loop_in_time",
    "serving",
]

T = TypeVar("T")

APPS = Path(__file__).with_name("apps")
PACKAGE = Path(wsgi_async.__file__).parent
"""What the frames of our own code lie in. Its name alone may be that of any directory."""
ROOT = PACKAGE.parent

_SHORT = bool(os.environ.get("TESTS_SHORT"))

both_loops = pytest.mark.parametrize("loop", ["asyncio"] if _SHORT else ["uvloop", "asyncio"])
"""Parametrizes a test by the kind of its server's loop."""

one_loop_in_time = pytest.mark.parametrize(
    "loop", ["asyncio"] if _SHORT else ["uvloop", pytest.param("asyncio", marks=pytest.mark.soak)]
)
"""The same for a long test: the second loop with the other long ones."""


class LoopThread:
    """A loop of the given kind that runs in a thread."""

    def __init__(self, kind: str) -> None:
        self.loop = new_event_loop() if kind == "uvloop" else asyncio.SelectorEventLoop()
        if not type(self.loop).__module__.startswith(kind):
            self.loop.close()
            pytest.skip(f"{kind} is not installed")
        self._thread = threading.Thread(target=self._main, name=f"test-{kind}", daemon=True)
        self._thread.start()

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float = TIMEOUT) -> T:
        """Run it there, wait here."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive()
        self.loop.close()


class Recorder(Observer):
    """Keeps what a server tells, by the name of the method it tells it with."""

    wants_requests = True

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._events: list[tuple[str, tuple[Any, ...]]] = []

    def _add(self, name: str, *facts: Any) -> None:
        with self._changed:
            self._events.append((name, facts))
            self._changed.notify_all()

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """What was told by that method so far."""
        with self._changed:
            return [facts for event, facts in self._events if event == name]

    def forget(self) -> None:
        """What was told so far."""
        with self._changed:
            self._events.clear()

    def wait_for(self, name: str, count: int = 1) -> list[tuple[Any, ...]]:
        """Wait until it was told `count` times."""
        with self._changed:
            self._changed.wait_for(lambda: len(self.of(name)) >= count, TIMEOUT)
            found = self.of(name)
        assert len(found) >= count, f"{name} was told {len(found)} times, not {count}"
        return found

    def started(self, addresses: tuple[str, ...], threads: int, loop: str, parser: str) -> None:
        self._add("started", addresses, threads, loop, parser)

    def certificates(
        self, certificates: tuple[CertificateInfo, ...], *, are_renewed: bool = False
    ) -> None:
        self._add("certificates", certificates, are_renewed)

    def stopping(self, in_flight: int) -> None:
        self._add("stopping", in_flight)

    def stopped(self, stuck_threads: int) -> None:
        self._add("stopped", stuck_threads)

    def request_finished(self, request: RequestInfo, response: ResponseInfo) -> None:
        self._add("request_finished", request, response)

    def request_refused(
        self,
        client: str,
        status: int,
        detail: str,
        request: RequestInfo | None = None,
        *,
        is_running: bool = False,
    ) -> None:
        self._add("request_refused", client, status, detail)

    def connection_dropped(self, client: str, why: str) -> None:
        self._add("connection_dropped", client, why)

    def app_error(
        self, request: RequestInfo, message: str, error: BaseException | None = None
    ) -> None:
        self._add("app_error", request, message, error)

    def app_warning(self, request: RequestInfo, message: str) -> None:
        self._add("app_warning", request, message)

    def app_stderr(self, request: RequestInfo, text: str) -> None:
        self._add("app_stderr", request, text)

    def request_slow(
        self, request: RequestInfo, thread: str, seconds: float, stack: list[str]
    ) -> None:
        self._add("request_slow", request, thread, seconds, stack)

    def thread_lost(
        self, request: RequestInfo, thread: str, seconds: float, stack: list[str]
    ) -> None:
        self._add("thread_lost", request, thread, seconds, stack)

    def thread_returned(self, request: RequestInfo, seconds: float) -> None:
        self._add("thread_returned", request, seconds)

    def threads_exhausted(self, lost: int) -> None:
        self._add("threads_exhausted", lost)

    def threads_recovered(self, lost: int) -> None:
        self._add("threads_recovered", lost)

    def application_loop_blocked(self, seconds: float, stack: list[str]) -> None:
        self._add("application_loop_blocked", seconds, stack)

    def application_loop_recovered(self, seconds: float) -> None:
        self._add("application_loop_recovered", seconds)

    def report(self, text: str) -> None:
        self._add("report", text)

    def warning(self, message: str) -> None:
        self._add("warning", message)

    def error(self, message: str, error: BaseException | None = None) -> None:
        self._add("error", message, error)


class Served:
    """A running server, and what a test wants to see of it."""

    def __init__(
        self,
        server: Server,
        recorder: Recorder,
        thread: LoopThread,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.tls = tls
        """What clients speak TLS with; None where they do not."""
        self.server = server
        self.recorder = recorder
        self.thread = thread
        process = server._running
        assert process is not None
        self.connections: Connections = process.connections
        self.pool = self.connections.gateway.pool
        self.budgets = self.connections.budgets
        self.blocked = self.connections.gateway.bounds.blocked

    @property
    def address(self) -> Address:
        assert self.server.port is not None
        return ("127.0.0.1", self.server.port)

    @property
    def url(self) -> str:
        """Without a slash at the end, by the name that the certificate has."""
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://localhost:{self.server.port}"

    def client(self, **options: Any) -> RawClient:
        """See there; it speaks what the server does."""
        return RawClient(self.address, **{"tls": self.tls, **options})

    def held(self) -> dict[str, int]:
        """*Loop:* what is not zero of all that a server without work holds none of."""
        connections = self.connections
        counts = {
            "connections": len(connections.open),
            "transfers": len(connections.paces),
            "waits": sum(map(len, connections.waits.values())),
            "busy threads": self.pool.busy,
            "threads aside": self.pool.aside,
            "queued tasks": self.pool.queued,
            "blocked threads": len(self.blocked),
            "memory": self.budgets.memory.used,
            "disk": self.budgets.disk.used,
            "files": self.budgets.files.used,
        }
        return {name: count for name, count in counts.items() if count}

    def wait_until(self, condition: Callable[[], object], what: str = "the condition") -> None:
        """Look on the loop until it holds: for what only the kernel tells, and only the loop."""

        async def look() -> None:
            deadline = asyncio.get_running_loop().time() + TIMEOUT
            while not condition():
                assert asyncio.get_running_loop().time() < deadline, f"{what}; {self.held()}"
                await asyncio.sleep(0.005)

        self.thread.run(look(), TIMEOUT + 5)

    def wait_until_idle(self) -> None:
        """Wait until no connection is left, and check that nothing else is."""
        self.wait_until(lambda: not self.held(), "something is held for nobody")

    def stop(self) -> int:
        return self.thread.run(self.server.stop(), TIMEOUT + 20)


@contextlib.contextmanager
def serving(
    application: Callable[..., Any], *, loop: str = "uvloop", tls: bool = False, **options: Any
) -> Iterator[Served]:
    """Serve `application` from a thread, on 127.0.0.1 unless `options` say otherwise.

    :param tls: with a certificate that clients trust.
    """
    if tls:
        options = {**local_pair().options, **options}
    if "bind" not in options:
        options = {"port": 0, "host": "127.0.0.1", **options}
    recorder = Recorder()
    server = Server(application, observer=recorder, **options)
    thread = LoopThread(loop)
    try:
        thread.run(server.start())
        try:
            yield Served(server, recorder, thread, authority().client() if tls else None)
        finally:
            thread.run(server.stop(), TIMEOUT + 20)
    finally:
        thread.close()
    assert [facts for facts in recorder.of("error") if facts[1] is not None] == []


class Command:
    """``python -m wsgi_async`` as a process; its standard error is read as it comes.

    It leads a process group of its own, which ends with the ``with`` block.

    :param args: arguments of the command line, or of `python` where `program` is given.
    :param program: Python source to run instead of ``-m wsgi_async``.
    :param loop: ``asyncio`` hides uvloop from the process.
    :param setup: called in the new process before Python runs.
    :param directory: where it runs.
    :param fds: descriptors that it inherits.
    """

    def __init__(
        self,
        *args: str,
        program: str | None = None,
        loop: str = "uvloop",
        env: dict[str, str] | None = None,
        setup: Callable[[], object] | None = None,
        directory: Path = APPS,
        fds: Sequence[int] = (),
    ) -> None:
        if program is None:
            program = "from wsgi_async.cli import main\nmain(prog_name='wsgi-async')"
        if loop == "asyncio":
            program = "import sys\nsys.modules['uvloop'] = None\n" + program
        clean = {name: value for name, value in os.environ.items() if not _is_option(name)}
        self._changed = threading.Condition()
        self._lines: list[str] = []
        self._ended = False
        self.process = subprocess.Popen(
            [sys.executable, "-W", "always::ResourceWarning", "-c", program, *args],
            cwd=directory,
            env={**clean, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **(env or {})},
            start_new_session=True,
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=setup,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self._lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(0.5)
        if self._reader.is_alive():
            # Somebody of the group, which therefore still has this number, holds the pipe.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self._reader.join(TIMEOUT)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.process.stdout.close()
        self.process.stderr.close()

    @property
    def lines(self) -> list[str]:
        """Lines of standard error so far."""
        with self._changed:
            return list(self._lines)

    def wait_for(self, pattern: str, count: int = 1) -> re.Match[str]:
        """Wait for the `count`-th line on standard error with a match of `pattern`."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            found[:] = [match for line in self._lines if (match := re.search(pattern, line))]
            return len(found) >= count or self._ended

        with self._changed:
            self._changed.wait_for(look, TIMEOUT)
        assert len(found) >= count, f"no line with {pattern!r} in:\n" + "\n".join(self.lines)
        return found[count - 1]

    @property
    def address(self) -> Address:
        """Where it listens, once it has said so."""
        found = self.wait_for(r"Listening on .*https?://127\.0\.0\.1:([0-9]+)")
        return ("127.0.0.1", int(found[1]))

    @property
    def tls(self) -> ssl.SSLContext | None:
        """What clients speak TLS with, once it has said that it does; None where it does not."""
        found = self.wait_for(r"Listening on .*(https?)://127\.0\.0\.1:[0-9]+")
        return authority().client() if found[1] == "https" else None

    @property
    def serving(self) -> int:
        """The number of the one process that serves, once it listens; its parent does not."""
        self.wait_for("Listening on ")
        parent = self.process.pid
        [child] = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return int(child)

    def client(self, **options: Any) -> RawClient:
        """See there; it speaks what the server does."""
        return RawClient(self.address, **{"tls": self.tls, **options})

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit code."""
        code = self.process.wait(TIMEOUT + 10)
        self._reader.join(TIMEOUT)
        return code

    def assert_clean(self) -> None:
        """Neither a traceback nor a warning of the interpreter on standard error."""
        text = "\n".join(self.lines)
        assert not re.search(r"Traceback|Warning|Exception ignored|Fatal Python", text), text


def _is_option(name: str) -> bool:
    return name.startswith(("WSGI_ASYNC_", "LISTEN_")) or name in (
        *("PORT", "PYTHONPATH", "WEB_CONCURRENCY"),
        *("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"),
    )
