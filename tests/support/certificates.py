"""Certificates as a site may have them, good and bad, as PEM files; and clients that trust them."""

from __future__ import annotations

import atexit
import datetime
import functools
import shutil
import ssl
import tempfile
from pathlib import Path
from typing import NamedTuple

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = [
    "EXPIRED",
    "LOCAL",
    "NOT_YET",
    "NOW",
    "Authority",
    "Days",
    "Pair",
    "authority",
    "certificate_of_authority",
    "local_pair",
    "self_made",
]

Days = tuple[float, float]
"""From when to when a certificate is valid, in days from now."""

NOW: Days = (-1, 400)
EXPIRED: Days = (-30, -1)
NOT_YET: Days = (1, 400)

LOCAL = ("localhost", "127.0.0.1", "::1")
"""The names of this machine, as a server under test has them."""


class Pair(NamedTuple):
    """A certificate and its key, in a file each."""

    certificate: Path
    """What the owner presents: the leaf first, then intermediates, never the root."""
    key: Path
    """Readable by its owner only."""
    password: str | None = None
    """Of the key."""

    @property
    def options(self) -> dict[str, str]:
        """The two files, for a server that is made by a call."""
        return {"certfile": str(self.certificate), "keyfile": str(self.key)}

    @property
    def flags(self) -> tuple[str, ...]:
        """The two files, for one on a command line."""
        return ("--certfile", str(self.certificate), "--keyfile", str(self.key))

    @property
    def leaf(self) -> str:
        """The first certificate alone, as PEM: what the other side is shown."""
        begin = "-----BEGIN CERTIFICATE-----"
        return begin + self.certificate.read_text().split(begin)[1]

    def both(self) -> Path:
        """Key and certificates in one file, as HAProxy and curl want them."""
        path = self.certificate.with_name(f"{self.certificate.stem}-both.pem")
        path.touch(0o600)
        path.write_bytes(self.key.read_bytes() + self.certificate.read_bytes())
        return path

    def replace(self, other: Pair) -> None:
        """Put another pair in its place, each file at once, as certbot and Caddy do."""
        for ours, theirs in ((self.certificate, other.certificate), (self.key, other.key)):
            passing = ours.with_name(f"{ours.name}.new")
            passing.touch(theirs.stat().st_mode & 0o777)
            passing.write_bytes(theirs.read_bytes())
            passing.rename(ours)


class Authority:
    """One who issues certificates: EC keys, which are made in no time."""

    def __init__(self) -> None:
        self._root = trustme.CA()

    @property
    def pem(self) -> str:
        """Its own certificate, which those trust that trust it."""
        return self._root.cert_pem.bytes().decode()

    def write(self, directory: Path, name: str = "ca.pem") -> Path:
        """Its own certificate as a file."""
        path = directory / name
        path.write_text(self.pem)
        return path

    def issue(
        self,
        directory: Path,
        *names: str,
        file: str | None = None,
        valid: Days = NOW,
        common_name: str | None = None,
        organization: str | None = None,
        intermediates: int = 0,
        password: str | None = None,
    ) -> Pair:
        """A pair for a server, or for a client.

        :param directory: of its files.
        :param names: hosts (``*.example.com`` too), addresses, or the mail address of a client.
        :param file: the files' stem; the first name without it.
        :param intermediates: authorities between this one and the leaf.
        :param password: of the key's file; in the clear without it.
        """
        issuer = self._root
        above: list[bytes] = []
        for _ in range(intermediates):
            issuer = issuer.create_child_ca()
            above.insert(0, issuer.cert_pem.bytes())
        begin, end = (_in_days(number) for number in valid)
        leaf = issuer.issue_cert(
            *names,
            common_name=common_name,
            organization_name=organization,
            not_before=begin,
            not_after=end,
        )
        chain = [leaf.cert_chain_pems[0].bytes(), *above]
        return _write(
            directory, file or names[0], b"".join(chain), leaf.private_key_pem.bytes(), password
        )

    def client(
        self,
        pair: Pair | None = None,
        *,
        lowest: ssl.TLSVersion | None = None,
        highest: ssl.TLSVersion | None = None,
    ) -> ssl.SSLContext:
        """A client's, who trusts this authority and nobody else.

        :param pair: the client's own, shown if the server asks for it.
        :param lowest: version of TLS; OpenSSL's own choice without it.
        """
        context = ssl.create_default_context(cadata=self.pem)
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key, pair.password)
        if lowest is not None:
            context.minimum_version = lowest
        if highest is not None:
            context.maximum_version = highest
        return context


@functools.cache
def authority() -> Authority:
    """The one that all tests of a process share."""
    return Authority()


@functools.cache
def local_pair() -> Pair:
    """A good one for this machine, for all tests of a process to which any will do."""
    return authority().issue(_directory(), *LOCAL)


@functools.cache
def certificate_of_authority() -> Path:
    """What those trust that trust :func:`authority`."""
    return authority().write(_directory())


@functools.cache
def _directory() -> Path:
    directory = tempfile.mkdtemp(prefix="wsgi-async-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory)


def self_made(directory: Path, *names: str, file: str = "self-made") -> Pair:
    """A certificate that nobody has issued but its own key, as by ``openssl req -x509``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(_in_days(-1))
        .not_valid_after(_in_days(400))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    return _write(
        directory,
        file,
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        None,
    )


def _write(directory: Path, file: str, chain: bytes, key: bytes, password: str | None) -> Pair:
    stem = file.replace("*", "any").replace(":", "-")
    pair = Pair(directory / f"{stem}.pem", directory / f"{stem}.key", password)
    pair.certificate.write_bytes(chain)
    if password is not None:
        key = serialization.load_pem_private_key(key, None).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password.encode()),
        )
    pair.key.touch(0o600)
    pair.key.write_bytes(key)
    return pair


def _in_days(number: float) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=number)
