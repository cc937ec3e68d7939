"""A user and a password for each request: the "Basic" scheme of RFC 7617."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from wsgi_async.errors import ConfigError
from wsgi_async.wsgi.types import Environ

from .interface import answer

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

__all__ = ["BasicAuth"]

# RFC 9110 §11.4: the scheme in any case, one space or more, and the credentials.
_CREDENTIALS = re.compile(r"basic +([A-Za-z0-9+/]+={0,2}) *", re.IGNORECASE | re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_REALM = re.compile(r"[ -~]*", re.ASCII)


class BasicAuth:
    """Lets in who knows a user's password; everybody else gets a 401.

    The application finds the user in ``REMOTE_USER`` and ``Basic`` in ``AUTH_TYPE`` (RFC 3875
    §4.1.1, §4.1.11). User and password are taken as UTF-8 and normalised to NFC (RFC 7617 §2.1);
    in the environ a user is, like all text there, the bytes of UTF-8 read as latin-1.

    The password travels in clear: use TLS. A preflight request carries none, so CORS goes around
    this middleware, not inside.

    :param application: the WSGI application.
    :param users: passwords by user, which are compared in a time that depends on neither of the
        two and copied now; or a function of user and password, called for each request in its
        thread, that says whether they are right.
    :param realm: what the client is told it is about.
    :param exempt: paths that anybody may ask for, by SCRIPT_NAME and PATH_INFO; one that ends with
        ``/`` is for all below it. An odd path, with ``//``, ``/./``, ``/../`` or a backslash, is
        never exempt.
    :raises ConfigError: `users` is neither, a user's name has a colon (the scheme cannot have
        one), or `realm` is not ASCII.
    """

    def __init__(
        self,
        application: WSGIApplication,
        users: Mapping[str, str] | Callable[[str, str], object],
        *,
        realm: str = "Restricted",
        exempt: Iterable[str] = (),
    ) -> None:
        if not _REALM.fullmatch(realm):
            raise ConfigError(f"BasicAuth: the realm must be printable ASCII, not {realm!r}")
        self._application = application
        self._check = _Table(users) if isinstance(users, Mapping) else users
        if not callable(self._check):
            kind = type(users).__name__  # and not what it is: it may have passwords
            raise ConfigError(f"BasicAuth: users must be a mapping or a function, not a {kind}")
        self._exempt = _paths(exempt)
        quoted = realm.replace("\\", "\\\\").replace('"', '\\"')
        self._challenge = f'Basic realm="{quoted}", charset="UTF-8"'

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if self._is_exempt(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")):
            return self._application(environ, start_response)
        found = _credentials(environ.get("HTTP_AUTHORIZATION", ""))
        if found is None or not self._check(*found):
            fields = [
                ("Content-Type", "text/plain; charset=utf-8"),
                ("WWW-Authenticate", self._challenge),
            ]
            return answer(
                environ, start_response, "401 Unauthorized", fields, b"401 Unauthorized\n"
            )
        environ["REMOTE_USER"] = found[0].encode("utf-8").decode("latin-1")
        environ["AUTH_TYPE"] = "Basic"
        return self._application(environ, start_response)

    def _is_exempt(self, path: str) -> bool:
        for exempt in self._exempt:
            if path == exempt:
                return True
            if exempt.endswith("/") and path.startswith(exempt) and _is_plain(path):
                return True
        return False


def _paths(paths: Iterable[str]) -> tuple[str, ...]:
    if isinstance(paths, str):
        raise ConfigError("BasicAuth: exempt must be a list of paths, such as ['/health']")
    found = tuple(paths)
    for path in found:
        if not path.startswith("/"):
            raise ConfigError(f"BasicAuth: an exempt path begins with a slash, not as {path!r}")
    return tuple(path.encode("utf-8").decode("latin-1") for path in found)


def _is_plain(path: str) -> bool:
    """Whether nobody behind can take it for another path."""
    *segments, last = path[1:].split("/")
    return (
        "\\" not in path
        and last not in (".", "..")
        and not any(segment in ("", ".", "..") for segment in segments)
    )


def _credentials(field: str) -> tuple[str, str] | None:
    """User and password of an Authorization field."""
    match = _CREDENTIALS.fullmatch(field)
    if match is None:
        return None
    try:
        text = base64.b64decode(match[1], validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None
    user, colon, password = text.partition(":")
    if not colon or _CONTROL.search(text):  # RFC 7617 §2
        return None
    return unicodedata.normalize("NFC", user), unicodedata.normalize("NFC", password)


class _Table:
    """Passwords by user, both as digests under a key that nobody knows: how long a comparison
    takes, or a look-up, then tells nothing of what was compared."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self._key = os.urandom(32)
        self._nobody = os.urandom(32)
        self._passwords: dict[bytes, bytes] = {}
        for user, password in users.items():
            if not isinstance(user, str) or not isinstance(password, str):
                raise ConfigError("BasicAuth: users and passwords must be str")
            if ":" in user:
                raise ConfigError(f"BasicAuth: a user's name cannot have a colon: {user!r}")
            self._passwords[self._digest(user)] = self._digest(password)

    def _digest(self, text: str) -> bytes:
        return hmac.digest(self._key, unicodedata.normalize("NFC", text).encode("utf-8"), "sha256")

    def __call__(self, user: str, password: str) -> bool:
        known = self._passwords.get(self._digest(user), self._nobody)
        return hmac.compare_digest(known, self._digest(password))
