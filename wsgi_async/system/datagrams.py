"""Datagrams to a program such as statsd, here or on another machine: where to, and their sending.

:func:`look_up` may wait for whoever knows names, so it is never called on a loop. A
:class:`DatagramSocket` waits for nobody: what cannot be sent at once is not sent.
"""

from __future__ import annotations

import errno
import socket
from typing import Any, NamedTuple

from .inodes import inode_of
from .sockets import Address

__all__ = ["DatagramSocket", "Target", "has_name", "look_up"]


class Target(NamedTuple):
    """Where datagrams go."""

    family: int
    address: Any
    """As the socket module has those of this family."""


def has_name(address: Address) -> bool:
    """*Any thread:* whether it names a host, which may come to mean another one. Waits for nobody.

    :param address: of a host or a path.
    """
    if address.path is not None:
        return False
    try:
        _targets(address, socket.AI_NUMERICHOST)
    except OSError:
        return True
    return False


def look_up(address: Address) -> Target:
    """*Any thread but a loop's:* what it means now. A name may take as long as its resolver does.

    Of several addresses of a name it is an IPv4 one, as gunicorn takes it, and one that this
    machine has a way to.

    :param address: of a host or a path.
    :raises OSError: there is none; its `strerror` says why.
    """
    if address.path is not None:
        return Target(socket.AF_UNIX, address.path)
    failure: OSError | None = None
    targets = _targets(address, 0)
    for target in sorted(targets, key=lambda target: target.family != socket.AF_INET):
        try:
            DatagramSocket(target).close()
        except OSError as error:
            failure = failure or error
        else:
            return target
    raise failure or OSError(errno.EADDRNOTAVAIL, "it has no address")


def _targets(address: Address, flags: int) -> list[Target]:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM, flags=flags)
    except UnicodeError:  # a label longer than 63 characters, from the IDNA codec
        raise OSError(errno.EINVAL, "the name is not valid") from None
    return [Target(family, there) for family, _, _, _, there in found]


class DatagramSocket:
    """A socket that sends to one target. *Any thread.*

    :raises OSError: there is no way there, or no descriptor.
    """

    def __init__(self, target: Target) -> None:
        self._socket = socket.socket(target.family, socket.SOCK_DGRAM)
        self._path: str | None = None
        try:
            self._socket.setblocking(False)
            if target.family == socket.AF_UNIX:
                # Not connected: whoever listens there after a restart has another socket.
                self._path = target.address
            else:
                self._socket.connect(target.address)
        except BaseException:
            self._socket.close()
            raise
        self._inode = inode_of(self.fileno())

    @property
    def is_own(self) -> bool:
        """Whether its descriptor is still its own, which an application may have closed, and the
        system have given to a client's connection since."""
        return inode_of(self.fileno()) == self._inode

    def send(self, datagram: bytes) -> OSError | None:
        """Send it, or do not.

        :returns: why it is lost, or, where nobody listens by UDP, one that was sent before.
        """
        try:
            if self._path is not None:
                self._socket.sendto(datagram, self._path)
            else:
                self._socket.send(datagram)
        except ConnectionRefusedError as refusal:
            if self._path is None:
                # It is the answer to one before (ICMP), and this one has not been sent yet.
                try:
                    self._socket.send(datagram)
                except OSError as error:
                    return error
            return refusal
        except OSError as error:
            return error
        return None

    def fileno(self) -> int:
        """The descriptor's number, -1 once it is closed."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close it; what has its number by now is left alone. Harmless if repeated."""
        if self.is_own:
            self._socket.close()
        else:
            self._socket.detach()
