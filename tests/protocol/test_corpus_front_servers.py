"""The raw requests of corpus/ through whole connections of front servers: the application finds
what it finds over HTTP, and what is refused there reaches none here either."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from cgi_variables import PARAMS, nginx
from cgi_variables import encode as as_bytes
from corpus import Case
from front_connections import Ended, Front, encode
from ported_corpus import DIFFERENT, OWN, PORTED, asked_in, status_of
from wire import Site

from wsgi_async.http.limits import Limits

COMPLETE = [case for case in PORTED if case.requests or status_of(case)]
"""Those whose first request has a body that comes to its end, or is refused before it."""

NO_TEXT = ("wsgi.input", "wsgi.errors", "wsgi.early_hints", "wsgi.file_wrapper")
NO_TEXT += ("wsgi_async.client",)

Found = tuple[dict[str, Any], bytes]
"""The environ and the body of a request."""


class House:
    """A server with limits of its own, and its front servers."""

    def __init__(self, site: Site, calls: list[Found]) -> None:
        self.site = site
        self.calls = calls
        self.fronts = {name: Front(name, site, calls) for name in PARAMS}

    def over_http(self, raw: bytes) -> tuple[int, Found | None]:
        """The status of the first request, and what the application finds of it."""
        self.calls.clear()
        peer, local = ("192.0.2.9", 50000), ("127.0.0.1", 8000)
        client = self.site.connect(peername=peer, sockname=local)
        client.judge.methods += ["GET"] * 9
        client.transport.receive(raw)
        self.site.settle()
        sent = bytes(client.transport.sent)
        client.transport.reset()
        self.site.settle()
        self.site.clients.remove(client)
        return int(sent[9:12]), self.calls[0] if self.calls else None


@pytest.fixture(scope="module")
def house() -> Iterator[Callable[[Limits], House]]:
    houses: dict[Limits, House] = {}
    with contextlib.ExitStack() as stack:

        def make(limits: Limits) -> House:
            if limits not in houses:
                calls: list[Found] = []

                def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
                    body = environ["wsgi.input"].read()
                    left_out = (*NO_TEXT, *OWN)
                    kept = {name: environ[name] for name in environ if name not in left_out}
                    calls.append((kept, body))
                    start_response("200 OK", [])
                    return [b"ok"]

                bounds = [limit or 1 << 30 for limit in limits]
                site = Site(
                    application,
                    threads=1,
                    max_body_size=1 << 30,
                    limit_request_line=bounds[0],
                    limit_request_fields=bounds[1],
                    limit_request_field_size=bounds[2],
                    max_header_size=bounds[3],
                )
                houses[limits] = House(stack.enter_context(site), calls)
            return houses[limits]

        yield make


@pytest.mark.parametrize("case", COMPLETE, ids=[case.id for case in COMPLETE])
def test_what_the_application_finds(case: Case, house: Callable[[Limits], House]) -> None:
    own = house(case.limits)
    status, found = own.over_http(case.raw)
    asked = asked_in(case.raw.decode("latin-1"))
    assert asked is not None
    body = case.requests[0][2] if case.requests else b""
    if case.id in DIFFERENT and not case.requests:  # it goes on behind its head
        body = case.raw.partition(b"\r\n\r\n")[2][: int(asked.value("content-length") or 0)]
    is_chunked = asked.value("transfer-encoding") != ""
    for name, front in own.fronts.items():
        if is_chunked and name != "fastcgi":
            asked = replace(asked, length=len(body))
        said = as_bytes(nginx(name, asked))
        if name == "uwsgi" and sum(len(part) + 2 for pair in said for part in pair) > 65535:
            continue  # more than it can say
        own.calls.clear()
        ended = front.send(encode(name, said, body))
        if name == "scgi" and any(b"\0" in part for pair in said for part in pair):
            assert (ended.statuses, len(ended.dropped)) == ((), 1), "its names end with NUL"
        elif case.id in DIFFERENT:
            assert ended.statuses == (DIFFERENT[case.id] or 200,)
        elif found is None:
            assert ended == Ended((status,)), name
        else:
            [(environ, received)] = ended.called
            if name == "scgi" and not body:  # it is always there
                assert environ.pop("CONTENT_LENGTH") == found[0].get("CONTENT_LENGTH", "0") == "0"
                found[0].pop("CONTENT_LENGTH", None)
            assert (ended.statuses, ended.dropped) == ((status,), ())
            assert (environ, received) == found, name
