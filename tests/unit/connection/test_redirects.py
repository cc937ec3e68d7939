"""Plain HTTP is sent to https: to hosts that were named, and nowhere else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from judge import Answer
from wire import HELLO, Site

from wsgi_async.connection.states import ConnectionState

TOKEN = "/.well-known/acme-challenge/LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"


@contextlib.contextmanager
def redirecting(*hosts: str, port: int = 443, **options: Any) -> Iterator[Site]:
    with Site(
        certfile=["a.pem"],
        bind=["http://:80", f"https://:{port}"],
        redirect_to_https=hosts or ["example.org", "www.example.org:8443", "[::1]"],
        **options,
    ) as site:
        site.connections.redirect_to(port)
        yield site


def ask(site: Site, target: str = "/", host: str = "example.org", *fields: str, **more: Any) -> Any:
    client = site.connect()
    return client, send(client, target, host, *fields, **more)


def send(
    client: Any,
    target: str = "/",
    host: str = "example.org",
    *fields: str,
    method: str = "GET",
    version: str = "1.1",
    body: str = "",
) -> Answer:
    lines = "".join(f"{line}\r\n" for line in (f"Host: {host}", *fields))
    client.send(f"{method} {target} HTTP/{version}\r\n{lines}\r\n{body}", method)
    answer: Answer = client.wait()
    return answer


@pytest.mark.parametrize("parser", ["auto", "h11"])
@pytest.mark.parametrize(
    ("target", "host", "location"),
    [
        ("/", "example.org", "https://example.org/"),
        ("/a%2Fb?x=/y&z", "Example.ORG", "https://example.org/a%2Fb?x=/y&z"),
        ("/", "example.org.:80", "https://example.org/"),
        ("/x", "www.example.org:8080", "https://www.example.org:8443/x"),
        ("/x", "[::1]", "https://[::1]/x"),
        ("/x", "[::1]:80", "https://[::1]/x"),
        ("http://example.org/x?y", "other.example", "https://example.org/x?y"),
        ("//other.example/x", "example.org", "https://example.org//other.example/x"),
    ],
)
def test_to_the_host_that_was_asked_for(parser: str, target: str, host: str, location: str) -> None:
    with redirecting(parser=parser) as site:
        client, answer = ask(site, target, host)
        assert (answer.status, answer["location"]) == (301, location)
        assert (answer.keeps_alive, client.ends) == (False, True)
        assert site.pool.submitted == 0
        ((request, response),) = site.observer.finished  # it is in the access log
        assert (request.target, response.status, response.complete) == (target, 301, True)


@pytest.mark.parametrize(("port", "location"), [(443, "https://a.b/"), (8443, "https://a.b:8443/")])
def test_to_the_port_of_tls(port: int, location: str) -> None:
    with redirecting("a.b", port=port) as site:
        assert ask(site, "/", "a.b")[1]["location"] == location


@pytest.mark.parametrize("host", ["evil.example", "example.org.evil.example", "xexample.org"])
def test_other_hosts_are_sent_nowhere(host: str) -> None:
    """A Location that a client can choose is an open redirect, which caches keep."""
    with redirecting() as site:
        client, answer = ask(site, "/x", host)
        assert (answer.status, client.ends) == (421, True)
        assert answer["location"] is None
        assert host not in answer.body.decode()
        assert site.observer.refused == [421]


def test_a_client_of_http_1_0_that_names_no_host_is_told_so() -> None:
    with redirecting() as site:
        client = site.connect()
        client.send("GET / HTTP/1.0\r\n\r\n", "GET")
        assert client.wait().status == 421


@pytest.mark.parametrize(("method", "status"), [("HEAD", 301), ("POST", 308), ("OPTIONS", 308)])
def test_what_is_no_get_keeps_its_method(method: str, status: int) -> None:
    with redirecting() as site:
        answer = ask(site, "/x", method=method)[1]
        assert (answer.status, answer["location"]) == (status, "https://example.org/x")
        assert bool(answer.body) is (method != "HEAD")


@pytest.mark.parametrize("is_last", [False, True])
@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_a_body_is_not_awaited_and_the_answer_not_lost_to_it(framing: str, is_last: bool) -> None:
    """With bytes on their way that nobody reads, the kernel would reset the connection."""
    more = ["Connection: close"] if is_last else []
    with redirecting() as site:
        client, answer = ask(site, "/x", "example.org", framing, *more, method="POST")
        assert answer.status == 308
        assert client.state is ConnectionState.LINGERING
        client.transport.receive(b"5\r\nhello\r\n" * 100)
        assert not client.transport.is_lost
        assert site.pool.submitted == 0


def test_no_body_is_asked_for() -> None:
    with redirecting() as site:
        fields = ("Content-Length: 5", "Expect: 100-continue")
        client, answer = ask(site, "/x", "example.org", *fields, method="POST")
        assert answer.status == 308
        assert b"100 Continue" not in client.transport.sent


@pytest.mark.parametrize("host", ["example.org", "other.example"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_an_acme_client_has_put_there_is_the_applications(host: str, method: str) -> None:
    with redirecting() as site:
        answer = ask(site, TOKEN, host, method=method)[1]
        assert (answer.status, answer.body) == (200, HELLO if method == "GET" else b"")


@pytest.mark.parametrize(
    "target",
    [
        "/.well-known/acme-challenge/",
        "/.well-known/acme-challenge",
        "/.well-known/acme-challenge/../admin",
        "/.well-known/acme-challenge/%2e%2e/admin",
        "/.well-known/acme-challenge/a/b",
        "/x/.well-known/acme-challenge/a",
    ],
)
def test_nothing_else_goes_with_it(target: str) -> None:
    """Applications that do not look for ".." would serve the rest of themselves in plain there."""
    with redirecting() as site:
        assert ask(site, target)[1].status == 301


def test_nothing_is_posted_to_it() -> None:
    with redirecting() as site:
        assert ask(site, TOKEN, method="POST")[1].status == 308


def test_probes_are_answered_where_they_are_asked() -> None:
    """Balancers ask by plain HTTP, by addresses."""
    with redirecting(health_path="/healthz") as site:
        answer = ask(site, "/healthz", "10.0.0.1:80")[1]
        assert (answer.status, answer.body) == (200, b"ok\n")


@pytest.mark.parametrize(("said", "status"), [("https", 200), ("http", 301)])
def test_what_a_believed_proxy_says_counts(said: str, status: int) -> None:
    """Else whoever came by https to the proxy would be sent round and round."""
    with redirecting() as site:
        assert ask(site, "/", "example.org", f"X-Forwarded-Proto: {said}")[1].status == status


def test_a_believed_proxy_says_the_host_too() -> None:
    with redirecting(proxy_headers="host") as site:
        answer = ask(site, "/x", "10.0.0.1", "X-Forwarded-Host: example.org")[1]
        assert answer["location"] == "https://example.org/x"


def test_who_is_not_believed_cannot_say_that_it_is_https() -> None:
    with redirecting(forwarded_allow_ips="10.0.0.1") as site:
        assert ask(site, "/", "example.org", "X-Forwarded-Proto: https")[1].status == 301


def test_who_speaks_tls_is_served() -> None:
    with redirecting() as site:
        client = site.connect()
        client.protocol.server_variables = {
            **client.protocol.server_variables,
            "wsgi.url_scheme": "https",
        }
        assert send(client, "/", "other.example").body == HELLO


def test_without_the_option_plain_http_is_served() -> None:
    with Site() as site:
        site.connections.redirect_to(443)
        assert not site.connections.answers_itself
        assert ask(site)[1].body == HELLO


def test_what_is_pipelined_behind_it_is_not_answered() -> None:
    with redirecting() as site:
        client = site.connect()
        request = "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"
        client.send(request * 2, "GET")
        assert client.wait().status == 301
        site.loop.run_pending()
        assert client.ends
        assert client.transport.sent.count(b"HTTP/1.1 301") == 1
