"""Requests over TLS: what the application is told, and that nothing goes past the encryption."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import authority
from encrypted import Cut, Encrypted
from exchanges import newcomers
from loops import Serve, hello
from proxy_headers import ssl_tlv, tcp, tlv
from rawclient import RawClient, request
from serving import Served, both_loops, serving

from wsgi_async.connection.protocol import HTTPProtocol
from wsgi_async.server.handshakes import Handshake
from wsgi_async.tls.transport import TLSTransport

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
NAMES = ("HTTPS", "SERVER_PORT", "wsgi.url_scheme", "wsgi_async.peer")
SEED = bytes(range(251)) * 300


def tell(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """What is known of the connection."""
    found = {name: environ[name] for name in environ if name.startswith("SSL_")}
    found.update({name: environ.get(name) for name in NAMES})
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(found).encode()]


def told(client: RawClient, **options: Any) -> dict[str, Any]:
    client.send(request(**options))
    answer = client.response()
    assert answer.status == 200
    return dict(json.loads(answer.body))


@pytest.fixture(params=["uvloop", "asyncio"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with serving(tell, loop=request.param, tls=True) as served:
        yield served


# --- what the application is told --------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_facts_of_the_connection_are_in_the_environ(
    served: Served, version: ssl.TLSVersion
) -> None:
    with served.client(tls=authority().client(lowest=version, highest=version)) as client:
        found = told(client)
        assert told(client) == found
        assert isinstance(client.socket, Encrypted)
        assert client.socket.tls.cipher() is not None
        cipher = client.socket.tls.cipher()
        assert cipher is not None
    assert found == {
        "HTTPS": "on",
        "SERVER_PORT": str(served.server.port),
        "wsgi.url_scheme": "https",
        "wsgi_async.peer": None,
        "SSL_PROTOCOL": "TLSv1.2" if version is VERSIONS[0] else "TLSv1.3",
        "SSL_CIPHER": cipher[0],
        "SSL_TLS_SNI": "localhost",
        "SSL_CLIENT_VERIFY": "NONE",
    }


@both_loops
def test_a_clients_certificate_is_in_the_environ(serve: Serve, loop: str, tmp_path: Path) -> None:
    pair = authority().issue(
        tmp_path, "ann@example.org", common_name='Ann "A", Ü', organization="Example"
    )
    ca = str(authority().write(tmp_path))
    served = serve(tell, loop=loop, tls=True, ca_certs=ca, cert_reqs="optional")
    with served.client(tls=authority().client(pair)) as client:
        found = told(client)
    assert found["SSL_CLIENT_VERIFY"] == "SUCCESS"
    assert found["SSL_CLIENT_CERT"].split() == pair.leaf.split()
    name = 'Ann "A", Ü'.encode().decode("latin-1")
    assert found["SSL_CLIENT_S_DN_CN"] == name
    escaped = name.replace('"', '\\"').replace(",", "\\,")
    assert found["SSL_CLIENT_S_DN"].startswith(f"CN={escaped},")
    assert found["SSL_CLIENT_S_DN"].endswith("O=Example")
    with served.client() as client:
        assert told(client)["SSL_CLIENT_VERIFY"] == "NONE"


def test_connections_with_equal_facts_share_them(served: Served) -> None:
    """A kilobyte less for each."""
    with served.client() as one, served.client() as two, served.client(name=None) as other:
        for client in (one, two, other):
            told(client)

        async def distinct() -> int:
            return len({id(each.server_variables) for each in served.connections.open})  # type: ignore[attr-defined]

        assert served.thread.run(distinct()) == 2


@both_loops
def test_what_we_know_of_tls_is_not_mixed_with_what_a_proxy_says(serve: Serve, loop: str) -> None:
    """A proxy that encrypts anew: its client's certificate is none of ours."""
    served = serve(tell, loop=loop, tls=True, proxy_protocol="v2")
    facts = tlv(2, b"client.example") + ssl_tlv(7, 0, tlv(0x22, b"Mallory"), tlv(0x23, b"RC4"))
    header = tcp(("192.0.2.1", 5), ("192.0.2.2", 443), facts)
    with served.client(opening=header) as client:
        found = told(client)
    assert found["SSL_CLIENT_VERIFY"] == "NONE"
    assert found["SSL_TLS_SNI"] == "localhost"
    assert found["SSL_PROTOCOL"] == "TLSv1.3"
    assert found["SSL_CIPHER"] != "RC4"
    assert "SSL_CLIENT_S_DN_CN" not in found
    assert (found["wsgi.url_scheme"], found["HTTPS"]) == ("https", "on")
    assert found["wsgi_async.peer"].startswith("127.0.0.1:")
    with served.client(opening=tcp(("192.0.2.1", 5), ("192.0.2.2", 443), b"")) as client:
        found = told(client)
    assert (found["wsgi.url_scheme"], found["HTTPS"]) == ("https", "on")


