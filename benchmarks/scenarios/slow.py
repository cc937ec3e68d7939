"""What slow clients cost the others: heads that trickle, responses that nobody reads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from benchmarks import apps
from benchmarks.harness.model import Load, Running, Sample, Scenario, WrongAnswer
from benchmarks.scenarios import programs, wrk
from benchmarks.scenarios.answers import ask, expect

__all__ = ["SCENARIOS", "SlowHeads", "SlowReaders", "compared"]

FAST = 16
"""Connections of the fast clients."""
WARM_UP = 0.2
"""Seconds."""
PROMPT = 0.05
"""Seconds within which a server answers that has settled."""


def compared(
    server: Running, load: Load, meanwhile: Callable[[], Iterator[dict[str, float]]]
) -> Sample:
    """The rate of fast clients while something else goes on, as a part of what it is without:
    before it or after it, whichever is better.

    :param meanwhile: a generator that starts it, yields what is worth recording, and ends it.
    """
    expect(ask(server.port, tls=server.tls), apps.BODY)
    wrk.run(server, load, connections=FAST, seconds=min(WARM_UP, load.seconds))
    without = wrk.run(server, load, connections=FAST)
    if not without.succeeded:
        raise WrongAnswer("no response to the fast clients alone")
    with contextmanager(meanwhile)() as extra:
        beside = wrk.run(server, load, connections=FAST)
    after = wrk.run(server, load, connections=FAST)
    if without.refused or beside.refused:
        raise WrongAnswer("the fast clients got an error status")
    if after.rate > without.rate:
        without = after
    extra["rate_with"], extra["rate_without"] = beside.rate, without.rate
    if without.p99 is not None:
        extra["p99_without"] = without.p99
    return Sample(
        value=beside.rate / without.rate,
        p50=beside.p50,
        p99=beside.p99,
        errors=beside.errors,
        extra=extra,
    )


@dataclass(frozen=True)
class SlowHeads:
    """Measures beside clients that send a byte of a request's head each second."""

    clients: int = 500

    def __call__(self, server: Running, load: Load) -> Sample:
        def meanwhile() -> Iterator[dict[str, float]]:
            with programs.beside(server, load, "trickle", connections=self.clients) as client:
                extra = {"slow_clients": client.ready["held"]}
                yield extra
                extra["still_there"] = client.finish()["held"]

        return compared(server, load, meanwhile)


@dataclass(frozen=True)
class SlowReaders:
    """Measures beside clients that ask for a stream and do not read it: from the moment at which
    they have asked (``onset``), and once the server has settled (the value)."""

    clients: int = 64
    settling: float = 4.0
    """Seconds at most, after the onset, in which the server may deal with the responses that nobody
    reads."""

    def __call__(self, server: Running, load: Load) -> Sample:
        expect(ask(server.port, "/stream"), apps.BLOCK * apps.STREAM_BLOCKS)

        def meanwhile() -> Iterator[dict[str, float]]:
            options = {"path": "/large", "connections": self.clients}
            with programs.beside(server, load, "unread", **options) as client:
                begun = time.perf_counter()
                onset = wrk.run(server, load, connections=FAST)
                settle(server, self.settling)
                extra = {
                    "slow_clients": client.ready["held"],
                    "onset_rate": onset.rate,
                    "onset_failed": onset.errors,
                    "settled": time.perf_counter() - begun,
                    "memory": server.memory(),
                }
                yield extra
                extra["still_there"] = client.finish()["held"]

        sample = compared(server, load, meanwhile)
        extra = dict(sample.extra)
        extra["onset"] = extra["onset_rate"] / extra["rate_without"]
        failed = int(extra.pop("onset_failed"))
        return replace(sample, errors=sample.errors + failed, extra=extra)


def settle(server: Running, longest: float) -> None:
    """Wait until the server answers promptly, three times in a row, or so many seconds."""
    begun = time.perf_counter()
    prompt = 0
    while prompt < 3 and (elapsed := time.perf_counter() - begun) < longest:
        asked = time.perf_counter()
        try:
            ask(server.port, timeout=min(1.0, longest - elapsed))
        except WrongAnswer:
            prompt = 0
        else:
            prompt = prompt + 1 if time.perf_counter() - asked < PROMPT else 0
        if prompt:
            time.sleep(PROMPT)


def overflowing(way: str, about: str) -> Scenario:
    """What `slow-readers` is for the default of wsgi_async, for another ``--response-overflow``."""
    options = f"--response-overflow {way}"
    return Scenario(
        name=f"slow-readers-{way}",
        about=about,
        application="mixed",
        unit="ratio",
        measure=SlowReaders(),
        options={"wsgi_async": options},
        servers=("wsgi_async",),
    )


SCENARIOS = (
    Scenario(
        name="slow-heads",
        about="16 fast connections beside 500 clients that send a byte of a request's head each "
        "second: the part of the rate without these that is left.",
        application="mixed",
        unit="ratio",
        measure=SlowHeads(),
    ),
    Scenario(
        name="slow-readers",
        about="16 fast connections beside 64 clients that do not read a response of 256 MiB: the "
        "part of the rate without these that is left, from the onset and once it has settled. "
        "wsgi_async writes what it can to files (the default), as far as its bounds allow.",
        application="mixed",
        unit="ratio",
        measure=SlowReaders(),
    ),
    overflowing(
        "park",
        "The same for wsgi_async, told to suspend such responses instead of writing them to files.",
    ),
    overflowing(
        "block",
        "The same for wsgi_async, told to let the threads wait for the clients, as other servers "
        "do.",
    ),
)
