"""``--log-config``: a configuration of :mod:`logging.config`, from a file or as a table.

A process that serves applies it as it is, before its application is loaded: see
:meth:`LogConfig.apply`. The parent runs nobody's code and waits for nobody, so it takes from it
what it can do itself: see :class:`PlainHandler`.

Loggers of gunicorn and uvicorn in it stand for ours, where it does not name those; they stay
configured all the same, as applications take handlers from them.
"""

from __future__ import annotations

import ast
import configparser
import json
import logging
import logging.config
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from wsgi_async.errors import ConfigError
from wsgi_async.system.files import read_text

__all__ = ["LogConfig", "LoggerSettings", "PlainHandler", "read_log_config"]

_ALIASES = {
    "wsgi_async": ("gunicorn.error", "uvicorn", "uvicorn.error"),
    "wsgi_async.access": ("gunicorn.access", "uvicorn.access"),
}
"""For each logger of ours those of other servers that may stand for it."""

_PLAIN = {
    "StreamHandler": "stream",
    "FileHandler": "file",
    "handlers.WatchedFileHandler": "watched",
}
"""Handlers of logging's whose work the parent can do without a wait."""

_STREAMS = ("sys.stderr", "sys.stdout")


class PlainHandler(NamedTuple):
    """A handler that writes lines to a file or a standard stream, and does nothing else."""

    target: str
    """``sys.stderr``, ``sys.stdout``, or a path as it is written."""
    is_watched: bool
    """Whether it goes on in another file as soon as that has the path."""
    level: str | int
    formatter: logging.Formatter | None
    """None where it is not logging's own."""


class LoggerSettings(NamedTuple):
    """What is said of a logger."""

    level: str | int | None
    handlers: tuple[str, ...]
    propagate: bool


@dataclass(frozen=True)
class LogConfig:
    """A configuration that was read."""

    label: str
    """The option, and the name of the file."""
    source: dict[str, Any] | configparser.RawConfigParser
    loggers: Mapping[str, LoggerSettings]
    """By name; the root logger's is empty."""
    plain: Mapping[str, PlainHandler]
    """By name."""
    notices: tuple[str, ...]

    def handlers_of(self, name: str) -> tuple[str, ...] | None:
        """The handlers that have the records of a logger of ours; None where it is not named."""
        settings = self.loggers.get(name)
        if settings is None:
            return None
        root = self.loggers.get("") if settings.propagate else None
        return tuple(dict.fromkeys((*settings.handlers, *(root.handlers if root else ()))))

    def apply(self) -> None:
        """*Main thread of a process that serves:* have :mod:`logging.config` do all of it.

        :raises ConfigError: a handler or a formatter cannot be made.
        """
        try:
            if isinstance(self.source, dict):
                logging.config.dictConfig(_copied(self.source))
            else:
                # As gunicorn and uvicorn have it.
                logging.config.fileConfig(self.source, disable_existing_loggers=False)
        except Exception as error:  # whatever code of theirs raises
            raise ConfigError(f"{self.label}: {_chain(error)}") from None


