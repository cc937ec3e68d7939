"""What is made of a profile: collapsed stacks, speedscope's JSON, a flame graph. Pure functions.

A profile is a dict, as JSON has it; ``profiles`` says where it comes from:

================= ==============================================================================
``samples``       how many samples each stack is in: ``{"outermost;...;innermost": count}``. Each
                  frame is ``function (file:line)``
``cpu``           CPU seconds of each stack; None, or missing, where the system does not tell
``hz``            samples a second
``seconds``       for how long they were taken
``taken``         samples that were taken, in all processes
``missed``        those that were due and were not
``cost``          CPU seconds that taking them has used
``processes``     one dict for each process
================= ==============================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Hot", "collapsed", "flame_graph", "hottest", "speedscope", "summary"]

Profile = Mapping[str, Any]

SCHEMA = "https://www.speedscope.app/file-format-schema.json"

MOST_FRAMES = 6000
"""Frames that a flame graph shows, the widest ones."""

NARROWEST = 0.0001
"""What a frame takes of the whole at least, to be shown."""

LABELLED = 0.003
"""What it takes to have its name written on it, as long as nobody has zoomed in."""

ROW = 20
"""Pixels from one depth to the next."""

HEAD = 142
"""Pixels above the graph."""

BAR = 180
"""Pixels of the longest bar beneath it."""

SHADES = 6
"""Colours between waiting and computing."""

_FRAME = re.compile(r"(.*) \((.*):(\d+)\)", re.DOTALL)


class Hot(NamedTuple):
    """A function, and its part of a profile."""

    name: str
    own: int
    """Samples in which it was the innermost."""
    total: int
    """Samples in which it was anywhere, each counted once."""
    cpu: float | None
    """CPU seconds of its own; None where they are not known."""


class _Node:
    """A frame with all that was seen above it, as they are merged in a flame graph."""

    __slots__ = ("children", "cpu", "name", "samples")

    def __init__(self, name: str) -> None:
        self.name = name
        self.samples = 0
        self.cpu = 0.0
        self.children: dict[str, _Node] = {}


def _stacks(profile: Profile) -> list[tuple[list[str], int, float]]:
    """Each stack, the outermost frame first, with its samples and its CPU seconds; the heaviest
    first."""
    cpu = profile.get("cpu") or {}
    found = sorted(profile["samples"].items(), key=lambda item: (-item[1], item[0]))
    return [
        ([_printable(frame) for frame in stack.split(";")], int(count), float(cpu.get(stack, 0.0)))
        for stack, count in found
        if count > 0
    ]


def _printable(text: str) -> str:
    """What may stand in a line, and in XML."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _split(frame: str) -> tuple[str, str, int | None]:
    """The function, its file and its line, as far as the name of a frame tells."""
    found = _FRAME.fullmatch(frame)
    if found is None:
        return frame, "", None
    return found[1], found[2], int(found[3][:9])


def collapsed(profile: Profile) -> str:
    """One line for each stack, ``a;b;c count``, which flamegraph.pl, inferno and speedscope read.
    The heaviest first."""
    return "".join(f"{';'.join(stack)} {count}\n" for stack, count, _ in _stacks(profile))


def speedscope(profile: Profile, name: str) -> dict[str, Any]:
    """What https://www.speedscope.app opens: the time that passed in each stack, in seconds, and,
    where it is known, its CPU time.

    :param name: what speedscope shows as the title.
    """
    stacks = _stacks(profile)
    numbers: dict[str, int] = {}
    samples = [[numbers.setdefault(f, len(numbers)) for f in stack] for stack, _, _ in stacks]
    tick = 1.0 / (profile.get("hz") or 1)
    kinds = {"Time in the application": [count * tick for _, count, _ in stacks]}
    if profile.get("cpu") is not None:
        kinds["CPU time"] = [cpu for _, _, cpu in stacks]
    return {
        "$schema": SCHEMA,
        "shared": {"frames": [_speedscope_frame(frame) for frame in numbers]},
        "profiles": [
            {
                "type": "sampled",
                "name": kind,
                "unit": "seconds",
                "startValue": 0,
                "endValue": sum(weights),
                "samples": samples,
                "weights": weights,
            }
            for kind, weights in kinds.items()
        ],
        "name": _printable(name),
        "activeProfileIndex": 0,
        "exporter": "wsgi_async",
    }


