"""Whatever variables are made of: a head that is sound, or one clear refusal."""

from __future__ import annotations

import re

import pytest
from cgi_variables import PARAMS, Asked, encode, nginx
from corpus import DEFAULTS
from hypothesis import strategies as st
from properties import examples

from wsgi_async.errors import HTTPError, ProtocolFault
from wsgi_async.gateways import variables as judging
from wsgi_async.gateways.variables import GatewayHead, request_head
from wsgi_async.http.admission import admit
from wsgi_async.http.limits import Limits
from wsgi_async.wsgi.environ import build_environ, server_variables

STATUSES = {400, 411, 414, 431, 501, 505}
SENTENCE = re.compile(r"[A-Z][-A-Za-z0-9/*._:, ]*[A-Za-z0-9*_]")
NAMES = sorted({name for params in PARAMS.values() for name in params.split()})
NAMES += ["HTTP_X_A", "HTTP_COOKIE", "HTTP_PROXY", "HTTP_TRANSFER_ENCODING", "HTTP_CONTENT_LENGTH"]
NAMES += ["HTTP_CONTENT_TYPE", "UWSGI_SCHEME", "wsgi.input", "http_x", "SSL_CLIENT_S_DN"]

names = st.sampled_from(NAMES).map(str.encode) | st.binary(max_size=5)
values = st.sampled_from(
    [
        *(b"", b"/", b"/a", b"/a/b", b"GET", b"OPTIONS", b"*", b"0", b"5", b"-1", b"80", b"on"),
        *(b"http", b"https", b"a", b"a:80", b"[::1]", b"_", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0"),
        *(
            b"chunked",
            b"192.0.2.1",
            b"::1",
            b"unix:",
            b"a b",
            b"\xff",
            b"a\0",
            b"a\r\nb",
            b"x" * 99,
        ),
        *(b"/?b", b"//", b"/%00", b"/%2e%2e/", b"http://c/d", b"x" * 9000, b"/" + b"x" * 70000),
    ]
)
values |= st.binary(max_size=5)
pairs = st.tuples(names, values)
base = st.sampled_from(
    [encode(nginx(protocol, Asked("/a/b?c", length=5))) for protocol in PARAMS]
    + [encode({"REQUEST_METHOD": "GET", "SERVER_NAME": "a"}), []]
)


def verdict(variables: list[tuple[bytes, bytes]], ends_bodies: bool) -> GatewayHead | Exception:
    """A head, or what is said instead."""
    try:
        return request_head(variables, DEFAULTS, ends_bodies=ends_bodies)
    except (HTTPError, ProtocolFault) as error:
        return error


@examples(1000, base, st.lists(pairs, max_size=4), st.booleans())
def test_a_sound_head_or_one_refusal(
    start: list[tuple[bytes, bytes]], more: list[tuple[bytes, bytes]], ends_bodies: bool
) -> None:
    """Those of a front server, some of them with other values, and more."""
    changed = dict(more[:2])
    variables = [(name, changed.get(name, value)) for name, value in start] + more[2:]
    head = verdict(variables, ends_bodies)
    if isinstance(head, HTTPError):
        assert head.status in STATUSES
        assert SENTENCE.fullmatch(head.detail), head.detail
    if isinstance(head, Exception):
        assert str(head).isascii()
        return
    ours = server_variables(
        "/run/app.sock", root_path="", scheme="http", threads=1, file_wrapper=None
    )
    environ = build_environ(head, ours, "", "", None, None, None, None, head.origin)
    texts = {name: value for name, value in environ.items() if name in head.variables}
    assert all(isinstance(value, str) for value in texts.values())
    assert not any("\0" in str(value) for name, value in texts.items() if name != "PATH_INFO")
    assert not environ.keys() & {"HTTP_PROXY", "HTTP_TRANSFER_ENCODING", "HTTP_CONTENT_LENGTH"}
    assert environ["wsgi.input"] is None
    assert environ["wsgi.url_scheme"] == ("https" if "HTTPS" in environ else "http")
    assert environ["SERVER_NAME"]
    assert str(environ["SERVER_PORT"]).isdigit()
    for name in ("SCRIPT_NAME", "PATH_INFO"):
        assert str(environ[name])[:1] in ("", "/")
    assert head.content_length == (
        int(str(environ.get("CONTENT_LENGTH", 0))) or head.content_length
    )
    assert not (head.chunked and head.content_length is not None)
    assert not head.chunked or ends_bodies
    assert len(head.target) <= DEFAULTS.request_line
    fields = [name for name, _ in head.fields]
    assert len(fields) == len(set(fields))


@examples(500, base, st.lists(pairs, max_size=4, unique_by=lambda pair: pair[0]), st.randoms())
def test_the_order_does_not_matter(
    start: list[tuple[bytes, bytes]], more: list[tuple[bytes, bytes]], random: object
) -> None:
    """Of variables with a name of their own; but for which fault is said."""
    variables = [*dict([*start, *more]).items()]
    shuffled = variables.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = verdict(variables, False), verdict(shuffled, False)
    if isinstance(first, Exception):
        assert isinstance(second, Exception)
    else:
        assert isinstance(second, GatewayHead)
        assert first == second


@pytest.mark.parametrize("protocol", PARAMS)
def test_without_any_one_and_with_any_one_twice(protocol: str) -> None:
    """No variable has to be there but the method, and none twice is taken for a fault of the
    protocol."""
    said = nginx(protocol, Asked("/a/b?c", lines=[("Host", "a"), ("Cookie", "b")], length=5))
    for place, (name, value) in enumerate(said):
        left = encode(said[:place] + said[place + 1 :])
        if name == "REQUEST_METHOD":
            with pytest.raises(HTTPError, match="REQUEST_METHOD is missing"):
                request_head(left, DEFAULTS)
        else:
            assert request_head(left, DEFAULTS).method == "GET"
        head = verdict(encode([*said, (name, value)]), False)
        if isinstance(head, HTTPError):
            assert head.status == 400
            assert head.detail.startswith((f"The variable {name} is", "There is more than one"))
        else:
            assert isinstance(head, GatewayHead)
            assert head.path == "/a/b"


short = st.text("aZ", max_size=12)
near = st.integers(15, 120)


@examples(
    1000,
    st.lists(st.tuples(st.sampled_from(["HTTP_A", "HTTP_LONGER", "CONTENT_TYPE"]), short)),
    st.builds(Limits, near, st.integers(1, 5), near, near),
    short,
    st.booleans(),
)
def test_what_is_small_need_not_be_measured(
    more: list[tuple[str, str]], limits: Limits, target: str, has_version: bool
) -> None:
    """Where all of it together is below each limit none of them is looked at: it is the same."""
    named = [("REQUEST_METHOD", "G"), ("REQUEST_URI", f"/{target}"), ("SERVER_NAME", "a")]
    named += [("SERVER_PROTOCOL", "HTTP/1.0")] if has_version else []
    named += [pair for pair in more if pair[0] == "CONTENT_TYPE"][:1]
    variables = encode([*named, *[pair for pair in more if pair[0] != "CONTENT_TYPE"]])
    verdicts = []
    for small in (limits, limits._replace(field_size=1)):
        bounds = (limits, *judging._bounds(small)[1:])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(judging, "_bounds", lambda limits, bounds=bounds: bounds)
            try:
                verdicts.append(str(request_head(variables, limits)))
            except HTTPError as error:
                verdicts.append(str(error))
    assert verdicts[0] == verdicts[1]


tokens = st.text("abcxyzABC019-", min_size=1, max_size=8).filter(lambda name: name[0] != "-")
texts = st.text([chr(code) for code in range(256) if code >= 32 and code != 127], max_size=12)
fields = st.lists(st.tuples(tokens.map("X-{}".format), texts), max_size=6)


@examples(250, fields, st.sampled_from(sorted(PARAMS)))
def test_fields_are_those_of_http(lines: list[tuple[str, str]], protocol: str) -> None:
    """The same lines, by the other way that the package has to read them."""
    over_http = request_variables_of([("Host", "a"), *lines])
    head = request_head(encode(nginx(protocol, Asked(lines=[("Host", "a"), *lines]))), DEFAULTS)
    found = {name: value for name, value in head.variables.items() if name.startswith("HTTP_")}
    assert found == over_http


def request_variables_of(lines: list[tuple[str, str]]) -> dict[str, str]:
    text = "GET / HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines) + "\r\n"
    head = admit("GET", "/", "1.1", text)
    return {name: value for name, value in head.variables.items() if name.startswith("HTTP_")}
