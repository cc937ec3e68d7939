"""A real server while a block runs.

::

    with live_server(app, threads=2) as live:
        with urllib.request.urlopen(live.url + "/") as response:
            assert response.status == 200
        (request,) = live.wait_for_requests(1)
        assert request.status == 200
        assert live.errors == []
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from wsgi_async.config.calls import given, refuse
from wsgi_async.config.option import Scope
from wsgi_async.errors import ConfigError
from wsgi_async.events import EVENTS, Observer, RequestInfo, ResponseInfo
from wsgi_async.logs.observer import LogObserver
from wsgi_async.server.server import Server
from wsgi_async.wsgi.types import Application

from .logtap import TAP, speaker

__all__ = ["AppError", "LiveRequest", "LiveServer", "live_server"]

GRACEFUL_TIMEOUT = 10.0
"""Seconds for requests in flight at the end of the block, where no option says otherwise."""


class AppError(NamedTuple):
    """Something that the application did wrong, as the server tells it."""

    request: RequestInfo
    message: str
    """One line."""
    error: BaseException | None
    """The exception, where there is one."""


class LiveRequest:
    """One request that was answered, refused or given up. All times are in seconds.

    =========== =====================================================================
    `queue`     from the complete head until a thread took it: the arrival of the body,
                and the wait for a thread
    `app`       from then until its iterable was closed, or the response was over, if
                that came first
    `send`      the rest, until the last byte was with the transport
    =========== =====================================================================

    They are None where they cannot be known: the server refused the request, or it never came to
    that. More of them are in `response`.
    """

    __test__ = False

    def __init__(
        self, info: RequestInfo | None, client: str, response: ResponseInfo | None = None
    ) -> None:
        self.info = info
        """Id, fields and all; None where not even the head could be read."""
        self.client = client
        """``127.0.0.1:50312``, or ``unix``."""
        self.method = info.method if info is not None else ""
        self.target = info.target if info is not None else ""
        self.response = response
        """As subscribers are told it; None where the server refused the request."""
        self.status = response.status if response is not None else 0
        """The status sent; 499 where the client left before there was one."""
        self.body_size = response.body_size if response is not None else 0
        """Bytes of the response's body, without framing."""
        self.duration = response.duration if response is not None else 0.0
        """From the complete head to the end of the response."""
        self.is_complete = response.complete if response is not None else False
        """False where the response was cut."""
        self.refusal: str | None = None
        """Why the server answered in its own name; None where the application did."""

    @property
    def queue(self) -> float | None:
        response = self.response
        if response is None or response.upload is None or response.queue is None:
            return None
        return response.upload + response.queue

    @property
    def app(self) -> float | None:
        return self.response.app if self.response is not None else None

    @property
    def send(self) -> float | None:
        return self.response.send if self.response is not None else None

    def __repr__(self) -> str:
        times = [f"{self.duration * 1000:.1f} ms"]
        for name, seconds in (("queue", self.queue), ("app", self.app), ("send", self.send)):
            if seconds is not None:
                times.append(f"{name} {seconds * 1000:.1f}")
        what = f"{self.method} {self.target}".strip() or "no request"
        more = "" if self.is_complete else ", cut"
        more += f", refused: {self.refusal}" if self.refusal else ""
        return f"<{what}: {self.status}, {self.body_size} bytes, {', '.join(times)}{more}>"


