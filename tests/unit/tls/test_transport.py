"""What a TLS transport does at each point of a connection's life. OpenSSL judges its bytes."""

from __future__ import annotations

import gc
import ssl
import weakref
from typing import Any

import pytest
from secure import TLS_1_2, TLS_1_3, Recording, Secure, server_context
from state_tables import assert_held, assert_whole, last_of

from wsgi_async.tls.states import IN_NEXT, LIFE_NEXT, OUT_NEXT, InState, LifeState, OutState

versions = pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3], ids=["1.2", "1.3"])


class Leaving(Recording):
    stays = False


def recording(secure: Secure) -> Recording:
    assert isinstance(secure.protocol, Recording)
    return secure.protocol


# --- the handshake ---------------------------------------------------------------------------


@versions
def test_the_protocol_begins_with_the_end_of_the_handshake(version: ssl.TLSVersion) -> None:
    secure = Secure(version=version).shake_hands()
    assert secure.told == ["begins", "shakes", "done"]
    assert recording(secure).told == ["made"]
    secure.send(b"hello")
    assert recording(secure).received == b"hello"
    secure.transport.write(b"world")
    assert secure.read() == "open"
    assert secure.got == b"world"


def test_what_comes_with_the_last_of_the_handshake_is_not_lost() -> None:
    """Of TLS 1.3 the client's request and its last message often share a segment."""
    secure = Secure()
    secure.plain.receive(secure.flight())
    secure.plain.receive(secure.flight() + secure.encrypted(b"GET /"))
    assert recording(secure).received == b"GET /"


def test_what_comes_with_the_handshake_waits_for_a_protocol_that_does_not_read() -> None:
    class Shy(Recording):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.pause_reading()

    secure = Secure(Shy())
    secure.plain.receive(secure.flight())
    secure.plain.receive(secure.flight() + secure.encrypted(b"GET /"))
    assert not recording(secure).received
    assert not secure.transport.is_reading()
    secure.transport.resume_reading()
    assert not recording(secure).received  # as of other transports: not from within
    secure.loop.run_pending()
    assert recording(secure).received == b"GET /"
    assert secure.transport.is_reading()


def test_tickets_go_out_with_the_first_answer() -> None:
    """A client that asks for nothing and leaves would answer them with a reset."""
    secure = Secure()
    secure.plain.receive(secure.flight())
    before = len(secure.plain.writes)
    secure.plain.receive(secure.flight())
    assert len(secure.plain.writes) == before
    secure.transport.write(b"x")
    assert len(secure.plain.writes) == before + 1
    secure.read()
    again = Secure(session=secure.client.session).shake_hands()
    assert again.client.session_reused


def test_a_session_of_1_2_is_taken_up_again() -> None:
    """Then it is the server whose Finished the client waits for first."""
    first = Secure(version=TLS_1_2).shake_hands()
    again = Secure(version=TLS_1_2, session=first.client.session).shake_hands()
    assert again.client.session_reused


@pytest.mark.parametrize(
    ("data", "alert", "why"),
    [
        (b"\x16\x03\x01\x00\x05hello", b"\x15\x03", "failed: unexpected message"),
        (b"\x16garbage, and more of it", b"", "failed: what the client sends is not TLS"),
        (b"\x80\x2e\x01\x00\x02" + bytes(43), b"\x15\x03", "failed: "),
    ],
)
def test_what_is_no_handshake_is_dropped(data: bytes, alert: bytes, why: str) -> None:
    """With an alert where OpenSSL, which has the word here, thinks that the client knows one."""
    secure = Secure()
    secure.plain.receive(data)
    secure.loop.run_pending()
    assert secure.plain.sent[:2] == alert
    assert secure.plain.is_lost
    assert secure.told[-1].startswith(why)
    assert recording(secure).told == []


def test_a_version_that_is_not_allowed_is_told_the_client() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = TLS_1_3
    secure = Secure(version=TLS_1_2, context=context)
    secure.plain.receive(secure.flight())
    secure.loop.run_pending()
    assert secure.plain.is_lost
    assert secure.told[-1] == "failed: the client speaks no version of TLS that is allowed here"
    assert "PROTOCOL_VERSION" in secure.read()


