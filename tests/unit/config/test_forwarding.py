"""The options on forwarded fields: what they take and come to, wherever they are set."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from wsgi_async.cli import main
from wsgi_async.config.forwarding import believed, taken
from wsgi_async.config.options import Config
from wsgi_async.config.sources import Settings, gather
from wsgi_async.errors import ConfigError
from wsgi_async.foreign import read

NEARBY = ("127.0.0.0/8", "::1", "unix")


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def collect(
    environ: Mapping[str, str] | None = None, file: str = "", source: str = "", **given: object
) -> Settings:
    if file:
        Path(file).write_text(source)
    return gather(
        {"config": file, **given} if file else given,
        parse=lambda words: {},
        environ=environ or {},
        directory=Path().absolute(),
        read_foreign=read,
    )


def come_to(settings: Settings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Who is believed, and in what."""
    config = settings.config
    peers = config.forwarded_allow_ips
    return believed(peers), taken(config.proxy_headers, peers)


UNIX_TOO = ("10.0.0.1", "unix")
BOTH = ("for", "proto")


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ({}, (NEARBY, ("proto",))),
        ({"forwarded_allow_ips": "10.0.0.1"}, (("10.0.0.1",), BOTH)),
        ({"forwarded_allow_ips": ["10.0.0.1,::1", "*"]}, (("10.0.0.1", "::1", "*"), BOTH)),
        ({"forwarded_allow_ips": ""}, ((), BOTH)),
        ({"forwarded_allow_ips": "*", "proxy_headers": "proto"}, (("*",), ("proto",))),
        ({"proxy_headers": "for,proto"}, (NEARBY, BOTH)),
        ({"proxy_headers": ["host", "FOR"]}, (NEARBY, ("host", "for"))),
        ({"proxy_headers": False}, (NEARBY, ("off",))),
        ({"environ": {"FORWARDED_ALLOW_IPS": "10.0.0.1"}}, (UNIX_TOO, BOTH)),
        ({"environ": {"FORWARDED_ALLOW_IPS": ""}}, (NEARBY, ("proto",))),
        ({"environ": {"FORWARDED_ALLOW_IPS": "*"}}, (("*", "unix"), BOTH)),
        ({"environ": {"WSGI_ASYNC_FORWARDED_ALLOW_IPS": "10.0.0.1"}}, (("10.0.0.1",), BOTH)),
        ({"environ": {"WSGI_ASYNC_PROXY_HEADERS": "for,host"}}, (NEARBY, ("for", "host"))),
        (
            {"environ": {"FORWARDED_ALLOW_IPS": "10.9.9.9"}, "forwarded_allow_ips": "10.0.0.1"},
            (("10.0.0.1",), BOTH),
        ),
        (
            {"file": "a.toml", "source": 'forwarded_allow_ips = ["10.0.0.1"]'},
            (("10.0.0.1",), BOTH),
        ),
        ({"file": "a.toml", "source": "proxy_headers = true"}, (NEARBY, BOTH)),
        ({"file": "a.py", "source": "forwarded_allow_ips = '10.0.0.1'"}, (UNIX_TOO, BOTH)),
        (
            {"file": "a.py", "source": "forwarded_allow_ips = ['10.0.0.1', '*']"},
            (
                ("10.0.0.1", "*", "unix"),
                BOTH,
            ),
        ),
        ({"file": "a.py", "source": "forwarded_allow_ips = ''"}, (("unix",), BOTH)),
        ({"file": "a.py", "source": "forwarded_allow_ips = []"}, (("unix",), BOTH)),
        ({"file": "a.py", "source": "workers = 1"}, (NEARBY, ("proto",))),
        ({"file": "a.ini", "source": "[uwsgi]\nlog-x-forwarded-for = true"}, (NEARBY, BOTH)),
        ({"file": "a.ini", "source": "[uwsgi]\nlog-x-forwarded-for = 0"}, (NEARBY, ("proto",))),
    ],
)
def test_wherever_they_are_set(place: dict[str, Any], expected: object) -> None:
    assert come_to(collect(**place)) == expected


