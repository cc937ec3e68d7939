"""``manage.py runwsgiasync [ADDRPORT] [OPTIONS]``: serve the site of this project."""

from __future__ import annotations

import os
import re
import sys
from argparse import SUPPRESS, ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from wsgi_async.config import OPTIONS, Option
from wsgi_async.settings import LAUNCH_OPTIONS

__all__ = ["Command", "command_line"]

_NOT_HERE = frozenset({"app", "factory", "pythonpath"})
"""Django says which application, and has a --pythonpath of its own."""

_SPECS = tuple(spec for spec in (*LAUNCH_OPTIONS, *OPTIONS) if spec.name not in _NOT_HERE)

_ADDRPORT = re.compile(r"(?:(?P<host>\[[0-9A-Fa-f:.%]+\]|[^:\[\]]+):)?(?P<port>[0-9]{1,5})")


class Command(BaseCommand):  # type: ignore[misc]  # Django has no type annotations
    """After Django's checks this process becomes the server, as ``python -m wsgi_async`` would
    start it: nothing of the project is imported in the parent, so that a reload loads all anew."""

    help = "Serves the project's WSGI application with wsgi_async, with the options of wsgi-async."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("addrport", nargs="?", default="", help="Port number, or host:port")
        group = parser.add_argument_group("options of wsgi-async")
        for spec in _SPECS:
            _add(group, spec)

    def handle(self, *args: Any, **options: Any) -> None:
        command = command_line(options, application=settings.WSGI_APPLICATION)
        for stream in (self.stdout, self.stderr):
            stream.flush()
        os.execv(sys.executable, [sys.executable, "-m", "wsgi_async", *command])


def _add(group: Any, spec: Option) -> None:
    text = spec.help.replace("%", "%%")
    names = [*spec.flags, spec.flag]
    if spec.kind == "bool":
        group.add_argument(*names, dest=spec.name, action="store_true", default=SUPPRESS, help=text)
        off = f"--no-{spec.flag[2:]}"
        group.add_argument(
            off, dest=spec.name, action="store_false", default=SUPPRESS, help=SUPPRESS
        )
        return
    group.add_argument(
        *names,
        dest=spec.name,
        action="append" if spec.kind == "texts" else "store",
        default=SUPPRESS,
        metavar=spec.name.upper(),
        help=text,
    )


def command_line(options: dict[str, Any], *, application: str | None) -> list[str]:
    """The arguments of ``wsgi-async`` for the options of this command.

    :param options: by name; those that are not ours are left out.
    :param application: Django's WSGI_APPLICATION.
    :raises CommandError: `addrport` is neither a port nor ``host:port``.
    """
    arguments = [application or "django.core.wsgi:get_wsgi_application()"]
    if addrport := options.get("addrport"):
        arguments += ["--bind", _address(addrport)]
    for spec in _SPECS:
        value = options.get(spec.name)
        if value is None:
            continue
        if spec.kind == "bool":
            arguments.append(spec.flag if value else f"--no-{spec.flag[2:]}")
        elif spec.kind == "texts" and not isinstance(value, str):
            arguments += [f"{spec.flag}={text}" for text in value]
        else:
            arguments.append(f"{spec.flag}={value}")
    # manage.py's directory is on its path wherever it is called from.
    path = [part for part in (options.get("pythonpath"), sys.path[0]) if part]
    return [*arguments, f"--pythonpath={','.join(map(os.path.abspath, path))}"]


def _address(text: str) -> str:
    match = _ADDRPORT.fullmatch(text)
    if match is None:
        raise CommandError(f"{text!r} is neither a port nor host:port")
    host, port = match["host"], match["port"]
    if host is None:
        return f"localhost:{port}"
    # As runserver understands it.
    return f"{'0.0.0.0' if host == '0' else host}:{port}"
