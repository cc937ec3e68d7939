"""Processes that an application forks: they own nothing of the server, and end like any others."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import Life, Servers, Site, release
from rawclient import TIMEOUT, Address, RawClient, request
from serving import APPS, ROOT, Command, both_loops

LINGERING = r"^child ([0-9]+)$"

ways = pytest.mark.parametrize("way", [(), ("--preload",)], ids=["", "preload"])

Serve = Callable[..., Servers]


@pytest.fixture
def forking(site: Site) -> Iterator[Serve]:
    """Starts a server of apps/fork_app.py; the children of its application die with it."""
    with contextlib.ExitStack() as stack:

        def serve(*args: str, loop: str = "uvloop", app: str = "fork_app") -> Servers:
            servers = stack.enter_context(
                site.serve(*args, app=app, loop=loop, setup=obey_the_terminal)
            )
            servers.wait_for("Listening on ")
            return servers

        yield serve


def obey_the_terminal() -> None:
    """Also where these tests run in the background of a shell, or under nohup: what a server was
    told to ignore, its children ignore."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def is_open(address: Address) -> bool:
    try:
        RawClient(address).close()
    except OSError:
        return False
    return True


def child_of(servers: Servers, count: int = 1) -> Life:
    return Life(int(servers.wait_for(LINGERING, count)[1]))


# --- Signals


@both_loops
def test_a_child_obeys_sigterm(forking: Serve, loop: str) -> None:
    servers = forking(loop=loop)
    servers.get("/start")
    life = child_of(servers)
    os.kill(life.pid, signal.SIGTERM)
    life.await_end()
    assert servers.get() == str(servers.serving)
    servers.signal(signal.SIGTERM)
    assert servers.wait() == 0
    servers.assert_clean()


@both_loops
def test_a_pool_of_processes_ends_with_its_block(forking: Serve, loop: str) -> None:
    servers = forking(loop=loop)
    for _ in range(3):
        assert servers.get("/pool") == "[0, 2, 4, 6, 8]"


def test_a_child_that_is_ended_in_its_first_moment_ends(forking: Serve) -> None:
    """Before it has handlers of its own: the signal is neither lost nor told to the parent."""
    servers = forking()
    assert servers.get("/terminated?100") == "[-15]"
    assert servers.get() == str(servers.serving)
    assert not servers.count("is to be replaced")


@both_loops
@ways
def test_a_child_has_the_signals_that_the_server_was_started_with(
    forking: Serve, loop: str, way: tuple[str, ...]
) -> None:
    servers = forking(*way, loop=loop)
    term, interrupt, *others, child, wakeup, blocked = servers.get("/signals").split(" | ")
    assert term == "SIG_DFL"
    assert interrupt == "<built-in function default_int_handler>"
    assert set(others) | {child} == {"SIG_DFL"}
    assert (wakeup, blocked) == ("-1", "0")


def test_what_the_server_was_told_to_ignore_its_children_ignore(site: Site) -> None:
    """As ``nohup`` does it."""

    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with site.serve(app="fork_app", setup=ignore) as servers:
        assert servers.get("/signals").split(" | ")[3] == "SIG_IGN"


def test_a_handler_of_the_applications_own_stays(site: Site) -> None:
    site.write_source(
        "import signal\nfrom fork_app import application\n"
        "signal.signal(signal.SIGUSR2, lambda *_: None)\n"
    )
    with site.serve() as servers:
        assert "<lambda>" in servers.get("/signals").split(" | ")[5]


# --- Descriptors


@both_loops
@ways
def test_a_child_has_no_descriptor_of_the_server(
    forking: Serve, loop: str, way: tuple[str, ...]
) -> None:
    """Neither with one process, which accepts from its sockets alone, nor with two; nor of the
    other connections."""
    for workers in ("1", "2"):
        servers = forking("--workers", workers, "-b", "127.0.0.1:0", *way, loop=loop)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(servers.client()) for _ in range(8)]
            for client in clients:
                assert client.get("/").status == 200
            for query in ("", "?loop"):
                kept = servers.get(f"/descriptors{query}").splitlines()[1:]
                assert not kept
            for client in clients:
                assert client.get("/").status == 200


