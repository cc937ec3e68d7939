"""What goes wrong: clients that vanish, applications that fail or block, resources that run out."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import resource
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h11
import pytest
from rawclient import TIMEOUT, RawClient, request
from serving import APPS, Command, Served, both_loops

from wsgi_async.errors import ClientDisconnected

Serve = Callable[..., Served]
Environ = dict[str, Any]

BLOCK = b"x" * 65536
each_overflow = pytest.mark.parametrize("overflow", ["spool", "park", "block"])


class Body:
    """An iterable whose steps and close() a test can see."""

    def __init__(self, app: Faulty, blocks: int | None) -> None:
        self._app = app
        self._blocks = blocks

    def __iter__(self) -> Iterator[bytes]:
        count = 0
        while self._blocks is None or count < self._blocks:
            count += 1
            yield BLOCK

    def close(self) -> None:
        self._app.closed.put(threading.current_thread().name)


STRIPES = b"".join(bytes([number]) * 65536 for number in range(64))


class Stripes(Body):
    """The 4 MiB of STRIPES, by blocks."""

    def __init__(self, app: Faulty) -> None:
        super().__init__(app, None)

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(STRIPES), 65536):
            yield STRIPES[start : start + 65536]


class Faulty:
    """An application with a misbehaviour for each path; what it sees goes into its queues."""

    def __init__(self) -> None:
        self.called: queue.Queue[str] = queue.Queue()
        self.closed: queue.Queue[str] = queue.Queue()
        self.raised: queue.Queue[BaseException] = queue.Queue()
        self.release = threading.Event()
        self.file: Path | None = None

    def __call__(self, environ: Environ, start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        self.called.put(path)
        answer = getattr(self, "on_" + path[1:].replace("-", "_"), self.on_)
        return answer(environ, start_response)

    def calls(self) -> list[str]:
        """Paths of all calls so far."""
        with contextlib.suppress(queue.Empty):
            found: list[str] = []
            while True:
                found.append(self.called.get_nowait())
        return found

    def wait_called(self, path: str) -> None:
        assert self.called.get(timeout=TIMEOUT) == path

    def on_(self, environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", [])
        return [b"fine"]

    def on_block(self, environ: Environ, start_response: Any) -> Any:
        assert self.release.wait(TIMEOUT)
        start_response("200 OK", [])
        return Body(self, 1)

    def on_stream(self, environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", [])
        return Body(self, None)

    def on_stripes(self, environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", [])
        return Stripes(self)

    def on_write(self, environ: Environ, start_response: Any) -> Any:
        write = start_response("200 OK", [])
        try:
            while True:
                write(BLOCK)
        except BaseException as error:
            self.raised.put(error)
            raise

    def on_file(self, environ: Environ, start_response: Any) -> Any:
        assert self.file is not None
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](self.file.open("rb"))

    def on_read(self, environ: Environ, start_response: Any) -> Any:
        try:
            size = len(environ["wsgi.input"].read())
        except BaseException as error:
            self.raised.put(error)
            raise
        start_response("200 OK", [])
        return [b"%d" % size]

    # -- exceptions

    def on_raise(self, environ: Environ, start_response: Any) -> Any:
        raise LookupError("in the call")

    def on_exit(self, environ: Environ, start_response: Any) -> Any:
        sys.exit("in the call")

    def on_iter(self, environ: Environ, start_response: Any) -> Any:
        class Broken(Body):
            def __iter__(self) -> Iterator[bytes]:
                raise LookupError("in __iter__")

        start_response("200 OK", [])
        return Broken(self, 0)

    def on_first_next(self, environ: Environ, start_response: Any) -> Any:
        return self._failing(0, start_response)

    def on_second_next(self, environ: Environ, start_response: Any) -> Any:
        return self._failing(1, start_response)

    def _failing(self, blocks: int, start_response: Any) -> Any:
        class Broken(Body):
            def __iter__(self) -> Iterator[bytes]:
                yield from super().__iter__()
                raise LookupError("in __next__")

        start_response("200 OK", [])
        return Broken(self, blocks)

    def on_close(self, environ: Environ, start_response: Any) -> Any:
        class Broken(Body):
            def close(self) -> None:
                super().close()
                raise LookupError("in close")

        start_response("200 OK", [])
        return Broken(self, 1)


def still_answers(served: Served) -> None:
    with served.client() as client:
        assert client.get().body == b"fine"


# --- Clients that reset the connection

UPLOAD = request("/read", "POST", body=b"x" * 300_000)
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


# --- Disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a disk of 1 MiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "wsgi_async-test", str(tmp_path)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if done.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {done.stderr.rstrip()}")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@both_loops
def test_a_disk_that_is_full_is_a_507_for_that_upload(
    loop: str, serve: Serve, small_disk: Path
) -> None:
    served = serve(Faulty(), loop=loop, spool_dir=str(small_disk), spool_threshold=1000)
    with served.client() as client, served.client() as other:
        # The other one's upload has its file, and is complete before the disk is full.
        upload = request("/read", "POST", body=b"x" * 100_000)
        other.send(upload[:-1])
        served.wait_until(lambda: served.budgets.disk.used > 90_000)
        client.send(request("/read", "POST", body=b"x" * 4_000_000)[:2_000_000])
        response = client.response("POST")
        assert response.status == 507
        assert response.fields["connection"] == "close"
        client.close()
        other.send(upload[-1:])
        assert other.response("POST").body == b"100000"
        assert other.get().body == b"fine"
        other.send(upload)
        assert other.response("POST").body == b"100000"
    served.wait_until_idle()
    [(message, error)] = served.recorder.of("error")
    assert os.strerror(errno.ENOSPC) in message
    assert error is None


@both_loops
def test_a_disk_that_is_full_holds_the_response_back_and_cuts_nothing(
    loop: str, serve: Serve, small_disk: Path
) -> None:
    """As ``--max-spool-size`` does: 4 MB through a disk of 1 MiB, to a client that lags behind."""
    app = Faulty()
    served = serve(app, loop=loop, spool_dir=str(small_disk), response_buffer=100_000)
    with served.client(receive_buffer=4096) as client:
        client.send(request("/stripes"))
        served.wait_until(lambda: bool(served.recorder.of("error")))
        assert app.closed.empty()
        still_answers(served)
        assert client.response().body == STRIPES
    assert app.closed.get(timeout=TIMEOUT)
    served.wait_until_idle()
    assert app.closed.empty()
    [(message, error)] = served.recorder.of("error")
    assert os.strerror(errno.ENOSPC) in message
    assert error is None
    assert served.recorder.of("app_error") == []
    still_answers(served)


# --- Descriptors


def few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))


class Crowd:
    """Many clients in one thread: each sends `message`, and what becomes of it is counted."""

    def __init__(self, address: Any, count: int, message: bytes) -> None:
        self.outcomes: Counter[str] = Counter()
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        for _ in range(count):
            sock = socket.socket()
            self._sockets.append(sock)
            sock.setblocking(False)
            sock.connect_ex(address)
            self._selector.register(sock, selectors.EVENT_WRITE, message)

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for sock in self._sockets:
            sock.close()
        self._selector.close()

    def run(self, until: Callable[[Counter[str]], bool]) -> None:
        """Go on until the outcomes are as wanted."""
        while not until(self.outcomes):
            events = self._selector.select(TIMEOUT)
            assert events, f"nothing happens any more: {self.outcomes}"
            for key, mask in events:
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                try:
                    self._step(sock, mask, key.data)
                except (ConnectionResetError, BrokenPipeError):
                    self._end(sock, "closed")

    def _step(self, sock: socket.socket, mask: int, message: bytes) -> None:
        if mask & selectors.EVENT_WRITE:
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._end(sock, "closed")
                return
            sock.send(message)
            self._selector.modify(sock, selectors.EVENT_READ, message)
            return
        data = sock.recv(65536)
        if not data:
            self._end(sock, "closed")
        else:
            self.outcomes[data[9:12].decode()] += data.startswith(b"HTTP/1.1 ")

    def _end(self, sock: socket.socket, outcome: str) -> None:
        self.outcomes[outcome] += 1
        self._selector.unregister(sock)


def connect_when_there_is_room(command: Command) -> RawClient:
    """The server may not have seen yet that the crowd has left: that is for the kernel to tell."""
    for _ in range(1000):
        client = command.client()
        if client.get().status == 200:
            return client
        client.close()
    pytest.fail("there is never room again")


@both_loops
@pytest.mark.parametrize("message", [request(), UPLOAD[:200_000]], ids=["requests", "uploads"])
def test_at_the_cap_of_descriptors_none_is_ever_refused(loop: str, message: bytes) -> None:
    """300 clients of a process that may open 128 files: idle ones go first, then there is 503."""
    args = ("faults_app", "-b", "127.0.0.1:0", "--spool-threshold", "1000", "--threads", "2")
    most = 0

    def all_have_been_seen_to(outcomes: Counter[str]) -> bool:
        nonlocal most
        with contextlib.suppress(FileNotFoundError):
            most = max(most, len(os.listdir(f"/proc/{serving}/fd")))
        if message == request():
            return outcomes["200"] + outcomes["closed"] >= 300
        return outcomes["closed"] >= 250

    with Command(*args, loop=loop, setup=few_descriptors) as command:
        serving = command.serving
        with Crowd(command.address, 300, message) as crowd:
            crowd.run(all_have_been_seen_to)
            outcomes = crowd.outcomes
        assert set(outcomes) <= {"200", "503", "closed"}
        assert 30 < most < 128
        with connect_when_there_is_room(command) as client:
            for _ in range(3):
                assert client.get().body == b"fine"
            client.send(request("/", "POST", body=b"x" * 5000))
            assert client.response("POST").status == 200
        command.signal(signal.SIGTERM)
        assert command.wait() == 0
        command.assert_clean()
        text = "\n".join(command.lines)
        assert "open files" not in text.replace("(ulimit -n)", "").replace(
            "the limit of open files", ""
        ), text
        assert "out of system resource" not in text
        assert text.count("connections are in use") <= 1
        assert outcomes["200"] or message != request()


CROWD = """
import resource, socket, sys
port, count = map(int, sys.argv[1:])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 64, hard))
crowd = []
for start in range(0, count, 100):
    batch = [socket.create_connection(("127.0.0.1", port)) for _ in range(min(100, count - start))]
    for sock in batch:
        sock.sendall(b"GET / HTTP/1.1\\r\\nHost: crowd\\r\\n\\r\\n")
    for sock in batch:
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")
    crowd += batch
