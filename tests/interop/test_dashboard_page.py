"""The dashboard's page in Chromium, with figures that are made up: what is to be seen of them, and
whether it can be had without a mouse, on a phone, and in either theme.

``TESTS_PICTURES=DIRECTORY`` keeps pictures of it there.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import Browser, Page, browser
from made_up_figures import HOSTILE, MadeUp
from serving import serving

SHOWN = {ord(char): f"\\u{{{ord(char):x}}}" for char in "\u202e\x1b\0"}
"""What stands in the page for a character that nobody could see."""

READY = (
    "document.querySelectorAll('#process-table tbody tr').length === 4"
    " && document.querySelectorAll('.request').length === 8"
    " && document.querySelector('.line.rps_2xx').getAttribute('d').length > 100"
)
"""All that the page shows first has come, and is drawn."""

LIVE = (
    "[...document.querySelectorAll('.request')]"
    ".find(each => each.querySelector('.state').innerText === 'live')"
)
STACK = "document.querySelector('.request pre').innerText.includes('ledger.py')"
GROUND = "getComputedStyle(document.documentElement).backgroundColor"
MOTION = "getComputedStyle(document.querySelector('.mode i')).animationName"
SHIFTS = """new Promise(done => {
  const add = (sum, each) => sum + (each.hadRecentInput ? 0 : each.value);
  new PerformanceObserver(list => done(list.getEntries().reduce(add, 0)))
    .observe({type: "layout-shift", buffered: true});
  setTimeout(() => done(0), 500);
})"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@contextlib.contextmanager
def showing(chromium: Browser, made: MadeUp, **how: Any) -> Iterator[Page]:
    """The page with those figures, once it shows them.

    :param how: see :meth:`Browser.open`.
    """
    with serving(made, loop="asyncio", threads=16) as served:
        page = chromium.open(f"{served.url}/", **how)
        try:
            page.wait_for(READY)
            yield page
            assert page.faults == []
        finally:
            page.close()
            made.ended.set()


@pytest.fixture(scope="module")
def steady(chromium: Browser) -> Iterator[tuple[Page, MadeUp]]:
    """A page that several tests look at, each at another part of it."""
    made = MadeUp()
    with showing(chromium, made) as page:
        page.wait_for("document.querySelector('#mode').innerText === 'Live'")
        yield page, made


def texts(page: Page, selector: str) -> list[str]:
    found: list[str] = page.value(
        f"[...document.querySelectorAll({selector!r})].filter(each => each.checkVisibility())"
        ".map(each => each.innerText.trim().replaceAll('\\u00a0', ' '))"
    )
    return found


Steady = tuple[Page, MadeUp]


def test_figures_charts_and_lists(steady: Steady) -> None:
    page, _ = steady
    assert texts(page, "#where, #name") == ["shop.wsgi:application", "http://127.0.0.1:8000"]
    assert texts(page, "#notices li") == ["All is well: 4 of 4 processes are ready."]
    figures = dict(zip(texts(page, "#figures dt"), texts(page, "#figures .value"), strict=True))
    assert figures["Up for"] == "3 d 7 h"
    assert float(figures["Requests per second"]) > 50
    assert len(texts(page, ".chart h3")) == 8
    told = texts(page, ".chart .legend td:nth-child(2)")
    assert len(told) == 25
    assert all(any(map(str.isdigit, each)) for each in told)
    first = texts(page, "#process-table tbody tr:first-child td")
    assert first[:4] == ["12", "4250", "ready", "3"]
    assert texts(page, "#process-table tbody tr td[data-name='live']") == ["0", "3", "0", "1"]
    assert texts(page, "#figures dd")[7].startswith("4 live, ")
    assert texts(page, "#restarts div") == ["died\n1", "max requests\n14", "threads lost\n1"]
    assert texts(page, "#counts dt")[:2] == ["bad request", "target too long"]
    assert len(texts(page, "#errors li")) == 7
    assert "process 13, 2 times" in texts(page, "#errors li")[1]
    drawn = page.value("document.querySelector('.line.rps_2xx').getAttribute('d')")
    page.wait_for(f"document.querySelector('.line.rps_2xx').getAttribute('d') !== {drawn!r}")


