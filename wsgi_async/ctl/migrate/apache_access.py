"""Apache's directives on who may come, and what becomes of a request before and after the
application: ``Require``, ``Redirect``, ``Header``, ``Alias``, ``SetEnv``."""

from __future__ import annotations

import os
import re

from .apache_move import Handler, Move
from .apache_rules import rule_of
from .apache_sites import leads_to_https
from .apache_syntax import Directive
from .rules import Rule, changed, missing, taken, unused

__all__ = ["HANDLERS"]

_PLACES = ("location", "locationmatch", "directory", "directorymatch", "files", "filesmatch")


def _place(directive: Directive) -> str:
    """Where a directive applies that is not for all of the site."""
    section = directive.around(*_PLACES, "limit", "limitexcept", "if", "elseif", "else")
    return section.value if section is not None else ""


# --- Who may come


_OPEN = taken(
    "nothing is refused to anybody; there is nothing else than the application and --static"
)
_CLOSED = unused("no file is served that --static does not name")
_BY_ADDRESS = missing(
    "addresses are not looked at: a firewall, --bind 127.0.0.1 behind a proxy, or a middleware "
    "that looks at REMOTE_ADDR"
)
_BY_USER = missing(
    "whoever connects reaches the application: wsgi_async.middleware.BasicAuth asks for users and "
    "passwords, a server in front can do so for some paths only, or the application"
)
_BY_OTHER = missing("decide in the application, in a middleware, or in front")
_BY_USER_WORDS = ("valid-user", "user", "group", "file-owner", "file-group")
_BY_ADDRESS_WORDS = ("ip", "host", "forward-dns", "local")


def _require(move: Move, directive: Directive) -> None:
    all_words = [word.lower() for word in directive.words]
    is_negated, rest = all_words[:1] == ["not"], [word for word in all_words if word != "not"]
    what = rest[0] if rest else ""
    if directive.around("requirenone") is not None:
        rule = _BY_OTHER
    elif rest[:2] == ["all", "granted"]:
        rule = _OPEN
    elif rest[:2] == ["all", "denied"]:
        rule = _CLOSED
    elif what in _BY_ADDRESS_WORDS:
        rule = _BY_ADDRESS
    elif what in _BY_USER_WORDS or what.startswith(("ldap", "shib", "claim")):
        rule = _BY_USER
    elif what == "method":
        rule = missing("--mount 'GET /=APP' serves one method of an application only")
    else:
        rule = _BY_OTHER
    if rule is _OPEN and not is_negated:
        move.say_once(directive, rule)
    else:
        move.say(directive, rule)


def _allow_or_deny(move: Move, directive: Directive) -> None:
    """Apache 2.2's ``Order``, ``Allow from`` and ``Deny from``."""
    addresses = [word.lower() for word in directive.words if word.lower() != "from"]
    if directive.key == "order":
        move.say_once(directive, unused("see Allow and Deny"))
    elif addresses == ["all"]:
        move.say_once(directive, _OPEN if directive.key == "allow" else _CLOSED)
    else:
        move.say(directive, _BY_ADDRESS)


def _auth_type(move: Move, directive: Directive) -> None:
    kind = directive.text.strip("\"'").lower()
    if kind == "none":
        move.say(directive, taken("nobody is asked for a password"))
    elif kind == "basic":
        move.say(
            directive,
            missing(
                "--middleware 'MODULE:FACTORY' with wsgi_async.middleware.BasicAuth asks for users "
                "and passwords, and sets REMOTE_USER; it knows no htpasswd files"
            ),
        )
    else:
        move.say(
            directive,
            missing(
                f"logins by {directive.text} are not done here, and REMOTE_USER is not set: let "
                "the application do so, or keep Apache in front as a proxy that passes the user on"
            ),
        )


# --- Where they are sent


_HTTPS = changed(
    "requests by plain HTTP for these names are redirected; other names get 421 there",
    "redirect_to_https",
)
_REDIRECTED = missing("redirect in the application, or in front")


def _redirect(move: Move, directive: Directive) -> None:
    host = move.host_of(directive)
    if not leads_to_https(directive) or (host is not None and host.has_tls):
        move.say(directive, _REDIRECTED)
        return
    names = [name for name in move.site.names if "*" not in name and "?" not in name]
    if not any(host.has_tls for host in move.site.hosts):
        move.say(
            directive,
            changed(
                "nothing here is served by TLS: give --certfile and --keyfile for "
                "--redirect-to-https, or leave the redirect to what ends TLS in front"
            ),
        )
    elif not names:
        move.say(
            directive, missing("--redirect-to-https HOST for each name: there is no ServerName")
        )
    elif _HTTPS.option in move.plan.options:
        move.say(directive, _HTTPS)
    else:
        move.take(directive, _HTTPS, names)


def _rewrite_condition(move: Move, directive: Directive) -> None:
    move.say_once(directive, unused("a condition of the RewriteRule that follows"))


def _rewrite_rule(move: Move, directive: Directive) -> None:
    if leads_to_https(directive):
        _redirect(move, directive)
    elif "HTTP:Authorization" in directive.text or "HTTP_AUTHORIZATION" in directive.text:
        move.say(directive, taken("Authorization reaches the application always"))
    else:
        move.say(directive, _REDIRECTED)


