"""Apache with mod_wsgi: its directives, one plan for each site that has an application of its own.

What a directive says is understood by ``apache_syntax``, which virtual hosts go together by
``apache_sites``; here is what several of them say together: applications, processes, addresses.
"""

from __future__ import annotations

import re

from . import apache_access, apache_logs, apache_own, apache_tls
from .apache_daemon import DEFAULT_THREADS, daemon_option
from .apache_move import Handler, Move
from .apache_rules import rule_of
from .apache_sites import GLOBAL, Script, Site, sites_of
from .apache_syntax import Directive, directives, is_of_modules, options
from .checked import address_by_default, default_of
from .report import Plan, Source
from .rules import UNKNOWN, changed, missing, taken, unused

__all__ = ["HANDLERS", "is_apache", "read"]

_WORTH = re.compile(
    r"^[ \t]*(?:WSGI[A-Z]\w+|<VirtualHost\b|LoadModule\b|<Directory\b|<IfModule\b)",
    re.MULTILINE | re.IGNORECASE,
)


def is_apache(source: Source) -> str:
    """By what a source is one of Apache's; empty where it is none."""
    found = None if source.name.endswith(".py") else _WORTH.search(source.text)
    return f"by its directives, such as {found[0].strip()}" if found else ""


def read(source: Source) -> list[Plan]:
    """A plan for each site."""
    return [_Site(site, source).plan for site in sites_of(directives(source))]


