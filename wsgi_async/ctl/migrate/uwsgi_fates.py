"""What becomes of each of uWSGI's options, in a sentence.

Which of ours one is, and which are refused, says :mod:`wsgi_async.foreign.uwsgi`. Here is what
differs, and what follows for those that are neither; in ``uwsgi_families``, for the many.
"""

from __future__ import annotations

import re

from .rules import (
    REPLACED_BY_AGE,
    REPLACED_BY_REQUESTS,
    Rule,
    changed,
    missing,
    single_threaded,
    taken,
    unused,
)
from .uwsgi_families import UNIT

__all__ = ["NOT_SET", "OPTIONS", "fate_of", "fate_of_socket"]

_LIMIT = (
    "there is no bound by memory here: --max-requests or --worker-lifetime replaces processes that "
    "grow, MemoryMax= in the systemd unit is for all of them"
)
_HTTP = "there is no router process in front of the others: each takes connections by itself"
_ROTATE = "logrotate turns them over, and SIGUSR1 has them opened again"
_STATS = "--control-socket for wsgi-asyncctl status and top, --metrics-bind for Prometheus"

OPTIONS: dict[str, Rule] = {
    # Processes
    "processes": taken("processes that serve"),
    "workers": taken("processes that serve"),
    "threads": taken(
        "threads that run the application; connections, uploads and slow clients take none of them"
    ),
    "enable-threads": taken("threads of the application's own run always"),
    "master": taken("there is always a parent that replaces processes"),
    "single-interpreter": taken("there is one interpreter in each process"),
    "need-app": taken("without an application it ends, with exit code 3"),
    "lazy-apps": taken("each process loads the application for itself; --preload loads it once"),
    "lazy": taken("each process loads the application for itself; --preload loads it once"),
    "thunder-lock": taken("processes take their share of connections without a lock"),
    "die-on-term": taken("SIGTERM finishes what is in flight, and ends"),
    "vacuum": taken("socket files and the pid file are removed at the end"),
    "no-orphans": taken("processes whose parent is gone finish what is in flight, and go"),
    "strict": taken("an option that there is none of is an error"),
    "harakiri": changed(
        "for the first chunk of a response, and then for each next one; the client gets 504 and "
        "only the thread is replaced, where uWSGI kills the process with all that is in it"
    ),
    "max-requests": REPLACED_BY_REQUESTS,
    "max-requests-delta": changed(
        "up to so many more, by chance for each process; there by its number"
    ),
    "max-worker-lifetime": REPLACED_BY_AGE,
    "reload-mercy": changed("for requests in flight, at a stop and at a reload"),
    "worker-reload-mercy": changed("for requests in flight, at a stop and at a reload"),
    "uid": taken("what the processes that serve become, once the sockets are bound"),
    "gid": taken("likewise, the group"),
    "listen": taken("connections that the kernel queues; it may be above net.core.somaxconn"),
    "chown-socket": taken("whom socket files are given to"),
    "chown": taken("whom socket files are given to"),
    "cpu-affinity": changed("--cpu-affinity keeps each process on one processor"),
    "evil-reload-on-as": missing(_LIMIT),
    "evil-reload-on-rss": missing(_LIMIT),
    "reload-on-as": missing(_LIMIT),
    "reload-on-rss": missing(_LIMIT),
    "reload-on-uss": missing(_LIMIT),
    "reload-on-pss": missing(_LIMIT),
    "limit-as": missing("LimitAS= in the systemd unit"),
    "limit-nproc": missing("LimitNPROC= in the systemd unit"),
    "max-fd": unused("it raises its limit of open files itself, up to the hard one"),
    "memory-report": unused("wsgi-asyncctl status says how much memory each process has"),
    "never-swap": missing("MemorySwapMax=0 in the systemd unit"),
    "ksm": unused("memory that is alike is not looked for"),
    "idle": unused("a process without requests goes on"),
    "die-on-idle": missing(
        "an idle server goes on: systemd's socket activation with its own timeout"
    ),
    "min-worker-lifetime": unused("processes are replaced for their age or requests only"),
    "no-defer-accept": taken("TCP_DEFER_ACCEPT is not set"),
    "reuse-port": unused("the processes share their sockets"),
    "so-keepalive": unused("idle connections end after --keep-alive"),
    "tcp-nodelay": taken("what is written is sent at once"),
    "tcp-fast-open": unused("TCP Fast Open is not used"),
    "master-fifo": missing("signals, or wsgi-asyncctl with --control-socket"),
    "python-worker-override": missing(f"it is no WSGI application: {UNIT}"),
    # The application
    "module": taken("the application"),
    "wsgi": taken("the application"),
    "wsgi-file": taken("the application, in a file"),
    "file": taken("the application, in a file"),
    "paste": taken("an application of PasteDeploy's; needs wsgi_async[paste]"),
    "ini-paste": taken("an application of PasteDeploy's; needs wsgi_async[paste]"),
    "ini-paste-logged": taken("an application of PasteDeploy's; needs wsgi_async[paste]"),
    "callable": taken("the name of the application in it"),
    "chdir": taken("the working directory, which is first on the path"),
    "mount": taken(
        "the application below that path; SCRIPT_NAME and PATH_INFO are as with manage-script-name"
    ),
    "manage-script-name": taken("SCRIPT_NAME and PATH_INFO are always told apart"),
    "env": taken("set before the application is loaded"),
    "py-autoreload": changed("for development; needs wsgi_async[reload], and looks at once"),
    "python-autoreload": changed("for development; needs wsgi_async[reload], and looks at once"),
    "py-tracebacker": changed(
        "SIGUSR1 logs the stacks of all requests; wsgi-asyncctl requests --stacks"
    ),
    "catch-exceptions": changed("--debug shows tracebacks, to clients on this machine"),
    "reload-on-exception": unused("an exception is a 500, and its traceback is logged"),
    "wsgi-disable-file-wrapper": unused("wsgi.file_wrapper is there; nobody has to use it"),
    "wsgi-strict": taken("PEP 3333 is kept"),
    "optimize": missing("set PYTHONOPTIMIZE in the systemd unit"),
    "plugin": taken("nothing has to be loaded for Python"),
    "plugins": taken("nothing has to be loaded for Python"),
    "need-plugin": taken("nothing has to be loaded for Python"),
    "need-plugins": taken("nothing has to be loaded for Python"),
    "plugin-dir": unused("there are no plugins"),
    "plugins-dir": unused("there are no plugins"),
    "autoload": unused("there are no plugins"),
    "chdir2": missing("os.chdir() in the application, once it is loaded; see --chdir"),
    "del-header": missing("a middleware takes fields out of responses"),
    "rem-header": missing("a middleware takes fields out of responses"),
    "dynamic-apps": missing("--mount says which applications there are"),
    "envdir": missing("--env-file, or EnvironmentFile= in the systemd unit"),
    "early-envdir": missing("--env-file, or EnvironmentFile= in the systemd unit"),
    "ienv": missing("--env NAME=VALUE"),
    "unenv": missing("UnsetEnvironment= in the systemd unit"),
    "add-gid": missing("SupplementaryGroups= in the systemd unit, or usermod -aG GROUP USER"),
    "no-initgroups": unused("the processes have the groups that the system has the user in"),
    "exception-handler": missing("a subscriber hears of errors: --subscriber, --guide logging"),
    "after-request-hook": missing("a subscriber hears of each request: --subscriber"),
    "after-request-call": missing("a subscriber hears of each request: --subscriber"),
    "fork-server": missing("--preload has a process that forks the others"),
    "worker-exec": missing(f"it is no WSGI application: {UNIT}"),
    "worker-exec2": missing(f"it is no WSGI application: {UNIT}"),
    "profiler": changed("wsgi-asyncctl profile SECONDS, of a server that runs"),
    "max-apps": unused("there may be any number of --mount"),
    "max-worker-lifetime-delta": unused("up to a tenth more, by chance for each process"),
    "cheap": missing("processes are started at once: systemd's socket activation starts late"),
    # Where it listens
    "abstract-socket": missing("--bind unix:@NAME"),
    "freebind": missing("IP_FREEBIND is not set: a .socket unit of systemd's has FreeBind="),
    "map-socket": missing("all processes listen at all addresses: a service for each"),
    "undeferred-shared-socket": missing("write http-socket = ADDRESS"),
    "ignore-script-name": unused("a SCRIPT_NAME that a front server says counts"),
    "chunked-input-limit": unused("see --max-body-size"),
    "chunked-input-timeout": unused("see --body-timeout"),
    "offload-thread": taken("files go by sendfile() on the event loop, and take no thread"),
    "disable-sendfile": unused("files go by sendfile() wherever there is no TLS"),
    "http": changed(_HTTP),
    "http-socket": taken("HTTP/1.1, with connections that are kept"),
    "http11-socket": taken("HTTP/1.1, with connections that are kept"),
    "protocol": taken("what is spoken at socket = ADDRESS"),
    "socket-protocol": taken("what is spoken at socket = ADDRESS"),
    "chmod-socket": taken("permissions of socket files"),
    "chmod": taken("permissions of socket files"),
    "https": changed(
        "certificates that are renewed are taken up without a restart; only root need be able to "
        "read the key"
    ),
    "buffer-size": changed(
        "of a request's head: for all of it, for its first line and for each field; then 431 or 414"
    ),
    "post-buffering": taken(
        "bodies are collected before the application is called, on disk where large"
    ),
    "post-buffering-bufsize": unused("see --spool-threshold"),
    "limit-post": taken("a larger body is answered with 413"),
    "socket-timeout": changed("see --body-timeout and --send-timeout, which have defaults"),
    "http-timeout": changed("see --request-timeout, --body-timeout and --send-timeout"),
    "http-keepalive": taken("connections are kept; --keep-alive says how long"),
    "http-auto-chunked": taken("a body whose length nobody knows is chunked"),
    "http-chunked-input": taken("chunked bodies are decoded, and have a CONTENT_LENGTH"),
    "http-auto-gzip": missing("nothing is compressed here: in nginx, or in the application"),
    "http-to": missing("there is no router: nginx, or --mount"),
    "add-header": changed("where the response has no field of that name"),
    "log-x-forwarded-for": changed(
        "REMOTE_ADDR is the client's too, where the proxy in front is believed: "
        "--forwarded-allow-ips, this machine where nothing is said"
    ),
    "offload-threads": taken("files go by sendfile() on the event loop, and take no thread"),
    "ignore-sigpipe": taken("a client that leaves is no error"),
    "ignore-write-errors": taken("a client that leaves is no error"),
    "disable-write-exception": changed(
        "write() raises wsgi_async.ClientDisconnected where the client has left"
    ),
    # Logs
    "disable-logging": taken("requests are logged with --access-logfile only"),
    "logto": taken("the error log; requests are in --access-logfile"),
    "logto2": taken("the error log; requests are in --access-logfile"),
    "log-format": changed(
        "--access-logformat, with gunicorn's atoms: %(h)s, %(r)s, %(s)s; see --guide logging"
    ),
    "logformat": changed(
        "--access-logformat, with gunicorn's atoms: %(h)s, %(r)s, %(s)s; see --guide logging"
    ),
    "log-slow": changed(
        "logged once, with the stack of its thread, while it is slow; the time that only its "
        "client took does not count"
    ),
    "log-maxsize": missing(_ROTATE),
    "log-backupname": unused(_ROTATE),
    "log-reopen": taken("SIGUSR1 has log files opened again"),
    "log-master": taken(
        "one thread of each process writes its log, and requests do not wait for it"
    ),
    "threaded-logger": taken("one thread of each process writes its log"),
    "log-4xx": unused("with --access-logfile all requests are logged"),
    "log-5xx": unused("with --access-logfile all requests are logged; errors are in the error log"),
    "log-date": changed("each line has its date, in one form always"),
    "logdate": changed("each line has its date, in one form always"),
    "log-encoder": changed("--log-format json has each line of the error log as JSON"),
    "log-syslog": changed("--log-syslog-to unix:///dev/log"),
    "syslog": changed("--log-syslog-to unix:///dev/log"),
    "logger": changed("--log-syslog-to, or --log-config for a handler of logging's"),
    "req-logger": changed("--access-logfile, --log-syslog-to or --log-config"),
    # Others
    "stats": changed(_STATS, matters=True),
    "stats-server": changed(_STATS, matters=True),
    "stats-http": unused("see stats"),
    "carbon": missing("--statsd-host sends metrics, --metrics-bind shows them"),
    "enable-metrics": changed("see --metrics-bind"),
    "touch-logrotate": missing(_ROTATE),
    "touch-logreopen": missing("SIGUSR1 has log files opened again"),
    "chain-reload-delay": unused("a process goes when its successor is ready"),
    "vhost": missing(f"applications are told apart by path only: {UNIT}, and nginx in front"),
    "pidfile": taken("written once it listens, removed at the end"),
    "daemonize": missing(
        "it stays in the foreground, where systemd and containers want it: a unit"
    ),
    "daemonize2": missing(
        "it stays in the foreground, where systemd and containers want it: a unit"
    ),
    "check-static": changed(
        "needs wsgi_async[static]; no hidden files, and what names no file is asked of the "
        "application"
    ),
    "static-map": changed(
        "needs wsgi_async[static]; no hidden files, and what names no file is asked of the "
        "application"
    ),
    "honour-range": taken("ranges of files are served"),
}

