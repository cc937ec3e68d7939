"""The options of a call in Python: ``serve(app, 8000, threads=4)``, ``Server(app, port=0)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsgi_async.errors import ConfigError
from wsgi_async.system.sockets import DEFAULT_PORT

from .option import Group, Scope, did_you_mean
from .options import OPTIONS, Config

__all__ = ["changed", "from_options", "given", "join_address", "make_config", "refuse"]

_REFUSALS: dict[tuple[Scope, Group | None], str] = {
    (Scope.PROCESS, None): "{} is for the command line and serve(); a Server logs to the loggers "
    "wsgi_async and wsgi_async.access, and to the latter only with "
    "observer=LogObserver(access=True)",
    (Scope.PROCESS, Group.METRICS): "{} is for the command line and serve(); a Server has "
    "observers=[StatsdObserver(Statsd(address))], both of wsgi_async.operations.statsd",
    (Scope.FLEET, None): "{} needs a supervisor: use the command line, or serve() with workers=2",
}
"""What to say of an option that nobody follows, by its scope and, where its group has a word of its
own, that."""


def from_options(**options: Any) -> Config:
    """A Config from keyword options, as ``serve(app, **options)`` takes them.

    :raises ConfigError: for a wrong value, or for a name that is no option, with the nearest.
    """
    names = [spec.name for spec in OPTIONS]
    for name in options:
        if name not in names:
            raise ConfigError(f"No such option: {name}.{did_you_mean(name, names)}")
    return Config(**options)


def make_config(port: int | None, host: str | None, options: dict[str, Any]) -> Config:
    """The Config of a call like ``serve(app, 8000, host="...", threads=4)``.

    :raises ConfigError: a wrong option; `bind` together with `port` or `host`.
    """
    if port is None and host is None:
        return from_options(**options)
    if "bind" in options:
        raise ConfigError("port and host are short for bind: give one or the other")
    port = DEFAULT_PORT if port is None else port
    if type(port) is not int or not 0 <= port <= 65535:
        raise ConfigError(f"port takes a number from 0 to 65535, not {port!r}")
    address = join_address("localhost" if host is None else host, port)
    return from_options(bind=(address,), **options)


def changed(config: Config) -> dict[str, object]:
    """What of it is not the default, by name."""
    default = Config()
    values = {spec.name: getattr(config, spec.name) for spec in OPTIONS}
    return {name: value for name, value in values.items() if value != getattr(default, name)}


def given(
    options: Mapping[str, object], scope: Scope, *, besides: Group | None = None
) -> list[str]:
    """Those of a scope that a call has given, by name. One process asks for no supervisor.

    :param besides: options of this group are left out.
    """
    return sorted(
        spec.name
        for spec in OPTIONS
        if spec.scope is scope and spec.group is not besides and spec.name in options
        if not (spec.name == "workers" and options["workers"] == 1)
    )


def refuse(options: Mapping[str, object], scope: Scope) -> None:
    """Where nobody follows the options of a scope, one that is given is an error.

    :raises ConfigError: naming the first of them.
    """
    groups = {spec.name: spec.group for spec in OPTIONS}
    for name in given(options, scope):
        text = _REFUSALS.get((scope, groups[name])) or _REFUSALS[scope, None]
        raise ConfigError(text.format(name))


def join_address(host: str | None, port: int | str) -> str:
    """A bind address from a host and a port; ``""``, ``"*"`` and None are all interfaces."""
    if host in ("", "*", None):
        return f":{port}"
    return f"[{host.strip('[]')}]:{port}" if ":" in host else f"{host}:{port}"
