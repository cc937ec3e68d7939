"""A client in process: the response, the request, cookies and redirects."""

from __future__ import annotations

import errno
import json
import os
from typing import Any

import pytest
from shown import TEXT, echo, many, streamed

import wsgi_async
from wsgi_async.testing import Headers, TestClient, TooManyRedirects

# --- the response -------------------------------------------------------------------------------


def test_a_response() -> None:
    response = TestClient(many).get("/")
    assert (response.status, response.reason) == (418, "I'm a teapot")
    assert response.body == b"a" + b"b" * 300_000
    assert response.text.startswith("ab")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["X-Twice"] == "1, 2"
    assert response.headers.all("x-twice") == ["1", "2"]
    assert "Server" in response.headers
    assert response.headers.get("nothing") is None
    assert response.history == ()
    assert repr(response) == "<418 I'm a teapot: GET http://localhost/>"


def test_early_hints() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        environ["wsgi.early_hints"]([("Link", "</a.css>"), ("Link", "</b.css>")])
        start_response("200 OK", TEXT)
        environ["wsgi.early_hints"]([("X-Second", "1")])
        yield b"body"
        environ["wsgi.early_hints"]([("X-Late", "1")])

    response = TestClient(application).get("/")
    assert response.body == b"body"
    assert [hints.pairs for hints in response.early_hints] == [
        (("Link", "</a.css>"), ("Link", "</b.css>")),
        (("X-Second", "1"),),
    ]
    assert "Link" not in response.headers
    assert TestClient(many).get("/").early_hints == []


def test_headers() -> None:
    headers = Headers([("A", "1"), ("B", "2"), ("a", "3")])
    assert dict(headers) == {"A": "1, 3", "B": "2"}
    assert len(headers) == 2
    assert 1 not in headers
    with pytest.raises(KeyError):
        headers["c"]
    assert repr(headers) == "Headers([('A', '1'), ('B', '2'), ('a', '3')])"


def test_as_a_dict() -> None:
    """What a small client of one's own returns."""
    response = TestClient(streamed).get("/", query_params={"a": "b"})
    assert response["status"] == "200 Fine"
    assert response["headers"]["Content-Type"] == "text/plain; charset=utf-8"
    assert (response["body"], response["text"]) == (b"one two", "one two")
    assert sorted(dict(response)) == ["body", "headers", "status", "text"]
    with pytest.raises(KeyError):
        response["reason"]
    with pytest.raises(TypeError):
        iter(response)  # type: ignore[call-overload]
    answer = TestClient(echo).post("/api", json_data={"message": "x"})
    assert json.loads(answer["text"])["CONTENT_TYPE"] == "application/json"


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("text/plain; charset=iso-8859-1", b"\xe9", "é"),
        ('text/html; charset="UTF-16"', "é".encode("utf-16"), "é"),
        ("application/json", b'"\xc3\xa9"', '"é"'),
        (None, b"\xc3\xa9", "é"),
    ],
)
def test_text(kind: str | None, body: bytes, text: str) -> None:
    fields = [("Content-Type", kind)] if kind else []
    assert answering("200 OK", fields, body).get("/").text == text


def test_text_that_is_none() -> None:
    with pytest.raises(UnicodeDecodeError):
        _ = answering("200 OK", TEXT, b"\xff").get("/").text
    with pytest.raises(LookupError):
        _ = answering("200 OK", [("Content-Type", "text/x; charset=klingon")], b"x").get("/").text
    with pytest.raises(json.JSONDecodeError):
        answering("200 OK", TEXT, b"no").get("/").json()


