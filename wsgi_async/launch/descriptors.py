"""How many descriptors a process that serves may have open."""

from __future__ import annotations

import resource

__all__ = ["raise_descriptor_limit"]

MAX_DESCRIPTORS = 65536
"""The soft limit of open files is raised to the hard one, but not beyond this: some kernels'
hard limit is a thousand million, and tables grow with what is used."""


def raise_descriptor_limit() -> None:
    """*In a process that serves anything:* let it have as many descriptors open as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
