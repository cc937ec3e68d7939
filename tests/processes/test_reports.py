"""What an operator gets of requests that hang: by a signal, and by their age."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

from processes import Site, await_text, release
from rawclient import RawClient, request


def test_logs_are_reopened_each_time_and_requests_told_once(site: Site, fifo: Path) -> None:
    """What rotates two logs may signal twice, and ten processes have much to tell."""
    errors = site.directory / "error.log"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number, address = listener.fileno(), listener.getsockname()
        where = ("-b", f"fd://{number}")
        servers = site.serve("--error-logfile", "error.log", *where, fds=(number,))
        with servers:
            with RawClient(address) as client:
                client.send(request(f"/wait?{fifo}"))
                servers.wait_for("^waiting in ")
                for time in range(3):
                    if time:
                        errors.rename(site.directory / f"old.{time}")
                    servers.signal(signal.SIGUSR1)
                    await_text(errors, "" if time else "requests in flight: 1")
                release(fifo)
                assert client.response().status == 200
            servers.signal(signal.SIGTERM)
            assert servers.wait() == 0
    await_text(errors, r"\[INFO\] Stopped")
    texts = [path.read_text() for path in (site.directory / "old.1", site.directory / "old.2")]
    assert texts[0].count("[INFO] requests in flight: ") == 1
    assert "[INFO] requests in flight: " not in texts[1] + errors.read_text()


def test_a_slow_request_has_a_line_of_its_own(site: Site, fifo: Path) -> None:
    with site.serve("--slow-request", "200ms", "--request-id-header", "X-Request-ID") as servers:
        servers.wait_for("Listening on ")
        with servers.client() as client:
            client.send(request(f"/wait?{fifo}", fields=("X-Request-ID: trace:7",)))
            servers.wait_for(
                r"\[WARNING\] GET /wait\S* \[127\S+ trace:7\]: in the application for "
            )
            servers.wait_for(r"process_app\.py\S* line [0-9]+, in wait")
            release(fifo)
            answer = client.response()
            assert (answer.status, answer.fields["x-request-id"]) == (200, "trace:7")
        assert servers.count("in the application for ") == 1
