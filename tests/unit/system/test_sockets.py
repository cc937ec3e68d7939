"""Addresses, and real sockets bound to them on port 0 or in a temporary directory."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from wsgi_async.errors import ConfigError
from wsgi_async.system import sockets
from wsgi_async.system.sockets import (
    Address,
    BoundSocket,
    address_of,
    anchored,
    bind,
    close_all,
    parse_address,
)


def _has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6_loopback(), reason="no IPv6 loopback here")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")


@contextlib.contextmanager
def bound(
    addresses: Sequence[str] = (), *, socket_mode: int = 0o660, is_tls: bool = False
) -> Iterator[list[BoundSocket]]:
    result = bind(addresses, socket_mode=socket_mode, is_tls=is_tls)
    try:
        yield result
    finally:
        close_all(result)


def fails(addresses: Sequence[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        bind(addresses)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1", ("127.0.0.1", 8000)),
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("example.org:0", ("example.org", 0)),
        (":80", ("", 80)),
        ("*:80", ("", 80)),
        ("*", ("", 8000)),
        ("[::1]:65535", ("::1", 65535)),
        ("[::1]", ("::1", 8000)),
        ("[fe80::1%lo]:80", ("fe80::1%lo", 80)),
    ],
)
def test_forms_of_tcp_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == Address(text, host=address[0], port=address[1])


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("unix:/run/app.sock", "/run/app.sock"),
        ("unix:///run/app.sock", "/run/app.sock"),
        ("unix:app.sock", "app.sock"),
        pytest.param("unix:@app", "\0app", marks=needs_linux),
    ],
)
def test_forms_of_unix_addresses(text: str, path: str) -> None:
    assert parse_address(text) == Address(text, path=path)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://:443", Address("https://:443", host="", port=443, scheme="https")),
        ("http://[::1]", Address("http://[::1]", host="::1", scheme="http")),
        ("https://unix:/x", Address("https://unix:/x", path="/x", scheme="https")),
        ("https://unix:///x", Address("https://unix:///x", path="/x", scheme="https")),
        ("http://fd://3", Address("http://fd://3", descriptor=3, scheme="http")),
    ],
)
def test_a_scheme_may_be_in_front_of_any_form(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unix:a.sock", "unix:/b/\\1/a.sock"),
        ("unix://a.sock", "unix:/b/\\1/a.sock"),
        *((text, text) for text in ("unix:/a", "unix:///a", "unix:@a", "unix://@a", "a:1", "")),
    ],
)
def test_a_relative_path_begins_in_a_directory(text: str, expected: str) -> None:
    """Whatever is in the name of that: it is no pattern."""
    assert anchored(text, "/b/\\1") == expected


def test_form_of_a_descriptor() -> None:
    assert parse_address("fd://3") == Address("fd://3", descriptor=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no address"),
        ("8000", "write :8000 for all interfaces"),
        ("::1", "goes in brackets"),
        ("::1:8000", "goes in brackets"),
        ("[::1", "is no address"),
        ("[localhost]:80", "is no address"),
        ("https://", "a protocol goes in front of it"),
        ("https://8443", "write https://:8443 for all interfaces, or https://127.0.0.1:8443"),
        ("https://localhost:8443/", "'localhost:8443/' has no port from 0 to 65535"),
        ("https://http://localhost", "a protocol goes in front of it"),
        ("ftp://localhost:80", "is no address"),
        ("localhost:", "no port from 0 to 65535"),
        ("localhost:http", "no port from 0 to 65535"),
        ("localhost:65536", "no port from 0 to 65535"),
        ("localhost:-1", "no port from 0 to 65535"),
        ("localhost:²", "no port from 0 to 65535"),
        ("localhost: 80", "no port from 0 to 65535"),
        ("fd://x", "write fd://3"),
        ("fd:3x", "write fd://3"),
        ("unix:", "names no socket file"),
        ("unix:@", "names no socket file|abstract names"),
        ("unix:a\0b", "names no socket file"),
        ("unix:/" + "a" * 200, "is too long"),
    ],
)
def test_what_is_no_address(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_address(text)
    assert "\n" not in str(caught.value)


def test_an_address_without_a_scheme_is_what_the_others_say(tmp_path: Path) -> None:
    """As in gunicorn: with a certificate all sockets are TLS, those of unix included."""
    unix = tmp_path / "socket"
    addresses = ["127.0.0.1:0", "https://127.0.0.1:0", "http://127.0.0.1:0", f"unix:{unix}"]
    for is_tls in (False, True):
        with bound(addresses, is_tls=is_tls) as sockets:
            assert [sock.is_tls for sock in sockets] == [is_tls, True, False, is_tls]
            scheme = "https" if is_tls else "http"
            ports = [sock.getsockname()[1] for sock in sockets[:3]]
            assert [address_of(sock) for sock in sockets] == [
                f"{scheme}://127.0.0.1:{ports[0]}",
                f"https://127.0.0.1:{ports[1]}",
                f"http://127.0.0.1:{ports[2]}",
                f"https://unix:{unix}" if is_tls else f"unix:{unix}",
            ]


def test_a_socket_is_bound_but_not_listening() -> None:
    with bound(["127.0.0.1:0"]) as [sock]:
        host, port = sock.getsockname()
        assert host == "127.0.0.1"
        assert port > 0
        assert address_of(sock) == f"http://127.0.0.1:{port}"
        assert not sock.getblocking()
        assert not sock.get_inheritable()
        assert sock.proto == socket.IPPROTO_TCP  # else asyncio does not set TCP_NODELAY
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, port), timeout=5)
        sock.listen(1)
        socket.create_connection((host, port), timeout=5).close()


@needs_ipv6
@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost."])
def test_localhost_is_both_loopback_addresses_on_one_port(host: str) -> None:
    with bound([f"{host}:0"]) as [v4, v6]:
        port = v4.getsockname()[1]
        assert [address_of(sock) for sock in (v4, v6)] == [
            f"http://127.0.0.1:{port}",
            f"http://[::1]:{port}",
        ]


def test_no_address_is_localhost_8000(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sockets.DEFAULT_ADDRESS == "localhost:8000"
    monkeypatch.setattr(sockets, "DEFAULT_ADDRESS", "localhost:0")
    with bound() as result:
        assert result[0].getsockname()[0] == "127.0.0.1"


def test_an_address_that_the_machine_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    # 192.0.2.0/24 is reserved for documentation (RFC 5737): no interface has it.
    targets = [(socket.AF_INET, "192.0.2.1", 0), (socket.AF_INET, "127.0.0.1", 0)]
    monkeypatch.setattr(sockets, "_resolve", lambda address: targets)
    with bound(["twofold:0"]) as [sock]:
        assert sock.getsockname()[0] == "127.0.0.1"
    monkeypatch.setattr(sockets, "_resolve", lambda address: targets[:1])
    fails(["gone:0"], "Cannot listen on gone:0: no interface of this machine has that address")


def test_a_clash_on_port_0_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = []
    really = sockets._bind_each

    def clash_once(*args: object, **kwargs: object) -> list[BoundSocket]:
        attempts.append(args)
        if len(attempts) == 1:
            raise OSError(errno.EADDRINUSE, "taken")
        return really(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(sockets, "_bind_each", clash_once)
    with bound(["127.0.0.1:0"]) as result:
        assert len(result) == 1
    assert len(attempts) == 2


@pytest.mark.parametrize("text", [":0", "*:0"])
def test_all_interfaces(text: str) -> None:
    with bound([text]) as [sock]:
        port = sock.getsockname()[1]
        sock.listen(2)
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        if sock.family == socket.AF_INET6:
            assert address_of(sock) == f"http://[::]:{port}"
            if _has_ipv6_loopback():
                socket.create_connection(("::1", port), timeout=5).close()
        else:
            assert address_of(sock) == f"http://0.0.0.0:{port}"


@needs_ipv6
def test_v6_any_is_dual_stack_unless_v4_any_is_bound_as_well() -> None:
    with bound(["[::]:0"]) as [sock]:
        assert not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    with bound(["0.0.0.0:0", "[::]:0"]) as [_, sock]:
        assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def test_an_address_in_use_closes_what_was_bound_before() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        with bound(["127.0.0.1:0"]) as [sock]:
            free = sock.getsockname()[1]
        with pytest.raises(ConfigError, match=f"Cannot listen on {taken}: the address is in use"):
            bind([f"127.0.0.1:{free}", taken])
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as again:
            again.bind(("127.0.0.1", free))  # without SO_REUSEADDR: nobody else may hold it


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".invalid"])
def test_a_name_that_cannot_be_resolved(host: str) -> None:
    # RFC 6761 §6.4: "invalid" never resolves.
    fails([f"{host}:0"], f"Cannot listen on {host}:0: the name ")


def test_a_port_below_1024_needs_privileges() -> None:
    address = parse_address("127.0.0.1:80")
    reason = sockets._reason(PermissionError(errno.EACCES, "x"), address, "--bind")
    assert reason == "permission denied; ports below 1024 need privileges"


# --- Unix sockets


def test_a_unix_socket_has_its_mode_and_goes_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with bound([f"unix:{path}"], socket_mode=0o606) as [sock]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o606
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert address_of(sock) == f"unix:{path}"
        assert not sock.getblocking()
    assert not path.exists()
    close_all([sock])  # harmless


def test_a_relative_path_is_removed_after_a_change_of_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with bound(["unix:app.sock"]):
        assert (tmp_path / "app.sock").exists()
        monkeypatch.chdir("/")
    assert not (tmp_path / "app.sock").exists()


def test_a_stale_socket_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    assert path.exists()
    with bound([f"unix:{path}"]) as [sock]:
        sock.listen(1)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(str(path))


@pytest.mark.parametrize("full", [False, True], ids=["listening", "queue full"])
def test_a_live_socket_is_refused_and_left_alone(tmp_path: Path, full: bool) -> None:
    path = tmp_path / "app.sock"
    with contextlib.ExitStack() as stack:
        live = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        live.bind(str(path))
        live.listen(0)
        if full:
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            waiting.connect(str(path))
        fails([f"unix:{path}"], "the address is in use")
    assert path.exists()


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_no_socket_is_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "app.sock"
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")
    fails([f"unix:{path}"], "the file exists and is not a socket")
    assert path.is_symlink() or path.exists()


def test_a_missing_directory(tmp_path: Path) -> None:
    fails([f"unix:{tmp_path}/no/app.sock"], f"there is no directory {tmp_path}/no")


def test_a_denied_socket_file_says_whose_leave_is_missing(tmp_path: Path) -> None:
    """That of the directory; or, in /tmp, of who has left the file."""
    address = parse_address(f"uwsgi+unix:{tmp_path}/app.sock")
    error = PermissionError(errno.EACCES, "x")
    assert f"write to {tmp_path} (" in sockets._reason(error, address, "--bind")
    (tmp_path / "app.sock").touch()
    assert "may be another user's: remove it" in sockets._reason(error, address, "--bind")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    fails([f"unix:{tmp_path}/app.sock"], f"permission denied; .* able to write to {tmp_path} ")


def test_a_successors_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with bound([f"unix:{path}"]):
        path.unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as successor:
            successor.bind(str(path))
    assert path.exists()


@needs_linux
def test_an_abstract_name() -> None:
    name = f"wsgi-async-test-{os.getpid()}"
    with bound([f"unix:@{name}"]) as [sock]:
        assert address_of(sock) == f"unix:@{name}"
        fails([f"unix:@{name}"], "the address is in use")


# --- Inherited descriptors


def test_an_inherited_descriptor() -> None:
    with socket.create_server(("127.0.0.1", 0)) as parent:
        descriptor = os.dup(parent.fileno())
        os.set_inheritable(descriptor, True)
        with bound([f"fd://{descriptor}"]) as [sock]:
            assert sock.fileno() == descriptor
            assert address_of(sock) == f"http://127.0.0.1:{parent.getsockname()[1]}"
            assert not sock.getblocking()
            assert not sock.get_inheritable()


def test_descriptors_that_cannot_be_used_stay_open(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as unbound:
        fails([f"fd://{unbound.fileno()}"], "not a bound stream socket")
        os.fstat(unbound.fileno())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        datagram.bind(("127.0.0.1", 0))
        fails([f"fd://{datagram.fileno()}"], "not a bound stream socket")
        os.fstat(datagram.fileno())
    with (tmp_path / "file").open("w") as file:
        fails([f"fd://{file.fileno()}"], "the descriptor is not a socket")
        gone = os.dup(file.fileno())
    os.close(gone)
    fails([f"fd://{gone}"], "there is no such descriptor")
