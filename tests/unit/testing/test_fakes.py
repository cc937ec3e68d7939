"""The fakes behave as asyncio's own: checked against a real transport where that can be seen."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading

import pytest

from wsgi_async.testing import FakeClock, FakeLoop, FakeTransport


class Log(asyncio.Protocol):
    """Notes its calls."""

    def __init__(self, *, keep_open: bool = False) -> None:
        self.calls: list[object] = []
        self.transport: asyncio.Transport | None = None
        self._keep_open = keep_open

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        self.calls.append(data)

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return self._keep_open

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append(("lost", type(exc)))


def connect(
    *, keep_open: bool = False, window: int | None = None
) -> tuple[FakeLoop, Log, FakeTransport]:
    loop, log = FakeLoop(), Log(keep_open=keep_open)
    return loop, log, FakeTransport(loop, log, window=window)


# --- the clock and the loop ---------------------------------------------------------------------


def test_the_clock_moves_by_hand() -> None:
    clock = FakeClock(5)
    loop = FakeLoop(clock)
    assert loop.time() == clock.time() == 5
    clock.advance(2.5)
    assert loop.time() == 7.5
    with pytest.raises(ValueError, match="go back"):
        clock.advance(-1)


def test_callbacks_run_in_order_when_told() -> None:
    loop = FakeLoop()
    calls: list[int] = []
    loop.call_soon(calls.append, 1)
    loop.call_soon_threadsafe(lambda: loop.call_soon(calls.append, 3))
    loop.call_soon(calls.append, 2)
    assert calls == []
    assert loop.run_pending() == 4
    assert calls == [1, 2, 3]
    assert loop.run_pending() == 0


def test_run_until_waits_for_other_threads() -> None:
    loop = FakeLoop()
    calls: list[str] = []
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(calls.append, "called"))
    thread.start()
    loop.run_until(lambda: calls)
    thread.join()
    loop.run_until(lambda: calls)  # holds already
    with pytest.raises(TimeoutError, match="does not hold"):
        loop.run_until(lambda: False, timeout=0.01)


def test_what_a_callback_raises_comes_out() -> None:
    loop = FakeLoop()
    loop.call_soon(int, "x")
    with pytest.raises(ValueError, match="invalid literal"):
        loop.run_pending()


def test_a_closed_loop_refuses() -> None:
    loop = FakeLoop()
    loop.call_soon(int)
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.call_soon_threadsafe(int)
    assert loop.run_pending() == 0


# --- the transport ------------------------------------------------------------------------------


def test_what_is_written_is_sent_as_the_window_allows() -> None:
    _, log, transport = connect(window=3)
    transport.write(b"abcd")
    transport.writelines([b"e", b"f"])
    assert transport.sent == b"abc"
    assert transport.get_write_buffer_size() == 3
    transport.take(2)
    assert transport.sent == b"abcde"
    transport.take()
    transport.write(b"g")
    assert transport.sent == b"abcdefg"
    assert transport.writes == [b"abcd", b"ef", b"g"]
    assert log.calls == ["made"]


def test_water_marks() -> None:
    _, log, transport = connect(window=0)
    transport.set_write_buffer_limits(high=10, low=4)
    assert transport.get_write_buffer_limits() == (4, 10)
    transport.write(b"x" * 10)
    assert log.calls == ["made"]
    transport.write(b"x")
    assert log.calls == ["made", "pause"]
    transport.take(6)
    assert log.calls == ["made", "pause"]
    transport.take(1)
    assert log.calls == ["made", "pause", "resume"]
    transport.set_write_buffer_limits(high=3)
    assert log.calls == ["made", "pause", "resume", "pause"]
    with pytest.raises(ValueError, match="must be >= low"):
        transport.set_write_buffer_limits(high=1, low=2)


def test_only_bytes_may_be_written_and_nothing_after_eof() -> None:
    _, _, transport = connect()
    with pytest.raises(TypeError, match="bytearray"):
        transport.write(bytearray(b"x"))
    with pytest.raises(TypeError, match="memoryview"):
        transport.writelines([b"a", memoryview(b"x")])
    transport.write_eof()
    assert transport.can_write_eof()
    with pytest.raises(RuntimeError, match="after write_eof"):
        transport.write(b"x")


def test_reading_is_held_back_while_paused() -> None:
    loop, log, transport = connect(keep_open=True)
    transport.pause_reading()
    transport.receive(b"abc")
    transport.receive(b"d")
    transport.receive_eof()
    assert not transport.is_reading()
    assert transport.unread == 4
    transport.resume_reading()
    assert log.calls == ["made"]
    loop.run_pending()
    assert log.calls == ["made", b"abc", b"d", "eof"]
    assert transport.unread == 0
    assert not transport.is_closing()


@pytest.mark.parametrize("keep_open", [False, True])
def test_eof_closes_unless_the_protocol_keeps_it_open(keep_open: bool) -> None:
    loop, log, transport = connect(keep_open=keep_open)
    transport.receive_eof()
    loop.run_pending()
    assert transport.is_lost is not keep_open
    assert log.calls[:2] == ["made", "eof"]


def test_close_waits_until_all_is_sent() -> None:
    loop, log, transport = connect(window=2)
    transport.write(b"abc")
    transport.close()
    transport.close()
    loop.run_pending()
    assert transport.is_closing()
    assert not transport.is_lost
    transport.receive(b"too late")
    transport.take()
    loop.run_pending()
    assert transport.sent == b"abc"
    assert log.calls == ["made", ("lost", type(None))]
    assert transport.was_reset  # input was left unread
    assert not transport.has_ended


def test_write_eof_ends_when_all_is_sent() -> None:
    _, _, transport = connect(window=2)
    transport.write(b"abc")
    transport.write_eof()
    assert not transport.has_ended
    transport.take(1)
    assert transport.has_ended
    assert not transport.is_closing()


@pytest.mark.parametrize("linger", [False, True])
def test_abort_drops_what_was_not_sent(linger: bool) -> None:
    loop, log, transport = connect(window=1)
    transport.write(b"abc")
    sock = transport.get_extra_info("socket")
    assert sock.family == socket.AF_INET
    if linger:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    assert not transport.is_lost
    loop.run_pending()
    assert transport.sent == b"a"
    assert transport.was_reset is linger
    assert transport.has_ended is not linger
    transport.reset()
    loop.run_pending()
    assert log.calls == ["made", ("lost", type(None))]
    transport.write(b"ignored")
    assert transport.sent == b"a"


def test_a_reset_by_the_peer() -> None:
    loop, log, transport = connect()
    transport.reset()
    loop.run_pending()
    assert log.calls == ["made", ("lost", ConnectionResetError)]
    assert not transport.has_ended


def test_addresses() -> None:
    loop, log = FakeLoop(), Log()
    transport = FakeTransport(loop, log, peername=("::1", 5, 0, 0), family=socket.AF_INET6)
    assert transport.get_extra_info("peername") == ("::1", 5, 0, 0)
    assert transport.get_extra_info("sockname") == ("127.0.0.1", 8000)
    assert transport.get_extra_info("nothing", 1) == 1
    assert transport.socket.family == socket.AF_INET6
    other = Log()
    transport.set_protocol(other)
    assert transport.get_protocol() is other


@pytest.mark.asyncio
async def test_asyncios_own_transport_says_the_same() -> None:
    """The order of calls around a full buffer and a close, against the real thing."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        real = Log(keep_open=True)
        transport, _ = await loop.create_unix_connection(lambda: real, sock=ours)
        transport.set_write_buffer_limits(high=10, low=4)
        transport.write(b"x" * 1_000_000)
        assert real.calls == ["made", "pause"]
        transport.write_eof()
        with pytest.raises(RuntimeError, match="Cannot call write"):
            transport.write(b"x")
        transport.abort()
        assert real.calls == ["made", "pause"]
        await asyncio.sleep(0)
        assert real.calls == ["made", "pause", ("lost", type(None))]

    fake_loop, fake, faked = connect(keep_open=True, window=4096)
    faked.set_write_buffer_limits(high=10, low=4)
    faked.write(b"x" * 1_000_000)
    faked.write_eof()
    with pytest.raises(RuntimeError, match="Cannot call write"):
        faked.write(b"x")
    faked.abort()
    fake_loop.run_pending()
    assert fake.calls == real.calls