class LiveServer:
    """A server that runs in a thread of this process. *Any thread* may ask it for anything."""

    __test__ = False

    def __init__(self, application: Application, options: dict[str, Any]) -> None:
        self._changed = threading.Condition()
        self._requests: list[LiveRequest] = []
        self._errors: list[AppError] = []
        self._records: list[logging.LogRecord] = []
        self.server = Server(application, observer=_Recorder(self), **options)
        """The server itself."""

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end: ``http://127.0.0.1:54321``."""
        return self.server.addresses[0]

    @property
    def port(self) -> int:
        """Its TCP port; 0 where it only listens on a unix socket."""
        return self.server.port or 0

    @property
    def requests(self) -> tuple[LiveRequest, ...]:
        """The requests that came to an end so far, in that order. A client may have its last byte
        a moment before the request is here: see :meth:`wait_for_requests`."""
        with self._changed:
            return tuple(self._requests)

    @property
    def errors(self) -> tuple[AppError, ...]:
        """What the application did wrong so far."""
        with self._changed:
            return tuple(self._errors)

    @property
    def logs(self) -> tuple[logging.LogRecord, ...]:
        """What this server logged so far to ``wsgi_async`` and ``wsgi_async.access``, whatever the
        level of these loggers: INFO and above."""
        with self._changed:
            return tuple(self._records)

    @property
    def log_text(self) -> str:
        """The same as lines, with tracebacks."""
        formatter = logging.Formatter("[%(levelname)s] %(message)s")
        return "\n".join(map(formatter.format, self.logs))

    def wait_for_requests(self, count: int, timeout: float = 10.0) -> tuple[LiveRequest, ...]:
        """:attr:`requests`, once there are that many.

        :param timeout: in seconds.
        :raises TimeoutError: there are not.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._requests) >= count, timeout):
                raise TimeoutError(
                    f"{len(self._requests)} requests have ended within {timeout} s, not {count}"
                )
            return tuple(self._requests)

    def raise_errors(self) -> None:
        """Raise what the application did wrong.

        :raises ExceptionGroup: with each exception of :attr:`errors`, and an AssertionError for
            each broken rule that is none.
        """
        found = [_as_exception(error) for error in self.errors]
        if found:
            raise ExceptionGroup("the application failed", found)

    # --- what the observer tells ---------------------------------------------------------------

    def _finished(self, info: RequestInfo, response: ResponseInfo) -> None:
        with self._changed:
            self._add(LiveRequest(info, info.client, response))

    def _refused(self, client: str, status: int, detail: str, info: RequestInfo | None) -> None:
        request = LiveRequest(info, client)
        request.status, request.refusal, request.is_complete = status, detail, True
        with self._changed:
            self._add(request)

    def _add(self, request: LiveRequest) -> None:
        self._requests.append(request)
        self._changed.notify_all()

    def _failed(self, error: AppError) -> None:
        with self._changed:
            self._errors.append(error)

    def _logged(self, record: logging.LogRecord) -> None:
        with self._changed:
            self._records.append(record)


def _as_exception(error: AppError) -> Exception:
    where = f"{error.request.method} {error.request.target}: {error.message}"
    if isinstance(error.error, Exception):
        if where not in getattr(error.error, "__notes__", ()):
            error.error.add_note(where)
        return error.error
    failure = AssertionError(where)
    failure.__cause__ = error.error
    return failure


class _Recorder(LogObserver):
    """Logs as servers do, and keeps it too."""

    wants_timings = True

    def __init__(self, live: LiveServer) -> None:
        super().__init__(access=True)
        self.live = live

    def request_finished(self, request: RequestInfo, response: ResponseInfo) -> None:
        super().request_finished(request, response)
        self.live._finished(request, response)

    def request_refused(
        self,
        client: str,
        status: int,
        detail: str,
        request: RequestInfo | None = None,
        *,
        is_running: bool = False,
    ) -> None:
        super().request_refused(client, status, detail, request, is_running=is_running)
        if not is_running:
            self.live._refused(client, status, detail, request)

    def app_error(
        self, request: RequestInfo, message: str, error: BaseException | None = None
    ) -> None:
        super().app_error(request, message, error)
        self.live._failed(AppError(request, message, error))


def _spoken(tell: Callable[..., None]) -> Callable[..., None]:
    """The same method, what it logs being kept too."""

    def speak(self: _Recorder, *args: Any, **kwargs: Any) -> None:
        with speaker(self.live._logged):
            tell(self, *args, **kwargs)

    speak.__doc__ = tell.__doc__
    return speak


for _event in EVENTS:
    if getattr(_Recorder, _event) is not getattr(Observer, _event):
        setattr(_Recorder, _event, _spoken(getattr(_Recorder, _event)))


@contextlib.contextmanager
def live_server(
    application: Application,
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    raise_errors: bool = False,
    **options: Any,
) -> Iterator[LiveServer]:
    """Serve an application from a thread with a loop of its own, on a real socket, while the block
    runs.

    At its end the server stops as at SIGTERM: it waits for the requests that are in flight, for
    ``graceful_timeout`` at most (10 s if that is not given), and only then returns.

    :param application: the WSGI application.
    :param port: TCP port; 0 for any free one.
    :param host: where to listen.
    :param raise_errors: whether what the application did wrong is raised at the end, if the block
        itself raised nothing; see :meth:`LiveServer.raise_errors`.
    :param options: the options of :class:`~wsgi_async.Config` by name; with ``bind`` neither `port`
        nor `host` counts. And ``observers``: what is told what happens, see
        :mod:`wsgi_async.events`.
    :raises ConfigError: a wrong option, one for several processes, an address that cannot be had,
        or an application that cannot be called.
    :raises RuntimeError: at the end, threads never returned from the application.
    """
    if not callable(application):
        raise ConfigError(f"The application is not callable: {application!r}")
    refuse(options, Scope.FLEET)
    for name in given(options, Scope.PROCESS):
        raise ConfigError(f"{name} is for the command line; a live server has its logs in .logs")
    if "bind" not in options:
        options.update(port=port, host=host)
    options.setdefault("graceful_timeout", GRACEFUL_TIMEOUT)
    with TAP:
        live = LiveServer(application, options)
        with live.server.run_in_thread():
            yield live
    if live.server.stuck_threads:
        raise RuntimeError(
            f"threads that never returned from the application: {live.server.stuck_threads}"
        )
    if raise_errors:
        live.raise_errors()
