"""Basic authentication, by RFC 7617."""

from __future__ import annotations

import base64
import hmac
from typing import Any

import pytest
from gateway import TEXT, ask, environ_of

from wsgi_async.errors import ConfigError
from wsgi_async.middleware import BasicAuth
from wsgi_async.middleware import basicauth as module

USERS = {"ada": "secret", "zoë": "pässword:with:colons", "none": ""}


def application(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", TEXT)
    user = environ.get("REMOTE_USER", "-"), environ.get("AUTH_TYPE", "-")
    return [" ".join(user).encode("latin-1")]


def encoded(text: str, charset: str = "utf-8") -> str:
    return base64.b64encode(text.encode(charset)).decode()


def ask_as(field: str | None, app: Any = None, path: str = "/") -> Any:
    given = {} if field is None else {"HTTP_AUTHORIZATION": field}
    return ask(app or BasicAuth(application, USERS), environ_of(path, **given))


@pytest.mark.parametrize(
    ("field", "user"),
    [
        ("Basic " + encoded("ada:secret"), "ada"),
        ("basic   " + encoded("ada:secret"), "ada"),
        ("BASIC " + encoded("zoë:pässword:with:colons"), "zoë"),
        # "e" and a combining diaeresis: the same user (RFC 7617 §2.1, RFC 8265)
        ("Basic " + encoded("zoe\u0308:pa\u0308ssword:with:colons"), "zoë"),
        ("Basic " + encoded("none:"), "none"),
    ],
)
def test_who_knows_the_password_comes_in(field: str, user: str) -> None:
    reply = ask_as(field)
    assert (reply.status, reply.body.decode()) == (200, f"{user} Basic")


@pytest.mark.parametrize(
    "field",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic " + encoded("ada:wrong"),
        "Basic " + encoded("ada:secret "),
        "Basic " + encoded("Ada:secret"),
        "Basic " + encoded("ada"),
        "Basic " + encoded("ada:"),
        "Basic " + encoded("nobody:secret"),
        "Basic " + encoded("nobody:"),
        "Basic " + encoded(":"),
        "Basic " + encoded("ada:secret\n"),
        "Basic " + encoded("ada\0:secret"),
        "Basic " + encoded("zoë:pässword:with:colons", "latin-1"),
        "Basic " + encoded("ada:secret").rstrip("="),
        "Basic =" + encoded("ada:secret"),
        "Basic " + encoded("ada:secret") + "," + "Basic " + encoded("ada:secret"),
        "Basic ada:secret",
        "Basic \xe9",
        "Basic\t" + encoded("ada:secret"),
        "Bearer " + encoded("ada:secret"),
        "Basically " + encoded("ada:secret"),
    ],
)
def test_nobody_else_does(field: str | None) -> None:
    reply = ask_as(field)
    assert reply.status == 401
    assert reply.field("WWW-Authenticate") == 'Basic realm="Restricted", charset="UTF-8"'
    assert reply.body == b"401 Unauthorized\n"
    assert reply.reports == []


def test_the_realm_is_quoted() -> None:
    reply = ask(BasicAuth(application, {}, realm='the "a\\b" area'))
    quoted = r"the \"a\\b\" area"
    assert reply.field("WWW-Authenticate") == f'Basic realm="{quoted}", charset="UTF-8"'


def test_unknown_users_take_the_same_road(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both digests are made and compared, by one function in constant time, whoever asks."""
    compared = []

    class Watched:
        digest = staticmethod(hmac.digest)

        @staticmethod
        def compare_digest(one: bytes, other: bytes) -> bool:
            compared.append((len(one), len(other)))
            return hmac.compare_digest(one, other)

    monkeypatch.setattr(module, "hmac", Watched)
    app = BasicAuth(application, USERS)
    for credentials in ("ada:secret", "ada:x", "nobody:secret", "nobody:" + "x" * 500):
        ask_as("Basic " + encoded(credentials), app)
    assert compared == [(32, 32)] * 4


def test_the_table_holds_no_password() -> None:
    app = BasicAuth(application, USERS)
    text = repr(vars(app)) + repr(vars(app._check))
    assert "secret" not in text
    assert "'ada" not in text  # not three letters alone: hashes have them by chance


def test_a_function_decides() -> None:
    asked = []

    def check(user: str, password: str) -> bool:
        asked.append((user, password))
        return password == user[::-1]

    app = BasicAuth(application, check)
    assert ask_as("Basic " + encoded("zoë:ëoz"), app).status == 200
    assert ask_as("Basic " + encoded("zoë:x"), app).status == 401
    assert ask_as(None, app).status == 401
    assert asked == [("zoë", "ëoz"), ("zoë", "x")]


def test_what_the_function_raises_lets_nobody_in() -> None:
    def check(user: str, password: str) -> bool:
        raise OSError("the directory is down")

    reply = ask_as("Basic " + encoded("a:b"), BasicAuth(application, check))
    assert reply.status == 500
    assert isinstance(reply.reports[0][1], OSError)


@pytest.mark.parametrize(
    ("path", "is_exempt"),
    [
        ("/health", True),
        ("/health/", False),
        ("/healthy", False),
        ("/static/", True),
        ("/static/a/b.css", True),
        ("/static/a/", True),
        ("/static", False),
        ("/STATIC/a", False),
        ("/static/../admin", False),
        ("/static/a/..", False),
        ("/static/./a", False),
        ("/static//a", False),
        ("/static/..\\admin", False),
        ("/static/...", True),
        ("//static/a", False),
        ("/\xc3\xa4/x", True),
        ("", False),
        ("/", False),
    ],
)
def test_exempt_paths(path: str, is_exempt: bool) -> None:
    app = BasicAuth(application, USERS, exempt=["/health", "/static/", "/ä/"])
    reply = ask_as(None, app, path)
    assert (reply.status == 200) == is_exempt
    if is_exempt:
        assert reply.body == b"- -"


def test_an_exempt_path_counts_the_mount() -> None:
    app = BasicAuth(application, USERS, exempt=["/mount/open"])
    given = {**environ_of("/open"), "SCRIPT_NAME": "/mount"}
    assert ask(app, given).status == 200
    assert ask(app, {**environ_of("/mount/open"), "SCRIPT_NAME": "/mount"}).status == 401


@pytest.mark.parametrize(
    ("users", "options", "message"),
    [
        ({"a:b": "x"}, {}, "cannot have a colon: 'a:b'"),
        ({"a": b"x"}, {}, "must be str"),
        ([("a", "secret")], {}, "a mapping or a function, not a list$"),
        (USERS, {"realm": "a\nb"}, "printable ASCII"),
        (USERS, {"realm": "ä"}, "printable ASCII"),
        (USERS, {"exempt": "/health"}, "a list of paths"),
        (USERS, {"exempt": ["health"]}, "begins with a slash"),
    ],
)
def test_a_bad_option_is_an_error(users: Any, options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        BasicAuth(application, users, **options)
    assert "\n" not in str(caught.value)
