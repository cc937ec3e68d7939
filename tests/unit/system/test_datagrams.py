"""Datagrams: whoever sends them waits for nobody, and learns what became of them."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from statsds import StatsdReceiver
from tools import NO_IPV6

from wsgi_async.system.datagrams import DatagramSocket, Target, has_name, look_up
from wsgi_async.system.sockets import Address, parse_address


def unused() -> Target:
    """A port of this machine where nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return Target(socket.AF_INET, sock.getsockname())


@pytest.mark.parametrize(
    ("text", "expected"),
    [("127.0.0.1:1", False), ("[::1]:1", False), ("unix:/x", False), ("a.example:1", True)],
)
def test_only_a_name_may_come_to_mean_something_else(text: str, expected: bool) -> None:
    assert has_name(parse_address(text)) is expected


def test_of_several_addresses_an_ipv4_one_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A statsd that listens on 127.0.0.1 alone is found where localhost is ::1 before all."""
    found: list[Any] = [
        (socket.AF_INET6, socket.SOCK_DGRAM, 17, "", ("::1", 1, 0, 0)),
        (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", 1)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: found)
    assert look_up(parse_address("a.example:1")) == Target(socket.AF_INET, ("127.0.0.1", 1))


@pytest.mark.parametrize(
    "address",
    [
        Address("", host="a" * 64 + ".example", port=1),  # no resolver is asked
        Address("", host="255.255.255.255", port=1),  # it takes a right that nobody has here
    ],
)
def test_where_there_is_no_way_to(address: Address) -> None:
    with pytest.raises(OSError, match=r"not valid|denied") as caught:
        look_up(address)
    assert caught.value.strerror  # what an operator is shown


def test_who_does_not_listen_is_told_later_and_costs_nobody_the_next() -> None:
    target = unused()
    sender = DatagramSocket(target)
    try:
        failures = [sender.send(b"lost") for _ in range(5)]
        assert any(isinstance(failure, ConnectionRefusedError) for failure in failures)
        with StatsdReceiver(port=target.address[1]) as receiver:
            sender.send(b"a:1|g")  # perhaps told of the last one before, and sent all the same
            receiver.read_until(lambda: receiver.datagrams)
            assert receiver.datagrams == [b"a:1|g"]
            assert sender.send(b"a:2|g") is None
    finally:
        sender.close()


def test_a_socket_file_is_looked_for_each_time(tmp_path: Path) -> None:
    path = tmp_path / "statsd"
    sender = DatagramSocket(Target(socket.AF_UNIX, str(path)))
    try:
        assert isinstance(sender.send(b"a:1|g"), FileNotFoundError)
        for _ in range(2):  # it has come again with another one
            with StatsdReceiver(path) as receiver:
                assert sender.send(b"a:1|g") is None
                receiver.read_what_is_there()
                assert receiver.datagrams == [b"a:1|g"]
            assert isinstance(sender.send(b"a:1|g"), ConnectionRefusedError)
            path.unlink()
    finally:
        sender.close()


def test_a_buffer_that_is_full_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "statsd"
    sender = DatagramSocket(Target(socket.AF_UNIX, str(path)))
    with StatsdReceiver(path):
        failure = None
        for _ in range(100_000):
            failure = failure or sender.send(b"a:1|g")
        assert isinstance(failure, BlockingIOError)
    sender.close()


def test_ipv6() -> None:
    try:
        receiver = StatsdReceiver("::1")
    except OSError as error:
        if error.errno in NO_IPV6:
            pytest.skip("no IPv6 here")
        raise
    with receiver:
        sender = DatagramSocket(look_up(parse_address(receiver.option)))
        assert sender.send(b"a:1|g") is None
        receiver.read_until(lambda: receiver.datagrams)
        sender.close()


def test_a_descriptor_that_is_somebody_elses_by_now() -> None:
    """An application that closes all there are must not have its clients sent metrics."""
    sender = DatagramSocket(unused())
    assert sender.is_own
    ours, theirs = socket.socketpair()
    with ours, theirs:
        os.dup2(theirs.fileno(), sender.fileno())
        number = sender.fileno()
        assert not sender.is_own
        sender.close()
        os.fstat(number)  # it is open, and theirs to close
        os.close(number)
    sender.close()
    assert not sender.is_own
