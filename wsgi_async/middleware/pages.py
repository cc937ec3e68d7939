"""A page that says what went wrong: HTML, or JSON for a client that would rather have that.

Pure functions; any thread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html import escape
from typing import Any

__all__ = ["page", "preferred"]

TYPES = ("text/html", "application/json", "application/problem+json")

_QUALITY = re.compile(r"[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*")

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body><h1>{title}</h1>{detail}</body>
</html>
"""


def page(
    environ: dict[str, Any], status: str, detail: str = ""
) -> tuple[list[tuple[str, str]], bytes]:
    """Header fields and content for a status.

    :param status: ``404 Not Found``.
    :param detail: for the client, in plain text.

    The members of the JSON are those of RFC 9457 §3.1.
    """
    kind = preferred(environ.get("HTTP_ACCEPT", ""), TYPES)
    code, _, reason = status.partition(" ")
    if kind == "text/html":
        paragraph = f"<p>{escape(detail)}</p>" if detail else ""
        text = _PAGE.format(title=escape(status), detail=paragraph)
        kind = "text/html; charset=utf-8"
    else:
        members: dict[str, object] = {"status": int(code), "title": reason}
        if detail:
            members["detail"] = detail
        text = json.dumps(members) + "\n"
    # A lone surrogate has no bytes in UTF-8; in HTML it becomes a reference.
    body = text.encode("utf-8", "xmlcharrefreplace")
    return [("Content-Type", kind), ("Vary", "Accept")], body


def preferred(accept: str, offers: Sequence[str]) -> str:
    """The one of `offers` that an Accept field likes best (RFC 9110 §12.5.1); of equals the one
    that it names more exactly, then the first. The first too where it likes none, because a wrong
    type is better than no word."""
    ranges = _ranges(accept)
    if not ranges:
        return offers[0]

    def quality(offer: str) -> tuple[float, int]:
        kind = offer.partition("/")[0]
        for exactness, name in ((2, offer), (1, f"{kind}/*"), (0, "*/*")):
            if name in ranges:
                return ranges[name], exactness if ranges[name] else 0
        return 0.0, 0

    return max(offers, key=quality)


def _ranges(accept: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for item in accept.split(","):
        name, *parameters = item.split(";")
        name = name.strip(" \t").lower()
        if not name:
            continue
        quality = 1.0
        for parameter in parameters:
            if match := _QUALITY.fullmatch(parameter):
                quality = float(match[1])
        found[name] = max(quality, found.get(name, 0.0))
    return found
