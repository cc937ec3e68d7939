"""What is spoken at an address: how it is written, and that a socket knows it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from wsgi_async.errors import ConfigError
from wsgi_async.system.sockets import Address, address_of, anchored, bind, close_all, parse_address
from wsgi_async.system.spoken import GATEWAYS, Spoken, scheme_of
from wsgi_async.system.systemd import inherited_sockets

NAMES = sorted(spoken.value for spoken in GATEWAYS)
each_name = pytest.mark.parametrize("name", NAMES)


@each_name
def test_a_protocol_may_be_in_front_of_any_form(name: str) -> None:
    forms = {
        f"{name}://127.0.0.1:9000": Address("", host="127.0.0.1", port=9000),
        f"{name}://:9000": Address("", host="", port=9000),
        f"{name}://[::1]": Address("", host="::1"),
        f"{name}+unix:/run/app.sock": Address("", path="/run/app.sock"),
        f"{name}+unix:///run/app.sock": Address("", path="/run/app.sock"),
        f"{name}+unix:app.sock": Address("", path="app.sock"),
        f"{name}://unix:/run/app.sock": Address("", path="/run/app.sock"),
        f"{name}+fd://3": Address("", descriptor=3),
    }
    if sys.platform == "linux":
        forms[f"{name}+unix:@app"] = Address("", path="\0app")
    for text, address in forms.items():
        parsed = parse_address(text)
        assert parsed == address._replace(text=text, scheme=name)
        assert parsed.protocol is Spoken(name)


@pytest.mark.parametrize(
    ("text", "spoken"), [("127.0.0.1:80", None), ("https://:443", Spoken.HTTP)]
)
def test_other_addresses_speak_http_or_do_not_say(text: str, spoken: Spoken | None) -> None:
    assert parse_address(text).protocol is spoken


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("uwsgi+127.0.0.1:9000", r"a protocol goes in front of it \(.*\): uwsgi://HOST:PORT"),
        ("uwsgi+unix+unix:/x", "a protocol goes in front of it"),
        ("uwsgi://", "a protocol goes in front of it"),
        ("uwsgi:/run/app.sock", r"in front of it \(.*\): uwsgi://HOST:PORT, or uwsgi\+unix:PATH"),
        ("scgi:127.0.0.1:4000", "a protocol goes in front of it"),
        ("fastcgi://9000", "write fastcgi://:9000 for all interfaces, or fastcgi://127.0.0.1"),
        ("uwsgi+unix:", r"'uwsgi\+unix:' names no socket file: write uwsgi\+unix:PATH"),
        ("uwsgi://https://:80", "is no address"),
        ("https+unix:/x", "a protocol goes in front of it"),
        ("fcgi://127.0.0.1:70", r"in front of it \(https, http, uwsgi, fastcgi, scgi\)"),
    ],
)
def test_what_is_no_address(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_address(text)
    assert "\n" not in str(caught.value)


def test_a_socket_knows_what_is_spoken_on_it(tmp_path: Path) -> None:
    """Where its address does not say, that is what the others speak; TLS is HTTP's alone."""
    file = tmp_path / "a.sock"
    addresses = ["127.0.0.1:0", f"scgi+unix:{file}", "http://127.0.0.1:0", "https://127.0.0.1:0"]
    sockets = bind(addresses, protocol=Spoken.UWSGI, is_tls=True)
    try:
        ports = [
            0 if sock.getsockname() == str(file) else sock.getsockname()[1] for sock in sockets
        ]
        assert [address_of(sock) for sock in sockets] == [
            f"uwsgi://127.0.0.1:{ports[0]}",
            f"scgi+unix:{file}",
            f"http://127.0.0.1:{ports[2]}",
            f"https://127.0.0.1:{ports[3]}",
        ]
        assert [sock.protocol for sock in sockets] == [
            *(Spoken.UWSGI, Spoken.SCGI, Spoken.HTTP, Spoken.HTTP)
        ]
        assert [sock.is_tls for sock in sockets] == [False, False, False, True]
        for sock in sockets:  # what is said of an address may be used as one
            assert parse_address(address_of(sock)).protocol is sock.protocol or sock.is_tls
    finally:
        close_all(sockets)


@each_name
def test_relative_paths_begin_in_a_directory(name: str) -> None:
    assert anchored(f"{name}+unix:a.sock", "/b") == f"{name}+unix:/b/a.sock"
    assert anchored(f"{name}+unix:/a.sock", "/b") == f"{name}+unix:/a.sock"


def test_a_unit_may_name_what_its_sockets_speak() -> None:
    environ = {"LISTEN_PID": "7", "LISTEN_FDS": "4", "LISTEN_FDNAMES": "uwsgi:http:app.socket"}
    found = inherited_sockets(environ, pid=7)
    assert found == ("uwsgi://fd://3", "http://fd://4", "fd://5", "fd://6")
    assert [scheme_of(address) for address in found] == ["uwsgi", "http", "", ""]
