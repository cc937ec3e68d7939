"""What version 2 of the PROXY protocol carries besides addresses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proxy_headers import binary, ssl_tlv, tcp, tlv, with_checksum

from wsgi_async.proxies.proxy_protocol import BadHeader, Header, read_header
from wsgi_async.proxies.tlvs import Facts, WrongChecksum, crc32c

SOURCE, DESTINATION = ("203.0.113.7", 56324), ("192.0.2.11", 443)


def read(*values: bytes) -> Header:
    header = read_header(tcp(SOURCE, DESTINATION, *values))
    assert header is not None
    return header


def why(*values: bytes) -> str:
    with pytest.raises(BadHeader) as caught:
        read(*values)
    return str(caught.value)


def test_the_checksum_is_that_of_the_rfc() -> None:
    # The check value of CRC-32C, and RFC 3720 Appendix B.4.
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43


def test_each_value_has_its_name() -> None:
    found = read(
        tlv(1, b"http/1.1"),
        tlv(2, "bücher.example".encode()),
        tlv(4, b"padding"),
        tlv(5, b"\0\xff" * 64),
        tlv(0x30, b"blue"),
        tlv(0xEA, b"\x01vpce-0"),
        tlv(0xEA, b"\x02more"),
    )
    assert found.facts == Facts(
        alpn=b"http/1.1",
        authority="bücher.example",
        unique_id=b"\0\xff" * 64,
        netns="blue",
        others=((0xEA, b"\x01vpce-0"), (0xEA, b"\x02more")),
    )


def test_the_facts_of_tls() -> None:
    found = read(
        ssl_tlv(
            0b111,
            0,
            tlv(0x21, b"TLSv1.3"),
            tlv(0x22, "Jürgen".encode()),
            tlv(0x23, b"TLS_AES_256_GCM_SHA384"),
            tlv(0x24, b"RSA-SHA256"),
            tlv(0x25, b"RSA2048"),
            tlv(0x26, b"x25519"),
            tlv(0x27, b"rsa_pss_rsae_sha256"),
            tlv(0x28, b"\x30\x82"),
            tlv(0x2F, b"of a later version"),
        )
    ).facts.tls
    assert found is not None
    assert (found.is_tls, found.has_certificate, found.verify) == (True, True, 0)
    assert (found.version, found.common_name) == ("TLSv1.3", "Jürgen")
    assert (found.cipher, found.client_certificate) == ("TLS_AES_256_GCM_SHA384", b"\x30\x82")
    assert (found.group, found.signature_scheme) == ("x25519", "rsa_pss_rsae_sha256")
    assert (found.signature_algorithm, found.key_algorithm) == ("RSA-SHA256", "RSA2048")


@pytest.mark.parametrize("flag", [0b010, 0b100])
def test_a_certificate_of_this_connection_or_of_its_session(flag: int) -> None:
    tls = read(ssl_tlv(1 | flag, 10)).facts.tls
    assert tls is not None
    assert (tls.has_certificate, tls.verify) == (True, 10)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\x02", "last value is cut"),
        (b"\x02\0", "last value is cut"),
        (b"\x02\0\x01", "longer than what is left"),
        (tlv(2, b"a") + b"\x04\0", "last value is cut"),
        (tlv(2, b"a" * 256), "authority is too long"),
        (tlv(2, b"\xff"), "authority is too long, or not the text"),
        (tlv(2, b"a\r\nX: y"), "authority is too long, or not the text"),
        (tlv(2, "a\x85b".encode()), "authority is too long, or not the text"),
        (tlv(5, b"a" * 129), "unique id is too long"),
        (tlv(0x30, "ü".encode()), "netns is too long, or not the text"),
        (tlv(2, b"a") * 2, "two values for authority"),
        (tlv(5, b"a") * 2, "two values for unique id"),
        (tlv(3, bytes(3)), "has not four bytes"),
        (tlv(3, bytes(5)), "has not four bytes"),
        (tlv(0x20, bytes(4)), "TLS facts are cut"),
        (tlv(0x20, b"\1" + bytes(4) + b"\x21\0"), "last value is cut"),
        (tlv(0x20, b"\1" + bytes(4) + b"\x21\0\x05TLS"), "longer than what is left"),
        (ssl_tlv(1, 0, tlv(0x21, b"a\0")), "version is too long, or not the text"),
        (ssl_tlv(1, 0, tlv(0x22, b"\xff")), "common name is too long, or not the text"),
        (ssl_tlv(1, 0, tlv(0x21, b"a") * 2), "two values for version"),
        (ssl_tlv(1, 0) * 2, "TLS facts twice"),
    ],
)
def test_a_value_that_is_wrong_makes_the_header_wrong(value: bytes, reason: str) -> None:
    assert reason in why(value)


def test_a_value_at_its_bound_passes() -> None:
    assert read(tlv(2, b"a" * 255)).facts.authority == "a" * 255
    assert read(tlv(5, b"a" * 128)).facts.unique_id == b"a" * 128


@settings(deadline=None)
@given(st.binary(max_size=60), st.data())
def test_a_bit_that_flips_under_a_checksum_is_noticed(padding: bytes, data: st.DataObject) -> None:
    header = with_checksum(tcp(SOURCE, DESTINATION, tlv(4, padding)))
    assert read_header(header) is not None
    # In the sixteen bytes before, a flip may make it another header, or one that is longer.
    bit = data.draw(st.integers(16 * 8, len(header) * 8 - 1))
    changed = bytearray(header)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        found = read_header(bytes(changed))
    except BadHeader:
        return
    # One that hits the type of the checksum itself makes it another value.
    assert found is not None
    assert bit // 8 == len(header) - 7


def test_a_checksum_may_stand_anywhere_and_only_once() -> None:
    plain = tcp(SOURCE, DESTINATION, tlv(3, bytes(4)), tlv(2, b"a"))
    place = plain.index(tlv(2, b"a")) - 4
    right = plain[:place] + crc32c(plain).to_bytes(4) + plain[place + 4 :]
    found = read_header(right)
    assert found is not None
    assert found.facts.authority == "a"
    twice = tcp(SOURCE, DESTINATION, tlv(3, bytes(4)), tlv(3, b"more"))
    place = len(twice) - 11
    with pytest.raises(BadHeader, match="two checksums"):
        read_header(twice[:place] + crc32c(twice).to_bytes(4) + twice[place + 4 :])


def test_the_checksum_of_a_header_without_addresses_counts_too() -> None:
    """HAProxy's checks are LOCAL, with what values it sends otherwise."""
    local = with_checksum(binary(tlv(5, b"id"), command=0, family=0))
    found = read_header(local)
    assert found is not None
    assert found.facts == Facts()
    with pytest.raises(WrongChecksum):
        read_header(local[:-1] + bytes([local[-1] ^ 1]))
