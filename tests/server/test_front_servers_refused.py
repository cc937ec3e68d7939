"""Who passes for a front server, what is none of its protocol, and responses that end too early."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from front_servers import BEGINNINGS, answer, encode, told
from rawclient import RawClient
from serving import Served, both_loops, serving

PROTOCOLS = ("uwsgi", "scgi")
TITLES = {"uwsgi": "uwsgi", "scgi": "SCGI"}


def application(environ: dict[str, Any], start_response: Any) -> Any:
    if environ["PATH_INFO"] == "/cut":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return broken()
    if environ["PATH_INFO"] == "/short":
        start_response("200 OK", [("Content-Length", "100")])
        return broken()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["REMOTE_ADDR"].encode()]


def broken() -> Iterator[bytes]:
    yield b"begun"
    raise RuntimeError("on purpose")


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextlib.contextmanager
def speaking(protocol: str, **options: Any) -> Iterator[Served]:
    with serving(application, bind=[f"{protocol}://127.0.0.1:0"], **options) as served:
        yield served


@both_loops
def test_who_is_not_named_is_closed_unanswered(protocol: str, loop: str) -> None:
    with speaking(protocol, loop=loop, uwsgi_allow_from="10.0.0.1") as served:
        with served.client() as client:
            with contextlib.suppress(ConnectionError):
                client.send(encode(protocol, told()))
            assert client.is_dropped()
        [(name, why)] = served.recorder.wait_for("connection_dropped")
        assert name.startswith("127.0.0.1:")
        assert why.startswith("--uwsgi-allow-from does not name its address")
        served.wait_until_idle()
        assert served.recorder.of("request_finished") == []


def test_who_is_named_is_served(protocol: str) -> None:
    for named in ("127.0.0.0/8", "*", "10.0.0.1,127.0.0.1"):
        with speaking(protocol, uwsgi_allow_from=named) as served, served.client() as client:
            client.send(encode(protocol, told()))
            assert answer(protocol, client).body == b"192.0.2.9"
            warnings = [line for (line,) in served.recorder.of("warning")]
            assert ["lets everybody say" in line for line in warnings] == [True] * (named == "*")


def test_a_connection_that_somebody_else_accepted_is_of_the_servers_protocol(
    protocol: str,
) -> None:
    """As of inetd's: the socket that comes does not say."""
    with serving(application, protocol=protocol) as served:
        ours, theirs = socket.socketpair()
        with ours:
            ours.sendall(encode(protocol, told()))
            served.thread.run(served.server.serve_once(theirs, ("127.0.0.1", 5)))
            assert ours.recv(65536).startswith(BEGINNINGS[protocol])


