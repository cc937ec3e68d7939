"""The PROXY protocol on real sockets: what a connection's header says, however it arrives."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from proxy_headers import LINE, binary, line, ssl_tlv, tcp, tlv, with_checksum
from rawclient import RawClient, request
from serving import LoopThread, Recorder, Served, both_loops, serving

from wsgi_async.events import RequestInfo, ResponseInfo
from wsgi_async.server.beginning import BeginningState
from wsgi_async.server.preface import Preface
from wsgi_async.server.server import Server

SOURCE, DESTINATION = ("203.0.113.7", 56324), ("192.0.2.11", 443)
SOURCE6, DESTINATION6 = ("2001:db8::7", 56324), ("2001:db8::11", 8443)
RICH = with_checksum(
    tcp(
        SOURCE6,
        DESTINATION6,
        tlv(2, b"www.example.org"),
        tlv(5, b"\xff1"),
        ssl_tlv(1, 0, tlv(0x21, b"TLSv1.3"), tlv(0x23, b"TLS_AES_128_GCM_SHA256")),
    )
)
CLOSE = request(fields=("Connection: close",))


def tell(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """The environ, as JSON, and the size of the body."""
    size = len(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Type", "application/json")])
    plain = {name: value for name, value in environ.items() if isinstance(value, str | int)}
    return [json.dumps(plain | {"size": size}).encode()]


def prefaces(served: Served) -> list[Preface]:
    """*Loop:* the connections whose header is awaited."""
    return [found for found in served.connections.open if isinstance(found, Preface)]


def seen(served: Served) -> list[int]:
    """*Loop:* how much of their headers there is."""
    return [len(preface._seen) for preface in prefaces(served)]


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with serving(tell, loop=request.param, proxy_protocol="auto", header_timeout=60) as served:
        yield served


def answer(client: RawClient) -> dict[str, Any]:
    response = client.response()
    assert response.status == 200
    found: dict[str, Any] = json.loads(response.body)
    return found


# --- what it says ----------------------------------------------------------------------------


@pytest.mark.parametrize("header", [line(SOURCE, DESTINATION), tcp(SOURCE, DESTINATION)])
def test_the_client_is_the_headers_source_everywhere(served: Served, header: bytes) -> None:
    with served.client() as client:
        client.send(header + request())
        environ = answer(client)
        peer = f"127.0.0.1:{client.socket.getsockname()[1]}"
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("203.0.113.7", "56324")
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("192.0.2.11", "443")
    assert environ["wsgi_async.peer"] == peer
    assert environ["wsgi.url_scheme"] == "http"
    assert "203.0.113.7:56324" in {info.client for info, _ in requests(served.recorder)}


def requests(recorder: Recorder) -> list[tuple[RequestInfo, ResponseInfo]]:
    return [(info, response) for info, response in recorder.wait_for("request_finished")]


def test_the_facts_of_tls_and_others_are_in_the_environ(served: Served) -> None:
    with served.client() as client:
        client.send(RICH + request())
        environ = answer(client)
    assert (environ["wsgi.url_scheme"], environ["HTTPS"]) == ("https", "on")
    assert (environ["REMOTE_ADDR"], environ["SERVER_PORT"]) == ("2001:db8::7", "8443")
    assert environ["SSL_PROTOCOL"] == "TLSv1.3"
    assert environ["SSL_CLIENT_VERIFY"] == "NONE"
    assert environ["SSL_TLS_SNI"] == "www.example.org"


@pytest.mark.parametrize(
    "header", [b"PROXY UNKNOWN\r\n", binary(command=0, family=0), binary(family=0)]
)
def test_where_it_says_nothing_the_socket_holds(served: Served, header: bytes) -> None:
    """HAProxy's own checks are such: they must be answered."""
    with served.client() as client:
        client.send(header + request())
        environ = answer(client)
        assert environ["REMOTE_PORT"] == str(client.socket.getsockname()[1])
        assert environ["SERVER_PORT"] == str(served.address[1])


def test_a_client_of_a_unix_socket_has_no_address(served: Served) -> None:
    header = binary(b"/run/a".ljust(108, b"\0") + b"/run/b".ljust(108, b"\0"), family=0x31)
    with served.client() as client:
        client.send(header + request())
        environ = answer(client)
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("", "")
    assert environ["PROXY_PROTOCOL"] == "UNIX"


@both_loops
def test_unix_listeners_take_it_too(loop: str, tmp_path: Path) -> None:
    path = str(tmp_path / "server")
    with serving(tell, loop=loop, bind=(f"unix:{path}",), proxy_protocol="v2") as served:
        for cut in (0, 20):
            with RawClient(path) as client:
                client.send(RICH[:cut])
                served.wait_until(lambda cut=cut: not cut or seen(served) == [cut])
                client.send(RICH[cut:] + request())
                environ = answer(client)
            assert environ["REMOTE_ADDR"] == "2001:db8::7"
            assert environ["wsgi_async.peer"] == "unix"
        served.wait_until_idle()


def test_two_connections_have_each_their_own(served: Served) -> None:
    with served.client() as first, served.client() as second:
        first.send(line(("192.0.2.1", 1), DESTINATION) + request())
        second.send(line(("192.0.2.2", 2), DESTINATION) + request())
        assert answer(first)["REMOTE_ADDR"] == "192.0.2.1"
        assert answer(second)["REMOTE_ADDR"] == "192.0.2.2"
        # And keep it: the header is of the connection, not of a request.
        first.send(request())
        assert answer(first)["REMOTE_ADDR"] == "192.0.2.1"


