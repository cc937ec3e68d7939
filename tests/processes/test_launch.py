"""What surrounds the processes: environment, directories, identity, files, systemd."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import Site, await_pids, await_text, reachable, release
from rawclient import TIMEOUT, RawClient, request

PAIR = ("--workers", "2")


# --- The environment of the application


def test_variables(site: Site) -> None:
    (site.directory / "vars.env").write_text("FROM_FILE='a b'\nBOTH=file\n")
    variables = ("-e", "GIVEN=1=2", "--env", "BOTH=given", "-e", "LIST=a,b")
    with site.serve(*variables, "--env-file", "vars.env") as servers:
        environ = servers.facts()["environ"]
        assert environ["FROM_FILE"] == "a b"
        assert environ["GIVEN"] == "1=2"
        assert environ["BOTH"] == "given"
        assert environ["LIST"] == "a,b"
        # Read anew at a reload.
        (site.directory / "vars.env").write_text("FROM_FILE=new\n")
        site.write("v1")
        servers.reload()
        servers.wait_for_version("v1")
        assert servers.facts()["environ"]["FROM_FILE"] == "new"


def test_variables_are_there_while_the_application_is_loaded(site: Site) -> None:
    site.write("v1", before="import os\nassert os.environ['NEEDED'] == 'yes'")
    with site.serve("-e", "NEEDED=yes") as servers:
        assert servers.ask()[1] == "v1"


@pytest.mark.parametrize("way", [(), ("--preload",)], ids=["", "preload"])
def test_what_the_parent_has_imported_is_spared_the_collector(
    site: Site, way: tuple[str, ...]
) -> None:
    """Else each process copies it, at the latest when it ends."""
    site.write(
        "v1", before="import gc, sys\nprint('frozen', gc.get_freeze_count(), file=sys.stderr)"
    )
    with site.serve(*way) as servers:
        assert int(servers.wait_for("^frozen ([0-9]+)$")[1]) > 5000


def test_a_directory_that_becomes_another_one(site: Site, tmp_path: Path) -> None:
    """A deployment that swaps a symbolic link, and reloads."""
    current = tmp_path / "current"
    for name in ("one", "two"):
        site_at(tmp_path / name).write(name)
    current.symlink_to("one")
    with site.serve(*PAIR, "--chdir", str(current)) as servers:
        with servers.load() as load:
            load.wait_for_version("one")
            new = tmp_path / "current.new"
            new.symlink_to("two")
            new.rename(current)
            load.wait_for_more()
            assert set(load.versions) == {"one"}
            servers.reload()
            load.wait_for_version("two")
            servers.wait_for_version("two")
            facts = servers.facts()
            assert facts["directory"] == str((tmp_path / "two").resolve())
            # Nothing is left of the first.
            shutil.rmtree(tmp_path / "one")
            servers.reload()
            load.wait_for_more()
        load.assert_flawless()


def test_a_reload_reads_the_configuration_where_the_new_code_is(tmp_path: Path) -> None:
    """Of a server that was started in a directory that is such a link."""
    for name, workers in (("one", 1), ("two", 2)):
        site = site_at(tmp_path / name)
        site.write(name)
        (site.directory / "wsgi_async.toml").write_text(f"workers = {workers}\n")
    site.directory = tmp_path / "current"
    site.directory.symlink_to("one")
    with site.serve(env={"PWD": str(site.directory)}) as servers:
        servers.wait_for_pids(1)
        new = tmp_path / "current.new"
        new.symlink_to("two")
        new.rename(site.directory)
        shutil.rmtree(tmp_path / "one")
        servers.reload()
        assert len(servers.loaded("two")) == 2


def site_at(directory: Path) -> Site:
    directory.mkdir()
    return Site(directory)


def test_the_path(site: Site, tmp_path: Path) -> None:
    other = site_at(tmp_path / "other")
    other.write("other")
    (site.directory / "site_app.py").unlink()
    (site.directory / "lib").mkdir()
    with site.serve("--pythonpath", f"lib,{other.directory}") as servers:
        assert servers.ask()[1] == "other"
        assert {str(site.directory / "lib"), str(other.directory)} <= set(servers.facts()["path"])


def test_permissions_of_new_files(site: Site) -> None:
    with site.serve("--umask", "027") as servers:
        assert int(servers.facts()["umask"], 8) == 0o027


# --- Who they are


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_another_user(preload: tuple[str, ...]) -> None:
    nobody = pwd.getpwnam("nobody")
    with reachable() as directory:
        path = directory / "socket"
        with Site(directory).serve(
            *PAIR, *preload, "-u", "nobody", "-b", f"unix:{path}"
        ) as servers:
            servers.wait_for("Listening on ")
            with RawClient(str(path)) as client:
                facts = client.get("/facts").body.decode()
            assert f'"uid": {nobody.pw_uid}' in facts
            assert f'"gid": {nobody.pw_gid}' in facts
            assert re.search(r'"groups": \[(0\b|.* 0\b)', facts) is None
            # A front-end server of that group gets in, and a later start can replace the file.
            found = path.stat()
            assert (found.st_uid, found.st_gid) == (nobody.pw_uid, nobody.pw_gid)
            assert stat.S_IMODE(found.st_mode) == 0o660
            # The supervisor stays who it is, so it can do all of it again.
            assert Path(f"/proc/{servers.process.pid}").stat().st_uid == 0
            servers.reload()
            with RawClient(str(path)) as client:
                assert f'"uid": {nobody.pw_uid}' in client.get("/facts").body.decode()
            servers.signal(signal.SIGTERM)
            assert servers.wait() == 0
            assert not path.exists()
            servers.assert_clean()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_another_group_and_numbers() -> None:
    with reachable() as directory, Site(directory).serve("-u", "4321", "-g", "1234") as servers:
        facts = servers.facts()
        assert (facts["uid"], facts["gid"]) == (4321, 1234)
        assert 0 not in facts["groups"]


# --- Files


def test_the_file_with_the_process_id(site: Site) -> None:
    path = site.directory / "run.pid"
    path.write_text("999999999\n")  # of one that was killed
    with site.serve("--pid", "run.pid") as servers:
        servers.wait_for("Listening on ")
        assert path.read_text() == f"{servers.process.pid}\n"
        servers.reload()
        assert path.read_text() == f"{servers.process.pid}\n"
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        assert not path.exists()


def test_the_file_of_one_that_runs_is_respected(site: Site) -> None:
    path = site.directory / "run.pid"
    path.write_text(f"{os.getpid()}\n")
    with site.serve("--pid", "run.pid") as servers:
        assert servers.wait() == 1
        assert str(os.getpid()) in servers.lines[-1]
    assert path.read_text() == f"{os.getpid()}\n"


def test_a_file_that_cannot_be_written(site: Site) -> None:
    with site.serve("--pid", "no/run.pid") as servers:
        assert servers.wait() == 1
        assert re.search(r"error: --pid: .*no/run\.pid", servers.lines[-1])
        assert servers.loaded() == []


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_logs_that_are_rotated(site: Site, fifo: Path, preload: tuple[str, ...]) -> None:
    logs = ("--access-logfile", "access.log", "--error-logfile", "error.log")
    access, errors = site.directory / "access.log", site.directory / "error.log"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number, address = listener.fileno(), listener.getsockname()
        with site.serve(*PAIR, *preload, *logs, "-b", f"fd://{number}", fds=(number,)) as servers:
            pids = await_pids(address, 2, name="before")
            await_text(access, r"GET /\?before ")
            access.rename(access.with_suffix(".old"))
            errors.rename(errors.with_suffix(".old"))
            with RawClient(address) as client:
                client.send(request(f"/wait?{fifo}"))
                holder = int(servers.wait_for("^waiting in ([0-9]+)")[1])
                servers.signal(signal.SIGUSR1)
                # The requests in flight, and where each of them is.
                text = await_text(errors, r"(?s)/wait.*process_app\.py\S* line [0-9]+,? in wait")
                assert "Traceback" not in text
                assert holder in pids
                assert str(holder) in text
                await_text(errors, rf"(?s){pids[0]}.*{pids[1]}|{pids[1]}.*{pids[0]}")
                await_pids(address, 2, name="after")
                release(fifo)
                assert client.response().status == 200
            await_text(access, r"GET /wait")
            text = await_text(access, r"GET /\?after")
            assert "GET /?before" not in text
            assert "GET /?after" not in access.with_suffix(".old").read_text()
            servers.signal(signal.SIGTERM)
            assert servers.wait() == 0
            assert re.search(r"\[INFO\] Stopped$", errors.read_text().rstrip())


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_logs_that_are_rotated_before_a_process_begins_to_serve(
    site: Site, tmp_path: Path, preload: tuple[str, ...]
) -> None:
    """While it loads the application or, long before, when its loader did."""
    gate, errors = tmp_path / "gate", site.directory / "error.log"
    os.mkfifo(gate)
    with site.serve(*preload, "--error-logfile", "error.log", "--boot-timeout", "20s") as servers:
        await_text(errors, "Listening on ")
        if not preload:
            site.write(
                "v1", before=f"import os\nos.write(2, b'held\\n')\nopen({str(gate)!r}).read()"
            )
            servers.signal(signal.SIGTTIN)
            servers.wait_for("^held$")
        errors.rename(errors.with_suffix(".old"))
        servers.signal(signal.SIGUSR1)
        await_text(errors, "requests in flight")
        if preload:
            servers.signal(signal.SIGTTIN)
        else:
            release(gate)
        new = await_text(errors, "Process [0-9]+ is ready")
        [pid] = re.findall("Process ([0-9]+) is ready", new)
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        assert re.search(rf"\[{pid}\] \[INFO\] Stopped", errors.read_text())
        assert f"[{pid}]" not in errors.with_suffix(".old").read_text()


# --- What it does not do


@pytest.mark.parametrize("flag", ["-D", "--daemon"])
def test_it_does_not_hide(site: Site, flag: str) -> None:
    with site.serve(flag) as servers:
        assert servers.wait() == 1
        [line] = servers.lines
        assert re.search(r"error: -D, --daemon: .*systemd", line)


# --- systemd


class Manager:
    """The datagram socket at which a service manager hears its services."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(TIMEOUT)

    def hear(self) -> dict[str, str]:
        """The next message but for those of the watchdog."""
        while True:
            fields = self.hear_any()
            if fields != {"WATCHDOG": "1"}:
                return fields

    def hear_any(self) -> dict[str, str]:
        lines = self._socket.recv(4096).decode().strip().split("\n")
        return {name: value for name, _, value in (line.partition("=") for line in lines)}

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


