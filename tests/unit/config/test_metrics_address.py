"""Where ``--metrics-bind`` listens."""

from __future__ import annotations

import pytest

from wsgi_async.config.metrics_address import metrics_address, other_address
from wsgi_async.config.options import Config
from wsgi_async.errors import ConfigError
from wsgi_async.system.sockets import bind, close_all


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9100", "127.0.0.1:9100"),
        ("metrics.internal:0", "metrics.internal:0"),
        ("[::1]:9100", "[::1]:9100"),
        # Who wants all interfaces says so.
        (":9100", "localhost:9100"),
        ("*:9100", "*:9100"),
        ("unix:/run/metrics.sock", "unix:/run/metrics.sock"),
        ("unix:@metrics", "unix:@metrics"),
    ],
)
def test_addresses(text: str, address: str) -> None:
    assert metrics_address(text) == address
    assert Config(metrics_bind=text).metrics_bind == text


@pytest.mark.parametrize(
    "text",
    [
        "9100",
        "127.0.0.1",  # the port of --bind would be meant, and is taken
        "[::1]",
        "::1",
        ":",
        ":x",
        ":65536",
        "https://127.0.0.1:9100",
        "http://127.0.0.1:9100",
        "fd://3",
        "unix:",
        "127.0.0.1:9100,127.0.0.1:9101",
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--metrics-bind takes one address, without https://"):
        Config(metrics_bind=text)


def test_a_port_alone_is_on_loopback_only() -> None:
    sockets = bind([metrics_address(":0")])
    try:
        assert {sock.getsockname()[0] for sock in sockets} <= {"127.0.0.1", "::1"}
    finally:
        close_all(sockets)


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        (None, None, "127.0.0.1:9090"),
        ("0.0.0.0", None, "0.0.0.0:9090"),
        (None, "1", "127.0.0.1:1"),
        ("::", "1", "[::]:1"),
    ],
)
def test_granians_way_to_say_it(host: str | None, port: str | None, expected: str) -> None:
    assert other_address(host, port) == expected
