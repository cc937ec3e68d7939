"""What becomes of each of gunicorn's settings, in a sentence.

Which of our options one is says :data:`wsgi_async.foreign.gunicorn.OPTIONS`; those that are that
and no more are not here. Those whose fate depends on their value are in ``gunicorn_judges``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from wsgi_async.config.other_servers import ABSENT

from .report import Verdict

__all__ = ["FATES", "HTTP2", "Fate", "Setting", "Settings"]

TAKEN_OVER, CHANGED = Verdict.TAKEN_OVER, Verdict.CHANGED
WITHOUT_EFFECT, MISSING = Verdict.WITHOUT_EFFECT, Verdict.MISSING


@dataclass(frozen=True, slots=True)
class Setting:
    """One of gunicorn's settings, as it was found."""

    name: str
    value: Any
    """None where it is not known."""
    where: str
    written: str
    """As it is written there."""
    flag: str = ""
    """As it was typed, on a command line."""
    variable: str = ""
    """Its text as a shell has it, where variables are in it."""
    note: str = ""
    """What is to be said of how its value was found."""
    is_known: bool = True


Settings = Mapping[str, Setting]


class Fate(NamedTuple):
    """What becomes of a setting."""

    verdict: Verdict
    text: str = ""
    matters: bool = False
    options: Mapping[str, object] = {}
    """Further options of ours that keep what it meant."""
    is_left_out: bool = False
    """Whether the option that it is by name is not given."""


_TASKS = "long work outside of requests is for a queue such as Celery's, RQ's or Dramatiq's"
HTTP2 = "only HTTP/1.1 and 1.0 are spoken: HTTP/2 is for the proxy in front"
_STRICT = (
    "such a request is answered with 400, as RFC 9112 asks for: mend who sends it, or put a proxy "
    "in front that does"
)
_NO_ASGI = "it is for ASGI applications, which are not served here"
_PROCESS_IS_KILLED = (
    "there is no hook for it: the log has the stacks of all threads of a process that is killed, "
    "and of a request that is later than --request-timeout or --slow-request"
)

FATES: dict[str, Fate] = {
    "asgi_disconnect_grace_period": Fate(WITHOUT_EFFECT, _NO_ASGI),
    "asgi_lifespan": Fate(WITHOUT_EFFECT, _NO_ASGI),
    "asgi_loop": Fate(WITHOUT_EFFECT, _NO_ASGI),
    "casefold_http_method": Fate(
        MISSING, "a method reaches the application as it was sent, get is not GET", True
    ),
    "default_proc_name": Fate(WITHOUT_EFFECT, "ps shows the command line of wsgi-async"),
    "dirty_apps": Fate(MISSING, _TASKS, True),
    "dirty_graceful_timeout": Fate(WITHOUT_EFFECT, _TASKS),
    "dirty_post_fork": Fate(MISSING, _TASKS, True),
    "dirty_threads": Fate(WITHOUT_EFFECT, _TASKS),
    "dirty_timeout": Fate(WITHOUT_EFFECT, _TASKS),
    "dirty_worker_exit": Fate(MISSING, _TASKS, True),
    "dirty_worker_init": Fate(MISSING, _TASKS, True),
    "dirty_workers": Fate(MISSING, _TASKS, True),
    "on_dirty_starting": Fate(MISSING, _TASKS, True),
    "do_handshake_on_connect": Fate(WITHOUT_EFFECT, "no handshake of TLS holds anything up here"),
    "enable_backlog_metric": Fate(MISSING, ABSENT["--enable-backlog-metric"]),
    "enable_stdio_inheritance": Fate(
        WITHOUT_EFFECT, "standard output and standard error stay those of each process anyway"
    ),
    "http2_cleartext": Fate(MISSING, HTTP2, True),
    "http2_initial_window_size": Fate(WITHOUT_EFFECT, HTTP2),
    "http2_max_concurrent_streams": Fate(WITHOUT_EFFECT, HTTP2),
    "http2_max_frame_size": Fate(WITHOUT_EFFECT, HTTP2),
    "http2_max_header_list_size": Fate(WITHOUT_EFFECT, HTTP2),
    "http_parser": Fate(WITHOUT_EFFECT, "see --parser: heads are read by h11, plain ones quicker"),
    "initgroups": Fate(WITHOUT_EFFECT, "the further groups of --user are always taken"),
    "logger_class": Fate(
        MISSING,
        "there is no such class: what is logged, and how, say --log-config, --log-format and "
        "--access-logformat; code that wants to know of each request is a --subscriber",
        True,
    ),
    "permit_obsolete_folding": Fate(MISSING, _STRICT, True),
    "permit_unconventional_http_method": Fate(
        WITHOUT_EFFECT, "whatever RFC 9110 takes for a method reaches the application anyway"
    ),
    "permit_unconventional_http_version": Fate(MISSING, _STRICT, True),
    "pre_exec": Fate(
        WITHOUT_EFFECT,
        "SIGUSR2 executes nothing anew, so there is nothing before it: SIGHUP takes new code, a "
        "restart by systemd a new version",
    ),
    "reload_engine": Fate(WITHOUT_EFFECT, "files are watched by watchfiles: wsgi_async[reload]"),
    "sendfile": Fate(WITHOUT_EFFECT, "a wsgi.file_wrapper goes by sendfile(2) where it can"),
    "spew": Fate(MISSING, "python -m trace tells each line that is run"),
    "strip_header_spaces": Fate(MISSING, _STRICT, True),
    "suppress_ragged_eofs": Fate(WITHOUT_EFFECT, "a client that leaves is no error here"),
    "websocket_max_message_size": Fate(WITHOUT_EFFECT, _NO_ASGI),
    "worker_abort": Fate(MISSING, _PROCESS_IS_KILLED, True),
    "worker_int": Fate(
        MISSING,
        "there is no hook for it: a process obeys its parent alone, and worker_exit is called "
        "where it ends",
        True,
    ),
    "worker_tmp_dir": Fate(
        WITHOUT_EFFECT,
        "a process tells its parent over a pipe that it lives, and needs no file for it",
    ),
    "disable_redirect_access_to_syslog": Fate(
        WITHOUT_EFFECT,
        "the access log goes to syslog where there is one, and where --access-logfile is set",
    ),
    "max_requests": Fate(
        TAKEN_OVER, "a successor serves before a process goes, so that no request waits for it"
    ),
    "reload": Fate(TAKEN_OVER, "it needs wsgi_async[reload]"),
    "logconfig": Fate(
        TAKEN_OVER, "the loggers gunicorn.error and gunicorn.access in it stand for those here"
    ),
    "logconfig_dict": Fate(
        TAKEN_OVER, "the loggers gunicorn.error and gunicorn.access in it stand for those here"
    ),
    "logconfig_json": Fate(
        TAKEN_OVER, "the loggers gunicorn.error and gunicorn.access in it stand for those here"
    ),
    "statsd_host": Fate(TAKEN_OVER, "the metrics have gunicorn's names"),
    "control_socket": Fate(
        CHANGED, "wsgi-asyncctl asks and steers by it, and gunicorn's own program does not"
    ),
}
"""Of a setting that says something, in one way always. What a setting of ``OPTIONS`` is besides
being that option is here too."""