def test_a_service_manager_is_told(site: Site, manager: Manager) -> None:
    with site.serve(*PAIR, env={"NOTIFY_SOCKET": str(manager.path)}) as servers:
        message = manager.hear()
        assert message["READY"] == "1"
        servers.wait_for("Listening on ")
        # It is the server's to tell, not the application's.
        assert "NOTIFY_SOCKET" not in servers.facts()["environ"]
        servers.signal(signal.SIGHUP)
        message = manager.hear()
        assert message["RELOADING"] == "1"
        assert int(message["MONOTONIC_USEC"]) > 0
        assert manager.hear()["READY"] == "1"
        servers.wait_for(r"\] Reloaded$")
        # One that fails ends too, else the manager would wait.
        site.write_source("raise OSError\n")
        servers.signal(signal.SIGHUP)
        assert manager.hear()["RELOADING"] == "1"
        assert manager.hear()["READY"] == "1"
        # And one that does not even begin.
        (site.directory / "wsgi_async.toml").write_text("threads = 'many'\n")
        servers.signal(signal.SIGHUP)
        assert manager.hear()["RELOADING"] == "1"
        message = manager.hear()
        assert (message["READY"], "failed" in message["STATUS"]) == ("1", True)
        servers.signal(signal.SIGTERM)
        assert manager.hear()["STOPPING"] == "1"
        assert servers.wait() == 0


