"""The values that version 2 of the PROXY protocol carries besides addresses, and their checksum.

By HAProxy's ``doc/proxy-protocol.txt``, section 2.2: type, length and value, one after the other.
Pure functions; any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

__all__ = ["BadHeader", "Facts", "TLSFacts", "WrongChecksum", "crc32c", "read_facts"]

MOST_OF_AUTHORITY = 255
"""Bytes of a host name (RFC 1035 §2.3.4), where HAProxy has its bound as well."""

MOST_OF_UNIQUE_ID = 128
"""Bytes; section 2.2.5."""

_CRC32C = 0x03
_NOOP = 0x04
_TLS = 0x20

_IS_TLS = 0x01
_HAS_CERTIFICATE = 0x02 | 0x04  # on this connection, or on one before in the same TLS session


class BadHeader(ValueError):
    """What came first is no PROXY header that may be accepted.

    :param why: the reason, for the log; it depends on the bytes before the fault, and not on how
        they were cut.
    :param is_missing: whether it does not even begin as one.
    """

    def __init__(self, why: str, *, is_missing: bool = False) -> None:
        super().__init__(why)
        self.is_missing = is_missing


class WrongChecksum(BadHeader):
    """It has changed on its way."""


class TLSFacts(NamedTuple):
    """How the client's connection to the proxy was, by section 2.2.6."""

    is_tls: bool
    """Whether the client came by TLS."""
    has_certificate: bool
    """Whether it presented a certificate, on this connection or earlier in its TLS session."""
    verify: int
    """0 where that was verified, else the error's number in OpenSSL. Without one it says nothing:
    HAProxy has 0 there too."""
    version: str = ""
    common_name: str = ""
    cipher: str = ""
    signature_algorithm: str = ""
    key_algorithm: str = ""
    group: str = ""
    signature_scheme: str = ""
    client_certificate: bytes = b""
    """In DER; empty where the proxy does not send it."""


class Facts(NamedTuple):
    """All that the values of a header say. Empty is what is not said."""

    alpn: bytes = b""
    authority: str = ""
    """The name of the host that the client asked for, in TLS its SNI."""
    unique_id: bytes = b""
    netns: str = ""
    tls: TLSFacts | None = None
    others: tuple[tuple[int, bytes], ...] = ()
    """Types that the specification does not name, with their values: those of a cloud's load
    balancers."""


def _ascii(value: bytes) -> str:
    return _without_controls(value.decode("ascii"))


def _utf8(value: bytes) -> str:
    return _without_controls(value.decode("utf-8"))


def _without_controls(text: str) -> str:
    if any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in text):
        raise ValueError(text)
    return text


def _at_most(limit: int, read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def read_bounded(value: bytes) -> Any:
        if len(value) > limit:
            raise ValueError(value)
        return read(value)

    return read_bounded


_Readers = dict[int, tuple[str, Callable[[bytes], Any]]]

_TYPES: _Readers = {
    0x01: ("alpn", bytes),
    0x02: ("authority", _at_most(MOST_OF_AUTHORITY, _utf8)),
    0x05: ("unique_id", _at_most(MOST_OF_UNIQUE_ID, bytes)),
    0x30: ("netns", _ascii),
}
_TLS_TYPES: _Readers = {
    0x21: ("version", _ascii),
    0x22: ("common_name", _utf8),
    0x23: ("cipher", _ascii),
    0x24: ("signature_algorithm", _ascii),
    0x25: ("key_algorithm", _ascii),
    0x26: ("group", _ascii),
    0x27: ("signature_scheme", _ascii),
    0x28: ("client_certificate", bytes),
}


def read_facts(header: bytes, begin: int) -> Facts:
    """What the values of a header say.

    :param header: all of it, for its checksum is over all of it.
    :param begin: where the addresses end.
    :raises BadHeader: a value that is cut, too long, there twice, or not of its kind; or a checksum
        that is wrong.
    """
    found: dict[str, Any] = {}
    others: list[tuple[int, bytes]] = []
    has_checksum = False
    for kind, value, place in _values(header, begin, len(header)):
        if kind == _CRC32C:
            if has_checksum:
                raise BadHeader("it has two checksums")
            has_checksum = True
            _check(header, value, place)
        elif kind == _TLS:
            if "tls" in found:
                raise BadHeader("it has TLS facts twice")
            found["tls"] = _tls_facts(value)
        elif kind in _TYPES:
            _read(_TYPES[kind], value, found)
        elif kind != _NOOP:
            others.append((kind, value))
    return Facts(**found, others=tuple(others))


def _values(data: bytes, begin: int, end: int) -> Iterator[tuple[int, bytes, int]]:
    """Type, value, and where that begins."""
    while begin < end:
        place = begin + 3
        if place > end:
            raise BadHeader("its last value is cut")
        begin = place + int.from_bytes(data[place - 2 : place])
        if begin > end:
            raise BadHeader("a value is longer than what is left")
        yield data[place - 3], data[place:begin], place


def _read(entry: tuple[str, Callable[[bytes], Any]], value: bytes, found: dict[str, Any]) -> None:
    name, read = entry
    words = name.replace("_", " ")
    if name in found:
        raise BadHeader(f"it has two values for {words}")
    try:
        found[name] = read(value)
    except ValueError:
        raise BadHeader(f"its {words} is too long, or not the text it should be") from None


def _tls_facts(value: bytes) -> TLSFacts:
    if len(value) < 5:
        raise BadHeader("its TLS facts are cut")
    found: dict[str, Any] = {}
    for kind, part, _ in _values(value, 5, len(value)):
        if kind in _TLS_TYPES:
            _read(_TLS_TYPES[kind], part, found)
    flags = value[0]
    return TLSFacts(
        bool(flags & _IS_TLS),
        bool(flags & _HAS_CERTIFICATE),
        int.from_bytes(value[1:5]),
        **found,
    )


def _check(header: bytes, value: bytes, place: int) -> None:
    if len(value) != 4:
        raise BadHeader("its checksum has not four bytes")
    zeroed = header[:place] + bytes(4) + header[place + 4 :]
    if crc32c(zeroed) != int.from_bytes(value):
        raise WrongChecksum("its checksum is wrong")


def _table() -> tuple[int, ...]:
    entries = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        entries.append(byte)
    return tuple(entries)


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """The checksum of RFC 4960, Appendix B (Castagnoli's polynomial, reflected)."""
    table, crc = _TABLE, 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
