"""What the options on TLS take, and which of them go together.

Here they are texts. ``wsgi_async.tls`` makes of them what a connection needs, and says what is
wrong with the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from wsgi_async.errors import ConfigError
from wsgi_async.system.spoken import Spoken, scheme_of

__all__ = [
    "CERT_REQS",
    "NONE",
    "ONLY_WITH_CERTFILE",
    "OPTIONAL",
    "OTHER_CERT_REQS",
    "OTHER_VERSIONS",
    "REQUIRED",
    "are_hosts",
    "check_addresses",
    "check_clients",
    "check_pairs",
    "is_cipher_list",
    "lowest_version",
    "parse_hosts",
    "password_file",
    "refuse_alone",
]

NONE, OPTIONAL, REQUIRED = CERT_REQS = ("none", "optional", "required")
"""What ``--cert-reqs`` takes."""

OTHER_CERT_REQS: dict[str, str] = {
    name: word
    for number, word in enumerate(CERT_REQS)
    # The numbers are those of ssl, gunicorn and uvicorn; hypercorn writes the names.
    for name in (str(number), f"cert_{word}", f"verifymode.cert_{word}")
}
"""Other ways to write it."""

OTHER_VERSIONS: dict[str, str] = {
    name: version
    for version in ("1.2", "1.3")
    for name in (f"tls{version}", f"tlsv{version}", f"tlsv{version.replace('.', '_')}")
}
"""Other ways to write a version of TLS: granian's, and those of ssl and OpenSSL."""

ONLY_WITH_CERTFILE = ("keyfile", "keyfile_password", "ca_certs", "ciphers")
"""Options that mean nothing without ``--certfile``."""

# An https:// of an operator who takes the value for a URL, or a path behind it, is no host.
_HOST = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z](?:[0-9A-Za-z_.-]{0,251}[0-9A-Za-z])?)"
    r"(?::(?P<port>[0-9]{1,5}))?"
)

# Of PROTOCOL_... in ssl, by the names and the numbers that uvicorn and gunicorn take: None is what
# negotiates the version.
_PROTOCOLS: dict[str, str | None] = {
    **dict.fromkeys(("2", "tls", "sslv23", "17", "tls_server"), None),
    **dict.fromkeys(("5", "tlsv1_2"), "1.2"),
}
_TOO_OLD = ("0", "sslv2", "1", "sslv3", "3", "tlsv1", "4", "tlsv1_1")


def is_cipher_list(text: str) -> bool:
    """Whether it may be one; which ciphers there are OpenSSL knows."""
    return re.fullmatch(r"[-!+@=:,. _0-9A-Za-z]*", text) is not None


def are_hosts(texts: Iterable[str]) -> bool:
    """Whether each is HOST or HOST:PORT."""
    try:
        parse_hosts(texts)
    except ValueError:
        return False
    return True


def parse_hosts(texts: Iterable[str]) -> dict[str, int | None]:
    """Each host of ``--redirect-to-https``, in lower case -> the port, where one is given.

    :raises ValueError: one is no host.
    """
    hosts: dict[str, int | None] = {}
    for text in texts:
        match = _HOST.fullmatch(text)
        if match is None or not 0 < int(match["port"] or "443") <= 65535:
            raise ValueError(text)
        hosts[match["host"].lower()] = int(match["port"]) if match["port"] else None
    return hosts


def password_file(password: str) -> str | None:
    """The file that a ``--keyfile-password`` names; None where it is the password itself."""
    return password.removeprefix("file:") if password.startswith("file:") else None


def lowest_version(ssl_version: object) -> str | None:
    """Our ``--tls-min`` for uvicorn's and gunicorn's ``--ssl-version``: a ``PROTOCOL_...`` of ssl.

    :param ssl_version: its name with or without ``PROTOCOL_``, its number, or the constant.
    :returns: None where it has the version negotiated, which the default does as well.
    :raises ConfigError: it is one that is too old, or none.
    """
    text = str(int(ssl_version) if isinstance(ssl_version, int) else ssl_version).lower()
    name = text.removeprefix("_sslmethod.").removeprefix("protocol_")
    if name in _PROTOCOLS:
        return _PROTOCOLS[name]
    if name in _TOO_OLD:
        raise ConfigError(
            f"--ssl-version {ssl_version}: RFC 8996 and RFC 7568 have put an end to what is before "
            "TLS 1.2: leave it out, or write --tls-min 1.2 or 1.3"
        )
    raise ConfigError(f"--ssl-version {ssl_version}: write --tls-min 1.2 or 1.3")


def check_pairs(certfiles: Sequence[str], keyfiles: Sequence[str]) -> None:
    """
    :raises ConfigError: there are keys for some of the certificates only.
    """
    if keyfiles and certfiles and len(keyfiles) != len(certfiles):
        raise ConfigError(
            f"--keyfile is given {_times(len(keyfiles))} and --certfile {_times(len(certfiles))}: "
            "each --certfile has its --keyfile, in their order, or none has one and the keys are "
            "in the files of the certificates"
        )


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def check_clients(ca_certs: str, cert_reqs: str) -> None:
    """
    :raises ConfigError: clients are to be verified by nobody's word, or somebody's word is used for
        nothing.
    """
    if cert_reqs != NONE and not ca_certs:
        raise ConfigError(
            f"--cert-reqs {cert_reqs} needs --ca-certs, a file of the authorities whose "
            "certificates clients may have"
        )
    if ca_certs and cert_reqs == NONE:
        raise ConfigError(
            "--ca-certs without --cert-reqs verifies nobody: add --cert-reqs optional or required; "
            "the certificates that lead to your own certificate's authority go into --certfile"
        )


def refuse_alone(values: Mapping[str, object]) -> None:
    """
    :param values: of :data:`ONLY_WITH_CERTFILE`, where there is no certificate.
    :raises ConfigError: one of them is given.
    """
    for name, value in values.items():
        if value:
            raise ConfigError(f"--{name.replace('_', '-')} needs --certfile")


def check_addresses(
    addresses: Sequence[str],
    certfiles: Sequence[str],
    redirected: Sequence[str],
    protocol: str = Spoken.HTTP.value,
) -> None:
    """
    :param addresses: the values of ``--bind``.
    :param redirected: those of ``--redirect-to-https``.
    :param protocol: that of ``--protocol``.
    :raises ConfigError: an address is to be served by TLS, and there is no certificate; or there is
        a certificate or a redirect, and no address for it.
    """
    default = "https" if certfiles and protocol == Spoken.HTTP.value else protocol
    schemes = {scheme_of(address) or default for address in addresses or ("",)}
    if "https" in schemes and not certfiles:
        address = next(address for address in addresses if scheme_of(address) == "https")
        raise ConfigError(f"--bind {address} needs --certfile, the certificate to show there")
    if certfiles and "https" not in schemes:
        raise ConfigError(
            "--certfile is shown at no address, for each --bind "
            + (
                "begins with http://: leave that out, or add --bind https://:443"
                if schemes == {"http"}
                else f"speaks {' or '.join(Spoken(name).title for name in sorted(schemes))} "
                "without TLS: leave it out, or add --bind https://:443"
            )
        )
    if not redirected:
        return
    if "https" not in schemes:
        raise ConfigError(
            "--redirect-to-https needs an address that is served by TLS: add --certfile"
        )
    if schemes == {"https"}:
        raise ConfigError(
            "--redirect-to-https needs an address to redirect from: add --bind http://:80"
        )
