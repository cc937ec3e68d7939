"""nginx in front by uwsgi, FastCGI and SCGI, with Debian's files of variables as they are."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.validate import validator

from frameworks import FRAMEWORKS, Site
from front_ends import Certificate, Complaints, Front, Reply, listener, nginx
from rawclient import TIMEOUT

__all__ = [
    "CLIENT",
    "DOWNLOAD",
    "LARGE_SIZE",
    "PROTOCOLS",
    "WAYS",
    "Fronted",
    "Way",
    "binds",
    "fronted",
    "make_application",
    "upstreams",
]

PROTOCOLS = ("uwsgi", "fastcgi", "scgi")
CLIENT = "127.0.0.2"
"""Where its clients connect from."""
DOWNLOAD = os.urandom(100_000) * 30
LARGE_SIZE = 5_000_000

SERVER = """
    upstream {name} {{ server {where}; {keepalive} }}
    server {{
        {listens}
        server_name mysite.example;
        client_max_body_size 0;
        large_client_header_buffers 8 16k;
        {locations}
    }}
"""
LOCATION = """
        location {location} {{
            include {params};
            {protocol}_pass {name};
            {more}
        }}
"""


class Way(NamedTuple):
    """How nginx talks to the server."""

    protocol: str
    transport: str
    direct: bool = True
    """nginx does not collect the response; of the request see :attr:`streams_uploads`."""
    kept: bool = False
    """It keeps its connections, as it can with FastCGI."""

    @property
    def name(self) -> str:
        words = (self.protocol, self.transport, "direct" if self.direct else "collected")
        return "-".join((*words, "kept") if self.kept else words)

    @property
    def streams_uploads(self) -> bool:
        """Whether nginx sends a body on as it comes. By SCGI it should not be told to: before
        1.29.6 it then sends a CONTENT_LENGTH that is wrong."""
        return self.direct and self.protocol != "scgi"

    @property
    def directives(self) -> str:
        lines = []
        if self.direct:
            lines.append(f"{self.protocol}_buffering off;")
        if self.streams_uploads:
            lines.append(f"{self.protocol}_request_buffering off;")
        if self.kept:
            lines.append(f"{self.protocol}_keep_conn on;")
        return " ".join(lines)


WAYS = [
    *(
        Way(protocol, transport, direct)
        for protocol in PROTOCOLS
        for transport in ("tcp", "unix")
        for direct in (True, False)
    ),
    *(Way("fastcgi", transport, kept=True) for transport in ("tcp", "unix")),
    Way("fastcgi", "unix", direct=False, kept=True),
]


class Fronted(NamedTuple):
    """nginx, as clients see it, who are at :data:`CLIENT`."""

    front: Front
    complaints: Complaints

    def ask(
        self,
        way: Way,
        target: str,
        method: str = "GET",
        body: bytes | Iterable[bytes] | None = None,
        fields: Sequence[tuple[str, str]] = (),
        *,
        scheme: str = "http",
        source: str = CLIENT,
    ) -> Reply:
        return self.front.ask(
            f"{scheme}-{way.name}", target, fields, source=source, method=method, body=body
        )

    def environ(
        self,
        way: Way,
        target: str = "/environ",
        fields: Sequence[tuple[str, str]] = (),
        **more: Any,
    ) -> dict[str, str]:
        """What the application was given."""
        found: dict[str, str] = self.ask(way, target, fields=fields, **more).facts
        return found

    def connect(self, way: Way) -> http.client.HTTPConnection:
        """A connection to be closed."""
        port = self.front.ports[f"http-{way.name}"]
        return http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)


def binds(directory: Path) -> list[str]:
    """Addresses of a server: for each protocol a port and a unix socket."""
    tcp = [f"{protocol}://127.0.0.1:0" for protocol in PROTOCOLS]
    return [*tcp, *(f"{protocol}+unix:{directory}/{protocol}.sock" for protocol in PROTOCOLS)]


def upstreams(told: str | Iterable[str]) -> dict[tuple[str, str], str]:
    """Where a server listens, in nginx's words, by protocol and transport.

    :param told: its addresses, as it tells them.
    """
    text = told if isinstance(told, str) else " ".join(told)
    found = re.findall(r"(uwsgi|fastcgi|scgi)(://|\+unix:)([^\s,]+)", text)
    return {
        (protocol, "tcp" if by == "://" else "unix"): where if by == "://" else f"unix:{where}"
        for protocol, by, where in found
    }


@contextlib.contextmanager
def fronted(
    directory: Path,
    told: str | Iterable[str],
    ways: Sequence[Way] = WAYS,
    *,
    location: str = "/",
    more: str = "",
    but_for: str = r"(?!)",
    certificate: Certificate | None = None,
) -> Iterator[Fronted]:
    """nginx before a server, with a site of its own for each of `ways`.

    :param told: where the server listens, as it tells it.
    :param location: of the application, for ``location``.
    :param more: lines for that, in which PROTOCOL stands for the way's.
    :param but_for: what nginx may complain of; any other complaint fails the test.
    :param certificate: to be asked by https as well, and by HTTP/2 there.
    """
    where = upstreams(told)
    with contextlib.ExitStack() as stack:
        ports: dict[str, int] = {}
        inherited = []
        servers = []
        for way in ways:
            listens = []
            for scheme in ("http", "https") if certificate else ("http",):
                one = stack.enter_context(listener())
                inherited.append(one)
                port = ports[f"{scheme}-{way.name}"] = one.getsockname()[1]
                listens.append(f"listen 127.0.0.1:{port}{' ssl http2' * (scheme == 'https')};")
            if certificate:
                listens.append(f"ssl_certificate {certificate.path};")
                listens.append(f"ssl_certificate_key {certificate.key};")
            locations = LOCATION.format(
                name=way.name,
                location=location,
                params=f"/etc/nginx/{way.protocol}_params",
                protocol=way.protocol,
                more=f"{way.directives} {more.replace('PROTOCOL', way.protocol)}",
            )
            servers.append(
                SERVER.format(
                    name=way.name,
                    where=where[way.protocol, way.transport],
                    keepalive="keepalive 4;" if way.kept else "",
                    listens=" ".join(listens),
                    locations=locations,
                )
            )
        complaints = stack.enter_context(
            nginx(directory, "".join(servers), inherited, but_for=but_for)
        )
        yield Fronted(Front(ports, certificate), complaints)


# --- The application behind it


def make_application(site: Site) -> Callable[..., Iterable[bytes]]:
    """The site in Flask, and pages of which a framework has none; see :data:`PAGES`."""
    framework = FRAMEWORKS["flask"](site)

    def raw(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return PAGES[_name(environ)](site, environ, start_response)

    validated = validator(raw)

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return (validated if _name(environ) in PAGES else framework)(environ, start_response)

    return application


def _name(environ: WSGIEnvironment) -> str:
    """The last part of the path, wherever the site is."""
    found: str = environ["PATH_INFO"].rpartition("/")[2]
    return found


BINARY = [("Content-Type", "application/octet-stream")]


def _environ(site: Site, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """All that is text."""
    start_response("200 OK", [("Content-Type", "application/json")])
    shown = {key: value for key, value in environ.items() if isinstance(value, str)}
    return [json.dumps(shown).encode()]


def _digest(site: Site, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Size and digest of the request's body."""
    digest, size = hashlib.sha256(), 0
    while data := environ["wsgi.input"].read(256 * 1024):
        digest.update(data)
        size += len(data)
    start_response("200 OK", BINARY)
    return [f"{size} {digest.hexdigest()}".encode()]


