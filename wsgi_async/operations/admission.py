"""Who may see the dashboard, and who may act by it. Pure decisions; nothing here is logged.

**Without a token** it listens on this machine alone, and only shows. What is left to keep out is a
page of somebody else's in a browser on this machine. One whose name was made to mean this machine
(DNS rebinding) is told by the Host field: only names that mean loopback, and the addresses that are
listened on, are answered. One that asks for it across origins cannot read the answer, and is
refused where the browser says so (Sec-Fetch-Site).

**With a token** it may listen anywhere, and have any name: whoever has not shown the token gets
nothing, so a name that was made to mean it gains nobody anything. The token is shown once, in the
address or by the form, and a cookie stands for it from then on, for no browser sends an
Authorization field with an event stream. The cookie is a time and a MAC over that time and the
Host field, by a key that only this server has and that the token is part of: it is worth nothing
after that time, on another host or port, to another server with the same token, or once the token
is another one. Programs send the token as ``Authorization: Bearer`` instead.

**Actions** need the token, POST, JSON as the type of what is sent, which no form can have, and an
Origin that is the host, or the browser's word that the page is ours.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import ipaddress
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from wsgi_async.errors import ConfigError
from wsgi_async.system.files import read_bytes

__all__ = ["Admission", "Verdict", "Visit", "Wish", "read_token"]

LASTS = 12 * 3600
"""Seconds for which a cookie is good."""

SHORTEST, LONGEST = 16, 1024
"""Characters of a token."""

_FLAG = "--dashboard-token-file"
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_COOKIE = re.compile(r"([0-9]{1,12})\.([0-9a-f]{64})")
_HERE = ("same-origin", "none")
"""What a browser says in Sec-Fetch-Site of our own page, and of who has typed an address."""


class Wish(enum.Enum):
    """What somebody wants."""

    PAGE = "the page itself, which tells nothing of the server"
    FIGURES = "how the server is"
    ACTION = "to do something"


class Verdict(NamedTuple):
    """Whether it is granted, and if not, why."""

    status: int = 200
    text: str = ""
    """One line that says what to do."""
    allow: str = ""
    """The methods that there are, where the status is 405."""

    @property
    def is_granted(self) -> bool:
        return self.status == 200


GRANTED = Verdict()


class Visit(NamedTuple):
    """What counts of a request. Empty where it has no such field."""

    method: str = "GET"
    host: str = ""
    origin: str = ""
    site: str = ""
    """Sec-Fetch-Site."""
    cookie: str = ""
    authorization: str = ""
    content_type: str = ""


def read_token(path: str) -> bytes:
    """*In the parent, at its start:* the token in a file, without the white space around it.

    :raises ConfigError: one line, without the token: it cannot be read, others than its owner and
        its group may read it, or it is none.
    """
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        token = read_bytes(path).strip()
    except OSError as error:
        raise ConfigError(f"{_FLAG}: {path!r} cannot be read: {error.strerror}") from error
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise ConfigError(
            f"{_FLAG}: {path!r} has the mode {mode:o}, so others may read or change it: "
            f"chmod 600 {path}"
        )
    if not SHORTEST <= len(token) <= LONGEST or not re.fullmatch(rb"[!-~]+", token):
        raise ConfigError(
            f"{_FLAG}: {path!r} is to have {SHORTEST} to {LONGEST} characters of printable ASCII "
            "without spaces, such as `openssl rand -hex 32` makes"
        )
    return token


class Admission:
    """Decides. *Any thread.*

    :param bound: the addresses that are listened on, as Host fields have them, without ports.
    :param token: see :func:`read_token`; empty: there is none.
    :param secret: of this server alone, the same in all operations processes that it ever has.
    :param wall: seconds since 1970.
    """

    def __init__(
        self,
        bound: Iterable[str] = (),
        token: bytes = b"",
        secret: bytes = b"",
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._bound = {name.lower() for name in bound}
        self._token = token
        self._wall = wall
        self._key = hmac.digest(secret or secrets.token_bytes(32), b"dashboard " + token, "sha256")
        # A browser has one jar for all ports of a host: another server's is not to be overwritten.
        self.cookie = f"wsgi_async_{hashlib.sha256(self._key).hexdigest()[:8]}"
        """The name of the cookie."""

    @property
    def has_token(self) -> bool:
        """Whether there is one: else nobody may act."""
        return bool(self._token)

    def judge(
        self, wish: Wish, visit: Visit, methods: tuple[str, ...] = ("GET", "HEAD")
    ) -> Verdict:
        """Whether it is granted.

        :param methods: those that there are.
        """
        if not self._is_host(visit.host):
            return Verdict(421, self._why_not_host())
        if wish is not Wish.PAGE and visit.site and visit.site not in _HERE:
            return Verdict(403, "This is for the page itself, not for one of another origin")
        if wish is Wish.ACTION and not self._token:
            return Verdict(403, f"Actions need a token: start the server with {_FLAG}")
        if wish is not Wish.PAGE and not self.is_known(visit):
            return Verdict(401, "Sign in with the token: open / in a browser, or send it as Bearer")
        if visit.method not in methods:
            return Verdict(405, f"Use {' or '.join(methods)}", ", ".join(methods))
        return self._judge_action(visit) if wish is Wish.ACTION else GRANTED

    def _judge_action(self, visit: Visit) -> Verdict:
        if visit.origin:
            _, mark, host = visit.origin.partition("://")
            is_ours = bool(mark) and host.lower() == visit.host.lower()
        else:  # no browser of today leaves out both; a program has no cookie
            is_ours = visit.site == "same-origin" or self._has_bearer(visit)
        if not is_ours:
            return Verdict(403, "The Origin field is not this host: act by the page itself")
        if visit.content_type.partition(";")[0].strip().lower() != "application/json":
            return Verdict(415, "Send JSON, with Content-Type: application/json")
        return GRANTED

    # --- hosts -------------------------------------------------------------------------------

    def _is_host(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        return bool(self._token) or match[1].lower() in self._bound or _is_loopback(match[1])

    def _why_not_host(self) -> str:
        if self._token:
            return "The Host field is not a host"
        return (
            "The Host field does not name this machine: use localhost or 127.0.0.1, or a server "
            f"with {_FLAG}"
        )

    # --- tokens ------------------------------------------------------------------------------

    def is_token(self, text: str) -> bool:
        """Whether that is the token, in a time that does not tell how much of it is right."""
        given = text.encode("utf-8", "replace")
        return bool(self._token) and hmac.compare_digest(given, self._token)

    def make_cookie(self, host: str, *, is_secure: bool) -> str:
        """A Set-Cookie field for whoever has shown the token.

        :param host: the Host field of the request.
        :param is_secure: whether it came by TLS.
        """
        until = f"{int(self._wall()) + LASTS}"
        return (
            f"{self.cookie}={until}.{self._mac(until, host)}; Max-Age={LASTS}; Path=/; HttpOnly; "
            f"SameSite=Strict{'; Secure' if is_secure else ''}"
        )

    def is_known(self, visit: Visit) -> bool:
        """Whether whoever asks has shown the token, or nobody has to."""
        return not self._token or self._has_bearer(visit) or self._has_cookie(visit)

    def _has_bearer(self, visit: Visit) -> bool:
        scheme, _, token = visit.authorization.partition(" ")
        return scheme.lower() == "bearer" and self.is_token(token.strip())

    def _has_cookie(self, visit: Visit) -> bool:
        for pair in visit.cookie.split(";"):
            name, _, value = pair.strip().partition("=")
            match = _COOKIE.fullmatch(value) if name == self.cookie else None
            if match is None:
                continue
            is_genuine = hmac.compare_digest(match[2], self._mac(match[1], visit.host))
            if is_genuine and int(match[1]) > self._wall():
                return True
        return False

    def _mac(self, until: str, host: str) -> str:
        return hmac.new(self._key, f"{until} {host.lower()}".encode(), "sha256").hexdigest()


def _is_loopback(host: str) -> bool:
    """Whether it means this machine, whatever a resolver says (RFC 6761 §6.3)."""
    name = host.lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
