"""One path that says whether what the application needs is there.

``--health-path`` and ``--ready-path`` are about the server, and answer without a thread. This is
about a database, a cache, a disk.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from wsgi_async.errors import ConfigError
from wsgi_async.wsgi.types import Environ

from .interface import answer

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

__all__ = ["Check", "HealthChecks"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at.

    :param run: called in a thread of its own. True or None: all is well. False or an exception: it
        is not.
    :param timeout: seconds after which it is not, either.
    """

    run: Callable[[], object]
    timeout: float = 2.0


class HealthChecks:
    """Answers GET and HEAD for one path: 200 if all checks pass, else 503, with details in JSON::

        {"status": "unhealthy", "timestamp": 1790000000.0, "checks": {
            "database": {"status": "healthy", "seconds": 0.002},
            "cache": {"status": "unhealthy", "seconds": 2.0, "error": "no answer for 2 s"}}}

    Of an exception the client sees its class alone; what it says is in the log, once when a check
    begins to fail. All checks run at the same time, each in one thread: one that hangs is not
    begun again until it returns, so there are never more threads than checks.

    :param application: the WSGI application, for all other paths.
    :param checks: by name; functions, or :class:`Check` where the timeout is another than 2 s.
    :param path: the PATH_INFO it answers.
    :param ttl: seconds for which a result is good for further requests. While it is being renewed
        the last one still is, for as long as the slowest check may take, so that many requests at
        once run no check twice and only one of them waits.
    :param logger: default: ``wsgi_async.health``.
    :param clock: seconds, monotonic.
    :raises ConfigError: a path, a timeout or a check that is none.
    """

    def __init__(
        self,
        application: WSGIApplication,
        checks: Mapping[str, Callable[[], object] | Check],
        *,
        path: str = "/health",
        ttl: float = 1.0,
        logger: logging.Logger | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not path.startswith("/"):
            raise ConfigError(f"HealthChecks: the path begins with a slash, not as {path!r}")
        if ttl < 0:
            raise ConfigError("HealthChecks: ttl is a number of seconds, 0 or more")
        self._application = application
        self._path = path
        self._ttl = ttl
        self._clock = clock
        logger = logger or logging.getLogger("wsgi_async.health")
        self._probes = [_Probe(name, _check(name, run), logger) for name, run in checks.items()]
        self._patience = max((probe.check.timeout for probe in self._probes), default=0.0)
        self._changed = threading.Condition()
        self._is_running = False
        self._last: _Report | None = None

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != self._path:
            return self._application(environ, start_response)
        fields = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            fields.append(("Allow", "GET, HEAD"))
            body = b'{"status": "method not allowed"}\n'
            return answer(environ, start_response, "405 Method Not Allowed", fields, body)
        report = self._report()
        status = "200 OK" if report.is_healthy else "503 Service Unavailable"
        return answer(environ, start_response, status, fields, report.body)

    def _report(self) -> _Report:
        """The state of things: a recent one, or else a new one that one request sees to."""
        came = self._clock()
        with self._changed:
            while True:
                last = self._last
                if last is not None:
                    age = self._clock() - last.at
                    good = self._ttl + (self._patience if self._is_running else 0.0)
                    if age < good or last.at > came:
                        return last
                if not self._is_running:
                    self._is_running = True
                    break
                self._changed.wait()
        report = None
        try:
            report = self._look()
            return report
        finally:
            with self._changed:
                self._is_running = False
                self._last = report or self._last
                self._changed.notify_all()

    def _look(self) -> _Report:
        runs = [probe.begin() for probe in self._probes]
        checks: dict[str, dict[str, object]] = {}
        is_healthy = True
        for probe, run in zip(self._probes, runs, strict=True):
            error, seconds = probe.result(run)
            details: dict[str, object] = {"status": "unhealthy" if error else "healthy"}
            checks[probe.name] = details
            details["seconds"] = round(seconds, 6)
            if error:
                details["error"] = error
                is_healthy = False
        state = {
            "status": "healthy" if is_healthy else "unhealthy",
            "timestamp": round(time.time(), 3),
            "checks": checks,
        }
        return _Report(self._clock(), is_healthy, json.dumps(state).encode("ascii") + b"\n")


class _Report(NamedTuple):
    at: float
    is_healthy: bool
    body: bytes


def _check(name: str, run: Callable[[], object] | Check) -> Check:
    check = run if isinstance(run, Check) else Check(run)
    if not callable(check.run):
        raise ConfigError(f"HealthChecks: the check {name!r} must be a function, not {check.run!r}")
    if not check.timeout > 0:
        raise ConfigError(f"HealthChecks: the timeout of {name!r} must be more than 0 seconds")
    return check


class _Run:
    """One run of a check."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.done = threading.Event()
        self.error: str | None = None
        self.raised: BaseException | None = None
        self.seconds = 0.0


class _Probe:
    """A check and its thread; used by one request at a time."""

    def __init__(self, name: str, check: Check, logger: logging.Logger) -> None:
        self.name = name
        self.check = check
        self._logger = logger
        self._run: _Run | None = None
        self._failed = False

    def begin(self) -> _Run:
        """Start it, unless it still runs."""
        run = self._run
        if run is not None and not run.done.is_set():
            return run
        self._run = run = _Run()
        thread = threading.Thread(
            target=self._main, args=(run,), name=f"wsgi_async-check-{self.name}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # no more threads for this process
            run.error, run.raised = "no thread for it", error
            run.done.set()
        return run

    def _main(self, run: _Run) -> None:
        try:
            answer = self.check.run()
            if answer is not None and answer is not True:
                run.error = "failed" if answer is False else f"returned {type(answer).__name__}"
        except BaseException as error:  # SystemExit too
            run.error, run.raised = type(error).__name__, error
        finally:
            run.seconds = time.monotonic() - run.began
            run.done.set()

    def result(self, run: _Run) -> tuple[str | None, float]:
        """Wait for it: what is wrong, or None, and how long it took."""
        left = run.began + self.check.timeout - time.monotonic()
        if run.done.wait(max(0.0, left)):
            error, raised, seconds = run.error, run.raised, run.seconds
            run.raised = None  # with all the frames its traceback keeps
        else:
            seconds = time.monotonic() - run.began
            error, raised = f"no answer for {self.check.timeout:g} s", None
        if error and not self._failed:
            self._logger.warning("The health check %s fails: %s", self.name, error, exc_info=raised)
        elif self._failed and not error:
            self._logger.info("The health check %s passes again", self.name)
        self._failed = bool(error)
        return error, seconds
