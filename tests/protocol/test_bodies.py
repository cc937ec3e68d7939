"""Request bodies on fakes: decoded, collected in memory or in a file, too large, too many."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from typing import Any

import pytest
from uploads import CHUNKED, EXPECT, POST, Reader, both, upload
from wire import TIMEOUT, Client, Held, Site, echo, hello

from wsgi_async.connection.states import ConnectionState
from wsgi_async.errors import ClientDisconnected

# --- both ways ----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("cut", [0, 1])
def test_a_chunked_body_is_decoded(buffering: str, cut: int) -> None:
    raw = CHUNKED + "3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n"
    with Site(echo, request_buffering=buffering) as site:
        client = site.connect()
        client.judge.methods.append("POST")
        for piece in raw if cut else [raw]:
            client.send(piece)
        assert client.wait().body == b"POST /\nabcde"
        assert client.answers[0].keeps_alive


@pytest.mark.parametrize("buffering", ["full", "stream"])
def test_the_environ_says_how_large_the_body_is(buffering: str) -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [])
        names = ("CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING", "wsgi.input_terminated")
        return [repr([environ.get(name) for name in names]).encode()]

    with Site(application, request_buffering=buffering) as site:
        client = site.connect()
        client.send(CHUNKED + "3\r\nabc\r\n0\r\n\r\n", "POST")
        expected = ["3" if buffering == "full" else None, None, True]
        assert client.wait().body == repr(expected).encode()


@both
def test_a_body_that_is_ignored_is_never_taken_for_a_request(buffering: str) -> None:
    with Site(hello, request_buffering=buffering) as site:
        client = site.connect()
        for number in range(3):
            head = POST.format("/") + "Content-Length: 18\r\n\r\n"
            client.send(head + "GET / HTTP/1.1\r\n\r\n", "POST")
            assert client.wait(number + 1).keeps_alive
        site.settle()
        assert {answer.status for answer in client.answers} == {200}
        assert site.pool.submitted == 3


# --- collected ----------------------------------------------------------------------------------


def test_a_thread_is_taken_only_when_the_body_is_complete() -> None:
    with Site(echo) as site:
        client = site.connect()
        client.send(POST.format("/") + "Content-Length: 5\r\n\r\nab", "POST")
        client.send("cd")
        assert site.pool.submitted == 0
        assert client.state is ConnectionState.BODY
        client.send("e")
        assert client.wait().body == b"POST /\nabcde"


@pytest.mark.parametrize(
    ("threshold", "files"),
    [(100_000, 0), (99_999, 1), (1, 1), (0, 1)],
)
def test_a_body_waits_in_memory_or_in_a_file(threshold: int, files: int) -> None:
    with Site(echo, spool_threshold=threshold) as site:
        client = site.connect()
        client.send(POST.format("/") + "Content-Length: 100000\r\n\r\n", "POST")
        for _ in range(9):
            client.transport.receive(b"x" * 10_000)
        client.transport.receive(b"x" * 9_999)
        assert site.budgets.files.used == (1 if threshold < 99_999 else 0)
        assert site.budgets.disk.used + site.budgets.memory.used == 99_999
        client.transport.receive(b"x")
        assert client.wait().body == b"POST /\n" + b"x" * 100_000
        site.settle()
        assert site.budgets.files.peak == files
        assert site.budgets.memory.used == site.budgets.disk.used == site.budgets.files.used == 0


def test_when_memory_is_used_up_bodies_go_to_disk() -> None:
    with Site(echo, max_buffer_size=10_000) as site:
        first, second = site.connect(), site.connect()
        for client in (first, second):
            client.send(POST.format("/") + "Content-Length: 8000\r\n\r\n", "POST")
            client.transport.receive(b"x" * 7000)
        assert site.budgets.memory.used == 7000
        assert site.budgets.disk.used == 7000
        for client in (first, second):
            client.transport.receive(b"x" * 1000)
            assert client.wait().body == b"POST /\n" + b"x" * 8000


# --- too large ----------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("threshold", [0, 1000])
@pytest.mark.parametrize("pieces", [1, 3])
def test_a_chunked_body_over_the_limit_is_413(buffering: str, threshold: int, pieces: int) -> None:
    application = Reader()
    application.orders.release(1000)
    with Site(
        application, request_buffering=buffering, max_body_size=100, spool_threshold=threshold
    ) as site:
        client = site.connect()
        client.send(CHUNKED, "POST")
        if buffering == "stream":
            assert application.entered.wait(TIMEOUT)
        for _ in range(pieces):
            client.send("22\r\n" + "x" * 34 + "\r\n" if pieces > 1 else "65\r\n" + "x" * 101)
        site.settle()
        (answer,) = client.answers
        assert answer.status == 413
        assert client.state is ConnectionState.LINGERING
        assert site.observer.refused == [413]
        if buffering == "full":
            assert site.pool.submitted == 0
        else:
            assert isinstance(application.errors[0], ClientDisconnected)
            ((_, response),) = site.observer.finished
            assert (response.status, response.complete) == (413, False)


@both
def test_a_body_of_just_the_limit_passes(buffering: str) -> None:
    with Site(echo, request_buffering=buffering, max_body_size=100, spool_threshold=0) as site:
        client = site.connect()
        upload(client, 100)
        assert client.wait().status == 200
        client = site.connect()
        client.send(CHUNKED + "64\r\n" + "x" * 100 + "\r\n0\r\n\r\n", "POST")
        assert client.wait().status == 200


@both
def test_a_broken_chunk_is_400(buffering: str) -> None:
    application = Reader()
    application.orders.release(1000)
    with Site(application, request_buffering=buffering) as site:
        client = site.connect()
        client.send(CHUNKED + "3\r\nabc\r\nnot a size\r\n", "POST")
        site.settle()
        (answer,) = client.answers
        assert answer.status == 400
        assert client.state is ConnectionState.LINGERING
        if buffering == "full":
            assert site.pool.submitted == 0


# --- storage ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"max_spool_size": 20_000}, {"files": 0}],
    ids=["process", "open files"],
)
def test_an_upload_at_the_spools_bound_is_503(options: dict[str, int]) -> None:
    with Site(echo, spool_threshold=1000, **options) as site:
        client, other = site.connect(), site.connect()
        client.send(POST.format("/") + "Content-Length: 50000\r\n\r\n", "POST")
        client.transport.receive(b"x" * 30_000)
        (answer,) = client.answers
        assert answer.status == 503
        assert answer["retry-after"] == "1"
        assert site.budgets.disk.used == site.budgets.files.used == site.budgets.memory.used == 0
        upload(other, 500)
        assert other.wait().status == 200


@pytest.mark.parametrize("framing", ["Content-Length: 50000\r\n", "Transfer-Encoding: chunked\r\n"])
def test_a_body_that_can_never_fit_on_the_disk_is_413(framing: str) -> None:
    with Site(echo, spool_threshold=1000, spool_limit=20_000) as site:
        client = site.connect()
        client.send(POST.format("/") + framing + "\r\n", "POST")
        if "chunked" in framing:
            assert client.answers == []
            client.transport.receive(b"7530\r\n" + b"x" * 30_000)
        (answer,) = client.answers
        assert answer.status == 413
        assert site.budgets.disk.used == site.budgets.files.used == site.budgets.memory.used == 0


@pytest.mark.parametrize(
    ("error", "status"),
    [(errno.ENOSPC, 507), (errno.EDQUOT, 507), (errno.EFBIG, 507), (errno.EIO, 500)],
)
def test_a_disk_that_fails_ends_that_upload_and_nothing_else(
    error: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        raise OSError(error, os.strerror(error))

    with Site(echo, spool_threshold=1000) as site:
        client, other = site.connect(), site.connect()
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", pwrite)
            upload(client, 5000)
        (answer,) = client.answers
        assert answer.status == status
        retries = [value for name, value in answer.fields if name.lower() == "retry-after"]
        assert retries == ([] if status == 500 else ["1"])
        assert client.state is ConnectionState.LINGERING
        assert len(site.observer.errors) == 1
        assert os.strerror(error) in site.observer.errors[0]
        upload(other, 5000)
        assert other.wait().status == 200


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE, errno.ENOSPC])
def test_no_file_for_an_upload_is_a_failure_that_passes(
    error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **named: object) -> None:
        raise OSError(error, os.strerror(error))

    with Site(echo, spool_threshold=1000) as site:
        client, other = site.connect(), site.connect()
        with monkeypatch.context() as patch:
            patch.setattr(tempfile, "TemporaryFile", fail)
            upload(client, 5000)
        (answer,) = client.answers
        assert answer.status == (507 if error == errno.ENOSPC else 503)
        assert answer["retry-after"] == "1"
        assert os.strerror(error) in site.observer.errors[0]
        assert site.budgets.memory.used == site.budgets.files.used == 0
        upload(other, 5000)
        assert other.wait().status == 200


def test_without_a_directory_for_files_a_large_body_is_held_in_memory_or_503() -> None:
    with Site(echo, spool_threshold=1000, max_buffer_size=10_000, spool_dir="/nonexistent") as site:
        client, other = site.connect(), site.connect()
        upload(client, 9000)
        assert client.wait().status == 200
        site.settle()
        upload(other, 11_000)
        assert other.answers[0].status == 503


# --- too many -----------------------------------------------------------------------------------


def fill(site: Site, application: Held) -> list[Client]:
    """Occupy the one thread, and the one place in the queue."""
    clients = [site.connect(), site.connect()]
    clients[0].ask()
    application.wait_entered()
    clients[1].ask()
    assert site.pool.full
    return clients


def test_a_full_queue_is_503_with_retry_after() -> None:
    application = Held()
    with Site(application, threads=1, queue_size=1) as site:
        fill(site, application)
        client = site.connect()
        client.ask("/refused")
        (answer,) = client.answers
        assert answer.status == 503
        assert answer["retry-after"] == "60"  # nothing was completed so far
        assert not answer.keeps_alive
        application.gate.release(2)
        site.settle()
        assert "/refused" not in application.calls


@both
def test_a_full_queue_is_seen_before_a_body_is_read(buffering: str) -> None:
    application = Held()
    with Site(application, threads=1, queue_size=1, request_buffering=buffering) as site:
        fill(site, application)
        client = site.connect()
        client.send(EXPECT, "POST")
        (answer,) = client.answers
        assert answer.status == 503
        assert answer.continues == 0
        application.gate.release(2)


def test_a_queue_that_fills_while_a_body_arrives_is_503_at_submit() -> None:
    application = Held()
    with Site(application, threads=1, queue_size=1, spool_threshold=10) as site:
        client = site.connect()
        client.send(POST.format("/refused") + "Content-Length: 50\r\n\r\n", "POST")
        client.send("x" * 30)
        fill(site, application)
        assert site.budgets.files.used == 1
        client.send("x" * 20)
        (answer,) = client.answers
        assert answer.status == 503
        assert answer["retry-after"] == "60"
        assert site.budgets.files.used == site.budgets.disk.used == 0
        application.gate.release(2)
        site.settle()
        assert "/refused" not in application.calls
