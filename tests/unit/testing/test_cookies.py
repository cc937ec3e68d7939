"""RFC 6265, as far as a test client needs it."""

from __future__ import annotations

import pytest

from wsgi_async.testing import Cookie, CookieJar
from wsgi_async.testing.cookies import parse_set_cookie

NOW = 1_000_000_000.0


def parse(line: str, host: str = "www.example.com", path: str = "/a/b") -> Cookie | None:
    return parse_set_cookie(line, host, path, NOW)


def test_a_plain_cookie_belongs_to_its_host_and_directory() -> None:
    assert parse("sid=1") == Cookie("sid", "1", "www.example.com", path="/a")
    assert parse("sid=1", path="/") == Cookie("sid", "1", "www.example.com", path="/")


def test_attributes() -> None:
    line = ' sid = a="b=c" ;\tPATH=/x; Secure; HttpOnly; samesite=lax; Max-Age=60; unknown=1'
    cookie = parse(line)
    assert cookie == Cookie(
        "sid",
        'a="b=c"',
        "www.example.com",
        path="/x",
        expires=NOW + 60,
        secure=True,
        http_only=True,
        same_site="Lax",
    )


@pytest.mark.parametrize(
    ("attributes", "expires"),
    [
        ("Expires=Wed, 09 Jun 2021 10:18:14 GMT", 1623233894.0),
        ("expires=Wed, 09-Jun-2021 10:18:14 GMT", 1623233894.0),
        ("Expires=Wed, 09 Jun 2021 10:18:14 GMT; Max-Age=5", NOW + 5),
        ("Max-Age=0", NOW),
        ("Max-Age=-3", 0.0),
        ("Max-Age=" + "9" * 400, NOW + 999_999_999_999),
        ("Max-Age=soon", None),
        ("Max-Age=²", None),
        ("Max-Age=", None),
        ("Expires=tomorrow", None),
        ("Expires=Wed, 99 Xyz 2021 10:18:14 GMT", None),
        ("", None),
    ],
)
def test_expiry(attributes: str, expires: float | None) -> None:
    cookie = parse(f"a=1; {attributes}")
    assert cookie is not None
    assert cookie.expires == expires


@pytest.mark.parametrize("line", ["", "novalue", "=1", " =1; Path=/", "; a=1"])
def test_without_a_name_it_is_ignored(line: str) -> None:
    assert parse(line) is None


@pytest.mark.parametrize(
    ("domain", "host", "kept"),
    [
        ("example.com", "www.example.com", "example.com"),
        (".Example.COM", "www.example.com", "example.com"),
        ("www.example.com", "www.example.com", "www.example.com"),
        ("localhost", "localhost", "localhost"),
        ("com", "www.example.com", None),
        ("ample.com", "www.example.com", None),
        ("other.example", "www.example.com", None),
        ("a.www.example.com", "www.example.com", None),
        ("0.0.1", "127.0.0.1", None),
    ],
)
def test_a_domain_is_that_of_the_host_or_above(domain: str, host: str, kept: str | None) -> None:
    cookie = parse(f"a=1; Domain={domain}", host)
    assert (cookie and cookie.domain) == kept


@pytest.mark.parametrize(
    ("line", "host", "path", "secure", "suits"),
    [
        ("a=1; Path=/", "www.example.com", "/", False, True),
        ("a=1; Path=/", "example.com", "/", False, False),
        ("a=1; Path=/", "x.www.example.com", "/", False, False),
        ("a=1; Path=/; Domain=example.com", "example.com", "/", False, True),
        ("a=1; Path=/; Domain=example.com", "b.c.example.com", "/", False, True),
        ("a=1; Path=/; Domain=example.com", "badexample.com", "/", False, False),
        ("a=1; Path=/x", "www.example.com", "/x", False, True),
        ("a=1; Path=/x", "www.example.com", "/x/y", False, True),
        ("a=1; Path=/x", "www.example.com", "/xy", False, False),
        ("a=1; Path=/x/", "www.example.com", "/x/y", False, True),
        ("a=1; Path=/x/", "www.example.com", "/x", False, False),
        ("a=1; Path=/; Secure", "www.example.com", "/", False, False),
        ("a=1; Path=/; Secure", "www.example.com", "/", True, True),
    ],
)
def test_where_it_is_sent(line: str, host: str, path: str, secure: bool, suits: bool) -> None:
    cookie = parse(line)
    assert cookie is not None
    assert cookie.suits(host, path, secure=secure) is suits


def test_a_jar_replaces_expires_and_sorts() -> None:
    now = NOW
    jar = CookieJar(lambda: now)
    jar.receive(["a=1; Path=/", "b=2; Path=/x", "c=3; Path=/; Max-Age=10"], "h", "/")
    jar.receive(["a=4; Path=/"], "h", "/")
    found = jar.matching("h", "/x/y", secure=False)
    assert [(cookie.name, cookie.value) for cookie in found] == [("b", "2"), ("a", "4"), ("c", "3")]
    assert len(jar) == 3
    assert jar["c"].value == "3"
    now += 10
    assert "c" not in jar
    assert jar.get("c") is None
    with pytest.raises(KeyError):
        jar["c"]
    jar.receive(["a=; Path=/; Max-Age=0"], "h", "/")
    assert [cookie.name for cookie in jar] == ["b"]
    jar.delete("b")
    assert len(jar) == 0
    jar.add(Cookie("d", "5", "h"))
    jar.clear()
    assert list(jar) == []
