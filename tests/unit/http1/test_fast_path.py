"""The fast lane declines, or says exactly what h11 and admit say."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wsgi_async.errors import HTTPError
from wsgi_async.http import variables
from wsgi_async.http.limits import Limits
from wsgi_async.http.request import RequestHead
from wsgi_async.http1 import fast_path as fastlane
from wsgi_async.http1 import reader as http1
from wsgi_async.http1.fast_path import MAX_FIELDS, MISSES, FastLane, Shape, read_lines, shape_of
from wsgi_async.http1.reader import RequestReader

BROWSER = (
    b"GET /a/b%20c?d=e HTTP/1.1\r\nHost: localhost:8000\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: de,en-US;q=0.7,en;q=0.3\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Connection: keep-alive\r\nCookie: a=b; c=d\r\nUpgrade-Insecure-Requests: 1\r\n"
    b"Sec-Fetch-Dest: document\r\nPriority: u=0, i\r\n\r\n"
)
UPLOAD = b"PUT /x HTTP/1.1\r\nhost:a\r\nContent-Length: 007\r\nConnection: close\r\n\r\n"


def parse(raw: bytes) -> RequestHead | None:
    """What the lane makes of a connection's first head."""
    return FastLane().parse(raw)


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


def shape_like(raw: bytes) -> Shape:
    shape = shape_of(read(raw))
    assert shape is not None
    return shape


def read(raw: bytes) -> RequestHead:
    head = parse(raw)
    assert head is not None
    return head


def forget() -> None:
    fastlane._lines.clear()
    fastlane._shapes.clear()
    variables.KEYS.clear()


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
NAMES = st.sampled_from(
    [
        *(b"Host", b"host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Expect"),
        *(b"Upgrade", b"Cookie", b"X-A", b"x-a", b"X_A", b"Accept", b"Content-Type"),
        *(b"content-type", b"transfer-encoding"),
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
EDITS = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 3), st.one_of(PARTS, st.binary(max_size=2))),
    max_size=3,
)


@given(st.one_of(st.binary(), st.lists(PARTS).map(b"".join), HEADS))
@example(BROWSER)
@example(UPLOAD)
@settings(max_examples=1500, deadline=None)
def test_declines_or_agrees_with_h11(raw: bytes) -> None:
    check(raw)


@given(st.sampled_from([BROWSER, UPLOAD]), EDITS)
@settings(max_examples=1500, deadline=None)
def test_declines_or_agrees_with_h11_on_damaged_heads(
    raw: bytes, edits: list[tuple[int, int, bytes]]
) -> None:
    for at, cut, new in edits:
        raw = raw[:at] + new + raw[at + cut :]
    check(raw)


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


@given(TWO_HEADS, st.integers(0, 3), st.booleans())
@settings(max_examples=1500, deadline=None)
def test_what_is_remembered_does_not_change_a_verdict(
    heads: list[list[bytes]], room: int, knows_names: bool
) -> None:
    """Lines of one head in another, with a memory that is full after a few of them."""
    raws = [b"GET / HTTP/1.1\r\n%b\r\n\r\n" % b"\r\n".join(lines) for lines in heads]
    forget()
    if knows_names:
        with_h11(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\nCookie: a\r\nAccept: b\r\n\r\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fastlane._lines, "limit", max(room, 1) if room < 3 else 1024)
        found = [parse(raw) for raw in raws]
        for raw in raws:
            check(raw)
            assert len(fastlane._lines) <= fastlane._lines.limit
    for raw, head in zip(raws, found, strict=True):
        forget()
        assert parse(raw) == head


def test_lines_that_come_again_are_remembered_and_no_others() -> None:
    forget()
    secrets = b"Cookie: a\r\nAuthorization: Basic b\r\nReferer: http://c/\r\nX-Request-ID: d\r\n"
    rest = b"Content-Length: 0\r\nX-Forwarded-For: 192.0.2.1\r\nHost: a\r\nAccept:b\r\n"
    assert parse(b"POST / HTTP/1.1\r\n%bUser-Agent: %b\r\n\r\n" % (secrets + rest, b"x" * 300))
    assert fastlane._lines == {"Host: a": ("HTTP_HOST", "a"), "Accept:b": ("HTTP_ACCEPT", "b")}


