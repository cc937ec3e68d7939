"""What ``wsgi_async.django`` does for asynchronous streams; that it works on a site is shown by
``tests/interop/test_live_django.py``."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("django")

import django_settings
from django.http import HttpResponse, StreamingHttpResponse
from django.middleware.gzip import GZipMiddleware

from wsgi_async.django.streaming import install
from wsgi_async.realtime import frameworks

django_settings.configure()

TEXT = "some text that is long enough to be compressed. " * 10


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """For this test only: the classes are the process's."""
    for owner, name in ((StreamingHttpResponse, "__iter__"), (GZipMiddleware, "process_response")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    monkeypatch.setattr(StreamingHttpResponse, "fileno", None, raising=False)
    install()
    install()


async def chunks(*story: list[str]) -> AsyncIterator[str]:
    try:
        for number in range(3):
            yield f"{number} {TEXT}"
    finally:
        for each in story:
            each.append("closed")


def through_gzip(response: Any, accepted: str = "gzip") -> Any:
    request = SimpleNamespace(META={"HTTP_ACCEPT_ENCODING": accepted})
    return GZipMiddleware(lambda _: response).process_response(request, response)


def test_an_asynchronous_body_is_one_gzip_file_of_which_each_chunk_leaves_at_once() -> None:
    async def main() -> None:
        response = through_gzip(StreamingHttpResponse(chunks()))
        assert response["Content-Encoding"] == "gzip"
        reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
        read = [reader.decompress(chunk).decode() async for chunk in response]
        assert [text for text in read if text] == [f"{number} {TEXT}" for number in range(3)]
        assert reader.eof
        assert not reader.unused_data  # what clients would stop at

    asyncio.run(main())


def test_the_views_generator_is_found_beneath_it() -> None:
    story: list[str] = []

    async def main() -> None:
        response = through_gzip(StreamingHttpResponse(chunks(story)))
        body: Any = aiter(response)
        for _ in range(2):
            await anext(body)
        await body.aclose()
        for iterator in frameworks.inner(response):
            await iterator.aclose()
        assert story == ["closed"]

    asyncio.run(main())


@pytest.mark.parametrize("accepted", ["", "br"])
def test_who_takes_no_gzip_gets_none(accepted: str) -> None:
    async def main() -> None:
        response = through_gzip(StreamingHttpResponse(chunks()), accepted)
        assert not response.has_header("Content-Encoding")
        assert await anext(aiter(response)) == f"0 {TEXT}".encode()

    asyncio.run(main())


@pytest.mark.parametrize("body", [["one"], chunks()])
def test_event_streams_are_not_compressed(body: Any) -> None:
    """In what is compressed a server could not tell clients when to come again."""
    response = StreamingHttpResponse(body, content_type="text/event-stream; charset=utf-8")
    assert through_gzip(response) is response
    assert not response.has_header("Content-Encoding")


def test_what_is_encoded_already_stays_as_it_is() -> None:
    """As ``sse.headers()`` say it of an event stream."""

    async def main() -> None:
        fields = {"Content-Encoding": "identity"}
        response = through_gzip(StreamingHttpResponse(chunks(), headers=fields))
        assert response["Content-Encoding"] == "identity"
        assert await anext(aiter(response)) == f"0 {TEXT}".encode()

    asyncio.run(main())


def test_other_responses_are_compressed_as_ever() -> None:
    whole = through_gzip(HttpResponse(TEXT))
    assert zlib.decompress(whole.content, 16 + zlib.MAX_WBITS).decode() == TEXT
    stream = through_gzip(StreamingHttpResponse([TEXT, TEXT]))
    assert zlib.decompress(b"".join(stream), 16 + zlib.MAX_WBITS).decode() == TEXT * 2


def test_synchronous_streams_are_iterated_as_ever() -> None:
    response = StreamingHttpResponse(["one", "two"])
    assert list(response) == [b"one", b"two"]
    assert response._resource_closers == []


def test_an_asynchronous_response_looks_like_a_file_to_who_would_wrap_it_else() -> None:
    """Sentry hands on what has a ``fileno``. Nobody who calls it is deceived."""
    assert getattr(StreamingHttpResponse([b""]), "fileno", None) is None
    with pytest.raises(OSError, match="has no file"):
        StreamingHttpResponse(chunks()).fileno()
