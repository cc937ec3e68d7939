"""CORS, by the Fetch standard: "CORS protocol", "CORS protocol and HTTP caches"."""

from __future__ import annotations

import re
from typing import Any

import pytest
from gateway import TEXT, Reply, ask, environ_of

from wsgi_async.errors import ConfigError
from wsgi_async.middleware import CORS

HOME = "https://home.example"
LOCAL = "http://localhost:3000"
FOREIGN = "https://evil.example"


def application(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", TEXT)
    return [b"the application's"]


def cors(**options: Any) -> Any:
    return CORS(application, **{"origins": [HOME, LOCAL], **options})


def preflight(app: Any, origin: str = HOME, method: str = "GET", headers: str = "") -> Reply:
    variables = {"HTTP_ORIGIN": origin, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": method}
    if headers:
        variables["HTTP_ACCESS_CONTROL_REQUEST_HEADERS"] = headers
    reply = ask(app, environ_of("/", "OPTIONS", **variables))
    assert b"application" not in reply.body
    return reply


def sharing(reply: Reply) -> dict[str, str]:
    prefix = "access-control-"
    return {
        name.lower().removeprefix(prefix): value
        for name, value in reply.fields
        if name.lower().startswith(prefix)
    }


# --- plain requests


@pytest.mark.parametrize("origin", [HOME, LOCAL])
def test_a_page_of_an_allowed_origin_may_read(origin: str) -> None:
    reply = ask(cors(), environ_of(HTTP_ORIGIN=origin))
    assert sharing(reply) == {"allow-origin": origin}
    assert reply.field("Vary") == "Origin"


@pytest.mark.parametrize(
    "origin",
    [
        FOREIGN,
        "null",
        "",
        "https://home.example.evil.example",
        "https://xhome.example",
        "http://home.example",
        "https://home.example:8443",
        "HTTPS://HOME.EXAMPLE",
        "https://home.example/",
        f"{HOME}, {HOME}",
        "*",
        "http://localhost:30000",
    ],
)
def test_others_may_not_but_the_request_is_answered(origin: str) -> None:
    reply = ask(cors(credentials=True), environ_of(HTTP_ORIGIN=origin))
    assert reply.body == b"the application's"
    assert sharing(reply) == {}
    assert reply.field("Vary") == "Origin"


def test_what_a_cache_may_keep_says_vary_without_an_origin_too() -> None:
    reply = ask(cors())
    assert (sharing(reply), reply.field("Vary")) == ({}, "Origin")


@pytest.mark.parametrize("variables", [{}, {"HTTP_ORIGIN": FOREIGN}, {"HTTP_ORIGIN": "null"}])
def test_everybody_may_with_one_answer_for_all(variables: dict[str, str]) -> None:
    reply = ask(cors(origins="*"), environ_of(**variables))
    assert (sharing(reply), reply.field("Vary")) == ({"allow-origin": "*"}, "")


def test_credentials_name_the_origin() -> None:
    app = cors(credentials=True, expose=["X-Total", "X-Page"])
    assert sharing(ask(app, environ_of(HTTP_ORIGIN=HOME))) == {
        "allow-origin": HOME,
        "allow-credentials": "true",
        "expose-headers": "X-Total, X-Page",
    }


def test_a_function_decides() -> None:
    asked = []

    def allows(origin: str) -> bool:
        asked.append(origin)
        return re.fullmatch(r"https://[a-z]+\.home\.example", origin) is not None

    app = cors(origins=allows)
    assert sharing(ask(app, environ_of(HTTP_ORIGIN="https://a.home.example")))
    for origin in (FOREIGN, "https://a.home.example\n", "not an origin", "https://a,https://b"):
        assert not sharing(ask(app, environ_of(HTTP_ORIGIN=origin)))
    assert asked == ["https://a.home.example", FOREIGN], "never what no browser sends"


def test_a_function_cannot_give_credentials_to_null() -> None:
    asked = []

    def allows(origin: str) -> bool:
        asked.append(origin)
        return True

    app = cors(origins=allows, credentials=True)
    assert asked == []
    assert not sharing(ask(app, environ_of(HTTP_ORIGIN="null")))
    assert sharing(ask(app, environ_of(HTTP_ORIGIN=HOME)))["allow-credentials"] == "true"
    assert sharing(ask(cors(origins=allows), environ_of(HTTP_ORIGIN="null")))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Accept-Encoding", "Accept-Encoding, Origin"),
        ("Cookie, origin", "Cookie, origin"),
        ("*", "*"),
        ("X-Origin", "X-Origin, Origin"),
    ],
)
def test_vary_is_added_to_what_is_there(given: str, expected: str) -> None:
    def varying(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [*TEXT, ("vary", given)])
        return []

    assert ask(CORS(varying, origins=[HOME])).field("Vary") == expected


def test_an_application_may_see_to_it_itself() -> None:
    def own(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [*TEXT, ("access-control-allow-origin", FOREIGN)])
        return []

    app = CORS(own, origins=[HOME], credentials=True, expose=["X-A"])
    assert sharing(ask(app, environ_of(HTTP_ORIGIN=HOME))) == {"allow-origin": FOREIGN}


