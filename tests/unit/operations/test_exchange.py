"""Questions of the operations process, and answers of those that serve."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from forked import run_forked
from rawclient import TIMEOUT

from wsgi_async.operations.asking import Asking, Reply
from wsgi_async.operations.exchange import (
    HEAD,
    MAX_ANSWER,
    MAX_QUESTION,
    MAX_WAITING,
    Answering,
    Exchange,
)


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    """Whose threads end with it."""
    exchange = Exchange()
    before = set(threading.enumerate())
    yield exchange
    exchange.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(TIMEOUT)
        assert not thread.is_alive()


@pytest.fixture
def asking(exchange: Exchange) -> Iterator[Asking]:
    asking = Asking(exchange.desk)
    yield asking
    asking.close()


class Answers:
    """A process that answers what it is asked by ``ask``, as the test has it."""

    def __init__(self, exchange: Exchange, name: str = "x", number: int = 0) -> None:
        self.may = threading.Event()
        self.may.set()
        self.asked: list[dict[str, Any]] = []
        self.answer: dict[str, Any] = {"name": name}
        table = {"it": self, "other": lambda question: {"name": "other"}}
        Answering(exchange, number, table).start()

    def __call__(self, question: Mapping[str, Any]) -> dict[str, Any]:
        answer = self.answer
        self.asked.append({key: question[key] for key in question if key != "ask"})
        self.may.wait(TIMEOUT)
        return answer


def ask(asking: Asking, count: int, **options: Any) -> list[Reply]:
    """Ask until so many have answered."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        replies = asking.ask("it", patience=0.5, **options)
        if sum(reply.answer is not None for reply in replies) == count:
            return replies
        assert time.monotonic() < deadline


def names_of(replies: Sequence[Reply]) -> list[str]:
    return sorted(str(reply.answer["name"]) for reply in replies if reply.answer is not None)


def pretend(exchange: Exchange, pid: int = 77, number: int = 5) -> socket.socket:
    """A process that is the test: its connection."""
    ours, theirs = socket.socketpair()
    hello = json.dumps({"pid": pid, "number": number}).encode()
    socket.send_fds(exchange.door, [hello], [theirs.fileno()])
    theirs.close()
    ours.settimeout(TIMEOUT)
    return ours


