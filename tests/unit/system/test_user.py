"""Who a process becomes, and what it may keep."""

from __future__ import annotations

import grp
import json
import os
import pwd
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from rawclient import TIMEOUT, RawClient
from serving import Command
from tools import ROOT, ReservedPort, python

from wsgi_async.errors import ConfigError
from wsgi_async.system.user import Identity, owner_of, parse_umask, resolve

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

DAEMON = pwd.getpwnam("daemon")
BIN = grp.getgrnam("bin")
UNKNOWN = "123456789"
ME = pwd.getpwuid(os.geteuid()).pw_name


def run(program: str, *, uid: int = os.geteuid(), groups: list[int] | None = None) -> Any:
    """What a process of that user prints, as JSON."""
    program = "import json, os\nfrom wsgi_async.system.user import Identity, resolve\n" + program
    # The interpreter may lie where only root may look: become the user once it runs.
    begin = f"import json, os, wsgi_async.system.user\nos.setgroups({groups or []!r})\n"
    if uid != os.geteuid():
        begin += f"os.setgid({DAEMON.pw_gid})\nos.setuid({uid})\n"
    done = subprocess.run(
        python("-c", (begin if os.geteuid() == 0 else "") + program),
        cwd=ROOT,
        check=True,
        timeout=TIMEOUT,
        stdout=subprocess.PIPE,
    )
    return json.loads(done.stdout)


# --- Names and numbers


def test_nobody_else() -> None:
    assert resolve("", "") is None


@as_root
@pytest.mark.parametrize(
    ("user", "group", "uid", "gid", "name"),
    [
        ("daemon", "", DAEMON.pw_uid, DAEMON.pw_gid, "daemon"),
        (str(DAEMON.pw_uid), "", DAEMON.pw_uid, DAEMON.pw_gid, "daemon"),
        ("daemon", "bin", DAEMON.pw_uid, BIN.gr_gid, "daemon"),
        ("daemon", "4321", DAEMON.pw_uid, 4321, "daemon"),
        (UNKNOWN, "bin", int(UNKNOWN), BIN.gr_gid, ""),
        ("", "bin", 0, BIN.gr_gid, "root"),
        ("root", "", 0, 0, "root"),
    ],
)
def test_who_it_is(user: str, group: str, uid: int, gid: int, name: str) -> None:
    identity = resolve(user, group)
    assert identity is not None
    assert (identity.uid, identity.gid, identity.name) == (uid, gid, name)


