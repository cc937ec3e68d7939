"""``manage.py runwsgiasync [ADDRPORT] [OPTIONS]``: serve the site of this project."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management.base import BaseCommand

from wsgi_async.flags import flags

__all__ = ["Command", "command_line"]

_NOT_HERE = frozenset({"--app", "--factory", "--pythonpath", "--version"})
"""Django says which application, and has a --pythonpath and a --version of its own."""

_ADDRPORT = re.compile(r"(?:(?P<host>\[[0-9A-Fa-f:.%]+\]|[^:\[\]]+):)?(?P<port>[0-9]{1,5})")

STATIC = "django.contrib.staticfiles.handlers:StaticFilesHandler"


class Command(BaseCommand):  # type: ignore[misc]  # Django has no type annotations
    """After Django's checks this process becomes the server, as ``python -m wsgi_async`` would
    start it: nothing of the project is imported in the parent, so that a reload loads all anew."""

    help = "Serves the project's WSGI application with wsgi_async, with the options of wsgi-async."
    _name = "runwsgiasync"

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> Any:
        self._name = f"{os.path.basename(prog_name)} {subcommand}"
        return super().create_parser(prog_name, subcommand, **options)

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "addrport", nargs="?", default="", type=_address, help="Port number, or host:port"
        )
        parser.add_argument(
            "--nostatic",
            action="store_false",
            dest="use_static_handler",
            help="Do not serve static files by django.contrib.staticfiles, as it does with DEBUG.",
        )
        parser.add_argument(
            "--insecure",
            action="store_true",
            dest="insecure_serving",
            help="Serve static files by it also without DEBUG.",
        )
        group = parser.add_argument_group("options of wsgi-async")
        for flag in flags():
            if flag.names[0] in _NOT_HERE or _NOT_HERE & set(flag.names):
                continue
            group.add_argument(
                *flag.names,
                dest="arguments",
                action=_Collect,
                nargs="?" if flag.is_value_optional else None if flag.takes_value else 0,
                default=argparse.SUPPRESS,
                metavar=_long(flag.names).strip("-").replace("-", "_").upper(),
                help=flag.help.replace("%", "%%") or argparse.SUPPRESS,
            )

    def handle(self, *args: Any, **options: Any) -> None:
        static = (
            apps.is_installed("django.contrib.staticfiles")
            and options.get("use_static_handler", True)
            and (settings.DEBUG or options.get("insecure_serving", False))
        )
        command = command_line(options, application=settings.WSGI_APPLICATION, static=static)
        for stream in (self.stdout, self.stderr):
            stream.flush()
        # By a module that tells the server what it was called.
        start = [sys.executable, "-m", "wsgi_async.django", self._name]
        os.execv(sys.executable, [*start, *command])


class _Collect(argparse.Action):
    """Collect the options for wsgi-async, which understands them, in their order."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        value = f"={values}" if isinstance(values, str) else ""
        # By its long name: a short one takes no "=".
        name = _long(self.option_strings) if value else option_string
        collected = getattr(namespace, self.dest, [])
        setattr(namespace, self.dest, [*collected, f"{name}{value}"])


def _long(names: Sequence[str]) -> str:
    return next((name for name in names if name.startswith("--")), names[0])


def command_line(
    options: dict[str, Any], *, application: str | None, static: bool = False
) -> list[str]:
    """The arguments of ``wsgi-async`` for the options of this command.

    :param options: by name: `addrport`, `arguments` and `pythonpath`; others are left out.
    :param application: Django's WSGI_APPLICATION.
    :param static: whether Django's handler of static files is to be around it.
    """
    arguments = [application or "django.core.wsgi:get_wsgi_application()"]
    if addrport := options.get("addrport"):
        arguments += ["--bind", addrport]
    arguments += options.get("arguments", ())
    if static:
        arguments.append(f"--middleware={STATIC}")  # the innermost
    # manage.py's directory is on its path wherever it is called from.
    path = [part for part in (options.get("pythonpath"), sys.path[0]) if part]
    return [*arguments, f"--pythonpath={','.join(map(os.path.abspath, path))}"]


def _address(text: str) -> str:
    """What ``--bind`` takes for runserver's argument; "" is none."""
    if not text:
        return ""
    match = _ADDRPORT.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a port nor host:port")
    host, port = match["host"], match["port"]
    if host is None:
        return f"localhost:{port}"
    # As runserver understands it.
    return f"{'0.0.0.0' if host == '0' else host}:{port}"
