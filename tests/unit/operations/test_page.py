"""The dashboard's page as it lies there: what it may not contain, and whether it can be read."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

import wsgi_async

PAGE = Path(wsgi_async.__file__).with_name("operations") / "page"
FILES = {path.name: path.read_text("utf-8") for path in PAGE.iterdir()}
MODULES = {name: text for name, text in FILES.items() if name.endswith(".js")}
MARKUP = "".join(text for name, text in FILES.items() if name.endswith(".html"))

COLOURS = {
    name: {"light": light, "dark": dark}
    for name, light, dark in re.findall(
        r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", FILES["style.css"]
    )
}
MARKUP_FROM_TEXT = (
    r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\(|srcdoc|DOMParser"
)
SURFACES = ("ground", "panel", "inset")
TEXTS = [
    *itertools.product(("text", "muted"), SURFACES),
    *itertools.product(("good", "warn", "bad"), ("panel", "inset")),
    *((level, f"{level}-ground") for level in ("good", "warn", "bad")),
]
DRAWN = (
    *("s1xx", "s2xx", "s3xx", "s4xx", "s5xx", "queue", "app", "cpu", "client", "p50", "p90"),
    *("p99", "good", "warn", "bad", "focus"),
)


def luminance(colour: str) -> float:
    """As WCAG 2 defines it."""
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in shares
    ]
    return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_drawings_have_contrast(theme: str) -> None:
    """4.5 for text and 3 for what is drawn are WCAG's AA."""
    low = {
        pair: contrast(*(COLOURS[name][theme] for name in pair))
        for pair, least in [
            *((pair, 4.5) for pair in TEXTS),
            *(((name, "panel"), 3.0) for name in DRAWN),
        ]
        if contrast(*(COLOURS[name][theme] for name in pair)) < least
    }
    assert low == {}


def test_nothing_is_asked_of_another_host() -> None:
    """The namespace of SVG is a name, which nobody asks for anything."""
    for name, text in FILES.items():
        found = set(re.findall(r"(?:\w+:)?//[\w.-]+\.\w+[\w/]*", text))
        assert found <= {"http://www.w3.org/2000/svg"}, name


def test_text_is_never_read_as_markup() -> None:
    for name, text in MODULES.items():
        assert re.findall(MARKUP_FROM_TEXT, text) == [], name


def test_its_policy_can_be_strict() -> None:
    """Nothing inline: neither scripts, nor styles, nor what is called on an event."""
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", MARKUP) == []
    assert re.findall(r"<script(?![^>]*\ssrc=)", MARKUP) == []
    assert [name for name, text in MODULES.items() if "style=" in text] == []


def test_what_it_names_is_there() -> None:
    files = re.findall(r'(?:src|href)="([\w-]+\.\w+)"', MARKUP)
    files += [name for text in MODULES.values() for name in re.findall(r'from "\./([\w.]+)"', text)]
    assert set(files) == {name for name in FILES if not name.endswith(".html")}
    ids = set(re.findall(r'\sid="([\w-]+)"', MARKUP))
    asked = {name for text in MODULES.values() for name in re.findall(r'byId\("([\w-]+)"\)', text)}
    assert asked <= ids
    told = re.findall(r'(?:aria-labelledby|href)="#?(h-[\w-]+|flight)"', MARKUP)
    assert set(told) <= ids
