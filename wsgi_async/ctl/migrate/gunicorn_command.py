"""gunicorn's command line, and what it reads besides: its file, and ``$GUNICORN_CMD_ARGS``."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from wsgi_async.errors import ConfigError
from wsgi_async.foreign.gunicorn import OPTIONS

from .gunicorn import fill
from .gunicorn_fates import Setting
from .gunicorn_file import settings_in
from .report import Command, Plan, Verdict
from .rules import FILE_ELSEWHERE
from .words import Given, Taking, Word, given, has_variable, with_defaults

__all__ = ["FLAGS", "read"]

DEFAULT_FILE = "gunicorn.conf.py"
"""Which gunicorn reads without being told, in the directory where it starts."""

_WITH_VALUE = (
    "-c --config config, -b --bind bind, --backlog backlog, -w --workers workers, -k "
    "--worker-class worker_class, --threads threads, --worker-connections worker_connections, "
    "--max-requests max_requests, --max-requests-jitter max_requests_jitter, -t --timeout "
    "timeout, --graceful-timeout graceful_timeout, --keep-alive keepalive, --limit-request-line "
    "limit_request_line, --limit-request-fields limit_request_fields, --limit-request-field_size "
    "limit_request_field_size, --reload-engine reload_engine, --reload-extra-file "
    "reload_extra_files, --chdir chdir, -e --env raw_env, -p --pid pidfile, --worker-tmp-dir "
    "worker_tmp_dir, -u --user user, -g --group group, -m --umask umask, --forwarded-allow-ips "
    "forwarded_allow_ips, --access-logfile accesslog, --access-logformat access_log_format, "
    "--error-logfile --log-file errorlog, --log-level loglevel, --logger-class logger_class, "
    "--log-config logconfig, --log-config-json logconfig_json, --log-syslog-to syslog_addr, "
    "--log-syslog-prefix syslog_prefix, --log-syslog-facility syslog_facility, --statsd-host "
    "statsd_host, --dogstatsd-tags dogstatsd_tags, --statsd-prefix statsd_prefix, -n --name "
    "proc_name, --pythonpath pythonpath, --paste --paster paste, --proxy-allow-from "
    "proxy_allow_ips, --protocol protocol, --uwsgi-allow-from uwsgi_allow_ips, --keyfile keyfile, "
    "--certfile certfile, --ssl-version ssl_version, --cert-reqs cert_reqs, --ca-certs ca_certs, "
    "--ciphers ciphers, --http-protocols http_protocols, --http2-cleartext http2_cleartext, "
    "--http2-max-concurrent-streams http2_max_concurrent_streams, --http2-initial-window-size "
    "http2_initial_window_size, --http2-max-frame-size http2_max_frame_size, "
    "--http2-max-header-list-size http2_max_header_list_size, --paste-global "
    "raw_paste_global_conf, --forwarder-headers forwarder_headers, --header-map header_map, "
    "--asgi-loop asgi_loop, --asgi-lifespan asgi_lifespan, --asgi-disconnect-grace-period "
    "asgi_disconnect_grace_period, --websocket-max-message-size websocket_max_message_size, "
    "--http-parser http_parser, --root-path root_path, --dirty-app dirty_apps, --dirty-workers "
    "dirty_workers, --dirty-timeout dirty_timeout, --dirty-threads dirty_threads, "
    "--dirty-graceful-timeout dirty_graceful_timeout, --control-socket control_socket, "
    "--control-socket-mode control_socket_mode"
)
_ALONE = (
    "--reload reload, --spew spew, --check-config check_config, --print-config print_config, "
    "--preload preload_app, --no-sendfile sendfile, --reuse-port reuse_port, -D --daemon daemon, "
    "--initgroups initgroups, --disable-redirect-access-to-syslog "
    "disable_redirect_access_to_syslog, --capture-output capture_output, --log-syslog syslog, -R "
    "--enable-stdio-inheritance enable_stdio_inheritance, --enable-backlog-metric "
    "enable_backlog_metric, --suppress-ragged-eofs suppress_ragged_eofs, "
    "--do-handshake-on-connect do_handshake_on_connect, --permit-obsolete-folding "
    "permit_obsolete_folding, --strip-header-spaces strip_header_spaces, "
    "--permit-unconventional-http-method permit_unconventional_http_method, "
    "--permit-unconventional-http-version permit_unconventional_http_version, "
    "--casefold-http-method casefold_http_method, --no-control-socket control_socket_disable"
)

_LISTS = ("bind", "raw_env", "reload_extra_files", "raw_paste_global_conf", "dirty_apps")
"""What may be given several times."""


def _table() -> dict[str, Taking]:
    flags: dict[str, Taking] = {}
    for text, takes_value in ((_WITH_VALUE, True), (_ALONE, False)):
        for entry in text.split(", "):
            *names, setting = entry.split()
            flags |= dict.fromkeys(names, Taking(setting, takes_value))
    flags["--proxy-protocol"] = Taking("proxy_protocol", True, True, "auto")
    return flags


FLAGS: dict[str, Taking] = _table()
"""gunicorn's flags, and the settings that they are."""


