from __future__ import annotations

import pytest
from forked import run_forked

from wsgi_async.server.connection_counts import ConnectionCounts, OwnCount


def joined(*counts: int) -> list[OwnCount]:
    """A own_count for each process, with so many connections."""
    shared = ConnectionCounts()
    own_counts = [shared.join(index) for index in range(len(counts))]
    for own_count, count in zip(own_counts, counts, strict=True):
        own_count.publish(count)
    return own_counts


@pytest.mark.parametrize("index", [-1, 3])
def test_a_place_must_exist(index: int) -> None:
    with pytest.raises(ValueError, match="no place"):
        ConnectionCounts(3).join(index)


def test_there_is_a_place() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ConnectionCounts(0)


def test_who_takes_connections_is_listed() -> None:
    shared = ConnectionCounts()
    own_counts = [shared.join(index) for index in range(3)]
    assert shared.connections() == {}
    own_counts[0].publish(0)
    own_counts[2].publish(7)
    assert shared.connections() == {0: 0, 2: 7}
    own_counts[0].withdraw()
    shared.clear(2)
    shared.clear(2)
    assert shared.connections() == {}


def test_numbers_may_come_in_any_order_and_again() -> None:
    shared = ConnectionCounts()
    late, early = shared.join(7), shared.join(2)
    early.publish(1)
    late.publish(3)
    assert early.share(0) == late.share(0) == 2
    shared.clear(7)
    assert early.share(0) is None
    shared.join(7).publish(0)
    assert early.share(0) == 1


def test_two_that_join_at_the_same_moment_are_both_seen() -> None:
    """One has read how many places are in use, and writes what it made of it after the other."""
    shared = ConnectionCounts()
    words, others = shared.used, [shared]

    class Racing:
        def __getitem__(self, index: int) -> int:
            return words[index]

        def __setitem__(self, index: int, value: int) -> None:
            if others:
                raced = others.pop()
                raced.used = words
                raced.join(1).publish(0)
            words[index] = value

    shared.used = Racing()  # type: ignore[assignment]
    shared.join(0).publish(0)
    assert shared.connections() == {0: 0, 1: 0}


def test_a_forked_process_is_seen_by_the_others() -> None:
    shared = ConnectionCounts()
    own_count = shared.join(0)
    own_count.publish(1)
    assert run_forked(lambda: shared.join(1).publish(9)) == 0
    assert shared.connections() == {0: 1, 1: 9}
    assert own_count.share(0) == 5


@pytest.mark.parametrize(
    ("counts", "waiting", "share"),
    [
        ((0, 0), 64, 32),
        ((0, 0), 1, 1),
        ((1, 0), 1, 1),
        ((1, 1), 1, 2),
        ((10, 0, 2), 0, 4),
        ((10, 0, 2), 1, 5),
    ],
)
def test_a_share_is_the_average_rounded_up(
    counts: tuple[int, ...], waiting: int, share: int
) -> None:
    assert [own_count.share(waiting) for own_count in joined(*counts)] == [share] * len(counts)


def test_alone_there_is_no_share() -> None:
    assert joined(5)[0].share(3) is None


def test_processes_that_take_none_are_not_counted() -> None:
    one, two, three = joined(4, 6, 100)
    three.withdraw()
    assert one.share(0) == 5
    assert three.share(0) == 5  # it is not among those who share
    two.withdraw()
    assert one.share(0) is None
    assert three.share(0) == 4
    one.withdraw()
    assert three.share(0) is None


def test_a_process_that_does_not_look_is_passed_over_until_it_does() -> None:
    one, two, three = joined(10, 0, 2)
    before = one.looks()
    three.look()
    one.pass_over(before)
    assert one.share(0) == 6
    assert three.share(0) == 4  # each judges for itself
    two.look()
    assert one.share(0) == 4


def test_a_process_never_passes_over_itself() -> None:
    one, two = joined(10, 0)
    two.look()
    before = one.looks()
    two.look()
    one.pass_over(before)
    assert one.share(0) == 5


def test_who_was_passed_over_may_be_gone() -> None:
    shared = ConnectionCounts()
    own_counts = [shared.join(index) for index in range(3)]
    for own_count in own_counts:
        own_count.publish(3)
    own_counts[0].pass_over(own_counts[0].looks())
    shared.clear(2)
    assert own_counts[0].share(0) is None
    own_counts[1].look()
    assert own_counts[0].share(0) == 3