@both_loops
def test_a_believed_proxy_may_say_that_its_client_has_no_tls(serve: Serve, loop: str) -> None:
    served = serve(tell, loop=loop, tls=True, forwarded_allow_ips=("127.0.0.1",))
    with served.client() as client:
        assert told(client)["wsgi.url_scheme"] == "https"
        found = told(client, fields=("X-Forwarded-Proto: http",))
        assert (found["wsgi.url_scheme"], found["HTTPS"]) == ("http", None)
        found = told(client, fields=("X-Forwarded-Proto: https",))
        assert (found["wsgi.url_scheme"], found["HTTPS"]) == ("https", "on")


@both_loops
def test_plain_and_encrypted_addresses_beside_each_other(serve: Serve, loop: str) -> None:
    served = serve(tell, loop=loop, tls=True, bind=("https://127.0.0.1:0", "http://127.0.0.1:0"))
    ports = [int(address.rpartition(":")[2]) for address in served.server.addresses]
    with RawClient(("127.0.0.1", ports[0]), tls=served.tls) as client:
        assert told(client)["wsgi.url_scheme"] == "https"
    with RawClient(("127.0.0.1", ports[1])) as client:
        assert told(client)["wsgi.url_scheme"] == "http"


@both_loops
def test_a_unix_socket_has_the_port_of_https(serve: Serve, loop: str, tmp_path: Path) -> None:
    """PEP 3333 wants one, and URLs are made of it."""
    path = str(tmp_path / "s")
    served = serve(tell, loop=loop, tls=True, bind=(f"https://unix:{path}",))
    with RawClient(path, tls=served.tls) as client:
        assert told(client)["SERVER_PORT"] == "443"


# --- ends ------------------------------------------------------------------------------------


@both_loops
def test_a_client_that_has_said_close_notify_gets_its_answers(serve: Serve, loop: str) -> None:
    served = serve(hello, loop=loop, tls=True)
    with served.client() as client:
        client.send(request("/1") + request("/2"))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.response().body == b"hello"
        assert client.response().body == b"hello"
        assert client.socket.recv(10) == b""
        assert client.socket.said_goodbye  # type: ignore[union-attr]
    served.wait_until_idle()


