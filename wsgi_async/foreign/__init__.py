"""Configuration files of other servers: ``gunicorn``'s in Python, ``uwsgi``'s ini files; and
``hooks``, the functions that the former has.

Runs on: the parent, when the configuration is read; hooks, where gunicorn would call them.

May import: config, errors, logs, system, wsgi.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wsgi_async.config.sources import ForeignFile
from wsgi_async.errors import ConfigError
from wsgi_async.system.files import kind_of

from . import gunicorn, uwsgi

__all__ = ["read"]


def read(named: str, directory: Path, environ: Mapping[str, str]) -> ForeignFile | None:
    """Read the file that ``--config`` names. One of gunicorn's is executed, here and nowhere else.

    :param named: as it was typed; also gunicorn's ``file:PATH`` and ``python:MODULE``, and
        ``FILE.ini:SECTION`` as uWSGI has it.
    :param directory: what a relative path is relative to.
    :param environ: the environment: for ``$(NAME)`` in an ini file, for gunicorn's $SCRIPT_NAME,
        and to say what is not read.
    :returns: None where the name is neither server's.
    :raises ConfigError: no such file, or what is wrong with it.
    """
    if named.startswith("python:"):
        return gunicorn.read_module(named.removeprefix("python:"), environ)
    name = named.removeprefix("file:")
    if name.endswith(".py"):
        return gunicorn.read(_existing(name, directory), name, environ)
    name, _, section = name.partition(".ini:")
    if section or name.endswith(".ini"):
        name = name.removesuffix(".ini") + ".ini"
        return uwsgi.read(_existing(name, directory), name, environ, section=section or "uwsgi")
    return None


def _existing(name: str, directory: Path) -> Path:
    path = directory / name
    try:
        if kind := kind_of(path.stat().st_mode):
            raise ConfigError(f"--config: {name!r} is {kind}, not an ordinary file")
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"--config: there is no file {name!r}") from None
    except OSError as error:
        raise ConfigError(f"--config: {name!r}: {error.strerror}") from None
    return path.absolute()
