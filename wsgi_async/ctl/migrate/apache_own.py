"""mod_wsgi's own directives, and those of Apache's core and mod_remoteip with a counterpart."""

from __future__ import annotations

import re

from .apache_daemon import DAEMON, python_path
from .apache_move import Handler, Move
from .apache_rules import FRONT
from .apache_sites import GLOBAL
from .apache_syntax import Directive
from .checked import default_of
from .rules import NO_BODY_BOUND, Rule, changed, missing, taken, unused

__all__ = ["HANDLERS", "RELOADING"]

RELOADING = changed(
    "a script that is touched or edited is not loaded again: SIGHUP, as by systemctl reload, loads "
    "everything anew, one process after the other, and loses no request"
)


# --- mod_wsgi's


def _process_group(move: Move, directive: Directive) -> None:
    name = directive.first
    if name == GLOBAL:
        move.say(directive, changed("there are no processes of Apache's to run in"))
    elif "%{" in name:
        move.say(directive, missing("which processes serve a request is not decided for each"))
    else:
        move.say_once(directive, taken("there is one group of processes, which serves all"))


def _application_group(move: Move, directive: Directive) -> None:
    rule = unused("there are no sub interpreters: each process has its main one")
    if directive.first == GLOBAL:
        rule = taken("the main interpreter is the only one, so that all extensions in C work")
    move.say_once(directive, rule)


def _import_script(move: Move, directive: Directive) -> None:
    if directive.first in [script.file for script in move.site.scripts]:
        move.say(directive, taken("the application is loaded before its process accepts anything"))
    else:
        move.say(
            directive,
            missing("import it in the application's script: it ran at the start of each process"),
        )


def _python_home(move: Move, directive: Directive) -> None:
    move.plan.program = f"{directive.first}/bin/wsgi-async"
    move.say(directive, DAEMON["python-home"])


def _python_path(move: Move, directive: Directive) -> None:
    python_path(move, directive, directive.first, directive.name)


def _python_eggs(move: Move, directive: Directive) -> None:
    rule = DAEMON["python-eggs"]._replace(option="env")
    move.take(directive, rule, f"PYTHON_EGG_CACHE={directive.first}")


# --- Apache's


def _number(rule: Rule, *options: str, zero: Rule | None = None) -> Handler:
    """A number that several options become; 0 may be no bound there."""

    def handle(move: Move, directive: Directive) -> None:
        value = directive.first
        if zero is not None and value == "0":
            move.say(directive, zero)
            return
        for option in options:
            if move.take(directive, rule._replace(option=option), value):
                continue
            return
        del move.plan.findings[len(move.plan.findings) - len(options) + 1 :]

    return handle


_LARGEST_BODY = taken("a larger body is answered with 413", "max_body_size")
_ONE_BOUND = changed("one bound is for all paths here, and the largest of these", "max_body_size")


def _limit_request_body(move: Move, directive: Directive) -> None:
    value, known = directive.first, str(move.plan.options.get("max_body_size", ""))
    if value == "0":
        move.say(directive, NO_BODY_BOUND)
    elif directive.around("location", "locationmatch", "directory", "files") is None:
        move.take(directive, _LARGEST_BODY, value)
    elif known.isdecimal() and value.isdecimal() and int(value) < int(known):
        move.say(directive, _ONE_BOUND)
    else:
        move.take(directive, _ONE_BOUND, value)


def _switch(on: Rule, off: Rule) -> Handler:
    def handle(move: Move, directive: Directive) -> None:
        move.say_once(directive, off if directive.text.strip().lower() == "off" else on)

    return handle


def _simple(rule: Rule) -> Handler:
    def handle(move: Move, directive: Directive) -> None:
        move.take(directive, rule, directive.first)

    return handle


def _keep_alive(move: Move, directive: Directive) -> None:
    if directive.text.strip().lower() == "off":
        move.take(directive, taken("a connection is closed after its response", "keep_alive"), 0)
    else:
        move.say(directive, taken("connections are kept"))


