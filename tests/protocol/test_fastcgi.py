"""FastCGI connections on fake transports: kept, taken back, cut, asked, refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastcgi_clients import FakeFront
from fastcgi_peer import (
    ABORT,
    GET_VALUES,
    PARAMS,
    STDIN,
    STDOUT,
    UNKNOWN,
    VALUES,
    Record,
    begin,
    pairs,
    request,
    variables,
)
from wire import DATE, HELLO, Chunks, Held, Site, echo, responding

from wsgi_async.connection.states import ConnectionState

KEEP_ALIVE = 5.0


def ends(front: FakeFront) -> bool:
    return front.transport.is_closing() or front.state is ConnectionState.LINGERING


def test_one_request_after_another_on_a_kept_connection() -> None:
    with Site(keep_alive=KEEP_ALIVE) as site:
        front = FakeFront(site)
        for request_id in (1, 1, 258):
            ended = front.ask(request_id=request_id)
            assert (ended.status, ended.body, ended.app_status) == (200, HELLO, 0)
            assert ended.fields["Date"] == DATE
            assert front.state is ConnectionState.IDLE
        assert len(front.transport.writes) == 3, "a response is one write here as well"
        site.advance(KEEP_ALIVE + 1)
        assert ends(front), "who is idle too long is let go"
    assert [info.client for info, _ in site.observer.finished] == ["192.0.2.7:40312"] * 3
    assert site.observer.dropped == []


def test_a_connection_that_is_not_kept_ends_with_its_request() -> None:
    with Site() as site:
        front = FakeFront(site)
        assert front.ask(keep=False).body == HELLO
        assert front.transport.is_closing()


def test_a_server_that_leaves_keeps_no_connection() -> None:
    with Site() as site:
        front = FakeFront(site)
        site.leave()
        assert front.ask().body == HELLO
        assert ends(front)


def test_a_response_that_began_before_the_server_left_tells_at_its_end() -> None:
    """That no more is to be asked there: nginx would keep the connection."""
    gate = Held()

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"one"
        gate({"RAW_URI": ""}, lambda *args: None)
        yield b"two"

    with Site(application) as site:
        front = FakeFront(site)
        front.send(request())
        gate.wait_entered()
        site.loop.run_until(lambda: 1 in front.open and b"one" in front.open[1].stdout)
        site.drain()
        gate.gate.release()
        assert front.wait().body == b"onetwo"
        assert [record.kind for record in front.responses.managed] == [UNKNOWN]
        assert ends(front)


@pytest.mark.parametrize("buffering", ["full", "stream"])
def test_bodies_arrive_however_they_are_cut(buffering: str) -> None:
    with Site(echo, request_buffering=buffering) as site:
        front = FakeFront(site)
        for body in ([b"hello"], [b"a"] * 500, [bytes(60_000)] * 5):
            ended = front.ask(body=body, padding=b"\xff" * 7)
            assert ended.body == b"POST /\n" + b"".join(body)
        given = variables("PUT", HTTP_TRANSFER_ENCODING="chunked")
        assert front.ask(given, [b"one ", b"two"]).body == b"PUT /\none two"
        assert front.ask(variables("PUT"), [b"one ", b"two"]).body == b"PUT /\none two"


@pytest.mark.parametrize(("length", "body"), [(6, b"hello"), (4, b"hello")])
def test_a_body_of_another_length_reaches_no_application(length: int, body: bytes) -> None:
    with Site(echo) as site:
        front = FakeFront(site)
        assert front.ask(variables("POST", length=length), body).status == 400
        assert ends(front)
    assert site.observer.refused == [400]


def test_after_a_large_read_the_others_have_their_turn() -> None:
    """There may be a record for each byte, and libuv reads one socket up to 32 times in a turn."""
    body = [b"x"] * 3000
    with Site(echo) as site:
        front = FakeFront(site)
        *first, last = request(body=body)
        for records in ([Record(STDIN, 9)] * 3000, first):
            front.send(records)
            assert not front.transport.is_reading()
            site.loop.run_pending()
            assert front.transport.is_reading()
        front.send([last])
        assert front.wait().body == b"POST /\n" + b"".join(body)


def test_who_has_no_body_has_an_end() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response(environ["HTTP_X_STATUS"], [])
        return iter([HELLO])

    with Site(application) as site:
        front = FakeFront(site)
        for method, status in (("HEAD", "200 OK"), ("GET", "204 No"), ("GET", "304 Not Modified")):
            ended = front.ask(variables(method, HTTP_X_STATUS=status))
            assert (ended.status, ended.body) == (int(status[:3]), b"")
        assert front.state is ConnectionState.IDLE


def test_a_stream_is_sent_as_it_comes_and_its_connection_goes_on() -> None:
    with Site(responding(chunks=[b"a", b"", b"bc"], stream=True)) as site:
        front = FakeFront(site)
        for _ in range(2):
            assert front.ask().body == b"abc"
        assert "Content-Length" not in front.ended[0][1].fields


def test_a_file_is_framed_as_well(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096
    path = tmp_path / "file"
    path.write_bytes(content)

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](path.open("rb"))

    with Site(application, spool_dir=str(tmp_path)) as site:
        front = FakeFront(site)
        assert front.ask().body == content
        assert min(front.responses.sizes[2:-2]) >= 4096, "there are crumbs among its records"


def test_the_servers_own_answers() -> None:
    with Site(health_path="/healthz") as site:
        front = FakeFront(site)
        ended = front.ask(variables(target="/healthz"))
        assert (ended.status, ended.body) == (200, b"ok\n")
        ended = front.ask(variables(HTTP_HOST="a b"))
        assert (ended.status, ended.app_status) == (400, 0)
        assert ends(front)


def test_an_error_before_the_head_is_a_500() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        raise ZeroDivisionError

    with Site(application) as site:
        front = FakeFront(site)
        assert front.ask().status == 500
        assert front.state is ConnectionState.IDLE


def test_a_cut_is_no_end() -> None:
    """nginx, Apache and Caddy take the record that ends a request for a sound end, whatever status
    of the application is in it."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"so far"
        raise ZeroDivisionError

    with Site(application) as site:
        front = FakeFront(site)
        front.send(request())
        site.loop.run_until(front.transport.is_closing)
        assert front.ended == []
        assert front.open[1].body == b"so far"
        assert b"not complete" in front.open[1].stderr
        assert front.responses.is_cut
    assert len(site.observer.app_errors) == 1
    assert site.observer.dropped == ["its response was cut"]


