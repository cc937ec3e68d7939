"""What the options on TLS come to; the files are named here, and read elsewhere. Any thread."""

from __future__ import annotations

import enum
import os
import ssl
from dataclasses import dataclass, field, replace

from wsgi_async.config import tls_options
from wsgi_async.config.options import Config

__all__ = ["ClientCertificates", "PairFiles", "TLSSettings", "tls_settings"]


class ClientCertificates(enum.Enum):
    """Whether clients are asked for a certificate, and must have one."""

    NONE = tls_options.NONE
    OPTIONAL = tls_options.OPTIONAL
    REQUIRED = tls_options.REQUIRED

    @property
    def mode(self) -> ssl.VerifyMode:
        """The same for an :class:`ssl.SSLContext`."""
        return _MODES[self]


_MODES = {
    ClientCertificates.NONE: ssl.CERT_NONE,
    ClientCertificates.OPTIONAL: ssl.CERT_OPTIONAL,
    ClientCertificates.REQUIRED: ssl.CERT_REQUIRED,
}

_MINIMA = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, slots=True)
class PairFiles:
    """Where a certificate and its private key are."""

    certfile: str
    keyfile: str | None = None
    """None: in the same file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSSettings:
    """How TLS is spoken, as the options say it."""

    pairs: tuple[PairFiles, ...]
    """The first is shown to who asks for no name, or for one that none of them has."""
    password: str | None = field(default=None, repr=False)
    """What the keys are encrypted with; None where it is in `password_file`, or there is none."""
    password_file: str | None = None
    """A file whose first line is the password, if there is one."""
    ca_certs: str | None = None
    """The file of the authorities of clients' certificates; None exactly where `cert_reqs` is
    ``NONE``."""
    cert_reqs: ClientCertificates = ClientCertificates.NONE
    ciphers: str | None = None
    """Of TLS 1.2, in OpenSSL's words; None for those of `ssl`."""
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2

    def anchored(self) -> TLSSettings:
        """The same, with names of files that mean the same whatever the directory comes to be."""

        def whole(path: str | None) -> str | None:
            return None if path is None else os.path.abspath(path)

        return replace(
            self,
            pairs=tuple(
                PairFiles(os.path.abspath(pair.certfile), whole(pair.keyfile))
                for pair in self.pairs
            ),
            password_file=whole(self.password_file),
            ca_certs=whole(self.ca_certs),
        )


def tls_settings(config: Config) -> TLSSettings | None:
    """What the options come to; None where there is no certificate, and so no TLS."""
    if not config.certfile:
        return None
    keyfiles = config.keyfile or (None,) * len(config.certfile)
    named = tls_options.password_file(config.keyfile_password)
    return TLSSettings(
        pairs=tuple(map(PairFiles, config.certfile, keyfiles)),
        password=config.keyfile_password or None if named is None else None,
        password_file=named,
        ca_certs=config.ca_certs or None,
        cert_reqs=ClientCertificates(config.cert_reqs),
        ciphers=config.ciphers or None,
        minimum=_MINIMA[config.tls_min],
    )
