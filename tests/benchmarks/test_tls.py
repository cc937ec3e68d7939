"""Measurements over TLS: full handshakes are full ones, and all clients can speak it."""

from __future__ import annotations

import contextlib
import http.server
import ssl
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmark_targets import Target, Unmeasured
from serving import serving
from tools import require_module, require_program

from benchmarks import apps
from benchmarks.clients import download, handshakes, secure
from benchmarks.clients.hold import Holder
from benchmarks.harness import certificates
from benchmarks.harness.model import Load, Running, Scenario, WrongAnswer
from benchmarks.scenarios import SCENARIOS, wrk
from benchmarks.scenarios.answers import ask
from benchmarks.scenarios.idle import Idle

LOAD = Load(seconds=1.0, pin=(), python=sys.executable)


class Answer(http.server.BaseHTTPRequestHandler):
    """The same to everybody, on connections that are kept."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    status = 200
    body = apps.BODY

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *args: object) -> None:
        pass


class Peer(Unmeasured, http.server.ThreadingHTTPServer):
    """The standard library's server over TLS, with a thread for each connection."""

    daemon_threads = True
    request_queue_size = 100
    context: ssl.SSLContext
    threads = 8
    tls = True
    name = "peer"

    @property
    def port(self) -> int:
        return self.server_port

    def finish_request(self, request: Any, client_address: Any) -> None:
        with (
            contextlib.suppress(OSError),
            self.context.wrap_socket(request, server_side=True) as secured,
        ):
            super().finish_request(secured, client_address)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a certificate."""
    require_program("openssl")
    made = tmp_path_factory.mktemp("certificate")
    certificates.make(made)
    return made


@contextlib.contextmanager
def running(
    directory: Path, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, **answer: object
) -> Iterator[Peer]:
    """A peer whose answer has these attributes."""
    with Peer(("127.0.0.1", 0), type("Other", (Answer,), answer)) as peer:
        peer.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        peer.context.maximum_version = version
        files = (directory / name for name in (certificates.CERTIFICATE, certificates.KEY))
        peer.context.load_cert_chain(*files)
        thread = threading.Thread(target=peer.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield peer
        finally:
            peer.shutdown()
            thread.join(30)


def asked(peer: Peer, **more: object) -> Namespace:
    """The options of a client."""
    options = {"port": peer.port, "tls": True, "path": "/", "body": apps.BODY.decode()}
    return Namespace(**{**options, "connections": 3, "seconds": 1.0, **more})


def test_each_request_has_a_full_handshake(directory: Path) -> None:
    with running(directory) as peer:
        found = handshakes.run(asked(peer))
        stats = peer.context.session_stats()
    assert found["errors"] == 0
    assert 0 < found["answers"] <= stats["accept_good"]
    assert stats["hits"] == 0
    assert 0 < found["p50"] <= found["p99"]


class Remembering(ssl.SSLSocket):
    """Leaves its session to the next one of its context."""

    def close(self) -> None:
        if self.session is not None:
            self.context.kept = self.session  # type: ignore[attr-defined]
        super().close()


class Resuming(ssl.SSLContext):
    """A client's context that goes on with the session of the connection before."""

    sslsocket_class = Remembering
    kept: ssl.SSLSession | None = None

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        return super().wrap_socket(*args, session=self.kept, **options)


