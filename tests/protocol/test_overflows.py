"""Slow clients on fakes: spool, park and block, and all of it arrives."""

from __future__ import annotations

import errno
import itertools
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
from streams import CHUNK, Streamer, endless, overflows, wait_full
from wire import HELLO, TIMEOUT, Held, Site

from wsgi_async.connection.states import ConnectionState


def finite(count: int) -> Streamer:
    return Streamer(lambda: itertools.repeat(CHUNK, count))


# --- all of it arrives --------------------------------------------------------------------------


@overflows
@pytest.mark.parametrize("step", [5_000, 70_000, 400_000])
def test_a_slow_client_gets_all_of_it(overflow: str, step: int) -> None:
    application = finite(64)
    with Site(application, response_overflow=overflow, response_buffer=65536) as site:
        client = site.connect(window=0)
        client.ask()
        wait_full(client)
        while not client.answers:
            client.transport.take(step)
            if client.transport.get_write_buffer_size() == 0 and not client.answers:
                site.loop.run_until(
                    lambda: client.transport.get_write_buffer_size() or client.answers
                )
            site.loop.run_pending()
        (answer,) = client.answers
        assert answer.body == CHUNK * 64
        assert answer.keeps_alive
        site.settle()
        assert application.bodies[0].closed == 1
        assert client.get("/hello").body == HELLO


@overflows
def test_a_small_buffer_bounds_what_waits_in_memory(overflow: str) -> None:
    application = finite(64)
    with Site(application, response_overflow=overflow, response_buffer=65536) as site:
        client = site.connect(window=0)
        client.ask()
        wait_full(client)
        if overflow != "block":
            site.settle()
        site.loop.run_pending()
        assert client.transport.get_write_buffer_size() <= 65536 + len(CHUNK) * 2
        assert site.budgets.memory.used <= 65536
        client.transport.take()
        assert client.wait().body == CHUNK * 64


@overflows
def test_a_drained_transport_that_never_was_full_lets_the_thread_go_on(overflow: str) -> None:
    """Below high water a transport never tells how far it is: nobody may wait for its word."""
    application = finite(8)
    with Site(application, response_overflow=overflow, max_buffer_size=1) as site:
        client = site.connect(window=0)
        client.ask()
        for _ in range(12):
            client.transport.take(len(CHUNK))
            site.loop.run_pending()
        client.transport.take()
        assert client.wait().body == CHUNK * 8


# --- spool --------------------------------------------------------------------------------------


def test_in_spool_the_thread_is_free_while_the_client_takes_its_time() -> None:
    application = finite(64)
    with Site(application, threads=1, response_buffer=65536) as site:
        client = site.connect(window=0)
        client.ask()
        site.settle()
        assert application.bodies[0].closed == 1
        assert application.bodies[0].closed_by in application.bodies[0].threads
        assert site.budgets.disk.used > 0
        assert site.budgets.files.used == 1
        assert site.connect().get("/hello").body == HELLO
        client.transport.take()
        assert client.wait().body == CHUNK * 64
        site.settle()
        assert site.budgets.disk.used == site.budgets.files.used == 0


def test_at_the_spools_bound_the_thread_waits() -> None:
    application = finite(64)
    with Site(application, response_buffer=65536, spool_limit=len(CHUNK) * 20) as site:
        client = site.connect(window=0)
        client.ask()
        wait_full(client)
        while not client.answers:
            client.transport.take(50_000)
            if client.transport.get_write_buffer_size() == 0 and not client.answers:
                site.loop.run_until(
                    lambda: client.transport.get_write_buffer_size() or client.answers
                )
            site.loop.run_pending()
        assert client.answers[0].body == CHUNK * 64
        assert site.budgets.disk.peak <= len(CHUNK) * 20


def test_at_a_full_disk_the_thread_waits_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = 300_000
    pwrite = os.pwrite
    full = threading.Event()

    def fill(descriptor: int, data: bytes, offset: int) -> int:
        if offset >= room:
            full.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        return pwrite(descriptor, data[: room - offset], offset)

    monkeypatch.setattr(os, "pwrite", fill)
    application = finite(64)
    with Site(application, response_buffer=65536) as site:
        client = site.connect(window=0)
        client.ask()
        wait_full(client)
        assert full.wait(TIMEOUT)
        assert site.connect().get("/hello").body == HELLO
        while not client.answers:
            client.transport.take(50_000)
            if client.transport.get_write_buffer_size() == 0 and not client.answers:
                site.loop.run_until(
                    lambda: client.transport.get_write_buffer_size() or client.answers
                )
            site.loop.run_pending()
        assert client.answers[0].body == CHUNK * 64
        assert not client.answers[0].is_truncated
        site.settle()
        assert application.bodies[0].closed == 1
        assert "No space left on device" in site.observer.errors[0]
        assert site.observer.app_errors == []


