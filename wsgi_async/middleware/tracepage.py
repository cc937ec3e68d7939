"""The debugging page: an exception with its traceback, for the developer at this machine.

Pure functions; any thread.
"""

from __future__ import annotations

import ipaddress
import re
from html import escape
from traceback import TracebackException
from types import TracebackType
from typing import Any

from .interface import request_line

__all__ = ["is_local", "traceback_page"]

LIMIT = 256 * 1024
"""Characters of a traceback that are shown; the first half of them and the last."""

SHOWN = (
    *("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_PROTOCOL"),
    *("CONTENT_TYPE", "CONTENT_LENGTH", "HTTP_HOST", "HTTP_ACCEPT", "HTTP_USER_AGENT"),
    *("REMOTE_ADDR", "REMOTE_PORT", "SERVER_NAME", "SERVER_PORT", "SERVER_SOFTWARE"),
    *("wsgi.url_scheme", "wsgi.multithread", "wsgi.multiprocess", "wsgi_async.threads"),
    "wsgi_async.request_id",
)
"""What is shown of the environ: no cookie, no credentials, nothing that somebody may have put there
from the process's own environment."""

HEADERS = [
    ("Content-Type", "text/html; charset=utf-8"),
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    # The text is escaped; should that ever fail, it still cannot run or fetch anything.
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
]

_PORT = re.compile(r":[0-9]*$", re.ASCII)

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font-family: sans-serif; margin: 2em; }}
pre {{ background: #f4f4f4; padding: 1em; overflow: auto; }}
th {{ text-align: left; padding-right: 1em; font-weight: normal; color: #555; }}
td {{ font-family: monospace; word-break: break-all; }}
</style></head>
<body>
<h1>{title}</h1>
<p>{request}</p>
<pre>{trace}</pre>
<table>
{rows}
</table>
<p>This page is shown to clients on this machine only, and only because debugging is on.</p>
</body>
</html>
"""


def is_local(environ: dict[str, Any]) -> bool:
    """Whether a request comes from a browser or another client on this very machine.

    Its address is a loopback one; a unix socket has none, and mostly a proxy behind it. A proxy on
    this machine passes other people's requests on, so what the server has heard from one
    (``wsgi_async.peer``: whatever it was, believed or not), a field that proxies add, or HTTP/1.0
    (which nginx speaks by default), is a no. The Host must be this machine's too: a page of a
    domain that its owner has resolve to 127.0.0.1 could read the answer otherwise.
    """
    if "wsgi_async.peer" in environ:
        return False
    try:
        if not ipaddress.ip_address(environ.get("REMOTE_ADDR", "")).is_loopback:
            return False
    except ValueError:
        return False
    if environ.get("SERVER_PROTOCOL") == "HTTP/1.0":
        return False
    for name in environ:
        if name.startswith("HTTP_X_FORWARDED"):
            return False
    if any(name in environ for name in ("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP")):
        return False
    if environ.get("HTTP_SEC_FETCH_SITE") == "cross-site":
        return False
    return _is_own_name(_PORT.sub("", environ.get("HTTP_HOST", "")).lower())


def _is_own_name(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761 §6.3
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def traceback_page(
    environ: dict[str, Any], error: BaseException, frames: TracebackType | None
) -> bytes:
    """The page, in UTF-8. Everything in it is escaped.

    :param frames: where to begin.
    """
    trace = TracebackException(type(error), error, frames, compact=True)
    text = "".join(trace.format())
    if len(text) > LIMIT:
        text = f"{text[: LIMIT // 2]}\n...\n{text[-LIMIT // 2 :]}"
    title = "".join(trace.format_exception_only()).rstrip("\n").partition("\n")[0]
    rows = [
        f"<tr><th>{escape(name)}</th><td>{escape(str(environ[name]))}</td></tr>"
        for name in SHOWN
        if name in environ
    ]
    html = _PAGE.format(
        title=escape(title[:500]),
        request=escape(" ".join(request_line(environ)[:2])),
        trace=escape(text),
        rows="\n".join(rows),
    )
    return html.encode("utf-8", "backslashreplace")