def _speedscope_frame(frame: str) -> dict[str, Any]:
    function, file, line = _split(frame)
    return {"name": function} if line is None else {"name": function, "file": file, "line": line}


def hottest(profile: Profile, most: int = 10) -> list[Hot]:
    """The functions that were the innermost in most samples, and so have the most time of their
    own. The first one is the hottest."""
    own: dict[str, int] = {}
    total: dict[str, int] = {}
    used: dict[str, float] = {}
    for stack, count, cpu in _stacks(profile):
        own[stack[-1]] = own.get(stack[-1], 0) + count
        used[stack[-1]] = used.get(stack[-1], 0.0) + cpu
        for frame in set(stack):
            total[frame] = total.get(frame, 0) + count
    names = sorted(own, key=lambda name: (-own[name], name))[:most]
    tells_cpu = profile.get("cpu") is not None
    return [Hot(name, own[name], total[name], used[name] if tells_cpu else None) for name in names]


def summary(profile: Profile) -> str:
    """One line on what was sampled, and what that has cost."""
    return ", ".join([*_sampled(profile), *_spent(profile)])


def _sampled(profile: Profile) -> list[str]:
    samples = sum(count for _, count, _ in _stacks(profile))
    seconds, hz = profile.get("seconds") or 0.0, profile.get("hz") or 1
    facts = [f"{seconds:.3g} s at {hz:g} Hz", _many(_processes(profile), "process")]
    facts.append(f"{samples / hz:.3g} s in the application, by all its threads")
    if profile.get("cpu") is not None:
        facts.append(f"{sum(cpu for _, _, cpu in _stacks(profile)):.3g} s of CPU")
    return facts


def _spent(profile: Profile) -> list[str]:
    facts, seconds = [], profile.get("seconds")
    if profile.get("missed"):
        due = profile["missed"] + (profile.get("taken") or 0)
        facts.append(f"{100 * profile['missed'] / due:.2g} % of the samples missed")
    if seconds and profile.get("cost") is not None:
        percent = 100 * profile["cost"] / seconds / _processes(profile)
        facts.append(f"sampling used {percent:.2g} % of a CPU in each process")
    return facts


def _processes(profile: Profile) -> int:
    return sum("error" not in process for process in profile.get("processes") or ()) or 1


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "es" if noun.endswith("s") else "s")


def flame_graph(profile: Profile, title: str = "Where the time goes") -> str:
    """A self-contained SVG for a browser: how wide a frame is says how much time was spent in it,
    its colour how much of that was CPU time, and beneath it is what it called. A click zooms in,
    and there is a search; without scripts, there is a title on each frame.

    :param title: what is written above.
    """
    root = _tree(profile)
    tells_cpu = profile.get("cpu") is not None
    tick = 1.0 / (profile.get("hz") or 1)
    shown = list(_shown(root))
    depth = max(depth for depth, _, _ in shown)
    bottom = HEAD + (depth + 1) * ROW + 24
    hot = [each for each in hottest(profile, 8) if each.own >= 0.005 * root.samples]
    height = bottom + (len(hot) + 2) * 22 if hot else bottom
    name = escape(_printable(title))
    pieces = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="100%" height="{height}">\n',
        f"<title>{name}</title>\n<style>{_asset('flame_graph.css')}</style>\n",
        '<rect class="page" width="100%" height="100%"/>\n',
        f'<text class="heading" x="1%" y="34">{name}</text>\n',
        f'<text class="note" x="1%" y="58">{escape(", ".join(_sampled(profile)))}</text>\n',
        f'<text class="note" x="1%" y="78">{escape(", ".join(_spent(profile)))}</text>\n',
        *(_legend() if tells_cpu else ()),
        '<text id="detail" class="note" x="1%" y="128"></text>\n',
        f'<svg id="graph" x="1%" y="{HEAD}" width="98%" height="{(depth + 1) * ROW}">\n',
        *(_drawn(*place, root, tick, tells_cpu=tells_cpu) for place in shown),
        "</svg>\n",
        *(_table(hot, root.samples, tick, bottom) if hot else ()),
        f"<script><![CDATA[\n{_asset('flame_graph.js')}]]></script>\n</svg>\n",
    ]
    return "".join(pieces)


@cache
def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _tree(profile: Profile) -> _Node:
    root = _Node("all")
    for stack, count, cpu in _stacks(profile):
        node = root
        node.samples += count
        node.cpu += cpu
        for frame in stack:
            child = node.children.get(frame)
            if child is None:
                child = node.children[frame] = _Node(frame)
            node = child
            node.samples += count
            node.cpu += cpu
    return root


