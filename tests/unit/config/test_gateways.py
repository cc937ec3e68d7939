"""Which options go together where web servers in front speak other protocols than HTTP."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from wsgi_async.config.options import Config
from wsgi_async.config.sources import gather
from wsgi_async.errors import ConfigError


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            {"protocol": "uwsgi", "certfile": ["a.pem"]},
            "--certfile is shown at no address, for each --bind speaks uwsgi without TLS: leave it "
            "out, or add --bind https://:443",
        ),
        (
            {"bind": ["fastcgi+unix:/x", "http://:80"], "certfile": ["a.pem"]},
            "--certfile is shown at no address, for each --bind speaks FastCGI or HTTP without TLS",
        ),
        (
            {"protocol": "scgi", "proxy_protocol": "auto"},
            "--proxy-protocol is for HTTP, and no --bind speaks that",
        ),
        (
            {"protocol": "ajp"},
            "--protocol takes http, uwsgi, fastcgi or scgi, not 'ajp'",
        ),
        ({"uwsgi_allow_from": "x"}, "--uwsgi-allow-from takes addresses, networks"),
        ({"uwsgi_allow_from": "10.0.0.1/8"}, "--uwsgi-allow-from: '10.0.0.1/8' is a host with"),
        (
            {"protocol": "uwsgi", "redirect_to_https": ["a.example"]},
            "--redirect-to-https needs an address that is served by TLS",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(options: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(line)) as caught:
        Config(**options)
    assert "\n" not in str(caught.value)


def test_what_goes_together() -> None:
    files = {"certfile": ["a.pem"]}
    Config(bind=["https://:443"], protocol="uwsgi", **files)
    Config(bind=[":443", "uwsgi://:9000"], redirect_to_https=["a.example"], **files)
    Config(bind=[":80", "uwsgi://:9000"], proxy_protocol="v1")


NO_USE = "--uwsgi-allow-from is of no use here: no --bind speaks uwsgi, FastCGI or SCGI"
NO_STDERR = "--fastcgi-stderr is of no use here: no --bind speaks FastCGI"
EVERYBODY = "--uwsgi-allow-from lets everybody say who a client is, REMOTE_USER included"


@pytest.mark.parametrize(
    ("given", "begins"),
    [
        ({}, None),
        ({"protocol": "uwsgi"}, None),
        ({"protocol": "uwsgi", "uwsgi_allow_from": "10.0.0.1"}, None),
        ({"uwsgi_allow_from": "10.0.0.1"}, NO_USE),
        ({"uwsgi_allow_from": "*", "protocol": "fastcgi"}, EVERYBODY),
        ({"uwsgi_allow_from": "10.0.0.1,0.0.0.0/0", "bind": ("scgi://:1",)}, EVERYBODY),
        ({"uwsgi_allow_from": "*", "protocol": "uwsgi", "bind": ("http://:80",)}, NO_USE),
        ({"fastcgi_stderr": True, "bind": ("scgi://:1",)}, NO_STDERR),
        ({"fastcgi_stderr": True, "bind": (":1", "fastcgi+unix:/a")}, None),
    ],
)
def test_what_is_said_of_options_beside_these(
    tmp_path: Path, given: dict[str, Any], begins: str | None
) -> None:
    def parse(words: list[str]) -> dict[str, object]:
        return {}

    notices = gather(given, environ={}, directory=tmp_path, parse=parse).notices
    assert len(notices) == (begins is not None)
    assert not begins or notices[0].startswith(begins)
