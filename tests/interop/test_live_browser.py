"""The pages of examples/live/ in Chromium: over a reload, in many tabs, with few threads.

``TESTS_PICTURES=DIRECTORY`` keeps pictures of them there.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from browsers import Browser, Page, browser
from live_examples import example
from tools import Process, require_module

LIVE = "document.querySelector('#mode').innerText === 'Live'"
SEEN = "Number(document.querySelector('#events').innerText)"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found


def keep(page: Page, name: str) -> None:
    """A picture in either theme, on a screen and on a phone, where somebody wants them."""
    if directory := os.environ.get("TESTS_PICTURES"):
        for theme in ("light", "dark"):
            for width, height in ((1280, 860), (390, 844)):
                page.resize(width, height)
                page.prefer(prefers_color_scheme=theme)
                page.picture(Path(directory, f"{name}-{theme}-{width}.png"))


def figure(page: Page, name: str) -> str:
    found: str = page.value(f"document.getElementById({name!r}).innerText")
    return found


def named(process: Process, number: int) -> str:
    """The site by another name of this machine: a browser has six connections for each name."""
    return f"http://tab{number}.localhost:{urlsplit(process.url).port}/"


def test_it_goes_on_over_a_reload(chromium: Browser, tmp_path: Path) -> None:
    """The browser comes back by itself with Last-Event-ID: each event is there, and once."""
    require_module("flask")
    with example("flask_events.py", tmp_path) as process:
        page = chromium.open(f"{process.url}/?seconds=3")
        page.wait_for(LIVE)
        page.click("#start")
        page.wait_for("document.querySelector('progress')?.value > 0")
        keep(page, "flask")
        process.signal(signal.SIGHUP)
        page.wait_for(f"{LIVE} && document.querySelector('#connections').innerText > 1")
        # The job was begun in a process that is no more.
        page.wait_for("document.querySelector('#jobs .done') !== null")
        before = page.value(SEEN)
        page.wait_for(f"{SEEN} > {before}")
        assert (figure(page, "lost"), figure(page, "twice")) == ("0", "0")
        assert page.faults == []
        page.close()


@pytest.mark.parametrize("tabs", [8, pytest.param(20, marks=pytest.mark.soak)])
def test_many_tabs_and_two_threads(chromium: Browser, tabs: int, tmp_path: Path) -> None:
    """All of them live at once, and an ordinary request is answered beside them."""
    require_module("flask")
    with example("flask_events.py", tmp_path) as process:
        pages = [chromium.open(named(process, number // 4), window=True) for number in range(tabs)]
        for page in pages:
            page.wait_for(f"{LIVE} && {SEEN} > 0")
        name = httpx.post(f"{process.url}/jobs?seconds=0", trust_env=False).json()["name"]
        for page in pages:
            page.wait_for(f"document.querySelector('#job-{name}.done') !== null")
            assert (figure(page, "lost"), figure(page, "twice")) == ("0", "0")
            assert page.faults == []
        for page in pages:
            page.close()


@pytest.mark.soak
def test_a_tab_that_nobody_looks_at_holds_nothing(chromium: Browser, tmp_path: Path) -> None:
    """Else the seventh tab of a browser would wait for ever: it has six connections to a host."""
    require_module("flask")
    with example("flask_events.py", tmp_path) as process:
        pages = [chromium.open(f"{process.url}/?seconds=1") for _ in range(8)]
        pages[-1].wait_for(LIVE)
        pages[0].wait_for("document.querySelector('#mode').innerText === 'Paused'")
        pages[-1].click("#start")
        pages[0].tell("Page.bringToFront")
        pages[0].wait_for(f"{LIVE} && document.querySelector('.done') !== null")
        assert (figure(pages[0], "lost"), figure(pages[0], "twice")) == ("0", "0")
        for page in pages:
            assert page.faults == []
            page.close()


def test_a_vote_is_seen_in_another_tab(chromium: Browser, tmp_path: Path) -> None:
    require_module("django")
    with example("django_dashboard.py", tmp_path) as process:
        pages = [chromium.open(f"{process.url}/", window=True) for _ in range(2)]
        for page in pages:
            page.wait_for(f"{LIVE} && document.querySelector('#watching').innerText === '2'")
        for which, count in ((1, 3), (2, 5), (3, 1)):
            for _ in range(count):
                pages[0].click(f"#drinks li:nth-child({which}) button")
        for page in pages:
            page.wait_for("document.querySelector('#votes').innerText === '9'")
            assert "3 votes\n33 %" in page.text
            assert page.faults == []
        keep(pages[1], "django")
        pages[0].close()
        pages[1].wait_for("document.querySelector('#watching').innerText === '1'")
        pages[1].close()


@pytest.mark.soak
def test_a_page_comes_back_after_a_refusal(chromium: Browser, tmp_path: Path) -> None:
    """After a 503 a browser's EventSource gives up; the page does not."""
    require_module("flask")
    with example("flask_events.py", tmp_path, "--max-live", "1") as process:
        first, second = (chromium.open(f"{process.url}/", window=True) for _ in range(2))
        first.wait_for(LIVE)
        second.wait_for("document.querySelector('#mode').innerText === 'Reconnecting'")
        first.close()
        second.wait_for(LIVE)
        second.close()