def test_nor_of_who_asks_it_and_where_it_tells_of_errors(forking: Serve, tmp_path: Path) -> None:
    servers = forking(
        *("-b", "127.0.0.1:0", "--dashboard-bind", "127.0.0.1:0"),
        *("--control-socket", str(tmp_path / "control.sock")),
    )
    assert servers.get("/descriptors").splitlines()[1:] == []


@both_loops
@ways
def test_a_stop_does_not_wait_for_a_daemonic_child(
    forking: Serve, loop: str, way: tuple[str, ...]
) -> None:
    servers = forking(*way, loop=loop)
    servers.get("/daemon")
    life = child_of(servers)
    began = time.monotonic()
    servers.signal(signal.SIGTERM)
    assert servers.wait() == 0, "\n".join(servers.lines)
    assert time.monotonic() - began < 5
    life.await_end()


def test_a_restart_finds_its_address_free(forking: Serve, tmp_path: Path) -> None:
    """Also after a process that was killed, whose child lives on; by TCP and by a unix socket."""
    servers = forking()
    servers.get("/daemon")
    life = child_of(servers)
    address = f"127.0.0.1:{servers.address[1]}"
    serving = Life(servers.serving)
    os.kill(servers.process.pid, signal.SIGKILL)
    os.kill(serving.pid, signal.SIGKILL)
    serving.await_end()
    assert not life.is_over()
    again = forking("-b", address)
    assert again.get() == str(again.serving)


@both_loops
def test_a_client_sees_the_end_while_a_child_lives(forking: Serve, loop: str) -> None:
    servers = forking(loop=loop)
    with servers.client() as other, servers.client() as client:
        assert other.get("/").status == 200
        client.send(request("/start", fields=("Connection: close",)))
        assert client.response().status == 200
        assert client.read_to_end() == b""
        life = child_of(servers)
        other.send(request("/", fields=("Connection: close",)))
        assert other.response().status == 200
        assert other.read_to_end() == b""
        assert not life.is_over()


def test_a_process_that_is_gone_is_seen_to_be_gone_while_a_child_lives(forking: Serve) -> None:
    """Neither the supervisor nor its process waits for an end of file that a child holds back."""
    servers = forking()
    servers.get("/start")
    life = child_of(servers)
    serving = Life(servers.serving)
    os.kill(servers.process.pid, signal.SIGKILL)
    servers.wait_for("The supervisor has gone")
    os.kill(life.pid, signal.SIGTERM)  # multiprocessing waits for its children, without end
    serving.await_end()


def test_a_unix_socket_stays_when_a_child_ends(forking: Serve, tmp_path: Path) -> None:
    path = tmp_path / "sock"
    servers = forking("-b", f"unix:{path}")
    assert servers.wait_for("Listening")
    with RawClient(str(path)) as client:
        assert client.get("/descriptors").body == b"kept:"
        assert client.get("/exit?0").body == b"0"
    with RawClient(str(path)) as client:
        client.send(request("/start", fields=("Connection: close",)))
        assert client.response().status == 200
        assert client.read_to_end() == b""


# --- Who comes back from the application


@both_loops
@pytest.mark.parametrize(
    ("deed", "code"),
    [
        ("/return", "0"),
        ("/exit?0", "0"),
        ("/exit?7", "7"),
        ("/exit-text", "1"),
        ("/raise", "1"),
    ],
)
def test_a_child_that_comes_back_ends(forking: Serve, loop: str, deed: str, code: str) -> None:
    """With the code that it would have had as a program of its own; the client hears the parent
    alone, and the thread is still there."""
    servers = forking("--threads", "1", loop=loop)
    with servers.client() as client:
        for _ in range(2):
            response = client.get(deed)
            assert (response.status, response.body) == (200, code.encode())
        assert client.get("/").body == str(servers.serving).encode()
    servers.signal(signal.SIGTERM)
    assert servers.wait() == 0
    assert servers.count("the reason$") == 2 * (deed == "/exit-text")
    assert servers.count("LookupError: in the child$") == 2 * (deed == "/raise")


