"""Disks and descriptors that run out, and what a crowd of idle connections costs."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import selectors
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty_applications import STRIPES, UPLOAD, Faulty, Serve, still_answers
from rawclient import TIMEOUT, RawClient, request
from serving import APPS, Command, both_loops

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
    """As ``--max-spool-size`` does: 10 MiB through a disk of 1 MiB, to a client that lags behind.
    (The kernel may hold 4 of them for the connection.)"""
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
