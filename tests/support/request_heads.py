"""Request heads: ordinary, odd and damaged, by either parser."""

from __future__ import annotations

from hypothesis import strategies as st

from wsgi_async.errors import HTTPError
from wsgi_async.http import variables
from wsgi_async.http.limits import Limits
from wsgi_async.http.request import RequestHead
from wsgi_async.http1 import fast_path
from wsgi_async.http1 import reader as http1
from wsgi_async.http1.fast_path import FastPath
from wsgi_async.http1.reader import RequestReader

BROWSER = (
    b"GET /a/b%20c?d=e HTTP/1.1\r\nHost: localhost:8000\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: de,en-US;q=0.7,en;q=0.3\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Connection: keep-alive\r\nCookie: a=b; c=d\r\nUpgrade-Insecure-Requests: 1\r\n"
    b"Sec-Fetch-Dest: document\r\nPriority: u=0, i\r\n\r\n"
)


def parse(raw: bytes) -> RequestHead | None:
    """What the lane makes of a connection's first head."""
    return FastPath().parse(raw)


def with_h11(raw: bytes) -> RequestHead | None:
    """What the reader makes of `raw` without the lane: its head, if that is all of it."""
    http1._heads.clear()
    reader = RequestReader(Limits(0, 0, 0, 0), "h11")
    reader.receive_data(raw)
    try:
        event = reader.next_event()
    except HTTPError:
        return None
    return event if isinstance(event, RequestHead) and not reader.buffered else None


def read(raw: bytes) -> RequestHead:
    head = parse(raw)
    assert head is not None
    return head


def forget() -> None:
    fast_path._lines.clear()
    fast_path._shapes.clear()
    variables.KEYS.clear()


def bytes_of(row: int) -> list[bytes]:
    """The 16 bytes whose first hexadecimal digit that is."""
    return [bytes([16 * row + column]) for column in range(16)]


PARTS = st.sampled_from(
    [
        *(
            b"GET",
            b"POST",
            b"CONNECT",
            b"OPTIONS",
            b"G_T",
            b" ",
            b"  ",
            b"\t",
            b"/",
            b"/a?b",
            b"//",
        ),
        *(
            b"*",
            b"?",
            b"#",
            b"%",
            b"http://b/c",
            b"HTTP/1.1",
            b"HTTP/1.0",
            b"HTTP/1.2",
            b"HTTP/2.0",
        ),
        *(b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"\0", b"\x0b", b"\x7f", b"\x85", b"\xa0", b"\xff"),
        *(b"Host", b"host", b"Content-Length", b"content-length", b"Transfer-Encoding", b"Expect"),
        *(b"Connection", b"Upgrade", b"Cookie", b"X_A", b"X-A", b": ", b":", b" :", b":\t", b","),
        *(b"a", b"a:80", b"[::1]", b"a b", b"0", b"5", b"5, 5", b"+5", b"1_0", b"\xb2", b"chunked"),
        *(b"close", b"keep-alive", b"Keep-Alive", b"100-continue", b"x=y"),
    ]
)


VALUES = st.one_of(
    st.sampled_from(
        [
            *(
                b"a",
                b"b:80",
                b"[::1]",
                b"c d",
                b"u@b",
                b"0",
                b"12",
                b"5,5",
                b"9" * 19,
                b"",
                b"\xe9",
            ),
            *(b"close", b"keep-alive", b"Close", b"KEEP-ALIVE", b"close, x", b"100-continue"),
            b"chunked",
        ]
    ),
    st.binary(max_size=6),
)


EDITS = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 3), st.one_of(PARTS, st.binary(max_size=2))),
    max_size=3,
)


REMEMBERED = st.sampled_from(
    [
        *(b"Host: a", b"host: b:80", b"HOST:c", b"Accept: */*", b"accept: */*", b"Accept:x"),
        *(b"Connection: close", b"connection: keep-alive", b"Content-Type: text/plain"),
        *(b"content-type: text/plain", b"Content-Type:text/html"),
        *(b"User-Agent: x y", b"Sec-Fetch-Mode: cors", b"Via: 1.1 a", b"Pragma: no-cache"),
    ]
)


ODD = st.sampled_from(
    [
        *(
            b"X-A: b",
            b"x-a: c",
            b"X-A:b",
            b"X-A:  b",
            b"X-A:\tb",
            b"X-A: b ",
            b"X-A: b\t",
            b"X-A: ",
        ),
        *(b"X-A:", b"X-A", b": b", b":b", b"", b" ", b"X A: b", b"X-A : b", b" X-A: b", b"X_A: b"),
        *(b"X-\xe9: b", b"X-A: b\tc", b"X-A: \xe9", b"X-A: \xa0b", b"X-A: b\x85", b"X-A: b\xad"),
        *(
            b"X-A: b\rc",
            b"X-A: b\nc",
            b"X-A: b\n",
            b"\rX-A: b",
            b"X-A: \0",
            b"X-A: \x7f",
            b"X-A:b: c",
        ),
        *(b"X-A: b\nHost: a", b"Accept: a\nHost: a", b"Accept: \xe9", b"Accept: a\tb", b"Accept: "),
        *(b"Host: a b", b"Host: ", b"Connection: x", b"Cookie: a=b", b"cookie:c", b"Proxy: p"),
        *(b"Content-Length: 5", b"Content-Length: 05", b"content-length:5", b"Content-Length: +5"),
        *(b"Expect: 100-continue", b"Upgrade: h2c", b"Transfer-Encoding: chunked", b"TE: trailers"),
    ]
)


LINES = st.lists(st.one_of(REMEMBERED, REMEMBERED, ODD), max_size=6)
TWO_HEADS = st.lists(LINES, min_size=2, max_size=4)