@both_loops
@pytest.mark.parametrize("overflow", ["spool", "park", "block"])
def test_a_child_goes_on_with_an_iteration_to_its_next_chunk(
    forking: Serve, loop: str, overflow: str
) -> None:
    servers = forking("--response-overflow", overflow, loop=loop)
    assert servers.get("/stream") == "one,0"
    assert not servers.count("the child was asked for more")


def test_a_child_cannot_write_to_the_client(forking: Serve) -> None:
    servers = forking()
    assert servers.get("/written") == "0"
    servers.wait_for("^write raised ClientDisconnected$")


def test_a_child_that_comes_back_from_close_ends(forking: Serve) -> None:
    servers = forking("--threads", "1")
    assert servers.get("/close") == "done"
    servers.wait_for("^close: 0$")
    assert servers.get() == str(servers.serving)


def test_a_child_does_not_wait_for_a_body_that_the_parent_gets(forking: Serve) -> None:
    servers = forking("--request-buffering", "stream")
    with servers.client() as client:
        client.send(request("/body", "POST", body=b"x" * 10)[:-5])
        servers.wait_for("^read raised ClientDisconnected$")
        client.send(b"x" * 5)
        assert client.response().body == b"0 10"


# --- At import


HELPER = "from fork_app import *\nsay('helper ' + start(daemon=True))\n"


def test_a_helper_is_not_ended_by_the_first_process_that_leaves(forking: Serve, site: Site) -> None:
    """It is the loader's child, whatever those that the loader has forked since have inherited."""
    site.write_source(HELPER)
    servers = forking("--preload", "--workers", "2", app="site_app")
    helper = Life(int(servers.wait_for("^helper ([0-9]+)")[1]))
    for _ in range(2):
        life = Life(int(servers.get()))
        os.kill(life.pid, signal.SIGTERM)
        life.await_end()
        assert not helper.is_over()
    servers.signal(signal.SIGTERM)
    assert servers.wait() == 0
    helper.await_end()  # a daemon, so it goes with the process that has started it
    servers.assert_clean()


def test_a_helper_lives_until_the_last_request_is_answered(
    forking: Serve, site: Site, fifo: Path
) -> None:
    """The sockets are closed before: nobody can connect meanwhile, to wait for ever."""
    site.write_source(
        HELPER + "import process_app\napplication = process_app.make_application('v')"
    )
    servers = forking("--preload", app="site_app")
    helper = Life(int(servers.wait_for("^helper ([0-9]+)")[1]))
    client, _ = servers.hold(fifo)
    with client:
        servers.signal(signal.SIGTERM)
        servers.wait_for("Stopping")
        deadline = time.monotonic() + TIMEOUT
        while is_open(servers.address):
            assert time.monotonic() < deadline
        assert not helper.is_over()
        release(fifo)
        assert client.response().status == 200
    assert servers.wait() == 0
    helper.await_end()


@ways
def test_a_helper_has_nothing_of_the_server(
    forking: Serve, site: Site, way: tuple[str, ...]
) -> None:
    site.write_source(HELPER)
    servers = forking(*way, app="site_app")
    helper = Life(int(servers.wait_for("^helper ([0-9]+)")[1]))
    kinds = [
        os.readlink(link) for link in Path(f"/proc/{helper.pid}/fd").iterdir() if int(link.name) > 2
    ]
    assert not [kind for kind in kinds if kind.startswith(("socket:", "anon_inode:"))], kinds
    os.kill(helper.pid, signal.SIGTERM)
    helper.await_end()
    assert servers.get() != str(helper.pid)


