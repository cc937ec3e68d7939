"""serve() and the command line as whole processes: start, what they set, how they end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from processes import await_text
from rawclient import RawClient
from serving import APPS, ROOT, Command, both_loops

from wsgi_async import serve
from wsgi_async.errors import ConfigError

CALL = """
import sys
from run_facts import application
from wsgi_async import serve
serve(application, 0, host="127.0.0.1", **eval(sys.argv[1]))
print("returned", file=sys.stderr)
import signal
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
"""

IN_A_THREAD = """
import sys, threading
from run_facts import application
from wsgi_async import serve
arguments = {"host": "127.0.0.1", "port": 0}
thread = threading.Thread(target=serve, args=(application,), kwargs=arguments, daemon=True)
thread.start()
sys.stdin.read()
"""


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"hello"]


def lower_descriptor_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))


def facts_of(command: Command) -> dict[str, Any]:
    with command.client() as client:
        facts: dict[str, Any] = json.loads(client.get().body)
        return facts


# --- serve()


def test_serve_inside_a_running_loop_says_what_to_call_instead() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"async with Server\(app, port\)") as caught:
            serve(hello)
        assert "\n" not in str(caught.value)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"bind": ":0", "port": 9000}, "one or the other"),
        ({"port": 70000}, "from 0 to 65535"),
        ({"thread": 3}, "Did you mean threads"),
        ({"bind": "nonsense:port"}, "nonsense:port"),
    ],
)
def test_serve_refuses_wrong_options(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        serve(hello, **keywords)
    assert "\n" not in str(caught.value)


def test_serve_with_an_address_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port}.*in use"):
            serve(hello, port, host="127.0.0.1")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@both_loops
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_returns_at_a_signal_and_sets_nothing_else(loop: str, number: signal.Signals) -> None:
    with Command("{}", program=CALL, loop=loop, setup=lower_descriptor_limit) as command:
        facts = facts_of(command)
        assert facts["descriptors"][0] == 512
        assert facts["frozen"] < 1000  # CPython 3.12.1 begins with a few hundred
        assert facts["switch_interval"] == 0.005
        assert facts["handled"] == ["SIGINT", "SIGTERM"]
        assert not facts["click"]
        command.signal(number)
        assert command.wait() == 0
        command.wait_for("returned")
        command.assert_clean()


def test_serve_with_bind_alone(tmp_path: Path) -> None:
    program = CALL.replace('0, host="127.0.0.1", ', "")
    path = tmp_path / "socket"
    with Command(f"{{'bind': 'unix:{path}'}}", program=program) as command:
        command.wait_for(f"Listening on unix:{path} ")
        with RawClient(str(path)) as client:
            assert client.get().status == 200
        command.signal(signal.SIGTERM)
        assert command.wait() == 0
        assert not path.exists()


@both_loops
def test_serve_reopens_its_log_at_sigusr1(tmp_path: Path, loop: str) -> None:
    log = tmp_path / "log"
    with Command(f"{{'error_logfile': {str(log)!r}}}", program=CALL, loop=loop) as command:
        await_text(log, "Listening on ")
        log.rename(tmp_path / "log.old")
        command.signal(signal.SIGUSR1)
        await_text(log, "requests in flight: 0")
        command.signal(signal.SIGTERM)
        assert command.wait() == 0
    assert "requests in flight: 0" not in (tmp_path / "log.old").read_text()


@both_loops
def test_serve_in_another_thread_serves_without_signals(loop: str) -> None:
    """The process ends with its main thread, which the daemon thread does not keep."""
    program = IN_A_THREAD
    if loop == "asyncio":
        program = "import sys\nsys.modules['uvloop'] = None\n" + program
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=APPS,
        env={"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            match = re.search(r"Listening on http://127\.0\.0\.1:([0-9]+) ", line)
            assert match, line
            with RawClient(("127.0.0.1", int(match[1]))) as client:
                facts = json.loads(client.get().body)
            assert facts["handled"] == []
            _, errors = process.communicate("", timeout=20)
            assert process.returncode == 0
            assert "Traceback" not in errors
            assert "Stopped" in errors, "the interpreter ended beneath a running loop"
        finally:
            if process.poll() is None:
                process.kill()


# --- The command line


@both_loops
def test_the_start_line(loop: str) -> None:
    with Command("run_facts", "-b", "127.0.0.1:0", "--threads", "3", loop=loop) as command:
        command.wait_for(
            rf"Listening on http://127\.0\.0\.1:[0-9]+ \(3 threads, {loop}, parser auto\)$"
        )
        listening = [line for line in command.lines if "Listening" in line]
        assert len(listening) == 1
        command.signal(signal.SIGTERM)
        assert command.wait() == 0


def test_python_m_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wsgi_async", "run_facts", "--port", "99999"],
        cwd=APPS,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("python -m wsgi_async: error: ")


@both_loops
def test_the_command_sets_the_limits_of_its_process(loop: str) -> None:
    args = ("run_facts", "-b", "127.0.0.1:0")
    with Command(*args, loop=loop, setup=lower_descriptor_limit) as command:
        facts = facts_of(command)
        soft, hard = facts["descriptors"]
        assert soft == min(65536, hard) > 512
        assert facts["frozen"] > 5000
        assert facts["switch_interval"] == 0.0005
        # SIGINT and SIGHUP are the supervisor's to obey: a terminal sends them to all.
        assert facts["handled"] == ["SIGINT", "SIGTERM", "SIGHUP"]
        assert facts["thread"].startswith("wsgi_async-")
        command.signal(signal.SIGTERM)
        assert command.wait() == 0
        command.assert_clean()


@pytest.mark.parametrize(("given", "seconds"), [("0", 0.005), ("2ms", 0.002)])
def test_the_switch_interval_is_an_option(given: str, seconds: float) -> None:
    args = ("run_facts", "-b", "127.0.0.1:0", "--switch-interval", given)
    with Command(*args) as command:
        assert facts_of(command)["switch_interval"] == seconds


@both_loops
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_an_address_in_use_is_one_line_and_exit_code_1(
    loop: str, kind: str, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as stack:
        if kind == "tcp":
            taken = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            address = f"127.0.0.1:{taken.getsockname()[1]}"
        else:
            taken = stack.enter_context(socket.socket(socket.AF_UNIX))
            taken.bind(str(tmp_path / "socket"))
            taken.listen()
            address = f"unix:{tmp_path / 'socket'}"
        command = stack.enter_context(Command("run_facts", "-b", address, loop=loop))
        assert command.wait() == 1
        [line] = command.lines
        assert line.startswith("wsgi-async: error: ")
        assert address in line
        assert "in use" in line


@pytest.mark.parametrize(
    ("app", "lines"),
    [
        ("run_broken", ["Traceback (most recent call last):", "LookupError: the database is away"]),
        ("run_missing", []),
        ("run_facts:nothing", []),
    ],
)
def test_an_application_that_cannot_be_loaded_is_exit_code_3(app: str, lines: list[str]) -> None:
    with Command(app, "-b", "127.0.0.1:0") as command:
        assert command.wait() == 3
        *trace, last = command.lines
        assert last.startswith("wsgi-async: error: ")
        assert [line for line in lines if line in trace] == lines
        assert lines or not trace
