"""New processes for old ones under a load over TLS: no request and no handshake is lost by it."""

from __future__ import annotations

import contextlib
import os
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import authority, local_pair
from encrypted import Encrypted
from processes import Servers, Site, release
from proxy_headers import line
from rawclient import RawClient, request

PAIR = local_pair().flags
PAUSES = (0.002, 0.01, 0.05, 0.3, 1.5)

workers = pytest.mark.parametrize("count", ["1", "2"])


@contextlib.contextmanager
def serving(site: Site, *args: str, loop: str = "uvloop") -> Iterator[Servers]:
    with site.serve(*PAIR, *args, loop=loop) as servers:
        yield servers
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.assert_clean()


@workers
def test_a_reload_under_load_loses_nothing(site: Site, count: str) -> None:
    with serving(site, "--workers", count) as servers:
        servers.wait_for_pids(int(count))
        with servers.load(kept=4, fresh=3, pauses=PAUSES) as load:
            load.wait_for_version("v0", 20)
            for number in (1, 2):
                site.write(f"v{number}")
                servers.reload()
                load.wait_for_version(f"v{number}", 10)
            load.wait_for_each(2)
        load.assert_flawless()
        assert load.notices >= 1


@pytest.mark.soak
@pytest.mark.timeout(600)
@workers
@pytest.mark.parametrize(("preload", "loop"), [((), "uvloop"), (("--preload",), "asyncio")])
def test_ten_reloads_under_load_lose_nothing(
    site: Site, count: str, preload: tuple[str, ...], loop: str
) -> None:
    with serving(site, "--workers", count, *preload, loop=loop) as servers:
        servers.wait_for_pids(int(count))
        with servers.load(kept=8, fresh=4, pauses=PAUSES) as load:
            load.wait_for_version("v0", 20)
            for number in range(1, 11):
                site.write(f"v{number}")
                servers.reload()
                load.wait_for_version(f"v{number}", 10)
            load.wait_for_each(2)
        load.assert_flawless()


@pytest.mark.soak
@pytest.mark.timeout(600)
@workers
def test_processes_that_are_replaced_all_the_time_lose_nothing(site: Site, count: str) -> None:
    """``--max-requests``: hundreds of successors, each with contexts of its own."""
    with serving(site, "--workers", count, "--max-requests", "60") as servers:
        servers.wait_for_pids(int(count))
        with servers.load(kept=8, fresh=4, pauses=(0.002, 0.01, 0.05)) as load:
            load.wait_for_processes(12)
            load.wait_for_each(2)
        load.assert_flawless()


def test_a_session_may_be_offered_to_a_process_that_does_not_know_it(site: Site) -> None:
    """Two processes, and one after a reload: where it cannot be resumed there is a new one, and no
    failure (RFC 8446 §2.2)."""
    with serving(site, "--workers", "2") as servers:
        servers.wait_for_pids(2)
        context = authority().client(highest=ssl.TLSVersion.TLSv1_2)
        sessions = []
        for number in range(12):
            with RawClient(servers.address, tls=context) as client:
                assert client.get("/?x").status == 200
                sessions.append(client.socket.tls.session)
            if number == 6:
                site.write("v1")
                servers.reload()
        for session in sessions:
            with contextlib.closing(resuming(servers, context, session)) as client:
                assert client.get("/?x").status == 200


def resuming(servers: Servers, context: ssl.SSLContext, session: ssl.SSLSession) -> RawClient:
    client = RawClient(servers.address)
    client.socket = Encrypted(client.socket, context, session=session)
    return client


def test_a_handshake_that_has_begun_at_a_reload_may_still_ask(site: Site) -> None:
    """The old process finishes it, answers, and closes."""
    with serving(site) as servers:
        servers.wait_for_pids(1)
        with RawClient(servers.address) as client:
            encrypted = Encrypted(client.socket, authority().client(), shakes_hands=False)
            hello = encrypted.begin()
            client.send(hello[:100])
            servers.ask()  # so that the loop has seen it
            site.write("v1")
            servers.reload()
            servers.wait_for_version("v1")
            client.send(hello[100:])
            client.socket = encrypted
            encrypted.shake_hands()
            response = client.get("/?x")
            assert response.body.split()[1] == b"v0"
            assert response.fields["connection"] == "close"


def test_what_is_in_flight_at_a_stop_is_finished(site: Site, fifo: Path) -> None:
    with site.serve(*PAIR) as servers:
        servers.wait_for("Listening on ")
        client, _ = servers.hold(fifo)
        with client, servers.client() as idle:
            idle.send(request("/?x"))
            assert idle.response().status == 200
            servers.signal(signal.SIGTERM)
            assert idle.read_to_end() == b""
            assert idle.socket.said_goodbye
            release(fifo)
            assert client.response().status == 200
            assert client.read_to_end() == b""
            assert client.socket.said_goodbye
        assert servers.wait() == 0
        servers.assert_clean()


def test_a_load_behind_a_proxy_that_introduces_its_clients(site: Site) -> None:
    opening = line(("203.0.113.7", 56324), ("192.0.2.11", 443))
    with serving(site, "--workers", "2", "--proxy-protocol", "v1") as servers:
        with servers.load(kept=3, fresh=3, opening=opening) as load:
            load.wait_for_more(30)
            servers.reload()
            load.wait_for_more(30)
        load.assert_flawless()


def test_what_the_application_forks_has_no_key_and_no_connection(site: Site) -> None:
    """Of a child that lives on its own the client hears nothing: its connection ends with us."""
    after = (
        "import os\n"
        "inner = application\n"
        "def application(environ, start_response):\n"
        "    if environ['PATH_INFO'] == '/spawn':\n"
        "        child = os.posix_spawnp('sleep', ['sleep', '60'], os.environ)\n"
        "        start_response('200 OK', [])\n"
        "        return [b'%d' % child]\n"
        "    return inner(environ, start_response)\n"
    )
    site.write("v0", after=after)
    with serving(site) as servers:
        servers.wait_for_pids(1)
        with servers.client() as client:
            child = int(client.get("/spawn").body)
            try:
                links = []
                for path in Path(f"/proc/{child}/fd").iterdir():
                    with contextlib.suppress(FileNotFoundError):  # of a library that it has loaded
                        links.append(os.readlink(path))
                assert not [link for link in links if "socket:" in link or "memfd" in link], links
            finally:
                os.kill(child, signal.SIGKILL)
