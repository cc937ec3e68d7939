"""The words of the harness: what a scenario measures, and what it is told about a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Load", "Running", "Sample", "Scenario", "WrongAnswer"]


class WrongAnswer(Exception):
    """A server did not answer as the application says it must: its figures are void."""


@dataclass(frozen=True)
class Sample:
    """What one server did in one round of one scenario."""

    value: float
    """The figure that is compared, in the scenario's unit."""
    p50: float | None = None
    """Median latency in milliseconds, where it was measured."""
    p99: float | None = None
    errors: int = 0
    """Failed requests; the figures count only what succeeded."""
    extra: Mapping[str, float] = field(default_factory=dict)
    """Whatever else is worth recording, by name."""


class Running(Protocol):
    """A server that is running, as far as a scenario knows it."""

    name: str
    """Of its template, as ``granian``."""
    port: int
    """On 127.0.0.1."""
    threads: int
    """How many threads it was told to use."""
    tls: bool
    """It speaks TLS, and nothing else."""

    def memory(self) -> int:
        """Bytes of its processes in RAM now (Pss where it can be read, else Rss)."""

    def descriptors(self) -> int:
        """Open descriptors of its processes now."""

    def cpu(self) -> float:
        """Seconds that its processes have been on a processor so far."""


@dataclass(frozen=True)
class Load:
    """How to put a load on a server."""

    seconds: float
    """How long one measurement takes."""
    pin: tuple[str, ...]
    """Put before a command to run it on the load's core, as ``("taskset", "-c", "1")``; may be
    empty."""
    python: str
    """The interpreter for clients of the harness's own: the one that runs the harness."""


@dataclass(frozen=True)
class Scenario:
    """One kind of work, the same for every server."""

    name: str
    about: str
    """One sentence for the report."""
    application: str
    """The name in ``benchmarks.apps``, or with another module as ``live:flask``."""
    unit: str
    """``requests/s``, ``MB/s``, ``ms``, ``bytes`` or ``ratio``, for one."""
    measure: Callable[[Running, Load], Sample]
    """Checks the answer first, then measures.

    :raises WrongAnswer: the answer is not the right one.
    """
    more_is_better: bool = True
    applications: Mapping[str, str] = field(default_factory=dict)
    """By server template, where the same work has another form there."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Further options by server template, as ``{"wsgi_async": "--request-buffering stream"}``."""
    servers: tuple[str, ...] | None = None
    """Templates it makes sense for; None for all."""
    also: tuple[str, ...] = ()
    """Templates that are measured here although they are not among the default ones."""
    tls: bool = False
    """Over TLS; who has none is left out by name."""
    pinned: bool = True
    """The server has a core of its own; False where server and load may use all."""
    starts_itself: bool = False
    """True where the scenario measures the start, and `measure` is given a server that has only
    just been launched: its port may not answer yet."""

    def target(self, template: str) -> str:
        """What the server of that template is told to serve, as ``benchmarks.apps:hello``."""
        module, _, name = self.applications.get(template, self.application).rpartition(":")
        return f"benchmarks.{module or 'apps'}:{name}"
