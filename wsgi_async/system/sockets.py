"""Listening sockets: addresses as operators write them -> bound sockets.

========================== ==================================================================
``HOST``, ``HOST:PORT``    a name or an IPv4 address; a name binds all of its addresses
``localhost:PORT``         127.0.0.1 and [::1], IPv4 alone where there is no IPv6
``:PORT``, ``*:PORT``      all interfaces, IPv6 and IPv4 in one dual-stack socket
``[V6]:PORT``              an IPv6 address; ``[::]`` is dual-stack unless 0.0.0.0 is bound as well
``unix:PATH``              a unix socket file
``unix:@NAME``             a name in Linux's abstract namespace
``fd://N``                 an inherited descriptor of a bound stream socket
========================== ==================================================================

``https://`` or ``http://`` in front of any of them says whether it is served by TLS; ``uwsgi://``,
``fastcgi://`` or ``scgi://`` that it is for a web server which speaks that: ``uwsgi+unix:PATH`` and
``uwsgi+fd://N`` are the same with less slashes.

No PORT is :data:`DEFAULT_PORT`; port 0 is one free port for all addresses of one name. The sockets
are bound, not yet listening (the loop's ``create_server`` does that), non-blocking and not
inheritable. Until then nobody can connect, so a unix socket's permissions are in force from its
first client.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import stat
import struct
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from wsgi_async.errors import ConfigError

from .forks import Holding
from .spoken import Spoken, scheme_of, without_scheme

__all__ = [
    "DEFAULT_ADDRESS",
    "DEFAULT_PORT",
    "Address",
    "BoundSocket",
    "address_of",
    "anchored",
    "bind",
    "close_all",
    "hold",
    "https_port",
    "listen",
    "parse_address",
    "peer_uid",
]

DEFAULT_PORT = 8000
DEFAULT_ADDRESS = f"localhost:{DEFAULT_PORT}"

_FORMS = "HOST:PORT, :PORT, [V6]:PORT, unix:PATH, unix:@NAME or fd://N"
_PROTOCOLS = ("https", *(spoken.value for spoken in Spoken))
_TCP = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^:\[\]/]*))(?::(?P<port>[^:]*))?")
_RELATIVE = re.compile(r"((?:[a-z]+\+)?unix:)(?://)?([^/@].*)", re.DOTALL)
# sockaddr_un.sun_path with its final NUL: 108 bytes on Linux, 104 on macOS and the BSDs.
UNIX_PATH_MAX = 107 if sys.platform == "linux" else 103
# What an address of a machine without IPv6 answers to socket() or bind().
_NO_SUCH_ADDRESS = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT})
_PORT_ATTEMPTS = 10


class Address(NamedTuple):
    """One address, read: exactly one of `host`, `path` and `descriptor` is not None."""

    text: str
    """As the operator wrote it."""
    host: str | None = None
    """A name or an IP address; ``""`` for all interfaces."""
    port: int = DEFAULT_PORT
    path: str | None = None
    """A socket file, or ``\\0NAME`` in the abstract namespace."""
    descriptor: int | None = None
    scheme: str = ""
    """``https``, or the name of a protocol; "" where the address does not say."""

    @property
    def protocol(self) -> Spoken | None:
        """What is spoken there; None where the address does not say."""
        return Spoken(self.scheme.replace("https", "http")) if self.scheme else None


class BoundSocket(socket.socket):
    """A socket that remembers the socket file it made, if it made one, and what is spoken there."""

    def __init__(
        self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None
    ) -> None:
        super().__init__(family, type, proto, fileno)
        self._file: tuple[str, int, int] | None = None
        self.protocol = Spoken.HTTP
        """What its clients speak."""
        self.is_tls = False
        """Whether its connections begin with a TLS handshake."""
        self.asks_who = False
        """Whether the kernel is asked, of each connection, who is at its other end."""

    def own_file(self, path: str) -> None:
        """Remember `path`, which this socket has just made."""
        made = os.lstat(path)
        self._file = (os.path.abspath(path), made.st_dev, made.st_ino)

    @property
    def file(self) -> str | None:
        """The absolute path of the socket file, if it made one."""
        return self._file[0] if self._file is not None else None

    def disown_file(self) -> None:
        """Leave the socket file to another process."""
        self._file = None

    def remove_file(self) -> None:
        """Remove the socket file if it is still this one: a successor's is left alone.

        Call it before the socket is closed; only then is the inode number certainly ours.
        """
        if self._file is None:
            return
        path, device, inode = self._file
        self._file = None
        with contextlib.suppress(OSError):
            found = os.lstat(path)
            if (found.st_dev, found.st_ino) == (device, inode):
                os.unlink(path)


def bind(
    addresses: Sequence[str] = (),
    *,
    socket_mode: int = 0o660,
    is_tls: bool = False,
    protocol: Spoken = Spoken.HTTP,
    flag: str = "--bind",
) -> list[BoundSocket]:
    """Bind all of `addresses`, or none. May block to resolve a name.

    :param addresses: see the module's table; none at all is ``localhost:8000``.
    :param socket_mode: permission bits of unix socket files.
    :param is_tls: whether HTTP is spoken in TLS where an address does not say.
    :param protocol: what is spoken where an address does not say.
    :param flag: the option that has them.
    :raises ConfigError: one line, where an address cannot be read or cannot be had.
    """
    parsed = [parse_address(text) for text in addresses or (DEFAULT_ADDRESS,)]
    # Linux lets "::" take IPv4 as well, so 0.0.0.0 beside it would clash on the same port.
    v4_ports = {address.port for address in parsed if address.host == "0.0.0.0"}
    bound: list[BoundSocket] = []
    try:
        for address in parsed:
            first = len(bound)
            try:
                if address.path is not None:
                    bound.append(_bind_unix(address.path, socket_mode))
                elif address.descriptor is not None:
                    bound.append(_inherit(address.descriptor))
                else:
                    bound += _bind_tcp(address, dual_stack=address.port not in v4_ports)
                for sock in bound[first:]:
                    sock.protocol = address.protocol or protocol
                    if sock.protocol is Spoken.HTTP:
                        sock.is_tls = address.scheme == "https" if address.scheme else is_tls
            except OSError as error:
                raise ConfigError(
                    f"Cannot listen on {address.text}: {_reason(error, address, flag)}"
                ) from error
    except BaseException:
        close_all(bound)
        raise
    return bound


def listen(sock: socket.socket, backlog: int) -> None:
    """Let clients connect.

    :raises ConfigError: where somebody else listens there already.
    """
    try:
        sock.listen(backlog)
    except OSError as error:
        # Linux lets two sockets be bound to one port until one of them listens.
        raise ConfigError(f"Cannot listen on {address_of(sock)}: {error.strerror}") from error


def hold(sockets: Sequence[BoundSocket]) -> Holding:
    """Have neither these sockets nor their connections, nor the socket files, pass on to processes
    that the application forks. To be released once the last connection is closed."""

    def disown() -> None:
        for sock in sockets:
            sock.disown_file()

    return Holding(sockets, in_child=disown)


def close_all(sockets: Iterable[socket.socket]) -> None:
    """Close the sockets and remove the socket files they made. Harmless when repeated."""
    for sock in sockets:
        if isinstance(sock, BoundSocket):
            sock.remove_file()
        sock.close()


def address_of(sock: socket.socket) -> str:
    """``http://127.0.0.1:8000``, ``https://[::1]:8443``, ``unix:/run/app.sock``, ``unix:@name``;
    ``https://unix:/run/app.sock`` where TLS is spoken on it, ``uwsgi+unix:/run/app.sock`` and
    ``uwsgi://127.0.0.1:8000`` where that is."""
    name = sock.getsockname()
    spoken = sock.protocol if isinstance(sock, BoundSocket) else Spoken.HTTP
    is_tls = isinstance(sock, BoundSocket) and sock.is_tls
    scheme = "https" if is_tls else spoken.value
    if sock.family == socket.AF_INET6:
        return f"{scheme}://[{name[0]}]:{name[1]}"
    if sock.family == socket.AF_INET:
        return f"{scheme}://{name[0]}:{name[1]}"
    path = os.fsdecode(name)
    file = "unix:@" + path[1:] if path.startswith("\0") else "unix:" + path
    if spoken is not Spoken.HTTP:
        return f"{scheme}+{file}"
    return f"https://{file}" if is_tls else file


