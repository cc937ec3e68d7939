"""The screen of ``top``, put together; and the same on paper, once. Pure; needs rich."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from wsgi_async.ctl.text import amount

from . import head, tables
from .head import Standing
from .keys import HELP, Choices, Mode, chosen, listed
from .look import Look, beside, boxed, fit, ruled
from .model import Picture, RequestLine, Trends

__all__ = ["Painter", "Size", "Standing", "page", "screen"]


class Size(NamedTuple):
    """Cells of a terminal."""

    columns: int
    rows: int


_FRAMED = Size(110, 34)
"""From this size on sections have frames."""
_SIDE_BY_SIDE = 64
"""Columns from which on figures stand in two columns."""


class _Place(NamedTuple):
    """What is on the screen, and how large."""

    is_framed: bool
    head: int
    """Lines of figures."""
    processes: int
    """Lines of the table of processes, heads included; 0 where it is left out."""
    requests: int
    """Lines of the table of requests, heads included."""
    stack: int


def screen(
    now: Picture,
    trends: Trends,
    choices: Choices,
    standing: Standing,
    size: Size,
    look: Look,
) -> list[Text]:
    """The lines of a whole screen: each as wide as it is, and as many as it has."""
    width = max(size.columns, 1)
    height = max(size.rows, 1)
    if choices.mode is Mode.HELP:
        lines = _help(choices, width, look)
        body = [*lines, *[Text(" " * width)] * height][: height - 1]
        return [*body, _foot(choices, width, look)][-height:]
    rows = listed(now.requests, choices)
    place = _places(len(now.processes), choices, Size(width, height))
    lines = [head.title(now, standing, width, look)]
    if height >= 8:
        lines.append(head.note(now, standing, width, look))
    lines += _head(now, trends, width, place.head, look, is_framed=place.is_framed)
    if place.processes:
        lines += _process_section(now, width, place.processes, look, is_framed=place.is_framed)
    lines += _request_section(now, rows, choices, width, place, look)
    if place.stack:
        lines += _stack_section(now, choices, width, place, look)
    lines = [*lines, *[Text(" " * width)] * height][: height - 1]
    return [*lines, _foot(choices, width, look)][-height:]


def page(now: Picture, trends: Trends, width: int, look: Look) -> list[Text]:
    """All there is to show, in as many lines as it takes."""
    choices = Choices()
    rows = listed(now.requests, choices)
    table = tables.requests(rows, None, choices, width, look)
    return [
        head.title(now, Standing(), width, look),
        head.note(now, Standing(), width, look),
        *_head(now, trends, width, 6, look, is_framed=False),
        *ruled(
            look.text(("Processes", "section")),
            _ready(now, look),
            tables.processes(now, width, None, look),
            width,
            look,
        ),
        *ruled(
            look.text(("In flight", "section")),
            _counted(now, rows, choices, look),
            table,
            width,
            look,
        ),
    ]


def _places(processes: int, choices: Choices, size: Size) -> _Place:
    is_framed = size.columns >= _FRAMED.columns and size.rows >= _FRAMED.rows
    edges = 2 if is_framed else 1
    left = size.rows - 2 - (size.rows >= 8)  # title, note, foot
    head = 8 if is_framed else 6 if size.rows >= 20 else 3 if size.rows >= 12 else 0
    left -= head + (2 if is_framed else 0)
    is_open = choices.opened is not None and choices.mode is not Mode.TABLE
    table = 0
    if size.rows >= 16 and not (is_open and size.rows < _FRAMED.rows):
        # A third of what is left, and enough for four processes; the rest is for requests.
        table = min(processes + 1, max(left // 3, 6) - edges)
        left -= table + edges
    left -= edges
    stack = 0
    if is_open and left >= 8:
        stack = left * 3 // 5
        left -= stack
        stack -= edges
    return _Place(is_framed, head, table, max(left, 0), stack)


Section = Callable[[Text, Text, Sequence[Text], int, Look], list[Text]]


def _section(is_framed: bool) -> tuple[Section, int]:
    """How one is made, and how many cells of a line that takes."""
    return (boxed, 4) if is_framed else (ruled, 0)


def _head(
    now: Picture, trends: Trends, width: int, height: int, look: Look, *, is_framed: bool
) -> list[Text]:
    if not height:
        return []
    if is_framed:
        left = width * 9 // 20
        right = width - left
        words = look.text((f"{amount(now.in_flight)} in flight", "strong"))
        return [
            a + b
            for a, b in zip(
                boxed(
                    look.text(("Requests in a second", "section")),
                    Text(""),
                    head.requests(now, trends, left - 4, height, look),
                    left,
                    look,
                ),
                boxed(
                    look.text(("All processes", "section")),
                    words,
                    head.gauges(now, trends, right - 4, height, look),
                    right,
                    look,
                ),
                strict=True,
            )
        ]
    inner = width - 2
    if width < _SIDE_BY_SIDE:
        first = head.requests(now, trends, inner, 1, look)
        lines = [*first, *head.gauges(now, trends, inner, height - 1, look)]
    else:
        left = (inner - 2) * 2 // 5
        lines = beside(
            head.requests(now, trends, left, height, look),
            head.gauges(now, trends, inner - 2 - left, height, look),
        )
    return [fit(Text(" ") + line, width, look) for line in lines]


def _process_section(
    now: Picture, width: int, height: int, look: Look, *, is_framed: bool
) -> list[Text]:
    section, edges = _section(is_framed)
    lines = tables.processes(now, width - edges, height, look)
    lines += [Text(" " * (width - edges))] * (height - len(lines))
    return section(look.text(("Processes", "section")), _ready(now, look), lines, width, look)


def _ready(now: Picture, look: Look) -> Text:
    ready = sum(row.state == "ready" for row in now.processes)
    words = f"{amount(ready)} of {amount(now.wanted)} ready"
    return look.text((words, "quiet" if ready == now.wanted else "changing"))


def _request_section(
    now: Picture,
    rows: Sequence[RequestLine],
    choices: Choices,
    width: int,
    place: _Place,
    look: Look,
) -> list[Text]:
    section, edges = _section(place.is_framed)
    inner = width - edges
    room = max(place.requests - 1, 0)
    at = chosen(rows, choices)
    first = max(0, min(at - room // 2, len(rows) - room))
    seen = rows[first : first + room]
    lines = tables.requests(seen, at - first if rows else None, choices, inner, look)
    if not rows and room:
        words = "No request is in flight." if not now.requests else "None has all these words."
        lines.append(fit(look.text((f"  {words}", "quiet")), inner, look))
    lines = [*lines, *[Text(" " * inner)] * place.requests][: place.requests]
    return section(
        look.text(("In flight", "section")), _counted(now, rows, choices, look), lines, width, look
    )


def _counted(now: Picture, rows: Sequence[RequestLine], choices: Choices, look: Look) -> Text:
    pieces: list[tuple[str, str]] = []
    if choices.filter and choices.mode is not Mode.FILTER:
        pieces += [(f"/{choices.filter}", "changing"), (f" {amount(len(rows))} of ", "quiet")]
    pieces.append((amount(now.in_flight), "strong" if now.in_flight else "quiet"))
    if now.more:
        pieces.append((f", {amount(now.more)} not listed", "changing"))
    if now.missing:
        named = " ".join(str(pid) for pid in now.missing[:3])
        more = look.glyphs.more if len(now.missing) > 3 else ""
        pieces.append((f", without process {named}{more}", "bad"))
    return look.text(*pieces)


def _stack_section(
    now: Picture, choices: Choices, width: int, place: _Place, look: Look
) -> list[Text]:
    section, edges = _section(place.is_framed)
    row = choices.opened
    has_ended = row is not None and all(other.id != row.id for other in now.requests)
    lines = tables.stack(row, has_ended, choices.scroll, width - edges, place.stack, look)
    told = Text("")
    if row is not None:
        told = look.text((f"{row.method} ".lstrip(), "strong"), (row.target[: width // 2], ""))
    title = look.text(("Stack ", "section")) + told
    # The id is what an interrupt is told; there is room for it only where there is much.
    right = " ".join(part for part in (row.thread, row.id) if part) if row is not None else ""
    return section(title, look.text((right, "quiet")), lines, width, look)


_HINTS: dict[Mode, tuple[tuple[str, str], ...]] = {
    Mode.TABLE: (
        ("q", "leave"),
        ("?", "help"),
        ("enter", "stack"),
        ("/", "filter"),
        ("space", "hold"),
        ("a p s m t c", "sort"),
        ("r", "turn"),
        ("+ -", "pace"),
    ),
    Mode.STACK: (
        ("enter", "close"),
        ("up down", "others"),
        ("[ ]", "scroll"),
        ("space", "hold"),
        ("/", "filter"),
        ("q", "leave"),
    ),
    Mode.FILTER: (("enter", "keep"), ("escape", "as before"), ("ctrl-u", "erase")),
    Mode.HELP: (("escape", "back"), ("ctrl-c", "leave")),
}


def _foot(choices: Choices, width: int, look: Look) -> Text:
    line = Text(" ")
    if choices.mode is Mode.FILTER:
        line += look.text(("/", "key"), (choices.filter, "strong"), (look.glyphs.cursor, "key"))
        line.append("   ")
    for key, word in _HINTS[choices.mode]:
        piece = look.text((key, "key"), (f" {word}  ", "quiet"))
        if line.cell_len + piece.cell_len - 2 > width:
            break
        line += piece
    pace = look.text((f"each {choices.interval:g} s ", "quiet"))
    if line.cell_len + pace.cell_len <= width and choices.mode in (Mode.TABLE, Mode.STACK):
        line.append(" " * (width - line.cell_len - pace.cell_len))
        line += pace
    return fit(line, width, look)


def _help(choices: Choices, width: int, look: Look) -> list[Text]:
    lines = [fit(look.text((" Keys of top", "name")), width, look, "title"), Text(" " * width)]
    for keys, what in HELP:
        lines.append(fit(look.text((f"  {keys:<18} ", "key"), (what, "")), width, look))
    notes = (
        "A request is where its state says: receiving (its body comes), queued (for a thread),",
        "running, sending (to its client), live (an asynchronous body, without a thread),",
        "parked (waits for its client, likewise),",
        "abandoned (its client has gone), lost (its thread was given up).",
    )
    lines.append(Text(" " * width))
    return lines + [fit(look.text((f"  {note}", "quiet")), width, look) for note in notes]


class Painter:
    """Makes lines what a terminal is written.

    :param console: whose colours they get; its width does not matter.
    """

    def __init__(self, console: Console) -> None:
        self._console = Console(
            file=io.StringIO(),
            force_terminal=console.is_terminal,
            color_system=console.color_system if console.is_terminal else None,  # type: ignore[arg-type]
            no_color=console.no_color,
            width=10_000,
            markup=False,
            emoji=False,
            highlight=False,
            legacy_windows=False,
        )

    def paint(self, lines: Sequence[Text]) -> list[str]:
        painted = []
        for line in lines:
            with self._console.capture() as capture:
                self._console.print(line, end="", no_wrap=True, overflow="ignore", crop=False)
            painted.append(capture.get())
        return painted
