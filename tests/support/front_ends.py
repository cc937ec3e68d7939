"""nginx and HAProxy in front of a server, a certificate for them, and their clients."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from rawclient import TIMEOUT
from tools import ROOT, require_program

__all__ = [
    "DEPLOY",
    "HOST",
    "Certificate",
    "Complaints",
    "Front",
    "Reply",
    "haproxy",
    "listener",
    "made_certificate",
    "make_certificate",
    "nginx",
    "shipped",
]

DEPLOY = ROOT / "examples" / "deploy"
HOST = "mysite.example"
"""The site's name in the examples."""

NGINX = """
daemon off;
worker_processes 1;
{user}
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {text}
}}
"""


class Certificate(NamedTuple):
    """One that has signed itself, for :data:`HOST` and this machine."""

    path: Path
    key: Path

    @property
    def both(self) -> Path:
        """Certificate and key in one file, as HAProxy wants them."""
        path = self.path.with_name("both.pem")
        path.write_bytes(self.path.read_bytes() + self.key.read_bytes())
        return path

    def context(self) -> ssl.SSLContext:
        """A client's, who trusts nobody else."""
        return ssl.create_default_context(cafile=str(self.path))


def make_certificate(directory: Path) -> Certificate:
    """By the program openssl; the test skips without it."""
    found = Certificate(directory / "certificate.pem", directory / "key.pem")
    subprocess.run(
        [
            *(require_program("openssl"), "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", f"/CN={HOST}"),
            *("-addext", f"subjectAltName=DNS:{HOST},DNS:localhost,IP:127.0.0.1,IP:::1"),
            *("-keyout", str(found.key), "-out", str(found.path)),
        ],
        check=True,
        capture_output=True,
        timeout=TIMEOUT,
    )
    return found


def made_certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A module's certificate: to be made a fixture."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


