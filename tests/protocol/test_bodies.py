"""Request bodies on fakes: collected or streamed, expected, refused, abandoned half-way."""

from __future__ import annotations

import errno
import gc
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from wire import HELLO, TIMEOUT, Client, Held, Site, echo, hello, responding

from wsgi_async.connection.exchange import Exchange
from wsgi_async.connection.states import ConnectionState
from wsgi_async.connection.upload import UploadState
from wsgi_async.errors import ClientDisconnected

POST = "POST {} HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST.format("/") + "Transfer-Encoding: chunked\r\n\r\n"
EXPECT = POST.format("/") + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"

both = pytest.mark.parametrize("buffering", ["full", "stream"])


class Reader:
    """An application that reads its body by pieces, each when it is told to."""

    def __init__(self, *, early_head: bool = False) -> None:
        self.orders: threading.Semaphore = threading.Semaphore(0)
        self.entered = threading.Event()
        self.got: list[bytes] = []
        self.errors: list[BaseException] = []
        self._early_head = early_head

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        self.entered.set()
        start_response("200 OK", [])
        return self.body(environ["wsgi.input"])

    def body(self, stream: Any) -> Iterator[bytes]:
        if self._early_head:
            yield b"early"
        while True:
            assert self.orders.acquire(timeout=TIMEOUT)
            try:
                data = stream.read1(65536)
            except BaseException as error:
                self.errors.append(error)
                raise
            if not data:
                break
            self.got.append(data)
        yield b"".join(self.got)


def upload(client: Client, size: int, *, target: str = "/") -> None:
    client.send(POST.format(target) + f"Content-Length: {size}\r\n\r\n", "POST")
    client.transport.receive(b"x" * size)


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


# --- Expect -------------------------------------------------------------------------------------


def test_a_collected_body_is_asked_for_once() -> None:
    with Site(echo) as site:
        client = site.connect()
        client.send(EXPECT, "POST")
        assert client.partial.continues == 1
        assert client.transport.writes == [b"HTTP/1.1 100 Continue\r\n\r\n"]
        client.send("ab")
        client.send("cde")
        answer = client.wait()
        assert answer.body == b"POST /\nabcde"
        assert answer.continues == 1
        client.send(EXPECT + "vwxyz", "POST")
        assert client.wait(2).continues == 0


@both
def test_no_100_where_the_body_came_already(buffering: str) -> None:
    with Site(echo, request_buffering=buffering) as site:
        client = site.connect()
        client.send(EXPECT + "a", "POST")
        client.send("bcde")
        answer = client.wait()
        assert answer.body == b"POST /\nabcde"
        assert answer.continues == 0


@both
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ("Expect: 100-continue\r\nContent-Length: 101\r\n\r\n", 413),
        ("Expect: 100-continue, else\r\nContent-Length: 5\r\n\r\n", 417),
        ("Expect: 200-ok\r\n\r\n", 417),
    ],
)
def test_no_100_before_a_refusal(fields: str, status: int, buffering: str) -> None:
    with Site(echo, max_body_size=100, request_buffering=buffering) as site:
        client = site.connect()
        client.send(POST.format("/") + fields, "POST")
        (answer,) = client.answers
        assert answer.status == status
        assert answer.continues == 0


@both
@pytest.mark.parametrize("body", ["", "Content-Length: 0\r\n"])
def test_no_100_without_a_body(body: str, buffering: str) -> None:
    with Site(echo, request_buffering=buffering) as site:
        client = site.connect()
        client.send(POST.format("/") + f"Expect: 100-continue\r\n{body}\r\n", "POST")
        answer = client.wait()
        assert answer.status == 200
        assert answer.continues == 0


@both
def test_http_1_0_knows_no_100(buffering: str) -> None:
    with Site(echo, request_buffering=buffering) as site:
        client = site.connect()
        client.send(EXPECT.replace("1.1", "1.0"), "POST")
        client.send("abcde")
        answer = client.wait()
        assert answer.body == b"POST /\nabcde"
        assert answer.continues == 0


def test_a_streamed_body_is_asked_for_at_the_first_read() -> None:
    application = Reader()
    with Site(application, request_buffering="stream") as site:
        client = site.connect()
        client.send(EXPECT, "POST")
        assert application.entered.wait(TIMEOUT)
        site.loop.run_pending()
        assert client.transport.writes == []
        application.orders.release()
        site.loop.run_until(lambda: client.partial.continues)
        client.send("abcde")
        application.orders.release(10)
        answer = client.wait()
        assert answer.body == b"abcde"
        assert answer.continues == 1


