"""What this process takes of the system, as that counts it."""

from __future__ import annotations

import contextlib
import math
import os

__all__ = ["open_files", "resident_memory"]


def resident_memory() -> float:
    """Bytes of memory that this process has. NaN where the system does not say (macOS)."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return float(int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE"))
    except (OSError, ValueError, IndexError):
        return math.nan


def open_files() -> float:
    """How many descriptors this process has open. NaN where the system does not say.

    Ten thousand of them take milliseconds where the system has no count: before Linux 6.2.
    """
    with contextlib.suppress(OSError):
        # A list has the one that it is made with.
        return float(os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd")) - 1)
    with contextlib.suppress(OSError):
        return float(len(os.listdir("/dev/fd")) - 1)
    return math.nan
