"""Where the time of a request goes, and which request it is, on real sockets and a real clock."""

from __future__ import annotations

import re
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from rawclient import TIMEOUT, request
from serving import both_loops, serving
from timed import Timed

from wsgi_async.testing import live_server

TIMING = re.compile(r"queue;dur=(\d+\.\d), app;dur=(\d+\.\d), cpu;dur=(\d+\.\d)")
NAP = 0.05


def napping(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    time.sleep(NAP)
    times = environ["wsgi_async.times"]
    assert times.app >= NAP
    start_response("200 OK", [("X-Seen", environ["wsgi_async.request_id"])])
    return [environ["wsgi.input"].read()]


@both_loops
def test_a_request_says_where_its_time_went_and_who_it_is(loop: str) -> None:
    options: dict[str, Any] = {"server_timing": True, "request_id_header": "X-Request-ID"}
    timed = Timed()
    with serving(napping, loop=loop, threads=1, observers=[timed], **options) as served:
        with served.client() as client:
            for number in range(2):
                fields = (f"X-Request-ID: r-{number}",)
                client.send(request("/", "POST", body=b"abc", fields=fields))
                answer = client.response()
                assert answer.body == b"abc"
                assert answer.fields["x-request-id"] == f"r-{number}"
                assert answer.fields["x-seen"] == f"r-{number}"
                match = TIMING.fullmatch(answer.fields["server-timing"])
                assert match is not None
                queue, app, cpu = map(float, match.groups())
                assert app >= NAP * 1000
                assert queue >= 0
                assert cpu <= app
        served.recorder.wait_for("request_finished", 2)
        served.wait_until(lambda: len(timed.ended) == 2)
    assert [info.id for info in timed.requests] == ["r-0", "r-1"]
    for response in timed.ended:
        assert response.received == 3
        assert response.thread == "wsgi_async-1"
        assert response.app is not None
        assert response.app >= NAP
        assert not (response.was_spooled)
        assert not (response.was_parked)
        assert not (response.is_given_up)


def test_ids_that_are_made_are_unlike_others() -> None:
    """They go on to servers that make some themselves."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["wsgi_async.request_id"].encode()]

    with (
        serving(application, request_id_header="X-Request-ID") as served,
        served.client() as client,
    ):
        names = [client.get("/").body.decode() for _ in range(20)]
    assert len(set(names)) == 20
    assert all(re.fullmatch("[0-9a-f]{32}", name) for name in names)


class Slow:
    """``/slow`` waits until it is let go."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["PATH_INFO"] == "/slow":
            assert self.gate.wait(TIMEOUT)
        start_response("200 OK", [])
        return [b"done"]


@both_loops
def test_a_slow_request_is_told_while_it_is_at_work(loop: str) -> None:
    application = Slow()
    with (
        serving(application, loop=loop, threads=2, slow_request=0.2) as served,
        served.client() as client,
        served.client() as other,
    ):
        client.send(request("/slow"))
        try:
            [(info, thread, seconds, stack)] = served.recorder.wait_for("request_slow")
            assert other.get("/").body == b"done"  # nobody else is
        finally:
            application.gate.set()
        assert client.response().body == b"done"
        assert (info.target, thread.startswith("wsgi_async-")) == ("/slow", True)
        assert seconds >= 0.2
        assert any("in __call__" in line for line in stack)
        assert len(served.recorder.of("request_slow")) == 1


def test_a_slow_request_is_logged() -> None:
    application = Slow()
    with live_server(application, slow_request=0.1, request_id_header="X-Request-ID") as live:
        asked = urllib.request.Request(f"{live.url}/slow", headers={"X-Request-ID": "slow-1"})
        answers: list[bytes] = []

        def ask() -> None:
            with urllib.request.urlopen(asked, timeout=TIMEOUT) as response:
                answers.append(response.read())

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            deadline = time.monotonic() + TIMEOUT
            while "in the application for" not in live.log_text:
                assert time.monotonic() < deadline
                threading.Event().wait(0.01)
        finally:
            application.gate.set()
            thread.join(TIMEOUT)
        assert answers == [b"done"]
        assert re.search(
            r"\[WARNING\] GET /slow \[127\.0\.0\.1:\d+ slow-1\]: in the application for \d+\.\d s, "
            r"and still is; thread wsgi_async-\d is in\n    File .*, in __call__",
            live.log_text,
        )
