"""waitress-serve's command line.

Which of our options a flag is, its aliases in :mod:`wsgi_async.config.options` say; what there is
not, :mod:`wsgi_async.config.other_servers` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from wsgi_async.config.option import Option, parse_bool
from wsgi_async.config.other_servers import ABSENT
from wsgi_async.errors import ConfigError

from .checked import KNOWN, default_of
from .report import Command, Plan, Verdict
from .words import Given, Taking, given, has_variable, with_defaults

__all__ = ["FLAGS", "fill", "read"]

TAKEN_OVER, CHANGED = Verdict.TAKEN_OVER, Verdict.CHANGED
WITHOUT_EFFECT, MISSING = Verdict.WITHOUT_EFFECT, Verdict.MISSING

_PORT = "8080"
_ALL = "0.0.0.0"
_MODE = "600"

_WITH_VALUE = (
    "host port listen threads trusted_proxy trusted_proxy_count trusted_proxy_headers url_scheme "
    "url_prefix backlog recv_bytes send_bytes outbuf_overflow outbuf_high_watermark "
    "inbuf_overflow connection_limit cleanup_interval channel_timeout max_request_header_size "
    "max_request_body_size ident asyncore_loop_timeout unix_socket unix_socket_perms "
    "channel_request_lookahead server_name app"
)
_SWITCHES = (
    "ipv4 ipv6 log_untrusted_proxy_headers clear_untrusted_proxy_headers log_socket_errors "
    "expose_tracebacks asyncore_use_poll call"
)


def _table() -> dict[str, Taking]:
    flags = {f"--{name.replace('_', '-')}": Taking(name) for name in _WITH_VALUE.split()}
    for name in _SWITCHES.split():
        flag = name.replace("_", "-")
        flags[f"--{flag}"] = Taking(name, False)
        flags[f"--no-{flag}"] = Taking(name, False, value="false")
    return flags


FLAGS: dict[str, Taking] = _table()
"""waitress's flags, and its adjustments that they are."""


class _Fate(NamedTuple):
    verdict: Verdict
    text: str
    matters: bool = False


_BUFFERS = (
    "--response-buffer says what of a response is in memory, --response-overflow what follows"
)
_INNER = "it says how waitress does its work"

_FATES: dict[str, _Fate] = {
    "asyncore_loop_timeout": _Fate(WITHOUT_EFFECT, _INNER),
    "asyncore_use_poll": _Fate(WITHOUT_EFFECT, _INNER),
    "channel_request_lookahead": _Fate(
        WITHOUT_EFFECT,
        "a client that leaves is noticed anyway: environ['wsgi_async.client'] says it",
    ),
    "channel_timeout": _Fate(
        CHANGED,
        "it is for idle connections; a head, an upload and a download have times of their own: "
        "--header-timeout, --body-timeout and --send-timeout",
    ),
    "cleanup_interval": _Fate(WITHOUT_EFFECT, _INNER),
    "connection_limit": _Fate(
        CHANGED,
        "at it the oldest idle connection makes room, where waitress accepts nobody more; it is "
        "per process, and leaving it out allows as many as there may be descriptors",
    ),
    "ipv4": _Fate(CHANGED, "write --bind with the addresses that are to be listened on"),
    "ipv6": _Fate(CHANGED, "write --bind with the addresses that are to be listened on"),
    "log_socket_errors": _Fate(WITHOUT_EFFECT, "a client that leaves is no error here"),
    "log_untrusted_proxy_headers": _Fate(
        WITHOUT_EFFECT, "what is removed is not logged; one line at first says what to set"
    ),
    "max_request_header_size": _Fate(
        CHANGED, "a line and a field have bounds of their own here, which are set to the same"
    ),
    "outbuf_high_watermark": _Fate(WITHOUT_EFFECT, _BUFFERS),
    "outbuf_overflow": _Fate(TAKEN_OVER, "as --response-buffer"),
    "recv_bytes": _Fate(WITHOUT_EFFECT, _INNER),
    "send_bytes": _Fate(WITHOUT_EFFECT, _INNER),
    "server_name": _Fate(
        WITHOUT_EFFECT, "SERVER_NAME is what the Host field says, or the address that was bound"
    ),
    "trusted_proxy": _Fate(TAKEN_OVER, "as --forwarded-allow-ips, which takes networks too"),
}
"""Of a flag that has something to be said of it, in one way always."""

_BY_FLAG: dict[str, Option] = {
    name.split("/")[0]: spec for spec in KNOWN.values() for name in (spec.flag, *spec.aliases)
}


def read(command: Command) -> Plan:
    """What the command line comes to here."""
    plan = Plan()
    fill(plan, list(given(command.words, FLAGS)), command.source.name)
    return plan


def fill(plan: Plan, found: list[Given], name: str) -> None:
    """Put what the flags come to into the plan.

    :param name: of the source, for what is not written there.
    """
    last: dict[str, Given] = {}
    for each in found:
        if each.taking is None:
            _take_stranger(each, plan)
            continue
        before = last.get(each.taking.setting)
        if before is not None and each.taking.setting != "listen":
            text = "it is given again, and that counts"
            plan.add(before.where, before.flag, before.value, WITHOUT_EFFECT, text)
        last[each.taking.setting] = each
    for each in found:
        if each.taking is not None and (each.taking.setting == "listen" or each in last.values()):
            _take(each, each.taking.setting, plan)
    _listen(last, found, plan, name)
    if "threads" not in last:
        plan.add(
            name,
            "threads",
            "",
            CHANGED,
            f"not set, where waitress has 4; here there are {default_of('threads')}",
        )