def test_what_a_client_sent_is_text(steady: Steady) -> None:
    """Also what turns the direction of text, or moves a terminal's cursor."""
    page, _ = steady
    shown = [text for text in texts(page, ".target") if "script" in text]
    assert shown == ["GET " + HOSTILE.translate(SHOWN)]
    assert any("<img src=x" in text for text in texts(page, "#errors li"))
    assert page.value("document.querySelectorAll('main script, main img').length") == 0


def test_a_stack_without_a_mouse(steady: Steady) -> None:
    """It stays open, and keeps the focus, while its values change."""
    page, made = steady
    page.value("document.querySelector('.request summary').focus()")
    age = texts(page, ".request .age")[0]
    page.press("Enter")
    page.wait_for(STACK)
    page.wait_for(f"document.querySelector('.request .age').innerText !== {age!r}")
    assert page.value("document.activeElement.tagName") == "SUMMARY"
    assert page.value("document.querySelectorAll('details.request[open]').length") == 1
    page.press("Tab", "Tab")
    assert page.value("document.activeElement.innerText") == "Interrupt"
    page.press("Enter")
    page.wait_for("document.querySelector('.request output').innerText === 'Interrupted.'")
    assert ("api/interrupt", {"id": "4f30"}) in made.asked


def test_what_a_live_response_awaits(steady: Steady) -> None:
    """It holds no thread, and has a stack nonetheless."""
    page, _ = steady
    assert texts(page, ".request .state")[-1] == "live"  # it is meant to be old, and comes last
    assert page.value(f"{LIVE}.querySelector('.age').dataset.level") in ("", None)
    page.value(f"{LIVE}.querySelector('summary').click()")
    page.wait_for(f"{LIVE}.querySelector('pre').innerText.includes('self.changed.wait()')")
    facts = page.value(f"{LIVE}.querySelector('dl').innerText")
    assert re.search(r"thread\s+none", facts)
    page.value(f"{LIVE}.querySelector('summary').click()")


def test_a_moment_by_keys(steady: Steady) -> None:
    """The values of that moment stand in all charts."""
    page, _ = steady
    page.value("document.querySelector('.plot').focus()")
    page.press("ArrowLeft", "ArrowLeft")
    heads = set(texts(page, ".legend thead th:nth-child(2)"))
    assert len(heads) == 1
    assert heads.pop().count(":") == 2
    told = page.value("document.activeElement.getAttribute('aria-valuetext')")
    assert "2xx " in told
    page.press("Escape")
    assert set(texts(page, ".legend thead th:nth-child(2)")) == {"now"}


def test_values_as_a_table(steady: Steady) -> None:
    page, _ = steady
    page.value("document.querySelector('.values summary').click()")
    page.wait_for("document.querySelectorAll('.values .data tbody tr').length === 12")
    assert texts(page, ".values .data thead th")[:3] == ["time", "1xx", "2xx"]


def test_actions_where_they_are_allowed(steady: Steady) -> None:
    page, made = steady
    page.value("document.getElementById('processes').value = 6")
    page.value("document.querySelector('#actions [value=scale]').click()")
    page.wait_for("document.querySelector('#outcome').innerText === '6 processes are wanted.'")
    page.value("document.querySelector('#actions [value=reload]').click()")
    page.wait_for("document.querySelector('#outcome').innerText.startsWith('The reload')")
    assert made.asked[-2:] == [("api/scale", {"processes": 6}), ("api/reload", {})]


def test_no_actions_where_they_are_not_and_what_is_to_be_noticed(chromium: Browser) -> None:
    made = MadeUp(may_act=False)
    made.fleet = {"reload": "failed", "ready": 3}
    made.blocked = 3.2
    with showing(chromium, made) as page:
        page.value("document.querySelector('.request summary').click()")
        page.wait_for(STACK)
        assert texts(page, "#actions, .request button") == []
        failed, ready, blocked = texts(page, "#notices li")
        assert blocked == (
            "Code blocks the application loop of process 15 (pid 4253), for 3 s now: "
            "live responses wait, and who calls run()."
        )
        assert failed.startswith("The last reload has failed")
        assert ready == "3 of 4 processes are ready."