def answering(
    status: str, fields: list[tuple[str, str]], body: bytes = b"", **options: Any
) -> TestClient:
    """A client of an application that always says this."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response(status, fields)
        return [body]

    return TestClient(application, **options)


# --- the request --------------------------------------------------------------------------------


def test_every_method() -> None:
    client = TestClient(echo)
    for method in ("get", "post", "put", "patch", "delete", "options"):
        shown = getattr(client, method)("/x").json()
        assert shown["REQUEST_METHOD"] == method.upper()
        assert ("CONTENT_LENGTH" in shown) is (method in ("post", "put", "patch"))
    response = client.head("/x")
    assert (response.body, response.status) == (b"", 200)
    assert "Content-Length" not in response.headers  # the server does not guess it from a HEAD
    assert client.request("PROPFIND").json()["REQUEST_METHOD"] == "PROPFIND"
    assert client.post("/", b"abc").json()["body"] == "abc"
    assert client.get("/", {"q": 1}).json()["QUERY_STRING"] == "q=1"
    with pytest.raises(ValueError, match="not the name"):
        client.request("GET / HTTP/1.1\r\nX:", "/")


def test_the_environ() -> None:
    client = TestClient(
        echo,
        base_url="https://shop.example:8443",
        headers={"X-All": "1", "User-Agent": "mine", "Accept": None},
        auth=("a", "b"),
        peer=("192.0.2.7", 4711),
        root_path="/shop",
        threads=1,
        workers=3,
    )
    shown = client.get("/shop/cart", headers={"x-all": "2"}, environ={"REMOTE_USER": "u"}).json()
    assert {key: value for key, value in shown.items() if key != "types"} == {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "HTTPS": "on",
        "HTTP_AUTHORIZATION": "Basic YTpi",
        "HTTP_HOST": "shop.example:8443",
        "HTTP_USER_AGENT": "mine",
        "HTTP_X_ALL": "2",
        "PATH_INFO": "/cart",
        "QUERY_STRING": "",
        "RAW_URI": "/shop/cart",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "4711",
        "REMOTE_USER": "u",
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": "/shop/cart",
        "SCRIPT_NAME": "/shop",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": f"wsgi_async/{wsgi_async.__version__}",
        "body": "",
        "wsgi.input_terminated": True,
        "wsgi.multiprocess": True,
        "wsgi.multithread": False,
        "wsgi.run_once": False,
        "wsgi.url_scheme": "https",
        "wsgi.version": [1, 0],
        "wsgi_async.threads": 1,
    }
    assert client.get("/", auth=("c", "d")).json()["HTTP_AUTHORIZATION"] == "Basic Yzpk"
    shown = TestClient(echo, peer=None).get("http://other.example/x").json()
    assert (shown["REMOTE_ADDR"], shown["HTTP_HOST"]) == ("", "other.example")


def test_https_is_what_the_application_sees_and_secure_cookies_come_back() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Set-Cookie", "sid=1; Path=/; Secure")])
        names = ("wsgi.url_scheme", "HTTPS", "HTTP_HOST", "SERVER_PORT", "HTTP_COOKIE")
        return [" ".join(str(environ.get(name)) for name in names).encode()]

    client = TestClient(application, https=True)
    assert client.get("/").text == "https on localhost 443 None"
    assert client.get("/").text == "https on localhost 443 sid=1"
    plain = TestClient(application)
    for _ in range(2):
        assert plain.get("/").text == "http None localhost 80 None"
    other = TestClient(application, https=True, base_url="http://shop.example:8443")
    assert other.get("/").text == "https on shop.example:8443 8443 None"


def test_a_chunked_body_has_a_length() -> None:
    shown = TestClient(echo).post("/", data=iter([b"ab", b"c"])).json()
    assert (shown["CONTENT_LENGTH"], shown["body"]) == ("3", "abc")
    assert "HTTP_TRANSFER_ENCODING" not in shown


def test_a_large_body_is_a_file() -> None:
    shown = TestClient(echo, spool_threshold=10).post("/", data=b"x" * 11).json()
    assert shown["types"]["wsgi.input"] != "BytesIO"
    assert shown["body"] == "x" * 11


@pytest.mark.parametrize(("options", "status"), [({"max_spool_size": 5}, 503), ({}, 507)])
def test_a_body_that_cannot_be_kept_is_refused_as_by_the_server(
    options: dict[str, int], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", fail)
    answer = TestClient(echo, spool_threshold=10, **options).post("/", data=b"x" * 11)
    assert (answer.status, answer.headers["Retry-After"]) == (status, "1")


@pytest.mark.parametrize(
    ("fields", "fits"),
    [
        ({"Content-Length": "3"}, True),
        ({"Content-Length": "4"}, False),
        ({"Transfer-Encoding": "chunked"}, False),
    ],
)
def test_framing_is_made_from_the_body(fields: dict[str, str], fits: bool) -> None:
    client = TestClient(echo)
    if fits:
        assert client.post("/", data=b"abc", headers=fields).json()["CONTENT_LENGTH"] == "3"
    else:
        with pytest.raises(ValueError, match="does not fit the body"):
            client.post("/", data=b"abc", headers=fields)


@pytest.mark.parametrize(
    ("options", "error", "why"),
    [
        ({"bind": "127.0.0.1:0"}, wsgi_async.ConfigError, "bind needs a real server"),
        ({"request_timeout": 3}, wsgi_async.ConfigError, r"live_server\(app, request_timeout="),
        ({"tread": 3}, wsgi_async.ConfigError, "No such option: tread. Did you mean threads"),
        ({"base_url": "localhost"}, ValueError, "a path begins with /"),
        ({"base_url": "/x"}, ValueError, "base_url is"),
        ({"base_url": "http://a/b"}, ValueError, "base_url is"),
        ({"headers": {"A": "\n"}}, ValueError, "line break"),
    ],
)
def test_wrong_options(options: dict[str, Any], error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        TestClient(echo, **options)


def test_an_application_is_callable() -> None:
    with pytest.raises(wsgi_async.ConfigError, match="not callable"):
        TestClient(object())  # type: ignore[arg-type]


# --- cookies and redirects ----------------------------------------------------------------------


def site(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Logs in, and sends people to and fro."""
    path = environ["PATH_INFO"]
    fields = list(TEXT)
    status = "200 OK"
    if path == "/login":
        status = "303 See Other"
        fields += [
            ("Location", "/home?from=login"),
            ("Set-Cookie", "sid=42; Path=/; HttpOnly"),
            ("Set-Cookie", "area=login; Path=/login"),
        ]
    elif path == "/logout":
        fields.append(("Set-Cookie", "sid=; Path=/; Max-Age=0"))
    elif path == "/again":
        status = "307 Temporary Redirect"
        fields.append(("Location", "/home"))
    elif path == "/circle":
        status = "302 Found"
        fields.append(("Location", "circle"))
    elif path == "/away":
        status = "302 Found"
        fields.append(("Location", "https://elsewhere.example/"))
    start_response(status, fields)
    body = environ["wsgi.input"].read()
    line = f"{environ['REQUEST_METHOD']} {path} {environ.get('HTTP_COOKIE', '-')} "
    return [line.encode("latin-1"), body]