def test_a_client_that_does_not_trust_the_certificate_is_named_so() -> None:
    secure = Secure(client=ssl.create_default_context())
    with pytest.raises(ssl.SSLCertVerificationError):
        secure.shake_hands()
    secure.plain.receive(secure.outgoing.read())
    secure.loop.run_pending()
    assert secure.told[-1].startswith("failed: the client does not accept the certificate")


def test_a_client_that_says_close_notify_in_the_handshake_has_gone() -> None:
    secure = Secure(version=TLS_1_2)
    secure.plain.receive(secure.flight())
    secure.plain.receive(b"\x15\x03\x03\x00\x02\x01\x00")
    secure.loop.run_pending()
    assert secure.told == ["begins", "shakes", "failed: the client closed the connection"]


def test_other_protocols_get_the_plain_transport_and_all_that_has_come() -> None:
    secure = Secure()
    secure.plain.receive(b"GET / HT")
    [other] = secure.without
    assert secure.plain.get_protocol() is other
    secure.plain.receive(b"TP/1.1\r\n")
    assert isinstance(other, Recording)
    assert other.received == b"GET / HTTP/1.1\r\n"
    assert secure.told == ["begins"]


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_leaves_in_the_handshake(begun: bool, reset: bool) -> None:
    secure = Secure()
    if begun:
        secure.plain.receive(secure.flight()[:40])
    if reset:
        secure.plain.reset()
    else:
        secure.plain.receive_eof()
    secure.loop.run_pending()
    assert secure.plain.is_lost
    why = "failed: the client closed the connection" if begun else "failed: "
    assert secure.told[-1] == why


# --- the end of the client's side ------------------------------------------------------------


@versions
def test_a_close_notify_is_half_of_an_end(version: ssl.TLSVersion) -> None:
    secure = Secure(version=version).shake_hands()
    secure.plain.receive(secure.encrypted(b"last") + secure.close_notify())
    secure.plain.receive_eof()
    assert recording(secure).received == b"last"
    assert recording(secure).told == ["made", "eof"]
    assert not secure.transport.is_closing()
    secure.transport.write(b"answer")
    secure.transport.close()
    secure.loop.run_pending()
    secure.arrive()
    assert secure.client.read(100) == b"answer"
    assert recording(secure).told == ["made", "eof", "lost"]
    assert recording(secure).error is None
    assert secure.plain.has_ended


@versions
def test_an_end_of_the_socket_alone_is_the_end_too(version: ssl.TLSVersion) -> None:
    secure = Secure(version=version).shake_hands()
    secure.plain.receive(secure.encrypted(b"all of it")[:-1])
    secure.plain.receive_eof()
    assert recording(secure).received == b""  # a record is all or nothing
    assert recording(secure).told == ["made", "eof"]
    secure.transport.write(b"answer")
    assert secure.read() == "open"
    assert secure.got == b"answer"


def test_a_protocol_that_does_not_stay_is_closed() -> None:
    secure = Secure(Leaving()).shake_hands()
    secure.plain.receive(secure.close_notify())
    secure.loop.run_pending()
    assert recording(secure).told == ["made", "eof", "lost"]
    assert secure.read() == "ended"


@pytest.mark.parametrize("notify", [True, False])
def test_the_end_waits_with_the_bytes_before_it(notify: bool) -> None:
    secure = Secure().shake_hands()
    secure.transport.pause_reading()
    for data in (b"one", b"two"):
        secure.transport.data_received(secure.encrypted(data))
    if notify:
        secure.transport.data_received(secure.close_notify())
    secure.transport.eof_received()
    assert recording(secure).told == ["made"]
    secure.transport.resume_reading()
    secure.transport.pause_reading()
    secure.loop.run_pending()
    assert not recording(secure).received
    secure.transport.resume_reading()
    secure.loop.run_pending()
    assert recording(secure).received == b"onetwo"
    assert recording(secure).told == ["made", "eof"]
    secure.transport.write(b"answer")
    secure.arrive()
    assert secure.client.read(100) == b"answer"


# --- the end of ours -------------------------------------------------------------------------


@versions
def test_close_says_so(version: ssl.TLSVersion) -> None:
    secure = Secure(version=version).shake_hands()
    secure.transport.write(b"all")
    secure.transport.close()
    secure.transport.close()
    assert secure.transport.is_closing()
    secure.loop.run_pending()
    assert secure.read() == "ended"
    assert secure.got == b"all"
    assert recording(secure).told == ["made", "lost"]
    assert secure.plain.has_ended
    assert not secure.plain.was_reset
    secure.transport.write(b"ignored, as of asyncio")


