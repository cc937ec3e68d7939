"""Apache's directives on logs."""

from __future__ import annotations

import os

from .apache_move import Handler, Move
from .apache_syntax import Directive
from .rules import changed, missing, taken, unused

__all__ = ["HANDLERS"]

_ERROR_LOG = taken(
    "reopened at SIGUSR1; what rotates it has to signal this server, and no longer Apache",
    "error_logfile",
)
_ACCESS_LOG = changed(
    "one log for all, reopened at SIGUSR1; what rotates it has to signal this server",
    "access_logfile",
)
_FORMATS = {"combined": "combined", "common": "common", "vhost_combined": "combined"}
_PIPED = missing("logs go to files, standard output or syslog: name a file, or - and a pipe")
_LEVELS = {
    **dict.fromkeys(("emerg", "alert", "crit"), "critical"),
    **dict.fromkeys(("notice", "info"), "info"),
    "debug": "debug",
    "error": "error",
    "warn": "warning",
}


def _file(text: str, move: Move) -> str:
    """A file of a log; relative ones are below ServerRoot."""
    root = [
        each.words[0] for each in move.site.directives if each.key == "serverroot" and each.words
    ]
    return os.path.join(root[-1] if root else "", text)


def _error_log(move: Move, directive: Directive) -> None:
    target = directive.first
    if target.startswith("|"):
        move.say(directive, _PIPED)
    elif target.startswith("syslog"):
        move.take(
            directive,
            changed("both logs go to the syslog besides", "log_syslog_to"),
            "unix:///dev/log",
        )
    elif "${" in target:
        move.say(
            directive, changed(f"say --error-logfile: {target} has a variable that is not known")
        )
    else:
        move.take(directive, _ERROR_LOG, _file(target, move))


def _custom_log(move: Move, directive: Directive) -> None:
    target, form, *more = [*directive.words, "", ""]
    if target.startswith("|"):
        move.say(directive, _PIPED)
        return
    if "${" in target:
        move.say(
            directive, changed(f"say --access-logfile: {target} has a variable that is not known")
        )
        return
    known = _FORMATS.get(form.lower())
    if known is None and directive.key == "customlog":
        rule = changed(
            "in the format combined here: --access-logformat takes gunicorn's atoms, see --guide "
            "logging",
            "access_logfile",
        )
    elif any(more):
        rule = changed("all requests are in it: there are no conditions", "access_logfile")
    else:
        rule = _ACCESS_LOG
        if known == "common":
            move.plan.options["access_logformat"] = known
    move.take(directive, rule, _file(target, move))


def _log_format(move: Move, directive: Directive) -> None:
    known = [*directive.words, "", ""][1].lower() in (*_FORMATS, "referer", "agent")
    rule = (
        unused("--access-logformat combined and common are the same")
        if known
        else changed("--access-logformat takes gunicorn's atoms, see --guide logging")
    )
    move.say(directive, rule)


def _log_level(move: Move, directive: Directive) -> None:
    first = next((word for word in directive.words if ":" not in word), "").lower()
    level = _LEVELS.get("debug" if first.startswith("trace") else first)
    if level is None:
        move.say(directive, unused("see --log-level"))
    else:
        move.take(directive, taken("the least severe that is logged", "log_level"), level)


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(("customlog", "globallog", "transferlog"), _custom_log),
    "errorlog": _error_log,
    "logformat": _log_format,
    "loglevel": _log_level,
}