def test_on_a_unix_socket_the_file_says_who_may(protocol: str, tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    bind = [f"{protocol}+unix:{path}"]
    with serving(application, bind=bind, uwsgi_allow_from="10.0.0.1") as served:
        [(addresses, *_)] = served.recorder.of("started")
        assert addresses == (f"{protocol}+unix:{path}",)
        with RawClient(path) as client:
            client.send(encode(protocol, told()))
            assert answer(protocol, client).body == b"192.0.2.9"


SPOKEN = [
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP was spoken to a {} port"),
    (b"OPTIONS * HTTP/1.1\r\n\r\n", "HTTP was spoken to a {} port"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS was spoken to a {} port"),
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "a PROXY header was sent to a {} port"),
    (b"\x01\x01\x00\x01\x00\x08\x00\x00", "it looks like FastCGI, and this port speaks {}"),
    (b"\xff" * 20, "what was sent to a {} port is not {}"),
    (b"get / HTTP/1.1\r\n", "what was sent to a {} port is not {}"),
]


@pytest.mark.parametrize(("data", "why"), SPOKEN)
def test_what_is_none_of_the_protocol_is_closed_unanswered(
    protocol: str, data: bytes, why: str
) -> None:
    with speaking(protocol) as served:
        for step in (len(data), 1):
            served.recorder.forget()
            with served.client() as client:
                with contextlib.suppress(ConnectionError):
                    for at in range(0, len(data), step):
                        client.send(data[at : at + step])
                assert client.is_dropped()
            [(_, told_why)] = served.recorder.wait_for("connection_dropped")
            assert told_why.startswith(why.format(*[TITLES[protocol]] * 2))
        served.wait_until_idle()


def test_one_protocol_spoken_to_the_port_of_another_is_named() -> None:
    for spoken, port in (("uwsgi", "scgi"), ("scgi", "uwsgi")):
        with speaking(port) as served, served.client() as client:
            client.send(encode(spoken, told()))
            assert client.is_dropped()
            [(_, why)] = served.recorder.wait_for("connection_dropped")
            assert why.startswith(f"it looks like {TITLES[spoken]}")
            assert f"use {port}_pass and not {spoken}_pass" in why
            assert why.endswith(f"--protocol {spoken}")


@pytest.mark.parametrize("size", [1, 3, 30])
def test_a_front_server_that_ends_within_its_variables_is_closed(protocol: str, size: int) -> None:
    with speaking(protocol) as served, served.client() as client:
        client.send(encode(protocol, told())[:size])
        client.half_close()
        assert client.is_dropped()
        [(_, why)] = served.recorder.wait_for("connection_dropped")
        assert why == "it has ended within the variables of a request"


def test_one_that_does_not_go_on_is_closed(protocol: str) -> None:
    with speaking(protocol, header_timeout=0.1) as served, served.client() as client:
        client.send(encode(protocol, told())[:30])
        assert client.is_dropped()
        [(_, why)] = served.recorder.wait_for("connection_dropped")
        assert why == "the variables of its request were not complete in time"


def test_one_that_says_nothing_is_closed(protocol: str) -> None:
    with speaking(protocol, header_timeout=0.1) as served, served.client() as client:
        assert client.is_dropped()


def test_a_body_that_ends_too_early_is_400(protocol: str) -> None:
    with speaking(protocol) as served, served.client() as client:
        client.send(encode(protocol, told("/", "POST", b"12345"), b"12345")[:-1])
        client.half_close()
        assert answer(protocol, client).status == 400


def test_a_cut_of_unknown_length_is_a_reset(protocol: str) -> None:
    """A front server would take an end for the end of the body."""
    with speaking(protocol) as served, served.client() as client:
        client.send(encode(protocol, told("/cut")))
        with pytest.raises(ConnectionResetError):
            client.read_to_end()
        served.wait_until_idle()


def test_a_cut_of_a_known_length_is_short(protocol: str) -> None:
    with speaking(protocol) as served, served.client() as client:
        client.send(encode(protocol, told("/short")))
        got = answer(protocol, client)
        assert (got.fields["content-length"], got.body) == ("100", b"begun")


def test_one_too_many_is_503_when_it_has_asked(protocol: str) -> None:
    """Before that, nobody knows to whom it would be said."""
    with speaking(protocol, max_connections=1) as served:
        with served.client() as first, served.client() as second:
            begun = encode(protocol, told())
            first.send(begun[:10])
            served.wait_until(lambda: len(served.connections.open) == 2)
            second.send(begun)
            assert answer(protocol, second).status == 503
            first.send(begun[10:])
            assert answer(protocol, first).status == 200
        served.wait_until_idle()


@pytest.mark.parametrize(("protocol", "name"), [("uwsgi", "uwsgi"), ("scgi", "SCGI")])
def test_spoken_to_an_http_port_it_is_named(protocol: str, name: str) -> None:
    with serving(application) as served, served.client() as client:
        client.send(encode(protocol, told()))
        assert client.response().status == 400
        [(_, status, detail)] = served.recorder.wait_for("request_refused")
        assert status == 400
        assert f"it looks like {name}" in detail.replace("the uwsgi protocol", "uwsgi")
        assert f"--bind {protocol}://" in detail
