"""A flame graph in Chromium: what it shows, and how it is zoomed and searched, also by keys.

``TESTS_PICTURES=DIRECTORY`` keeps pictures of it there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import Browser, Page, browser

from wsgi_async.operations.flame import flame_graph

PICTURES = os.environ.get("TESTS_PICTURES", "")

CALL = "Flask.wsgi_app (flask/app.py:1472)"
CHECKOUT = "checkout (shop/views.py:88)"
TOTAL = "Cart.total (shop/cart.py:31)"
CONVERT = "convert (shop/money.py:12)"
WAIT = "Connection.wait (psycopg/connection.py:452)"
HOSTILE = "<img src=x onerror='hacked=1'>]]></script><script>hacked=1</script> (\u202ea.py:1)"

STACKS = {
    f"{CALL};{CHECKOUT};{TOTAL};{CONVERT}": (820, 8.0),
    f"{CALL};{CHECKOUT};{TOTAL}": (80, 0.7),
    f"{CALL};{CHECKOUT};{WAIT}": (640, 0.1),
    f"{CALL};{HOSTILE}": (60, 0.3),
    **{
        f"{CALL};search (shop/views.py:51);step{n} (shop/search.py:{n})": (4, 0.02)
        for n in range(99)
    },
}
PROFILE: dict[str, Any] = {
    "seconds": 10.0,
    "hz": 100,
    "samples": {stack: count for stack, (count, _) in STACKS.items()},
    "cpu": {stack: cpu for stack, (_, cpu) in STACKS.items()},
    "taken": 1990,
    "missed": 10,
    "cost": 0.2,
    "processes": [{}, {}],
}

FIND = "[...document.querySelectorAll('.f')].find(f => f.textContent.startsWith({!r}))"
SEEN = "[...document.querySelectorAll('.f')].filter(f => f.style.display !== 'none').length"
TOLD = "document.querySelector('#detail').textContent"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("flame") / "shop.svg"
    path.write_text(flame_graph(PROFILE, f"{HOSTILE} 10 s of shop.example"), encoding="utf-8")
    return path


@contextlib.contextmanager
def showing(chromium: Browser, file: Path, **how: Any) -> Iterator[Page]:
    page = chromium.open(file.as_uri(), **how)
    try:
        page.wait_for("document.documentElement.classList.contains('live')")
        yield page
        assert page.faults == []
        assert page.value("typeof hacked") == "undefined"
    finally:
        page.close()


def frame(name: str, what: str) -> str:
    """Something of a frame, as an expression."""
    return f"{FIND.format(name)}.{what}"


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.picture(Path(PICTURES) / f"flame-{name}.png")


def test_a_click_zooms_in_and_out_again(chromium: Browser, file: Path) -> None:
    width = "getBoundingClientRect().width"
    with showing(chromium, file) as page:
        everything = page.value(SEEN)
        assert everything == len(STACKS) + 4, "each stack's own, and those above only"
        picture(page, "light")
        narrow = page.value(frame(TOTAL, width))
        assert page.value(frame(CONVERT, width)) < narrow < page.value(frame("all", width))
        page.value(frame(TOTAL, "dispatchEvent(new MouseEvent('click'))"))
        assert page.value(SEEN) == 5, "it, what it called, and what had called it"
        assert page.value(frame(TOTAL, width)) == pytest.approx(page.value(frame("all", width)))
        assert page.value(TOLD).startswith(f"{TOTAL}  ·  45.1 % of the time, 9 s  ·  CPU: 8.7 s")
        picture(page, "zoomed")
        page.value(frame("all", "dispatchEvent(new MouseEvent('click'))"))
        assert page.value(SEEN) == everything
        assert page.value(frame(TOTAL, width)) == pytest.approx(narrow)


def test_all_of_it_without_a_mouse(chromium: Browser, file: Path) -> None:
    with showing(chromium, file) as page:
        everything = page.value(SEEN)
        page.press("Tab")
        page.press("ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight")
        assert page.value(TOLD).startswith(WAIT)
        page.press("Enter")
        assert page.value(SEEN) == 4
        page.press("Escape")
        assert page.value(SEEN) == everything
        page.press("ArrowUp", "ArrowUp")
        assert page.value(TOLD).startswith(CALL)
        page.press("/")
        page.tell("Input.insertText", text="convert|WAIT")
        assert page.value(TOLD) == "2 frames found, in 73.1 % of the time"
        assert page.value(frame(CONVERT, "classList.contains('hit')"))
        picture(page, "searched")
        page.press("Escape")
        assert page.value("document.querySelectorAll('.hit').length") == 0


def test_a_function_of_the_list_is_shown_in_the_graph(chromium: Browser, file: Path) -> None:
    with showing(chromium, file) as page:
        assert page.value("document.querySelector('.own').textContent").startswith(CONVERT)
        page.value("document.querySelector('.own').focus()")
        page.press("Enter")
        assert page.value(TOLD).startswith("1 frame found, in 41")
        page.press("Enter")
        assert page.value("document.querySelectorAll('.hit').length") == 0


def test_names_are_cut_where_there_is_no_room(chromium: Browser, file: Path) -> None:
    text = frame(CHECKOUT, "querySelector('text').textContent")
    with showing(chromium, file, width=620) as page:
        assert "…" in page.value(frame(WAIT, "querySelector('text').textContent"))
        picture(page, "narrow")
        fits = (
            "const t = f.querySelector('text'); return !t || t.getBBox().width < f.getBBox().width"
        )
        assert page.value(f"[...document.querySelectorAll('.f')].every(f => {{ {fits} }})")
        page.resize(1280, 900)
        page.wait_for(f"!{frame(WAIT, 'textContent')}.includes('…')")
        assert page.value(text) == "checkout shop/views.py:88"


def test_dark_where_that_is_preferred(chromium: Browser, file: Path) -> None:
    ground = "getComputedStyle(document.querySelector('.page')).fill"
    with showing(chromium, file) as page:
        light = page.value(ground)
        page.prefer(prefers_color_scheme="dark")
        assert page.value(ground) != light
        picture(page, "dark")


def test_without_scripts_there_is_all_but_the_search(chromium: Browser, file: Path) -> None:
    page = chromium.open("about:blank#")
    try:
        page.tell("Emulation.setScriptExecutionDisabled", value=True)
        page.tell("Page.navigate", url=file.as_uri())
        page.wait_for("document.querySelectorAll('.f').length > 100")
        assert not page.value("document.documentElement.classList.contains('live')")
        assert page.value("document.querySelector('input')") is None
        assert page.value(frame(TOTAL, "getBoundingClientRect().width")) > 300
        picture(page, "plain")
    finally:
        page.close()
