"""The figures of ``--metrics-bind`` beside those of clients that count, while processes come and
go."""

from __future__ import annotations

import os
import signal
import time

import pytest
from processes import Life, Site, children
from scraping import METRICS, Scraper

pytest.importorskip("prometheus_client")

CLIENTS = 9
"""Those of a load, each with one request at a time."""


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_sums_are_those_of_clients_but_for_what_was_in_flight_at_a_kill(
    site: Site, preload: tuple[str, ...]
) -> None:
    with site.serve("--workers", "4", *METRICS, *preload) as servers:
        scraper = Scraper.of(servers)
        with servers.load() as load:
            load.wait_for_processes(4)
            servers.reload()
            load.wait_for_each(2)
            victim = min(load.seen_from_now())
            os.kill(victim, signal.SIGKILL)
            Life(victim).await_end()
            servers.wait_for(f"rocess {victim} died")
            load.wait_for_each(2)
            servers.reload()
            load.wait_for_each(2)
        assert len(load.failures) <= CLIENTS
        assert all(failure.process in (None, victim) for failure in load.failures), load

        # Of the answers of the last turn of its loop some may not be counted.
        least, most = load.responses[200] - CLIENTS, load.responses[200] + len(load.failures)
        scraper.wait_until(lambda: least <= scraper.answered() <= most, str(load))
        assert scraper.total("wsgi_async_process_restarts_total", reason="died") == 1
        assert scraper.total("wsgi_async_reloads_total") == 2
        # Of all that were ever told, each counts once.
        counted = scraper.total("wsgi_async_request_duration_seconds_count")
        assert abs(counted - scraper.total("wsgi_async_requests_total")) <= 1


@pytest.mark.soak
@pytest.mark.timeout(180)
def test_killed_each_second_for_a_minute(site: Site) -> None:
    """Each of its successors is there for a moment only, or not yet: nobody notices."""
    with site.serve("--workers", "2", *METRICS) as servers:
        scraper = Scraper.of(servers)
        kills = 0
        with servers.load() as load:
            end = time.monotonic() + 60.0
            while time.monotonic() < end:
                load.wait_for_each()
                for victim in children(servers.process.pid) - set(servers.loaded()):
                    os.kill(victim, signal.SIGKILL)
                    Life(victim).await_end()
                    kills += 1
        load.assert_flawless()
        assert kills > 5
        # The next one may be half a minute away by now.
        servers.signal(signal.SIGHUP)
        scraper.wait_for_total(load.responses[200], "wsgi_async_requests_total", status="2xx")
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