def test_a_service_manager_is_not_told_of_a_start_that_fails(site: Site, manager: Manager) -> None:
    site.write_source("raise OSError\n")
    with site.serve(env={"NOTIFY_SOCKET": str(manager.path)}) as servers:
        assert servers.wait() == 3
    manager._socket.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            assert "READY" not in manager.hear_any()


def test_a_watchdog_is_fed(site: Site, manager: Manager) -> None:
    program = in_this_process("WATCHDOG_PID")
    environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "400000"}
    with site.serve(env=environment, program=program) as servers:
        servers.wait_for("Listening on ")
        messages = [manager.hear_any() for _ in range(6)]
        assert messages.count({"WATCHDOG": "1"}) >= 4


def in_this_process(variable: str, before: str = "") -> str:
    """The command, with its own process id in a variable of its environment."""
    return (
        f"import os\nos.environ[{variable!r}] = str(os.getpid())\n{before}\n"
        "from wsgi_async.cli import main\nmain(prog_name='wsgi-async')"
    )


def test_sockets_of_a_service_manager(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as local,
    ):
        local.bind(str(path))
        local.listen()
        given = (tcp.fileno(), local.fileno())
        # Where a manager puts them: 3 and 4.
        move = [f"os.dup2({number}, {number + 100})" for number in given]
        move += [f"os.dup2({number + 100}, {3 + index})" for index, number in enumerate(given)]
        program = in_this_process("LISTEN_PID", "\n".join(move))
        environment = {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "web:local"}
        with site.serve(*PAIR, bind="", env=environment, program=program, fds=given) as servers:
            servers.wait_for("Listening on ")
            for address in (tcp.getsockname(), str(path)):
                with RawClient(address) as client:
                    assert client.get("/?x").status == 200
            port = tcp.getsockname()[1]
            servers.wait_for(rf"Listening on http://127\.0\.0\.1:{port}, unix:{path} ")
            environ = servers.facts()["environ"]
            assert not {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} & environ.keys()
            servers.signal(signal.SIGTERM)
            assert servers.wait() == 0
        # They are the manager's: it goes on listening for the next start.
        assert path.exists()
        with RawClient(tcp.getsockname()):
            pass
