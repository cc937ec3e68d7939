"""Values of prometheus_client's metrics that are in the memory of an :class:`~.app_arena.Arena`.

``prometheus_client.values.ValueClass`` is what a metric makes its values of, at its own making: one
class for a single process, another one for files of many. The class here does what that of files
does, and writes records instead: the same keys, and after a fork each value of the new process
begins at 0, in an area of its own, when the first of them is used there. So what a loader has
counted before it forks is counted once.

It is as that one in what it does not do: a value has no exemplar, and a series that is removed from
its metric stays in the exposition.
"""

from __future__ import annotations

import os
import threading
import weakref
from array import array
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

from .app_arena import Arena
from .app_records import Area
from .app_totals import key_of

__all__ = ["DIRECTORY", "Store", "install", "value_class"]

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable that has the library write files."""

_OLD_DIRECTORY = DIRECTORY.lower()
"""As it was named before; the library warns of it."""

Warn = Callable[[str], object]

_Slots = Any
"""A sequence of floats."""


class Store:
    """The values of a process, and where they are. *Any thread.*

    :param arena: the memory.
    :param warn: told once, in each process, that something is not counted.
    """

    def __init__(self, arena: Arena, warn: Warn) -> None:
        self.lock = threading.RLock()  # a garbage collection may end in a count
        self.life = 1
        """Changes at a fork: what was known before is the parent's."""
        self._arena = arena
        self._warn = warn
        self._area: Area | None = None
        self._begun = 0
        """The life for which there is an area, if there is any."""
        self._is_full = 0
        """The life in which it has been said that there is no more room."""
        self._places: dict[bytes, int] = {}
        self._doubts: list[str] = []
        _stores.add(self)

    def forked(self) -> None:
        """*In a new process, its only thread.*"""
        self.lock = threading.RLock()  # somebody may have held the other one
        self.life += 1

    def place(self, key: bytes) -> tuple[_Slots, int]:
        """Where a value is, with its timestamp behind it. To be called with the lock, and then
        :meth:`tell` without it."""
        if self._begun != self.life:
            self._begin()
        at = self._places.get(key)
        if at is None:
            at = self._append(key)
        if at is None or self._area is None:
            return array("d", (0.0, 0.0)), 0  # this process's own
        return self._area.values, at

    def tell(self) -> None:
        """Say what is to be said. Whoever hears it may wait for a thread that counts."""
        while self._doubts:
            self._warn(self._doubts.pop())

    def _begin(self) -> None:
        """The first value is used in this process: all of them begin here."""
        keys, self._places = list(self._places), {}
        self._begun = self.life
        self._area = self._arena.claim()
        if self._area is None:
            self._doubts.append(
                f"Metrics of the application in process {os.getpid()} are not shown: "
                f"there is no room beside {self._arena.capacity} processes with some, or the "
                "application has closed a descriptor of the server"
            )
        for key in keys:
            self._append(key)

    def _append(self, key: bytes) -> int | None:
        if self._area is None:
            self._arena.refuse()
            return None
        at = self._area.append(key)
        if at is None:
            self._refused()
        else:
            self._places[key] = at
        return at

    def _refused(self) -> None:
        if self._is_full != self.life:
            self._is_full = self.life
            self._doubts.append(
                f"Process {os.getpid()} has more samples of metrics of the application "
                f"than the {len(self._places)} that there is room for; new ones are not shown. "
                "Is the value of a label chosen by clients?"
            )


_stores: weakref.WeakSet[Store] = weakref.WeakSet()


def _in_child() -> None:
    for store in _stores:
        store.forked()


os.register_at_fork(after_in_child=_in_child)


def value_class(store: Store) -> type:
    """What the values of metrics are to be made of."""

    class Value:
        """A float that all processes see. *Any thread.*"""

        __slots__ = ("_at", "_key", "_life", "_slots")

        _multiprocess = True

        def __init__(
            self,
            typ: str,
            metric_name: str,
            name: str,
            labelnames: Sequence[str],
            labelvalues: Sequence[str],
            help_text: str,
            multiprocess_mode: str = "",
            **kwargs: Any,
        ) -> None:
            mode = multiprocess_mode if typ == "gauge" else ""
            self._key = key_of(typ, mode, metric_name, name, labelnames, labelvalues, help_text)
            self._settle()

        def _settle(self) -> None:
            with store.lock:
                self._slots, self._at = store.place(self._key)
                self._life = store.life  # last: whoever sees it takes the lock after this
            store.tell()

        def inc(self, amount: float) -> None:
            if self._life != store.life:
                self._settle()
            with store.lock:
                slots, at = self._slots, self._at
                slots[at] += amount
                slots[at + 1] = 0.0

        def set(self, value: float, timestamp: float | None = None) -> None:
            if self._life != store.life:
                self._settle()
            with store.lock:
                slots, at = self._slots, self._at
                slots[at] = value
                slots[at + 1] = timestamp or 0.0

        def get(self) -> float:
            if self._life != store.life:
                self._settle()
            with store.lock:
                value: float = self._slots[self._at]
                return value

        def set_exemplar(self, exemplar: object) -> None:
            """There are none where there are many processes."""

        def get_exemplar(self) -> None:
            """There are none where there are many processes."""

    return Value


def directory_of(environ: Mapping[str, str]) -> str:
    """Where the library writes files; empty where it writes none."""
    return environ.get(DIRECTORY) or environ.get(_OLD_DIRECTORY) or ""


def install(arena: Arena, environ: MutableMapping[str, str], warn: Warn, warn_later: Warn) -> str:
    """Have the metrics of the application counted in `arena`, before it is imported.

    :param environ: the process's environment, as the application finds it.
    :param warn: told at once of what is not counted.
    :param warn_later: told of it later, by any thread.
    :returns: the directory of the library's files, where it is to write some instead.
    """
    from prometheus_client import REGISTRY, metrics, values

    early = sum(
        isinstance(collector, metrics.MetricWrapperBase)
        and not isinstance(collector, metrics.Info | metrics.Enum)
        for collector in REGISTRY._collector_to_names
    )
    if early and not getattr(values.ValueClass, "_multiprocess", False):
        warn(
            f"{early} metrics were made before the server was started: /metrics shows "
            "those only that are made while a serving process loads the application"
        )
    directory = directory_of(environ)
    if not directory:
        values.ValueClass = value_class(Store(arena, warn_later))
    elif not getattr(values.ValueClass, "_multiprocess", False):
        # The variable is set for the application alone, and the library has been imported before.
        choose: Callable[[], type] = values.get_value_class
        values.ValueClass = choose()
    return directory
