"""What the options about statsd take: nothing that would end a line, or lead nowhere."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from wsgi_async.config.options import Config
from wsgi_async.config.statsd_options import statsd_address
from wsgi_async.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "host", "port", "path"),
    [
        ("127.0.0.1", "127.0.0.1", 8125, None),
        ("a.example:1", "a.example", 1, None),
        ("udp://a.example:1", "a.example", 1, None),
        ("[::1]", "::1", 8125, None),
        ("[::1]:1", "::1", 1, None),
        ("unix:/x", None, 8125, "/x"),
        ("unix:///x", None, 8125, "/x"),
    ],
)
def test_addresses(text: str, host: str | None, port: int, path: str | None) -> None:
    address = statsd_address(text)
    assert (address.host, address.path) == (host, path)
    assert path is not None or address.port == port
    assert Config(statsd_host=text).statsd_host == text


@pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")
def test_a_name_in_the_abstract_namespace() -> None:
    assert statsd_address("unix:@x").path == "\0x"


@pytest.mark.parametrize(
    "text",
    ["::1", ":8125", "*", "a:0", "a:x", "8125", "fd://3", "http://a:1", "unix:", "udp://unix:/x"],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--statsd-host takes an address such as 127\."):
        Config(statsd_host=text)
    with pytest.raises(ConfigError):
        statsd_address(text)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("statsd_prefix", "a:b"),
        ("statsd_prefix", "a|b"),
        ("statsd_prefix", "a b"),
        ("statsd_prefix", "a\nb"),
        ("statsd_prefix", "\xe4"),
        ("statsd_prefix", "a" * 201),
        ("dogstatsd_tags", "a|b"),
        ("dogstatsd_tags", "a\nb"),
        ("dogstatsd_tags", "\xe4"),
        ("dogstatsd_tags", "a" * 801),
    ],
)
def test_what_would_end_a_line(option: str, value: str) -> None:
    options: dict[str, Any] = {option: value}
    with pytest.raises(ConfigError, match=r"takes up to [28]00 printable ASCII characters"):
        Config(**options)


def test_what_may_stand_in_one() -> None:
    config = Config(statsd_prefix="a-b_c.d%", dogstatsd_tags="a:1,b:x y,c:/d")
    assert (config.statsd_prefix, config.dogstatsd_tags) == ("a-b_c.d%", "a:1,b:x y,c:/d")
