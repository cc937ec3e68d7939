"""What the clients share: connections, requests and heads of responses as bytes."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["HOST", "Head", "abort", "connect", "request", "run_and_say", "say", "until_told"]

HOST = "127.0.0.1"
LARGEST_HEAD = 65536
"""Bytes."""

STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*\r\n", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n", re.IGNORECASE)
CLOSE = re.compile(rb"\r\nconnection:[ \t]*close[ \t]*\r\n", re.IGNORECASE)


@dataclass(frozen=True)
class Head:
    """The head of a response."""

    status: int
    length: int | None
    """Of the body, from Content-Length."""
    chunked: bool
    """With neither, the body ends with the connection."""
    close: bool
    """The server closes the connection after this response."""

    @classmethod
    def parse(cls, received: bytes | bytearray) -> tuple[Head, int] | None:
        """The head and its size, or None while it is incomplete.

        :raises ValueError: this is not the head of a response.
        """
        size = received.find(b"\r\n\r\n") + 4
        if size < 4:
            if len(received) > LARGEST_HEAD:
                raise ValueError("the head does not end")
            return None
        status = STATUS_LINE.match(received)
        if status is None:
            raise ValueError(f"not a response: {bytes(received[:40])!r}")
        head = bytes(received[: size - 2])
        length = LENGTH.search(head)
        chunked = CHUNKED.search(head) is not None
        bounded = chunked or length is not None
        close = not bounded or CLOSE.search(head) is not None
        return cls(int(status[1]), int(length[1]) if length else None, chunked, close), size


def request(path: str = "/", method: str = "GET", body_size: int | None = None) -> bytes:
    """A small head."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}"]
    if body_size is not None:
        lines += ["Content-Type: application/octet-stream", f"Content-Length: {body_size}"]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def connect(
    port: int, *, timeout: float | None, receive_buffer: int | None = None
) -> socket.socket:
    """A connection.

    :param timeout: seconds for each operation; 0 for one that never blocks.
    :param receive_buffer: bytes that the kernel may keep for it.
    :raises OSError: there is none, not even begun.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer is not None:  # before connecting: it bounds the window too
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(timeout)
        with contextlib.suppress(BlockingIOError):
            sock.connect((HOST, port))
    except BaseException:
        sock.close()
        raise
    return sock


def abort(sock: socket.socket) -> None:
    """Close with a reset, so that nothing of it stays, on neither side."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def say(**facts: float) -> None:
    """Print them as one line of JSON."""
    print(json.dumps(facts), flush=True)


def run_and_say(
    run: Callable[[argparse.Namespace], dict[str, float]], options: argparse.Namespace
) -> None:
    """Run, and say what was found.

    :raises SystemExit: a response was wrong.
    """
    try:
        say(**run(options))
    except ValueError as error:
        raise SystemExit(f"wrong answer: {error}") from None


def until_told(seconds: float) -> None:
    """Wait until the starter closes our standard input, at most so long."""
    import select

    select.select([sys.stdin], [], [], seconds)
