"""The bytes of the files that TLS is made of, read by whoever may read them.

The parent of a command line reads them as root and hands them to processes that run as somebody
else; see :mod:`~wsgi_async.tls.shelf`. There is a private key in them: they are shown nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from wsgi_async.errors import ConfigError
from wsgi_async.system.files import read_bytes

from .settings import TLSSettings

__all__ = ["Material", "PairBytes", "read_material"]

_NOTHING = 0xFFFFFFFF
_SIZE = 4


@dataclass(frozen=True, slots=True, repr=False)
class PairBytes:
    """The contents of one pair of files."""

    certificate: bytes
    key: bytes | None
    """None: it is in `certificate`."""


@dataclass(frozen=True, slots=True, repr=False)
class Material:
    """All contents. Equal where nothing has changed."""

    pairs: tuple[PairBytes, ...]
    password: str | None = None
    ca_certs: bytes | None = None

    def to_bytes(self) -> bytes:
        """For another process of ours; :meth:`from_bytes` is the way back."""
        password = None if self.password is None else self.password.encode()
        parts: list[bytes | None] = [password, self.ca_certs]
        for pair in self.pairs:
            parts += (pair.certificate, pair.key)
        return b"".join(map(_packed, parts))

    @classmethod
    def from_bytes(cls, data: bytes) -> Material:
        """
        :raises ValueError: :meth:`to_bytes` has not made it.
        """
        parts: list[bytes | None] = []
        at = 0
        while at < len(data):
            size = int.from_bytes(data[at : at + _SIZE], "big")
            at += _SIZE
            if size == _NOTHING:
                parts.append(None)
                continue
            parts.append(data[at : at + size])
            at += size
        if at != len(data) or len(parts) % 2 or len(parts) < 2:
            raise ValueError("no material")
        password, ca_certs, *rest = parts
        pairs = []
        for certificate, key in zip(rest[::2], rest[1::2], strict=True):
            if certificate is None:
                raise ValueError("no material")
            pairs.append(PairBytes(certificate, key))
        return cls(tuple(pairs), None if password is None else password.decode(), ca_certs)


def _packed(part: bytes | None) -> bytes:
    if part is None:
        return _NOTHING.to_bytes(_SIZE, "big")
    return len(part).to_bytes(_SIZE, "big") + part


def read_material(settings: TLSSettings) -> Material:
    """Read the files as they are now.

    :raises ConfigError: one of them cannot be read; the line names it, and its option.
    """
    pairs = tuple(
        PairBytes(
            _read("--certfile", pair.certfile),
            None if pair.keyfile is None else _read("--keyfile", pair.keyfile),
        )
        for pair in settings.pairs
    )
    password = settings.password
    if settings.password_file is not None:
        password = _first_line("--keyfile-password", settings.password_file)
    ca_certs = None if settings.ca_certs is None else _read("--ca-certs", settings.ca_certs)
    return Material(pairs, password, ca_certs)


def _read(option: str, path: str) -> bytes:
    try:
        return read_bytes(path)
    except OSError as error:
        raise ConfigError(f"{option} {path}: {error.strerror}") from None


def _first_line(option: str, path: str) -> str:
    lines = _read(option, path).splitlines()
    try:
        return lines[0].decode() if lines else ""
    except UnicodeDecodeError:
        raise ConfigError(f"{option} file:{path}: its first line is not UTF-8") from None