def read(command: Command) -> Plan:
    """What the command line comes to here."""
    plan = Plan()
    words = _from_variable(command)
    found = [
        *given(words, FLAGS, is_value=_is_mode),
        *given(command.words, FLAGS, is_value=_is_mode),
    ]
    settings = [*_from_file(command, found, plan), *_settings(found, plan)]
    fill(plan, settings, command.source.name, command.environment)
    return plan


def _is_mode(taking: Taking, word: str) -> bool:
    return not word.startswith("-")


def _from_variable(command: Command) -> list[Word]:
    text = command.environment.get("GUNICORN_CMD_ARGS", "")
    if not text:
        return []
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{command.source.name}: $GUNICORN_CMD_ARGS: {error}") from None
    return [Word(word, "$GUNICORN_CMD_ARGS") for word in words]


def _from_file(command: Command, found: list[Given], plan: Plan) -> list[Setting]:
    """The settings of the file that is named, or that gunicorn reads without being told."""
    named = [each for each in found if each.taking is not None and each.taking.setting == "config"]
    name = named[-1].value if named else ""
    if name.startswith("python:") or has_variable(name):
        plan.add(
            named[-1].where,
            named[-1].flag,
            name,
            Verdict.MISSING,
            "it is not read here: give its file to migrate too",
            matters=True,
        )
        return []
    path = name.removeprefix("file:")
    source = command.source.beside(path or DEFAULT_FILE, command.directory)
    if source is None:
        if path:
            plan.add(
                named[-1].where,
                named[-1].flag,
                name,
                Verdict.MISSING,
                FILE_ELSEWHERE.text,
                matters=True,
            )
        return []
    plan.files.append(source.name)
    plan.kept = path or DEFAULT_FILE
    if named:
        plan.add(named[-1].where, named[-1].flag, name, Verdict.TAKEN_OVER, "its settings follow")
    else:
        plan.add(
            source.name,
            "the file",
            "",
            Verdict.CHANGED,
            "gunicorn reads it without being told, from the directory where it starts; wsgi-async "
            "only by -c",
        )
    return settings_in(source)


def _settings(found: list[Given], plan: Plan) -> Iterator[Setting]:
    lists: dict[str, list[Given]] = {}
    for each in found:
        if not each.flag:
            if each.value:
                _application(each, plan)
            continue
        if each.taking is None:
            yield Setting(each.flag, each.value, each.where, each.value, each.flag)
            continue
        name = each.taking.setting
        if name in OPTIONS:
            plan.besides_kept |= {OPTIONS[name]}
        if name in _LISTS:
            lists.setdefault(name, []).append(each)
        elif not each.taking.takes_value:
            yield Setting(name, name != "sendfile", each.where, "", each.flag)
        elif name != "config":
            yield _setting(name, each, each.value)
    for name, parts in lists.items():
        for part in parts[1:]:
            plan.add(part.where, part.flag, part.value, Verdict.TAKEN_OVER)
        yield _setting(name, parts[0], "\n".join(part.value for part in parts))


def _setting(name: str, each: Given, text: str) -> Setting:
    """One with a value.

    :param text: that; of a list, a text on each line.
    """
    variable, known = "", True
    value: Any = text
    if has_variable(text):
        variable, value = text, with_defaults(text)
        known = value is not None
    if name in _LISTS and known:
        value = value.split("\n")
    return Setting(name, value, each.where, each.value, each.flag, variable, is_known=known)


def _application(word: Given, plan: Plan) -> None:
    if plan.application is not None or "app" in plan.variables:
        plan.add(
            word.where,
            "the application",
            word.value,
            Verdict.MISSING,
            "there is one before it, and no more is served",
            matters=True,
        )
        return
    if has_variable(word.value):
        plan.variables["app"] = word.value
        plan.application = with_defaults(word.value)
    else:
        plan.application = word.value
    plan.add(word.where, "the application", word.value, Verdict.TAKEN_OVER)
