"""A request of uwsgi or SCGI that is all of what has come is read in one step, and no otherwise."""

from __future__ import annotations

import pytest
from corpus import DEFAULTS
from front_servers import encode, told

from wsgi_async.errors import HTTPError, ProtocolFault
from wsgi_async.gateways.counted import CountedReader
from wsgi_async.gateways.scgi import SCGIReader
from wsgi_async.gateways.uwsgi import UwsgiReader
from wsgi_async.http.reading import Signal

READERS: dict[str, type[CountedReader]] = {"uwsgi": UwsgiReader, "scgi": SCGIReader}
each = pytest.mark.parametrize("protocol", READERS)


@each
@pytest.mark.parametrize("body", [b"", b"12345"])
def test_it_is_the_head_that_it_would_be_in_parts(protocol: str, body: bytes) -> None:
    data = encode(protocol, told("/a?b", "POST", body, HTTP_X_A="c"))
    if body and protocol == "scgi":
        data = encode(protocol, told("/a?b", "POST", HTTP_X_A="c"), body).removesuffix(body)
    one, parts = READERS[protocol](DEFAULTS), READERS[protocol](DEFAULTS)
    parts.receive_data(data)
    head = one.lone_head(data)
    assert head == parts.next_event()
    assert one.buffered == parts.buffered == 0
    assert one.body_left == parts.body_left == len(body)
    assert one.next_event() is Signal.NEED_DATA
    assert one.lone_head(data) is None  # one request is all of a connection


@each
def test_with_less_or_more_nothing_is_done(protocol: str) -> None:
    data = encode(protocol, told("/", "POST", b"12345"), b"12345")
    for size in (1, 5, len(data) - 6, len(data) - 4, len(data)):
        reader = READERS[protocol](DEFAULTS)
        assert reader.lone_head(data[:size]) is None
        assert not reader.head_started
        reader.receive_data(data[:1])
        assert reader.lone_head(data[1:]) is None


@each
def test_a_refusal_is_for_good(protocol: str) -> None:
    bad = {"fault": b"\xff\xff\xff\xff", "refusal": encode(protocol, told(REQUEST_METHOD="("))}
    for kind, data in bad.items():
        reader = READERS[protocol](DEFAULTS)
        with pytest.raises(ProtocolFault if kind == "fault" else HTTPError):
            reader.lone_head(data)
        reader.receive_data(data)
        assert reader.next_event() is Signal.NEED_DATA
