"""The first requests of tests/corpus/ as front servers have them, and where the verdict on them in
variables is another than over HTTP."""

from __future__ import annotations

import re

from cgi_variables import Asked
from corpus import CASES, Case

from wsgi_async.http.tokens import TOKEN

__all__ = ["DIFFERENT", "OWN", "PORTED", "asked_in", "status_of"]

HEAD = re.compile(rf"(?:\r\n)?(\S+) (\S+) (\S+)\r\n((?:{TOKEN}:[^\r\n]*\r\n)*)\r\n")
"""What a front server can make variables of; whatever else there may be is for it to refuse."""


def asked_in(text: str) -> Asked | None:
    """The first request of a text, as a front server has it that checks nothing else; a head whose
    lines are not sound, or that has not come to its end, is none."""
    match = HEAD.match(text)
    if match is None:
        return None
    cut = [line.partition(":") for line in match[4].split("\r\n")[:-1]]
    lines = [(name, value.strip(" \t")) for name, _, value in cut]
    return Asked(match[2], match[1], match[3], lines)


DIFFERENCES: list[tuple[int | None, str, str]] = [
    (
        None,
        "SERVER_NAME stands in for it; a front server refuses who sends none, or says :authority",
        """
        connection: nothing is read after a bad request
        host: missing
        host: missing among others
        host: empty
        host: empty in 1.0
        request-line: 1.2 needs a Host like 1.1
        target: absolute-form does not excuse a missing Host
        """,
    ),
    (
        None,
        "the front server has met the expectation, or not",
        """
        connection: unknown expectation
        connection: unknown expectation beside the known one
        """,
    ),
    (
        None,
        "the front server speaks it",
        """
        request-line: 2.0
        request-line: 3.0 without Host
        """,
    ),
    (400, "likewise, but for what is asked", "request-line: the preface of HTTP/2"),
    (
        501,
        "likewise",
        "request-line: another major version goes before other faults",
    ),
    (
        None,
        "CONTENT_LENGTH is what the front server sends, whatever it has received",
        """
        transfer-encoding: CL.TE
        transfer-encoding: TE.CL
        transfer-encoding: a length of zero is a length
        """,
    ),
    (
        None,
        "whitespace around a value is not in the variable",
        """
        limits: whitespace around a value counts
        transfer-encoding: a tab after it
        transfer-encoding: a tab after it, in lower case, and a space
        transfer-encoding: a tab before it
        """,
    ),
    (
        400,
        "the path is decoded, and has a NUL that a front server refuses",
        "target: percent-encoding is left alone",
    ),
]
"""The verdict on variables, where it is another: a status or None, why, and the requests."""

DIFFERENT = {
    line.strip(): status for status, _, ids in DIFFERENCES for line in ids.strip().splitlines()
}
OWN = ("DOCUMENT_ROOT", "DOCUMENT_URI", "REDIRECT_STATUS", "REMOTE_USER", "REQUEST_SCHEME", "SCGI")
OWN += ("SERVER_ADDR", "wsgi_async.peer")
"""What a front server says, and nobody over HTTP."""

PORTED = [case for case in CASES if asked_in(case.raw.decode("latin-1")) is not None]


def status_of(case: Case) -> int | None:
    """Of the refusal that its first request gets over HTTP for its head; None: it gets none."""
    return case.status if not case.requests and not case.in_body else None
