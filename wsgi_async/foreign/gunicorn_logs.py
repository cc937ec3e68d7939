"""gunicorn's settings on where its logs go, as options of ours."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from wsgi_async.errors import ConfigError
from wsgi_async.system.files import read_text
from wsgi_async.system.syslog import DEFAULT_SYSLOG

__all__ = ["LOG_SETTINGS", "log_options"]

LOG_SETTINGS = frozenset(
    (
        *("disable_redirect_access_to_syslog", "logconfig_dict", "logconfig_json"),
        *("syslog", "syslog_addr", "syslog_facility", "syslog_prefix"),
    )
)
"""Those that are taken here, besides the ones that are an option's by another name."""

_DEFAULTS: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "root": {"level": "INFO", "handlers": ["console"]},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "generic",
            "stream": "ext://sys.stdout",
        },
        "error_console": {
            "class": "logging.StreamHandler",
            "formatter": "generic",
            "stream": "ext://sys.stderr",
        },
    },
    "formatters": {
        "generic": {
            "format": "%(asctime)s [%(process)d] [%(levelname)s] %(message)s",
            "datefmt": "[%Y-%m-%d %H:%M:%S %z]",
            "class": "logging.Formatter",
        }
    },
}
"""gunicorn's, of which a key that is given replaces all that there is of it."""


def log_options(
    settings: Mapping[str, Any], chdir: str, process_name: str, name: str
) -> tuple[dict[str, Any], list[str]]:
    """Our options, by name, and what to say of them.

    :param settings: those of :data:`LOG_SETTINGS` that are given.
    :param chdir: the directory that files are relative to; may be empty.
    :param process_name: gunicorn's ``proc_name``; may be empty.
    :param name: what to call the place of the settings.
    :raises ConfigError: a value that cannot be understood.
    """
    options: dict[str, Any] = {}
    notices: list[str] = []
    table = settings.get("logconfig_dict")
    if not table and (path := settings.get("logconfig_json")):
        table = _read_json(os.path.join(chdir, path), f"{name}: logconfig_json")
    if table:
        if not isinstance(table, Mapping):
            raise ConfigError(f"{name}: logconfig_dict takes a dict, not {table!r}")
        options["log_config"] = _completed(table)
    if settings.get("syslog"):
        prefix = str(settings.get("syslog_prefix") or process_name or "wsgi_async")
        prefix = re.sub(r"[^0-9A-Za-z._/+-]", ".", prefix)[:40]
        options["log_syslog_to"] = settings.get("syslog_addr") or DEFAULT_SYSLOG
        options["log_syslog_prefix"] = prefix
        options["log_syslog_facility"] = settings.get("syslog_facility") or "user"
        notices.append(
            f"{name}: syslog: messages are of {prefix} and {prefix}.access here, not of gunicorn."
            f"{prefix}.error and gunicorn.{prefix}.access; the access log goes there where "
            "accesslog is set"
        )
    return options, notices


def _completed(given: Mapping[str, Any]) -> dict[str, Any]:
    table = {**_DEFAULTS, **given}
    if "root" not in given and "console" not in table["handlers"]:
        del table["root"]
    return table


def _read_json(path: str, what: str) -> Any:
    try:
        return json.loads(read_text(path))
    except OSError as error:
        raise ConfigError(f"{what}: {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{what}: {path} is not valid JSON: {error}") from None