def read_log_config(source: str | Mapping[str, Any]) -> LogConfig:
    """Read it.

    :param source: the path of a file .json or .toml, whose table is for
        :func:`logging.config.dictConfig`, or of any other name, which is for
        :func:`logging.config.fileConfig`; or such a table.
    :raises ConfigError: it cannot be read, or is not what it should be.
    """
    if not isinstance(source, str):
        return _of_table(source, "--log-config")
    label = f"--log-config {source}"
    kind = os.path.splitext(source)[1].lower()
    if kind in (".yaml", ".yml"):
        raise ConfigError(f"{label}: YAML is not read: write it as .toml, .json or .ini")
    try:
        text = read_text(source)
        if kind == ".json":
            return _of_table(json.loads(text), label)
        if kind == ".toml":
            return _of_table(tomllib.loads(text), label)
    except OSError as error:
        raise ConfigError(f"{label}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        name = {".json": "JSON", ".toml": "TOML"}.get(kind, "UTF-8")
        raise ConfigError(f"{label} is not valid {name}: {error}") from None
    return _of_ini(text, source, label)


# --- Tables


def _of_table(given: Any, label: str) -> LogConfig:
    if not isinstance(given, Mapping):
        raise ConfigError(f"{label}: a table is expected, not {type(given).__name__}")
    table: dict[str, Any] = {"version": 1, "disable_existing_loggers": False, **given}
    for name in ("loggers", "handlers", "formatters", "filters", "root"):
        part = table.get(name, {})
        if not isinstance(part, Mapping) or (
            name != "root" and not all(isinstance(each, Mapping) for each in part.values())
        ):
            raise ConfigError(f"{label}: {name} must be a table of tables")
    loggers = dict(table.get("loggers", {}))
    notices = []
    for ours, other in _stand_ins(
        {name: bool(one.get("handlers")) for name, one in loggers.items()}
    ):
        loggers[ours] = loggers[other]
        notices.append(_notice(label, other, ours))
    table["loggers"] = loggers
    if table["disable_existing_loggers"]:
        notices.append(
            f"{label}: disable_existing_loggers silences the loggers that there are before the "
            "application is loaded, but those of wsgi_async"
        )
    notices += _without_uvicorn(table, label)
    formatters = table.get("formatters", {})
    return LogConfig(
        label=label,
        source=table,
        loggers={
            name: _settings(one, label, name or "root", table.get("handlers", {}))
            for name, one in {**loggers, **({"": table["root"]} if "root" in table else {})}.items()
        },
        plain={
            name: plain
            for name, one in table.get("handlers", {}).items()
            if (plain := _plain_of_table(one, formatters)) is not None
        },
        notices=tuple(notices),
    )


def _settings(
    one: Mapping[str, Any], label: str, name: str, handlers: Mapping[str, Any]
) -> LoggerSettings:
    given = one.get("handlers") or ()
    if not isinstance(given, list | tuple) or not all(isinstance(each, str) for each in given):
        raise ConfigError(f"{label}: the handlers of the logger {name} must be a list of names")
    names = tuple(given)
    for handler in names:
        if handler not in handlers:
            raise ConfigError(
                f"{label}: the logger {name} names the handler {handler!r}, of which "
                "nothing is said"
            )
    return LoggerSettings(_level(one.get("level")), names, bool(one.get("propagate", False)))


def _level(given: Any) -> str | int | None:
    """A level that logging has here; None for another one, which is said where it is applied: a
    class of the application's may have given it its name by then."""
    if isinstance(given, str):
        return given if given in logging.getLevelNamesMapping() else None
    return given if isinstance(given, int) else None


def _plain_of_table(
    one: Mapping[str, Any], formatters: Mapping[str, Mapping[str, Any]]
) -> PlainHandler | None:
    kind = _PLAIN.get(str(one.get("class", "")).removeprefix("logging."))
    others = set(one) - {"class", "level", "formatter", "stream", "filename", "mode", "encoding"}
    if kind is None or others - {"delay"} or one.get("mode", "a") != "a":
        return None
    if kind == "stream":
        target = str(one.get("stream", "ext://sys.stderr")).removeprefix("ext://")
        if target not in _STREAMS:
            return None
    else:
        path = one.get("filename")
        target = str(path) if isinstance(path, str | os.PathLike) else ""
    name = one.get("formatter", "")
    spec = formatters.get(name, {}) if isinstance(name, str) else {}
    own = set(spec) <= {"format", "datefmt", "style", "class"}
    own = own and spec.get("class", "logging.Formatter") == "logging.Formatter"
    arguments = (spec.get("format"), spec.get("datefmt"), spec.get("style", "%"))
    return _plain(kind, target, one.get("level"), arguments if own else None)


def _plain(
    kind: str, target: str, level: Any, arguments: tuple[Any, Any, Any] | None
) -> PlainHandler | None:
    if not target:
        return None
    formatter = None
    if arguments is not None:
        try:
            formatter = logging.Formatter(*arguments)
        except (TypeError, ValueError):  # it will be said where it is applied
            return None
    return PlainHandler(target, kind == "watched", _level(level) or logging.NOTSET, formatter)


def _copied(table: Mapping[str, Any]) -> dict[str, Any]:
    """Another table of the same, as deep as tables go: dictConfig() changes what it is given."""
    return {name: _copied(value) if type(value) is dict else value for name, value in table.items()}


# --- gunicorn's and uvicorn's


def _stand_ins(has_handlers: Mapping[str, bool]) -> list[tuple[str, str]]:
    """Ours, and who stands for it: of several, one that has handlers.

    :param has_handlers: of each logger that is named.
    """
    found = []
    for ours, others in _ALIASES.items():
        named = [name for name in others if name in has_handlers]
        if named and ours not in has_handlers:
            found.append((ours, max(named, key=lambda name: has_handlers[name])))
    return found


def _notice(label: str, other: str, ours: str) -> str:
    return f"{label}: {other} is taken for {ours}"


def _without_uvicorn(table: dict[str, Any], label: str) -> list[str]:
    """uvicorn's formatter of access lines takes them apart, and ours are no such ones."""
    theirs = "uvicorn.logging.AccessFormatter"
    formatters = dict(table.get("formatters", {}))
    names = [
        name for name, one in formatters.items() if theirs in (one.get("()"), one.get("class"))
    ]
    for name in names:
        formatters[name] = {"format": "%(message)s"}
    if not names:
        return []
    table["formatters"] = formatters
    return [f"{label}: {theirs} is of no use here: lines are as --access-logfile has them"]


# --- INI files


def _of_ini(text: str, path: str, label: str) -> LogConfig:
    # gunicorn has these two for the file to use: %(here)s.
    here = os.path.dirname(os.path.abspath(path))
    defaults = {"__file__": path, "here": here}
    parser = configparser.ConfigParser(
        {name: value.replace("%", "%%") for name, value in defaults.items()}
    )
    try:
        parser.read_string(text, source=path)
        if "root" not in _keys(parser, "loggers"):
            raise ValueError("the keys of [loggers] must have root among them")
        handlers = {name: parser[f"handler_{name}"] for name in _keys(parser, "handlers")}
        sections = {name: parser[f"logger_{name}"] for name in _keys(parser, "loggers")}
        named = {
            "" if key == "root" else section.get("qualname", key): section
            for key, section in sections.items()
        }
        notices = []
        has_handlers = {name: bool(_split(one.get("handlers"))) for name, one in named.items()}
        for ours, other in _stand_ins(has_handlers):
            key = f"for_{ours}"
            parser[f"logger_{key}"] = {
                **{option: named[other].get(option, "", raw=True) for option in named[other]},
                "qualname": ours,
            }
            parser["loggers"]["keys"] += f",{key}"
            named[ours] = parser[f"logger_{key}"]
            notices.append(_notice(label, other, ours))
        loggers = {
            name: _settings(
                {
                    "level": section.get("level"),
                    "handlers": _split(section.get("handlers")),
                    "propagate": section.getint("propagate", 1),
                },
                label,
                name or "root",
                handlers,
            )
            for name, section in named.items()
        }
        plain = {
            name: found
            for name, section in handlers.items()
            if (found := _plain_of_ini(section, parser)) is not None
        }
    except KeyError as error:
        raise ConfigError(f"{label}: there is no section or key {error}") from None
    except (configparser.Error, ValueError) as error:
        raise ConfigError(f"{label}: {_one_line(error)}") from None
    return LogConfig(label, parser, loggers, plain, tuple(notices))


def _keys(parser: configparser.ConfigParser, section: str) -> list[str]:
    return _split(parser[section]["keys"])


def _split(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _plain_of_ini(
    section: configparser.SectionProxy, parser: configparser.ConfigParser
) -> PlainHandler | None:
    kind = _PLAIN.get(section.get("class", "").removeprefix("logging."))
    text = section.get("args", "()").replace(" ", "")
    if kind is None or section.get("kwargs", "{}").replace(" ", "") != "{}":
        return None
    if kind == "stream":
        target = text.strip("(),") or "sys.stderr"
        if target not in _STREAMS:
            return None
    else:
        try:
            path, *more = ast.literal_eval(section.get("args", "()"))
        except (SyntaxError, TypeError, ValueError):  # an expression
            return None
        if not isinstance(path, str) or more[:1] not in ([], ["a"]):
            return None
        target = path
    name = section.get("formatter", "")
    arguments: tuple[Any, Any, Any] | None = (None, None, "%")
    if name:
        spec = parser[f"formatter_{name}"]
        own = spec.get("class", "") in ("", "logging.Formatter")
        texts: list[str | None] = [spec.get(option, raw=True) for option in ("format", "datefmt")]
        arguments = (texts[0], texts[1], spec.get("style", "%", raw=True)) if own else None
    return _plain(kind, target, section.get("level"), arguments)


# --- Errors


def _chain(error: BaseException) -> str:
    """Why, as far down as it is told: dictConfig() says which handler, and its cause says what is
    wrong with it."""
    texts: list[str] = []
    current: BaseException | None = error
    while current is not None and len(texts) < 5:
        text = _one_line(current)
        if text not in texts:
            texts.append(text)
        current = current.__cause__
    return ": ".join(texts)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return f"no such key: {text}" if isinstance(error, KeyError) else text