def test_the_system_s_theme_or_another_and_less_motion(chromium: Browser) -> None:
    """What somebody has chosen is remembered."""
    found = {}
    with showing(chromium, MadeUp()) as page:
        for theme in ("dark", "light"):
            page.prefer(prefers_color_scheme=theme)
            found[theme] = page.value(GROUND)
        assert page.value(MOTION) == "breathe"
        page.prefer(prefers_color_scheme="light", prefers_reduced_motion="reduce")
        assert page.value(MOTION) == "none"
        for theme in ("dark", "light", "auto"):
            page.value("document.getElementById('theme').click()")
            assert page.value("localStorage.theme") == theme
            assert page.value(GROUND) == found.get(theme, found["light"])
    assert found["dark"] != found["light"]


@pytest.mark.parametrize("width", [360, pytest.param(1440, marks=pytest.mark.soak)])
def test_does_not_jump_as_it_fills(chromium: Browser, width: int) -> None:
    """0.1 is what the Web's own measure calls good."""
    with showing(chromium, MadeUp(), width=width) as page:
        assert page.value(SHIFTS) < 0.1


def test_fits(steady: Steady) -> None:
    page, _ = steady
    over = {}
    for width in (1920, 1280, 1024, 768, 420, 360):
        page.resize(width, 900)
        over[width] = page.value("Math.max(0, document.documentElement.scrollWidth - innerWidth)")
    assert not any(over.values()), over


def test_ids_stay_in_one_piece_on_a_phone(steady: Steady) -> None:
    """Also beside how often the same came."""
    page, _ = steady
    page.resize(360, 900)
    ids = "[...document.querySelectorAll('#errors code')]"
    page.value(f"{ids}.forEach(each => each.textContent = '8395f348-b4')")
    assert page.value(f"Math.max(...{ids}.map(each => each.getClientRects().length))") == 1
    assert page.value(f"Math.max(...{ids}.map(each => each.offsetHeight))") < 30


@pytest.mark.soak
def test_polls_without_a_place_and_says_who_is_away(chromium: Browser) -> None:
    """And shows all again once somebody answers."""
    made = MadeUp(streams=False)
    with showing(chromium, made) as page:
        page.wait_for("document.querySelector('#mode').innerText === 'Every 2 s'")
        made.is_away = True
        page.wait_for("document.querySelector('#mode').innerText === 'Away'")
        assert "What is shown is of " in texts(page, "#notices li")[0]
        made.is_away = False
        page.wait_for("document.querySelector('#mode').innerText === 'Every 2 s'")
        assert texts(page, "#notices li") == ["All is well: 4 of 4 processes are ready."]


@pytest.mark.soak
def test_says_that_who_hangs_is_away_before_all_patience_has_ended(chromium: Browser) -> None:
    """An operations process that stands still takes connections, and answers none."""
    made = MadeUp()
    with showing(chromium, made) as page:
        page.wait_for("document.querySelector('#mode').innerText === 'Live'")
        made.is_hung = True
        since = time.monotonic()
        page.wait_for("document.querySelector('#mode').innerText === 'Away'")
        assert time.monotonic() - since < 11
        made.is_hung = False
        page.wait_for("document.querySelector('#mode').innerText !== 'Away'")


PICTURES = os.environ.get("TESTS_PICTURES", "")


@pytest.mark.skipif(not PICTURES, reason="TESTS_PICTURES names no directory")
@pytest.mark.parametrize(
    ("name", "width", "theme"),
    [("dark", 1440, "dark"), ("light", 1440, "light"), ("phone", 360, "dark")],
)
def test_pictures(chromium: Browser, name: str, width: int, theme: str) -> None:
    with showing(chromium, MadeUp(), width=width, prefers_color_scheme=theme) as page:
        page.value("document.querySelector('.request summary').click()")
        page.wait_for(STACK)
        page.picture(Path(PICTURES) / f"dashboard-{name}.png")
