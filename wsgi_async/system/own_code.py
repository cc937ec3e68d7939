"""Which code is this package's own, and where in it applications are called. Any thread.

Frames are told by the file they come from: an application may change everything else.
"""

from __future__ import annotations

import os
from types import TracebackType

__all__ = ["CALLER", "calls_applications", "is_ours", "without_ours"]

_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep

CALLER = os.path.join(_PACKAGE, "wsgi", "calling.py")
"""Where the server calls applications."""

_BETWEEN = (
    *(os.path.join(_PACKAGE, name, "") for name in ("applications", "compat", "foreign")),
    os.path.join(_PACKAGE, "middleware", ""),
    os.path.join(_PACKAGE, "connection", "telling.py"),
)


def is_ours(filename: str) -> bool:
    """Whether a file is of this package."""
    return filename.startswith(_PACKAGE)


def calls_applications(filename: str) -> bool:
    """Whether a file of this package lies between :data:`CALLER` and an application, and calls it,
    as middleware does, and what looks at the environ for a subscriber."""
    return filename.startswith(_BETWEEN)


def without_ours(trace: TracebackType | None, others: tuple[str, ...] = ()) -> TracebackType | None:
    """A traceback from its first frame on that is not ours; None where all are.

    :param others: what else the names of files begin with that do not count.
    """
    skipped = (_PACKAGE, *others)
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(skipped):
        trace = trace.tb_next
    return trace
