"""Configuration files of other servers: ``gunicorn``'s in Python, ``uwsgi``'s ini files, those of
PasteDeploy (``paste``), which may have ``waitress``'s settings; and ``hooks``, the functions that
the first have.

Runs on: the parent, when the configuration is read; hooks, where gunicorn would call them.

May import: config, errors, logs, system, wsgi.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from wsgi_async.config.paste_spec import PasteSpec, paste_spec
from wsgi_async.config.sources import ForeignFile
from wsgi_async.errors import ConfigError
from wsgi_async.system.files import kind_of

from . import gunicorn, paste, uwsgi

__all__ = ["read"]


def read(
    named: str, directory: Path, environ: Mapping[str, str], variables: Sequence[str] = ()
) -> ForeignFile | None:
    """Read the file that ``--config`` names. One of gunicorn's is executed, here and nowhere else.

    :param named: as it was typed; also gunicorn's ``file:PATH`` and ``python:MODULE``, and
        ``FILE.ini:SECTION`` as uWSGI has it, and ``FILE.ini#NAME`` as PasteDeploy has.
    :param directory: what a relative path is relative to.
    :param environ: the environment: for ``$(NAME)`` in an ini file, for gunicorn's $SCRIPT_NAME,
        and to say what is not read.
    :param variables: ``NAME=VALUE`` for a PasteDeploy file.
    :returns: None where the name is neither server's.
    :raises ConfigError: no such file, or what is wrong with it.
    """
    if named.startswith("python:"):
        return gunicorn.read_module(named.removeprefix("python:"), environ)
    name = named.removeprefix("file:")
    if name.endswith(".py"):
        return gunicorn.read(_existing(name, directory), name, environ)
    if (spec := paste_spec(name)) is not None:
        return _read_ini(spec, directory, environ, variables)
    name, _, section = name.partition(".ini:")
    if section:
        name += ".ini"
        return uwsgi.read(_existing(name, directory), name, environ, section=section)
    return None


def _read_ini(
    spec: PasteSpec, directory: Path, environ: Mapping[str, str], variables: Sequence[str]
) -> ForeignFile:
    """A file whose sections say whose it is, unless the way it is named does."""
    name = spec.file
    path = _existing(name, directory)
    sections = paste.sections_of(path)
    if not spec.name and not paste.is_paste(sections):
        if sections and "uwsgi" not in sections:
            raise ConfigError(f"{name} has no section [uwsgi], nor [app:main] or [server:main]")
        return uwsgi.read(path, name, environ, section="uwsgi")
    if not spec.name and "uwsgi" in sections:
        raise ConfigError(
            f"{name} has a section [uwsgi] and sections of PasteDeploy's: write -c {name}:uwsgi "
            f"for the former, -c {name}#main for the latter, or -c {name}:uwsgi {name} for the "
            "options of the one and the application of the other"
        )
    return paste.read(path, name, environ, section=spec.name, variables=variables)


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
