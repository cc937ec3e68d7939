"""Several applications beneath one another's paths, chosen by prefix and method.

Nothing is wrapped: what the chosen application returns goes to the server as it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from wsgi_async.errors import ConfigError
from wsgi_async.http.tokens import is_token
from wsgi_async.wsgi.types import Application, Environ, StartResponse

__all__ = ["Mounts", "clean_prefix", "is_below", "parse_key", "refuse_method"]

_NOT_IN_A_PATH = re.compile(r"[\x00-\x1f\x7f?#]")


class Mounts:
    """One WSGI application made of several.

    ::

        application = Mounts({
            "/": site,
            "/admin": admin,
            "GET /hello": say_hello,
            "POST /hello": take_greeting,
        })

    :param applications: by ``/prefix`` for all methods, or ``METHOD /prefix`` for one.
    :raises ConfigError: a key is of no such form, is there twice (``/a`` and ``/a/`` are the same),
        or its application cannot be called.

    **Which application.** The longest prefix wins, and a prefix ends where a segment of the path
    does: ``/admin`` takes ``/admin``, ``/admin/`` and ``/admin/x``, never ``/administrator``.
    ``/`` takes what no other prefix does. Then, of what is mounted at that prefix: the one for the
    request's method; for HEAD the one for GET; the one for all methods. Where there is none the
    answer is 405 with Allow (RFC 9110 §15.5.6), and OPTIONS is answered by 204 with Allow; a
    shorter prefix is not asked. 404 where no prefix fits. HEAD gets no content, either way.

    **The paths.** What the prefix takes moves from the front of PATH_INFO to the end of SCRIPT_NAME
    (RFC 3875 §4.1.13; PEP 3333, "URL Reconstruction"), and the two together are what they were:
    beneath ``/admin`` PATH_INFO is ``""`` for ``/admin``, and ``"/"`` for ``/admin/``. No slash is
    added and nobody is redirected: the application sees which of the two it was. PATH_INFO has been
    percent-decoded, so ``/admin%2Fx`` is ``/admin/x`` here as it is for the application; empty or
    ``.`` and ``..`` segments are left as they are, and ``//admin`` is not ``/admin``. A key is
    decoded text, as in ``/café``. An empty PATH_INFO, as at the root of a server that is itself
    mounted somewhere, and the ``*`` of ``OPTIONS *``, belong to ``/``.

    The environ is not copied: PEP 3333 gives it to the application that is called, to change it as
    it likes. Middleware around this that wants the paths of before reads them before.

    *Any thread*; nothing changes after the constructor.
    """

    def __init__(self, applications: Mapping[str, Application]) -> None:
        found: dict[str, dict[str, Application]] = {}
        for key, application in applications.items():
            method, prefix = parse_key(key)
            if not callable(application):
                raise ConfigError(
                    f"The application at {key!r} is not callable: "
                    f"it is of type {type(application).__name__}"
                )
            methods = found.setdefault(prefix, {})
            if method in methods:
                raise ConfigError(f"Two applications at {key!r}")
            methods[method] = application
        self._mounts = sorted(found.items(), key=lambda item: -len(item[0]))

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        for prefix, methods in self._mounts:
            if not is_below(path, prefix):
                continue
            method = environ["REQUEST_METHOD"]
            application = methods.get(method)
            if application is None and method == "HEAD":
                application = methods.get("GET")
            if application is None:
                application = methods.get(_ANY)
            if application is None:
                return refuse_method(methods, environ, start_response)
            if prefix:
                environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + prefix
                environ["PATH_INFO"] = path[len(prefix) :]
            return application(environ, start_response)
        return _answer("404 Not Found", [], environ, start_response)


_ANY = ""
"""Stands for all methods."""


def clean_prefix(prefix: str) -> str:
    """A prefix as it is compared with PATH_INFO: latin-1 that holds UTF-8, no slash at its end.

    :raises ConfigError: it is no path that a request could have.
    """
    if not prefix.startswith("/"):
        raise ConfigError(f"the prefix {prefix!r} does not begin with a slash")
    if "//" in prefix:
        raise ConfigError(f"the prefix {prefix!r} has two slashes in a row")
    if not {".", ".."}.isdisjoint(prefix.split("/")):
        raise ConfigError(f"the prefix {prefix!r} has a segment that clients resolve: . or ..")
    if _NOT_IN_A_PATH.search(prefix) is not None:
        raise ConfigError(f"the prefix {prefix!r} has a character that no path has")
    try:
        return prefix.removesuffix("/").encode().decode("latin-1")
    except UnicodeEncodeError:
        raise ConfigError(f"the prefix {prefix!r} cannot be encoded as UTF-8") from None


def is_below(path: str, prefix: str) -> bool:
    """Whether `path` is `prefix` or continues it by whole segments; all are below "" ."""
    if not path.startswith(prefix):
        return False
    return not prefix or len(path) == len(prefix) or path[len(prefix)] == "/"


def parse_key(key: str) -> tuple[str, str]:
    """The method, "" for all, and the prefix.

    :raises ConfigError: see :class:`Mounts`.
    """
    try:
        method, space, prefix = key.partition(" ")
        if not space or key.startswith("/"):
            return _ANY, clean_prefix(key)
        if not is_token(method) or not prefix.startswith("/"):
            raise ConfigError("write /prefix, or METHOD /prefix")
        if method != method.upper():
            raise ConfigError(f"methods are in capitals: write {method.upper()}")
        return method, clean_prefix(prefix)
    except ConfigError as error:
        raise ConfigError(f"Wrong mount {key!r}: {error}") from None


def refuse_method(
    methods: Collection[str], environ: Environ, start_response: StartResponse
) -> Iterable[bytes]:
    """Answer a method that is not one of `methods`: 405, or 204 to OPTIONS; Allow in both."""
    allowed = {*methods, "OPTIONS"}
    if "GET" in allowed:
        allowed.add("HEAD")
    allow = [("Allow", ", ".join(sorted(allowed)))]
    if environ["REQUEST_METHOD"] == "OPTIONS":
        start_response("204 No Content", allow)
        return []
    return _answer("405 Method Not Allowed", allow, environ, start_response)


def _answer(
    status: str, headers: list[tuple[str, str]], environ: Environ, start_response: StartResponse
) -> Iterable[bytes]:
    body = f"{status}\n".encode()
    length = ("Content-Length", str(len(body)))
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), length, *headers])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
