"""The fields that are older than RFC 7239: lists, and the values in them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from wsgi_async.errors import ConfigError, HTTPError
from wsgi_async.proxies.schemes import SECURE_SCHEME_HEADERS, scheme_fields
from wsgi_async.proxies.x_forwarded import (
    read_host,
    read_list,
    read_port,
    read_prefix,
    read_scheme,
)


@pytest.mark.parametrize(
    ("value", "entries"),
    [
        ("a", ["a"]),
        ("a, b,c\t,\td", ["a", "b", "c", "d"]),
        (" , a,, b ,", ["a", "b"]),
        ('"a", " b "', ["a", "b"]),
        ('"a', ['"a']),
        ('"', ['"']),
        ('""', [""]),
        ("", []),
        (", ,", []),
    ],
)
def test_lists(value: str, entries: list[str]) -> None:
    assert read_list(value) == entries


Read = Callable[[str, str], str]


@pytest.mark.parametrize(
    ("read", "entry", "result"),
    [
        *((read_scheme, "http", "http"), (read_scheme, "HTTPS", "https")),
        *((read_scheme, "ws", "http"), (read_scheme, "Wss", "https")),
        *((read_host, "a.example", "a.example"), (read_host, "[::1]:80", "[::1]:80")),
        *((read_host, "A:8000", "A:8000"), (read_host, "192.0.2.1", "192.0.2.1")),
        *((read_port, "1", "1"), (read_port, "65535", "65535"), (read_port, "00443", "443")),
        *((read_prefix, "/", ""), (read_prefix, "/a", "/a"), (read_prefix, "/a/b/", "/a/b")),
        *((read_prefix, "/%61", "/a"), (read_prefix, "/%C3%A9", "/\xc3\xa9")),
        *((read_prefix, "/\xc3\xa9", "/\xc3\xa9"), (read_prefix, "/a%2Fb", "/a/b")),
        *(
            (read_prefix, "/a%20b", "/a b"),
            (read_prefix, "/...", "/..."),
            (read_prefix, "/%", "/%"),
        ),
    ],
)
def test_values(read: Read, entry: str, result: str) -> None:
    assert read(entry, "X") == result


@pytest.mark.parametrize(
    ("read", "entry"),
    [
        *((read_scheme, entry) for entry in ("", "on", "https:", "ftp", "http,https", "\u017f")),
        *((read_host, entry) for entry in ("", "a b", "a/b", "u@a", "a:b", "[::1", "\xe9")),
        *((read_host, entry) for entry in ("http://a", "a?b", "a\\b", "[v6]", ":80")),
        *((read_port, entry) for entry in ("", "0", "65536", "-1", "+1", "1.0", "http", "\xb2")),
        *((read_port, entry) for entry in ("000443", "\u0661", "1 ", "0x50")),
        *(
            (read_prefix, entry)
            for entry in ("", "a", "a/b", "//", "//a", "/a//b", "/a//", "https://a")
        ),
        *((read_prefix, entry) for entry in ("/..", "/a/../b", "/.", "/./a", "/%2e%2E", "/a/%2e.")),
        *((read_prefix, entry) for entry in ("/%2Fa", "/a%2F/b", "/a%2f%2fb", "/a/%2F", "%2Fa")),
        *((read_prefix, entry) for entry in ("/a\\b", "/%5Cb", "/a?b", "/a#b", "/a b", "/a\tb")),
        *((read_prefix, entry) for entry in ("/%00", "/%0d%0a", "/a%0A", "/%7f", "/a/\x7f")),
    ],
)
def test_what_is_none(read: Read, entry: str) -> None:
    with pytest.raises(HTTPError) as caught:
        read(entry, "X-Name")
    assert caught.value.status == 400
    assert caught.value.detail in (  # and nothing that the client sent
        "X-Name is neither http nor https",
        "X-Name is not a host",
        "X-Name is not a port",
        "X-Name is not a path that an application could be at",
    )


def test_scheme_fields_of_gunicorn() -> None:
    fields = {field.name: field for field in scheme_fields(SECURE_SCHEME_HEADERS)}
    assert {field.key for field in fields.values()} == {
        *("HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_PROTOCOL", "HTTP_X_FORWARDED_SSL"),
    }
    said = {
        "X-Forwarded-Proto": {"https": "https", "HTTPS": "https", "wss": "https", "http": "http"},
        "X-Forwarded-Protocol": {"ssl": "https", "https": "https", "http": "http", "tls": "http"},
        "X-Forwarded-Ssl": {"on": "https", "On": "https", "off": "http", "1": "http"},
    }
    for name, values in said.items():
        assert {value: fields[name].read(value) for value in values} == values
    with pytest.raises(HTTPError, match="X-Forwarded-Proto is neither http nor https"):
        fields["X-Forwarded-Proto"].read("on")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("X_FORWARDED_PROTO=https", ": X_FORWARDED_PROTO never comes in: write it with hyphens"),
        ("Proxy=https", ": Proxy never comes in"),
        ("X-A", " takes fields such as X-Forwarded-Proto=https, not 'X-A'"),
        ("X-A=", "not 'X-A='"),
        ("=on", "not '=on'"),
        ("X A=on", "not 'X A=on'"),
        ("X-A:=on", "not 'X-A:=on'"),
        ("X-A=o n", "not 'X-A=o n'"),
    ],
)
def test_scheme_fields_that_cannot_be(text: str, error: str) -> None:
    with pytest.raises(ConfigError) as caught:
        scheme_fields([text])
    assert str(caught.value).startswith("--secure-scheme-headers")
    assert error in str(caught.value)
