"""Where the values of the options come from; the reader of the environment and of files.

Precedence, lowest first; each value keeps its origin:

1. the defaults of :class:`~wsgi_async.config.options.Config`;
2. what platforms set: ``$PORT`` (all interfaces on that port), ``$WEB_CONCURRENCY`` (workers),
   ``$FORWARDED_ALLOW_IPS`` (which proxies are believed, and unix sockets, as gunicorn has it),
   ``$LISTEN_FDS`` (sockets that a service manager has opened, instead of any other default);
3. a file: the one that ``--config`` names, which may be gunicorn's, uWSGI's or PasteDeploy's, else
   ``wsgi_async.toml``, else the section ``[tool.wsgi_async]`` of ``pyproject.toml``, both in the
   current directory;
4. ``$WSGI_ASYNC_<LONG_NAME>``;
5. ``$WSGI_ASYNC_CMD_ARGS``: a command line in a variable;
6. the command line.

**Where to listen.** ``host`` and ``port`` are a short form of ``bind``, and an error together
with it at one place. Of different places the higher one wins: ``--port`` on the command line
against ``bind`` in a file is the port. ``host`` and ``port`` may come from different places; the
missing one is the default port (``$PORT`` where it is set), and loopback, IPv4 and IPv6.

**Variables that are nobody's option.** For a Service of the name ``wsgi-async`` Kubernetes sets
``WSGI_ASYNC_PORT=tcp://10.0.0.1:80``, ``WSGI_ASYNC_SERVICE_HOST`` and more in every container near
it, as Docker's ``--link`` does; these are left alone. Any other one that there is no option for is
an error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from wsgi_async._imports import StandardFirst
from wsgi_async.errors import ConfigError
from wsgi_async.system.files import read_text
from wsgi_async.system.sockets import DEFAULT_PORT
from wsgi_async.system.systemd import inherited_sockets

from .calls import join_address
from .forwarding import taken
from .gateways import stderr_notices, trust_notices
from .hooks import Hooks
from .option import OFF, did_you_mean
from .options import ALL_OPTIONS, LAUNCH_OPTIONS, OPTIONS, Config, LaunchConfig

__all__ = ["DEFAULT", "SECRETS", "ForeignFile", "Settings", "Value", "gather", "knows"]

PREFIX = "WSGI_ASYNC_"
COMMAND_LINE = "command line"
DEFAULT = "default"

_KNOWN = {spec.name: spec for spec in ALL_OPTIONS}
_PLATFORM = (
    ("WEB_CONCURRENCY", "workers", ""),
    ("FORWARDED_ALLOW_IPS", "forwarded_allow_ips", ",unix"),
)
"""A variable, the option it is for, and what is added to its text."""
_FILES = ("wsgi_async.toml", "pyproject.toml")

# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_SERVICE_HOST = re.compile(r"(WSGI_ASYNC(?:_[A-Z0-9_]+)?)_SERVICE_HOST")
_SERVICE_PORT = re.compile(r"(WSGI_ASYNC(?:_[A-Z0-9_]+)?)_PORT")
_OF_A_SERVICE = re.compile(
    r"_SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)|_PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:ADDR|PORT|PROTO))?"
    r"|_NAME|_ENV_.+"  # Docker's
)
_LINK = re.compile(r"(?:tcp|udp|sctp)://.+")


class Value(NamedTuple):
    value: Any
    origin: str
    """``default``, ``$PORT``, ``wsgi_async.toml``, ``$WSGI_ASYNC_THREADS``, ``command line``."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All values, each with its origin; `launch` and `config` are made of them."""

    values: Mapping[str, Value]
    """Every option but ``config``, ``host`` and ``port``, which have become others' values."""
    launch: LaunchConfig
    config: Config
    notices: tuple[str, ...] = ()
    """What an operator should know of the way here: each one line, to be logged once."""
    hooks: Hooks = field(default_factory=Hooks)


class ForeignFile(NamedTuple):
    """What there is to have of another server's file."""

    options: Mapping[str, object]
    """By name, not validated."""
    notices: tuple[str, ...] = ()
    hooks: Callable[[Mapping[str, Value]], Hooks] | None = None
    """Makes the hooks of the file, once all values are known."""


ReadForeign = Callable[[str, Path, Mapping[str, str], tuple[str, ...]], ForeignFile | None]
"""Reads such a file, from its name as it was typed, the current directory, the environment and
``--paste-global``; None where the name is not that of one."""

Layer = dict[str, Value]

_ONLY_WITH = {
    "statsd_host": ("statsd_prefix", "dogstatsd_tags"),
    "control_socket": ("control_socket_mode",),
    "dashboard_bind": ("dashboard_token_file", "dashboard_show_queries"),
}
"""Options that do nothing without another one."""

