"""What a file that was touched means: under mod_wsgi that reloads it, here it is said how to."""

from __future__ import annotations

import os
from collections.abc import Iterable

from wsgi_async.applications.composition import named_files
from wsgi_async.config.sources import Settings

__all__ = ["Scripts"]


class Scripts:
    """*In the parent:* the files that applications are loaded from, as they were when last seen."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def follow(self, settings: Settings, directory: str) -> bool:
        """From now on look at the files that these options name.

        :param directory: where the processes run.
        :returns: whether there are any.
        """
        self._seen = _times(named_files(settings, directory))
        return bool(self._seen)

    def look(self) -> list[str]:
        """The files that have changed since the last look: each change is told once."""
        now = _times(self._seen)
        changed = [path for path, time in now.items() if time != self._seen[path]]
        self._seen |= now
        return changed


def _times(paths: Iterable[str]) -> dict[str, int]:
    """When each was changed; without those that are not there, as they are while they are being
    replaced."""
    found = {}
    for path in paths:
        try:
            found[path] = os.stat(path).st_mtime_ns
        except (OSError, ValueError):
            continue
    return found
