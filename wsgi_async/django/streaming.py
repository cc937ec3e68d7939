"""Django's asynchronous streams where something wraps them, and where gzip compresses them."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NoReturn

from django.http import StreamingHttpResponse
from django.middleware.gzip import GZipMiddleware
from django.utils import text

from wsgi_async.wsgi.async_bodies import is_event_type

__all__ = ["install"]

_iterate = StreamingHttpResponse.__iter__
_compress = GZipMiddleware.process_response
_compresses_streams = hasattr(text, "acompress_sequence")  # Django 6 does


def install() -> None:
    """Have a ``StreamingHttpResponse`` that is asynchronous be left as it is by Sentry, iterated
    chunk by chunk by others, and compressed as one stream, if at all. Harmless if repeated."""
    StreamingHttpResponse.__iter__ = _iter
    StreamingHttpResponse.fileno = property(_fileno)
    GZipMiddleware.process_response = _process_response


def _iter(self: Any) -> Iterator[bytes]:
    """``__iter__``: Django's own would ask for all chunks before it gives the first."""
    if not self.is_async:
        return _iterate(self)  # type: ignore[no-any-return]
    from wsgi_async.realtime.application_loop import existing
    from wsgi_async.realtime.bridge import Bridge

    bridge = Bridge(_whole(self))

    def close() -> None:
        loop = existing()
        if loop is None or loop.ident != threading.get_ident():
            bridge.close()
        # Else it is the body that closes the response, at its end: Django's test client has it so.

    self._resource_closers.append(close)
    return bridge


def _fileno(self: Any) -> Callable[[], int]:
    """``fileno``: Sentry's WSGI middleware (2.54 and later) hands on, without its wrapper, what has
    one, for that could be a file which the server sends by itself."""
    if not self.is_async:
        raise AttributeError(f"{type(self).__name__!r} object has no attribute 'fileno'")
    return _no_file


def _no_file() -> NoReturn:
    raise OSError("an asynchronous response has no file")


async def _whole(response: Any) -> AsyncIterator[bytes]:
    """Its chunks; closes what Django has around the view's generator, and that, at their end."""
    from wsgi_async.realtime import frameworks

    body = aiter(response)
    try:
        async for chunk in body:
            yield chunk
    finally:
        await body.aclose()
        for iterator in frameworks.inner(response):
            await iterator.aclose()


def _process_response(self: Any, request: Any, response: Any) -> Any:
    """``GZipMiddleware.process_response``.

    Event streams are not compressed: until Django 6 a synchronous one would be held back, and in
    none of them could a server tell clients to come again. Of other asynchronous bodies Django
    makes, until then, a file of each chunk; browsers, Chromium for one, stop at the end of the
    first.
    """
    if not response.streaming:
        return _compress(self, request, response)
    if is_event_type(response.get("Content-Type", "")):
        return response
    if _compresses_streams or not response.is_async or response.has_header("Content-Encoding"):
        return _compress(self, request, response)
    content = response.streaming_content
    answer = _compress(self, request, response)
    if answer is response and response.has_header("Content-Encoding"):
        response.streaming_content = _compressed(content, self.max_random_bytes)
    return answer


async def _compressed(content: AsyncIterator[bytes], max_random_bytes: int) -> AsyncIterator[bytes]:
    """As Django 6 does it: each chunk leaves at once."""
    buffer = text.StreamingBuffer()
    # Of a length drawn by lot, against BREACH (CVE-2013-3587).
    name = text._get_random_filename(max_random_bytes) if max_random_bytes else None
    with text.GzipFile(filename=name, mode="wb", compresslevel=6, fileobj=buffer, mtime=0) as file:
        yield buffer.read()
        async for chunk in content:
            file.write(chunk)
            file.flush()
            if data := buffer.read():
                yield data
    yield buffer.read()
