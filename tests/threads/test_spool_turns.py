"""Whose response goes to its file next: all of them where there is time, else in turn."""

from __future__ import annotations

import time

import pytest
from striking import StruckError

from wsgi_async.threads import spool_turns
from wsgi_async.threads.spool_turns import MOST, SHARE, SpoolTurns, Turn


class Response:
    def __init__(self) -> None:
        self.called = 0

    def call(self) -> None:
        self.called += 1


class Rig:
    def __init__(self, *, is_crowded: bool) -> None:
        self.is_crowded = is_crowded
        self.now = 0.0
        self.arrived = 0
        self.turns = SpoolTurns(lambda: self.is_crowded, lambda: self.arrived, lambda: self.now)

    def enter(self, count: int) -> list[Response]:
        responses = [Response() for _ in range(count)]
        for response in responses:
            self.turns.enter(response)
        return responses


def work() -> None:
    """Takes some of a processor's time."""
    began = time.thread_time()
    while time.thread_time() - began < 0.0001:
        pass


def test_where_nobody_comes_each_goes_on_for_as_long_as_it_likes() -> None:
    rig = Rig(is_crowded=False)
    turn = Turn(rig.turns)
    for _ in range(1000):
        work()
        assert not turn.is_over()
    assert rig.turns._left == MOST, "it was at nobody's cost"
    assert rig.turns.may_begin()


@pytest.mark.parametrize("is_crowded", [True, False], ids=["they wait", "they come"])
def test_beside_others_a_turn_is_over_when_its_time_is_used_up(is_crowded: bool) -> None:
    """Also of those who were served meanwhile, so that nobody waits just now."""
    rig = Rig(is_crowded=is_crowded)
    began = time.thread_time()
    turn = Turn(rig.turns)
    while True:
        work()
        rig.arrived += not is_crowded
        if turn.is_over():
            break
    assert time.thread_time() - began >= MOST
    assert rig.turns.may_begin() is not is_crowded


def test_beside_others_all_of_them_have_a_share_of_the_time() -> None:
    rig = Rig(is_crowded=True)
    had = 0.0
    for _ in range(400):
        while rig.turns.spend(0.0001):
            had += 0.0001
        rig.now += 0.25
        rig.turns.fill()
    assert had == pytest.approx(100 * SHARE, rel=0.3)


def test_no_more_is_kept_for_later_than_a_moment() -> None:
    rig = Rig(is_crowded=True)
    rig.now = 3600.0
    rig.turns.fill()
    assert rig.turns.spend(0.9 * MOST)
    assert not rig.turns.spend(0.2 * MOST)


def test_one_is_called_with_each_tick_in_the_order_they_came() -> None:
    rig = Rig(is_crowded=False)
    first, second, third = responses = rig.enter(3)
    rig.turns.fill()
    assert [response.called for response in responses] == [1, 0, 0]
    rig.turns.leave(second)
    rig.turns.call_next()
    assert [response.called for response in responses] == [1, 0, 1]
    assert not rig.turns.waiting
    rig.turns.call_next()
    rig.turns.leave(first)
    rig.turns.leave(third)
    assert [response.called for response in responses] == [1, 0, 1]


def test_nobody_is_called_who_could_not_go_on() -> None:
    rig = Rig(is_crowded=True)
    assert not rig.turns.spend(MOST)
    [response] = rig.enter(1)
    rig.turns.fill()
    assert not response.called
    rig.now += 0.25
    rig.turns.fill()
    assert response.called == 1


def test_the_share_is_small() -> None:
    """It is what others lose."""
    assert spool_turns.SHARE <= 0.03
    assert spool_turns.MOST <= 0.03


def test_who_is_called_by_a_thread_that_is_struck_is_called_all_the_same() -> None:
    """It waits no more as far as the others know, so nobody else would call it."""

    class Struck(Response):
        def call(self) -> None:
            super().call()
            if self.called == 1:
                raise StruckError

    rig = Rig(is_crowded=False)
    response = Struck()
    rig.turns.enter(response)
    with pytest.raises(StruckError):
        rig.turns.call_next()
    assert response.called == 2
    assert not rig.turns.waiting
