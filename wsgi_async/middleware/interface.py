"""How a middleware passes on what an application gives, and answers in its place.

Any thread; on a server of this package the pool thread that runs the request. The rules are those
of PEP 3333, "Middleware: Components that Play Both Sides" and "Specification Details".
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from http import HTTPStatus
from itertools import chain, islice
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from wsgi_async.http.statuses import BODILESS
from wsgi_async.wsgi.async_bodies import is_async_body
from wsgi_async.wsgi.file_wrapper import FileWrapper
from wsgi_async.wsgi.types import Environ, Fields, OptExcInfo

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

__all__ = ["answer", "guard", "request_line", "start_with", "status_line", "watch"]


def status_line(status: int, reason: str = "") -> str:
    """``404 Not Found``.

    :param reason: default: the registered one, or none.
    """
    if not reason:
        try:
            reason = HTTPStatus(status).phrase
        except ValueError:
            reason = "Unknown"
    return f"{status} {reason}"


def request_line(environ: Environ) -> tuple[str, str, str]:
    """Method, target and version as the client sent them, as far as the server tells."""
    target = environ.get("REQUEST_URI") or environ.get("RAW_URI")
    if not target:
        path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
        target = quote(path, safe="/:@!$&'()*+,;=~", encoding="latin-1")
        if query := environ.get("QUERY_STRING"):
            target = f"{target}?{query}"
    return environ["REQUEST_METHOD"], target, environ.get("SERVER_PROTOCOL", "-")


def answer(
    environ: Environ,
    start_response: StartResponse,
    status: str,
    fields: Fields,
    body: bytes,
    exc_info: OptExcInfo | None = None,
) -> list[bytes]:
    """Respond in the application's place.

    :param fields: all but Content-Length; a Content-Type must be there unless the status is one
        without content.
    :param exc_info: replaces a response that the application has begun with, if nothing of it is
        sent (PEP 3333, "The start_response() Callable").
    :raises Exception: that of `exc_info`, if something is.
    """
    try:
        if int(status[:3]) in BODILESS:
            body = b""
        else:
            fields = [*fields, ("Content-Length", str(len(body)))]
        if exc_info is None:
            start_response(status, fields)
        else:
            start_response(status, fields, exc_info)
    finally:
        exc_info = None  # else this frame and the traceback refer to each other
    return [] if environ["REQUEST_METHOD"] == "HEAD" or not body else [body]


def start_with(
    start_response: StartResponse, change: Callable[[Fields], Fields]
) -> Callable[..., Callable[[bytes], object]]:
    """A ``start_response`` that passes the header fields on as `change` returns them.

    :param change: is given the application's list, which it must not alter; not called where the
        application gives something else, for the server to refuse.
    """

    def start(
        status: str, headers: Fields, exc_info: OptExcInfo | None = None
    ) -> Callable[[bytes], object]:
        try:
            if isinstance(headers, list) and all(map(_is_pair, headers)):
                headers = change(headers)
            if exc_info is None:
                return start_response(status, headers)
            return start_response(status, headers, exc_info)
        finally:
            exc_info = None

    return start


def _is_pair(field: object) -> bool:
    return isinstance(field, tuple) and len(field) == 2


def _is_whole(result: object) -> bool:
    """Whether there is nothing to wait for and nothing to close; the server counts its bytes."""
    return type(result) is list or type(result) is tuple


def _is_refused(result: object) -> bool:
    """Whether it is none of a WSGI application's results: the server says so best."""
    return not isinstance(result, Iterable) or isinstance(result, str | bytes | bytearray)


# --- what becomes of a result ------------------------------------------------------------------


Ended = Callable[[int, BaseException | None], None]
"""Told, once, the bytes of the body and the exception that ended it."""


def watch(result: Iterable[bytes], ended: Ended) -> Iterable[bytes]:
    """`result`, and `ended` is called when it has been closed.

    At once where the server needs it as it is and nothing of the application is to run any more: a
    list or a tuple. A plain file in the server's own ``wsgi.file_wrapper`` remains one, and the
    end is its ``close()``: this server calls that when it has taken the file over, before the
    client has all of it. An asynchronous body remains one, too.
    """
    if _is_whole(result) or _is_refused(result):
        chunks = result if _is_whole(result) else ()
        ended(sum(len(chunk) for chunk in chunks if isinstance(chunk, bytes)), None)
        return result
    if type(result) is FileWrapper and (file := result.regular_file()) is not None:
        result.close = _Closing(getattr(result, "close", None), file[2], ended)
        return result
    return (_WatchedLive if is_async_body(result) else _Watched)(result, ended)


