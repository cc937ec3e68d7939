"""Behind a front server that speaks uwsgi or SCGI the options do what they do for HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from front_servers import PROTOCOLS, Answer, answer, encode, told
from rawclient import RawClient, request
from serving import Served, serving

from wsgi_async import Server


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    names = ("REMOTE_ADDR", "wsgi.url_scheme", "SCRIPT_NAME", "PATH_INFO", "wsgi_async.peer")
    facts = {name: environ.get(name) for name in names}
    facts["body"] = environ["wsgi.input"].read().decode()
    facts["forwarded"] = environ.get("HTTP_X_FORWARDED_FOR")
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(facts).encode()]


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ask(served: Served, protocol: str, variables: dict[str, str], body: bytes = b"") -> Answer:
    with served.client() as client:
        client.send(encode(protocol, variables, body))
        return answer(protocol, client)


def facts(served: Served, protocol: str, *args: Any, **more: str) -> dict[str, Any]:
    got = ask(served, protocol, told(*args, **more))
    assert got.status == 200
    found: dict[str, Any] = json.loads(got.body)
    return found


def speaking(protocol: str, **options: Any) -> Any:
    return serving(application, bind=[f"{protocol}://127.0.0.1:0"], **options)


# X-Forwarded-For is what the client has sent: the front server passes it on.
FORWARDED = {"HTTP_X_FORWARDED_FOR": "203.0.113.7", "HTTP_X_FORWARDED_PROTO": "https"}


@pytest.mark.parametrize(
    ("allowed", "client", "expected"),
    [
        # The connection is from this machine, and the client is not.
        (None, "192.0.2.9", ("192.0.2.9", "http", "203.0.113.7")),
        ("127.0.0.1", "192.0.2.9", ("192.0.2.9", "http", None)),
        # A proxy in front of the front server.
        ("192.0.2.0/24", "192.0.2.9", ("203.0.113.7", "https", "203.0.113.7")),
        (None, "127.0.0.1", ("127.0.0.1", "https", "203.0.113.7")),
        # Who does not say whom it speaks for has said nothing of his word.
        ("127.0.0.1", None, ("127.0.0.1", "http", None)),
    ],
)
def test_fields_of_proxies_count_by_the_clients_address(
    protocol: str, allowed: str | None, client: str | None, expected: tuple[str | None, ...]
) -> None:
    variables = told(**FORWARDED)
    if client is None:
        del variables["REMOTE_ADDR"], variables["REMOTE_PORT"]
    else:
        variables["REMOTE_ADDR"] = client
    options = {} if allowed is None else {"forwarded_allow_ips": allowed}
    with speaking(protocol, **options) as served:
        found = json.loads(ask(served, protocol, variables).body)
        got = (found["REMOTE_ADDR"], found["wsgi.url_scheme"], found["forwarded"])
        assert got == expected
        assert found["wsgi_async.peer"].startswith("127.0.0.1:")


def test_root_path(protocol: str) -> None:
    with speaking(protocol, root_path="/shop") as served:
        for path, below in (("/shop/x", "/x"), ("/shop", ""), ("/x", "/x")):
            found = facts(served, protocol, path)
            assert (found["SCRIPT_NAME"], found["PATH_INFO"]) == ("/shop", below)


def test_probes_are_answered_by_the_loop(protocol: str) -> None:
    with speaking(protocol, health_path="/health", ready_path="/ready") as served:
        got = ask(served, protocol, told("/health"))
        assert (got.status, got.body) == (200, b"ok\n")
        assert served.pool.completed == 0
        served.thread.loop.call_soon_threadsafe(served.server.leave)
        assert ask(served, protocol, told("/ready")).status == 503


def test_plain_http_in_front_is_redirected(protocol: str) -> None:
    """By what the front server says of its client, not by its connection."""
    bind = [f"{protocol}://127.0.0.1:0", "https://127.0.0.1:0"]
    with serving(
        application, tls=True, bind=bind, redirect_to_https="www.example.org:443"
    ) as served:
        port = int(served.server.addresses[0].rpartition(":")[2])
        for more, status in (({}, 301), ({"HTTPS": "on"}, 200)):
            with RawClient(("127.0.0.1", port)) as client:
                client.send(encode(protocol, told("/a?b", **more)))
                got = answer(protocol, client)
            assert got.status == status
        assert served.server.addresses[0].startswith(f"{protocol}://")


def test_http_is_spoken_beside_it(protocol: str) -> None:
    bind = [f"{protocol}://127.0.0.1:0", "127.0.0.1:0"]
    with serving(application, bind=bind, proxy_protocol="v1") as served:
        ports = [int(address.rpartition(":")[2]) for address in served.server.addresses]
        with RawClient(("127.0.0.1", ports[0])) as client:  # no header of a proxy comes here
            client.send(encode(protocol, told()))
            assert answer(protocol, client).status == 200
        with RawClient(("127.0.0.1", ports[1])) as client:
            client.send(b"PROXY TCP4 198.51.100.1 192.0.2.1 1 2\r\n" + request())
            assert json.loads(client.response().body)["REMOTE_ADDR"] == "198.51.100.1"


def test_bodies_may_be_read_as_they_come(protocol: str) -> None:
    body = b"0123456789" * 100_000
    with speaking(protocol, request_buffering="stream") as served:
        with served.client() as client:
            data = encode(protocol, told("/", "POST", body), body)
            client.send(data[:5000])
            served.wait_until(lambda: served.pool.busy)
            client.send(data[5000:])
            assert json.loads(answer(protocol, client).body)["body"] == body.decode()
        served.wait_until_idle()


def test_ids_and_fields_of_responses(protocol: str) -> None:
    options: dict[str, Any] = {"header": ["X-Own: 1"], "request_id_header": "X-Request-Id"}
    with speaking(protocol, **options, server_timing=True) as served:
        got = ask(served, protocol, told(HTTP_X_REQUEST_ID="abc"))
        assert got.fields["x-own"] == "1"
        assert got.fields["x-request-id"] == "abc"
        assert "server-timing" in got.fields
        assert got.fields["server"] == "wsgi_async"
        assert got.fields["date"].endswith(" GMT")


def test_a_request_in_flight_is_finished_at_a_stop(protocol: str) -> None:
    with speaking(protocol) as served, served.client() as client:
        data = encode(protocol, told("/", "POST", b"12345"), b"12345")
        client.send(data[:-1])
        served.wait_until(lambda: any(one.in_flight for one in served.connections.open))
        stopping = served.thread.loop.call_soon_threadsafe
        stopping(lambda: served.thread.loop.create_task(served.server.stop()))
        served.recorder.wait_for("stopping")
        client.send(data[-1:])
        assert answer(protocol, client).status == 200


def test_a_deadline_of_the_application_is_a_504(protocol: str) -> None:
    hold = threading.Event()

    def late(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        hold.wait(20)
        start_response("200 OK", [])
        return iter([b""])

    with serving(late, bind=[f"{protocol}://127.0.0.1:0"], request_timeout=0.1) as served:
        assert ask(served, protocol, told()).status == 504
        hold.set()


def test_the_protocol_may_be_said_once_for_all(protocol: str) -> None:
    server = Server(application, port=0, host="127.0.0.1", protocol=protocol)
    with server:
        assert server.addresses == (f"{protocol}://127.0.0.1:{server.port}",)
        with RawClient(("127.0.0.1", server.port or 0)) as client:
            client.send(encode(protocol, told()))
            assert answer(protocol, client).status == 200