def peer_uid(connection: socket.socket) -> int:
    """As whom the process runs that has connected to a unix socket, as it was then; -1 where the
    system does not tell.

    :param connection: an accepted one.
    """
    credentials = struct.Struct("=iII")  # pid, uid, gid: struct ucred of unix(7)
    try:
        found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size)
    except (AttributeError, OSError):
        return -1
    uid: int = credentials.unpack(found)[1]
    return uid


def https_port(sockets: Iterable[BoundSocket]) -> int | None:
    """The TCP port of the first that is served by TLS; None where there is none."""
    families = (socket.AF_INET, socket.AF_INET6)
    tls = (sock for sock in sockets if sock.is_tls and sock.family in families)
    return next((int(sock.getsockname()[1]) for sock in tls), None)


def parse_address(text: str, default_port: int = DEFAULT_PORT) -> Address:
    """Read one address; nothing is resolved or opened.

    :param default_port: what no PORT is.
    :raises ConfigError: where it has none of the forms, or its port is not from 0 to 65535.
    """
    rest = without_scheme(text)
    address = _parse(rest, default_port, text[: len(text) - len(rest)])
    return address._replace(text=text, scheme=scheme_of(text))


def anchored(text: str, directory: str) -> str:
    """The same address, where a relative path of a socket file begins in `directory`."""
    match = _RELATIVE.fullmatch(text)
    return text if match is None else f"{match[1]}{os.path.join(directory, match[2])}"


