"""Clients that mean harm over TLS: what they cost is bounded, and the others are served."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import authority, certificate_of_authority
from crafted import Crafter
from encrypted import Record
from rawclient import TIMEOUT, RawClient, request
from serving import Served, both_loops, serving
from shown import echo
from tools import require_program

MOST = 64 << 20
"""Bytes that a process may grow by; each flood here is larger, or what it calls forth."""

held = threading.Event()


def application(environ: dict[str, Any], start_response: Any) -> Any:
    if environ["PATH_INFO"] == "/held":
        assert held.wait(2 * TIMEOUT)
    return echo(environ, start_response)


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with serving(application, loop=request.param, tls=True) as served:
        yield served


def works(served: Served) -> None:
    with served.client() as client:
        assert client.get("/").status == 200


def resident() -> int:
    """Bytes of RAM of this process, in which the server runs."""
    text = Path("/proc/self/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) * 1024


def loop_time(served: Served) -> float:
    """Seconds of CPU of the loop's thread so far."""

    async def look() -> float:
        return time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID)

    return served.thread.run(look())


def flood(wire: socket.socket, pieces: Iterator[bytes], seconds: float = 1.5) -> int:
    """Send and read nothing, until the server takes no more, or ends the connection.

    :returns: how many bytes it took.
    """
    wire.settimeout(1.0)
    taken = 0
    end = time.monotonic() + seconds
    try:
        for piece in pieces:
            wire.sendall(piece)
            taken += len(piece)
            if time.monotonic() > end:
                break
    except (TimeoutError, ConnectionError):
        pass
    return taken


# --- after the handshake -------------------------------------------------------------------------


@pytest.mark.parametrize("asks", [True, False], ids=["answered", "not answered"])
def test_new_keys_without_end(asks: bool, served: Served, tmp_path: Path) -> None:
    """Each calls forth an answer (RFC 8446 §4.6.3), which this client does not read."""
    before = resident()
    crafter = Crafter(served.address, tmp_path)
    with crafter.client:
        flood(
            crafter.wire,
            (b"".join(crafter.key_update(asks=asks) for _ in range(500)) for _ in range(200)),
        )
        works(served)
    assert resident() - before < MOST
    served.wait_until_idle()
    works(served)


def test_new_keys_now_and_then_are_taken(served: Served, tmp_path: Path) -> None:
    crafter = Crafter(served.address, tmp_path)
    with crafter.client as client:
        for _ in range(5):
            crafter.wire.sendall(crafter.key_update() + crafter.record(request()))
            assert client.response().status == 200
            crafter.wire.sendall(crafter.record(request()))
            assert client.response().status == 200


@pytest.mark.parametrize("padding", [0, 16_000])
def test_records_with_nothing_in_them(padding: int, served: Served, tmp_path: Path) -> None:
    """They cost the server work and give it nothing; a few are allowed (RFC 8446 §5.1)."""
    before = resident()
    crafter = Crafter(served.address, tmp_path)
    with crafter.client as client:
        crafter.wire.sendall(crafter.record(b"", padding=padding) + crafter.record(request()))
        assert client.response().status == 200
        count = 200_000 if padding == 0 else 2000
        flood(
            crafter.wire,
            (
                b"".join(crafter.record(b"", padding=padding) for _ in range(100))
                for _ in range(count // 100)
            ),
        )
        works(served)
    assert resident() - before < MOST
    served.wait_until_idle()


def test_alerts_without_end(served: Served, tmp_path: Path) -> None:
    """Warnings (user_canceled), which change nothing; OpenSSL counts them."""
    crafter = Crafter(served.address, tmp_path)
    with crafter.client:
        flood(
            crafter.wire,
            (
                b"".join(crafter.record(b"\x01\x5a", Record.ALERT) for _ in range(100))
                for _ in range(500)
            ),
        )
        works(served)
    served.wait_until_idle()


def test_a_kind_of_record_that_does_not_exist(served: Served, tmp_path: Path) -> None:
    for content, kind in ((b"x", 99), (b"\x01\0\0\0", Record.HANDSHAKE), (b"\1", Record.CHANGE)):
        crafter = Crafter(served.address, tmp_path)
        with crafter.client as client:
            crafter.wire.sendall(crafter.record(content, kind))
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                assert client.socket.recv(100) == b""
    served.wait_until_idle()
    works(served)


@both_loops
def test_a_flood_of_records_waits_in_the_kernel_while_nobody_reads(loop: str) -> None:
    """The application holds the request before; what follows may not be taken in."""
    held.clear()
    with serving(application, loop=loop, tls=True, threads=2) as served:
        before = resident()
        with served.client() as client:
            client.send(request("/held"))
            block = request("/", "POST", body=bytes(16_000))
            taken = flood(client.socket.wire, iter(lambda: client.socket.encrypt(block * 8), None))
            grown = resident() - before
            held.set()
        assert taken < MOST
        assert grown < MOST
        served.wait_until_idle()


def test_many_that_flood_hold_little_each() -> None:
    """Pipelined requests in full records, from connections whose first request is held."""
    held.clear()
    with serving(application, tls=True, threads=4) as served, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(served.client()) for _ in range(40)]
        before = resident()
        for client in clients:
            client.send(request("/held"))
        block = request("/", "POST", body=bytes(16_000)) * 4
        for client in clients:
            client.socket.wire.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                for _ in range(100):
                    sealed = client.socket.encrypt(block)
                    client.socket.wire.sendall(sealed)
        served.wait_until(lambda: served.pool.busy == 4)
        assert resident() - before < 40 * (1 << 20) + (32 << 20)
        held.set()


