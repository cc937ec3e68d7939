"""What the tests of the guides share: programs with other import lines, servers, and clients."""

from __future__ import annotations

import contextlib
import http.client
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from front_ends import listener, nginx
from rawclient import TIMEOUT
from tools import ROOT, Process, ReservedPort, python, running

APPS = ROOT / "tests" / "interop" / "guides" / "apps"

IMPORTS = {
    "tornado.httpserver": "wsgi_async.compat.tornado",
    "tornado.ioloop": "wsgi_async.compat.tornado",
    "tornado.options": "wsgi_async.compat.tornado",
    "tornado.wsgi": "wsgi_async.compat.tornado",
    "flup.server.fcgi": "wsgi_async.compat.fcgi",
    "gevent.pywsgi": "wsgi_async.compat.pywsgi",
    "gevent.wsgi": "wsgi_async.compat.pywsgi",
    "wsgiref.simple_server": "wsgi_async.compat.simple_server",
    "wsgiref.handlers": "wsgi_async.compat.cgi",
    "wsgiref": "wsgi_async.compat",
}
"""What an import line names, and what it names here."""


def moved(source: str) -> str:
    """The program with our modules in its import lines, and nothing else changed."""
    lines = []
    for line in source.split("\n"):
        match = re.fullmatch(r"from (\S+) import (.*)", line)
        known = match is not None and match[1] in IMPORTS
        lines.append(f"from {IMPORTS[match[1]]} import {match[2]}" if match and known else line)
    changed = [line for line, old in zip(lines, source.split("\n"), strict=True) if line != old]
    assert changed, "nothing to move in this program"
    assert all(line.startswith("from wsgi_async.compat") for line in changed)
    return "\n".join(lines)


class Reply(NamedTuple):
    status: int
    reason: str
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Site:
    """A server on this machine."""

    def __init__(self, port: int, process: Process) -> None:
        self.port = port
        self.process = process

    def connect(self, host: str = "127.0.0.1") -> http.client.HTTPConnection:
        return http.client.HTTPConnection(host, self.port, timeout=TIMEOUT)

    def ask(
        self,
        path: str = "/",
        method: str = "GET",
        body: bytes | Iterator[bytes] | None = None,
        *,
        host: str = "127.0.0.1",
        **headers: str,
    ) -> Reply:
        """One request on a connection of its own; an iterator as `body` is sent in chunks."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.closing(self.connect(host)) as connection:
            connection.request(method, path, body, named)
            with connection.getresponse() as response:
                return Reply(response.status, response.reason, response.headers, response.read())


@contextlib.contextmanager
def command(
    *args: str, cwd: Path, bind: str = "--bind=127.0.0.1:0", env: dict[str, str] | None = None
) -> Iterator[Site]:
    """``wsgi-async`` with these arguments; it ends at SIGTERM, with code 0 and no traceback but
    those that the application's errors have put into the log."""
    words = [*args, bind] if bind else list(args)
    with running(*python("-m", "wsgi_async", *words), cwd=cwd, env=env) as process:
        port = int(process.wait_for(r"Listening on http://\S*?:([0-9]+)[ ,]")[1])
        yield Site(port, process)
        process.signal(15)
        assert process.wait() == 0, process.output


@contextlib.contextmanager
def behind_nginx(directory: Path, protocol: str, where: Path, process: Process) -> Iterator[Site]:
    """Debian's nginx before a unix socket, with its own file of variables as it is.

    :param protocol: ``uwsgi``, ``fastcgi`` or ``scgi``: that of the directive ``uwsgi_pass``.
    :param process: what listens there.
    """
    with listener() as one:
        port = one.getsockname()[1]
        location = f"include /etc/nginx/{protocol}_params; {protocol}_pass unix:{where};"
        text = f"server {{ listen 127.0.0.1:{port}; location / {{ {location} }} }}"
        with nginx(directory, text, [one]):
            yield Site(port, process)


@contextlib.contextmanager
def program(
    path: Path,
    *,
    module: str = "",
    args: tuple[str, ...] = (),
    port: int = 0,
    directory: Path,
    printed: str = "Listening|Serving",
) -> Iterator[Site]:
    """A guide's program, with other import lines, at a free port instead of `port`.

    :param module: run it as ``python -m``; `path` is then a file of it.
    :param port: the port as the program has it; 0 where `args` say ``{port}``.
    :param directory: an empty one, for the changed program.
    :param printed: what the program prints when it listens.
    """
    with ReservedPort() as reserved:
        source = moved(path.read_text())
        if port:
            assert source.count(str(port)) == 1
            source = source.replace(str(port), str(reserved.number))
        words = tuple(word.format(port=reserved.number) for word in args)
        if module:
            package = directory / module
            package.mkdir()
            for file in path.parent.glob("*.py"):
                (package / file.name).write_text(file.read_text())
            (package / path.name).write_text(source)
            line = python("-m", module, *words)
        else:
            for file in path.parent.glob("*.py"):
                (directory / file.name).write_text(file.read_text())
            (directory / path.name).write_text(source)
            line = python(path.name, *words)
        with running(*line, cwd=directory) as process:
            process.wait_for(printed)
            yield Site(reserved.number, process)
