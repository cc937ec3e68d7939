"""``--compare``: what counts as slower, and what as no judgement."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from benchmark_runs import make_run

from benchmarks import __main__ as command
from benchmarks import compare, record
from benchmarks.record import Measured, Row

OLD = compare.old_label("wsgi_async")


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ([0.9, 0.91, 0.95], "slower"),
        ([0.9, 0.91, 1.01], "no difference"),
        ([0.98, 0.98, 0.98], "no difference"),
        ([1.1, 1.2, 1.05], "faster"),
        ([1.1, 1.2, 0.99], "no difference"),
        ([0.5, 0.5], "not judged"),
        ([0.9, 0.91, 0.95, 0.9, 0.92, 0.93, 0.94, 1.2], "slower"),
        ([0.9, 0.91, 0.95, 0.9, 0.92, 1.1, 1.1, 1.2], "no difference"),
    ],
)
def test_the_guard_wants_median_and_spread(ratios: list[float], verdict: str) -> None:
    assert compare.judge("hello", ratios).verdict == verdict


def test_rounds_are_compared_in_pairs() -> None:
    # The machine becomes twice as fast meanwhile: the ranges overlap, the pairs are clear.
    run = make_run({"wsgi_async": [90, 135, 180], OLD: [100, 150, 200]})
    (verdict,) = compare.by_turns(run)
    assert (verdict.verdict, verdict.ratio, verdict.bad) == ("slower", 0.9, True)


def test_every_server_of_ours_is_compared_with_its_own_old_one() -> None:
    run = make_run(
        {
            "wsgi_async": [100, 100, 100],
            OLD: [100, 100, 100],
            "wsgi_async-h11": [80, 80, 80],
            compare.old_label("wsgi_async-h11"): [100, 100, 100],
            "granian": [1, 1, 1],
        }
    )
    found = [(one.server, one.verdict) for one in compare.by_turns(run)]
    assert found == [("wsgi_async", "no difference"), ("wsgi_async-h11", "slower")]


@pytest.mark.parametrize(
    ("new", "old", "verdict"),
    [
        ((2, 3, 4), (), "void"),
        ((2,), (), "void"),
        ((2,), (4,), "no difference"),
        ((2, 3, 4), (2, 3, 4), "not judged"),
        ((1, 2, 3, 4, 5), (1, 2, 3), "void"),
        ((1, 2, 3, 4, 5), (1, 2, 3, 4, 5), "not judged"),
    ],
)
def test_crashes_are_no_way_to_pass(
    new: tuple[int, ...], old: tuple[int, ...], verdict: str
) -> None:
    run = make_run({"wsgi_async": [9.0] * 5, OLD: [9.0] * 5})
    gone = {("wsgi_async", number) for number in new} | {(OLD, number) for number in old}
    run.rows = [row for row in run.rows if (row.server, row.round) not in gone]
    run.rows += [Row("hello", server, number, void="it ended") for server, number in gone]
    (found,) = compare.by_turns(run)
    assert found.verdict == verdict
    assert found.bad == (verdict == "void")
    assert found.judged == (verdict != "not judged")


@pytest.mark.parametrize(
    ("new", "old", "verdict"), [(2, 0, "void"), (2, 2, "no difference"), (0, 2, "no difference")]
)
def test_failed_requests_are_no_way_to_pass(new: int, old: int, verdict: str) -> None:
    run = make_run({"wsgi_async": [9.0] * 5, OLD: [9.0] * 5})
    failing = {"wsgi_async": new, OLD: old}
    run.rows = [replace(row, errors=int(row.round <= failing[row.server])) for row in run.rows]
    (found,) = compare.by_turns(run)
    assert found.verdict == verdict


def test_an_interrupted_scenario_is_not_judged() -> None:
    run = make_run({"wsgi_async": [9.0] * 4, OLD: [9.0] * 5})
    (found,) = compare.by_turns(run)
    assert found.verdict == "no difference"
    run.rows.clear()
    assert [one.judged for one in compare.by_turns(run)] == [False]
    old = make_run({"wsgi_async": [9.0] * 5})
    ((found,), _) = compare.with_earlier(run, old)
    assert not found.judged


@pytest.mark.parametrize(
    ("gone", "verdict", "bad"),
    [("wsgi_async", "void", True), (OLD, "not judged", False)],
)
def test_a_void_scenario_fails_the_guard_if_it_is_new(gone: str, verdict: str, bad: bool) -> None:
    run = make_run({"wsgi_async": [9, 9, 9], OLD: [9, 9, 9]})
    run.rows.append(Row("hello", gone, 3, void="wrong answer", wrong=True))
    (found,) = compare.by_turns(run)
    assert (found.verdict, found.bad) == (verdict, bad)


def test_an_earlier_run_is_compared_by_its_peers() -> None:
    old = make_run({"wsgi_async": [100, 101, 102], "granian": [200, 200, 200]})
    # The machine is half as fast, and wsgi_async a tenth slower beyond that.
    new = make_run({"wsgi_async": [45, 45.5, 46], "granian": [100, 100, 100]})
    (verdict,), warning = compare.with_earlier(new, old)
    assert warning == ""
    assert verdict.verdict == "slower"
    assert verdict.ratio == pytest.approx(45.5 / 101 * 2)
    (verdict,), _ = compare.with_earlier(old, old)
    assert verdict.verdict == "no difference"


@pytest.mark.parametrize("unit", ["ratio", "bytes"])
def test_what_is_no_speed_is_not_corrected_by_the_peers(unit: str) -> None:
    # The peers' memory or resilience is their own business.
    old = make_run({"wsgi_async": [0.9, 0.9, 0.9], "granian": [0.5, 0.5, 0.5]}, unit=unit)
    new = make_run({"wsgi_async": [0.9, 0.9, 0.9], "granian": [0.9, 0.9, 0.9]}, unit=unit)
    (verdict,), _ = compare.with_earlier(new, old)
    assert (verdict.verdict, verdict.ratio) == ("no difference", 1)


def test_a_peer_of_another_version_is_no_measure() -> None:
    old = make_run({"wsgi_async": [9, 9, 9], "granian": [100, 100, 100], "bjoern": [50, 50, 50]})
    new = make_run({"wsgi_async": [9, 9, 9], "granian": [200, 200, 200], "bjoern": [50, 50, 50]})
    new.servers["granian"] = Measured("2.0", "run granian")
    (verdict,), warning = compare.with_earlier(new, old)
    assert (verdict.verdict, verdict.ratio, warning) == ("no difference", 1, "")
    del new.servers["bjoern"], old.servers["bjoern"]
    for run in (new, old):
        run.rows = [row for row in run.rows if row.server != "bjoern"]
    assert "no common peer" in compare.with_earlier(new, old)[1]


def test_an_earlier_run_is_compared_server_by_server() -> None:
    old = make_run({"wsgi_async": [9, 9, 9], "wsgi_async-h11": [9, 9, 9], "granian": [1, 1, 1]})
    new = make_run({"wsgi_async": [9, 9, 9], "wsgi_async-h11": [5, 5, 5], "granian": [1, 1, 1]})
    verdicts, _ = compare.with_earlier(new, old)
    assert [one.verdict for one in verdicts] == ["no difference", "slower"]
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
    values = {"wsgi_async": [1.0, 1.0, 1.0], "granian": [1.0, 1.0, 1.0]}
    old = make_run(values, environment={"cpu": "Another"})
    (verdict,), warning = compare.with_earlier(make_run(values), old)
    assert warning.startswith("another machine, compared only by granian: cpu 'Another' then")
    assert verdict.verdict == "no difference"


def test_without_a_peer_the_guard_says_so() -> None:
    run = make_run({"wsgi_async": [1.0, 1.0, 1.0]})
    assert "no common peer" in compare.with_earlier(run, run)[1]


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
        ([9.0, 9.0, 9.0], 0, ""),
        ([8.0, 8.0, 8.0], 1, ""),
        ([9.0, 9.0], 2, "new.json: only 2 rounds; at least 3 are needed"),
    ],
)
def test_the_exit_status_is_the_verdict(
    values: list[float], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = make_run({"wsgi_async": [9.0, 9.0, 9.0], "granian": [1.0, 1.0, 1.0]})
    new = make_run({"wsgi_async": values, "granian": [1.0, 1.0, 1.0][: len(values)]})
    found, last = status(tmp_path, capsys, new, old)
    assert found == code
    assert last.endswith(said)


def test_nothing_judged_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run({"wsgi_async": [9.0, 9.0, 9.0], "granian": [1.0, 1.0, 1.0]})
    run.rows = [row for row in run.rows if row.round == 1]
    run.rows += [Row("hello", "wsgi_async", number, void="it ended") for number in (2, 3)]
    assert status(tmp_path, capsys, run, run) == (2, "nothing was judged")
