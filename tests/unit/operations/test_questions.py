"""What is asked of all processes, where some answer, some do not, and some are not there."""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from forked import run_forked
from rawclient import TIMEOUT

from wsgi_async.logs import setup as logs
from wsgi_async.operations.answers import INTERRUPT, LOG_LEVEL, REQUESTS, Answers
from wsgi_async.operations.asking import Asking
from wsgi_async.operations.exchange import HEAD, Answering, Exchange
from wsgi_async.operations.log_level import LEVELS, LogLevel
from wsgi_async.operations.questions import Questions


class Row(NamedTuple):
    """A row of the register."""

    pid: int
    number: int
    ready: float = 0.0
    heard: float = math.nan


class Pretended:
    """A process that answers each kind of question as it is told; None: not at all."""

    def __init__(self, pid: int, number: int, answers: Mapping[str, Any]) -> None:
        self.row = Row(pid, number, heard=time.monotonic() - 5)
        self.asked: list[dict[str, Any]] = []
        self._answers = answers

    def meet(self, exchange: Exchange) -> None:
        self._sock, theirs = socket.socketpair()
        hello = json.dumps({"pid": self.row.pid, "number": self.row.number}).encode()
        socket.send_fds(exchange.door, [hello], [theirs.fileno()])
        theirs.close()
        threading.Thread(target=self._run).start()

    def _run(self) -> None:
        with self._sock:
            while head := self._sock.recv(HEAD.size):
                length, number = HEAD.unpack(head)
                question = json.loads(self._sock.recv(length))
                self.asked.append(question)
                answer = self._answers.get(question["ask"])
                if answer is not None:
                    data = json.dumps(answer).encode()
                    self._sock.sendall(HEAD.pack(len(data), number) + data)


class Rig:
    """An operations process, and those that it asks."""

    def __init__(self) -> None:
        self.exchange = Exchange()
        self.before = set(threading.enumerate())
        self.asking = Asking(self.exchange.desk)
        self.rows: list[Row] = []
        self.log_level = LogLevel()
        self.questions = Questions(self.asking, lambda: self.rows, self.log_level)

    def add(self, process: Pretended) -> Pretended:
        process.meet(self.exchange)
        self.rows.append(process.row)
        return process

    def close(self) -> None:
        self.asking.close()
        self.exchange.close()
        for thread in set(threading.enumerate()) - self.before:
            thread.join(TIMEOUT)
            assert not thread.is_alive()


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr("wsgi_async.operations.questions.PATIENCE", 1.0)
    rig = Rig()
    yield rig
    rig.close()


def test_who_does_not_answer_is_named_with_its_last_sign_of_life(rig: Rig) -> None:
    rig.add(Pretended(70, 0, {REQUESTS: {"pid": 70}}))
    rig.add(Pretended(71, 1, {}))
    rig.add(Pretended(72, 2, {REQUESTS: {"error": "the answer is too large"}}))
    rig.rows.append(Row(73, 3))  # of which nobody has heard
    rig.rows += [Row(0, 4), Row(75, 5, ready=math.nan)]  # these have not begun to serve
    found = rig.questions.requests(stacks=True)
    assert found["processes"] == [{"pid": 70}]
    silent, failing, absent = found["missing"]
    assert 5 <= silent.pop("heard") < 5 + TIMEOUT
    assert silent == {"pid": 71, "number": 1, "why": "no answer within 1 s"}
    assert (failing["pid"], failing["why"]) == (72, "the answer is too large")
    assert (absent["pid"], absent["number"], absent["heard"]) == (73, 3, None)


