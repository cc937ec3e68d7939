"""top where there is no terminal, or no rich; and the thread that asks."""

from __future__ import annotations

import json
import queue
import sys
from pathlib import Path
from typing import Any

import pytest
from control_answers import Shop
from control_sockets import Asked, ControlSocket, run
from rawclient import TIMEOUT

from wsgi_async.ctl.exits import Exit, Failed
from wsgi_async.ctl.top.feed import Feed
from wsgi_async.ctl.top.reading import Json
from wsgi_async.ctl.top.showing import top


class Live(Shop):
    """In which something happens with each question."""

    def ask(self, target: str) -> dict[str, Any]:
        if target == "/status":
            self.turn(1.0, s2xx=40)
        return super().ask(target)


def test_without_a_terminal_it_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert top(Live().ask, interval=0.01) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "2xx       40/s" in text
    assert "/reports/yearly" in text


def test_as_data_it_is_printed_once_and_needs_no_rich(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("rich", "rich.console"):
        monkeypatch.setitem(sys.modules, name, None)
    assert top(Live().ask, interval=0.01, as_data=True) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["rates"]["all"] == 40
    assert data["status"]["fleet"]["ready"] == 4


def test_without_rich_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with pytest.raises(Failed, match=r"pip install 'wsgi_async\[top\]', or use --json") as failed:
        top(Live().ask, interval=0.01)
    assert failed.value.code is Exit.WRONG


def test_nobody_there_is_an_error_before_anything_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def ask(target: str) -> Json:
        raise Failed(Exit.UNREACHABLE, "There is no /run/x.sock")

    with pytest.raises(Failed, match="There is no /run/x"):
        top(ask, interval=0.01)
    assert capsys.readouterr().out == ""


class Slow:
    """A server that answers when the test lets it."""

    def __init__(self) -> None:
        self.shop = Shop()
        self.targets: queue.Queue[str] = queue.Queue()
        self.failure: BaseException | None = None
        self.taken: queue.Queue[None] = queue.Queue()

    def ask(self, target: str) -> Json:
        self.targets.put(target)
        if self.failure is not None:
            raise self.failure
        return self.shop.ask(target)

    def next(self) -> str:
        return self.targets.get(timeout=TIMEOUT)


def test_it_asks_for_stacks_only_while_one_is_shown() -> None:
    server = Slow()
    feed = Feed(server.ask, lambda: server.taken.put(None), 0.01)
    feed.want(stack_of=None, held=True, interval=0.01)
    feed.start()
    try:
        assert server.targets.empty()  # all is held
        feed.want(stack_of="r-1", held=True, interval=0.01)  # but for a stack
        assert [server.next(), server.next()] == ["/status", "/requests?stacks=1"]
        server.taken.get(timeout=TIMEOUT)
        [answer] = feed.take()
        assert answer.requests is not None
        feed.want(stack_of="r-2", held=True, interval=0.01)
        assert [server.next(), server.next()] == ["/status", "/requests?stacks=1"]
        server.taken.get(timeout=TIMEOUT)
        assert server.targets.empty()
        feed.want(stack_of=None, held=False, interval=0.01)
        assert [server.next(), server.next()] == ["/status", "/requests?stacks=0"]
    finally:
        feed.stop()
    assert not feed.is_alive


def test_who_does_not_answer_is_asked_again() -> None:
    server = Slow()
    server.failure = Failed(Exit.UNREACHABLE, "Nobody listens")
    feed = Feed(server.ask, lambda: server.taken.put(None), 0.01)
    feed.start()
    try:
        server.taken.get(timeout=TIMEOUT)
        assert feed.take()[0].failure == "Nobody listens"
        server.failure = None
        answered = False
        while not answered:
            server.taken.get(timeout=TIMEOUT)
            answered = any(answer.status is not None for answer in feed.take())
    finally:
        feed.stop()


def test_a_fault_of_ours_is_no_silence() -> None:
    """The thread that asks would otherwise end, and the screen stand still."""
    server = Slow()
    server.failure = ZeroDivisionError()
    feed = Feed(server.ask, lambda: server.taken.put(None), 0.01)
    feed.start()
    server.taken.get(timeout=TIMEOUT)
    with pytest.raises(ZeroDivisionError):
        feed.take()
    feed.stop()


def test_the_command_asks_the_socket_that_it_finds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = Live()

    def answer(asked: Asked) -> tuple[int, Any]:
        return 200, shop.ask(asked.target)

    with ControlSocket(tmp_path / "c", answer) as control:
        ended = run(capsys, "--json", "top", "-s", control.path, "--interval", "100ms")
        assert ended.code == Exit.DONE
        assert json.loads(ended.out)["rates"]["all"] == 40
        ended = run(capsys, "top", "-s", control.path, "-i", "0.1")
        assert "/reports/yearly" in ended.out
        ended = run(capsys, "top", "-s", control.path, "-i", "1ms")
    assert (ended.code, ended.out) == (Exit.WRONG, "")
    assert "--interval is at least 100ms" in ended.error
