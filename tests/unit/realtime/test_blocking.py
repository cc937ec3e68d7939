"""Whether code blocks a loop: what is told of it, whenever the loop shows life."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from wsgi_async.realtime.blocking import BLOCKED, Blocking, Sight


def test_how_long_it_lasted_is_told_also_where_life_is_shown_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loop's thread may come back before the one that looks has had its answer."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    asked: list[Callable[[], object]] = []

    def call(show_life: Callable[[], object]) -> bool:
        asked.append(show_life)
        if len(asked) > 1:
            now[0] += 0.25
            show_life()
        return True

    blocking = Blocking(call)
    assert blocking.look() == (Sight.NOTHING, 0.0)
    now[0] += 2 * BLOCKED
    assert blocking.look() == (Sight.BLOCKED, 2 * BLOCKED)
    asked[0]()
    assert blocking.look() == (Sight.RECOVERED, 2 * BLOCKED)
    assert blocking.look() == (Sight.NOTHING, 0.25)
