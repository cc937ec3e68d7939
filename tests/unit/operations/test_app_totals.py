"""Metrics of the application, beside the library's own files: the same processes, both ways."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from counted import MODES, Counted, Counting, Step, families, small_arena
from hypothesis import strategies as st
from properties import examples

from wsgi_async.operations.app_records import Record
from wsgi_async.operations.app_totals import GONE, fold, key_of, merge

pytest.importorskip("prometheus_client")

from prometheus_client.multiprocess import mark_process_dead

KINDS = ("a", "b", 'c"\n\\', "\xfc\u20ac")
AMOUNTS = (0.0, 0.5, 1.0, 2.0, 3.0, 7.0)
STEPPING = [mode for mode in MODES if not mode.endswith("mostrecent")]

steps = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(
                [f"{name} {kind}" for name in ("jobs", "size", *MODES) for kind in KINDS]
            ),
            st.sampled_from(AMOUNTS),
        ),
        st.tuples(
            st.sampled_from(["plain", "took", *(f"{mode} up" for mode in STEPPING)]),
            st.sampled_from(AMOUNTS),
        ),
    ),
    max_size=8,
)
processes = st.lists(st.tuples(steps, st.sampled_from(["lives", "leaves", "killed"])), max_size=4)


@examples(50, processes)
def test_it_is_what_the_librarys_files_come_to(lives: list[tuple[list[Step], str]]) -> None:
    with tempfile.TemporaryDirectory() as directory, Counted.of(Path(directory)) as counted:
        pids = [counted.start(taken) for taken, _ in lives]
        counted.assert_equal()
        for pid, (_, fate) in zip(pids, lives, strict=True):
            if fate == "leaves":
                counted.leave(pid)
            elif fate == "killed":
                counted.kill(pid)
            counted.assert_equal()
        # Those that come when others have gone.
        counted.start([("jobs a", 1.0), ("all a", 5.0), ("mostrecent a", 6.0)])
        counted.assert_equal()
        assert {"jobs", "plain", "took_seconds", "g_all", "g_mostrecent"} <= set(
            counted.by_memory()
        )


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_of_a_gauge(tmp_path: Path, mode: str) -> None:
    """One that lives, one that left, and one whose area is a dead one's."""
    with Counted.of(tmp_path / "files", small_arena(areas=2)) as counted:
        gone = counted.start([(f"{mode} a", 7.0)])
        counted.start([(f"{mode} a", 2.0)])
        counted.assert_equal()
        counted.leave(gone)
        counted.start([(f"{mode} a", 3.0), (f"{mode} b", 0.0)])
        counted.assert_equal()
        assert f"g_{mode}" in counted.by_memory()


def bury_child() -> None:
    """*In a process that has forked one:* wait for it, and tell the library."""
    pid, status = os.wait()
    assert status == 0
    mark_process_dead(pid)


def test_what_a_loader_has_counted_is_counted_once(tmp_path: Path) -> None:
    """As by --preload: values are made, and used, before the fork of those that serve."""

    def load(counting: Counting) -> None:
        counting.take([("plain", 5.0), ("took", 3.0), ("livesum a", 4.0), ("all a", 1.0)])
        # One uses its metrics, the other one never does.
        for steps in ([("plain", 1.0)], []):
            if not os.fork():
                counting.take(steps)
                os._exit(0)
            bury_child()

    with Counted.of(tmp_path / "files") as counted:
        loader = counted.run(load)
        counted.assert_equal()
        [(_, _, total)] = counted.by_memory()["plain"].samples
        assert total == 6.0
        counted.kill(loader)
        counted.assert_equal()
        assert "g_livesum" not in counted.by_memory()


def test_what_the_application_forks_counts_for_itself(tmp_path: Path) -> None:
    """By multiprocessing perhaps: its own values are added, and its parent's are left alone."""

    def serve(counting: Counting) -> None:
        counting.take([("plain", 5.0), ("max a", 9.0)])
        if not os.fork():
            counting.take([("plain", 2.0), ("plain", 2.0), ("max a", 1.0)])
            os._exit(0)
        bury_child()
        counting.take([("plain", 1.0)])
        both = (counting.by_files, counting.by_memory)
        assert [metrics.plain._value.get() for metrics in both] == [6.0, 6.0]

    with Counted.of(tmp_path / "files") as counted:
        counted.run(serve)
        counted.assert_equal()
        [(_, _, total)] = counted.by_memory()["plain"].samples
        assert total == 10.0