print("ready", flush=True)
sys.stdin.read()
closed = 0
for sock in crowd:
    sock.setblocking(False)
    try:
        closed += sock.recv(1) == b""
    except BlockingIOError:
        pass
print(closed)
"""


def resident(pid: int) -> int:
    """Bytes of RAM of a process."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_an_idle_crowd_costs_no_thread(capsys: pytest.CaptureFixture[str]) -> None:
    """10,000 idle connections from a second process, or as many as the limit of files allows."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    possible = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    # What the server keeps for itself, see plan_descriptors().
    count = min(10_000, possible - possible // 10 - min(4096, possible // 4) - 2048 - 100)
    with Command("faults_app", "-b", "127.0.0.1:0") as command:
        with command.client() as client:
            assert client.get().body == b"fine"
        before = resident(command.serving)
        port = command.address[1]
        with subprocess.Popen(
            [sys.executable, "-c", CROWD, str(port), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=APPS,
        ) as crowd:
            try:
                assert crowd.stdout is not None
                assert crowd.stdout.readline() == "ready\n"
                used = resident(command.serving) - before
                with command.client() as client:
                    for _ in range(10):
                        assert client.get().body == b"fine"
                with capsys.disabled():
                    wanted = "" if count == 10_000 else f" (10,000 wanted, {hard} files allowed)"
                    print(
                        f"\n  idle crowd: {count} connections{wanted}, "
                        f"{used / count / 1024:.2f} KiB each",
                        end=" ",
                    )
                closed, _ = crowd.communicate("", timeout=TIMEOUT)
                assert closed == "0\n"
            finally:
                if crowd.poll() is None:
                    crowd.kill()
        assert used < count * 20_000
        command.signal(signal.SIGTERM)
        assert command.wait() == 0
        command.assert_clean()
