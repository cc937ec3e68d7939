"""The command as a user meets it where it serves: what it listens on, logs and says."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from serving import PACKAGE

SITE = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]
"""

BROKEN = """
def start():
    import no_such_module

start()
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the command beside the application `site_cli`, with no variables of ours."""
    (tmp_path / "site_cli.py").write_text(SITE)
    (tmp_path / "broken_cli.py").write_text(BROKEN)
    ours = {name for name in os.environ if name == "PORT" or name.startswith("WSGI_ASYNC_")}
    clean = {name: value for name, value in os.environ.items() if name not in ours}
    processes: list[subprocess.Popen[str]] = []

    def start(
        *args: str,
        program: Sequence[str] = (sys.executable, "-m", "wsgi_async"),
        env: dict[str, str] | None = None,
        fds: tuple[int, ...] = (),
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*program, *args],
            env={**clean, "PYTHONPATH": str(Path(__file__).parents[2]), **(env or {})},
            cwd=tmp_path,
            pass_fds=fds,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def listening(process: subprocess.Popen[str]) -> list[str]:
    """The addresses in the start line."""
    assert process.stderr is not None
    line = process.stderr.readline()
    match = re.search(r"\[INFO\] Listening on (.*) \((\d+) threads?, \w+, parser \w+\)\n", line)
    assert match, line + process.communicate()[1]
    return match[1].split(", ")


def get(address: str) -> bytes:
    connection = http.client.HTTPConnection("localhost", timeout=10)
    if address.startswith("unix:"):
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.connect(address.removeprefix("unix:"))
    else:
        host, _, port = address.removeprefix("http://").rpartition(":")
        connection.sock = socket.create_connection((host.strip("[]"), int(port)), timeout=10)
    connection.request("GET", "/page")
    with connection.getresponse() as response:
        body = response.read()
    connection.close()
    return body


def stop(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[str, str]:
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    return out, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serving(start: Start, number: int) -> None:
    process = start("site_cli", "--port", "0", "--access-log")
    addresses = listening(process)
    assert addresses[0].startswith("http://127.0.0.1:")
    for address in addresses:
        assert get(address) == b"hello"
    out, err = stop(process, number)
    assert out.count('"GET /page HTTP/1.1" 200 5 "-" "-"\n') == len(addresses)
    assert err.endswith("[INFO] Stopped\n")


def test_serving_on_a_unix_socket(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    process = start("site_cli", "--bind", "unix:app.sock", "--socket-mode", "600")
    assert listening(process) == ["unix:app.sock"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert get(f"unix:{path}") == b"hello"
    refused = start("site_cli", "--bind", "unix:app.sock")
    assert "Cannot listen on unix:app.sock: the address is in use" in refused.communicate()[1]
    assert refused.returncode == 1
    assert get(f"unix:{path}") == b"hello"
    stop(process)
    assert not path.exists()
    # A process that was killed leaves its file; the next one replaces it.
    process = start("site_cli", "--bind", "unix:app.sock")
    listening(process)
    process.kill()
    process.communicate()
    assert path.exists()
    process = start("site_cli", "--bind", "unix:app.sock")
    listening(process)
    assert get(f"unix:{path}") == b"hello"
    stop(process)


def test_serving_on_an_inherited_descriptor(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as parent:
        process = start("site_cli", "--fd", str(parent.fileno()), fds=(parent.fileno(),))
        [address] = listening(process)
        assert address == f"http://127.0.0.1:{parent.getsockname()[1]}"
        assert get(address) == b"hello"
        stop(process)


def test_serving_on_the_platforms_port(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = start("site_cli", env={"PORT": str(port)})
    [address] = listening(process)
    assert address in (f"http://[::]:{port}", f"http://0.0.0.0:{port}")
    assert get(f"http://127.0.0.1:{port}") == b"hello"
    stop(process)


def test_an_address_in_use_is_one_line_and_code_1(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        process = start("site_cli", "-b", address)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "")
    assert err == (
        f"python -m wsgi_async: error: Cannot listen on {address}: the address is in use; "
        "stop the server there or choose another with --bind\n"
    )


def test_a_log_that_cannot_be_written_is_one_line_and_code_1(start: Start, tmp_path: Path) -> None:
    process = start("site_cli", "--port", "0", "--access-logfile", "no/access.log")
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err == (
        "python -m wsgi_async: error: --access-logfile: cannot write to "
        f"'{tmp_path}/no/access.log': "
        "No such file or directory\n"
    )


@pytest.mark.parametrize("args", [["--check-config"], ["--port=0"]], ids=["check", "serve"])
def test_a_spool_directory_that_is_none_is_one_line_and_code_1(
    start: Start, args: list[str]
) -> None:
    process = start(*args, "--spool-dir", "/nonexistent/spool", "site_cli")
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "")
    assert err == (
        "python -m wsgi_async: error: --spool-dir: no file can be made in '/nonexistent/spool': "
        "No such file or directory\n"
    )


@pytest.mark.parametrize("args", [["--check-config"], ["--port=0"]], ids=["check", "serve"])
@pytest.mark.parametrize("app", ["broken_cli", "broken_cli.py:app"])
def test_a_broken_application_shows_its_own_traceback_only(
    start: Start, args: list[str], app: str
) -> None:
    process = start(*args, app)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (3, "")
    first, frame, *_, last = err.splitlines()
    assert first == "Traceback (most recent call last):"
    assert re.fullmatch(r'  File ".*broken_cli\.py", line 5, in <module>', frame)
    assert "importlib" not in err
    assert str(PACKAGE) not in err
    assert last == (
        "python -m wsgi_async: error: Importing 'broken_cli' raised ModuleNotFoundError: "
        "No module named 'no_such_module'"
    )


def test_serving_with_standard_streams_closed(start: Start) -> None:
    shell = 'exec "$0" -m wsgi_async "$@" <&- >&-'
    program = ["/bin/sh", "-c", shell, sys.executable]
    process = start("site_cli", "--port", "0", "--access-log", program=program)
    assert get(listening(process)[0]) == b"hello"
    assert stop(process)[0] == ""


def test_an_application_that_configures_logging_does_not_silence_the_server(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "logging_cli.py").write_text(
        "import logging, logging.config\n"
        "logging.getLogger('wsgi_async')\n"
        "logging.config.dictConfig({'version': 1})\n" + SITE
    )
    process = start("logging_cli", "--port", "0")
    listening(process)
    stop(process)
