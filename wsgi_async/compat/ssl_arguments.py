"""The arguments of Python's old ``ssl.wrap_socket``, as gevent and Tornado take them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from wsgi_async.config.tls_options import lowest_version
from wsgi_async.errors import ConfigError
from wsgi_async.tls.given import GivenContext

__all__ = ["IGNORED", "TAKEN", "read_arguments"]

TAKEN = ("certfile", "keyfile", "ca_certs", "cert_reqs", "ciphers", "ssl_version")
IGNORED = ("do_handshake_on_connect", "server_side", "suppress_ragged_eofs")
"""What a server that does not block decides itself."""

_FILES = ("certfile", "keyfile")


def read_arguments(
    arguments: Mapping[str, Any], context: object = None
) -> tuple[dict[str, Any], GivenContext | None]:
    """Our options for these arguments, and the context where the program has made one.

    :param arguments: those of :data:`TAKEN` that are given, and None for what is not.
    :param context: an :class:`ssl.SSLContext`, in their place.
    :raises ConfigError: there is both, or one of them is wrong.
    """
    options: dict[str, Any] = {}
    for name, value in arguments.items():
        if value is None or name in IGNORED:
            continue
        if context is not None:
            raise ConfigError(f"{name}: the context has its own: give one or the other")
        if name == "ssl_version":
            version = lowest_version(value)
            options |= {} if version is None else {"tls_min": version}
        else:
            options[name] = (os.fspath(value),) if name in _FILES else value
    return options, None if context is None else GivenContext(context)
