"""gunicorn's settings, as a configuration file in Python has them.

The file is executed in the parent, once at the start and again at each reload, with the current
directory on the path. ``GUNICORN_CMD_ARGS`` is not read; where it is set, a notice says so.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import runpy
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from wsgi_async._imports import preload
from wsgi_async.config.option import OFF
from wsgi_async.config.paste_spec import paste_spec
from wsgi_async.config.sources import ForeignFile, knows
from wsgi_async.config.tls_options import lowest_version
from wsgi_async.errors import ConfigError
from wsgi_async.system.files import read_text
from wsgi_async.system.sockets import anchored

from .gunicorn_logs import LOG_SETTINGS, log_options
from .hooks import HOOKS, GunicornHooks, describe

__all__ = [
    "OPTIONS",
    "REFUSED",
    "SETTINGS",
    "addresses",
    "convert",
    "execute",
    "header_map_notices",
    "options_of",
    "proxy_protocol_notices",
    "read",
    "read_module",
    "script_name",
    "values_of",
]

OPTIONS: dict[str, str] = {
    "accesslog": "access_logfile",
    "access_log_format": "access_logformat",
    "backlog": "backlog",
    "bind": "bind",
    "ca_certs": "ca_certs",
    "cert_reqs": "cert_reqs",
    "certfile": "certfile",
    "chdir": "chdir",
    "ciphers": "ciphers",
    "control_socket": "control_socket",
    "control_socket_mode": "control_socket_mode",
    "dogstatsd_tags": "dogstatsd_tags",
    "errorlog": "error_logfile",
    "forwarded_allow_ips": "forwarded_allow_ips",
    "forwarder_headers": "forwarder_headers",
    "graceful_timeout": "graceful_timeout",
    "group": "group",
    "keepalive": "keep_alive",
    "keyfile": "keyfile",
    "limit_request_field_size": "limit_request_field_size",
    "limit_request_fields": "limit_request_fields",
    "limit_request_line": "limit_request_line",
    "logconfig": "log_config",
    "loglevel": "log_level",
    "max_requests": "max_requests",
    "max_requests_jitter": "max_requests_jitter",
    "paste": "app",
    "pidfile": "pid",
    "preload_app": "preload",
    "proc_name": "name",
    "proxy_allow_ips": "proxy_allow_from",
    "protocol": "protocol",
    "proxy_protocol": "proxy_protocol",
    "pythonpath": "pythonpath",
    "raw_env": "env",
    "raw_paste_global_conf": "paste_global",
    "reload": "reload",
    "reload_extra_files": "reload_include",
    "reuse_port": "reuse_port",
    "root_path": "root_path",
    "secure_scheme_headers": "secure_scheme_headers",
    "ssl_version": "tls_min",
    "statsd_host": "statsd_host",
    "statsd_prefix": "statsd_prefix",
    "threads": "threads",
    "timeout": "timeout",
    "umask": "umask",
    "user": "user",
    "uwsgi_allow_ips": "uwsgi_allow_from",
    "worker_connections": "max_connections",
    "workers": "workers",
    "wsgi_app": "app",
}
"""gunicorn's name: ours. One that this version has no option for is ignored, and listed."""

_OTHER_NAMES = (
    "asgi_disconnect_grace_period asgi_lifespan asgi_loop capture_output casefold_http_method "
    "check_config config default_proc_name dirty_apps dirty_graceful_timeout dirty_post_fork "
    "dirty_threads dirty_timeout dirty_worker_exit dirty_worker_init dirty_workers "
    "do_handshake_on_connect "
    "enable_backlog_metric enable_stdio_inheritance http2_cleartext "
    "http2_initial_window_size http2_max_concurrent_streams http2_max_frame_size "
    "http2_max_header_list_size http_parser http_protocols initgroups "
    "logger_class on_dirty_starting permit_obsolete_folding permit_unconventional_http_method "
    "permit_unconventional_http_version pre_exec print_config reload_engine "
    "sendfile spew strip_header_spaces suppress_ragged_eofs tmp_upload_dir "
    "websocket_max_message_size worker_abort worker_class worker_int worker_tmp_dir"
)
_OTHERS = frozenset(_OTHER_NAMES.split())
"""Settings without a counterpart, which may be ignored: the site is served all the same."""

