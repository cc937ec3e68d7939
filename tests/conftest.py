"""What all tests share: skips that a complete machine must not have, and the server fixture."""

from __future__ import annotations

import compileall
import contextlib
import os
import re
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from processes import Site
from serving import APPS, PACKAGE, Served, serving

from wsgi_async.connection import waits
from wsgi_async.system.sockets import DEFAULT_ADDRESS, parse_address

PROGRAMS = re.compile(r"\b(nginx|haproxy|systemd|wrk|h2load|curl|uvloop)\b")
"""What a test may lack on a developer's machine, never where all of them have to run."""


SETTINGS = re.compile(
    r"(WSGI_ASYNC|LISTEN|WATCHDOG|GUNICORN|FLASK|DJANGO)_.*|PORT|WEB_CONCURRENCY|NOTIFY_SOCKET"
    r"|PROMETHEUS_MULTIPROC_DIR|(HTTPS?|ALL|NO)_PROXY|FORCE_COLOR|NO_COLOR|COLUMNS|LINES",
    re.IGNORECASE,
)
"""What somebody may have set for servers, clients and terminals of his own."""
LONG_DIRECTORY = 20
"""Characters; of the 103 that a unix socket's path may have, pytest's directories take most."""


# How long an example takes says something of the machine, nothing of the code.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Take the settings of whoever started the tests from them and from all that they start.

    Compile what the many processes that they start import: of a fresh clone each would do it again.
    """
    for name in [name for name in os.environ if SETTINGS.fullmatch(name)]:
        del os.environ[name]
    os.umask(0o022)  # other users read what tests write
    if not hasattr(config, "workerinput"):
        for directory in (PACKAGE, APPS):
            compileall.compile_dir(directory, quiet=2)
    if len(tempfile.gettempdir()) > LONG_DIRECTORY and os.access("/tmp", os.W_OK):
        os.environ["TMPDIR"] = tempfile.tempdir = "/tmp"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """With ``-n auto`` two more than there are processors: half of the tests mostly wait."""
    return (os.cpu_count() or 1) + 2


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Let the processes of ``-n``, each of which reads all tests, share the work of rewriting
    their assertions: each begins with another part, and finds what the others have written.

    They may write it beside the tests, where git ignores it, also under PYTHONDONTWRITEBYTECODE.
    """
    config = session.config
    worker = getattr(config, "workerinput", None)
    tests = Path(__file__).parent
    if worker and [Path(argument).resolve() for argument in config.args] == [tests]:
        parts = list(_parts(tests))
        first = len(parts) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
        config.args[:] = map(str, parts[first:] + parts[:first])
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    try:
        return (yield)
    finally:
        sys.dont_write_bytecode = before


def _parts(directory: Path) -> Iterator[Path]:
    """The outermost directories that have tests, in order."""
    if any(directory.glob("test_*.py")):
        yield directory
    else:
        for path in sorted(path for path in directory.iterdir() if path.is_dir()):
            yield from _parts(path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In one order, whichever part was the first."""
    items.sort(key=lambda item: item.path.parent)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With TESTS_REQUIRE_ALL set, a test that skips for want of a program has failed."""
    report = yield
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    if report.skipped and os.environ.get("TESTS_REQUIRE_ALL") and PROGRAMS.search(reason):
        report.outcome = "failed"
        report.longrepr = f"TESTS_REQUIRE_ALL is set, and this was skipped: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """With ``-n`` reports travel as UTF-8, which has no lone surrogates; what tests log has."""
    return _encodable((yield))


def _encodable(data: Any) -> Any:
    if isinstance(data, str):
        return data if data.isascii() else data.encode("utf-8", "backslashreplace").decode()
    if isinstance(data, dict):
        return {name: _encodable(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return type(data)(map(_encodable, data))
    return data


@pytest.fixture(scope="session", autouse=True)
def signals_as_in_a_terminal() -> Iterator[None]:
    """A script's command in the background ignores these, and so does all that it starts."""
    default = {signal.SIGINT: signal.default_int_handler, signal.SIGQUIT: signal.SIG_DFL}
    ignored = [number for number in default if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, default[number])
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(scope="session", autouse=True)
def default_port_is_taken() -> Iterator[None]:
    """Somebody has our default port, as on a developer's machine: a test that needs it fails
    everywhere, and not only there."""
    number = parse_address(DEFAULT_ADDRESS).port
    with contextlib.ExitStack() as stack:
        for host in ("127.0.0.1", "::1"):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with contextlib.suppress(OSError):  # taken already, or no IPv6
                stack.enter_context(socket.create_server((host, number), family=family))
        yield


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """``serve(application, loop="uvloop", **options)``: a server that ends with the test."""
    with contextlib.ExitStack() as stack:

        def start(application: Callable[..., Any], **options: Any) -> Served:
            return stack.enter_context(serving(application, **options))

        yield start


@pytest.fixture
def short_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers in this process wait a moment, not seconds, for clients that do not close."""
    monkeypatch.setattr(waits, "LINGER_TIME", 0.2)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A directory with an application of its own."""
    directory = tmp_path / "site"
    directory.mkdir()
    return Site(directory)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """What a request may wait for; see ``processes.release``."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path
