"""The raw requests of corpus/, as front servers tell them in variables: they get the same verdict,
and the same environ, as over HTTP; where they do not, it says why."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from cgi_variables import PARAMS, Asked, encode, nginx
from corpus import CASES, Case, read

from wsgi_async.errors import HTTPError
from wsgi_async.gateways.variables import request_head
from wsgi_async.http.origin import Origin
from wsgi_async.http.request import RequestHead
from wsgi_async.http.tokens import TOKEN
from wsgi_async.wsgi.environ import build_environ, server_variables

HEAD = re.compile(rf"(?:\r\n)?(\S+) (\S+) (\S+)\r\n((?:{TOKEN}:[^\r\n]*\r\n)*)\r\n")
"""What a front server can make variables of; whatever else there may be is for it to refuse."""


def asked_in(text: str) -> Asked | None:
    """The first request of a text, as a front server has it that checks nothing else; a head whose
    lines are not sound, or that has not come to its end, is none."""
    match = HEAD.match(text)
    if match is None:
        return None
    cut = [line.partition(":") for line in match[4].split("\r\n")[:-1]]
    lines = [(name, value.strip(" \t")) for name, _, value in cut]
    return Asked(match[2], match[1], match[3], lines)


DIFFERENCES: list[tuple[int | None, str, str]] = [
    (
        None,
        "SERVER_NAME stands in for it; a front server refuses who sends none, or says :authority",
        """
        connection: nothing is read after a bad request
        host: missing
        host: missing among others
        host: empty
        host: empty in 1.0
        request-line: 1.2 needs a Host like 1.1
        target: absolute-form does not excuse a missing Host
        """,
    ),
    (
        None,
        "the front server has met the expectation, or not",
        """
        connection: unknown expectation
        connection: unknown expectation beside the known one
        """,
    ),
    (
        None,
        "the front server speaks it",
        """
        request-line: 2.0
        request-line: 3.0 without Host
        """,
    ),
    (400, "likewise, but for what is asked", "request-line: the preface of HTTP/2"),
    (
        501,
        "likewise",
        "request-line: another major version goes before other faults",
    ),
    (
        None,
        "CONTENT_LENGTH is what the front server sends, whatever it has received",
        """
        transfer-encoding: CL.TE
        transfer-encoding: TE.CL
        transfer-encoding: a length of zero is a length
        """,
    ),
    (
        None,
        "whitespace around a value is not in the variable",
        """
        limits: whitespace around a value counts
        transfer-encoding: a tab after it
        transfer-encoding: a tab after it, in lower case, and a space
        transfer-encoding: a tab before it
        """,
    ),
    (
        400,
        "the path is decoded, and has a NUL that a front server refuses",
        "target: percent-encoding is left alone",
    ),
]
"""The verdict on variables, where it is another: a status or None, why, and the requests."""

DIFFERENT = {
    line.strip(): status for status, _, ids in DIFFERENCES for line in ids.strip().splitlines()
}
OWN = ("DOCUMENT_ROOT", "DOCUMENT_URI", "REDIRECT_STATUS", "REMOTE_USER", "REQUEST_SCHEME", "SCGI")
OWN += ("SERVER_ADDR", "wsgi_async.peer")
"""What a front server says, and nobody over HTTP."""

PORTED = [case for case in CASES if asked_in(case.raw.decode("latin-1")) is not None]


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
    over_http = case.status if not case.requests and not case.in_body else None
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
