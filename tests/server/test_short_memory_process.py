"""A process that has no memory for a while serves again, or has ended: it is never left deaf."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import h11
import pytest
from rawclient import TIMEOUT, RawClient, request
from serving import both_loops

PROGRAM = Path(__file__).parents[2] / "tests" / "support" / "short_memory_process.py"

ATTEMPTS = 10
PATIENCE = 0.1
"""Seconds that a client waits for its answer while there is no memory."""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is of use on Linux only")
@both_loops
def test_a_process_without_memory_serves_again_or_ends(loop: str) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, PROGRAM, loop],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "PYTHONPATH": str(PROGRAM.parent.parent)},
            )
        )
        stack.callback(process.kill)
        assert process.stdout is not None
        address = ("127.0.0.1", int(process.stdout.readline()))
        taker = stack.enter_context(RawClient(address))
        taker.send(request("/take"))
        assert process.stdout.readline() == "taken\n"
        attempts = stack.enter_context(contextlib.ExitStack())
        for _ in range(ATTEMPTS):
            with contextlib.suppress(OSError):
                sock = attempts.enter_context(socket.create_connection(address, PATIENCE))
                sock.sendall(request())
                sock.recv(100)
        attempts.close()  # until now none gives its memory to the next
        taker.close()
        # From here, for in there nobody may be able to: CPython goes round in a loop, with the GIL,
        # for as long as there are not 32 bytes for the number that it enters some handlers with.
        _, most = resource.prlimit(process.pid, resource.RLIMIT_AS)
        resource.prlimit(process.pid, resource.RLIMIT_AS, (most, most))
        deadline = time.monotonic() + TIMEOUT
        open_connections = b""
        while open_connections != b"1":  # the one that asks
            assert time.monotonic() < deadline, open_connections
            if process.poll() is not None:
                assert process.returncode not in (0, -signal.SIGALRM), open_connections
                return
            # Until there is memory again, a connection may end without an answer.
            expected = contextlib.suppress(OSError, h11.RemoteProtocolError)
            with expected, RawClient(address) as client:
                client.socket.settimeout(1)
                open_connections = client.get("/open").body
