"""Supervisors with their processes, and an application that a test may rewrite while they run."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from counting import Load
from rawclient import TIMEOUT, Address, RawClient, request
from serving import APPS, ROOT, Command

__all__ = [
    "Life",
    "Servers",
    "Site",
    "await_pids",
    "await_text",
    "children",
    "reachable",
    "release",
]


def release(fifo: Path) -> None:
    """Let the request that waits for `fifo` go on."""
    os.close(os.open(fifo, os.O_WRONLY))


@contextlib.contextmanager
def reachable() -> Iterator[Path]:
    """A directory that everybody may enter, below one that everybody may (pytest's is private)."""
    directory = Path("/tmp") / f"wsgi-async-test-{os.getpid()}"
    directory.mkdir()
    try:
        directory.chmod(0o755)
        # The checkout may be where nobody else may look.
        shutil.copy(APPS / "process_app.py", directory)
        yield directory
    finally:
        shutil.rmtree(directory)


def children(pid: int) -> set[int]:
    """The processes that have this one for their parent."""
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def await_text(path: Path, pattern: str) -> str:
    """The file's text, once it is there and has a match: only the file tells."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        text = path.read_text() if path.exists() else None
        if text is not None and re.search(pattern, text, re.MULTILINE):
            return text
        assert time.monotonic() < deadline, f"{path}: no {pattern!r} in:\n{text}"
        time.sleep(0.01)


class Life:
    """The life of a process, anybody's; it can be waited for."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            self._descriptor = -1

    def is_over(self, timeout: float = 0.0) -> bool:
        if self._descriptor < 0:
            return True
        if not select.select([self._descriptor], [], [], timeout)[0]:
            return False
        os.close(self._descriptor)
        self._descriptor = -1
        return True

    def await_end(self, timeout: float = TIMEOUT) -> None:
        assert self.is_over(timeout), f"process {self.pid} lives on"


def await_pids(
    address: Address,
    count: int,
    *,
    others: Sequence[int] = (),
    name: str = "x",
    path: str = "",
    tls: ssl.SSLContext | None = None,
) -> list[int]:
    """Ask for ``/?name``, or `path`, until so many processes have answered, none of `others`.

    Over a few connections at once: of single ones the kernel may give all to the same process.
    """
    found: set[int] = set()
    deadline = time.monotonic() + TIMEOUT
    while len(found) < count:
        assert time.monotonic() < deadline, f"only {found}"
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(RawClient(address, tls=tls)) for _ in range(4)]
            for client in clients:
                client.send(request(path or f"/?{name}"))
            answers = [client.response() for client in clients]
        assert {answer.status for answer in answers} == {200}
        found |= {int(answer.body.split()[0]) for answer in answers} - set(others)
    return sorted(found)


class Servers(Command):
    """A supervisor with its processes, of an application such as apps/process_app.py."""

    def get(self, target: str = "/") -> str:
        """The body of the answer, over a connection of its own; the status is 200."""
        with self.client() as client:
            response = client.get(target)
        assert response.status == 200, response
        return response.body.decode()

    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.get("/facts"))
        return facts

    def ask(self) -> tuple[int, str]:
        """Which process, and which version, answers."""
        pid, version, *_ = self.get("/?x").split()
        return int(pid), version

    def wait_for_pids(self, count: int, *, others: Sequence[int] = ()) -> list[int]:
        """Ask until so many processes, none of them of `others`, have answered."""
        try:
            return await_pids(self.address, count, others=others, tls=self.tls)
        except AssertionError as error:
            error.add_note("\n".join(self.lines))
            raise

    def wait_for_version(self, version: str) -> None:
        """Ask until that version answers. A moment after a reload an old process may still
        accept; after that it never does."""
        deadline = time.monotonic() + TIMEOUT
        while self.ask()[1] != version:
            assert time.monotonic() < deadline, "\n".join(self.lines)

    def load(self, **options: Any) -> Load:
        """A load on it; see there."""
        return Load(self.address, **{"tls": self.tls, **options})

    def loaded(self, version: str = r"\S+") -> list[int]:
        """The processes that have loaded the application so far, in order."""
        matches = [re.fullmatch(rf"loaded {version} in ([0-9]+)", line) for line in self.lines]
        return [int(match[1]) for match in matches if match]

    def wait_for_load(self, pid: int) -> None:
        """Until that process has said that it has loaded the application."""
        # Not at the beginning of a line: a process that is aborted writes its stacks in pieces.
        self.wait_for(rf"loaded \S+ in {pid}$")

    def count(self, pattern: str) -> int:
        """How many lines there are so far with a match."""
        return sum(re.search(pattern, line) is not None for line in self.lines)

    def wait_for_last(self, pattern: str) -> re.Match[str]:
        """The last line so far with a match; waits for the first."""
        self.wait_for(pattern)
        return self.wait_for(pattern, self.count(pattern))

    def reload(self) -> None:
        """SIGHUP, and wait until it has worked."""
        before = self.count(r"\] Reloaded$")
        self.signal(signal.SIGHUP)
        self.wait_for(r"\] Reloaded$", before + 1)

    def hold(self, fifo: Path) -> tuple[RawClient, int]:
        """A client whose request waits for `fifo`, and the process it is in."""
        before = self.count("^waiting in ")
        client = self.client()
        client.send(request(f"/wait?{fifo}"))
        return client, int(self.wait_for("^waiting in ([0-9]+)", before + 1)[1])

    def signal_group(self, number: signal.Signals) -> None:
        """As a terminal does it."""
        os.killpg(self.process.pid, number)


class Site:
    """A directory with the module `site_app`, whose code a test writes.

    :param directory: an empty one.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.write("v0")

    @property
    def source(self) -> str:
        return (self.directory / "site_app.py").read_text()

    def write(self, version: str, before: str = "", after: str = "") -> None:
        """The application in this version, with other code before and after."""
        self.write_source(
            f"{before}\nfrom process_app import make_application, say\n"
            f"application = make_application({version!r})\n{after}\n"
        )

    def write_source(self, source: str) -> None:
        # At once, as a deployment should: a process may be reading it.
        new = self.directory / "site_app.new"
        new.write_text(source)
        new.rename(self.directory / "site_app.py")

    def serve(
        self,
        *args: str,
        app: str = "site_app",
        bind: str = "127.0.0.1:0",
        env: dict[str, str] | None = None,
        loop: str = "uvloop",
        fds: Sequence[int] = (),
        setup: Callable[[], object] | None = None,
        program: str | None = None,
    ) -> Servers:
        """Start a supervisor, on some port unless `args` have it elsewhere."""
        where = () if "-b" in args or not bind else ("-b", bind)
        path = os.pathsep.join((str(ROOT), str(APPS)))
        return Servers(
            *([app] if app else []),
            *where,
            *args,
            env={"PYTHONPATH": path, **(env or {})},
            loop=loop,
            directory=self.directory,
            fds=fds,
            setup=setup,
            program=program,
        )
