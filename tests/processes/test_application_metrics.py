"""The application's own metrics, of all processes, beside gunicorn's way with files."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from counted import MODES, Family, families
from expositions import OPENMETRICS, parsed
from processes import Servers, Site, await_pids, children
from rawclient import TIMEOUT, Address
from scraping import METRICS, Scraper
from serving import APPS, ROOT, Command
from tools import require_module

pytest.importorskip("prometheus_client")

from prometheus_client.multiprocess import MultiProcessCollector

PAIR = ("--workers", "2")
FOUR = ("--workers", "4")
ORDERS = "shop_orders_total"
MISSING = "wsgi_async_scrape_missing_processes"
INCOMPARABLE = {"shop_build_info", "shop_process_info", "shop_late_x"}
"""What the library does not show of many processes, and what the tests do as often as it takes."""

both_ways = pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])


def shop(site: Site, *args: str) -> Servers:
    return site.serve(*METRICS, *args, app="shop_app")


def scraped(scraper: Scraper) -> dict[str, Family]:
    """Metrics of the application, by the library's own parser."""
    answer = scraper.get()
    assert answer.status == 200, answer
    found = families(parsed(answer.body.decode()))
    return {name: family for name, family in found.items() if name.startswith("shop_")}


def without_pids(found: dict[str, Family]) -> dict[str, Any]:
    """What two servers with the same number of processes have in common."""

    def plain(family: Family) -> Any:
        return Counter(
            (name, frozenset(pair for pair in labels if pair[0] != "pid"), value)
            for name, labels, value in family.samples
        )

    return {
        name: (family.kind, family.help, plain(family))
        for name, family in found.items()
        if name not in INCOMPARABLE
    }


def place(server: Command, orders: Iterable[str]) -> None:
    for kind in orders:
        with server.client() as client:
            assert client.get(f"/order?{kind}").status == 200


def begin(server: Command, *, others: Iterable[int] = ()) -> list[int]:
    """Have each of 4 processes count something: with --preload they begin by that."""
    try:
        return await_pids(server.address, 4, others=list(others), path="/late?x")
    except AssertionError as error:
        error.add_note("\n".join(server.lines))
        raise


class Gunicorn(Command):
    """The same application with files, as the library's documentation has it."""

    def __init__(self, directory: Path, *args: str) -> None:
        require_module("gunicorn")
        self.files = directory / "files"
        self.files.mkdir(parents=True)
        (directory / "gunicorn.conf.py").write_text(
            "from prometheus_client import multiprocess\n"
            "def child_exit(server, worker):\n"
            "    multiprocess.mark_process_dead(worker.pid)\n"
        )
        super().__init__(
            *("-b", "127.0.0.1:0", "--no-control-socket", *FOUR, *args, "shop_app"),
            env={
                "PYTHONPATH": os.pathsep.join((str(ROOT), str(APPS))),
                "PROMETHEUS_MULTIPROC_DIR": str(self.files),
            },
            directory=directory,
            program="from gunicorn.app.wsgiapp import run\nrun()",
        )

    tls = None

    @property
    def address(self) -> Address:
        return ("127.0.0.1", int(self.wait_for(r"Listening at: http://127.0.0.1:([0-9]+)")[1]))

    def scraped(self) -> dict[str, Family]:
        return families(MultiProcessCollector(None, str(self.files)).collect())


def wait_until_equal(scraper: Scraper, other: Gunicorn) -> None:
    """A process that has ended may be there in both for a moment."""
    found: list[Any] = []

    def look() -> bool:
        found[:] = [without_pids(scraped(scraper)), without_pids(other.scraped())]
        return bool(found[0] == found[1])

    try:
        scraper.wait_until(look, "ours differ")
    except AssertionError as error:
        error.add_note(f"ours   {found[0]}\ntheirs {found[1]}")
        raise


@both_ways
def test_it_is_what_gunicorn_shows_with_files(
    site: Site, tmp_path: Path, preload: tuple[str, ...]
) -> None:
    """Every kind of metric in 4 processes, and after one of them was killed."""
    kinds = [*"aabbbc", "%C3%BC"] * 3
    other_directory = tmp_path / "gunicorn"
    with shop(site, *FOUR, *preload) as servers, Gunicorn(other_directory, *preload) as other:
        scraper = Scraper.of(servers)
        pairs = [(server, begin(server)) for server in (servers, other)]
        for server, pids in pairs:
            place(server, kinds)
            assert len(pids) == 4
        wait_until_equal(scraper, other)
        for server, pids in pairs:
            os.kill(pids[0], signal.SIGKILL)
            begin(server, others=[pids[0]])
            place(server, kinds)
        wait_until_equal(scraper, other)
        found = scraped(scraper)
        assert {f"shop_{mode}" for mode in MODES} < set(found)
        assert found["shop_build_info"].samples
        answer = scraper.get(accept=OPENMETRICS)
        assert answer.fields["content-type"].startswith(OPENMETRICS)
        as_openmetrics = families(parsed(answer.body.decode(), OPENMETRICS))
        assert as_openmetrics["shop_orders"] == found["shop_orders"]
        assert as_openmetrics["shop_build"].kind == "info"


