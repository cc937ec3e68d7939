"""How much waits in a TLS transport, and what goes wrong after the handshake."""

from __future__ import annotations

import ssl

import pytest
from secure import TLS_1_2, TLS_1_3, Recording, Secure

from wsgi_async.tls.output import BATCH, RECORD, STRETCH, UNASKED
from wsgi_async.tls.transport import WIRE_RECORD

versions = pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])


def recording(secure: Secure) -> Recording:
    assert isinstance(secure.protocol, Recording)
    return secure.protocol


# --- flow --------------------------------------------------------------------------------------


def test_what_a_slow_client_has_not_taken_is_counted_as_it_was_written() -> None:
    secure = Secure(window=0)
    secure.plain.take(100_000)
    secure.shake_hands()
    secure.transport.set_write_buffer_limits(high=32 * 1024, low=1024)
    assert secure.transport.get_write_buffer_limits() == (1024, 32 * 1024)
    used = len(secure.plain.sent)
    secure.plain.take(used - 100_000)  # no more than the handshake
    data = bytes(200_000)
    secure.transport.write(data)
    assert recording(secure).told == ["made", "pause"]
    assert secure.transport.get_write_buffer_size() == len(data)
    assert secure.transport.untaken(0) == len(data)
    # No second copy: most of it waits as it was written.
    assert secure.plain.get_write_buffer_size() < BATCH + RECORD
    sizes = [len(data)]
    while sizes[-1]:
        secure.plain.take(10_000)
        secure.loop.run_pending()
        sizes.append(secure.transport.get_write_buffer_size())
        assert sizes[-1] < sizes[-2]
        assert sizes[-2] - sizes[-1] < 10_300  # between two marks the proportion is taken
    secure.read()
    assert secure.got == data
    assert recording(secure).told == ["made", "pause", "resume"]


