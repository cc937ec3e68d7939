"""The pool of connections, and the middleware that lends them for a request."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gateway import TEXT, ask, environ_of, stream
from rawclient import TIMEOUT
from serving import Served
from tools import python, running

from wsgi_async.errors import ConfigError
from wsgi_async.middleware import ConnectionPool, Loan, Pooled, PoolExhausted
from wsgi_async.testing import FakeClock


class Connection:
    numbers = itertools.count(1)

    def __init__(self) -> None:
        self.number = next(self.numbers)
        self.closed = 0
        self.good = True

    def close(self) -> None:
        self.closed += 1


class Factory:
    """Makes connections, and keeps them for the test."""

    def __init__(self) -> None:
        self.made: list[Connection] = []

    def __call__(self) -> Connection:
        self.made.append(Connection())
        return self.made[-1]


@pytest.fixture
def factory() -> Factory:
    return Factory()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logger = logging.getLogger("wsgi_async.connectionpool")
    logger.addHandler(caplog.handler)
    propagate, logger.propagate = logger.propagate, False
    yield caplog
    logger.propagate = propagate
    logger.removeHandler(caplog.handler)


# --- the pool


def test_what_came_back_is_lent_again(factory: Factory) -> None:
    pool = ConnectionPool(factory, size=2)
    assert (pool.lent, pool.idle, factory.made) == (0, 0, [])
    with pool.borrow() as one:
        assert (pool.lent, pool.idle) == (1, 0)
    with pool.borrow() as two:
        assert two is one
        with pool.borrow() as three:
            assert three is not one
            assert pool.lent == 2
    assert (pool.lent, pool.idle, len(factory.made)) == (0, 2, 2)
    with pool.borrow() as four:
        assert four is one, "the one that came back last"


def test_it_is_bounded(factory: Factory) -> None:
    pool = ConnectionPool(factory, size=1, timeout=0.01)
    with pool.borrow(), pytest.raises(PoolExhausted, match="all 1 connections are lent"):
        pool._take()
    assert isinstance(PoolExhausted(), TimeoutError)
    assert (pool.lent, len(factory.made)) == (0, 1)


def test_who_waits_gets_the_next_that_comes_back(factory: Factory) -> None:
    pool = ConnectionPool(factory, size=1, timeout=TIMEOUT)
    got: list[Connection] = []

    def borrow() -> None:
        with pool.borrow() as connection:
            got.append(connection)

    with pool.borrow() as mine:
        thread = threading.Thread(target=borrow)
        thread.start()
    thread.join(TIMEOUT)
    assert got == [mine]


def test_many_threads_never_share_one(factory: Factory) -> None:
    pool = ConnectionPool(factory, size=3, timeout=TIMEOUT)
    used: dict[int, int] = {}
    clashes = []

    def work() -> None:
        for _ in range(50):
            with pool.borrow() as connection:
                if used.setdefault(connection.number, threading.get_ident()) != (
                    threading.get_ident()
                ):
                    clashes.append(connection)
                del used[connection.number]

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert clashes == []
    assert len(factory.made) <= 3
    assert (pool.lent, pool.idle) == (0, len(factory.made))


def test_after_an_exception_it_is_closed(factory: Factory) -> None:
    pool = ConnectionPool(factory, size=1)
    with pytest.raises(KeyError), pool.borrow():
        raise KeyError("x")
    assert (factory.made[0].closed, pool.lent, pool.idle) == (1, 0, 0)
    with pool.borrow() as connection:
        assert connection is factory.made[1]


def test_or_put_in_order(factory: Factory) -> None:
    reset: list[Connection] = []
    pool = ConnectionPool(factory, size=1, reset=reset.append)
    with pytest.raises(KeyError), pool.borrow() as connection:
        raise KeyError("x")
    with pool.borrow() as again:
        assert again is connection
    assert reset == [connection, connection]


def test_a_reset_that_fails(factory: Factory, log: pytest.LogCaptureFixture) -> None:
    def fails(connection: Connection) -> None:
        raise OSError("the other end has gone")

    pool = ConnectionPool(factory, size=1, reset=fails)
    with pool.borrow():
        pass
    assert (factory.made[0].closed, pool.lent, pool.idle) == (1, 0, 0)
    assert "could not be reset" in log.text


@pytest.mark.parametrize("raises", [False, True])
def test_one_that_fails_its_check_is_replaced(factory: Factory, raises: bool) -> None:
    checked = []

    def check(connection: Connection) -> bool:
        checked.append(connection)
        if raises and not connection.good:
            raise OSError("gone")
        return connection.good

    pool = ConnectionPool(factory, size=1, check=check)
    with pool.borrow():
        assert checked == [], "a new one needs no check"
    factory.made[0].good = False
    with pool.borrow() as connection:
        assert connection is factory.made[1]
    assert checked == [factory.made[0]]
    assert (factory.made[0].closed, pool.lent, pool.idle) == (1, 0, 1)


def test_a_factory_that_raises_takes_no_place(factory: Factory) -> None:
    fails = [True]

    def make() -> Connection:
        if fails[0]:
            raise OSError("refused")
        return factory()

    pool = ConnectionPool(make, size=1, timeout=0)
    for _ in range(3):
        with pytest.raises(OSError, match="refused"), pool.borrow():
            pass
    fails[0] = False
    with pool.borrow() as connection:
        assert connection is factory.made[0]


def test_old_ones_are_closed(factory: Factory) -> None:
    clock = FakeClock()
    pool = ConnectionPool(factory, size=2, max_age=60, clock=clock.time)
    with pool.borrow(), pool.borrow():
        clock.advance(59)
    assert pool.idle == 2
    clock.advance(2)
    with pool.borrow() as connection:
        assert connection is factory.made[2], "an old one is not lent"
    assert [made.closed for made in factory.made] == [1, 1, 0], "nor kept beside it"
    with pool.borrow():
        clock.advance(61)
    assert (factory.made[2].closed, pool.idle) == (1, 0)


def test_close_of_ones_own(factory: Factory) -> None:
    closed: list[Connection] = []
    with ConnectionPool(factory, size=1, close=closed.append) as pool, pool.borrow():
        pass
    assert closed == factory.made
    assert factory.made[0].closed == 0


def test_a_close_that_raises_is_logged(factory: Factory, log: pytest.LogCaptureFixture) -> None:
    def close(connection: Connection) -> None:
        raise OSError("already gone")

    pool = ConnectionPool(factory, size=1, close=close)
    with pool.borrow():
        pass
    pool.close()
    assert "could not be closed" in log.text


def test_without_a_close_nothing_is_called() -> None:
    pool = ConnectionPool(object, size=1)
    with pytest.raises(KeyError), pool.borrow():
        raise KeyError("x")
    assert pool.idle == 0


def test_a_closed_pool(factory: Factory) -> None:
    pool = ConnectionPool(factory, size=2)
    with pool.borrow():
        pass
    with pool.borrow():
        pool.close()
        assert factory.made[0].closed == 0, "somebody has it"
    assert factory.made[0].closed == 1
    with pytest.raises(RuntimeError, match="the connection pool is closed"), pool.borrow():
        pass


def test_who_waits_is_told_that_it_is_closed(factory: Factory) -> None:
    pool = ConnectionPool(factory, size=1, timeout=TIMEOUT)
    told: list[Exception] = []

    def borrow() -> None:
        try:
            with pool.borrow():
                pass
        except RuntimeError as error:
            told.append(error)

    with pool.borrow():
        thread = threading.Thread(target=borrow)
        thread.start()
        pool.close()
        thread.join(TIMEOUT)
    assert len(told) == 1


def test_a_fork_inherits_none(tmp_path: Path) -> None:
    program = """\
