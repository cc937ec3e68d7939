"""For any list of fields and any trust, what is taken is what an independent model says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields as attributes_of

import pytest
from forwarded_heads import SECURE, believing
from forwarding_model import Refused, told
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from request_heads import parse, with_h11

from wsgi_async.errors import HTTPError
from wsgi_async.http.origin import Origin
from wsgi_async.http.request import RequestHead
from wsgi_async.proxies.forwarding import FORWARDER_HEADERS

PEERS = st.sampled_from(
    [
        ("127.0.0.0/8", "::1", "unix"),
        ("10.0.0.0/8",),
        ("10.0.0.1", "10.0.0.2", "2001:db8::/32", "fe80::/10"),
        ("10.0.0.0/8", "unix", "::ffff:192.0.2.1"),
        ("10.0.0.0/8", "192.0.2.0/24", "2001:db8::1", "fe80::1"),
        ("*",),
        ("10.0.0.1", "*"),
        ("0.0.0.0/0",),
        ("::/0",),
        ("unix",),
        (),
    ]
)
TAKEN = st.one_of(
    st.just(["forwarded"]),
    st.just(["for", "proto"]),
    st.lists(st.sampled_from(["for", "proto", "host", "port", "prefix"]), min_size=1, unique=True),
)
SCHEME_FIELDS = st.sampled_from([SECURE, {"X-Forwarded-Scheme": "https", "CF-Visitor": "a,b"}, {}])


def mostly(good: Sequence[str], bad: Sequence[str]) -> st.SearchStrategy[str]:
    """One damaged value in ten, so that most lists get as far as their meaning."""
    return st.integers(0, 9).flatmap(lambda n: st.sampled_from(bad if n == 9 else good))


NODES = mostly(
    [
        *("10.0.0.1", "10.0.0.2", "10.0.0.2:080", "10.0.0.3:_p", "192.0.2.1", "192.0.2.1:65535"),
        *("[2001:db8::1]:80", "2001:DB8::1", "[::1]", "::1", "::ffff:10.0.0.1", "fe80::1%eth0"),
        *("[::ffff:10.0.0.3]:4", "::ffff:a00:1", "6.6.6.6", "127.0.0.1", "[fe80::9%1]:1"),
        *("unix:", "10.0.0.4", "10.0.0.5"),
    ],
    [
        *("unknown", "_hidden", "10.0.0.1:x", "10.0.0.1:70000", "[::1", "10.0.0", "[10.0.0.1]"),
        *("unknown:80", "010.0.0.1", "::1%", "::g", ""),
    ],
)
SCHEMES = mostly(["http", "https", "https", "HTTPS", "ws", "wss", ""], ["on", "ftp", "", "http:"])
WORDS = mostly(["on", "off", "ssl"], ["https", "http", "ON", ""])
HOSTS = mostly(
    ["b", "b:8443", "[::1]", "[::1]:99", "b:", "a:443", "A:80", "%41", ""],
    ["b:0", "b:99999", "b/c", "b c", "[v6]", "[10.0.0.1]", "u@b", "%4", ":80", ""],
)
PORTS = mostly(["80", "443", "8443", "0080"], ["0", "65536", "x", "+1", "000080", ""])
PATHS = mostly(
    ["/", "/shop", "/shop/", "/a/b", "/caf%C3%A9", "/a%2fb", "/a%20b", "/.a"],
    [
        *("//", "//a", "/..", "/%2e%2e/a", "a", "/a?b", "/a%2f/b", "/a\\b", "/a b", "/%0d", "/a/."),
        "",
    ],
)
COMMAS = st.sampled_from([",", ", ", " ,", ",,", ", ,\t"])
RAW = st.text(st.sampled_from(list(' \t,;="\\/%:.[]@?#10aAfor_-2e\xe9')), max_size=12)


def in_quotes(value: str) -> str:
    return f'"{value}"'


def maybe_quoted(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(values, values, values.map(in_quotes))


def list_of(draw: st.DrawFn, values: st.SearchStrategy[str], size: int) -> str:
    entries = draw(st.lists(maybe_quoted(values), min_size=size, max_size=size))
    return draw(COMMAS).join(entries)


X_FORWARDED = [
    ("X-Forwarded-Proto", SCHEMES),
    ("X-Forwarded-Ssl", WORDS),
    ("X-Forwarded-Protocol", WORDS),
    ("X-Forwarded-Scheme", SCHEMES),
    ("CF-Visitor", st.sampled_from(["a,b", "A,B", "b", "https"])),
    ("X-Forwarded-Host", HOSTS),
    ("X-Forwarded-Port", PORTS),
    ("X-Forwarded-Prefix", PATHS),
]
OTHERS = st.one_of(
    st.tuples(st.sampled_from(["SCRIPT_NAME", "Script_Name", "PATH_INFO", "Script-Name"]), PATHS),
    st.tuples(st.sampled_from(["X_Forwarded_For", "X_Forwarded_Proto", "Via", "A"]), SCHEMES),
    st.tuples(
        st.sampled_from(["Forwarded", "X-Forwarded-For", *(name for name, _ in X_FORWARDED)]), RAW
    ),
)


@st.composite
def x_forwarded(draw: st.DrawFn) -> list[tuple[str, str]]:
    """X-Forwarded-For with some of the others, whose lists are as long, have one entry, or are of
    another length; the lines of one may be several."""
    hops = draw(st.integers(0, 4))
    made = [("X-Forwarded-For", list_of(draw, NODES, hops))] if hops else []
    if hops > 1 and draw(st.booleans()):
        made.append(("x-forwarded-for", list_of(draw, NODES, 1)))
        hops += 1
    for name, values in draw(st.lists(st.sampled_from(X_FORWARDED), max_size=3)):
        size = draw(st.sampled_from([1, hops, hops, 2, 0]))
        made.append((name, list_of(draw, values, size)))
    return draw(st.permutations(made))


def parameter(names: list[str], values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds("{}={}".format, st.sampled_from(names), values)


FOR = parameter(["for", "For"], NODES.map(in_quotes))
PROTO = parameter(["proto", "Proto"], st.one_of(SCHEMES.map(in_quotes), SCHEMES))
HOST = parameter(["host"], HOSTS.map(in_quotes))
BY = parameter(["by", "x"], st.sampled_from(["_a", '"a,b;c=d"', '"\\""', '"\\\\"', '"\xe9"']))
PAIRS = st.lists(
    st.one_of(FOR, FOR, PROTO, HOST, BY), max_size=4, unique_by=lambda pair: pair[:2].lower()
)
ELEMENTS = st.builds(str.join, st.sampled_from([";", ";", " ; ", ";;"]), PAIRS)


@st.composite
def forwarded(draw: st.DrawFn) -> list[tuple[str, str]]:
    """One line or more of Forwarded, one in ten with damage."""
    lines = draw(st.lists(st.lists(ELEMENTS, min_size=1, max_size=4), min_size=1, max_size=2))
    made = [draw(COMMAS).join(line) for line in lines]
    if draw(st.integers(0, 9)) == 9:
        at = draw(st.integers(0, len(made[0])))
        made[0] = made[0][:at] + draw(RAW) + made[0][at:]
    return [("Forwarded", line) for line in made]


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[str], list[tuple[str, str]]]:
    """What is taken, and fields that have to do with it more often than not."""
    taken = draw(TAKEN)
    fields = draw(forwarded() if taken == ["forwarded"] else x_forwarded())
    if draw(st.integers(0, 3)) == 3:
        fields = fields + draw(st.one_of(forwarded(), x_forwarded()))
    if draw(st.integers(0, 3)) == 3:
        fields = fields + draw(st.lists(OTHERS, max_size=2))
    return taken, fields


def heads(fields: list[tuple[str, str]], host: str | None) -> list[RequestHead]:
    first = f"GET / HTTP/1.1\r\nHost: {host}" if host else "GET / HTTP/1.0"
    lines = [f"{name}: {value}" for name, value in fields]
    raw = "\r\n".join([first, *lines, "", ""]).encode("latin-1")
    return [head for head in (with_h11(raw), parse(raw)) if head is not None]


def as_told(origin: Origin | None) -> dict[str, object]:
    if origin is None:
        return {}
    values = {item.name: getattr(origin, item.name) for item in attributes_of(origin)}
    values["variables"] = dict(values["variables"]) or None
    return {name: value for name, value in values.items() if value is not None}


PLACES = st.lists(
    st.tuples(
        st.sampled_from(["http", "https"]),
        st.sampled_from(["a.example", "a.example:8000", "[::1]:80", "[::1]", None]),
    ),
    min_size=1,
    max_size=2,
)
"""Connections' schemes, and what Host says; one after the other, as what is remembered of one must
not be taken for another."""


@pytest.mark.timeout(300)  # on a busy machine it takes its time
@settings(max_examples=300)
@given(case=cases(), peers=PEERS, secure=SCHEME_FIELDS, places=PLACES)
@example(
    case=(["forwarded"], [("Forwarded", 'for="6.6.6.6'), ("Forwarded", 'for=192.0.2.1;by="_a"')]),
    peers=("*",),
    secure={},
    places=[("http", "a")],
)
@example(
    case=(
        ["for", "proto"],
        [("X-Forwarded-For", "unknown, 10.0.0.2"), ("X-Forwarded-Proto", "https, http")],
    ),
    peers=("10.0.0.0/8",),
    secure=SECURE,
    places=[("http", "a")],
)
@example(
    case=(["proto"], [("CF-Visitor", "A,b")]),
    peers=("*",),
    secure={"CF-Visitor": "a,b"},
    places=[("http", "a")],
)
@example(
    case=(["port"], [("X-Forwarded-Port", "443")]),
    peers=("*",),
    secure={},
    places=[("http", "a"), ("https", "a"), ("https", "b:80")],
)
def test_what_is_taken_is_what_the_model_says(
    case: tuple[list[str], list[tuple[str, str]]],
    peers: tuple[str, ...],
    secure: dict[str, str],
    places: list[tuple[str, str | None]],
) -> None:
    taken, fields = case
    forwarding = believing(",".join(taken), peers, secure=secure)
    for scheme, host in places:
        made = heads(fields, host)
        assume(made)
        received = [("Host", host)] if host else []
        received += [(name, value.strip(" \t")) for name, value in fields]
        try:
            expected = told(
                received,
                taken=taken,
                peers=peers,
                secure=secure,
                named=FORWARDER_HEADERS,
                scheme=scheme,
            )
        except Refused:
            for head in made * 2:
                with pytest.raises(HTTPError) as caught:
                    forwarding.origin(head, scheme)
                assert caught.value.status == 400
        else:
            for head in made * 2:  # the second time is from memory
                assert as_told(forwarding.origin(head, scheme)) == expected
