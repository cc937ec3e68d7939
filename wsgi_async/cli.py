"""The command line, generated from the fields of :class:`~wsgi_async.config.options.Config`.

Exit codes: 0 stopped as asked; 1 bad configuration, or an address that cannot be had; 3 the
application could not be loaded. Each error is one line on standard error.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from ._imports import StandardFirst
from ._version import __version__
from .applications.composition import describe, names_something
from .applications.loading import application_traceback
from .config.options import ALL_OPTIONS
from .config.paste_spec import paste_spec
from .config.plain import plain
from .config.shown import shown_options
from .config.sources import ForeignFile, Settings, gather
from .config.written import as_toml
from .errors import EXIT_FAILED, EXIT_NOT_LOADED, ConfigError, LoadError
from .processes import BootFailed
from .system import sockets
from .system.surroundings import keep_standard_descriptors, start_directory
from .wsgi.types import Application

__all__ = ["main"]

_ACTIONS = ("check_config", "print_config", "version")
_INTERRUPTED = 130


def main(
    args: Sequence[str] | None = None,
    *,
    prog_name: str = "wsgi-async",
    application: Application | None = None,
) -> NoReturn:
    """Run the command line and end the process.

    :param args: the arguments; None for the process's own.
    :param application: what to serve, where the caller has it already.
    """
    keep_standard_descriptors()
    code = _run(list(sys.argv[1:] if args is None else args), prog_name, application)
    if application is not None:  # the program's threads may be anything
        from .launch.ending import LAST, end_within

        end_within(LAST, code, functools.partial(_complain, prog_name))
    sys.exit(code)


def _run(args: list[str], prog_name: str, application: Application | None) -> int:
    notices: list[str] = []

    def parse(words: list[str]) -> dict[str, object]:
        given: dict[str, object] | int | None = plain(words, ALL_OPTIONS)
        if given is None:
            with StandardFirst():
                from . import flags

                given = flags.parse(words, prog_name, notices)
        if isinstance(given, int):  # --help
            raise _DoneError(given)
        return given

    def parse_variable(words: list[str]) -> dict[str, object]:
        given = parse(words)
        for name in (*_ACTIONS, "guide"):
            if name in given:
                raise ConfigError(f"--{name.replace('_', '-')} is for the command line itself")
        return given

    def collect(given: dict[str, object], directory: Path | None = None) -> Settings:
        settings = gather(
            given, parse=parse_variable, directory=directory, read_foreign=_read_foreign
        )
        if application is not None and settings.launch.app:
            raise ConfigError("This program has its own application: leave APP out")
        if paste_spec(settings.launch.app) is not None:
            settings = _with_loggers(settings, Path() if directory is None else directory)
        return replace(settings, notices=(*notices, *settings.notices))

    try:
        with _printing():  # --help
            given = parse(args)
        actions = {name: given.pop(name, False) for name in _ACTIONS}
        if (topic := given.pop("guide", None)) is not None:
            with _printing():
                _guide(str(topic), prog_name)
            return 0
        if actions["version"]:
            with StandardFirst(), _printing():
                _echo(_version())
            return 0
        settings = collect(given)
        if actions["print_config"]:
            with _printing():
                _echo(_describe(settings))
            return 0
        if not names_something(settings) and application is None:
            # It may be the one that is misspelt in another server's file.
            ignored = "; ".join(each for each in settings.notices if ": ignored here: " in each)
            raise ConfigError(
                f"Which application? Write {prog_name} module:application"
                + (f" ({ignored})" if ignored else "")
            )
        start = start_directory(os.environ)
        if actions["check_config"]:
            return _check(settings, start, application)
        # Here and in _check() only: it brings asyncio and the server, which what only prints can do
        # without.
        with StandardFirst():
            from .launch.parent import launch

        return launch(
            settings,
            environ=os.environ,
            start=start,
            # By the name of the directory: it may be a link that has come to point at new code.
            reread=lambda: collect(parse(args), Path(start)),
            explain=_explain,
            application=application,
        )
    except BootFailed as failure:
        message, _, details = failure.report.partition("\n")
        _echo(details, err=True, nl=False)
        _complain(prog_name, message)
        return failure.code
    except _DoneError as done:
        return done.code
    except (ConfigError, LoadError) as error:
        code, text = _explain(error)
        message, _, details = text.partition("\n")
        _echo(details, err=True, nl=False)
        _complain(prog_name, message)
        # Only for --check-config is the application loaded here, within reach of Ctrl-C.
        return _INTERRUPTED if isinstance(error.__cause__, KeyboardInterrupt) else code
    except KeyboardInterrupt:
        return _INTERRUPTED


class _DoneError(Exception):
    """What was asked for is printed."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


