"""A page of the guide as text for a terminal: tables become lists, comments go, long lines wrap."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

__all__ = ["as_text"]

_CELL = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r"\|(?: *:?-+:? *\|)+")
_ITEM = re.compile(r" *(?:[-*]|[0-9]+\.) +")
INDENT = "    "
# The last column of tables whose others say what a row is about, which is plain without a head.
_MEANINGS = frozenset({"Meaning", "What it is", "What it says"})


def as_text(markdown: str, *, width: int = 100) -> str:
    """What to show of a page. Examples are as they are, and so are paragraphs that are narrow
    enough, for they are text already.

    :param width: columns of the terminal.
    """
    return "\n".join(_lines(markdown, width)).strip("\n") + "\n"


def _lines(markdown: str, width: int) -> Iterator[str]:
    lines = markdown.splitlines()
    is_code = False
    paragraph: list[str] = []
    heads: list[str] = []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        is_fence = line.lstrip(" ").startswith("```")
        is_code ^= is_fence
        is_table = line.startswith("|")
        is_comment = line.startswith("<!--") and line.endswith("-->")
        is_example = not paragraph and line.startswith(INDENT)
        is_apart = is_code or is_fence or is_table or is_comment or is_example or not line
        if is_apart or line.startswith("#") or _ITEM.match(line):
            yield from _paragraph(paragraph, width)
            paragraph = []
        if not is_apart:
            paragraph.append(line)
        elif is_code or is_fence or is_example or not line:
            yield line
        elif is_table and _RULE.fullmatch(following):
            heads = _cells(line)
        elif is_table and not _RULE.fullmatch(line):
            yield from _row(line, heads, width)
    yield from _paragraph(paragraph, width)


def _paragraph(lines: list[str], width: int) -> Iterator[str]:
    """A paragraph, or an item of a list; anew where the terminal is narrower."""
    if all(len(line) <= width for line in lines):
        yield from lines
        return
    item = _ITEM.match(lines[0])
    margin = len(item[0]) if item else len(lines[0]) - len(lines[0].lstrip(" "))
    first = item[0] if item else " " * margin
    text = " ".join([lines[0][margin:], *(line.strip(" ") for line in lines[1:])])
    yield from _wrap(text, width, first, " " * margin)


def _row(line: str, heads: list[str], width: int) -> Iterator[str]:
    """A row: what it is about on one line, and beneath it, indented, what is said of that; where
    several columns do, each under its head."""
    cells = _cells(line)
    if len(cells) > 2 and heads[-1] not in _MEANINGS:
        yield cells[0].replace("`", "")
        for head, cell in zip(heads[1:], cells[1:], strict=True):
            if cell:
                yield from _wrap(f"{head.replace('`', '')}: {cell}", width, INDENT, INDENT * 2)
        return
    yield "  ".join(cell.replace("`", "") for cell in cells[:-1] if cell)
    yield from _wrap(cells[-1], width, INDENT, INDENT)


def _cells(line: str) -> list[str]:
    return [cell.strip(" ").replace("\\|", "|") for cell in _CELL.split(line)[1:-1]]


def _wrap(text: str, width: int, first: str, others: str) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=others,
        break_on_hyphens=False,
        break_long_words=False,
    )
