"""The load that counts is strict: a server that does one thing wrong, once, is found out."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest
from counting import Kind, Load
from rawclient import TIMEOUT

MISDEED_AT = 30
"""Which request, of all, meets the misdeed."""

Misdeed = Callable[[socket.socket, bytes], bool]
"""Answers a request for that name; returns whether the connection goes on."""


def head(length: int, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{more}\r\n".encode()


def answer(sock: socket.socket, name: bytes) -> bool:
    body = b"1 v1 " + name
    sock.sendall(head(len(body)) + body)
    return True


def hang_up(sock: socket.socket, name: bytes) -> bool:
    return False


def reset(sock: socket.socket, name: bytes) -> bool:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def cut_the_head(sock: socket.socket, name: bytes) -> bool:
    sock.sendall(head(5)[:-1])
    return False


def cut_the_body(sock: socket.socket, name: bytes) -> bool:
    body = b"1 v1 " + name
    sock.sendall(head(len(body)) + body[:-1])
    return False


def answer_another(sock: socket.socket, name: bytes) -> bool:
    return answer(sock, name + b"0")


def say_nothing(sock: socket.socket, name: bytes) -> bool:
    sock.recv(1)  # until the client gives up
    return False


def say_too_much(sock: socket.socket, name: bytes) -> bool:
    body = b"1 v1 " + name
    sock.sendall(head(len(body)) + body + b"!")
    return True


def say_it_twice(sock: socket.socket, name: bytes) -> bool:
    answer(sock, name)
    return answer(sock, name)


def babble(sock: socket.socket, name: bytes) -> bool:
    sock.sendall(b"hello\r\n\r\n")
    return False


def leave_without_notice(sock: socket.socket, name: bytes) -> bool:
    answer(sock, name)
    return False


def leave_with_notice(sock: socket.socket, name: bytes) -> bool:
    body = b"1 v1 " + name
    sock.sendall(head(len(body), more="Connection: close\r\n") + body)
    return False


def refuse(sock: socket.socket, name: bytes) -> bool:
    sock.sendall(head(4, "503 Service Unavailable") + b"busy")
    return True


def move(sock: socket.socket, name: bytes) -> bool:
    body = b"2 v2 " + name
    sock.sendall(head(len(body)) + body)
    return True


class OddServer:
    """Answers well, but for one request."""

    def __init__(self, misdeed: Misdeed) -> None:
        self._misdeed = misdeed
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.address = self._listener.getsockname()
        self._lock = threading.Lock()
        self._count = 0
        self.done = threading.Event()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            while match := re.match(rb"GET /\?(\S+)", sock.recv(65536)):
                with self._lock:
                    self._count += 1
                    is_odd = self._count == MISDEED_AT
                if not (self._misdeed if is_odd else answer)(sock, match[1]):
                    return
                if is_odd:
                    self.done.set()
            self.done.set()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(TIMEOUT)


@contextlib.contextmanager
def odd_server(misdeed: Misdeed) -> Iterator[OddServer]:
    server = OddServer(misdeed)
    try:
        yield server
    finally:
        server.close()


def load_of(server: OddServer, *, kept: int = 0, fresh: int = 0) -> Load:
    """One with little patience: a misdeed may be that nothing is ever said."""
    return Load(server.address, kept=kept, fresh=fresh, pauses=(0.001,), patience=0.3)


clients = pytest.mark.parametrize("client", ["kept", "fresh"])


@clients
def test_a_good_server_has_no_failure(client: str) -> None:
    with odd_server(answer) as server, load_of(server, **{client: 4}) as load:
        load.wait_for_more(200)
        load.wait_for_each(10)
    load.assert_flawless()
    assert sorted(load.clients) == [f"{client}{number}" for number in range(4)]
    assert min(load.clients.values()) >= 10
    assert load.responses.total() == load.processes[1] == load.versions["v1"] == len(load.names)
    assert load.notices == 0


@clients
@pytest.mark.parametrize(
    ("misdeed", "kind"),
    [
        (hang_up, Kind.NO_ANSWER),
        (reset, Kind.NO_ANSWER),
        (cut_the_head, Kind.CUT),
        (cut_the_body, Kind.CUT),
        (answer_another, Kind.WRONG_BODY),
        (say_nothing, Kind.SILENCE),
        (babble, Kind.NOT_HTTP),
    ],
)
def test_one_misdeed_is_one_failure(misdeed: Misdeed, kind: Kind, client: str) -> None:
    with odd_server(misdeed) as server, load_of(server, **{client: 4}) as load:
        load.wait_until(lambda: load.failures, "the failure")
        load.wait_for_more(100)
    assert [failure.kind for failure in load.failures] == [kind]
    assert load.failures[0].process == (1 if client == "kept" else None)
    assert load.failures[0].name not in load.names
    with pytest.raises(AssertionError, match=kind.value):
        load.assert_flawless()


@pytest.mark.parametrize("misdeed", [say_too_much, say_it_twice])
def test_what_nobody_asked_for_is_a_failure(misdeed: Misdeed) -> None:
    with odd_server(misdeed) as server, load_of(server, kept=4) as load:
        load.wait_until(lambda: load.failures, "the failure")
        load.wait_for_more(100)
    # Bytes that come only after the next request was sent are taken for its answer.
    [failure] = load.failures
    assert failure.kind in (Kind.UNASKED, Kind.WRONG_BODY)


def test_a_kept_connection_that_is_closed_without_notice_is_a_failure() -> None:
    with odd_server(leave_without_notice) as server, load_of(server, kept=4) as load:
        load.wait_until(lambda: load.failures, "the failure")
        load.wait_for_more(100)
    # Whether the end arrives before or after the next request is sent is chance.
    [failure] = load.failures
    assert failure.kind in (Kind.CLOSED_IDLE, Kind.NO_ANSWER)


def test_a_kept_connection_that_is_closed_with_notice_is_none() -> None:
    with odd_server(leave_with_notice) as server, load_of(server, kept=4) as load:
        load.wait_until(lambda: load.notices, "the notice")
        load.wait_for_more(100)
    load.assert_flawless()


def test_other_statuses_are_counted_and_not_flawless() -> None:
    with odd_server(refuse) as server, load_of(server, kept=2, fresh=2) as load:
        load.wait_until(lambda: load.responses[503], "the 503")
        load.wait_for_more(100)
    assert (load.responses[503], load.failures) == (1, [])
    with pytest.raises(AssertionError):
        load.assert_flawless()


def test_who_answered_with_what() -> None:
    with odd_server(move) as server, load_of(server, kept=2, fresh=2) as load:
        load.wait_for_version("v2")
        assert load.wait_for_processes(2) == {1, 2}
        assert load.seen_from_now() == {1}
    assert (load.processes[2], load.versions["v2"]) == (1, 1)


def test_nobody_there_is_a_failure_for_each_request() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
    with Load(address, kept=1, fresh=1) as load:
        load.wait_until(lambda: len(load.failures) >= 4, "failures")
    assert {failure.kind for failure in load.failures} == {Kind.NOT_CONNECTED}
    assert {failure.name[:5] for failure in load.failures} == {"kept0", "fresh"}
    assert not load.responses
