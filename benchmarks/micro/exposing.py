"""``python -m benchmarks.micro.exposing``: what the metrics of an application cost, beside files.

The same application, with counters and histograms of prometheus_client as a web framework's
exporter has them, in four processes: under wsgi_async, whose processes share memory, and under
gunicorn with PROMETHEUS_MULTIPROC_DIR, as that library's documentation has it. Both are scraped
when they are new, and again after their processes were replaced a number of times: what files there
are, and what a scrape takes. Compare within one run.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import signal
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness.processes import Server, free_port, stage

__all__ = ["main"]

WORKERS = 4
REQUESTS = 400
"""After each change, so that each process has counted."""
SCRAPES = 30
ENDPOINTS = 40
TIMEOUT = 30.0

APPLICATION = f"""
import os

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client import generate_latest, multiprocess

LABELS = ["method", "endpoint"]
REQUESTS = Counter("site_requests_total", "Requests.", [*LABELS, "status"])
SECONDS = Histogram("site_seconds", "Their durations.", LABELS)
ACTIVE = Gauge("site_active", "Under way.", multiprocess_mode="livesum")
turn = 0


def application(environ, start_response):
    global turn
    if environ["PATH_INFO"] == "/metrics":  # where files are the way
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)
        body = generate_latest(registry)
        start_response("200 OK", [("Content-Type", CONTENT_TYPE_LATEST)])
        return [body]
    if environ["PATH_INFO"] == "/process":
        body = str(os.getpid()).encode()
    else:
        with ACTIVE.track_inprogress():
            turn += 1
            endpoint = str(turn % {ENDPOINTS})
            REQUESTS.labels("GET", endpoint, "200").inc()
            SECONDS.labels("GET", endpoint).observe(0.004)
        body = b"ok"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""

CONFIGURATION = """
from prometheus_client import multiprocess


def child_exit(server, worker):
    multiprocess.mark_process_dead(worker.pid)
"""


class Found(NamedTuple):
    """Of one server at one moment."""

    scrape: float
    """Seconds, the median of several scrapes."""
    size: int
    """Bytes of the exposition."""
    files: int
    disk: int
    """Bytes of them, as the file system counts them."""


class Candidate(NamedTuple):
    """A server that runs."""

    name: str
    port: int
    metrics: int
    """The port that is scraped."""
    pid: int
    directory: Path
    """Where there are files, if there are."""

    def get(self, path: str, *, port: int = 0) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=TIMEOUT)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        if response.status != 200:
            raise RuntimeError(f"{self.name} {path}: {response.status} {body[:200]!r}")
        return body

    def pids(self) -> set[bytes]:
        """Those that have answered."""
        return {self.get("/process") for _ in range(12 * WORKERS)}

    def replace(self) -> None:
        """Have all processes replaced, and wait until none of the old ones answers."""
        old = self.pids()
        os.kill(self.pid, signal.SIGHUP)
        deadline = time.monotonic() + TIMEOUT
        while True:
            # A process that is on its way out may end a connection it has accepted.
            with contextlib.suppress(OSError, http.client.HTTPException):
                if not old & self.pids():
                    return
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} has not replaced its processes")

    def load(self) -> None:
        for _ in range(REQUESTS):
            self.get("/")

    def measure(self) -> Found:
        """Scrape it."""
        self.load()
        times, body = [], b""
        for _ in range(SCRAPES):
            began = time.perf_counter()
            body = self.get("/metrics", port=self.metrics)
            times.append(time.perf_counter() - began)
        paths = list(self.directory.glob("*.db"))
        disk = sum(path.stat().st_blocks * 512 for path in paths)
        return Found(statistics.median(times), len(body), len(paths), disk)


@contextlib.contextmanager
def running(name: str, directory: Path, command: list[str], metrics: int) -> Iterator[Candidate]:
    """Start it; the command is without its address and its application."""
    files = directory / f"files-{name}"
    files.mkdir()
    with Server(name, WORKERS) as server:
        address = f"127.0.0.1:{server.port}"
        env = ["env", f"PROMETHEUS_MULTIPROC_DIR={files}"] if not metrics else []
        server.start([*env, *command, "-b", address, "-w", str(WORKERS), "site_app"], directory)
        server.wait()
        yield Candidate(name, server.port, metrics or server.port, server.pid, files)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.micro.exposing", description="Metrics of an application."
    )
    parser.add_argument("--python", default="python", help="with both servers installed")
    parser.add_argument(
        "--replacements", type=int, default=10, help="of all processes (%(default)s)"
    )
    arguments = parser.parse_args()
    print("| Server | Processes replaced | Scrape | Exposition | Files | Disk |")
    print("|---|---|---|---|---|---|")
    for make in (_ours, _gunicorns):
        with stage(Path.cwd()) as directory:
            (directory / "site_app.py").write_text(APPLICATION)
            (directory / "gunicorn_files.py").write_text(CONFIGURATION)
            with make(directory, arguments.python) as candidate:
                _print(candidate, 0)
                for _ in range(arguments.replacements):
                    candidate.replace()
                    candidate.load()
                _print(candidate, arguments.replacements)


def _ours(directory: Path, python: str) -> contextlib.AbstractContextManager[Candidate]:
    port = free_port()
    command = [python, "-m", "wsgi_async", "--metrics-bind", f"127.0.0.1:{port}"]
    return running("wsgi_async", directory, command, port)


def _gunicorns(directory: Path, python: str) -> contextlib.AbstractContextManager[Candidate]:
    command = [python, "-m", "gunicorn", "-k", "gthread", "--threads", "8"]
    return running(
        "gunicorn", directory, [*command, "--no-control-socket", "-c", "gunicorn_files.py"], 0
    )


def _print(candidate: Candidate, replacements: int) -> None:
    found = candidate.measure()
    print(
        f"| {candidate.name} | {replacements * WORKERS} | {found.scrape * 1000:.1f} ms "
        f"| {found.size / 1024:.0f} KiB | {found.files} | {found.disk / 1024:.0f} KiB |",
        flush=True,
    )


if __name__ == "__main__":
    main()
