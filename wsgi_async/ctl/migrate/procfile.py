"""A Procfile: a line for each kind of process, ``web: gunicorn app:app``."""

from __future__ import annotations

import re

from wsgi_async.errors import ConfigError

from .report import Plan, Source, Verdict
from .servers import command_in, plan_of, unknown
from .words import split

__all__ = ["read"]

_LINE = re.compile(r"([A-Za-z0-9_-]+):\s*(.*)")


def read(source: Source) -> list[Plan]:
    """A plan for each process that is a server's."""
    plans: list[Plan] = []
    others: list[tuple[str, str, str]] = []
    for number, line in enumerate(source.text.splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            raise ConfigError(f"{source.name}:{number}: expected NAME: COMMAND")
        name, words = match[1], split(match[2], source.name, number)
        command = command_in(words, source)
        if command is None:
            others.append((f"{source.name}:{number}", name, match[2]))
            continue
        plan = plan_of(command)
        plan.title = name
        plan.place = f"{name}: {plan.place}"
        plans.append(plan)
    if not plans:
        raise unknown(source.name)
    for where, name, written in others:
        plans[0].add(where, name, written, Verdict.TAKEN_OVER, "no server's: it stays as it is")
    return plans
