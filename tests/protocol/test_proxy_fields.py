"""Whose X-Forwarded fields are believed, left or removed, by each default and each option."""

from __future__ import annotations

import json
from typing import Any

import pytest
from wire import Site

PROXY = ("127.0.0.1", 40000)
DOCKER = ("172.18.0.5", 40000)
IPV6 = ("2001:db8::5", 40000, 0, 0)
MAPPED = ("::ffff:10.0.0.5", 40000, 0, 0)
UNIX = ""

FOR = "X-Forwarded-For: 203.0.113.7"
HTTPS = "X-Forwarded-Proto: https"

SHOWN = (
    *("REMOTE_ADDR", "REMOTE_PORT", "wsgi.url_scheme", "HTTPS", "SERVER_PORT", "HTTP_HOST"),
    *("SCRIPT_NAME", "PATH_INFO", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO"),
    *("HTTP_FORWARDED", "HTTP_SCRIPT_NAME", "wsgi_async.peer"),
)


def show(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({name: environ[name] for name in SHOWN if name in environ}).encode()]


def ask(site: Site, peer: object, *fields: str, target: str = "/x") -> dict[str, str]:
    answer = site.connect(peername=peer).get(target, *fields)
    assert answer.status == 200
    return json.loads(answer.body)  # type: ignore[no-any-return]


# --- what is believed ---------------------------------------------------------------------------


@pytest.mark.parametrize("peer", [PROXY, UNIX, ("::1", 4, 0, 0), ("127.9.9.9", 4)])
def test_unasked_this_machine_is_believed_in_the_scheme_alone(peer: object) -> None:
    """As gunicorn does: a plain nginx passes a client's own X-Forwarded-For through."""
    with Site(show) as site:
        environ = ask(site, peer, FOR, HTTPS)
        assert (environ["wsgi.url_scheme"], environ["HTTPS"]) == ("https", "on")
        assert environ["REMOTE_ADDR"] == (peer[0] if isinstance(peer, tuple) else "")
        # ... and ProxyFix on top still finds what it looks for.
        assert environ["HTTP_X_FORWARDED_FOR"] == "203.0.113.7"
        assert environ["HTTP_X_FORWARDED_PROTO"] == "https"


@pytest.mark.parametrize(
    ("options", "peer"),
    [
        ({"proxy_headers": True}, PROXY),
        ({"proxy_headers": True}, UNIX),
        ({"forwarded_allow_ips": "172.16.0.0/12"}, DOCKER),
        ({"forwarded_allow_ips": "172.18.0.5"}, DOCKER),
        ({"forwarded_allow_ips": ["10.0.0.0/8", "2001:db8::/32"]}, IPV6),
        ({"forwarded_allow_ips": "10.0.0.0/8"}, MAPPED),
        ({"forwarded_allow_ips": "*"}, DOCKER),
        ({"forwarded_allow_ips": "*"}, UNIX),
        ({"forwarded_allow_ips": "unix"}, UNIX),
    ],
)
def test_either_option_by_hand_takes_client_and_scheme(
    options: dict[str, Any], peer: object
) -> None:
    with Site(show, **options) as site:
        environ = ask(site, peer, FOR, HTTPS)
        assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("203.0.113.7", "")
        assert environ["wsgi.url_scheme"] == "https"
        assert site.observer.warnings == site.observer.infos == []


def test_the_sockets_other_end_stays() -> None:
    with Site(show, forwarded_allow_ips="*") as site:
        assert ask(site, DOCKER, FOR)["wsgi_async.peer"] == "172.18.0.5:40000"
        assert ask(site, IPV6, FOR)["wsgi_async.peer"] == "[2001:db8::5]:40000"
        assert ask(site, UNIX, FOR)["wsgi_async.peer"] == "unix"
        # Where nobody says anything REMOTE_ADDR is it.
        assert "wsgi_async.peer" not in ask(site, DOCKER)


def test_a_chain_of_three_and_what_a_client_makes_up() -> None:
    chain = "X-Forwarded-For: 6.6.6.6, 198.51.100.9:5555, 10.0.0.3, 10.0.0.2"
    with Site(show, forwarded_allow_ips="10.0.0.0/8") as site:
        environ = ask(site, ("10.0.0.1", 1), chain, "X-Forwarded-Proto: http, https, http, http")
        assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("198.51.100.9", "5555")
        assert environ["wsgi.url_scheme"] == "https"
    with Site(show, forwarded_allow_ips="*") as site:
        # Whoever is believed, only the last entry is not the client's own word.
        assert ask(site, ("10.0.0.1", 1), chain)["REMOTE_ADDR"] == "10.0.0.2"


def test_ipv6_in_the_fields() -> None:
    with Site(show, proxy_headers="forwarded") as site:
        environ = ask(site, PROXY, 'Forwarded: for="[2001:db8::7]:4711";proto=https;host=b.example')
        assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("2001:db8::7", "4711")
        assert (environ["HTTP_HOST"], environ["SERVER_PORT"]) == ("b.example", "443")
        assert environ["HTTP_FORWARDED"].startswith("for=")


def test_host_port_and_prefix_where_they_are_wanted() -> None:
    said = ("X-Forwarded-Host: shop.example", "X-Forwarded-Port: 8443", "X-Forwarded-Prefix: /p")
    with Site(show, proxy_headers="proto,host,port,prefix", root_path="/app") as site:
        for path in "/p/app/x", "/app/x", "/x":
            environ = ask(site, PROXY, HTTPS, *said, target=path)
            assert environ["HTTP_HOST"] == "shop.example:8443"
            assert environ["SERVER_PORT"] == "8443"
            assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/p/app", "/x")
    with Site(show) as site:
        environ = ask(site, PROXY, HTTPS, *said)
        assert (environ["HTTP_HOST"], environ["SCRIPT_NAME"]) == ("a", "")


def test_a_field_of_gunicorns_says_where_the_application_is() -> None:
    """``proxy_set_header SCRIPT_NAME /app``; from anybody else an underscore never passes."""
    field = "SCRIPT_NAME: /app"
    with Site(show) as site:
        environ = ask(site, PROXY, field, target="/app/x")
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/app", "/x")
        environ = ask(site, DOCKER, field, "X_Forwarded_Proto: https", target="/app/x")
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/app/x")
        assert environ["wsgi.url_scheme"] == "http"
        assert "HTTP_SCRIPT_NAME" not in environ
        assert ask(site, PROXY, "X_Forwarded_Proto: https")["wsgi.url_scheme"] == "http"


def test_fields_of_ones_own_say_the_scheme() -> None:
    with Site(show, secure_scheme_headers="X-Scheme=https,Front-End-Https=on") as site:
        assert ask(site, PROXY, "X-Scheme: https")["wsgi.url_scheme"] == "https"
        assert ask(site, PROXY, "Front-End-Https: on")["HTTPS"] == "on"
        assert ask(site, PROXY, HTTPS)["wsgi.url_scheme"] == "http"


def test_off_believes_nobody() -> None:
    with Site(show, proxy_headers="off") as site:
        environ = ask(site, PROXY, FOR, HTTPS)
        assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("127.0.0.1", "http")
        assert environ["HTTP_X_FORWARDED_PROTO"] == "https"
        assert site.observer.warnings == []
        assert "HTTP_X_FORWARDED_FOR" not in ask(site, DOCKER, FOR)


def test_nobody_is_believed_where_nobody_is_named() -> None:
    with Site(show, forwarded_allow_ips="") as site:
        for peer in PROXY, UNIX:
            environ = ask(site, peer, FOR, HTTPS)
            assert environ["wsgi.url_scheme"] == "http"
            assert "HTTP_X_FORWARDED_FOR" not in environ


# --- who is not ---------------------------------------------------------------------------------


def test_unasked_others_are_left_not_believed_and_warned_of_once() -> None:
    """In Docker the proxy is never loopback, and a site with ProxyFix has worked until today."""
    with Site(show) as site:
        for _ in range(2):
            environ = ask(site, DOCKER, FOR, HTTPS)
            assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("172.18.0.5", "http")
            assert environ["HTTP_X_FORWARDED_FOR"] == "203.0.113.7"
            assert environ["HTTP_X_FORWARDED_PROTO"] == "https"
        (warning,) = site.observer.warnings
        assert warning.startswith("X-Forwarded-For, from 172.18.0.5, is not believed")
        assert "--forwarded-allow-ips" in warning


@pytest.mark.parametrize("options", [{"forwarded_allow_ips": "10.0.0.1"}, {"proxy_headers": "for"}])
def test_once_proxies_are_known_what_others_say_is_removed(options: dict[str, Any]) -> None:
    made_up = (
        *(FOR, HTTPS, "X-Forwarded-Ssl: on", "X-Forwarded-Anything: 1", "Forwarded: for=6.6.6.6"),
        "X-FORWARDED-HOST: evil.example",
    )
    kept: list[dict[str, Any]] = []

    def keep(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        kept.append(environ)
        return show(environ, start_response)

    with Site(keep, **options) as site:
        for _ in range(2):
            assert ask(site, DOCKER, *made_up, "X-Real-Thing: 1")["wsgi.url_scheme"] == "http"
            environ = kept.pop()
            assert not [name for name in environ if "FORWARDED" in name]
            assert environ["HTTP_X_REAL_THING"] == "1"
        (line,) = site.observer.infos
        assert line.startswith("X-Forwarded-For, from 172.18.0.5, is removed, and so are its like")
        assert site.observer.warnings == []
        # What is logged is what came.
        request = site.observer.finished[0][0]
        assert request.client == "172.18.0.5:40000"
        assert ("X-Forwarded-For", "203.0.113.7") in request.fields


def test_a_client_that_is_not_used_is_told_once_with_the_option_to_set() -> None:
    with Site(show) as site:
        ask(site, PROXY, HTTPS)
        assert site.observer.warnings == []
        for _ in range(2):
            assert ask(site, PROXY, FOR, HTTPS)["wsgi.url_scheme"] == "https"
        (warning,) = site.observer.warnings
        assert warning.startswith("X-Forwarded-For, from 127.0.0.1, is not used")
        assert "--proxy-headers for,proto" in warning
    with Site(show, proxy_headers="proto") as site:
        ask(site, PROXY, FOR, HTTPS)
        assert site.observer.warnings == []  # that is what was asked for


def test_a_connection_of_a_client_is_looked_at_once_only() -> None:
    """Whoever serves the world directly pays for the warning with a first request, not with all."""
    with Site(show) as site:
        client = site.connect(peername=DOCKER)
        client.get("/x")
        assert client.protocol._proxy_fields is None


def test_a_head_that_comes_again_is_none_that_says_something_else() -> None:
    """What has nothing for proxies in it is not looked at anew; what differs from it is."""
    with Site(show, proxy_headers=True) as site:
        first, second = (site.connect(peername=PROXY) for _ in range(2))
        for client in first, second, first:
            assert json.loads(client.get("/x").body)["REMOTE_ADDR"] == "127.0.0.1"
            assert json.loads(client.get("/x", FOR).body)["REMOTE_ADDR"] == "203.0.113.7"


# --- contradictions -----------------------------------------------------------------------------


def test_a_contradiction_is_a_400_that_names_the_request_and_its_client() -> None:
    with Site(show, proxy_headers=True) as site:
        client = site.connect(peername=PROXY)
        assert client.get("/x", FOR, HTTPS).status == 200
        client.ask("/y", HTTPS, "X-Forwarded-Ssl: off", method="POST")
        assert client.wait(2).status == 400
        assert client.ends
        assert site.observer.details == ["The fields that say the scheme disagree"]
        ((request, is_running),) = site.observer.refused_requests
        assert request is not None
        assert (request.target, is_running) == ("/y", False)


def test_a_pipelined_contradiction_is_answered_in_its_turn() -> None:
    head = "GET /{} HTTP/1.1\r\nHost: a\r\n{}\r\n"
    with Site(show) as site:
        client = site.connect(peername=PROXY)
        client.send(
            head.format("1", f"{HTTPS}\r\n")
            + head.format("2", f"{HTTPS}\r\nX-Forwarded-SSL: 0\r\n"),
            "GET",
            "GET",
        )
        assert [client.wait(1).status, client.wait(2).status] == [200, 400]


# --- log lines and events -----------------------------------------------------------------------


def test_whoever_is_told_of_a_request_is_told_its_client() -> None:
    with Site(show, proxy_headers=True) as site:
        client = site.connect(peername=PROXY)
        for address, port in ("203.0.113.7", ":81"), ("[2001:db8::7]", ":82"), ("203.0.113.8", ""):
            client.get("/x", f"X-Forwarded-For: {address}{port}")
        client.get("/x")
        names = [request.client for request, _ in site.observer.finished]
        assert names == [
            *("203.0.113.7:81", "[2001:db8::7]:82", "203.0.113.8"),
            "127.0.0.1:40000",
        ]


def test_a_request_that_is_refused_or_cut_is_its_clients() -> None:
    def breaks(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "10")])
        yield b"1234"
        raise ValueError

    with Site(breaks, proxy_headers=True, max_body_size=9) as site:
        site.connect(peername=PROXY).get(
            "/", "X-Forwarded-For: 203.0.113.7:1", "Content-Length: 10", method="POST"
        )
        client = site.connect(peername=PROXY)
        client.ask("/", "X-Forwarded-For: 203.0.113.7:2")
        site.settle()
        # Between requests nobody but the proxy is there.
        site.connect(peername=PROXY).send("nonsense\r\n\r\n", "GET")
        assert site.observer.clients == ["203.0.113.7:1", "203.0.113.7:2", "127.0.0.1:40000"]
