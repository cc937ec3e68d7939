"""Running the harness's own load clients: ``benchmarks.clients``."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness.model import Load, Running, WrongAnswer

__all__ = ["Beside", "beside", "run"]

ROOT = Path(__file__).parent.parent.parent
OVERTIME = 30.0
"""Seconds after which a client is ended that has not ended by itself."""


def _command(server: Running, load: Load, client: str, options: dict[str, object]) -> list[str]:
    command = [*load.pin, load.python, "-m", f"benchmarks.clients.{client}"]
    command += ["--port", str(server.port)]
    if server.tls:
        command.append("--tls")
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    return command


def _start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _facts(line: str, client: str, stderr: str) -> dict[str, float]:
    """:raises WrongAnswer: the client says so.
    :raises RuntimeError: it failed otherwise."""
    if not line:
        last = stderr.strip().rpartition("\n")[2]
        if last.startswith("wrong answer: "):
            raise WrongAnswer(last.removeprefix("wrong answer: "))
        raise RuntimeError(f"the client {client!r} failed: {last or 'it took too long'}")
    found: dict[str, float] = json.loads(line)
    return found


def run(server: Running, load: Load, client: str, **options: object) -> dict[str, float]:
    """Run a client for the load's seconds; what it has to say.

    :raises WrongAnswer: a response that it got is not the right one.
    :raises RuntimeError: it failed, or did not end.
    """
    command = _command(server, load, client, {"seconds": load.seconds, **options})
    with _start(command) as process:
        end = threading.Timer(load.seconds + OVERTIME, process.kill)
        try:
            end.daemon = True
            end.start()
            stdout, stderr = process.communicate()
        except BaseException:  # an interrupted harness leaves no load behind
            process.kill()
            process.wait()  # Popen does not, after a KeyboardInterrupt
            raise
        finally:
            end.cancel()
    return _facts(stdout, client, stderr)


class Beside:
    """A client that stays there while something else is measured."""

    def __init__(self, process: subprocess.Popen[str], client: str) -> None:
        self._process = process
        self._client = client
        self.ready = self._read()
        """What it said when all its connections were as they should be."""

    def finish(self) -> dict[str, float]:
        """End it; what it said last."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.stdin = None  # communicate() would look at it again
        return self._read()

    def _read(self) -> dict[str, float]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return _facts(line, self._client, "")
        assert self._process.stderr is not None
        return _facts("", self._client, self._process.stderr.read())


@contextlib.contextmanager
def beside(server: Running, load: Load, client: str, **options: object) -> Iterator[Beside]:
    """Start a client and wait until it is ready; it ends with the block at the latest.

    :raises RuntimeError: it failed, or was not ready in time.
    """
    process = _start(_command(server, load, client, options))
    end = threading.Timer(2 * load.seconds + 2 * OVERTIME, process.kill)
    try:
        end.daemon = True
        end.start()
        yield Beside(process, client)
    finally:
        end.cancel()
        process.kill()
        process.communicate()
