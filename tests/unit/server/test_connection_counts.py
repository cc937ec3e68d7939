from __future__ import annotations

import os

import pytest

from wsgi_async.server.connection_counts import ConnectionCounts, OwnCount


def joined(*counts: int) -> list[OwnCount]:
    """A slot for each process, with so many connections."""
    tally = ConnectionCounts()
    slots = [tally.join(index) for index in range(len(counts))]
    for slot, count in zip(slots, counts, strict=True):
        slot.publish(count)
    return slots


@pytest.mark.parametrize("index", [-1, 3])
def test_a_slot_must_exist(index: int) -> None:
    with pytest.raises(ValueError, match="no slot"):
        ConnectionCounts(3).join(index)


def test_a_tally_has_a_slot() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ConnectionCounts(0)


def test_who_takes_connections_is_listed() -> None:
    tally = ConnectionCounts()
    slots = [tally.join(index) for index in range(3)]
    assert tally.connections() == {}
    slots[0].publish(0)
    slots[2].publish(7)
    assert tally.connections() == {0: 0, 2: 7}
    slots[0].withdraw()
    tally.clear(2)
    tally.clear(2)
    assert tally.connections() == {}


def test_numbers_may_come_in_any_order_and_again() -> None:
    tally = ConnectionCounts()
    late, early = tally.join(7), tally.join(2)
    early.publish(1)
    late.publish(3)
    assert early.share(0) == late.share(0) == 2
    tally.clear(7)
    assert early.share(0) is None
    tally.join(7).publish(0)
    assert early.share(0) == 1


def test_a_forked_process_is_seen_by_the_others() -> None:
    tally = ConnectionCounts()
    slot = tally.join(0)
    slot.publish(1)
    pid = os.fork()
    if pid == 0:
        try:
            tally.join(1).publish(9)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert tally.connections() == {0: 1, 1: 9}
    assert slot.share(0) == 5


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
    assert [slot.share(waiting) for slot in joined(*counts)] == [share] * len(counts)


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
    tally = ConnectionCounts()
    slots = [tally.join(index) for index in range(3)]
    for slot in slots:
        slot.publish(3)
    slots[0].pass_over(slots[0].looks())
    tally.clear(2)
    assert slots[0].share(0) is None
    slots[1].look()
    assert slots[0].share(0) == 3