# --- within the handshake ------------------------------------------------------------------------


def hello_of(**changes: Any) -> bytes:
    """A client's first flight."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = (
        authority().client(**changes).wrap_bio(incoming, outgoing, server_hostname="localhost")
    )
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


def in_records(message: bytes, size: int) -> bytes:
    """A message of the handshake, in records of at most `size` bytes."""
    pieces = [message[start : start + size] for start in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + struct.pack("!H", len(piece)) + piece for piece in pieces)


def padded(hello: bytes, size: int) -> bytes:
    """The message of a hello, without its record, grown by an extension that nobody knows."""
    message = hello[5:]
    at = 4 + 2 + 32
    at += 1 + message[at]
    at += 2 + int.from_bytes(message[at : at + 2], "big")
    at += 1 + message[at]
    extensions = message[at + 2 :] + struct.pack("!HH", 0xFAFA, size) + bytes(size)
    body = message[4:at] + struct.pack("!H", len(extensions)) + extensions
    return b"\x01" + len(body).to_bytes(3, "big") + body


@pytest.mark.parametrize("pace", ["at once", "byte by byte"])
@pytest.mark.parametrize(("size", "piece"), [(100, 1), (100, 100), (3000, 50), (20_000, 16_000)])
def test_a_hello_may_be_long_and_cut_into_records(
    size: int, piece: int, pace: str, served: Served
) -> None:
    if pace == "byte by byte" and size > 5000:
        pytest.skip("takes long, and shows nothing more")
    sent = in_records(padded(hello_of(), size), piece)
    with served.client(tls=None) as client:
        if pace == "at once":
            client.send(sent)
        else:
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in sent:
                client.send(bytes([byte]))
        assert client.receive(1) == b"\x16"  # the server's own hello
    served.wait_until_idle()


def test_a_hello_in_the_smallest_pieces_costs_little(served: Served) -> None:
    """What a byte costs may not grow with what has come before: the loop is everybody's."""
    sent = in_records(padded(hello_of(), 2200), 1)[:15_000]
    with served.client(tls=None) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.send(sent[:6])
        works(served)
        before = loop_time(served)
        for byte in sent[6:]:
            client.send(bytes([byte]))
        works(served)
        spent = loop_time(served) - before
    # 15,000 reads of the loop; each has well below a tenth of a millisecond of its own.
    assert spent < 15_000 * 0.0004, spent
    served.wait_until_idle()


def test_a_hello_that_never_ends(served: Served) -> None:
    """It says that 16 MiB follow, and they do."""
    before = resident()
    message = b"\x01\xff\xff\xff" + bytes(16_000)
    with served.client(tls=None) as client:
        taken = flood(
            client.socket,
            (
                in_records(message if number == 0 else bytes(16_000), 16_000)
                for number in range(1000)
            ),
        )
        works(served)
    assert taken < 8 << 20
    assert resident() - before < MOST
    served.wait_until_idle()


