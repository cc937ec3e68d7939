"""The settings of a section [server:NAME], in the words of whichever server its ``use`` names.

An ini file goes on being right where only that line changes: settings by our names, by gunicorn's
and by waitress's are all known under ``use = egg:wsgi_async#main``.
"""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Mapping
from typing import Any

from wsgi_async.config.calls import join_address
from wsgi_async.config.option import did_you_mean, parse_bool
from wsgi_async.config.options import ALL_OPTIONS
from wsgi_async.config.sources import ForeignFile, knows
from wsgi_async.errors import ConfigError
from wsgi_async.system.sockets import DEFAULT_PORT

from . import gunicorn, waitress

__all__ = ["Speaker", "convert", "places_in", "speaker_of"]

_WITH_PORT = re.compile(r"[^:]:[0-9]+$")


class Speaker(enum.Enum):
    """Whose words the settings are."""

    OURS = "wsgi_async"
    GUNICORN = "gunicorn"
    WAITRESS = "waitress"
    OTHER = ""


_NOT_HERE = ("app", "config", "factory", "paste_global")
"""Options that say where the others are, or what the file's own sections say."""

_OF_ALIASES = {
    alias.split("/")[0].lstrip("-").replace("-", "_"): spec.name
    for spec in ALL_OPTIONS
    for alias in spec.aliases
}
"""Names as the command lines of other servers have them, and our options for them."""

_NO_OPTIONS_OF_WAITRESS = waitress.SETTINGS - waitress.OPTIONS


def convert(
    settings: Mapping[str, Any], use: str, name: str, environ: Mapping[str, str]
) -> ForeignFile:
    """Our options for the settings of a section.

    :param settings: with ``-`` or ``_`` in their names; values are text, or whatever a program
        passes.
    :param use: what the section's ``use`` says.
    :param name: what to call the section.
    :param environ: the environment, for gunicorn's $SCRIPT_NAME.
    :raises ConfigError: a setting that no server has, or whose value cannot be understood.
    """
    return _Conversion(speaker_of(use), name, environ).convert(settings)


def speaker_of(use: str) -> Speaker:
    """Whose words the settings of a section are.

    :param use: what its ``use`` says: ``egg:waitress#main``.
    """
    found = re.match(r"(?:egg:|call:)?\s*([\w-]+)", use)
    name = found[1].lower().replace("-", "_") if found else ""
    return next((server for server in Speaker if server.value == name), Speaker.OTHER)


