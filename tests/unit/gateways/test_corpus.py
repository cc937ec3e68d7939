"""The raw requests of corpus/, as front servers tell them in variables: they get the same verdict,
and the same environ, as over HTTP; where they do not, it says why."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cgi_variables import PARAMS, Asked, encode, nginx
from corpus import CASES, Case, read
from ported_corpus import DIFFERENT, OWN, PORTED, asked_in, status_of

from wsgi_async.errors import HTTPError
from wsgi_async.gateways.variables import request_head
from wsgi_async.http.origin import Origin
from wsgi_async.http.request import RequestHead
from wsgi_async.wsgi.environ import build_environ, server_variables


def test_what_front_servers_can_say_of_the_corpus() -> None:
    """Of the rest they could make no variables: it is refused, or waits for more."""
    assert len(PORTED) >= 250
    assert DIFFERENT.keys() <= {case.id for case in PORTED}
    for case in CASES:
        if case not in PORTED and case.raw.strip(b"\r\n"):
            assert not case.requests, case.id
            assert case.incomplete or case.status in (400, 414, 431), case.id


@pytest.mark.parametrize("case", PORTED, ids=[case.id for case in PORTED])
def test_the_verdict(case: Case) -> None:
    """On the first request of each."""
    over_http = status_of(case)
    expected = DIFFERENT.get(case.id, over_http)
    if case.id in DIFFERENT:
        assert expected != over_http, "it makes no difference any more"
    asked = asked_in(case.raw.decode("latin-1"))
    assert asked is not None
    for protocol in PARAMS:
        named = encode(nginx(protocol, asked))
        if expected is not None:
            with pytest.raises(HTTPError) as caught:
                request_head(named, case.limits, ends_bodies=True)
            assert caught.value.status == expected, protocol
            continue
        head = request_head(named, case.limits, ends_bodies=True)
        if over_http is None:
            check_environ(case, protocol, asked, head)


def check_environ(case: Case, protocol: str, asked: Asked, head: RequestHead) -> None:
    """Hold it to that of the same request over HTTP, from the same client, to the same port.

    A chunked body is collected by the front server, but where the protocol can end it.
    """
    over_http = read(case.limits, "h11", [case.raw]).heads[0]
    size = None
    if over_http.chunked:
        size = len(case.requests[0][2]) if case.requests else 0
        if protocol != "fastcgi":
            asked = replace(asked, length=size)
    head = request_head(encode(nginx(protocol, asked)), case.limits, ends_bodies=True)
    expected = environ_of(over_http, size, None)
    environ = environ_of(head, size, head.origin)
    for name in OWN:
        environ.pop(name, None)
    if protocol == "scgi" and not over_http.has_body:
        assert environ.pop("CONTENT_LENGTH", "0") == "0"
        expected.pop("CONTENT_LENGTH", None)
    assert environ == expected, protocol
    assert head.chunked is (over_http.chunked and protocol == "fastcgi")


def environ_of(head: RequestHead, size: int | None, origin: Origin | None) -> dict[str, object]:
    ours = server_variables(
        ("127.0.0.1", 8000), root_path="", scheme="http", threads=1, file_wrapper=None
    )
    client = ("192.0.2.9", "50000") if origin is None else ("", "")
    return build_environ(head, ours, *client, None, size, None, None, origin)
