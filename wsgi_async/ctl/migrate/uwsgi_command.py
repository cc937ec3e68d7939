"""uWSGI's command line: options as in its files, and files that it names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from .report import Command, Plan, Verdict
from .rules import FILE_ELSEWHERE
from .uwsgi import NOT_READ, Entry, entries_of, fill
from .words import Given, Taking, Word, given

__all__ = ["read"]

# Of its thousand options most take a value: core/uwsgi.c, and the plugins python, http and gevent.
_NAMES_WITHOUT_VALUE = """
    abstract-socket auto-procname autoload cache-no-expire cache-report-freed-items
    cache-use-last-modified catch-exceptions cheap check-static-docroot close-on-exec
    close-on-exec2 command-mode daemons-honour-stdin die-on-idle die-on-no-workers die-on-term
    disable-async-warn-on-queue-full disable-logging disable-sendfile disable-write-exception
    drop-after-apps drop-after-init dump-options dynamic-apps early-python enable-proxy-protocol
    enable-threads exit-on-reload force-gateway freebind gevent-early-monkey-patch
    gevent-monkey-patch gevent-wait-for-hub greenlet harakiri-no-arh harakiri-verbose help
    honour-range honour-stdin http-auto-chunked http-auto-gzip http-backend-http http-cheap
    http-chunked-input http-manage-source http-raw-body http-websockets https-export-cert
    ignore-script-name ignore-sigpipe ignore-write-errors jailed lazy lazy-apps log-4xx log-5xx
    log-format-strftime log-master log-master-req-stream log-master-stream log-micros log-reopen
    log-truncate log-x-forwarded-for log-zero logfile-chown logformat-strftime manage-script-name
    master master-as-root never-swap no-default-app no-defer-accept no-fd-passing
    no-harakiri-after-req-hook no-harakiri-arh no-initgroups no-orphans no-server no-site
    no-threads-wait paste-logger pcre-jit persistent-ipcsem propagate-touch py-call-osafterfork
    py-call-uwsgi-fork-hooks py-master-check-signals python-version reaper reload-on-exception
    reload-os-env reuse-port show-config single-interpreter skip-atexit skip-atexit-teardown
    skip-zero spooler-ordered spooler-quiet spooler-signal-as-task ssl-enable-sslv3
    ssl-enable-tlsv1 ssl-enable3 ssl-verbose static-gzip-all stats-http stats-min stats-minified
    stats-no-cores strict tcp-nodelay threaded-logger thunder-lock thunder-lock-watchdog usage
    use-abort vacuum version vhost vhost-host write-errors-exception-only wsgi-accept-buffer
    wsgi-accept-buffers wsgi-disable-file-wrapper wsgi-manage-chunked-input wsgi-strict
    zerg-fallback
"""
_WITHOUT_VALUE = frozenset(_NAMES_WITHOUT_VALUE.split())

_NAMES_VALUE_OPTIONAL = """
    check-cache chmod chmod-socket exit http-enable-proxy-protocol http-keepalive
    http-manage-expect http-use-cache http-use-socket ksm log-date log-prefix log-syslog logdate
    memory-report mule need-app pyshell pyshell-oneshot snmp ssl-session-use-cache
    ssl-sessions-use-cache ssl-verify-depth
"""
_VALUE_OPTIONAL = frozenset(_NAMES_VALUE_OPTIONAL.split())
"""Getopt's: behind these only ``--NAME=VALUE`` gives one."""

_SHORT_NAMES = (
    "A sharedarea, C chmod-socket, H home, J test, L disable-logging, M master, O optimize, "
    "Q spooler, R max-requests, S set, T enable-threads, a abstract-socket, b buffer-size, "
    "c cgi-mode, d daemonize, h help, i single-interpreter, j json, l listen, m memory-report, "
    "p processes, r reaper, s socket, t harakiri, v max-vars, w module, x xml, y yaml, "
    "z socket-timeout"
)
_SHORT = {f"-{pair[0]}": pair[2:] for pair in _SHORT_NAMES.split(", ")}
_OTHER_FILES = ("js", "json", "xml", "xmlconfig", "yaml", "yml")
_OTHER_SUFFIX = re.compile(r".*\.(?:xml|ya?ml|json|js)")
_INI = re.compile(r"(.*\.ini)(?::(.*))?")
_SCRIPT = re.compile(r"([^:]+\.(?:py|wsgi))(?::(.+))?")
_MODULE = re.compile(r"([\w.]+):(\w+)")


def read(command: Command) -> Plan:
    """What the command line comes to here."""
    plan = Plan()
    found = list(given(command.words, _flags(command.words)))
    entries = list(_entries(command, found, plan))
    source = replace(command.source, directory=command.source.directory / command.directory)
    fill(plan, entries, source)
    if plan.kept and any(finding.verdict is Verdict.MISSING for finding in plan.findings):
        plan.kept = ""
    return plan


def _flags(words: list[Word]) -> dict[str, Taking]:
    """What the flags among these words are."""
    flags = {short: _taking(name) for short, name in _SHORT.items()}
    for word in words:
        if word.text.startswith("--") and len(word.text) > 2:
            flag = word.text.partition("=")[0]
            flags[flag] = _taking(flag[2:])
    return flags


def _taking(name: str) -> Taking:
    takes_value = name not in _WITHOUT_VALUE and name not in _VALUE_OPTIONAL and name != "cgi-mode"
    return Taking(name, takes_value)


def _entries(command: Command, found: list[Given], plan: Plan) -> Iterator[Entry]:
    for each in found:
        if each.taking is not None:
            name = each.taking.setting
            if name in _OTHER_FILES:
                plan.add(each.where, each.flag, each.value, Verdict.MISSING, NOT_READ, matters=True)
            elif name == "ini":
                yield from _from_file(command, each, plan, is_alone=len(found) == 1)
            else:
                value = each.value if each.taking.takes_value or each.value != "true" else None
                yield Entry(each.where, name, value, each.flag)
        elif _INI.fullmatch(each.value):
            yield from _from_file(command, each, plan, is_alone=len(found) == 1)
        elif _OTHER_SUFFIX.fullmatch(each.value):
            plan.add(each.where, each.value, "", Verdict.MISSING, NOT_READ, matters=True)
        elif script := _SCRIPT.fullmatch(each.value):
            yield Entry(each.where, "wsgi-file", script[1], "the application")
            if script[2]:
                yield Entry(each.where, "callable", script[2], "the application")
        elif _MODULE.fullmatch(each.value):
            yield Entry(each.where, "module", each.value, "the application")
        else:
            text = "uWSGI makes nothing of it either"
            plan.add(each.where, each.flag or each.value, "", Verdict.WITHOUT_EFFECT, text)


def _from_file(command: Command, word: Given, plan: Plan, *, is_alone: bool) -> Iterator[Entry]:
    """The options of an ini file that is named."""
    match = _INI.fullmatch(word.value)
    name, section = (match[1], match[2] or "uwsgi") if match else (word.value, "uwsgi")
    source = command.source.beside(name, command.directory)
    setting, value = word.flag or word.value, word.value if word.flag else ""
    if source is None:
        text = FILE_ELSEWHERE.text
        plan.add(word.where, setting, value, Verdict.MISSING, text, matters=True)
        return
    plan.files.append(source.name)
    if is_alone:
        plan.kept = word.value
    plan.add(word.where, setting, value, Verdict.TAKEN_OVER, "its options follow")
    yield from entries_of(source, section)
