"""Whatever becomes of them on the way, the same bytes come out on both sides."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from secure import TLS_1_2, TLS_1_3, Recording, Secure

versions = st.sampled_from([TLS_1_2, TLS_1_3])
both_versions = pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def pattern(size: int, seed: int) -> bytes:
    """Bytes that are not alike wherever they are moved to."""
    block = bytes((seed + i * 7 + (i >> 8)) & 0xFF for i in range(min(size, 4096)))
    return (block * (size // 4096 + 1))[:size]


def recording(secure: Secure) -> Recording:
    assert isinstance(secure.protocol, Recording)
    return secure.protocol


def in_pieces(secure: Secure, data: bytes, sizes: list[int]) -> None:
    for size in sizes:
        if data:
            secure.plain.receive(data[:size])
            data = data[size:]
    if data:
        secure.plain.receive(data)


@both_versions
def test_byte_by_byte(version: ssl.TLSVersion) -> None:
    """The handshake, two requests, and the end."""
    secure = Secure(version=version)

    def send(data: bytes) -> None:
        in_pieces(secure, data, [1] * len(data))

    secure.shake_hands(send)
    send(secure.encrypted(REQUEST) + secure.encrypted(REQUEST))
    assert recording(secure).received == REQUEST * 2
    send(secure.close_notify())
    assert recording(secure).told == ["made", "eof"]


@both_versions
def test_records_cut_in_two_anywhere(version: ssl.TLSVersion) -> None:
    """Two records, and the place between them."""
    secure = Secure(version=version).shake_hands()
    cut = 0
    while True:
        cut += 1
        data = secure.encrypted(REQUEST) + secure.encrypted(REQUEST)
        in_pieces(secure, data, [cut])
        assert recording(secure).received == REQUEST * 2
        recording(secure).received.clear()
        if cut > len(data):
            break


@both_versions
def test_the_handshake_cut_in_two(version: ssl.TLSVersion) -> None:
    """Here and there, the first places of each message among them."""
    for cut in (*range(1, 12), *range(12, 500, 41)):
        secure = Secure(version=version)

        def send(data: bytes, secure: Secure = secure, cut: int = cut) -> None:
            in_pieces(secure, data, [cut])

        secure.shake_hands(send)
        secure.send(REQUEST)
        assert recording(secure).received == REQUEST


steps = st.one_of(
    st.tuples(st.just("send"), st.integers(1, 60_000)),
    st.tuples(st.just("arrive"), st.integers(1, 40_000)),
    st.tuples(st.just("pause"), st.just(0)),
    st.tuples(st.just("resume"), st.just(0)),
    st.tuples(st.just("write"), st.integers(0, 200_000)),
    st.tuples(st.just("lines"), st.integers(1, 50_000)),
    st.tuples(st.just("take"), st.integers(1, 150_000)),
    st.tuples(st.just("limits"), st.integers(0, 100_000)),
    st.tuples(st.just("turn"), st.just(0)),
    st.tuples(st.just("end"), st.just(0)),
)


@settings(max_examples=60)
@given(versions, st.lists(steps, max_size=40), st.sampled_from(["close", "write_eof", "notify"]))
def test_any_pattern_of_reads_and_writes(
    version: ssl.TLSVersion, steps: list[tuple[str, int]], last: str
) -> None:
    secure = Secure(version=version, window=0)
    secure.plain.take(100_000)
    secure.shake_hands()
    sent = written = b""
    on_the_way = b""
    is_paused = has_ended = False
    for what, size in steps:
        if what == "send" and not has_ended:
            data = pattern(size, len(sent))
            sent += data
            on_the_way += secure.encrypted(data)
        elif what == "arrive":
            # Of a plain transport that is paused nothing comes; in the same turn it still may.
            secure.transport.data_received(on_the_way[:size]) if on_the_way else None
            on_the_way = on_the_way[size:]
        elif what == "pause":
            is_paused = True
            secure.transport.pause_reading()
        elif what == "resume":
            is_paused = False
            secure.transport.resume_reading()
        elif what == "write":
            data = pattern(size, len(written))
            written += data
            secure.transport.write(data)
        elif what == "lines":
            data = pattern(size, len(written))
            written += data
            third = size // 3
            secure.transport.writelines([data[:third], data[third : 2 * third], data[2 * third :]])
        elif what == "take":
            secure.plain.take(size)
        elif what == "limits":
            secure.transport.set_write_buffer_limits(high=size)
        elif what == "turn":
            secure.loop.run_pending()
        elif what == "end" and not has_ended:
            has_ended = True
            on_the_way += secure.close_notify()
        before = bytes(recording(secure).received)
        assert sent.startswith(before)
        assert 0 <= secure.transport.get_write_buffer_size() <= max(1, len(written))
        assert 0 <= secure.transport.untaken(0) <= len(written)
        assert is_paused or secure.transport.is_reading()
    if on_the_way:
        secure.transport.data_received(on_the_way)
    secure.transport.resume_reading()
    secure.loop.run_pending()
    assert recording(secure).received == sent
    assert ("eof" in recording(secure).told) == has_ended
    if last == "notify" and not has_ended:
        secure.plain.receive(secure.close_notify())
        assert recording(secure).told[-1] == "eof"
    if last == "write_eof":
        secure.transport.write_eof()
    else:
        secure.transport.close()
    secure.plain.take()
    secure.loop.run_pending()
    secure.plain.take()
    secure.loop.run_pending()
    assert secure.read() == "ended"
    assert secure.got == written
    assert secure.transport.get_write_buffer_size() == 0
    assert secure.transport.untaken(0) == 0
    told = [event for event in recording(secure).told if event in ("pause", "resume")]
    assert told == ["pause", "resume"] * (len(told) // 2) + ["pause"] * (len(told) % 2)


@settings(max_examples=30)
@given(versions, st.integers(0, 3000), st.binary(min_size=1, max_size=100))
def test_garbage_anywhere_is_dropped_and_nothing_false_passed_on(
    version: ssl.TLSVersion, place: int, garbage: bytes
) -> None:
    """In the handshake and after it: what is passed on was sent, and nothing is raised."""
    secure = Secure(version=version)
    seen = 0

    def send(data: bytes) -> None:
        nonlocal seen
        at = place - seen
        seen += len(data)
        secure.plain.receive(data[:at] + garbage + data[at:] if 0 <= at <= len(data) else data)

    for _ in range(3):
        try:
            flight = secure.flight()
        except ssl.SSLError:
            break
        if flight:
            send(flight)
    if secure.told[-1] == "done":
        for number in range(20):
            send(secure.encrypted(REQUEST + bytes([number])))
    secure.loop.run_pending()
    everything = b"".join(REQUEST + bytes([number]) for number in range(20))
    assert everything.startswith(bytes(recording(secure).received))
