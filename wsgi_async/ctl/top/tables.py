"""The tables of ``top``: processes, requests in flight, and the stack of one. Pure; needs rich."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rich.text import Text

from wsgi_async.ctl.text import age, amount, shown, size

from .charts import rate
from .head import LATE, thread_bar
from .keys import Choices, Sort
from .look import Look, fit
from .model import BLOCKED, LIVE, Picture, ProcessLine, RequestLine

__all__ = ["processes", "requests", "stack", "worst_first"]

_SILENT = 3.0
"""Seconds without a sign of life from which on they are shown as trouble."""
_SLOW, _VERY_SLOW = 1.0, 10.0
"""Seconds of age."""


class Facet(NamedTuple):
    """What a column shows of a row."""

    title: str
    width: int
    cell: Callable[[Any, int, Look], tuple[str, str] | Text]
    """The text with its style, or a line of the width that it is given."""
    is_right: bool = True
    rank: int = 0
    """Of columns for which there is no room the highest go first."""
    stretch: int = 0
    """How many cells it may get beyond its width, of those that are left."""


def _fitting(facets: Sequence[Facet], width: int) -> list[tuple[Facet, int]]:
    kept = list(facets)
    while len(kept) > 1 and sum(f.width + 1 for f in kept) - 1 > width:
        kept.remove(max(kept, key=lambda facet: facet.rank))
    left = width - sum(facet.width + 1 for facet in kept) + 1
    widths = []
    for facet in kept:
        more = max(0, min(left, facet.stretch))
        left -= more
        widths.append((facet, facet.width + more))
    return widths


def _line(
    fitting: Sequence[tuple[Facet, int]], row: Any, width: int, look: Look, style: str = ""
) -> Text:
    line = Text()
    for number, (facet, cells) in enumerate(fitting):
        if number:
            line.append(" ")
        made = facet.cell(row, cells, look)
        text = made if isinstance(made, Text) else look.text(made)
        text = fit(text, cells, look) if text.cell_len > cells or not facet.is_right else text
        line.append(" " * (cells - text.cell_len))
        line.append_text(text)
    if style:
        line = Text(line.plain, look.styles[style])
    return fit(line, width, look, style)


def _heads(
    fitting: Sequence[tuple[Facet, int]], width: int, look: Look, sort: str = "", mark: str = ""
) -> Text:
    line = Text()
    for number, (facet, cells) in enumerate(fitting):
        word = facet.title + (mark if facet.title == sort else "")
        style = "sorted" if facet.title == sort else "column"
        padded = word.rjust(cells) if facet.is_right else word.ljust(cells)
        line.append((" " if number else "") + padded[:cells], look.styles[style])
    return fit(line, width, look)


# --- Processes


def _process_state(row: ProcessLine, width: int, look: Look) -> tuple[str, str]:
    if row.trouble:
        return row.trouble, "blocked"
    style = "good" if row.state == "ready" else "bad" if row.state == "doomed" else "changing"
    return row.state or "-", style


def _heard(row: ProcessLine, width: int, look: Look) -> tuple[str, str]:
    return age(row.heard), "bad" if (row.heard or 0) >= _SILENT else "quiet"


def _busy(row: ProcessLine, width: int, look: Look) -> tuple[str, str]:
    busy, idle = row.threads.get("busy"), row.threads.get("idle")
    if busy is None or idle is None:
        return "-", "quiet"
    return f"{amount(busy)}/{amount(busy + idle)}", "changing" if busy and not idle else ""


def _lost(row: ProcessLine, width: int, look: Look) -> tuple[str, str]:
    lost = row.threads.get("lost")
    return amount(lost), "bad" if lost else "quiet"


def _oldest(row: ProcessLine, width: int, look: Look) -> tuple[str, str]:
    if not row.queued:
        return "-", "quiet"
    return age(row.oldest_wait), "bad" if (row.oldest_wait or 0) >= LATE else "changing"


_PROCESSES = (
    Facet("PID", 7, lambda row, width, look: (shown(row.pid), "")),
    Facet("STATE", 8, _process_state, is_right=False),
    Facet("GEN", 4, lambda row, width, look: (amount(row.generation), "quiet"), rank=8),
    Facet("AGE", 6, lambda row, width, look: (age(row.age), ""), rank=6),
    Facet("HEARD", 6, _heard, rank=3),
    Facet("REQ/S", 6, lambda row, width, look: (rate(row.rate), "strong" if row.rate else "quiet")),
    Facet("REQUESTS", 10, lambda row, width, look: (amount(row.requests), ""), rank=9),
    Facet("NOW", 4, lambda row, width, look: (amount(row.in_flight), ""), rank=10),
    Facet(
        "THREADS",
        8,
        lambda row, width, look: thread_bar(row.threads, width, look),
        is_right=False,
        rank=5,
        stretch=60,
    ),
    Facet("BUSY", 6, _busy, rank=1),
    Facet("LOST", 4, _lost, rank=7),
    Facet(
        "QUEUE",
        5,
        lambda row, width, look: (amount(row.queued), "changing" if row.queued else "quiet"),
        rank=2,
    ),
    Facet("OLDEST", 6, _oldest, rank=4),
    Facet("CONNS", 6, lambda row, width, look: (amount(row.connections), ""), rank=4),
    Facet("MEMORY", 7, lambda row, width, look: (size(row.memory), ""), rank=3),
    Facet(
        "LIVE",
        6,
        lambda row, width, look: (amount(row.live), "live" if row.live else "quiet"),
        rank=12,
    ),
    Facet("FILES", 6, lambda row, width, look: (amount(row.files), "quiet"), rank=11),
)


def worst_first(rows: Sequence[ProcessLine]) -> list[ProcessLine]:
    """Those in trouble, then those with a queue, then the busiest: for where not all can be
    shown."""
    return sorted(
        rows,
        key=lambda row: (
            not row.trouble,
            row.state == "ready",
            -(row.queued or 0),
            -row.threads.get("lost", 0),
            -row.threads.get("busy", 0),
        ),
    )


def processes(now: Picture, width: int, height: int | None, look: Look) -> list[Text]:
    """The heads of the columns, and a line for each process.

    :param height: how many lines there may be; with None there are as many as it takes.
    """
    fitting = _fitting(_PROCESSES, width)
    rows = sorted(now.processes, key=lambda row: (row.number is None, row.number or 0))
    rest = 0
    if height is not None and len(rows) + 1 > height:
        shown_rows = worst_first(rows)[: max(height - 2, 0)]
        rest = len(rows) - len(shown_rows)
        rows = [row for row in rows if row in shown_rows]
    lines = [_heads(fitting, width, look), *(_line(fitting, row, width, look) for row in rows)]
    if rest:
        words = f"        {look.glyphs.more} and {amount(rest)} more, with less to tell"
        lines.append(fit(look.text((words, "quiet")), width, look))
    return lines if height is None else lines[: max(height, 0)]


# --- Requests in flight


def _request_age(row: RequestLine, width: int, look: Look) -> tuple[str, str]:
    seconds = 0.0 if row.state == LIVE else row.age or 0.0
    style = "bad" if seconds >= _VERY_SLOW else "changing" if seconds >= _SLOW else ""
    return age(row.age), style


def _request_state(row: RequestLine, width: int, look: Look) -> tuple[str, str]:
    return row.state, row.state if row.state in look.styles else ""


def _quiet(name: str) -> Callable[[Any, int, Look], tuple[str, str]]:
    return lambda row, width, look: (getattr(row, name), "quiet")


_REQUESTS = (
    Facet("AGE", 7, _request_age),
    Facet("PID", 7, lambda row, width, look: (shown(row.pid), ""), rank=2),
    Facet("STATE", 9, _request_state, is_right=False),
    Facet("THREAD", 13, _quiet("thread"), is_right=False, rank=6),
    Facet("METHOD", 7, lambda row, width, look: (row.method, "strong"), is_right=False),
    Facet(
        "TARGET",
        10,
        lambda row, width, look: (row.target, "bad" if row.state == BLOCKED else ""),
        is_right=False,
    ),
    Facet("CLIENT", 15, _quiet("client"), is_right=False, rank=4, stretch=6),
    Facet("IN", 7, lambda row, width, look: (size(row.received), "quiet"), rank=8),
    Facet("OUT", 7, lambda row, width, look: (size(row.sent), "quiet"), rank=7),
    Facet("ID", 32, _quiet("id"), is_right=False, rank=9),
)
_LEAST_TARGET = 24
"""Cells that the target gets before columns of less interest get any, or a third of all."""


def requests(
    rows: Sequence[RequestLine], chosen: int | None, choices: Choices, width: int, look: Look
) -> list[Text]:
    """The heads of the columns, and a line for each request.

    :param chosen: which of the rows is the chosen one; None for none.
    """
    wanted = [
        facet._replace(width=max(_LEAST_TARGET, width // 3)) if facet.title == "TARGET" else facet
        for facet in _REQUESTS
    ]
    fitting = _fitting(wanted if width >= 56 else _REQUESTS, width)
    left = width - sum(cells + 1 for _, cells in fitting) + 1
    fitting = [
        (facet, cells + max(0, left) if facet.title == "TARGET" else cells)
        for facet, cells in fitting
    ]
    falls = (choices.sort is Sort.AGE) != choices.is_reversed
    mark = look.glyphs.falling if falls else look.glyphs.rising
    lines = [_heads(fitting, width, look, choices.sort.value, mark)]
    for number, row in enumerate(rows):
        style = "selected" if number == chosen else ""
        lines.append(_line(fitting, row, width, look, style))
    return lines


# --- A stack

_CALL = re.compile(r'File "(?P<file>.*)", line (?P<line>[0-9]+), in (?P<name>.*)')

_WITHOUT = {
    "queued": "It waits for a thread: nobody works on it yet.",
    "receiving": "Its body is still coming: nobody works on it yet.",
    "live": "Its body is asynchronous, and has no thread; what it awaits is not known.",
    "parked": "It waits for its client, and has no thread meanwhile.",
    "sending": "The application is done; its client takes the response.",
}
"""Why there is no stack, by state."""


def stack(
    row: RequestLine | None, has_ended: bool, scroll: int, width: int, height: int, look: Look
) -> list[Text]:
    """`height` lines: the innermost calls, or those `scroll` lines further out."""
    lines: list[Text] = []
    if row is not None and row.stack:
        if has_ended:
            lines.append(look.text((" It has ended; this is what it did last.", "changing")))
        frames = [_frame(text, width, look) for text in row.stack]
        room = max(1, height - len(lines))
        last = max(min(len(frames), room), len(frames) - scroll)
        lines += frames[max(0, last - room) : last]
    elif has_ended:
        lines.append(look.text((" It has ended.", "quiet")))
    elif row is not None:
        words = _WITHOUT.get(row.state, "Its stack is being asked for.")
        lines.append(look.text((f" {words}", "quiet")))
    filled = [fit(line, width, look) for line in lines[:height]]
    return filled + [Text(" " * width)] * (height - len(filled))


def _frame(text: str, width: int, look: Look) -> Text:
    """The name of a function first, then the end of its file's path: its beginning is cut."""
    found = _CALL.fullmatch(text)
    if found is None:
        return look.text((f"     {text.strip()}", ""))
    name, place = found["name"], f"{found['file']}:{found['line']}"
    room = width - len(name) - 3
    is_theirs = any(part in found["file"] for part in _LIBRARIES)
    if len(place) > room > 1:
        place = look.glyphs.more + place[-(room - 1) :]
    style = "quiet" if is_theirs else "section"
    return look.text((f" {name}  ", style), (place, "quiet"))


_LIBRARIES = ("site-packages/", "dist-packages/", "/lib/python")
"""What is in such a file is not the application's own, and less likely to be the reason."""
