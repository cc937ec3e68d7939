"""Who is told what, in which order, and what a subscriber that fails does to the others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from inspect import signature
from typing import Any

import pytest

from wsgi_async.errors import ConfigError
from wsgi_async.events import (
    EVENTS,
    FanOut,
    Observer,
    RequestInfo,
    ResponseInfo,
    client_address,
    hears,
)
from wsgi_async.wsgi.environ import client_name

REQUEST = RequestInfo("a-1", "GET", "/", "HTTP/1.1", "127.0.0.1:5", ())
RESPONSE = ResponseInfo(200, 5, 0.25, True)
LIVE = RESPONSE._replace(duration=3600.0, was_live=True)

Heard = list[tuple[str, str, Any]]


class Hearing(Observer):
    """Hears some of what there is."""

    def __init__(self, name: str, heard: Heard) -> None:
        self.name = name
        self.heard = heard

    def stopping(self, in_flight: int) -> None:
        self.heard.append((self.name, "stopping", in_flight))

    def error(self, message: str, error: BaseException | None = None) -> None:
        self.heard.append((self.name, "error", message))


class Failing(Observer):
    """Hears, and fails at it."""

    def __init__(self, error: BaseException) -> None:
        self.failure = error
        self.calls = 0

    def stopping(self, in_flight: int) -> None:
        self.calls += 1
        raise self.failure

    def error(self, message: str, error: BaseException | None = None) -> None:
        self.calls += 1
        raise self.failure


class Finishing(Observer):
    def request_finished(self, request: RequestInfo, response: ResponseInfo) -> None:
        pass


class Timing(Finishing):
    wants_timings = True


def unheard(message: str, error: BaseException) -> None:
    raise AssertionError(message)


def fan_out(*subscribers: Observer) -> FanOut:
    return FanOut(subscribers, unheard)


def test_each_is_told_in_its_order() -> None:
    heard: Heard = []
    observer = fan_out(*(Hearing(name, heard) for name in "abc"))
    observer.stopping(3)
    observer.stopping(in_flight=2)
    observer.error("oh")
    assert heard == [
        *[(name, "stopping", 3) for name in "abc"],
        *[(name, "stopping", 2) for name in "abc"],
        *[(name, "error", "oh") for name in "abc"],
    ]
    assert [each.name for each in observer.subscribers if isinstance(each, Hearing)] == [*"abc"]


@pytest.mark.parametrize("event", EVENTS)
def test_what_is_not_overridden_is_not_called(event: str) -> None:
    """Neither in a subscriber, nor is anything put in its place in the fan-out."""
    heard: list[str] = []

    class Base(Observer):
        pass

    def hear(self: Observer, *args: Any, **kwargs: Any) -> None:
        heard.append(type(self).__name__)

    one = type("One", (Base,), {event: hear})
    two = type("Two", (Base,), {})
    for subscribers, expected in (([two()], []), ([two(), one(), two()], ["One"])):
        observer = fan_out(*subscribers)
        assert hears(observer, event) is bool(expected)
        assert vars(observer).keys() & set(EVENTS) == ({event} if expected else set())
        # What it does not hear is not looked for again, either.
        setattr(Base, event, hear)
        needed = signature(getattr(Observer, event)).parameters.values()
        arguments = [None for parameter in needed if parameter.default is parameter.empty]
        getattr(observer, event)(*arguments[1:])
        delattr(Base, event)
        assert heard == expected


def test_every_event_is_in_the_table() -> None:
    assert {"started", "request_started", "request_finished", "error"} < set(EVENTS)
    assert "wants_requests" not in EVENTS


def test_who_wants_requests_is_told_of_them() -> None:
    class Refusing(Finishing):
        wants_requests = False

    class Wanting(Observer):
        wants_requests = True

    assert not fan_out().wants_requests
    assert not fan_out(Observer(), Refusing(), Wanting()).wants_requests
    assert fan_out(Refusing(), Finishing()).wants_requests
    told: list[ResponseInfo] = []
    wanting, refusing = Finishing(), Refusing()
    wanting.request_finished = lambda request, response: told.append(response)  # type: ignore[method-assign]
    refusing.request_finished = unheard  # type: ignore[method-assign, assignment]
    fan_out(refusing, wanting).request_finished(REQUEST, RESPONSE)
    assert told == [RESPONSE]


def test_times_are_wanted_where_somebody_hears_them() -> None:
    class Deaf(Observer):
        wants_timings = True

    class Refusing(Timing):
        wants_requests = False

    assert not fan_out(Finishing(), Deaf(), Refusing()).wants_timings
    assert fan_out(Finishing(), Timing()).wants_timings


# --- failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), MemoryError()])
def test_a_failure_is_told_to_the_others_once(error: BaseException) -> None:
    heard: Heard = []
    failing = Failing(error)
    observer = fan_out(Hearing("a", heard), failing, Hearing("b", heard))
    for _ in range(3):
        observer.stopping(0)
    assert failing.calls == 3, "it is told on, and not of its own failure"
    assert [fact for fact in heard if fact[1] == "stopping"] == [
        (name, "stopping", 0) for _ in range(3) for name in "ab"
    ]
    reports = [fact for fact in heard if fact[1] == "error"]
    assert [name for name, *_ in reports] == ["a", "b"]
    assert {message for *_, message in reports} == {
        f"the subscriber {__name__}.Failing failed in stopping(); "
        "it is told on, and further failures of it are not reported"
    }


def test_each_that_fails_is_told_of() -> None:
    heard: Heard = []
    observer = fan_out(Failing(ValueError()), Failing(ValueError()), Hearing("a", heard))
    observer.stopping(0)
    observer.error("oh")
    # Each fails at the other's report too, which goes no further.
    assert [event for _, event, _ in heard] == ["error", "error", "stopping", "error"]
    assert heard[-1] == ("a", "error", "oh")


def test_the_last_resort() -> None:
    said: list[tuple[str, BaseException]] = []
    error = ValueError("no")
    observer = FanOut([Failing(error)], lambda message, error: said.append((message, error)))
    observer.stopping(0)
    observer.error("oh")
    [(message, cause)] = said
    assert "Failing failed in stopping()" in message
    assert cause is error


def test_a_report_that_cannot_be_made_is_made_later() -> None:
    said: list[str] = []
    is_short = True

    def say(message: str, error: BaseException) -> None:
        if is_short:
            raise MemoryError
        said.append(message)

    observer = FanOut([Failing(MemoryError())], say)
    observer.stopping(0)
    is_short = False
    observer.stopping(0)
    observer.stopping(0)
    assert len(said) == 1


def test_an_interrupt_passes() -> None:
    heard: Heard = []
    with pytest.raises(KeyboardInterrupt):
        fan_out(Failing(KeyboardInterrupt()), Hearing("a", heard)).stopping(0)
    assert heard == []


def test_of_many_threads_one_reports() -> None:
    heard: Heard = []
    observer = fan_out(Failing(ValueError()), Hearing("a", heard))
    meeting = threading.Barrier(8)

    def tell() -> None:
        meeting.wait(20)
        for _ in range(50):
            observer.stopping(0)

    threads = [threading.Thread(target=tell) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [event for _, event, _ in heard].count("error") == 1
    assert len(heard) == 401


# --- what is no subscriber ----------------------------------------------------------------------


class Async(Observer):
    async def stopping(self, in_flight: int) -> None:  # type: ignore[override]
        pass


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Hearing, r"an object, not a class: write Hearing\(\)"),
        (lambda: None, "None has none of its methods"),
        (lambda: print, "has none of its methods"),
        (Async, r"test_events\.Async\.stopping is async: a subscriber has plain functions"),
    ],
)
def test_what_is_no_subscriber(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fan_out(Observer(), make())


def test_one_that_only_looks_like_it() -> None:
    """An object of another class with some of the methods is enough."""

    class Duck:
        def __init__(self) -> None:
            self.seen: list[int] = []

        def stopping(self, in_flight: int) -> None:
            self.seen.append(in_flight)

        def request_finished(self, request: RequestInfo, response: ResponseInfo) -> None:
            self.seen.append(response.status)

    duck: Any = Duck()
    observer = fan_out(duck)
    observer.stopping(1)
    observer.stopped(0)
    assert observer.wants_requests
    observer.request_finished(REQUEST, RESPONSE)
    assert duck.seen == [1, 200]


@pytest.mark.parametrize(
    ("address", "port"),
    [
        ("127.0.0.1", "50312"),
        ("::1", "50312"),
        ("203.0.113.7", ""),
        ("2001:db8::7", ""),
        ("fe80::1%eth0", "80"),
        ("", ""),
    ],
)
def test_a_clients_name_can_be_taken_apart(address: str, port: str) -> None:
    assert client_address(client_name(address, port)) == (address, port)


@pytest.mark.parametrize(
    ("response", "latency"),
    [
        (RESPONSE, 0.25),
        (RESPONSE._replace(upload=0.1, queue=0.1, first=0.01, app=0.02), 0.25),
        (LIVE._replace(upload=0.25, queue=0.5, first=0.25, app=0.125), 1.0),
        # Its close() has taken longer.
        (LIVE._replace(upload=0.25, queue=0.5, first=0.25, app=1.25), 2.0),
        (LIVE, 3600.0),
    ],
)
def test_how_fast_the_server_was(response: ResponseInfo, latency: float) -> None:
    assert response.latency == latency
