"""Time limits: who has waited too long, and who moves too slowly. Time is an argument."""

from __future__ import annotations

import pytest

from wsgi_async.connection.deadlines import RATE_GRACE, Deadlines, Pace


def test_what_has_waited_long_enough_expires_once() -> None:
    deadlines: Deadlines[str] = Deadlines(10)
    deadlines.add("a", 100)
    deadlines.add("b", 104)
    assert deadlines.expired(109.9) == []
    assert deadlines.expired(110) == ["a"]
    assert deadlines.expired(110) == []
    assert len(deadlines) == 1
    assert deadlines.expired(1000) == ["b"]
    assert len(deadlines) == 0


def test_adding_again_begins_anew() -> None:
    deadlines: Deadlines[str] = Deadlines(10)
    deadlines.add("a", 100)
    deadlines.add("b", 101)
    deadlines.add("a", 105)
    assert len(deadlines) == 2
    assert deadlines.oldest() == "b"
    assert deadlines.expired(111) == ["b"]
    assert deadlines.expired(115) == ["a"]


def test_what_was_discarded_does_not_expire() -> None:
    deadlines: Deadlines[str] = Deadlines(10)
    deadlines.add("a", 100)
    deadlines.discard("a")
    deadlines.discard("never added")
    assert deadlines.expired(1000) == []
    assert deadlines.oldest() is None


def test_the_oldest_is_the_one_that_has_waited_longest() -> None:
    deadlines: Deadlines[int] = Deadlines(10)
    for key in range(5):
        deadlines.add(key, key)
    assert deadlines.oldest() == 0
    deadlines.discard(0)
    assert deadlines.oldest() == 1
    assert deadlines.oldest(2, {1}) == 2
    assert deadlines.oldest(2, {1, 2}) is None


def test_an_infinite_timeout_never_expires() -> None:
    deadlines: Deadlines[str] = Deadlines(float("inf"))
    deadlines.add("a", 0)
    assert deadlines.expired(1e12) == []


def judge(
    pace: Pace, now: float, total: int, timeout: float = 30, min_rate: float = 0
) -> str | None:
    return pace.judge(now, total, timeout=timeout, min_rate=min_rate)


def test_a_gap_is_told() -> None:
    pace = Pace(100, 0)
    assert judge(pace, 129.9, 0) is None
    assert judge(pace, 130, 0) == "nothing moved for 30 s"


def test_every_byte_begins_a_new_gap() -> None:
    pace = Pace(100, 0)
    for step in range(1, 20):
        assert judge(pace, 100 + step * 29, step) is None
    assert judge(pace, 100 + 19 * 29 + 30, 19) == "nothing moved for 30 s"


def test_without_a_timeout_a_gap_is_fine() -> None:
    assert judge(Pace(0, 0), 1e9, 0, timeout=0) is None


def test_what_had_moved_before_does_not_count() -> None:
    pace = Pace(0, 1_000_000)
    assert judge(pace, RATE_GRACE, 1_000_000, timeout=0, min_rate=500) is not None


def test_the_rate_is_judged_after_a_grace() -> None:
    pace = Pace(0, 0)
    assert judge(pace, RATE_GRACE - 0.1, 1, min_rate=500) is None
    assert judge(pace, RATE_GRACE, 2, min_rate=500) == "0 bytes/s is below the minimum rate"


@pytest.mark.parametrize(("rate", "is_fine"), [(499, False), (500, True), (501, True)])
def test_the_average_is_what_counts(rate: int, is_fine: bool) -> None:
    pace = Pace(0, 0)
    for second in range(1, 60):
        answer = judge(pace, second, second * rate, min_rate=500)
        assert (answer is None) is (is_fine or second < RATE_GRACE)


def test_a_burst_at_first_may_be_slow_later() -> None:
    pace = Pace(0, 0)
    assert judge(pace, 1, 10_000, min_rate=500) is None
    assert judge(pace, 20, 10_001, min_rate=500) is None
    assert judge(pace, 21, 10_002, min_rate=500) is not None


def test_time_in_which_nothing_was_asked_does_not_count() -> None:
    """A silent event stream is never killed: its time is only counted while bytes wait."""
    pace = Pace(0, 0)
    assert judge(pace, 5, 3000, min_rate=500) is None
    pace.resume(1_000_000, 3000)
    assert judge(pace, 1_000_001, 3001, min_rate=500) is None
    assert judge(pace, 1_000_005, 3002, min_rate=500) is not None, "10 s in all"


def test_of_what_was_in_between_the_bytes_count_and_the_time_does_not() -> None:
    """What came before a pause may not have been judged yet: a steady upload in large reads, each
    followed by a pause, would seem to stand still."""
    pace = Pace(0, 0)
    for now in range(1, 30):
        assert judge(pace, now, 20_000 * now, min_rate=500) is None
        pace.resume(now, 20_000 * now)
    pace = Pace(0, 0)
    for now in range(1, 30):
        pace.resume(now, 20_000 * now)
        assert judge(pace, now + 0.9, 20_000 * now, min_rate=500) is None
    pace = Pace(0, 0)
    pace.resume(100, 10)
    assert judge(pace, 110, 10, min_rate=500) is not None
