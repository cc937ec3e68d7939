"""What a server tells about itself, and to whom: logs, metrics, an embedder's own subscribers.

A subscriber is an :class:`Observer`; it overrides what it wants to hear::

    class Slow(Observer):
        wants_timings = True

        def request_finished(self, request, response):
            if response.duration > 1.0:
                print(request.target, response.queue, response.app, response.cpu)

There may be any number of them, and each hears what happens after those before it; the log is the
first. They are attached by ``Server(app, observers=[Slow()])``, ``server.subscribe(Slow())``,
``serve(app, observers=[...])``, ``wsgi-async app:app --subscriber slow:Slow`` (one in each process
that serves), gunicorn's ``post_worker_init`` with ``worker.subscribe(Slow())``, and
``live_server(app, observers=[...])``.

**Costs.** Who hears what is looked at once, when the server is made. A method that a subscriber
does not override is never called; what nobody hears is neither measured nor put together. A
request's start costs something where :meth:`~Observer.request_started` is overridden, its end where
:meth:`~Observer.request_finished` is, the parts of its time where ``wants_timings`` is set too, and
likewise the response's fields and the environ.

**Failures.** What a subscriber raises is told to the others' :meth:`~Observer.error`, once for each
subscriber, and goes no further; it is told on. Only KeyboardInterrupt passes.

**Threads.** Each method says where it is called:

============ ======================================================================================
Loop         one call at a time, and nobody is served meanwhile: it must return at once. A request
             is told started and finished here, in this order.
Pool thread  what the application did, in the thread that runs it: several at once, for different
             requests. It may come a moment before the request is told started.
Any thread   the loop's, the pool's, or the main one of a process that has no loop: several at once.
============ ======================================================================================

A subscriber that counts on several threads needs a lock of its own. It hears of the process it is
in: with ``--workers`` there is one in each, and the parent has only the log.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

from .errors import ConfigError

__all__ = [
    "EVENTS",
    "HAS_ACCESS_LINE",
    "INTERRUPTED_AFTER",
    "RUNNING",
    "CertificateInfo",
    "FanOut",
    "Observer",
    "RequestInfo",
    "ResponseInfo",
    "check_subscriber",
    "client_address",
    "hears",
]

HAS_ACCESS_LINE: ContextVar[bool] = ContextVar("wsgi_async.has_access_line", default=False)
"""Set by middleware, in the context of a request, that logs it to ``wsgi_async.access`` itself."""

INTERRUPTED_AFTER = 0.5
"""Seconds from Ctrl-C to :meth:`Observer.interrupted`, which tells what the stop waits for."""

RUNNING: list[Observer] = []
"""*Any thread:* those of the servers that run in this process, the oldest first: for what belongs
to none of them alone."""


def client_address(client: str) -> tuple[str, str]:
    """REMOTE_ADDR and REMOTE_PORT of a client, from its name (:attr:`RequestInfo.client`): two
    empty strings for one on a unix socket, and no port where a proxy did not tell it."""
    if client == "unix":
        return "", ""
    if client.endswith("]"):
        return client[1:-1], ""
    host, colon, port = client.rpartition(":")
    return (host.strip("[]"), port) if colon else (client, "")


class RequestInfo(NamedTuple):
    """The facts of one request, as a log line needs them. Text is latin-1 and *not* escaped."""

    id: str
    method: str
    target: str
    version: str
    client: str
    """``127.0.0.1:50312``, ``[::1]:50312``, or ``unix``; ``203.0.113.7`` or ``[2001:db8::7]`` where
    a proxy said so, and no port. :func:`client_address` takes it apart."""
    fields: tuple[tuple[str, str], ...]
    """Header fields as received: name, value."""


class ResponseInfo(NamedTuple):
    """How one request ended."""

    status: int
    """The status sent, or 499 where the client left before there was one."""
    body_size: int
    """Bytes of the body handed to the transport, without chunked framing."""
    duration: float
    """Seconds from the complete head to the end of the response."""
    complete: bool
    """False where the response was cut: application error, promise broken, client gone."""
    is_logged: bool = False
    """Whether middleware has a line for it in the access log: a second one would count it twice."""

    # The parts of `duration`, in seconds: None where nobody asked (:attr:`Observer.wants_timings`),
    # and where it never came to that.
    upload: float | None = None
    """From the complete head to the complete body; nothing where the application reads the body as
    it arrives."""
    queue: float | None = None
    """From then on, waiting for a thread."""
    app: float | None = None
    """With a thread: from its taking the request until it was through, ``close()`` included, or the
    response was over, if that came first. A thread's waits for its client are in it; time in which
    the iteration was suspended is not."""
    cpu: float | None = None
    """Of that, what its thread took of a processor, up to what it last handed over; None where it
    was still at work on the response."""
    send: float | None = None
    """The rest: only the client was waited for, or an asynchronous body."""

    # Further facts, likewise only where somebody wants timings.
    received: int | None = None
    """Bytes of the request's body that came, without chunked framing; None where nobody asked."""
    thread: str | None = None
    """The name of the thread that took it first; None where none did."""
    was_spooled: bool = False
    """Whether some of a body, the request's or the response's, has waited in a temporary file."""
    was_parked: bool = False
    """Whether the iteration was suspended for its client (``response_overflow=park``)."""
    is_given_up: bool = False
    """Whether its thread was given up (``request_timeout``)."""
    first: float | None = None
    """Of `app`, until the first chunk was handed over; None where none was. Where the body is
    asynchronous it is more than that: no thread has it then."""
    was_live: bool = False
    """Whether its body was asynchronous."""

    # Each only where an observer asks for it.
    fields: tuple[tuple[str, str], ...] | None = None
    """Name and value of the response's fields, as the application gave them, and behind them those
    of ``server_timing`` and ``request_id_header``, latin-1; None where nobody asked
    (:attr:`Observer.wants_fields`), and where the response is the server's own."""
    environ: Mapping[str, object] | None = None
    """The environ as the application has left it, whose thread may still be changing it: for
    reading one key or another, not to be kept. None where nobody asked
    (:attr:`Observer.wants_environ`), and where no thread came to call the application."""

    @property
    def latency(self) -> float:
        """Seconds that tell how fast the server is: `duration`, but of an asynchronous body those
        until its first chunk, as far as that is known. How long it lasts says nothing."""
        first = self.first
        if not self.was_live or first is None:
            return self.duration
        # Never less than its parts: close() may take longer than the first chunk did.
        return (self.upload or 0.0) + (self.queue or 0.0) + max(first, self.app or 0.0)


