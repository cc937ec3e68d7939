"""The options of mod_wsgi's ``WSGIDaemonProcess``, and what becomes of each.

Their meanings and defaults are those of mod_wsgi 5 and 6 (docs/configuration-directives/
WSGIDaemonProcess.rst).
"""

from __future__ import annotations

import posixpath
import re

from .apache_move import Move
from .apache_syntax import Directive
from .checked import default_of
from .rules import (
    OTHER_ENVIRONMENT,
    REPLACED_BY_AGE,
    REPLACED_BY_REQUESTS,
    UNKNOWN,
    Rule,
    changed,
    missing,
    taken,
    unused,
)

__all__ = ["DAEMON", "DEFAULT_THREADS", "daemon_option", "python_path"]

DEFAULT_THREADS = 15
"""Threads of a process where the option says nothing."""

_ENVIRONMENT = {"lang": "LANG", "locale": "LC_ALL", "python-eggs": "PYTHON_EGG_CACHE"}
"""Options that are variables of the environment."""

_NO_HOP = "there is no socket between Apache and its daemon processes here: {instead}"
_LOCALE = (
    "set in the environment before the application is loaded; the interpreter speaks UTF-8 anyway, "
    "and where it is for locale.setlocale() the locale must be installed"
)

DAEMON: dict[str, Rule] = {
    "processes": taken("processes that serve; each has all of the application", "workers"),
    "threads": taken(
        "threads of a process; connections, uploads and slow clients take none of them, so that "
        "fewer may do",
        "threads",
    ),
    "display-name": unused("ps shows the command line of each process; nothing renames it"),
    "home": taken("the working directory, which is also first on the path here", "chdir"),
    "user": taken(
        "what the processes that serve become once the sockets are bound; start it as root, or as "
        "that user where no port is below 1024",
        "user",
    ),
    "group": taken("likewise, the group", "group"),
    "supplementary-groups": missing(
        "the processes have the groups that the system has the user in: usermod -aG GROUP USER, or "
        "SupplementaryGroups= in the systemd unit"
    ),
    "umask": taken("what files made by the processes never get", "umask"),
    "lang": changed(_LOCALE),
    "locale": changed(_LOCALE),
    "chroot": missing("RootDirectory= in the systemd unit, or a container"),
    "script-user": missing("who owns the file is not looked at: let its directory be root's"),
    "script-group": missing("whose group the file is of is not looked at: chmod its directory"),
    "python-home": OTHER_ENVIRONMENT,
    "python-path": changed(
        "on the path, before what is installed; .pth files in these directories are not read",
        "pythonpath",
    ),
    "python-eggs": taken("set in the environment, for what is still an egg"),
    "switch-interval": changed(
        f"how long a thread may hold the GIL; the default here is {default_of('switch_interval')}, "
        "there 5 ms",
        "switch_interval",
    ),
    "restart-interval": REPLACED_BY_AGE._replace(option="worker_lifetime"),
    "maximum-requests": REPLACED_BY_REQUESTS._replace(option="max_requests"),
    "inactivity-timeout": unused(
        "an idle process keeps its memory; --worker-lifetime replaces processes by age"
    ),
    "request-timeout": changed(
        "counts for each request by itself, until its first chunk and then until each next one; "
        "its client gets 504 and only its thread is replaced, where mod_wsgi restarts the process "
        "after a time that grows with the number of threads",
        "request_timeout",
    ),
    "interrupt-timeout": changed(
        "--interrupt-late raises wsgi_async.RequestTimeout in the late thread; there is no second "
        "time to wait: the thread is replaced at once",
    ),
    "deadlock-timeout": changed(
        "a process whose event loop has not run for so long, as where an extension holds the GIL, "
        f"has its stacks logged and is replaced ({default_of('timeout')} where nothing is said)",
        "timeout",
    ),
    "startup-timeout": changed(
        "a process that has not loaded the application by then is ended; at a reload the old ones "
        "go on",
        "boot_timeout",
    ),
    "graceful-timeout": changed(
        "for requests in flight, at a stop and a reload as well; new ones go to the successor "
        "meanwhile",
        "graceful_timeout",
    ),
    "eviction-timeout": unused("--graceful-timeout is for every way that a process ends"),
    "shutdown-timeout": unused(
        "a process ends when its requests have, or --graceful-timeout is over; no second time "
        "follows"
    ),
    "connect-timeout": unused(_NO_HOP.format(instead="nothing to connect to")),
    "socket-timeout": unused(
        _NO_HOP.format(instead="what a client may take is --body-timeout and --send-timeout")
    ),
    "response-socket-timeout": unused(_NO_HOP.format(instead="see --send-timeout")),
    "response-buffer-size": unused(_NO_HOP.format(instead="see --response-buffer")),
    "response-flush-delay": unused(
        "what is ready is written at once; chunks that are ready together share a write"
    ),
    "header-buffer-size": unused(
        "the heads of responses have no bound here; Apache's bound on them is gone"
    ),
    "receive-buffer-size": unused(_NO_HOP.format(instead="nothing to tune")),
    "send-buffer-size": unused(_NO_HOP.format(instead="nothing to tune")),
    "proxy-buffer-size": unused(_NO_HOP.format(instead="nothing to tune")),
    "socket-user": unused(_NO_HOP.format(instead="nothing to own")),
    "queue-timeout": changed(
        "the wait for a thread; then 503 with Retry-After, where mod_wsgi answers 504",
        "queue_timeout",
    ),
    "listen-backlog": changed(
        "connections that the kernel queues; requests that wait for a thread are bounded by "
        "--queue-size",
        "backlog",
    ),
    "cpu-time-limit": missing(
        "processor time is not counted: --max-requests or --worker-lifetime replaces a process "
        "that grows, --request-timeout ends a request that loops"
    ),
    "cpu-priority": missing("Nice= in the systemd unit, or nice in front of the command"),
    "memory-limit": missing(
        "MemoryMax= in the systemd unit is for all processes together; --max-requests replaces "
        "those that grow"
    ),
    "virtual-memory-limit": missing(
        "LimitAS= in the systemd unit; --max-requests replaces processes that grow"
    ),
    "stack-size": unused(
        "threads have the system's; LimitSTACK= in the systemd unit, or threading.stack_size() "
        "for those of the application"
    ),
    "server-metrics": unused("the module mod_wsgi is not there: see --metrics-bind"),
}