def test_small_records_count_as_what_is_in_them() -> None:
    """A byte is 23 on the wire: who takes half of the stream has half of the bytes."""
    secure = Secure(window=0)
    secure.plain.take(100_000)
    secure.shake_hands()
    secure.transport.set_write_buffer_limits(high=10_000_000)
    secure.transport.write(b"x")
    secure.plain.take(len(secure.plain.sent) - 100_000)
    total = 20_000
    for _ in range(total):
        secure.transport.write(b"y")
    encrypted = secure.plain.get_write_buffer_size()
    assert encrypted > 20 * total
    assert abs(secure.transport.get_write_buffer_size() - total) < total / 100
    before = total
    for part in range(1, 11):
        secure.plain.take(encrypted // 10 + (part == 10) * 10)
        left = secure.transport.untaken(0)
        assert abs(left - total * (10 - part) / 10) < total / 100
        assert left <= before
        before = left
    # What the kernel has of it, and the client not, counts likewise.
    assert abs(secure.transport.untaken(encrypted // 2) - total) <= total  # never negative
    assert secure.transport.untaken(0) == 0


def test_marks_of_zero_are_kept() -> None:
    secure = Secure(window=0)
    secure.plain.take(100_000)
    secure.shake_hands()
    secure.plain.take(len(secure.plain.sent) - 100_000)
    secure.transport.set_write_buffer_limits(high=0)
    secure.transport.write(b"x")
    assert recording(secure).told == ["made", "pause"]
    secure.plain.take()
    assert recording(secure).told == ["made", "pause", "resume"]
    assert secure.transport.get_write_buffer_size() == 0


def test_others_have_their_turn_in_a_long_write() -> None:
    secure = Secure().shake_hands()
    before = len(secure.plain.sent)
    secure.transport.write(bytes(3 * STRETCH))
    assert STRETCH <= len(secure.plain.sent) - before < 2 * STRETCH
    assert recording(secure).told == ["made", "pause"]
    secure.transport.close()
    secure.loop.run_pending()
    assert secure.read() == "ended"
    assert secure.got == bytes(3 * STRETCH)


def test_what_waits_is_not_written_as_the_plain_transport_says_that_it_has_drained() -> None:
    """A send that fails there would have asyncio's own tell their loss twice."""
    secure = Secure(window=100_000).shake_hands()
    secure.transport.write(bytes(STRETCH))
    before = len(secure.plain.writes)
    secure.plain.take()
    assert len(secure.plain.writes) == before
    secure.loop.run_pending()
    secure.read()
    assert secure.got == bytes(STRETCH)


def test_what_waits_is_dropped_with_a_connection_that_is_lost() -> None:
    """CPython 3.12's writelines() would watch a descriptor that is about to be another's."""
    secure = Secure().shake_hands()
    secure.transport.write(bytes(3 * STRETCH))
    before = len(secure.plain.writes)
    secure.plain.reset()
    secure.loop.run_pending()
    assert len(secure.plain.writes) == before
    assert recording(secure).told == ["made", "pause", "lost"]


def test_each_write_is_one_of_the_plain_transport() -> None:
    secure = Secure().shake_hands()
    before = len(secure.plain.writes)
    secure.transport.write(b"head and body")
    secure.transport.writelines([b"head", bytes(RECORD), b"", b"tail"])
    secure.transport.write(b"")
    assert len(secure.plain.writes) == before + 2
    secure.transport.write(bytes(BATCH))
    assert len(secure.plain.writes) == before + 3
    secure.read()
    assert secure.got == b"head and body" + b"head" + bytes(RECORD) + b"tail" + bytes(BATCH)


class Watched:
    """A BIO, and how much was put into it or taken from it at once."""

    def __init__(self, bio: ssl.MemoryBIO) -> None:
        self.bio = bio
        self.sizes: list[int] = []

    @property
    def pending(self) -> int:
        return self.bio.pending

    def write(self, data: bytes) -> int:
        self.sizes.append(len(data))
        return self.bio.write(data)

    def read(self) -> bytes:
        data = self.bio.read()
        self.sizes.append(len(data))
        return data


def test_an_upload_that_comes_with_the_handshake_goes_through_a_record_at_a_time() -> None:
    """A client of TLS 1.3 sends its last message and its request together."""
    secure = Secure()
    secure.plain.receive(secure.flight())
    incoming = Watched(secure.transport._incoming)
    secure.transport._incoming = incoming  # type: ignore[assignment]
    secure.plain.receive(secure.flight() + secure.encrypted(bytes(300_000)))
    assert recording(secure).received == bytes(300_000)
    assert max(incoming.sizes) <= WIRE_RECORD


def test_no_more_than_a_record_goes_through_a_bio() -> None:
    """OpenSSL's keep for good what they once had room for."""
    secure = Secure().shake_hands()
    incoming = Watched(secure.transport._incoming)
    outgoing = Watched(secure.transport._outgoing)
    secure.transport._incoming, secure.transport._outgoing = incoming, outgoing  # type: ignore[assignment]
    secure.send(bytes(300_000))
    secure.transport.write(bytes(300_000))
    secure.loop.run_pending()
    secure.read()
    assert recording(secure).received == secure.got == bytes(300_000)
    assert max(incoming.sizes) <= WIRE_RECORD
    assert max(outgoing.sizes) <= WIRE_RECORD + 1000  # the tickets, once


@pytest.mark.parametrize("end", ["close", "write_eof"])
def test_an_end_waits_for_what_was_written(end: str) -> None:
    secure = Secure(window=0)
    secure.plain.take(100_000)
    secure.shake_hands()
    data = bytes(300_000)
    secure.transport.write(data)
    getattr(secure.transport, end)()
    secure.plain.take()
    secure.loop.run_pending()
    assert secure.read() == "ended"
    assert secure.got == data
    assert secure.plain.has_ended


# --- what goes wrong ---------------------------------------------------------------------------


@versions
def test_garbage_after_the_handshake_is_answered_with_an_alert(version: ssl.TLSVersion) -> None:
    secure = Secure(version=version).shake_hands()
    secure.plain.receive(secure.encrypted(b"fine") + b"\x17\x03\x03\x00\x20" + bytes(32))
    secure.loop.run_pending()
    assert recording(secure).received == b"fine"
    assert recording(secure).told == ["made", "lost"]
    assert "decryption failed" in str(recording(secure).error)
    assert "BAD_RECORD_MAC" in secure.read()


def test_a_second_handshake_in_the_clear_is_dropped() -> None:
    """One that is encrypted, a renegotiation, `ssl` cannot ask for: s_client does."""
    secure = Secure(version=TLS_1_2).shake_hands()
    secure.send(b"fine")
    secure.plain.receive(Secure(version=TLS_1_2).flight())
    secure.loop.run_pending()
    assert recording(secure).received == b"fine"
    assert recording(secure).told == ["made", "lost"]


def test_a_lost_connection_is_told_once() -> None:
    secure = Secure(window=0)
    secure.plain.take(100_000)
    secure.shake_hands()
    secure.transport.write(bytes(500_000))
    secure.plain.reset()
    secure.loop.run_pending()
    secure.transport.close()
    secure.transport.abort()
    secure.transport.write(b"ignored")
    secure.loop.run_pending()
    assert recording(secure).told[-1] == "lost"
    assert recording(secure).told.count("lost") == 1
    assert isinstance(recording(secure).error, ConnectionResetError)


def test_an_error_of_ours_ends_the_connection_alone() -> None:
    secure = Secure().shake_hands()

    class Broken:
        def read(self, size: int) -> bytes:
            raise MemoryError

    secure.transport._object = Broken()  # type: ignore[assignment]
    secure.plain.receive(secure.encrypted(b"x"))
    secure.loop.run_pending()
    assert recording(secure).told == ["made", "lost"]
    assert str(recording(secure).error) == "MemoryError"


def test_who_asks_for_messages_of_tls_and_reads_nothing_is_dropped() -> None:
    """Each is answered, and what nobody takes may not grow without end."""
    secure = Secure(window=0)
    secure.plain.take(100_000)
    secure.shake_hands()
    secure.transport.write(bytes(200_000))
    secure.transport._outgoing.write(bytes(UNASKED + 1))  # what `ssl` cannot make a client ask for
    secure.send(b"x")
    secure.loop.run_pending()
    assert recording(secure).told[-1] == "lost"
    assert "reads nothing" in str(recording(secure).error)