import os
from wsgi_async.middleware import ConnectionPool

class Connection:
    closed = 0
    def close(self):
        self.closed += 1

made = []
def make():
    made.append(Connection())
    return made[-1]

pool = ConnectionPool(make, size=1, timeout=0)
with pool.borrow():
    pass
child = os.fork()
with pool.borrow() as connection:
    # In one write each: two processes write here.
    os.write(1, f"{child > 0} {made.index(connection)} {pool.lent}\\n".encode())
if child:
    os.waitpid(child, 0)
else:
    pool.close()
    os.write(1, f"{[connection.closed for connection in made]}\\n".encode())
"""
    with running(*python("-c", program), cwd=tmp_path) as process:
        assert process.wait() == 0
    assert sorted(process.output.splitlines()) == ["False 1 1", "True 0 1", "[0, 1]"]


def test_fit_makes_it_larger_only() -> None:
    pool = ConnectionPool(object)
    assert pool.size == 1
    for threads, size in ((8, 8), (4, 8), (9, 9)):
        pool.fit(threads)
        assert pool.size == size
    fixed = ConnectionPool(object, size=2)
    fixed.fit(8)
    assert fixed.size == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size must be 1 or more, not 0"),
        ({"max_age": 0}, "max_age must be more than 0 seconds"),
        ({"timeout": -1}, "timeout must be 0 seconds or more"),
    ],
)
def test_a_bad_option_is_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ConnectionPool(object, **options)


# --- the middleware


def test_a_request_has_one_connection_until_its_end(factory: Factory) -> None:
    pool = ConnectionPool(factory)
    lent = []

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        loan = environ["wsgi_async.pool"]
        yield b"%d " % loan.get().number
        lent.append(pool.lent)
        yield b"%d" % loan.get().number

    reply = ask(Pooled(application, pool), environ_of(threads=7))
    one, two = reply.body.split()
    assert one == two
    assert (lent, pool.lent, pool.idle, pool.size) == ([1], 0, 1, 7)


def test_who_asks_for_none_takes_none(factory: Factory) -> None:
    assert ask(Pooled(stream(b"x"), ConnectionPool(factory))).body == b"x"
    assert factory.made == []


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("raises", [False, True])
def test_it_goes_back_however_it_ends(factory: Factory, streams: bool, raises: bool) -> None:
    def listing(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)
        environ["wsgi_async.pool"].get()
        if raises:
            raise ValueError("oh")
        return [b"x"]

    def streaming(environ: Any, start_response: Any) -> Iterator[bytes]:
        yield from listing(environ, start_response)

    pool = ConnectionPool(factory)
    reply = ask(Pooled(streaming if streams else listing, pool))
    assert reply.status == (500 if raises else 200)
    assert (pool.lent, pool.idle) == (0, 0 if raises else 1)
    assert factory.made[0].closed == raises


def test_a_client_that_leaves_gives_it_back(factory: Factory) -> None:
    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", TEXT)
        environ["wsgi_async.pool"].get()
        yield b"a"
        yield b"b"
        yield b"c"

    pool = ConnectionPool(factory)
    assert ask(Pooled(application, pool), leaves=True).end == "cut"
    assert (pool.lent, pool.idle) == (0, 1)


def test_a_loan_ends_with_the_response(factory: Factory) -> None:
    loans: list[Loan[Connection]] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)
        loans.append(environ["wsgi_async.pool"])
        loans[0].get()
        return []

    ask(Pooled(application, ConnectionPool(factory)))
    with pytest.raises(RuntimeError, match="the response is closed"):
        loans[0].get()


def test_two_pools(factory: Factory) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)
        assert environ["wsgi_async.pool"].get() is not environ["site.search"].get()
        return []

    one, two = ConnectionPool(factory), ConnectionPool(factory)
    reply = ask(Pooled(Pooled(application, one), two, key="site.search"))
    assert reply.status == 200
    assert (one.idle, two.idle) == (1, 1)


def test_it_is_as_large_as_the_server_has_threads(
    factory: Factory, serve: Callable[..., Served]
) -> None:
    everybody = threading.Barrier(3)

    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ["wsgi_async.pool"].get()
        everybody.wait(TIMEOUT)
        start_response("200 OK", TEXT)
        return [b"x"]

    pool = ConnectionPool(factory, timeout=TIMEOUT)
    served = serve(Pooled(application, pool), threads=3)
    clients = [served.client() for _ in range(3)]
    for client in clients:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    for client in clients:
        assert client.response().status == 200
        client.close()
    assert (pool.size, len(factory.made), pool.lent) == (3, 3, 0)
