"""What the loop itself answers about the server's health, without a thread. Sans-I/O.

``health_path`` is 200 ``ok`` as long as the process serves at all. ``ready_path`` is 200 ``ready``,
or 503 with the reason: ``draining`` once the server leaves or stops, ``saturated`` while a request
has waited for a thread longer than ``ready_max_wait``, or at least as many threads as there are
are lost in the application; ``stalled`` while one waits though a thread is idle.

An application loop that is blocked changes none of this, as ordinary requests are served all the
same: the details tell it.

Both answer GET and HEAD without a body; anything else is the application's. The query does not
matter, except that ``?json``, like an Accept field that names application/json, asks for details.
Beyond ``max_connections`` they are answered too, as the first request of a connection and its last.
"""

from __future__ import annotations

import json
import os
from http import HTTPStatus

from wsgi_async._version import __version__
from wsgi_async.config.options import Config
from wsgi_async.http.request import RequestHead
from wsgi_async.http.response import ResponseHead

from .vitals import Vitals

__all__ = ["NEGLECTED", "Probes"]

NEGLECTED = 1.0
"""Seconds for which no task may wait while a thread is idle: it takes a thread far less to wake."""


class Probes:
    """The paths that are answered here. Empty ones are off.

    :param config: the options.
    """

    def __init__(self, config: Config) -> None:
        self._health = config.health_path
        self._ready = config.ready_path
        self._max_wait = config.ready_max_wait
        self._paths = {self._health, self._ready} - {""}

    def __bool__(self) -> bool:
        return bool(self._paths)

    def wants(self, head: RequestHead) -> bool:
        """Whether a request is answered here."""
        return head.path in self._paths and head.method in ("GET", "HEAD") and not head.has_body

    def answer(
        self, head: RequestHead, vitals: Vitals, *, is_leaving: bool
    ) -> tuple[ResponseHead, bytes]:
        """The response to a request that is wanted.

        :param is_leaving: whether the server is about to stop.
        """
        word = "ok" if head.path == self._health else self._readiness(vitals, is_leaving)
        kind, body = "text/plain; charset=utf-8", f"{word}\n".encode("ascii")
        if _wants_details(head):
            kind, body = "application/json", _details(word, vitals)
        status = HTTPStatus.OK
        if word in ("draining", "saturated", "stalled"):
            status = HTTPStatus.SERVICE_UNAVAILABLE
        fields = (("Content-Type", kind), ("Cache-Control", "no-store"))
        return ResponseHead(status.value, status.phrase, fields), body

    def _readiness(self, vitals: Vitals, is_leaving: bool) -> str:
        if is_leaving:
            return "draining"
        if vitals.neglected > NEGLECTED:
            return "stalled"
        if vitals.oldest_wait > self._max_wait or vitals.lost >= vitals.threads:
            return "saturated"
        return "ready"


def _wants_details(head: RequestHead) -> bool:
    accepted = head.variables.get("HTTP_ACCEPT", "")
    return head.query == "json" or "application/json" in accepted.lower()


def _details(word: str, vitals: Vitals) -> bytes:
    facts = {"status": word, "pid": os.getpid(), **vitals._asdict(), "version": __version__}
    for name in ("oldest_wait", "uptime", "neglected"):
        facts[name] = round(facts[name], 3)
    if (loop := vitals.application_loop) is not None:
        facts["application_loop"] = {"blocked": round(loop.blocked, 3), "live": loop.live}
    return json.dumps(facts).encode("ascii") + b"\n"
