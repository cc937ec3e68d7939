"""What Django keeps beside an asynchronous body: its generators, and connections of its threads;
and what those who use Flask are told."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("django")

import django_settings
import flask
from asgiref.sync import sync_to_async
from django.db import connections
from django.http import StreamingHttpResponse
from django.middleware.gzip import GZipMiddleware

from wsgi_async.realtime import executors, frameworks
from wsgi_async.realtime.executors import context_for_body
from wsgi_async.realtime.sync_threads import SyncThreads

django_settings.configure()

TIMEOUT = 20.0

Wrap = Callable[[StreamingHttpResponse], object]


class Source:
    """An iterator that is no generator, as a subscription of a client library is."""

    def __init__(self) -> None:
        self.closed = 0

    def __aiter__(self) -> Source:
        return self

    async def __anext__(self) -> bytes:
        return b"chunk"

    async def aclose(self) -> None:
        self.closed += 1


def gzip(response: StreamingHttpResponse) -> None:
    request = SimpleNamespace(META={"HTTP_ACCEPT_ENCODING": "gzip"})
    GZipMiddleware(lambda _: response).process_response(request, response)
    assert response["Content-Encoding"] == "gzip"


def of_another_project(response: StreamingHttpResponse) -> None:
    """As Django's documentation shows it for middleware."""

    async def wrapped(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in content:
            yield chunk.upper()

    response.streaming_content = wrapped(response.streaming_content)


WRAPS: dict[str, tuple[Wrap, ...]] = {
    "plain": (),
    "gzip": (gzip,),
    "another": (of_another_project,),
    "both": (of_another_project, gzip, of_another_project),
}


@pytest.mark.parametrize("wraps", WRAPS)
@pytest.mark.parametrize("taken", [0, 2, 3])
def test_generators_beneath_a_response_are_closed(wraps: str, taken: int) -> None:
    """``aclose()`` of the outer one alone does not reach the view's."""
    story: list[str] = []

    async def view() -> AsyncIterator[bytes]:
        story.append("begun")
        try:
            while True:
                yield b"chunk"
        finally:
            story.append("closed")

    async def main() -> None:
        source = view()
        response = StreamingHttpResponse(source)
        for wrap in WRAPS[wraps]:
            wrap(response)
        body: Any = aiter(response)
        for _ in range(taken):
            await anext(body)
        await body.aclose()
        assert "closed" not in story
        found = frameworks.inner(response)
        assert found[-1] is source
        for iterator in found:
            await iterator.aclose()
        assert story == ([] if not taken else ["begun", "closed"])
        assert frameworks.inner(response)[1:] == ()

    asyncio.run(main())


def test_iterators_that_are_no_generators_are_closed_too() -> None:
    source = Source()

    async def main() -> None:
        response = StreamingHttpResponse(source)
        gzip(response)
        await anext(aiter(response))
        for iterator in frameworks.inner(response):
            await iterator.aclose()

    asyncio.run(main())
    assert source.closed == 1


def test_what_a_view_shares_with_others_is_let_alone() -> None:
    """A generator in which a view looks something up is not the view's to close."""

    async def everybodys() -> AsyncGenerator[bytes, None]:
        while True:
            yield b"news"

    async def main() -> None:
        shared = everybodys()

        async def view() -> AsyncIterator[bytes]:
            yield await anext(shared)
            yield await anext(shared)

        source = view()
        response = StreamingHttpResponse(source)
        await anext(aiter(response))
        assert frameworks.inner(response)[-1] is source
        assert shared not in frameworks.inner(response)
        await shared.aclose()
        for iterator in frameworks.inner(response):
            await iterator.aclose()

    asyncio.run(main())


def test_nothing_is_asked_of_other_bodies() -> None:
    assert frameworks.inner([b"list"]) == ()
    assert frameworks.inner(StreamingHttpResponse([b"synchronous"])) == ()
    assert frameworks.inner(SimpleNamespace(_iterator=Source())) == ()


def test_where_django_is_not_imported_it_stays_so() -> None:
    script = (
        "import sys; from wsgi_async.realtime import executors, frameworks as f\n"
        "f.handing_over([]); f.before_call(); f.after_bodies(); f.at_thread_end(); f.inner([])\n"
        "with executors.context_for_body(): pass\n"
        "sys.exit(any(name.split('.')[0] in ('django', 'asgiref') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


# --- Connections


class Counted:
    """A database connection of Django's, as much of one as is asked for here."""

    def __init__(self) -> None:
        self.connection: object | None = object()
        self.in_atomic_block = False
        self.errors_occurred = False
        self.works = True
        self.is_old = True
        self.said: list[str] = []
        self.thread = threading.get_ident()
        self.on_close: Callable[[], object] = list

    def close_if_unusable_or_obsolete(self) -> None:
        self.said.append("looked at")
        if self.is_old:
            self.close()

    def is_usable(self) -> bool:
        self.said.append("tried")
        return self.works

    def close(self) -> None:
        assert threading.get_ident() == self.thread
        self.said.append("closed")
        self.connection = None
        self.on_close()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Counted]:
    """The connections of all threads, each of which opens one when it is asked for the first."""
    made: list[Counted] = []
    here = threading.local()

    def all_of_them(initialized_only: bool = False) -> list[Counted]:
        assert initialized_only
        return vars(here).setdefault("connections", [])  # type: ignore[no-any-return]

    def open_one() -> Counted:
        connection = Counted()
        made.append(connection)
        all_of_them(initialized_only=True).append(connection)
        return connection

    monkeypatch.setattr(connections, "all", all_of_them)
    monkeypatch.setattr(connections, "open_one", open_one, raising=False)
    return made


def test_the_views_thread_closes_what_is_old_when_it_hands_over(opened: list[Counted]) -> None:
    old, tested = connections.open_one(), connections.open_one()
    tested.in_atomic_block = True
    frameworks.handing_over([])
    assert old.said == ["looked at", "closed"]
    assert tested.said == []  # the transaction that a TestCase is in


def test_a_connection_that_cannot_be_closed_stops_nobody(opened: list[Counted]) -> None:
    first, second = connections.open_one(), connections.open_one()

    def fail() -> None:
        raise OSError("gone")

    first.close = fail
    frameworks.handing_over([])
    assert second.connection is None


def test_a_thread_closes_what_its_bodies_used_when_the_last_one_ends(
    opened: list[Counted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "_set", SyncThreads(1, idle_time=0.5))
    closed = threading.Event()

    def query() -> None:
        if not opened:
            connections.open_one().on_close = closed.set

    async def main() -> None:
        async def body(until: asyncio.Event) -> None:
            with context_for_body():
                await sync_to_async(query)()
                await until.wait()
                await sync_to_async(query)()

        events = asyncio.Event(), asyncio.Event()
        bodies = [asyncio.create_task(body(event)) for event in events]
        await asyncio.sleep(0)
        events[0].set()
        await bodies[0]
        assert opened[0].said == []  # the other one may have a cursor open
        events[1].set()
        await bodies[1]

    asyncio.run(main())
    assert closed.wait(TIMEOUT)
    assert opened[0].said == ["looked at", "closed"]


def test_connections_that_persist_are_closed_with_their_thread(
    opened: list[Counted], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = SyncThreads(1, idle_time=0.01)
    monkeypatch.setattr(executors, "_set", threads)
    over = threading.Event()

    def query() -> None:
        connection = connections.open_one()
        connection.is_old = False
        connection.on_close = over.set

    async def body() -> None:
        with context_for_body():
            await sync_to_async(query)()

    asyncio.run(body())
    assert over.wait(TIMEOUT)
    assert opened[0].said == ["looked at", "closed"]
    assert len(threads) == 0


def test_a_body_outlives_its_database() -> None:
    """Django finds out between requests that a connection is broken; a body has none."""
    for works, in_atomic, said in (
        (False, False, ["tried", "closed"]),
        (True, False, ["tried"]),
        (False, True, []),
    ):
        connection: Any = Counted()
        connection.errors_occurred, connection.works = True, works
        connection.in_atomic_block = in_atomic
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(connections, "all", lambda initialized_only, c=connection: [c])
            frameworks.before_call()
        assert connection.said == said
        assert connection.errors_occurred == (not works)


@pytest.mark.parametrize("name", ["request", "session", "g", "current_app"])
def test_what_flask_takes_away_before_the_body_is_told_once(name: str) -> None:
    """Its own words advise how to write tests."""
    with pytest.raises(RuntimeError) as raised:
        getattr(flask, name).something  # noqa: B018
    for _ in range(2):
        frameworks.advise(raised.value)
    [note] = raised.value.__notes__
    assert "take what it needs in the view" in note


@pytest.mark.parametrize(
    "error", [RuntimeError(), RuntimeError(5), RuntimeError("other"), TypeError("other")]
)
def test_other_errors_stay_as_they_are(error: Exception) -> None:
    frameworks.advise(error)
    assert not hasattr(error, "__notes__")