def test_cookies_are_kept_from_request_to_request() -> None:
    client = TestClient(site)
    response = client.post("/login", form={"user": "u"})
    assert response.status == 303
    assert response.cookies["sid"].value == "42"
    assert response.cookies["sid"].http_only
    assert client.get("/").text == "GET / sid=42 "
    assert client.get("/login/help").text == "GET /login/help area=login; sid=42 "
    assert client.get("/", cookies={"x": "y", "sid": "7"}).text == "GET / x=y; sid=7 "
    assert client.get("http://other.example/").text == "GET / - "
    assert client.get("/logout").text == "GET /logout sid=42 "
    assert client.get("/").text == "GET / - "
    client.set_cookie("lang", "eo", path="/eo")
    assert client.get("/eo/x").text == "GET /eo/x lang=eo "
    assert client.cookies["lang"].value == "eo"
    with pytest.raises(ValueError, match="line break"):
        client.get("/", cookies={"a": "b\r\nX: y"})


def test_redirects_are_followed_on_demand() -> None:
    client = TestClient(site)
    response = client.post("/login", form={"user": "u"}, follow_redirects=True)
    assert (response.status, response.text) == (200, "GET /home sid=42 ")
    assert response.request.url == "http://localhost/home?from=login"
    assert [past.status for past in response.history] == [303]
    assert response.history[0].text == "POST /login - user=u"
    response = client.put("/again", data=iter([b"a", b"b"]), follow_redirects=True)
    assert response.text == "PUT /home sid=42 ab"
    follower = TestClient(site, follow_redirects=True)
    assert follower.get("/again").text == "GET /home - "
    assert follower.get("/again", follow_redirects=False).status == 307
    assert follower.get("/away").status == 302
    with pytest.raises(TooManyRedirects, match=r"21 redirects in a row.*circle"):
        follower.get("/circle")
