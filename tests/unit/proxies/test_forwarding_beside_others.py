"""The same fields, read by what applications have on top of a server, and by gunicorn itself."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from forwarded_heads import believing, head_of
from gunicorn.config import Config
from gunicorn.http.errors import InvalidSchemeHeaders
from gunicorn.http.parser import RequestParser
from werkzeug.middleware.proxy_fix import ProxyFix

from wsgi_async.errors import HTTPError
from wsgi_async.http.mounting import place
from wsgi_async.http.origin import Origin
from wsgi_async.http.request import RequestHead


def environ_of(head: RequestHead, origin: Origin) -> dict[str, Any]:
    """The names that have to do with it, with the fields left in."""
    environ: dict[str, Any] = dict(head.variables)
    environ["REMOTE_ADDR"] = "10.0.0.9" if origin.remote_addr is None else origin.remote_addr
    environ["wsgi.url_scheme"] = origin.scheme or "http"
    environ["HTTP_HOST"] = origin.host or environ["HTTP_HOST"]
    environ["SERVER_NAME"], environ["SERVER_PORT"] = "s", origin.server_port or "8000"
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = place(
        head.variables["PATH_INFO"], "", origin.prefix or ""
    )
    return environ


NAMES = ("REMOTE_ADDR", "wsgi.url_scheme", "HTTP_HOST", "SERVER_PORT", "SCRIPT_NAME", "PATH_INFO")

CLIENT = "X-Forwarded-For: 6.6.6.6, 192.0.2.1"


@pytest.mark.parametrize(
    ("hops", "lines"),
    [
        (1, []),
        (1, ["X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https"]),
        (1, [CLIENT, "X-Forwarded-Proto: https", "X-Forwarded-Host: b"]),
        (1, [CLIENT, "X-Forwarded-Proto: http, https", "X-Forwarded-Host: evil, b"]),
        (1, [CLIENT, "X-Forwarded-Host: b:8443", "X-Forwarded-Prefix: /shop"]),
        (1, [CLIENT, "X-Forwarded-Host: b", "X-Forwarded-Port: 8443"]),
        (1, ["X-Forwarded-For: 2001:db8::1", "X-Forwarded-Port: 8443"]),
        (
            2,
            [
                f"{CLIENT}, 10.0.0.2",
                "X-Forwarded-Proto: ftp, https, http",
                "X-Forwarded-Host: evil, b, inner",
                "X-Forwarded-Prefix: //, /shop, /inner",
            ],
        ),
        (3, [f"{CLIENT}, 10.0.0.3, 10.0.0.2", "X-Forwarded-Proto: ftp, https, http, http"]),
    ],
)
def test_proxy_fix_on_top_gives_the_same_answer(hops: int, lines: list[str]) -> None:
    """Its hop counts are those of the proxies that the server believes."""
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: object) -> list[bytes]:
        seen.update(environ)
        return []

    head = head_of(*lines)
    origin = believing("for,proto,host,port,prefix", "10.0.0.0/8").origin(head) or Origin()
    ours = environ_of(head, origin)
    fixed = ProxyFix(application, hops, hops, hops, hops, hops)
    fixed(dict(ours), lambda *_: lambda data: None)  # type: ignore[arg-type, return-value]
    if "X-Forwarded-Host: b" in lines:  # the port of the scheme is written by nobody but us
        ours["SERVER_PORT"] = seen["SERVER_PORT"]
    assert {name: seen[name] for name in NAMES} == {name: ours[name] for name in NAMES}


def by_gunicorn(peer: str, *lines: str) -> tuple[str, str] | int:
    """Scheme and SCRIPT_NAME as gunicorn has them, or 400."""
    raw = "\r\n".join(["GET /shop/x HTTP/1.1", "Host: a", *lines, "", ""]).encode()
    try:
        request = next(RequestParser(Config(), [raw], (peer, 1)))
    except InvalidSchemeHeaders:
        return 400
    names = dict(request.headers)
    return request.scheme, names.get("SCRIPT_NAME", "")


def by_us(peer: str, *lines: str) -> tuple[str, str] | int:
    forwarding = believing("proto", ("127.0.0.1", "::1", "unix"))
    origin = None
    if peer in forwarding.peers:
        try:
            origin = forwarding.origin(head_of(*lines, host="a", target="/shop/x"))
        except HTTPError as error:
            return error.status
    origin = origin or Origin()
    return origin.scheme or "http", origin.script_name or ""


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "192.0.2.1"])
@pytest.mark.parametrize(
    "lines",
    [
        *([], ["X-Forwarded-Proto: https"], ["X-Forwarded-Proto: http"], ["X-Forwarded-Ssl: on"]),
        *(["X-Forwarded-Ssl: off"], ["X-Forwarded-Protocol: ssl"], ["x-forwarded-protocol: x"]),
        ["X-Forwarded-Proto: https", "X-Forwarded-Ssl: on"],
        ["X-Forwarded-Proto: https", "X-Forwarded-Ssl: off"],
        ["X-Forwarded-Proto: http", "X-Forwarded-Ssl: on"],
        ["X-Forwarded-Proto: http", "X-Forwarded-Ssl: off", "X-Forwarded-Protocol: none"],
        ["X-Forwarded-Proto: https, http"],
        ["X-Forwarded-For: 6.6.6.6", "X-Forwarded-Host: evil"],
        ["Forwarded: proto=https"],
        *(["X_Forwarded_Proto: http"], ["SCRIPT_NAME: /shop"], ["Script-Name: /shop"]),
        ["X-Forwarded-Proto: https", "SCRIPT_NAME: /shop"],
    ],
)
def test_what_gunicorn_believes_where_nothing_is_set(peer: str, lines: list[str]) -> None:
    assert by_us(peer, *lines) == by_gunicorn(peer, *lines)


def test_an_origin_that_says_nothing_changes_nothing() -> None:
    assert all(getattr(Origin(), item.name) in (None, ()) for item in dataclasses.fields(Origin))
