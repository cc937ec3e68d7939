"""What becomes of those of gunicorn's settings whose fate depends on their value, or on others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wsgi_async.config.option import OFF
from wsgi_async.config.other_servers import WORKER_CLASSES
from wsgi_async.foreign.gunicorn import header_map_notices

from .checked import KNOWN, default_of
from .gunicorn_fates import HTTP2, Fate, Setting, Settings
from .report import Verdict

__all__ = ["JUDGES", "is_sync"]

TAKEN_OVER, CHANGED = Verdict.TAKEN_OVER, Verdict.CHANGED
WITHOUT_EFFECT, MISSING = Verdict.WITHOUT_EFFECT, Verdict.MISSING

Judge = Callable[[Setting, Settings], Fate]

_GREEN = ("gevent", "gevent_wsgi", "gevent_pywsgi", "eventlet", "tornado", "ggevent")
_GREEN_THREADS = 64
"""Threads in the place of green ones, to begin with."""

_ASGI = ("uvicorn", "asgi", "asyncio", "uvloop", "trio", "hypercorn")


def is_sync(settings: Settings) -> bool:
    """Whether gunicorn has workers of one request at a time."""
    threads = settings.get("threads")
    has_threads = threads is not None and threads.value not in (None, 1, "1")
    return (
        _class_name(settings) in ("", "sync", "gunicorn.workers.sync.SyncWorker")
        and not has_threads
    )


def _class_name(settings: Settings) -> str:
    found = settings.get("worker_class")
    value = found.value if found is not None else ""
    return str(value or "").removeprefix("egg:gunicorn#")


def _worker_class(setting: Setting, settings: Settings) -> Fate:
    name = _class_name(settings)
    short = name.removeprefix("gunicorn.workers.").split(".")[0]
    if name.startswith("wsgi_async."):
        return Fate(TAKEN_OVER, "that is this server already, in gunicorn's processes")
    if short in _GREEN:
        options = {} if "threads" in settings else {"threads": _GREEN_THREADS}
        return Fate(
            CHANGED,
            "green threads become threads: each process runs as many requests at once as --threads "
            f"says, of which {_GREEN_THREADS} are a beginning, and nothing is patched; clients "
            "that are slow or idle need none. Take monkey.patch_all() out, and measure",
            True,
            options,
        )
    if any(word in name.lower() for word in _ASGI):
        return Fate(
            MISSING,
            "ASGI applications are not served here: name the WSGI application, which a Django "
            "project has in wsgi.py, or stay where you are",
            True,
        )
    if short in ("sync", "gthread") or name in WORKER_CLASSES:
        return Fate(
            WITHOUT_EFFECT, "an event loop takes the connections, and --threads run the application"
        )
    return Fate(
        MISSING,
        "this class is not known here; an event loop takes the connections, and --threads run the "
        "application",
        True,
    )


def _timeout(setting: Setting, settings: Settings) -> Fate:
    seconds = _number(setting.value)
    if not seconds:
        return Fate(TAKEN_OVER, "0 is off in both")
    if is_sync(settings):
        return Fate(
            CHANGED,
            f"gunicorn kills a worker that is at a request for longer than {seconds:g} s, and the "
            "client sees its connection closed; --request-timeout answers with 504 and gives the "
            "thread's place to another. --timeout is here for an event loop that is blocked, and "
            f"stays {default_of('timeout')}",
            options={"request_timeout": seconds},
            is_left_out=True,
        )
    return Fate(
        CHANGED,
        "it watches over the event loop of a process, which no request holds up: a request may "
        "take as long as it likes, as with these workers of gunicorn. --request-timeout bounds it",
    )


def _keepalive(setting: Setting, settings: Settings) -> Fate:
    seconds = _number(setting.value)
    if is_sync(settings):
        return Fate(
            CHANGED,
            "gunicorn's sync workers keep no connection, whatever this says; here an idle one "
            f"costs no thread and is kept for {default_of('keep_alive')}, longer than a load "
            "balancer does: it is left out",
            is_left_out=True,
        )
    if seconds is None or seconds >= 60:
        return Fate(TAKEN_OVER, "an idle connection costs no thread")
    return Fate(
        CHANGED,
        "an idle connection costs no thread here, so that it may be kept for longer than a load "
        f"balancer does (60 s): without this option it is, for {default_of('keep_alive')}",
    )


def _bind(setting: Setting, settings: Settings) -> Fate:
    value = setting.value
    several = (
        value if isinstance(value, list | tuple) else ()
    )  # a number is an error, said elsewhere
    texts = value.split(",") if isinstance(value, str) else list(several)
    files = [
        text for text in texts if str(text).strip().startswith("unix:") and "unix:@" not in text
    ]
    if not files:
        return Fate(TAKEN_OVER)
    umask = settings.get("umask")
    bits = _octal(umask.value if umask is not None else 0)
    mode = 0o666 & ~bits
    if mode == KNOWN["socket_mode"].default:
        return Fate(TAKEN_OVER)
    return Fate(
        CHANGED,
        f"gunicorn makes the socket's file by its umask, {bits:03o}, so that its mode comes to "
        f"{mode:03o}; here --socket-mode says it. Without that option it is "
        f"{default_of('socket_mode')}, for a proxy that is in the group of the file",
        options={"socket_mode": f"{mode:03o}"},
    )


def _preload(setting: Setting, settings: Settings) -> Fate:
    return Fate(
        CHANGED,
        "a process of its own loads the application and forks those that serve; SIGHUP takes new "
        "code too, which gunicorn's does not do then",
    )


def _capture(setting: Setting, settings: Settings) -> Fate:
    log = settings.get("errorlog")
    has_file = log is not None and log.value not in (None, "-")
    text = "what the application prints stays on its standard output and standard error"
    if not has_file:
        return Fate(WITHOUT_EFFECT, f"{text}, beside the error log")
    return Fate(
        MISSING,
        f"{text}, and does not get into the file of the error log: have systemd or Docker keep "
        "it, or let it log",
        True,
    )


def _trusted(setting: Setting, settings: Settings) -> Fate:
    believed = setting.value if isinstance(setting.value, str) else ",".join(setting.value or ())
    everybody = ". With * whoever reaches the port is believed" if "*" in believed else ""
    return Fate(
        CHANGED,
        "of these proxies X-Forwarded-For is believed too, so that REMOTE_ADDR is the client's, "
        "where with gunicorn it is the proxy's: --proxy-headers proto leaves it" + everybody,
    )


def _proxy_protocol(setting: Setting, settings: Settings) -> Fate:
    if str(setting.value).lower() in (OFF, "false", "none", "0"):
        return Fate(TAKEN_OVER)
    return Fate(
        CHANGED, "a connection without a PROXY header is closed here, where gunicorn serves it"
    )


def _instead_of_serving(setting: Setting, settings: Settings) -> Fate:
    if setting.flag:
        return Fate(TAKEN_OVER, "wsgi-async has that flag: nothing is served then")
    return Fate(WITHOUT_EFFECT, "in a file it says nothing here: it is a flag of wsgi-async's")


def _connections(setting: Setting, settings: Settings) -> Fate:
    if is_sync(settings):
        return Fate(
            WITHOUT_EFFECT,
            "gunicorn's sync workers do not read it; here it would bound the connections of a "
            "process, idle ones included, and is left out",
            is_left_out=True,
        )
    return Fate(
        CHANGED,
        "it bounds the connections of a process, idle ones included, of which the oldest makes "
        "room; how many requests run at once says --threads",
    )


def _header_map(setting: Setting, settings: Settings) -> Fate:
    notices = header_map_notices(setting.value, "")
    if not notices:
        return Fate(TAKEN_OVER)
    text = notices[0].partition(f"{setting.value!r}: ")[2]
    return Fate(CHANGED, text, str(setting.value) == "dangerous")


def _spool_dir(setting: Setting, settings: Settings) -> Fate:
    return Fate(TAKEN_OVER, "as --spool-dir", options={"spool_dir": setting.value})


def _protocols(setting: Setting, settings: Settings) -> Fate:
    text = ",".join(setting.value) if isinstance(setting.value, list) else str(setting.value)
    names = {name.strip() for name in text.split(",")}
    return Fate(TAKEN_OVER) if names <= {"h1"} else Fate(MISSING, HTTP2, True)


def _name(setting: Setting, settings: Settings) -> Fate:
    has_syslog = "syslog" in settings and settings["syslog"].value
    text = "ps shows the command line of wsgi-async"
    return Fate(WITHOUT_EFFECT, f"{text}; syslog gets this name" if has_syslog else text)


def _uwsgi_peers(setting: Setting, settings: Settings) -> Fate:
    protocol = settings.get("protocol")
    if protocol is not None and protocol.value == "uwsgi":
        return Fate(TAKEN_OVER)
    return Fate(
        WITHOUT_EFFECT,
        "it is for the uwsgi protocol, which is not spoken at this address",
        is_left_out=True,
    )


JUDGES: dict[str, Judge] = {
    "bind": _bind,
    "capture_output": _capture,
    "check_config": _instead_of_serving,
    "forwarded_allow_ips": _trusted,
    "header_map": _header_map,
    "http_protocols": _protocols,
    "keepalive": _keepalive,
    "preload_app": _preload,
    "print_config": _instead_of_serving,
    "proc_name": _name,
    "proxy_protocol": _proxy_protocol,
    "timeout": _timeout,
    "tmp_upload_dir": _spool_dir,
    "uwsgi_allow_ips": _uwsgi_peers,
    "worker_class": _worker_class,
    "worker_connections": _connections,
}
"""Of a setting whose fate depends on its value, or on others."""


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _octal(value: Any) -> int:
    try:
        return int(value, 8) if isinstance(value, str) else int(value)
    except (TypeError, ValueError):
        return 0
