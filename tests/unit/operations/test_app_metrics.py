"""What the operations process shows of an application: values, infos, collectors and files."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from counted import Counted, Family, families
from rawclient import TIMEOUT

from wsgi_async.operations import app_metrics
from wsgi_async.operations.answers import METRICS
from wsgi_async.operations.app_families import asked_of, infos_of, union, unwired
from wsgi_async.operations.app_metrics import ApplicationMetrics
from wsgi_async.operations.asking import Asking
from wsgi_async.operations.exchange import Answering, Exchange

pytest.importorskip("prometheus_client")

from prometheus_client import CollectorRegistry, Counter, Gauge, Info, generate_latest, values
from prometheus_client.core import GaugeMetricFamily

MISSING = "wsgi_async_scrape_missing_processes"
REFUSED = "wsgi_async_application_samples_refused"


class Custom:
    """As an application registers it."""

    def __init__(self, collect: Callable[[], Any] | None = None) -> None:
        self._collect = collect

    def collect(self) -> Any:
        if self._collect is not None:
            return self._collect()
        family = GaugeMetricFamily("queue_length", "Asked when it is needed.", labels=["name"])
        family.add_metric(["mail"], 3)
        return [family]


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> CollectorRegistry:
    """The one of the application."""
    registry = CollectorRegistry(auto_describe=True)
    monkeypatch.setattr("prometheus_client.REGISTRY", registry)
    monkeypatch.setattr(app_metrics, "REGISTRY", registry)
    monkeypatch.setattr(values, "ValueClass", values.MutexValue)
    return registry


class Running:
    """A server in one process: it serves, and it scrapes."""

    def __init__(self, *collectors: str) -> None:
        self.told: list[str] = []
        self.metrics = ApplicationMetrics(collectors)
        self.exchange = Exchange()
        self._before = set(threading.enumerate())
        self.asking = Asking(self.exchange.desk)
        self.collector = self.metrics.collector(self.asking, self.told.append)

    def serve(self, environ: dict[str, str] | None = None) -> None:
        self.metrics.install(environ or {}, self.told.append)
        Answering(self.exchange, 0, {METRICS: self.metrics.answer}).start()

    def scrape(self) -> dict[str, Family]:
        return families(self.collector.collect())

    def wait_for(self, name: str) -> dict[str, Family]:
        deadline = time.monotonic() + TIMEOUT
        while name not in (found := self.scrape()):
            assert time.monotonic() < deadline, found
        return found

    def missing(self) -> float:
        [(_, _, value)] = self.scrape()[MISSING].samples
        return value

    def close(self) -> None:
        self.asking.close()
        self.exchange.close()
        self.metrics.close()
        for thread in set(threading.enumerate()) - self._before:
            thread.join(TIMEOUT)
            assert not thread.is_alive()


@pytest.fixture
def running(request: pytest.FixtureRequest, registry: CollectorRegistry) -> Iterator[Running]:
    running = Running(*getattr(request, "param", ()))
    yield running
    running.close()


asking_for = pytest.mark.parametrize(
    "running", [["Custom"], ["queue_length"], [f"{__name__}.Custom"]], indirect=True
)


def test_values_and_infos_are_shown(running: Running, registry: CollectorRegistry) -> None:
    running.serve()
    Counter("jobs", "Jobs.", registry=registry).inc(2)
    Info("build", "Which one.", registry=registry).info({"version": "1.2"})
    found = running.wait_for("build")
    assert found["jobs"].samples == {("jobs_total", frozenset(), 2.0)}
    assert found["build"] == Family(
        "info", "Which one.", frozenset({("build_info", frozenset({("version", "1.2")}), 1.0)})
    )
    assert found[MISSING].samples == {(MISSING, frozenset(), 0.0)}
    assert found[REFUSED].samples == {(REFUSED, frozenset(), 0.0)}
    assert not running.told


def test_a_registry_writes_it(running: Running, registry: CollectorRegistry) -> None:
    running.serve()
    Counter("jobs", "Jobs.", registry=registry).inc(2)
    scraped = CollectorRegistry()
    scraped.register(running.collector)
    assert b"\njobs_total 2.0\n" in generate_latest(scraped)


@pytest.mark.parametrize("running", [[]], indirect=True)
def test_collectors_are_off_by_default(running: Running, registry: CollectorRegistry) -> None:
    running.serve()
    registry.register(Custom())
    Info("build", "Which one.", registry=registry)
    assert "queue_length" not in running.wait_for("build")


@asking_for
def test_a_collector_is_asked_by_name(running: Running, registry: CollectorRegistry) -> None:
    running.serve()
    registry.register(Custom())
    found = running.wait_for("queue_length")
    assert found["queue_length"].samples == {("queue_length", frozenset({("name", "mail")}), 3.0)}


@pytest.mark.parametrize("running", [["temperature"]], indirect=True)
def test_of_a_gauge_with_a_function_the_function_counts(
    running: Running, registry: CollectorRegistry
) -> None:
    running.serve()
    Gauge("temperature", "Asked.", registry=registry).set_function(lambda: 36.6)
    deadline = time.monotonic() + TIMEOUT
    while (found := running.scrape())["temperature"].samples != {
        ("temperature", frozenset(), 36.6)
    }:
        assert time.monotonic() < deadline, found


@pytest.mark.parametrize("running", [["Custom"]], indirect=True)
def test_a_collector_that_fails_is_named_once_and_ends_no_scrape(
    running: Running, registry: CollectorRegistry
) -> None:
    fails = True

    def collect() -> list[Any]:
        if fails:
            raise RuntimeError("no database")
        return [GaugeMetricFamily("queue_length", "Asked.", value=1)]

    collector = Custom(collect)
    collector.describe = list  # type: ignore[attr-defined]
    registry.register(collector)
    running.serve()
    Counter("jobs", "Jobs.", registry=registry).inc(2)
    deadline = time.monotonic() + TIMEOUT
    while running.missing() != 1.0:
        assert time.monotonic() < deadline
    assert "jobs" in running.scrape()
    assert running.missing() == 1.0
    assert len([line for line in running.told if "no database" in line]) == 1
    fails = False
    assert "queue_length" in running.scrape()
    assert running.missing() == 0.0


@pytest.mark.parametrize("running", [["Custom"]], indirect=True)
def test_a_collector_that_hangs_is_missing(
    running: Running, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scrape waits for a second, in all, and its thread never."""
    monkeypatch.setattr(app_metrics, "PATIENCE", 0.2)
    may = threading.Event()

    def collect() -> list[Any]:
        may.wait(TIMEOUT)
        return []

    collector = Custom(collect)
    collector.describe = list  # type: ignore[attr-defined]
    registry.register(collector)
    running.serve()
    deadline = time.monotonic() + TIMEOUT
    try:
        while running.missing() != 1.0:
            assert time.monotonic() < deadline
    finally:
        may.set()