def _echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    with StandardFirst():
        import click

    click.echo(text, err=err, nl=nl)


@contextlib.contextmanager
def _printing() -> Iterator[None]:
    """What is printed is all there is to do: who reads it may have seen enough (``| head``)."""
    try:
        yield
    except OSError as error:
        # The interpreter would try again, at its end, to write what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(error, BrokenPipeError):
            raise _DoneError(0) from None
        raise ConfigError(f"Cannot write to standard output: {error.strerror}") from None


def _complain(prog_name: str, message: str) -> None:
    _echo(f"{prog_name}: error: {message}", err=True)


def _explain(error: Exception) -> tuple[int, str]:
    """The exit code for what ended a start, and what to say: a line, and beneath it the traceback
    where the fault is in code."""
    if isinstance(error, ConfigError):
        # Code in a configuration file that fails leaves its traceback in a note.
        return EXIT_FAILED, "\n".join([str(error), *getattr(error, "__notes__", ())]) + "\n"
    if isinstance(error, LoadError):
        cause = error.__cause__
        details = "" if cause is None else application_traceback(cause)
        return EXIT_NOT_LOADED, f"{error}\n{details}"
    details = "".join(traceback.format_exception(error))
    return EXIT_FAILED, f"An error inside the server: {error!r}\n{details}"


def _check(settings: Settings, start: str, application: Application | None) -> int:
    for notice in settings.notices:
        _echo(notice)
    for address in settings.config.bind:
        sockets.parse_address(address)
    with StandardFirst():
        from .launch.parent import check

    check(settings, environ=os.environ, start=start, application=application)
    what = describe(settings) or "the application"
    _echo(f"The configuration and {what} are good")
    return 0


def _read_foreign(
    named: str, directory: Path, environ: Mapping[str, str], variables: tuple[str, ...]
) -> ForeignFile | None:
    with StandardFirst():
        if not named.endswith(".ini"):
            # A gunicorn file is code, which has the current directory first on its path.
            from .launch import parent  # noqa: F401
        from .foreign import read

    return read(named, directory, environ, variables)


def _with_loggers(settings: Settings, directory: Path) -> Settings:
    with StandardFirst():
        from .foreign.paste import with_loggers

    return with_loggers(settings, directory)


# --- What it prints


def _describe(settings: Settings) -> str:
    lines = []
    for spec, value, origin, is_hidden in shown_options(settings.values, settings.config):
        if is_hidden:
            lines.append((f"# {spec.name} is set, and not shown", origin))
        else:
            # A table may hold anything; one line of text tells enough.
            shown = str(value) if isinstance(value, dict) else value
            lines.append((f"{spec.name} = {as_toml(spec, shown)}", origin))
    width = max(len(text) for text, _ in lines if len(text) < 60)
    texts = [f"{text:{width}}  # {origin}" for text, origin in lines]
    comments = [*_certificates(settings), *settings.notices]
    return "\n".join([*texts, *(f"# {comment}" for comment in comments)])


def _certificates(settings: Settings) -> list[str]:
    """What the certificates say, a line for each; never of their keys."""
    if not settings.config.certfile:
        return []
    with StandardFirst():
        from .tls.contexts import make_contexts
        from .tls.material import read_material
        from .tls.settings import tls_settings

        tls = tls_settings(settings.config)
        assert tls is not None
        try:
            found = make_contexts(tls, read_material(tls)).certificates
        except ConfigError as error:
            return [str(error)]
    return [f"{certificate.file}: {certificate}" for certificate in found]


def _guide(topic: str, prog_name: str) -> None:
    """Show a page of the guide, by a pager where there is a terminal."""
    with StandardFirst():
        import shutil

        import click

        from . import help as guide
        from .flags import NO_TOPIC
        from .help.terminal import as_text

    if topic == NO_TOPIC:
        names = guide.topics()
        width = max(map(len, names), default=0)
        click.echo(f"{prog_name} --guide TOPIC:")
        for name in names:
            click.echo(f"  {name:{width}}  {guide.title(name)}")
        return
    width = max(60, min(100, shutil.get_terminal_size().columns))
    text = as_text(guide.page(topic), width=width).removesuffix("\n")
    with StandardFirst():  # it imports what it needs late
        click.echo_via_pager(text, color=False)


def _version() -> str:
    import importlib.metadata  # slow to import, and for this alone
    import platform

    parts = [f"{platform.python_implementation()} {platform.python_version()}"]
    for package in ("h11", "uvloop"):
        try:
            parts.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            parts.append(f"no {package}")
    return f"wsgi-async {__version__} ({', '.join(parts)})"
