"""Bars and charts made of characters, for :mod:`~wsgi_async.ctl.top`. Pure; any thread."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from wsgi_async.ctl.text import NOTHING, amount

__all__ = [
    "ASCII",
    "UNICODE",
    "Glyphs",
    "chart",
    "portions",
    "rate",
]


class Glyphs(NamedTuple):
    """The characters that are no words."""

    levels: str
    """Heights of a column in a chart: nothing, then from the least to a full cell."""
    busy: str
    aside: str
    idle: str
    lost: str
    rule: str
    corners: str
    """Of a box: upper left and right, lower left and right."""
    side: str
    falling: str
    """Beside the title of the column that is sorted by, the largest first."""
    rising: str
    dot: str
    more: str
    """In place of what there is no room for."""
    cursor: str
    separator: str


UNICODE = Glyphs(
    *(" ▁▂▃▄▅▆▇█", "■", "▪", "·", "×", "─", "╭╮╰╯", "│", "▼", "▲", "●", "…", "█", "·"),  # noqa: RUF001
)
ASCII = Glyphs(
    *(" .:-=+*%#", "#", "=", ".", "x", "-", "++++", "|", "v", "^", "*", "~", "_", "-"),
)
"""For where the encoding has no others."""


def rate(value: float | None) -> str:
    """So many in a second, in six characters at most: ``0.3``, ``42``, ``1,234``, ``12.3k``."""
    if value is None:
        return NOTHING
    if 0 < value < 9.95 and value != int(value):
        return f"{max(value, 0.1):.1f}"
    if value < 9999.5:
        return amount(value)
    value /= 1000
    return f"{value:.1f}k" if value < 999.95 else f"{value / 1000:.1f}M"


def portions(values: Sequence[float], width: int) -> list[int]:
    """How many of `width` cells each value gets as its share of their sum: what is not 0 gets one
    at least, as long as there are enough of them."""
    total = sum(values)
    if total <= 0 or width <= 0:
        return [0] * len(values)
    exact = [value * width / total for value in values]
    cells = [math.floor(share) if share >= 1 else math.ceil(share) for share in exact]
    # The last cells go to, or come from, those that are furthest from their share.
    while (left := width - sum(cells)) > 0:
        cells[max(range(len(cells)), key=lambda i: exact[i] - cells[i])] += 1
    for _ in range(-left):
        cells[max(range(len(cells)), key=lambda i: (cells[i] > 1, cells[i] - exact[i]))] -= 1
    return [max(cell, 0) for cell in cells]


def chart(
    values: Iterable[float | None],
    width: int,
    height: int,
    glyphs: Glyphs,
    *,
    top: float = 0.0,
    is_level: bool = False,
) -> list[str]:
    """The last `width` values as columns, the newest on the right: `height` lines from above.

    :param top: the value of a full column, where that is more than the largest value shown.
    :param is_level: columns do not begin at 0, but show how the values differ: what stays the same
        is half as high as it can be.
    """
    taken = list(values)[-width:] if width > 0 else []
    known = [value for value in taken if value is not None]
    low, high = 0.0, max(known, default=0.0)
    if is_level and known:
        middle = (min(known) + high) / 2
        reach = max((high - min(known)) / 2, middle * _SAME)
        low, high = middle - reach, middle + reach
    high = max(high, top)
    steps = len(glyphs.levels) - 1
    # A line of its own has a gap above it, and does not run into that of another chart.
    most = height * steps if height > 1 else steps - 1
    levels = [0] * (max(width, 0) - len(taken))
    for value in taken:
        if not value or high <= low:
            levels.append(0)
        else:  # the least there is can be seen
            levels.append(max(1, min(round((value - low) / (high - low) * most), most)))
    return [
        "".join(glyphs.levels[min(max(level - row * steps, 0), steps)] for level in levels)
        for row in reversed(range(height))
    ]


_SAME = 0.1
"""Differences of a level that are too small for more than half of a chart."""
