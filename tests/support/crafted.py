"""Records of TLS 1.3 that no library sends, made by hand from a connection's secret."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path

from certificates import authority
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from encrypted import Record
from rawclient import Address, RawClient

__all__ = ["Crafter"]

KEY_UPDATE = b"\x18\x00\x00\x01"
HASHES = {"SHA256": hashlib.sha256, "SHA384": hashlib.sha384}


class Crafter:
    """A connection whose handshake is over, and whose client's records are made here.

    :param address: of the server.
    :param directory: for the file of the secrets.
    """

    def __init__(self, address: Address, directory: Path) -> None:
        context = authority().client()
        secrets = directory / "secrets"
        context.keylog_filename = str(secrets)
        self.client = RawClient(address, tls=context)
        self.wire = self.client.socket.wire
        cipher, version, _ = self.client.socket.tls.cipher()
        assert version == "TLSv1.3"
        self._aead = ChaCha20Poly1305 if "CHACHA" in cipher else AESGCM
        self._key_size = 16 if "AES_128" in cipher else 32
        self._hash = HASHES[cipher.rpartition("_")[2]]
        found = re.findall(
            r"^CLIENT_TRAFFIC_SECRET_0 \w+ (\w+)$", secrets.read_text(), re.MULTILINE
        )
        self._use(bytes.fromhex(found[-1]))

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        self._cipher = self._aead(self._expand("key", self._key_size))
        self._iv = int.from_bytes(self._expand("iv", 12), "big")
        self._number = 0

    def _expand(self, label: str, size: int) -> bytes:
        """HKDF-Expand-Label (RFC 8446 §7.1)."""
        name = b"tls13 " + label.encode()
        info = size.to_bytes(2, "big") + bytes([len(name)]) + name + b"\0"
        return hmac.new(self._secret, info + b"\1", self._hash).digest()[:size]

    def record(self, content: bytes, kind: Record = Record.DATA, padding: int = 0) -> bytes:
        """One record, not sent.

        :param padding: zeros after the content, which is allowed to be empty.
        """
        inner = content + bytes([kind]) + bytes(padding)
        head = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
        nonce = (self._iv ^ self._number).to_bytes(12, "big")
        self._number += 1
        return head + self._cipher.encrypt(nonce, inner, head)

    def key_update(self, *, asks: bool = True) -> bytes:
        """New keys for this side.

        :param asks: whether the other side must answer with its own.
        """
        made = self.record(KEY_UPDATE + bytes([asks]), Record.HANDSHAKE)
        secret = self._expand("traffic upd", self._hash().digest_size)
        self._use(secret)
        return made
