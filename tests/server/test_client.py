"""``wsgi_async.client`` on real sockets: when a client has gone, and who is told."""

from __future__ import annotations

import collections
import contextlib
import gc
import os
import random
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from rawclient import TIMEOUT, RawClient, request
from serving import Served, both_loops, one_loop_in_time, serving

from wsgi_async.connection.observed import current_request_id
from wsgi_async.wsgi.client import Client, Registration, current_client
from wsgi_async.wsgi.client_watch import Watch


class App:
    """Registers itself, and waits at a gate."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        self.clients: list[Client] = []
        self.were_gone: list[bool] = []
        self.told = threading.Semaphore(0)
        self.threads: list[str] = []
        self.ids: list[str] = []
        self.registrations: list[Registration] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        client = environ["wsgi_async.client"]
        assert current_client() is client
        self.were_gone.append(client.gone)
        self.clients.append(client)
        self.ids.append(current_request_id())
        self.registrations.append(client.on_gone(self.tell))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return getattr(self, environ["PATH_INFO"].strip("/") or "plain")(environ)

    def tell(self) -> None:
        assert current_client() is None
        self.threads.append(threading.current_thread().name)
        self.ids.append(current_request_id())
        self.told.release()

    def _wait(self) -> None:
        self.entered.release()
        assert self.gate.wait(TIMEOUT)

    def plain(self, environ: dict[str, Any]) -> list[bytes]:
        return [b"plain"]

    def held(self, environ: dict[str, Any]) -> list[bytes]:
        self._wait()
        return [b"held"]

    def stream(self, environ: dict[str, Any]) -> Iterator[bytes]:
        """More than any client takes that does not read."""
        self.entered.release()
        while True:
            yield b"x" * 65536

    def read(self, environ: dict[str, Any]) -> list[bytes]:
        self._wait()
        return [environ["wsgi.input"].read()]

    def waits(self, environ: dict[str, Any]) -> list[bytes]:
        self.entered.release()
        assert self.clients[-1].wait(TIMEOUT)
        self.told.release()
        assert self.gate.wait(TIMEOUT)  # a response that ends keeps the callback from its call
        return [b"waited"]

    def awaits(self, count: int = 1) -> None:
        for _ in range(count):
            assert self.entered.acquire(timeout=TIMEOUT)

    def is_told(self, count: int = 1) -> None:
        for _ in range(count):
            assert self.told.acquire(timeout=TIMEOUT)
        assert not self.told.acquire(blocking=False)


LEAVES = {
    "closes": RawClient.close,
    "half-closes": RawClient.half_close,
    "resets": RawClient.reset,
}
leaves = pytest.mark.parametrize("leave", LEAVES.values(), ids=LEAVES)


@both_loops
@leaves
@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
def test_it_is_told_of_on_a_pool_thread(
    loop: str, leave: Callable[[RawClient], None], tls: bool
) -> None:
    """close_notify and FIN alike; who has half-closed gets the response all the same."""
    app = App()
    with serving(app, loop=loop, threads=2, tls=tls) as served, served.client() as client:
        client.send(request("/held"))
        app.awaits()
        assert not app.clients[0].gone
        leave(client)
        app.is_told()
        assert app.clients[0].gone
        assert app.threads[0].startswith("wsgi_async-")
        assert app.ids[0] == app.ids[1] != ""  # the callback's log lines have it too
        assert not app.registrations[0].cancel()
        app.gate.set()
        if leave is RawClient.half_close:
            assert client.response().body == b"held"
        served.wait_until_idle()
    assert app.clients[0].gone


def test_one_that_stays_has_not_gone_when_it_leaves_later() -> None:
    """And the next request of the connection has an object of its own."""
    app = App()
    with serving(app) as served:
        with served.client() as client:
            assert client.get("/").body == client.get("/").body == b"plain"
            assert app.clients[0] is not app.clients[1]
            client.send(request("/held"))
            app.awaits()
        app.is_told()
        app.gate.set()
        served.wait_until_idle()
        assert [client.gone for client in app.clients] == [False, False, True]
        assert app.registrations[0].cancel()
        late = app.clients[0].on_gone(app.tell)
        assert not app.clients[0].wait(TIMEOUT)  # there is nothing to wait for
        assert late.cancel()
    app.is_told(0)


@pytest.mark.parametrize("overflow", ["spool", "block", "park"])
@leaves
def test_one_that_does_not_read_its_response(
    overflow: str, leave: Callable[[RawClient], None]
) -> None:
    app = App()
    with serving(
        app, threads=2, response_overflow=overflow, response_buffer=65536, spool_limit=1 << 20
    ) as served:
        with served.client(receive_buffer=4096) as client:
            client.send(request("/stream"))
            app.awaits()
            served.wait_until(lambda: bool(client.receive(1)))
            leave(client)
            app.is_told()
            assert app.clients[0].gone
        served.wait_until_idle()


@both_loops
def test_one_whose_body_is_read_as_it_arrives(loop: str) -> None:
    """Reading is paused, for enough waits: its FIN lies behind what is not read."""
    app = App()
    with (
        serving(app, loop=loop, threads=2, request_buffering="stream") as served,
        served.client() as client,
    ):
        client.send(request("/read", "POST", fields=("Content-Length: 280000",)) + b"x" * 270_000)
        app.awaits()
        served.wait_until(lambda: len(served.connections.unread) == 1)
        client.send(b"x" * 10_000)
        assert not app.clients[0].gone
        client.half_close()
        app.is_told()
        assert app.clients[0].gone
        app.gate.set()
        assert client.response().body == b"x" * 280_000


def test_a_pipelined_request_after_which_the_client_has_ended_its_side() -> None:
    app = App()
    with serving(app, threads=2) as served, served.client() as client:
        client.send(request("/held") + request("/plain"))
        app.awaits()
        client.half_close()
        app.is_told()
        app.gate.set()
        assert client.response().body == b"held"
        assert client.response().body == b"plain"
    assert app.were_gone == [False, True]


def test_one_that_leaves_while_its_request_waits_for_a_thread() -> None:
    """Who has only ended its side may read on, so its request is begun, and finds it gone."""
    app = App()
    with serving(app, threads=1) as served, served.client() as client:
        client.send(request("/held"))
        app.awaits()
        with served.client() as queued, served.client() as lost:
            for one in (queued, lost):
                one.send(request("/plain"))
            served.wait_until(lambda: served.pool.queued == 2)
            lost.reset()
            served.wait_until(lambda: served.pool.queued == 1)
            queued.half_close()
            served.wait_until(lambda: len(served.connections.unread) == 1)
            app.gate.set()
            assert queued.response().body == b"plain"
    assert app.were_gone == [False, True]


@leaves
def test_a_thread_that_waits_for_it_goes_on(leave: Callable[[RawClient], None]) -> None:
    app = App()
    with serving(app) as served, served.client() as client:
        client.send(request("/waits"))
        app.awaits()
        leave(client)
        app.is_told(2)
        app.gate.set()
        served.wait_until_idle()


def test_where_all_threads_are_busy() -> None:
    """With just what the callbacks would end: they are called all the same, and one that hangs
    keeps the others from nothing."""
    app = App()
    hang = threading.Event()
    with serving(app, threads=2) as served:
        clients = [served.client() for _ in range(2)]
        for client in clients:
            client.send(request("/held"))
        app.awaits(2)
        app.clients[0].on_gone(lambda: hang.wait(TIMEOUT))
        for client in clients:
            client.close()
        app.is_told(2)
        assert set(app.threads) == {"wsgi_async-spare"}
        app.gate.set()
        served.wait_until_idle()
        with served.client() as client:
            assert client.get().body == b"plain"
        hang.set()


def test_one_that_raises_is_logged_with_the_id_of_its_request() -> None:
    ids: list[str] = []
    entered = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        ids.append(current_request_id())
        client = environ["wsgi_async.client"]
        client.on_gone(lambda: 1 / 0)
        client.on_gone(lambda: exit(3))
        entered.set()
        assert client.wait(TIMEOUT)
        start_response("200 OK", [])
        return []

    with serving(application, threads=2) as served:
        with served.client() as client:
            client.send(request())
            assert entered.wait(TIMEOUT)
            client.reset()  # or its response might end, by which they would be for nothing
        told = served.recorder.wait_for("app_error", 2)
    assert [info.id for info, _, _ in told] == ids * 2
    assert {type(error) for _, _, error in told} == {ZeroDivisionError, SystemExit}


def test_a_request_that_is_given_up() -> None:
    """Its client has its 504: nobody is there for what the thread still does."""
    app = App()
    order: list[str] = []
    with serving(app, threads=2, request_timeout=0.2) as served, served.client() as client:
        client.send(request("/waits"))
        app.awaits()
        app.clients[0].on_over(lambda: order.append(threading.current_thread().name), gone=False)
        assert client.response().status == 504
        app.is_told(2)
        app.gate.set()
        assert app.clients[0].gone
        assert app.clients[0].is_given_up
        assert len(order) == 1  # not on a pool thread: all of them may wait for this
        assert not order[0].startswith("wsgi_async")
        app.clients[0].on_over(lambda: order.append("at once"), gone=False)
        assert order[1:] == ["at once"]


def test_an_alarm_that_goes_by_deadlines_alone_is_not_told_of_a_client() -> None:
    app = App()
    over: list[str] = []
    with serving(app) as served, served.client() as client:
        client.send(request("/held"))
        app.awaits()
        app.clients[0].on_over(lambda: over.append("given up"), gone=False)
        app.clients[0].on_over(lambda: over.append("cancelled")).cancel()
        app.clients[0].on_over(lambda: over.append("gone"))
        client.close()
        app.is_told()
        app.gate.set()
        served.wait_until_idle()
    assert over == ["gone"]


def test_a_process_that_the_application_forks_has_no_client() -> None:
    """What it says there is that it has gone; nobody is called."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        client = environ["wsgi_async.client"]
        with warnings.catch_warnings():  # of a fork beside threads, from CPython 3.12 on
            warnings.simplefilter("ignore", DeprecationWarning)
            registered = client.on_gone(lambda: os._exit(1))
            pid = os.fork()
        if not pid:
            facts = [client.gone, client.wait(TIMEOUT), current_client() is client]
            facts += [registered.cancel(), client.on_gone(lambda: os._exit(2)).cancel()]
            os._exit(7 if all(facts) else 8)
        _, status = os.waitpid(pid, 0)
        start_response("200 OK", [])
        return [b"%d %r" % (os.waitstatus_to_exitcode(status), client.gone)]

    with serving(application) as served, served.client() as client:
        assert client.get().body == b"7 False"