def _parse(text: str, default_port: int, scheme: str) -> Address:
    if text.startswith("unix:"):
        return Address(text, path=_parse_path(text, scheme))
    if text.startswith("fd:"):
        number = text.removeprefix("fd://")
        if not re.fullmatch(r"[0-9]{1,9}", number):
            raise ConfigError(f"{text!r} is no descriptor: write fd://3")
        return Address(text, descriptor=int(number))
    match = _TCP.fullmatch(text)
    if match is None or not text or "+" in text or (match["v6"] and ":" not in match["v6"]):
        raise _no_address(text)
    host, port = match["v6"] or match["host"], match["port"]
    if port is None and re.fullmatch(r"[0-9]+", host):
        # getaddrinfo() would take 8000 for the address 0.0.31.64.
        raise ConfigError(
            f"{scheme + text!r} is no address: write {scheme}:{text} for all interfaces, or "
            f"{scheme}127.0.0.1:{text}"
        )
    if port is not None and not (re.fullmatch(r"[0-9]{1,5}", port) and int(port) <= 65535):
        if host in _PROTOCOLS:
            raise _no_address(text)
        raise ConfigError(f"{text!r} has no port from 0 to 65535")
    return Address(
        text, host="" if host == "*" else host, port=default_port if port is None else int(port)
    )


def _no_address(text: str) -> ConfigError:
    hint = "; an IPv6 address goes in brackets" if re.search(r":.*:", text) else ""
    if "+" in text or "://" in text or text.partition(":")[0] in _PROTOCOLS:
        names = ", ".join(_PROTOCOLS)
        hint = f"; a protocol goes in front of it ({names}): uwsgi://HOST:PORT, or uwsgi+unix:PATH"
    return ConfigError(f"{text!r} is no address: write {_FORMS}{hint}")


def _parse_path(text: str, scheme: str) -> str:
    path = text.removeprefix("unix:")
    if path.startswith("//"):  # unix:///run/app.sock, as gunicorn takes it
        path = path[2:]
    if path.startswith("@"):
        if sys.platform != "linux":
            raise ConfigError(f"{text!r}: abstract names are Linux's; write unix:PATH")
        path = "\0" + path[1:]
    if not path.strip("\0") or "\0" in path[1:]:
        raise ConfigError(f"{scheme + text!r} names no socket file: write {scheme}unix:PATH")
    if not hasattr(socket, "AF_UNIX"):
        raise ConfigError(f"{text!r}: there are no unix sockets on this system")
    size = len(os.fsencode(path))
    if size > UNIX_PATH_MAX:
        raise ConfigError(
            f"{text!r} is too long: a socket's path may have {UNIX_PATH_MAX} bytes, not {size}"
        )
    return path


def _bind_tcp(address: Address, *, dual_stack: bool) -> list[BoundSocket]:
    """One socket for each IP address of `address`, all on one port."""
    targets = _resolve(address)
    for attempt in range(1, _PORT_ATTEMPTS + 1):
        try:
            return _bind_each(targets, address.port, dual_stack=dual_stack)
        except OSError as error:
            # Port 0: what was free for the first address can be taken for the second.
            if address.port or error.errno != errno.EADDRINUSE or attempt == _PORT_ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _resolve(address: Address) -> list[tuple[int, str, int]]:
    """(family, IP address, scope id) of each address that `address` stands for."""
    if address.host == "":
        # socket() fails where the kernel has no IPv6 at all.
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_STREAM):
            return [(socket.AF_INET6, "::", 0)]
        return [(socket.AF_INET, "0.0.0.0", 0)]
    assert address.host is not None
    if address.host.lower() in ("localhost", "localhost."):
        # RFC 6761 §6.3: always the loopback addresses, whatever a resolver says.
        return [(socket.AF_INET, "127.0.0.1", 0), (socket.AF_INET6, "::1", 0)]
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except UnicodeError:  # a label longer than 63 characters, from the IDNA codec
        raise OSError(errno.EINVAL, "the name is not valid") from None
    targets = []
    for family, _, _, _, sockaddr in found:
        if family in (socket.AF_INET, socket.AF_INET6):
            scope = sockaddr[3] if len(sockaddr) == 4 else 0
            targets.append((int(family), str(sockaddr[0]), int(scope)))
    return list(dict.fromkeys(targets))