def test_what_is_remembered_is_bounded() -> None:
    forget()
    for number in range(2 * fastlane._lines.limit):
        assert parse(b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: %d\r\n\r\n" % number)
        assert len(fastlane._lines) <= fastlane._lines.limit


def test_what_is_refused_is_not_remembered() -> None:
    forget()
    for line in (b"Host: a b", b"Host: ", b"Connection: x", b"TE: a\0", b"Accept: a\nb"):
        assert parse(b"GET / HTTP/1.1\r\n%b\r\nHost: a\r\n\r\n" % line) is None
    assert set(fastlane._lines) <= {"Host: a"}


def test_threads_share_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastlane._lines, "limit", 3)
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


@pytest.mark.parametrize("byte", [bytes([number]) for number in range(256)])
def test_declines_or_agrees_with_h11_on_every_byte_everywhere(byte: bytes) -> None:
    raw = UPLOAD.replace(b"/x", b"/x?y")
    for at in range(len(raw)):
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


# --- by its shape


POST = (
    b"POST /a?b HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nCookie: c=d\r\nX-Request-ID: 1\r\n"
    b"Connection: keep-alive\r\nContent-Length: 5\r\nUser-Agent: x\r\n\r\n"
)
VARIED = st.lists(st.one_of(VALUES, st.binary(max_size=3), PARTS), min_size=5, max_size=5)


def agrees(shape: Shape, raw: bytes) -> bool:
    """Whether it reads `raw`; if it does, as line by line."""
    text = raw.decode("latin-1")
    head = shape.read(text)
    assert head is None or head == read_lines(text)
    return head is not None


@pytest.mark.parametrize("byte", [bytes([number]) for number in range(256)])
def test_a_shape_declines_or_agrees_on_every_byte_everywhere(byte: bytes) -> None:
    shape = shape_like(POST)
    for at in range(len(POST)):
        agrees(shape, POST[:at] + byte + POST[at:])
        agrees(shape, POST[:at] + byte + POST[at + 1 :])
        agrees(shape, POST[:at])


@given(EDITS)
@settings(max_examples=1500, deadline=None)
def test_a_shape_declines_or_agrees_on_damaged_heads(edits: list[tuple[int, int, bytes]]) -> None:
    shape, raw = shape_like(BROWSER), BROWSER
    for at, cut, new in edits:
        raw = raw[:at] + new + raw[at + cut :]
    agrees(shape, raw)


@given(VARIED)
@settings(max_examples=1500, deadline=None)
def test_a_shape_declines_or_agrees_where_only_values_differ(values: list[bytes]) -> None:
    target, cookie, number, length, more = values
    raw = POST.replace(b"/a?b", b"/" + target).replace(b"c=d", cookie)
    raw = raw.replace(b"ID: 1", b"ID: " + number).replace(b"Length: 5", b"Length: " + length)
    agrees(shape_like(POST), raw)
    agrees(shape_like(POST), raw + more)


@given(TWO_HEADS, st.integers(0, 3))
@settings(max_examples=1500, deadline=None)
def test_the_heads_before_do_not_change_a_verdict(heads: list[list[bytes]], room: int) -> None:
    """A connection whose heads are alike for a while and then others, in any order."""
    raws = [b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % b"\r\n".join(ls) for ls in heads]
    forget()
    lane = FastLane()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fastlane._shapes, "limit", room or 256)
        patch.setattr(fastlane._lines, "limit", room or 1024)
        for raw in [raw for raw in raws for _ in range(3)] + raws * 3:
            assert lane.parse(raw) == read_lines(raw.decode("latin-1"))


def another(number: int, raw: bytes = POST) -> bytes:
    """A head that differs from `raw` where heads do."""
    raw = raw.replace(b"/a?b", b"/%d?%d" % (number, number)).replace(b"c=d", b"c=%d" % number)
    return raw.replace(b"ID: 1", b"ID: %d" % number).replace(b"Length: 5", b"Length: %d" % number)


def without_lines(lane: FastLane, raw: bytes) -> RequestHead | None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fastlane, "read_lines", lambda text: None)
        return lane.parse(raw)


def test_a_connections_second_head_teaches_the_shape_of_the_later_ones() -> None:
    lane = FastLane()
    lane.parse(another(1))
    assert lane._shape is None
    lane.parse(another(2))
    heads = [without_lines(lane, another(number)) for number in range(3, 100)]
    for number, head in enumerate(heads, 3):  # none has changed with those after it
        assert head is not None
        assert head == with_h11(another(number))
        assert head.content_length == number
        assert head.variables["HTTP_COOKIE"] == f"c={number}"


