"""Pairs that come again are judged once, and no other is remembered."""

from __future__ import annotations

import sys
from types import FrameType

import pytest

from wsgi_async.errors import HTTPError
from wsgi_async.gateways import taking
from wsgi_async.gateways.variables import request_head
from wsgi_async.http.limits import Limits

LIMITS = Limits(8190, 100, 8190, 65536)

AGAIN = {
    "REQUEST_METHOD": "GET",
    "CONTENT_TYPE": "",
    "CONTENT_LENGTH": "",
    "DOCUMENT_ROOT": "/usr/share/nginx/html",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REQUEST_SCHEME": "https",
    "HTTPS": "on",
    "SERVER_PORT": "443",
    "SERVER_NAME": "www.example.com",
    "HTTP_HOST": "www.example.com",
    "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "HTTP_ACCEPT": "text/html,*/*;q=0.8",
    "HTTP_ACCEPT_ENCODING": "gzip, deflate, br, zstd",
}
ONCE = {
    "QUERY_STRING": "page=7",
    "REQUEST_URI": "/articles/7?page=7",
    "PATH_INFO": "/articles/7",
    "REMOTE_ADDR": "203.0.113.7",
    "REMOTE_PORT": "40007",
    "REMOTE_USER": "alice",
    "HTTP_COOKIE": "session=secret",
    "HTTP_AUTHORIZATION": "Basic c2VjcmV0",
    "HTTP_REFERER": "https://www.example.com/articles/6",
}


def pairs(variables: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in variables.items()]


@pytest.fixture(autouse=True)
def forgetful() -> None:
    taking._judged.clear()


def test_what_comes_again_is_judged_once_and_means_the_same() -> None:
    first = request_head(pairs(AGAIN | ONCE), LIMITS)
    assert len(taking._judged) == len(AGAIN)
    assert request_head(pairs(AGAIN | ONCE), LIMITS) == first
    assert len(taking._judged) == len(AGAIN)


def test_nothing_of_a_person_or_a_request_is_remembered() -> None:
    request_head(pairs(AGAIN | ONCE), LIMITS)
    assert {name.decode() for name, _ in taking._judged} == set(AGAIN)


@pytest.mark.parametrize("value", ["a\nb", "\x7f", "a\0"])
@pytest.mark.parametrize("name", ["HTTP_USER_AGENT", "CONTENT_TYPE"])
def test_what_is_refused_is_not_remembered(name: str, value: str) -> None:
    for _ in range(2):
        with pytest.raises(HTTPError, match=r"control character|NUL"):
            request_head(pairs(AGAIN | {name: value}), LIMITS)
    assert not any(key == name.encode() and data for key, data in taking._judged)


def test_a_long_value_is_not_remembered() -> None:
    for size in (256, 257):
        request_head(pairs(AGAIN | {"HTTP_USER_AGENT": "x" * size}), LIMITS)
    sizes = {len(value) for name, value in taking._judged if name == b"HTTP_USER_AGENT"}
    assert sizes == {256}


def test_python_calls_per_request() -> None:
    """One for each pair that is new, and a few: what comes again costs none."""
    if sys.getprofile() is not None or sys.gettrace() is not None:
        pytest.skip("a profiler or a debugger is at work")
    given = pairs(AGAIN | ONCE)
    request_head(given, LIMITS, size=1000)
    names: list[str] = []

    def count(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            names.append(frame.f_code.co_qualname)

    sys.setprofile(count)
    try:
        request_head(given, LIMITS, size=1000)
    finally:
        sys.setprofile(None)
    assert names.count("_judge") == len(ONCE)
    assert len(names) <= len(ONCE) + 11, names  # 9 on CPython 3.11 to 3.13, and two
