"""What is said of uWSGI's options of which nothing comes here, a family at a time: there are a
thousand, and of most the same is to be said as of their neighbours."""

from __future__ import annotations

import re

from .rules import Rule, missing, unused

__all__ = ["UNIT", "family_of"]

_NO_MODULE = "the module uwsgi is not there: "
UNIT = "a systemd unit, or a container, of its own for it"
_QUEUE = missing(
    f"{_NO_MODULE}work outside of requests is for a queue such as Celery's, RQ's or Dramatiq's"
)
_SHARED = missing(f"{_NO_MODULE}keep what is shared in Redis, or in the database")
_ELSEWHERE = missing(_NO_MODULE + UNIT)
_SURROUNDINGS = missing(UNIT)
_SCALE = missing(
    "the number of processes stays as it is: SIGTTIN and SIGTTOU, or wsgi-asyncctl, change it "
    "while it runs; one process holds any number of connections"
)
_SPAWN = missing("there are no vassals: one service for each file, as by a systemd template unit")
_GREEN = missing(
    "there are no green threads: --threads says how many requests run at once in a process, and "
    "connections that wait take none"
)
_REWRITE = missing(
    "requests are not rewritten here: do so in nginx, in the application, or in a middleware"
)
_FILES = (
    "--static has ETag, ranges and Cache-Control: no-cache; WhiteNoise as --middleware has more"
)
_LOG = unused("see --guide logging: --access-logfile, --access-logformat, --log-level")
_STATS = unused("see stats: --control-socket for wsgi-asyncctl, --metrics-bind for Prometheus")
_IMPORT = missing("import it at the head of the application")
_OTHER_LANGUAGE = missing("only Python applications are served")
_ALARM = unused("--metrics-bind, and alerts of Prometheus")
_ROUTER = unused(
    "there is no router process in front of the others: each takes connections by itself"
)
_HEADS = unused("heads are bounded by --limit-request-fields and --max-header-size")
_NO_OPTION = unused("it is no option of a server that runs")
_OWN_WORK = unused("it is for uWSGI's own work")

