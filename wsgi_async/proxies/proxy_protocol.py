"""The PROXY protocol: what a proxy says of a connection before its first byte.

By HAProxy's ``doc/proxy-protocol.txt``: version 1 is a line of text, version 2 is binary. Pure
functions; any thread. What they say depends on the order of the bytes and not on how those were
cut.

Whether a header comes is never guessed (section 5): a client that may choose could speak for
somebody else.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from .tlvs import BadHeader, Facts, WrongChecksum, read_facts

__all__ = ["MOST", "MOST_OF_LINE", "BadHeader", "Header", "Versions", "read_header"]

MOST_OF_LINE = 107
"""Bytes of a header of version 1, CRLF included; section 2.1."""

MOST = 16 * 1024
"""Bytes of a header of version 2 that are taken; its own length field allows 64 KiB. HAProxy makes
it in one buffer of this size (``tune.bufsize``), and a client's certificate is the only thing in it
that takes more than some hundred bytes."""

_LINE = b"PROXY "
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = len(_SIGNATURE) + 4
_PORT = re.compile(r"0|[1-9][0-9]{0,4}")
_PATH_SIZE = 108


class Versions(enum.Enum):
    """Which versions are accepted."""

    V1 = "v1"
    V2 = "v2"
    AUTO = "auto"
    """Either, by how it begins."""


Endpoint = tuple[str, int] | str
"""Address and port; of a unix socket its path, or nothing."""


class Header(NamedTuple):
    """A header."""

    size: int
    """Bytes, of those that were given."""
    version: int
    protocol: str
    """``TCP4``, ``TCP6``, ``UDP4``, ``UDP6``, ``UNIX``; ``UNKNOWN`` where the proxy does not know,
    and ``LOCAL`` where it is itself the client, to check whether the server is well."""
    source: Endpoint | None = None
    """The client. None: what the socket says holds."""
    destination: Endpoint | None = None
    """Where the client had connected to. None likewise."""
    facts: Facts = Facts()


def read_header(data: bytes, versions: Versions = Versions.AUTO) -> Header | None:
    """The header at the beginning of what has been received.

    :param data: all since the connection began.
    :returns: None where more must come: then all of `data` is part of the header.
    :raises BadHeader: it can become no header.
    """
    for version, (beginning, read) in _READERS.items():
        if data.startswith(beginning[: len(data)]):
            if len(data) < len(beginning):
                return None
            if versions not in (version, Versions.AUTO):
                raise BadHeader(f"it is {version.value}, and only {versions.value} is accepted")
            return read(data)
    raise BadHeader(_beginning(data), is_missing=True)


def _beginning(data: bytes) -> str:
    """How something begins that is no header, up to the first byte that tells."""
    if data[0] == 0x16:
        return "it looks like TLS"
    expected = _LINE if data[:1] == _LINE[:1] else _SIGNATURE
    place = next(place for place, byte in enumerate(expected) if data[place] != byte)
    said = data[: place + 1]
    if said.isalpha() and said.isupper():
        return f"it begins with {said.decode()}, as a request without one may"
    return f"it begins with {said.hex(' ')} in hexadecimal"


# --- Version 1


def _read_line(data: bytes) -> Header | None:
    line = data[:MOST_OF_LINE]
    end = min((place for mark in b"\r\n" if (place := line.find(mark)) >= 0), default=-1)
    if end < 0:
        if len(line) < MOST_OF_LINE:
            return None
        raise BadHeader(f"its line is longer than {MOST_OF_LINE} bytes")
    if data[end] == 0x0A:
        raise BadHeader("its line ends in LF alone, not in CRLF")
    if end + 1 == MOST_OF_LINE:
        raise BadHeader(f"its line is longer than {MOST_OF_LINE} bytes")
    if end + 1 == len(data):
        return None
    if data[end + 1] != 0x0A:
        raise BadHeader("there is a CR in its line")
    size, words = end + 2, line[:end].split(b" ")
    protocol = words[1]
    if protocol == b"UNKNOWN":
        return Header(size, 1, "UNKNOWN")
    if protocol not in (b"TCP4", b"TCP6"):
        raise BadHeader("it names no protocol among TCP4, TCP6 and UNKNOWN")
    if len(words) != 6:
        raise BadHeader("it has not two addresses and two ports, with one space in between")
    try:
        _, _, source, destination, source_port, destination_port = (
            word.decode("ascii") for word in words
        )
        read_address = _address4 if protocol == b"TCP4" else _address6
        return Header(
            size,
            1,
            protocol.decode(),
            (read_address(source), _port(source_port)),
            (read_address(destination), _port(destination_port)),
        )
    except ValueError:
        raise BadHeader("an address or a port in it is not of its kind") from None


def _address4(text: str) -> str:
    return str(IPv4Address(text))  # which refuses leading zeros


def _address6(text: str) -> str:
    if "%" in text:
        raise ValueError(text)
    return _plain(IPv6Address(text))


def _plain(address: IPv6Address) -> str:
    """An IPv4 address as such: HAProxy has it so where one end is of IPv6."""
    return str(address.ipv4_mapped or address)


def _port(text: str) -> int:
    if _PORT.fullmatch(text) is None or int(text) > 0xFFFF:
        raise ValueError(text)
    return int(text)


# --- Version 2

_LOCAL, _PROXY = 0, 1
_UNSPEC, _INET, _INET6, _UNIX = range(4)
_ADDRESSES = {_UNSPEC: 0, _INET: 12, _INET6: 36, _UNIX: 2 * _PATH_SIZE}
"""Bytes of the addresses, by their family."""

_NAMES = {
    (_INET, 1): "TCP4",
    (_INET, 2): "UDP4",
    (_INET6, 1): "TCP6",
    (_INET6, 2): "UDP6",
    (_UNIX, 1): "UNIX",
    (_UNIX, 2): "UNIX",
}


def _read_binary(data: bytes) -> Header | None:
    _check_beginning(data)
    if len(data) < _FIXED:
        return None
    command, family, transport = data[12] & 15, data[13] >> 4, data[13] & 15
    size = _FIXED + int.from_bytes(data[14:16])
    if size > MOST:
        raise BadHeader(f"it is {size} bytes long, and {MOST} are taken")
    protocol = "LOCAL" if command == _LOCAL else _NAMES.get((family, transport), "UNKNOWN")
    addresses = _ADDRESSES[family] if protocol not in ("LOCAL", "UNKNOWN") else 0
    if size < _FIXED + addresses:
        raise BadHeader("it is too short for its addresses")
    if len(data) < size:
        return None
    header = data[:size]
    if not addresses:
        _check_sum_of_unknown(header)
        return Header(size, 2, protocol)
    facts = read_facts(header, _FIXED + addresses)
    block = header[_FIXED : _FIXED + addresses]
    return Header(size, 2, protocol, *_endpoints(block, family), facts)


def _check_beginning(data: bytes) -> None:
    """The bytes behind the signature, as many as there are."""
    if len(data) > 12:
        if data[12] >> 4 != 2:
            raise BadHeader(f"its version is {data[12] >> 4}, not 2")
        if data[12] & 15 not in (_LOCAL, _PROXY):
            raise BadHeader(f"its command {data[12] & 15} is neither LOCAL nor PROXY")
    if len(data) > 13 and data[12] & 15 == _PROXY:
        if data[13] >> 4 not in _ADDRESSES:
            raise BadHeader(f"its family of addresses is {data[13] >> 4}, which there is not")
        if data[13] & 15 > 2:
            raise BadHeader(f"its transport is {data[13] & 15}, which there is not")


def _check_sum_of_unknown(header: bytes) -> None:
    """What stands behind LOCAL and UNSPEC has no certain form, and nothing is taken from it; where
    it can be read as values, as HAProxy sends them, the checksum among them must be right."""
    if header[13] >> 4 != _UNSPEC:
        return
    try:
        read_facts(header, _FIXED)
    except WrongChecksum:
        raise
    except BadHeader:
        pass


def _endpoints(block: bytes, family: int) -> tuple[Endpoint, Endpoint]:
    if family == _UNIX:
        return _path(block[:_PATH_SIZE]), _path(block[_PATH_SIZE:])
    size = 4 if family == _INET else 16
    ports = block[2 * size :]
    return (
        (_packed(block[:size]), int.from_bytes(ports[:2])),
        (_packed(block[size : 2 * size]), int.from_bytes(ports[2:])),
    )


def _packed(address: bytes) -> str:
    if len(address) == 4:
        return str(IPv4Address(address))
    return _plain(IPv6Address(address))


def _path(padded: bytes) -> str:
    """The path of a socket, or its name in the abstract space, as ``@NAME``; as latin-1."""
    if padded[:1] == b"\0":
        name = padded.rstrip(b"\0")
        return "@" + name[1:].decode("latin-1") if name else ""
    return padded.partition(b"\0")[0].decode("latin-1")


_READERS: dict[Versions, tuple[bytes, Callable[[bytes], Header | None]]] = {
    Versions.V1: (_LINE, _read_line),
    Versions.V2: (_SIGNATURE, _read_binary),
}
