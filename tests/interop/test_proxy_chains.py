"""Three proxies in a row, nginx that ends TLS, HAProxy, and nginx again: who the client is depends
on which of them are believed, and on nothing that anybody else says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from front_ends import HOST, Certificate, Front, haproxy, listener, made_certificate, nginx
from serving import Command

CLIENT = "127.0.0.2"
STRANGER = "203.0.113.9"
EDGE, MIDDLE, NEAR = "127.0.0.11", "127.0.0.12", "127.0.0.13"
"""From where each of the three connects onwards."""

NGINX = """
    proxy_http_version 1.1;
    server {{
        listen 127.0.0.1:{tls} ssl;
        listen 127.0.0.1:{plain};
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        location / {{
            proxy_bind {edge};
            {first}
            proxy_pass http://127.0.0.1:{middle};
        }}
    }}
    server {{
        listen 127.0.0.1:{near};
        location / {{
            proxy_bind {near_address};
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            {last}
            proxy_pass http://127.0.0.1:{port};
        }}
    }}
"""

HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s

frontend middle
    bind fd@{number}
    option forwardfor
    {more}
    default_backend near

backend near
    server near 127.0.0.1:{near} source {address}
"""

FIRST = """
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
"""
PASSED = "proxy_set_header X-Forwarded-Proto $http_x_forwarded_proto;"
"""The last one knows nothing of https, and passes on what it was told."""
LISTED = 'proxy_set_header X-Forwarded-Proto "$http_x_forwarded_proto, $scheme";'
"""Or adds to it, as with addresses."""


certificate = pytest.fixture(scope="module")(made_certificate)


@contextlib.contextmanager
def chain(
    directory: Path,
    certificate: Certificate,
    *words: str,
    first: str = FIRST,
    middle: str = "",
    last: str = PASSED,
) -> Iterator[Front]:
    """A server that is started with `words`, behind all three."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Command("secure_facts:app", "-b", "127.0.0.1:0", *words))
        sockets = {
            name: stack.enter_context(listener()) for name in ("tls", "plain", "middle", "near")
        }
        ports = {name: one.getsockname()[1] for name, one in sockets.items()}
        number = sockets["middle"].fileno()
        text = HAPROXY.format(number=number, near=ports["near"], address=MIDDLE, more=middle)
        stack.enter_context(haproxy(directory, text, [sockets.pop("middle")]))
        text = NGINX.format(
            **ports,
            port=server.address[1],
            certificate=certificate.path,
            key=certificate.key,
            edge=EDGE,
            near_address=NEAR,
            first=first,
            last=last,
        )
        stack.enter_context(nginx(directory, text, list(sockets.values())))
        yield Front({"https": ports["tls"], "http": ports["plain"]}, certificate)
        server.assert_clean()


@pytest.mark.parametrize(
    ("believed", "client"),
    [
        (f"{EDGE},{MIDDLE},{NEAR}", CLIENT),
        ("127.0.0.8/29", CLIENT),  # all three
        (f"{MIDDLE},{NEAR}", EDGE),
        (NEAR, MIDDLE),
        # Only what the nearest has seen counts: anybody may be the one before.
        ("*", MIDDLE),
        # Whom the chain is in front of is none of them.
        (f"{EDGE},{MIDDLE}", NEAR),
    ],
)
def test_the_client_is_the_last_one_that_is_not_believed(
    believed: str, client: str, tmp_path: Path, certificate: Certificate
) -> None:
    fields = [("X-Forwarded-For", f"{STRANGER}, 127.0.0.14"), ("X-Forwarded-Proto", "http")]
    with chain(tmp_path, certificate, "--forwarded-allow-ips", believed) as front:
        environ = front.ask("https", fields=fields, source=CLIENT).environ
        assert environ["REMOTE_ADDR"] == client
        if client == NEAR:
            assert environ["wsgi.url_scheme"] == "http"
            assert "HTTP_X_FORWARDED_FOR" not in environ
            return
        # Of each proxy a line of its own, or an entry of the one before.
        told = f"{STRANGER}, 127.0.0.14, {CLIENT}, {EDGE}, {MIDDLE}"
        assert environ["HTTP_X_FORWARDED_FOR"].replace(",", ", ").replace("  ", " ") == told
        assert environ["wsgi.url_scheme"] == "https"


def test_the_scheme_is_that_of_the_hop_that_is_chosen(
    tmp_path: Path, certificate: Certificate
) -> None:
    """Where each proxy adds the scheme by which it was asked: https at the edge only."""
    middle = 'http-request set-header X-Forwarded-Proto "%[req.hdr(X-Forwarded-Proto)], http"'
    believed = f"{EDGE},{MIDDLE},{NEAR}"
    words = ("--forwarded-allow-ips", believed)
    with chain(tmp_path, certificate, *words, middle=middle, last=LISTED) as front:
        replies = {scheme: front.ask(scheme, source=CLIENT) for scheme in ("https", "http")}
        for scheme, reply in replies.items():
            environ = reply.environ
            assert environ["HTTP_X_FORWARDED_PROTO"] == f"{scheme}, http, http"
            assert environ["REMOTE_ADDR"] == CLIENT
            assert environ["wsgi.url_scheme"] == scheme


def test_with_nothing_set_https_comes_through(tmp_path: Path, certificate: Certificate) -> None:
    """All three are on this machine; the address is the nearest one's."""
    with chain(tmp_path, certificate) as front:
        environ = front.ask("https", source=CLIENT).environ
        assert (environ["wsgi.url_scheme"], environ["REMOTE_ADDR"]) == ("https", NEAR)