_PATTERNS: tuple[tuple[str, Rule], ...] = (
    ("cheaper|cheaper-algo", _SCALE),
    ("cheaper-.*", unused("see cheaper: the number of processes stays as it is")),
    ("harakiri-.*|mule-harakiri|spooler-harakiri|no-harakiri-.*", unused("see harakiri")),
    ("(shared-)?import|(early-|shared-|spooler-)?(py|python)-?import", _IMPORT),
    ("spool.*|mule.*|farm.*|cron.*|unique-.*cron.*|legion.*cron|timer.*|rbtimer", _QUEUE),
    ("cache.*|add-cache.*|queue.*|sharedarea|locks?|lock-.*|check-cache", _SHARED),
    (".*-alarm|not-(log-)?alarm|not-alarm-log|alarm.*", _ALARM),
    ("(legion-)?(smart-)?attach-.*", _SURROUNDINGS),
    ("signals?-.*|signal|rpc.*|snmp.*|legion.*|subscri.*|unsubscri.*|zerg.*", _ELSEWHERE),
    ("udp|multicast.*|prio|heartbeat|notify-socket|(auto-)?weight|start-unsubscribed", _ELSEWHERE),
    ("(early-)?emperor.*|vassal.*|imperial.*|forkbomb-delay", _SPAWN),
    ("gevent.*|async|ugreen|greenlet|loop|asyncio.*|fiber.*|coroae.*|tornado", _GREEN),
    ("(final-|error-|response-)?route.*|http-modifier.*", _REWRITE),
    ("static-(expires|gzip|index|cache).*", missing(_FILES)),
    ("static-.*|file-?serve-mode|mime-?file|check-static-docroot", unused(_FILES)),
    (
        "touch-.*|fs-reload.*|fs-brutal-reload.*|fs-signal|(brutal-)?reload-on-fd",
        missing(
            "no file is watched: SIGHUP, systemctl reload or wsgi-asyncctl reload loads everything "
            "anew"
        ),
    ),
    (
        "hook-.*|exec-.*|call-.*",
        missing("ExecStartPre=, ExecStartPost= and ExecStopPost= in the systemd unit"),
    ),
    ("wait-.*", missing("After= and Requires= in the systemd unit")),
    ("u?mount-.*", missing("mount units of systemd's, or a container")),
    ("stats-.*|metric.*|carbon-.*", _STATS),
    ("error-page-.*", missing("error pages of the server are short texts")),
    (
        "(http-)?websockets?(-.*)?",
        missing("there are no WebSockets: an ASGI server beside this one"),
    ),
    ("reload-on-exception-.*", unused("an exception is a 500, and its traceback is logged")),
    ("sni.*", missing("--certfile and --keyfile, once for each name")),
    (
        "procname.*|auto-procname",
        unused("ps shows the command line of each process; nothing renames it"),
    ),
    ("threads?-stack-?size", unused("LimitSTACK= in the systemd unit")),
    ("ssl-.*|https-.*|http-.*|httprouter", _ROUTER),
    ("(worker-|req-)?log.*", _LOG),
    ("(py|python)-auto.*", unused("see --reload-dir and --reload-include")),
    ("cgroup.*|namespace.*|ns|ns-.*|unshare.*|chroot|pivot-root|cap|cap-.*", _SURROUNDINGS),
    ("jail.*|libjail|jid-?file|re-?fork.*|setns.*|fork-socket", _SURROUNDINGS),
    ("php.*|perl.*|psgi.*|rack.*|ruby.*|rb-.*|cgi.*|lua.*|jvm.*|go|mono.*", _OTHER_LANGUAGE),
    ("(socket|so|tcp)-.*|.*-modifier[12]|max-vars|allowed-modifiers|remap-modifier", _HEADS),
    ("early-python-?path", missing("--pythonpath DIRECTORY")),
    ("web3|pump", missing("only WSGI applications are served")),
    ("else|js|xmlconfig", missing("conditions, loops and other files are not read")),
    ("paste-.*", unused("see paste")),
    ("vhost-.*", unused("see vhost")),
    ("wsgi-.*|py-.*|python-.*|pyargv|(post-)?pymodule-.*", unused("nothing here needs it")),
)

_ACTIONS = """
    binary-append-data build-plugin cflags clock-list clocks-list config-py connect-and-read dot-h
    dump-options exit extract get help iprint loggers-list loop-list loops-list pause plugin-list
    plugins-list print print-sym print-symbol py pyrun pyshell pyshell-oneshot python reload resume
    show-config stop suspend test usage version
"""
"""What has uWSGI do something else than to serve."""

_OWN = """
    backtrace-depth binary-path binsh blacklist body-read-warning check-interval check-mount
    check-mountpoint clock close-on-exec2 collect-header command-mode daemons-honour-stdin
    declare-option declare-option2 die-on-no-workers disable-async-warn-on-queue-full dlopen
    drop-after-apps drop-after-init early-python end-blacklist end-whitelist exit-on-reload fd-safe
    file-write flock flock-wait flock-wait2 flock2 force-cwd force-gateway ftok honour-stdin
    immediate-gid immediate-uid load-file-in-cache load-file-in-cache-gzip master-as-root
    mem-collector-freq mode mount-check mountpoint-check no-fd-passing no-server no-site pcre-jit
    persistent-ipcsem privileged-binary-patch privileged-binary-patch-arg propagate-touch
    pull-header reaper reload-os-env resolve response-header-collect response-headers-limit safe-fd
    skip-atexit skip-atexit-teardown skip-zero st thunder-lock-watchdog
    unprivileged-binary-patch unprivileged-binary-patch-arg upload-progress use-abort whitelist
    worker-mount write-errors-exception-only write-errors-tolerance zeus
"""
_NAMES: dict[str, Rule] = {
    **dict.fromkeys(_ACTIONS.split(), _NO_OPTION),
    **dict.fromkeys(_OWN.split(), _OWN_WORK),
}


def family_of(key: str) -> Rule | None:
    """What is said of an option of which nothing comes here; None where it is not known."""
    if key in _NAMES:
        return _NAMES[key]
    return next((rule for pattern, rule in _PATTERNS if re.fullmatch(pattern, key)), None)
