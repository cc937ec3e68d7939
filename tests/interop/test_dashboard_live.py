"""The dashboard of a server that works: what Chromium shows of it beside what its clients count."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsers import Browser, Page, browser
from processes import Servers, Site
from rawclient import RawClient, request
from scraping import operations_of
from watching import DASHBOARD, Watcher

TOKEN = "a-token-of-32-characters-or-more"

SOURCE = """
import os
import time
from process_app import say

say(f"loaded v0 in {os.getpid()}")

def counts_the_stars(until):
    say("counting")
    while not os.path.exists(until):
        time.sleep(0.02)

def application(environ, start_response):
    if until := environ.get("HTTP_UNTIL"):
        counts_the_stars(until)
    status = environ["PATH_INFO"][1:4]
    if status == "500":
        raise ValueError("no such star")
    start_response(f"{status if status.isdigit() else 200} OK", [("Content-Length", "4")])
    return [b"star"]
"""

LARGEST = "document.querySelector('.legend tbody td:last-child').innerText"
TWO_READY = "document.querySelector('#fleet').innerText.startsWith('2 of 2 ready')"
STATUSES = (200, 200, 200, 204, 301, 404, 404, 500)
HOSTILE = "/<script>alert('1')</script>\"&amp;"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    """Two processes of that application, with a dashboard that may act."""
    site = Site(tmp_path)
    site.write_source(SOURCE)
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    options = ("--workers", "2", *DASHBOARD, "--dashboard-token-file", str(token))
    with site.serve(*options) as found:
        found.wait_for("Listening on ")
        yield found


@pytest.fixture
def page(servers: Servers, chromium: Browser) -> Iterator[Page]:
    """The dashboard, once it is live."""
    port = Watcher.of(servers).address[1]
    found = chromium.open(f"http://127.0.0.1:{port}/?token={TOKEN}")
    found.wait_for("document.querySelector('#mode')?.innerText === 'Live'")
    found.wait_for(TWO_READY)
    yield found
    assert found.faults == []
    found.close()


def load(servers: Servers, times: int = 20) -> Counter[str]:
    """Requests of several kinds, and how many there were of each class of status."""
    counts: Counter[str] = Counter()
    with RawClient(servers.address) as client:
        for _ in range(times):
            for status in STATUSES:
                answer = client.get(f"/{status}")
                assert answer.status == status
                counts[f"{status // 100}xx"] += 1
    return counts


def shown(page: Page, selector: str) -> str:
    text: str = page.value(f"document.querySelector({selector!r}).innerText")
    return text.replace("\u202f", "").replace("\u00a0", " ")


def recorded(page: Page, column: str) -> float:
    """The sum of a column of the history, where a row that is missing has what the next one has."""
    found = page.value("fetch('/api/history').then(answer => answer.json())")
    index = found["columns"].index(column)
    rate = total = 0.0
    for row in reversed(found["rows"]):
        rate = rate if row[index] is None else row[index]
        total += rate
    return total


def test_its_figures_are_what_clients_count(servers: Servers, page: Page) -> None:
    """All that there were, to the last one, and second by second."""
    assert page.value("location.search") == "", "the token is still in the address"
    counts = load(servers)
    everything = sum(counts.values())
    page.wait_for(f"document.querySelector('#figures').innerText.includes('{everything} in all')")
    assert shown(page, "#figures div:nth-child(2) dd:last-child") == f"{counts['5xx']} in all"
    # The chart has it once the second is over, and the next one is without.
    page.wait_for(f"{LARGEST} !== '0'")
    page.wait_for("document.querySelector('#figures .value').innerText === '0'")
    sums: dict[str, float] = defaultdict(float)
    page.value("document.querySelector('.plot').focus()")
    rates: dict[str, float] = {}
    for _ in range(40):
        page.press("ArrowLeft")
        told = page.value("document.activeElement.getAttribute('aria-valuetext')")
        # Of a second without a row the next one has the rate, which is the one before on this way.
        rates |= {status: float(rate) for status, rate in re.findall(r"(\dxx) ([0-9.]+)", told)}
        for status, rate in rates.items():
            sums[status] += rate
    # A rate is of as much time as has passed, which may be less than a second: the chart is what
    # the history has, and its parts are what the clients have counted.
    for status, count in counts.items():
        assert sums[status] == pytest.approx(recorded(page, f"rps_{status}"), rel=0.05)
        assert sums[status] / sum(sums.values()) == pytest.approx(count / everything, rel=0.05)
    page.wait_for("document.querySelectorAll('#errors li').length > 0")
    assert "ValueError: GET /500" in shown(page, "#errors")


def test_a_stack_opened_by_a_click_and_its_request_broken_off(
    servers: Servers, page: Page, tmp_path: Path
) -> None:
    """Its target is whatever a client writes, without the query, and text."""
    with RawClient(servers.address) as client:
        client.send(request(f"{HOSTILE}?secret", fields=(f"Until: {tmp_path / 'never'}",)))
        servers.wait_for("^counting$")
        page.wait_for("document.querySelectorAll('.request').length === 1")
        assert HOSTILE.replace('"', r"\x22") in shown(page, ".request .target")
        assert "secret" not in page.text
        assert page.value("document.querySelectorAll('main script').length") == 0
        page.click(".request summary")
        page.wait_for("document.querySelector('.request pre').innerText.includes('the_stars')")
        page.click(".request button")
        page.wait_for("document.querySelector('.request output')?.innerText !== 'Asked.'")
        assert client.response().status == 504
    page.wait_for("document.querySelectorAll('.request').length === 0")


@pytest.mark.soak
def test_a_kill_a_reload_and_the_operations_process_s_death(servers: Servers, page: Page) -> None:
    """The page goes on by itself, and has lost nothing of its hour."""
    counts = load(servers, 3)
    everything = f"'{sum(counts.values())} in all'"
    page.wait_for(f"document.querySelector('#figures').innerText.includes({everything})")
    page.wait_for(f"{LARGEST} !== '0'")
    os.kill(int(shown(page, "#process-table td:nth-child(2)")), signal.SIGKILL)
    page.wait_for("document.querySelector('#restarts').innerText.includes('died')")
    page.wait_for(TWO_READY)
    largest = shown(page, ".legend tbody td:last-child")
    page.click("#actions [value=reload]")
    servers.wait_for(r"\] Reloaded$")
    page.wait_for("document.querySelector('#fleet').innerText.includes('reloads: 1')")
    page.wait_for(TWO_READY)
    before = operations_of(servers)
    os.kill(before, signal.SIGKILL)
    began = page.value("document.querySelector('.plot').dataset.test = 'seen'")
    page.wait_for("document.querySelector('#mode').innerText === 'Live'")
    page.value("document.getElementById('processes').value = 3")
    page.click("#actions [value=scale]")
    page.wait_for("document.querySelector('#fleet').innerText.startsWith('3 of 3 ready')")
    assert operations_of(servers) != before
    assert shown(page, ".legend tbody td:last-child") == largest
    assert page.value("document.querySelector('.plot').dataset.test") == began, "it was loaded anew"