def test_no_100_after_a_final_head() -> None:
    application = Reader(early_head=True)
    with Site(application, request_buffering="stream") as site:
        client = site.connect()
        client.send(EXPECT, "POST")
        site.loop.run_until(lambda: client.partial.body)
        assert client.partial["connection"] == "close"
        application.orders.release(10)
        site.loop.run_until(lambda: client.protocol._exchange.body.is_awaited)  # type: ignore
        site.loop.run_pending()
        client.send("abcde")
        answer = client.wait()
        assert answer.body == b"earlyabcde"
        assert answer.continues == 0


def test_no_100_where_the_application_does_not_read() -> None:
    with Site(hello, request_buffering="stream") as site:
        client = site.connect()
        client.send(EXPECT, "POST")
        answer = client.wait()
        assert answer.continues == 0
        assert not answer.keeps_alive
        assert client.state is ConnectionState.LINGERING


def test_who_waits_for_a_100_is_not_slow() -> None:
    """The body's time limits begin when the client has been asked for it."""
    application = Reader()
    with Site(application, request_buffering="stream", body_timeout=30, min_rate=0) as site:
        client = site.connect()
        client.send(EXPECT, "POST")
        site.advance(100)
        assert client.transport.writes == []
        application.orders.release(10)
        site.loop.run_until(lambda: client.partial.continues)
        site.advance(25)
        assert client.state is ConnectionState.RUNNING
        site.advance(10)
        assert client.answers[0].status == 408
        site.settle()
        assert isinstance(application.errors[0], ClientDisconnected)


@pytest.mark.parametrize("options", [{"body_timeout": 30, "min_rate": 0}, {"min_rate": 500}])
def test_who_does_not_wait_for_the_100_is_judged_from_its_first_byte(
    options: dict[str, int],
) -> None:
    application = Reader()
    with Site(application, request_buffering="stream", **options) as site:
        client, other = site.connect(), site.connect()
        client.send(EXPECT, "POST")
        other.send(EXPECT, "POST")
        site.advance(100)
        client.send("a")
        other.send("a")
        site.advance(9)
        client.send("b")
        assert client.state is ConnectionState.RUNNING
        site.advance(30)
        assert other.answers[0].status == 408
        application.orders.release(1000)


def test_who_does_not_wait_for_the_100_may_send_its_body() -> None:
    application = Reader()
    with Site(application, request_buffering="stream") as site:
        client = site.connect()
        client.send(EXPECT, "POST")
        site.advance(100)
        client.send("a")
        site.advance(9)
        client.send("bcde")
        application.orders.release(10)
        answer = client.wait()
        assert answer.body == b"abcde"
        assert answer.continues == 0


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


# --- streamed -----------------------------------------------------------------------------------


def test_a_streamed_body_is_read_as_it_arrives() -> None:
    application = Reader()
    with Site(application, request_buffering="stream") as site:
        client = site.connect()
        client.send(POST.format("/") + "Content-Length: 6\r\n\r\n", "POST")
        assert application.entered.wait(TIMEOUT)
        for piece in "ab", "cd", "ef":
            application.orders.release()
            client.send(piece)
        application.orders.release(10)
        assert client.wait().body == b"abcdef"
        assert application.got[0].startswith(b"ab")


def test_reading_pauses_while_the_application_does_not_take_the_body() -> None:
    application = Reader()
    piece = b"x" * 65536
    with Site(application, request_buffering="stream") as site:
        client = site.connect()
        client.send(POST.format("/") + f"Content-Length: {len(piece) * 8}\r\n\r\n", "POST")
        for _ in range(3):
            client.transport.receive(piece)
            assert client.transport.is_reading()
        client.transport.receive(piece)
        assert not client.transport.is_reading()
        assert site.budgets.memory.used == len(piece) * 4
        for _ in range(4):
            client.transport.receive(piece)
        site.advance(100)  # a pause of ours is no gap of the client's
        assert client.state is ConnectionState.RUNNING
        application.orders.release(100)
        assert client.wait().body == piece * 8
        site.settle()
        assert site.budgets.memory.peak < len(piece) * 8 + 20_000


def test_when_memory_is_used_up_a_streamed_body_pauses_at_once() -> None:
    application = Reader()
    with Site(application, request_buffering="stream", max_buffer_size=1000) as site:
        client = site.connect()
        client.send(POST.format("/") + "Content-Length: 4000\r\n\r\n", "POST")
        client.transport.receive(b"x" * 2000)
        assert not client.transport.is_reading()
        client.transport.receive(b"y" * 2000)
        application.orders.release(100)
        assert client.wait().body == b"x" * 2000 + b"y" * 2000