def _take_stranger(each: Given, plan: Plan) -> None:
    if each.flag:
        text = "nothing of that name is known of waitress here"
        plan.add(each.where, each.flag, each.value, MISSING, text, matters=True)
    elif plan.application is not None:
        text = "there is one before it, and no more is served"
        plan.add(each.where, "the application", each.value, MISSING, text, matters=True)
    else:
        plan.application = each.value
        plan.add(each.where, "the application", each.value, TAKEN_OVER)


def _take(each: Given, setting: str, plan: Plan) -> None:
    """What becomes of one flag, but for where to listen."""
    value = each.value
    fate = _FATES.get(setting)
    spec = _BY_FLAG.get(f"--{setting.replace('_', '-')}")
    if setting in ("host", "port", "listen", "unix_socket"):
        return
    if setting in ("trusted_proxy_count", "url_scheme", "clear_untrusted_proxy_headers"):
        fate = _of_proxy(setting, value)
    elif setting == "ident":
        fate = _ident(value, plan)
    elif setting in ("call", "app"):
        fate = _application(setting, value, plan)
    elif spec is not None and spec.kind == "bool" and parse_bool(value) is spec.default:
        fate = _Fate(TAKEN_OVER, "it is so here")
    elif spec is not None and (wrong := _set(plan, spec, value)):
        fate = _Fate(MISSING, wrong, True)
    elif setting == "max_request_header_size":
        plan.options |= {"limit_request_line": value, "limit_request_field_size": value}
    if fate is None:
        is_same = spec is not None and spec.flag == each.flag
        fate = _Fate(TAKEN_OVER, f"as {spec.flag}" if spec is not None and not is_same else "")
    has_value = each.taking is not None and each.taking.takes_value
    plan.add(
        each.where,
        each.flag,
        value if has_value else "",
        fate.verdict,
        fate.text,
        matters=fate.matters,
    )


def _set(plan: Plan, spec: Option, value: str) -> str:
    """Set the option; what is wrong with the value, or nothing."""
    if has_variable(value):
        plan.variables[spec.name] = value
        default = with_defaults(value)
        if default is None:
            return ""
        value = default
    if spec.name == "root_path":
        value = f"/{value.strip('/')}".rstrip("/")
    elif spec.name == "forwarded_allow_ips" and value == "localhost":
        value = "unix"  # so it calls who comes by a unix socket
    given: object = [value] if spec.kind == "texts" else value
    try:
        spec.parse(given)
    except ConfigError as error:
        return str(error)
    plan.options[spec.name] = given
    return ""


def _of_proxy(setting: str, value: str) -> _Fate:
    is_as_here = {
        "trusted_proxy_count": value == "1",
        "url_scheme": value == "http",
        "clear_untrusted_proxy_headers": value == "true",
    }[setting]
    if is_as_here:
        return _Fate(TAKEN_OVER, "it is so here")
    flag = setting.replace("_", "-")
    flag = f"--no-{flag}" if value == "false" else f"--{flag}"
    return _Fate(MISSING, ABSENT[flag], True)


def _ident(value: str, plan: Plan) -> _Fate:
    if value:
        plan.append("header", f"Server: {value}")
        return _Fate(TAKEN_OVER, "as --header")
    plan.options["server_header"] = False
    return _Fate(TAKEN_OVER, "as --no-server-header")


def _application(setting: str, value: str, plan: Plan) -> _Fate:
    if setting == "app":
        plan.application = value
        return _Fate(TAKEN_OVER, "")
    if parse_bool(value):
        plan.options["factory"] = True
    return _Fate(TAKEN_OVER, "as --factory")


def _listen(last: Mapping[str, Given], found: list[Given], plan: Plan, name: str) -> None:
    """Where to listen."""
    places = [each for each in found if each.taking is not None and each.taking.setting == "listen"]
    for each in places:
        for text in each.value.split():
            has_port = ":" in text and not text.endswith("]")
            plan.append("bind", text if has_port else f"{text}:{_PORT}")
        plan.add(each.where, each.flag, each.value, TAKEN_OVER, "as --bind")
    if unix := last.get("unix_socket"):
        plan.append("bind", f"unix:{unix.value}")
        plan.add(unix.where, unix.flag, unix.value, TAKEN_OVER, "as --bind")
        if "unix_socket_perms" not in last:
            plan.options["socket_mode"] = _MODE
            text = (
                f"not set, where waitress has {_MODE}, which is kept; without it --socket-mode is "
            )
            text += default_of("socket_mode")
            plan.add(name, "unix_socket_perms", "", CHANGED, text)
        return
    host, port = last.get("host"), last.get("port")
    for part in (host, port):
        if part is not None:
            plan.add(part.where, part.flag, part.value, TAKEN_OVER, "as --bind")
    if host is None and port is None:
        if not places:
            plan.options["bind"] = [f"{_ALL}:{_PORT}"]
            text = (
                f"not set, where waitress has {_ALL}:{_PORT}, which is kept; without it --bind is "
            )
            plan.add(name, "listen", "", CHANGED, f"{text}port 8000 of this machine alone")
        return
    address = f"{host.value if host else _ALL}:{port.value if port else _PORT}"
    if not has_variable(address):
        plan.append("bind", address)
    elif (default := with_defaults(address)) is not None:
        plan.append("bind", default)
        plan.variables["bind"] = address
    else:
        plan.variables["bind"] = address
