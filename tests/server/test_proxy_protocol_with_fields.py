"""A PROXY header and forwarded fields on the same connection: whose word counts for what."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from proxy_headers import binary, line, ssl_tlv, tcp
from rawclient import request
from serving import Served, serving

CLIENT, BEFORE, DESTINATION = ("203.0.113.7", 56324), "198.51.100.9", ("192.0.2.11", 443)
FOR = f"X-Forwarded-For: {BEFORE}"
HTTPS = "X-Forwarded-Proto: https"
OVER_TLS = tcp(CLIENT, DESTINATION, ssl_tlv(1, 0))

Ask = Callable[..., dict[str, str]]


def tell(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    plain = {name: value for name, value in environ.items() if isinstance(value, str)}
    return [json.dumps(plain).encode()]


@contextmanager
def asking(**options: Any) -> Iterator[tuple[Served, Ask]]:
    """A function that asks with fields, behind a header, from 127.0.0.1."""

    def ask(*fields: str, header: bytes = line(CLIENT, DESTINATION)) -> dict[str, str]:
        with served.client() as client:
            client.send(header + request(fields=fields))
            response = client.response()
        assert response.status == 200
        found: dict[str, str] = json.loads(response.body)
        assert found["wsgi_async.peer"].startswith("127.0.0.1:")
        return found

    with serving(tell, proxy_protocol="auto", **options) as served:
        yield served, ask


def test_unasked_the_scheme_is_believed_of_a_proxy_on_this_machine() -> None:
    """As gunicorn has it, by the socket's other end: HAProxy in mode http says both."""
    with asking() as (_, ask):
        environ = ask(HTTPS, FOR)
        assert (environ["wsgi.url_scheme"], environ["HTTPS"]) == ("https", "on")
        assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("203.0.113.7", "56324")
        assert environ["HTTP_X_FORWARDED_FOR"] == BEFORE


@pytest.mark.parametrize(
    ("allowed", "client"),
    [
        # The header's client is no proxy: it is the client, whatever it has written.
        (["127.0.0.1"], "203.0.113.7"),
        # It is a proxy of ours: its client is another one.
        (["127.0.0.1", "203.0.113.0/24"], BEFORE),
        # Everybody is believed: then who is nearest is the client.
        (["*"], "203.0.113.7"),
        (["0.0.0.0/0"], "203.0.113.7"),
    ],
)
def test_the_client_in_the_header_is_the_nearest_hop(allowed: list[str], client: str) -> None:
    with asking(forwarded_allow_ips=allowed) as (served, ask):
        assert ask(FOR)["REMOTE_ADDR"] == client
        [(info, _)] = served.recorder.wait_for("request_finished")
        assert info.client == (BEFORE if client == BEFORE else "203.0.113.7:56324")


def test_what_is_not_the_client_comes_from_the_proxy_all_the_same() -> None:
    with asking(proxy_headers="for,proto,host", forwarded_allow_ips="127.0.0.1") as (_, ask):
        environ = ask(FOR, HTTPS, "X-Forwarded-Host: www.example.org")
        assert environ["REMOTE_ADDR"] == "203.0.113.7"
        assert (environ["wsgi.url_scheme"], environ["SERVER_PORT"]) == ("https", "443")
        assert environ["HTTP_HOST"] == "www.example.org"


def test_fields_of_a_proxy_that_may_introduce_and_is_not_believed_are_removed() -> None:
    with asking(forwarded_allow_ips="192.0.2.1") as (served, ask):
        environ = ask(FOR, HTTPS, header=OVER_TLS)
        assert environ["REMOTE_ADDR"] == "203.0.113.7"
        assert environ["wsgi.url_scheme"] == "https"  # the header has said so
        assert "HTTP_X_FORWARDED_FOR" not in environ
        [(message,)] = served.recorder.wait_for("warning")
        assert message.startswith("X-Forwarded-For, from 127.0.0.1, is removed")


def test_with_none_of_them_a_client_behind_a_proxy_of_bytes_says_nothing() -> None:
    with asking(proxy_headers="off") as (_, ask):
        environ = ask(FOR, HTTPS)
        assert environ["wsgi.url_scheme"] == "http"
        assert environ["REMOTE_ADDR"] == "203.0.113.7"


def test_a_forwarded_host_has_the_port_of_the_headers_scheme() -> None:
    with asking(proxy_headers="host", forwarded_allow_ips="127.0.0.1") as (_, ask):
        for header, port in ((OVER_TLS, "443"), (line(CLIENT, DESTINATION), "80")):
            environ = ask("X-Forwarded-Host: www.example.org", header=header)
            assert environ["SERVER_PORT"] == port


def test_fields_on_top_of_what_the_header_says_of_tls() -> None:
    with asking(proxy_headers="proto") as (_, ask):
        assert ask(header=OVER_TLS)["wsgi.url_scheme"] == "https"
        environ = ask("X-Forwarded-Proto: http", header=OVER_TLS)
        assert environ["wsgi.url_scheme"] == "http"
        assert "HTTPS" not in environ


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", binary(command=0, family=0)])
def test_a_header_that_names_nobody_is_none(header: bytes) -> None:
    with asking(proxy_headers=True) as (_, ask):
        assert ask(FOR, header=header)["REMOTE_ADDR"] == BEFORE


def test_only_of_a_client_that_nobody_has_named_it_is_said_that_it_is_not_known() -> None:
    """Where the header has its address, X-Forwarded-For is not missed."""
    with asking() as (served, ask):
        ask(FOR)
        assert served.recorder.of("warning") == []
        ask(FOR, header=b"PROXY UNKNOWN\r\n")
        [(message,)] = served.recorder.wait_for("warning")
        assert message.startswith("X-Forwarded-For, from 127.0.0.1, is not used")