def test_all_answers_are_there_at_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of processes that the operations process, which has just begun, has to await."""
    monkeypatch.setattr("wsgi_async.operations.questions.PATIENCE", 3600.0)
    for number in range(3):
        rig.add(Pretended(70 + number, number, {REQUESTS: {"pid": 70 + number}}))
    found = rig.questions.requests(stacks=False)
    assert [answer["pid"] for answer in found["processes"]] == [70, 71, 72]
    assert found["missing"] == []


def test_a_request_is_broken_off_where_it_is(rig: Rig) -> None:
    elsewhere = {"found": False, "interrupted": False, "why": "not here"}
    here = {"found": True, "interrupted": True, "why": "so it is"}
    first = rig.add(Pretended(70, 0, {INTERRUPT: elsewhere}))
    rig.add(Pretended(71, 1, {INTERRUPT: here}))
    assert rig.questions.interrupt("x-1") == {"interrupted": True, "why": "so it is"}
    assert first.asked == [{"ask": INTERRUPT, "id": "x-1"}]


def test_why_nothing_is_broken_off(rig: Rig) -> None:
    assert rig.questions.interrupt("x-1") == {"interrupted": False, "why": "no process serves"}
    for number, why in enumerate(("no such request", "no such request", "blocked")):
        answer = {"found": False, "interrupted": False, "why": why}
        rig.add(Pretended(70 + number, number, {INTERRUPT: answer}))
    rig.add(Pretended(73, 3, {}))
    assert rig.questions.interrupt("x-1") == {
        "interrupted": False,
        "why": "no such request; blocked; no answer from process 3 (pid 73)",
    }


@pytest.fixture
def _log_levels() -> Iterator[None]:
    level = logs.logger.level
    yield
    logs.unset_level()
    logs.logger.setLevel(level)


@pytest.mark.usefixtures("_log_levels")
def test_a_log_level_is_told_and_kept_for_who_begins_later(rig: Rig) -> None:
    process = rig.add(Pretended(70, 0, {LOG_LEVEL: {"level": "error"}}))
    rig.add(Pretended(71, 1, {}))
    found = rig.questions.set_log_level("error")
    assert process.asked == [{"ask": LOG_LEVEL, "level": "error"}]
    assert (found["level"], found["processes"]) == ("error", [70])
    assert [each["pid"] for each in found["missing"]] == [71]
    assert logs.logger.level == logging.ERROR
    assert rig.log_level.asked == "error"
    with pytest.raises(ValueError, match="'nonsense' is none of debug, info"):
        rig.questions.set_log_level("nonsense")


@pytest.mark.usefixtures("_log_levels")
def test_a_level_is_taken_back_unless_the_options_have_done_so(tmp_path: Path) -> None:
    """Where a program around the server has its own log, no option says what its level was."""
    logs.logger.setLevel("WARNING")
    level = LogLevel()
    for name in ("debug", "critical"):
        level.ask(name)
        level.follow()
    level.leave()
    assert logs.logger.level == logging.WARNING
    level.leave()
    assert logs.logger.level == logging.WARNING
    level.follow()
    try:
        logs.configure(error_logfile=str(tmp_path / "log"), access_logfile="", log_level="info")
        level.leave()
        assert logs.logger.level == logging.INFO
        level.follow()
        logs.logger.setLevel(logging.NOTSET)  # as a configuration of the application's does
        logs.logger.handlers.clear()
        logs.reclaim()
        assert logs.logger.level == logging.CRITICAL
    finally:
        logs.release()


@pytest.mark.usefixtures("_log_levels")
def test_a_process_that_begins_takes_the_level_that_was_asked_for(rig: Rig) -> None:
    """Once it is known to who asks: what was said before it looks is there, later it is told."""
    rig.log_level.ask("critical")
    seen = threading.Event()

    def follow() -> None:
        rig.log_level.follow()
        seen.set()

    table = Answers(0, lambda: None).table
    Answering(rig.exchange, 0, table, follow).start()
    assert seen.wait(TIMEOUT)
    assert logs.logger.level == logging.CRITICAL
    rig.rows.append(Row(os.getpid(), 0))
    assert rig.questions.set_log_level("debug")["processes"] == [os.getpid()]
    assert logs.logger.level == logging.DEBUG
    [answer] = rig.questions.requests(stacks=False)["processes"]
    assert (answer["requests"], answer["loop"]["blocked"]) == ([], False)
    why = "this process has just begun"
    assert rig.questions.interrupt("x-1") == {"interrupted": False, "why": why}


def test_all_processes_see_the_level_until_it_is_forgotten() -> None:
    level = LogLevel()
    assert level.asked == ""
    for name in LEVELS:
        assert run_forked(lambda name=name: level.ask(name)) == 0  # type: ignore[misc]
        assert level.asked == name
    assert run_forked(level.forget) == 0
    assert level.asked == ""
    with pytest.raises(ValueError, match="'loud' is none of"):
        level.ask("loud")
