"""statsd by a command line: each process tells of itself, and the parent of what it logs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import Site
from rawclient import request
from statsds import StatsdReceiver

LIVE = """
import asyncio
from wsgi_async import live

async def body():
    yield b"one"
    await asyncio.Event().wait()

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/event-stream")])
    return live(body())
"""

NOWHERE = "a" * 64 + ".example"
"""A name of which no resolver needs to be asked."""


@pytest.fixture
def receiver() -> Iterator[StatsdReceiver]:
    with StatsdReceiver() as receiver:
        yield receiver


def await_gauge(receiver: StatsdReceiver, value: float) -> None:
    receiver.read_until(lambda: receiver.gauges.get("gunicorn.workers") == value)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_processes(site: Site, receiver: StatsdReceiver, workers: int) -> None:
    with site.serve("-w", str(workers), "--statsd-host", receiver.option) as servers:
        await_gauge(receiver, workers)
        servers.signal(signal.SIGTTIN)
        await_gauge(receiver, workers + 1)
        servers.signal(signal.SIGTTOU)
        await_gauge(receiver, workers)
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        await_gauge(receiver, 0)
        servers.assert_clean()
    places = {name for name in receiver.gauges if name.startswith("wsgi_async.threads.busy.")}
    assert places == {f"wsgi_async.threads.busy.{place}" for place in range(workers + 1)}
    assert {name.replace("live", "threads.busy") for name in live_gauges(receiver)} == places
    assert not any(receiver.gauges[name] for name in live_gauges(receiver))


def live_gauges(receiver: StatsdReceiver) -> list[str]:
    return [name for name in receiver.gauges if name.startswith("wsgi_async.live.")]


def test_the_number_of_live_responses(site: Site, receiver: StatsdReceiver) -> None:
    site.write_source(LIVE)
    with site.serve("-w", "1", "--statsd-host", receiver.option) as servers:
        servers.wait_for("Listening on ")
        with servers.client() as one, servers.client() as other:
            for client in one, other:
                client.send(request())
                client.read_until(b"one")
            receiver.read_until(lambda: receiver.gauges.get("wsgi_async.live.0") == 2)
        receiver.read_until(lambda: receiver.gauges.get("wsgi_async.live.0") == 0)
        servers.assert_clean()


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
def test_all_processes_are_counted_and_a_death_is_an_error(
    site: Site, receiver: StatsdReceiver, preload: bool
) -> None:
    options = ("-w", "2", "--statsd-host", receiver.option, "--statsd-prefix", "shop")
    with site.serve(*options, *(["--preload"] if preload else [])) as servers:
        pids = servers.wait_for_pids(2)
        for _ in range(20):
            servers.ask()
        receiver.read_until(lambda: receiver.sums["shop.gunicorn.request.status.200"] >= 20)
        assert receiver.sums["shop.gunicorn.log.error"] == 0
        os.kill(pids[0], signal.SIGKILL)
        receiver.read_until(lambda: receiver.sums["shop.gunicorn.log.error"] == 1)
        servers.wait_for_pids(2, others=pids[:1])
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
    assert servers.count("died: killed by SIGKILL|died") >= 1


def test_a_reload_has_new_options(site: Site, receiver: StatsdReceiver) -> None:
    file = site.directory / "wsgi_async.toml"
    file.write_text(f"statsd_host = '{receiver.option}'\nstatsd_prefix = 'a'\n")
    with site.serve() as servers:
        servers.ask()
        receiver.read_until(lambda: receiver.sums["a.gunicorn.requests"] == 1)
        file.write_text(f"statsd_host = '{receiver.option}'\nstatsd_prefix = 'b'\n")
        servers.reload()
        servers.wait_for_pids(1, others=servers.loaded()[:1])
        receiver.read_until(lambda: receiver.sums["b.gunicorn.requests"] >= 1)
        file.write_text("")
        servers.reload()
        servers.wait_for_pids(1, others=servers.loaded()[:2])
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.assert_clean()


def test_where_nobody_listens_no_request_is_lost(site: Site, tmp_path: Path) -> None:
    with site.serve("-w", "2", "--statsd-host", f"unix:{tmp_path}/nobody") as servers:
        with servers.load() as load:
            load.wait_for_more(200)
        load.assert_flawless()
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.assert_clean()
    assert 1 <= servers.count("does not take all: No such file or directory") <= 3


@pytest.mark.parametrize("check", [True, False], ids=["check", "serve"])
@pytest.mark.parametrize(
    "address", ["nowhere:x", "::1", "unix:", "fd://3", "http://a:1", ":8125", "a:0", "8125"]
)
def test_an_address_that_is_none_is_one_line(site: Site, address: str, check: bool) -> None:
    options = ("--statsd-host", address, *(["--check-config"] if check else []))
    with site.serve(*options) as servers:
        assert servers.wait() == 1
    (line,) = servers.lines
    assert line.startswith("wsgi-async: error: --statsd-host takes an address such as 127.0.0.1:81")
    assert line.endswith(f"not {address!r}")


def test_a_name_that_means_nothing_is_a_warning(site: Site) -> None:
    """As with gunicorn the site is served; there nobody is told."""
    line = f"--statsd-host: {NOWHERE} cannot be found: the name is not valid; it is looked for"
    with site.serve("--statsd-host", NOWHERE, "--check-config") as servers:
        assert servers.wait() == 0
    assert servers.count(line) == 1
    with site.serve("-w", "2", "--statsd-host", NOWHERE) as servers:
        servers.wait_for_pids(2)
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.assert_clean()
    assert servers.count(line) == 1


def test_what_is_of_no_use_alone(site: Site) -> None:
    with site.serve("--statsd-prefix", "a", "--dogstatsd-tags", "b:c") as servers:
        servers.wait_for("--statsd-prefix is of no use without --statsd-host")
        servers.wait_for("--dogstatsd-tags is of no use without --statsd-host")


def test_what_an_application_measures_and_forks(site: Site, receiver: StatsdReceiver) -> None:
    """A process that it forks tells nothing in the server's name."""
    site.write(
        "v0",
        before="import logging, os\n"
        "log = logging.getLogger('wsgi_async')\n"
        "log.info('', extra={'metric': 'shop.loaded', 'value': 1, 'mtype': 'counter'})\n",
        after="inner = application\n"
        "def application(environ, start_response):\n"
        "    if not (pid := os.fork()):\n"
        "        log.critical('of a child')\n"
        "        os._exit(0)\n"
        "    os.waitpid(pid, 0)\n"
        "    log.info('sold', extra={'metric': 'shop.sold', 'value': 3, 'mtype': 'counter'})\n"
        "    return inner(environ, start_response)\n",
    )
    with site.serve("--statsd-host", receiver.option) as servers:
        servers.ask()
        receiver.read_until(lambda: receiver.sums["shop.sold"] == 3)
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
    await_gauge(receiver, 0)
    assert receiver.sums["shop.loaded"] == 1
    assert receiver.sums["gunicorn.log.critical"] == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_serve_has_it_and_leaves_a_programs_logging_alone(
    site: Site, receiver: StatsdReceiver, workers: int
) -> None:
    program = (
        "import sys\nsys.path.insert(0, '')\nimport logging, wsgi_async\n"
        "logging.basicConfig(level='INFO', format='mine %(message)s')\n"
        "from site_app import application\n"
        "wsgi_async.serve(application, 0, host='127.0.0.1', "
        f"workers={workers}, statsd_host='{receiver.option}')\n"
    )
    with site.serve(app="", bind="", program=program) as servers:
        servers.wait_for("^mine Listening on")
        servers.wait_for_pids(workers)
        receiver.read_until(lambda: receiver.sums["gunicorn.requests"] >= workers)
        await_gauge(receiver, workers)
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.assert_clean()
    await_gauge(receiver, 0)


def test_where_nobody_asks_nothing_is_imported(site: Site) -> None:
    site.write(
        "v0",
        after="import sys\nfor part in ('operations.statsd', 'system.datagrams'):\n"
        "    say(f'{part} {\"wsgi_async.\" + part in sys.modules}')\n",
    )
    with site.serve() as servers:
        servers.wait_for(r"^operations\.statsd False$")
        servers.wait_for(r"^system\.datagrams False$")