def _bind_each(
    targets: list[tuple[int, str, int]], port: int, *, dual_stack: bool
) -> list[BoundSocket]:
    """Bind all targets to `port`; for port 0, to the one that the first target is given."""
    bound: list[BoundSocket] = []
    missing: OSError | None = None
    try:
        for family, host, scope in targets:
            try:
                bound.append(_bind_one(family, host, port, scope, dual_stack=dual_stack))
            except OSError as error:
                if error.errno not in _NO_SUCH_ADDRESS:
                    raise
                missing = error
            else:
                port = bound[-1].getsockname()[1]
    except BaseException:
        close_all(bound)
        raise
    if not bound and missing is not None:
        raise missing
    return bound


def _bind_one(family: int, host: str, port: int, scope: int, *, dual_stack: bool) -> BoundSocket:
    # asyncio sets TCP_NODELAY only where a socket says that it is TCP.
    sock = BoundSocket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setblocking(False)
        # Without it a restart fails while old connections are in TIME_WAIT.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            v6_only = not (dual_stack and host == "::")
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6_only)
            sock.bind((host, port, 0, scope))
        else:
            sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_unix(path: str, mode: int) -> BoundSocket:
    abstract = path.startswith("\0")
    if not abstract:
        _remove_stale(path)
    sock = BoundSocket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(path)
        if not abstract:
            sock.own_file(path)
            os.chmod(path, mode)
    except BaseException:
        close_all([sock])
        raise
    return sock


def _remove_stale(path: str) -> None:
    """Remove a socket file on which nobody listens.

    :raises OSError: where somebody listens there, or it is no socket.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(errno.EEXIST, "the file exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except FileNotFoundError:
            return
        except OSError as error:
            # EAGAIN is a listener with a full queue; EPROTOTYPE a datagram socket in use.
            if error.errno not in (errno.EAGAIN, errno.EPROTOTYPE):
                raise
    raise OSError(errno.EADDRINUSE, "")


def _inherit(descriptor: int) -> BoundSocket:
    """The socket of an inherited descriptor, which stays open where it cannot be used."""
    try:
        sock = BoundSocket(fileno=descriptor)
    except OSError as error:
        if error.errno == errno.ENOTSOCK:
            raise OSError(errno.ENOTSOCK, "the descriptor is not a socket") from None
        raise OSError(errno.EBADF, "there is no such descriptor") from None
    families = {socket.AF_INET, socket.AF_INET6, getattr(socket, "AF_UNIX", None)}
    name = sock.getsockname() if sock.family in families else None
    if sock.type != socket.SOCK_STREAM or not name or name[1:2] == (0,):
        sock.detach()
        raise OSError(errno.EINVAL, "the descriptor is not a bound stream socket")
    sock.setblocking(False)
    sock.set_inheritable(False)
    return sock


def _reason(error: OSError, address: Address, flag: str) -> str:
    """Why binding `address` failed, and what to do about it."""
    if isinstance(error, socket.gaierror):
        return f"the name cannot be resolved ({error.strerror})"
    if error.errno == errno.EADDRINUSE:
        return f"the address is in use; stop the server there or choose another with {flag}"
    if error.errno in (errno.EACCES, errno.EPERM):
        if address.path is None and 0 < address.port < 1024:
            return "permission denied; ports below 1024 need privileges"
        if address.path is not None:
            directory = os.path.dirname(address.path) or "."
            if os.path.lexists(address.path):
                return "permission denied; the file there may be another user's: remove it"
            return (
                f"permission denied; its user has to be able to write to {directory} (in systemd "
                "below /run: RuntimeDirectory=)"
            )
        return "permission denied"
    if error.errno == errno.EADDRNOTAVAIL:
        return "no interface of this machine has that address"
    if error.errno == errno.ENOENT and address.path is not None:
        return f"there is no directory {os.path.dirname(address.path) or '.'}"
    return error.strerror or str(error)
