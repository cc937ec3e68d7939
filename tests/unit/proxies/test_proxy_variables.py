"""What a PROXY header says, as an application finds it in its environ."""

from __future__ import annotations

from typing import Any

import pytest
from proxy_headers import LINE, binary, ssl_tlv, tcp, tlv

from wsgi_async.proxies.proxy_protocol import read_header
from wsgi_async.proxies.proxy_variables import proxy_variables

SOURCE, DESTINATION = ("203.0.113.7", 56324), ("192.0.2.11", 443)


def variables(data: bytes) -> dict[str, Any]:
    header = read_header(data)
    assert header is not None
    return dict(proxy_variables(header))


def test_gunicorns_names_are_there() -> None:
    found = variables(LINE)
    assert found["PROXY_PROTOCOL"] == "TCP4"
    assert (found["PROXY_ADDR"], found["PROXY_PORT"]) == ("192.168.0.11", "443")
    assert dict(found["wsgi_async.proxy_protocol"]) == {
        "version": 1,
        "protocol": "TCP4",
        "source": ("192.168.0.1", 56324),
        "destination": ("192.168.0.11", 443),
    }
    assert "wsgi.url_scheme" not in found  # the proxy says nothing of it


def test_nobody_can_change_what_all_requests_of_a_connection_share() -> None:
    with pytest.raises(TypeError):
        variables(LINE)["wsgi_async.proxy_protocol"]["version"] = 3


def test_tls_is_told_by_mod_ssls_names() -> None:
    der = bytes(range(60))
    found = variables(
        tcp(
            SOURCE,
            DESTINATION,
            tlv(2, "bücher.example".encode()),
            ssl_tlv(
                0b101,
                0,
                tlv(0x21, b"TLSv1.3"),
                tlv(0x22, "Jürgen".encode()),
                tlv(0x23, b"AES"),
                tlv(0x28, der),
            ),
        )
    )
    assert (found["wsgi.url_scheme"], found["HTTPS"]) == ("https", "on")
    assert (found["SSL_PROTOCOL"], found["SSL_CIPHER"]) == ("TLSv1.3", "AES")
    # Native strings: the bytes of UTF-8, read as latin-1.
    assert found["SSL_CLIENT_S_DN_CN"].encode("latin-1").decode() == "Jürgen"
    assert found["SSL_TLS_SNI"].encode("latin-1").decode() == "bücher.example"
    assert found["SSL_CLIENT_VERIFY"] == "SUCCESS"
    first, *body, last, end = found["SSL_CLIENT_CERT"].split("\n")
    assert (first, last) == ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----")
    assert [len(part) for part in body] == [64, 16]
    assert end == ""
    tls = found["wsgi_async.proxy_protocol"]["tls"]
    assert (tls["version"], tls["client_certificate"]) == ("TLSv1.3", der)


@pytest.mark.parametrize(
    ("client", "verify", "said"),
    [
        (0b001, 0, "NONE"),  # HAProxy sends 0 where there is no certificate
        (0b001, 1, "NONE"),
        (0b011, 0, "SUCCESS"),
        (0b101, 0, "SUCCESS"),
        (0b101, 10, "FAILED:10"),
    ],
)
def test_a_certificate_that_was_not_shown_was_not_verified(
    client: int, verify: int, said: str
) -> None:
    found = variables(tcp(SOURCE, DESTINATION, ssl_tlv(client, verify)))
    assert found["SSL_CLIENT_VERIFY"] == said


def test_who_did_not_come_by_tls_has_none_of_it() -> None:
    found = variables(tcp(SOURCE, DESTINATION, ssl_tlv(0, 0, tlv(0x22, b"Mallory"))))
    assert not {name for name in found if name.startswith(("SSL_", "HTTPS", "wsgi."))}


def test_what_a_cloud_adds_is_handed_on_as_it_is() -> None:
    found = variables(tcp(SOURCE, DESTINATION, tlv(0xEA, b"\x01vpce"), tlv(5, b"\xff")))
    said = found["wsgi_async.proxy_protocol"]
    assert said["others"] == ((0xEA, b"\x01vpce"),)
    assert said["unique_id"] == b"\xff"


def test_a_check_of_the_proxys_own_is_local() -> None:
    found = variables(binary(command=0, family=0))
    assert found["PROXY_PROTOCOL"] == "LOCAL"
    assert "PROXY_ADDR" not in found
