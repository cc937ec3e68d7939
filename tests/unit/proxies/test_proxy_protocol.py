"""The PROXY protocol's header: both versions, every truncation, what is refused and why."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proxy_headers import (
    LINE,
    SIGNATURE,
    addresses,
    binary,
    line,
    ssl_tlv,
    tcp,
    tlv,
    with_checksum,
)

from wsgi_async.proxies.proxy_protocol import (
    MOST,
    MOST_OF_LINE,
    BadHeader,
    Header,
    Versions,
    read_header,
)

SOURCE, DESTINATION = ("203.0.113.7", 56324), ("192.0.2.11", 443)
SOURCE6, DESTINATION6 = ("2001:db8::7", 56324), ("2001:db8::11", 443)
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"

PORTS = st.integers(0, 65535)
IPV4 = st.tuples(st.ip_addresses(v=4).map(str), PORTS)
IPV6 = st.tuples(
    st.ip_addresses(v=6).map(str).filter(lambda text: not text.startswith("::ffff:")), PORTS
)
PAIRS = st.one_of(st.tuples(IPV4, IPV4), st.tuples(IPV6, IPV6))

RICH = with_checksum(
    tcp(
        SOURCE,
        DESTINATION,
        tlv(1, b"h2"),
        tlv(2, b"www.example.org"),
        tlv(5, b"\0\xffid"),
        ssl_tlv(1, 0, tlv(0x21, b"TLSv1.3"), tlv(0x23, b"TLS_AES_128_GCM_SHA256")),
    )
)
GOOD = {
    "v1 of the specification": LINE,
    "v1 TCP6": line(SOURCE6, DESTINATION6),
    "v1 UNKNOWN": b"PROXY UNKNOWN\r\n",
    "v1 UNKNOWN, the worst case": b"PROXY UNKNOWN %b %b 65535 65535\r\n"
    % ((b":".join([b"ffff"] * 8),) * 2),
    "v2 TCP4": tcp(SOURCE, DESTINATION),
    "v2 TCP6": tcp(SOURCE6, DESTINATION6),
    "v2 LOCAL": binary(command=0, family=0),
    "v2 UNIX": binary(b"/run/a".ljust(108, b"\0") + b"/run/b".ljust(108, b"\0"), family=0x31),
    "v2 with values and a checksum": RICH,
}


def read(data: bytes, versions: Versions = Versions.AUTO) -> Header:
    header = read_header(data, versions)
    assert header is not None
    return header


def why(data: bytes, versions: Versions = Versions.AUTO) -> str:
    with pytest.raises(BadHeader) as caught:
        read_header(data, versions)
    return str(caught.value)


@pytest.mark.parametrize("header", GOOD.values(), ids=GOOD)
def test_every_truncation_asks_for_more_and_what_follows_is_left(header: bytes) -> None:
    whole = read(header)
    assert whole.size == len(header)
    for size in range(len(header)):
        assert read_header(header[:size]) is None, size
    for more in (REQUEST, b"\r\n", header):
        assert read(header + more) == whole


@pytest.mark.parametrize("header", GOOD.values(), ids=GOOD)
def test_whatever_byte_is_changed_the_verdict_never_depends_on_the_cut(header: bytes) -> None:
    """Any byte, any bit: where a beginning is refused, the whole is, for the same reason."""
    for place in range(len(header)):
        for bit in range(8):
            changed = bytearray(header)
            changed[place] ^= 1 << bit
            data = bytes(changed) + REQUEST
            assert len(verdicts(data)) == 1, data


def verdicts(data: bytes) -> set[object]:
    found: set[object] = set()
    for size in range(1, len(data) + 1):
        try:
            header = read_header(data[:size])
        except BadHeader as error:
            header = str(error), error.is_missing  # type: ignore[assignment]
        if header is not None:
            found.add(header)
    return found or {None}


def test_the_example_of_the_specification() -> None:
    header = read(LINE)
    assert (header.version, header.protocol) == (1, "TCP4")
    assert header.source == ("192.168.0.1", 56324)
    assert header.destination == ("192.168.0.11", 443)


@settings(deadline=None)
@given(PAIRS, st.binary(max_size=40))
def test_what_either_version_says_is_what_the_proxy_meant(
    pair: tuple[tuple[str, int], tuple[str, int]], rest: bytes
) -> None:
    for header in (line(*pair), tcp(*pair), with_checksum(tcp(*pair, tlv(4, rest)))):
        found = read(header + rest)
        assert (found.size, found.source, found.destination) == (len(header), *pair)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_at_all_raise_anything_else(data: bytes) -> None:
    for beginning in (b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11\0\x20"):
        try:
            header = read_header(beginning + data)
        except BadHeader:
            continue
        assert header is None or header.size <= len(beginning + data)


def test_an_ipv4_address_within_ipv6_is_plain() -> None:
    """HAProxy sends both as IPv6 where one of them is; the client is still the same."""
    mapped = ("::ffff:203.0.113.7", 1), ("2001:db8::11", 2)
    assert read(line(*mapped)).source == ("203.0.113.7", 1)
    assert read(tcp(*mapped)).source == ("203.0.113.7", 1)


def test_where_the_proxy_says_nothing_the_socket_holds() -> None:
    for header in (
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN whatever stands here 1 2\r\n",
        binary(command=0, family=0),
        binary(bytes(12), command=0, family=0x11),  # LOCAL with a block: to be skipped
        binary(b"\xff" * 40, command=0, family=0xFF),  # and with a family that there is not
        binary(family=0),
        binary(b"anything", family=0),
        binary(b"anything", family=0x10),
    ):
        found = read(header)
        assert (found.size, found.source, found.destination) == (len(header), None, None)
        assert found.protocol in ("UNKNOWN", "LOCAL")


def test_a_unix_socket_has_a_path_or_a_name_or_nothing() -> None:
    def header(source: bytes) -> bytes:
        return binary(source.ljust(108, b"\0") + b"\0" * 108, family=0x31)

    assert read(header(b"/run/client.sock")).source == "/run/client.sock"
    assert read(header(b"\0abstract")).source == "@abstract"
    assert read(header(b"/" * 108)).source == "/" * 108
    assert read(header(b"")).source == ""
    assert read(header(b"")).destination == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", "LF alone"),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r\n", "CR in its line"),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", "two addresses and two ports"),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n", "two addresses and two ports"),
        (b"PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n", "two addresses and two ports"),
        (b"PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "no protocol"),
        (b"PROXY \r\n", "no protocol"),
        (b"PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n", "no protocol"),
        (b"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n", "no protocol"),
        (b"PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n", "an address or a port"),
        (b"PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n", "an address or a port"),
        (b"PROXY TCP4 ::1 ::1 1 2\r\n", "an address or a port"),
        (b"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n", "an address or a port"),
        (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "an address or a port"),
        (b"PROXY TCP6 1::2::3 ::1 1 2\r\n", "an address or a port"),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n", "an address or a port"),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 -1 2\r\n", "an address or a port"),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n", "an address or a port"),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 \xb2 2\r\n", "an address or a port"),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 \r\n", "an address or a port"),
        (b"PROXY UNKNOWN " + b"x" * 200, "longer than 107"),
    ],
)
def test_a_line_is_exact_or_refused(text: bytes, reason: str) -> None:
    assert reason in why(text)


def test_a_line_has_107_bytes_at_most() -> None:
    beginning = b"PROXY UNKNOWN "
    fits = beginning + b"x" * (MOST_OF_LINE - len(beginning) - 2) + b"\r\n"
    assert read(fits).size == MOST_OF_LINE
    too_long = beginning + b"x" * (MOST_OF_LINE - len(beginning) - 1) + b"\r\n"
    assert read_header(too_long[: MOST_OF_LINE - 1]) is None
    assert why(too_long[:MOST_OF_LINE]) == why(too_long) == why(too_long + REQUEST)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (binary(bytes(12), version=1), "version is 1"),
        (binary(bytes(12), command=2), "command 2"),
        (binary(bytes(12), family=0x41), "family of addresses is 4"),
        (binary(bytes(12), family=0x13), "transport is 3"),
        (binary(bytes(11), family=0x11), "too short for its addresses"),
        (binary(bytes(35), family=0x21), "too short for its addresses"),
        (binary(bytes(215), family=0x31), "too short for its addresses"),
        (binary(bytes(MOST - 15), command=0, family=0), f"{MOST} are taken"),
    ],
)
def test_what_version_2_may_not_be(data: bytes, reason: str) -> None:
    assert reason in why(data)
    assert reason in why(data[:16])  # told from its beginning: nothing more is waited for


def test_a_header_as_long_as_may_be() -> None:
    filled = tcp(SOURCE, DESTINATION, tlv(4, bytes(MOST - 16 - 12 - 3)))
    assert read(filled).size == MOST == len(filled)


def test_what_is_no_header_is_told_by_its_first_bytes() -> None:
    assert "begins with G, as a request" in why(b"GET / HTTP/1.1\r\n")
    assert "begins with PO, as a request" in why(b"POST / HTTP/1.1\r\n")
    assert "begins with PRI, as a request" in why(b"PRI * HTTP/2.0\r\n")
    assert "looks like TLS" in why(b"\x16\x03\x01")
    assert "0d 0a 47" in why(b"\r\nGET / HTTP/1.1\r\n")
    assert "1b" in why(b"\x1b[31m")
    for data in (b"GET", b"\x16", b"\r\nG"):
        with pytest.raises(BadHeader) as caught:
            read_header(data)
        assert caught.value.is_missing


def test_only_the_version_that_was_asked_for() -> None:
    binary_header = tcp(SOURCE, DESTINATION)
    assert read(LINE, Versions.V1) == read(LINE)
    assert read(binary_header, Versions.V2) == read(binary_header)
    assert "it is v1, and only v2" in why(LINE, Versions.V2)
    assert "it is v2, and only v1" in why(binary_header, Versions.V1)
    assert "begins with PO" in why(b"POST", Versions.V2)
    assert read_header(b"P", Versions.V2) is None  # it may become a header, and be told as one


def test_datagrams_have_addresses_too() -> None:
    header = binary(addresses(SOURCE, DESTINATION), family=0x12)
    assert (read(header).protocol, read(header).source) == ("UDP4", SOURCE)