def in_background(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    return thread, results


# --- Who is asked, and what


def test_all_that_serve_are_asked(exchange: Exchange, asking: Asking) -> None:
    for number, name in enumerate("abc"):
        Answers(exchange, name, number)
    replies = ask(asking, 3, arguments={"of": 7})
    assert [(reply.number, reply.answer) for reply in replies] == [
        (0, {"name": "a"}),
        (1, {"name": "b"}),
        (2, {"name": "c"}),
    ]
    assert {reply.pid for reply in replies} == {os.getpid()}


def test_some_is_said_to_one_alone(exchange: Exchange, asking: Asking) -> None:
    processes = [Answers(exchange, name) for name in "abc"]
    ask(asking, 3)
    for process in processes:
        process.asked.clear()
    for _ in range(3):
        asking.ask("it", {"to": "all"}, in_one={"names": ["Custom"]}, patience=TIMEOUT)
    more = {"to": "all", "names": ["Custom"]}
    asked = sorted((process.asked for process in processes), key=str)
    assert asked == [[more] * 3, [{"to": "all"}] * 3, [{"to": "all"}] * 3]


def test_one_that_owes_its_answer_is_the_last_for_the_next_question(
    exchange: Exchange, asking: Asking
) -> None:
    processes = [Answers(exchange, name) for name in "ab"]
    ask(asking, 2)
    asking.ask("it", in_one={"names": ["Custom"]}, patience=TIMEOUT)
    [first] = [process for process in processes if process.asked[-1]]
    [second] = [process for process in processes if process is not first]
    first.may.clear()
    replies = ask(asking, 1, in_one={"names": ["Custom"]})
    assert names_of(replies) == [second.answer["name"]]
    ask(asking, 1, in_one={"names": ["Custom"]})
    assert second.asked[-1] == {"names": ["Custom"]}
    first.may.set()


def test_a_process_knows_not_every_question(exchange: Exchange, asking: Asking) -> None:
    Answers(exchange)
    ask(asking, 1)
    [reply] = asking.ask("nonsense", patience=TIMEOUT)
    assert reply.answer == {"error": "this process knows no such question"}


def test_a_question_that_is_too_large_is_not_asked(asking: Asking) -> None:
    with pytest.raises(ValueError, match="too large"):
        asking.ask("it", {"x": "x" * MAX_QUESTION}, patience=TIMEOUT)


# --- Several at once


def test_a_long_answer_holds_up_no_other_kind(exchange: Exchange, asking: Asking) -> None:
    process = Answers(exchange)
    ask(asking, 1)
    process.may.clear()
    thread, results = in_background(lambda: asking.ask("it", patience=TIMEOUT))
    for _ in range(20):
        [reply] = asking.ask("other", patience=TIMEOUT)
        assert reply.answer == {"name": "other"}
    assert not results
    process.may.set()
    thread.join(TIMEOUT)
    assert names_of(results[0]) == ["x"]


def test_askers_at_once_get_each_their_own(exchange: Exchange, asking: Asking) -> None:
    Answering(exchange, 0, {"echo": lambda question: {"said": question["say"]}}).start()
    deadline = time.monotonic() + TIMEOUT
    while not asking.ask("echo", {"say": 0}, patience=0.5):
        assert time.monotonic() < deadline
    found: dict[int, list[object]] = {}

    def work(index: int) -> None:
        for number in range(20):
            [reply] = asking.ask("echo", {"say": [index, number]}, patience=TIMEOUT)
            assert reply.answer is not None
            found.setdefault(index, []).append(reply.answer["said"])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert found == {index: [[index, number] for number in range(20)] for index in range(6)}


def test_no_more_questions_wait_than_so_many(exchange: Exchange, asking: Asking) -> None:
    process = Answers(exchange)
    ask(asking, 1)
    process.may.clear()
    asked = len(process.asked)
    deadline = time.monotonic() + TIMEOUT
    while len(process.asked) == asked:  # this one is being answered, and none waits
        asking.ask("it", patience=0.01)
        assert time.monotonic() < deadline
    answers = [asking.ask("it", patience=0.01)[0].answer for _ in range(MAX_WAITING)]
    assert answers.count(None) >= MAX_WAITING - 1
    [reply] = asking.ask("it", patience=TIMEOUT)
    assert reply.answer == {"error": "this process has too many such questions to answer"}
    process.may.set()
    while asking.ask("it", patience=TIMEOUT)[0].answer != process.answer:
        assert time.monotonic() < deadline


# --- Late, and gone


def test_an_answer_that_comes_too_late_is_not_that_to_the_next_question(
    exchange: Exchange, asking: Asking
) -> None:
    process = Answers(exchange, number=3)
    ask(asking, 1)
    process.may.clear()
    process.answer = {"name": "late"}
    assert asking.ask("it", patience=0.1) == [Reply(os.getpid(), 3, None)]
    asked = len(process.asked)
    process.answer = {"name": "in time"}
    process.may.set()
    assert names_of(ask(asking, 1)) == ["in time"]
    assert len(process.asked) > asked


def test_the_next_operations_process_finds_them(exchange: Exchange) -> None:
    """Whether they were asked by the last one or not."""
    Answers(exchange, "a")
    for name in "bcd":
        asking = Asking(exchange.desk)
        Answers(exchange, name)
        replies = ask(asking, ord(name) - ord("a") + 1)
        assert names_of(replies)[-1] == name
        asking.close()


def test_one_that_is_awaited_is_asked_when_it_comes(exchange: Exchange, asking: Asking) -> None:
    """So who asks an operations process that has just begun finds those that serve."""
    thread, results = in_background(lambda: asking.ask("it", awaited=[77], patience=TIMEOUT))
    with pretend(exchange) as process:
        length, number = HEAD.unpack(process.recv(HEAD.size))
        assert json.loads(process.recv(length)) == {"ask": "it"}
        process.sendall(HEAD.pack(2, number) + b"{}")
        thread.join(TIMEOUT)
    assert results == [[Reply(77, 5, {})]]


def test_one_that_is_awaited_in_vain_costs_patience_and_no_more(asking: Asking) -> None:
    assert asking.ask("it", awaited=[77], patience=0.05) == []


def test_who_has_gone_is_not_missing(exchange: Exchange, asking: Asking) -> None:
    process = Answers(exchange)
    ask(asking, 1)
    pretend(exchange).close()
    replies = asking.ask("it", patience=TIMEOUT)
    assert [reply.answer is not None for reply in replies] == [True]
    assert process.asked


def test_who_dies_while_it_is_asked_holds_up_nobody(exchange: Exchange, asking: Asking) -> None:
    thread, results = in_background(lambda: asking.ask("it", awaited=[77], patience=TIMEOUT))
    with pretend(exchange) as process:
        process.recv(HEAD.size)
    thread.join(TIMEOUT)
    assert results == [[]]


def test_an_answer_that_fails_is_an_answer(exchange: Exchange, asking: Asking) -> None:
    """Whatever a collector of the application raises, or has made."""

    def leave(question: Mapping[str, Any]) -> dict[str, Any]:
        raise SystemExit("no more")

    table = {"it": leave, "object": lambda question: {"name": object()}}
    Answering(exchange, 0, table).start()
    for _ in range(2):
        [reply] = ask(asking, 1)
        assert reply.answer == {"error": "this process could not answer: SystemExit('no more')"}
    [reply] = asking.ask("object", patience=TIMEOUT)
    assert reply.answer is not None
    assert "not JSON serializable" in reply.answer["error"]


def test_what_is_too_large_is_refused_by_who_has_it(exchange: Exchange, asking: Asking) -> None:
    process = Answers(exchange)
    ask(asking, 1)
    process.answer = {"name": "x" * MAX_ANSWER}
    [reply] = asking.ask("it", patience=TIMEOUT)
    assert reply.answer == {"error": "the answer is too large"}
    process.answer = {"name": "y" * (MAX_ANSWER - 100)}
    [reply] = asking.ask("it", patience=TIMEOUT)
    assert reply.answer is not None
    assert len(reply.answer["name"]) == MAX_ANSWER - 100


# --- Garbage


@pytest.mark.parametrize(
    "said",
    [
        b"\xff" * HEAD.size,
        HEAD.pack(0, 1),
        HEAD.pack(3, 1) + b"[1]",
        HEAD.pack(3, 1) + b"\xff{}",
        HEAD.pack(1000, 1) + b"[" * 1000,
    ],
)
def test_who_says_what_is_no_answer_is_left(
    exchange: Exchange, asking: Asking, said: bytes
) -> None:
    thread, results = in_background(lambda: asking.ask("it", awaited=[77], patience=TIMEOUT))
    with pretend(exchange) as process:
        length, _ = HEAD.unpack(process.recv(HEAD.size))
        process.recv(length)
        process.sendall(said + b"x")
        thread.join(TIMEOUT)
        assert results in ([[]], [[Reply(77, 5, None)]])
        while process.recv(4096):  # until it is left
            pass
    assert asking.ask("it", patience=TIMEOUT) == []


def test_an_answer_to_no_question_is_nothing(exchange: Exchange, asking: Asking) -> None:
    with pretend(exchange) as process:
        process.sendall(HEAD.pack(2, 1 << 63) + b"[]")
        assert asking.ask("it", patience=0.05) == [Reply(77, 5, None)]
        process.sendall(HEAD.pack(2, 1) + b"{}")  # too late
        assert asking.ask("it", patience=0.05) == [Reply(77, 5, None)]


@pytest.mark.parametrize("hello", [b"77", b"\xff", b"{}", b'{"pid": "x", "number": 0}', b"[1]"])
def test_who_does_not_say_who_he_is_is_not_asked(
    exchange: Exchange, asking: Asking, hello: bytes
) -> None:
    ours, theirs = socket.socketpair()
    socket.send_fds(exchange.door, [hello], [theirs.fileno()])
    theirs.close()
    ours.settimeout(TIMEOUT)
    assert ours.recv(1) == b""
    ours.close()
    assert asking.ask("it", patience=TIMEOUT) == []


def test_who_does_not_read_what_he_is_asked_is_missing(exchange: Exchange, asking: Asking) -> None:
    with pretend(exchange):
        for _ in range(20):
            replies = asking.ask("it", {"names": ["x" * 1000] * 60}, patience=0.0)
            assert replies in ([], [Reply(77, 5, None)])


# --- What an application does to it


def test_where_the_application_has_closed_the_door_the_thread_ends(exchange: Exchange) -> None:
    """Its number may be another socket's, which is not ours to write to."""
    before = set(threading.enumerate())
    Answers(exchange)
    [thread] = set(threading.enumerate()) - before
    asking = Asking(exchange.desk)
    ask(asking, 1)
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


def test_what_the_application_forks_has_none_of_it(exchange: Exchange, asking: Asking) -> None:
    """Else the operations process would not know that its process is gone."""
    answering = Answering(exchange, 0, {"it": lambda question: {}})
    answering.start()
    ask(asking, 1)
    held = [sock.fileno() for sock in (exchange.desk, exchange.door, *answering._open)]
    open_ones = [number for number in held if number >= 0]
    assert len(open_ones) == 3

    def look() -> None:
        null = os.stat(os.devnull).st_rdev
        assert [os.fstat(number).st_rdev for number in open_ones] == [null] * 3

    assert run_forked(look) == 0
