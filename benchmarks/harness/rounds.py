"""The rounds: every server once per scenario and round, one after the other, so that whatever
changes on the machine meanwhile changes for all. Which of two checkouts goes first is drawn by lot.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TextIO

from .model import Load, Sample, Scenario, WrongAnswer
from .processes import NOWHERE, NotStarted, Server, pins
from .record import Row
from .servers import Interpreter, Template
from .units import figure_text, memory_text

__all__ = ["Contender", "Plan", "measure"]

PATIENCE = 120.0
"""Seconds that one measurement may take beyond ten times what it was asked to."""


ENDING = 0.2
"""Seconds in which a server that failed may end: its sockets close before the process is gone."""


class Overdue(BaseException):
    """A measurement does not end. Not an Exception: a client's own handlers must not take it."""


@dataclass(frozen=True)
class Contender:
    """A server that is measured, under the name that the report gives it."""

    label: str
    template: Template
    directory: Path
    """It is started here; the modules here are the ones it gets."""
    only_also: bool = False
    """It takes part in the scenarios that name it as one of `Scenario.also`, and in no others."""
    partner: str = ""
    """The label of the one before it in the plan that it is compared with: they are measured one
    right after the other."""


@dataclass(frozen=True)
class Plan:
    """What is measured, and how."""

    contenders: Sequence[Contender]
    scenarios: Mapping[str, Scenario]
    python: Interpreter
    rounds: int
    seconds: float
    threads: int

    enough: Callable[[str, int], bool] = lambda scenario, number: False
    """Asked after each round of a scenario whether it may be the last."""
    lots: random.Random = field(default_factory=random.SystemRandom)
    """Draws which of two partners goes first. Where chance alone decides, what the machine does
    meanwhile is as likely to help the one as the other, whatever it is; with a fixed order, and be
    it A B B A, something of the same rhythm helps one of them in each round."""

    @property
    def most(self) -> int:
        """How many steps there are if no scenario ends early."""
        return self.rounds * sum(len(self._there(one)) for one in self.scenarios.values())

    def _there(self, scenario: Scenario) -> list[Contender]:
        return [
            contender
            for contender in self.contenders
            if contender.template.suits(scenario)
            and (not contender.only_also or contender.template.name in scenario.also)
        ]

    def steps(self) -> Iterator[tuple[Scenario, int, Contender]]:
        """In order. Each round begins with another server, and every other one goes backwards, so
        that none always follows the same one or is always the first of a scenario."""
        for scenario in self.scenarios.values():
            groups: list[list[Contender]] = []
            for contender in self._there(scenario):
                if contender.partner:
                    groups[-1].append(contender)
                else:
                    groups.append([contender])
            for number in range(1, self.rounds + 1):
                first = (number - 1) * len(groups) // self.rounds
                order = groups[first:] + groups[:first]
                if number % 2 == 0 and len(order) > 2:  # of two, turning makes another first
                    order.reverse()
                for group in order:
                    for contender in self.lots.sample(group, len(group)):
                        yield scenario, number, contender
                if self.enough(scenario.name, number):
                    break


def measure(plan: Plan, *, progress: TextIO = sys.stderr) -> Iterator[Row]:
    """Go through the plan; a row for each step, as soon as it is known.

    A server whose answer was wrong or that did not start has no further rounds of that scenario.
    """
    most = plan.most
    hopeless: set[tuple[str, str]] = set()
    began = time.monotonic()
    for done, (scenario, number, contender) in enumerate(plan.steps()):
        if (scenario.name, contender.label) in hopeless:
            continue
        row, again = _row(plan, scenario, number, contender)
        if not again:
            hopeless.add((scenario.name, contender.label))
        elapsed = time.monotonic() - began
        left = elapsed / (done + 1) * (most - done - 1)
        line = _line(row, scenario, plan)
        print(f"[{done + 1}/{most}, {left / 60:.0f} min left] {line}", file=progress)
        yield row


def _line(row: Row, scenario: Scenario, plan: Plan) -> str:
    what = f"{row.scenario} {row.round}/{plan.rounds} {row.server}:"
    if row.value is None:
        return f"{what} void: {row.void}"
    parts = [f"{what} {figure_text(row.value, scenario.unit)}"]
    if row.p99 is not None:
        parts.append(f"p99 {row.p99:.3g} ms")
    if row.memory:
        parts.append(memory_text(row.memory))
    if row.errors:
        parts.append(f"{row.errors} FAILED")
    return ", ".join(parts)


def _row(plan: Plan, scenario: Scenario, number: int, contender: Contender) -> tuple[Row, bool]:
    """One step, and whether the next round is worth a try."""
    template = contender.template

    def void(why: str, wrong: bool = False) -> Row:
        return Row(scenario.name, contender.label, number, void=why[:300], wrong=wrong)

    with Server(template.name, plan.threads, scenario.tls) as server:
        command = template.fill(
            port=server.port,
            threads=plan.threads,
            app=scenario.target(template.name),
            options=template.options(scenario),
            python=plan.python,
        )
        where = pins() if scenario.pinned else NOWHERE
        load = Load(plan.seconds, where.load, sys.executable)
        try:
            server.start([*where.server, *command], contender.directory)
            if not scenario.starts_itself:
                server.wait()
        except (NotStarted, OSError) as error:
            return void(str(error)), False
        try:
            with _patience(PATIENCE + 10 * plan.seconds):
                sample = scenario.measure(server, load)
            memory = server.memory()
            server.check()
        except Overdue:
            return void("the measurement did not end"), False
        except Exception as error:  # whatever it is, the other measurements must not be lost
            if (ended := _ended(server)) is not None:
                return void(ended), True
            if isinstance(error, WrongAnswer):
                return void(f"wrong answer: {error}", wrong=True), False
            return void(f"{type(error).__name__}: {error}"), True
    return _sampled(scenario, contender, number, sample, memory), True


def _ended(server: Server) -> str | None:
    """That the server has ended, if it has or is about to: the reason for everything else."""
    try:
        server.check(ENDING)
    except NotStarted as error:
        return str(error)
    return None


def _sampled(
    scenario: Scenario, contender: Contender, number: int, sample: Sample, memory: int
) -> Row:
    return Row(
        scenario.name,
        contender.label,
        number,
        value=sample.value,
        p50=sample.p50,
        p99=sample.p99,
        errors=sample.errors,
        memory=memory or None,
        extra=dict(sample.extra),
    )


@contextlib.contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """:raises Overdue: the block takes longer. Main thread only; a timer that is already set goes
    on afterwards."""

    def overdue(number: int, frame: FrameType | None) -> None:
        raise Overdue

    timer = signal.getitimer(signal.ITIMER_REAL)
    before = signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *timer)