class CertificateInfo(NamedTuple):
    """One of the server's own certificates. ``str()`` of it is a line for an operator."""

    file: str
    """Where the operator has it."""
    subject: str
    """As RFC 4514 writes it: ``CN=www.example.org,O=Example``."""
    names: tuple[str, ...]
    """Names of hosts, wildcards among them, and addresses that it is for."""
    not_before: float
    """From when it is valid, in seconds since 1970."""
    not_after: float
    """Until when."""

    @property
    def begins(self) -> str:
        """`not_before` as ``2026-11-29 20:00:00 UTC``."""
        return _utc(self.not_before)

    @property
    def ends(self) -> str:
        """`not_after` likewise."""
        return _utc(self.not_after)

    def __str__(self) -> str:
        names = ", ".join(self.names) or "no name"
        subject = f" ({self.subject})" if self.subject else ""
        return f"{names}{subject}, valid until {self.ends}"


def _utc(seconds: float) -> str:
    year, month, day, hour, minute, second, *_ = time.gmtime(seconds)
    return f"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC"


class Observer:
    """Receives what happens in a server. Override what is of interest, with plain functions that
    return quickly; these do nothing."""

    wants_requests: bool | None = None
    """Whether :meth:`request_finished` is to be called, which costs a few objects a request. None:
    where it is overridden."""

    wants_fields: bool = False
    """Whether it is to be told the response's fields."""

    wants_environ: bool = False
    """Whether it is to be given the environ, which lives a little longer for it."""

    wants_timings: bool = False
    """Whether the parts of its time, and what else :class:`ResponseInfo` has behind them, are to be
    measured for it too: that is two system calls for each stretch a thread works on it."""

    def started(
        self,
        addresses: tuple[str, ...],
        threads: int,
        loop: str,
        parser: str,
        processes: int = 1,
    ) -> None:
        """*Loop; in a parent, its only thread:* the server listens on `addresses`
        (``http://127.0.0.1:8000``, ``unix:/run/app.sock``).

        :param threads: of each process.
        :param processes: how many serve, where the parent tells it; 1 in each of them.
        """

    def certificates(
        self, certificates: tuple[CertificateInfo, ...], *, are_renewed: bool = False
    ) -> None:
        """*Loop; in a parent, its only thread:* new connections are shown these by TLS from now on:
        as it starts, and whenever other ones have been found in the files.

        :param certificates: in the order of ``--certfile``; the first is the default one.
        :param are_renewed: whether there were others before.
        """

    def stopping(self, in_flight: int) -> None:
        """*Loop:* a graceful stop began with this many exchanges in flight."""

    def interrupted(self, patience: float) -> None:
        """*Loop; in a parent, its only thread:* Ctrl-C came a moment ago, and requests are in
        flight still: they get so many seconds, 0 is any number, and a second Ctrl-C drops them."""

    def stopped(self, stuck_threads: int) -> None:
        """*Loop:* the server has stopped; this many threads never returned from the application."""

    def request_started(self, request: RequestInfo) -> None:
        """*Loop:* a request is on its way to the application: its body is here, unless that is read
        as it arrives. Or it asks for ``health_path`` or ``ready_path``, which the loop answers.

        Its :meth:`request_finished` follows, once. A request that is refused before is not told of
        here.
        """

    def request_finished(self, request: RequestInfo, response: ResponseInfo) -> None:
        """*Loop:* a request has been answered, or given up."""

    def request_refused(
        self,
        client: str,
        status: int,
        detail: str,
        request: RequestInfo | None = None,
        *,
        is_running: bool = False,
    ) -> None:
        """*Loop:* the server itself refused a request with this 4xx/5xx.

        :param request: the request, where its head could be read.
        :param is_running: whether it had been given to the application, which reads its body as
            it arrives: :meth:`request_finished` is told of it then too, else not.
        """

    def connection_dropped(self, client: str, why: str) -> None:
        """*Loop:* the server gave a connection up: a stalled or too slow client, a cut response, no
        PROXY header where one is expected."""

    def app_error(
        self, request: RequestInfo, message: str, error: BaseException | None = None
    ) -> None:
        """*Pool thread:* the application failed or broke PEP 3333.

        :param message: one line that says what happened and how to mend it.
        :param error: the exception, where there is one whose traceback helps.
        """

    def app_warning(self, request: RequestInfo, message: str) -> None:
        """*Pool thread:* the application did what it may not, and the server has mended it.

        :param message: one line that says what was done, and what to change.
        """

    def app_stderr(self, request: RequestInfo, text: str) -> None:
        """*Any thread:* the application wrote a complete line to ``wsgi.errors``: text of its own,
        perhaps with a level and a time, such as Flask's log."""

    def info(self, message: str) -> None:
        """*Any thread:* something an operator may like to know: one line."""

    def report(self, text: str) -> None:
        """*Any thread:* several lines about one failure, the first of which says what to change."""

    def request_slow(
        self, request: RequestInfo, thread: str, seconds: float, stack: list[str]
    ) -> None:
        """*Loop:* a thread is still at work on a request that has passed the age of
        ``slow_request``. Once for each request.

        :param thread: its name.
        :param seconds: since the request was complete, the wait for a thread included, and what
            its thread has waited for the client left out.
        :param stack: what it is doing, as for :meth:`thread_lost`.
        """

    def thread_lost(
        self, request: RequestInfo, thread: str, seconds: float, stack: list[str]
    ) -> None:
        """*Loop:* a thread was given up, and replaced: the application is later than
        ``request_timeout``.

        :param thread: its name.
        :param seconds: for how long the application has produced nothing.
        :param stack: what it is doing, as the lines of a traceback, outermost call first.
        """

    def thread_returned(self, request: RequestInfo, seconds: float) -> None:
        """*That pool thread:* it was given up, has come back, and ends.

        :param seconds: how long after it was given up.
        """

    def threads_exhausted(self, lost: int) -> None:
        """*Loop:* so many threads are lost that new requests are refused with 503 from now on."""

    def threads_recovered(self, lost: int) -> None:
        """*Loop:* enough threads have come back: requests are taken again, with so many still
        lost."""

    def application_loop_blocked(self, seconds: float, stack: list[str]) -> None:
        """*Loop:* code of the application's keeps the application loop from everything else. Told
        once, a second after it began at the earliest.

        :param seconds: for how long so far.
        :param stack: what that loop's thread is doing, as for :meth:`thread_lost`.
        """

    def application_loop_recovered(self, seconds: float) -> None:
        """*Loop:* it goes on.

        :param seconds: for how long it was blocked.
        """

    def warning(self, message: str) -> None:
        """*Any thread:* something an operator should know: one line."""

    def error(self, message: str, error: BaseException | None = None) -> None:
        """*Any thread:* something of the server's own, or another subscriber, failed."""


