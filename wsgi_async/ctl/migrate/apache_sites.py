"""Which of Apache's virtual hosts are one server here: those with the same WSGI scripts, with what
only leads to them by a redirect to https."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from .apache_syntax import Directive, options

__all__ = ["GLOBAL", "Host", "Script", "Site", "address_of", "leads_to_https", "sites_of"]

GLOBAL = "%{GLOBAL}"
"""The main interpreter, or Apache's own processes, where a name of a group is expected."""

_ALL = re.compile(r"\^?/?\(?(?:\.[*+?])?\)?\$?")
"""A pattern that every path matches."""

_SCRIPTS = ("wsgiscriptalias", "wsgiscriptaliasmatch")


@dataclass(frozen=True, slots=True)
class Script:
    """A path and what answers below it."""

    directive: Directive
    prefix: str
    file: str
    options: dict[str, str]
    """``process-group`` and ``application-group``."""

    @property
    def is_pattern(self) -> bool:
        """Whether the prefix is an expression."""
        return self.directive.key == "wsgiscriptaliasmatch"


@dataclass(slots=True)
class Host:
    """A virtual host, or what stands outside of all."""

    addresses: list[str]
    """As ``--bind`` takes them."""
    directives: list[Directive]
    where: str = ""
    value: str = ""
    """The addresses as they are written."""

    def values(self, *keys: str) -> list[str]:
        """All arguments of these directives."""
        return [word for each in self.directives if each.key in keys for word in each.words]

    @property
    def names(self) -> list[str]:
        """Names that clients may call it by, without port and scheme."""
        found = []
        for name in self.values("servername", "serveralias"):
            name = name.rpartition("://")[2]
            found.append(re.sub(r":\d+$", "", name))
        return list(dict.fromkeys(found))

    @property
    def scripts(self) -> list[Script]:
        """What it has of WSGI."""
        return [_script(each) for each in self.directives if each.key in _SCRIPTS]

    @property
    def has_tls(self) -> bool:
        """Whether its addresses are served by TLS."""
        engine = [word.lower() for word in self.values("sslengine")]
        if engine:
            return engine[-1] != "off"
        return bool(self.values("sslcertificatefile"))

    @property
    def redirects(self) -> bool:
        """Whether all that it does is to lead to https."""
        return not (self.scripts or self.has_tls) and any(map(leads_to_https, self.directives))


@dataclass(slots=True)
class Site:
    """Virtual hosts that are one server."""

    hosts: list[Host]
    """Where an application stands outside of all of them, that place first."""
    common: list[Directive] = field(default_factory=list)
    """What stands outside of all virtual hosts, where an application does not."""
    others: list[Host] = field(default_factory=list)
    """Virtual hosts without anything of WSGI, told of once."""

    @property
    def directives(self) -> list[Directive]:
        """All, in the order of the file, but that what is common comes first."""
        return [*self.common, *(each for host in self.hosts for each in host.directives)]

    @property
    def scripts(self) -> list[Script]:
        """Of the first host that has some; the others have the same."""
        return next((host.scripts for host in self.hosts if host.scripts), [])

    @property
    def serving(self) -> list[Host]:
        """The hosts whose addresses count."""
        virtual = [host for host in self.hosts if host.where]
        if any(host.scripts for host in self.hosts if not host.where):
            return virtual or self.hosts
        return [host for host in virtual if host.scripts or host.redirects] or self.hosts

    @property
    def names(self) -> list[str]:
        """Names that clients may call it by."""
        return list(dict.fromkeys(name for host in self.hosts for name in host.names))


def sites_of(directives: Iterable[Directive]) -> list[Site]:
    """The servers of a configuration, in its order. Without any script it is one all the same."""
    common: list[Directive] = []
    hosts: dict[str, Host] = {}
    for directive in directives:
        section = next((each for each in directive.sections if each.kind == "virtualhost"), None)
        if section is None:
            common.append(directive)
            continue
        # Two hosts may have the same addresses: the place of a section tells them apart.
        host = hosts.setdefault(section.where, Host([], [], section.where, section.value))
        host.directives.append(directive)
    outside = Host(_listened(common), common)
    for host in hosts.values():
        host.addresses = _addresses(host.value, outside.addresses)
    if outside.scripts or not any(host.scripts for host in hosts.values()):
        return [Site([outside, *hosts.values()])]
    return _grouped(list(hosts.values()), common)


def _grouped(hosts: list[Host], common: list[Directive]) -> list[Site]:
    by_scripts: dict[tuple[tuple[str, str], ...], Site] = {}
    for host in hosts:
        if host.scripts:
            key = tuple((script.prefix, script.file) for script in host.scripts)
            by_scripts.setdefault(key, Site([], common)).hosts.append(host)
    sites = list(by_scripts.values())
    for host in hosts:
        if host.scripts:
            continue
        named = [site for site in sites if not set(site.names).isdisjoint(host.names)]
        if host.redirects and (named or len(sites) == 1):
            (named or sites)[0].hosts.insert(0, host)
        else:
            sites[0].others.append(host)
    return sites


def leads_to_https(directive: Directive) -> bool:
    """Whether it redirects everything to https."""
    *before, target = directive.words or [""]
    if directive.key == "rewriterule":
        *before, target = (*directive.words, "", "")[:2]
    if not target.lower().startswith("https://") or not before:
        return False
    if directive.key in ("redirect", "redirectpermanent", "redirecttemp"):
        return before[-1] == "/"
    return (
        directive.key in ("redirectmatch", "rewriterule") and _ALL.fullmatch(before[-1]) is not None
    )


def address_of(text: str) -> str:
    """An address of Apache's as ``--bind`` takes it: all interfaces are ``:PORT``."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = (text, "80") if not text.isdecimal() else ("", text)
    if host in ("*", "_default_", "0.0.0.0", "[::]"):
        host = ""
    return f"{host}:{'80' if port == '*' else port}"


def _addresses(written: str, listened: list[str]) -> list[str]:
    """Those of a virtual host; one without a port has all ports that Apache listens on."""
    found = []
    for word in written.split():
        if re.search(r":\d+$", word) or word.isdecimal() or not listened:
            found.append(address_of(word))
        else:
            host = address_of(word).rpartition(":")[0]
            found += [f"{host}:{address.rpartition(':')[2]}" for address in listened]
    return list(dict.fromkeys(found))


def _listened(common: list[Directive]) -> list[str]:
    return list(
        dict.fromkeys(
            address_of(each.words[0]) for each in common if each.key == "listen" and each.words
        )
    )


def _script(directive: Directive) -> Script:
    prefix, file = (*directive.words, "", "")[:2]
    return Script(directive, prefix, file, options(directive.text))