@ways
@pytest.mark.parametrize(
    "ending", ["", "sys.exit(0)", "raise LookupError('in the child')"], ids=["", "exit", "raise"]
)
def test_a_child_that_comes_back_from_the_import_ends(
    forking: Serve, site: Site, way: tuple[str, ...], ending: str
) -> None:
    """It does not serve as well, and what it does is no fault of the start."""
    site.write_source(
        "from fork_app import *\nparent = os.getpid()\npid = os.fork()\n"
        f"if pid: say(f'ended with {{os.waitpid(pid, 0)[1]}}')\nelse:\n    pass\n    {ending}\n"
    )
    servers = forking(*way, app="site_app")
    code = 256 if ending.startswith("raise") else 0
    servers.wait_for(rf"^ended with {code}$")
    assert servers.get().isdigit()
    assert servers.count("Listening on ") == 1
    servers.signal(signal.SIGTERM)
    assert servers.wait() == 0


# --- Servers in programs of others

EMBEDDED = """
import asyncio, os, signal, socket, sys
from wsgi_async import Server
import fork_app
from fork_app import descriptors, say, signals

def ours(*_): pass
signal.signal(signal.SIGTERM, ours)

def get(port, target):
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(f"GET {target} HTTP/1.0\\r\\n\\r\\n".encode())
        return client.makefile("rb").read().partition(b"\\r\\n\\r\\n")[2].decode()

def look(port):
    say("in a view " + repr(get(port, "/descriptors")))
    say("in a view " + get(port, "/signals"))
    say("came back " + get(port, "/exit?7"))
    say("lives " + get(port, "/"))
"""

IN_A_THREAD = (
    EMBEDDED
    + """
with Server(fork_app.application, port=0, host="127.0.0.1").run_in_thread() as server:
    look(server.port)
    say("in the program " + repr(descriptors("")))
    say("lives " + get(server.port, "/"))
"""
)

IN_A_LOOP = (
    EMBEDDED
    + """
async def main():
    async with Server(fork_app.application, port=0, host="127.0.0.1") as server:
        # The loop is the program's own, and stays so.
        await asyncio.to_thread(look, server.port)
asyncio.run(main())
"""
)


@both_loops
def test_a_server_in_a_thread_is_not_passed_on(loop: str) -> None:
    """Neither by a view nor by the program around it, whose signals stay as they are."""
    with Command(program=IN_A_THREAD, loop=loop) as command:
        assert command.wait() == 0, "\n".join(command.lines)
    first, signals, back, lives, program, again = command.lines
    # The client of the view's own process, of which the server knows nothing.
    assert (first.count("socket:"), first.count("anon_inode")) == (1, 0), first
    assert "function ours" in signals
    assert (back, lives) == ("came back 7", again)
    assert program == "in the program 'kept:'"


def test_a_server_in_a_loop_of_the_programs_own_is_not_passed_on() -> None:
    with Command(program=IN_A_LOOP) as command:
        assert command.wait() == 0, "\n".join(command.lines)
    first, signals, back, lives = command.lines
    # The loop's own pair of sockets, and the client.
    assert first.count("socket:") == 3, first
    assert "function ours" in signals
    assert back == "came back 7"
    assert lives.startswith("lives ")


def test_what_was_printed_before_the_processes_start_is_printed_once() -> None:
    """Each of them has a copy of what the stream still holds at its fork, unless nothing is."""
    program = (
        "import process_app\nfrom wsgi_async import serve\n"
        "if __name__ == '__main__':\n    print('once')\n"
        "    serve(process_app.make_application('v'), 0, host='127.0.0.1', workers=2)\n"
    )
    path = f"{ROOT}{os.pathsep}{APPS}"
    with Command(program=program, env={"PYTHONPATH": path, "PYTHONUNBUFFERED": ""}) as command:
        command.wait_for("Listening on ")
        command.signal(signal.SIGTERM)
        assert command.wait() == 0
        assert command.process.stdout is not None
        assert command.process.stdout.read() == "once\n"