def test_what_the_server_itself_refuses_is_logged_with_the_client(served: Served) -> None:
    with served.client() as client:
        client.send(line(("192.0.2.99", 9), DESTINATION) + b"BROKEN\r\n\r\n")
        assert client.response().status == 400
    refused = served.recorder.wait_for("request_refused")
    assert "192.0.2.99:9" in {facts[0] for facts in refused}


# --- how it comes ----------------------------------------------------------------------------


@pytest.mark.parametrize("header", [LINE, RICH], ids=["v1", "v2"])
def test_cut_anywhere_it_is_the_same(served: Served, header: bytes) -> None:
    """The first part has been taken by the server before the rest is sent."""
    expected = None
    for cut in range(1, len(header)):
        with served.client() as client:
            client.send(header[:cut])
            served.wait_until(lambda cut=cut: seen(served) == [cut])
            client.send(header[cut:] + CLOSE)
            environ = answer(client)
        facts = {name: environ[name] for name in ("REMOTE_ADDR", "REMOTE_PORT", "SERVER_PORT")}
        assert expected in (None, facts)
        expected = facts
    served.wait_until_idle()


@pytest.mark.parametrize("header", [LINE, RICH], ids=["v1", "v2"])
def test_byte_by_byte_and_exactly_its_bytes_are_taken(served: Served, header: bytes) -> None:
    with served.client() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in header + request("/first") + request("/second"):
            client.send(bytes([byte]))
        assert answer(client)["PATH_INFO"] == "/first"
        assert answer(client)["PATH_INFO"] == "/second"


def test_what_follows_in_the_same_segment_is_the_requests(served: Served) -> None:
    body = bytes(range(256)) * 1000
    with served.client() as client:
        client.send(LINE + request("/up", "POST", body=body) + request("/next"))
        assert answer(client)["size"] == len(body)
        assert answer(client)["PATH_INFO"] == "/next"


def test_urgent_data_in_between_does_no_harm(served: Served) -> None:
    """A read ends where some was sent, though more is there."""
    with served.client() as client:
        client.send(LINE[:10])
        client.socket.send(b"!", socket.MSG_OOB)
        client.send(LINE[10:] + request())
        assert answer(client)["REMOTE_ADDR"] == "192.168.0.1"


def test_a_second_header_is_a_bad_request(served: Served) -> None:
    """Only the proxy's own counts: what its client sends in front of a request is not believed."""
    with served.client() as client:
        client.send(LINE + line(("198.51.100.1", 1), DESTINATION) + request())
        assert client.response().status == 400


def test_a_header_as_large_as_may_be(served: Served) -> None:
    """16 KiB, in pieces that a socket's buffer may have."""
    header = tcp(SOURCE, DESTINATION, tlv(4, bytes(16 * 1024 - 16 - 12 - 3)))
    with served.client() as client:
        client.send(header[:9000])
        served.wait_until(lambda: seen(served) == [9000])
        client.send(header[9000:] + request())
        assert answer(client)["REMOTE_ADDR"] == "203.0.113.7"


def test_a_part_of_a_header_costs_no_turn_of_the_loop(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop tells of a socket as long as something waits in it: nothing may."""
    looks = []
    advance = Preface.advance

    def counted(self: Preface) -> Any:
        looks.append(self)
        return advance(self)

    monkeypatch.setattr(Preface, "advance", counted)
    with served.client() as client:
        for before, sent in ((0, 1), (1, 20), (20, 40)):
            client.send(RICH[before:sent])
            served.wait_until(lambda sent=sent: seen(served) == [sent])
        count = len(looks)
        served.thread.run(turns(200))
        assert len(looks) == count <= 6
        client.send(RICH[40:] + CLOSE)
        answer(client)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@both_loops
def test_a_connection_that_somebody_else_accepted_has_one_too(loop: str) -> None:
    """``handle_request()`` of the standard library's server, which accepts by itself."""
    thread, recorder = LoopThread(loop), Recorder()
    server = Server(tell, observer=recorder, keep_alive=0, proxy_protocol="v1")
    try:
        for cut in (0, 10):
            ours, theirs = socket.socketpair()
            with ours:
                ours.settimeout(10)
                thread.run(server.start(()))
                ours.sendall(LINE if not cut else LINE[:cut])
                serving_once = thread.run(begin(server, theirs))
                ours.sendall((LINE[cut:] if cut else b"") + request())
                answered = b""
                while part := ours.recv(65536):
                    answered += part
            thread.run(wait(serving_once))
            thread.run(server.stop())
            assert b'"REMOTE_ADDR": "192.168.0.1"' in answered
        assert recorder.of("error") == []
    finally:
        thread.close()


async def begin(server: Server, connection: socket.socket) -> Any:
    return asyncio.ensure_future(server.serve_once(connection, ""))


async def wait(future: Any) -> None:
    await future


def test_the_states_that_follow_each_other(served: Served) -> None:
    """The table of :class:`BeginningState` is what happens."""
    with served.client() as client:
        served.wait_until(lambda: [found.state for found in prefaces(served)] == [silent])
        client.send(LINE[:3])
        served.wait_until(lambda: [found.state for found in prefaces(served)] == [begun])
        [preface] = prefaces(served)
        client.send(LINE[3:] + CLOSE)
        answer(client)
    assert preface.state is BeginningState.OVER
    with pytest.raises(RuntimeError, match="cannot go from OVER to BEGUN"):
        preface._enter(begun)


silent, begun = BeginningState.SILENT, BeginningState.BEGUN