SECRETS = tuple(f"{PREFIX}{spec.name.upper()}" for spec in ALL_OPTIONS if spec.is_secret)
"""Variables that are for the server alone. The application and what it starts have no use for them,
and pages of errors show what is in the environment."""


def knows(name: str) -> bool:
    """Whether there is an option of this name."""
    return name in _KNOWN


def gather(
    command_line: Mapping[str, object],
    *,
    parse: Callable[[list[str]], Mapping[str, object]],
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
    read_foreign: ReadForeign = lambda named, directory, environ, variables: None,
) -> Settings:
    """Collect the options from everywhere.

    :param command_line: the options that were given there, by name.
    :param parse: reads the arguments in ``$WSGI_ASYNC_CMD_ARGS`` into such a mapping.
    :param environ: the environment; None for the process's own.
    :param directory: where configuration files are looked for; None for the current one.
    :param read_foreign: reads a configuration file that is no TOML.
    :raises ConfigError: naming the place and the option.
    """
    environ = os.environ if environ is None else environ
    directory = Path() if directory is None else directory
    variables = _from_environ(environ)
    arguments: Layer = {}
    if text := environ.get(PREFIX + "CMD_ARGS"):
        with StandardFirst():
            import shlex
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise ConfigError(f"${PREFIX}CMD_ARGS: {error}") from None
        arguments = _layer(_blamed(parse, words), f"${PREFIX}CMD_ARGS")
    given = _layer(command_line, COMMAND_LINE)
    above = {**variables, **arguments, **given}
    named = above.get("config")
    foreign: ForeignFile | None = None
    name = str(named.value) if named else ""
    if name and not name.endswith(".toml"):
        for_paste = above["paste_global"].value if "paste_global" in above else ()
        foreign = read_foreign(name, directory, environ, for_paste)
        if foreign is None:
            raise ConfigError(f"--config takes a file .toml, .py or .ini, not {name!r}")
        file = _layer(foreign.options, name)
    else:
        file = _from_file(name, directory)

    layers = [_from_platform(environ), file, variables, arguments, given]
    merged: Layer = {name: Value(spec.default, DEFAULT) for name, spec in _KNOWN.items()}
    for layer in layers:
        merged.update(layer)
    merged["bind"] = _bind(layers, environ)
    if merged["bind"].origin in (DEFAULT, "$PORT") and (passed := inherited_sockets(environ)):
        merged["bind"] = Value(passed, "$LISTEN_FDS")
    launch = LaunchConfig(**{spec.name: merged[spec.name].value for spec in LAUNCH_OPTIONS})
    config = Config(**{spec.name: merged[spec.name].value for spec in OPTIONS})
    for name in ("config", "host", "port"):
        del merged[name]
    notices = _of_no_use(merged, config)
    if foreign is None:
        notices += _unread(directory, environ, has_file=bool(named or file))
        return Settings(merged, launch, config, notices)
    hooks = foreign.hooks(merged) if foreign.hooks is not None else Hooks()
    return Settings(merged, launch, config, foreign.notices + notices, hooks)


def _of_no_use(values: Layer, config: Config) -> tuple[str, ...]:
    """What was set by hand and does nothing, as another option stands."""
    notices = []
    if config.proxy_protocol == OFF and values["proxy_allow_from"].origin != DEFAULT:
        notices.append(
            "--proxy-allow-from is of no use without --proxy-protocol: no connection begins with a "
            "PROXY header, and where one does it is answered with 400"
        )
    is_given = values["uwsgi_allow_from"].origin != DEFAULT
    notices += trust_notices(
        config.bind, config.protocol, config.uwsgi_allow_from, is_given=is_given
    )
    if config.fastcgi_stderr:
        notices += stderr_notices(config.bind, config.protocol)
    words = taken(config.proxy_headers, config.forwarded_allow_ips)
    if "proto" not in words and values["secure_scheme_headers"].origin != DEFAULT:
        notices.append(
            "--secure-scheme-headers is of no use here: --proxy-headers does not take proto"
        )
    for needed, names in _ONLY_WITH.items():
        if not getattr(config, needed):
            notices += [
                f"{_KNOWN[name].flag} is of no use without {_KNOWN[needed].flag}"
                for name in names
                if values[name].origin != DEFAULT and values[name].value
            ]
    return tuple(notices)


def _unread(directory: Path, environ: Mapping[str, str], *, has_file: bool) -> tuple[str, ...]:
    """What somebody who comes from gunicorn may think is read.

    :param has_file: there is another configuration file: then this one was left behind.
    """
    notices = []
    if not has_file and (directory / "gunicorn.conf.py").is_file():
        notices.append("./gunicorn.conf.py is not read without -c gunicorn.conf.py")
    if environ.get("GUNICORN_CMD_ARGS"):
        notices.append(f"$GUNICORN_CMD_ARGS is not read: ${PREFIX}CMD_ARGS is")
    return tuple(notices)