def _parts(
    site: Site, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterator[bytes] | list[bytes]:
    """Each read of the request's body, as soon as it is there."""
    start_response("200 OK", BINARY)
    return iter(lambda: environ["wsgi.input"].read(1), b"")


def _download(
    site: Site, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterator[bytes]:
    start_response("200 OK", [*BINARY, ("Content-Length", str(len(DOWNLOAD)))])
    return (DOWNLOAD[at : at + 50_000] for at in range(0, len(DOWNLOAD), 50_000))


def _large(site: Site, environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    """More than sockets hold."""
    start_response("200 OK", [*BINARY, ("Content-Length", str(LARGE_SIZE))])
    return (b"x" * 100_000 for _ in range(LARGE_SIZE // 100_000))


def _headers(site: Site, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """As large a head as the query says."""
    large = [("X-Large", "x" * int(environ["QUERY_STRING"] or "1"))]
    twice = [("X-Twice", "a"), ("X-Twice", "b"), ("Set-Cookie", "c=1; Path=/")]
    start_response("299 Just So", [*BINARY, *twice, *large])
    return [b"x"]


def _cut(site: Site, environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    """The beginning of a body; with a query it has said how long it would be."""
    fields = [("Content-Length", "1000")] if environ["QUERY_STRING"] else []
    start_response("200 OK", [*BINARY, *fields])

    def body() -> Iterator[bytes]:
        yield b"the beginning"
        site.gate.wait()
        raise RuntimeError("the end never comes")

    return body()


def _before(site: Site, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    raise RuntimeError("before the head")


def _started(
    site: Site, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterator[bytes]:
    """Its head is promised, and its first chunk fails."""
    start_response("200 OK", BINARY)

    def body() -> Iterator[bytes]:
        raise RuntimeError("before the body")
        yield b""

    return body()


def _complain(site: Site, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    environ["wsgi.errors"].write("the shelves are empty\n")
    environ["wsgi.errors"].flush()
    start_response("200 OK", BINARY)
    return [b"well"]


PAGES: dict[str, Callable[[Site, WSGIEnvironment, StartResponse], Iterable[bytes]]] = {
    "environ": _environ,
    "digest": _digest,
    "parts": _parts,
    "download": _download,
    "headers": _headers,
    "large": _large,
    "cut": _cut,
    "before": _before,
    "started": _started,
    "complain": _complain,
}