REFUSED: dict[str, str] = {
    "ssl_context": "a context of its own cannot be renewed when the files change: write certfile, "
    "keyfile, ca_certs, cert_reqs and ciphers, and --tls-min 1.3 where 1.2 is not to be spoken",
    "daemon": "this server stays in the foreground, where systemd and Docker want it: remove it",
}
"""Settings that cannot be ignored: what is served would not be what was asked for."""

_HEADER_MAPS = {
    "refuse": "a field with an underscore in its name is left out here, and its request served",
    "dangerous": "no field with an underscore in its name reaches the application: have the proxy "
    "send it with hyphens, or name it in forwarder_headers",
}
"""What to say of gunicorn's ``header_map`` where it is not ``drop``."""

SETTINGS = frozenset(
    (*OPTIONS, *_OTHERS, *REFUSED, *HOOKS, *LOG_SETTINGS, "control_socket_disable", "header_map")
)
"""All that are known here by their names."""

UNLIMITED = 1 << 30
"""What becomes of gunicorn's 0 for the sizes of request line and field."""

MOST_FIELDS = 32768
"""What becomes of 0 for their number, there as well."""


preload("pkgutil")  # runpy imports it late, when the file's directory may be on the path


def read(path: Path, name: str, environ: Mapping[str, str]) -> ForeignFile:
    """Execute the file.

    :param name: what the operator calls it.
    :raises ConfigError: it raises, or a setting is wrong.
    """
    return convert(execute(path, name), name, environ)


def read_module(module: str, environ: Mapping[str, str]) -> ForeignFile:
    """Likewise for a module, ``python:MODULE``."""
    return convert(values_of(f"python:{module}"), module, environ)


def values_of(named: str) -> dict[str, Any]:
    """What a file or a module assigns, by name.

    :param named: ``FILE``, ``file:FILE`` or ``python:MODULE``.
    :raises ConfigError: it cannot be read, or raises.
    """
    if named.startswith("python:"):
        module = named.removeprefix("python:")
        return _run(lambda: _reload(module), named)
    name = named.removeprefix("file:")
    return execute(Path(name), name)


def execute(path: Path, name: str) -> dict[str, Any]:
    """Run the file: what it has set, by name.

    :raises ConfigError: it cannot be read, or raises.
    """
    try:
        read_text(path)  # it is executed by its name, for the sake of its tracebacks
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}") from None
    except UnicodeDecodeError:
        pass  # it may say its encoding
    return _run(lambda: runpy.run_path(str(path)), name)


def _reload(module: str) -> dict[str, Any]:
    before = sys.modules.pop(module, None)  # a reload reads it again
    try:
        return vars(importlib.import_module(module))
    except BaseException:
        if before is not None:
            sys.modules[module] = before
        raise


def _run(execute: Callable[[], dict[str, Any]], name: str) -> dict[str, Any]:
    here = os.getcwd()
    if here not in sys.path:
        # gunicorn does so before it executes the file; its hooks import from there as well.
        sys.path.insert(0, here)
    try:
        return execute()
    except KeyboardInterrupt:
        raise  # the operator's
    except BaseException as error:
        failure = ConfigError(f"{name} raised {describe(error)}")
        failure.add_note("".join(traceback.format_exception(error)))
        raise failure from None