def test_many_generations_lose_nothing(tmp_path: Path) -> None:
    """Each area is used again and again, as by --max-requests."""
    with Counted.of(tmp_path / "files", small_arena(areas=2)) as counted:
        for number in range(12):
            pid = counted.start([("jobs a", 1.0), ("took", 4.0), ("min a", float(number))])
            if number % 3 == 0:
                counted.assert_equal()
            counted.leave(pid)
        counted.assert_equal()
        assert ("jobs_total", frozenset({("kind", "a")}), 12.0) in counted.by_memory()[
            "jobs"
        ].samples


# --- What the library's files have no answer to


def gauge(mode: str, value: float, **labels: str) -> Record:
    return Record(
        key_of("gauge", mode, "g", "g", list(labels), list(labels.values()), "G."), value, 0.0
    )


def test_gauges_of_all_the_dead_are_shown_for_the_last_of_them() -> None:
    """Else each recycled process would be another series, for ever."""
    left: list[Record] = []
    for pid in range(1, GONE + 4):
        left, lost = fold(left, [(pid, [gauge("all", pid)])], 1 << 20)
        assert not lost
    [metric], _ = merge([], left)
    assert sorted(int(sample.labels["pid"]) for sample in metric.samples) == [*range(4, GONE + 4)]


def test_after_a_reload_a_metric_is_what_the_new_code_makes_of_it() -> None:
    """Of another kind, or another mode: what was left of the old one cannot be added."""
    counter = key_of("counter", "", "g", "g_total", (), (), "Before.")
    left, _ = fold([], [(1, [Record(counter, 5.0, 0.0)])], 1 << 20)
    left, _ = fold(left, [(2, [gauge("max", 9.0)])], 1 << 20)
    [metric], _ = merge([(3, [gauge("sum", 2.0)])], left)
    assert (metric.type, metric.documentation) == ("gauge", "G.")
    assert [sample.value for sample in metric.samples] == [2.0]


def test_what_has_no_room_among_the_left_is_counted() -> None:
    records = [
        Record(key_of("counter", "", "c", "c_total", ("l",), (str(number),), "C."), 1.0, 0.0)
        for number in range(100)
    ]
    kept, lost = fold([], [(1, [gauge("all", 1.0), *records])], 3000)
    assert 0 < len(kept) < 100
    assert len(kept) + lost == 101
    # Totals before gauges: what is lost of a total is missing for ever.
    assert all(record.key.startswith(b"counter") for record in kept)


def test_a_million_values_of_a_label_are_bounded() -> None:
    records = [
        Record(key_of("counter", "", "c", "c_total", ("l",), (str(number),), "C."), 1.0, 0.0)
        for number in range(50)
    ]
    [metric], left_out = merge([(1, records), (2, records)], [], most=20)
    assert len(metric.samples) == 20
    assert {sample.value for sample in metric.samples} == {2.0}
    assert left_out == 60


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"counter \n[]",
        b"counter \nnull",
        b'counter \n["c","c_total",[],"C."]',
        b'nonsense \n["c","c_total",{},"C."]',
        b"\xff\xfe",
    ],
)
def test_what_is_no_record_disturbs_no_other(key: bytes) -> None:
    good = Record(key_of("counter", "", "d", "d_total", (), (), "D."), 3.0, 0.0)
    metrics, _ = merge([(1, [Record(key, 1.0, 0.0), good])], [])
    assert [sample.value for metric in metrics for sample in metric.samples] == [3.0]


def test_half_of_a_pair_of_surrogates_can_be_shown() -> None:
    """As a path that os.fsdecode() has made: one label must not end all scrapes."""
    key = key_of("counter", "", "c", "c_total", ("path",), ("\udcff",), "C.")
    [metric], _ = merge([(1, [Record(key, 1.0, 0.0)])], [])
    assert metric.samples[0].labels == {"path": "?"}
    assert families([metric])
