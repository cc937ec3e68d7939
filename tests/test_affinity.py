"""``--cpu-affinity``: each process on one processor, whoever has been replaced."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest
from processes import Site

from wsgi_async import affinity, config
from wsgi_async.config import Config
from wsgi_async.errors import ConfigError

if not affinity.CAN_PIN:
    pytest.skip("this system cannot keep a process on one processor", allow_module_level=True)

USABLE = sorted(os.sched_getaffinity(0))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    directory = tmp_path / "site"
    directory.mkdir()
    return Site(directory)


def processors(pid: int) -> set[int]:
    """Where the threads of a process may run."""
    tasks = os.listdir(f"/proc/{pid}/task")
    return set().union(*(os.sched_getaffinity(int(task)) for task in tasks))


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["", "preload"])
def test_processes_take_turns_with_the_processors(site: Site, options: tuple[str, ...]) -> None:
    count = 2
    with site.serve("--workers", str(count), "--cpu-affinity", *options) as servers:
        pids = servers.wait_for_pids(count)
        for number in range(1, 3):
            used = Counter(map(frozenset, map(processors, pids)))
            expected = Counter(frozenset({USABLE[seat % len(USABLE)]}) for seat in range(count))
            assert used == expected
            servers.signal(signal.SIGHUP)
            servers.wait_for("Reloaded", number)
            pids = servers.wait_for_pids(count, others=pids)
        assert os.sched_getaffinity(servers.process.pid) == set(USABLE), "the parent runs anywhere"


def test_without_it_they_run_anywhere(site: Site) -> None:
    with site.serve("--workers", "1") as servers:
        [pid] = servers.wait_for_pids(1)
        assert processors(pid) == set(USABLE)


def test_there_may_be_more_processes_than_processors() -> None:
    found: list[set[int]] = []

    def run() -> None:
        affinity.pin(len(USABLE) + 1)
        found.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=run)  # it alone is pinned
    thread.start()
    thread.join()
    assert found == [{USABLE[1 % len(USABLE)]}]
    assert sorted(os.sched_getaffinity(0)) == USABLE


def test_where_it_cannot_be_had_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "CAN_PIN", False)
    assert not Config(cpu_affinity=False).cpu_affinity
    with pytest.raises(ConfigError, match=r"cpu.affinity"):
        Config(cpu_affinity=True)
