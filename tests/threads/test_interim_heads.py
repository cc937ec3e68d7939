"""Early hints on the thread line: in their order, before the response, within their bound."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from exchanges import TEXT, Rig, rigs
from threadline import HEAD, KIB, WAIT, Line

from wsgi_async.http.response import ResponseHead
from wsgi_async.threads import ForkedWriter, InterimHeads, Mailbox, ResponseWriter
from wsgi_async.threads.interim_heads import Added

make = pytest.fixture(rigs)


class Owner:
    """Notes how often the loop was told."""

    def __init__(self) -> None:
        self.woken = 0

    def on_wake(self) -> None:
        self.woken += 1


def numbered(number: int) -> ResponseHead:
    return ResponseHead(103, "Early Hints", (("x", str(number)),))


def numbers(heads: list[ResponseHead]) -> list[int]:
    return [int(head.fields[0][1]) for head in heads]


def test_they_are_taken_in_their_order_and_once() -> None:
    interim = InterimHeads(KIB)
    added = [interim.add(numbered(number), 10) for number in range(5)]
    assert added == [Added.FIRST] + 4 * [Added.BEHIND]
    assert numbers(interim.take()) == [0, 1, 2, 3, 4]
    assert interim.take() == []


def test_what_finds_no_room_is_left_out_and_what_is_taken_makes_room() -> None:
    interim = InterimHeads(KIB)
    assert interim.add(numbered(0), KIB) is Added.FIRST
    assert interim.add(numbered(1), 1) is Added.LEFT_OUT
    assert numbers(interim.take()) == [0]
    assert interim.add(numbered(2), KIB + 1) is Added.LEFT_OUT
    assert interim.add(numbered(3), KIB) is Added.FIRST
    assert numbers(interim.take()) == [3]


def test_none_is_lost_or_doubled_between_threads() -> None:
    """Each of four threads sees its own taken in its own order."""
    interim = InterimHeads(KIB)
    added: list[list[int]] = [[] for _ in range(4)]
    taken: list[int] = []

    def add(which: int) -> None:
        for number in range(which, 20_000, 4):
            if interim.add(numbered(number), 10) is not Added.LEFT_OUT:
                added[which].append(number)

    threads = [threading.Thread(target=add, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        heads = interim.take()
        assert len(heads) <= KIB // 10
        taken += numbers(heads)
    taken += numbers(interim.take())
    for which, mine in enumerate(added):
        assert [number for number in taken if number % 4 == which] == mine


def test_a_response_may_hold_no_more_of_them_than_of_itself(tmp_path: Any) -> None:
    """--response-buffer bounds what a response has in memory, 16 KiB what is free of charge."""
    for memory, room in [(1024 * KIB, 16 * KIB), (2 * KIB, 2 * KIB)]:
        line = Line(tmp_path, memory=memory)
        writer = ResponseWriter(line.bounds, line.mailbox, Owner())
        assert writer.send_interim(numbered(0), room)
        assert not writer.send_interim(numbered(1), 1)


def test_the_loop_is_told_once_of_all_that_wait(tmp_path: Any) -> None:
    """Told of each, it would come for hardly anything else where threads give them without end."""
    line, owner = Line(tmp_path), Owner()
    writer = ResponseWriter(line.bounds, line.mailbox, owner)
    for turn in (1, 2):
        for number in range(100):
            assert writer.send_interim(numbered(number), 10)
        line.mailbox.mend()
        assert owner.woken == turn
        assert writer.interim is not None
        assert len(writer.interim.take()) == 100


@pytest.mark.parametrize("how", ["respond", "start", "cut", "abort", "answer", "release"])
def test_once_the_response_has_begun_or_nobody_is_there_none_is_taken(
    tmp_path: Any, how: str
) -> None:
    """Nor is the loop told: nobody would be sent it."""
    line, owner = Line(tmp_path), Owner()
    writer = ResponseWriter(line.bounds, line.mailbox, owner)
    ends: dict[str, Callable[[], object]] = {
        "respond": lambda: writer.respond(HEAD, b"x", 1),
        "start": lambda: writer.start(HEAD, None),
        "cut": writer.cut,
        "abort": writer.abort,
        "answer": lambda: writer.answer(HEAD, b"x"),
        "release": writer.release,
    }
    ends[how]()
    wakes = line.mailbox.wakes
    assert writer.send_interim(numbered(0), 10)  # no complaint: it is not the application's fault
    assert (writer.interim, line.mailbox.wakes) == (None, wakes)


def test_a_forked_process_sends_none(tmp_path: Any) -> None:
    line = Line(tmp_path)
    writer = ForkedWriter(line.bounds, line.mailbox, Owner())
    assert writer.send_interim(numbered(0), 10)
    assert (writer.interim, line.mailbox.wakes) == (None, 0)


def test_two_threads_that_give_the_first_share_one_queue(tmp_path: Any) -> None:
    line = Line(tmp_path)
    mailbox = Mailbox(lambda wake: None, line.errors.append)
    for _ in range(200):
        writer = ResponseWriter(line.bounds, mailbox, Owner())
        begin = threading.Barrier(4)

        def send(number: int, writer: Any = writer, begin: Any = begin) -> None:
            begin.wait(WAIT)
            writer.send_interim(numbered(number), 10)

        threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
        assert writer.interim is not None
        assert sorted(numbers(writer.interim.take())) == [0, 1, 2, 3]


def test_whoever_sees_the_response_sees_what_goes_before_it(make: Callable[..., Rig]) -> None:
    """The loop may come at any moment in between."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        for number in range(3):
            environ["wsgi.early_hints"]([("x", str(number))])
        start_response("200 OK", TEXT)
        return [b"body"]

    rig = make(application)
    for _ in range(300):
        connection = rig.begin()
        writer, seen = connection.exchange.writer, []
        while True:
            whole = writer.whole
            if writer.interim is not None:
                seen += numbers(writer.interim.take())
            if whole is not None:
                break
        assert seen == [0, 1, 2]
        assert connection.finish().end == "finished"
