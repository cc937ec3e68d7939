"""Headers of the PROXY protocol as a proxy writes them, independently of what reads them here."""

from __future__ import annotations

import ipaddress
import struct

SIGNATURE = bytes.fromhex("0D0A0D0A000D0A515549540A")
LINE = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"
"""The specification's own example."""


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def ssl_tlv(client: int, verify: int, *parts: bytes) -> bytes:
    return tlv(0x20, struct.pack("!BI", client, verify) + b"".join(parts))


def crc(data: bytes) -> int:
    """Bit by bit, as RFC 4960 Appendix B describes it."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 * (value & 1))
    return value ^ 0xFFFFFFFF


def binary(block: bytes = b"", *, command: int = 1, family: int = 0x11, version: int = 2) -> bytes:
    """A header of version 2 whose bytes after the sixteenth are `block`."""
    fixed = struct.pack("!BBH", version << 4 | command, family, len(block))
    return SIGNATURE + fixed + block


def addresses(source: tuple[str, int], destination: tuple[str, int]) -> bytes:
    """Two addresses and their ports, as they stand in a header of version 2."""
    packed = [ipaddress.ip_address(host).packed for host, _ in (source, destination)]
    return b"".join(packed) + struct.pack("!HH", source[1], destination[1])


def tcp(source: tuple[str, int], destination: tuple[str, int], *values: bytes) -> bytes:
    """A header of version 2 for a connection of TCP, with further values."""
    family = 0x11 if ipaddress.ip_address(source[0]).version == 4 else 0x21
    return binary(addresses(source, destination) + b"".join(values), family=family)


def with_checksum(header: bytes) -> bytes:
    """Such a header with a checksum as its last value."""
    length = struct.unpack("!H", header[14:16])[0] + 7
    zeroed = header[:14] + struct.pack("!H", length) + header[16:] + tlv(3, bytes(4))
    return zeroed[:-4] + struct.pack("!I", crc(zeroed))


def line(source: tuple[str, int], destination: tuple[str, int]) -> bytes:
    """A header of version 1."""
    kind = "TCP4" if ipaddress.ip_address(source[0]).version == 4 else "TCP6"
    text = f"PROXY {kind} {source[0]} {destination[0]} {source[1]} {destination[1]}\r\n"
    return text.encode("ascii")
