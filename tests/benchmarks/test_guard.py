"""``--compare``: what counts as slower, and what as no judgement."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from benchmark_runs import make_run

from benchmarks import __main__ as command
from benchmarks.harness import record
from benchmarks.harness.record import Measured, Row
from benchmarks.reporting import compare

OLD = compare.old_label("wsgi_async")
SAME = "no difference shown"


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ([0.9] * 10, "slower"),
        ([0.98] * 10, SAME),
        ([1.1] * 10, "faster"),
        ([1.1] * 9, "not judged"),
        ([1.1] * 9 + [0.99], SAME),
        ([1.1] * 19 + [0.2], "faster"),
    ],
)
def test_the_guard_wants_size_and_certainty(ratios: list[float], verdict: str) -> None:
    assert compare.judge("hello", ratios).verdict == verdict


def test_three_rounds_show_nothing() -> None:
    """Of equal checkouts a noisy machine gives such ratios in one of four runs."""
    for ratios in ([1.1, 1.2, 1.15], [0.9, 0.8, 0.85]):
        assert not compare.judge("hello", ratios).judged


def test_more_lines_ask_for_more_certainty() -> None:
    assert [compare.fewest_rounds(lines) for lines in (1, 2, 6, 20)] == [10, 11, 12, 14]
    assert [compare.most_rounds(lines) for lines in (1, 2, 6, 20)] == [20, 22, 24, 28]
    ratios = [0.9] * 11
    verdicts = [compare.judge("hello", ratios, comparisons=lines).verdict for lines in (2, 6)]
    assert verdicts == ["slower", "not judged"]


def test_rounds_are_compared_in_pairs() -> None:
    # The machine becomes twice as fast meanwhile: the ranges overlap, the pairs are clear.
    run = make_run(
        {"wsgi_async": [90 + 9 * i for i in range(10)], OLD: [100 + 10 * i for i in range(10)]}
    )
    (verdict,) = compare.by_turns(run)
    assert (verdict.verdict, verdict.bad) == ("slower", True)
    assert verdict.ratio == pytest.approx(0.9)


def test_every_server_of_ours_is_compared_with_its_own_old_one() -> None:
    run = make_run(
        {
            "wsgi_async": [100] * 11,
            OLD: [100] * 11,
            "wsgi_async-h11": [80] * 11,
            compare.old_label("wsgi_async-h11"): [100] * 11,
            "granian": [1] * 11,
        }
    )
    found = [(one.server, one.verdict) for one in compare.by_turns(run)]
    assert found == [("wsgi_async", SAME), ("wsgi_async-h11", "slower")]


@pytest.mark.parametrize(
    ("new", "old", "verdict"),
    [
        ((2, 3, 4), (), "void"),
        ((2,), (), "void"),
        ((2,), (4,), SAME),
        ((2, 3, 4), (2, 3, 4), "not judged"),
        (range(1, 13), (1, 2, 3), "void"),
        (range(1, 13), range(1, 13), "not judged"),
    ],
)
def test_crashes_are_no_way_to_pass(new: Iterable[int], old: Iterable[int], verdict: str) -> None:
    run = make_run({"wsgi_async": [9.0] * 12, OLD: [9.0] * 12})
    gone = {("wsgi_async", number) for number in new} | {(OLD, number) for number in old}
    run.rows = [row for row in run.rows if (row.server, row.round) not in gone]
    run.rows += [Row("hello", server, number, void="it ended") for server, number in gone]
    (found,) = compare.by_turns(run)
    assert found.verdict == verdict
    assert found.bad == (verdict == "void")
    assert found.judged == (verdict != "not judged")


@pytest.mark.parametrize(("new", "old", "verdict"), [(2, 0, "void"), (2, 2, SAME), (0, 2, SAME)])
def test_failed_requests_are_no_way_to_pass(new: int, old: int, verdict: str) -> None:
    run = make_run({"wsgi_async": [9.0] * 12, OLD: [9.0] * 12})
    failing = {"wsgi_async": new, OLD: old}
    run.rows = [replace(row, errors=int(row.round <= failing[row.server])) for row in run.rows]
    (found,) = compare.by_turns(run)
    assert found.verdict == verdict


def test_an_interrupted_scenario_is_not_judged() -> None:
    run = make_run({"wsgi_async": [9.0] * 10, OLD: [9.0] * 11})
    (found,) = compare.by_turns(run)
    assert found.verdict == SAME
    run.rows.clear()
    assert [one.judged for one in compare.by_turns(run)] == [False]
    old = make_run({"wsgi_async": [9.0] * 6})
    ((found,), _) = compare.with_earlier(run, old)
    assert not found.judged


@pytest.mark.parametrize(
    ("gone", "verdict", "bad"),
    [("wsgi_async", "void", True), (OLD, "not judged", False)],
)
def test_a_void_scenario_fails_the_guard_if_it_is_new(gone: str, verdict: str, bad: bool) -> None:
    run = make_run({"wsgi_async": [9] * 12, OLD: [9] * 12})
    run.rows.append(Row("hello", gone, 3, void="wrong answer", wrong=True))
    (found,) = compare.by_turns(run)
    assert (found.verdict, found.bad) == (verdict, bad)


def test_an_earlier_run_is_compared_by_its_peers() -> None:
    old = make_run({"wsgi_async": [100, 101, 102] * 2, "granian": [200] * 6})
    # The machine is half as fast, and wsgi_async a tenth slower beyond that.
    new = make_run({"wsgi_async": [45, 45.5, 46] * 2, "granian": [100] * 6})
    (verdict,), warning = compare.with_earlier(new, old)
    assert warning == ""
    assert verdict.verdict == "slower"
    assert verdict.ratio == pytest.approx(45.5 / 101 * 2, rel=0.01)
    (verdict,), _ = compare.with_earlier(old, old)
    assert verdict.verdict == SAME


def test_peers_that_contradict_each_other_show_nothing() -> None:
    """What the machine gives one kind of server and takes from another, it may have given us."""
    old = make_run({"wsgi_async": [100] * 6, "granian": [200] * 6, "waitress": [20] * 6})
    new = make_run({"wsgi_async": [110] * 6, "granian": [200] * 6, "waitress": [23] * 6})
    (verdict,), _ = compare.with_earlier(new, old)
    assert verdict.verdict == SAME
    assert verdict.low < 1 < verdict.high


@pytest.mark.parametrize("unit", ["ratio", "bytes"])
def test_what_is_no_speed_is_not_corrected_by_the_peers(unit: str) -> None:
    # The peers' memory or resilience is their own business.
    old = make_run({"wsgi_async": [0.9] * 6, "granian": [0.5] * 6}, unit=unit)
    new = make_run({"wsgi_async": [0.9] * 6, "granian": [0.9] * 6}, unit=unit)
    (verdict,), _ = compare.with_earlier(new, old)
    assert (verdict.verdict, verdict.ratio) == (SAME, 1)


def test_a_peer_of_another_version_is_no_measure() -> None:
    old = make_run({"wsgi_async": [9] * 6, "granian": [100] * 6, "bjoern": [50] * 6})
    new = make_run({"wsgi_async": [9] * 6, "granian": [200] * 6, "bjoern": [50] * 6})
    new.servers["granian"] = Measured("2.0", "run granian")
    (verdict,), warning = compare.with_earlier(new, old)
    assert (verdict.verdict, verdict.ratio, warning) == (SAME, 1, "")
    del new.servers["bjoern"], old.servers["bjoern"]
    for run in (new, old):
        run.rows = [row for row in run.rows if row.server != "bjoern"]
    assert "no common peer" in compare.with_earlier(new, old)[1]


def test_an_earlier_run_is_compared_server_by_server() -> None:
    old = make_run({"wsgi_async": [9] * 7, "wsgi_async-h11": [9] * 7, "granian": [1] * 7})
    new = make_run({"wsgi_async": [9] * 7, "wsgi_async-h11": [5] * 7, "granian": [1] * 7})
    verdicts, _ = compare.with_earlier(new, old)
    assert [one.verdict for one in verdicts] == [SAME, "slower"]
    assert "| hello | wsgi_async-h11 | 0.56x | 0.56x to 0.56x | slower (peers 1.00x) |" in (
        compare.table(verdicts, {"new": "a", "old": "b"})
    )


def test_a_server_that_can_not_be_imported_any_more_is_void() -> None:
    old = make_run({"wsgi_async": [9, 9, 9], "granian": [1, 1, 1]})
    new = make_run({"granian": [1, 1, 1]})
    new.skipped["wsgi_async"] = "ImportError: no"
    (verdict,), _ = compare.with_earlier(new, old)
    assert verdict.verdict == "void"


def test_runs_without_a_server_in_common_are_refused() -> None:
    old = make_run({"wsgi_async-h11": [1.0], "granian": [1.0]})
    new = make_run({"wsgi_async": [1.0], "granian": [1.0]})
    with pytest.raises(compare.Incomparable, match="no common server of wsgi_async"):
        compare.with_earlier(new, old)


@pytest.mark.parametrize(
    ("values", "environment", "problem"),
    [
        ({"wsgi_async": [1.0], "granian": [1.0]}, {"python": "CPython 3.13.0"}, "Python 3.13 then"),
        ({"wsgi_async": [1.0]}, {"cpu": "Another"}, "another machine and no common peer"),
    ],
)
def test_what_is_not_comparable_is_refused(
    values: dict[str, list[float]], environment: dict[str, str], problem: str
) -> None:
    with pytest.raises(compare.Incomparable, match=problem):
        compare.with_earlier(make_run(values), make_run(values, environment=environment))


def test_another_machine_is_compared_with_a_warning() -> None:
    values = {"wsgi_async": [1.0] * 6, "granian": [1.0] * 6}
    old = make_run(values, environment={"cpu": "Another"})
    (verdict,), warning = compare.with_earlier(make_run(values), old)
    assert warning.startswith("another machine, compared only by granian: cpu 'Another' then")
    assert verdict.verdict == SAME


def test_without_a_peer_nothing_is_said_of_speed() -> None:
    """Nobody knows what the machine has changed by."""
    (verdict,), warning = compare.with_earlier(
        make_run({"wsgi_async": [1.0] * 6}), make_run({"wsgi_async": [2.0] * 6})
    )
    assert "no common peer" in warning
    assert (verdict.verdict, verdict.ratio) == ("not judged", 0.5)


def status(
    directory: Path, capsys: pytest.CaptureFixture[str], new: record.Run, old: record.Run
) -> tuple[int, str]:
    """What ``--compare old.json new.json`` ends with, and what it says last."""
    paths = [directory / "old.json", directory / "new.json"]
    for path, run in zip(paths, (old, new), strict=True):
        record.write(run, path)
    code = command.main(["--compare", *map(str, paths)])
    return code, capsys.readouterr().err.strip().rpartition("\n")[2]


@pytest.mark.parametrize(
    ("values", "code", "said"),
    [
        ([9.0] * 6, 0, ""),
        ([8.0] * 6, 1, ""),
        ([9.0] * 5, 2, "new.json: only 5 rounds; at least 6 are needed"),
    ],
)
def test_the_exit_status_is_the_verdict(
    values: list[float], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = make_run({"wsgi_async": [9.0] * 6, "granian": [1.0] * 6})
    new = make_run({"wsgi_async": values, "granian": [1.0] * len(values)})
    found, last = status(tmp_path, capsys, new, old)
    assert found == code
    assert last.endswith(said)


def test_nothing_judged_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run({"wsgi_async": [9.0] * 6, "granian": [1.0] * 6})
    run.rows = [row for row in run.rows if row.round == 1]
    run.rows += [Row("hello", "wsgi_async", number, void="it ended") for number in range(2, 7)]
    assert status(tmp_path, capsys, run, run) == (2, "nothing was judged")
