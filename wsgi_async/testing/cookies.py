"""The cookies of a :class:`~wsgi_async.testing.TestClient`: RFC 6265, section 5. Any one thread."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from email.utils import mktime_tz, parsedate_tz

__all__ = ["Cookie", "CookieJar", "parse_set_cookie"]


@dataclass(frozen=True, slots=True)
class Cookie:
    """One cookie with what its ``Set-Cookie`` says about it."""

    name: str
    value: str
    domain: str
    """The host it belongs to, in lower case, without a leading dot."""
    path: str = "/"
    expires: float | None = None
    """Seconds since the epoch; None for the end of the session. ``Max-Age`` ends up here too."""
    host_only: bool = True
    """Whether it is for `domain` alone, not for hosts below it."""
    secure: bool = False
    http_only: bool = False
    same_site: str = ""
    """``Strict``, ``Lax``, ``None``, or "" where nothing is said. Recorded, not acted upon."""

    def suits(self, host: str, path: str, *, secure: bool) -> bool:
        """Whether it is sent with a request to this host and path (RFC 6265 §5.4)."""
        if self.secure and not secure:
            return False
        matches = host == self.domain or (not self.host_only and _is_below(host, self.domain))
        return matches and _path_matches(path, self.path)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _is_below(host: str, domain: str) -> bool:
    """RFC 6265 §5.1.3, for a host that is not the domain itself."""
    return host.endswith("." + domain) and not _is_ip(host)


def _path_matches(path: str, cookie_path: str) -> bool:
    """RFC 6265 §5.1.4."""
    if not path.startswith(cookie_path):
        return False
    return cookie_path.endswith("/") or path[len(cookie_path) :][:1] in ("", "/")


def _default_path(path: str) -> str:
    """RFC 6265 §5.1.4: the directory of the request's path."""
    return path[: path.rfind("/")] or "/"


def parse_set_cookie(line: str, host: str, path: str, now: float) -> Cookie | None:
    """Read the value of one ``Set-Cookie`` field (RFC 6265 §5.2, §5.3).

    :param line: the value.
    :param host: the host that was asked, in lower case, without a port.
    :param path: the path that was asked for.
    :param now: seconds since the epoch, for ``Max-Age``.
    :returns: None where a browser would ignore it: no name, or a domain that is not its host's.
    """
    pair, *parts = line.split(";")
    name, equals, value = pair.partition("=")
    name = name.strip(" \t")
    if not equals or not name:
        return None
    attributes: dict[str, str] = {}
    for part in parts:
        key, _, text = part.partition("=")
        attributes[key.strip(" \t").lower()] = text.strip(" \t")  # the last one counts
    cookie = Cookie(
        name,
        value.strip(" \t"),
        host,
        path=_default_path(path),
        expires=_expiry(attributes, now),
        secure="secure" in attributes,
        http_only="httponly" in attributes,
        same_site=attributes.get("samesite", "").capitalize(),
    )
    if attributes.get("path", "").startswith("/"):
        cookie = replace(cookie, path=attributes["path"])
    domain = attributes.get("domain", "").removeprefix(".").lower()
    if domain and domain != host:
        # Nobody here knows the public suffixes; a name without a dot is one ("com").
        if "." not in domain or not _is_below(host, domain):
            return None
        return replace(cookie, domain=domain, host_only=False)
    return replace(cookie, host_only=not domain or _is_ip(host))


def _expiry(attributes: dict[str, str], now: float) -> float | None:
    age = attributes.get("max-age", "")
    digits = age.removeprefix("-")
    if digits.isascii() and digits.isdigit():  # anything else is ignored (RFC 6265 §5.2.2)
        return 0.0 if age.startswith("-") else now + float(digits[:12])
    date = parsedate_tz(attributes.get("expires", ""))
    try:
        return float(mktime_tz((*date[:9], date[9] or 0))) if date else None
    except (ValueError, OverflowError):  # the 40th of a month is ignored
        return None


class CookieJar:
    """Cookies by domain, path and name. Those that have expired are as if they were not there.

    ``jar["session"].value``, ``"session" in jar``, ``len(jar)``, ``list(jar)``.

    :param clock: seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._cookies: dict[tuple[str, str, str], Cookie] = {}

    def add(self, cookie: Cookie) -> None:
        """Keep `cookie`; it replaces one of the same name, domain and path, and keeps its place.
        One that has expired removes it."""
        key = (cookie.domain, cookie.path, cookie.name)
        self._cookies[key] = cookie
        if cookie.expires is not None and cookie.expires <= self._clock():
            del self._cookies[key]

    def receive(self, lines: list[str], host: str, path: str) -> list[Cookie]:
        """Take the values of the ``Set-Cookie`` fields of one response; what was understood."""
        now = self._clock()
        parsed = (parse_set_cookie(line, host, path, now) for line in lines)
        cookies = [cookie for cookie in parsed if cookie is not None]
        for cookie in cookies:
            self.add(cookie)
        return cookies

    def matching(self, host: str, path: str, *, secure: bool) -> list[Cookie]:
        """Those that a request carries, longer paths first, then older ones (RFC 6265 §5.4)."""
        found = [cookie for cookie in self if cookie.suits(host, path, secure=secure)]
        return sorted(found, key=lambda cookie: -len(cookie.path))

    def delete(self, name: str) -> None:
        """Forget every cookie of that name."""
        for key in [key for key in self._cookies if key[2] == name]:
            del self._cookies[key]

    def clear(self) -> None:
        """Forget all."""
        self._cookies.clear()

    def get(self, name: str) -> Cookie | None:
        """The cookie of that name, of whatever host and path; the oldest of several."""
        return next((cookie for cookie in self if cookie.name == name), None)

    def __getitem__(self, name: str) -> Cookie:
        cookie = self.get(name)
        if cookie is None:
            raise KeyError(name)
        return cookie

    def __contains__(self, name: object) -> bool:
        return any(cookie.name == name for cookie in self)

    def __iter__(self) -> Iterator[Cookie]:
        now = self._clock()
        for cookie in list(self._cookies.values()):
            if cookie.expires is None or cookie.expires > now:
                yield cookie

    def __len__(self) -> int:
        return sum(1 for _ in self)
