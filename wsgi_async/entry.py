"""``wsgi_async.main``: the command line of a program that has its own application."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from wsgi_async import cli
from wsgi_async.wsgi.types import Application

__all__ = ["main"]


def main(application: Application | None = None, args: Sequence[str] | None = None) -> NoReturn:
    """Serve `application` as the command ``wsgi-async`` would, and end the process::

        if __name__ == "__main__":
            main(app)

    Then ``python -m site --port 8080 --workers 2`` takes all its options, reads the same files and
    variables, and obeys the same signals. The processes are forked with the application as it is:
    SIGHUP replaces them, but new code takes a restart.

    For the main thread, outside an event loop.

    :param application: the WSGI application; None where the arguments name it.
    :param args: the arguments; None for the process's own.
    :raises SystemExit: always, with the codes of the command.
    """
    cli.main(args, prog_name=_program(), application=application)


def _program() -> str:
    """How this program was started."""
    module = sys.modules.get("__main__")
    spec = getattr(module, "__spec__", None)
    if spec is not None and spec.name:
        return f"python -m {spec.name.removesuffix('.__main__')}"
    return os.path.basename(sys.argv[0]) or "python"