def test_who_takes_back_a_request_that_runs_gets_the_next_one_answered() -> None:
    application = Held()
    with Site(application, threads=1) as site:
        front = FakeFront(site)
        front.send(request(variables(target="/one")))
        application.wait_entered()
        front.send([Record(ABORT, 1)])
        assert [ended.app_status for _, ended in front.ended] == [1]
        assert front.state is ConnectionState.IDLE
        # The next ones come with the word that takes them back, and the last is meant.
        one = [*request(variables(target="/two")), Record(ABORT, 1)]
        front.send([*one * 300, *request(variables(target="/three"))])
        assert len(front.ended) == 301
        application.gate.release(2)
        assert front.wait(302).body == HELLO
        assert application.calls == ["/one", "/three"]
        assert front.state is ConnectionState.IDLE
    statuses = {response.status for _, response in site.observer.finished}
    assert statuses == {499, 200}


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("buffering", ["full", "stream"])
def test_a_request_is_taken_back_within_its_body(buffering: str, keep: bool) -> None:
    with Site(echo, request_buffering=buffering) as site:
        front = FakeFront(site)
        front.send(request(body=b"hello", keep=keep)[:-1])
        site.loop.run_pending()
        front.send([Record(ABORT, 1)])
        assert [ended.app_status for _, ended in front.ended] == [1]
        assert (front.state is ConnectionState.IDLE) == keep
        if keep:
            assert front.ask(body=b"next").body == b"POST /\nnext"
        assert site.observer.errors == []


def test_a_stream_that_is_taken_back_is_closed() -> None:
    gate = Held()
    chunks = Chunks([b"x" * 1000] * 3)

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [])
        start = iter(chunks)
        yield next(start)
        gate({"RAW_URI": "/"}, lambda *args: None)
        yield next(start)

    with Site(application) as site:
        front = FakeFront(site)
        front.send(request())
        gate.wait_entered()
        site.loop.run_until(lambda: 1 in front.open and b"x" in front.open[1].stdout)
        front.send([Record(ABORT, 1)])
        gate.gate.release()
        site.settle()
        assert [ended.app_status for _, ended in front.ended] == [1]
        assert front.open == {}
        assert front.state is ConnectionState.IDLE


