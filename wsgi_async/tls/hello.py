"""The name that a client asks for, from the first message of its handshake (RFC 8446 §4.1.2).

It is read here and not by the callback of `ssl`, which writes a traceback to standard error of
every name that is not ASCII, and then refuses the client. So the certificate is chosen before
OpenSSL sees a byte.
"""

from __future__ import annotations

import re

__all__ = ["ClientHello"]

LONGEST = 16 * 1024
"""Bytes of one at most; clients send a few hundred, or two thousand with keys against quantum
computers. Who sends more gets the certificate that is the default one."""

_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME, _HOST_NAME = 22, 1, 0, 0
_RECORD_HEAD, _MESSAGE_HEAD = 5, 4
_LONGEST_RECORD = 1 << 14
_HOST = re.compile("[!-~]+")
"""Printing characters alone: what is told of a name may be written to a log, or to a page."""


class ClientHello:
    """Takes bytes until the message is complete. What is no such message is complete at once: what
    is wrong with it is for OpenSSL to say."""

    def __init__(self) -> None:
        self.data = bytearray()
        """All that has come."""
        self.name: str | None = None
        """What the client asks for; None where that is nothing, or no name of a host."""
        self._message = bytearray()
        self._at = 0  # where the first record begins that is not in the message

    def feed(self, data: bytes) -> bool:
        """Take what has come. What came before costs nothing again: a client may send single bytes.

        :returns: whether :attr:`name` is known.
        """
        self.data += data
        try:
            self._take_records()
            size = _MESSAGE_HEAD + int.from_bytes(self._message[1:_MESSAGE_HEAD], "big")
            if len(self._message) < max(size, _MESSAGE_HEAD):
                return len(self.data) > LONGEST
            self.name = _server_name(self._message[_MESSAGE_HEAD:size])
        except (IndexError, UnicodeDecodeError):
            pass
        return True

    def _take_records(self) -> None:
        """Those that are whole.

        :raises IndexError: this is another message, or none.
        """
        data, message = self.data, self._message
        if data and data[0] != _HANDSHAKE:
            raise IndexError
        while self._at + _RECORD_HEAD < len(data):
            begin = self._at + _RECORD_HEAD
            end = begin + _number(data, begin - 2)
            if data[self._at] != _HANDSHAKE or begin == end or end - begin > _LONGEST_RECORD:
                raise IndexError
            if (message[0] if message else data[begin]) != _CLIENT_HELLO:
                raise IndexError
            if end > len(data):
                return
            message += data[begin:end]
            self._at = end


def _server_name(message: bytearray) -> str | None:
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
            name = message[at + 5 : at + 5 + length].decode("ascii")
            return name if _HOST.fullmatch(name) else None
        at += size
    return None


def _number(data: bytearray, at: int) -> int:
    return data[at] << 8 | data[at + 1]
