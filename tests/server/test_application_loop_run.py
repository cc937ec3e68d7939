"""run() in the requests of a server: whatever becomes of the request, its thread comes back."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from application_loops import ending_with_the_test
from rawclient import TIMEOUT, request
from serving import serving

from wsgi_async.errors import ClientDisconnected, RequestTimeout
from wsgi_async.realtime.application_loop import existing
from wsgi_async.realtime.running import run
from wsgi_async.system import stacks

StartResponse = Callable[..., Any]


@pytest.fixture(autouse=True)
def own_loop() -> Iterator[None]:
    with ending_with_the_test():
        yield


class Waiting:
    """An application whose thread waits for a coroutine without an end, and what becomes of it."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.waits, self.cancelled = threading.Event(), threading.Event()
        self.raised: list[BaseException] = []

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        if environ["PATH_INFO"] == "/other":
            start_response("200 OK", [])
            return [b"other"]
        try:
            run(self.forever(), **self.options)
        except BaseException as error:
            self.raised.append(error)
            raise
        return []

    async def forever(self) -> None:
        self.waits.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


@pytest.mark.parametrize("interrupt_late", [False, True])
def test_a_request_that_is_given_up_gives_its_thread_back(interrupt_late: bool) -> None:
    app = Waiting()
    options: dict[str, Any] = {"request_timeout": 0.5, "threads": 1}
    with serving(app, interrupt_late=interrupt_late, **options) as served:
        with served.client() as client:
            client.send(request("/"))
            assert client.response().status == 504
        ((_, _, _, stack),) = served.recorder.wait_for("thread_lost")
        text = "\n".join(stack)
        # Where the thread is, and where what it waits for is.
        assert re.search(r"in __call__\n.*\n.*in run\n(.*\n)+and waits for\n.*in forever\n", text)
        served.recorder.wait_for("thread_returned")
        assert stacks.WAITS == {}
        assert app.cancelled.wait(TIMEOUT)
        (raised,) = app.raised
        assert isinstance(raised, RequestTimeout)
        assert served.server.lost_threads == 0
        assert served.recorder.of("app_error") == []
        with served.client() as client:
            client.send(request("/other"))
            assert client.response().body == b"other"


def test_it_is_raised_once_also_where_the_end_takes_a_while() -> None:
    """``interrupt_late`` raises it from outside, too, in who does not know of it."""

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        try:
            run(asyncio.Event().wait())
        finally:
            for _ in range(40):
                threading.Event().wait(0.01)
            undisturbed.set()
        return []

    undisturbed = threading.Event()
    with serving(app, interrupt_late=True, request_timeout=0.1) as served:
        with served.client() as client:
            client.send(request("/"))
            assert client.response().status == 504
        served.recorder.wait_for("thread_returned")
        assert undisturbed.is_set()


def test_a_client_that_goes_ends_it_where_that_is_asked_for() -> None:
    app = Waiting(until_gone=True)
    with serving(app) as served:
        with served.client() as client:
            client.send(request("/"))
            assert app.waits.wait(TIMEOUT)
        assert app.cancelled.wait(TIMEOUT)
        served.wait_until_idle()
        (raised,) = app.raised
        assert isinstance(raised, ClientDisconnected)


def test_else_its_client_may_go_and_it_goes_on() -> None:
    gone, ended = threading.Event(), threading.Event()

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        run(work(environ["wsgi_async.client"]))
        ended.set()
        start_response("200 OK", [])
        return []

    async def work(client: Any) -> None:
        begun.set()
        await asyncio.to_thread(client.wait, TIMEOUT)
        assert client.gone
        gone.set()

    begun = threading.Event()
    with serving(app) as served:
        with served.client() as client:
            client.send(request("/"))
            assert begun.wait(TIMEOUT)
        assert gone.wait(TIMEOUT)
        assert ended.wait(TIMEOUT)


def test_at_the_end_of_a_stop_it_is_cancelled_and_no_thread_is_stuck() -> None:
    app = Waiting()
    with serving(app, graceful_timeout=0.1) as served, served.client() as client:
        client.send(request("/"))
        assert app.waits.wait(TIMEOUT)
        assert served.stop() == 0
        assert app.cancelled.is_set()
        assert existing() is None


def test_what_it_raises_is_the_requests_error_with_the_coroutines_frames() -> None:
    async def fail() -> None:
        raise ValueError("no such shop")

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        return run(fail())  # type: ignore[return-value]

    with serving(app) as served, served.client() as client:
        client.send(request("/"))
        assert client.response().status == 500
        ((_, _, error),) = served.recorder.wait_for("app_error")
        assert isinstance(error, ValueError)
        names = []
        trace = error.__traceback__
        while trace is not None:
            names.append(trace.tb_frame.f_code.co_name)
            trace = trace.tb_next
        assert names[-1] == "fail"


def test_all_threads_may_wait_for_what_one_loop_does_at_once() -> None:
    """Eight threads, and what they await needs all eight to be there."""

    def app(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        position = run(meet())
        start_response("200 OK", [])
        return [str(position).encode()]

    async def meet() -> int:
        here.append(len(here))
        if len(here) == 8:
            all_here.set()
        await all_here.wait()
        return len(here)

    here: list[int] = []
    all_here = asyncio.Event()
    with serving(app, threads=8) as served:
        clients = [served.client() for _ in range(8)]
        for client in clients:
            client.send(request("/"))
        assert [client.response().body for client in clients] == [b"8"] * 8
        for client in clients:
            client.close()


def test_on_the_servers_own_loop_it_is_refused() -> None:
    async def nothing() -> None: ...

    async def on_the_loop() -> None:
        run(nothing())

    with (
        serving(Waiting()) as served,
        pytest.raises(RuntimeError, match="await the coroutine instead"),
    ):
        served.thread.run(on_the_loop())
