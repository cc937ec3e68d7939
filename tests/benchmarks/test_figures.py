"""Figures of the benchmarks: how they are written, and what is made of several rounds."""

from __future__ import annotations

import math

import pytest
from benchmark_runs import make_run

from benchmarks.harness.record import Row
from benchmarks.harness.units import figure_text, number, ratio_text
from benchmarks.reporting.figures import advantage, best_peer, figures, quantile, voids


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (77_123, "77,100"), (1234.5, "1,230"), (12.345, "12.3"), (0.98765, "0.988")],
)
def test_a_number_has_three_digits_that_mean_something(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.987, "0.99x"), (9.994, "9.99x"), (12.6, "13x"), (math.inf, "∞"), (math.nan, "")],
)
def test_a_ratio_is_a_multiple(value: float, text: str) -> None:
    assert ratio_text(value) == text


def test_a_ratio_has_no_unit() -> None:
    assert figure_text(0.5, "ratio") == "0.500"
    assert figure_text(5, "ms") == "5.00 ms"


def test_a_figure_is_a_median_with_its_spread() -> None:
    figure = figures(make_run({"granian": [3.0, 1.0, 8.0]}), "hello")["granian"]
    assert (figure.median, figure.low, figure.high, figure.rounds) == (3.0, 1.0, 8.0, 3)
    assert figure.get("p99/p50") == 2.0
    assert figure.get("memory") == 10_000_000
    assert figure.get("p99/nothing") is None


def test_a_void_round_leaves_the_others() -> None:
    crash = Row("hello", "granian", 2, void="it ended")
    run = make_run({"granian": [3.0]}, void=(crash,))
    assert figures(run, "hello")["granian"].rounds == 1
    assert voids(run, "hello") == {"granian": "round 2 void: it ended"}


def test_a_wrong_answer_voids_all_rounds() -> None:
    wrong = Row("hello", "granian", 2, void="wrong answer: 500", wrong=True)
    run = make_run({"granian": [3.0], "waitress": [1.0]}, void=(wrong,))
    assert list(figures(run, "hello")) == ["waitress"]
    assert voids(run, "hello") == {"granian": "void: wrong answer: 500"}


@pytest.mark.parametrize(
    ("ours", "other", "more", "expected"),
    [(2, 1, True, 2), (1, 2, True, 0.5), (1, 2, False, 2), (1, 0, True, math.inf), (0, 5, True, 0)],
)
def test_an_advantage_is_above_one_if_better(
    ours: float, other: float, more: bool, expected: float
) -> None:
    assert advantage(ours, other, more) == expected
    assert math.isnan(advantage(0, 0, more))


def test_the_best_peer_is_none_of_ours() -> None:
    run = make_run({"wsgi_async": [9], "wsgi_async-h11": [8], "granian": [3], "bjoern": [5]})
    found = figures(run, "hello")
    assert best_peer(found, True) == ("bjoern", 5)
    assert best_peer(found, False) == ("granian", 3)
    assert best_peer({"wsgi_async": found["wsgi_async"]}, True) is None


def test_quantiles_lie_between_the_values() -> None:
    assert [quantile([4, 1, 2, 3], part) for part in (0, 0.5, 1)] == [1, 2.5, 4]