def test_a_session_that_is_gone_on_with_is_a_wrong_answer(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Resuming(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    monkeypatch.setattr(secure, "context", lambda: made)
    with (
        running(directory) as peer,
        pytest.raises(ValueError, match="went on with a session"),
    ):
        handshakes.run(asked(peer, connections=1, seconds=30.0))


@pytest.mark.parametrize("answer", [{"body": b"other"}, {"status": 500}])
def test_a_wrong_answer_after_a_handshake_voids(directory: Path, answer: dict[str, object]) -> None:
    with running(directory, **answer) as peer:
        with pytest.raises(ValueError, match=r"status (200, b'other'|500)"):
            handshakes.run(asked(peer, seconds=60.0))
        with pytest.raises(WrongAnswer, match=r"other|status 500"):
            SCENARIOS["tls-handshakes"].measure(peer, LOAD)


def test_who_speaks_an_older_tls_alone_is_not_measured(directory: Path) -> None:
    with (
        running(directory, ssl.TLSVersion.TLSv1_2) as peer,
        pytest.raises(WrongAnswer, match="SSLError"),
    ):
        ask(peer.port, tls=True)


def test_a_server_that_has_ended_is_errors_and_no_answers(directory: Path) -> None:
    with running(directory) as peer:
        options = asked(peer)
    found = handshakes.run(options)
    assert found["answers"] == 0
    assert found["errors"] > 0


def test_connections_are_held_over_tls(directory: Path) -> None:
    with running(directory) as peer:
        holder = Holder(peer.port, tls=True)
        holder.fill(20, seconds=30)
        assert holder.drop_closed() == len(holder.kept) == 20
        assert all(isinstance(sock, ssl.SSLSocket) for sock in holder.kept)
        holder.close()
    assert holder.refused == 0


def test_a_body_is_downloaded_over_tls(directory: Path) -> None:
    body = bytes(range(256)) * 4096
    with running(directory, body=body + b"the end") as peer:
        size = len(body) + 7
        found = download.run(asked(peer, size=size, end="the end", seconds=2.0))
        assert found["errors"] == 0
        assert found["bytes"] > size
        with pytest.raises(ValueError, match="a body of"):
            download.run(asked(peer, size=size, end="another", seconds=60.0))


SMALL = {"tls-idle": Idle(connections=20)}


def test_wrk_asks_over_tls(directory: Path) -> None:
    require_program("wrk")
    with running(directory) as peer:
        report = wrk.run(peer, LOAD, connections=2)
    assert report.succeeded > 0
    assert report.errors == 0


@pytest.mark.soak
@pytest.mark.parametrize("name", ["tls-handshakes", "tls-idle"])
def test_a_peer_is_measured(directory: Path, name: str) -> None:
    require_program("wrk")
    with running(directory) as peer:
        target: Running = peer
        sample = SMALL.get(name, SCENARIOS[name].measure)(target, LOAD)
    assert sample.errors == 0
    if name == "tls-idle":
        assert sample.extra["held"] == 20
    else:
        assert sample.value > 0


@contextlib.contextmanager
def served(directory: Path, application: Callable[..., Any]) -> Iterator[Target]:
    """wsgi_async by TLS, as the scenarios know a server."""
    files = {"certfile": certificates.CERTIFICATE, "keyfile": certificates.KEY}
    given = {option: str(directory / file) for option, file in files.items()}
    with serving(application, **given) as found:
        yield Target(found.server.port, tls=True)


OVER_TLS = [one for one in SCENARIOS.values() if one.tls]


@pytest.mark.soak
@pytest.mark.parametrize("scenario", OVER_TLS, ids=lambda scenario: scenario.name)
def test_each_measures_wsgi_async(directory: Path, scenario: Scenario) -> None:
    require_program("wrk")
    if "flask" in scenario.name:
        require_module("flask")
    with served(directory, getattr(apps, scenario.application)) as ours:
        sample = SMALL.get(scenario.name, scenario.measure)(ours, LOAD)
    assert sample.errors == 0
    if scenario.name == "tls-idle":
        assert sample.extra["held"] == 20
    else:
        assert sample.value > 0


def other_body(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "6")])
    return [b"other\n"]


@pytest.mark.parametrize("scenario", OVER_TLS, ids=lambda scenario: scenario.name)
def test_a_wrong_answer_voids_each(directory: Path, scenario: Scenario) -> None:
    with (
        served(directory, other_body) as ours,
        pytest.raises(WrongAnswer, match=r"other|bytes"),
    ):
        SMALL.get(scenario.name, scenario.measure)(ours, LOAD)
