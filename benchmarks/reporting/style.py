"""What all plots share: colours that are readable on light and dark pages, and small SVG files."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from typing import Any

from benchmarks.harness.servers import OURS, is_ours

__all__ = ["LINE", "OURS_COLOUR", "PEER", "STYLE", "TEXT", "WORSE", "colour", "save"]

TEXT = "#7a7a7a"
"""4.3 to 1 on white, 4.9 to 1 on black."""
LINE = "#7a7a7a66"
PEER = "#9aa0a6"
OURS_COLOUR = "#1f83c4"
WORSE = "#d3661c"
"""Orange and blue: apart for all kinds of colour vision."""

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "wsgi_async",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": TEXT,
    "axes.edgecolor": LINE,
    "axes.labelcolor": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "path.simplify": True,
}


def colour(server: str) -> tuple[str, float]:
    """Of its bar, and how opaque: the whiskers must stay visible on it."""
    if server == OURS:
        return OURS_COLOUR, 0.7
    return (OURS_COLOUR, 0.4) if is_ours(server) else (PEER, 0.5)


def save(figure: Any, path: Path) -> Path:
    """Write a figure as SVG."""
    text = StringIO()
    metadata = {"Date": None, "Creator": None}
    figure.savefig(text, format="svg", transparent=True, bbox_inches="tight", metadata=metadata)
    path.write_text(_small(text.getvalue()), encoding="utf-8")
    return path


def _small(svg: str) -> str:
    """Without what a viewer does not need: comments, ids that nothing refers to, indentation."""
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", svg)
    svg = re.sub(r' (d|x|y|points|transform)="[^"]+"', _shorter, svg)
    # The fallback of matplotlib names its own fonts; a page's sans-serif will do.
    svg = re.sub(r"'DejaVu Sans'[^;\"]*sans-serif|'DejaVu Sans'", "sans-serif", svg)
    return re.sub(r"\s*\n\s*", "\n", svg).strip() + "\n"


def _shorter(attribute: re.Match[str]) -> str:
    """A place, to a hundredth of a pixel."""
    return re.sub(r"(\d+\.\d\d)\d+", r"\1", attribute[0])
