"""PasteDeploy's ini files: [server:main] are options, and [app:main] is what is served.

``pserve`` reads such a file by itself, and calls :mod:`wsgi_async.paste`.
"""

from __future__ import annotations

import configparser
import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from wsgi_async._imports import StandardFirst
from wsgi_async.config.ini_errors import CIRCLE, ini_problem
from wsgi_async.config.paste_spec import MAIN, parse_variables, paste_spec
from wsgi_async.config.sources import DEFAULT, ForeignFile, Settings, Value
from wsgi_async.errors import ConfigError
from wsgi_async.system.files import read_text

from .paste_options import convert

__all__ = ["is_application", "is_paste", "read", "sections_of", "with_loggers"]

_SECTION = re.compile(r"^\[([^\]\n]+)\]", re.MULTILINE)
_APPLICATIONS = ("app", "application", "composite", "composit", "pipeline", "filter-app")


def sections_of(path: Path) -> list[str]:
    """The sections of an ini file; none where it cannot be read, for who reads it says why."""
    try:
        return _SECTION.findall(read_text(path))
    except (OSError, UnicodeDecodeError):
        return []


def is_paste(sections: Sequence[str]) -> bool:
    """Whether these are a PasteDeploy file's."""
    return any(map(is_application, sections)) or any(
        section.partition(":")[0] == "server" for section in sections
    )


def is_application(section: str) -> bool:
    """Whether a section of this name has an application."""
    return section.partition(":")[0] in _APPLICATIONS


def read(
    path: Path,
    name: str,
    environ: Mapping[str, str],
    *,
    section: str = "",
    variables: Sequence[str] = (),
) -> ForeignFile:
    """Read the server's section of the file, and see what application there is.

    :param path: absolute.
    :param name: what the operator calls it.
    :param environ: the environment.
    :param section: which application: NAME of [app:NAME]. The server is [server:NAME], else
        [server:main].
    :param variables: ``NAME=VALUE``, what the file may refer to.
    :raises ConfigError: what is wrong with it, or PasteDeploy is not installed.
    """
    try:
        with StandardFirst():
            from importlib.metadata import PackageNotFoundError

            from .paste_sections import has_application, server_section
    except ImportError:
        raise ConfigError(
            f"{name} is a PasteDeploy file, which needs PasteDeploy: "
            "pip install 'wsgi_async[paste]'"
        ) from None
    given = parse_variables(variables)
    try:
        server = server_section(str(path), section or MAIN, given)
        has_app = has_application(str(path), section or MAIN, given)
    except PackageNotFoundError as error:
        raise ConfigError(
            f"{name}: no distribution {error.name!r} is installed, which a section of it requires"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{name} is not UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{name}: {error.filename}: {error.strerror}") from None
    except (LookupError, configparser.Error) as error:
        raise ConfigError(f"{name}: {ini_problem(error)}") from None
    except RecursionError:
        raise ConfigError(f"{name}: {CIRCLE}") from None
    if not has_app and (section or server is None):
        raise ConfigError(_without_application(name, section or MAIN, sections_of(path)))
    options: dict[str, object] = {}
    notices: tuple[str, ...] = ()
    hooks = None
    if server is not None:
        label = f"{name}, [server:{server.name}]"
        file = convert(server.settings, server.use, label, environ)
        options, notices, hooks = {**file.options}, file.notices, file.hooks
    if has_app:
        options["app"] = f"{path}#{section or MAIN}"
    if "log_config" not in options and "loggers" in sections_of(path):
        options["log_config"] = str(path)
    return ForeignFile(options, notices, hooks)


def _without_application(name: str, wanted: str, sections: Sequence[str]) -> str:
    names = [
        section.partition(":")[2]
        for section in sections
        if ":" in section and is_application(section)
    ]
    hint = f"; write {name}#NAME, of which there are: {', '.join(names)}" if names else ""
    return f"{name} has no section [app:{wanted}]{hint}"


def with_loggers(settings: Settings, directory: Path) -> Settings:
    """The same, with the logging that the application's file describes where nobody has said
    anything else about it: as ``pserve`` and ``gunicorn --paste`` have it.

    :param directory: what a relative ``--chdir`` is relative to.
    """
    spec = paste_spec(settings.launch.app)
    if spec is None or settings.values["log_config"].origin != DEFAULT:
        return settings
    path = directory / settings.launch.chdir / spec.file
    if "loggers" not in sections_of(path):
        return settings
    named = os.path.abspath(path)
    return dataclasses.replace(
        settings,
        values={**settings.values, "log_config": Value(named, spec.file)},
        config=dataclasses.replace(settings.config, log_config=named),
    )
