"""The fast path by the shape of earlier heads: no verdict of its own, and no more memory."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import strategies as st
from properties import examples
from request_heads import BROWSER, EDITS, PARTS, TWO_HEADS, VALUES, bytes_of, forget, read, with_h11

from wsgi_async.http import recurring
from wsgi_async.http.request import RequestHead
from wsgi_async.http1 import fast_path
from wsgi_async.http1.fast_path import MISSES, FastPath, Shape, read_lines, shape_of


def shape_like(raw: bytes) -> Shape:
    shape = shape_of(read(raw))
    assert shape is not None
    return shape


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


@pytest.mark.parametrize("row", range(16))
def test_a_shape_declines_or_agrees_on_every_byte_everywhere(row: int) -> None:
    shape = shape_like(POST)
    for byte, at in itertools.product(bytes_of(row), range(len(POST))):
        agrees(shape, POST[:at] + byte + POST[at:])
        agrees(shape, POST[:at] + byte + POST[at + 1 :])
        agrees(shape, POST[:at])


@examples(1500, EDITS)
def test_a_shape_declines_or_agrees_on_damaged_heads(edits: list[tuple[int, int, bytes]]) -> None:
    shape, raw = shape_like(BROWSER), BROWSER
    for at, cut, new in edits:
        raw = raw[:at] + new + raw[at + cut :]
    agrees(shape, raw)


@examples(1500, VARIED)
def test_a_shape_declines_or_agrees_where_only_values_differ(values: list[bytes]) -> None:
    target, cookie, number, length, more = values
    raw = POST.replace(b"/a?b", b"/" + target).replace(b"c=d", cookie)
    raw = raw.replace(b"ID: 1", b"ID: " + number).replace(b"Length: 5", b"Length: " + length)
    agrees(shape_like(POST), raw)
    agrees(shape_like(POST), raw + more)


@examples(1500, TWO_HEADS, st.integers(0, 3))
def test_the_heads_before_do_not_change_a_verdict(heads: list[list[bytes]], room: int) -> None:
    """A connection whose heads are alike for a while and then others, in any order."""
    raws = [b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % b"\r\n".join(ls) for ls in heads]
    forget()
    lane = FastPath()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_path._shapes, "limit", room or 256)
        patch.setattr(fast_path._lines, "limit", room or 1024)
        for raw in [raw for raw in raws for _ in range(3)] + raws * 3:
            assert lane.parse(raw) == read_lines(raw.decode("latin-1"))


def another(number: int, raw: bytes = POST) -> bytes:
    """A head that differs from `raw` where heads do."""
    raw = raw.replace(b"/a?b", b"/%d?%d" % (number, number)).replace(b"c=d", b"c=%d" % number)
    return raw.replace(b"ID: 1", b"ID: %d" % number).replace(b"Length: 5", b"Length: %d" % number)


def without_lines(lane: FastPath, raw: bytes) -> RequestHead | None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_path, "read_lines", lambda text: None)
        return lane.parse(raw)


def test_a_connections_second_head_teaches_the_shape_of_the_later_ones() -> None:
    lane = FastPath()
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
    lane = FastPath()
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
    lane = FastPath()
    for _ in range(3):
        assert lane.parse(raw % (host, line)) == read_lines((raw % (host, line)).decode("latin-1"))
    assert lane.parse(raw % (host, other)) is None


def test_a_head_that_is_declined_does_not_end_the_shape() -> None:
    """As the first look at several requests in one piece is."""
    lane = FastPath()
    lane.parse(another(1))
    lane.parse(another(2))
    for number in range(2 * MISSES):
        assert lane.parse(another(number) + another(number)) is None
        assert without_lines(lane, another(number)) == with_h11(another(number))


def test_a_shape_that_would_take_much_memory_is_not_kept() -> None:
    names = recurring._NAMES.split()[1:12]
    lines = b"".join(b"%b: %b\r\n" % (name.encode(), b"x" * 200) for name in names)
    raw = b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % lines.replace(b"Connection:", b"X:")
    forget()
    assert shape_of(read(raw)) is None
    assert not fast_path._shapes


def test_a_connection_whose_heads_are_never_alike_is_not_asked_for_a_shape_any_more() -> None:
    lane = FastPath()
    for number in range(MISSES + 1):
        raw = POST.replace(b"Agent: x", b"Agent: %d" % number)
        assert lane.parse(raw) == with_h11(raw)
    for number in range(3):
        assert lane.parse(another(number)) == with_h11(another(number))
        assert without_lines(lane, another(number)) is None


def test_a_hit_begins_the_count_of_misses_anew() -> None:
    lane = FastPath()
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
    for number in range(2 * fast_path._shapes.limit):
        shape_like(POST.replace(b"Agent: x", b"Agent: %d" % number))
        assert len(fast_path._shapes) <= fast_path._shapes.limit


@pytest.mark.parametrize(
    "line", [b"Cookie:c=d", b"Content-Length:5", b"User-Agent: " + b"x" * 300, b"X-A:b: c"]
)
def test_a_head_with_an_unusual_line_has_no_shape_or_a_right_one(line: bytes) -> None:
    raw = b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % line
    forget()
    lane = FastPath()
    for _ in range(5):
        assert lane.parse(raw) == with_h11(raw) is not None
