"""waitress-serve's command line.

Which of our options a flag is, its aliases in :mod:`wsgi_async.config.options` say; what those come
to that are written in another way, and what there is not, :mod:`wsgi_async.foreign.waitress` does.
"""

from __future__ import annotations

from collections.abc import Mapping

from wsgi_async.config.calls import join_address
from wsgi_async.config.option import Option, parse_bool
from wsgi_async.errors import ConfigError
from wsgi_async.foreign.waitress import (
    CONVERTED,
    HOST,
    LOST,
    PORT,
    SETTINGS,
    SWITCHES,
    addresses,
    loss,
    options_of,
)

from .checked import KNOWN, address_by_default, default_of, joined
from .report import Command, Plan, Verdict
from .rules import Rule, changed, missing, taken, unused
from .words import Given, Taking, given, has_variable, with_defaults

__all__ = ["FLAGS", "fill", "read"]

_MODE = "600"
"""Of the socket's file, where nobody says it."""


def _table() -> dict[str, Taking]:
    """Its settings, but for one that only a program can make, and two of the command line alone."""
    flags = {"--app": Taking("app"), "--call": Taking("call", False)}
    for name in sorted(SETTINGS - {"sockets"}):
        flag = name.replace("_", "-")
        flags[f"--{flag}"] = Taking(name, name not in SWITCHES)
        if name in SWITCHES:
            flags[f"--no-{flag}"] = Taking(name, False, value="false")
    return flags


FLAGS: dict[str, Taking] = _table()
"""waitress's flags, and its adjustments that they are."""

_BUFFERS = (
    "--response-buffer says what of a response is in memory, --response-overflow what follows"
)
_INNER = "it says how waitress does its work"

_RULES: dict[str, Rule] = {
    "asyncore_loop_timeout": unused(_INNER),
    "asyncore_use_poll": unused(_INNER),
    "channel_request_lookahead": unused(
        "a client that leaves is noticed anyway: environ['wsgi_async.client'] says it",
    ),
    "channel_timeout": changed(
        "it is for idle connections; a head, an upload and a download have times of their own: "
        "--header-timeout, --body-timeout and --send-timeout",
    ),
    "cleanup_interval": unused(_INNER),
    "connection_limit": changed(
        "at it the oldest idle connection makes room, where waitress accepts nobody more; it is "
        "per process, and leaving it out allows as many as there may be descriptors",
    ),
    "ipv4": changed("write --bind with the addresses that are to be listened on"),
    "ipv6": changed("write --bind with the addresses that are to be listened on"),
    "log_socket_errors": unused("a client that leaves is no error here"),
    "log_untrusted_proxy_headers": unused(
        "what is removed is not logged; one line at first says what to set"
    ),
    "max_request_header_size": changed(
        "a line and a field have bounds of their own here, which are set to the same"
    ),
    "outbuf_high_watermark": unused(_BUFFERS),
    "outbuf_overflow": taken("as --response-buffer"),
    "recv_bytes": unused(_INNER),
    "send_bytes": unused(_INNER),
    "server_name": unused("SERVER_NAME is the address that the client reached"),
    "trusted_proxy": taken("as --forwarded-allow-ips, which takes networks too"),
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
            plan.add(before.where, before.flag, before.value, Verdict.WITHOUT_EFFECT, text)
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
            Verdict.CHANGED,
            f"not set, where waitress has 4; here there are {default_of('threads')}",
        )


def _take_stranger(each: Given, plan: Plan) -> None:
    if each.flag:
        text = "nothing of that name is known of waitress here"
        plan.add(each.where, each.flag, each.value, Verdict.MISSING, text, matters=True)
    elif plan.application is not None:
        text = "there is one before it, and no more is served"
        plan.add(each.where, "the application", each.value, Verdict.MISSING, text, matters=True)
    else:
        plan.application = each.value
        plan.add(each.where, "the application", each.value, Verdict.TAKEN_OVER)