class Reply(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def facts(self) -> dict[str, Any]:
        """What an application has told about its request."""
        assert self.status == 200, self
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def environ(self) -> dict[str, str]:
        found: dict[str, str] = self.facts["environ"]
        return found


class Front(NamedTuple):
    """A front-end server as its clients see it.

    :param ports: by scheme, or by scheme, hyphen and a name where there are several of each.
    :param host: what it listens at.
    """

    ports: Mapping[str, int]
    certificate: Certificate | None
    host: str = "127.0.0.1"

    def ask(
        self,
        scheme: str,
        target: str = "/",
        fields: Sequence[tuple[str, str]] = (),
        *,
        source: str = "",
        host: str = HOST,
        method: str = "GET",
        body: bytes | Iterable[bytes] | None = None,
    ) -> Reply:
        """One request on a connection of its own.

        :param source: the client's address; the system's choice without it.
        :param body: chunked, where it is neither bytes nor has its length in `fields`.
        """
        where = (source, 0) if source else None
        connection: http.client.HTTPConnection
        is_tls = scheme.partition("-")[0] == "https"
        if is_tls:
            assert self.certificate is not None
            context = self.certificate.context()
            connection = http.client.HTTPSConnection(self.host, context=context)
        else:
            connection = http.client.HTTPConnection(self.host)
        address = (self.host, self.ports[scheme])
        with contextlib.closing(connection):
            plain = socket.create_connection(address, TIMEOUT, where)
            # By the site's name, whatever the address: some ask for the certificate by it.
            connection.sock = context.wrap_socket(plain, server_hostname=HOST) if is_tls else plain
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", host)
            for name, value in fields:
                connection.putheader(name, value)
            chunked = False
            if isinstance(body, bytes):
                connection.putheader("Content-Length", str(len(body)))
            elif body is not None:
                chunked = "content-length" not in {name.lower() for name, _ in fields}
                if chunked:
                    connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders(body, encode_chunked=chunked)
            with connection.getresponse() as response:
                return Reply(response.status, response.headers, response.read())

    def browse(self, url: str, most: int = 5, **options: Any) -> list[Reply]:
        """Ask for a page of the site and follow redirects, as a browser does: at most so many."""
        replies: list[Reply] = []
        while len(replies) < most:
            parts = urlsplit(url)
            assert parts.netloc == HOST, url
            target = f"{parts.path}?{parts.query}" if parts.query else parts.path or "/"
            replies.append(self.ask(parts.scheme, target, **options))
            if replies[-1].status not in (301, 302, 307, 308):
                return replies
            url = replies[-1].headers["Location"]
        raise AssertionError(f"redirected for ever: {[reply.status for reply in replies]}")


def listener(host: str = "127.0.0.1") -> socket.socket:
    """A socket for a front-end server to inherit: no port is guessed, and clients wait in its
    backlog until that server is ready."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, 0), family=family)


def shipped(name: str, changes: Mapping[str, str]) -> str:
    """A file of examples/deploy/, with other places: each must be in it, once."""
    text = (DEPLOY / name).read_text()
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


class Complaints:
    """What a program writes on its standard error, line by line, as it comes."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._lines: list[str] = []

    def read(self, stream: Iterable[str]) -> None:
        """To the end: in a thread of its own."""
        for line in stream:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()

    @property
    def lines(self) -> list[str]:
        """Those so far."""
        with self._changed:
            return list(self._lines)

    def wait_for(self, pattern: str, *, after: int = 0) -> str:
        """The first line with a match.

        :param after: so many lines are passed over.
        """
        found: list[str] = []

        def look() -> bool:
            found[:] = [line for line in self._lines[after:] if re.search(pattern, line)]
            return bool(found)

        with self._changed:
            assert self._changed.wait_for(look, TIMEOUT), f"no {pattern!r} in {self._lines[after:]}"
        return found[0]


# --- nginx


@contextlib.contextmanager
def nginx(
    directory: Path,
    text: str,
    listeners: Sequence[socket.socket],
    *,
    but_for: str = r"(?!)",
) -> Iterator[Complaints]:
    """Run Debian's nginx, with `text` in its part ``http``; what it complains of.

    :param listeners: sockets at the addresses that `text` has in ``listen``: nginx takes them as at
        an upgrade of its binary.
    :param but_for: pattern of the complaints that are right; any other fails the test.
    """
    user = "user root;" if os.geteuid() == 0 else ""
    path = directory / "nginx.conf"
    # Else root's workers are somebody who may not enter the directory.
    path.write_text(NGINX.format(directory=directory, user=user, text=text))
    program = require_program("nginx")
    command = [program, "-p", str(directory), "-c", str(path), "-e", "stderr"]
    inherited = [one.fileno() for one in listeners]
    env = {"NGINX": "".join(f"{number};" for number in inherited)}
    checked = subprocess.run(
        [*command, "-t"],
        env=env,
        pass_fds=inherited,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert checked.returncode == 0, checked.stderr
    assert not re.search(r"\[(?:warn|error)\]", checked.stderr), checked.stderr
    with _running(command, inherited, env, rf"\[notice\]|{but_for}") as complaints:
        yield complaints


@contextlib.contextmanager
def haproxy(directory: Path, text: str, listeners: Sequence[socket.socket]) -> Iterator[None]:
    """Run Debian's HAProxy; `text` has ``fd@N`` for each of `listeners` in its ``bind``."""
    path = directory / "haproxy.cfg"
    path.write_text(text)
    program = require_program("haproxy")
    inherited = [one.fileno() for one in listeners]
    checked = subprocess.run(
        [program, "-c", "-f", str(path)],
        pass_fds=inherited,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    with _running([program, "-db", "-f", str(path)], inherited, {}, r"\[NOTICE\]", (0, -15, 143)):
        yield


@contextlib.contextmanager
def _running(
    command: Sequence[str],
    inherited: Sequence[int],
    env: Mapping[str, str],
    harmless: str,
    codes: Sequence[int] = (0,),
) -> Iterator[Complaints]:
    """End it with the block, and look at what it complained of."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=dict(env),
        pass_fds=inherited,
        text=True,
    )
    assert process.stderr is not None
    complaints = Complaints()
    reader = threading.Thread(target=complaints.read, args=(process.stderr,))
    reader.start()
    try:
        yield complaints
    finally:
        process.send_signal(signal.SIGTERM)  # nginx's workers end with it
        try:
            code = process.wait(TIMEOUT)
        finally:
            process.kill()
            process.wait()
            reader.join(TIMEOUT)
            process.stderr.close()
    harmful = [line for line in complaints.lines if not re.search(harmless, line)]
    assert not harmful, "".join(harmful)
    assert code in codes, code
