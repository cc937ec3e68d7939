"""What the log says of a front server that speaks something else, or says too little."""

from __future__ import annotations

import re

import pytest
from corpus import DEFAULTS

from wsgi_async.errors import ProtocolFault
from wsgi_async.gateways.diagnosis import what_was_spoken
from wsgi_async.gateways.scgi import SCGIReader


@pytest.mark.parametrize(
    ("data", "port", "said"),
    [
        (b"GET / HTTP/1.1\r\n", "SCGI", "HTTP was spoken to a SCGI port: "),
        (b"GET / HTTP/1.1\r\n", "uwsgi", "HTTP was spoken to a uwsgi port: "),
        (b"\x16\x03\x01", "FastCGI", "TLS was spoken to a FastCGI port, "),
        (b"PROXY TCP4 ", "SCGI", "a PROXY header was sent to a SCGI port: "),
        (b"\x00\x10\x00\x00", "SCGI", "in nginx, use scgi_pass and not uwsgi_pass"),
        (b"\x05\x10\x00\x00\x0c\x00QUERY", "uwsgi", "modifier1 is 5, .* leave uwsgi_modifier1 out"),
        (b"\x01\x10\x00\x00\x0c\x00QUERY", "uwsgi", "modifier1 is 1, "),
        (b"\x01\x01\x00\x01\x00\x08\x00\x00", "uwsgi", "it looks like FastCGI"),
        (b"70:CONTENT_LENGTH", "FastCGI", "in nginx, use fastcgi_pass and not scgi_pass"),
    ],
)
def test_what_came_is_named_and_what_to_change(data: bytes, port: str, said: str) -> None:
    assert re.match(f".*{said}", what_was_spoken(data, port))


def test_a_location_without_scgi_params_is_told_so() -> None:
    """nginx then sends the client's fields alone, and shows a 502 that says nothing."""
    reader = SCGIReader(DEFAULTS)
    reader.receive_data(b"25:HTTP_HOST\0localhost:8000\0,")
    with pytest.raises(ProtocolFault, match="in nginx, include scgi_params"):
        reader.next_event()