EVENTS: tuple[str, ...] = tuple(
    name for name, value in vars(Observer).items() if callable(value) and not name.startswith("_")
)
"""The names of all that is told."""

_HOT = ("request_started", "request_finished")
"""What is told of every request, without keywords: mostly to one."""


def hears(subscriber: Observer, event: str) -> bool:
    """Whether there is something of its own behind this method."""
    method = getattr(subscriber, event, None)
    if not callable(method):
        return False
    if getattr(method, "__func__", method) is getattr(Observer, event):
        return False
    return event != "request_finished" or getattr(subscriber, "wants_requests", None) is not False


class FanOut(Observer):
    """Any number of subscribers as one: what it is told, it tells each that hears it, in order.

    Who hears what is looked at here, once. What a subscriber raises harms neither the others nor
    whoever tells; it is reported to the others, once for each subscriber.

    :param subscribers: in the order they are told.
    :param last_resort: takes such a report where no other subscriber does.
    :raises ConfigError: something that is no subscriber.
    """

    def __init__(
        self,
        subscribers: Iterable[Observer],
        last_resort: Callable[[str, BaseException], object],
    ) -> None:
        self.subscribers = tuple(subscribers)
        for subscriber in self.subscribers:
            check_subscriber(subscriber)
        for event in EVENTS:
            hearers = [
                (subscriber, getattr(subscriber, event))
                for subscriber in self.subscribers
                if hears(subscriber, event)
            ]
            if hearers:
                setattr(self, event, self._make_teller(event, hearers))
        finished = [each for each in self.subscribers if hears(each, "request_finished")]
        self.wants_requests = bool(finished)
        for want in ("wants_environ", "wants_fields", "wants_timings"):
            setattr(self, want, any(getattr(each, want, False) for each in finished))
        self._last_resort = last_resort
        self._reported: dict[int, object] = {}

    def _make_teller(
        self, event: str, hearers: list[tuple[Observer, Callable[..., object]]]
    ) -> Callable[..., None]:
        if len(hearers) == 1 and event in _HOT:
            return self._make_hot_teller(event, *hearers[0])

        def tell(*args: Any, **kwargs: Any) -> None:
            for subscriber, hear in hearers:
                try:
                    hear(*args, **kwargs)
                except KeyboardInterrupt:
                    raise
                except BaseException as error:  # SystemExit would end the loop
                    self._report(subscriber, event, error)

        return tell

    def _make_hot_teller(
        self, event: str, subscriber: Observer, hear: Callable[..., object]
    ) -> Callable[..., None]:
        def tell(*args: Any) -> None:
            try:
                hear(*args)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # as above
                self._report(subscriber, event, error)

        return tell

    def _report(self, subscriber: Observer, event: str, error: BaseException) -> None:
        """*Any thread:* say once that a subscriber fails."""
        mine = object()  # one call on one dict is atomic, without the GIL too
        if self._reported.setdefault(id(subscriber), mine) is not mine:
            return
        is_told = False
        try:
            message = (
                f"the subscriber {_name(subscriber)} failed in {event}(); "
                "it is told on, and further failures of it are not reported"
            )
            for other in self.subscribers:
                if other is subscriber or not hears(other, "error"):
                    continue
                try:
                    other.error(message, error)
                    is_told = True
                except Exception as another:
                    self._report(other, "error", another)
            if not is_told:
                self._last_resort(message, error)
                is_told = True
        except Exception:  # no memory for it, perhaps
            pass
        finally:
            if not is_told:
                self._reported.pop(id(subscriber), None)


def _name(subscriber: Observer) -> str:
    kind = type(subscriber)
    return f"{kind.__module__}.{kind.__qualname__}"


def check_subscriber(subscriber: Observer) -> None:
    """Whether anything can be told to it.

    :raises ConfigError: it is no subscriber.
    """
    if isinstance(subscriber, type):
        name = subscriber.__qualname__
        raise ConfigError(f"A subscriber is an object, not a class: write {name}()")
    heard = [event for event in EVENTS if callable(getattr(subscriber, event, None))]
    if not heard:
        raise ConfigError(
            f"A subscriber is a wsgi_async.Observer; {subscriber!r:.200} has none of its methods"
        )
    for event in heard:
        if inspect.iscoroutinefunction(getattr(subscriber, event)):
            raise ConfigError(
                f"{_name(subscriber)}.{event} is async: a subscriber has plain functions, "
                "which return at once"
            )
