"""One certificate with its key: loaded, proved, and read.

`ssl` tells what is in a certificate only to who has verified it. So there is a handshake in memory
with a client that trusts this very certificate, whatever the time is: it proves that a client can
be served with the pair, and tells subject, names and dates.
"""

from __future__ import annotations

import contextlib
import re
import ssl
from typing import Any

from wsgi_async.errors import ConfigError
from wsgi_async.events import CertificateInfo
from wsgi_async.system.private_files import private_path

from .failures import words_of
from .material import PairBytes
from .names import distinguished_name, names_of
from .settings import PairFiles

__all__ = ["ServerPair", "said_by"]

_CERTIFICATE = re.compile(
    rb"-----BEGIN ((?:X509 )?CERTIFICATE)-----[A-Za-z0-9+/=\s]*-----END \1-----"
)
_KEY = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
_KEY_END = re.compile(rb"-----END [A-Z0-9 ]*PRIVATE KEY-----")

_LONGEST_PASSWORD = 1024
"""Bytes; Python's ssl takes no more."""

_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME: in no enum of Python's ssl, which takes it all the same."""

_REASONS = {
    "KEY_VALUES_MISMATCH": "the key in {key} is not that of the certificate in {file}; "
    "the server's own certificate comes first in it",
    "EE_KEY_TOO_SMALL": "the key of its certificate is too small for OpenSSL's security level: "
    "have a larger one certified; --ciphers DEFAULT:@SECLEVEL=0 lets it pass",
    "CA_KEY_TOO_SMALL": "a key of its authorities is too small for OpenSSL's security level; "
    "--ciphers DEFAULT:@SECLEVEL=0 lets it pass",
    "CA_MD_TOO_WEAK": "a signature on it is too weak for OpenSSL's security level; "
    "--ciphers DEFAULT:@SECLEVEL=0 lets it pass",
}
_REASONS["KEY_TYPE_MISMATCH"] = _REASONS["KEY_VALUES_MISMATCH"]
_REASONS["NO_CERTIFICATE_ASSIGNED"] = _REASONS["KEY_VALUES_MISMATCH"]
"""By OpenSSL's reason."""


class ServerPair:
    """A certificate and its key, as bytes, and the files to name when something is wrong.

    :param files: where the operator has them.
    :param content: what is in them.
    :param password: of the key.
    """

    def __init__(self, files: PairFiles, content: PairBytes, password: str | None) -> None:
        self._files = files
        self._content = content
        self._password = password
        self._was_asked = False
        self._certfile = f"--certfile {files.certfile}"
        self._key_is_at = self._certfile
        if files.keyfile is not None:
            self._key_is_at = f"--keyfile {files.keyfile}"

    def load_into(self, *contexts: ssl.SSLContext) -> None:
        """
        :raises ConfigError: OpenSSL cannot use them.
        """
        self._look_at_it()
        content = self._content
        try:
            with contextlib.ExitStack() as stack:
                path = stack.enter_context(private_path(content.certificate))
                key_path = None
                if content.key is not None:
                    key_path = stack.enter_context(private_path(content.key))
                for context in contexts:
                    context.load_cert_chain(path, key_path, self._get_password)
        except ssl.SSLError as error:
            raise ConfigError(self._explain(error)) from None
        except ValueError as error:  # a password with NUL in it, perhaps
            raise ConfigError(f"{self._key_is_at}: {error}") from None
        except OSError as error:
            raise ConfigError(f"{self._certfile}: {error.strerror}") from None

    def read(self, context: ssl.SSLContext) -> CertificateInfo:
        """What the certificate says, once `context` has proved that it can serve with it.

        :param context: one that it is loaded into, and that is used for nothing else.
        :raises ConfigError: no client could be served.
        """
        found = _CERTIFICATE.search(self._content.certificate)
        assert found is not None, "it is loaded"
        try:
            told = _handshake(context, found[0].decode("ascii"))
        except ssl.SSLCertVerificationError as error:
            raise ConfigError(
                f"{self._certfile}: no client takes its certificate: {error.verify_message}"
            ) from None
        except ssl.SSLError as error:
            raise ConfigError(
                f"{self._certfile}: no client can be served with it: {said_by(error)}"
            ) from None
        return CertificateInfo(
            file=self._files.certfile,
            subject=distinguished_name(told),
            names=names_of(told),
            not_before=ssl.cert_time_to_seconds(told["notBefore"]),
            not_after=ssl.cert_time_to_seconds(told["notAfter"]),
        )

    def _look_at_it(self) -> None:
        """Say what OpenSSL has no words for."""
        certificate, key = self._content.certificate, self._content.key
        if _CERTIFICATE.search(certificate) is None:
            what = "no certificate in PEM is in it"
            if b"-----BEGIN" in certificate and b"CERTIFICATE-----" in certificate:
                what = "its certificate is cut off"
            elif certificate[:1] == b"\x30":
                what += ", but one in DER, perhaps: `openssl x509 -inform der` converts it"
            raise ConfigError(f"{self._certfile}: {what}")
        data = certificate if key is None else key
        if _KEY.search(data) is None:
            hint = "; give --keyfile" if key is None else ""
            raise ConfigError(f"{self._key_is_at}: no private key in PEM is in it{hint}")
        if _KEY_END.search(data) is None:
            raise ConfigError(f"{self._key_is_at}: its private key is cut off")

    def _get_password(self) -> str:
        """OpenSSL asks here, and not on the terminal."""
        self._was_asked = True
        if not self._password:
            raise ConfigError(f"{self._key_is_at}: the key is encrypted: give --keyfile-password")
        if len(self._password.encode()) > _LONGEST_PASSWORD:
            raise ConfigError(f"--keyfile-password is longer than {_LONGEST_PASSWORD} bytes")
        return self._password

    def _explain(self, error: ssl.SSLError) -> str:
        reason = _REASONS.get(error.reason or "")
        if reason is not None:
            text = reason.format(file=self._files.certfile, key=self._files.keyfile or "it")
            return f"{self._certfile}: {text}"
        if self._was_asked:
            return f"--keyfile-password does not open the key in {self._key_is_at}"
        where = self._certfile
        if self._files.keyfile is not None:
            where += f", {self._key_is_at}"
        return f"{where}: OpenSSL cannot read it: {said_by(error)}"


def said_by(error: ssl.SSLError) -> str:
    """OpenSSL's words, without its numbers and lines of source."""
    text = str(error.args[-1] if error.args else error)
    return words_of(error) or re.sub(r"^\[\w+\] | \(_ssl\.c:\d+\)$", "", text)


def _handshake(server: ssl.SSLContext, leaf: str) -> dict[str, Any]:
    """Have a client take the certificate that it knows already.

    :returns: as `getpeercert`.
    :raises ssl.SSLError: it did not come to that.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.set_ciphers("ALL:@SECLEVEL=0")  # what the server allows is what counts
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    client.load_verify_locations(cadata=leaf)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    asks = client.wrap_bio(to_client, to_server)
    answers = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (asks, answers, asks, answers, asks):  # TLS 1.3 is through after three
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    told = asks.getpeercert()
    assert told is not None
    return told