class _Closing:
    """A ``close()`` that tells of itself."""

    def __init__(self, close: Callable[[], object] | None, size: int, ended: Ended) -> None:
        self._close = close
        self._size = size
        self._ended: Ended | None = ended

    def __call__(self) -> None:
        close, self._close = self._close, None
        ended, self._ended = self._ended, None
        try:
            if close is not None:
                close()
        except BaseException as error:
            if ended is not None:
                ended(self._size, error)
            raise
        if ended is not None:
            ended(self._size, None)


class _Watched:
    """Passes chunks on and counts their bytes."""

    __slots__ = ("_ended", "_error", "_iterable", "_iterator", "_size")

    def __init__(self, iterable: Iterable[bytes], ended: Ended) -> None:
        self._iterable: Iterable[bytes] | None = iterable
        self._iterator: Iterator[bytes] = iter(())
        self._ended = ended
        self._size = 0
        self._error: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        if self._iterable is not None:
            try:
                self._iterator = iter(self._iterable)
            except BaseException as error:
                self._error = error
                raise
        return self

    def __next__(self) -> bytes:
        try:
            chunk = next(self._iterator)
        except StopIteration:
            raise
        except BaseException as error:
            self._error = error
            raise
        if isinstance(chunk, bytes):  # anything else the server refuses
            self._size += len(chunk)
        return chunk

    def close(self) -> None:
        iterable, self._iterable = self._iterable, None
        if iterable is None:
            return
        try:
            close = getattr(iterable, "close", None)
            if close is not None:
                close()
        except BaseException as error:
            self._error = self._error or error
            raise
        finally:
            outcome, self._error = self._error, None
            self._ended(self._size, outcome)


class _WatchedLive(_Watched):
    """The same of an asynchronous body, which a server without such can iterate all the same."""

    __slots__ = ()

    is_async = True

    @property
    def wrapped_body(self) -> object:
        """For the server: what the application itself has returned, until it is closed."""
        return self._iterable

    async def __aiter__(self) -> AsyncIterator[bytes]:
        iterator = aiter(cast("AsyncIterable[bytes]", self._iterable))
        try:
            async for chunk in iterator:
                if isinstance(chunk, bytes):
                    self._size += len(chunk)
                yield chunk
        except Exception as error:
            self._error = error
            raise
        finally:
            close = getattr(iterator, "aclose", None)
            if close is not None:
                await close()


# --- what becomes of an exception --------------------------------------------------------------


Handler = Callable[[Exception], Iterable[bytes]]
"""Answers an exception, or raises it again; called while it is being handled."""


def guard(
    application: WSGIApplication, environ: Environ, start_response: StartResponse, handle: Handler
) -> Iterable[bytes]:
    """Call the application; `handle` answers what it raises up to its first chunk that is not
    empty. Later the head is sent, and the server has to cut the response. An asynchronous body is
    begun when the request is over as far as middleware goes: what it raises is the server's."""
    try:
        result = application(environ, start_response)
    except Exception as error:
        return handle(error)
    if _is_whole(result) or _is_refused(result) or _is_file(result, environ):
        return result
    if is_async_body(result):
        return result
    return _Guarded(result, handle)


def _is_file(result: object, environ: Environ) -> bool:
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(result, wrapper)


class _Guarded:
    """Passes chunks on; from the second one on nothing of this is in the way."""

    def __init__(self, iterable: Iterable[bytes], handle: Handler) -> None:
        self._iterable = iterable
        self._handle = handle
        self._rest: Iterator[bytes] = iter(())
        self._is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        return chain.from_iterable(self._parts())

    def _parts(self) -> Iterator[Iterator[bytes]]:
        yield self._beginning()
        yield self._rest

    def _beginning(self) -> Iterator[bytes]:
        # Not "yield from" the application's iterator: that would close it when this is collected.
        iterator: Iterator[bytes] | None = None
        while True:
            try:
                if iterator is None:
                    # iter(), but it asks for the application's iterator once, and what is chained
                    # below asks again.
                    iterator = islice(self._iterable, None)
                chunk = next(iterator)
            except StopIteration:
                return
            except Exception as error:
                page = self._handle(error)
                break
            yield chunk
            if chunk:
                self._rest = iterator
                return
        yield from page

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        close = getattr(self._iterable, "close", None)
        if close is not None:
            close()
