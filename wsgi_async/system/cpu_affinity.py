"""Which processor a process runs on, for ``--cpu-affinity``.

The loop's thread and the pool's take turns with the GIL. On processors of their own each turn waits
until the other one has woken up, and the processes of one server push each other aside; on one
processor they do not.
"""

from __future__ import annotations

import os

__all__ = ["CAN_PIN", "pin"]

CAN_PIN = hasattr(os, "sched_setaffinity")
"""Whether this system can (Linux)."""


def pin(place: int) -> None:
    """Keep this thread, and those it starts from now on, on one of the processors it may use.

    :param place: the process's, from 0: there may be more of them than processors.
    """
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processors[place % len(processors)]})
