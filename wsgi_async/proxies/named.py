"""Fields whose names have an underscore: gunicorn's ``forwarder_headers``. Pure; any thread."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from wsgi_async.errors import ConfigError, HTTPError
from wsgi_async.http.origin import Origin
from wsgi_async.http.tokens import is_token

from .x_forwarded import read_prefix

__all__ = ["NamedFields"]

_REFUSED = frozenset({"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH", "HTTP_FORWARDED", "HTTP_HOST"})


class NamedFields:
    """Fields that a believed peer may send by names that others may not.

    As in gunicorn, the field ``SCRIPT_NAME`` says where the application is, in place of
    ``--root-path``; and each of them, that one too, is in the environ as ``HTTP_`` with its name:
    ``HTTP_REMOTE_USER``, and ``HTTP_PATH_INFO`` too, for PATH_INFO itself stays the path that was
    asked for. Where the same name has come with hyphens, this one counts.

    :param names: in any case. One without an underscore needs no leave, and is passed over.
    :param taken: keys of fields that are believed for what they say, which no other spelling may
        replace.
    :param flag: the option, for errors.
    :raises ConfigError: what is no name of a field, ``*``, and names that would pass for a field
        that is believed by itself, or for the length and type of the body.
    """

    __slots__ = ("_keys", "keys")

    keys: frozenset[str]
    """Names in the environ."""

    def __init__(
        self,
        names: Iterable[str],
        taken: Iterable[str] = (),
        *,
        flag: str = "--forwarder-headers",
    ) -> None:
        refused = _REFUSED.union(taken)
        self._keys: dict[str, str] = {}
        for name in names:
            name = name.strip().upper()
            key = "HTTP_" + name.replace("-", "_")
            if name == "*" or not is_token(name):
                raise ConfigError(f"{flag} takes names of fields such as SCRIPT_NAME, not {name!r}")
            if "_" not in name:
                continue
            if key in refused or key.startswith("HTTP_X_FORWARDED_"):
                raise ConfigError(
                    f"{flag}: {name} would pass for {name.title().replace('_', '-')}, "
                    "which comes with hyphens only: leave it out"
                )
            self._keys[name] = key
        self.keys = frozenset(self._keys.values())

    def add(self, fields: Iterable[tuple[str, str]], origin: Origin | None) -> Origin | None:
        """`origin` with what these fields say; `origin` itself where there are none.

        :param fields: names and values of a head of a believed peer.
        :raises HTTPError: 400 for a SCRIPT_NAME that is no path, and for two that disagree.
        """
        values: dict[str, list[str]] = {}
        for name, value in fields:
            if "_" in name and (key := self._keys.get(name.upper())) is not None:
                values.setdefault(key, []).append(value)
        if not values:
            return origin
        paths = set(values.get("HTTP_SCRIPT_NAME", ()))
        if len(paths) > 1:
            raise HTTPError(400, "There are two SCRIPT_NAME fields that disagree")
        path = paths.pop() if paths else None
        return replace(
            origin or Origin(),
            script_name=read_prefix(path, "SCRIPT_NAME") if path else path,
            variables=tuple((key, ",".join(said)) for key, said in values.items()),
        )
