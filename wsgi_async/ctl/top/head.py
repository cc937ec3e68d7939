"""The upper part of ``top``: who it is, how it stands, and figures of all processes together.

Pure; needs rich.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text

from wsgi_async.ctl.text import age, amount, clock, shown, size

from .charts import chart, portions, rate
from .look import Look, fit, spread
from .model import CONNECTIONS, THREADS, Picture, Trends

__all__ = ["Standing", "gauges", "note", "requests", "thread_bar", "title"]

_STATUSES = ("2xx", "3xx", "4xx", "5xx")
LATE = 1.0
"""Seconds that a request waits for a thread from which on it is shown as trouble."""


class Standing(NamedTuple):
    """What there is to say of the picture itself."""

    failure: str = ""
    """Why there was no answer the last time; empty where there was one."""
    silent: float = 0.0
    """Seconds since the last answer."""
    is_paused: bool = False


def title(now: Picture, standing: Standing, width: int, look: Look) -> Text:
    """The first line."""
    name = now.name.removeprefix("the application ") or "wsgi_async"
    left = look.text((f" {name} ", "name"))
    if width >= 60 and now.version:
        left.append(f"{now.version} ", look.styles["title"])
    left.append(f" process {shown(now.pid)}  up {age(now.uptime)} ", look.styles["title"])
    pieces: list[tuple[str, str]] = []
    if standing.failure:
        pieces.append((f"no answer for {age(standing.silent)} ", "title bad"))
    else:
        if standing.is_paused:
            pieces.append(("paused  ", "title changing"))
        pieces.append((f"{look.glyphs.dot} ", _title_style(now)))
        pieces.append((f"{_fleet_words(now)} ", _title_style(now)))
        if width >= 50:
            pieces.append((f" {clock(now.now)} ", "title"))
    return fit(spread(left, look.text(*pieces), width, look, style="title"), width, look, "title")


def _fleet_words(now: Picture) -> str:
    ready = f"{shown(now.ready)}/{shown(now.wanted)}"
    if now.reload == "under_way":
        return f"reloading {ready}"
    if now.reload == "failed":
        return f"reload failed {ready}"
    return f"{now.state or 'not known'} {ready}"


def _title_style(now: Picture) -> str:
    if now.reload == "failed":
        return "title bad"
    if now.reload == "under_way" or now.state != "up" or now.ready != now.wanted:
        return "title changing"
    return "title good"


def note(now: Picture, standing: Standing, width: int, look: Look) -> Text:
    """The second line: what is wrong, or else where it listens and what it went through."""
    if standing.failure:
        return fit(look.text((f" {standing.failure}", "bad")), width, look)
    if blocked := [each for each in now.processes if each.application_loop_blocked]:
        listed = ", ".join(
            f"process {shown(each.number)} for {age(each.application_loop_blocked)}"
            for each in blocked
        )
        return fit(look.text((f" the application loop is blocked: {listed}", "bad")), width, look)
    parts = [" ".join(now.addresses), f"generation {shown(now.generation)}"]
    if now.reloads:
        failed = f" ({amount(now.reloads_failed)} failed)" if now.reloads_failed else ""
        parts.append(f"{amount(now.reloads)} reload{'s' if now.reloads != 1 else ''}{failed}")
    if restarts := [f"{amount(n)} {why}" for why, n in now.restarts.items() if n]:
        parts.append(f"replaced: {', '.join(restarts)}")
    between = f" {look.glyphs.separator} "
    return fit(
        look.text((" " + between.join(part for part in parts if part), "quiet")), width, look
    )


# --- Requests in a second


def requests(now: Picture, trends: Trends, width: int, height: int, look: Look) -> list[Text]:
    """`height` lines: all of them as a chart, then each class of status, then what was refused."""
    below = [_status_line(now, trends, name, width, look) for name in _STATUSES]
    below.append(_refused_line(now, width, look))
    high = max(1, height - len(below))
    lines = _all_lines(now, trends, width, high, look)
    return (lines + below)[:height]


_LABEL = 15
"""Cells of a label and its figure, and a space."""


def _all_lines(now: Picture, trends: Trends, width: int, high: int, look: Look) -> list[Text]:
    values = trends.of("all")
    drawn = chart(values, width - _LABEL, high, look.glyphs)
    labels = [look.text(("all   ", "strong"), (f"{rate(now.rates.all):>6}/s ", "strong"))]
    if high > 1:
        peak = max((v for v in values[-max(width - _LABEL, 1) :] if v is not None), default=None)
        labels.append(look.text((f"peak  {rate(peak):>6}/s ", "quiet")))
    labels += [Text(" " * _LABEL)] * (high - len(labels))
    return [
        fit(fit(label, _LABEL, look) + look.text((line, "all")), width, look)
        for label, line in zip(labels, drawn, strict=False)
    ]


def _status_line(now: Picture, trends: Trends, name: str, width: int, look: Look) -> Text:
    value = now.rates.requests.get(name)
    style = name if value else "quiet"
    label = look.text((f"{name}   ", style), (f"{rate(value):>6}/s ", style))
    drawn = chart(trends.of(name), width - _LABEL, 1, look.glyphs)[0]
    return fit(fit(label, _LABEL, look) + look.text((drawn, name)), width, look)


def _refused_line(now: Picture, width: int, look: Look) -> Text:
    value = now.rates.refused
    style = "bad" if value else "quiet"
    line = look.text(("refused", style), (f"{rate(value):>5}/s ", style))
    why = [f"{amount(n)} {reason}" for reason, n in now.refused.items() if n]
    line.append(", ".join(why) or "none so far", look.styles["quiet"])
    return fit(line, width, look)


# --- How full it is


def gauges(now: Picture, trends: Trends, width: int, height: int, look: Look) -> list[Text]:
    """`height` lines, the most telling first: a bar or a chart, and words."""
    bar = max(8, min(width // 3, 36))
    threads = sum(now.threads.get(kind, 0) for kind in ("busy", "idle"))

    def drawn(name: str, style: str, *, top: float = 0.0, is_level: bool = False) -> Text:
        line = chart(trends.of(name), bar, 1, look.glyphs, top=top, is_level=is_level)[0]
        return look.text((line, style))

    made = (
        ("threads", thread_bar(now.threads, bar, look), _thread_words(now, look)),
        # As many as there are threads fill it.
        ("queue", drawn("queued", "queued", top=threads), _queue(now, look)),
        ("time", drawn("median", "time"), _latency(now, look)),
        ("clients", _connection_bar(now, bar, look), _connections(now, look)),
        ("memory", drawn("memory", "memory", is_level=True), _memory(now, look)),
        ("bytes", drawn("sent", "sending"), _traffic(now, look)),
        ("requests", _state_bar(now, bar, look), _states(now, look)),
        ("so far", None, _so_far(now, look)),
    )
    lines = [_gauge(look, label, drawing, words, width) for label, drawing, words in made]
    return (lines + [Text(" " * width)] * height)[:height]


def _gauge(look: Look, label: str, bar: Text | None, words: Sequence[Text], width: int) -> Text:
    """With the longest of the words that there is room for."""
    line = look.text((f"{label:<9}", "strong"))
    if bar is not None:
        line += bar + Text("  ")
    room = width - cell_len(line.plain)
    fitting = next((text for text in words if cell_len(text.plain) <= room), words[-1])
    return fit(line + fitting, width, look)


def thread_bar(threads: Mapping[str, float], width: int, look: Look) -> Text:
    """Threads by what they do, as parts of a bar."""
    cells = portions([threads.get(kind, 0) for kind in THREADS], width)
    glyphs = look.glyphs
    signs = {"busy": glyphs.busy, "aside": glyphs.aside, "idle": glyphs.idle, "lost": glyphs.lost}
    return fit(
        look.text(*((signs[kind] * n, kind) for kind, n in zip(THREADS, cells, strict=True))),
        width,
        look,
    )


def _thread_words(now: Picture, look: Look) -> list[Text]:
    counts = [(kind, now.threads.get(kind)) for kind in THREADS]
    busy, idle = now.threads.get("busy"), now.threads.get("idle")
    everybody = None if busy is None or idle is None else busy + idle
    return [
        _listed(counts, look),
        _listed([(kind, n) for kind, n in counts if n or kind in ("busy", "idle")], look),
        look.text(
            (f"{amount(busy)}/{amount(everybody)}", _full(busy, everybody)),
            *((f", {amount(n)} {kind}", kind) for kind, n in counts[3::-2] if n),
        ),
    ]


def _full(busy: float | None, everybody: float | None) -> str:
    return "changing" if busy and everybody and busy >= everybody else ""


def _listed(counts: Sequence[tuple[str, float | None]], look: Look) -> Text:
    pieces: list[tuple[str, str]] = []
    for kind, number in counts:
        style = kind if number else "quiet"
        pieces += [(f"{amount(number)} {kind}", style), (", ", "quiet")]
    return look.text(*pieces[:-1])


def _queue(now: Picture, look: Look) -> list[Text]:
    if not now.queued:
        return [look.text((f"{amount(now.queued)} waiting", "quiet"))]
    style = "bad" if (now.oldest_wait or 0) >= LATE else "changing"
    waiting = f"{amount(now.queued)} waiting"
    return [
        look.text((f"{waiting}, the oldest for {age(now.oldest_wait)}", style)),
        look.text((f"{waiting}, {age(now.oldest_wait)}", style)),
    ]


def _latency(now: Picture, look: Look) -> list[Text]:
    if not now.latency:
        return [look.text(("not known yet", "quiet")), look.text(("-", "quiet"))]
    median, ninety, most = (moment(value) for value in now.latency)
    return [
        look.text((f"p50 {median}  p90 {ninety}  p99 {most}", "")),
        look.text((f"{median} {ninety} {most}", "")),
        look.text((f"p50 {median}", "")),
    ]


def moment(seconds: float | None) -> str:
    """A short time: ``3ms``, ``0.42s``, ``12.3s``."""
    if seconds is None:
        return "-"
    if seconds < 0.1:
        return f"{seconds * 1000:.{0 if seconds >= 0.01 else 1}f}ms"
    return f"{seconds:.2f}s" if seconds < 10 else f"{seconds:.1f}s"


_CONNECTION_STYLES = {"busy": "busy", "head": "sending", "new": "queued", "lingering": "aside"}
_STATE_STYLES = (
    *("running", "queued", "receiving", "sending", "live", "parked", "abandoned", "lost"),
)


def _connection_bar(now: Picture, width: int, look: Look) -> Text:
    cells = portions([now.connections.get(kind, 0) for kind in CONNECTIONS], width)
    glyphs = look.glyphs
    signs = dict.fromkeys(CONNECTIONS, glyphs.aside) | {"busy": glyphs.busy, "idle": glyphs.idle}
    pieces = [
        (signs[kind] * n, _CONNECTION_STYLES.get(kind, "idle"))
        for kind, n in zip(CONNECTIONS, cells, strict=True)
    ]
    return fit(look.text(*pieces), width, look)


def _by_state(now: Picture) -> list[tuple[str, int]]:
    counts = Counter(row.state for row in now.requests)
    return [(state, counts[state]) for state in _STATE_STYLES]


def _state_bar(now: Picture, width: int, look: Look) -> Text:
    counts = _by_state(now)
    cells = portions([number for _, number in counts], width)
    pieces = [(look.glyphs.busy * n, state) for (state, _), n in zip(counts, cells, strict=True)]
    return fit(look.text(*pieces), width, look)


def _states(now: Picture, look: Look) -> list[Text]:
    found = [(state, number) for state, number in _by_state(now) if number]
    total = f"{amount(now.in_flight)} in flight"
    if not found:
        return [look.text((total, "quiet"))]
    some = [_listed(found[:number], look) for number in range(len(found), 0, -1)]
    return [*some, look.text((total, ""))]


_SO_FAR = {
    "cut": "cut",
    "spooled": "spooled",
    "parked": "parked",
    "given_up": "given up",
    "log_dropped": "log lines dropped",
}


def _so_far(now: Picture, look: Look) -> list[Text]:
    """What has happened to responses and threads since the server was started."""
    told = [f"{amount(now.totals.get(name))} {words}" for name, words in _SO_FAR.items()]
    return [look.text((", ".join(told), "quiet")), look.text((", ".join(told[:3]), "quiet"))]


def _connections(now: Picture, look: Look) -> list[Text]:
    known = now.connections
    total = amount(sum(known.values()) if known else None)
    parts = [f"{amount(known[kind])} {kind}" for kind in CONNECTIONS if known.get(kind)]
    return [
        look.text((total, "strong"), (f"  {', '.join(parts)}" if parts else "", "")),
        look.text((total, "strong"), (f"  {', '.join(parts[:2])}" if parts else "", "")),
        look.text((total, "strong")),
    ]


def _memory(now: Picture, look: Look) -> list[Text]:
    number = len(now.processes)
    files = f", {amount(now.files)} files" if now.files is not None else ""
    return [
        look.text((size(now.memory), "strong"), (f" in {number} processes{files}", "quiet")),
        look.text((size(now.memory), "strong"), (f"{files}", "quiet")),
        look.text((size(now.memory), "strong")),
    ]


def _traffic(now: Picture, look: Look) -> list[Text]:
    received, sent = _speed(now.rates.received), _speed(now.rates.sent)
    return [
        look.text((f"{sent} out, {received} in", "")),
        look.text((f"{sent}, {received} in", "")),
        look.text((sent, "")),
    ]


def _speed(value: float | None) -> str:
    return "-" if value is None else f"{size(value).replace(' ', '')}/s"