class _Site:
    """One site, as a plan."""

    def __init__(self, site: Site, source: Source) -> None:
        names = [name for name in site.names if re.fullmatch(r"[\w-][\w.-]*", name)]
        self.plan = Plan("mod_wsgi", (names or [""])[0], between=" ")
        self._source = source
        self._move = Move(site, self.plan)
        self._site = site
        self._groups = _used_groups(site)
        self._daemons = {
            each.words[0]: each
            for each in self._site.directives
            if each.key == "wsgidaemonprocess" and each.words
        }
        self._scripts()
        self._addresses()
        for directive in self._site.directives:
            self._one(directive)
        files = dict.fromkeys(each.where.rpartition(":")[0] for each in site.directives)
        self.plan.files = [name for name in files if name != source.name]
        self._processes()
        self._user()
        self._others()

    def _one(self, directive: Directive) -> None:
        move, key = self._move, directive.key
        if key in HANDLERS:
            HANDLERS[key](move, directive)
        elif key.startswith("include") and directive.is_read:
            move.say(directive, taken("it is part of this report"))
        elif key.startswith("include") and directive.text.endswith("options-ssl-apache.conf"):
            move.say(directive, _CERTBOT)
        elif key.startswith("include") and is_of_modules(directive.text):
            move.say_once(directive, _MODULES)
        elif key not in _DONE_ELSEWHERE:
            rule = rule_of(key)
            if rule is None and key.startswith("ssl"):
                apache_tls.other(move, directive)
            elif rule is None:
                move.say(directive, UNKNOWN)
            elif rule.matters:
                move.say(directive, rule)
            else:
                move.say_once(directive, rule)

    # --- Applications

    def _scripts(self) -> None:
        callables = [
            each.text.strip() for each in self._site.directives if each.key == "wsgicallableobject"
        ]
        name = f":{callables[-1]}" if callables else ""
        seen: dict[str, str] = {}
        for host in self._site.hosts:
            for script in host.scripts:
                self._script(script, name, seen)
        scripts = self._site.scripts
        if scripts:
            self._not_set(scripts[0].directive)
        apart = [script for script in scripts[1:] if not self._is_global(script)]
        if apart:
            self._move.say(apart[0].directive, _TOGETHER, setting="WSGIApplicationGroup", value="")

    def _not_set(self, where: Directive) -> None:
        """What differs where nothing is said of it."""
        keys = {each.key for each in self._site.directives}
        if "wsgiscriptreloading" not in keys:
            self._move.say(where, apache_own.RELOADING, setting="WSGIScriptReloading", value="")
        if keys.isdisjoint(("allowencodedslashes", "mergeslashes")):
            self._move.say(where, _PATHS, setting="MergeSlashes", value="")
        self._move.say(where, _ENVIRON, setting="environ", value="")

    def _script(self, script: Script, name: str, seen: dict[str, str]) -> None:
        prefix, file, directive = script.prefix, script.file, script.directive
        if script.is_pattern:
            plain = re.fullmatch(r"\^?(/[\w/.-]*?)/?(?:\(?\.\*\)?|\(/\.\*\)\?)?\$?", prefix)
            if plain is None or "$" in file:
                self._move.say(directive, _PATTERN)
                return
            prefix = plain[1]
        prefix = prefix.rstrip("/")
        if file.endswith("/"):
            self._move.say(directive, _DIRECTORY)
            return
        if seen.get(prefix) == file:
            return  # of another host, which is the same server here
        if prefix in seen:
            self._move.say(directive, _TWICE)
            return
        seen[prefix] = file
        application = f"{file}{name}"
        if prefix:
            self._move.take(directive, _MOUNT, f"{prefix}={application}")
        else:
            self.plan.application = application
            self._move.say(directive, _ROOT)

    def _is_global(self, script: Script) -> bool:
        """Whether it has asked for the main interpreter."""
        group = script.options.get("application-group")
        if group is None:
            said = [each for each in self._site.directives if each.key == "wsgiapplicationgroup"]
            group = said[-1].text.strip("\"' ") if said else ""
        return group == GLOBAL

    # --- Processes

    def _processes(self) -> None:
        """Of the group in which the first application runs; those of others in it come together."""
        used = [self._daemons[name] for name in self._groups if name in self._daemons]
        if self._daemons and not self._groups:
            used = [next(iter(self._daemons.values()))]
            self._move.say(used[0], _UNUSED_GROUP)
        for number, directive in enumerate(used):
            if number == 0:
                self._daemon(directive)
            else:
                self._move.say(directive, _APART)
        for directive in self._daemons.values():
            # One that stands outside of all virtual hosts may be another site's.
            if directive not in used and directive.around("virtualhost") is not None:
                self._move.say(directive, _UNUSED_PROCESSES)
        if not used and self._site.scripts:
            where = self._site.scripts[0].directive
            if self._groups:
                self._move.say(where, _NO_DAEMON, setting="WSGIDaemonProcess", value="")
            else:
                self._move.say(where, _EMBEDDED, setting="embedded mode", value="")

    def _daemon(self, directive: Directive) -> None:
        given = options(directive.text)
        for name, value in given.items():
            daemon_option(self._move, directive, name, value)
        if "threads" not in given:
            rule = taken(
                f"not set, where mod_wsgi has {DEFAULT_THREADS}; the default here is "
                f"{default_of('threads')}, which may do, as connections take no threads",
                "threads",
            )
            self._move.take(directive, rule, DEFAULT_THREADS, setting="threads", written="")
        if "home" not in given and self._site.scripts:
            rule = unused(
                "not set, where the directory is the user's home; here it is the one in which the "
                "command is started, which is on the path as well"
            )
            self._move.say(directive, rule, setting="home", value="")

    # --- Addresses

    def _addresses(self) -> None:
        has_tls = any(host.has_tls for host in self._site.serving)
        for host in self._site.serving:
            for address in host.addresses:
                # With a certificate, what has no scheme is served by TLS.
                text = f"http://{address}" if has_tls and not host.has_tls else address
                if text not in self._bound():
                    self.plan.append("bind", text)
        blamed = self._listening()
        if blamed is None:
            return
        if not self._bound():
            self._move.say(blamed, _NOWHERE, setting="Listen", value="")

    def _user(self) -> None:
        blamed = self._listening()
        if blamed is not None and self._needs_root() and "user" not in self.plan.options:
            self._move.take(blamed, _ROOT_PORT, "www-data", setting="User", written="")

    def _bound(self) -> list[str]:
        found = self.plan.options.get("bind")
        return found if isinstance(found, list) else []

    def _listening(self) -> Directive | None:
        """What to blame for the address."""
        scripts = self._site.scripts
        return scripts[0].directive if scripts else next(iter(self._site.directives), None)

    def _needs_root(self) -> bool:
        ports = [text.rpartition(":")[2] for text in self._bound()]
        return any(port.isdecimal() and int(port) < 1024 for port in ports)

    def _others(self) -> None:
        for host in self._site.others:
            name = " ".join(host.names) or "without a name"
            rule = missing(
                f"the host {name} has no application of WSGI: keep Apache or another server for "
                "it, on other addresses, or in front of all"
            )
            self.plan.add(
                host.where, "<VirtualHost>", host.value, rule.verdict, rule.text, matters=True
            )