# --- preflight requests


def test_a_preflight_request_is_answered_here() -> None:
    app = cors(methods=["PUT", "DELETE"], headers=["Content-Type", "X-Token"], max_age=60)
    reply = preflight(app, method="PUT", headers="content-type,x-token")
    assert (reply.status, reply.body, reply.length) == (204, b"", None)
    assert sharing(reply) == {
        "allow-origin": HOME,
        "allow-methods": "PUT, DELETE",
        "allow-headers": "Content-Type, X-Token",
        "max-age": "60",
    }
    vary = reply.field("Vary").split(", ")
    assert vary == [*("Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers")]


def test_credentials_are_allowed_in_advance_and_nothing_is_exposed() -> None:
    reply = preflight(cors(credentials=True, expose=["X-Total"]))
    assert sharing(reply) == {
        "allow-origin": HOME,
        "allow-credentials": "true",
        "max-age": "600",
    }


@pytest.mark.parametrize(("max_age", "expected"), [(0, {"max-age": "0"}), (None, {})])
def test_how_long_it_holds(max_age: int | None, expected: dict[str, str]) -> None:
    assert sharing(preflight(cors(max_age=max_age))) == {"allow-origin": HOME, **expected}


@pytest.mark.parametrize("origin", [FOREIGN, "null", "https://home.example/"])
def test_a_foreign_origin_gets_403_and_no_field(origin: str) -> None:
    reply = preflight(cors(credentials=True, methods=["PUT"]), origin, "PUT")
    assert (reply.status, sharing(reply)) == (403, {})
    assert "Origin" in reply.field("Vary")


def test_a_method_that_is_not_allowed_is_the_browsers_to_refuse() -> None:
    reply = preflight(cors(methods=["PUT"]), method="put")
    assert reply.status == 204
    assert sharing(reply)["allow-methods"] == "PUT"


def test_everybodys_preflight() -> None:
    reply = preflight(cors(origins="*"), FOREIGN)
    assert sharing(reply) == {"allow-origin": "*", "max-age": "600"}


@pytest.mark.parametrize("credentials", [False, True])
def test_all_headers_are_allowed_by_name(credentials: bool) -> None:
    app = cors(headers="*", credentials=credentials)
    wanted = "authorization,x-a, x-b ,bad name,x\x00,,\xe9"
    assert sharing(preflight(app, headers=wanted))["allow-headers"] == "authorization, x-a, x-b"
    assert "allow-headers" not in sharing(preflight(app))


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"HTTP_ORIGIN": HOME},
        {"HTTP_ACCESS_CONTROL_REQUEST_METHOD": "PUT"},
        {"HTTP_ORIGIN": HOME, "HTTP_ACCESS_CONTROL_REQUEST_HEADERS": "x-a"},
    ],
)
def test_any_other_options_is_the_applications(variables: dict[str, str]) -> None:
    reply = ask(cors(), environ_of("/", "OPTIONS", **variables))
    assert reply.body == b"the application's"
    assert sharing(reply) == ({"allow-origin": HOME} if "HTTP_ORIGIN" in variables else {})


@pytest.mark.parametrize("method", ["GET", "POST", "options"])
def test_another_method_is_no_preflight(method: str) -> None:
    variables = {"HTTP_ORIGIN": HOME, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "PUT"}
    assert ask(cors(), environ_of("/", method, **variables)).body == b"the application's"


# --- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"origins": "*", "credentials": True}, "credentials need a list of origins"),
        ({"origins": ["null"], "credentials": True}, "'null' is the origin of too many"),
        ({"origins": [HOME, "*"]}, "'*' stands alone"),
        ({"origins": HOME}, f"origins must be '*' or a list, such as ['{HOME}']"),
        ({"origins": ["https://home.example/"]}, "; write 'https://home.example'"),
        ({"origins": ["https://Home.example"]}, "; write 'https://home.example'"),
        ({"origins": ["https://home.example:443"]}, "; leave out :443"),
        ({"origins": ["http://home.example:80"]}, "; leave out :80"),
        ({"origins": ["home.example"]}, "no browser sends the origin 'home.example'"),
        ({"origins": ["https://home.example/path"]}, "no browser sends"),
        ({"origins": ["https://*.home.example"]}, "no browser sends"),
        ({"origins": [7]}, "no browser sends the origin 7"),
        ({"methods": "PUT"}, "methods must be a list, such as ['PUT']"),
        ({"methods": ["*"]}, "'*' among methods is not a name"),
        ({"methods": ["Trace"]}, "no page may use the method Trace"),
        ({"headers": "X-A"}, "headers must be a list"),
        ({"headers": ["X A"]}, "'X A' among headers is not a name"),
        ({"expose": ["*"]}, "'*' among expose is not a name"),
        ({"max_age": -1}, "max_age is a number of seconds"),
    ],
)
def test_a_bad_option_is_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        cors(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("origin", ["http://[::1]:8000", "chrome-extension://abc", "null"])
def test_good_origins(origin: str) -> None:
    assert sharing(ask(cors(origins=[origin]), environ_of(HTTP_ORIGIN=origin)))