def test_a_pipelined_request_follows_a_streamed_body() -> None:
    application = Reader()
    with Site(application, request_buffering="stream") as site:
        client = site.connect()
        client.send(POST.format("/1") + "Content-Length: 3\r\n\r\nabc", "POST")
        client.send(POST.format("/2") + "Content-Length: 3\r\n\r\ndef", "POST")
        application.orders.release(100)
        assert client.wait(2).body == b"abcdef"
        assert client.answers[0].body == b"abc"
        assert all(answer.keeps_alive for answer in client.answers)


def test_responses_do_not_let_more_of_a_pipeline_in() -> None:
    """Each chunk of a response wakes the loop; that is no reason to read on."""
    orders = threading.Semaphore(0)

    def application(environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        environ["wsgi.input"].read()
        for _ in range(5):
            assert orders.acquire(timeout=TIMEOUT)
            yield b"x"

    flood = b"x" * 100_000
    with Site(application, request_buffering="stream") as site:
        client = site.connect()
        client.send(POST.format("/1") + "Content-Length: 3\r\n\r\nabc", "POST")
        client.transport.receive(flood)
        assert not client.transport.is_reading()
        for _ in range(5):
            client.transport.receive(flood)
        for count in range(1, 5):
            orders.release()
            site.loop.run_until(lambda count=count: len(client.partial.body) == count)
            site.loop.run_pending()
            assert client.transport.unread == len(flood) * 5
        orders.release()
        client.judge.methods.append("GET")
        assert client.wait(2).status == 414


def test_a_client_that_vanishes_within_its_body() -> None:
    application = Reader()
    with Site(application, request_buffering="stream") as site:
        client = site.connect()
        client.send(POST.format("/") + "Content-Length: 6\r\n\r\nabc", "POST")
        application.orders.release(2)
        assert application.entered.wait(TIMEOUT)
        client.transport.reset()
        site.settle()
        assert isinstance(application.errors[0], ClientDisconnected)
        assert site.observer.app_errors == []
        ((_, response),) = site.observer.finished
        assert (response.status, response.complete) == (499, False)


@pytest.mark.parametrize("early_head", [False, True])
def test_a_client_that_ends_within_its_body(early_head: bool) -> None:
    """Its read raises. Nothing sent: 400. A head is out: the response goes on as it can."""
    application = Reader(early_head=early_head)
    with Site(application, request_buffering="stream") as site:
        client = site.connect()
        client.send(POST.format("/") + "Content-Length: 6\r\n\r\nabc", "POST")
        assert application.entered.wait(TIMEOUT)
        if early_head:
            site.loop.run_until(lambda: client.partial.body)
        client.transport.receive_eof()
        application.orders.release(3)
        site.settle()
        assert isinstance(application.errors[0], ClientDisconnected)
        site.loop.run_pending()
        (answer,) = client.answers
        if early_head:
            assert answer.is_truncated
            assert answer.body == b"early"
        else:
            assert answer.status == 400
        assert client.transport.is_lost


def test_a_broken_chunk_after_the_head_is_out_cuts_the_response() -> None:
    """Nothing may follow half a response, not even a 400."""
    application = Reader(early_head=True)
    with Site(application, request_buffering="stream") as site:
        client = site.connect()
        client.send(CHUNKED, "POST")
        site.loop.run_until(lambda: client.partial.body)
        client.send("not a size\r\n")
        site.loop.run_until(lambda: client.transport.is_lost)
        (answer,) = client.answers
        assert answer.is_truncated
        assert answer.body == b"early"
        assert b"400" not in client.transport.sent
        application.orders.release(3)
        site.settle()
        assert isinstance(application.errors[0], ClientDisconnected)


# --- early responses ----------------------------------------------------------------------------


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("after", [0, 10])
def test_an_early_response_says_close_and_reads_no_more_requests(after: int) -> None:
    calls: list[str] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        calls.append(environ["RAW_URI"])
        return hello(environ, start_response)

    size = len(SMUGGLED) * 2
    with Site(application, request_buffering="stream") as site:
        client = site.connect()
        client.send(POST.format("/1") + f"Content-Length: {size}\r\n\r\n", "POST")
        client.transport.receive(SMUGGLED[:after])
        answer = client.wait()
        assert answer.body == HELLO
        assert not answer.keeps_alive
        assert client.state is ConnectionState.LINGERING
        client.transport.receive(SMUGGLED[after:] + SMUGGLED)
        client.transport.receive(SMUGGLED)
        site.settle()
        assert calls == ["/1"]
        assert len(client.answers) == 1
        client.transport.receive_eof()
        site.loop.run_pending()
        assert client.transport.is_lost
        assert not client.transport.was_reset


def test_a_complete_early_response_survives_the_end_of_its_client() -> None:
    """A client that has what it wants stops sending its body; the rest of the answer is due."""
    with Site(responding(chunks=[b"x" * 200_000]), request_buffering="stream") as site:
        client = site.connect(window=1000)
        client.send(POST.format("/") + "Content-Length: 6\r\n\r\n", "POST")
        site.loop.run_until(lambda: client.state is ConnectionState.FLUSHING)
        client.transport.receive_eof()
        client.transport.take()
        answer = client.wait()
        assert answer.is_complete
        assert len(answer.body) == 200_000


def test_a_complete_early_response_is_not_cut_for_a_body_that_stalls() -> None:
    with Site(
        responding(chunks=[b"x" * 200_000]), request_buffering="stream", body_timeout=5
    ) as site:
        client = site.connect(window=1000)
        client.send(POST.format("/") + "Content-Length: 6\r\n\r\n", "POST")
        site.loop.run_until(lambda: client.state is ConnectionState.FLUSHING)
        for _ in range(20):
            site.advance(1)
            client.transport.take(6000)
        client.transport.take()
        assert client.wait().is_complete


def test_a_response_under_way_goes_on_when_the_body_stalls() -> None:
    gate = threading.Event()
    failure: list[BaseException] = []

    def application(environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"first"
        assert gate.wait(TIMEOUT)
        try:
            environ["wsgi.input"].read()
        except ClientDisconnected as error:
            failure.append(error)
        yield b"second"

    with Site(application, request_buffering="stream", body_timeout=5) as site:
        client = site.connect()
        client.send(POST.format("/") + "Content-Length: 6\r\n\r\n", "POST")
        site.loop.run_until(lambda: client.partial.body)
        site.advance(60)
        gate.set()
        answer = client.wait()
        assert answer.is_complete
        assert answer.body == b"firstsecond"
        assert not answer.keeps_alive
        assert len(failure) == 1


@pytest.mark.parametrize("window", [None, 1000])
def test_a_thread_that_reads_on_after_its_response_is_told_that_it_is_over(
    window: int | None,
) -> None:
    errors: list[BaseException] = []

    def application(environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "200000")])
        yield b"x" * 200_000
        try:
            environ["wsgi.input"].read()
        except ClientDisconnected as error:
            errors.append(error)

    with Site(application, request_buffering="stream") as site:
        client = site.connect(window=window)
        posts = threading.Semaphore(0)
        post = site.mailbox.post

        def counted(item: Any) -> None:
            post(item)
            posts.release()

        site.mailbox.post = counted  # type: ignore[method-assign]
        client.send(POST.format("/") + "Content-Length: 6\r\n\r\n", "POST")
        for _ in range(2):  # the response, and the read that waits
            assert posts.acquire(timeout=TIMEOUT)
            if window:
                site.loop.run_pending()
        if window:
            assert client.state is ConnectionState.FLUSHING
            client.transport.take()
        site.settle()
        assert client.answers[0].is_complete
        assert len(errors) == 1
        assert client.state is ConnectionState.LINGERING