@pytest.mark.parametrize(
    ("user", "group", "message"),
    [
        ("no-such-user", "", "--user: there is no user 'no-such-user'"),
        ("", "no-such-group", "--group: there is no group 'no-such-group'"),
        ("²", "", "--user: there is no user '²'"),
        ("-1", "", "--user: there is no user '-1'"),
        ("4294967295", "", "--user: there is no user '4294967295'"),
        ("", "-1", "--group: there is no group '-1'"),
        (
            UNKNOWN,
            "",
            f"--user {UNKNOWN} is no user that the system knows: give --group as well",
        ),
    ],
)
def test_who_does_not_exist(user: str, group: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(user, group)
    assert str(caught.value) == message


def test_names() -> None:
    assert str(Identity(DAEMON.pw_uid, BIN.gr_gid, "daemon")) == "daemon:bin"
    assert str(Identity(int(UNKNOWN), 4321)) == f"{UNKNOWN}:4321"


@pytest.mark.parametrize(
    ("text", "mask"), [("", None), ("022", 0o22), ("0o077", 0o77), ("0", 0), ("7777", 0o7777)]
)
def test_umask(text: str, mask: int | None) -> None:
    assert parse_umask(text) == mask


# --- Becoming it

WHO = "print(json.dumps([os.getresuid(), os.getresgid(), sorted(os.getgroups())]))"


@as_root
@pytest.mark.parametrize(
    ("user", "group", "uid", "gid"),
    [
        ("daemon", "", DAEMON.pw_uid, DAEMON.pw_gid),
        ("daemon", "bin", DAEMON.pw_uid, BIN.gr_gid),
        (UNKNOWN, "4321", int(UNKNOWN), 4321),
        ("", "bin", 0, BIN.gr_gid),
    ],
)
def test_nothing_of_root_is_left(user: str, group: str, uid: int, gid: int) -> None:
    """Real, effective and saved numbers, and the supplementary groups."""
    who = run(f"resolve({user!r}, {group!r}).assume()\n{WHO}", groups=[0, 6])
    name = pwd.getpwuid(uid).pw_name if uid != int(UNKNOWN) else ""
    groups = os.getgrouplist(name, gid) if name else [gid]
    assert who == [[uid] * 3, [gid] * 3, sorted(set(groups))]
    assert 6 not in who[2]


@as_root
def test_there_is_no_way_back() -> None:
    program = """
resolve("daemon", "").assume()
back = []
for call in (os.setuid, os.setgid, os.seteuid):
    try:
        call(0)
    except PermissionError:
        back.append(False)
print(json.dumps(back))
"""
    assert run(program) == [False, False, False]


@as_root
def test_who_it_is_already_may_be_named_without_root() -> None:
    program = "resolve('daemon', '').assume()\nresolve('daemon', 'daemon').assume()\n" + WHO
    who = run(program, uid=DAEMON.pw_uid)
    assert who[:2] == [[DAEMON.pw_uid] * 3, [DAEMON.pw_gid] * 3]


@as_root
@pytest.mark.parametrize(("user", "group"), [("root", ""), ("daemon", "bin"), ("bin", "")])
def test_only_root_may_become_another(user: str, group: str) -> None:
    program = f"""
from wsgi_async.errors import ConfigError
try:
    resolve({user!r}, {group!r})
except ConfigError as error:
    print(json.dumps(str(error)))
"""
    message = run(program, uid=DAEMON.pw_uid)
    assert message.startswith(f"--user, --group: only root may become {user}:")
    assert "\n" not in message


@as_root
def test_root_without_the_capabilities_is_told_so() -> None:
    """As in a container: user 0, but not allowed."""
    program = f"""
import ctypes
from wsgi_async.errors import ConfigError
PR_CAPBSET_DROP, SETGID, SETUID = 24, 6, 7
libc = ctypes.CDLL(None, use_errno=True)
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
data = (ctypes.c_uint32 * 6)()
libc.capget(header, data)
for at in (0, 1, 2):
    data[at] &= ~(1 << SETGID | 1 << SETUID)
assert libc.capset(header, data) == 0, ctypes.get_errno()
try:
    Identity({DAEMON.pw_uid}, {DAEMON.pw_gid}, "daemon").assume()
except ConfigError as error:
    print(json.dumps(str(error)))
"""
    assert run(program) == (
        "--user, --group: cannot become daemon:daemon: Operation not permitted; "
        "it takes the capabilities SETUID and SETGID"
    )


def test_the_variables_of_a_login() -> None:
    other = Identity(os.geteuid() + 1, 1, "someone", "/home/someone")
    assert other.variables == {"HOME": "/home/someone", "USER": "someone", "LOGNAME": "someone"}
    assert Identity(os.geteuid() + 1, 1).variables == {}
    assert Identity(os.geteuid(), os.getegid(), ME, "/elsewhere").variables == {}


# --- Giving it files


@as_root
def test_files_and_sockets_change_hands(tmp_path: Path) -> None:
    identity = Identity(DAEMON.pw_uid, BIN.gr_gid)
    log = tmp_path / "error.log"
    with open(log, "a") as file:
        identity.own(file.fileno())
    path = f"{tmp_path}/app.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        identity.own(path)
    for name in (log, path):
        found = os.stat(name)
        assert (found.st_uid, found.st_gid) == (DAEMON.pw_uid, BIN.gr_gid)


@as_root
@pytest.mark.parametrize(
    ("text", "uid", "gid"),
    [
        ("daemon:bin", DAEMON.pw_uid, BIN.gr_gid),
        (f"{DAEMON.pw_uid}:{BIN.gr_gid}", DAEMON.pw_uid, BIN.gr_gid),
        ("daemon", DAEMON.pw_uid, os.getegid()),
        (":bin", os.geteuid(), BIN.gr_gid),
        (f"{UNKNOWN}:{UNKNOWN}", int(UNKNOWN), int(UNKNOWN)),
    ],
)
def test_a_socket_may_be_another_ones(tmp_path: Path, text: str, uid: int, gid: int) -> None:
    """So that nginx's group may connect, and nobody else."""
    path = f"{tmp_path}/app.sock"
    owner = owner_of(text)
    assert owner is not None
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        owner.take(path)
    found = os.stat(path)
    assert (found.st_uid, found.st_gid) == (uid, gid)


def test_whose_a_socket_cannot_be() -> None:
    assert owner_of("") is None
    with pytest.raises(ConfigError, match="--socket-owner: there is no user 'no-such'"):
        owner_of("no-such:bin")
    with pytest.raises(ConfigError, match="--socket-owner: there is no group 'no-such'"):
        owner_of("daemon:no-such")
    owner = owner_of(":bin")
    assert owner is not None
    with pytest.raises(ConfigError, match=r"--socket-owner: cannot give '/no/such' to :bin: No su"):
        owner.take("/no/such")


@as_root
def test_links_devices_and_pipes_stay_whose_they_are(tmp_path: Path) -> None:
    identity = Identity(DAEMON.pw_uid, BIN.gr_gid)
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("")
    link.symlink_to(target)
    identity.own(str(link))
    assert target.stat().st_uid == link.lstat().st_uid == 0
    owner = os.stat(os.devnull).st_uid
    with open(os.devnull, "a") as null:
        identity.own(null.fileno())
    identity.own(os.devnull)
    assert os.stat(os.devnull).st_uid == owner
    reading, writing = os.pipe()
    try:
        before = os.fstat(writing).st_uid
        identity.own(writing)
        assert os.fstat(writing).st_uid == before
    finally:
        os.close(reading)
        os.close(writing)


@as_root
def test_the_processes_of_another_user_follow_a_rotation() -> None:
    """The parent makes the new files, and they are the user's before the processes look."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own lets nobody else in
        os.chmod(name, 0o755)
        directory = Path(name)
        (directory / "site.py").write_text(
            "def app(environ, start_response):\n"
            "    start_response('200 OK', [])\n"
            "    environ['wsgi.errors'].write(environ['PATH_INFO'])\n"
            "    return [b'x']\n"
        )
        log = directory / "error.log"
        options = ("--error-logfile", str(log), "-u", "daemon", "--workers", "2")
        with (
            ReservedPort() as port,
            Command(f"{directory}/site.py", "-b", f"127.0.0.1:{port.number}", *options) as server,
        ):
            ask(port.number, "/before")
            deadline = time.monotonic() + TIMEOUT
            while "/before" not in log.read_text():  # a thread of the process writes it
                assert time.monotonic() < deadline
                time.sleep(0.01)
            log.rename(directory / "error.log.1")
            server.signal(signal.SIGUSR1)
            # Whichever process answers: it has reopened once it has a line in the new file.
            deadline = time.monotonic() + TIMEOUT
            while not (log.exists() and "/after" in log.read_text()):
                assert time.monotonic() < deadline, (directory / "error.log.1").read_text()
                ask(port.number, "/after")
            assert log.stat().st_uid == DAEMON.pw_uid
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
        assert "/before" in (directory / "error.log.1").read_text()
        assert "Cannot reopen" not in (directory / "error.log.1").read_text() + log.read_text()


def ask(port: int, path: str) -> None:
    """A request, as soon as somebody listens."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            with RawClient(("127.0.0.1", port)) as client:
                assert client.get(path).status == 200
            return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Identity(1, 1).own(f"{tmp_path}/none")
    assert str(caught.value) == (
        f"--user, --group: cannot give '{tmp_path}/none' to daemon:daemon: "
        "No such file or directory"
    ).replace("daemon:daemon", str(Identity(1, 1)))
