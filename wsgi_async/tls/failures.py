"""Why TLS has failed, in a few words for an operator. Pure functions; any thread."""

from __future__ import annotations

import ssl

__all__ = ["CLIENT_CLOSED", "TLSFailure", "reason", "words_of"]


class TLSFailure(ConnectionError):
    """A connection was given up by TLS.

    :param why: in a few words, without line ends.
    """


CLIENT_CLOSED = "the client closed the connection"
_BY_CLIENT = "the client does not accept the certificate"
_WORDS = {
    "HTTP_REQUEST": "the client speaks plain HTTP",
    "NO_SHARED_CIPHER": "client and server have no cipher in common",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "the client knows no signature of the certificate's kind",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the client has shown no certificate",
    "UNEXPECTED_EOF_WHILE_READING": CLIENT_CLOSED,
    "UNSUPPORTED_PROTOCOL": "the client speaks no version of TLS that is allowed here",
    "VERSION_TOO_LOW": "the client speaks no version of TLS that is allowed here",
    "WRONG_VERSION_NUMBER": "what the client sends is not TLS",
    "SSLV3_ALERT_BAD_CERTIFICATE": _BY_CLIENT,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": f"{_BY_CLIENT}: it has expired",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _BY_CLIENT,
    "TLSV1_ALERT_UNKNOWN_CA": f"{_BY_CLIENT}: it does not know who has issued it",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the client refuses the version of TLS",
}
"""OpenSSL's reason -> what it means to an operator."""


def reason(error: Exception) -> str:
    """What `error` says, without where in OpenSSL's source it says so."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the client's certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLZeroReturnError):  # by close_notify, and OpenSSL has no reason
        return CLIENT_CLOSED
    if isinstance(error, ssl.SSLError):
        return _WORDS.get(error.reason or "") or words_of(error) or "TLS error"
    return type(error).__name__


def words_of(error: ssl.SSLError) -> str:
    """OpenSSL's reason in words; "" where it gives none."""
    return (error.reason or "").replace("_", " ").lower()