def test_time_without_anything_to_take_is_not_held_against_a_reader() -> None:
    """While a body keeps a connection under watch, its response may be silent for long."""
    orders = threading.Semaphore(0)

    def application(environ: Any, start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        while environ["wsgi.input"].read(1) == b".":
            assert orders.acquire(timeout=TIMEOUT)
            yield b"x" * 30_000

    with Site(application, request_buffering="stream", min_rate=500, body_timeout=0) as site:
        client = site.connect(window=10_000)
        client.send(POST.format("/") + "Content-Length: 100000\r\n\r\n", "POST")
        client.send("." * 50_000)
        orders.release()
        site.loop.run_until(lambda: client.transport.get_write_buffer_size())
        client.transport.take(30_000)
        site.loop.run_pending()
        assert not client.transport.get_write_buffer_size()
        for _ in range(10):
            client.send("." * 4500)
            site.advance(8)
        orders.release()
        site.loop.run_until(lambda: client.transport.get_write_buffer_size())
        site.advance(4)
        assert client.state is ConnectionState.RUNNING
        client.transport.reset()
        orders.release(100_000)


# --- turns, and ends that wait for each other ---------------------------------------------------


def test_after_a_large_read_of_a_chunked_body_the_others_have_their_turn() -> None:
    """libuv reads one socket up to 32 times in a turn, and tiny chunks decode slowly."""
    with Site(echo) as site:
        client = site.connect()
        client.send(CHUNKED, "POST")
        client.transport.receive(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        assert not client.transport.is_reading()
        site.loop.run_pending()
        assert client.transport.is_reading()
        client.transport.receive(b"0\r\n\r\n")
        assert client.wait().body.endswith(b"x" * 0x4000)


def test_a_counted_body_is_read_without_pauses() -> None:
    with Site(echo) as site:
        client = site.connect()
        client.send(POST.format("/") + "Content-Length: 50000\r\n\r\n", "POST")
        client.transport.receive(b"x" * 40_000)
        assert client.transport.is_reading()
        client.transport.receive(b"x" * 10_000)
        assert client.wait().body.endswith(b"x" * 50_000)


def test_a_client_whose_100_comes_too_late_has_its_time_too() -> None:
    """The head of the response is out, so there is no 100; the thread must not wait for ever."""
    seen: list[BaseException] = []
    closed = threading.Event()

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        try:
            yield b"first"
            environ["wsgi.input"].read(1)
        except OSError as error:
            seen.append(error)
            raise
        finally:
            closed.set()

    with Site(application, request_buffering="stream", body_timeout=5) as site:
        client = site.connect()
        client.send(EXPECT, "POST")
        upload = client.protocol._upload
        assert upload is not None
        site.loop.run_until(lambda: upload.state is UploadState.ARRIVING)
        site.advance(6)
        assert closed.wait(TIMEOUT)
        site.settle()
        assert isinstance(seen[0], ClientDisconnected)
        assert client.transport.is_closing()


def test_a_client_that_reads_only_when_it_has_sent_all_gets_its_answer() -> None:
    """The application has read nothing, its buffer is full, and it has answered."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        for _ in range(40):
            yield b"x" * 10_000

    with Site(application, request_buffering="stream") as site:
        client = site.connect(window=0)
        size = 1_000_000
        client.send(POST.format("/") + f"Content-Length: {size}\r\n\r\n", "POST")
        sent = 0
        while sent < size:
            site.loop.run_until(client.transport.is_reading)
            client.transport.receive(b"y" * 50_000)
            sent += 50_000
        client.transport.take()
        site.settle()
        client.transport.take()
        assert client.wait().body == b"x" * 400_000


def test_a_refused_request_leaves_no_cycle_to_the_collector() -> None:
    with Site(max_body_size=10) as site:
        client = site.connect()
        gc.collect()
        gc.disable()
        try:
            client.send(POST.format("/") + "Content-Length: 50\r\n\r\n", "POST")
            left = [o for o in gc.get_objects() if type(o) is Exchange]
        finally:
            gc.enable()
        assert client.answers[0].status == 413
        assert left == []


@pytest.mark.parametrize(
    ("head", "options", "status", "is_known", "is_running"),
    [
        ("bad\r\n\r\n", {}, 400, False, False),
        ("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n", {}, 413, True, False),
        (
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            {"request_buffering": "stream"},
            400,
            True,
            True,
        ),
    ],
)
def test_a_refusal_is_told_once_with_what_is_known(
    head: str, options: dict[str, str], status: int, is_known: bool, is_running: bool
) -> None:
    """So that the access log has one line for each request, whoever answered it."""
    with Site(echo, max_body_size=10, **options) as site:
        client = site.connect()
        client.send(head, "POST")
        assert client.answers[0].status == status
        site.settle()
        ((request, was_running),) = site.observer.refused_requests
        assert (request is not None, was_running) == (is_known, is_running)
        assert request is None or (request.method, request.target) == ("POST", "/x")
        assert [response.status for _, response in site.observer.finished] == (
            [status] if is_running else []
        )


def test_a_response_that_its_client_does_not_take_is_kept_once() -> None:
    with Site(responding(chunks=[bytes(16384)]), response_buffer=16384) as site:
        client = site.connect(window=0)
        client.ask("/")
        site.settle()
        assert client.state is ConnectionState.FLUSHING
        exchange = client.protocol._exchange
        assert exchange is not None
        assert exchange.writer.whole is not None
        assert exchange.writer.whole[1] == b""


def test_a_client_too_many_leaves_no_cycle_to_the_collector() -> None:
    with Site(cap=1, health_path="/up") as site:
        site.connect().send("GET / HT")
        client = site.connect()
        gc.collect()
        gc.disable()
        try:
            client.ask("/")
            left = [o for o in gc.get_objects() if type(o) is Exchange]
        finally:
            gc.enable()
        assert left == []
