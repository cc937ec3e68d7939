"""How a process's file descriptors are shared out, so that none is ever refused."""

from __future__ import annotations

from typing import NamedTuple

from wsgi_async.connection.connections import REFUSAL_MARGIN
from wsgi_async.errors import ConfigError

__all__ = ["DescriptorPlan", "plan_descriptors"]


class DescriptorPlan(NamedTuple):
    """How many of them are for what."""

    connections: int
    files: int
    """Temporary files and files being sent."""
    refusals: int
    """Connections beyond those that are open until they have read their 503."""
    unseen: int
    """Connections that are accepted and not counted yet, or closed and not gone yet."""


def plan_descriptors(limit: int, *, max_connections: int) -> DescriptorPlan:
    """Share out `limit` descriptors; a tenth is left to the application.

    :param limit: the soft RLIMIT_NOFILE.
    :param max_connections: what was asked for; 0 takes what there is.
    :raises ConfigError: `max_connections` cannot be had.
    """
    reserve = max(40, limit // 10)
    files = min(4096, limit // 4)
    refusals = min(REFUSAL_MARGIN, limit // 16)
    unseen = max(16, min(1024, limit // 8))
    possible = limit - reserve - files - refusals - unseen
    if possible < 1:
        raise ConfigError(f"{limit} open files are too few; raise the limit (ulimit -n)")
    if max_connections > possible:
        raise ConfigError(
            f"--max-connections {max_connections} does not fit into {limit} open files, "
            f"which allow {possible}; raise the limit (ulimit -n)"
        )
    return DescriptorPlan(max_connections or possible, files, refusals, unseen)