def _keep_alive_timeout(move: Move, directive: Directive) -> None:
    if move.plan.options.get("keep_alive") == 0:
        move.say(directive, unused("see KeepAlive"))
        return
    rule = taken(
        "idle connections take no thread here, so that they may be kept longer", "keep_alive"
    )
    move.take(directive, rule, directive.first)


_READ = changed(
    "a request's head within so long, its body with no longer gap; the rate is that of all of the "
    "body, after 10 s of grace, and of responses too"
)


def _request_read_timeout(move: Move, directive: Directive) -> None:
    head = re.search(r"header=(?:\d+-)?(\d+)", directive.text)
    body = re.search(r"body=(\d+)", directive.text)
    rates = [int(rate) for rate in re.findall(r"MinRate=(\d+)", directive.text, re.IGNORECASE)]
    found = {"header_timeout": head, "body_timeout": body}
    for option, match in found.items():
        if match is not None:
            move.plan.options[option] = match[1]
    if rates:
        move.plan.options["min_rate"] = min(rates)
    move.say(directive, _READ)


def _user(move: Move, directive: Directive) -> None:
    rule = taken("where WSGIDaemonProcess says nothing else", directive.key)
    move.take(directive, rule, directive.first.removeprefix("#"))


def _listen(move: Move, directive: Directive) -> None:
    if all(host.where for host in move.site.serving):
        move.say_once(directive, unused("the addresses of the virtual hosts count"))
    else:
        move.say(directive, taken("where it listens"))


def _protocols(move: Move, directive: Directive) -> None:
    if any(word.lower() in ("h2", "h2c") for word in directive.words):
        rule = missing("HTTP/1.1 is spoken here: a server in front (nginx, Caddy) speaks HTTP/2")
        move.say(directive, rule)
    else:
        move.say(directive, taken("HTTP/1.1"))


def _set_handler(move: Move, directive: Directive) -> None:
    handler = directive.first.lower()
    if handler == "wsgi-script":
        rule = missing(
            "--mount /PREFIX=FILE for each script: files are not looked for by their path"
        )
    elif handler in ("server-status", "server-info", "ldap-status"):
        rule = missing("wsgi-asyncctl status with --control-socket, or --dashboard-bind")
    elif handler in ("none", "default-handler"):
        rule = unused("files are served where --static says so")
    else:
        rule = missing(f"only Python applications and files are served: {FRONT}")
    move.say(directive, rule)


# --- Proxies in front


_WORDS = {
    "x-forwarded-for": "for",
    "x-forwarded-host": "host",
    "x-forwarded-port": "port",
    "x-forwarded-proto": "proto",
    "x-forwarded-prefix": "prefix",
    "x-forwarded-scheme": "proto",
}
_TRUSTED = taken("the proxies that are believed", "forwarded_allow_ips")
_FIELDS = changed(
    "taken from proxies on this machine, or those in --forwarded-allow-ips; what others say is "
    "removed",
    "proxy_headers",
)


def _proxy_fields(move: Move, directive: Directive) -> None:
    known = [_WORDS[word.lower()] for word in directive.words if word.lower() in _WORDS]
    unknown = [word for word in directive.words if word.lower() not in _WORDS]
    if known:
        move.take(directive, _FIELDS, list(dict.fromkeys([*known, "proto"])))
    if unknown:
        rule = missing(
            f"{', '.join(unknown)} is not read: have the proxy send X-Forwarded-For, -Proto, "
            "-Host, -Port or -Prefix"
        )
        move.say(directive, rule)


def _proxies(move: Move, directive: Directive) -> None:
    move.take(directive, _TRUSTED, directive.words)