def test_a_head_of_another_shape_is_read_by_lines_and_teaches_another() -> None:
    lane = FastLane()
    for number in range(3):
        lane.parse(another(number))
    others = [another(number, POST.replace(b"*/*", b"text/css")) for number in range(2)]
    assert lane.parse(others[0]) == with_h11(others[0])
    assert without_lines(lane, others[1]) == with_h11(others[1])


@pytest.mark.parametrize(
    ("line", "other"),
    [
        (b"Host: " + b"a." * 130 + b"b", b"Host: evil/x y@z"),
        (b"Connection: " + b"x" * 300, b"Connection: close, x"),
        (b"TE: trailers", b"Transfer-Encoding: chunked"),
    ],
)
def test_what_decides_about_a_head_is_never_a_value_that_may_differ(
    line: bytes, other: bytes
) -> None:
    """Also where the line is not remembered: it is too long, or the memory is full."""
    raw = b"GET / HTTP/1.1\r\n%bAccept: */*\r\n%b\r\n\r\n"
    host = b"" if b"Host" in line else b"Host: a\r\n"
    lane = FastLane()
    for _ in range(3):
        assert lane.parse(raw % (host, line)) == read_lines((raw % (host, line)).decode("latin-1"))
    assert lane.parse(raw % (host, other)) is None


def test_a_head_that_is_declined_does_not_end_the_shape() -> None:
    """As the first look at several requests in one piece is."""
    lane = FastLane()
    lane.parse(another(1))
    lane.parse(another(2))
    for number in range(2 * MISSES):
        assert lane.parse(another(number) + another(number)) is None
        assert without_lines(lane, another(number)) == with_h11(another(number))


def test_a_shape_that_would_take_much_memory_is_not_kept() -> None:
    names = fastlane._COMING_AGAIN.split()[1:12]
    lines = b"".join(b"%b: %b\r\n" % (name.encode(), b"x" * 200) for name in names)
    raw = b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % lines.replace(b"Connection:", b"X:")
    forget()
    assert shape_of(read(raw)) is None
    assert not fastlane._shapes


def test_a_connection_whose_heads_are_never_alike_is_not_asked_for_a_shape_any_more() -> None:
    lane = FastLane()
    for number in range(MISSES + 1):
        raw = POST.replace(b"Agent: x", b"Agent: %d" % number)
        assert lane.parse(raw) == with_h11(raw)
    for number in range(3):
        assert lane.parse(another(number)) == with_h11(another(number))
        assert without_lines(lane, another(number)) is None


def test_a_hit_begins_the_count_of_misses_anew() -> None:
    lane = FastLane()
    others = [POST.replace(b"Agent: x", b"Agent: %d" % number) for number in range(MISSES + 3)]
    for raw in others:
        lane.parse(raw)
        lane.parse(raw)
        if raw is not others[0]:
            assert without_lines(lane, raw) == with_h11(raw)


def test_no_shape_holds_a_value_that_may_differ() -> None:
    shape = shape_like(BROWSER)
    held = [shape._first, *(text for pair in shape._others for text in pair)]
    held += shape._variables.values()
    assert not [text for text in held if "a=b" in text or "c?d" in text or "c=d" in text]


def test_connections_with_like_heads_share_one_shape_and_shapes_are_bounded() -> None:
    forget()
    assert shape_like(another(1)) is shape_like(another(2))
    assert shape_like(another(1).replace(b"POST", b"PUT")) is not shape_like(another(1))
    for number in range(2 * fastlane._shapes.limit):
        shape_like(POST.replace(b"Agent: x", b"Agent: %d" % number))
        assert len(fastlane._shapes) <= fastlane._shapes.limit


@pytest.mark.parametrize(
    "line", [b"Cookie:c=d", b"Content-Length:5", b"User-Agent: " + b"x" * 300, b"X-A:b: c"]
)
def test_a_head_with_an_unusual_line_has_no_shape_or_a_right_one(line: bytes) -> None:
    raw = b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % line
    forget()
    lane = FastLane()
    for _ in range(5):
        assert lane.parse(raw) == with_h11(raw) is not None


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
