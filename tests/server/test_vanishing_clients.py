"""Clients that reset the connection or go away, at every point of a request."""

from __future__ import annotations

from pathlib import Path

import pytest
from faulty_applications import BLOCK, UPLOAD, Faulty, Serve, each_overflow, still_answers
from rawclient import TIMEOUT, request
from serving import both_loops

from wsgi_async.errors import ClientDisconnected

# --- Clients that reset the connection


RESETS: dict[str, bytes] = {
    "before the first byte": b"",
    "in the head": b"GET /never HTTP/1.1\r\nHo",
    "in a small body": UPLOAD[:100],
    "in a body on disk": UPLOAD[:-100],
    "in a chunked body": (
        b"POST /never HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n123"
    ),
    "while lingering": b"nonsense\r\n\r\n",
}


@both_loops
@pytest.mark.parametrize("sent", RESETS.values(), ids=RESETS)
def test_a_reset_before_the_request_is_complete(loop: str, sent: bytes, serve: Serve) -> None:
    app = Faulty()
    served = serve(app, loop=loop, spool_threshold=100_000)
    with served.client() as client:
        client.send(sent)
        served.wait_until(lambda: len(served.connections.open) == 1)
        if sent == UPLOAD[:-100]:
            served.wait_until(lambda: served.budgets.disk.used > 200_000)
        client.reset()
    served.wait_until_idle()
    assert app.calls() == []
    assert served.budgets.memory.peak <= 100_000
    still_answers(served)


@both_loops
def test_a_reset_between_two_requests(loop: str, serve: Serve) -> None:
    served = serve(Faulty(), loop=loop)
    with served.client() as client:
        assert client.get().status == 200
        client.reset()
    served.wait_until_idle()
    still_answers(served)


@both_loops
def test_a_reset_while_queued_never_reaches_the_application(loop: str, serve: Serve) -> None:
    app = Faulty()
    served = serve(app, loop=loop, threads=1)
    with served.client() as running, served.client() as queued:
        running.send(request("/block"))
        app.wait_called("/block")
        queued.send(request("/queued") + request("/pipelined"))
        served.wait_until(lambda: served.pool.queued == 1)
        queued.reset()
        served.wait_until(lambda: len(served.connections.open) == 1)
        app.release.set()
        assert running.response().body == BLOCK
    served.wait_until_idle()
    assert app.calls() == []
    still_answers(served)


@both_loops
@pytest.mark.parametrize("how", ["reset", "close"])
def test_gone_while_the_application_runs(loop: str, how: str, serve: Serve) -> None:
    app = Faulty()
    served = serve(app, loop=loop)
    with served.client() as client:
        client.send(request("/block") + request("/pipelined"))
        app.wait_called("/block")
        if how == "reset":
            client.reset()
            served.wait_until(lambda: not served.connections.open)
    # An orderly close may be a client's that still reads: it is noticed when it is answered.
    app.release.set()
    served.wait_until_idle()
    assert app.closed.get(timeout=TIMEOUT).startswith("wsgi_async-")
    assert app.closed.empty()
    still_answers(served)


@both_loops
@each_overflow
@pytest.mark.parametrize("how", ["reset", "close"])
def test_gone_in_the_middle_of_a_response(loop: str, overflow: str, how: str, serve: Serve) -> None:
    app = Faulty()
    options = {"response_buffer": 200_000, "spool_limit": 2 << 20}
    served = serve(app, loop=loop, response_overflow=overflow, **options)
    with served.client(receive_buffer=4096) as client:
        client.send(request("/stream"))
        client.read_until(b"\r\n\r\n")
        waiting = {
            "spool": lambda: served.budgets.disk.used > (1 << 20),
            "park": lambda: not served.pool.busy,
            "block": lambda: len(served.blocked) == 1,
        }[overflow]
        served.wait_until(waiting)
        if how == "reset":
            client.reset()
    assert app.closed.get(timeout=TIMEOUT).startswith("wsgi_async-")
    served.wait_until_idle()
    assert app.closed.empty()
    [(_, response)] = served.recorder.of("request_finished")
    assert (response.status, response.complete) == (200, False)
    assert served.recorder.of("app_error") == []
    still_answers(served)


@both_loops
@each_overflow
def test_the_write_callable_raises_when_the_client_has_gone(
    loop: str, overflow: str, serve: Serve
) -> None:
    app = Faulty()
    served = serve(app, loop=loop, response_overflow=overflow, spool_limit=2 << 20)
    with served.client(receive_buffer=4096) as client:
        client.send(request("/write"))
        client.read_until(b"\r\n\r\n")
    assert type(app.raised.get(timeout=TIMEOUT)) is ClientDisconnected
    served.wait_until_idle()
    assert served.recorder.of("app_error") == []
    still_answers(served)


@both_loops
def test_gone_in_the_middle_of_a_file(loop: str, serve: Serve, tmp_path: Path) -> None:
    app = Faulty()
    app.file = tmp_path / "file"
    with app.file.open("wb") as file:
        file.truncate(64 << 20)
    served = serve(app, loop=loop)
    with served.client(receive_buffer=4096) as client:
        client.send(request("/file"))
        client.read_until(b"\r\n\r\n")
        served.wait_until(lambda: not served.pool.busy)
        assert served.budgets.files.used == 1
        client.reset()
    served.wait_until_idle()
    still_answers(served)


@both_loops
@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize(
    "sent",
    [UPLOAD[:-100], b"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12"],
    ids=["length", "chunked"],
)
def test_gone_while_the_application_reads_the_body(
    loop: str, how: str, sent: bytes, serve: Serve
) -> None:
    app = Faulty()
    served = serve(app, loop=loop, request_buffering="stream")
    with served.client() as client:
        client.send(sent)
        app.wait_called("/read")
        if how == "reset":
            client.reset()
    assert type(app.raised.get(timeout=TIMEOUT)) is ClientDisconnected
    served.wait_until_idle()
    assert served.recorder.of("app_error") == []
    still_answers(served)


@both_loops
def test_a_client_that_vanishes_in_its_upload_is_never_heard_of(loop: str, serve: Serve) -> None:
    """An orderly end inside a message: 400 for whoever still reads, nothing for the application."""
    app = Faulty()
    served = serve(app, loop=loop)
    with served.client() as client:
        client.send(UPLOAD[:-100])
        client.half_close()
        assert client.response("POST").status == 400
        assert client.is_dropped()
    served.wait_until_idle()
    assert app.calls() == []
