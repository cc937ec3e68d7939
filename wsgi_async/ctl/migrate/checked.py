"""A plan, as our own table of options takes it: what another server was told may be nothing that
this one can be told."""

from __future__ import annotations

import re
from typing import Any

from wsgi_async.config.calls import join_address
from wsgi_async.config.option import Option
from wsgi_async.config.options import ALL_OPTIONS, OPTIONS, Config
from wsgi_async.errors import ConfigError
from wsgi_async.system.sockets import DEFAULT_PORT, parse_address

from .report import Plan, Verdict
from .words import has_variable

__all__ = ["KNOWN", "address_by_default", "check", "default_of", "joined"]

KNOWN: dict[str, Option] = {spec.name: spec for spec in ALL_OPTIONS}


def default_of(option: str) -> str:
    """What is so where nobody says it, as prose has it: ``8``, ``30 s``, ``660``."""
    spec = KNOWN[option]
    text = spec.format(spec.default)
    if spec.kind == "duration":
        return re.sub(r"(?<=\d)(?=[a-z])", " ", text)
    return text.removeprefix("0o")


def address_by_default() -> str:
    """Where a server listens that has not been told, as prose has it."""
    return f"port {DEFAULT_PORT} of this machine alone"


def joined(host: str, port: str) -> str:
    """A bind address; variables in either stay."""
    return f"{host}:{port}" if has_variable(host) else join_address(host, port)


def check(plan: Plan, name: str) -> None:
    """Put each option into its type, in the order of the table; one that is refused is left out,
    and said to be missing.

    :param name: what to call the place of a setting that is refused.
    """
    values: dict[str, Any] = {}
    for spec in ALL_OPTIONS:
        if spec.name not in plan.options:
            continue
        try:
            values[spec.name] = spec.parse(plan.options[spec.name])
            if spec.name == "bind":
                for address in values["bind"]:
                    parse_address(address)
        except ConfigError as error:
            values.pop(spec.name, None)
            plan.add(name, spec.name, "", Verdict.MISSING, str(error), matters=True)
    try:
        Config(**{spec.name: values[spec.name] for spec in OPTIONS if spec.name in values})
    except ConfigError as error:  # they do not go together
        plan.add(name, "the options together", "", Verdict.MISSING, str(error), matters=True)
    plan.options = values
