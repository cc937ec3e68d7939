"""Shows it: once, or until somebody leaves."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from wsgi_async.ctl.exits import Exit, Failed

from .feed import Answer, Ask, Feed, ask_once
from .keys import Choices, follow, listed, press
from .model import Picture, Trends, as_json, picture
from .reading import Json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from .look import Look
    from .terminal import Terminal

__all__ = ["top"]

_LATE = 2.0
"""Seconds that an answer may be overdue before that is said."""

_SILENT = "No answer: its operations process hangs, or starts only now; clients are served"

_TICK = 1.0
"""Seconds until the screen is looked at again where nothing happens: how long an answer is overdue
is shown."""


def top(
    ask: Ask,
    *,
    interval: float = 1.0,
    as_data: bool = False,
    write: Callable[[str], None] = print,
) -> int:
    """Show the server until somebody leaves; the exit code.

    Where standard input or output is no terminal, or a dumb one, it is shown once, after one
    interval: what happens in a second takes two answers.

    :param ask: gives the answer to a target, as ``/status``.
    :param interval: seconds between two questions, at least 0.1.
    :param as_data: write once, as JSON.
    :param write: writes what is shown once, with the end of a line behind it.
    :raises Failed: there is no answer to the first question, or no rich.
    """
    if as_data:
        before, after = _two_answers(ask, interval)
        data = as_json(before.status, after.status or {}, after.requests)
        write(json.dumps(data, indent=2))
        return Exit.DONE
    try:
        from rich.console import Console
    except ImportError:
        raise Failed(
            Exit.WRONG, "top needs rich: pip install 'wsgi_async[top]', or use --json"
        ) from None
    console = Console()
    if console.is_dumb_terminal or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return _print_once(ask, interval, console, write)
    return _live(ask, interval, console)


def _two_answers(ask: Ask, interval: float) -> tuple[Answer, Answer]:
    before = Answer(ask("/status"), None)
    time.sleep(interval)
    return before, ask_once(ask, stacks=False)


def _look(console: Console) -> Look:
    from .look import Look

    colours = console.is_terminal and console.color_system is not None and not console.no_color
    return Look.of(colours=colours, unicode=console.encoding.startswith("utf"))


def _print_once(ask: Ask, interval: float, console: Console, write: Callable[[str], None]) -> int:
    from .view import Painter, page

    before, after = _two_answers(ask, interval)
    now = picture(before.status, after.status or {}, after.requests)
    trends = Trends()
    trends.add(now)
    lines = Painter(console).paint(page(now, trends, console.width, _look(console)))
    write("\n".join(line.rstrip() for line in lines))
    return Exit.DONE


def _live(ask: Ask, interval: float, console: Console) -> int:
    from .terminal import Terminal
    from .view import Painter

    first = ask_once(ask, stacks=False)  # before the screen is taken: an error is a line
    terminal = Terminal(sys.stdin.fileno(), sys.stdout.fileno(), console.encoding)
    feed = Feed(ask, terminal.wake, interval)
    with terminal:
        feed.start()
        try:
            view = _View(terminal, feed, _look(console), Painter(console).paint, interval)
            view.learn(first)
            view.run()
        finally:
            feed.stop()
    if not feed.is_alive:  # otherwise it ends with the process
        terminal.close()
    return terminal.exit_code


class _View:
    """What is on the screen, and what changes it: answers, keys, and time."""

    def __init__(
        self,
        terminal: Terminal,
        feed: Feed,
        look: Look,
        paint: Callable[[list[Text]], list[str]],
        interval: float,
    ) -> None:
        self._terminal = terminal
        self._feed = feed
        self._look = look
        self._paint = paint
        self._choices = Choices(interval=interval)
        self._trends = Trends()
        self._picture = Picture()
        self._before: Json | None = None
        self._failure = ""
        self._answered = time.monotonic()

    def learn(self, answer: Answer) -> None:
        """Take in an answer."""
        if answer.status is None:
            self._failure = answer.failure
            return
        self._failure, self._answered = "", time.monotonic()
        now = picture(self._before, answer.status, answer.requests)
        self._choices = follow(self._choices, now.requests)
        if self._choices.is_paused:
            return  # but for a stack that is asked for meanwhile
        self._before = answer.status
        if now.rates.all is not None:
            self._trends.add(now)
        self._picture = now

    def run(self) -> None:
        """Until somebody leaves."""
        from .terminal import Event

        while not self._choices.is_leaving:
            self._draw()
            heard = self._terminal.wait(_TICK)
            if Event.ENDED in heard.events:
                return
            for key in heard.keys:
                rows = listed(self._picture.requests, self._choices)
                self._choices = press(self._choices, key, rows)
            choices = self._choices
            self._feed.want(
                stack_of=choices.opened.id if choices.opened is not None else None,
                held=choices.is_paused,
                interval=choices.interval,
            )
            for answer in self._feed.take():
                self.learn(answer)

    def _draw(self) -> None:
        from .view import Size, Standing, screen

        silent = time.monotonic() - self._answered
        late = silent > self._choices.interval + _LATE and not self._choices.is_paused
        failure = self._failure or (_SILENT if late else "")
        standing = Standing(failure, silent, self._choices.is_paused)
        size = Size(*self._terminal.size)
        lines = screen(self._picture, self._trends, self._choices, standing, size, self._look)
        self._terminal.draw(self._paint(lines))
