"""What the parent writes down of its processes for others to read."""

from __future__ import annotations

from wsgi_async.launch.handed import RECORD_EVERY, _Recorder
from wsgi_async.processes.fleet import Fleet, TimeLimits
from wsgi_async.scoreboard.register import Register


def test_changes_are_written_at_once_and_signs_of_life_now_and_then() -> None:
    """Of a hundred processes a hundred signs come each second."""
    now = [0.0]
    register = Register()
    recorder = _Recorder(register, lambda: now[0])
    fleet = Fleet(2, TimeLimits(60, 30, 30, 0, 5))
    fleet.start(0.0)
    recorder.take(fleet.census())
    assert [row.state for row in register.processes()] == ["booting", "booting"]
    first, second = fleet.processes
    fleet.ready(first, 0.01)
    recorder.take(fleet.census())
    assert [row.state for row in register.processes()] == ["ready", "booting"]
    second.heard_at = 0.02
    recorder.take(fleet.census())
    assert register.processes()[1].heard != 0.02
    now[0] = RECORD_EVERY
    recorder.take(fleet.census())
    assert register.processes()[1].heard == 0.02
    fleet.change_wanted(1, 1.0)
    recorder.take(fleet.census())
    assert (register.fleet().wanted, len(register.processes())) == (3, 3)
