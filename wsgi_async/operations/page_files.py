"""The files of the dashboard's page: a fixed table, read once, and served by name alone."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

__all__ = ["INDEX", "SIGN_IN", "PageFile", "page_files"]

INDEX, SIGN_IN = "/", "/sign-in"
"""Where the page is, and the form for the token."""

_DIRECTORY = Path(__file__).parent / "page"

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
"""By how a name ends. What ends otherwise is not served, such as a licence."""

_PATHS = {"index.html": INDEX, "sign-in.html": SIGN_IN}
"""Where those are that are not found by their names."""


class PageFile(NamedTuple):
    """One file."""

    body: bytes
    type: str
    etag: str


def page_files() -> dict[str, PageFile]:
    """All of them, by path.

    :raises OSError: one cannot be read.
    """
    files = {}
    for file in sorted(_DIRECTORY.iterdir()):
        if (type_ := _TYPES.get(file.suffix)) is not None:
            body = file.read_bytes()
            etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            files[_PATHS.get(file.name, f"/{file.name}")] = PageFile(body, type_, etag)
    return files
