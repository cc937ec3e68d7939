"""Bytes that are no request: what the client is told, and what the log says of their cause."""

from __future__ import annotations

import h11
import pytest
from corpus import DEFAULTS, read
from wire import Site

from wsgi_async.http1.diagnosis import foreign_protocol, sentence_for

HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(256))
V2 = b"\r\n\r\n\0\r\nQUIT\n" + b"\x21\x11\0\x0c" + bytes(12)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"

FOREIGN = [
    ("TLS", HELLO, 400, ("looks like TLS", "http:// and not https://")),
    ("TLS, its first byte", HELLO[:1], 400, ("looks like TLS",)),
    ("PROXY 1", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + GET, 400, ("version 1", "send-proxy;")),
    ("PROXY 1, unknown", b"PROXY UNKNOWN\r\n" + GET, 400, ("version 1 of the PROXY protocol",)),
    ("PROXY 1, cut", b"PROXY TCP4 1\n", 400, ("version 1 of the PROXY protocol",)),
    ("PROXY 2", V2 + GET, 400, ("version 2 of the PROXY protocol", "send-proxy-v2;")),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), 505, ("HTTP/2 without TLS",)),
    ("HTTP/2, the preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, ("HTTP/2 without TLS",)),
    ("uwsgi", b"\0\x20\0\0\x0e\0REQUEST_METHOD\x03\0GET", 400, ("use proxy_pass", "uwsgi_pass")),
    ("FastCGI", b"\x01\x01\0\x01\0\x08\0\0\0\x01\0\0\0\0\0\0", 400, ("fastcgi_pass",)),
    ("no token", b"(GET / HTTP/1.1\r\n", 400, ()),
    ("an empty request line", b"\r\n(", 400, ()),
    ("a method that begins so", b"PROXY\r\n\r\n", 400, ()),
    ("another version", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, ()),
    ("a byte of TLS after a CRLF", b"\r\n\x16\x03", 400, ()),
    ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n\r\n", 400, ()),
]
foreign = pytest.mark.parametrize(
    ("raw", "status", "words"), [case[1:] for case in FOREIGN], ids=[case[0] for case in FOREIGN]
)


@foreign
@pytest.mark.parametrize("parser", ["auto", "h11"])
def test_the_cause_is_the_same_however_the_bytes_are_cut(
    raw: bytes, status: int, words: tuple[str, ...], parser: str
) -> None:
    whole = read(DEFAULTS, parser, [raw])
    assert whole.status == status
    assert all(word in whole.cause for word in words)
    assert bool(whole.cause) is bool(words)
    for at in range(len(raw)):
        assert read(DEFAULTS, parser, [raw[:at], raw[at:]]) == whole
    assert read(DEFAULTS, parser, [raw[at : at + 1] for at in range(len(raw))]) == whole


@foreign
def test_the_log_names_the_cause_and_the_client_is_told_the_fault(
    raw: bytes, status: int, words: tuple[str, ...]
) -> None:
    with Site() as site:
        client = site.connect()
        client.send(raw, "GET")
        (answer,) = client.answers
        (detail,) = site.observer.details
        assert answer.status == status
        fault, _, cause = detail.partition("; ")
        assert answer.body.decode().split("\n")[2] == fault
        assert all(word in cause for word in words)
        assert bool(cause) is bool(words)


@pytest.mark.parametrize("after_crlf", [False, True])
def test_nothing_is_no_other_protocol(after_crlf: bool) -> None:
    assert foreign_protocol(b"", after_crlf=after_crlf) == ""


@pytest.mark.parametrize("rubbish", [HELLO, b"\0\x20\0\0", V2])
def test_bytes_after_a_request_are_not_taken_for_another_protocol(rubbish: bytes) -> None:
    """They are the end of a body that is longer than was said."""
    with Site() as site:
        client = site.connect()
        client.ask()
        client.wait()
        client.send(rubbish, "GET")
        assert client.answers[-1].status == 400
        assert site.observer.details == ["This is not an HTTP request"]


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    ],
)
def test_each_word_of_the_parser_has_a_sentence(raw: bytes) -> None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(raw)
    with pytest.raises(h11.RemoteProtocolError) as caught:
        connection.next_event()
    sentence = sentence_for(str(caught.value))
    assert sentence not in str(caught.value)
    assert sentence != sentence_for("a word that is new")
    assert sentence_for("a word that is new") == "This is not an HTTP request"