_NO_THREADS = missing("a process that runs a script and serves nothing: a systemd unit of its own")


def daemon_option(move: Move, directive: Directive, name: str, value: str) -> None:
    """What becomes of ``NAME=VALUE`` of WSGIDaemonProcess, or of an option of mod_wsgi-express by
    the same name."""
    setting = f"{directive.name} {name}" if directive.key == "wsgidaemonprocess" else directive.name
    rule = DAEMON.get(name)
    if rule is None:
        move.say(directive, UNKNOWN, setting=setting, value=value)
    elif name in _ENVIRONMENT:
        named = rule._replace(option="env")
        move.take(directive, named, f"{_ENVIRONMENT[name]}={value}", setting=setting, written=value)
    elif name == "python-home":
        move.plan.program = posixpath.join(value, "bin", "wsgi-async")
        move.say(directive, rule, setting=setting, value=value)
    elif name == "python-path":
        python_path(move, directive, value, setting)
    elif name in ("user", "group"):
        move.take(directive, rule, value.removeprefix("#"), setting=setting, written=value)
    elif value == "0" and name.endswith(("timeout", "interval", "limit", "requests")):
        move.say(directive, taken("off, as here"), setting=setting, value=value)
    elif name == "threads" and value == "0":
        move.say(directive, _NO_THREADS, setting=setting, value=value)
    elif name == "interrupt-timeout":
        move.plan.options["interrupt_late"] = True
        move.say(directive, rule, setting=setting, value=value)
    elif rule.option:
        move.take(directive, rule, value, setting=setting, written=value)
    else:
        move.say(directive, rule, setting=setting, value=value)


def python_path(move: Move, directive: Directive, value: str, setting: str) -> None:
    rule = DAEMON["python-path"]
    for path in value.split(":"):
        packages = re.fullmatch(r"(.*)/lib/python[\d.]+/site-packages/?", path)
        if packages is None:
            move.take(directive, rule, path, setting=setting, written=path)
        else:
            move.plan.program = posixpath.join(packages[1], "bin", "wsgi-async")
            move.say(directive, DAEMON["python-home"], setting=setting, value=path)
