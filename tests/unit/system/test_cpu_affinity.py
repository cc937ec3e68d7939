"""``--cpu-affinity``: each process on one processor, whoever has been replaced."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest
from processes import Site
from serving import APPS, ROOT

from wsgi_async import serve
from wsgi_async.config import options as config
from wsgi_async.config.options import Config
from wsgi_async.errors import ConfigError
from wsgi_async.system import cpu_affinity as affinity

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
    found: set[int] = set()
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
            found |= os.sched_getaffinity(int(task))
    return found


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["", "preload"])
def test_processes_take_turns_with_the_processors(site: Site, options: tuple[str, ...]) -> None:
    count = 2
    with site.serve("--workers", str(count), "--cpu-affinity", *options) as servers:
        pids = servers.wait_for_pids(count)
        for number in range(1, 3):
            used = Counter(map(frozenset, map(processors, pids)))
            expected = Counter(frozenset({USABLE[place % len(USABLE)]}) for place in range(count))
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


def test_one_process_alone_is_nobodys_to_pin() -> None:
    with pytest.raises(ConfigError, match="cpu_affinity needs a supervisor"):
        serve(lambda environ, start_response: [], 0, cpu_affinity=True)


def test_a_system_that_refuses_is_served_without(site: Site) -> None:
    refuse = "import os\ndef no(*args): raise PermissionError(1, 'Not here')\n"
    (site.directory / "sitecustomize.py").write_text(refuse + "os.sched_setaffinity = no\n")
    path = os.pathsep.join(map(str, (site.directory, ROOT, APPS)))
    with site.serve("--cpu-affinity", env={"PYTHONPATH": path}) as servers:
        servers.wait_for("--cpu-affinity has no effect: Not here")
        [pid] = servers.wait_for_pids(1)
        assert processors(pid) == set(USABLE)


def test_where_it_cannot_be_had_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "CAN_PIN", False)
    assert not Config(cpu_affinity=False).cpu_affinity
    with pytest.raises(ConfigError, match=r"cpu.affinity"):
        Config(cpu_affinity=True)
