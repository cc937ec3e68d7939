"""The response's fields and the environ, told to whoever asks."""

from __future__ import annotations

from typing import Any

import pytest
from exchanges import exchanges_left
from wire import Held, Site, hello, responding

from wsgi_async.config.options import Config
from wsgi_async.connection.exchange import Exchange
from wsgi_async.connection.kinds import exchange_for
from wsgi_async.connection.telling import EnvironExchange, FieldsExchange, application_for
from wsgi_async.connection.timing import StartedExchange, TimedExchange
from wsgi_async.events import FanOut, Observer, RequestInfo, ResponseInfo


class Told(Observer):
    def __init__(self, *, fields: bool = False, environ: bool = False) -> None:
        self.wants_fields = fields
        self.wants_environ = environ
        self.ended: list[ResponseInfo] = []

    def request_finished(self, request: RequestInfo, response: ResponseInfo) -> None:
        self.ended.append(response)


def fan_out(*subscribers: Observer) -> FanOut:
    return FanOut(subscribers, lambda message, error: None)


# --- the kind of exchange


def test_the_kind_of_exchange_is_what_is_asked_for() -> None:
    class Deaf(Observer):
        wants_fields = wants_environ = True

    class Timed(Told):
        wants_timings = True

        def request_started(self, request: RequestInfo) -> None:
            pass

    plain = Config()
    assert exchange_for(fan_out(Told(), Deaf()), plain) is Exchange
    assert exchange_for(fan_out(Told(), Told(fields=True)), plain) is FieldsExchange
    assert exchange_for(fan_out(Told(environ=True), Deaf()), plain) is EnvironExchange
    every = fan_out(Told(fields=True), Told(environ=True), Timed())
    kind = exchange_for(every, plain)
    assert exchange_for(every, plain) is kind
    for part in (FieldsExchange, EnvironExchange, StartedExchange, TimedExchange):
        assert issubclass(kind, part)
    assert kind.__dictoffset__ == 0  # it has slots only, as all of them


def test_an_application_is_left_as_it_is_where_nobody_asks() -> None:
    class Deaf(Observer):
        wants_environ = True

    plain = Config()
    for observer in (Observer(), fan_out(Told(fields=True)), fan_out(Deaf())):
        assert application_for(exchange_for(observer, plain), hello) is hello
    asked = exchange_for(fan_out(Told(environ=True)), plain)
    assert application_for(asked, hello) is not hello


def test_what_nobody_asks_for_is_not_told() -> None:
    with Site(hello) as site:
        site.connect().get()
        [(_, response)] = site.observer.finished
    assert (response.fields, response.environ) == (None, None)


# --- fields


@pytest.mark.parametrize("is_stream", [False, True])
def test_the_fields_are_those_that_the_application_gave(is_stream: bool) -> None:
    """Those that the server adds for the sake of the wire are not among them."""
    told = Told(fields=True)
    fields = [("X-One", "1"), ("Set-Cookie", "a=b"), ("Set-Cookie", "c=d")]
    chunks = [b"x", b"y", b"z"] if is_stream else None
    with Site(responding("404 No", fields, chunks, stream=is_stream), subscribers=[told]) as site:
        site.connect().get()
    [response] = told.ended
    assert response.status == 404
    assert response.fields == tuple(fields)


@pytest.mark.parametrize(
    ("status", "told_length"), [("200 OK", True), ("304 Not Modified", True), ("204 No", False)]
)
def test_a_promised_length_is_one_of_them(status: str, told_length: bool) -> None:
    told = Told(fields=True)
    application = responding(status, [("Content-Length", "0")], [b""])
    with Site(application, subscribers=[told]) as site:
        site.connect().get()
    assert told.ended[0].fields == ((("Content-Length", "0"),) if told_length else ())


def test_what_the_loop_answers_has_fields() -> None:
    told = Told(fields=True)
    with Site(subscribers=[told], health_path="/health") as site:
        site.connect().get("/health")
    assert "Content-Type" in dict(told.ended[0].fields or ())


def test_what_was_never_sent_has_none() -> None:
    """A client that leaves: what the application then says goes to nobody."""
    told, held = Told(fields=True, environ=True), Held()
    with Site(held, threads=1, subscribers=[told]) as site:
        client, queued = site.connect(), site.connect()
        client.ask("/held")
        held.wait_entered()
        queued.ask("/queued")
        for each in (client, queued):
            each.transport.reset()
        site.loop.run_until(lambda: len(told.ended) == 2)
        held.gate.release()
        site.settle()
    assert [response.status for response in told.ended] == [499, 499]
    assert [response.fields for response in told.ended] == [None, None]
    paths = [response.environ and response.environ["PATH_INFO"] for response in told.ended]
    assert paths == ["/held", None]


# --- environ


def test_the_environ_is_as_the_application_has_left_it() -> None:
    told = Told(environ=True)

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["my.own"] = "mine"
        environ["PATH_INFO"] = "/moved"
        start_response("200 OK", [])
        return [b"x"]

    with Site(application, subscribers=[told]) as site:
        client = site.connect()
        for target in ("/a?b=c", "/d"):
            client.get(target)
    first, second = (response.environ for response in told.ended)
    assert first is not None
    assert second is not None
    assert (first["my.own"], first["PATH_INFO"], first["QUERY_STRING"]) == ("mine", "/moved", "b=c")
    assert second["RAW_URI"] == "/d"


def test_an_application_that_fails_has_an_environ() -> None:
    told = Told(fields=True, environ=True)

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise KeyError("x")

    with Site(application, subscribers=[told]) as site:
        assert site.connect().get("/x").status == 500
    [response] = told.ended
    assert response.environ is not None
    assert response.environ["PATH_INFO"] == "/x"


@pytest.mark.parametrize("kind", ["list", "stream"])
def test_it_leaves_no_cycle_to_the_collector(kind: str) -> None:
    """The environ refers to its exchange."""
    application = hello if kind == "list" else responding(chunks=[b"x"] * 3, stream=True)
    told = Told(fields=True, environ=True)
    with Site(application, subscribers=[told]) as site:
        client = site.connect()
        client.get()
        site.settle()
        with exchanges_left() as left:
            for _ in range(3):
                client.get()
                site.settle()
            assert told.ended[-1].environ is not None
            told.ended.clear()
            site.observer.finished.clear()
    assert left == []
