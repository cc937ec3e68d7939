"""``--compare`` on a machine whose speed changes all the time: equal checkouts are never told apart
more often than is promised, and a real difference is found."""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, product
from pathlib import Path

import pytest
from benchmark_runs import make_run

from benchmarks import __main__ as command
from benchmarks.harness import rounds
from benchmarks.harness.model import Load, Running, Sample, Scenario
from benchmarks.harness.record import Row, Run
from benchmarks.harness.servers import Interpreter, Template
from benchmarks.reporting import compare, intervals

HERE = Interpreter("python", "bin", "venv", "CPython 3.11.7", {}, {})
OURS = Template("wsgi_async", "", "wsgi_async")
OLD = compare.old_label("wsgi_async")
SAME = "no difference shown"
SEEDS = 300

Machine = Callable[[random.Random], Iterator[float]]
"""Makes the logarithms of a machine's speed, one measurement after the other."""


def quiet(chance: random.Random) -> Iterator[float]:
    while True:
        yield chance.gauss(0, 0.03)


def heavy_tails(chance: random.Random) -> Iterator[float]:
    """Most measurements are good to a few percent; some are off by any factor."""
    while True:
        yield 0.05 * chance.gauss(0, 1) / (abs(chance.gauss(0, 1)) + 1e-9)


def drifts(chance: random.Random) -> Iterator[float]:
    for number in count():
        yield -0.03 * number + chance.gauss(0, 0.02)


def wanders(chance: random.Random) -> Iterator[float]:
    speed = 0.0
    while True:
        speed += chance.gauss(0, 0.1)
        yield speed


def neighbours(chance: random.Random) -> Iterator[float]:
    """Somebody else takes half of the machine, for a while."""
    busy = False
    while True:
        busy ^= chance.random() < 0.15
        yield (math.log(0.5) if busy else 0.0) + chance.gauss(0, 0.02)


def swings(period: int, chance: random.Random) -> Iterator[float]:
    """In the rhythm of the turns: 2 of A B A B, 4 of A B B A."""
    for number in count():
        yield (0.14 if number % period in (0, period - 1) else 0.0) + chance.gauss(0, 0.01)


def first_is_slower(chance: random.Random) -> Iterator[float]:
    """Whoever comes first in a round warms something up for the second."""
    for number in count():
        yield (0.0 if number % 2 else -0.1) + chance.gauss(0, 0.01)


MACHINES: dict[str, Machine] = {
    "quiet": quiet,
    "heavy tails": heavy_tails,
    "drifts": drifts,
    "wanders": wanders,
    "neighbours": neighbours,
    "swings in two": partial(swings, 2),
    "swings in four": partial(swings, 4),
    "the first is slower": first_is_slower,
}


def never(server: Running, load: Load) -> Sample:
    raise AssertionError("nothing is measured here")


def compared(seed: int, machine: Machine, ratio: float = 1.0, scenarios: int = 1) -> Run:
    """Two checkouts by turns, the new one `ratio` times as fast, until the rounds may end."""
    chance = random.Random(seed)
    names = [f"s{number}" for number in range(scenarios)]
    run = make_run({"wsgi_async": [], OLD: []})
    run.scenarios = dict.fromkeys(names, run.scenarios["hello"])
    run.rounds = compare.most_rounds(compare.table_length(run))
    nowhere = Path()
    plan = rounds.Plan(
        [
            rounds.Contender("wsgi_async", OURS, nowhere),
            rounds.Contender(OLD, OURS, nowhere, partner="wsgi_async"),
        ],
        {name: Scenario(name, "", "", "requests/s", never) for name in names},
        HERE,
        run.rounds,
        1.0,
        8,
        enough=partial(compare.is_decided, run),
        lots=random.Random(-1 - seed),
    )
    speeds = machine(chance)
    for scenario, number, contender in plan.steps():
        value = math.exp(max(-50, min(next(speeds), 50)))
        if contender.label == "wsgi_async":
            value *= ratio
        run.rows.append(Row(scenario.name, contender.label, number, value=value))
    return run


def verdicts(run: Run) -> set[str]:
    return {one.verdict for one in compare.by_turns(run)}


@pytest.mark.parametrize("name", MACHINES)
def test_equal_checkouts_are_not_told_apart(name: str) -> None:
    wrong = sum(verdicts(compared(seed, MACHINES[name])) != {SAME} for seed in range(SEEDS))
    assert wrong <= 2 * SEEDS * compare.ERROR, "by chance, it may be more than is promised"


@pytest.mark.parametrize("name", ["heavy tails", "neighbours"])
def test_a_table_of_many_lines_is_no_more_often_wrong(name: str) -> None:
    seeds = range(40)
    wrong = sum(verdicts(compared(seed, MACHINES[name], scenarios=12)) != {SAME} for seed in seeds)
    assert wrong <= 1


@pytest.mark.parametrize(("ratio", "verdict"), [(0.9, "slower"), (1.1, "faster")])
@pytest.mark.parametrize("name", ["quiet", "drifts"])
def test_a_tenth_is_found(name: str, ratio: float, verdict: str) -> None:
    found = [verdicts(compared(seed, MACHINES[name], ratio)) for seed in range(SEEDS)]
    assert found.count({verdict}) >= 0.99 * SEEDS


