"""What PasteDeploy makes of a file's sections, as far as the server needs it: their settings, with
what they refer to. No application and no other server is imported for it.

Imported only where there is such a file: it needs PasteDeploy.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from paste.deploy import loadwsgi

from wsgi_async.system.files import read_bytes

__all__ = ["ServerSection", "has_application", "server_section"]


class ServerSection(NamedTuple):
    """A section [server:NAME]."""

    name: str
    use: str
    """What its ``use`` comes to, as ``egg:waitress#main``; else the expression that names the
    server."""
    settings: dict[str, str]


class _Loader(loadwsgi.ConfigLoader):  # type: ignore[misc]  # it has no type annotations
    """Follows ``use`` from section to section and from file to file; whatever is at the end is
    not looked up, as another server need not be installed any more."""

    def get_context(
        self, object_type: Any, name: str | None = None, global_conf: Any = None
    ) -> Any:
        if not self.absolute_name(name):
            return super().get_context(object_type, name, global_conf)
        scheme, _, rest = str(name).partition(":")
        if scheme.lower() != "config":
            return loadwsgi.LoaderContext(name, object_type, "", global_conf or {}, {}, self)
        file, _, section = rest.partition("#")
        path = os.path.join(os.path.dirname(self.filename), unquote(file))
        return _opened(path, global_conf or {}).get_context(
            object_type, section or "main", global_conf
        )

    def _context_from_explicit(
        self, object_type: Any, local_conf: Any, global_conf: Any, additions: Any, section: str
    ) -> Any:
        named = next((key for key in local_conf if key.startswith("paste.")), None)
        if named is None:
            raise LookupError(f"No use = ... in the section [{section}]")
        expression = local_conf.pop(named)
        return loadwsgi.LoaderContext(expression, object_type, named, global_conf, local_conf, self)


def _opened(path: str, variables: Mapping[str, str]) -> _Loader:
    try:
        read_bytes(path)  # PasteDeploy would wait for a pipe, and read a device without end
    except OSError as error:
        error.filename = path
        raise
    loader = _Loader(path)
    loader.update_defaults(variables, overwrite=False)
    return loader


def server_section(path: str, name: str, variables: Mapping[str, str]) -> ServerSection | None:
    """[server:NAME] of a file, else its [server:main]; None where there is neither.

    :param path: absolute.
    :param variables: what the file may refer to as ``%(NAME)s``, besides what it says itself.
    :raises LookupError: `use` leads nowhere, or is not there; a distribution is missing that the
        section requires.
    :raises configparser.Error: the file is not what it should be.
    :raises OSError: it, or one that it refers to, cannot be read.
    """
    loader = _opened(path, variables)
    sections = loader.parser.sections()
    for candidate in (name, "main"):
        if f"server:{candidate}" in sections:
            context = loader.get_context(loadwsgi.SERVER, candidate, dict(variables))
            return ServerSection(candidate, str(context.object), dict(context.local_conf))
    return None


def has_application(path: str, name: str, variables: Mapping[str, str]) -> bool:
    """Whether there is a section of that name for an application, of whatever kind.

    :raises LookupError: there are several.
    :raises configparser.Error: the file is not what it should be.
    :raises OSError: it cannot be read.
    """
    loader = _opened(path, variables)
    prefixes = [
        prefix
        for same in loadwsgi.APP.config_prefixes
        for prefix in same
        if f"{prefix}:{name}" in loader.parser.sections()
    ]
    if prefixes:
        loader.find_config_section(loadwsgi.APP, name)
    return bool(prefixes)
