"""One profile of several processes: who is asked, who refuses, and what it comes to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from rawclient import TIMEOUT

from wsgi_async.operations import profiles as module
from wsgi_async.operations.asking import Asking, Reply
from wsgi_async.operations.exchange import Answering, Exchange
from wsgi_async.operations.profiles import Profiles, ProfileUnderWayError, merged
from wsgi_async.operations.sampled_stacks import OTHER
from wsgi_async.operations.sampling import ASK, BEGIN, TAKE, Sampler

Answer = Callable[[Mapping[str, Any]], dict[str, Any]]


@pytest.fixture
def ask() -> Iterator[Callable[..., Asking]]:
    """What asks processes that answer in these ways, once they are all there."""
    exchange = Exchange()
    before = set(threading.enumerate())
    asking = Asking(exchange.desk)

    def serve(*answers: Answer) -> Asking:
        for number, answer in enumerate(answers):
            Answering(exchange, number, {ASK: answer, "here": lambda _: {}}).start()
        deadline = time.monotonic() + TIMEOUT
        while len(asking.ask("here", patience=0.2)) < len(answers):
            assert time.monotonic() < deadline
        return asking

    yield serve
    asking.close()
    exchange.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(TIMEOUT)
        assert not thread.is_alive()


def answer(*stacks: tuple[str, int, float | None], **more: Any) -> dict[str, Any]:
    return {"stacks": stacks, "taken": 90, "missed": 10, "cost": 0.01, "seconds": 1.0, **more}


def begun_and(result: dict[str, Any]) -> Answer:
    return lambda question: {"began": True} if question["do"] == BEGIN else result


def test_what_all_of_them_have_seen_is_one() -> None:
    found = merged(
        [
            Reply(11, 0, answer(("a;b", 60, 0.5), ("a", 40, 0.0))),
            Reply(12, 1, answer(("a;b", 20, 0.25), ("c", 5, 0.0))),
            Reply(13, 2, {"error": "there is no such profile"}),
            Reply(14, 3, None),
        ],
        1.0,
        100,
    )
    assert found == {
        "seconds": 1.0,
        "hz": 100,
        "samples": {"a;b": 80, "a": 40, "c": 5},
        "cpu": {"a;b": 0.75, "a": 0.0, "c": 0.0},
        "taken": 180,
        "missed": 20,
        "cost": 0.02,
        "processes": [
            {"pid": 11, "number": 0, "taken": 90, "missed": 10, "cost": 0.01, "seconds": 1.0},
            {"pid": 12, "number": 1, "taken": 90, "missed": 10, "cost": 0.01, "seconds": 1.0},
            {"pid": 13, "number": 2, "error": "there is no such profile"},
        ],
        "missing": [{"pid": 14, "number": 3}],
    }


def test_of_nobody_it_is_empty() -> None:
    found = merged([], 1.0, 100)
    assert (found["samples"], found["taken"], found["processes"]) == ({}, 0, [])


def test_without_the_clocks_of_one_there_is_no_cpu_time() -> None:
    assert merged([Reply(1, 0, answer(("a", 1, None)))], 1.0, 100)["cpu"] is None


def test_the_rarest_beyond_a_bound_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TEXT", 6)
    one = answer(
        ("aa", 50, 0.5), ("bb", 40, 0.0), ("cccc", 5, 0.25), ("dd", 5, 0.0), (OTHER, 7, 0.5)
    )
    found = merged([Reply(1, 0, one)], 1.0, 100)
    assert found["samples"] == {"aa": 50, "bb": 40, OTHER: 17}
    assert found["cpu"] == {"aa": 0.5, "bb": 0.0, OTHER: 0.75}


def test_each_of_them_samples_at_once_and_no_longer(ask: Callable[..., Asking]) -> None:
    slept: list[float] = []
    asked: list[dict[str, Any]] = []

    def sleep(seconds: float) -> None:
        assert [question["do"] for question in asked] == [BEGIN, BEGIN]
        slept.append(seconds)

    def process(question: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(dict(question))
        return {"began": True} if question["do"] == BEGIN else answer(("a", 1, 0.0))

    found = Profiles(ask(process, process), sleep).take(30, 50)
    assert found["samples"] == {"a": 2}
    assert slept == [pytest.approx(30, abs=0.1)]
    assert [question["do"] for question in asked] == [BEGIN, BEGIN, TAKE, TAKE]
    assert {(question["seconds"], question["hz"]) for question in asked} == {(30.0, 50.0)}
    assert len({question["id"] for question in asked}) == 1


def test_samplers_answer_so(ask: Callable[..., Asking]) -> None:
    samplers = [Sampler(list), Sampler(list)]
    found = Profiles(ask(*(sampler.answer for sampler in samplers))).take(0.2, 100)
    assert [process["seconds"] >= 0.19 for process in found["processes"]] == [True, True]
    assert found["taken"] >= 2
    assert (found["samples"], found["cpu"], found["missing"]) == ({}, {}, [])


def test_one_that_refuses_is_named_and_the_others_are_sampled(ask: Callable[..., Asking]) -> None:
    """A reload has two operations processes for a moment."""

    def refusing(question: Mapping[str, Any]) -> dict[str, Any]:
        return {"error": "another profile is being taken, for 9 s more"}

    asking = ask(refusing, begun_and(answer(("a", 3, 0.0))))
    found = Profiles(asking, lambda seconds: None).take(1)
    assert found["samples"] == {"a": 3}
    assert [process.get("error", "") for process in found["processes"]] == [
        "another profile is being taken, for 9 s more",
        "",
    ]


def test_where_all_refuse_nobody_waits(ask: Callable[..., Asking]) -> None:
    asking = ask(lambda question: {"error": "another profile is being taken, for 9 s more"})
    with pytest.raises(ProfileUnderWayError, match="for 9 s more"):
        Profiles(asking, pytest.fail).take(10)


def test_a_second_one_is_refused_at_once(ask: Callable[..., Asking]) -> None:
    asking = ask(begun_and(answer()))

    def sleep(seconds: float) -> None:
        with pytest.raises(ProfileUnderWayError, match="ask again once it is done"):
            profiles.take(1)

    profiles = Profiles(asking, sleep)
    profiles.take(1)
    profiles.take(0.05, 250)


@pytest.mark.parametrize(
    ("seconds", "hz", "said"),
    [
        (0, 100, "seconds is to be a number from 0.05 to 60, not 0"),
        (61, 100, "seconds is to be a number from 0.05 to 60, not 61"),
        (float("nan"), 100, "seconds is to be a number from 0.05 to 60, not nan"),
        (True, 100, "seconds is to be a number from 0.05 to 60, not True"),
        ("10", 100, "seconds is to be a number from 0.05 to 60, not '10'"),
        (None, 100, "seconds is to be a number from 0.05 to 60, not None"),
        (1, 0, "hz is to be a number from 1 to 250, not 0"),
        pytest.param(1, 10**400, "hz is to be a number from 1 to 250, not 1000", id="huge"),
        pytest.param(1, ["x" * 999], "hz is to be a number from 1 to 250, not ['xxx", id="text"),
    ],
)
def test_other_numbers_are_refused_in_one_line(
    ask: Callable[..., Asking], seconds: Any, hz: Any, said: str
) -> None:
    with pytest.raises(ValueError, match="is to be") as caught:
        Profiles(ask(), pytest.fail).take(seconds, hz)
    assert str(caught.value).startswith(said)
    assert len(str(caught.value)) < 120
