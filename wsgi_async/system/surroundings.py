"""What an application finds around it: directory, import path and environment.

Each serving process makes them anew before it loads the application, and the parent never has
them itself: a reload finds the ``--env-file`` as it is then, and what a symbolic link such as
``/srv/app/current`` has come to point at.
"""

from __future__ import annotations

import importlib.machinery
import io
import os
import stat
import sys
import time
import zipimport
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from wsgi_async.errors import ConfigError

from .files import read_text

__all__ = ["Surroundings", "keep_standard_descriptors", "start_directory"]


def keep_standard_descriptors() -> None:
    """Open the null device where somebody closed descriptor 0, 1 or 2.

    Else a socket would take the number; libuv aborts the process when it closes such a one.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # the lowest that is free
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def start_directory(environ: Mapping[str, str]) -> str:
    """The current directory by the name the operator knows it by. To be asked at the start.

    getcwd() names the directory that a symbolic link pointed at; a shell's PWD has the link
    (POSIX, ``pwd -L``), and is believed while it is the same directory.

    :raises ConfigError: it has been removed.
    """
    name = environ.get("PWD", "")
    try:
        if os.path.isabs(name) and os.path.samefile(name, "."):
            return name
    except OSError:
        pass
    try:
        return os.getcwd()
    except OSError as error:
        raise ConfigError(f"The current directory: {error.strerror}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The options ``--chdir``, ``--pythonpath``, ``--env-file`` and ``--env``, as given."""

    start: str
    """What :func:`start_directory` was; `chdir` is relative to it, the other names to `chdir`."""
    chdir: str = ""
    pythonpath: tuple[str, ...] = ()
    env_file: str = ""
    env: tuple[str, ...] = ()
    """``NAME=VALUE``. They win over the file's, and over the environment."""

    def enter(self, environ: MutableMapping[str, str]) -> None:
        """Make them this process's. Once, before the application is imported.

        :param environ: ``os.environ`` itself: python-dotenv knows no other.
        :raises ConfigError: a directory or a file is missing or cannot be read, or python-dotenv
            is not installed.
        """
        directory = os.path.join(self.start, self.chdir) if self.chdir else self.start
        left = _current_directory()
        try:
            os.chdir(directory)
        except OSError as error:
            raise ConfigError(
                f"--chdir: cannot change to {directory!r}: {error.strerror}"
                if self.chdir
                else f"Cannot change to {directory!r}, where it was started: {error.strerror}"
            ) from None
        self._extend_path(left)
        self._set_variables(environ)

    def _extend_path(self, left: str) -> None:
        """Put the current directory and `pythonpath` first, in this order; `left` is no more."""
        front = [os.getcwd()]
        for name in self.pythonpath:
            path = os.path.abspath(name)
            _check_importable(path)
            front.append(path)
        # `python -m` has put the directory of the start there: another release's, by now.
        if not sys.flags.safe_path and sys.path[:1] in ([""], [left]):
            del sys.path[0]
        sys.path[:] = [*front, *(path for path in sys.path if path not in front)]
        # The importers' lists of files may be those of the parent's start.
        _forget_listings()

    def _set_variables(self, environ: MutableMapping[str, str]) -> None:
        zone = environ.get("TZ")
        if self.env_file:
            _load(os.path.abspath(self.env_file))
        for pair in self.env:
            name, _, value = pair.partition("=")
            environ[name] = value
        if environ.get("TZ") != zone:
            time.tzset()


def _forget_listings() -> None:
    """As ``importlib.invalidate_caches``, which from 3.13 on imports importlib.metadata and a tenth
    of the standard library for it: in each process, and where a project's files come first."""
    for finder in sys.meta_path:
        if finder is not importlib.machinery.PathFinder and hasattr(finder, "invalidate_caches"):
            finder.invalidate_caches()
    for name, of_path in [*sys.path_importer_cache.items()]:
        if of_path is None or not os.path.isabs(name):  # another directory's by now
            del sys.path_importer_cache[name]
        elif hasattr(of_path, "invalidate_caches"):
            of_path.invalidate_caches()


def _check_importable(path: str) -> None:
    """Refuse what no module can be imported from: imports would pass over it in silence.

    :raises ConfigError: it is neither a directory nor an archive.
    """
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            return
        zipimport.zipimporter(path)  # which opens ordinary files only
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(f"--pythonpath: there is no {path!r}") from None
    except OSError as error:
        raise ConfigError(f"--pythonpath: {path!r}: {error.strerror}") from None
    except zipimport.ZipImportError:
        raise ConfigError(f"--pythonpath: {path!r} is neither a directory nor an archive") from None


def _current_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # a release that has been removed, while its successor is here
        return ""


def _load(path: str) -> None:
    """Set the variables of a file in dotenv's format, except those that are set already.

    So does ``load_dotenv()`` unless told otherwise, and with it uvicorn's ``--env-file``; so a
    variable can be set for one start, whatever the file says.
    """
    try:
        text = read_text(path)
    except OSError as error:
        raise ConfigError(f"--env-file: cannot read {path!r}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"--env-file: {path!r} is not UTF-8") from None
    try:
        from dotenv import load_dotenv
    except ImportError:
        raise ConfigError("--env-file needs python-dotenv: pip install 'wsgi_async[env]'") from None
    try:
        load_dotenv(stream=io.StringIO(text))
    except ValueError as error:  # NUL, which no variable can hold
        raise ConfigError(f"--env-file: {path!r}: {error}") from None
