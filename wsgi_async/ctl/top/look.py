"""How ``top`` looks: its colours, its characters, and lines that are exactly as wide as they are to
be. Pure; needs rich.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text

from .charts import ASCII, UNICODE, Glyphs

__all__ = ["COLOURS", "PLAIN", "Look", "beside", "boxed", "fit", "ruled", "spread"]

COLOURS: Mapping[str, str] = {
    "": "",
    "title": "#dfe9f2 on #1c3a54",
    "name": "bold #ffffff on #1c3a54",
    "title good": "bold #7fe0a3 on #1c3a54",
    "title changing": "bold #ffd37a on #1c3a54",
    "title bad": "bold #ff9d92 on #1c3a54",
    "quiet": "#7c8590",
    "frame": "#5f7f9c",
    "section": "bold #2f8fce",
    "column": "bold #7c8590",
    "sorted": "bold #2f8fce",
    "selected": "#ffffff on #2a63a0",
    "key": "bold #2f8fce",
    "strong": "bold",
    "good": "#2e9c5a",
    "changing": "#b9801a",
    "bad": "#de4a4a",
    "1xx": "#7c8590",
    "2xx": "#2e9c5a",
    "3xx": "#1c93a8",
    "4xx": "#b9801a",
    "5xx": "#de4a4a",
    "all": "#2f8fce",
    "busy": "#2e9c5a",
    "aside": "#8f6fd8",
    "idle": "#7c8590",
    "lost": "#de4a4a",
    "time": "#8f6fd8",
    "memory": "#1c93a8",
    "running": "#2e9c5a",
    "queued": "#b9801a",
    "live": "#2f8fce",
    "parked": "#8f6fd8",
    "sending": "#1c93a8",
    "receiving": "#1c93a8",
    "abandoned": "#7c8590",
    "blocked": "bold #de4a4a",
}
"""Middle tones: they can be read on a dark background and on a light one. rich takes the nearest
that a terminal has."""

PLAIN: Mapping[str, str] = {
    **dict.fromkeys(COLOURS, ""),
    **dict.fromkeys(("title", "selected"), "reverse"),
    **dict.fromkeys(("name", "title good", "title changing", "title bad"), "bold reverse"),
    **dict.fromkeys(("section", "sorted", "key", "strong", "bad", "lost", "blocked"), "bold"),
}
"""For where there are no colours: whatever a colour says is said by a word or a character too."""


class Look(NamedTuple):
    """What a terminal can show."""

    styles: Mapping[str, str]
    glyphs: Glyphs

    @classmethod
    def of(cls, *, colours: bool, unicode: bool) -> Look:
        return cls(COLOURS if colours else PLAIN, UNICODE if unicode else ASCII)

    def text(self, *pieces: tuple[str, str]) -> Text:
        """A line of pieces, each with the name of its style.

        What is in them is no markup.
        """
        return Text.assemble(*((words, self.styles[style]) for words, style in pieces))


def fit(line: Text, width: int, look: Look, style: str = "") -> Text:
    """The line, cut or filled up to `width`."""
    width = max(width, 0)
    line = line.copy()
    length = cell_len(line.plain)
    if length > width:
        line.truncate(max(width - 1, 0), overflow="crop")
        line.append(look.glyphs.more[:width], look.styles["quiet"] if not style else "")
        length = cell_len(line.plain)
    line.append(" " * (width - length), look.styles[style])
    return line


def spread(
    left: Text, right: Text, width: int, look: Look, fill: str = " ", style: str = ""
) -> Text:
    """Both, with `fill` between them. The right one is left out where there is no room for it."""
    space = width - cell_len(left.plain) - cell_len(right.plain)
    if space < 1 or not right.plain:
        room = width - cell_len(right.plain) - 1
        if not right.plain or room < 12:
            line = left.copy()
            line.append(fill * max(0, width - cell_len(left.plain)), look.styles[style])
            return fit(line, width, look, style)
        left, space = fit(left, room, look, style), 1
    return left + Text(fill * space, look.styles[style]) + right


def beside(left: Sequence[Text], right: Sequence[Text], gap: str = "  ") -> list[Text]:
    """Lines of two columns; both have as many."""
    return [a + Text(gap) + b for a, b in zip(left, right, strict=True)]


def ruled(title: Text, right: Text, lines: Sequence[Text], width: int, look: Look) -> list[Text]:
    """A section: a rule with its title, and its lines."""
    rule = look.glyphs.rule
    head = look.text((rule + rule + " ", "frame")) + title + Text(" ")
    tail = Text(" ") + right + look.text((" " + rule, "frame")) if right.plain else Text("")
    return [spread(head, tail, width, look, rule, "frame"), *lines]


def boxed(title: Text, right: Text, lines: Sequence[Text], width: int, look: Look) -> list[Text]:
    """A section in a frame; its lines are four cells less wide than `width`."""
    glyphs = look.glyphs
    upper_left, upper_right, lower_left, lower_right = list(glyphs.corners)
    head = look.text((f"{glyphs.rule} ", "frame")) + title + Text(" ")
    tail = Text(" ") + right + look.text((f" {glyphs.rule}", "frame")) if right.plain else Text("")
    side = look.text((glyphs.side, "frame"))
    space = Text(" ")
    return [
        look.text((upper_left, "frame"))
        + spread(head, tail, width - 2, look, glyphs.rule, "frame")
        + look.text((upper_right, "frame")),
        *(side + space + line + space + side for line in lines),
        look.text((f"{lower_left}{glyphs.rule * (width - 2)}{lower_right}", "frame")),
    ]
