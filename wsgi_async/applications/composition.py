"""From the options to the one application that is served: what is put around what.

From the inside out:

1. the application APP and those of ``--mount``;
2. ``--mount`` chooses among them: APP is the one at ``/``;
3. ``--static`` is in front of them, so that files cost no application, and behind the middleware,
   so that what guards or logs the site does so for its files too;
4. ``--middleware``, the first one outermost, as in Django's list;
5. around each application and around each middleware, ``--encode-str`` and then ``--lint``. Not
   once around all: middleware is promised bytes (PEP 3333), and what breaks a rule is to be called
   by its name, not papered over or made worse by what is around it. Lint is the outer one: what
   has been asked for is no violation;
6. ``--debug`` around all, so that it shows what any of them raises.

Nothing is imported for an option that is not used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from wsgi_async.config.paste_spec import parse_variables
from wsgi_async.config.sources import Settings
from wsgi_async.errors import ConfigError, LoadError
from wsgi_async.events import Observer
from wsgi_async.wsgi.types import Application

from .loading import file_of, load_application, load_middleware, load_subscriber

__all__ = ["compose", "describe", "make_subscribers", "named_files", "names_something"]


def names_something(settings: Settings) -> bool:
    """Whether there is anything to serve: an application, a mount or static files."""
    return bool(settings.launch.app or settings.launch.mount or settings.launch.static)


def describe(settings: Settings) -> str:
    """What is served, in the operator's words."""
    parts = [f"the application {settings.launch.app}"] if settings.launch.app else []
    parts += [f"--mount {text}" for text in settings.launch.mount]
    parts += [f"--static {text}" for text in settings.launch.static]
    return ", ".join(parts)


def named_files(settings: Settings, directory: str) -> list[str]:
    """The files that applications are loaded from, where the options name files and not modules.

    :param directory: where the processes run.
    """
    specs = [settings.launch.app, *(text.partition("=")[2] for text in settings.launch.mount)]
    files = [file_of(spec.strip(" "), directory) for spec in specs if spec]
    return [path for path in files if path is not None]


def compose(
    settings: Settings,
    own: Application | None = None,
    warn: Callable[[str], object] = lambda _: None,
) -> Application:
    """Load what the options name, and put it together.

    :param own: in the place of APP, the application of a program that has it already.
    :param warn: is given a sentence on what looks wrong, and need not be.

    Relative names of files and directories are relative to the current directory. Runs the
    applications' imports on the calling thread.

    :raises ConfigError: an option is wrong, or needs a package that is not installed.
    :raises LoadError: an application or a middleware cannot be had; the message names its option.
    """
    # What is wrong with the options is said before anybody's code runs.
    mounts = _mounts(settings, own)
    finish = _finisher(settings)
    variables = parse_variables(settings.launch.paste_global)
    statics = [_split("static", "/static=./static", text) for text in settings.launch.static]
    if statics:
        _static(_nothing, statics)

    def load(spec: str, option: str = "", *, factory: bool = False) -> Application:
        with _naming(option):
            found = load_application(
                spec,
                factory=factory,
                warn=lambda text: warn(f"{option}: {text}".lstrip(": ")),
                variables=variables,
            )
            return finish(found, f"the application {spec}")

    application: Application | None = None
    if own is not None:
        application = finish(own, "the application")
    elif settings.launch.app:
        application = load(settings.launch.app, factory=settings.launch.factory)
    if mounts or application is None:
        from .mounts import Mounts

        root = {} if application is None else {"/": application}
        application = Mounts(
            root | {key: load(spec, f"--mount {key}={spec}") for key, spec in mounts.items()}
        )
    if statics:
        application = _static(application, statics)
    for spec in reversed(settings.launch.middleware):
        with _naming(f"--middleware {spec}"):
            application = load_middleware(spec)(application)
        application = finish(application, f"the middleware {spec}")
    if settings.launch.debug:
        from wsgi_async.middleware import debugging

        application = debugging(application)
    return application


def make_subscribers(settings: Settings) -> list[Observer]:
    """What ``--subscriber`` names, in that order. Runs their imports on the calling thread.

    :raises ConfigError: a factory finds its arguments wrong.
    :raises LoadError: one cannot be had; the message names its option.
    """
    subscribers = []
    for spec in settings.launch.subscriber:
        with _naming(f"--subscriber {spec}"):
            subscribers.append(load_subscriber(spec))
    return subscribers


def _mounts(settings: Settings, own: Application | None) -> dict[str, str]:
    """Key, as :class:`Mounts` takes it, and application of each ``--mount``."""
    texts = settings.launch.mount
    if not texts:
        return {}
    from .mounts import parse_key

    found: dict[str, str] = {}
    taken = {parse_key("/"): f"the argument {settings.launch.app}"} if settings.launch.app else {}
    if own is not None:
        taken = {parse_key("/"): "the program's own application"}
    for text in texts:
        key, spec = _split("mount", "/admin=mysite.admin:app", text)
        try:
            place = parse_key(key)
        except ConfigError as error:
            raise ConfigError(f"--mount {text}: {error}") from None
        if place in taken:
            raise ConfigError(f"--mount {text}: {taken[place]} is there already: give one of them")
        taken[place] = f"--mount {text}"
        found[key] = spec
    return found


def _split(option: str, example: str, text: str) -> tuple[str, str]:
    key, equals, value = (part.strip(" ") for part in text.partition("="))
    if not (key and equals and value):
        raise ConfigError(f"--{option} takes a prefix and a value such as {example}, not {text!r}")
    return key, value


def _static(application: Application, directories: list[tuple[str, str]]) -> Application:
    try:
        from .static import StaticFiles
    except ImportError:
        raise ConfigError("--static needs werkzeug: pip install 'wsgi_async[static]'") from None
    return StaticFiles(application, directories)


def _finisher(settings: Settings) -> Callable[[Application, str], Application]:
    """What puts ``--encode-str`` and ``--lint`` around an application or a middleware."""
    encoding = settings.launch.encode_str
    lint = settings.launch.lint

    def finish(application: Application, name: str) -> Application:
        if encoding:
            from .str_encoding import EncodeStr

            application = EncodeStr(application, encoding)
        if lint:
            from .lint import Lint

            application = Lint(application, name)
        return application

    finish(_nothing, "")  # so that a wrong encoding is known at once
    return finish


def _nothing(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    raise NotImplementedError


@contextlib.contextmanager
def _naming(option: str) -> Iterator[None]:
    """Say in an error which option it is about; nothing for APP."""
    try:
        yield
    except LoadError as error:
        cause = error.__cause__
        if not option:
            raise
        if isinstance(cause, ConfigError):  # a factory that finds its arguments wrong
            raise ConfigError(f"{option}: {cause}") from None
        raise LoadError(f"{option}: {error}") from cause
