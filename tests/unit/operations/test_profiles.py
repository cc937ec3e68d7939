"""One profile of several processes: who is asked, who refuses, and what it comes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from wsgi_async.operations import profiles as module
from wsgi_async.operations.json_pages import Refusal
from wsgi_async.operations.profiles import Profiles, merged
from wsgi_async.operations.sampled_stacks import OTHER
from wsgi_async.operations.sampling import ASK, BEGIN, TAKE

BUSY = "another profile is being taken, for 9 s more"


def answer(number: int, *stacks: tuple[str, int, float | None], why: str = "") -> dict[str, Any]:
    figures = {"taken": 90, "missed": 10, "cost": 0.01, "seconds": 1.0}
    return {"number": number, "why": why, "stacks": stacks, **figures}


def refusing(number: int) -> dict[str, Any]:
    return {"number": number, "why": BUSY}


class Asked:
    """Questions, and processes that answer each with the same, by their pids; None: not at all."""

    def __init__(self, answers: Mapping[int, dict[str, Any] | None]) -> None:
        self.asked: list[dict[str, Any]] = []
        self._answers = answers

    def ask(
        self, ask: str, arguments: Mapping[str, Any], patience: float | None = None
    ) -> tuple[dict[int, Any], list[dict[str, Any]]]:
        assert ask == ASK
        self.asked.append(dict(arguments))
        there = {pid: found for pid, found in self._answers.items() if found is not None}
        missing = [
            {"pid": pid, "number": 7, "heard": 3.0, "why": "no answer within 1 s"}
            for pid in self._answers
            if pid not in there
        ]
        return there, missing


def profiles(asked: Asked, sleep: Callable[[float], object] = lambda seconds: None) -> Profiles:
    questions: Any = asked
    return Profiles(questions, sleep)


def test_what_all_of_them_have_seen_is_one() -> None:
    found = merged(
        {
            11: answer(0, ("a;b", 60, 0.5), ("a", 40, 0.0)),
            12: answer(1, ("a;b", 20, 0.25), ("c", 5, 0.0)),
            13: answer(2, why="there is no such profile"),
        },
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
    }


def test_without_the_clocks_of_one_there_is_no_cpu_time() -> None:
    both = {1: answer(0, ("a", 1, None)), 2: answer(1, ("a", 1, 0.5))}
    assert merged(both, 1.0, 100)["cpu"] is None


def test_the_rarest_beyond_a_bound_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TEXT", 6)
    stacks = (("aa", 50, 0.5), ("bb", 40, 0.0), ("cccc", 5, 0.25), ("dd", 5, 0.0), (OTHER, 7, 0.5))
    found = merged({1: answer(0, *stacks)}, 1.0, 100)
    assert found["samples"] == {"aa": 50, "bb": 40, OTHER: 17}
    assert found["cpu"] == {"aa": 0.5, "bb": 0.0, OTHER: 0.75}


def test_they_are_asked_before_and_after_and_no_answer_is_waited_for_meanwhile() -> None:
    asked = Asked({5: answer(0, ("a", 1, 0.0)), 6: None})
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        assert [question["do"] for question in asked.asked] == [BEGIN]
        slept.append(seconds)

    found = profiles(asked, sleep).take(30, 50)
    assert found["samples"] == {"a": 1}
    assert [(each["pid"], each["why"]) for each in found["missing"]] == [
        (6, "no answer within 1 s"),
    ]
    assert slept == [pytest.approx(30, abs=0.1)]
    assert [question["do"] for question in asked.asked] == [BEGIN, TAKE]
    assert {(question["seconds"], question["hz"]) for question in asked.asked} == {(30, 50)}
    assert len({question["id"] for question in asked.asked}) == 1


def test_one_that_refuses_is_named_and_the_others_are_sampled() -> None:
    """A reload has two operations processes for a moment."""
    found = profiles(Asked({5: refusing(0), 6: answer(1, ("a", 3, 0.0))})).take(1, 100)
    assert found["samples"] == {"a": 3}
    assert [process.get("error", "") for process in found["processes"]] == [BUSY, ""]


def test_where_all_refuse_or_nobody_answers_nobody_waits() -> None:
    for answers, status, said in (
        ({5: refusing(0), 6: refusing(1)}, 409, BUSY),
        (
            {5: None},
            503,
            "no process answers that could be sampled; process 7 (pid 5): no answer within 1 s",
        ),
        ({}, 503, "no process answers that could be sampled"),
    ):
        with pytest.raises(Refusal) as caught:
            profiles(Asked(answers), pytest.fail).take(10, 100)
        assert (caught.value.status, caught.value.text) == (status, said)


def test_a_second_one_is_refused_at_once_and_a_third_one_is_taken() -> None:
    def sleep(seconds: float) -> None:
        with pytest.raises(Refusal, match="ask again once it is done"):
            one.take(1, 100)

    one = profiles(Asked({5: answer(0)}), sleep)
    one.take(1, 100)
    one.take(1, 100)
