"""Applications that block or fail, on real sockets."""

from __future__ import annotations

import contextlib

import h11
import pytest
from faulty_applications import BLOCK, Faulty, Serve, each_overflow, still_answers
from rawclient import TIMEOUT, request
from serving import both_loops

# --- Applications that block or fail


@both_loops
def test_an_application_that_blocks_every_thread(loop: str, serve: Serve) -> None:
    app = Faulty()
    served = serve(app, loop=loop, threads=2, queue_size=3)
    with contextlib.ExitStack() as stack:
        idle = stack.enter_context(served.client())
        assert idle.get().status == 200
        app.wait_called("/")
        blocked = [stack.enter_context(served.client()) for _ in range(2)]
        for client in blocked:
            client.send(request("/block"))
            app.wait_called("/block")
        queued = [stack.enter_context(served.client()) for _ in range(3)]
        for client in queued:
            client.send(request("/"))
        served.wait_until(lambda: served.pool.full)
        # A new connection is accepted and answered, by the loop; at head time where a body follows.
        for message in (
            request("/"),
            request("/", "POST", body=b"12345")[:-5],
            request("/", "POST", body=b"12345", fields=("Expect: 100-continue",))[:-5],
        ):
            with served.client() as client:
                client.send(message)
                answer = client.read_to_end()
            assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert b"\r\nRetry-After: 60\r\n" in answer or b"\r\nRetry-After: 1\r\n" in answer
            assert b"\r\nConnection: close\r\n" in answer
        assert app.calls() == []
        assert len(served.connections.open) >= 6
        app.release.set()
        assert [client.response().body for client in blocked] == [BLOCK, BLOCK]
        assert [client.response().body for client in queued] == [b"fine"] * 3
        assert idle.get().body == b"fine"
    served.wait_until_idle()
    assert [facts[1] for facts in served.recorder.of("request_refused")] == [503] * 3


@both_loops
@pytest.mark.parametrize("path", ["/raise", "/exit", "/iter", "/first-next"])
def test_an_exception_before_the_head_is_a_500(loop: str, path: str, serve: Serve) -> None:
    app = Faulty()
    served = serve(app, loop=loop, threads=2)
    with served.client() as client:
        for _ in range(3):  # more often than there are threads
            client.send(request(path))
            response = client.response()
            assert response.status == 500
            assert b"in " not in response.body
            if path in ("/iter", "/first-next"):
                assert app.closed.get(timeout=TIMEOUT)
        assert client.get().body == b"fine"
    served.wait_until_idle()
    assert app.closed.empty()
    errors = served.recorder.of("app_error")
    assert len(errors) == 3
    assert {type(error) for _, _, error in errors} <= {LookupError, SystemExit}
    assert served.pool.alive == 2


@both_loops
@each_overflow
def test_an_exception_after_the_head_cuts_the_response(
    loop: str, overflow: str, serve: Serve
) -> None:
    app = Faulty()
    served = serve(app, loop=loop, response_overflow=overflow)
    with served.client() as client:
        client.send(request("/second-next"))
        with pytest.raises(h11.RemoteProtocolError, match="without sending complete"):
            client.response()
    assert app.closed.get(timeout=TIMEOUT)
    served.wait_until_idle()
    assert app.closed.empty()
    [(info, _, error)] = served.recorder.of("app_error")
    assert (info.target, str(error)) == ("/second-next", "in __next__")
    still_answers(served)


@both_loops
def test_a_cut_response_that_ends_with_the_connection_is_reset(loop: str, serve: Serve) -> None:
    """HTTP/1.0 has nothing else to tell that it is not complete."""
    served = serve(Faulty(), loop=loop)
    with served.client() as client:
        client.send(b"GET /second-next HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            client.read_to_end()
    served.wait_until_idle()
    still_answers(served)


@both_loops
def test_an_exception_in_close_is_logged_and_nothing_else(loop: str, serve: Serve) -> None:
    app = Faulty()
    served = serve(app, loop=loop)
    with served.client() as client:
        for _ in range(2):
            assert client.get("/close").body == BLOCK
            assert app.closed.get(timeout=TIMEOUT)
        assert client.get().body == b"fine"
    served.wait_until_idle()
    assert app.closed.empty()
    assert [str(error) for _, _, error in served.recorder.of("app_error")] == ["in close"] * 2
