"""Contexts for new connections, made afresh of what the files hold.

They are never changed once they are given out. A context whose certificate is replaced in place is
poisoned where the new pair does not match, and one that is swapped in the callback for the server
name takes the certificate and ALPN along, but neither verification nor versions. Sessions can be
resumed with the context that they were made by and no other: its keys for tickets are its own.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from wsgi_async.errors import ConfigError
from wsgi_async.events import CertificateInfo
from wsgi_async.system.private_files import private_path

from .certificates import ServerPair, said_by
from .hello import ClientHello
from .material import Material
from .names import NameTable
from .settings import TLSSettings

__all__ = ["Contexts", "ServerConnection", "make_contexts"]

ALPN = ["http/1.1"]


@dataclass(frozen=True, slots=True)
class Contexts:
    """What new connections are served by."""

    context: ssl.SSLContext
    """For each of them, whatever name it asks for. It shows the first certificate, and turns to
    that of another pair for the names which are in there."""
    certificates: tuple[CertificateInfo, ...]
    """What is shown, in the order of the pairs."""
    notices: tuple[str, ...] = ()
    """What an operator may have meant otherwise, a line each."""


def make_contexts(settings: TLSSettings, material: Material) -> Contexts:
    """Contexts of these contents. *Any thread; it takes some milliseconds.*

    Each pair is proved: the key is that of its certificate, and a client can be served by it. When
    it is valid is for the caller to judge.

    :raises ConfigError: something in the files is wrong, or in ``--ciphers``. The line names it.
    """
    made = []
    for files, content in zip(settings.pairs, material.pairs, strict=True):
        context, probe = _context(settings), _context(settings)
        pair = ServerPair(files, content, material.password)
        pair.load_into(context, probe)
        certificate = pair.read(probe)
        _verify_clients(context, settings, material)
        made.append((context, certificate))
    first = made[0][0]
    first.by_name = NameTable((certificate.names, context) for context, certificate in made)
    notices = [
        f"--certfile {certificate.file} is shown to nobody, for those before it have all its names"
        for context, certificate in made[1:]
        if all(first.by_name.find(name) is not context for name in certificate.names)
    ]
    return Contexts(first, tuple(certificate for _, certificate in made), tuple(notices))


class ServerConnection(ssl.SSLObject):
    """The server's side of a connection, from ``context.wrap_bio(...)``.

    :meth:`do_handshake` looks first which name the client asks for, and turns to the context that
    has its certificate, which is to have the same rules: OpenSSL takes no others from it.
    """

    server_name: str | None = None
    """The name that the client has asked for; None where it has not, or no ASCII."""
    _incoming: ssl.MemoryBIO | None = None
    _hello: ClientHello | None = None

    def expect_hello(self, incoming: ssl.MemoryBIO) -> None:
        """Look at what comes here before OpenSSL does."""
        self._incoming, self._hello = incoming, ClientHello()

    def do_handshake(self) -> None:
        """As that of :class:`ssl.SSLObject`."""
        if self._hello is not None and self._incoming is not None:
            if not self._hello.feed(self._incoming.read()) and not self._incoming.eof:
                raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "the hello is not complete")
            self._choose(self._hello)
        super().do_handshake()

    def _choose(self, hello: ClientHello) -> None:
        incoming, self._incoming, self._hello = self._incoming, None, None
        assert incoming is not None
        self.server_name = hello.name
        context = self.context
        if hello.name is not None and isinstance(context, ServerContext):
            chosen = context.by_name.find(hello.name)
            if chosen is not None and chosen is not context:
                self.context = chosen
        if not incoming.eof:  # else the client has gone, and nothing can be written
            incoming.write(hello.data)


class ServerContext(ssl.SSLContext):
    """A context whose connections find the certificate for the name that a client asks for."""

    sslobject_class = ServerConnection
    by_name: NameTable[ServerContext] = NameTable(())

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = True,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """As that of :class:`ssl.SSLContext`: a :class:`ServerConnection`."""
        made = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        if isinstance(made, ServerConnection):
            made.expect_hello(incoming)
        return made


def _context(settings: TLSSettings) -> ServerContext:
    """One without a certificate."""
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = settings.minimum
    # A client may not make the server compute again and again (CVE-2011-1473), nor compression
    # tell what is in a response (CRIME). TLS 1.3 has neither.
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # All ciphers there are by default are good, and the client knows which it computes fast: a
    # telephone without AES in its processor takes ChaCha20. A list that is given has its order.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if settings.ciphers:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        try:
            # Before a certificate is loaded: the security level in it is the one to judge that.
            context.set_ciphers(settings.ciphers)
        except ssl.SSLError:
            raise ConfigError(
                f"--ciphers {settings.ciphers}: OpenSSL knows no cipher in it; "
                "`openssl ciphers -v` lists them, and those of TLS 1.3 are always on"
            ) from None
    context.set_alpn_protocols(ALPN)
    return context


def _verify_clients(context: ssl.SSLContext, settings: TLSSettings, material: Material) -> None:
    context.verify_mode = settings.cert_reqs.mode
    if material.ca_certs is None:
        return
    # Who trusts an intermediate authority alone need not trust the root above it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    where = f"--ca-certs {settings.ca_certs}"
    if b"-----BEGIN" not in material.ca_certs:
        raise ConfigError(f"{where}: no certificate in PEM is in it")
    try:
        with private_path(material.ca_certs) as path:
            context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise ConfigError(f"{where}: OpenSSL cannot read it: {said_by(error)}") from None
    except OSError as error:
        raise ConfigError(f"{where}: {error.strerror}") from None