def convert(
    values: Mapping[str, Any],
    name: str,
    environ: Mapping[str, str],
    *,
    announces_threads: bool = True,
) -> ForeignFile:
    """What becomes of settings.

    :param values: by name; what is no setting is passed over.
    :param name: what to call their place.
    :param environ: the environment, for $SCRIPT_NAME, and to say what is not read.
    :param announces_threads: say that the default of ``threads`` is another one here.
    :raises ConfigError: a value that cannot be understood, or a setting that cannot be ignored.
    """
    hooks: dict[str, Callable[..., Any]] = {}
    ignored = []
    notices: list[str] = []
    given: dict[str, Any] = {}
    logs: dict[str, Any] = {}
    is_without_control = False
    for setting, value in values.items():
        if setting in HOOKS:
            if value is not None:
                _check_hook(setting, value, name)
                hooks[setting] = value
        elif setting in REFUSED:
            if value:
                raise ConfigError(f"{name}: {setting} = {value!r}: {REFUSED[setting]}")
        elif setting == "header_map":
            notices += header_map_notices(value, name)
        elif setting in LOG_SETTINGS:
            logs[setting] = value
        elif setting == "control_socket_disable":
            is_without_control = bool(value)
        elif setting in _OTHERS:
            if value:
                ignored.append(setting)
        elif setting in OPTIONS:
            given[setting] = value
    if is_without_control:
        given["control_socket"] = ""
    options, unknown = options_of(given, name)
    for_logs, said = log_options(
        logs, options.get("chdir", ""), str(given.get("proc_name") or ""), name
    )
    options |= for_logs
    notices += said
    if path := script_name(given.get("raw_env"), environ):
        options["root_path"] = path
    if ignored or unknown:
        notices.append(f"{name}: ignored here: {', '.join(sorted([*ignored, *unknown]))}")
    if announces_threads and "threads" not in given:
        notices.append(
            f"{name}: threads is not set, where gunicorn has 1: the default here is --threads 8"
        )
    notices += proxy_protocol_notices(options.get("proxy_protocol", OFF), name)
    if environ.get("GUNICORN_CMD_ARGS"):
        notices.append("$GUNICORN_CMD_ARGS is not read: $WSGI_ASYNC_CMD_ARGS is")
    make = partial(GunicornHooks, hooks, dict(given), name, OPTIONS) if hooks else None
    return ForeignFile(options, tuple(notices), make)


def header_map_notices(value: Any, name: str) -> list[str]:
    """What to say of the setting ``header_map``, in a line or none.

    :param name: what to call its place.
    """
    consequence = _HEADER_MAPS.get(str(value))
    return [f"{name}: header_map = {value!r}: {consequence}"] if consequence else []


def proxy_protocol_notices(mode: str, name: str) -> list[str]:
    """What to say where the PROXY protocol is spoken, in a line or none.

    :param mode: the value of our option, and
    :param name: what to call the place of gunicorn's.
    """
    if mode == OFF:
        return []
    return [f"{name}: a connection without a PROXY header is closed here, where gunicorn serves it"]


def script_name(raw_env: Any, environ: Mapping[str, str]) -> str:
    """Where gunicorn has the application, by $SCRIPT_NAME; "" at the root. Its ``root_path`` is for
    ASGI.

    :param raw_env: the setting, which goes before
    :param environ: the environment.
    """
    texts = raw_env if isinstance(raw_env, list | tuple) else ()
    variables = {**environ, **dict(str(text).partition("=")[::2] for text in texts)}
    path = variables.get("SCRIPT_NAME", "")
    return path.rstrip("/") if path.startswith("/") else ""


def options_of(given: Mapping[str, Any], name: str) -> tuple[dict[str, Any], list[str]]:
    """Our options for gunicorn's settings, by name, and those for which there is none here.

    :param name: what to call their place in an error.
    :raises ConfigError: a value that cannot be understood.
    """
    options: dict[str, Any] = {}
    unknown: list[str] = []
    for setting, value in given.items():
        option = OPTIONS[setting]
        if value is None or (value == [] and setting not in _EMPTY_IS_A_VALUE):
            continue
        if not knows(option):
            if value:
                unknown.append(setting)
            continue
        convert = _CONVERSIONS.get(setting)
        try:
            converted = convert(value) if convert is not None else value
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from None
        except (AttributeError, TypeError, ValueError):
            raise ConfigError(f"{name}: {setting} cannot be {value!r}") from None
        if converted is not None:
            options[option] = converted
    _anchor(options)
    return options, unknown


