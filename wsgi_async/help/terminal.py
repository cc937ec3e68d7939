"""A page of the guide as text for a terminal: tables become lists, comments go."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

__all__ = ["as_text"]

_CELL = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r"\|(?: *:?-+:? *\|)+")
INDENT = "    "


def as_text(markdown: str, *, width: int = 100) -> str:
    """What to show of a page. Paragraphs and examples are as they are, for they are text already.

    :param width: columns of the terminal.
    """
    return "\n".join(_lines(markdown, width)).strip("\n") + "\n"


def _lines(markdown: str, width: int) -> Iterator[str]:
    lines = markdown.splitlines()
    is_code = False
    for number, line in enumerate(lines):
        is_code ^= line.lstrip(" ").startswith("```")
        if is_code:
            yield line
        elif line.startswith("<!--") and line.endswith("-->"):
            continue
        elif not line.startswith("|"):
            yield line
        elif not _RULE.fullmatch(line) and not _RULE.fullmatch(
            "".join(lines[number + 1 : number + 2])
        ):
            yield from _row(line, width)


def _row(line: str, width: int) -> Iterator[str]:
    """A row: what it is about on one line, and beneath it, indented, what is said of that."""
    cells = [cell.strip(" ").replace("\\|", "|") for cell in _CELL.split(line)[1:-1]]
    yield "  ".join(cell.replace("`", "") for cell in cells[:-1] if cell)
    yield from textwrap.wrap(
        cells[-1],
        width,
        initial_indent=INDENT,
        subsequent_indent=INDENT,
        break_on_hyphens=False,
        break_long_words=False,
    )
