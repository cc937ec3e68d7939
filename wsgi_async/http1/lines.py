"""Where a line of HTTP/1.1 ends (RFC 9112 §2.2). Pure; any thread."""

from __future__ import annotations

import re

from wsgi_async.errors import HTTPError

__all__ = ["end_of_line"]

_CR_OR_LF = re.compile(rb"[\r\n]")


def end_of_line(
    data: bytes | bytearray, start: int, resume: int, stop: int, limit: int, error: tuple[int, str]
) -> int:
    """Find the end of the line that begins at `start`; only ``data[:stop]`` is looked at.

    :param resume: where the search goes on; nothing between `start` and it is CR or LF.
    :param limit: bytes the line may have without its CRLF.
    :param error: status and sentence of the :class:`HTTPError` for a longer line.
    :returns: the index of the CR of its CRLF, or -1 if the line is not complete.
    :raises HTTPError: `error`, or 400 for a CR or LF that is not part of a CRLF (RFC 9112 §2.2).

    Errors are found in the order of the bytes, so the answer for a stream never depends on how
    it was cut into pieces.
    """
    match = _CR_OR_LF.search(data, resume, stop)
    found = match.start() if match else stop
    if found - start > limit:
        raise HTTPError(*error)
    if match is None:
        return -1
    if data[found] != 0x0D:
        raise HTTPError(400, "A line ends in LF without CR")
    if found + 1 == stop:
        return -1
    if data[found + 1] != 0x0A:
        raise HTTPError(400, "A line contains CR")
    return found