def addresses(value: Any) -> list[str]:
    """Those of ``bind``, as ``--bind`` takes them.

    :param value: a list, or a text with commas.
    """
    parts = value.split(",") if isinstance(value, str) else list(value)
    return [found for part in parts if (found := _address(part))]


def _address(text: str) -> str:
    return re.sub(r"^(?:tcp://|(unix:)(?://)?)", r"\1", text.strip(" \t"))


def _octal(value: Any) -> str:
    # Of texts gunicorn takes "022" as octal, too.
    number = int(re.sub(r"^0(?=[0-9])", "0o", value), 0) if isinstance(value, str) else int(value)
    return f"{number:o}"


def _limit(value: Any) -> int:
    return int(value) or UNLIMITED


def _peers(value: Any) -> list[str]:
    # gunicorn asks nobody on a unix socket for an address.
    return [*_words(value), "unix"]


def _words(value: Any) -> list[str]:
    words = value.split(",") if isinstance(value, str) else value
    return [word.strip() for word in words if word.strip()]


def _mode(value: Any) -> str:
    """The PROXY protocol's, in all the ways that gunicorn knows to say it."""
    text = str(value).lower().strip()
    return {"true": "auto", "1": "auto", "false": "off", "0": "off", "none": "off"}.get(text, text)


def _paste(value: Any) -> str:
    if paste_spec(value) is None:
        raise ConfigError(f"paste takes FILE.ini or FILE.ini#NAME, not {value!r}")
    return str(value)


def _file(value: Any) -> list[str]:
    # One file, whose name may have a comma.
    return [os.fspath(value)] if value else []


_EMPTY_IS_A_VALUE = ("bind", "forwarded_allow_ips", "forwarder_headers")

_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "bind": addresses,
    "certfile": _file,
    "chdir": os.fspath,
    "control_socket": os.fspath,
    "control_socket_mode": _octal,
    "forwarded_allow_ips": _peers,
    "forwarder_headers": _words,
    # 0 is no time at all there, and no limit here.
    "graceful_timeout": lambda value: float(value) or 0.001,
    "group": str,
    "keyfile": _file,
    "limit_request_field_size": _limit,
    "limit_request_fields": lambda value: int(value) or MOST_FIELDS,
    "limit_request_line": _limit,
    "proxy_allow_ips": _peers,
    "proxy_protocol": _mode,
    "loglevel": lambda value: value.lower(),
    "paste": _paste,
    "secure_scheme_headers": lambda value: [f"{name}={said}" for name, said in value.items()],
    "dogstatsd_tags": lambda text: text.strip(),
    "ssl_version": lowest_version,
    "statsd_host": _address,
    "statsd_prefix": lambda text: text.strip(),
    "umask": _octal,
    "user": str,
    "uwsgi_allow_ips": _words,
}


def _anchor(options: dict[str, Any]) -> None:
    """gunicorn changes to `chdir` before it opens anything: what is relative is relative to it."""
    chdir = options.get("chdir")
    if not chdir:
        return
    files = ("access_logfile", "ca_certs", "control_socket", "error_logfile", "log_config", "pid")
    for option in files:
        if (value := options.get(option)) and value != "-":
            options[option] = os.path.join(chdir, value)
    for option in ("certfile", "keyfile"):
        if option in options:
            options[option] = [os.path.join(chdir, path) for path in options[option]]
    if "bind" in options:
        options["bind"] = [anchored(address, chdir) for address in options["bind"]]
    if "statsd_host" in options:
        options["statsd_host"] = anchored(options["statsd_host"], chdir)


def _check_hook(setting: str, value: Any, name: str) -> None:
    if not callable(value):
        raise ConfigError(f"{name}: {setting} takes a function, not {value!r}")
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return
    for count in HOOKS[setting]:
        try:
            signature.bind(*(None,) * count)
        except TypeError:
            continue
        return
    raise ConfigError(f"{name}: {setting} takes {HOOKS[setting][0]} arguments, not {signature}")
