"""A process ends in its time, whatever the application has left running in it."""

from __future__ import annotations

import os
import signal
import time

import pytest
from processes import Life, Site
from rawclient import TIMEOUT
from serving import one_loop_in_time

SOON = ("--graceful-timeout", "1s")
LATER = ("--graceful-timeout", "30s")

HEAD = "import atexit, os, threading, time\nfrom process_app import make_application, say\n"
TAIL = "\napplication = make_application('v1')\natexit.register(say, 'exit functions')\n"

THREAD = "threading.Thread(target=threading.Event().wait, name='endless', daemon=False).start()"
EXECUTOR = (
    "from concurrent.futures import ThreadPoolExecutor\n"
    "ThreadPoolExecutor(thread_name_prefix='endless').submit(threading.Event().wait)"
)
SPINNING = """
def spin():
    while True: pass
threading.Thread(target=spin, name='endless', daemon=False).start()
"""
CHILD = (
    "import multiprocessing\n"
    "multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,)).start()"
)
FINITE_FOR = """
def work():
    from wsgi_async.launch import child
    main = threading.main_thread()
    # Until the server has stopped, and a second more.
    while not any(thread.name == 'wsgi_async-end' for thread in threading.enumerate()):
        time.sleep(0.01)
    time.sleep({seconds})
    say('work is done')
threading.Thread(target=work, name='finite', daemon=False).start()
"""
FINITE = FINITE_FOR.format(seconds=1.2)

endless = pytest.mark.parametrize(
    "left", [THREAD, EXECUTOR, SPINNING], ids=["thread", "executor", "spinning"]
)
ENDLESS = r"\[ERROR\] This process ends, and these threads of the application have not: endless"


def source(left: str) -> str:
    """An application that leaves something running in each process that serves it: what is
    started at import stays in the loader."""
    body = "".join(f"    {line}\n" for line in left.strip().splitlines())
    return (
        f"{HEAD}def leave():\n{body}{TAIL}"
        "inner, left = application, []\n"
        "def application(environ, start_response):\n"
        "    if not left:\n        left.append(True)\n        leave()\n"
        "    return inner(environ, start_response)\n"
    )


@one_loop_in_time
@endless
def test_a_thread_that_goes_on_for_ever_is_left_behind(site: Site, loop: str, left: str) -> None:
    """Once the grace is over, with the exit functions called, and without a false reason."""
    site.write_source(source(left))
    with site.serve(*SOON, loop=loop) as servers:
        servers.ask()
        began = time.monotonic()
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 1
        assert time.monotonic() - began < 5
        servers.wait_for(ENDLESS)
        servers.wait_for("^exit functions$")
        servers.wait_for("did not end well: exit code 1")
        assert not servers.count("blocked|is killed|Fatal|Timeout")


@endless
@pytest.mark.parametrize(
    "way",
    [pytest.param((), id="", marks=pytest.mark.soak), pytest.param(("--preload",), id="preload")],
)
def test_without_a_supervisor_nothing_stays(site: Site, left: str, way: tuple[str, ...]) -> None:
    site.write_source(source(left))
    with site.serve(*SOON, *way) as servers:
        pid, _ = servers.ask()
        lives = [Life(number) for number in {pid, *servers.loaded("v1")}]
        os.kill(servers.process.pid, signal.SIGKILL)
        for life in lives:
            life.await_end()
        servers.wait_for(ENDLESS)


@pytest.mark.parametrize("left", [THREAD, EXECUTOR], ids=["thread", "executor"])
def test_without_a_supervisor_no_loader_stays(site: Site, left: str) -> None:
    site.write_source(f"{HEAD}{left}{TAIL}")
    with site.serve(*SOON, "--preload") as servers:
        servers.wait_for("Listening on ")
        lives = [Life(number) for number in (servers.ask()[0], *servers.loaded("v1"))]
        os.kill(servers.process.pid, signal.SIGKILL)
        for life in lives:
            life.await_end()


def test_what_ends_in_time_is_waited_for(site: Site) -> None:
    """Also where that takes longer than --timeout: the process shows that it lives."""
    site.write_source(source(FINITE))
    with site.serve(*LATER, "--timeout", "500ms") as servers:
        servers.ask()
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0, "\n".join(servers.lines)
        servers.wait_for("^work is done$")
        servers.wait_for("^exit functions$")
        assert not servers.count("ERROR|WARNING")


