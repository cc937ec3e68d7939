"""The kinds of what can be read, and how one is told from the others."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

from wsgi_async.errors import ConfigError
from wsgi_async.foreign.gunicorn import SETTINGS

from . import gunicorn_file, mod_wsgi, paste, procfile, servers, systemd, uwsgi
from .report import Reader, Source

__all__ = ["KINDS", "Kind", "kind_of"]


@dataclass(frozen=True, slots=True)
class Kind:
    """What can be read."""

    name: str
    """What ``--kind`` takes."""
    title: str
    recognize: Callable[[Source], str]
    """By what a source is one of this kind: ``by its name``; empty where it is none."""
    read: Reader


_PROCESS = re.compile(r"[A-Za-z0-9_-]+:\s*\S.*")
_SETTING = re.compile(r"^([a-z_]+)\s*(?::[^=]+)?=[^=]", re.MULTILINE)


def _is_gunicorn(source: Source) -> str:
    name = PurePath(source.name).name
    if name.endswith(".py") and "gunicorn" in name:
        return "by its name"
    if not name.endswith(".py"):
        return ""
    try:
        ast.parse(source.text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    names = sorted({name for name in _SETTING.findall(source.text) if name in SETTINGS})
    return f"by what it sets: {', '.join(names[:3])}" if len(names) > 1 else ""


def _is_procfile(source: Source) -> str:
    if PurePath(source.name).name.split(".")[0] == "Procfile":
        return "by its name"
    lines = [line for line in source.text.splitlines() if line.strip() and line.strip()[0] != "#"]
    is_one = bool(lines) and all(_PROCESS.fullmatch(line) for line in lines)
    return "by its lines, each a name and a command" if is_one else ""


def _is_unit(source: Source) -> str:
    if PurePath(source.name).suffix == ".service":
        return "by its name"
    is_one = re.search(r"^\[Service\]\s*$", source.text, re.MULTILINE)
    return "by its section [Service]" if is_one else ""


def _is_command(source: Source) -> str:
    try:
        servers.read_words(source)
    except ConfigError:
        return ""
    return "by the program that it calls"


KINDS: tuple[Kind, ...] = (
    Kind("gunicorn-config", "gunicorn's configuration file", _is_gunicorn, gunicorn_file.read),
    Kind("uwsgi", "uWSGI's configuration file", uwsgi.is_uwsgi, uwsgi.read),
    Kind("paste", "PasteDeploy file", paste.is_paste, paste.read),
    Kind("apache", "Apache's configuration", mod_wsgi.is_apache, mod_wsgi.read),
    Kind("procfile", "Procfile", _is_procfile, procfile.read),
    Kind("systemd", "systemd unit", _is_unit, systemd.read),
    Kind("command", "command line", _is_command, servers.read_words),
)
"""In the order in which they are tried."""


def kind_of(source: Source, name: str = "") -> tuple[Kind, str]:
    """The kind of a source, and by what it was recognized.

    :param name: which it is said to be; empty where nobody has said.
    :raises ConfigError: it is none.
    """
    for kind in KINDS:
        if name:
            if kind.name == name:
                return kind, "as --kind says"
        elif how := kind.recognize(source):
            return kind, how
    names = ", ".join(kind.name for kind in KINDS)
    if name:
        raise ConfigError(f"There is no kind {name!r}: --kind takes {names}")
    if not source.text.strip():
        raise ConfigError(f"{source.name} is empty")
    if PurePath(source.name).suffix == ".socket":
        raise ConfigError(
            f"{source.name}: a socket unit stays as it is, and its service takes its sockets: "
            "give that service alone"
        )
    raise ConfigError(
        f"{source.name}: of what kind it is cannot be seen: say --kind, one of {names}, or give "
        "its command line behind --"
    )
