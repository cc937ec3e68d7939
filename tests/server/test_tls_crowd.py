"""Thousands of idle connections over TLS: what each holds, and that the others are served."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import certificate_of_authority, local_pair
from rawclient import request
from serving import Command

PAIR = local_pair().flags

COUNT = 5000
MOST = 40 * 1024
"""Bytes of RAM for each connection at most: an idle one has no buffer of a record in OpenSSL."""

GET = r"GET / HTTP/1.1\r\nHost: a\r\n\r\n"

CLIENT = """
import asyncio, ssl, sys

async def main(port, count, ca, hello):
    context = ssl.create_default_context(cafile=ca)
    held = []
    gate = asyncio.Semaphore(50)
    async def connect():
        async with gate:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname="localhost",
                ssl_handshake_timeout=300, limit=1024,
            )
            if hello:
                writer.write(hello.encode().decode("unicode_escape").encode())
                await reader.readuntil(b"quick")
            held.append((reader, writer))
    await asyncio.gather(*(connect() for _ in range(count)))
    print("held", len(held), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    for reader, writer in held[:: max(1, count // 50)]:
        writer.write(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
        await reader.readuntil(b"quick")
    print("answered", flush=True)

asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]))
"""


@pytest.fixture
def descriptors() -> Iterator[None]:
    """As many as may be, for those whom the test starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    if most < COUNT + 200:
        pytest.skip(f"only {most} open files are allowed")
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def resident(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) * 1024


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("loop", "asks"),
    [("uvloop", ""), ("uvloop", GET), ("asyncio", GET)],
    ids=["silent", "asked", "asyncio"],
)
def test_five_thousand_idle_connections(
    loop: str, asks: str, descriptors: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are held by a process of their own, as a client's memory is none of the server's."""
    options = ("--keep-alive", "3600", "--header-timeout", "3600", "--max-connections", "10000")
    with Command("quick:app", "-b", "127.0.0.1:0", *PAIR, *options, loop=loop) as command:
        _, port = command.address
        with command.client() as client:
            for _ in range(100):
                assert client.get("/").body == b"quick"
        server = command.serving
        before = resident(server)
        crowd = subprocess.Popen(
            [
                *(sys.executable, "-c", CLIENT, str(port), str(COUNT)),
                *(str(certificate_of_authority()), asks),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert crowd.stdin is not None
            assert crowd.stdout is not None
            assert crowd.stdout.readline() == f"held {COUNT}\n"
            with command.client() as client:
                for _ in range(20):
                    client.send(request())
                    assert client.response().body == b"quick"
            each = (resident(server) - before) / COUNT
            with capsys.disabled():
                print(f"\n  {each:.0f} bytes for each of {COUNT} connections, {loop}", end=" ")
            assert each < MOST
            crowd.stdin.write("\n")
            crowd.stdin.flush()
            assert crowd.stdout.readline() == "answered\n"
        finally:
            crowd.kill()
            crowd.communicate()
        command.assert_clean()
