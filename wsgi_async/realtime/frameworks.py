"""What frameworks keep beside a body (generators inside others, database connections of a thread),
and what to write in them where a body is given to what takes none.

Nothing of them is imported here; what is not imported has nothing to be looked after. Of the names
that are used, Django documents all but ``_iterator``, in which every version that streams
asynchronously (4.2 and later) has what a ``StreamingHttpResponse`` was given.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import AsyncGeneratorType
from typing import Any

__all__ = [
    "BETWEEN",
    "advise",
    "after_bodies",
    "at_thread_end",
    "before_call",
    "handing_over",
    "inner",
    "instead_of",
]

BETWEEN = ("django.http.",)
"""Modules whose frames stand between the bridge and whoever iterates it."""

_RESPONSES = "werkzeug.wrappers."
"""Werkzeug's and Flask's own response: not a wrapper, but the wrong class."""

_IN_RESPONSE = (
    "Return a wsgi_async.flask.LiveResponse (without Flask a wsgi_async.werkzeug.LiveResponse) in "
    "place of this Response"
)
_IN_DJANGO = "Give Django's StreamingHttpResponse the asynchronous generator itself, without live()"
_AFTER_REQUEST = (
    "An asynchronous body runs when Flask's request is over: take what it needs in the view, and "
    "give it to the generator as arguments."
)


def instead_of(module: str, function: str) -> str | None:
    """*Any thread:* what to write, where this function of this module iterates a body as if it were
    synchronous; None where that is no framework's response."""
    if module.startswith(_RESPONSES):
        return _IN_RESPONSE
    return _IN_DJANGO if function == "_set_streaming_content" else None


def advise(error: BaseException) -> None:
    """*Application loop:* add what to write to what a body has raised, where that is a known
    mistake and its message does not say so."""
    text = error.args[0] if error.args else None
    if (
        isinstance(error, RuntimeError)
        and isinstance(text, str)
        and text.startswith("Working outside of ")
        and _AFTER_REQUEST not in getattr(error, "__notes__", ())  # it may be raised again
    ):
        error.add_note(_AFTER_REQUEST)


def inner(iterable: object) -> tuple[Any, ...]:
    """*Application loop:* what a body iterates beneath its own iterator, and nobody else closes:
    ``aclose()`` is to be called on each, in this order, once the outer one is closed.

    A suspended generator that iterates another one does not close it when it is closed itself; and
    Django's response refers to what it was given until the end, so that it is not collected either.
    Middleware, as that for gzip, puts its own generators around the view's. Each of them has the
    one beneath from ``response.streaming_content``, which is a generator of Django's and nobody
    else's.

    :param iterable: what the application has returned.
    """
    while (wrapped := getattr(iterable, "wrapped_body", None)) is not None:
        iterable = wrapped  # in middleware of ours
    http = sys.modules.get("django.http.response")
    if http is None or not isinstance(iterable, http.StreamingHttpResponse):
        return ()
    found: list[Any] = []
    waiting = [getattr(iterable, "_iterator", None)]
    while waiting:
        iterator = waiting.pop()
        if not hasattr(iterator, "aclose") or any(iterator is other for other in found):
            continue
        found.append(iterator)
        if isinstance(iterator, AsyncGeneratorType) and iterator.ag_frame is not None:
            all_are = _is_of_django(iterator)
            waiting.extend(
                value
                for value in iterator.ag_frame.f_locals.values()
                if all_are or _is_of_django(value)
            )
    return tuple(found)


def _is_of_django(value: object) -> bool:
    frame = value.ag_frame if isinstance(value, AsyncGeneratorType) else None
    return frame is not None and str(frame.f_globals.get("__name__")).startswith("django.")


def handing_over(iterable: object) -> None:
    """*Pool thread:* it has returned this body, and leaves it to the application loop.

    Django closes the connections of a thread when a response is closed, which is some day, and in
    any thread: this one's would stay open until its next request.
    """
    for connection in _connections():
        if not connection.in_atomic_block:  # a test's, which is to end with it
            with contextlib.suppress(Exception):  # Django forgets it all the same
                connection.close_if_unusable_or_obsolete()


def before_call() -> None:
    """*A thread for synchronous calls:* whose connection has failed, as when the database was
    started again, gets another one. Django does that between requests, but a body lasts."""
    for connection in _connections():
        if connection.errors_occurred and not connection.in_atomic_block:
            with contextlib.suppress(Exception):
                if connection.connection is None or connection.is_usable():
                    connection.errors_occurred = False
                else:
                    connection.close()


def after_bodies() -> None:
    """*A thread for synchronous calls:* no body has it any more, as after a request."""
    for connection in _connections():
        with contextlib.suppress(Exception):
            connection.close_if_unusable_or_obsolete()


def at_thread_end() -> None:
    """*A thread for synchronous calls:* it ends, and so do connections that were to persist."""
    for connection in _connections():
        with contextlib.suppress(Exception):
            connection.close()


def _connections() -> Iterator[Any]:
    """Those that Django has opened in this thread."""
    django = sys.modules.get("django.db")
    conf = sys.modules.get("django.conf")
    if django is not None and conf is not None and conf.settings.configured:
        # It is being imported, or older than 4.1.
        with contextlib.suppress(AttributeError, TypeError):
            yield from django.connections.all(initialized_only=True)