def test_who_scrapes_at_once_is_answered_at_once(
    running: Running, registry: CollectorRegistry
) -> None:
    """The processes are asked once for all who came before they were."""
    running.serve()
    Info("build", "Which one.", registry=registry)
    running.wait_for("build")
    begin = threading.Barrier(5)
    found: list[dict[str, Family]] = []
    numbers = running.asking._number

    def scrape() -> None:
        begin.wait(TIMEOUT)
        found.append(running.scrape())

    threads = [threading.Thread(target=scrape) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert len(found) == 5
    assert all("build" in one for one in found)
    assert numbers < running.asking._number <= numbers + 5


def test_the_servers_names_are_its_own(running: Running, registry: CollectorRegistry) -> None:
    """Else the application could spoil the whole exposition."""
    running.serve()
    Gauge(MISSING, "Not so.", registry=registry).set(77)
    Counter("jobs", "Jobs.", registry=registry).inc(2)
    found = running.scrape()
    assert "jobs" in found
    assert 77.0 not in {value for _, _, value in found[MISSING].samples}


def test_files_that_the_library_writes_are_merged(
    running: Running, registry: CollectorRegistry, tmp_path: Path
) -> None:
    with Counted.of(tmp_path / "files") as counted:
        for _ in range(2):
            counted.start([("jobs a", 2.0), ("livesum a", 3.0)])
        running.serve({"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "files")})
        found = running.wait_for("jobs")
        assert found["jobs"].samples == {("jobs_total", frozenset({("kind", "a")}), 4.0)}
        assert counted.by_files().items() <= found.items()
    [line] = [line for line in running.told if "PROMETHEUS_MULTIPROC_DIR is set" in line]
    assert str(tmp_path / "files") in line


def test_files_that_cannot_be_read_are_missing(
    running: Running, registry: CollectorRegistry, tmp_path: Path
) -> None:
    running.serve({"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)})
    (tmp_path / "counter_1.db").write_bytes(b"no such file")
    deadline = time.monotonic() + TIMEOUT
    while running.missing() != 1.0:
        assert time.monotonic() < deadline
    assert any("cannot be read" in line for line in running.told)


# --- What is answered


def test_infos_of_several_processes_are_each_shown_once() -> None:
    registries = []
    for version in ("1", "2", "2"):
        registry = CollectorRegistry()
        Info("build", "Which one.", registry=registry).info({"version": version})
        registries.append(registry)
    [family] = union(unwired(infos_of(registry)) for registry in registries)
    assert [sample.labels for sample in family.samples] == [{"version": "1"}, {"version": "2"}]


def test_too_many_samples_are_no_answer() -> None:
    registry = CollectorRegistry()

    def collect() -> list[Any]:
        family = GaugeMetricFamily("many", "Many.", labels=["n"])
        for number in range(20_001):
            family.add_metric([str(number)], 1)
        return [family]

    registry.register(Custom(collect))
    wired, [failed] = asked_of(registry, ["Custom"])
    assert not wired
    assert "more than 20000 samples" in failed


@pytest.mark.parametrize(
    "family",
    [None, 3, [], ["a"], ["a", "A.", "nonsense", "", []], ["a", "A.", "gauge", "", [[]]]],
)
def test_what_is_no_family_is_left_out(family: object) -> None:
    good = ["b", "B.", "gauge", "", [["b", {}, 1.0, None]]]
    assert [metric.name for metric in unwired([family, good])] == ["b"]
