"""Which part of a request's path a front server means by SCRIPT_NAME, and which by PATH_INFO. Pure
functions; any thread.

RFC 3875 (§4.1.5, §4.1.13) says which, and hardly a configuration does:

- nginx's ``uwsgi_params`` has the whole path in PATH_INFO, ``fastcgi_params`` in SCRIPT_NAME, and
  ``scgi_params`` in neither, but in DOCUMENT_URI, which ``fastcgi_params`` has as well;
- who mounts an application there adds ``SCRIPT_NAME /shop``, and PATH_INFO is the whole path still;
- Apache's mod_proxy_uwsgi says ``/shop/`` and ``/``; its mod_proxy_fcgi and mod_proxy_scgi have the
  whole path in SCRIPT_NAME, unless they are told otherwise;
- the guides to flup had ``PATH_INFO $fastcgi_script_name``, which is SCRIPT_NAME once more.

What clients have sent, REQUEST_URI, tells these apart, as long as the front server has not written
the path anew: then the two count as they are given. All of it is native text, percent-decoded.
"""

from __future__ import annotations

from wsgi_async.errors import HTTPError
from wsgi_async.http.mounting import path_below

__all__ = ["place_in"]

_NO_PATH = "{} does not begin with a slash"


def place_in(
    script: str | None, info: str | None, document: str | None, path: str | None
) -> tuple[str, str]:
    """SCRIPT_NAME and PATH_INFO as RFC 3875 and PEP 3333 mean them.

    :param script: SCRIPT_NAME as it was given; None where it was not.
    :param info: PATH_INFO, likewise.
    :param document: DOCUMENT_URI, nginx's name of the whole path as it is after its rewriting;
        None or "" where it was not given.
    :param path: that of REQUEST_URI, percent-decoded; None where that has none.
    :returns: SCRIPT_NAME without a slash at its end, and PATH_INFO, empty or with one at its
        beginning: together they are the whole path.
    :raises HTTPError: 400, one of them is no path.
    """
    if script and script[0] != "/":
        raise HTTPError(400, _NO_PATH.format("SCRIPT_NAME"))
    if document and document[0] != "/":
        raise HTTPError(400, _NO_PATH.format("DOCUMENT_URI"))
    root = script.rstrip("/") if script else ""
    if info:
        if info[0] != "/":
            if not script or script[-1] != "/":
                raise HTTPError(400, _NO_PATH.format("PATH_INFO"))
            info = "/" + info  # fastcgi_split_path_info ^(/shop/)(.*)$
        return _both(script or "", root, info, document, path) if root else ("", info)
    whole = document or path
    if not script:
        return "", whole or "/"
    if info is not None:
        return root, ""
    if whole and script != whole:
        below = path_below(whole, root)
        if below and below is not whole:
            return root, below
        if not root:
            return "", whole
    return "", script


def _both(
    script: str, root: str, info: str, document: str | None, path: str | None
) -> tuple[str, str]:
    """Whether PATH_INFO has what SCRIPT_NAME says once more.

    Where it cannot be told they count as they are given. To take something off then would let a
    client have the application see a path that the front server has never looked at.
    """
    wholes = [document] if document else [path, normalised(path)] if path else []
    if root + info in wholes or info not in wholes:
        return root, info
    if info == script and document:
        return "", info
    return root, path_below(info, root)


def normalised(path: str) -> str:
    """A path as front servers have it that resolve dots and join slashes, as most of them do."""
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    end = "/" if segments and path.endswith(("/", "/.", "/..")) else ""
    return f"/{'/'.join(segments)}{end}"