def test_questions_are_answered_at_any_time() -> None:
    application = Held()
    question = Record(GET_VALUES, 0, pairs({"FCGI_MPXS_CONNS": ""}))
    answer = Record(VALUES, 0, pairs({"FCGI_MPXS_CONNS": "0"}))
    with Site(application) as site:
        front = FakeFront(site)
        front.send([question])
        assert (front.ended, front.responses.managed) == ([], [answer])
        assert front.state is ConnectionState.NEW, "that was no request"
        front.send(request())
        application.wait_entered()
        front.send([question])
        application.gate.release()
        front.wait()
        front.send([question])
        assert (len(front.ended), front.responses.managed) == (1, [answer] * 3)


def test_a_second_request_at_once_is_told_that_it_cannot_be() -> None:
    application = Held()
    with Site(application) as site:
        front = FakeFront(site)
        front.send(request())
        application.wait_entered()
        front.send(request(request_id=2))
        assert [(number, ended.protocol_status) for number, ended in front.ended] == [(2, 1)]
        application.gate.release()
        assert front.wait(2).body == HELLO


@pytest.mark.parametrize("keep", [True, False])
def test_another_role_is_refused(keep: bool) -> None:
    with Site() as site:
        front = FakeFront(site)
        front.send([begin(role=2, flags=int(keep)), *request()[1:]])
        assert [ended.protocol_status for _, ended in front.ended] == [3]
        if keep:
            assert front.ask().body == HELLO
        else:
            assert ends(front)
    assert len(site.observer.dropped) == (not keep)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP was spoken to a FastCGI port"),
        (Record(STDIN, 0).raw, "does not say of which"),
        (Record(STDOUT, 1).raw + Record(7, 0).raw, "does not say of which"),
        (begin().raw + Record(PARAMS, 1, b"\x09\x01").raw + Record(PARAMS, 1).raw, "lengths"),
    ],
)
def test_what_is_no_fastcgi_is_closed_unanswered(data: bytes, why: str) -> None:
    with Site() as site:
        front = FakeFront(site)
        front.transport.receive(data)
        assert front.transport.sent == b""
        assert front.transport.is_closing()
    assert len(site.observer.dropped) == 1
    assert why in site.observer.dropped[0]
    assert site.observer.errors == []


def test_a_fault_beside_a_request_that_runs_ends_both() -> None:
    application = Held()
    with Site(application) as site:
        front = FakeFront(site)
        front.send(request())
        application.wait_entered()
        front.send([begin()])
        assert front.transport.is_closing()
        application.gate.release()
        site.settle()
        assert front.transport.sent == b""
    assert "cannot be" in site.observer.dropped[0]


def test_a_request_that_does_not_come_to_its_end_is_dropped_in_time() -> None:
    with Site(header_timeout=3.0, body_timeout=3.0) as site:
        for part in ([begin()], request()[:-1], request(body=b"hello")[:-1]):
            front = FakeFront(site)
            front.send(part)
            site.advance(4.0)
            assert ends(front)


def test_what_is_no_request_any_more_is_not_late() -> None:
    question = Record(GET_VALUES, 0, pairs({"FCGI_MPXS_CONNS": ""})).raw
    with Site(header_timeout=3.0, keep_alive=20.0) as site:
        for first, rest in ((begin().raw, Record(ABORT, 1).raw), (question[:9], question[9:])):
            front = FakeFront(site)
            front.transport.receive(first)
            assert front.state is ConnectionState.HEAD
            front.transport.receive(rest)
            site.advance(4.0)
            assert front.ask().body == HELLO
    assert site.observer.dropped == []


def test_an_early_answer_ends_the_connection_but_for_a_whole_body() -> None:
    """The front server still sends: what of that is whose, nobody could tell."""
    with Site(request_buffering="stream") as site:
        front = FakeFront(site)
        whole = request(body=[b"one", b"two"])
        front.send(whole[:-2])
        assert front.wait().body == HELLO
        assert ends(front)
        front.send(whole[-2:])
        assert len(front.ended) == 1


def test_slow_front_servers_hold_no_thread() -> None:
    size = 1 << 20
    with Site(responding(chunks=[bytes(size // 4)] * 4, stream=True), threads=1) as site:
        front = FakeFront(site, window=1000)
        front.send(request())
        site.settle()
        other = FakeFront(site)
        other.send(request())
        other.wait()
        assert len(other.ended[0][1].body) == size

        front.transport.take()
        assert len(front.wait().body) == size
        front.send(request())  # it has seen the end, and need not wait for us to see that
        assert len(front.wait(2).body) == size