NOT_SET: dict[str, Rule] = {
    "threads": single_threaded("uWSGI"),
    "die-on-term": changed(
        "not set, where SIGTERM reloads uWSGI; here it finishes what is in flight, and ends"
    ),
    "lazy-apps": changed(
        "not set, where uWSGI loads the application once and then forks; here each process loads "
        "it for itself, but with --preload"
    ),
}
"""What is to be said of options that are not there."""


def fate_of(key: str) -> Rule | None:
    """What is said of an option by itself; None where it is one of a family, or needs no word."""
    return OPTIONS.get(key)


def fate_of_socket(address: str, *, from_afar: bool) -> Rule:
    """What is said of an address.

    :param address: as ``--bind`` takes it.
    :param from_afar: whether other machines can connect there.
    """
    protocol = re.match(r"(uwsgi|fastcgi|scgi)(?=[+:])", address)
    if protocol is None:
        return taken("HTTP/1.1, with connections that are kept")
    if from_afar:
        return changed(
            f"{protocol[0]} is spoken; served are web servers on this machine, and those that "
            "--uwsgi-allow-from names, where uWSGI serves anybody who connects",
            matters=True,
        )
    return taken(
        f"{protocol[0]} is spoken, as by {protocol[0]}_pass of nginx; see --guide gateways"
    )
