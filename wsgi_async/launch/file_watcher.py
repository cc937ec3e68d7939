"""The process that tells the supervisor of changed source files, for ``--reload``."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from wsgi_async.errors import ConfigError
from wsgi_async.processes import Channel

if TYPE_CHECKING:
    from watchfiles import Change

__all__ = ["Watcher"]


def matches(path: str, patterns: Sequence[str]) -> bool:
    """Whether the file's name, the end of its path, or its path is as one of `patterns`."""
    ends = (os.path.join("*", os.path.normpath(pattern)) for pattern in patterns)
    return any(fnmatch(path, end) for end in ends)


class Watcher:
    """What is watched.

    :param directories: they and all below them, but for hidden ones, caches and virtual
        environments.
    :param patterns: of names or paths of files, besides ``*.py``.
    :raises ConfigError: a directory does not exist, or watchfiles is not installed.
    """

    def __init__(self, directories: Sequence[str], patterns: Sequence[str]) -> None:
        if importlib.util.find_spec("watchfiles") is None:
            raise ConfigError("--reload needs watchfiles: pip install 'wsgi_async[reload]'")
        for directory in directories:
            if not os.path.isdir(directory):
                raise ConfigError(f"--reload-dir: there is no directory {directory!r}")
        self._directories = directories
        self._patterns = ("*.py", *patterns)

    def watch(self, channel: Channel) -> int:
        """*In a process of its own:* say ``watching`` once no change is missed any more, and then
        ``changed`` with a name after each batch of changes, until the supervisor has gone."""
        parent = os.getppid()  # before what takes its time: it may be killed meanwhile
        from watchfiles import DefaultFilter, watch

        known = DefaultFilter()

        def matters(change: Change, path: str) -> bool:
            return matches(path, self._patterns) and known(change, path)

        for changes in watch(
            *self._directories,
            watch_filter=matters,
            rust_timeout=0,
            stop_event=_SupervisorGone(channel, parent),
            raise_interrupt=False,
        ):
            channel.say("changed", min(path for _, path in changes))
        return 0


class _SupervisorGone:
    """The event that ends the watching. It is asked every 50 ms, and only once the watching has
    begun, which it tells the supervisor."""

    def __init__(self, channel: Channel, supervisor: int) -> None:
        self._channel = channel
        self._supervisor = supervisor
        self._has_told = False

    def is_set(self) -> bool:
        if not self._has_told:
            self._has_told = True
            self._channel.say("watching")
        return os.getppid() != self._supervisor
