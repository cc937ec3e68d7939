"""What a terminal is shown: tables as wide as it is, units, colours, and nothing that steers it."""

from __future__ import annotations

import enum
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TextIO

__all__ = [
    "Cell",
    "Column",
    "Paint",
    "Screen",
    "age",
    "amount",
    "clean",
    "clock",
    "cut",
    "listed",
    "many",
    "shown",
    "size",
    "table",
]

NOTHING = "-"
"""What is not known, or not there."""

_GAP = "  "
_NARROWEST = 12
"""Columns that the last cell of a row has at least."""


class Paint(enum.Enum):
    """What a colour means, as of ECMA-48's SGR."""

    PLAIN = ""
    GOOD = "32"
    CHANGING = "33"
    BAD = "31"
    HEAD = "1"
    QUIET = "2"


class Cell(NamedTuple):
    """A text, and how it is painted."""

    text: str
    paint: Paint = Paint.PLAIN


class Column(NamedTuple):
    """A column of a table."""

    head: str
    is_right: bool = True
    """Whether its texts end at its right side, as numbers do."""
    weight: int = 9
    """Of columns for which there is no room the lightest ones go first; 9 never goes."""


class Screen(NamedTuple):
    """What there is to write on.

    Colours are for a terminal that has them and whose user has not set ``NO_COLOR``
    (https://no-color.org); elsewhere lines are as long as they are.
    """

    width: int | None
    has_colours: bool

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str]) -> Screen:
        """That of a stream."""
        if not stream.isatty():
            return cls(None, False)
        has_colours = not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb"
        return cls(max(20, shutil.get_terminal_size().columns), has_colours)

    def painted(self, text: str, paint: Paint) -> str:
        """The text in that colour."""
        if not self.has_colours or paint is Paint.PLAIN or not text:
            return text
        return f"\x1b[{paint.value}m{text}\x1b[0m"

    def cut(self, text: str) -> str:
        """The text, no longer than a line."""
        return text if self.width is None else cut(text, self.width)


# --- Texts


def clean(text: object) -> str:
    """The text on one line, without anything that a terminal would obey: what is not printable
    (controls, separators of lines, marks that change the direction) becomes ``\\xHH``."""
    text = str(text)
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    code = ord(letter)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def cut(text: str, width: int) -> str:
    """The text, no longer than that."""
    return text if len(text) <= width else text[: max(width - 3, 0)] + "..."[:width]


def shown(value: object) -> str:
    """A value of an answer, or that it is not known."""
    return NOTHING if value is None or value == "" else clean(value)


def listed(head: str, parts: Sequence[Cell | str], screen: Screen) -> list[str]:
    """The parts behind the head, with commas, on as many lines as they take."""
    lines, used, room = [head], len(head), len(head)
    for number, part in enumerate(parts):
        text, paint = part if isinstance(part, Cell) else Cell(part)
        comma = "," if number + 1 < len(parts) else ""
        if used > room:
            if screen.width is None or used + 1 + len(text + comma) <= screen.width:
                lines[-1] += " "
                used += 1
            else:
                lines.append(" " * room)
                used = room
        if screen.width is not None:
            text = cut(text, max(screen.width - used - len(comma), _NARROWEST))
        lines[-1] += screen.painted(text, paint) + comma
        used += len(text + comma)
    return lines


# --- Units


def amount(count: float | None) -> str:
    """``12,345``."""
    return NOTHING if count is None else f"{count:,.0f}"


def many(count: int, noun: str) -> str:
    """``1 process``, ``2 processes``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "es" if noun.endswith("s") else "s")


def size(count: float | None) -> str:
    """Bytes, by powers of 1024: ``512 B``, ``64.1 M``."""
    if count is None:
        return NOTHING
    for unit in "BKMGT":
        if abs(count) < 999.5 or unit == "T":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" or count >= 99.95 else f"{count:.1f} {unit}"


def age(seconds: float | None) -> str:
    """``0.4s``, ``12s``, ``3m12s``, ``2h05m``, ``4d03h``."""
    if seconds is None:
        return NOTHING
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f}s"
    whole = round(seconds)
    for high, low, unit, under in (
        (86400, 3600, "d", "h"),
        (3600, 60, "h", "m"),
        (60, 1, "m", "s"),
    ):
        if whole >= high:
            return f"{whole // high}{unit}{whole % high // low:02d}{under}"
    return f"{whole}s"


def clock(at: float | None) -> str:
    """Local time, of seconds since the epoch: ``14:03:07``, with its day where that is another."""
    if at is None:
        return NOTHING
    then, now = time.localtime(at), time.localtime()
    return time.strftime("%H:%M:%S" if then[:3] == now[:3] else "%Y-%m-%d %H:%M:%S", then)


# --- Tables


def table(
    columns: Sequence[Column], rows: Iterable[Sequence[Cell | str]], screen: Screen
) -> list[str]:
    """The lines of a table, its heads first; clean() is the caller's to call. Where it is too wide
    for the screen, light columns go, and then the texts of the last one are cut."""
    texts = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    widths = [
        max([len(column.head), *(len(row[number].text) for row in texts)])
        for number, column in enumerate(columns)
    ]
    kept = _kept(columns, widths, screen.width)
    last = kept[-1]
    if screen.width is not None:
        room = screen.width - sum(widths[number] + len(_GAP) for number in kept[:-1])
        widths[last] = min(widths[last], max(room, _NARROWEST))
    heads = [Cell(column.head, Paint.HEAD) for column in columns]
    return [_line(columns, row, kept, widths, screen) for row in (heads, *texts)]


def _kept(columns: Sequence[Column], widths: Sequence[int], room: int | None) -> list[int]:
    """Which columns there is room for."""
    kept = list(range(len(columns)))
    if room is None:
        return kept
    while True:
        last = kept[-1]
        needed = sum(widths[number] + len(_GAP) for number in kept[:-1])
        needed += widths[last] if columns[last].is_right else min(widths[last], _NARROWEST)
        lightest = min(kept, key=lambda number: (columns[number].weight, -number))
        if needed <= room or columns[lightest].weight >= 9:
            return kept
        kept.remove(lightest)


def _line(
    columns: Sequence[Column],
    cells: Sequence[Cell],
    kept: Sequence[int],
    widths: Sequence[int],
    screen: Screen,
) -> str:
    parts = []
    for number in kept:
        width, (text, paint) = widths[number], cells[number]
        text = cut(text, width)
        padding = " " * (width - len(text))
        painted = screen.painted(text, paint)
        if columns[number].is_right:
            parts.append(padding + painted)
        else:
            parts.append(painted + (padding if number != kept[-1] else ""))
    return _GAP.join(parts).rstrip(" ")
