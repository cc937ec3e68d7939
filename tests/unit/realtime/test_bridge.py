"""The bridge: an asynchronous body by a thread that waits, under any WSGI server."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import django.http
import pytest
from application_loops import ending_with_the_test
from rawclient import TIMEOUT

import wsgi_async
from wsgi_async.errors import ClientDisconnected
from wsgi_async.realtime import bridge
from wsgi_async.realtime.application_loop import application_loop, existing
from wsgi_async.realtime.bridge import step_through


@pytest.fixture(autouse=True)
def own_loop() -> Iterator[None]:
    with ending_with_the_test():
        yield


class Body:
    """A body that goes on when the test says so, and how it ended."""

    def __init__(self) -> None:
        self.waits = threading.Event()
        self.ends: list[str] = []
        self.ended = threading.Event()
        self.tasks: list[Any] = []
        self.threads: set[int] = set()

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            for number in range(3):
                self.tasks.append(asyncio.current_task())
                self.threads.add(threading.get_ident())
                yield str(number).encode()
            self.waits.set()
            await asyncio.Event().wait()
        except GeneratorExit:
            self.ends.append("at a yield")
            raise
        except asyncio.CancelledError:
            self.ends.append("in an await")
            raise
        finally:
            await asyncio.sleep(0)
            self.ends.append("closed")
            self.ended.set()


async def letters() -> AsyncIterator[bytes]:
    yield b"a"
    yield b"b"


def in_thread(function: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, raised


def test_nothing_runs_before_the_first_chunk_is_asked_for() -> None:
    chunks = step_through(letters())
    chunks.close()  # type: ignore[attr-defined]
    assert existing() is None


def test_it_runs_in_one_task_of_the_application_loop() -> None:
    """Time limits and groups of tasks that it enters are left where they were entered."""
    body = Body()
    chunks = step_through(body.chunks())
    assert [next(chunks) for _ in range(3)] == [b"0", b"1", b"2"]
    assert len(set(body.tasks)) == 1
    assert body.threads == {application_loop().ident}
    chunks.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("taken", [1, 3])
def test_closed_at_a_yield(taken: int) -> None:
    body = Body()
    chunks = step_through(body.chunks())
    for _ in range(taken):
        next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert body.ends == ["at a yield", "closed"]
    assert next(chunks, None) is None
    chunks.close()  # type: ignore[attr-defined]


def test_the_end_stays_the_end() -> None:
    chunks = step_through(letters())
    assert list(chunks) == [b"a", b"b"]
    assert next(chunks, None) is None
    chunks.close()  # type: ignore[attr-defined]


def test_what_it_raises_comes_through_once() -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"a"
        raise KeyError("b")

    chunks = step_through(failing())
    assert next(chunks) == b"a"
    with pytest.raises(KeyError):
        next(chunks)
    assert next(chunks, None) is None
    chunks.close()  # type: ignore[attr-defined]


def test_what_its_end_raises_comes_through_close() -> None:
    async def failing() -> AsyncIterator[bytes]:
        try:
            yield b"a"
        finally:
            raise KeyError("b")

    chunks = step_through(failing())
    next(chunks)
    with pytest.raises(KeyError):
        chunks.close()  # type: ignore[attr-defined]
    chunks.close()  # type: ignore[attr-defined]


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="")


def test_it_sees_the_context_of_who_iterates_and_keeps_its_own() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield VARIABLE.get().encode()
        VARIABLE.set("its own")
        yield VARIABLE.get().encode()
        yield VARIABLE.get().encode()

    VARIABLE.set("the view's")
    chunks = step_through(body())
    assert list(chunks) == [b"the view's", b"its own", b"its own"]
    assert VARIABLE.get() == "the view's"


def test_who_does_not_close_it_leaves_nothing_behind() -> None:
    """Middleware of the careless kind."""
    body = Body()
    chunks = iter(wsgi_async.live(body.chunks()))
    next(chunks)
    del chunks
    gc.collect()
    assert body.ended.wait(TIMEOUT)


def test_a_body_that_ignores_its_cancellation_is_left_to_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bridge, "CANCELLATIONS", 1)
    go_on = asyncio.Event()
    stubborn_ended = threading.Event()

    async def stubborn() -> AsyncIterator[bytes]:
        try:
            yield b"a"
        finally:
            while not go_on.is_set():
                try:
                    await go_on.wait()
                except asyncio.CancelledError:
                    continue
            stubborn_ended.set()

    chunks = step_through(stubborn())
    next(chunks)
    with pytest.raises(RuntimeError, match=r"asyncio\.CancelledError\? It is left to itself"):
        chunks.close()  # type: ignore[attr-defined]
    application_loop().call(go_on.set)
    assert stubborn_ended.wait(TIMEOUT)


def test_the_application_loop_itself_is_refused() -> None:
    """It would wait for itself for ever."""

    async def body() -> None:
        with pytest.raises(RuntimeError, match="async for"):
            list(wsgi_async.live(letters()))

    application_loop().start(body()).result(TIMEOUT)


class FakeClient:
    """The client of the request that a thread runs."""

    def __init__(self) -> None:
        self.told: list[Callable[[], object]] = []
        self.warned: list[tuple[str, str]] = []

    def on_over(self, callback: Callable[[], object]) -> FakeClient:
        self.told.append(callback)
        return self

    def cancel(self) -> None:
        self.told.clear()

    def warn(self, topic: str, message: str) -> None:
        self.warned.append((topic, message))


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    fake = FakeClient()
    monkeypatch.setattr(bridge, "current_client", lambda: fake)
    return fake


def test_a_thread_that_waits_is_released_when_its_client_goes(client: FakeClient) -> None:
    body = Body()
    chunks = step_through(body.chunks())

    thread, raised = in_thread(lambda: list(chunks))
    assert body.waits.wait(TIMEOUT)
    (leave,) = client.told
    leave()
    thread.join(TIMEOUT)
    assert [type(error) for error in raised] == [ClientDisconnected]
    with pytest.raises(ClientDisconnected):
        next(chunks)
    assert body.ends == []  # it is closed with the response
    chunks.close()  # type: ignore[attr-defined]
    assert body.ends == ["in an await", "closed"]
    assert client.told == []


@pytest.mark.usefixtures("client")
def test_who_hides_a_body_is_named(client: FakeClient) -> None:
    class Wrapper:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __iter__(self) -> Iterator[bytes]:
            yield from self.inner

    assert list(Wrapper(wsgi_async.live(letters()))) == [b"a", b"b"]
    ((topic, message),) = client.warned
    assert topic == "live bridge"
    assert message.startswith(
        f"{__name__}.test_who_hides_a_body_is_named.<locals>.Wrapper.__iter__ iterates"
    )


@pytest.mark.usefixtures("client")
def test_a_response_of_django_is_to_be_given_the_generator_itself(client: FakeClient) -> None:
    """Django asks for the synchronous iterator first, and stays with it."""
    response = django.http.StreamingHttpResponse(
        wsgi_async.live(letters()), content_type="text/plain", charset="utf-8"
    )
    assert b"".join(response) == b"ab"
    ((_, message),) = client.warned
    assert message.endswith(
        "StreamingHttpResponse the asynchronous generator itself, without live()"
    )


def test_under_another_server_nobody_is_warned() -> None:
    """There it is the ordinary way."""
    assert list(wsgi_async.live(letters())) == [b"a", b"b"]


def test_calls_of_sync_to_async_run_in_the_thread_that_waits() -> None:
    """They are in its transactions: see executors."""
    sync = pytest.importorskip("asgiref.sync")
    idents: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        for _ in range(2):
            await sync.sync_to_async(lambda: idents.append(threading.get_ident()))()
            yield b"a"

    assert list(wsgi_async.live(body())) == [b"a", b"a"]
    assert idents == [threading.get_ident()] * 2
