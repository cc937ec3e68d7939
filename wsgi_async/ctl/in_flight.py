"""Requests in flight, as text: what ``GET /requests`` has answered."""

from __future__ import annotations

from typing import Any

from .text import Cell, Column, Paint, Screen, age, clean, many, shown, size, table

__all__ = ["LOOPS", "STATES", "describe_requests", "missing_lines"]

LOOPS = {"loop": "event loop", "application_loop": "application loop"}
"""What a process says of its loops -> what they are."""

STATES = {
    "receiving": "its body is being uploaded",
    "queued": "it waits for a thread",
    "running": "a thread is at work for it",
    "live": "its body is asynchronous, and holds no thread",
    "parked": "its response waits for its client, without a thread",
    "sending": "its response is going to its client",
    "abandoned": "a thread is at work for it, but its client has gone",
    "lost": "a thread is at work for it, but was given up (`--request-timeout`)",
}
"""Where a request may stand, and what that means."""

_PAINTS = {"running": Paint.GOOD, "queued": Paint.CHANGING, "lost": Paint.BAD}
_COLUMNS = (
    Column("AGE"),
    Column("PROCESS", weight=7),
    Column("STATE", is_right=False),
    Column("ID", is_right=False, weight=8),
    Column("THREAD", is_right=False, weight=3),
    Column("SENT", weight=4),
    Column("RECEIVED", weight=2),
    Column("CLIENT", is_right=False, weight=5),
    Column("METHOD", is_right=False, weight=9),
    Column("TARGET", is_right=False, weight=9),
)


def describe_requests(answer: dict[str, Any], screen: Screen) -> list[str]:
    """The lines: how many there are, a table of them, the oldest first and those that are live
    last, beneath each its stack where there is one, then processes of which there is something to
    say."""
    processes = answer["processes"]
    found = sorted(
        ((request, process) for process in processes for request in process["requests"]),
        key=lambda pair: (pair[0].get("state") == "live", -(pair[0].get("age") or 0.0)),
    )
    lines = [screen.cut(_summary(answer, [request for request, _ in found]))]
    if found:
        head, *rows = table(
            _COLUMNS, [_row(request, process) for request, process in found], screen
        )
        lines += ["", head]
        for row, (request, _) in zip(rows, found, strict=True):
            lines.append(row)
            lines += stack_lines(request.get("stack"))
    for process in processes:
        if process.get("more"):
            lines.append(f"and {process['more']} more in process {process['number']}")
        for name, what in LOOPS.items():
            loop = process.get(name) or {}
            if loop.get("blocked"):
                lines += ["", _alarm(process, f"its {what} is blocked, here:", screen)]
                lines += stack_lines(loop.get("stack"))
    missing = missing_lines(answer, screen)
    return [*lines, "", *missing] if missing else lines


def missing_lines(answer: dict[str, Any], screen: Screen) -> list[str]:
    """A line for each process that has not answered, of what several were asked."""
    return [_alarm(process, _silence(process), screen) for process in answer.get("missing") or ()]


def _silence(process: dict[str, Any]) -> str:
    why = clean(process.get("why") or "no answer")
    heard = process.get("heard")
    return why if heard is None else f"{why}; its last sign of life: {age(heard)} ago"


def stack_lines(stack: list[str] | None) -> list[str]:
    """A stack, indented; whole, for it is what was asked for."""
    return [f"        {clean(line)}" for line in stack or ()]


def _summary(answer: dict[str, Any], requests: list[dict[str, Any]]) -> str:
    processes = answer["processes"]
    counts = dict.fromkeys(STATES, 0)
    for request in requests:
        counts[str(request["state"])] = counts.get(str(request["state"]), 0) + 1
    told = "".join(f", {count} {clean(state)}" for state, count in counts.items() if count)
    number = len(requests) + sum(process.get("more") or 0 for process in processes)
    threads = sum(process.get("threads") or 0 for process in processes)
    lost = sum(process.get("lost") or 0 for process in processes)
    connections = sum(process.get("connections") or 0 for process in processes)
    return (
        f"{number:,} in flight{told}; {many(len(processes), 'process')}, {many(threads, 'thread')}"
        + (f" ({lost} lost)" if lost else "")
        + f", {many(connections, 'connection')}"
    )


def _row(request: dict[str, Any], process: dict[str, Any]) -> list[Cell | str]:
    state = str(request["state"])
    return [
        age(request.get("age")),
        shown(process["number"]),
        Cell(clean(state), _PAINTS.get(state, Paint.PLAIN)),
        shown(request.get("id")),
        shown(request.get("thread")),
        size(request.get("sent")),
        size(request.get("received")),
        shown(request.get("client")),
        shown(request.get("method")),
        shown(request.get("target")),
    ]


def _alarm(process: dict[str, Any], what: str, screen: Screen) -> str:
    """A line on a process with which something is wrong."""
    text = f"process {shown(process['number'])} ({shown(process['pid'])}): {what}"
    return screen.painted(screen.cut(text), Paint.BAD)
