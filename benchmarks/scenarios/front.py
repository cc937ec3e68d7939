"""Behind nginx, by the protocols that it speaks to servers: uwsgi, FastCGI, HTTP beside them."""

from __future__ import annotations

import contextlib
import functools
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.model import Load, Running, Sample, Scenario
from benchmarks.harness.processes import free_port
from benchmarks.scenarios import throughput
from benchmarks.scenarios.answers import ask

__all__ = ["PROTOCOLS", "SCENARIOS", "NoFront", "nginx"]

KEPT = 64
"""Connections to the server that nginx keeps, where the protocol has kept ones."""
PATIENCE = 10.0
"""Seconds until nginx has to accept."""

PROTOCOLS = {
    "uwsgi": "uwsgi_pass server; include {params}/uwsgi_params;",
    "fastcgi": "fastcgi_pass server; fastcgi_keep_conn on; include {params}/fastcgi_params;",
    "http": 'proxy_pass http://server; proxy_http_version 1.1; proxy_set_header Connection "";'
    " proxy_set_header Host $host;",
}
"""How nginx passes requests on, with the files that Debian installs with it."""
PARAMS = "/etc/nginx"

CONFIGURATION = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream server {{
        server 127.0.0.1:{upstream};
        {keepalive}
    }}
    server {{
        listen 127.0.0.1:{port} backlog=2048;
        location / {{ {passing} }}
    }}
}}
"""


class NoFront(Exception):
    """nginx is not there, or has ended; the message says why."""


@dataclass(frozen=True)
class Behind:
    """A server that is asked by way of nginx. What it holds is its own alone."""

    server: Running
    port: int
    tls: bool = False

    @property
    def name(self) -> str:
        return self.server.name

    @property
    def threads(self) -> int:
        return self.server.threads

    def memory(self) -> int:
        return self.server.memory()

    def descriptors(self) -> int:
        return self.server.descriptors()

    def cpu(self) -> float:
        return self.server.cpu()


@contextlib.contextmanager
def nginx(server: Running, load: Load, protocol: str) -> Iterator[Behind]:
    """Run nginx in front of a server, on the load's core.

    :param protocol: a key of :data:`PROTOCOLS`.
    :raises NoFront: it does not run.
    """
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        raise NoFront("nginx is not installed (Debian: apt-get install nginx-light)")
    with tempfile.TemporaryDirectory(prefix="front-") as name:
        path = Path(name) / "nginx.conf"
        port = free_port()
        # uwsgi ends each connection after its response: there is none to keep.
        keepalive = "" if protocol == "uwsgi" else f"keepalive {KEPT};"
        text = CONFIGURATION.format(
            directory=name,
            port=port,
            upstream=server.port,
            keepalive=keepalive,
            passing=PROTOCOLS[protocol].format(params=PARAMS),
        )
        path.write_text(text, encoding="utf-8")
        command = [*load.pin, program, "-p", name, "-c", str(path), "-e", "stderr"]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                _wait(process, path.with_name("nginx.pid"))
                yield Behind(server, port)
            finally:
                process.terminate()


def _wait(process: subprocess.Popen[str], pid_file: Path) -> None:
    """Until it has bound its address, after which it writes this file."""
    deadline = time.monotonic() + PATIENCE
    while not (pid_file.exists() and pid_file.stat().st_size):
        if process.poll() is not None:
            assert process.stderr is not None
            said = process.stderr.read().strip().splitlines() or ["it said nothing"]
            raise NoFront(f"nginx ended with {process.returncode}: {said[-1]}")
        if time.monotonic() > deadline:
            raise NoFront(f"nginx did not begin within {PATIENCE:.0f} s")
        time.sleep(0.01)


def view(server: Running, load: Load, *, protocol: str) -> Sample:
    """Flask's view by way of nginx, with the server's own seconds on a processor for each request:
    nginx has a part in the rate, and none in that."""
    with nginx(server, load, protocol) as behind:
        target = "/articles/1/comments?page=2&sort=new"
        throughput.expect_view(ask(behind.port, target, headers=throughput.HEADERS))
        before = server.cpu()
        sample = throughput.json_view(behind, load)
        used = server.cpu() - before
    answers = sample.value * load.seconds
    extra = {"cpu_us_per_request": 1e6 * used / answers} if used and answers else {}
    return Sample(sample.value, sample.p50, sample.p99, sample.errors, extra)


_behind = functools.partial(
    Scenario,
    application="flask",
    # It does not find what a module makes when it is asked for.
    applications={"uwsgi-socket": "apps:_flask()"},
    unit="requests/s",
    also=("uwsgi-socket",),
)

SCENARIOS = (
    _behind(
        name="front-uwsgi",
        about="The JSON view in Flask behind nginx's uwsgi_pass, a connection for each request; "
        "varied heads.",
        measure=functools.partial(view, protocol="uwsgi"),
        options={"wsgi_async": "--protocol uwsgi", "gunicorn": "--protocol uwsgi"},
        servers=("wsgi_async", "gunicorn", "uwsgi-socket"),
    ),
    _behind(
        name="front-fastcgi",
        about="The JSON view in Flask behind nginx's fastcgi_pass, with kept connections where the "
        "server keeps them; varied heads.",
        measure=functools.partial(view, protocol="fastcgi"),
        options={"wsgi_async": "--protocol fastcgi", "uwsgi-socket": "--protocol fastcgi"},
        servers=("wsgi_async", "uwsgi-socket"),
    ),
    _behind(
        name="front-http",
        about="The JSON view in Flask behind nginx's proxy_pass with kept connections; varied "
        "heads.",
        measure=functools.partial(view, protocol="http"),
        options={"uwsgi-socket": "--protocol http"},
        servers=("wsgi_async", "gunicorn", "granian", "uwsgi-socket"),
    ),
)
