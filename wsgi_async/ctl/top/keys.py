"""The keys of ``top``: keys become actions, and actions other choices.

Pure: a test types what it likes.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from .model import BLOCKED, LIVE, RequestLine

__all__ = [
    "HELP",
    "INTERVALS",
    "Action",
    "Choices",
    "Mode",
    "Sort",
    "chosen",
    "follow",
    "listed",
    "press",
]

INTERVALS = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds between two questions, of which two keys choose."""

LONGEST_FILTER = 200


class Mode(enum.Enum):
    """What keys are for."""

    TABLE = "the table of requests"
    STACK = "the table, and beneath it the stack of one of them"
    FILTER = "a filter is being typed"
    HELP = "the page of keys"


class Sort(enum.Enum):
    """What requests are sorted by; the values are titles of columns."""

    AGE = "AGE"
    PROCESS = "PID"
    STATE = "STATE"
    METHOD = "METHOD"
    TARGET = "TARGET"
    CLIENT = "CLIENT"


class Action(enum.Enum):
    """What a key does; the values are what the page of keys says."""

    UP = "the request above"
    DOWN = "the request below"
    PAGE_UP = "ten requests up"
    PAGE_DOWN = "ten requests down"
    FIRST = "the first request"
    LAST = "the last request"
    OPEN = "show the stack of the chosen request, or hide it"
    SCROLL_UP = "the stack: towards its outermost call"
    SCROLL_DOWN = "the stack: towards its innermost call"
    BY_AGE = "sort by age"
    BY_PROCESS = "sort by process"
    BY_STATE = "sort by state"
    BY_METHOD = "sort by method"
    BY_TARGET = "sort by target"
    BY_CLIENT = "sort by client"
    REVERSE = "sort the other way round, as the key of the column again does"
    FILTER = "show only requests with all the words that you type"
    PAUSE = "hold everything, or go on"
    FASTER = "ask more often"
    SLOWER = "ask less often"
    HELP = "this page"
    BACK = "close what is open; then drop the filter"
    LEAVE = "leave"
    # While a filter is typed
    ACCEPT = "keep the filter"
    DROP = "have the filter of before"
    ERASE = "erase a character"
    CLEAR = "erase all"


_TABLE: dict[str, Action] = {
    **dict.fromkeys(("up", "k"), Action.UP),
    **dict.fromkeys(("down", "j"), Action.DOWN),
    **dict.fromkeys(("page up", "ctrl-b"), Action.PAGE_UP),
    **dict.fromkeys(("page down", "ctrl-f"), Action.PAGE_DOWN),
    **dict.fromkeys(("home", "g"), Action.FIRST),
    **dict.fromkeys(("end", "G"), Action.LAST),
    "enter": Action.OPEN,
    "a": Action.BY_AGE,
    "p": Action.BY_PROCESS,
    "s": Action.BY_STATE,
    "m": Action.BY_METHOD,
    "t": Action.BY_TARGET,
    "c": Action.BY_CLIENT,
    "r": Action.REVERSE,
    "/": Action.FILTER,
    "space": Action.PAUSE,
    "+": Action.FASTER,
    "-": Action.SLOWER,
    **dict.fromkeys(("?", "h", "f1"), Action.HELP),
    "escape": Action.BACK,
    **dict.fromkeys(("q", "Q", "ctrl-c"), Action.LEAVE),
}
KEYS: Mapping[Mode, Mapping[str, Action]] = {
    Mode.TABLE: _TABLE,
    Mode.STACK: {
        **_TABLE,
        **dict.fromkeys(("page up", "ctrl-b", "["), Action.SCROLL_UP),
        **dict.fromkeys(("page down", "ctrl-f", "]"), Action.SCROLL_DOWN),
    },
    Mode.FILTER: {
        "enter": Action.ACCEPT,
        "escape": Action.DROP,
        "backspace": Action.ERASE,
        "ctrl-u": Action.CLEAR,
        "ctrl-c": Action.LEAVE,
    },
    Mode.HELP: {
        **dict.fromkeys(("?", "h", "f1", "escape", "enter", "space"), Action.BACK),
        **dict.fromkeys(("q", "Q"), Action.BACK),
        "ctrl-c": Action.LEAVE,
    },
}
"""What keys do where. Any other one does nothing."""

