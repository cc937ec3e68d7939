"""uwsgi, SCGI and FastCGI through whole connections: bytes as a front server sends them, and as it
never would. Each request has one answer, or is dropped with one line and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from cgi_variables import PARAMS, Asked, nginx
from cgi_variables import encode as as_bytes
from fastcgi_peer import PARAMS as VARIABLES
from fastcgi_peer import STDIN, Record, begin, pair, request, write
from front_connections import Ended, Front, encode
from wire import Site

BODY = b"hello\r\n\0"
MAX_BODY_SIZE = 100_000


def padded(named: dict[str, str], body: bytes = b"") -> bytes:
    """With the most padding, a variable to a record, and the lengths of each in four bytes."""
    content = [
        pair(name.encode(), value.encode("latin-1"), long=True) for name, value in named.items()
    ]
    most = b"\xff" * 255
    return write(
        [
            begin(flags=0)._replace(padding=most),
            *[Record(VARIABLES, 1, piece, most) for piece in content],
            Record(VARIABLES, 1, b"", most),
            *[Record(STDIN, 1, body[at : at + 1], most) for at in range(len(body))],
            Record(STDIN, 1, b"", most),
        ]
    )


each_protocol = pytest.mark.parametrize("name", PARAMS)


def told(name: str, target: str = "/a?b", body: bytes = b"", **more: str) -> dict[str, str]:
    asked = Asked(target, "POST" if body else "GET", length=len(body) if body else None)
    return {**dict(nginx(name, asked)), **more}


def encoded(name: str, target: str = "/a?b", body: bytes = b"", **more: str) -> bytes:
    return encode(name, as_bytes(told(name, target, body, **more)), body)


@pytest.fixture(scope="module")
def fronts() -> Iterator[dict[str, Front]]:
    """One for each protocol."""
    calls: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read().decode("latin-1")
        calls.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} {body}")
        start_response("200 OK", [])
        return [b"ok"]

    with Site(application, threads=1, max_body_size=MAX_BODY_SIZE) as site:
        yield {name: Front(name, site, calls) for name in PARAMS}


WHOLE = Ended((200,), (), (f"POST /a {BODY.decode()}",))


def begins(name: str) -> int:
    """Where the body begins, of a request that is :data:`WHOLE`."""
    data = encoded(name, body=BODY)
    if name != "fastcgi":
        return len(data) - len(BODY)
    return len(write(request(told(name, body=BODY), BODY, keep=False)[:-2]))


some_and_all = pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.soak)])


@each_protocol
@some_and_all
def test_a_request_however_it_is_cut(name: str, step: int, fronts: dict[str, Front]) -> None:
    front, data = fronts[name], encoded(name, body=BODY)
    assert front.send(data) == WHOLE
    assert front.send(*[data[at : at + 1] for at in range(len(data))]) == WHOLE
    for at in range(1, len(data), step):
        assert front.send(data[:at], data[at:], ends=False) == WHOLE, at


@each_protocol
@some_and_all
def test_a_request_that_is_truncated(name: str, step: int, fronts: dict[str, Front]) -> None:
    """Within its variables it is dropped; within its body the front server gets a 400, which its
    client sees if it is still there. No application hears of it."""
    front, data = fronts[name], encoded(name, body=BODY)
    for at in (*range(0, begins(name), step), *range(begins(name), len(data))):
        ended = front.send(data[:at])
        if not at:
            assert ended == Ended()
        elif at < begins(name):
            assert ended == Ended(dropped=("it has ended within the variables of a request",))
        else:
            assert ended == Ended((400,)), at
        assert front.send(data[:at], ends=False) == Ended(), "there may come more"


def test_padding_is_of_no_meaning(fronts: dict[str, Front]) -> None:
    front, data = fronts["fastcgi"], padded(told("fastcgi", body=BODY), BODY)
    assert front.send(data) == WHOLE
    for at in range(1, len(data), 101):
        assert front.send(data[:at], data[at:]) == WHOLE


HTTP = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@each_protocol
def test_bytes_of_something_else(name: str, fronts: dict[str, Front]) -> None:
    """One line that names it, and no answer that could be taken for one."""
    front = fronts[name]
    title = {"uwsgi": "uwsgi", "scgi": "SCGI", "fastcgi": "FastCGI"}[name]
    for data in (HTTP, b"OPTIONS * HTTP/1.0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        for pieces in ((data,), (data[:3], data[3:]), tuple(bytes((byte,)) for byte in data)):
            [line] = front.send(*pieces).dropped
            assert line.startswith(f"HTTP was spoken to a {title} port: "), line
    [line] = front.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").dropped
    assert line.startswith(f"TLS was spoken to a {title} port")
    [line] = front.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + encoded(name)).dropped
    assert line.startswith(f"a PROXY header was sent to a {title} port")
    for other in PARAMS:
        if other != name:
            ended = front.send(encoded(other, body=BODY))
            assert not ended.statuses
            assert len(ended.dropped) == 1
            assert f"this port speaks {title}" in ended.dropped[0]
    for data in (b"\xff" * 100, b"\r\n", b"hello"):
        ended = front.send(data)
        assert (ended.statuses, len(ended.dropped)) == ((), 1), data


class Lie(NamedTuple):
    """A request that says of itself what is not so."""

    body: bytes
    more: dict[str, str]
    status: int


LIES = {
    "a body that is too large": Lie(b"", {"CONTENT_LENGTH": str(MAX_BODY_SIZE + 1)}, 413),
    "2**64 + 5 is not 5": Lie(BODY[:5], {"CONTENT_LENGTH": "18446744073709551621"}, 413),
    "a length with a sign": Lie(BODY, {"CONTENT_LENGTH": "+8"}, 400),
    "a length with an underscore": Lie(BODY, {"CONTENT_LENGTH": "1_0"}, 400),
    "a length with a space": Lie(BODY, {"CONTENT_LENGTH": "8 "}, 400),
    "a length that is another": Lie(BODY, {"HTTP_CONTENT_LENGTH": "9"}, 400),
    "a coding that nobody has taken off": Lie(BODY, {"HTTP_TRANSFER_ENCODING": "gzip"}, 501),
    "a field with a line's end": Lie(BODY, {"HTTP_X": "a\r\nHTTP_Y: b"}, 400),
    "no method": Lie(BODY, {"REQUEST_METHOD": ""}, 400),
    "a method of two words": Lie(BODY, {"REQUEST_METHOD": "GET /"}, 400),
    "no path": Lie(BODY, {"REQUEST_URI": "a"}, 400),
    "no address": Lie(BODY, {"REMOTE_ADDR": "a"}, 400),
    "no host": Lie(BODY, {"HTTP_HOST": "a/b"}, 400),
    "the server's own name": Lie(BODY, {"wsgi.input": "a"}, 400),
    "a field in lower case": Lie(BODY, {"http_proxy": "a"}, 400),
    "a tunnel": Lie(BODY, {"REQUEST_METHOD": "CONNECT", "REQUEST_URI": "a:1"}, 501),
    "a long target": Lie(BODY, {"REQUEST_URI": "/" + "a" * 8190}, 414),
    "64 KB of query": Lie(BODY, {"QUERY_STRING": "a" * 64000}, 414),
    "64 KB of a field": Lie(BODY, {"HTTP_COOKIE": "a" * 64000}, 431),
    "64 KB of a name": Lie(BODY, {"HTTP_" + "A" * 64000: ""}, 431),
    "many fields": Lie(BODY, {f"HTTP_{number}": "" for number in range(100)}, 431),
}


@each_protocol
@pytest.mark.parametrize("what", LIES)
def test_what_is_not_so_has_one_refusal(name: str, what: str, fronts: dict[str, Front]) -> None:
    front, lie = fronts[name], LIES[what]
    data = encode(name, as_bytes(told(name, body=lie.body, **lie.more)), lie.body)
    assert front.send(data) == Ended((lie.status,))
    middle = len(data) // 2
    assert front.send(data[:middle], data[middle:], ends=False) == Ended((lie.status,))


@each_protocol
def test_a_body_that_is_shorter_or_longer(name: str, fronts: dict[str, Front]) -> None:
    """More is no other request: of uwsgi and SCGI it is nobody's, in FastCGI it is seen."""
    front, data = fronts[name], encoded(name, body=BODY)
    if name == "fastcgi":
        for wrong in (BODY[:-1], BODY + b"x"):
            data = encode(name, as_bytes(told(name, body=BODY)), wrong)
            assert front.send(data) == Ended((400,))
    else:
        assert front.send(data[:-1]) == Ended((400,))
        for pieces in ((data + b"x",), (data + data,), (data, HTTP)):
            assert front.send(*pieces) == WHOLE


