"""The subscribers by which processes tell the journal what goes wrong in them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from wsgi_async.events import CertificateInfo, Observer, RequestInfo
from wsgi_async.logs.text import escape, one_line

from .journal import PARENT, Entry, JournalKind, cut, without_values

__all__ = ["MOST", "JournalObserver", "NotingObserver"]

MOST = 20
"""Entries of one process in a second."""

LONGEST = 400
"""Characters of a text."""

LONGEST_TARGET = 200


class JournalObserver(Observer):
    """Tells the journal what goes wrong in one process. *Any thread.*

    Nothing of it is called for a request that goes well.

    :param send: see :meth:`.Journal.send`.
    :param process: its number, or :data:`.journal.PARENT`.
    :param wall: seconds since 1970.
    """

    def __init__(
        self,
        send: Callable[[Entry], bool],
        process: int | str,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._send = send
        self._process = process
        self._wall = wall
        self._lock = threading.Lock()
        self._second = 0
        self._told = 0
        self._lost = 0

    def app_error(
        self, request: RequestInfo, message: str, error: BaseException | None = None
    ) -> None:
        self._tell(JournalKind.APPLICATION, message, request, error)

    def app_warning(self, request: RequestInfo, message: str) -> None:
        self._tell(JournalKind.WARNING, message, request)

    def request_refused(
        self,
        client: str,
        status: int,
        detail: str,
        request: RequestInfo | None = None,
        *,
        is_running: bool = False,
    ) -> None:
        self._tell(JournalKind.REFUSED, f"{status}: {detail}", request)

    def connection_dropped(self, client: str, why: str) -> None:
        self._tell(JournalKind.DROPPED, f"{client}: {why}")

    def request_slow(
        self, request: RequestInfo, thread: str, seconds: float, stack: list[str]
    ) -> None:
        text = f"in the application for {seconds:.1f} s, and still is{_place(stack)}"
        self._tell(JournalKind.SLOW, text, request)

    def thread_lost(
        self, request: RequestInfo, thread: str, seconds: float, stack: list[str]
    ) -> None:
        text = f"nothing for {seconds:.1f} s; thread {thread} is given up{_place(stack)}"
        self._tell(JournalKind.LOST, text, request)

    def threads_exhausted(self, lost: int) -> None:
        self._tell(JournalKind.LOST, f"{lost} threads are lost: new requests get 503")

    def threads_recovered(self, lost: int) -> None:
        self._tell(JournalKind.NOTE, f"requests are taken again; threads still lost: {lost}")

    def application_loop_blocked(self, seconds: float, stack: list[str]) -> None:
        text = f"the application loop has been blocked for {seconds:.1f} s{_place(stack)}"
        self._tell(JournalKind.SLOW, text)

    def application_loop_recovered(self, seconds: float) -> None:
        text = f"the application loop goes on; it was blocked for {seconds:.1f} s"
        self._tell(JournalKind.NOTE, text)

    def warning(self, message: str) -> None:
        self._tell(JournalKind.WARNING, message)

    def error(self, message: str, error: BaseException | None = None) -> None:
        self._tell(JournalKind.SERVER, message, None, error)

    def report(self, text: str) -> None:
        self._tell(JournalKind.SERVER, text.partition("\n")[0])

    def _tell(
        self,
        kind: JournalKind,
        text: str,
        request: RequestInfo | None = None,
        error: BaseException | None = None,
    ) -> None:
        if not self._may_tell():
            return
        entry: Entry = {
            "at": round(self._wall(), 3),
            "kind": kind.value,
            "process": self._process,
            "text": cut(one_line(text), LONGEST),
            "id": "",
        }
        if error is not None:
            more = _text_of(error)
            if more != text:
                entry["text"] += f" {type(error).__name__}"
                entry["more"] = cut(one_line(more), LONGEST)
            else:
                masked = without_values(entry["text"])
                entry["masked"] = masked if masked != "..." else f"{type(error).__name__} ..."
        if request is not None:
            entry["id"] = escape(request.id)[:100]
            entry["method"] = escape(request.method)[:20]
            entry["target"] = cut(escape(request.target), LONGEST_TARGET)
        with self._lock:
            lost, self._lost = self._lost, 0
        if not self._send({**entry, "lost": lost}):
            with self._lock:
                self._lost += lost + 1

    def _may_tell(self) -> bool:
        """Whether this process has not told too much in this second."""
        second = int(self._wall())
        with self._lock:
            if second != self._second:
                self._second, self._told = second, 0
            self._told += 1
            if self._told > MOST:
                self._lost += 1
                return False
        return True


class NotingObserver(JournalObserver):
    """Tells of the parent: also what is no failure, for its lines are few.

    :param send: see :meth:`.Journal.send`.
    """

    def __init__(self, send: Callable[[Entry], bool]) -> None:
        super().__init__(send, PARENT)

    def info(self, message: str) -> None:
        self._tell(JournalKind.NOTE, message)

    def certificates(
        self, certificates: tuple[CertificateInfo, ...], *, are_renewed: bool = False
    ) -> None:
        if are_renewed:
            names = ", ".join(map(str, certificates))
            self._tell(JournalKind.NOTE, f"certificates renewed: {names}")


def _text_of(error: BaseException) -> str:
    """What an exception says of itself, if it does: it is the application's."""
    try:
        return str(error)
    except Exception:
        return ""


def _place(stack: list[str]) -> str:
    """Where a thread is: its innermost call."""
    calls = [line.strip() for line in stack if line.lstrip().startswith("File ")]
    return f"; {calls[-1]}" if calls else ""