def test_it_counts_as_set_by_hand_also_where_it_is_what_it_is_anyway() -> None:
    assert not Config().knows_proxies
    assert Config(proxy_headers="proto").knows_proxies  # type: ignore[arg-type]
    assert Config(forwarded_allow_ips=NEARBY).knows_proxies


def test_an_error_names_its_place() -> None:
    with pytest.raises(ConfigError) as caught:
        collect({"FORWARDED_ALLOW_IPS": "10.0.0.1/8"})
    assert str(caught.value).startswith("$FORWARDED_ALLOW_IPS: ")
    with pytest.raises(ConfigError) as caught:
        collect({"FORWARDED_ALLOW_IPS": "proxy.example"})
    assert str(caught.value).startswith("$FORWARDED_ALLOW_IPS: takes addresses, networks such as")
    with pytest.raises(ConfigError) as caught:
        collect(file="a.py", source='forwarder_headers = "X_FORWARDED_FOR"')
    assert str(caught.value).startswith("a.py: --forwarder-headers: X_FORWARDED_FOR would pass")
    with pytest.raises(ConfigError) as caught:
        collect(file="a.py", source="forwarded_allow_ips = 3")
    assert str(caught.value) == "a.py: forwarded_allow_ips cannot be 3"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"proxy_headers": "fro"},
            "--proxy-headers takes any of for, proto, host, port and",
        ),
        ({"proxy_headers": ""}, "--proxy-headers takes any of"),
        ({"proxy_headers": "on"}, "--proxy-headers takes any of"),
        ({"proxy_headers": "for,off"}, "--proxy-headers: off stands alone: leave it or the others"),
        ({"proxy_headers": "forwarded,for"}, "--proxy-headers: forwarded stands alone"),
        ({"proxy_headers": "forwarded,off"}, "--proxy-headers: off stands alone"),
        ({"proxy_headers": "x-forwarded-by"}, "--proxy-headers takes any of"),
        ({"forwarded_allow_ips": "10.0.0.256"}, "--forwarded-allow-ips takes addresses"),
        ({"forwarded_allow_ips": 1}, "--forwarded-allow-ips takes addresses"),
        ({"forwarded_allow_ips": "10.0.0.1/24"}, "--forwarded-allow-ips: '10.0.0.1/24' is a host"),
        ({"secure_scheme_headers": "X-Scheme"}, "--secure-scheme-headers takes fields such as"),
        ({"secure_scheme_headers": "X_Scheme=on"}, "--secure-scheme-headers: X_Scheme never comes"),
        ({"forwarder_headers": "*"}, "--forwarder-headers takes names of fields such as SCRIPT_"),
        ({"forwarder_headers": "X_FORWARDED_FOR"}, "--forwarder-headers: X_FORWARDED_FOR would"),
        (
            {"forwarder_headers": "X_SSL", "secure_scheme_headers": "X-SSL=on"},
            "--forwarder-headers: X_SSL would pass for X-Ssl",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(**options)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_what_was_typed_is_shown_as_it_was_typed() -> None:
    with pytest.raises(ConfigError) as caught:
        collect(proxy_headers=["of"])
    assert str(caught.value).endswith("or forwarded, or off, not 'of'")


NO_PROTOCOL = "--proxy-allow-from is of no use without --proxy-protocol: no connection begins"
NO_SCHEME = "--secure-scheme-headers is of no use here: --proxy-headers does not take proto"


@pytest.mark.parametrize(
    ("given", "notice"),
    [
        ({"proxy_allow_from": "10.0.0.1"}, NO_PROTOCOL),
        ({"environ": {"WSGI_ASYNC_PROXY_ALLOW_FROM": "127.0.0.0/8,::1,unix"}}, NO_PROTOCOL),
        ({"file": "a.py", "source": "threads = 1\nproxy_allow_ips = '*'"}, NO_PROTOCOL),
        ({"proxy_allow_from": "10.0.0.1", "proxy_protocol": "v2"}, ""),
        ({"secure_scheme_headers": "X-A=on", "proxy_headers": "for"}, NO_SCHEME),
        ({"secure_scheme_headers": "X-A=on", "proxy_headers": "off"}, NO_SCHEME),
        ({"secure_scheme_headers": "X-A=on", "forwarded_allow_ips": "10.0.0.1"}, ""),
        ({"secure_scheme_headers": "X-A=on"}, ""),
        ({}, ""),
    ],
)
def test_what_does_nothing_is_said_once(given: dict[str, Any], notice: str) -> None:
    """Else somebody believes that an address is allowed, and all its requests are 400s."""
    notices = collect(**given).notices
    assert [text[: len(notice)] for text in notices] == [notice] * bool(notice)


# --- gunicorn's file ----------------------------------------------------------------------------


def test_gunicorns_fields_for_the_scheme_and_with_an_underscore() -> None:
    source = """
secure_scheme_headers = {"X-SCHEME": "https", "X-SSL": "1"}
forwarder_headers = "SCRIPT_NAME,REMOTE_USER"
"""
    settings = collect(file="a.py", source=source)
    assert settings.config.secure_scheme_headers == ("X-SCHEME=https", "X-SSL=1")
    assert settings.config.forwarder_headers == ("SCRIPT_NAME", "REMOTE_USER")
    assert not [notice for notice in settings.notices if "ignored" in notice]
    assert collect(file="a.py", source="forwarder_headers = []").config.forwarder_headers == ()


@pytest.mark.parametrize(
    ("value", "consequence"),
    [
        ("drop", ""),
        (
            "refuse",
            "a field with an underscore in its name is left out here, and its request",
        ),
        ("dangerous", "no field with an underscore in its name reaches the application: have the"),
    ],
)
def test_header_map_is_followed_or_its_consequence_told(value: str, consequence: str) -> None:
    settings = collect(file="a.py", source=f"threads = 1\nheader_map = {value!r}")
    if consequence:
        (notice,) = settings.notices
        assert notice.startswith(f"a.py: header_map = {value!r}: {consequence}")
    else:
        assert settings.notices == ()


# --- the command line ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("", (["127.0.0.0/8", "::1", "unix"], ["proto"], "")),
        ("--proxy-headers app:app", (list(NEARBY), ["for", "proto"], "app:app")),
        ("--proxy-headers host,for app:app", (list(NEARBY), ["host", "for"], "app:app")),
        ("--no-proxy-headers app:app", (list(NEARBY), ["off"], "app:app")),
        ("app:app --forwarded-allow-ips *", (["*"], ["for", "proto"], "app:app")),
        ("--forwarded-allow-ips= app:app", ([], ["for", "proto"], "app:app")),
        ("--forwarded-allow-ips=10.0.0.1,::1", (["10.0.0.1", "::1"], ["for", "proto"], "")),
        # waitress
        ("--trusted-proxy=* app:app", (["*"], ["for", "proto"], "app:app")),
        (
            "--trusted-proxy=10.0.0.1 --trusted-proxy-headers=x-forwarded-for,x-forwarded-host",
            (["10.0.0.1"], ["for", "host"], ""),
        ),
    ],
)
def test_flags(capsys: pytest.CaptureFixture[str], words: str, shown: object) -> None:
    with pytest.raises(SystemExit):
        main([*words.split(), "--print-config"])
    out = capsys.readouterr().out
    values = tomllib.loads(out)
    assert (values["forwarded_allow_ips"], values["proxy_headers"], values["app"]) == shown
    origin = "command line" if "llow" in words or "trusted-proxy=" in words else "default"
    (line,) = (line for line in out.splitlines() if line.startswith("forwarded_allow_ips"))
    assert line.endswith(f"# {origin}")


def test_waitresss_list_with_spaces(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--trusted-proxy-headers", "x-forwarded-for x-forwarded-proto", "--print-config"])
    values = tomllib.loads(capsys.readouterr().out)
    assert values["proxy_headers"] == ["for", "proto"]