def test_a_fork_in_a_thread_of_the_application() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        client = environ["wsgi_async.client"]
        codes: list[int] = []

        def fork() -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
            if not pid:
                os._exit(7 if client.gone else 8)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

        thread = threading.Thread(target=fork)
        thread.start()
        thread.join(TIMEOUT)
        start_response("200 OK", [])
        return [b"%d %r" % (codes[0], client.gone)]

    with serving(application) as served, served.client() as client:
        assert client.get().body == b"7 False"


@pytest.mark.parametrize("threads", [1, 2])
def test_a_stop_that_drops_its_clients_tells(threads: int, serve: Callable[..., Served]) -> None:
    """In time for what holds all threads, a query that is cancelled, to end before the server."""
    app = App()
    served = serve(app, threads=threads, graceful_timeout=0.2)
    stuck: list[int] = []
    with served.client() as client:
        client.send(request("/held"))
        app.awaits()
        app.clients[0].on_gone(app.gate.set)
        stopping = threading.Thread(target=lambda: stuck.append(served.stop()))
        stopping.start()
        app.is_told()
        stopping.join(TIMEOUT)
    assert stuck == [0]


@pytest.mark.soak
@one_loop_in_time
def test_clients_that_leave_at_any_moment(loop: str) -> None:
    """Each callback is called at most once; who reads all of the response has not gone, and
    nothing of it is left."""
    told: collections.Counter[str] = collections.Counter()
    clients: dict[str, Client] = {}
    pause = 0.01

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        target, client = environ["PATH_INFO"], environ["wsgi_async.client"]
        clients[target] = client
        for _ in range(3):
            client.on_gone(lambda: told.update([target]))
        client.on_gone(lambda: told.update([f"{target} cancelled"])).cancel()
        with client.on_gone(lambda: told.update([f"{target} in a block"])):
            client.wait(random.random() * pause)
        start_response("200 OK", [("Content-Length", "200000")])
        return (b"x" * 1000 for _ in range(200))

    def visit(number: int) -> str | None:
        chance = random.Random(number)
        with served.client(receive_buffer=4096) as client:
            client.send(request(f"/{number}"))
            if chance.random() < 0.3:
                assert len(client.response().body) == 200_000
                return f"/{number}"
            client.socket.settimeout(chance.random() * pause)
            with contextlib.suppress(TimeoutError):
                client.socket.recv(100)
            chance.choice([RawClient.close, RawClient.reset])(client)
        return None

    with serving(application, loop=loop, threads=4) as served:
        with ThreadPoolExecutor(16) as pool:
            read = {target for target in pool.map(visit, range(1500)) if target}
        served.wait_until_idle()
        served.wait_until(lambda: not served.pool._errands, "calls wait")
        assert len(clients) > 1000
        for target, client in clients.items():
            # Fewer where its response ended, into the kernel's hands, before all were called.
            assert told[target] <= (0 if target in read else 3), target
            assert told[target] == 0 or client.gone
            assert told[f"{target} cancelled"] == 0
            assert told[f"{target} in a block"] <= 1
        assert read
        assert any(told[target] == 3 for target in clients)
        clients.clear()
        del client
    gc.collect()
    assert not [found for found in gc.get_objects() if type(found) in (Watch, Registration)]