def test_without_a_directory_for_files_a_response_blocks() -> None:
    application = finite(64)
    with Site(application, response_buffer=65536, spool_dir="/nonexistent") as site:
        client = site.connect(window=0)
        client.ask()
        wait_full(client)
        client.transport.take()
        assert client.wait().body == CHUNK * 64
        assert site.budgets.files.peak == 0


# --- park ---------------------------------------------------------------------------------------


def test_a_parked_iteration_goes_on_when_its_client_has_taken_enough() -> None:
    application = endless()
    with Site(application, response_overflow="park", threads=1, response_buffer=65536) as site:
        client = site.connect(window=0)
        client.ask()
        for _ in range(5):
            site.settle()  # the thread is free
            (body,) = application.bodies
            given = body.given
            assert body.closed == 0
            site.advance(1)
            assert body.given == given
            client.transport.take(200_000)
            site.settle()
            assert body.given > given
        assert site.budgets.disk.peak == 0
        assert site.connect().get("/hello").body == HELLO


def test_a_parked_iteration_may_go_on_in_another_thread() -> None:
    application = endless()
    threads: dict[str, str] = {}
    held = {"/1": Held(), "/2": Held()}

    def dispatch(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if environ["PATH_INFO"] not in held:
            return application(environ, start_response)
        threads[environ["PATH_INFO"]] = threading.current_thread().name
        return held[environ["PATH_INFO"]](environ, start_response)

    with Site(dispatch, response_overflow="park", threads=2, response_buffer=65536) as site:
        client = site.connect(window=0)
        client.ask()
        site.settle()
        (body,) = application.bodies
        (first,) = body.threads
        for target, holder in held.items():
            site.connect().ask(target)
            holder.wait_entered()
        (free,) = (target for target in held if threads[target] != first)
        held[free].gate.release()  # the other is kept from it
        given = body.given
        client.transport.take(200_000)
        site.loop.run_until(lambda: body.given > given)
        assert body.threads == {first, threads[free]}
        for holder in held.values():
            holder.gate.release()


def test_a_client_that_goes_while_parked_has_its_iterable_closed_by_a_pool_thread() -> None:
    application = endless()
    with Site(application, response_overflow="park", response_buffer=65536) as site:
        client = site.connect(window=0)
        client.ask()
        site.settle()
        (body,) = application.bodies
        given = body.given
        client.transport.reset()
        site.settle()
        assert body.closed == 1
        assert body.closed_by.startswith("wsgi_async-")
        assert body.given == given
        assert site.budgets.memory.used == 0


def test_many_endless_streams_share_one_thread() -> None:
    application = endless()
    with Site(application, response_overflow="park", threads=1, response_buffer=65536) as site:
        clients = [site.connect(window=0) for _ in range(50)]
        for client in clients:
            client.ask()
        site.settle()
        assert len(application.bodies) == 50
        assert site.connect().get("/hello").body == HELLO
        for client in clients:
            client.transport.take(500_000)
        site.settle()
        assert all(len(client.transport.sent) == 500_000 for client in clients)
        for client in clients:
            client.transport.reset()
        site.settle()
        assert all(body.closed == 1 for body in application.bodies)


# --- block --------------------------------------------------------------------------------------


def test_in_block_the_thread_waits_and_one_too_many_evicts_the_longest_blocked() -> None:
    application = endless()
    with Site(application, response_overflow="block", threads=2, response_buffer=65536) as site:
        blocked = site.connections.gateway.bounds.blocked
        first, second = site.connect(window=0), site.connect(window=0)
        first.ask()
        wait_full(first)
        second.ask()
        site.loop.run_until(lambda: first.protocol._exchange is None)
        assert site.observer.dropped
        assert second.state is ConnectionState.RUNNING
        first.transport.take()
        site.loop.run_until(lambda: first.transport.is_lost)
        (answer,) = first.answers
        assert answer.is_truncated
        site.loop.run_until(lambda: application.bodies[0].closed == 1)
        assert len(blocked) == 1
        assert site.connect().get("/hello").body == HELLO


def test_the_client_of_a_blocked_thread_goes() -> None:
    application = endless()
    with Site(application, response_overflow="block", response_buffer=65536) as site:
        client = site.connect(window=0)
        client.ask()
        wait_full(client)
        client.transport.reset()
        site.settle()
        assert application.bodies[0].closed == 1
        assert len(site.connections.gateway.bounds.blocked) == 0
