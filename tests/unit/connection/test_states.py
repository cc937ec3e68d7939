"""The tables: what may become of a connection, its input, an upload and an exchange."""

from __future__ import annotations

import asyncio
import enum
from typing import Any

import pytest
from state_tables import Table, assert_refused, assert_whole, last_of
from wire import Held, Site

from wsgi_async.connection import exchange_states, states, upload
from wsgi_async.connection import input as input_module
from wsgi_async.connection.departures import Departures
from wsgi_async.connection.exchange import Exchange
from wsgi_async.connection.exchange_states import ExchangeState
from wsgi_async.connection.input import Input, InputState
from wsgi_async.connection.states import ConnectionState
from wsgi_async.connection.upload import Upload, UploadState
from wsgi_async.testing import FakeLoop, FakeTransport

TABLES: list[tuple[Table, Any, set[Any]]] = [
    (states.NEXT, ConnectionState.NEW, {ConnectionState.CLOSED}),
    (input_module.NEXT, InputState.FLOWING, {InputState.ENDED}),
    (upload.NEXT, UploadState.OWED, {UploadState.BROKEN}),
    (
        exchange_states.NEXT,
        ExchangeState.BEGUN,
        {ExchangeState.ANSWERED, ExchangeState.WITHDRAWN, ExchangeState.GIVEN_UP},
    ),
]


@pytest.mark.parametrize(("table", "first", "last"), TABLES)
def test_a_table_has_every_state_and_reaches_it(
    table: Table, first: enum.Enum, last: set[enum.Enum]
) -> None:
    assert_whole(table, first)
    assert last_of(table) == last


@pytest.mark.parametrize("state", InputState)
def test_an_input_refuses_what_is_not_in_its_table(state: InputState) -> None:
    taken = Input(FakeTransport(FakeLoop(), asyncio.Protocol()), Departures())
    assert_refused(input_module.NEXT, state, taken, "state", taken._enter)


@pytest.mark.parametrize("state", UploadState)
def test_an_upload_refuses_what_is_not_in_its_table(state: UploadState) -> None:
    with Site() as site:
        client = site.connect()
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", "POST")
        found = client.protocol._upload
        assert isinstance(found, Upload)
        assert_refused(upload.NEXT, state, found, "state", found._enter)
        found.state = UploadState.ARRIVING


@pytest.mark.parametrize("state", ExchangeState)
def test_an_exchange_refuses_what_is_not_in_its_table(state: ExchangeState) -> None:
    application = Held()
    with Site(application) as site:
        client = site.connect()
        client.ask()
        application.wait_entered()
        found = client.protocol._exchange
        assert isinstance(found, Exchange)
        assert_refused(exchange_states.NEXT, state, found, "state", found._enter)
        found.state = ExchangeState.SUBMITTED
        application.gate.release()
        client.wait()


def test_a_body_passes_through_the_states() -> None:
    with Site() as site:
        client = site.connect()
        client.send(
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
            "POST",
        )
        found = client.protocol._upload
        assert found is not None
        assert found.state is UploadState.ARRIVING  # a body that is collected is asked for at once
        client.send("abc")
        assert (found.state, found.received) == (UploadState.ARRIVING, 3)
        client.send("de")
        assert found.state is UploadState.COMPLETE
        client.wait()


def test_reading_gives_way_to_the_others_for_a_turn() -> None:
    with Site() as site:
        client = site.connect()
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "POST")
        client.send("1\r\nx\r\n" * 4000)
        assert client.protocol._input.state is InputState.YIELDING
        assert not client.transport.is_reading()
        site.loop.run_pending()
        assert client.protocol._input.state is InputState.FLOWING
        assert client.transport.is_reading()
        client.send("0\r\n\r\n")
        assert client.wait().is_complete