def _proxy_protocol(move: Move, directive: Directive) -> None:
    if directive.text.strip().lower() == "off":
        move.say(directive, taken("no connection begins with a PROXY header"))
        return
    rule = changed(
        "a connection without a PROXY header, or from an address that --proxy-allow-from does not "
        "name, is closed",
        "proxy_protocol",
    )
    move.take(directive, rule, "auto", written=directive.text)


def _server_tokens(move: Move, directive: Directive) -> None:
    rule = changed("the Server field is wsgi_async: --no-server-header leaves it out")
    # As a value it would be hidden: a token is a secret elsewhere.
    move.say(directive, rule, setting=f"{directive.name} {directive.first}", value="")


_NAMES = changed(
    "requests for any name are answered, and SERVER_NAME is the address that the client reached: "
    "applications go by Host (ALLOWED_HOSTS)"
)


HANDLERS: dict[str, Handler] = {
    "gracefulshutdowntimeout": _simple(
        taken("for requests in flight, at a stop", "graceful_timeout")
    ),
    "keepalive": _keep_alive,
    "keepalivetimeout": _keep_alive_timeout,
    "limitrequestbody": _limit_request_body,
    "limitrequestfields": _number(
        taken("more of them are answered with 431", "limit_request_fields"),
        "limit_request_fields",
        zero=changed(f"0 is no bound there; here it is {default_of('limit_request_fields')}"),
    ),
    "limitrequestfieldsize": _simple(
        taken("a longer one is answered with 431", "limit_request_field_size")
    ),
    "limitrequestline": _simple(taken("a longer one is answered with 414", "limit_request_line")),
    "listen": _listen,
    "listenbacklog": _simple(taken("connections that the kernel queues", "backlog")),
    "pidfile": lambda move, directive: move.say(
        directive, unused("it is Apache's: --pid names one for this server")
    ),
    "protocols": _protocols,
    "remoteipheader": _proxy_fields,
    **dict.fromkeys(
        ("remoteipinternalproxy", "remoteiptrustedproxy", "wsgitrustedproxies"), _proxies
    ),
    "remoteipproxyprotocol": _proxy_protocol,
    "requestreadtimeout": _request_read_timeout,
    **dict.fromkeys(("user", "group"), _user),
    "servername": lambda move, directive: move.say_once(directive, _NAMES),
    **dict.fromkeys(
        ("serveralias", "serverpath"),
        lambda move, directive: move.say_once(directive, unused("see ServerName")),
    ),
    "servertokens": _server_tokens,
    **dict.fromkeys(("addhandler", "sethandler"), _set_handler),
    "timeout": _number(
        changed("for a client that takes nothing of its response, or sends nothing of its body"),
        "send_timeout",
        "body_timeout",
    ),
    "wsgiapplicationgroup": _application_group,
    "wsgicallableobject": lambda move, directive: move.say(
        directive, taken("the name of the application in its script")
    ),
    "wsgichunkedrequest": _switch(
        taken("bodies of unknown length are collected, and CONTENT_LENGTH is set"),
        changed("bodies of unknown length are served, where Apache answers 411"),
    ),
    "wsgierroroverride": _switch(
        missing("error pages of the application go out as they are: replace them in a middleware"),
        taken("error pages of the application go out as they are"),
    ),
    "wsgiimportscript": _import_script,
    "wsgipassauthorization": _switch(
        taken("Authorization reaches the application always"),
        changed("Authorization reaches the application always"),
    ),
    "wsgiprocessgroup": _process_group,
    "wsgipythoneggs": _python_eggs,
    "wsgipythonhome": _python_home,
    "wsgipythonpath": _python_path,
    "wsgiscriptreloading": _switch(RELOADING, taken("nothing is reloaded without being asked")),
    "wsgislowrequests": _simple(
        changed("logged once with the stack of its thread, while it is slow", "slow_request")
    ),
    "wsgiswitchinterval": _simple(DAEMON["switch-interval"]),
    "wsgitrustedproxyheaders": _proxy_fields,
}