DELETED = """
class Late:
    def __del__(self, sleep=time.sleep):
        sleep({seconds})
import builtins
builtins.kept = Late()
"""
"""What is in ``builtins`` is taken apart last of all, when no thread of Python's runs any more."""


def test_an_interpreter_that_does_not_end_is_left_behind(site: Site) -> None:
    """With the stacks in the log, and without a false reason."""
    site.write_source(source(DELETED.format(seconds=60)))
    with site.serve(*SOON, "--timeout", "1s") as servers:
        servers.ask()
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 1
        servers.wait_for("in __del__")
        servers.wait_for("did not end well: exit code 1")
        assert not servers.count("blocked|is killed")


def test_without_a_supervisor_no_interpreter_stays(site: Site) -> None:
    site.write_source(source(DELETED.format(seconds=60)))
    with site.serve(*SOON) as servers:
        life = Life(servers.ask()[0])
        os.kill(servers.process.pid, signal.SIGKILL)
        life.await_end()
        servers.wait_for("in __del__")


def test_an_interpreter_that_ends_in_time_is_waited_for(site: Site) -> None:
    site.write_source(source(DELETED.format(seconds=2)))
    with site.serve(*LATER, "--timeout", "500ms") as servers:
        servers.ask()
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0, "\n".join(servers.lines)
        assert not servers.count("ERROR|WARNING")


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGINT])
def test_what_is_left_is_waited_for_no_longer_than_the_operator_wants(
    site: Site, number: signal.Signals
) -> None:
    site.write_source(source(THREAD))
    with site.serve(*LATER) as servers:
        servers.ask()
        servers.signal(signal.SIGTERM)
        servers.wait_for(r"\] Stopped$")
        began = time.monotonic()
        servers.signal(number)
        assert servers.wait() == 1
        assert time.monotonic() - began < 4
        servers.wait_for(ENDLESS)


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGINT])
def test_a_second_signal_leaves_what_is_about_to_end_a_moment(
    site: Site, number: signal.Signals
) -> None:
    """A process that has stopped well, and is signalled before it is gone, has ended well."""
    site.write_source(source(FINITE_FOR.format(seconds=0.6)))
    with site.serve(*LATER) as servers:
        servers.ask()
        servers.signal(signal.SIGTERM)
        servers.wait_for(r"\] Stopped$")
        servers.signal(number)
        assert servers.wait() == 0, "\n".join(servers.lines)
        servers.wait_for("^work is done$")
        servers.wait_for("^exit functions$")
        servers.assert_clean()


def test_exit_functions_that_do_not_return_are_left_behind(site: Site) -> None:
    """The processes of ``multiprocessing`` among them, for which it waits there."""
    for left in (CHILD, "atexit.register(lambda: time.sleep(60))"):
        site.write_source(source(left))
        with site.serve(*SOON) as servers:
            servers.ask()
            began = time.monotonic()
            servers.signal(signal.SIGTERM)
            assert servers.process.wait(TIMEOUT) == 1
            assert time.monotonic() - began < 5
            servers.wait_for(r"This process ends in the middle of its exit functions \(.*line")


def test_exit_functions_that_do_not_return_after_a_thread_are_left_behind(site: Site) -> None:
    site.write_source(source(f"{THREAD}\natexit.register(time.sleep, 60)"))
    with site.serve(*SOON) as servers:
        servers.ask()
        began = time.monotonic()
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 1
        assert time.monotonic() - began < 6
        servers.wait_for(ENDLESS)


def test_a_process_that_cannot_start_ends_whatever_its_import_has_begun(site: Site) -> None:
    """Its fault is told, not that it is late."""
    site.write_source(f"{HEAD}{THREAD}\nraise LookupError('oh')\n")
    with site.serve(*LATER) as servers:
        began = time.monotonic()
        assert servers.wait() == 3
        assert time.monotonic() - began < 6
        servers.wait_for("LookupError: oh")


def test_a_program_with_an_application_of_its_own_ends(site: Site) -> None:
    site.write_source("")
    program = (
        f"{HEAD}{THREAD}{TAIL}\nfrom wsgi_async import main\n"
        "main(application, ['--graceful-timeout', '1s', '-b', '127.0.0.1:0'])"
    )
    with site.serve(app="", bind="", program=program) as servers:
        servers.ask()
        servers.signal(signal.SIGTERM)
        servers.wait_for(ENDLESS)
        assert servers.wait() == 1
