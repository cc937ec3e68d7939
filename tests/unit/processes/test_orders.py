"""What the operations process may tell the parent."""

from __future__ import annotations

import pytest

from wsgi_async.events import Observer
from wsgi_async.processes.actions import Note
from wsgi_async.processes.channel import Word
from wsgi_async.processes.fleet import Fleet, TimeLimits
from wsgi_async.processes.orders import Orders
from wsgi_async.processes.states import FleetState


class Warned(Observer):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, message: str) -> None:
        self.lines.append(message)


class Told:
    """A fleet of two, and what becomes of it."""

    def __init__(self) -> None:
        self.fleet = Fleet(2, TimeLimits(60, 30, 30, 0, 5))
        self.reloads = 0
        self.observer = Warned()
        self.orders = Orders(self.fleet, self.reload, self.observer)

    def reload(self) -> None:
        self.reloads += 1

    def say(self, *lines: str) -> None:
        words = [Word(*line.partition(" ")[::2]) for line in lines]
        self.orders.obey(words, 1.0)


def test_each_is_obeyed() -> None:
    told = Told()
    told.say("beat", "reload", "scale 5", "scale 5", "scale 3")
    assert (told.reloads, told.fleet.wanted) == (1, 3)
    notes = [each.message for each in told.fleet.actions if isinstance(each, Note)]
    assert notes == ["Processes wanted: 5", "Processes wanted: 3"], "who has so many is left alone"
    told.say("drain")
    assert told.fleet.state is FleetState.STOPPING
    told.say("scale 7")
    assert told.fleet.wanted == 3
    assert told.observer.lines == []


@pytest.mark.parametrize(
    "line",
    [
        *("scale", "scale 0", "scale -1", "scale 1001", "scale ²", "scale 99999999999"),
        *("scale 2 3", "reload now", "drain 1", "", "stop", "serve", "\x00", "changed x"),
    ],
)
def test_garbage_is_ignored_and_said_once(line: str) -> None:
    """Whatever has become of that process, the others serve."""
    told = Told()
    told.say(line, line)
    told.say(line)
    assert (told.reloads, told.fleet.wanted, told.fleet.actions) == (0, 2, [])
    assert told.fleet.state is FleetState.STARTING
    assert len(told.observer.lines) == 1
