"""One field per option, and what each accepts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from wsgi_async.config.calls import from_options, join_address
from wsgi_async.config.option import Group, Option, Scope, parse_bool, parse_duration, parse_size
from wsgi_async.config.options import (
    ALL_OPTIONS,
    LAUNCH_OPTIONS,
    OPTIONS,
    Config,
    LaunchConfig,
    in_groups,
)
from wsgi_async.errors import ConfigError

BY_NAME = {spec.name: spec for spec in OPTIONS}


def test_every_field_is_an_option_with_a_help_text() -> None:
    assert [field.name for field in dataclasses.fields(Config)] == list(BY_NAME)
    for spec in OPTIONS:
        assert spec.help.endswith("."), spec.name
        assert "\n" not in spec.help
        assert "|" not in spec.help, "it would end a cell of the README's table"


def test_the_options_of_a_launch_are_typed_fields_as_well() -> None:
    fields = dataclasses.fields(LaunchConfig)
    assert [spec.name for spec in LAUNCH_OPTIONS] == [field.name for field in fields]
    launch = LaunchConfig(chdir=Path("/srv"), env="A=1,B=2", reload="yes", port="0")  # type: ignore[arg-type]
    assert (launch.chdir, launch.env, launch.reload, launch.port) == (
        "/srv",
        ("A=1", "B=2"),
        True,
        0,
    )
    with pytest.raises(ConfigError, match=r"--umask takes permissions in octal such as 022"):
        LaunchConfig(umask="9")


def test_each_option_says_who_can_follow_it() -> None:
    by_scope = {scope: [s.name for s in ALL_OPTIONS if s.scope is scope] for scope in Scope}
    assert by_scope[Scope.LAUNCH] == [spec.name for spec in LAUNCH_OPTIONS]
    logs = (
        *("access_logfile", "access_logformat", "error_logfile", "log_level", "log_format"),
        *("log_config", "log_syslog_to", "log_syslog_prefix", "log_syslog_facility"),
    )
    statsd = ("statsd_host", "statsd_prefix", "dogstatsd_tags")
    assert by_scope[Scope.PROCESS] == [*logs, *statsd]
    assert set(by_scope[Scope.FLEET]) == {
        "control_socket",
        "control_socket_mode",
        "cpu_affinity",
        "dashboard_bind",
        "dashboard_show_queries",
        "dashboard_token_file",
        "max_requests",
        "max_requests_jitter",
        "metrics_bind",
        "metrics_collector",
        "preload",
        "switch_interval",
        "timeout",
        "worker_lifetime",
        "workers",
    }
    assert len(by_scope[Scope.SERVER]) > 30


def test_each_option_is_in_one_group_and_a_dozen_are_everyday() -> None:
    groups = in_groups()
    assert sorted(s.name for group in groups.values() for s in group) == sorted(
        s.name for s in ALL_OPTIONS
    )
    assert all(groups[group] for group in Group)
    assert sum(spec.is_everyday for spec in ALL_OPTIONS) == 12


def test_no_flag_is_written_twice() -> None:
    flags = [flag for spec in ALL_OPTIONS for flag in (spec.flag, *spec.flags, *spec.aliases)]
    assert len(flags) == len(set(flags))


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("bind", ()),
        ("backlog", 2048),
        ("socket_mode", 0o660),
        ("threads", 8),
        ("queue_size", 2048),
        ("max_connections", 0),
        ("header_timeout", 10.0),
        ("body_timeout", 30.0),
        ("send_timeout", 60.0),
        ("keep_alive", 75.0),
        ("graceful_timeout", 30.0),
        ("min_rate", 500),
        ("limit_request_line", 8190),
        ("limit_request_fields", 100),
        ("limit_request_field_size", 8190),
        ("max_header_size", 65536),
        ("max_body_size", 1 << 30),
        ("request_buffering", "full"),
        ("spool_threshold", 524288),
        ("response_buffer", 1048576),
        ("response_overflow", "spool"),
        ("spool_dir", ""),
        ("spool_limit", 1 << 30),
        ("max_spool_size", 4 << 30),
        ("max_buffer_size", 256 << 20),
        ("parser", "auto"),
        ("switch_interval", 0.0005),
        ("root_path", ""),
        ("header", ()),
        ("server_header", True),
        ("access_logfile", ""),
        ("access_logformat", "combined"),
        ("error_logfile", "-"),
        ("request_id_header", ""),
        ("server_timing", False),
        ("slow_request", 0.0),
        ("live_timeout", 0.0),
        ("live_grace", 5.0),
        ("max_live", 0),
        ("log_level", "info"),
    ],
)
def test_defaults(name: str, default: Any) -> None:
    assert getattr(Config(), name) == default


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().threads = 3  # type: ignore[misc]


@pytest.mark.parametrize("spec", OPTIONS, ids=lambda spec: spec.name)
def test_a_default_survives_its_own_text(spec: Option) -> None:
    if spec.default is not None:
        assert spec.parse(spec.format(spec.default)) == spec.default


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0.0),
        (5, 5.0),
        (0.5, 0.5),
        ("0", 0.0),
        ("30", 30.0),
        ("30s", 30.0),
        ("1.5s", 1.5),
        ("500ms", 0.5),
        ("0.5ms", 0.0005),
        ("5m", 300.0),
        ("1h", 3600.0),
        ("2D", 172800.0),
    ],
)
def test_durations(value: object, seconds: float) -> None:
    assert parse_duration(value) == pytest.approx(seconds)
    assert isinstance(parse_duration(value), float)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "s",
        "-1s",
        "1 week",
        "1s\n",
        "²s",
        "1e3",
        "inf",
        "nan",
        True,
        None,
        float("inf"),
        "9" * 99,
    ],
)
def test_not_durations(value: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the caller adds the message
        parse_duration(value)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (0, 0),
        (512, 512),
        ("8190", 8190),
        ("512K", 524288),
        ("512k", 524288),
        ("1M", 1048576),
        ("1 MiB", 1048576),
        ("1G", 1 << 30),
        ("2T", 2 << 40),
    ],
)
def test_sizes(value: object, size: int) -> None:
    assert parse_size(value) == size


@pytest.mark.parametrize("value", ["", "K", "-1", "1.5M", "1X", "1M\n", "²", True, 1.0, None])
def test_not_sizes(value: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the caller adds the message
        parse_size(value)


@pytest.mark.parametrize(
    ("value", "truth"),
    [(word, True) for word in (True, 1, "1", "true", "Yes", "ON")]
    + [(word, False) for word in (False, 0, "0", "false", "No", "OFF")],
)
def test_booleans(value: object, truth: bool) -> None:
    assert parse_bool(value) is truth


@pytest.mark.parametrize("value", ["", "maybe", 2, None, 1.0, b"1"])
def test_not_booleans(value: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the caller adds the message
        parse_bool(value)


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("keep_alive", "5s", 5.0),
        ("keep_alive", 5, 5.0),
        ("max_body_size", "10M", 10485760),
        ("threads", "16", 16),
        ("socket_mode", "600", 0o600),
        ("socket_mode", "0o600", 0o600),
        ("socket_mode", 0o600, 0o600),
        ("bind", "127.0.0.1:1, [::1]:2", ("127.0.0.1:1", "[::1]:2")),
        ("bind", ["unix:/a,b"], ("unix:/a,b",)),
        ("bind", "", ()),
        ("log_level", "WARNING", "warning"),
        ("spool_dir", Path("/var/tmp"), "/var/tmp"),
        ("root_path", "/shop/v1.2", "/shop/v1.2"),
        ("header", "A: 1, 2", ("A: 1, 2",)),
        ("header", "A: 1, 2\n\tB:3\n", ("A: 1, 2", "B:3")),
        ("header", ["A:", "A: \xe9"], ("A:", "A: \xe9")),
        ("header", "", ()),
        ("request_id_header", "X-Request-ID", "X-Request-ID"),
        ("request_id_header", "x-amzn-trace-id", "x-amzn-trace-id"),
        ("server_timing", "yes", True),
        ("slow_request", "5s", 5.0),
        ("live_timeout", "2m", 120.0),
        ("live_grace", 0, 0.0),
    ],
)
def test_options_accept_objects_and_text(name: str, given: object, value: object) -> None:
    assert getattr(from_options(**{name: given}), name) == value


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("threads", 0),
        ("threads", "x"),
        ("threads", "²"),
        ("threads", "1" * 5000),
        ("threads", True),
        ("threads", 2.0),
        ("threads", None),
        ("queue_size", 0),
        ("max_connections", -1),
        ("header_timeout", "-1s"),
        ("keep_alive", float("nan")),
        ("switch_interval", "60s"),
        ("max_body_size", 0),
        ("limit_request_line", "0"),
        ("socket_mode", 660),
        ("socket_mode", "999"),
        ("bind", 8000),
        ("bind", [""]),
        ("bind", "a,,b"),
        ("bind", ["a\0"]),
        ("parser", "fast"),
        ("response_overflow", ""),
        ("spool_dir", "a\0b"),
        ("error_logfile", ""),
        ("log_level", "loud"),
        ("root_path", "shop"),
        ("root_path", "/"),
        ("root_path", "/shop/"),
        ("root_path", "/shop?x"),
        ("root_path", "/sh\r\nop"),
        ("root_path", "/käse"),
        ("header", "X-A"),
        ("header", ": b"),
        ("header", ["A : b"]),
        ("header", ["A\r\n: b"]),
        ("header", ["A: b\r\nSet-Cookie: c"]),
        ("header", ["A: b\nc"]),
        ("header", ["A: \u20ac"]),
        ("header", "A: b\n\nC: d"),
        ("header", ["A: b", ""]),
        ("header", 5),
        ("header", [("A", "b")]),
        ("server_header", "perhaps"),
        ("request_id_header", "X_Request_ID"),  # no such field is taken from a client
        ("request_id_header", "X-Request-ID: a"),
        ("request_id_header", "a b"),
        ("request_id_header", "x" * 65),
        ("request_id_header", "Authorization"),  # it would be logged
        ("request_id_header", "cookie"),
        ("request_id_header", "Content-Length"),
        ("request_id_header", "Connection"),
        ("request_id_header", "Proxy"),
        ("slow_request", "-1s"),
        ("slow_request", "soon"),
        ("live_timeout", "-1s"),
        ("max_live", -1),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_flag(name: str, given: object) -> None:
    with pytest.raises(ConfigError) as caught:
        from_options(**{name: given})
    message = str(caught.value)
    assert message.startswith(f"{BY_NAME[name].flag} takes ")
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], str):
        given = given[0]  # it is shown as it was typed
    assert repr(given) in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("threads", 0, "--threads takes a whole number, from 1 to 10000, not 0"),
        ("parser", "x", "--parser takes auto or h11, not 'x'"),
        (
            "keep_alive",
            "soon",
            "--keep-alive takes a duration such as 500ms, 30s, 5m or 1h, not 'soon'",
        ),
        ("header", "X", "--header takes fields such as 'X-Frame-Options: DENY', not 'X'"),
        *(
            (
                "header",
                [f"{name}: 5"],
                f"--header: {name} is the server's own, which writes it where it belongs: "
                "leave it out",
            )
            for name in ("Content-Length", "transfer-encoding", "Connection", "DATE", "Upgrade")
        ),
    ],
)
def test_messages(name: str, given: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_options(**{name: given})
    assert str(caught.value) == message


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        from_options(thread=4)
    assert str(caught.value) == "No such option: thread. Did you mean threads?"
    with pytest.raises(ConfigError) as caught:
        from_options(zzz=4)
    assert str(caught.value) == "No such option: zzz."


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1:80"),
        ("example.org", "example.org:80"),
        ("::1", "[::1]:80"),
        ("[::1]", "[::1]:80"),
        ("", ":80"),
        ("*", ":80"),
        (None, ":80"),
    ],
)
def test_host_and_port_make_an_address(host: str | None, address: str) -> None:
    assert join_address(host, 80) == address
