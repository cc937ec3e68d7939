"""Names in certificates: which of them a client's server name meets, and how they are written.

RFC 9525 (and RFC 6125 before it): a wildcard is the whole leftmost label, and stands for one.
Internationalized names are compared as they are on the wire, as A-labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

__all__ = ["NameTable", "distinguished_name", "names_of", "relative_names"]

T = TypeVar("T")

_SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "streetAddress": "street",
    "domainComponent": "DC",
    "userId": "UID",
    "surname": "SN",
    "givenName": "GN",
}
"""As OpenSSL writes them, and mod_ssl; the other types are as long as Python's."""

_SPECIAL = frozenset(',+"\\<>;=')


class NameTable(Generic[T]):
    """Finds what belongs to a server name. The first to have a name keeps it.

    :param entries: what belongs to these names.
    """

    def __init__(self, entries: Iterable[tuple[Iterable[str], T]]) -> None:
        self._exact: dict[str, T] = {}
        self._wild: dict[str, T] = {}
        for names, value in entries:
            for name in names:
                table, key = self._exact, name.lower().rstrip(".")
                if key.startswith("*."):
                    table, key = self._wild, key[2:]
                table.setdefault(key, value)

    def find(self, name: str) -> T | None:
        """What belongs to the name that a client has sent; a whole name goes before a wildcard."""
        name = name.lower().rstrip(".")
        if name in self._exact:
            return self._exact[name]
        label, _, rest = name.partition(".")
        return self._wild.get(rest) if label else None


def relative_names(certificate: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Types and values of a subject, in their order, from what `getpeercert` has told."""
    subject = certificate.get("subject", ())
    return [(kind, value) for relative in subject for kind, value in relative]


def names_of(certificate: Mapping[str, Any]) -> tuple[str, ...]:
    """Names and addresses of a server's certificate, from what `getpeercert` has told: its
    ``subjectAltName``, or where it has none its common name (RFC 6125 §6.4.4)."""
    alternatives = certificate.get("subjectAltName")
    if alternatives is None:
        return tuple(value for kind, value in relative_names(certificate) if kind == "commonName")
    return tuple(value for kind, value in alternatives if kind in ("DNS", "IP Address"))


def distinguished_name(certificate: Mapping[str, Any]) -> str:
    """A subject as RFC 4514 writes it, and mod_ssl: ``CN=www.example.org,O=Example``.

    The last part comes first. Control characters are written as ``\\0a``, so it is one line.
    """
    return ",".join(
        "+".join(f"{_SHORT.get(kind, kind)}={_escaped(value)}" for kind, value in relative)
        for relative in reversed(certificate.get("subject", ()))
    )


def _escaped(value: str) -> str:
    """RFC 4514 §2.4."""
    characters = []
    for at, character in enumerate(value):
        if character < " " or character == "\x7f":
            character = f"\\{ord(character):02x}"
        elif character in _SPECIAL or (character == "#" and at == 0):
            character = f"\\{character}"
        elif character == " " and at in (0, len(value) - 1):
            character = "\\ "
        characters.append(character)
    return "".join(characters)
