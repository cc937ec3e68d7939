"""The fast path declines, or says exactly what h11 and admit say."""

from __future__ import annotations

import itertools
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example
from hypothesis import strategies as st
from properties import examples
from request_heads import (
    BROWSER,
    EDITS,
    PARTS,
    TWO_HEADS,
    VALUES,
    bytes_of,
    forget,
    parse,
    read,
    with_h11,
)

from wsgi_async.errors import HTTPError
from wsgi_async.http.limits import Limits
from wsgi_async.http.request import RequestHead
from wsgi_async.http1 import fast_path
from wsgi_async.http1 import reader as http1
from wsgi_async.http1.fast_path import MAX_FIELDS
from wsgi_async.http1.reader import RequestReader

UPLOAD = b"PUT /x HTTP/1.1\r\nhost:a\r\nContent-Length: 007\r\nConnection: close\r\n\r\n"


def check(raw: bytes) -> None:
    """As the memory is, and again with the lines of `raw` in it: the verdict is the same."""
    head = parse(raw)
    assert parse(raw) == head
    if head is not None:
        judged = with_h11(raw)
        assert judged is not None
        assert head == judged
        assert head.fields == judged.fields
        assert type(head) is RequestHead


NAMES = st.sampled_from(
    [
        *(b"Host", b"host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Expect"),
        *(b"Upgrade", b"Cookie", b"X-A", b"x-a", b"X_A", b"Accept", b"Content-Type"),
        *(b"content-type", b"transfer-encoding"),
    ]
)


FIELDS = st.builds(
    lambda name, gap, value, end: name + gap + value + end,
    NAMES,
    st.sampled_from([b": ", b": ", b": ", b":", b":\t", b":  ", b" : "]),
    VALUES,
    st.sampled_from([b"\r\n"] * 4 + [b" \r\n", b"\t\r\n", b"\n", b"\r\n "]),
)


HEADS = st.builds(
    lambda method, target, version, fields: (
        b"%b %b %b\r\nHost: a\r\n%b\r\n" % (method, target, version, b"".join(fields))
    ),
    st.sampled_from([b"GET", b"POST", b"OPTIONS", b"CONNECT", b"G_T", b"get"]),
    st.one_of(
        st.sampled_from([b"/", b"/a?b", b"/?", b"/a?b?c", b"//b/c", b"*", b"http://b/c", b"/#"]),
        st.binary(max_size=5).map(lambda tail: b"/" + tail),
    ),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0"]),
    st.lists(FIELDS, max_size=5),
)


@examples(1500, st.one_of(st.binary(), st.lists(PARTS).map(b"".join), HEADS))
@example(BROWSER)
@example(UPLOAD)
def test_declines_or_agrees_with_h11(raw: bytes) -> None:
    check(raw)


@examples(1500, st.sampled_from([BROWSER, UPLOAD]), EDITS)
def test_declines_or_agrees_with_h11_on_damaged_heads(
    raw: bytes, edits: list[tuple[int, int, bytes]]
) -> None:
    for at, cut, new in edits:
        raw = raw[:at] + new + raw[at + cut :]
    check(raw)


@examples(1500, TWO_HEADS, st.integers(0, 3), st.booleans())
def test_what_is_remembered_does_not_change_a_verdict(
    heads: list[list[bytes]], room: int, knows_names: bool
) -> None:
    """Lines of one head in another, with a memory that is full after a few of them."""
    raws = [b"GET / HTTP/1.1\r\n%b\r\n\r\n" % b"\r\n".join(lines) for lines in heads]
    forget()
    if knows_names:
        with_h11(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\nCookie: a\r\nAccept: b\r\n\r\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_path._lines, "limit", max(room, 1) if room < 3 else 1024)
        found = [parse(raw) for raw in raws]
        for raw in raws:
            check(raw)
            assert len(fast_path._lines) <= fast_path._lines.limit
    for raw, head in zip(raws, found, strict=True):
        forget()
        assert parse(raw) == head


def test_lines_that_come_again_are_remembered_and_no_others() -> None:
    forget()
    secrets = b"Cookie: a\r\nAuthorization: Basic b\r\nReferer: http://c/\r\nX-Request-ID: d\r\n"
    rest = b"Content-Length: 0\r\nX-Forwarded-For: 192.0.2.1\r\nHost: a\r\nAccept:b\r\n"
    assert parse(b"POST / HTTP/1.1\r\n%bUser-Agent: %b\r\n\r\n" % (secrets + rest, b"x" * 300))
    assert fast_path._lines == {"Host: a": ("HTTP_HOST", "a"), "Accept:b": ("HTTP_ACCEPT", "b")}


