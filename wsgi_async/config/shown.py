"""The options as an operator is shown them: each with its value, and where that comes from.

What is a secret is not shown, but for the name of a file that has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from wsgi_async.system.sockets import DEFAULT_ADDRESS

from .calls import changed
from .forwarding import believed, taken
from .option import Option
from .options import ALL_OPTIONS, OPTIONS, Config
from .sources import DEFAULT, Settings, Value
from .tls_options import password_file

__all__ = ["Shown", "shown", "shown_call", "shown_options"]


class Shown(NamedTuple):
    """One option."""

    spec: Option
    value: Any
    origin: str
    is_hidden: bool
    """Whether it is set, and must not be seen: there is no value then."""


def shown_options(values: Mapping[str, Value], config: Config) -> Iterator[Shown]:
    """All of them, in the order of the tables; of those that mean others by default, what they
    come to.

    :param values: by name; options that are not in it are left out.
    """
    for spec in ALL_OPTIONS:
        if spec.name not in values:
            continue
        value, origin = values[spec.name]
        if spec.is_secret and value and password_file(value) is None:
            yield Shown(spec, None, origin, True)
            continue
        if spec.name == "bind":
            value = value or (DEFAULT_ADDRESS,)
        elif spec.name == "forwarded_allow_ips":
            value = believed(value)
        elif spec.name == "proxy_headers":
            value = taken(value, config.forwarded_allow_ips)
        yield Shown(spec, value, origin, False)


def shown(settings: Settings) -> dict[str, Any]:
    """What JSON can be made of: ``{"options": {NAME: {"value": ..., "origin": "..."}}, "notices":
    [...]}``. Numbers, true and false and lists are such, and all else is text as it may be written
    on the command line; a secret is null, with ``"hidden": true``, and of ``env`` there are
    names."""
    found = shown_options(settings.values, settings.config)
    return {"options": dict(map(_as_json, found)), "notices": list(settings.notices)}


def shown_call(config: Config) -> dict[str, Any]:
    """The same of the options of a call, such as ``serve(app, workers=2)``."""
    given = changed(config)
    values = {
        spec.name: Value(getattr(config, spec.name), "call" if spec.name in given else DEFAULT)
        for spec in OPTIONS
    }
    return {"options": dict(map(_as_json, shown_options(values, config))), "notices": []}


def _as_json(option: Shown) -> tuple[str, dict[str, Any]]:
    spec, value, origin, is_hidden = option
    if is_hidden:
        return spec.name, {"value": None, "origin": origin, "hidden": True}
    if spec.name == "env":  # what the application is told may be secret, and is nobody else's
        value = [f"{text.partition('=')[0]}=..." for text in value]
    elif spec.kind == "texts" and value is not None:
        value = list(value)
    elif spec.kind not in ("number", "bool"):
        value = spec.format(value)
    return spec.name, {"value": value, "origin": origin}