_TOGETHER: Mapping[tuple[Action, ...], str] = {
    (
        Action.BY_AGE,
        Action.BY_PROCESS,
        Action.BY_STATE,
        Action.BY_METHOD,
        Action.BY_TARGET,
        Action.BY_CLIENT,
    ): "sort by age, process, state, method, target, client",
    (Action.FASTER, Action.SLOWER): "ask more often, less often",
}
"""Actions that have one line on the page of keys."""


def _help() -> list[tuple[str, str]]:
    keys = KEYS[Mode.STACK]
    lines: dict[str, list[str]] = {}
    for action in Action:
        group = next((words for those, words in _TOGETHER.items() if action in those), action.value)
        own = [key for key, other in keys.items() if other is action]
        if own:
            lines.setdefault(group, []).extend(own)
    return [(" ".join(own), words) for words, own in lines.items()]


HELP = _help()
"""Keys, and what they do, for people."""


@dataclass(frozen=True)
class Choices:
    """What whoever sits at the terminal has chosen."""

    mode: Mode = Mode.TABLE
    sort: Sort = Sort.AGE
    is_reversed: bool = False
    filter: str = ""
    chosen: str | None = None
    """The id of a request; None is whichever is first."""
    row: int = 0
    """Where that was last."""
    opened: RequestLine | None = None
    """Whose stack is shown, as it was seen last."""
    scroll: int = 0
    """Lines of the stack beneath what is shown."""
    is_paused: bool = False
    interval: float = 1.0
    under: Mode = Mode.TABLE
    """The mode that a filter or the page of keys leaves for."""
    former: str = ""
    """The filter before the one that is being typed."""
    is_leaving: bool = False


_STATES = (
    *("blocked", "lost", "running", "queued", "live", "parked", "sending", "receiving"),
    "abandoned",
)
"""In the order of their interest."""


def _state_order(row: RequestLine) -> int:
    return _STATES.index(row.state) if row.state in _STATES else len(_STATES)


_ORDERS: Mapping[Sort, Callable[[RequestLine], float | str]] = {
    Sort.AGE: lambda row: -(row.age or 0.0),
    Sort.PROCESS: lambda row: row.pid or 0,
    Sort.STATE: _state_order,
    Sort.METHOD: lambda row: row.method,
    Sort.TARGET: lambda row: row.target,
    Sort.CLIENT: lambda row: row.client,
}


def listed(rows: Sequence[RequestLine], choices: Choices) -> list[RequestLine]:
    """Those that the filter lets through, in their order; older ones first where they are equal.
    Loops that are blocked come before any."""
    words = choices.filter.lower().split()
    found = [row for row in rows if all(word in row.words for word in words)]
    found.sort(key=lambda row: row.age or 0.0, reverse=True)
    found.sort(key=_ORDERS[choices.sort], reverse=choices.is_reversed)
    if choices.sort is Sort.AGE:
        found.sort(key=lambda row: row.state == LIVE)  # they are meant to be old
    found.sort(key=lambda row: row.state != BLOCKED)
    return found


def chosen(rows: Sequence[RequestLine], choices: Choices) -> int:
    """Which of the rows listed is the chosen one: where that has gone, the one in its place."""
    if choices.chosen is None:
        return 0
    for number, row in enumerate(rows):
        if row.id == choices.chosen:
            return number
    return max(0, min(choices.row, len(rows) - 1))


def follow(choices: Choices, rows: Sequence[RequestLine]) -> Choices:
    """The same choices after an answer.

    :param rows: of the answer, filtered or not.
    """
    opened = choices.opened
    if opened is None:
        return choices
    for row in rows:
        if row.id == opened.id:
            return replace(choices, opened=row if row.stack else row._replace(stack=opened.stack))
    return choices


def press(choices: Choices, key: str, rows: Sequence[RequestLine]) -> Choices:
    """What is chosen after a key.

    :param rows: as :func:`listed` has them.
    """
    action = KEYS[choices.mode].get(key)
    if action is not None:
        return _DOES[action](choices, rows)
    if choices.mode is Mode.FILTER:
        typed = " " if key == "space" else key
        if len(typed) == 1 and typed.isprintable():
            return replace(choices, filter=(choices.filter + typed)[:LONGEST_FILTER])
    return choices


