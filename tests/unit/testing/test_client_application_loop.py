"""Hooks, run() and spawn() of an application that a client of tests asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from application_loops import ending_with_the_test

from wsgi_async import events
from wsgi_async.errors import LoadError
from wsgi_async.events import Observer
from wsgi_async.realtime import hooks
from wsgi_async.realtime.application_loop import existing
from wsgi_async.realtime.hooks import on_start
from wsgi_async.realtime.running import run
from wsgi_async.realtime.spawning import spawn
from wsgi_async.testing import TestClient


@pytest.fixture(autouse=True)
def own_loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(hooks, "_hooks", [])
    with ending_with_the_test():
        yield
    assert events.RUNNING == []


class Site:
    """An application with a hook, that notes what happens."""

    def __init__(self) -> None:
        self.story: list[str] = []
        self.pool = on_start(self._pool)

    async def _pool(self) -> AsyncIterator[str]:
        self.story.append("enter")
        yield "pool"
        self.story.append("leave")

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        spawn(self._later(), name="later")
        start_response("200 OK", [])
        return [run(self._ask()).encode()]

    async def _ask(self) -> str:
        await asyncio.sleep(0)
        return self.pool()

    async def _later(self) -> None:
        await asyncio.sleep(0.01)
        self.story.append("spawned")
        raise ValueError


def test_a_block_is_a_servers_life() -> None:
    class Hears(Observer):
        def error(self, message: str, error: BaseException | None = None) -> None:
            told.append(message)

    told: list[str] = []
    site = Site()
    with TestClient(site, observer=Hears()) as client:
        assert site.story == []  # nobody has asked yet
        assert [client.get("/").text for _ in range(2)] == ["pool", "pool"]
    assert site.story == ["enter", "spawned", "spawned", "leave"]
    assert told == ["the spawned coroutine later failed"] * 2
    assert existing() is None


def test_without_a_block_they_are_entered_once_and_stay() -> None:
    site = Site()
    assert TestClient(site).get("/").text == "pool"
    assert TestClient(site).get("/").text == "pool"
    assert site.story.count("enter") == 1
    assert "leave" not in site.story


def test_a_hook_that_fails_is_the_tests_failure() -> None:
    @on_start
    async def database() -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    with pytest.raises(LoadError, match="database failed: OSError: no database"):
        TestClient(Site()).get("/")
