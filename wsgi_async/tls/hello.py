"""The name that a client asks for, from the first message of its handshake (RFC 8446 §4.1.2).

It is read here and not by the callback of `ssl`, which writes a traceback to standard error of
every name that is not ASCII, and then refuses the client. So the certificate is chosen before
OpenSSL sees a byte.
"""

from __future__ import annotations

__all__ = ["ClientHello"]

LONGEST = 16 * 1024
"""Bytes of one at most; clients send a few hundred, or two thousand with keys against quantum
computers. Who sends more gets the certificate that is the default one."""

_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME, _HOST_NAME = 22, 1, 0, 0
_RECORD_HEAD, _MESSAGE_HEAD = 5, 4


class ClientHello:
    """Takes bytes until the message is complete. What is no such message is complete at once: what
    is wrong with it is for OpenSSL to say."""

    def __init__(self) -> None:
        self.data = b""
        """All that has come."""
        self.name: str | None = None
        """What the client asks for; None where that is nothing, or no name of a host."""

    def feed(self, data: bytes) -> bool:
        """Take what has come.

        :returns: whether :attr:`name` is known.
        """
        self.data += data
        try:
            message = _message(self.data)
            if message is None:
                return len(self.data) > LONGEST
            self.name = _server_name(message)
        except (IndexError, UnicodeDecodeError):
            pass
        return True


def _message(data: bytes) -> bytes | None:
    """The message without its head, from the records that it is in; None where it is cut.

    :raises IndexError: it is another one, or none.
    """
    message, at = b"", 0
    while at + _RECORD_HEAD <= len(data):
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        if data[at] != _HANDSHAKE or not size:
            raise IndexError
        message += data[at + _RECORD_HEAD : at + _RECORD_HEAD + size]
        at += _RECORD_HEAD + size
        if message and message[0] != _CLIENT_HELLO:
            raise IndexError
        length = int.from_bytes(message[1:_MESSAGE_HEAD], "big")
        if len(message) >= _MESSAGE_HEAD + length:
            return message[_MESSAGE_HEAD : _MESSAGE_HEAD + length]
    if data and data[0] != _HANDSHAKE:
        raise IndexError
    return None


def _server_name(message: bytes) -> str | None:
    """
    :raises IndexError: it is malformed.
    :raises UnicodeDecodeError: the name is not ASCII.
    """
    at = 2 + 32  # version and random
    at += 1 + message[at]  # session
    at += 2 + _number(message, at)  # ciphers
    at += 1 + message[at]  # compression
    at += 2  # size of the extensions
    while at < len(message):
        kind, size = _number(message, at), _number(message, at + 2)
        at += 4
        if kind == _SERVER_NAME:  # RFC 6066 §3: a list, of one entry
            if message[at + 2] != _HOST_NAME:
                return None
            length = _number(message, at + 3)
            return message[at + 5 : at + 5 + length].decode("ascii") or None
        at += size
    return None


def _number(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]