# --- Fields


_ADDED = changed(
    "added to each response that has none of that name, the server's own answers included", "header"
)
_ADDING = ("set", "add", "append", "merge", "setifempty")


def _header(move: Move, directive: Directive) -> None:
    given = directive.words
    if given and given[0].lower() in ("always", "onsuccess"):
        given = given[1:]
    action, name, value, *more = [*given, "", "", ""]
    written = _written(directive)
    place = _place(directive)
    if action.lower() not in _ADDING or any(more):
        rule = missing("write it in the application, or as a middleware: --header only adds")
    elif place:
        rule = missing(f"--header is for every response, this is for {place}: in the application")
    elif "%" in value:
        rule = missing("its value differs from request to request: in the application")
    else:
        move.take(directive, _ADDED, f"{name.rstrip(':')}: {value}", written=written)
        return
    move.say(directive, rule, value=written)


def _request_header(move: Move, directive: Directive) -> None:
    rule = missing("fields of requests are left as they are: change environ in a middleware")
    move.say(directive, rule, value=_written(directive))


def _written(directive: Directive) -> str:
    """With a colon behind the name, by which it is seen whether that is a secret's."""
    given = directive.words
    at = 2 if given[:1] and given[0].lower() in ("always", "early", "onsuccess") else 1
    name = [f"{word.rstrip(':')}:" for word in given[at : at + 1]]
    return " ".join((*given[:at], *name, *given[at + 1 :]))


# --- Files


_STATIC = taken(
    "needs wsgi_async[static]; no lists of directories, no index pages, no hidden files, and what "
    "is no file is asked of the application",
    "static",
)


def _alias(move: Move, directive: Directive) -> None:
    prefix, target = (*directive.words, "", "")[:2]
    section = directive.around("location")
    if section is not None and not target:  # <Location /static> Alias /srv/static
        prefix, target = section.value, prefix
    suffix = os.path.splitext(prefix.rstrip("/"))[1]
    if suffix and suffix == os.path.splitext(target)[1]:
        rule = missing(
            f"--static takes directories: put the file into one of its own, "
            f"--static {os.path.dirname(prefix)}=DIRECTORY; what it does not have is asked of the "
            "application"
        )
        move.say(directive, rule)
        return
    move.take(directive, _STATIC, f"{prefix.rstrip('/') or '/'}={target.rstrip('/') or '/'}")


_ALL_BELOW = re.compile(r"\^?(/[\w/.-]*?)/?\(\.\*\)\$?")


def _alias_match(move: Move, directive: Directive) -> None:
    pattern, target = (*directive.words, "", "")[:2]
    match = _ALL_BELOW.fullmatch(pattern)
    if match is None or not target.endswith("/$1"):
        rule = missing("--static takes prefixes, no patterns: one for each directory")
        move.say(directive, rule)
    else:
        move.take(directive, _STATIC, f"{match[1] or '/'}={target[:-3] or '/'}")


def _proxy_pass(move: Move, directive: Directive) -> None:
    rule = rule_of("proxypassmatch")
    if "!" in directive.words[:2] or rule is None:
        rule = taken("it is not passed on")
    move.say(directive, rule)


def _document_root(move: Move, directive: Directive) -> None:
    if any(script.prefix == "/" for script in move.site.scripts):
        rule = unused("the application answers everything, there as well")
    else:
        rule = missing(
            f"what is not below the application's path is 404 here: --static /={directive.first} "
            "serves these files besides"
        )
    move.say_once(directive, rule)


# --- The environment


_SET = changed(
    "a variable of the process here, so os.environ has it; there it is a key of each request's "
    "environ: an application that looks for it in environ has to be changed",
    "env",
    matters=True,
)
_FULFILLED = re.compile(r"x-forwarded-(?:proto|ssl)\s", re.IGNORECASE)


def _set_env(move: Move, directive: Directive) -> None:
    name, value = (*directive.words, "", "")[:2]
    if name.lower().startswith(
        ("proxy-", "no-gzip", "dont-vary", "force-", "downgrade-", "nokeepalive")
    ):
        move.say(directive, unused("it was for Apache itself"))
    else:
        move.take(directive, _SET, f"{name}={value}", written=f"{name}={value}")


def _set_env_if(move: Move, directive: Directive) -> None:
    if _FULFILLED.match(directive.text):
        rule: Rule | None = taken(
            "https is believed of a proxy on this machine, or in --forwarded-allow-ips"
        )
    elif directive.text.lower().startswith("authorization"):
        rule = taken("Authorization reaches the application always")
    else:
        rule = rule_of(directive.key)
    assert rule is not None
    move.say(directive, rule)


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(("allow", "deny", "order"), _allow_or_deny),
    "alias": _alias,
    "aliasmatch": _alias_match,
    "authtype": _auth_type,
    "documentroot": _document_root,
    "header": _header,
    "requestheader": _request_header,
    "proxypass": _proxy_pass,
    **dict.fromkeys(("redirect", "redirectpermanent", "redirecttemp", "redirectmatch"), _redirect),
    "require": _require,
    "rewritecond": _rewrite_condition,
    "rewriterule": _rewrite_rule,
    "setenv": _set_env,
    **dict.fromkeys(("setenvif", "setenvifnocase"), _set_env_if),
}
