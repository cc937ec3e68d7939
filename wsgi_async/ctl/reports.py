"""Configuration, journal of errors and what processes have answered, as text."""

from __future__ import annotations

import json
from typing import Any

from .in_flight import missing_lines
from .text import Cell, Column, Paint, Screen, amount, clean, clock, many, shown, table

__all__ = ["describe_config", "describe_errors", "describe_level"]

_ERRORS = (
    Column("WHEN", is_right=False),
    Column("PROCESS", weight=5),
    Column("KIND", is_right=False),
    Column("ID", is_right=False, weight=4),
    Column("WHAT", is_right=False),
)


def describe_errors(answer: dict[str, Any], screen: Screen) -> list[str]:
    """The lines, the last ones last, as in a log."""
    errors = answer["errors"]
    if not errors:
        return ["No errors, refusals or notes so far"]
    rows: list[list[Cell | str]] = [
        [
            clock(error.get("at")),
            shown(error.get("process")),
            shown(error.get("kind")),
            shown(error.get("id")),
            shown(error.get("text")),
        ]
        for error in sorted(errors, key=lambda error: error.get("at") or 0.0)
    ]
    lost = (
        [f"and {amount(answer['lost'])} for which there was no room"] if answer.get("lost") else []
    )
    return [*table(_ERRORS, rows, screen), *lost]


def describe_config(answer: dict[str, Any], screen: Screen) -> list[str]:
    """The options, each with its value and where that comes from; as ``--print-config``."""
    options = [
        (f"{clean(name)} = {_value(option)}", clean(option["origin"]))
        for name, option in answer["options"].items()
    ]
    width = max((len(text) for text, _ in options if len(text) < 60), default=0)
    lines = [
        f"{text:{width}}  {screen.painted(f'# {origin}', Paint.QUIET)}" for text, origin in options
    ]
    return lines + [f"# {clean(notice)}" for notice in answer.get("notices") or ()]


def _value(option: dict[str, Any]) -> str:
    """As TOML has it, or nearly."""
    if option.get("hidden"):
        return "(set, and not shown)"
    return clean(json.dumps(option["value"], ensure_ascii=False))


def describe_level(answer: dict[str, Any], level: str, screen: Screen) -> list[str]:
    """How many log from that level on."""
    told = f"From {level} on is logged by {many(len(answer['processes']), 'process')}"
    return [f"{told}, and by those that begin before a reload", *missing_lines(answer, screen)]