def test_what_is_remembered_is_bounded() -> None:
    forget()
    for number in range(2 * fast_path._lines.limit):
        assert parse(b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: %d\r\n\r\n" % number)
        assert len(fast_path._lines) <= fast_path._lines.limit


def test_what_is_refused_is_not_remembered() -> None:
    forget()
    for line in (b"Host: a b", b"Host: ", b"Connection: x", b"TE: a\0", b"Accept: a\nb"):
        assert parse(b"GET / HTTP/1.1\r\n%b\r\nHost: a\r\n\r\n" % line) is None
    assert set(fast_path._lines) <= {"Host: a"}


def test_threads_share_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_path._lines, "limit", 3)
    raws = [BROWSER.replace(b"rv:128", b"rv:%d" % number) for number in range(20)]
    expected = [with_h11(raw) for raw in raws]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as executor:
            done = [executor.submit(lambda: [parse(raw) for raw in raws * 20]) for _ in range(4)]
        assert all(future.result() == expected * 20 for future in done)
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("row", range(16))
def test_declines_or_agrees_with_h11_on_every_byte_everywhere(row: int) -> None:
    raw = UPLOAD.replace(b"/x", b"/x?y")
    for byte, at in itertools.product(bytes_of(row), range(len(raw))):
        check(raw[:at] + byte + raw[at:])
        check(raw[:at] + byte + raw[at + 1 :])


@pytest.mark.parametrize("known", [False, True], ids=["new lines", "known lines"])
@pytest.mark.parametrize("second", ["Content-Type: a/b", "content-type: c/d", "Content-Type:e/f"])
@pytest.mark.parametrize("parser", ["auto", "h11"])
def test_two_types_of_content_are_refused_by_either_parser(
    parser: str, second: str, known: bool
) -> None:
    forget()
    one = "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nContent-Length: 1\r\nX: y\r\n"
    http1._heads.clear()
    reader = RequestReader(Limits(0, 0, 0, 0), parser)
    if known:  # also as the shape of a kept connection, with the second where another field was
        for field in ("X-A: b", "X-A: c", second.replace("ontent", "ondent")):
            reader.receive_data(f"{one}{field}\r\n\r\nx".encode())
            for _ in range(3):
                assert reader.next_event()
        if parser == "auto":
            assert parse(f"GET / HTTP/1.1\r\nHost: a\r\n{second}\r\n\r\n".encode())
    raw = f"{one}{second}\r\n\r\nx".encode()
    reader.receive_data(raw)
    with pytest.raises(HTTPError) as caught:
        reader.next_event()
    assert str(caught.value) == "400 Bad Request: There is more than one Content-Type field"
    with pytest.raises(HTTPError) as caught:
        RequestReader(Limits(0, 0, 0, 0), parser).lone_head(raw[:-1])
    assert caught.value.status == 400


@pytest.mark.parametrize("character", '"<>\\^`{|}')
def test_what_no_uri_holds_unencoded_is_accepted_by_either_parser(character: str) -> None:
    """Browsers send some of them as they are; an application sees them in the path."""
    raw = f"GET /a{character}b?c{character}d HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    head = read(raw)
    assert head == with_h11(raw)
    assert head.variables["PATH_INFO"] == f"/a{character}b"
    assert head.variables["QUERY_STRING"] == f"c{character}d"


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n",
        b"GET /?a HTTP/1.1\r\nHost:a\r\n\r\n",
        b"DELETE //x/ HTTP/1.1\r\nX-A: b\tc  d\xe9\r\nhost: [::1]\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        BROWSER,
        UPLOAD,
        b"GET / HTTP/1.1\r\nHost: a\r\n"
        + b"".join(b"X-%d: y\r\n" % number for number in range(MAX_FIELDS - 1))
        + b"\r\n",
    ],
)
def test_takes_ordinary_heads(raw: bytes) -> None:
    head = parse(raw)
    assert head is not None
    assert head == with_h11(raw)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", id="1.0"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="no Host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", id="bad Host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", id="two Hosts"),
        pytest.param(b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", id="absolute-form"),
        pytest.param(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", id="asterisk-form"),
        pytest.param(b"CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", id="CONNECT"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", id="chunked"
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
            id="Expect",
        ),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n", id="Upgrade"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX_A: b\r\n\r\n", id="underscore"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\nx: c\r\n\r\n", id="repeated"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\n\r\n", id="Connection"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", id="length"),
        pytest.param(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", id="empty line before"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET", id="bytes after"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n", id="not complete"),
        pytest.param(b"", id="nothing"),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: a\r\n"
            + b"".join(b"X-%d: y\r\n" % number for number in range(MAX_FIELDS))
            + b"\r\n",
            id="many fields",
        ),
    ],
)
def test_declines(raw: bytes) -> None:
    assert parse(raw) is None
