"""The files of a profile: collapsed stacks, speedscope's JSON, and a flame graph."""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import Any

from wsgi_async.operations.flame import collapsed, flame_graph, hottest, speedscope, summary

from .exits import Exit, Failed
from .in_flight import missing_lines
from .text import Column, Screen, clean, listed, table

__all__ = ["Files", "describe_profile"]

_COLUMNS = (Column("OWN"), Column("WITH CALLS"), Column("FUNCTION", is_right=False))
_SHOWN = 10
"""Functions."""


def describe_profile(profile: dict[str, Any], files: Files, screen: Screen) -> list[str]:
    """What was sampled and what that has cost, where most of the time went, and the files."""
    lines = listed("", clean(summary(profile)).split(", "), screen)
    whole = sum(profile["samples"].values())
    if whole:
        rows = [
            [f"{each.own / whole:.1%}", f"{each.total / whole:.1%}", clean(each.name)]
            for each in hottest(profile, _SHOWN)
        ]
        lines += ["", *table(_COLUMNS, rows, screen)]
    else:
        lines += ["", "No thread was in the application meanwhile"]
    lines += ["", *(clean(path) for path in files.paths)]
    failed = [
        {**process, "why": process["error"]}
        for process in profile.get("processes") or ()
        if process.get("error")
    ]
    missing = missing_lines({"missing": [*failed, *(profile.get("missing") or ())]}, screen)
    return [*lines, "", *missing] if missing else lines


class Files:
    """Three files of one name, which are empty until there is a profile: that they cannot be
    written is known before a minute has gone by.

    :param prefix: of their names; "" makes one of the time.
    :raises Failed: they cannot be made.
    """

    def __init__(self, prefix: str) -> None:
        prefix = prefix or time.strftime("profile-%Y%m%d-%H%M%S")
        self.collapsed = f"{prefix}.txt"
        self.speedscope = f"{prefix}.speedscope.json"
        self.flame_graph = f"{prefix}.svg"
        self._new: list[str] = []
        try:
            for path in self.paths:
                if not os.path.exists(path):
                    self._new.append(path)
                with open(path, "a", encoding="utf-8"):
                    pass
        except OSError as error:
            self.discard()
            raise self._cannot(error) from None

    @property
    def paths(self) -> tuple[str, str, str]:
        """In the order in which they are told of."""
        return self.flame_graph, self.speedscope, self.collapsed

    def write(self, profile: dict[str, Any], title: str) -> None:
        """Write them.

        :param profile: what ``POST /profile`` has answered.
        :raises Failed: they cannot be written.
        """
        texts = {
            self.collapsed: collapsed(profile),
            self.speedscope: json.dumps(speedscope(profile, title)),
            self.flame_graph: flame_graph(profile, title),
        }
        try:
            for path, text in texts.items():
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
        except OSError as error:
            raise self._cannot(error) from None

    def discard(self) -> None:
        """There is no profile: remove those that were not there before."""
        for path in self._new:
            with contextlib.suppress(OSError):
                os.unlink(path)

    def _cannot(self, error: OSError) -> Failed:
        where = clean(error.filename or self.collapsed)
        return Failed(Exit.WRONG, f"Cannot write {where}: {error.strerror}; see -o PREFIX")