_Does = Callable[[Choices, Sequence[RequestLine]], Choices]


def _move(step: int) -> _Does:
    def move(choices: Choices, rows: Sequence[RequestLine]) -> Choices:
        if not rows:
            return choices
        row = max(0, min(chosen(rows, choices) + step, len(rows) - 1))
        moved = replace(choices, chosen=rows[row].id, row=row)
        if choices.mode is Mode.STACK:
            moved = replace(moved, opened=rows[row], scroll=0)
        return moved

    return move


def _first(choices: Choices, rows: Sequence[RequestLine]) -> Choices:
    return replace(_move(-len(rows))(choices, rows), chosen=None)


def _open(choices: Choices, rows: Sequence[RequestLine]) -> Choices:
    if choices.mode is Mode.STACK:
        return _close(choices, rows)
    if not rows:
        return choices
    row = chosen(rows, choices)
    return replace(
        choices, mode=Mode.STACK, opened=rows[row], chosen=rows[row].id, row=row, scroll=0
    )


def _close(choices: Choices, rows: Sequence[RequestLine]) -> Choices:
    if choices.mode is Mode.TABLE:
        return replace(choices, filter="")
    if choices.mode is Mode.STACK:
        return replace(choices, mode=Mode.TABLE, opened=None, scroll=0)
    return replace(choices, mode=choices.under, under=Mode.TABLE, former="")


def _over(mode: Mode) -> _Does:
    def over(choices: Choices, rows: Sequence[RequestLine]) -> Choices:
        return replace(choices, mode=mode, under=choices.mode, former=choices.filter)

    return over


def _scroll(lines: int) -> _Does:
    def scroll(choices: Choices, rows: Sequence[RequestLine]) -> Choices:
        stack = choices.opened.stack if choices.opened is not None else None
        most = max(0, len(stack or ()) - 1)
        return replace(choices, scroll=max(0, min(choices.scroll + lines, most)))

    return scroll


def _sort(sort: Sort) -> _Does:
    def by(choices: Choices, rows: Sequence[RequestLine]) -> Choices:
        turned = choices.sort is sort and not choices.is_reversed
        return replace(choices, sort=sort, is_reversed=turned)

    return by


def _pace(step: int) -> _Does:
    def pace(choices: Choices, rows: Sequence[RequestLine]) -> Choices:
        nearest = min(INTERVALS, key=lambda seconds: abs(seconds - choices.interval))
        at = max(0, min(INTERVALS.index(nearest) + step, len(INTERVALS) - 1))
        return replace(choices, interval=INTERVALS[at])

    return pace


_DOES: Mapping[Action, _Does] = {
    Action.UP: _move(-1),
    Action.DOWN: _move(1),
    Action.PAGE_UP: _move(-10),
    Action.PAGE_DOWN: _move(10),
    Action.FIRST: _first,
    Action.LAST: lambda choices, rows: _move(len(rows))(choices, rows),
    Action.OPEN: _open,
    Action.SCROLL_UP: _scroll(5),
    Action.SCROLL_DOWN: _scroll(-5),
    Action.BY_AGE: _sort(Sort.AGE),
    Action.BY_PROCESS: _sort(Sort.PROCESS),
    Action.BY_STATE: _sort(Sort.STATE),
    Action.BY_METHOD: _sort(Sort.METHOD),
    Action.BY_TARGET: _sort(Sort.TARGET),
    Action.BY_CLIENT: _sort(Sort.CLIENT),
    Action.REVERSE: lambda choices, rows: replace(choices, is_reversed=not choices.is_reversed),
    Action.FILTER: _over(Mode.FILTER),
    Action.PAUSE: lambda choices, rows: replace(choices, is_paused=not choices.is_paused),
    Action.FASTER: _pace(-1),
    Action.SLOWER: _pace(1),
    Action.HELP: _over(Mode.HELP),
    Action.BACK: _close,
    Action.LEAVE: lambda choices, rows: replace(choices, is_leaving=True),
    Action.ACCEPT: _close,
    Action.DROP: lambda choices, rows: replace(_close(choices, rows), filter=choices.former),
    Action.ERASE: lambda choices, rows: replace(choices, filter=choices.filter[:-1]),
    Action.CLEAR: lambda choices, rows: replace(choices, filter=""),
}
