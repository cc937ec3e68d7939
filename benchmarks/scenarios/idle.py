"""What idle connections cost: memory, and the speed of the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.harness.model import Load, Running, Sample, Scenario, WrongAnswer
from benchmarks.scenarios import programs
from benchmarks.scenarios.slow import compared

__all__ = ["SCENARIOS", "Idle"]


@dataclass(frozen=True)
class Idle:
    """Measures while connections are kept that have had one answer each."""

    connections: int = 10_000

    def __call__(self, server: Running, load: Load) -> Sample:
        memory: dict[str, float] = {}

        def meanwhile() -> Iterator[dict[str, float]]:
            before = server.memory()
            with programs.beside(server, load, "hold", connections=self.connections) as client:
                held = client.ready["held"]
                if not held:
                    raise WrongAnswer("it keeps no connection")
                memory["each"] = max(0, server.memory() - before) / held
                memory["refused"] = client.ready["refused"]
                extra = {"held": held}
                yield extra
                extra["still_there"] = client.finish()["held"]

        sample = compared(server, load, meanwhile)
        return Sample(
            value=memory["each"],
            errors=int(memory["refused"]),
            extra={**sample.extra, "speed": sample.value},
        )


SCENARIOS = (
    Scenario(
        name="idle",
        about="10,000 idle connections that have had one answer each: memory of the server's "
        "processes per connection.",
        application="mixed",
        unit="bytes",
        measure=Idle(),
        more_is_better=False,
    ),
)
