"""Whose word counts: addresses, networks, unix sockets and everyone."""

from __future__ import annotations

import pytest

from wsgi_async.errors import ConfigError
from wsgi_async.proxies.nodes import read_address, read_node
from wsgi_async.proxies.trust import NEARBY, PeerSet


@pytest.mark.parametrize(
    ("entries", "inside", "outside"),
    [
        ("192.0.2.1", ["192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201"], ["192.0.2.2", "", "x"]),
        ("10.0.0.0/8,2001:db8::/32", ["10.255.0.1", "2001:DB8:1::1"], ["11.0.0.1", "2001:db9::"]),
        (" 10.0.0.1 ,, ::1 ", ["10.0.0.1", "0:0:0:0:0:0:0:1"], ["10.0.0.2", "::2"]),
        ("::ffff:192.0.2.1", ["192.0.2.1"], ["::192.0.2.1"]),
        ("::ffff:10.0.0.0/104", ["10.1.2.3"], ["11.0.0.0"]),
        ("10.0.0.0/255.0.0.0", ["10.1.2.3"], ["11.0.0.0"]),
        ("fe80::1", ["fe80::1", "fe80::1%eth0", "fe80::1%2"], ["fe80::2%eth0"]),
        ("fe80::1%Eth0", ["fe80::1%Eth0"], ["fe80::1", "fe80::1%eth0"]),
        ("fe80::/10", ["fe80::1%eth0", "fe80::1"], ["fec0::1"]),
        ("UNIX", [""], ["127.0.0.1", "unix"]),
        ("unix:", [""], ["127.0.0.1"]),
        ("0.0.0.0/0", ["192.0.2.1", "::ffff:192.0.2.1"], ["::1", ""]),
        ("::/0", ["::1", "2001:db8::1"], ["127.0.0.1", "::ffff:127.0.0.1", ""]),
        ("*", ["192.0.2.1", "::1", "", "what"], []),
        ("", [], ["127.0.0.1", "::1", ""]),
        (NEARBY, ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", ""], ["10.0.0.1", "::2"]),
        (["10.0.0.1", "unix"], ["10.0.0.1", ""], ["10.0.0.2"]),
    ],
)
def test_who_is_in_it(entries: str | list[str], inside: list[str], outside: list[str]) -> None:
    peers = PeerSet(entries)
    for _ in range(2):  # what is remembered is the same
        assert [peer for peer in inside if peer not in peers] == []
        assert [peer for peer in outside if peer in peers] == []
    assert [peer for peer in inside if not peers.names(peer)] == []
    assert [peer for peer in outside if peers.names(peer)] == []


@pytest.mark.parametrize(
    ("entries", "everyone"),
    [
        *(("*", True), ("10.0.0.1,*", True), ("0.0.0.0/0", True), ("::/0,10.0.0.1", True)),
        *(("::ffff:0:0/96", True), ("0.0.0.0/1,128.0.0.0/1", False), ("unix", False), ("", False)),
    ],
)
def test_everyone(entries: str, everyone: bool) -> None:
    assert PeerSet(entries).everyone is everyone


@pytest.mark.parametrize(
    ("entries", "error"),
    [
        ("10.0.0.1/8", "'10.0.0.1/8' is a host with the size of a network: write 10.0.0.0/8 for "),
        ("2001:db8::1/32", "write 2001:db8::/32 for the network, or 2001:db8::1 for the host"),
        ("::ffff:10.0.0.1/104", "write 10.0.0.0/8 for the network, or 10.0.0.1 for the host"),
        ("localhost", "takes addresses, networks such as 10.0.0.0/8, unix and *, not 'localhost'"),
        ("127.0.0.1:80", "not '127.0.0.1:80'"),
        ("[::1]", "not '[::1]'"),
        ("10.0.0.0 10.0.0.1", "not '10.0.0.0 10.0.0.1'"),
        ("010.0.0.1", "not '010.0.0.1'"),
        ("10.0.0.0/33", "takes networks such as 10.0.0.0/8 or 2001:db8::/32, not '10.0.0.0/33'"),
        ("10.0.0.0/", "not '10.0.0.0/'"),
        ("/8", "not '/8'"),
        ("a/8", "not 'a/8'"),
        ("fe80::%eth0/10", "not 'fe80::%eth0/10'"),
        ("10.0.0.*", "not '10.0.0.*'"),
    ],
)
def test_what_is_none_is_one_clear_line(entries: str, error: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PeerSet(entries, flag="--proxy-allow-from")
    assert error in str(caught.value)
    assert str(caught.value).startswith("--proxy-allow-from")
    assert "\n" not in str(caught.value)


def test_what_is_remembered_has_a_bound() -> None:
    peers = PeerSet("10.0.0.0/8")
    for number in range(5000):
        assert f"10.0.{number >> 8}.{number & 255}" in peers
        assert not peers.names(f"192.0.{number >> 8}.{number & 255}")  # of a client: it is not
    assert not any(key.startswith("192.") for key in peers._known)
    assert "1" * 100_000 not in peers  # long text is asked for each time, and takes no room
    assert len(peers._known) <= 1024
    assert all(len(key) < 100 for key in peers._known)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:C000:0201", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("fe80::1%", None),
        ("fe80::1%<b>", None),
        ("fe80::1%a b", None),
        ("192.0.2", None),
        ("192.0.2.01", None),
        ("3221225985", None),
        ("0xC0000201", None),
        ("192.0.2.\u0661", None),
        ("1" * 10_000, None),
        ("", None),
    ],
)
def test_an_address_has_one_spelling(text: str, plain: str | None) -> None:
    address = read_address(text)
    assert (None if address is None else str(address)) == plain


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("192.0.2.1", ("192.0.2.1", "")),
        ("192.0.2.1:80", ("192.0.2.1", "80")),
        ("192.0.2.1:00080", ("192.0.2.1", "80")),
        ("192.0.2.1:0", ("192.0.2.1", "0")),
        ("192.0.2.1:65535", ("192.0.2.1", "65535")),
        ("192.0.2.1:65536", None),
        ("192.0.2.1:123456", None),
        ("192.0.2.1:", None),
        ("192.0.2.1:http", None),
        ("192.0.2.1:-1", None),
        ("192.0.2.1:\u0661", None),
        ("192.0.2.1:_gateway", ("192.0.2.1", "")),
        ("192.0.2.1:_", None),
        ("::1", ("::1", "")),
        ("2001:db8::1:80", ("2001:db8::1:80", "")),  # without brackets there is no port
        ("[::1]", ("::1", "")),
        ("[2001:DB8::1]:8080", ("2001:db8::1", "8080")),
        ("[::ffff:192.0.2.1]:80", ("192.0.2.1", "80")),
        ("::ffff:192.0.2.1", ("192.0.2.1", "")),
        ("[fe80::1%eth0]:80", ("fe80::1%eth0", "80")),
        ("[192.0.2.1]", None),
        ("[192.0.2.1]:80", None),
        ("[::1]80", None),
        ("[::1]:", None),
        ("[::1", None),
        ("::1]", None),
        ("[[::1]]", None),
        ("[]", None),
        ("unix:", ("", "")),
        ("unix", None),
        ("unknown", None),
        ("unknown:80", None),
        ("_hidden", None),
        ("_hidden:80", None),
        ("localhost", None),
        ("192.0.2.1 ", None),
        ("", None),
    ],
)
def test_nodes_in_every_spelling(text: str, node: tuple[str, str] | None) -> None:
    found = read_node(text)
    assert (found and (str(found.address or ""), found.port)) == node
