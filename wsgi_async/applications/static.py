"""``--static``: files of a directory, in front of an application.

Werkzeug judges paths, conditions and ranges. (WhiteNoise 6.12, and ServeStatic which descends from
it, ignore If-Range, so that a download that is resumed after a change is spoilt; know neither a
list of entity tags nor weak ones; answer a HEAD with 206; WhiteNoise also refuses ``bytes=0-0`` and
follows links out of its directory. What they do have, files that are compressed beforehand, is to
be had with them as ``--middleware``.)
"""

from __future__ import annotations

import errno
import mimetypes
import os
import stat
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from werkzeug.http import http_date, parse_date, parse_etags, parse_range_header
from werkzeug.sansio.http import is_resource_modified
from werkzeug.security import safe_join
from werkzeug.utils import get_content_type

from wsgi_async.errors import ConfigError
from wsgi_async.wsgi.file_wrapper import FileWrapper
from wsgi_async.wsgi.types import Application, Environ, Fields, StartResponse

from .mounts import clean_prefix, is_below, refuse_method

__all__ = ["StaticFiles"]

_TYPES = {
    ".avif": "image/avif",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}
"""What :mod:`mimetypes` has in some versions of Python and on some systems only."""

_NO_FILE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO)
_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Resolved paths have no link; to open a pipe must not wait for its other end."""


class StaticFiles:
    """Answers GET and HEAD for files, and passes on to the application what names none.

    :param application: for everything that is no file.
    :param directories: pairs of a prefix and a directory. The longest prefix is looked in first,
        equal ones in their order; prefixes end at segments as those of :class:`Mounts` do,
        and are compared with PATH_INFO. A directory may be a link, and that may be changed.
    :raises ConfigError: a wrong prefix, or there is no such directory.

    **What is no file here**: directories (an index page is the application's), pipes and devices,
    names that begin with a dot except ``.well-known``, paths that leave the directory by ``..``,
    as absolute ones or through a symbolic link, and such with NUL. Links to files that are in the
    directory too are followed. A file that may not be read is a 403, and a line in ``wsgi.errors``.

    **What is sent**: ETag (time of change in nanoseconds, and size), Last-Modified, Accept-Ranges,
    and ``Cache-Control: no-cache``: a client asks each time, and gets a 304 as long as nothing has
    changed. If-None-Match, If-Modified-Since and If-Match (RFC 9110 §13); Range with one range of
    bytes, and If-Range (§14; several ranges get the whole file); 416. Methods other than GET and
    HEAD are answered as by ``Mounts``. The disk is asked each time, so that changed files are
    served as they are.

    The file goes by ``wsgi.file_wrapper``, ranges too: its position and Content-Length say which
    part (PEP 3333, "Optional Platform-Specific File Handling"), so the server may use sendfile;
    middleware that reads it instead gets no more than that part.

    *Any thread.*
    """

    def __init__(self, application: Application, directories: Sequence[tuple[str, str]]) -> None:
        self._application = application
        self._directories = []
        for prefix, directory in directories:
            if not os.path.isdir(directory):
                raise ConfigError(f"--static: there is no directory {directory!r}")
            try:
                pair = clean_prefix(prefix), os.path.abspath(directory)
            except ConfigError as error:
                raise ConfigError(f"--static: {error}") from None
            self._directories.append(pair)
        self._directories.sort(key=lambda pair: -len(pair[0]))

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        for prefix, directory in self._directories:
            if not is_below(path, prefix):
                continue
            found = _resolve(directory, path[len(prefix) :])
            if found is None:
                continue
            try:
                file = _open(found)
            except PermissionError:
                environ["wsgi.errors"].write(f"--static: no permission to read {found!r}\n")
                return _forbid(environ, start_response)
            if file is None:
                continue
            try:
                return _serve(file, found, environ, start_response)
            except BaseException:
                file.close()
                raise
        return self._application(environ, start_response)


def _resolve(directory: str, path: str) -> str | None:
    """Where the file is that `path` names, all links resolved; None if nobody may have it."""
    name = os.fsdecode(path.encode("latin-1"))[1:]
    if not name or name.endswith("/") or "\0" in name:
        return None
    if any(part.startswith(".") and part != ".well-known" for part in name.split("/")):
        return None
    joined = safe_join(directory, name)
    if joined is None:
        return None
    root, found = os.path.realpath(directory), os.path.realpath(joined)
    return found if found.startswith(root.rstrip("/") + "/") else None


def _open(path: str) -> BinaryIO | None:
    """A plain file, opened; None for anything else.

    :raises PermissionError: it is there, but not for us.
    """
    try:
        file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | _FLAGS))  # noqa: SIM115
    except OSError as error:
        if error.errno in _NO_FILE:
            return None
        raise
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    return None


def _serve(
    file: BinaryIO, path: str, environ: Environ, start_response: StartResponse
) -> Iterable[bytes]:
    """Answer with `file`, which is closed here or by what is returned."""
    method = environ["REQUEST_METHOD"]
    if method not in ("GET", "HEAD"):
        file.close()
        return refuse_method(("GET",), environ, start_response)
    status = os.fstat(file.fileno())
    size = status.st_size
    etag = f'"{status.st_mtime_ns:x}-{size:x}"'
    changed = http_date(status.st_mtime)
    headers: Fields = [
        ("Last-Modified", changed),
        ("ETag", etag),
        ("Cache-Control", "no-cache"),
    ]
    if line := _judge_conditions(environ, etag, changed):
        file.close()
        start_response(line, headers)
        return []
    headers += [
        ("Content-Type", _content_type(path)),
        ("X-Content-Type-Options", "nosniff"),
        ("Accept-Ranges", "bytes"),
    ]
    start, stop, line = 0, size, "200 OK"
    # Range is for GET alone, and If-Range wants the very same (RFC 9110 §14.2, §13.1.5).
    if method == "GET" and environ.get("HTTP_IF_RANGE", etag) in (etag, changed):
        part = _range(environ.get("HTTP_RANGE"), size)
        if part == _OUTSIDE:
            file.close()
            outside = [("Content-Range", f"bytes */{size}"), ("Content-Length", "0")]
            start_response("416 Range Not Satisfiable", outside)
            return []
        if part is not None:
            start, stop = part
            line = "206 Partial Content"
            headers.append(("Content-Range", f"bytes {start}-{stop - 1}/{size}"))
    start_response(line, [*headers, ("Content-Length", str(stop - start))])
    if method == "HEAD":
        file.close()
        return []
    file.seek(start)
    wrapper = environ.get("wsgi.file_wrapper")
    if wrapper not in (None, FileWrapper) and stop == size:
        wrapped: Iterable[bytes] = wrapper(file)
        return wrapped
    # A stranger's wrapper would give all up to the file's end to who reads it.
    limited = FileWrapper(file)
    limited.size = stop - start
    return limited


def _judge_conditions(environ: Environ, etag: str, changed: str) -> str:
    """The status line that RFC 9110 §13.2.2 wants instead of the file, "" if none."""
    tag = etag.strip('"')
    if_match = parse_etags(environ.get("HTTP_IF_MATCH"))
    if if_match and not if_match.contains(tag):
        return "412 Precondition Failed"
    since = environ.get("HTTP_IF_MODIFIED_SINCE")
    try:
        parse_date(since)
    except OverflowError:  # years and zones that no date has; a wrong one is ignored
        since = None
    is_modified = is_resource_modified(
        http_if_modified_since=since,
        http_if_none_match=environ.get("HTTP_IF_NONE_MATCH"),
        etag=etag,
        last_modified=changed,
    )
    return "" if is_modified else "304 Not Modified"


_OUTSIDE = (0, 0)


def _range(value: str | None, size: int) -> tuple[int, int] | None:
    """The part that a Range field asks for; None for all, `_OUTSIDE` for what is not there."""
    asked = parse_range_header(value)
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1 or not size:
        return None
    start, _ = asked.ranges[0]
    if start is not None and start < -size:
        return 0, size  # a suffix may be longer than the file (RFC 9110 §14.1.2)
    return asked.range_for_length(size) or _OUTSIDE


def _content_type(path: str) -> str:
    kind, encoding = mimetypes.guess_type(path)
    kind = _TYPES.get(os.path.splitext(path)[1].lower(), kind)
    if encoding is not None:  # an archive to be kept, not a Content-Encoding to be undone
        return "application/gzip" if encoding == "gzip" else "application/octet-stream"
    full: str = get_content_type(kind or "application/octet-stream", "utf-8")
    return full


def _forbid(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    body = b"403 Forbidden\n"
    kind = ("Content-Type", "text/plain; charset=utf-8")
    start_response("403 Forbidden", [kind, ("Content-Length", str(len(body)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