@both_ways
def test_a_recycle_loses_nothing(site: Site, preload: tuple[str, ...]) -> None:
    with shop(site, *PAIR, "--max-requests", "7", *preload) as servers:
        scraper = Scraper.of(servers)
        placed = 0
        while servers.count("it has answered") < 4:
            place(servers, "ab")
            placed += 2
            assert scraper.total(ORDERS) == placed
            assert placed < 500
        assert scraper.total("shop_took_seconds_count") == placed
        assert scraper.total("shop_size_bytes_sum") == placed / 2
        servers.assert_clean()


@both_ways
def test_a_reload_loses_nothing(site: Site, preload: tuple[str, ...]) -> None:
    with shop(site, *PAIR, *preload) as servers:
        scraper = Scraper.of(servers)
        for number in range(1, 4):
            place(servers, "abab")
            assert scraper.total(ORDERS) == 4 * number
            servers.reload()
            assert scraper.total(ORDERS, kind="a") == 2 * number
        # Those that have left hold no gauge of the living up.
        living = 1 if preload else 2
        scraper.wait_for_total(3 * living, "shop_livesum")
        assert scraper.total("shop_loaded_total") == 4 * living
        servers.assert_clean()


def test_what_a_killed_process_has_counted_is_there_and_its_live_gauges_are_not(
    site: Site,
) -> None:
    """Counted a moment ago, and never scraped: it is in memory that outlives it."""
    with shop(site, *PAIR) as servers:
        scraper = Scraper.of(servers)
        servers.wait_for_pids(2)
        place(servers, "a" * 10)
        killed = int(sorted(pids_of(scraped(scraper)["shop_liveall"]))[0])
        os.kill(killed, signal.SIGKILL)
        scraper.wait_until(
            lambda: str(killed) not in pids_of(scraped(scraper)["shop_liveall"]), "it is shown"
        )
        found = scraped(scraper)
        assert str(killed) in pids_of(found["shop_all"])
        assert scraper.total(ORDERS) == 10


def pids_of(family: Family) -> set[str]:
    return {dict(labels)["pid"] for _, labels, _ in family.samples}


def stop(pid: int) -> None:
    """Until each of its threads is stopped: the signal is one thread's, which stops the others."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + TIMEOUT
    while states_of(pid) != {"T"}:
        assert time.monotonic() < deadline, states_of(pid)


def states_of(pid: int) -> set[str]:
    tasks = Path(f"/proc/{pid}/task").glob("*/stat")
    return {task.read_text().rpartition(")")[2].split()[0] for task in tasks}


def test_a_process_that_does_nothing_at_all_is_waited_for_once(site: Site) -> None:
    """Its values are shown as they are; what it alone could tell is said to be missing."""
    with shop(site, *PAIR) as servers:
        scraper = Scraper.of(servers)
        pids = servers.wait_for_pids(2)
        place(servers, "a" * 10)
        # Each has an info of its own.
        scraper.wait_for_total(2, "shop_process_info")
        assert scraper.total(MISSING) == 0
        try:
            for pid in pids:
                stop(pid)
            began = time.monotonic()
            assert scraper.total(MISSING) == 2
            assert time.monotonic() - began >= 0.9
            assert scraper.total(ORDERS) == 10
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        scraper.wait_for_total(0, MISSING)


def the_operations_process(servers: Servers) -> int:
    [found] = children(servers.process.pid) - set(servers.wait_for_pids(2))
    return found


def test_the_next_operations_process_knows_all(site: Site) -> None:
    with shop(site, *PAIR, "--metrics-collector", "Stock") as servers:
        scraper = Scraper.of(servers)
        servers.wait_for_pids(2)
        place(servers, "a" * 10)
        before = scraped(scraper)
        for number in range(2):
            os.kill(the_operations_process(servers), signal.SIGKILL)
            servers.wait_for("operations process ended", number + 1)
            place(servers, "a")
            assert scraper.total(ORDERS, kind="a") == 11 + number  # by the next one
        scraper.wait_until(lambda: "shop_stock" in scraped(scraper), "nobody answers")
        assert scraper.total(ORDERS, kind="a") == 12
        assert set(before) <= set(scraped(scraper))


def test_a_collector_is_asked_in_one_process(site: Site) -> None:
    with shop(site, *PAIR, "--metrics-collector", "Stock") as servers:
        scraper = Scraper.of(servers)
        scraper.wait_until(lambda: "shop_stock" in scraped(scraper), "nobody answers")
        [(_, labels, value)] = scraped(scraper)["shop_stock"].samples
        assert value == 12
        assert int(dict(labels)["process"]) in servers.wait_for_pids(2)


def test_what_the_application_forks_counts_too(site: Site) -> None:
    with shop(site, *PAIR) as servers:
        scraper = Scraper.of(servers)
        for number in range(1, 4):
            servers.get("/fork")
            assert scraper.total(ORDERS, kind="forked") == number


def test_a_directory_that_is_set_is_respected_and_said(site: Site, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    with shop(site, *PAIR, "--env", f"PROMETHEUS_MULTIPROC_DIR={files}") as servers:
        scraper = Scraper.of(servers)
        servers.wait_for_pids(2)
        servers.wait_for("PROMETHEUS_MULTIPROC_DIR is set")
        place(servers, "a" * 10)
        assert list(files.glob("counter_*.db"))
        scraper.wait_for_total(10, ORDERS)
