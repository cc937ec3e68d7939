"""What most want of a request in the access log, made at once: the same as
:class:`.AccessFormat` makes of its atoms and keys, in a fraction of the time."""

from __future__ import annotations

import os
from functools import lru_cache
from json.encoder import encode_basestring_ascii

from wsgi_async.events import RequestInfo, ResponseInfo

from .access_entry import host_of, joined, user_of
from .text import escape, is_safe, log_time, rfc3339

__all__ = ["TEMPLATE", "combined", "json_line"]

TEMPLATE = '%s - %s [%s] "%s" %d %s "%s" "%s"'
"""Of ``combined``, for :func:`combined`."""

_SIZES = frozenset((7, 10, 13))

_PARTS = '"upload": %.6f, "queue": %.6f, "app": %.6f, "first": %.6f, "cpu": %.6f, "send": %.6f'
_UNKNOWN = _PARTS.replace("%.6f", "null")

_write = encode_basestring_ascii


def combined(
    client: str, came: float, request: RequestInfo | None, status: int, size: int
) -> tuple[object, ...]:
    """What goes into :data:`TEMPLATE`; ``-`` for what is unknown, the whole request line included.

    :param client: :attr:`.RequestInfo.client`.
    :param came: when the head was complete, as of ``time.time()``.
    :param request: None where its head could not be read.
    :param size: of the response's body.
    """
    line, referer, agent, user = "-", None, None, "-"
    if request is not None:
        line = f"{request.method} {request.target} {request.version}"
        name, referer, agent = _told(request)
        # Mostly there is nothing to escape in any of them: one look at all tells.
        if not is_safe(f"{line}{referer}{agent}"):
            line, referer, agent = escape(line), escape(referer or ""), escape(agent or "")
        if name:
            user = escape(name).replace(" ", r"\x20")
    return (
        _host(client),
        user,
        log_time(came),
        line,
        status,
        size or "-",
        referer or "-",
        agent or "-",
    )


def _told(request: RequestInfo) -> tuple[str, str | None, str | None]:
    """The user, and the fields Referer and User-Agent."""
    user, referer, agent = "", None, None
    for name, value in request.fields:
        size = len(name)
        if size not in _SIZES:  # of most names it tells enough
            continue
        if size == 10 and name.lower() == "user-agent":
            agent = joined(agent, value)
        elif size == 7 and name.lower() == "referer":
            referer = joined(referer, value)
        elif size == 13 and not user:
            user = user_of(((name, value),))
    return user, referer, agent


@lru_cache(maxsize=1024)  # as there
def _host(client: str) -> str:
    return escape(host_of(client)) or "-"


def json_line(
    client: str,
    came: float,
    request: RequestInfo | None,
    status: int,
    size: int,
    response: ResponseInfo | None = None,
) -> str:
    """One object, with :data:`.KEYS` in their order; for the parameters see :func:`combined`.

    :param response: None where the server refused the request.
    """
    user = method = target = version = referer = agent = id = "null"
    if request is not None:
        method, target, version = (
            _write(request.method),
            _write(request.target),
            _write(request.version),
        )
        if request.id:
            id = _write(request.id)
        name, came_from, program = _told(request)
        if came_from is not None:
            referer = _write(came_from)
        if program is not None:
            agent = _write(program)
        if name:
            user = _write(name)
    seconds = 0.0
    parts = _UNKNOWN
    received = complete = spooled = parked = given_up = thread = "null"
    if response is not None:
        seconds = response.duration
        complete = "true" if response.complete else "false"
        known = (
            response.upload,
            response.queue,
            response.app,
            response.first,
            response.cpu,
            response.send,
        )
        if None not in known:
            parts = _PARTS % known
        else:
            parts = _PARTS.replace("%.6f", "%s") % tuple(
                ["null" if part is None else f"{part:.6f}" for part in known]
            )
        if response.received is not None:
            received = f"{response.received}"
            spooled = "true" if response.was_spooled else "false"
            parked = "true" if response.was_parked else "false"
            given_up = "true" if response.is_given_up else "false"
        if response.thread is not None:
            thread = _write(response.thread)
    return (
        f'{{"time": "{rfc3339(came)}", "client": {_client(client)}, "user": {user}, '
        f'"method": {method}, "target": {target}, "version": {version}, '
        f'"status": {status}, "body_size": {size}, '
        f'"referer": {referer}, "user_agent": {agent}, "id": {id}, "duration": {seconds:.6f}, '
        f'{parts}, "received": {received}, "complete": {complete}, "spooled": {spooled}, '
        f'"parked": {parked}, "given_up": {given_up}, "thread": {thread}, '
        f'"process": {os.getpid()}}}'
    )


@lru_cache(maxsize=1024)  # as there
def _client(client: str) -> str:
    host = host_of(client)
    return _write(host) if host else "null"
