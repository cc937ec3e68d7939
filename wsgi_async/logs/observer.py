"""What the server tells, as log records: the default :class:`~wsgi_async.events.Observer`.

The loggers, and who writes what they get, are in ``logs/setup.py``. A server embedded in a program
attaches no handler to them; ``configure`` there does, for the command line.

Text that a client sent is escaped wherever it is logged, so that no client can forge a line or
steer a terminal; ``Authorization`` is never logged.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from types import TracebackType

from wsgi_async.errors import ApplicationError
from wsgi_async.events import CertificateInfo, Observer, RequestInfo, ResponseInfo
from wsgi_async.system.own_code import without_ours

from .access_entry import ServerEntry
from .access_format import COMBINED, FORMATS, AccessFormat
from .access_quick import TEMPLATE, combined, json_line
from .setup import access_logger, app_logger, logger, put_line, unwatched
from .text import escape, one_line

__all__ = ["LogObserver"]

_INTERVAL = 1.0
"""Seconds between two lines of one 5xx status, and between two of dropped connections: an
overloaded server must not also log thousands of lines a second."""

_BLOCKED_INTERVAL = 10.0
"""The same of two reports, with stacks, that the application loop is blocked."""


class LogObserver(Observer):
    """Writes to the two loggers. Any thread.

    :param access: whether there is an access log.
    :param format: its format: ``combined``, ``common``, ``json``, or text with atoms, see
        ``--access-logformat``. Some atoms have the parts of a request's time measured.
    :param announces: whether it says where the server listens: of many processes the parent does.
    :param clock: seconds, monotonic.
    :raises ConfigError: there is no such format.
    """

    wants_requests: bool

    def __init__(
        self,
        *,
        access: bool = False,
        format: str = "combined",
        announces: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.wants_requests = access
        self._format = AccessFormat(format)
        self._is_json = self._format.is_json
        self._is_combined = FORMATS.get(format, format) == COMBINED
        if access:
            for need in self._format.needs:
                setattr(self, need.value, True)
        self._announces = announces
        self._clock = clock
        self._last: dict[str, tuple[float, int]] = {}  # kind: when logged, how many since
        self._tells_recovery = False

    def started(
        self,
        addresses: tuple[str, ...],
        threads: int,
        loop: str,
        parser: str,
        processes: int = 1,
    ) -> None:
        if not self._announces:
            return
        many = f"{threads} thread{'s' * (threads != 1)}"
        if processes > 1:
            many = f"{processes} processes, {many} each"
        logger.info("Listening on %s (%s, %s, parser %s)", ", ".join(addresses), many, loop, parser)

    def certificates(
        self, certificates: tuple[CertificateInfo, ...], *, are_renewed: bool = False
    ) -> None:
        if are_renewed and self._announces:
            logger.info("Certificates renewed: %s", one_line("; ".join(map(str, certificates))))

    def stopping(self, in_flight: int) -> None:
        logger.info("Stopping; requests in flight: %d", in_flight)

    def interrupted(self, patience: float) -> None:
        logger.info(
            "Waiting for requests in flight, %s (--graceful-timeout); Ctrl-C again drops them now",
            f"{patience:g} s at most" if patience else "as long as they take",
        )

    def stopped(self, stuck_threads: int) -> None:
        if stuck_threads:
            logger.error("Stopped; threads still in the application: %d", stuck_threads)
        else:
            logger.info("Stopped")

    def request_finished(self, request: RequestInfo, response: ResponseInfo) -> None:
        if not self.wants_requests or response.is_logged:
            return
        self._log_access(request.client, request, response.status, response.body_size, response)

    def _log_access(
        self,
        client: str,
        request: RequestInfo | None,
        status: int,
        body_size: int,
        response: ResponseInfo | None = None,
    ) -> None:
        """One line. Most want one of two formats, each of which has a way of its own."""
        came = time.time() - (0.0 if response is None else response.duration)
        handler = unwatched()
        if self._is_json and handler is not None:
            put_line(handler, json_line(client, came, request, status, body_size, response))
            return
        if self._is_combined:
            template, args = TEMPLATE, combined(client, came, request, status, body_size)
        else:
            entry = ServerEntry(client, came, request, status, body_size, response)
            template, args = self._format.template, self._format.args(entry)
        if handler is not None:
            put_line(handler, template % args)
        else:
            access_logger.info(template, *args)

    def request_refused(
        self,
        client: str,
        status: int,
        detail: str,
        request: RequestInfo | None = None,
        *,
        is_running: bool = False,
    ) -> None:
        if self.wants_requests and not is_running:
            self._log_access(client, request, status, 0)
        more = "" if status < 500 else self._unlogged(str(status))
        if more is not None:
            level = logging.INFO if status < 500 else logging.WARNING
            facts: dict[str, object] = {"client": client} if request is None else _facts(request)
            facts |= {"status": status, "detail": f"refused with {status}: {detail}{more}"}
            text = one_line(detail)
            who = escape(client) if request is None else f"{escape(client)} {escape(request.id)}"
            logger.log(level, "[%s] refused with %d: %s%s", who, status, text, more, extra=facts)

    def connection_dropped(self, client: str, why: str) -> None:
        more = self._unlogged("dropped")
        if more is not None:
            facts = {"client": client, "detail": f"dropped: {why}{more}"}
            logger.info("[%s] dropped: %s%s", escape(client), one_line(why), more, extra=facts)

    def _unlogged(self, kind: str, interval: float = _INTERVAL) -> str | None:
        """None while a line of this kind is too recent, else how many were left out since."""
        now = self._clock()
        logged, unlogged = self._last.get(kind, (-interval, 0))
        if now - logged < interval:
            self._last[kind] = (logged, unlogged + 1)
            return None
        self._last[kind] = (now, 0)
        return f" (and {unlogged} more before)" if unlogged else ""

    def app_error(
        self, request: RequestInfo, message: str, error: BaseException | None = None
    ) -> None:
        text, facts = one_line(message), _facts(request, message)
        logger.error("%s: %s", _about(request), text, exc_info=_blame(error), extra=facts)

    def app_warning(self, request: RequestInfo, message: str) -> None:
        text, facts = one_line(message), _facts(request, message)
        logger.warning("%s: %s", _about(request), text, extra=facts)

    def app_stderr(self, request: RequestInfo, text: str) -> None:
        # Whoever has a log of his own files it where others file errors, as mod_wsgi does.
        line = text.rstrip("\r\n")
        facts = {"request_id": request.id, "client": request.client, "detail": line}
        app_logger.error("[%s] %s", escape(request.id), one_line(line), extra=facts)

    def info(self, message: str) -> None:
        logger.info("%s", one_line(message))

    def report(self, text: str) -> None:
        first, *others = lines = text.rstrip("\n").split("\n")
        facts = {"detail": first, "details": others}
        # Indented, so that none of them passes for a record of its own.
        logger.error("%s", "\n  ".join(map(one_line, lines)), extra=facts)

    def request_slow(
        self, request: RequestInfo, thread: str, seconds: float, stack: list[str]
    ) -> None:
        what = f"in the application for {seconds:.1f} s, and still is; thread {thread}"
        logger.warning(
            "%s: %s is in%s",
            _about(request),
            what,
            _in_lines(stack),
            extra={**_facts(request, what), "stack": stack},
        )

    def thread_lost(
        self, request: RequestInfo, thread: str, seconds: float, stack: list[str]
    ) -> None:
        what = f"nothing from the application for {seconds:.1f} s; thread {thread} is given up"
        logger.error(
            "%s: %s, in%s",
            _about(request),
            what,
            _in_lines(stack),
            extra={**_facts(request, what), "stack": stack},
        )

    def thread_returned(self, request: RequestInfo, seconds: float) -> None:
        what = f"its thread came back {seconds:.1f} s after it was given up"
        logger.info("%s: %s", _about(request), what, extra=_facts(request, what))

    def threads_exhausted(self, lost: int) -> None:
        logger.error(
            "%d threads are lost in the application: new requests get 503 until some come back; "
            "see the stacks above, and give what it waits for timeouts of its own",
            lost,
        )

    def threads_recovered(self, lost: int) -> None:
        logger.info("Requests are taken again; threads still lost in the application: %d", lost)

    def application_loop_blocked(self, seconds: float, stack: list[str]) -> None:
        more = self._unlogged("blocked", _BLOCKED_INTERVAL)  # it may be so again and again
        self._tells_recovery = more is not None
        if more is None:
            return
        what = f"the application loop has been blocked for {seconds:.1f} s{more}"
        logger.error(
            "%s: live responses and run() wait; what blocks belongs into "
            "`await asyncio.to_thread(...)`:%s",
            what,
            _in_lines(stack),
            extra={"detail": what, "stack": stack},
        )

    def application_loop_recovered(self, seconds: float) -> None:
        if self._tells_recovery:
            logger.info("The application loop goes on; it was blocked for %.1f s", seconds)

    def warning(self, message: str) -> None:
        logger.warning("%s", one_line(message))

    def error(self, message: str, error: BaseException | None = None) -> None:
        logger.error("%s", one_line(message), exc_info=error)


def _about(request: RequestInfo) -> str:
    """Which request, and whose, as no client can forge it."""
    line = f"{escape(request.method)} {escape(request.target)}"
    return f"{line} [{escape(request.client)} {escape(request.id)}]"


def _in_lines(stack: list[str]) -> str:
    """A stack, beneath the line that speaks of it."""
    return "".join("\n    " + one_line(line) for line in stack) or " code that is not Python"


def _facts(request: RequestInfo, detail: str = "") -> dict[str, object]:
    """What a record says of a request, as attributes of it: text as it came, and `detail`, the
    message without what names the request in it."""
    return {
        "request_id": request.id,
        "client": request.client,
        "method": request.method,
        "target": request.target,
        "detail": detail,
    }


def _blame(
    error: BaseException | None,
) -> tuple[type[BaseException], BaseException, TracebackType | None] | None:
    """What to show of an application's error: its frames, not those of the server above them.

    Nothing where the server found fault with what it was given: the message has said it, and no
    frame is the application's.
    """
    if error is None:
        return None
    frames = without_ours(error.__traceback__)
    if frames is None:
        if isinstance(error, ApplicationError):
            return None
        frames = error.__traceback__
    return type(error), error, frames