def test_rounds_end_as_soon_as_they_have_said_it() -> None:
    fewest, most = compare.fewest_rounds(1), compare.most_rounds(1)

    def asked(ratio: float, noise: float) -> int:
        def machine(chance: random.Random) -> Iterator[float]:
            while True:
                yield chance.gauss(0, noise)

        return max(row.round for row in compared(1, machine, ratio).rows)

    assert asked(0.8, 0.01) == fewest, "slower, beyond doubt"
    assert asked(1.0, 0.001) == fewest, "equal, beyond doubt"
    assert asked(1.0, 0.2) == most


def test_rounds_are_not_looked_at_one_by_one() -> None:
    """Whoever stops when he likes what he sees finds anything."""
    run = make_run({"wsgi_async": [80.0] * 30, OLD: [100.0] * 30})
    looks = [number for number in range(1, 31) if compare.is_decided(run, "hello", number)]
    assert looks == [10, 15, 20]


def test_what_crashes_ends_at_the_first_look() -> None:
    run = make_run({"wsgi_async": [], OLD: [9.0] * 10})
    run.rows.append(Row("hello", "wsgi_async", 1, void="it ended"))
    assert compare.is_decided(run, "hello", 10)
    assert verdicts(run) == {"void"}


@pytest.mark.parametrize("size", range(1, 9))
def test_an_interval_of_pairs_errs_as_often_as_counting_says(size: int) -> None:
    """Of all signs that chance may give to the same differences."""
    differences = [0.1 * 1.7**number for number in range(size)]
    for error in (0.01, 0.05, 0.3):
        missed = 0
        for signs in product((1, -1), repeat=size):
            ratios = [math.exp(sign * one) for sign, one in zip(signs, differences, strict=True)]
            found = intervals.of_pairs(ratios, error)
            assert found.low <= found.ratio <= found.high
            missed += not found.low <= 1 <= found.high
        assert missed / 2**size <= error
        assert (missed > 0) == (size >= intervals.fewest_pairs(error))


def test_an_interval_of_two_samples_errs_as_often_as_counting_says() -> None:
    values = [2.0**number for number in range(9)]
    for error in (0.02, 0.1):
        orders = missed = 0
        for marks in product((True, False), repeat=9):
            if sum(marks) != 4:
                continue
            new = [value for value, mark in zip(values, marks, strict=True) if mark]
            old = [value for value, mark in zip(values, marks, strict=True) if not mark]
            found = intervals.of_two(new, old, error)
            orders += 1
            missed += not found.low <= 1 <= found.high
        assert 0 < missed / orders <= error


def test_a_server_that_did_nothing_has_an_interval_too() -> None:
    assert intervals.of_pairs([math.inf] * 10, 0.01) == (math.inf, math.inf, math.inf)
    assert intervals.of_pairs([0.0] * 10, 0.01) == (0.0, 0.0, 0.0)
    assert intervals.of_two([0.0] * 6, [1.0] * 6, 0.01) == (0.0, 0.0, 0.0)
    assert intervals.of_pairs([1.0] * 3, 0.01) == (1.0, 0.0, math.inf)


def test_partners_go_one_after_the_other_and_the_lot_says_who_is_first() -> None:
    labels = ("wsgi_async", OLD, "granian", "bjoern")
    contenders = [
        rounds.Contender(label, OURS, Path(), partner="wsgi_async" if label == OLD else "")
        for label in labels
    ]
    one = Scenario("hello", "", "", "requests/s", never)
    plan = rounds.Plan(contenders, {"hello": one}, HERE, 40, 1.0, 8, lots=random.Random(7))
    order: dict[int, list[str]] = {}
    for _, number, contender in plan.steps():
        order.setdefault(number, []).append(contender.label)
    assert plan.most == sum(map(len, order.values())) == 160
    firsts = [named.index("wsgi_async") - named.index(OLD) for named in order.values()]
    assert set(firsts) == {1, -1}
    assert 10 < firsts.count(1) < 30
    assert {named[0] for named in order.values()} == set(labels)


@pytest.mark.parametrize(
    ("ratio", "code", "word", "steps"), [(1.0, 0, SAME, 20), (0.8, 1, "slower", 20)]
)
def test_the_command_says_it(
    ratio: float,
    code: int,
    word: str,
    steps: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All of ``--compare DIRECTORY`` but the servers; and nothing of the machine's noise."""
    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed")
    made: list[Row] = []

    def measured(
        plan: rounds.Plan, scenario: Scenario, number: int, contender: rounds.Contender
    ) -> tuple[Row, bool]:
        value = 1000 * (1 if contender.partner else ratio)
        made.append(Row(scenario.name, contender.label, number, value=value))
        return made[-1], True

    monkeypatch.setattr(rounds, "_row", measured)
    root = Path(__file__).parents[2]
    assert command.main(["--compare", str(root), "--scenarios", "hello"]) == code
    assert len(made) == steps
    line = capsys.readouterr().out.strip().splitlines()[-1]
    assert line == f"| hello | wsgi_async | {ratio:.2f}x | {ratio:.2f}x to {ratio:.2f}x | {word} |"