def _shown(root: _Node) -> Iterator[tuple[int, int, _Node]]:
    """The depth of each frame that is shown, how many samples are to the left of it, and itself;
    what a frame called follows it, the heaviest first."""
    least = max(NARROWEST * root.samples, _least(root))
    waiting = [(0, 0, root)]
    while waiting:
        depth, left, node = waiting.pop()
        yield depth, left, node
        children = sorted(node.children.values(), key=lambda child: (-child.samples, child.name))
        below = []
        for child in children:
            if child.samples >= least:
                below.append((depth + 1, left, child))
            left += child.samples
        waiting += reversed(below)


def _least(root: _Node) -> int:
    """How many samples a frame has to have, so that there are not too many of them."""
    sizes = []
    waiting = [root]
    while waiting:
        node = waiting.pop()
        sizes.append(node.samples)
        waiting += node.children.values()
    sizes.sort(reverse=True)
    return sizes[MOST_FRAMES] + 1 if len(sizes) > MOST_FRAMES else 0


def _drawn(depth: int, left: int, node: _Node, root: _Node, tick: float, *, tells_cpu: bool) -> str:
    whole = root.samples or 1
    part = node.samples / whole if depth else 1.0
    function, file, line = _split(node.name)
    place = "" if line is None else f" {file}:{line}"
    told = [node.name, f"{100 * part:.3g} % of the time, {node.samples * tick:.3g} s"]
    if tells_cpu:
        told.append(f"CPU: {node.cpu:.3g} s")
    shade = _shade(file, node.cpu if tells_cpu else None, node.samples * tick)
    text = ""
    if part >= LABELLED:
        where = f'<tspan class="where">{escape(place)}</tspan>' if place else ""
        text = f'<text x="6" y="14">{escape(function)}{where}</text>'
    return (
        f'<svg class="f {shade}" x="{100 * left / whole:.5g}%" y="{depth * ROW}" '
        f'width="{100 * part:.5g}%" height="{ROW - 1}"><title>{escape(chr(10).join(told))}</title>'
        f'<rect width="100%" height="100%" rx="2"/>{text}</svg>\n'
    )


def _shade(file: str, cpu: float | None, seconds: float) -> str:
    """The class of a colour: how much of the time was spent computing, or else which file it is."""
    if cpu is None:
        return f"p{sum(file.encode('utf-8', 'replace')) % 3}"
    busy = cpu / seconds if seconds else 0.0
    return f"c{min(int(busy * SHADES), SHADES - 1)}"


def _legend() -> Iterable[str]:
    yield '<g class="legend"><text class="note" x="1%" y="104">waiting</text>\n'
    yield '<svg x="1%" y="93" width="260" height="14">\n'
    for shade in range(SHADES):
        yield f'<rect class="c{shade}" x="{56 + shade * 19}" width="18" height="14" rx="2"/>\n'
    yield '<text class="note" x="178" y="11">computing</text></svg></g>\n'


def _table(hot: list[Hot], whole: int, tick: float, top: int) -> Iterable[str]:
    yield f'<g><text class="heading small" x="1%" y="{top + 16}">Most time of their own</text>\n'
    for number, each in enumerate(hot):
        function, file, line = _split(each.name)
        where = "" if line is None else f'<tspan class="where"> {escape(file)}:{line}</tspan>'
        part = each.own / whole
        told = [each.name, f"{100 * part:.3g} % of the time is its own, {each.own * tick:.3g} s"]
        told.append(f"{100 * each.total / whole:.3g} % with what it called")
        if each.cpu is not None:
            told.append(f"CPU: {each.cpu:.3g} s")
        shade = _shade(file, each.cpu, each.own * tick)
        width = BAR * each.own / hot[0].own
        yield (
            f'<svg class="own {shade}" x="1%" y="{top + 28 + number * 22}" width="98%" height="20">'
            f"<title>{escape(chr(10).join(told))}</title>"
            '<rect class="hollow" width="100%" height="100%"/>'
            f'<rect class="bar" x="56" y="2" width="{width:.1f}" height="16" rx="2"/>'
            f'<text class="percent" x="48" y="14">{100 * part:.1f} %</text>'
            f'<text x="{56 + BAR + 12}" y="14">{escape(function)}{where}</text></svg>\n'
        )
    yield "</g>\n"
