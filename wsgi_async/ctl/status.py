"""How the server is, as text: what ``GET /status`` has answered."""

from __future__ import annotations

from typing import Any

from .text import (
    Cell,
    Column,
    Paint,
    Screen,
    age,
    amount,
    clean,
    listed,
    shown,
    size,
    table,
)

__all__ = ["STATE_PAINTS", "describe_status", "fleet_parts"]

STATE_PAINTS = {
    "ready": Paint.GOOD,
    "up": Paint.GOOD,
    "doomed": Paint.BAD,
    "failed": Paint.BAD,
}
"""How the states of a fleet, a process and a reload are painted; others change."""

_COLUMNS = (
    Column("PROCESS"),
    Column("PID"),
    Column("STATE", is_right=False),
    Column("AGE"),
    Column("HEARD", weight=3),
    Column("GEN", weight=2),
    Column("RESTARTS", weight=0),
    Column("REQUESTS", weight=8),
    Column("NOW"),
    Column("THREADS", weight=8),
    Column("QUEUED", weight=8),
    Column("OLDEST", weight=4),
    Column("CONNS", weight=6),
    Column("MEMORY", weight=5),
    Column("FILES", weight=1),
)
_LONG_AGO = 5.0
"""Seconds without a sign of life that are worth a look: it gives one each second."""


def describe_status(status: dict[str, Any], screen: Screen) -> list[str]:
    """The lines."""
    name = f"{clean(status['name'])}, " if status.get("name") else ""
    since = age(status["now"] - status["started"])
    head = f"wsgi_async {shown(status.get('version'))}: {name}process {status['pid']}, for {since}"
    lines = [screen.cut(head)]
    lines += [screen.cut(f"  {clean(address)}") for address in status.get("addresses", ())]
    lines.append("")
    for head, parts in [
        ("fleet", fleet_parts(status["fleet"])),
        *_blocked(status["processes"]),
        *_totals(status["totals"], status["processes"]),
    ]:
        lines += listed(f"{head:<{_HEADS}}", parts, screen)
    lines.append("")
    processes = [_process(process) for process in status["processes"]]
    return lines + table(_COLUMNS, processes, screen)


_HEADS = 10


def fleet_parts(fleet: dict[str, Any]) -> list[Cell | str]:
    """Where the fleet stands."""
    state, reload = str(fleet["state"]), str(fleet["reload"])
    parts: list[Cell | str] = [
        Cell(clean(state), STATE_PAINTS.get(state, Paint.CHANGING)),
        f"{shown(fleet['ready'])} of {shown(fleet['wanted'])} ready",
        f"generation {shown(fleet.get('generation'))}",
    ]
    if reload == "under_way":
        parts.append(Cell("a reload is under way", Paint.CHANGING))
    elif reload == "failed":
        parts.append(Cell("the last reload has failed", Paint.BAD))
    if fleet.get("reloads"):
        parts.append(
            f"{amount(fleet['reloads'])} reloads ({shown(fleet['reloads_failed'])} failed)"
        )
    replaced = _counts(fleet.get("restarts") or {})
    return [*parts, f"replaced: {', '.join(replaced)}"] if replaced else parts


def _blocked(processes: list[dict[str, Any]]) -> list[tuple[str, list[Cell | str]]]:
    """Processes in which code of the application blocks its loop."""
    blocked = [(each, each.get("application_loop_blocked")) for each in processes]
    parts: list[Cell | str] = [
        Cell(f"application loop of process {shown(each['number'])}, for {age(time)}", Paint.BAD)
        for each, time in blocked
        if time
    ]
    return [("blocked", parts)] if parts else []


def _totals(
    totals: dict[str, Any], processes: list[dict[str, Any]]
) -> list[tuple[str, list[Cell | str]]]:
    """What has happened so far, by heads."""
    requests = totals.get("requests") or {}
    answered = amount(sum(count or 0 for count in requests.values()))
    rows: list[tuple[str, list[Cell | str]]] = [
        ("requests", [f"{answered} in all", *_counts(requests)])
    ]
    if refused := _counts(totals.get("refused") or {}):
        rows.append(("refused", [*refused]))
    if besides := _counts({words: totals.get(name) for name, words in _BESIDES.items()}):
        rows.append(("besides", [*besides]))
    live = sum(process.get("live") or 0 for process in processes)
    if live or any((totals.get("live") or {}).values()):
        rows.append(("live", [f"{amount(live)} now", *_counts(totals.get("live") or {})]))
    received, sent = size(totals.get("received")), size(totals.get("sent"))
    return [*rows, ("bodies", [f"{received} received", f"{sent} sent"])]


_BESIDES = {
    "cut": "responses cut",
    "spooled": "spooled",
    "parked": "parked",
    "given_up": "threads given up",
    "log_dropped": "log lines dropped",
}


def _counts(counts: dict[str, Any]) -> list[str]:
    """Those that are not zero."""
    return [f"{amount(count)} {clean(name)}" for name, count in counts.items() if count]


def _process(process: dict[str, Any]) -> list[Cell | str]:
    state = str(process["state"])
    heard = process.get("heard")
    threads = process.get("threads") or {}
    connections = process.get("connections") or {}
    is_silent = heard is not None and heard >= _LONG_AGO
    queued = process.get("queued")
    return [
        shown(process["number"]),
        shown(process["pid"]),
        Cell(clean(state), STATE_PAINTS.get(state, Paint.CHANGING)),
        age(process.get("age")),
        Cell(age(heard), Paint.BAD if is_silent else Paint.PLAIN),
        shown(process.get("generation")),
        amount(process.get("restarts")),
        amount(process.get("requests")),
        amount(process.get("in_flight")),
        _threads(threads),
        Cell(amount(queued), Paint.CHANGING if queued else Paint.PLAIN),
        age(process.get("oldest_wait") or None),
        amount(sum(count or 0 for count in connections.values()) if connections else None),
        size(process.get("memory")),
        amount(process.get("files")),
    ]


def _threads(threads: dict[str, Any]) -> Cell:
    """``3/8``: so many of all are busy; and those that are lost."""
    busy = threads.get("busy")
    if busy is None:
        return Cell("-")
    everybody = busy + (threads.get("idle") or 0)
    lost = threads.get("lost")
    text = f"{busy:.0f}/{everybody:.0f}" + (f" {lost:.0f} lost" if lost else "")
    if lost:
        return Cell(text, Paint.BAD)
    return Cell(text, Paint.CHANGING if busy and busy >= everybody else Paint.PLAIN)