def _blamed(
    parse: Callable[[list[str]], Mapping[str, object]], words: list[str]
) -> Mapping[str, object]:
    try:
        return parse(words)
    except ConfigError as error:
        raise ConfigError(f"${PREFIX}CMD_ARGS: {error}") from None


def _layer(options: Mapping[str, object], origin: str) -> Layer:
    """The values of one place, validated: a wrong one is an error even if another place wins."""
    layer: Layer = {}
    for name, value in options.items():
        try:
            layer[name] = Value(_KNOWN[name].parse(value), origin)
        except ConfigError as error:
            raise error if origin == COMMAND_LINE else ConfigError(f"{origin}: {error}") from None
    if "bind" in layer and not layer.keys().isdisjoint(("host", "port")):
        raise _bind_conflict(origin)
    return layer


def _bind_conflict(origin: str) -> ConfigError:
    place = "" if origin == COMMAND_LINE else f"{origin}: "
    return ConfigError(f"{place}--host and --port are short for --bind: give one or the other")


def _from_platform(environ: Mapping[str, str]) -> Layer:
    layer: Layer = {}
    for variable, name, more in _PLATFORM:
        if text := environ.get(variable):
            try:
                layer |= _layer({name: f"{text}{more}"}, f"${variable}")
            except ConfigError as error:
                flag = _KNOWN[name].flag
                raise ConfigError(str(error).replace(f": {flag} ", ": ", 1)) from None
    return layer


def _from_environ(environ: Mapping[str, str]) -> Layer:
    layer: Layer = {}
    names = {f"${PREFIX}{name.upper()}": name for name in _KNOWN}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable == PREFIX + "CMD_ARGS":
            continue
        origin = f"${variable}"
        if (origin not in names or _LINK.fullmatch(text)) and _is_of_a_service(variable, environ):
            continue
        if origin not in names:
            raise ConfigError(f"No such option: {origin}.{did_you_mean(origin, names)}")
        layer |= _layer({names[origin]: text}, origin)
    if "bind" in layer and not layer.keys().isdisjoint(("host", "port")):
        raise _bind_conflict(f"${PREFIX}BIND")
    return layer


def _is_of_a_service(variable: str, environ: Mapping[str, str]) -> bool:
    """Whether Kubernetes or Docker has set it for a service whose name begins like ours."""
    if _SERVICE_PORT.fullmatch(variable) and _LINK.fullmatch(environ[variable]):
        return True
    for other, value in environ.items():
        match = _SERVICE_HOST.fullmatch(other)
        if match is None and _LINK.fullmatch(value):
            match = _SERVICE_PORT.fullmatch(other)
        if match is not None and _OF_A_SERVICE.fullmatch(variable.removeprefix(match[1])):
            return True
    return False


def _from_file(named: str, directory: Path) -> Layer:
    """The options in the file that is named, else in the first of `_FILES` that has some."""
    for name in (named,) if named else _FILES:
        table = _read_toml(directory / name, name)
        if table is None and named:
            raise ConfigError(f"--config: there is no file {named!r}")
        if Path(name).name == "pyproject.toml":
            tool = (table or {}).get("tool")
            table = tool.get("wsgi_async") if isinstance(tool, dict) else None
        if table is None:
            continue
        if not isinstance(table, dict):
            raise ConfigError(f"{name}: tool.wsgi_async must be a table")
        names = [known for known in _KNOWN if known != "config"]
        for key in table:
            if key not in names:
                raise ConfigError(f"{name}: No such option: {key}.{did_you_mean(key, names)}")
        return _layer(table, name)
    return {}


def _read_toml(path: Path, name: str) -> Any:
    """The file's table, or None where there is no file."""
    try:
        text = read_text(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name} is not valid TOML: {error}") from None
    with StandardFirst():
        import tomllib
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is not valid TOML: {error}") from None


def _bind(layers: list[Layer], environ: Mapping[str, str]) -> Value:
    """Where to listen, by the rules at the head of this module."""
    host: Value | None = None
    port: Value | None = None
    for layer in layers[::-1]:
        host = host or layer.get("host")
        port = port or layer.get("port")
        if "bind" in layer:
            if host is None and port is None:
                return layer["bind"]
            break
    if port is None and (text := environ.get("PORT")):
        try:
            port = Value(_KNOWN["port"].parse(text), "$PORT")
        except ConfigError as error:
            raise ConfigError(f"$PORT: {error}") from None
        if host is None:
            return Value((join_address("*", port.value),), "$PORT")
    if host is None and port is None:
        return Value((), DEFAULT)
    name = host.value if host else "localhost"
    number = port.value if port else DEFAULT_PORT
    origins = dict.fromkeys(value.origin for value in (host, port) if value)
    return Value((join_address(name, number),), ", ".join(origins))
