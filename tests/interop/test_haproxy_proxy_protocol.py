"""Debian's HAProxy, which says who the client is by the PROXY protocol, in both versions."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import front_ends
import pytest
from front_ends import Certificate, Front
from rawclient import TIMEOUT
from serving import Served, serving

BASE = """
defaults
    mode {mode}
    timeout connect 5s
    timeout client 10s
    timeout server 10s
    timeout check 5s

frontend site
    bind fd@{plain}
    bind fd@{tls} ssl crt {certificate}
    unique-id-format %ci:%cp-{mode}
    default_backend servers

backend servers
    server a 127.0.0.1:{port} {options}
"""
ALL_FACTS = (
    "send-proxy-v2 proxy-v2-options "
    "ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c,unique-id"
)


def tell(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """The environ as JSON, the proxy's facts as text."""
    start_response("200 OK", [("Content-Type", "application/json")])
    plain = {name: value for name, value in environ.items() if isinstance(value, str)}
    facts = {name: repr(value) for name, value in environ["wsgi_async.proxy_protocol"].items()}
    return [json.dumps({"environ": plain, "facts": facts}).encode()]


certificate = pytest.fixture(scope="module")(front_ends.made_certificate)


@pytest.fixture
def served() -> Iterator[Served]:
    with serving(tell, proxy_protocol="auto") as served:
        yield served


@contextlib.contextmanager
def in_front(
    directory: Path, certificate: Certificate, port: int, options: str, mode: str = "http"
) -> Iterator[Front]:
    with front_ends.listener() as plain, front_ends.listener() as tls:
        text = BASE.format(
            mode=mode,
            plain=plain.fileno(),
            tls=tls.fileno(),
            certificate=certificate.both,
            port=port,
            options=options,
        )
        with front_ends.haproxy(directory, text, [plain, tls]):
            ports = {"http": plain.getsockname()[1], "https": tls.getsockname()[1]}
            yield Front(ports, certificate)


@pytest.mark.parametrize("mode", ["tcp", "http"])
@pytest.mark.parametrize("options", ["send-proxy", "send-proxy-v2", ALL_FACTS])
def test_the_client_and_its_tls_are_known(
    tmp_path: Path, certificate: Certificate, served: Served, mode: str, options: str
) -> None:
    if mode == "tcp":
        options = options.replace(",unique-id", "")  # there is none without requests in 2.6
    with in_front(tmp_path, certificate, served.address[1], options, mode) as front:
        for scheme in ("http", "https"):
            reply = front.ask(scheme, source="127.0.0.9")
            environ, facts = reply.environ, reply.facts["facts"]
            assert environ["REMOTE_ADDR"] == "127.0.0.9"
            assert environ["SERVER_PORT"] == str(front.ports[scheme])
            assert environ["wsgi_async.peer"].startswith("127.0.0.1:")
            assert facts["version"] == ("1" if options == "send-proxy" else "2")
            if "ssl" not in options:
                assert environ["wsgi.url_scheme"] == "http"  # nobody has told it
                continue
            assert environ["wsgi.url_scheme"] == scheme
            if mode == "http":
                port = environ["REMOTE_PORT"]
                assert facts["unique_id"] == repr(f"127.0.0.9:{port}-http".encode())
            if scheme == "https":
                assert environ["HTTPS"] == "on"
                assert environ["SSL_PROTOCOL"].startswith("TLSv1.")
                assert environ["SSL_CIPHER"]
                assert environ["SSL_CLIENT_VERIFY"] == "NONE"
                assert environ["SSL_TLS_SNI"] == front_ends.HOST


@pytest.mark.parametrize("options", ["send-proxy", "send-proxy-v2 proxy-v2-options crc32c,ssl"])
def test_its_checks_are_answered(
    tmp_path: Path, certificate: Certificate, served: Served, options: str
) -> None:
    """They come with a header of their own, which for version 2 says LOCAL."""
    check = f"{options} check-send-proxy check inter 100ms rise 3"
    with in_front(tmp_path, certificate, served.address[1], check) as front:
        deadline = time.monotonic() + TIMEOUT
        while front.ask("http").status != 200:
            assert time.monotonic() < deadline
    assert served.recorder.of("connection_dropped") == []
