"""The value class: threads, forks, and who has no room or wants files."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from counted import small_arena
from forked import run_forked
from rawclient import TIMEOUT

from wsgi_async.operations.app_arena import Arena
from wsgi_async.operations.app_totals import merge
from wsgi_async.operations.app_values import Store, install, value_class

pytest.importorskip("prometheus_client")

from prometheus_client import CollectorRegistry, Counter, Gauge, Info, values


@pytest.fixture
def arena() -> Iterator[Arena]:
    arena = small_arena(areas=3)
    yield arena
    arena.close()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def counted(arena: Arena, told: list[str], monkeypatch: pytest.MonkeyPatch) -> Store:
    """Metrics made from now on are in that memory."""
    store = Store(arena, told.append)
    monkeypatch.setattr(values, "ValueClass", value_class(store))
    return store


def shown(arena: Arena) -> dict[str, float]:
    """The samples without regard to labels."""
    snapshot = arena.snapshot()
    metrics, _ = merge(snapshot.living, snapshot.left)
    return {sample.name: sample.value for metric in metrics for sample in metric.samples}


def make(name: str = "jobs") -> Counter:
    return Counter(name, "Jobs.", registry=CollectorRegistry())


@pytest.mark.usefixtures("counted")
def test_threads_lose_no_count(arena: Arena) -> None:
    jobs = Counter("jobs", "Jobs.", ["kind"], registry=CollectorRegistry())
    begin = threading.Barrier(6)

    def count() -> None:
        begin.wait(TIMEOUT)
        for number in range(500):
            jobs.labels(str(number % 7)).inc()

    threads = [threading.Thread(target=count) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    snapshot = arena.snapshot()
    [metric], _ = merge(snapshot.living, snapshot.left)
    assert sum(sample.value for sample in metric.samples) == 3000
    assert len(metric.samples) == 7


def test_a_fork_while_a_thread_counts_stops_no_child(arena: Arena, counted: Store) -> None:
    """The thread may hold the lock, and is not there to give it back."""
    jobs = make()
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with counted.lock:
            held.set()
            release.wait(TIMEOUT)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(TIMEOUT)
    try:
        assert run_forked(lambda: jobs.inc(2)) == 0
    finally:
        release.set()
        thread.join(TIMEOUT)
    jobs.inc(5)
    assert shown(arena) == {"jobs_total": 7.0}


@pytest.mark.usefixtures("counted")
def test_a_value_is_what_this_process_makes_of_it() -> None:
    """So an application's own generate_latest() shows it as ever."""
    jobs = make()
    jobs.inc(3)
    assert jobs._value.get() == 3.0

    def count() -> None:
        assert jobs._value.get() == 0.0
        jobs.inc()
        assert jobs._value.get() == 1.0

    assert run_forked(count) == 0
    assert jobs._value.get() == 3.0
    jobs.reset()
    assert jobs._value.get() == 0.0


@pytest.mark.usefixtures("counted")
def test_a_series_that_is_made_again_goes_on(arena: Arena) -> None:
    jobs = Counter("jobs", "Jobs.", ["kind"], registry=CollectorRegistry())
    jobs.labels("a").inc(2)
    jobs.clear()
    jobs.labels("a").inc(3)
    assert shown(arena) == {"jobs_total": 5.0}


@pytest.mark.usefixtures("counted")
def test_an_exemplar_is_no_error(arena: Arena) -> None:
    make().inc(1, exemplar={"trace_id": "x"})
    assert shown(arena) == {"jobs_total": 1.0}


@pytest.mark.usefixtures("counted")
def test_labels_without_end_harm_nobody(arena: Arena, told: list[str]) -> None:
    jobs = Counter("jobs", "Jobs.", ["path"], registry=CollectorRegistry())
    for number in range(2000):
        jobs.labels(str(number)).inc()
    assert {jobs.labels(str(number))._value.get() for number in (0, 1999)} == {1.0}
    snapshot = arena.snapshot()
    [metric], _ = merge(snapshot.living, snapshot.left)
    assert len(metric.samples) + snapshot.refused == 2000
    [warning] = told
    assert f"than the {len(metric.samples)} that there is room for" in warning
    assert "chosen by clients" in warning


@pytest.mark.usefixtures("counted")
def test_one_process_too_many_is_served_and_not_shown(arena: Arena, told: list[str]) -> None:
    for _ in range(arena.capacity):
        arena.claim()
    jobs = make()
    jobs.inc()
    assert jobs._value.get() == 1.0
    assert shown(arena) == {}
    [warning] = told
    assert f"in process {os.getpid()} are not shown" in warning
    assert arena.snapshot().refused == 1


def test_it_may_be_said_by_a_handler_that_counts(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever logs may wait for another thread that does, and that counts."""
    jobs: list[Any] = []

    def handle(text: str) -> None:
        thread = threading.Thread(target=lambda: jobs[0].inc())
        thread.start()
        thread.join(TIMEOUT)
        assert not thread.is_alive()

    monkeypatch.setattr(values, "ValueClass", value_class(Store(arena, handle)))
    jobs.append(make("early"))
    for _ in range(arena.capacity):
        arena.claim()
    store = Store(arena, handle)
    monkeypatch.setattr(values, "ValueClass", value_class(store))
    make("late")
    assert shown(arena) == {"early_total": 1.0}


# --- What is installed


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library as it is after its import."""
    monkeypatch.setattr(values, "ValueClass", values.MutexValue)
    monkeypatch.setattr("prometheus_client.REGISTRY", CollectorRegistry())
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)


@pytest.mark.usefixtures("apart")
def test_metrics_made_afterwards_are_counted(arena: Arena, told: list[str]) -> None:
    assert install(arena, {}, told.append, told.append) == ""
    make().inc(4)
    assert shown(arena) == {"jobs_total": 4.0}
    assert not told


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("name", ["PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"])
def test_a_directory_that_is_set_is_respected(
    arena: Arena, told: list[str], name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is set for the application alone, when the library is imported already."""
    monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))  # and it warns of the old one
    assert install(arena, {name: str(tmp_path)}, told.append, told.append) == str(tmp_path)
    make().inc(4)
    assert [path.name for path in tmp_path.iterdir()] == [f"counter_{os.getpid()}.db"]
    assert shown(arena) == {}
    values.close_all_multiprocess_files()


@pytest.mark.usefixtures("apart")
def test_metrics_that_were_made_before_are_named(
    arena: Arena, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a configuration file, say: they go on as they are."""
    registry = CollectorRegistry()
    monkeypatch.setattr("prometheus_client.REGISTRY", registry)
    Counter("early", "Early.", registry=registry)
    Gauge("early_gauge", "Early.", registry=registry)
    Info("build", "No value of that class.", registry=registry)
    install(arena, {}, told.append, told.append)
    [warning] = told
    assert warning.startswith("2 metrics were made before the server was started")