def test_nul_is_refused_where_it_can_be_said(fronts: dict[str, Front]) -> None:
    for name in ("uwsgi", "fastcgi"):
        assert fronts[name].send(encoded(name, REMOTE_USER="a\0b")) == Ended((400,))


def test_a_name_that_none_can_have(fronts: dict[str, Front]) -> None:
    line = "a variable has no name, or one that no variable can have"
    for name, front in fronts.items():
        for wrong in ("A=B", "A B", "\xe9"):
            assert front.send(encoded(name, **{wrong: "a"})) == Ended(dropped=(line,))


def test_refusals_can_be_read_and_name_the_variable(fronts: dict[str, Front]) -> None:
    """By who has configured the front server."""
    for name, front in fronts.items():
        ended, sent = front.said(encoded(name, REQUEST_METHOD=""))
        assert ended == Ended((400,))
        assert b"REQUEST_METHOD is missing: in nginx, include uwsgi_params" in sent


WRONG = [0, 1, 2, 5, 11, 30, 32, 44, 48, 58, 127, 128, 255]


@each_protocol
@some_and_all
def test_any_byte_may_be_another(name: str, step: int, fronts: dict[str, Front]) -> None:
    """One answer, or one line, whatever it makes of the request; nothing is said twice."""
    front, data = fronts[name], encoded(name, body=BODY)
    for at in range(0, len(data), step):
        byte = WRONG[at % len(WRONG)]
        ended = front.send(data[:at] + bytes((byte,)) + data[at + 1 :])
        said = len(ended.statuses) + len(ended.dropped)
        # FastCGI: of a request that never begins, records are passed over (section 3.3).
        assert said == 1 or (name == "fastcgi" and said == 0), (at, byte, ended)
        assert len(ended.called) == ended.statuses.count(200), (at, byte, ended)
