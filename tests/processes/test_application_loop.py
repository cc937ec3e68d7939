"""Hooks and the application loop in the processes of the command line, and under other hosts."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import Site, await_pids, await_text
from rawclient import TIMEOUT
from serving import ROOT, Command

SITE = """
import os
import wsgi_async

def note(text):
    with open("story", "a") as story:
        story.write(f"{text} {os.getpid()}\\n")

note("import")

@wsgi_async.on_start
async def pool():
    note("enter")
    yield os.getpid()
    note("leave")

async def ask():
    return pool()

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {wsgi_async.run(ask())}".encode()]
"""

FAILING = SITE.replace('    note("enter")\n', "    raise OSError('no database')\n")


def story(directory: Path) -> dict[str, list[int]]:
    """What each process has noted."""
    found: dict[str, list[int]] = {}
    for line in (directory / "story").read_text().splitlines():
        word, _, pid = line.partition(" ")
        found.setdefault(word, []).append(int(pid))
    return found


def run_program(program: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """A program of somebody's own, to its end."""
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=directory,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def end(command: Command) -> None:
    command.signal(signal.SIGTERM)
    assert command.wait() == 0
    command.assert_clean()


@pytest.mark.parametrize("args", [("--workers", "2"), ("--workers", "2", "--preload")])
def test_each_process_enters_and_leaves_them_after_the_fork(
    site: Site, args: tuple[str, ...]
) -> None:
    site.write_source(SITE)
    with site.serve(*args) as servers:
        pids = await_pids(servers.address, 2, path="/")
        # Each has its own value, made in itself.
        assert {servers.get("/") for _ in range(10)} <= {f"{pid} {pid}" for pid in pids}
        assert sorted(story(site.directory)["enter"]) == pids
        assert set(pids) & set(story(site.directory)["import"]) == (
            set() if "--preload" in args else set(pids)
        )
        end(servers)
    assert sorted(story(site.directory)["leave"]) == pids


def test_one_that_fails_is_an_application_that_cannot_be_loaded(site: Site) -> None:
    site.write_source(FAILING)
    with site.serve() as servers:
        assert servers.wait() == 3
        text = "\n".join(servers.lines)
    assert "The on_start hook pool failed: OSError: no database" in text
    assert "Traceback (most recent call last):" in text
    assert re.search(r'File ".*site_app.py", line \d+, in pool', text)


def test_checked_only_it_is_imported_and_not_entered(site: Site) -> None:
    site.write_source(FAILING)
    with site.serve("--check-config") as servers:
        assert servers.wait() == 0
    assert list(story(site.directory)) == ["import"]


def test_one_that_fails_at_a_reload_leaves_the_old_processes_serving(site: Site) -> None:
    site.write_source(SITE)
    with site.serve() as servers:
        (pid,) = await_pids(servers.address, 1, path="/")
        site.write_source(FAILING)
        servers.signal(signal.SIGHUP)
        servers.wait_for("The on_start hook pool failed: OSError: no database")
        assert servers.get("/") == f"{pid} {pid}"
        site.write_source(SITE)
        servers.signal(signal.SIGHUP)
        (successor,) = await_pids(servers.address, 1, others=[pid], path="/")
        await_text(site.directory / "story", f"leave {pid}")
        assert story(site.directory)["enter"] == [pid, successor]


@pytest.mark.parametrize("workers", [1, 2])
def test_serve_enters_and_leaves_them_too(site: Site, workers: int) -> None:
    site.write_source(
        SITE + f"\nwsgi_async.serve(application, 0, host='127.0.0.1', workers={workers})\n"
    )
    with site.serve(app="", bind="", program="import site_app") as servers:
        pids = await_pids(servers.address, workers, path="/")
        end(servers)
    found = story(site.directory)
    assert sorted(found["enter"]) == sorted(found["leave"]) == pids


def test_a_program_without_a_server_leaves_them_at_its_end(tmp_path: Path) -> None:
    program = SITE + (
        "\nimport asyncio"
        "\nasync def mail():\n    await asyncio.sleep(0.05)\n    note('mail')"
        "\nassert pool.start() == os.getpid()"
        "\nassert wsgi_async.run(ask()) == os.getpid()"
        "\nwsgi_async.spawn(mail())\n"
    )
    result = run_program(program, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert list(story(tmp_path)) == ["import", "enter", "mail", "leave"]


def test_a_program_that_ends_beneath_its_server_leaves_them_too(tmp_path: Path) -> None:
    program = SITE + (
        "\nfrom urllib.request import urlopen"
        "\nserver = wsgi_async.Server(application, 0, host='127.0.0.1')"
        "\nblock = server.run_in_thread()"
        "\nblock.__enter__()"
        "\nassert urlopen(server.addresses[0]).read() == f'{os.getpid()} {os.getpid()}'.encode()\n"
    )
    result = run_program(program, tmp_path)
    assert result.returncode == 0, result.stderr
    assert list(story(tmp_path)) == ["import", "enter", "leave"]


def test_what_runs_at_the_end_of_a_program_is_refused_or_served_but_never_hangs(
    tmp_path: Path,
) -> None:
    program = (
        "import atexit, threading, wsgi_async\n"
        "def late():\n"
        "    try:\n"
        "        print(wsgi_async.run(answer()))\n"
        "    except RuntimeError as error:\n"
        "        print(error)\n"
        "atexit.register(late)\n"  # called after ours
        "async def answer():\n    return 'served'\n"
        "print(wsgi_async.run(answer()))\n"
        "atexit.register(late)\n"  # called before ours
    )
    result = run_program(program, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "served",
        "served",
        "the program ends: nothing can be started on its application loop",
    ]


def test_a_loop_that_a_server_has_given_up_is_not_waited_for_once_more(tmp_path: Path) -> None:
    """Its process has no time left: whoever watches over it would kill it."""
    program = (
        "import asyncio, threading, time, wsgi_async\n"
        "from wsgi_async.realtime import ending\n"
        "ending.LAST = 0.1\n"
        "begun = threading.Event()\n"
        "async def blocks():\n"
        "    begun.set()\n"
        f"    time.sleep({TIMEOUT})\n"
        "async def main():\n"
        "    server = wsgi_async.Server(lambda *_: [], 0, host='127.0.0.1', graceful_timeout=0.1)\n"
        "    await server.start()\n"
        "    wsgi_async.spawn(blocks())\n"
        "    begun.wait()\n"
        "    print(await server.stop(), flush=True)\n"
        "asyncio.run(main())\n"
        "began = time.monotonic()\n"
        "import atexit\n"
        "from wsgi_async.realtime.application_loop import _at_exit\n"
        "atexit.unregister(_at_exit)\n"
        "_at_exit()\n"
        "print(time.monotonic() - began < 2)\n"
    )
    result = run_program(program, tmp_path)
    assert (result.returncode, result.stdout.split()) == (0, ["1", "True"]), result.stderr


def test_ctrl_c_ends_the_wait_of_a_script(tmp_path: Path) -> None:
    program = (
        "import asyncio, os, signal, wsgi_async\n"
        "async def forever():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        await asyncio.Event().wait()\n"
        "    finally:\n"
        "        print('cancelled', flush=True)\n"
        "try:\n"
        "    wsgi_async.run(forever())\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    result = run_program(program, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.split() == ["cancelled", "interrupted"]
