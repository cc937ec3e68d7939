"""mod_wsgi-express: Apache with mod_wsgi behind a command line of its own.

Its options that are of ``WSGIDaemonProcess`` too are understood there; others are as Apache's
directives, or in the table here (src/express/options.py of mod_wsgi 6).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from wsgi_async.errors import ConfigError

from . import apache_access, apache_logs, apache_own
from .apache_daemon import DAEMON, daemon_option
from .apache_move import Handler, Move
from .apache_rules import DIRECTIVES, FRONT
from .apache_sites import Site
from .apache_syntax import Directive
from .checked import joined
from .report import Command, Plan
from .rules import UNKNOWN, Rule, changed, missing, taken, unused
from .words import Given, Taking, Word, given

__all__ = ["read"]

_STARTS = ("start-server", "setup-server")
_PAIRS = (
    *("--add-handler", "--error-document", "--proxy-mount-point", "--proxy-url-alias"),
    *("--proxy-virtual-host", "--service-group", "--service-log-file", "--service-script"),
    *("--service-user", "--setenv", "--url-alias"),
)
"""What two values follow."""

_WITHOUT_VALUE = (
    "access-log allow-localhost chunked-request compress-responses debug-mode directory-listing "
    "disable-reloading embedded-mode enable-coverage enable-debugger enable-docs enable-gdb "
    "enable-profiler enable-recorder enable-sendfile enable-telemetry error-override "
    "free-threading debugger-startup http2 https-only log-to-terminal orphan-interpreter "
    "reload-on-changes rotate-logs server-metrics server-status setup-only ssl-environment "
    "startup-log verbose-debugging with-cgi with-php5"
)
_ALONE = frozenset(_WITHOUT_VALUE.split())

_AS_DAEMON = {
    **{name: name for name in DAEMON},
    "daemon-backlog": "listen-backlog",
    "process-name": "display-name",
    "working-directory": "home",
}

_LOOP = "connections are held by one event loop in each process, not by threads"
_DEBUG = missing("run the application by its own means of debugging; --debug shows tracebacks")
_LOGIN = missing("logins are not done here: wsgi_async.middleware.BasicAuth, or the application")
_SERVICE = missing("another program is a systemd unit, or a container, of its own")
_OWN_FILES = unused("there are no files that it makes for Apache")

_RULES: dict[str, Rule] = {
    "access-log": changed("on standard output here", "access_logfile"),
    "access-log-format": changed("--access-logformat takes gunicorn's atoms, see --guide logging"),
    "access-log-name": unused("--access-logfile names the file"),
    "add-handler": missing(f"only Python applications and files are served: {FRONT}"),
    "allow-localhost": unused("requests for any name are answered"),
    "allow-override": unused(".htaccess files are not read"),
    "application-group": unused("there is one interpreter in each process"),
    "auth-group": _LOGIN,
    "auth-group-script": _LOGIN,
    "auth-type": _LOGIN,
    "auth-user-script": _LOGIN,
    "body-max-timeout": unused("see --min-rate: a body that is slow on average is refused"),
    "body-min-rate": changed("of responses too, after 10 s of grace", "min_rate"),
    "body-timeout": changed("the longest gap within a body", "body_timeout"),
    "chunked-request": taken("bodies of unknown length are collected, and CONTENT_LENGTH is set"),
    "compress-responses": DIRECTIVES["addoutputfilterbytype"],
    "directory-index": missing("index pages are asked of the application"),
    "directory-listing": unused("directories are not listed"),
    "disable-reloading": taken("nothing is reloaded without being asked"),
    "document-root": changed(
        "needs wsgi_async[static]; what names no file is asked of the application", "static"
    ),
    "embedded-mode": changed("the processes that serve are those of --workers"),
    "enable-docs": unused("wsgi-async --guide"),
    "enable-sendfile": taken("files go by sendfile() wherever there is no TLS"),
    "envvars-script": missing("--env-file, or EnvironmentFile= in the systemd unit"),
    "error-document": changed("errors of the application are its own pages, as before"),
    "error-log-format": changed("--log-format text or json"),
    "error-log-name": unused("--error-logfile names the file"),
    "error-override": missing("error pages of the application go out as they are"),
    "free-threading": DIRECTIVES["wsgifreethreading"],
    "header-max-timeout": unused("see --header-timeout"),
    "header-min-rate": unused("see --header-timeout"),
    "header-timeout": changed("for a whole head, however fast it comes", "header_timeout"),
    "host-access-script": DIRECTIVES["wsgiaccessscript"],
    "hsts-policy": changed("--header 'Strict-Transport-Security: ...' does so"),
    "http2": missing("HTTP/1.1 is spoken here: a server in front (nginx, Caddy) speaks HTTP/2"),
    "ignore-activity": DIRECTIVES["wsgiignoreactivity"],
    "include-file": missing("what it says in Apache's words: give that file to this report"),
    "initial-workers": unused(_LOOP),
    "keep-alive-timeout": taken("idle connections take no thread here", "keep_alive"),
    "limit-request-body": taken("a larger body is answered with 413", "max_body_size"),
    "log-directory": changed("say --error-logfile and --access-logfile"),
    "log-to-terminal": taken("the error log is on standard error"),
    "map-head-to-get": DIRECTIVES["wsgimapheadtoget"],
    "max-clients": unused(f"{_LOOP}: see --max-connections"),
    "max-log-size": missing("logrotate, and SIGUSR1"),
    "maximum-spare-workers": unused(_LOOP),
    "mime-types": unused("types of files are Python's mimetypes"),
    "minimum-spare-workers": unused(_LOOP),
    "pid-file": taken("written once it listens, removed at the end", "pid"),
    "process-group": DIRECTIVES["wsgirestrictprocess"],
    "proxy-mount-point": DIRECTIVES["proxypassmatch"],
    "proxy-timeout": unused("requests are not passed on"),
    "proxy-url-alias": DIRECTIVES["proxypassmatch"],
    "proxy-virtual-host": DIRECTIVES["proxypassmatch"],
    "python-warnings": missing("set PYTHONWARNINGS in the environment"),
    "reload-on-changes": changed("for development; needs wsgi_async[reload]", "reload"),
    "rewrite-rules": DIRECTIVES["rewritemap"],
    "rotate-logs": missing("logrotate, and SIGUSR1"),
    "server-alias": unused("requests for any name are answered"),
    "server-backlog": taken("connections that the kernel queues", "backlog"),
    "server-mpm": unused(_LOOP),
    "server-name": changed(
        "requests for any name are answered, and nobody is redirected to www. or from it"
    ),
    "server-root": _OWN_FILES,
    "server-status": missing("wsgi-asyncctl status with --control-socket, or --dashboard-bind"),
    "service-group": _SERVICE,
    "service-log-file": _SERVICE,
    "service-script": _SERVICE,
    "service-user": _SERVICE,
    "setup-only": missing("there are no files to make: a systemd unit has the command line"),
    "slow-requests": changed("logged once with the stack of its thread", "slow_request"),
    "socket-prefix": _OWN_FILES,
    "ssl-ca-certificate-file": taken("whose certificates clients must have", "ca_certs"),
    "ssl-certificate-chain-file": changed("append it to the file of --certfile"),
    "ssl-certificate-file": taken("files that have changed are taken up", "certfile"),
    "ssl-certificate-key-file": taken("only root need be able to read it", "keyfile"),
    "ssl-environment": changed(
        "environ has SSL_PROTOCOL, SSL_CIPHER and SSL_CLIENT_...; see --guide tls"
    ),
    "ssl-verify-client": missing(
        "certificates are asked for in the handshake, before there is a path: --cert-reqs optional"
    ),
    "startup-log": unused("what happens at the start is in the error log"),
    "startup-log-name": unused("what happens at the start is in the error log"),
    "with-cgi": DIRECTIVES["scriptalias"],
    "with-php5": missing(f"PHP is not run: {FRONT}"),
    **dict.fromkeys(
        (
            *("telemetry-service", "enable-telemetry", "telemetry-ui-port", "telemetry-interval"),
            "telemetry-options",
        ),
        unused("see --metrics-bind and --dashboard-bind"),
    ),
    **dict.fromkeys(
        (
            *(
                "httpd-executable",
                "modules-directory",
                "orphan-interpreter",
                "rotatelogs-executable",
            ),
            *("shell-executable", "verbose-debugging"),
        ),
        unused("it is for Apache's own work"),
    ),
    "gdb-executable": _DEBUG,
    "coverage-directory": _DEBUG,
    "debug-mode": _DEBUG,
    "debugger-startup": _DEBUG,
    "enable-coverage": _DEBUG,
    "enable-debugger": _DEBUG,
    "enable-gdb": _DEBUG,
    "enable-profiler": changed("wsgi-asyncctl profile SECONDS, of a server that runs"),
    "enable-recorder": _DEBUG,
    "profiler-directory": _DEBUG,
    "recorder-directory": _DEBUG,
}
_AS_APACHE: dict[str, Handler] = {
    "log-level": apache_logs.HANDLERS["loglevel"],
    "passenv": lambda move, directive: move.say(
        directive, taken("the application's os.environ is that of the server")
    ),
    "setenv": apache_access.HANDLERS["setenv"],
    "trust-proxy": apache_own.HANDLERS["remoteiptrustedproxy"],
    "trust-proxy-header": apache_own.HANDLERS["wsgitrustedproxyheaders"],
    "url-alias": apache_access.HANDLERS["alias"],
}
_VALUES = {"access-log": "-", "reload-on-changes": True}
"""What an option becomes that has no value."""

_DEFAULTS = (
    ("threads", "threads", 5),
    ("limit-request-body", "max_body_size", "10M"),
    ("request-timeout", "request_timeout", 60),
)
"""An option, what it becomes, and its value where nothing is said."""


def read(command: Command) -> Plan:
    """What the command line comes to here.

    :raises ConfigError: it starts no server.
    """
    plan = Plan(between=" ")
    what = command.words[0].text if command.words else ""
    if what not in _STARTS:
        raise ConfigError(f"{command.source.name}: mod_wsgi-express {what!r} starts no server")
    found = list(_given(command.words[1:]))
    values = {each.taking.setting: each.value for each in found if each.taking is not None}
    move = Move(Site([]), plan)
    for each in found:
        if each.taking is None and not each.flag:
            values.setdefault("entry-point", each.value)
            _application(move, _directive("the application", each), values)
        else:
            _option(move, each, values)
    _listen(move, values)
    for name, option, value in _DEFAULTS:
        if name not in values:
            rule = taken(f"not set, where mod_wsgi-express has {value}", option)
            move.take(Directive(command.where, f"--{name}", ""), rule, value)
    return plan


def _given(words: list[Word]) -> Iterator[Given]:
    flags = {}
    joined: list[Word] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        joined.append(word)
        if word.text in _PAIRS and len(rest) > 1:  # as one value, which is told apart again
            first, second = rest.pop(0), rest.pop(0)
            joined.append(first._replace(text=shlex.join((first.text, second.text))))
        if word.text.startswith("--"):
            flag = word.text.partition("=")[0]
            flags[flag] = Taking(flag[2:], flag[2:] not in _ALONE, value="")
    return given(joined, flags)


def _directive(name: str, each: Given) -> Directive:
    return Directive(each.where, name, each.value)


def _option(move: Move, each: Given, values: dict[str, str]) -> None:
    name = each.taking.setting if each.taking is not None else ""
    directive = _directive(each.flag, each)
    if name == "entry-point":
        _application(move, directive, values)
    elif name in _LISTENING:
        move.say(directive, _LISTENING[name])
    elif name in _AS_APACHE:
        _AS_APACHE[name](move, directive)
    elif name in _AS_DAEMON:
        daemon_option(move, directive, _AS_DAEMON[name], each.value)
    elif name == "ssl-certificate":
        move.take(directive, _RULES["ssl-certificate-file"], f"{each.value}.crt")
        move.plan.append("keyfile", f"{each.value}.key")
    elif name not in _RULES:
        move.say(directive, UNKNOWN)
    elif _RULES[name].option:
        value: object = each.value
        if name == "document-root":
            value = f"/={each.value}"
        move.take(directive, _RULES[name], _VALUES.get(name, value), written=each.value)
        if name == "ssl-ca-certificate-file":
            move.plan.options["cert_reqs"] = "required"
    else:
        move.say(directive, _RULES[name])


_LISTENING: dict[str, Rule] = {
    "application-type": taken("told from the name: a file, or a module"),
    "callable-object": taken("the name of the application in it"),
    "host": taken("where it listens; all interfaces where nothing is said"),
    "https-only": changed("requests by plain HTTP are redirected; for other names they get 421"),
    "https-port": taken("served by TLS"),
    "mount-point": taken("SCRIPT_NAME and PATH_INFO are as there; what is not below it is 404"),
    "port": taken("where it listens; 8000 where nothing is said"),
    "ssl-port": taken("served by TLS"),
}
"""Options that are understood together."""


def _application(move: Move, directive: Directive, values: dict[str, str]) -> None:
    kind, name = values.get("application-type", "script"), values.get("callable-object", "")
    if kind == "paste":
        move.plan.application = directive.text
        move.say(directive, taken("an application of PasteDeploy's; needs wsgi_async[paste]"))
        return
    if kind == "static":
        move.take(directive, _RULES["document-root"], f"/={directive.text}")
        return
    application = f"{directive.text}:{name}" if name else directive.text
    prefix = values.get("mount-point", "/").rstrip("/")
    if kind == "script" and not application.partition(":")[0].endswith((".py", ".wsgi")):
        text = "a file is told from a module by its ending, .py or .wsgi: rename it, or link it"
        move.say(directive, missing(text))
    elif prefix:
        move.take(directive, taken("the application", "mount"), f"{prefix}={application}")
    else:
        move.plan.application = application
        move.say(directive, taken("the application"))


def _listen(move: Move, values: dict[str, str]) -> None:
    host = values.get("host", "")
    secure = values.get("https-port", values.get("ssl-port", ""))
    plain = joined(host, values.get("port", "8000"))
    if secure:
        move.plan.append("bind", f"http://{plain}", joined(host, secure))
    else:
        move.plan.append("bind", plain)
    if "https-only" in values and "server-name" in values:
        move.plan.append("redirect_to_https", values["server-name"])
