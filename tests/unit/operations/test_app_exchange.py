"""Questions of the operations process, and answers of those that serve."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from rawclient import TIMEOUT

from wsgi_async.operations.app_exchange import MAX_ANSWER, Answering, Asking, Exchange, Peer


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    """Whose threads end with it."""
    exchange = Exchange()
    before = set(threading.enumerate())
    yield exchange
    exchange.door.close()
    exchange.desk.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(TIMEOUT)
        assert not thread.is_alive()


@pytest.fixture
def asking(exchange: Exchange) -> Iterator[Asking]:
    asking = Asking(exchange.desk)
    yield asking
    asking.close()


class Answers:
    """What a process answers, in the test's hands."""

    def __init__(self, exchange: Exchange, name: str = "x") -> None:
        self.may = threading.Event()
        self.may.set()
        self.asked: list[list[str]] = []
        self.answer: dict[str, Any] = {"name": name}
        Answering(exchange, self).start()

    def __call__(self, names: Sequence[str]) -> dict[str, Any]:
        answer = self.answer
        self.asked.append(list(names))
        self.may.wait(TIMEOUT)
        return answer


def ask(asking: Asking, count: int, names: Sequence[str] = ()) -> list[Peer]:
    """Ask until so many have answered."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        peers = asking.ask(names, 0.5)
        if sum(peer.answer is not None for peer in peers) == count:
            return peers
        assert time.monotonic() < deadline


def names_of(peers: Sequence[Peer]) -> list[str]:
    return sorted(str(peer.answer["name"]) for peer in peers if peer.answer is not None)


def test_all_that_serve_are_asked(exchange: Exchange, asking: Asking) -> None:
    for name in "abc":
        Answers(exchange, name)
    peers = ask(asking, 3)
    assert names_of(peers) == ["a", "b", "c"]
    assert {peer.pid for peer in peers} == {str(os.getpid())}


def test_collectors_are_asked_in_one(exchange: Exchange, asking: Asking) -> None:
    processes = [Answers(exchange, name) for name in "abc"]
    ask(asking, 3)
    for process in processes:
        process.asked.clear()
    for _ in range(3):
        asking.ask(("Custom",), TIMEOUT)
    assert sorted(process.asked for process in processes) == [[[]] * 3, [[]] * 3, [["Custom"]] * 3]


def test_one_that_owes_its_answer_is_the_last_for_the_next_question(
    exchange: Exchange, asking: Asking
) -> None:
    processes = [Answers(exchange, name) for name in "ab"]
    ask(asking, 2)
    [first] = [
        p for p in processes if asking._peers[0].answer == {**p.answer, "number": asking._number}
    ]
    [second] = [p for p in processes if p is not first]
    first.may.clear()
    peers = ask(asking, 1, ("Custom",))
    assert names_of(peers) == [second.answer["name"]]
    ask(asking, 1, ("Custom",))
    assert second.asked[-1] == ["Custom"]
    first.may.set()


def test_an_answer_that_comes_too_late_is_not_that_to_the_next_question(
    exchange: Exchange, asking: Asking
) -> None:
    process = Answers(exchange)
    ask(asking, 1)
    process.may.clear()
    process.answer = {"name": "late"}
    began = time.monotonic()
    [peer] = asking.ask((), 0.1)
    assert peer.answer is None
    assert time.monotonic() - began < TIMEOUT
    asked = len(process.asked)
    process.answer = {"name": "in time"}
    process.may.set()
    peers = ask(asking, 1)
    assert names_of(peers) == ["in time"]
    assert len(process.asked) > asked


def test_the_next_operations_process_finds_them(exchange: Exchange) -> None:
    """Whether they were asked by the last one or not."""
    Answers(exchange, "a")
    for name in "bcd":
        asking = Asking(exchange.desk)
        Answers(exchange, name)
        peers = ask(asking, ord(name) - ord("a") + 1)
        assert names_of(peers)[-1] == name
        asking.close()


def test_who_has_gone_is_not_missing(exchange: Exchange, asking: Asking) -> None:
    process = Answers(exchange)
    ask(asking, 1)
    ours, theirs = socket.socketpair()
    socket.send_fds(exchange.door, [b"77"], [theirs.fileno()])
    theirs.close()
    ours.close()
    peers = asking.ask((), TIMEOUT)
    assert [peer.answer is not None for peer in peers] == [True]
    assert process.asked


def test_what_is_too_large_is_refused_by_who_has_it(exchange: Exchange, asking: Asking) -> None:
    process = Answers(exchange)
    ask(asking, 1)
    process.answer = {"name": "x" * MAX_ANSWER}
    [peer] = asking.ask((), TIMEOUT)
    assert peer.answer is not None
    assert peer.answer["error"] == "the answer is too large"
    process.answer = {"name": "y" * (MAX_ANSWER - 100)}
    [peer] = asking.ask((), TIMEOUT)
    assert peer.answer is not None
    assert len(peer.answer["name"]) == MAX_ANSWER - 100


@pytest.mark.parametrize("said", [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\4\0\0\0[1]", b"\2\0\0\0[]"])
def test_who_says_what_is_no_answer_is_left(
    exchange: Exchange, asking: Asking, said: bytes
) -> None:
    ours, theirs = socket.socketpair()
    socket.send_fds(exchange.door, [b"77"], [theirs.fileno()])
    theirs.close()
    ours.sendall(said + b"x")
    assert [peer.answer for peer in asking.ask((), 0.1)] in ([], [None])
    ours.close()
    assert asking.ask((), TIMEOUT) == []


def test_who_does_not_read_what_he_is_asked_is_missing(exchange: Exchange, asking: Asking) -> None:
    ours, theirs = socket.socketpair()
    socket.send_fds(exchange.door, [b"77"], [theirs.fileno()])
    theirs.close()
    names = ["x" * 1000] * 60
    for _ in range(20):
        asking.ask(names, 0.0)
    ours.close()


def test_where_the_application_has_closed_the_door_the_thread_ends(exchange: Exchange) -> None:
    """Its number may be another socket's, which is not ours to write to."""
    before = set(threading.enumerate())
    Answers(exchange)
    asking = Asking(exchange.desk)
    ask(asking, 1)
    [thread] = set(threading.enumerate()) - before
    ours, theirs = socket.socketpair()
    os.dup2(theirs.fileno(), exchange.door.fileno())
    asking.close()
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    theirs.close()
    exchange.door.close()
    ours.settimeout(TIMEOUT)
    assert ours.recv(1) == b""
    ours.close()
