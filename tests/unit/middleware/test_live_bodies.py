"""An asynchronous body passes each middleware as one, so that it holds no thread behind it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from gateway import App, environ_of
from wrapped import VARIABLES, WRAPPERS

from wsgi_async.middleware.interface import watch
from wsgi_async.wsgi.async_bodies import is_async_body

CHUNKS = [b"a", b"", b"bc"]


class Body:
    """An asynchronous body that notes how it ends."""

    is_async = True

    def __init__(self, *, fails: bool = False) -> None:
        self.ends: list[str] = []
        self._fails = fails

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            for chunk in CHUNKS:
                yield chunk
            if self._fails:
                raise KeyError("its own")
        finally:
            self.ends.append("ended")

    def __iter__(self) -> Any:
        return iter(CHUNKS)

    def close(self) -> None:
        self.ends.append("closed")


def returned(app: App) -> Any:
    return app(environ_of(**VARIABLES), lambda status, headers, exc_info=None: None)


def around(body: Body) -> App:
    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return body

    return application


async def collected(body: Any, count: int | None = None) -> list[bytes]:
    chunks = []
    iterator = aiter(body)
    async for chunk in iterator:
        chunks.append(chunk)
        if len(chunks) == count:
            break
    await iterator.aclose()
    return chunks


@pytest.mark.parametrize("name", WRAPPERS)
def test_it_passes_as_an_asynchronous_one(name: str) -> None:
    body = Body()
    result = returned(WRAPPERS[name](around(body)))
    assert is_async_body(result)
    assert asyncio.run(collected(result)) == CHUNKS
    result.close()
    assert body.ends == ["ended", "closed"]


@pytest.mark.parametrize("name", WRAPPERS)
def test_another_server_can_iterate_it(name: str) -> None:
    result = returned(WRAPPERS[name](around(Body())))
    assert list(result) == CHUNKS
    result.close()


@pytest.mark.parametrize("name", WRAPPERS)
def test_what_is_within_is_closed_at_a_yield(name: str) -> None:
    """A generator around another one would leave it to the collector."""
    body = Body()
    result = returned(WRAPPERS[name](around(body)))
    assert asyncio.run(collected(result, 1)) == CHUNKS[:1]
    assert body.ends == ["ended"]
    result.close()
    assert body.ends == ["ended", "closed"]


def test_its_size_and_its_error_are_told_once() -> None:
    told: list[tuple[int, BaseException | None]] = []
    for body in (Body(), Body(fails=True)):
        result = watch(body, lambda size, error: told.append((size, error)))
        with contextlib.suppress(KeyError):
            asyncio.run(collected(result))
        result.close()  # type: ignore[attr-defined]
        result.close()  # type: ignore[attr-defined]
    assert [(size, type(error)) for size, error in told] == [(3, type(None)), (3, KeyError)]


def test_the_server_finds_what_the_application_returned() -> None:
    """Beneath it there may be generators that nobody else closes."""
    body = Body()
    result = returned(WRAPPERS["access"](around(body)))
    assert result.wrapped_body is body
    result.close()
    assert result.wrapped_body is None