class _Conversion:
    """One reading of one section."""

    def __init__(self, server: Speaker, name: str, environ: Mapping[str, str]) -> None:
        self._server = server
        self._name = name
        self._environ = environ
        self._options: dict[str, Any] = {}
        self._gunicorn: dict[str, Any] = {}
        self._ignored: list[str] = []
        self._notices: list[str] = []

    def convert(self, settings: Mapping[str, Any]) -> ForeignFile:
        given = {key.strip().replace("-", "_").lower(): value for key, value in settings.items()}
        file = given.pop("config", None) if self._server is not Speaker.WAITRESS else None
        for key, value in given.items():
            self._take(key, value)
        self._choose_address()
        if self._ignored:
            names = ", ".join(sorted(self._ignored))
            self._notices.append(f"{self._name}: ignored here: {names}")
        return self._with_gunicorns(None if file is None else str(file))

    def _with_gunicorns(self, file: str | None) -> ForeignFile:
        """What was read so far, and beneath it what gunicorn's names come to.

        :param file: gunicorn's own file, which is beneath both.
        """
        values: dict[str, Any] = {}
        if file is not None:
            if not file.startswith("python:") and not file.endswith(".py"):
                raise ConfigError(f"{self._name}: config takes a gunicorn file (.py), not {file!r}")
            values = gunicorn.values_of(file)
        elif self._server is Speaker.GUNICORN and os.path.isfile("gunicorn.conf.py"):
            self._notices.append(
                f"{self._name}: ./gunicorn.conf.py is not read without config = gunicorn.conf.py"
            )
        if not values and not self._gunicorn and self._server is not Speaker.GUNICORN:
            return ForeignFile(self._options, tuple(self._notices))
        read = gunicorn.convert(
            {**values, **self._gunicorn},
            self._name,
            self._environ,
            announces_threads=self._server is Speaker.GUNICORN,
        )
        options = {**read.options}
        if not {"bind", "host", "port"}.isdisjoint(self._options):
            options.pop("bind", None)
        return ForeignFile(
            {**options, **self._options}, (*read.notices, *self._notices), read.hooks
        )

    def _take(self, key: str, value: Any) -> None:
        is_ours = self._server is Speaker.OURS
        if key in ("host", "port"):
            if value not in ("", None):
                self._options[key] = value
        elif is_ours and knows(key) and key not in _NOT_HERE:
            self._options[key] = gunicorn.addresses(value) if key == "bind" else value
        elif self._server in (Speaker.OURS, Speaker.GUNICORN) and key in gunicorn.SETTINGS:
            self._gunicorn[key] = _of_gunicorn(key, value)
        elif self._server in (Speaker.OURS, Speaker.WAITRESS) and key in _NO_OPTIONS_OF_WAITRESS:
            self._take_waitress(key, "" if value is None else str(value).strip())
        elif is_ours or (self._server is Speaker.WAITRESS and key in waitress.OPTIONS):
            self._take_alias(key, value)
        else:
            self._ignored.append(key)

    def _take_alias(self, key: str, value: Any) -> None:
        option = key if knows(key) else _OF_ALIASES.get(key)
        if option is None or option in _NOT_HERE:
            ours = [spec.name for spec in ALL_OPTIONS if spec.name not in _NOT_HERE]
            names = [*ours, *waitress.SETTINGS, *gunicorn.OPTIONS]
            raise ConfigError(f"{self._name}: No such option: {key}.{did_you_mean(key, names)}")
        is_on = key in waitress.SWITCHES and waitress.is_true(str(value))  # of more words than ours
        self._options[option] = True if is_on else value

    def _take_waitress(self, key: str, text: str) -> None:
        if key in waitress.LOST:
            if why := waitress.loss(key, text):
                self._notices.append(f"{self._name}: {key} = {text}: {why}")
            return
        if key in waitress.IGNORED:
            self._ignored.append(key)
            return
        if key == "trusted_proxy_headers" and "x-forwarded-by" in text.lower().split():
            self._ignored.append("x-forwarded-by")
        self._options |= waitress.options_of(key, text)

    def _choose_address(self) -> None:
        """Where it listens, if the section says only half of it."""
        options = self._options
        host = options.get("host")
        if isinstance(host, str) and "port" not in options and (places := places_in(host)):
            options["bind"] = places
            del options["host"]
        elif self._server is Speaker.GUNICORN and "host" in options:
            self._gunicorn.pop("bind", None)
        elif self._server is Speaker.GUNICORN and "bind" in self._gunicorn:
            options.pop("port", None)  # which means something with host alone
        elif self._server is Speaker.WAITRESS and "bind" not in options:
            options.setdefault("host", waitress.HOST)
            options.setdefault("port", waitress.PORT)


def places_in(host: str) -> list[str]:
    """The addresses that ``host`` names without ``port``, as gunicorn has it; none where it is the
    name or number of a host alone."""
    parts = gunicorn.addresses(host)
    if len(parts) == 1 and not _WITH_PORT.search(host):
        return []
    return [one if _WITH_PORT.search(one) else join_address(one, DEFAULT_PORT) for one in parts]


def _of_gunicorn(key: str, value: Any) -> Any:
    """A setting as its file in Python would have it: there only lists and truths are no text."""
    if not isinstance(value, str):
        return value
    if key == "raw_env":
        return [part.strip() for part in value.split(",") if part.strip()]
    if value.lower() in ("true", "false"):
        return parse_bool(value)
    return value