def test_all_that_proxies_may_say(tmp_path: Path, certificate: Certificate) -> None:
    """Host, port and prefix as the edge has them, where they are asked for."""
    first = (
        "proxy_set_header Host inner.example; proxy_set_header X-Forwarded-Host $http_host; "
        "proxy_set_header X-Forwarded-Port 443; proxy_set_header X-Forwarded-Prefix /shop; "
        "proxy_set_header X-Forwarded-For $remote_addr; "
        "proxy_set_header X-Forwarded-Proto $scheme;"
    )
    words = (
        *("--forwarded-allow-ips", f"{EDGE},{MIDDLE},{NEAR}"),
        *("--proxy-headers", "for,proto,host,port,prefix"),
    )
    with chain(tmp_path, certificate, *words, first=first) as front:
        fields = [("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Prefix", "/evil")]
        environ = front.ask("https", "/cart", fields, source=CLIENT).environ
        assert environ["HTTP_HOST"] == HOST
        assert environ["SERVER_PORT"] == "443"
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/shop", "/cart")
        assert environ["REMOTE_ADDR"] == CLIENT


def test_forwarded_instead(tmp_path: Path, certificate: Certificate) -> None:
    """RFC 7239 in place of the older fields, which are then not looked at."""
    first = f'proxy_set_header Forwarded "for=$remote_addr;proto=$scheme;host={HOST}";'
    middle = 'http-request set-header Forwarded "%[req.hdr(Forwarded)], for=%[src];proto=http"'
    last = 'proxy_set_header Forwarded "$http_forwarded, for=$remote_addr";'
    words = (
        *("--forwarded-allow-ips", f"{EDGE},{MIDDLE},{NEAR}"),
        *("--proxy-headers", "forwarded"),
    )
    with chain(tmp_path, certificate, *words, first=first, middle=middle, last=last) as front:
        fields = [("Forwarded", f"for={STRANGER};proto=http"), ("X-Forwarded-For", STRANGER)]
        environ = front.ask("https", fields=fields, source=CLIENT).environ
        assert environ["HTTP_FORWARDED"].count("for=") == 3
        assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == (CLIENT, "https")
        assert environ["HTTP_HOST"] == HOST