@versions
@pytest.mark.parametrize("size", [7, 1 << 20])
def test_a_cut_does_not(size: int, version: ssl.TLSVersion) -> None:
    """What was written arrives all the same, and no reset takes it away."""
    secure = Secure(version=version, window=100_000).shake_hands()
    secure.transport.write(bytes(size))
    cut = secure.transport.get_extra_info("cut")
    cut()
    cut()
    secure.transport.close()
    assert secure.transport.is_closing()
    secure.plain.take()
    secure.loop.run_pending()
    assert secure.read() == "open"
    assert secure.got == bytes(size)
    assert recording(secure).told[-1] == "lost"
    assert secure.plain.has_ended
    assert not secure.plain.was_reset
    secure.transport.write(b"ignored, as of asyncio")


def test_abort_does_not_either() -> None:
    """By that a client tells a response that was cut."""
    secure = Secure().shake_hands()
    secure.transport.write(b"half of")
    secure.transport.abort()
    assert secure.transport.is_closing()
    secure.loop.run_pending()
    assert secure.read() == "open"
    assert secure.got == b"half of"
    assert recording(secure).told == ["made", "lost"]


@versions
def test_write_eof_ends_our_side_and_we_read_on(version: ssl.TLSVersion) -> None:
    """As for lingering: the client's last bytes are read, so that the kernel does not reset."""
    secure = Secure(version=version).shake_hands()
    assert secure.transport.can_write_eof()
    secure.transport.write(b"answer")
    secure.transport.write_eof()
    assert secure.plain.has_ended
    with pytest.raises(RuntimeError, match="after write_eof"):
        secure.transport.write(b"more")
    late = secure.encrypted(b"late") + secure.encrypted(b"r")
    assert secure.read() == "ended"
    assert secure.got == b"answer"
    secure.plain.receive(late)
    assert recording(secure).received == b"later"
    secure.plain.receive(secure.close_notify())
    assert recording(secure).told == ["made", "eof"]
    secure.transport.close()
    secure.loop.run_pending()
    assert recording(secure).told == ["made", "eof", "lost"]


def test_what_is_kept_outlives_write_eof() -> None:
    """OpenSSL, which looks for the client's close_notify then, would give up at other records."""
    secure = Secure().shake_hands()
    secure.transport.pause_reading()
    secure.transport.data_received(secure.encrypted(b"kept"))
    secure.transport.write_eof()
    assert secure.read() == "ended"
    secure.transport.resume_reading()
    secure.loop.run_pending()
    secure.plain.receive(secure.encrypted(b" and more"))
    assert recording(secure).received == b"kept and more"


# --- what it tells -----------------------------------------------------------------------------


def test_what_may_be_asked_for() -> None:
    secure = Secure().shake_hands()
    tell = secure.transport.get_extra_info
    assert tell("sslcontext") is server_context()
    assert tell("ssl_object").version() == "TLSv1.3"
    assert tell("socket") is secure.plain.socket
    assert tell("peername") == ("127.0.0.1", 50312)
    assert tell("nothing", "default") == "default"
    assert secure.transport.get_protocol() is secure.protocol


def test_nothing_is_left_to_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        for end in (Secure.close_notify, None):
            secure = Secure().shake_hands()
            secure.send(b"x")
            if end is not None:
                secure.plain.receive(end(secure))
            secure.transport.close()
            secure.loop.run_pending()
            found = weakref.ref(secure.client), weakref.ref(secure.transport._object)
            secure.plain._protocol = Recording()  # as the loops' transports let theirs go
            del secure
            assert [each() for each in found] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("table", "first", "name", "last"),
    [
        (IN_NEXT, InState.SILENT, "_in", InState.ENDED),
        (OUT_NEXT, OutState.FLOWING, "_out", OutState.ENDED),
        (LIFE_NEXT, LifeState.OPEN, "_life", LifeState.LOST),
    ],
)
def test_the_tables_of_states(table: Any, first: Any, name: str, last: Any) -> None:
    assert_whole(table, first)
    assert last_of(table) == {last}
    transport = Secure().transport
    for state in table:
        assert_held(table, state, transport, name, getattr(transport, f"_enter{name}"))