def test_handshakes_that_are_half_done_hold_little() -> None:
    """What the server has of each: OpenSSL's own, and no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 900:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    with serving(application, tls=True, header_timeout=60) as served:
        works(served)
        with contextlib.ExitStack() as stack:
            before = resident()
            for _ in range(100):
                client = stack.enter_context(served.client(tls=None))
                client.send(HELLO)
                client.receive(500)
            each = (resident() - before) / 100
            works(served)
        assert each < 160_000, each
        served.wait_until_idle()


HELLO = hello_of()

# --- words that clients choose -------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        b"a\nb.example",
        b"x\r\nY: 1",
        b"\x1b[31mred",
        b"caf\xc3\xa9.example",
        b"%s%n",
        b"a" * 250,
        b"'",
    ],
)
def test_odd_names_are_no_way_into_logs_or_the_environ(name: bytes, served: Served) -> None:
    """As bytes of SNI, which may be any."""
    program = require_program("openssl")
    done = subprocess.run(
        [
            *(program.encode(), b"s_client", b"-connect", b"127.0.0.1:%d" % served.address[1]),
            *(b"-servername", name, b"-ign_eof"),
        ],
        input=request(fields=("Connection: close",)),
        capture_output=True,
        timeout=2 * TIMEOUT,
        check=False,
    )
    if b"HTTP/1.1 200 OK" in done.stdout:
        body = done.stdout.decode("latin-1")
        environ, _ = json.JSONDecoder().raw_decode(body[body.index("{") :])
        told = environ.get("SSL_TLS_SNI", "")
        told.encode("latin-1")
        assert not any(character in told for character in "\r\n\0"), told
    for (text,) in served.recorder.of("warning"):
        assert "\n" not in text
    assert served.recorder.of("error") == []
    works(served)


@pytest.mark.parametrize(
    "name", ["Eve\r\nX-Admin: yes", "Zoë €", "O=Root,CN=admin", "a/b+c=d\\", " x ", "\u2028\x85"]
)
def test_odd_subjects_of_clients_certificates(name: str, tmp_path: Path) -> None:
    """A WSGI string is latin-1 (PEP 3333), one line, and nobody can pass for somebody else."""
    pair = authority().issue(tmp_path, "eve@example.org", common_name=name)
    ca = str(certificate_of_authority())
    with serving(application, tls=True, ca_certs=ca, cert_reqs="required") as served:
        with served.client(tls=authority().client(pair)) as client:
            environ = json.loads(client.get("/").body)
        told = environ["SSL_CLIENT_S_DN"].encode("latin-1").decode("utf-8")
        assert not set("\r\n\0") & set(told)
        assert "CN=admin" not in told.replace("\\=", "").split(",")
        if name == "Zoë €":
            assert "CN=Zoë €" in told
        assert environ["SSL_CLIENT_VERIFY"] == "SUCCESS"


def test_a_chain_of_certificates_that_is_too_long_is_refused(tmp_path: Path) -> None:
    """A client may send a hundred kilobytes of them, not more."""
    pair = authority().issue(tmp_path, "eve@example.org", intermediates=8)
    pair.certificate.write_text(pair.certificate.read_text() * 40)
    ca = str(certificate_of_authority())
    with serving(application, tls=True, ca_certs=ca, cert_reqs="optional") as served:
        with (
            pytest.raises((ssl.SSLError, ConnectionError)),
            served.client(tls=authority().client(pair)) as client,
        ):
            client.get("/")
        works(served)
        served.wait_until_idle()


def test_a_client_that_shakes_hands_all_the_time_leaves_the_others_their_turn(
    served: Served,
) -> None:
    """A thousand handshakes from four threads: the loop goes on serving whoever is there."""
    stop = threading.Event()

    def shake() -> None:
        context = authority().client()
        while not stop.is_set():
            with contextlib.suppress(OSError), RawClient(served.address, tls=context):
                pass

    threads = [threading.Thread(target=shake, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        with served.client() as client:
            for _ in range(30):
                assert client.get("/").status == 200
    finally:
        stop.set()
        for thread in threads:
            thread.join(TIMEOUT)
    served.wait_until_idle()
