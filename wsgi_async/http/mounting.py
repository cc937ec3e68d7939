"""Where an application is: which part of a path is SCRIPT_NAME, and which is PATH_INFO.

Pure functions; any thread. Paths are native text, percent-decoded: what they mean is compared and
not how it was written, so ``/%61pp`` is ``/app``, and ``/app%2Fx`` is ``/app/x``, as it is to nginx
and to the application, who sees no other form (PEP 3333).
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

__all__ = ["path_below", "place", "script_name"]


def script_name(root_path: str) -> str:
    """SCRIPT_NAME of an application at `root_path`: native text, the bytes of UTF-8 read as latin-1
    (PEP 3333, "Unicode Issues").

    :param root_path: Unicode text, percent-encoded or not, as SCRIPT_NAME is not (RFC 3875
        §4.1.13). "" or "/" is the root; slashes at the end count for nothing.
    """
    return unquote_to_bytes(root_path).decode("latin-1").rstrip("/")


def path_below(path: str, root: str) -> str:
    """`path` without `root` in front; whole where a proxy has already taken it off.

    :param path: of the request.
    :param root: as in SCRIPT_NAME. ``/app`` has ``/app`` and ``/app/x`` below it, not ``/apple``.
    """
    rest = path.removeprefix(root)
    return rest if not rest or rest[0] == "/" else path


def place(path: str, root: str, prefix: str = "") -> tuple[str, str]:
    """SCRIPT_NAME and PATH_INFO of a request.

    :param path: all of it, or what proxies have left of it.
    :param root: where the application is by the server's own options, from :func:`script_name`.
    :param prefix: what a proxy says it is further below (X-Forwarded-Prefix). It goes in front of
        `root`, unless it ends with that already: then it is all of where the application is.

    The proxy may have taken off all of it, the prefix only, or nothing.
    """
    if not prefix:
        return root, path_below(path, root)
    name = prefix if prefix.endswith(root) else prefix + root
    rest = path_below(path, name)
    return name, path_below(path, root) if rest is path else rest