def _used_groups(site: Site) -> list[str]:
    """The names of the groups of processes in which applications run, in their order."""
    found = []
    for host in site.hosts:
        found += [script.options.get("process-group", "") for script in host.scripts]
    found += [each.first for each in site.directives if each.key == "wsgiprocessgroup"]
    return list(dict.fromkeys(name for name in found if name and name != GLOBAL))


_ROOT = taken(
    "loaded when the server starts, not at the first request; when it has changed: see "
    "WSGIScriptReloading"
)
_PATHS = changed(
    "not set, where Apache makes one slash of several, resolves .. and answers 404 to %2F; here "
    "the path reaches the application decoded, and else as the client has sent it"
)
_ENVIRON = changed(
    "what only Apache has is not in it: mod_wsgi.process_group and its like, DOCUMENT_ROOT, "
    "SCRIPT_FILENAME, REQUEST_SCHEME (wsgi.url_scheme is there)"
)
_MOUNT = taken(
    "SCRIPT_NAME and PATH_INFO are as there; below a longer prefix it is another's", "mount"
)
_TWICE = missing("another application has that path here: serve each by a wsgi-async of its own")
_PATTERN = missing("--mount takes prefixes, no patterns: one --mount /PREFIX=FILE for each")
_DIRECTORY = missing(
    "each script in that directory is an application of its own: --mount /PREFIX/NAME=FILE for each"
)
_TOGETHER = changed(
    "applications that had interpreters of their own share one here, and os.environ: a name is one "
    "module. A script that would import another's by it is refused at the start; what its modules "
    "import is not looked at. Where that is a conflict, serve each by a wsgi-async of its own",
    matters=True,
)
_APART = changed(
    "applications of two groups of processes share those of the first here: for processes, users "
    "and paths of their own serve each group by a wsgi-async of its own, behind a proxy that tells "
    "the paths apart",
    matters=True,
)
_UNUSED_GROUP = changed(
    "no WSGIProcessGroup names it, so that the application ran in Apache's own processes and the "
    "options did nothing; they are taken over all the same"
)
_UNUSED_PROCESSES = unused("no application of this site ran in it")
_EMBEDDED = changed(
    "without WSGIDaemonProcess the application ran in each of Apache's processes, and its "
    "MaxRequestWorkers said how many requests at once: say --workers and --threads"
)
_NO_DAEMON = unused(
    "the group of processes is not in this file: give this report the file that has it",
    matters=True,
)
_NOWHERE = changed(
    f"no address is said here: say --bind :80, or without it it is {address_by_default()}"
)
_CERTBOT = unused(
    "certbot's versions and ciphers: TLS 1.2 and 1.3 with OpenSSL's ciphers are the default here"
)
_MODULES = unused("what the distribution sets for modules of Apache's is not looked at")
_ROOT_PORT = changed(
    "for a port below 1024 it is started as root, and becomes who --user says; Debian's Apache is "
    "www-data, others' apache or httpd",
    "user",
)

_DONE_ELSEWHERE = ("wsgidaemonprocess", "wsgiscriptalias", "wsgiscriptaliasmatch")
HANDLERS: dict[str, Handler] = {
    **apache_own.HANDLERS,
    **apache_access.HANDLERS,
    **apache_logs.HANDLERS,
    **apache_tls.HANDLERS,
}
