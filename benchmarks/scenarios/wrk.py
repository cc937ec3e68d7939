"""Driving ``wrk``, and reading what it has counted."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.model import Load, Running, Sample, WrongAnswer

__all__ = ["Report", "parse", "run", "sample"]

SCRIPTS = Path(__file__).with_name("lua")
RESPONSE_TIMEOUT = 10
"""Seconds after which wrk counts a response as late."""


@dataclass(frozen=True)
class Report:
    """What one run of wrk has counted."""

    succeeded: int = 0
    """Responses with a status below 400."""
    seconds: float = 0.0
    refused: int = 0
    """Responses with another status."""
    errors: int = 0
    """These, responses that were too late, and connections that failed."""
    p50: float | None = None
    """Milliseconds."""
    p99: float | None = None

    @property
    def rate(self) -> float:
        """Responses per second."""
        return self.succeeded / self.seconds if self.seconds else 0.0


def parse(output: str) -> Report:
    """Read the line that ``report.lua`` prints.

    :raises ValueError: it is not there.
    """
    lines = [line for line in output.splitlines() if line.startswith('{"requests"')]
    if not lines:
        raise ValueError(f"wrk reported nothing: {output[-200:]!r}")
    found = json.loads(lines[-1])
    kinds = ("connect", "read", "write", "status", "timeout")
    return Report(
        succeeded=found["requests"] - found["status"],
        seconds=found["duration"] / 1e6,
        refused=found["status"],
        errors=sum(found[kind] for kind in kinds),
        p50=None if found["p50"] is None else found["p50"] / 1000,
        p99=None if found["p99"] is None else found["p99"] / 1000,
    )


def run(
    server: Running,
    load: Load,
    *,
    connections: int,
    script: str = "report.lua",
    options: Sequence[str] = (),
    seconds: float | None = None,
) -> Report:
    """Run wrk for `seconds`, by default the load's.

    A server that does not take a connection at all has no response and one error.

    :raises RuntimeError: wrk does not run as it should.
    """
    seconds = load.seconds if seconds is None else seconds
    # wrk takes whole seconds; at SIGINT it stops and reports the time that it had, as always.
    command = [*load.pin, "wrk", "-t1", f"-c{connections}", f"-d{math.ceil(seconds)}s"]
    command += ["--timeout", f"{RESPONSE_TIMEOUT}s", "-s", str(SCRIPTS / script), *options]
    scheme = "https" if server.tls else "http"
    command.append(f"{scheme}://127.0.0.1:{server.port}/")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        end = threading.Timer(seconds, process.send_signal, [signal.SIGINT])
        last = threading.Timer(seconds + RESPONSE_TIMEOUT, process.kill)
        try:
            for timer in (end, last):
                timer.daemon = True
                timer.start()
            output = process.communicate()[0]
        except BaseException:  # an interrupted harness leaves no load behind
            process.kill()
            process.wait()  # Popen does not, after a KeyboardInterrupt
            raise
        finally:
            end.cancel()
            last.cancel()
    if "unable to connect" in output:
        return Report(errors=1)
    try:
        return parse(output)
    except ValueError as error:
        raise RuntimeError(f"wrk -c{connections} -s {script}: {error}") from error


def sample(report: Report, value: float | None = None, **extra: float) -> Sample:
    """A report as the harness wants it; the value is the rate unless another is given.

    :raises WrongAnswer: there were responses with another status than the right one.
    """
    if report.refused:
        total = report.refused + report.succeeded
        raise WrongAnswer(f"{report.refused} of {total} responses have an error status")
    return Sample(
        value=report.rate if value is None else value,
        p50=report.p50,
        p99=report.p99,
        errors=report.errors,
        extra=extra,
    )
