"""What a request head says in the words of CGI: the part of the environ that follows from it.

Pure functions; any thread. See RFC 3875 §4.1 and PEP 3333, "environ Variables".
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from .bounded_cache import BoundedCache

__all__ = ["DROPPED", "KEYS", "join_values", "key_of", "path_info", "request_variables"]

DROPPED = ""
"""The key of fields that the application must not see: names with an underscore, which CGI cannot
tell from a hyphen (a client's X_Real_IP would pass for a proxy's X-Real-IP), and Proxy, which would
become HTTP_PROXY and redirect the application's own requests (CVE-2016-5385)."""

KEYS: BoundedCache[str, str] = BoundedCache(1024)
"""Name as received -> key."""

_MAX_NAME_SIZE = 64


def key_of(name: str) -> str:
    """The key for a field that is not in :data:`KEYS` yet; now it is."""
    if "_" in name:
        return DROPPED
    key = name.upper().replace("-", "_")
    if key == "PROXY":
        return DROPPED
    if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        key = "HTTP_" + key
    if len(name) <= _MAX_NAME_SIZE:
        KEYS.keep(name, key)
    return key


def join_values(key: str, first: str, second: str) -> str:
    """The value of two lines of a field (RFC 9110 §5.3); cookies have a separator of their own (RFC
    6265 §4.2.1)."""
    return f"{first}{'; ' if key == 'HTTP_COOKIE' else ','}{second}"


def path_info(path: str) -> str:
    """`path` percent-decoded once: native text, the bytes read as latin-1."""
    return unquote_to_bytes(path).decode("latin-1") if "%" in path else path


def request_variables(
    method: str,
    target: str,
    path: str,
    query: str,
    version: str,
    fields: Iterable[tuple[str, str]],
    content_length: int | None,
) -> dict[str, str]:
    """The variables of one head; for the parameters see :class:`.RequestHead`.

    PATH_INFO is the whole path, as if the application were mounted at the root.
    """
    variables: dict[str, str] = {}
    for name, value in fields:
        key = KEYS.get(name)
        if key is None:
            key = key_of(name)
        if key in variables:
            value = join_values(key, variables[key], value)
        variables[key] = value
    variables.pop(DROPPED, None)
    # RFC 9112 §7.1.3: who decodes the body takes the coding off. An application that saw it
    # might decode again (Bottle does).
    variables.pop("HTTP_TRANSFER_ENCODING", None)
    if content_length is not None:
        variables["CONTENT_LENGTH"] = str(content_length)
    variables["REQUEST_METHOD"] = method
    variables["RAW_URI"] = variables["REQUEST_URI"] = target
    variables["PATH_INFO"] = path_info(path)
    variables["QUERY_STRING"] = query
    variables["SERVER_PROTOCOL"] = version
    return variables
