"""How a server obeys: what each kind of stop does to it, and what a later one does."""

from __future__ import annotations

import asyncio

import pytest

from wsgi_async.server.stopping import Stop, obey

FOREVER = 3600.0


class Obedient:
    """A server that stops once it is forced, or at once where nothing is in flight."""

    def __init__(self, *, is_busy: bool = False) -> None:
        self.heard: list[str] = []
        self._forced = asyncio.Event()
        if not is_busy:
            self._forced.set()

    def leave(self) -> None:
        self.heard.append("leave")

    async def stop(self, *, linger: float = 0.0) -> int:
        self.heard.append(f"stop {linger:g}")
        await self._forced.wait()
        return 3

    def hurry(self) -> None:
        self.heard.append("hurry")

    def force(self) -> None:
        self.heard.append("force")
        self._forced.set()


async def heard(*stops: Stop, drain_delay: float, is_busy: bool = False) -> list[str]:
    server = Obedient(is_busy=is_busy)
    queue: asyncio.Queue[Stop] = asyncio.Queue()
    for kind in stops:
        queue.put_nowait(kind)
    stuck = await asyncio.wait_for(obey(server, queue, drain_delay=drain_delay, linger=7.0), 10)
    assert stuck == 3
    return server.heard


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("kind", "stop"), [(Stop.RETIRE, "stop 7"), (Stop.NOW, "stop 0")], ids=lambda part: str(part)
)
async def test_only_a_drain_is_delayed(kind: Stop, stop: str) -> None:
    """Who has a successor, or is to end at once, need not be seen to leave."""
    assert (await heard(kind, drain_delay=FOREVER))[0] == stop


@pytest.mark.asyncio
async def test_a_drain_without_a_delay_does_not_leave_first() -> None:
    assert (await heard(Stop.DRAIN, drain_delay=0.0))[0] == "stop 0"


@pytest.mark.asyncio
async def test_a_drain_leaves_and_stops_after_its_delay() -> None:
    assert (await heard(Stop.DRAIN, drain_delay=0.01))[:2] == ["leave", "stop 0"]


@pytest.mark.asyncio
async def test_the_next_one_ends_the_delay_and_a_stop() -> None:
    stops = (Stop.DRAIN, Stop.NOW)
    assert await heard(*stops, drain_delay=FOREVER, is_busy=True) == ["leave", "stop 0", "force"]
    stops = (Stop.RETIRE, Stop.DRAIN, Stop.NOW)
    said = await heard(*stops, drain_delay=FOREVER, is_busy=True)
    assert said == ["stop 7", "hurry", "force"]
