"""The command line: what goes where, which exit code, and one line for whatever goes wrong."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from control_sockets import FLEET, STATUS, Asked, ControlSocket, Ended, run, status
from rawclient import TIMEOUT
from tools import ROOT

from wsgi_async.ctl import following
from wsgi_async.ctl.command import commands
from wsgi_async.ctl.exits import Exit

REQUESTS = {"processes": [], "missing": [{"pid": 7, "number": 1, "heard": 3.0}]}
ANSWERS: dict[str, Any] = {
    "GET /status": STATUS,
    "GET /requests?stacks=0": REQUESTS,
    "GET /errors": {"errors": []},
    "POST /interrupt": {"interrupted": False, "why": "It has ended"},
    "POST /log-level": {"level": "debug", "processes": [4300], "missing": []},
    "POST /reload": {"accepted": True, "before": FLEET},
    "POST /scale": {"accepted": True, "before": FLEET},
}


def answer(asked: Asked) -> tuple[int, Any]:
    found = ANSWERS.get(f"{asked.method} {asked.target}")
    return (200, found) if found is not None else (404, {"error": f"No {asked.target} here"})


@pytest.fixture
def control(tmp_path: Path) -> Iterator[ControlSocket]:
    with ControlSocket(tmp_path / "c", answer) as control:
        yield control


Call = Callable[..., Ended]


@pytest.fixture
def ctl(
    control: ControlSocket, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Call:
    """The command, told by a variable where the socket is."""
    monkeypatch.setattr(following, "_EVERY", 0.001)
    monkeypatch.setenv("WSGI_ASYNC_CONTROL_SOCKET", control.path)
    return lambda *args: run(capsys, *args)


def test_an_answer_goes_to_standard_output(ctl: Call) -> None:
    ended = ctl("status")
    assert (ended.code, ended.error) == (Exit.DONE, "")
    assert ended.out.startswith("wsgi_async 1.0: shop, process 4242")
    assert "\x1b" not in ended.out


@pytest.mark.parametrize("args", [("--json", "status"), ("status", "--json")])
def test_json_is_the_answer_itself(args: tuple[str, ...], ctl: Call) -> None:
    ended = ctl(*args)
    assert json.loads(ended.out) == STATUS
    assert ended.code == Exit.DONE


def test_an_option_counts_before_and_after_the_command(
    control: ControlSocket, ctl: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WSGI_ASYNC_CONTROL_SOCKET")
    assert ctl("status").code == Exit.UNREACHABLE
    for args in (("-s", control.path, "status"), ("status", "--socket", control.path)):
        assert ctl(*args).code == Exit.DONE
    # What stands after it goes before.
    assert ctl("-p", "none", "status", "-s", control.path).code == Exit.DONE


def test_who_does_not_answer_makes_an_exit_code(ctl: Call) -> None:
    ended = ctl("requests")
    assert ended.code == Exit.PARTLY
    assert "process 1 (7): no answer; its last sign of life: 3.0s ago" in ended.out
    assert json.loads(ctl("requests", "--json").out) == REQUESTS


def test_what_is_sent(control: ControlSocket, ctl: Call) -> None:
    assert ctl("log-level", "DEBUG").out.startswith("From debug on is logged by 1 process, ")
    ended = ctl("interrupt", "3f2a")
    assert (ended.code, ended.out) == (Exit.FAILED, "")
    assert ended.error == "wsgi-asyncctl: error: It has ended\n"
    ctl("reload", "--no-wait")
    ctl("scale", "2")
    ctl("errors")
    asked = [(each.target, each.body) for each in control.asked if each.target != "/status"]
    assert asked == [
        ("/log-level", {"level": "debug"}),
        ("/interrupt", {"id": "3f2a"}),
        ("/reload", {}),
        ("/scale", {"processes": 2}),
        ("/errors", None),
    ]


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        ({"reloads": 3, "generation": 4}, Exit.DONE, "Reloaded: 2 processes of generation 4"),
        ({"reloads": 3, "reloads_failed": 1}, Exit.FAILED, "The reload has failed"),
        ({"reloads": 3, "reload": "under_way"}, Exit.LATE, "Not over after 1 s"),
    ],
)
def test_a_reload_is_followed_to_its_end(
    end: dict[str, Any], code: Exit, said: str, ctl: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ANSWERS, "GET /status", status(**end))
    timeout = ("--timeout", "1s" if code is Exit.LATE else "20s")
    ended = ctl("reload", *timeout)
    assert ended.code == code
    assert said in (ended.out if code is Exit.DONE else ended.error)


@pytest.mark.parametrize(("failed", "code"), [(0, Exit.DONE), (1, Exit.FAILED)])
def test_how_it_ended_as_json(
    failed: int, code: Exit, ctl: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = status(reloads=3, reloads_failed=failed)
    monkeypatch.setitem(ANSWERS, "GET /status", end)
    ended = ctl("reload", "--json")
    assert ended.code == code
    told = json.loads(ended.out)
    assert (told["outcome"], told["fleet"]) == (code.name.lower(), end["fleet"])


def test_what_an_old_server_does_not_know_it_says_itself(ctl: Call) -> None:
    ended = ctl("config")
    assert ended == (Exit.REFUSED, "", "wsgi-asyncctl: error: No /config here\n")


@pytest.mark.parametrize("command", ["status", "requests", "errors", "reload", "scale"])
@pytest.mark.parametrize("answer", [{}, {"processes": 5, "errors": "x", "fleet": []}])
def test_an_answer_of_another_kind_is_one_line(
    command: str, answer: dict[str, Any], ctl: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ANSWERS:
        monkeypatch.setitem(ANSWERS, name, answer)
    ended = ctl(command, *(["2"] if command == "scale" else []))
    assert (ended.code, ended.out) == (Exit.UNREACHABLE, "")
    assert re.fullmatch(r"wsgi-asyncctl: error: The answer is none .*\n", ended.error)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("statu",), "No such command 'statu'"),
        (("status", "--jso"), "No such option"),
        (("scale", "0"), "0 is not in the range"),
        (("scale",), "Missing argument 'N'"),
        (("status", "--timeout", "soon"), "'soon' is no duration such as 500ms"),
        (("status", "-s", "a", "-p", "b"), "give one of them"),
    ],
)
def test_a_wrong_command_line_is_one_line(args: tuple[str, ...], said: str, ctl: Call) -> None:
    ended = ctl(*args)
    assert (ended.code, ended.out) == (Exit.WRONG, "")
    assert said in ended.error
    assert ended.error.count("\n") == 1


def test_help_names_every_command(ctl: Call) -> None:
    ended = ctl("--help")
    assert ended.code == Exit.DONE
    for name, command in commands.commands.items():
        assert re.search(rf"^  {name} ", ended.out, re.MULTILINE), name
        assert command.help
    assert ctl().code == Exit.WRONG


# --- As a process


def start(*args: str, **options: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "wsgi_async.ctl", *args],
        env={**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})},
        stdin=subprocess.DEVNULL,
        **options,
    )


def test_on_a_terminal_it_has_colours_and_is_no_wider(control: ControlSocket) -> None:
    master, slave = pty.openpty()
    env = {"COLUMNS": "72", "TERM": "xterm", "NO_COLOR": ""}
    with start("status", "-s", control.path, stdout=slave, env=env) as process:
        os.close(slave)
        text = b""
        while chunk := read(master):
            text += chunk
    os.close(master)
    lines = text.decode().splitlines()
    assert process.returncode == 0
    assert any("\x1b[32mready\x1b[0m" in line for line in lines)
    assert max(len(re.sub(r"\x1b\[\d+m", "", line)) for line in lines) <= 72


def read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # as Linux says that nobody has the other end any more
        return b""


def test_who_reads_no_further_gets_no_traceback(control: ControlSocket) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with start("status", "-s", control.path, stdout=writer, stderr=subprocess.PIPE) as process:
        os.close(writer)
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.parametrize("command", ["status", "top"])
def test_where_the_standard_streams_are_closed_nothing_is_shown(
    command: str, control: ControlSocket
) -> None:
    """As a shell has it by ``>&- <&-``, or who starts programs of his own."""
    arguments = [sys.executable, "-m", "wsgi_async.ctl", command, "-s", control.path]
    ended = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&-', "sh", *arguments],
        stderr=subprocess.PIPE,
        cwd=ROOT,
        timeout=TIMEOUT,
    )
    assert (ended.returncode, ended.stderr) == (Exit.DONE, b"")


def test_a_full_disk_is_one_line(control: ControlSocket) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    with (
        open("/dev/full", "wb") as full,
        start("status", "-s", control.path, stdout=full, stderr=subprocess.PIPE) as process,
    ):
        assert process.stderr is not None
        error = process.stderr.read().decode()
    assert error == "python -m wsgi_async.ctl: error: Cannot write: No space left on device\n"
    assert process.returncode == Exit.WRONG


def test_ctrl_c_ends_it_at_once_and_quietly(tmp_path: Path) -> None:
    with ControlSocket(tmp_path / "c", lambda _: None) as control:
        with start("status", "-s", control.path, stderr=subprocess.PIPE) as process:
            control.wait_for_question()
            process.send_signal(2)
            assert process.stderr is not None
            assert process.stderr.read().strip() == b""
        assert process.returncode == Exit.INTERRUPTED


def test_where_the_encoding_is_ascii_nothing_is_lost(
    control: ControlSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ANSWERS, "GET /status", {**STATUS, "name": "café"})
    options = {"stdout": subprocess.PIPE, "env": {"PYTHONIOENCODING": "ascii"}}
    with start("status", "-s", control.path, **options) as process:
        assert process.stdout is not None
        assert b"caf\\xe9" in process.stdout.read()
    assert process.returncode == Exit.DONE
