"""Request ids: which are taken, which are made, and where they show."""

from __future__ import annotations

import re
from typing import Any

import pytest
from gateway import TEXT, ask, environ_of

from wsgi_async.errors import ConfigError
from wsgi_async.middleware import RequestId

seen: list[tuple[str, str]] = []


def application(environ: Any, start_response: Any) -> list[bytes]:
    seen.append((environ["wsgi_async.request_id"], environ["HTTP_X_REQUEST_ID"]))
    start_response("200 OK", TEXT)
    return [b"x"]


@pytest.mark.parametrize(
    "name",
    ["a", "7f3b-1", "0" * 128, "Root=1-67891233-abcdef012345678912345678", "a/b:c@d+e~f_g.h"],
)
def test_a_sane_id_is_taken_and_echoed(name: str) -> None:
    reply = ask(RequestId(application), environ_of(HTTP_X_REQUEST_ID=name))
    assert reply.field("X-Request-ID") == name
    assert seen[-1] == (name, name)


@pytest.mark.parametrize(
    "name", [None, "", " ", "a b", "0" * 129, "a,b", 'a"b', "a\n", "a\x1b[2J", "\xe9", "<a>", "٣"]
)
def test_anything_else_is_replaced(name: str | None) -> None:
    given = {} if name is None else {"HTTP_X_REQUEST_ID": name}
    reply = ask(RequestId(application), environ_of(**given))
    made = reply.field("X-Request-ID")
    assert re.fullmatch(r"[0-9a-f]{32}", made)
    assert seen[-1] == (made, made)


def test_no_two_are_equal() -> None:
    assert len({ask(RequestId(application)).field("X-Request-ID") for _ in range(50)}) == 50


def test_strangers_ids_need_not_be_trusted() -> None:
    app = RequestId(application, trust=False)
    assert ask(app, environ_of(HTTP_X_REQUEST_ID="forged")).field("X-Request-ID") != "forged"


def test_the_applications_own_field_stays() -> None:
    def naming(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [*TEXT, ("x-request-id", "its own")])
        return []

    assert ask(RequestId(naming)).field("X-Request-ID") == "its own"
    twice = RequestId(RequestId(application))
    reply = ask(twice, environ_of(HTTP_X_REQUEST_ID="one"))
    assert reply.field("X-Request-ID") == "one"


def test_another_header() -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", TEXT)
        return [environ["wsgi_async.request_id"].encode()]

    app = RequestId(application, header="X-Amzn-Trace-Id")
    reply = ask(app, environ_of(HTTP_X_AMZN_TRACE_ID="Root=1", HTTP_X_REQUEST_ID="no"))
    assert (reply.body, reply.field("x-amzn-trace-id")) == (b"Root=1", "Root=1")


@pytest.mark.parametrize("header", ["", "X Request", "X:", "X\n"])
def test_a_bad_name_is_an_error(header: str) -> None:
    with pytest.raises(ConfigError, match="is not the name of a header field"):
        RequestId(application, header=header)
