"""The fields that are older than RFC 7239: lists of one value for each hop. Pure; any thread."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from wsgi_async.errors import HTTPError
from wsgi_async.http.target import valid_authority

__all__ = ["MOST_HOPS", "read_host", "read_list", "read_port", "read_prefix", "read_scheme"]

MOST_HOPS = 100
"""Entries of a list that are looked at, the nearest ones: whoever is believed passes on what its
client says, and a head has room for thousands."""

SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
"""What proxies write -> scheme; a websocket begins as a request of HTTP (RFC 6455 §3)."""

_PREFIX = re.compile(r"(?:/[^/\x00-\x20\x7f\\?#]+)*/?")
_DECODED_PREFIX = re.compile(r"(?:/[^/\x00-\x1f\x7f\\]+)*/?")


def read_list(value: str) -> list[str]:
    """The entries of a field, from the client to the nearest proxy; of all its lines, joined.

    Entries that are empty count for nothing (RFC 9110 §5.6.1); quotes around one are taken off.
    What is further away than :data:`MOST_HOPS` is left out.
    """
    entries = [entry.strip(" \t") for entry in value.rsplit(",", MOST_HOPS)[-MOST_HOPS:]]
    return [_unquoted(entry) for entry in entries if entry]


def _unquoted(entry: str) -> str:
    if len(entry) > 1 and entry[0] == entry[-1] == '"':
        return entry[1:-1].strip(" \t")
    return entry


def read_scheme(entry: str, field: str) -> str:
    """``http`` or ``https``, from one of these or from ``ws`` or ``wss``, in any case.

    :param field: its name, for the error.
    :raises HTTPError: 400 for another scheme.
    """
    scheme = SCHEMES.get(entry.lower())
    if scheme is None:
        raise HTTPError(400, f"{field} is neither http nor https")
    return scheme


def read_host(entry: str, field: str) -> str:
    """A host as a Host field may have it, with its port.

    :raises HTTPError: 400 for what no Host field may be.
    """
    if not valid_authority(entry):
        raise HTTPError(400, f"{field} is not a host")
    return entry


def read_port(entry: str, field: str) -> str:
    """A port from 1 to 65535, without leading zeros.

    :raises HTTPError: 400 for anything else.
    """
    if not (entry.isascii() and entry.isdigit() and len(entry) <= 5 and 0 < int(entry) < 65536):
        raise HTTPError(400, f"{field} is not a port")
    return str(int(entry))


def read_prefix(entry: str, field: str) -> str:
    """A path as SCRIPT_NAME has it (RFC 3875 §4.1.13): percent-decoded, and "" for the root.

    :raises HTTPError: 400 where it is no path from the root, or, decoded or not, one that could be
        taken for another place: two slashes in a row, a segment that clients resolve (``.``,
        ``..``), a backslash, a control character, and undecoded whitespace, ``?`` or ``#``.
    """
    path = unquote_to_bytes(entry.encode("latin-1")).decode("latin-1")
    if not (
        entry[:1] == "/"
        and _PREFIX.fullmatch(entry)
        and _DECODED_PREFIX.fullmatch(path)
        and {".", ".."}.isdisjoint(path.split("/"))
    ):
        raise HTTPError(400, f"{field} is not a path that an application could be at")
    return path.removesuffix("/")
