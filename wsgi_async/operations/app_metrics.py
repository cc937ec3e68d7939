"""The application's own prometheus_client metrics, of all processes, without files.

The parent makes one :class:`ApplicationMetrics` before it forks. Then it is called

* in a process that is about to import the application: :meth:`~ApplicationMetrics.install`;
* in a process that serves: :meth:`~ApplicationMetrics.answer`, whenever it is asked;
* in the operations process: :meth:`~ApplicationMetrics.collector`, for its registry.

Each may come in any process that has been forked since, and none needs another one to be there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import REGISTRY, Collector

from wsgi_async.errors import ConfigError
from wsgi_async.logs.observer import LogObserver

from .answers import METRICS
from .app_arena import Arena
from .app_families import asked_of, infos_of, union, unwired
from .app_totals import fold, merge
from .app_values import install
from .asking import Asking, Reply

__all__ = ["PATIENCE", "ApplicationCollector", "ApplicationMetrics"]

PATIENCE = 1.0
"""Seconds that a scrape waits for processes, at most."""

OURS = "wsgi_async_"
"""How the names of the server's own metrics begin: the application has none like that."""

_FILES: Callable[[None, str], Any] = MultiProcessCollector

Warn = Callable[[str], object]


class ApplicationMetrics:
    """See the module.

    :param collectors: what to ask for in one process alone: names of classes of collectors, or of
        one of their metrics.
    :raises ConfigError: the system does not give the memory.
    """

    def __init__(self, collectors: Sequence[str] = ()) -> None:
        self._collectors = tuple(collectors)
        try:
            self._arena = Arena(fold)
        except OSError as error:
            raise ConfigError(
                f"--metrics-bind: no memory for metrics of the application: {error.strerror}"
            ) from None
        self._directory = ""

    def install(self, environ: MutableMapping[str, str], warn: Warn) -> None:
        """*Before the application is imported:* have its metrics counted where all see them.

        Where PROMETHEUS_MULTIPROC_DIR is set nothing is installed: the library writes its files,
        and the exposition is of them.

        :param environ: the process's environment, as the application finds it.
        :param warn: told of what others say as well, if they are asked to.
        """
        self._directory = install(self._arena, environ, warn, self._warn_later)
        if self._directory:
            warn(
                f"PROMETHEUS_MULTIPROC_DIR is set: metrics of the application are files in "
                f"{self._directory!r}, as prometheus_client writes them; without it they need none"
            )

    @staticmethod
    def _warn_later(text: str) -> None:
        """*Any thread of the application.*"""
        LogObserver().warning(text)

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """*In a process that serves:* what it has of it, and nobody else. See
        :data:`.exchange.Answer`.

        :param question: with ``names``, what is to be asked for in this process alone.
        """
        families, failed = asked_of(REGISTRY, question.get("names", ()))
        return {
            "infos": infos_of(REGISTRY),
            "asked": families,
            "failed": failed,
            "directory": self._directory,
        }

    def collector(self, asking: Asking, warn: Warn) -> ApplicationCollector:
        """*In the operations process:* what a registry can collect.

        :param asking: asks the processes that serve.
        :param warn: told, once of each, what cannot be shown. *Any thread.*
        """
        return ApplicationCollector(self._arena, asking, self._collectors, warn)

    def close(self) -> None:
        """This process has no more to do with it."""
        self._arena.close()


class ApplicationCollector(Collector):
    """*In the operations process:* the metrics of the application. *Any thread.*

    Who asks while it collects gets what comes of that.
    """

    def __init__(self, arena: Arena, asking: Asking, names: Sequence[str], warn: Warn) -> None:
        self._arena = arena
        self._asking = asking
        self._names = names
        self._warn = warn
        self._told: set[str] = set()
        self._directories: set[str] = set()
        self._lock = threading.Lock()
        self._began = 0.0
        self._found: list[Metric] = []

    def describe(self) -> Iterable[Metric]:
        """Nobody knows before; a registry would ask for it all."""
        return []

    def collect(self) -> Iterable[Metric]:
        asked_at = time.monotonic()
        with self._lock:
            if self._began < asked_at:
                self._began = time.monotonic()
                self._found = self._collect()
            return self._found

    def _collect(self) -> list[Metric]:
        replies = self._asking.ask(METRICS, patience=PATIENCE, in_one={"names": self._names})
        answers = [reply.answer for reply in replies if reply.answer is not None]
        snapshot = self._arena.snapshot()
        metrics, left_out = merge(snapshot.living, snapshot.left)
        missing = sum(self._is_missing(reply) for reply in replies)
        if answers:  # else they are what they were
            self._directories = {str(answer.get("directory") or "") for answer in answers} - {""}
        for directory in sorted(self._directories):
            found = self._files(directory)
            missing += found is None
            metrics += found or []
        families = {metric.name: metric for metric in metrics}
        for info in union(unwired(answer.get("infos")) for answer in answers):
            families.setdefault(info.name, info)
        for answer in answers:
            # The process's own word on it, where a gauge has a function for example.
            families.update({family.name: family for family in unwired(answer.get("asked"))})
        if self._names and not any(answer.get("asked") for answer in answers):
            self._say(f"No process has a collector {', '.join(self._names)} that answers")
        shown = [family for family in families.values() if not family.name.startswith(OURS)]
        return [
            *shown,
            GaugeMetricFamily(
                "wsgi_async_scrape_missing_processes",
                "Processes that did not answer this scrape in time, or well: their Info metrics, "
                "or the collectors asked in them, are missing.",
                missing,
            ),
            GaugeMetricFamily(
                "wsgi_async_application_samples_refused",
                "Samples of metrics of the application that are not shown, for want of room.",
                snapshot.refused + left_out,
            ),
        ]

    def _is_missing(self, reply: Reply) -> bool:
        answer: Mapping[str, Any] = reply.answer or {"error": ""}
        for problem in filter(None, (answer.get("error"), *(answer.get("failed") or ()))):
            self._say(f"Metrics of the application in process {reply.pid}: {problem}")
        return "error" in answer or bool(answer.get("failed"))

    def _files(self, directory: str) -> list[Metric] | None:
        """What the library has written, merged by it; None where that fails."""
        try:
            collector: Any = _FILES(None, directory)
            return list(collector.collect())
        except Exception as error:  # the files of a library are what they are
            self._say(f"The metrics in {directory!r} cannot be read: {error!r}")
            return None

    def _say(self, what: str) -> None:
        if what not in self._told and len(self._told) < 100:
            self._told.add(what)
            self._warn(what)
