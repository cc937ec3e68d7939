"""Sums over processes beside those of clients that count, whatever becomes of the processes."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from processes import Life, Site
from scraping import METRICS, Scraper

pytest.importorskip("prometheus_client")

PROCESSES = 4
KEPT, FRESH = 8, 4
ANSWERED = "wsgi_async_requests_total"
TIMED = "wsgi_async_request_duration_seconds_count"


class Watch:
    """Scrapes all the time, and sees whether a sum ever falls."""

    def __init__(self, scraper: Scraper) -> None:
        self.seen = [0.0]
        self._scraper = scraper
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stopping.wait(0.05):
            self.seen.append(self._scraper.total(ANSWERED))

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopping.set()
        self._thread.join()


@pytest.mark.soak
def test_sums_are_those_of_the_clients_through_reloads_and_a_kill(site: Site) -> None:
    """But for what was in flight in the process that was killed."""
    with site.serve("--workers", str(PROCESSES), *METRICS) as servers:
        servers.wait_for("Listening on ")
        scraper = Scraper.of(servers)
        with servers.load(kept=KEPT, fresh=FRESH) as load, Watch(scraper) as watch:
            load.wait_for_processes(PROCESSES)
            servers.reload()
            load.wait_for_more(200)
            load.assert_flawless()
            victim = max(load.seen_from_now(200))
            os.kill(victim, signal.SIGKILL)
            Life(victim).await_end()
            scraper.wait_for_total(PROCESSES, "wsgi_async_processes_ready")
            load.wait_for_more(200)
            servers.reload()
            load.wait_for_more(200)
        failed = len(load.failures)
        assert failed <= KEPT + FRESH, load
        assert watch.seen == sorted(watch.seen)
        assert len(watch.seen) > 10
        scraper.wait_until(lambda: scraper.total("wsgi_async_requests_in_flight") == 0, "idle")
        answered, counted = load.responses.total(), scraper.total(ANSWERED)
        # Whoever had no answer may be counted; of the answers of the last turn of its loop some
        # may not be.
        assert answered - KEPT - FRESH <= counted <= answered + failed
        assert abs(scraper.total(TIMED) - counted) <= 1
        assert scraper.total("wsgi_async_process_restarts_total", reason="died") == 1
        assert scraper.total("wsgi_async_reloads_total") == 2
        # Those that were replaced are shown no more.
        scraper.wait_for_total(PROCESSES + 2, "wsgi_async_process_up")
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