def _take(each: Given, setting: str, plan: Plan) -> None:
    """What becomes of one flag, but for where to listen."""
    if setting in ("host", "port", "listen", "unix_socket"):
        return
    rule = _rule(each, setting, plan)
    has_value = each.taking is not None and each.taking.takes_value
    value = each.value if has_value else ""
    plan.add(each.where, each.flag, value, rule.verdict, rule.text, matters=rule.matters)


def _rule(each: Given, setting: str, plan: Plan) -> Rule:
    value = each.value
    spec = _BY_FLAG.get(f"--{setting.replace('_', '-')}")
    if setting in LOST:
        why = loss(setting, value)
        return missing(why) if why else taken("it is so here")
    if setting == "ident":
        plan.options |= options_of(setting, value)
        return taken("as --header" if value else "as --no-server-header")
    if setting in ("call", "app"):
        return _application(setting, value, plan)
    if spec is not None:
        if spec.kind == "bool" and _is_default(spec, value):
            return taken("it is so here")
        if wrong := _set(plan, spec, setting, value):
            return missing(wrong)
    if setting == "max_request_header_size":
        plan.options |= {"limit_request_line": value, "limit_request_field_size": value}
    if setting in _RULES:
        return _RULES[setting]
    is_same = spec is not None and spec.flag == each.flag
    return taken(f"as {spec.flag}" if spec is not None and not is_same else "")


def _is_default(spec: Option, value: str) -> bool:
    try:
        return parse_bool(value) is spec.default
    except ValueError:
        return False


def _set(plan: Plan, spec: Option, setting: str, value: str) -> str:
    """Set the option; what is wrong with the value, or nothing."""
    if has_variable(value):
        plan.variables[spec.name] = value
        default = with_defaults(value)
        if default is None:
            return ""
        value = default
    given = options_of(setting, value) if setting in CONVERTED else {spec.name: value}
    try:
        for name, text in given.items():
            KNOWN[name].parse(text)
    except ConfigError as error:
        return str(error)
    plan.options |= given
    return ""


def _application(setting: str, value: str, plan: Plan) -> Rule:
    if setting == "app":
        plan.application = value
        return taken("")
    plan.options["factory"] = True
    return taken("as --factory")


def _listen(last: Mapping[str, Given], found: list[Given], plan: Plan, name: str) -> None:
    """Where to listen."""
    places = [each for each in found if each.taking is not None and each.taking.setting == "listen"]
    for each in places:
        plan.append("bind", *addresses(each.value))
        plan.add(each.where, each.flag, each.value, Verdict.TAKEN_OVER, "as --bind")
    if unix := last.get("unix_socket"):
        plan.append("bind", f"unix:{unix.value}")
        plan.add(unix.where, unix.flag, unix.value, Verdict.TAKEN_OVER, "as --bind")
        if "unix_socket_perms" not in last:
            plan.options["socket_mode"] = _MODE
            text = (
                f"not set, where waitress has {_MODE}, which is kept; without it --socket-mode is "
            )
            text += default_of("socket_mode")
            plan.add(name, "unix_socket_perms", "", Verdict.CHANGED, text)
        return
    host, port = last.get("host"), last.get("port")
    for part in (host, port):
        if part is not None:
            plan.add(part.where, part.flag, part.value, Verdict.TAKEN_OVER, "as --bind")
    if host is None and port is None:
        if not places:
            address = join_address(HOST, PORT)
            plan.options["bind"] = [address]
            text = f"not set, where waitress has {address}, which is kept; without it --bind is "
            plan.add(name, "listen", "", Verdict.CHANGED, text + address_by_default())
        return
    address = joined(host.value if host else HOST, port.value if port else str(PORT))
    if not has_variable(address):
        plan.append("bind", address)
    elif (default := with_defaults(address)) is not None:
        plan.append("bind", default)
        plan.variables["bind"] = address
    else:
        plan.variables["bind"] = address