@pytest.mark.parametrize("notify", [True, False])
@pytest.mark.parametrize("head", ["Content-Length: 10", "Transfer-Encoding: chunked"])
@both_loops
def test_a_body_that_is_cut_is_never_taken_for_whole(
    serve: Serve, loop: str, head: str, notify: bool
) -> None:
    calls: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        calls.append(environ["PATH_INFO"])
        return hello(environ, start_response)

    served = serve(application, loop=loop, tls=True)
    with served.client() as client:
        client.send(f"POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n5\r\nab".encode())
        assert isinstance(client.socket, Encrypted)
        if notify:
            client.socket.shutdown(socket.SHUT_WR)
        client.socket.wire.shutdown(socket.SHUT_WR)
        assert client.response().status == 400
    served.wait_until_idle()
    assert calls == []


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("fails", [False, True])
@both_loops
def test_a_response_that_was_cut_has_no_close_notify(
    serve: Serve, loop: str, fails: bool, version: str
) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"x" * 1000
        if fails:
            raise RuntimeError

    served = serve(application, loop=loop, tls=True)
    with served.client() as client:
        client.send(f"GET / HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        got = b""
        try:
            while part := client.socket.recv(1000):
                got += part
            is_cut = False
        except (Cut, ConnectionResetError):
            is_cut = True
    assert is_cut == fails
    if version == "1.1":
        assert got.endswith(b"0\r\n\r\n") != fails
    served.wait_until_idle()


@both_loops
def test_an_idle_connection_ends_with_a_close_notify(serve: Serve, loop: str) -> None:
    served = serve(hello, loop=loop, tls=True, keep_alive=0.3)
    with served.client() as client:
        client.get()
        assert client.socket.recv(10) == b""
        assert client.socket.said_goodbye  # type: ignore[union-attr]
    served.wait_until_idle()


@both_loops
def test_a_connection_that_ends_leaves_nothing_to_the_garbage_collector(loop: str) -> None:
    with (
        serving(hello, loop=loop, tls=True) as served,
        newcomers(HTTPProtocol, TLSTransport, Handshake, ssl.SSLObject) as alive,
    ):
        with served.client() as client:
            client.get()
            assert any(isinstance(one, TLSTransport) for one in alive())
            del client.socket.tls  # type: ignore[union-attr]
        served.wait_until(lambda: not alive())
        with socket.create_connection(served.address) as broken:
            broken.sendall(b"\x16\x03\x01\x00\x05hello")
            assert broken.recv(100)
        served.wait_until(lambda: not alive())


# --- nothing goes past it --------------------------------------------------------------------


@both_loops
def test_a_file_goes_through_the_encryption(serve: Serve, loop: str, tmp_path: Path) -> None:
    """And not by sendfile, which would write it in the clear."""
    path = tmp_path / "file"
    data = SEED * 60
    path.write_bytes(data)

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", str(len(data)))])
        return environ["wsgi.file_wrapper"](path.open("rb"))

    served = serve(application, loop=loop, tls=True)
    with served.client() as client:
        assert client.get().body == data
        assert client.get().body == data
    served.wait_until_idle()


@both_loops
def test_a_body_that_is_read_as_it_arrives_is_decrypted(serve: Serve, loop: str) -> None:
    """A thread that read the socket itself, as it does without TLS, would get records."""
    data = SEED * 60
    behind = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        first = environ["wsgi.input"].read(10)
        assert behind.wait(25)  # meanwhile the loop stops to read
        digest = hashlib.sha256(first)
        while part := environ["wsgi.input"].read(100_000):
            digest.update(part)
        start_response("200 OK", [])
        return [digest.hexdigest().encode()]

    served = serve(application, loop=loop, tls=True, request_buffering="stream")
    with served.client() as client:
        sender = threading.Thread(
            target=client.send, args=(request("/", "POST", body=data) + request("/next"),)
        )
        sender.start()
        served.wait_until(lambda: len(served.connections.unread) == 1)
        behind.set()
        assert client.response().body == hashlib.sha256(data).hexdigest().encode()
        sender.join()
    served.wait_until_idle()


@pytest.mark.parametrize("overflow", ["spool", "park", "block"])
@both_loops
def test_a_slow_reader_gets_it_all(serve: Serve, loop: str, overflow: str) -> None:
    data = SEED * 100

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        for start in range(0, len(data), 50_000):
            yield data[start : start + 50_000]

    served = serve(application, loop=loop, tls=True, threads=2, response_overflow=overflow)
    with served.client(receive_buffer=8192) as slow:
        slow.send(request())
        with served.client() as other:  # a slow reader costs nobody else his answer
            assert other.get().body == data
        assert slow.response().body == data
    served.wait_until_idle()


def stalling(size: int) -> Callable[..., list[bytes]]:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [bytes(size)]

    return application


@both_loops
def test_who_takes_nothing_is_dropped_in_time(serve: Serve, loop: str) -> None:
    served = serve(stalling(20_000_000), loop=loop, tls=True, send_timeout=1.0)
    with served.client(receive_buffer=8192) as client:
        client.send(request())
        [(_, why)] = served.recorder.wait_for("connection_dropped")
        assert why.startswith("it does not take its response: nothing moved for 1 s")
    served.wait_until_idle()


@both_loops
def test_who_takes_little_at_a_time_is_not(serve: Serve, loop: str) -> None:
    """Each piece counts, as much as was written of it."""
    size = 400_000
    served = serve(stalling(size), loop=loop, tls=True, send_timeout=2.0)
    with served.client(receive_buffer=4096) as client:
        client.send(request())
        pause = threading.Event()
        got = 0
        while got < size:
            got += len(client.socket.recv(16_384))
            pause.wait(0.1)
    assert served.recorder.of("connection_dropped") == []
    served.wait_until_idle()


@both_loops
def test_the_warm_up_is_told_what_requests_will_be_told(serve: Serve, loop: str) -> None:
    """An application that sends plain HTTP elsewhere would warm up nothing else."""
    seen: list[tuple[object, object]] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append((environ["wsgi.url_scheme"], environ.get("HTTPS")))
        return hello(environ, start_response)

    serve(application, loop=loop, tls=True, warmup=("/",))
    serve(application, loop=loop, warmup=("/",))
    assert seen == [("https", "on"), ("http", None)]
