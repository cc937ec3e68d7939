"""What a test client sends, and what it refuses to."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from wsgi_async.testing.request import (
    Origin,
    Request,
    add_query,
    basic_auth,
    make_payload,
    merge,
    redirected,
    split_url,
)

BASE = Origin("http", "a.example:8000")


@pytest.mark.parametrize(
    ("url", "authority", "target"),
    [
        ("/", "a.example:8000", "/"),
        ("", "a.example:8000", "/"),
        ("?x=1", "a.example:8000", "/?x=1"),
        ("/a b/é?q=é b+c#part", "a.example:8000", "/a%20b/%C3%A9?q=%C3%A9%20b+c"),
        ("/100%25/%zz", "a.example:8000", "/100%25/%zz"),
        ("//evil/x", "a.example:8000", "//evil/x"),
        ("/x?u=http://b/?c", "a.example:8000", "/x?u=http://b/?c"),
        ("*", "a.example:8000", "*"),
        ("http://b.example", "b.example", "/"),
        ("HTTPS://[::1]:8443/x?y", "[::1]:8443", "/x?y"),
        ('/"<>\\^`{|}', "a.example:8000", "/%22%3C%3E%5C%5E%60%7B%7C%7D"),
    ],
)
def test_urls(url: str, authority: str, target: str) -> None:
    origin, found = split_url(url, BASE)
    assert (origin.authority, found) == (authority, target)


@pytest.mark.parametrize(
    "url", ["x", "ftp://a/", "http:///x", "http://u:p@a/", "http://a:b/", "*x", "mailto:a@b"]
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (int() says one of them)
        split_url(url, BASE)


def test_origins() -> None:
    assert (Origin("https", "A.example").host, Origin("https", "a").port) == ("a.example", 443)
    assert (Origin("http", "[::1]:81").host, Origin("http", "[::1]:81").port) == ("::1", 81)
    assert Origin("http", "[::1]").port == 80


@pytest.mark.parametrize(
    ("target", "query", "expected"),
    [
        ("/", {"a": 1, "b": ["x", "é&"]}, "/?a=1&b=x&b=%C3%A9%26"),
        ("/?z", [("a", 1), ("a", 2)], "/?z&a=1&a=2"),
        ("/", "raw=1&é", "/?raw=1&%C3%A9"),
        ("/", {}, "/"),
        ("/", {"a": []}, "/"),
        ("/", None, "/"),
    ],
)
def test_queries(target: str, query: Any, expected: str) -> None:
    assert add_query(target, query) == expected


def test_fields() -> None:
    defaults = [("Host", "a"), ("Accept", "*/*"), ("X", "1")]
    more = {"accept": None, "x": ["2", "3"], "Y": "ü"}
    assert merge(defaults, more) == [("Host", "a"), ("x", "2"), ("x", "3"), ("Y", "ü")]
    assert merge([], [("A", "1"), ("A", "2")]) == [("A", "1"), ("A", "2")]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"A": "x\r\nB: y"}, "line break"),
        ({"A": "x\ny"}, "line break"),
        ({"A": "\0"}, "NUL"),
        ({"A:": "x"}, "not the name"),
        ({"": "x"}, "not the name"),
        ({"A": "€"}, "not latin-1"),
    ],
)
def test_no_field_becomes_another_request(fields: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        merge([], fields)


def test_basic_authentication_is_utf8() -> None:
    assert basic_auth("test", "123£") == "Basic dGVzdDoxMjPCow=="  # RFC 7617 §2.1
    with pytest.raises(ValueError, match="colon"):
        basic_auth("a:b", "c")


@pytest.mark.parametrize(
    ("data", "body", "is_chunked"),
    [
        (b"x", (b"x",), False),
        (bytearray(b"x"), (b"x",), False),
        ("é", (b"\xc3\xa9",), False),
        (io.BytesIO(b"file"), (b"file",), False),
        ([b"a", b"", b"b"], (b"a", b"", b"b"), True),
        (iter([b"a"]), (b"a",), True),
        (None, (), False),
    ],
)
def test_data(data: Any, body: tuple[bytes, ...], is_chunked: bool) -> None:
    payload = make_payload(data, None, None, None)
    assert (payload.body, payload.content_type, payload.is_chunked) == (body, None, is_chunked)


def test_forms_and_json() -> None:
    form = make_payload(None, {"a": ["1", "2"], "b": "é &"}, None, None)
    assert form.body == (b"a=1&a=2&b=%C3%A9+%26",)
    assert form.content_type == "application/x-www-form-urlencoded"
    assert make_payload({"a": 1}, None, None, None) == make_payload(None, {"a": 1}, None, None)
    data = make_payload(None, None, None, {"é": [1]})
    assert (data.body, data.content_type) == ((b'{"\\u00e9": [1]}',), "application/json")


def test_multipart_is_what_werkzeug_reads(tmp_path: Path) -> None:
    formparser = pytest.importorskip("werkzeug.formparser")
    path = tmp_path / "lines.txt"
    path.write_text("one\n")
    with path.open("rb") as file:
        payload = make_payload(
            None,
            {"n\u00e4me": ["a", "b"]},
            [
                ("f", ('we"ird\r\n.png', b"\x89PNG\r\n")),
                ("f", ("data", "t\u00e4xt", "text/x-own")),
                ("g", file),
                ("h", b"alone"),
            ],
            None,
        )
    (body,) = payload.body
    _, form, files = formparser.parse_form_data(
        {
            "REQUEST_METHOD": "POST",
            "wsgi.input": io.BytesIO(body),
            "CONTENT_LENGTH": str(payload.size),
            "CONTENT_TYPE": payload.content_type,
        },
        stream_factory=lambda **_: io.BytesIO(),
    )
    assert form.to_dict(flat=False) == {"n\u00e4me": ["a", "b"]}
    found = [
        (name, file.filename, file.content_type, file.read())
        for name, file in files.items(multi=True)
    ]
    assert found == [
        ("f", 'we"ird%0D%0A.png', "image/png", b"\x89PNG\r\n"),
        ("f", "data", "text/x-own", "t\u00e4xt".encode()),
        ("g", "lines.txt", "text/plain", b"one\n"),
        ("h", "h", "application/octet-stream", b"alone"),
    ]


@pytest.mark.parametrize(
    "arguments",
    [(b"x", None, None, 1), (b"x", {}, None, None), ({}, {}, None, None), (None, {}, None, 1)],
)
def test_one_body(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=r"give either|one body"):
        make_payload(*arguments)


@pytest.mark.parametrize(
    ("data", "files"), [(["text"], None), ([1], None), (None, {"f": ("a", 1)})]
)
def test_bodies_are_bytes(data: Any, files: Any) -> None:
    with pytest.raises(TypeError):
        make_payload(data, None, files, None)


# --- redirects ----------------------------------------------------------------------------------

FIELDS = (
    ("Host", "a.example"),
    ("Content-Type", "text/plain"),
    ("Content-Length", "1"),
    ("Authorization", "Basic x"),
    ("Cookie", "a=1"),
    ("X", "y"),
)


def follow(
    status: int, location: str, method: str = "POST", scheme: str = "http"
) -> Request | None:
    asked = Request(method, Origin(scheme, "a.example"), "/dir/page?q", FIELDS, (b"x",))
    return redirected(asked, status, location)


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
        (301, "PUT", "PUT"),
        (302, "DELETE", "DELETE"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (302, "HEAD", "HEAD"),
        (308, "GET", "GET"),
    ],
)
def test_methods_of_redirects(status: int, method: str, then: str) -> None:
    request = follow(status, "/next", method)
    assert request is not None
    assert request.method == then
    keeps = then == method
    assert request.body == ((b"x",) if keeps else ())
    names = [name for name, _ in request.fields]
    framing = ["Content-Type", "Content-Length"] if keeps else []
    assert names == ["Host", *framing, "Authorization", "X"]


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/next", "http://a.example/next"),
        ("other", "http://a.example/dir/other"),
        ("../up?x=1#part", "http://a.example/up?x=1"),
        ("?y", "http://a.example/dir/page?y"),
        ("//A.example:81/x", "http://A.example:81/x"),
        ("https://a.example/", "https://a.example/"),
        ("/caf\xc3\xa9", "http://a.example/caf%C3%A9"),
    ],
)
def test_locations(location: str, url: str) -> None:
    request = follow(303, location)
    assert request is not None
    assert request.url == url
    assert request.fields[0] == ("Host", request.origin.authority)


@pytest.mark.parametrize(
    ("status", "location"),
    [
        (200, "/x"),
        (201, "/x"),
        (300, "/x"),
        (304, "/x"),
        (303, ""),
        (303, "http://b.example/"),
        (303, "//b.example/"),
        (303, "mailto:a@a.example"),
        (303, "http://a.example:x/"),
    ],
)
def test_what_is_not_followed(status: int, location: str) -> None:
    assert follow(status, location) is None


def test_authorization_is_not_shown_without_tls() -> None:
    request = follow(307, "http://a.example/", scheme="https")
    assert request is not None
    assert "Authorization" not in dict(request.fields)
