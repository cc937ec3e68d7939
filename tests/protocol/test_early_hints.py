"""``wsgi.early_hints`` on fakes: what a client sees before its response, read by h11."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from uploads import both
from wire import HELLO, TIMEOUT, Held, Site, hello, responding

from wsgi_async.connection.states import ConnectionState

LINK = ("link", "</style.css>; rel=preload; as=style")
SCRIPT = ("link", "</app.js>; rel=preload; as=script")
Application = Callable[..., Any]


def hinting(
    *calls: list[tuple[str, str]], then: Application = hello, count: int = 1
) -> Application:
    """An application that gives these hints, so often, and then does what another one does."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        for _ in range(count):
            for fields in calls:
                environ["wsgi.early_hints"](fields)
        return then(environ, start_response)

    return application


class Gated(Held):
    """An application that gives hints, and holds its thread before it responds."""

    def __init__(self, *calls: list[tuple[str, str]]) -> None:
        super().__init__()
        self._hints = calls

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        for fields in self._hints:
            environ["wsgi.early_hints"](fields)
        return super().__call__(environ, start_response)


@pytest.mark.parametrize("parser", ["auto", "h11"])
def test_each_call_is_a_103_before_the_response(parser: str) -> None:
    with Site(hinting([LINK], [SCRIPT, ("x-a", "b")]), parser=parser) as site:
        client = site.connect()
        for _ in range(2):
            answer = client.get()
            assert answer.hints == [[LINK], [SCRIPT, ("x-a", "b")]]
            assert (answer.status, answer.body, answer.keeps_alive) == (200, HELLO, True)


def test_the_bytes() -> None:
    with Site(hinting([("Link", "</a>")])) as site:
        client = site.connect()
        client.get()
        assert client.transport.sent.startswith(
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n"
        )


def test_they_go_out_while_the_application_still_works() -> None:
    application = Gated([LINK])
    with Site(application) as site:
        client = site.connect()
        client.ask()
        application.wait_entered()
        site.loop.run_until(lambda: client.partial.hints)
        assert (client.partial.hints, client.partial.status) == ([[LINK]], 0)
        application.gate.release()
        assert client.wait().body == HELLO


@pytest.mark.parametrize(
    "then",
    [
        responding(chunks=[b"a", b"b"], stream=True),
        responding("204 No Content"),
        responding("200 OK", [("Content-Length", "3")], [b"abc"], stream=True),
        responding(chunks=[]),
        responding(chunks=[b"x" * 100_000]),
    ],
    ids=["stream", "204", "closing", "empty", "large"],
)
def test_whatever_kind_of_response_follows(then: Application) -> None:
    """Also where the loop comes only when all of it is there."""
    with Site(hinting([LINK], [SCRIPT], then=then)) as site:
        client = site.connect()
        client.ask()
        site.pool_has_ended()
        answer = client.wait()
        assert answer.hints == [[LINK], [SCRIPT]]
        assert answer.is_complete
        assert client.get().hints == [[LINK], [SCRIPT]]


def test_a_file_follows(tmp_path: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(HELLO * 10_000)

    def send(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](path.open("rb"))

    with Site(hinting([LINK], then=send)) as site:
        answer = site.connect().get()
        assert (answer.hints, answer.body) == ([[LINK]], HELLO * 10_000)


def test_a_head_request_has_them_too() -> None:
    with Site(hinting([LINK])) as site:
        answer = site.connect().get(method="HEAD")
        assert (answer.hints, answer.status, answer.body) == ([[LINK]], 200, b"")


def test_http_1_0_knows_no_103() -> None:
    """The callable is there and does nothing (RFC 9110 §15.2)."""
    with Site(hinting([LINK])) as site:
        for fields in ((), ("Connection: keep-alive",)):
            answer = site.connect().get("/", *fields, version="1.0")
            assert (answer.hints, answer.status) == ([], 200)


def test_pipelined_requests_have_each_its_own() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        environ["wsgi.early_hints"]([("x-path", environ["PATH_INFO"])])
        start_response("200 OK", [])
        return [environ["PATH_INFO"].encode()]

    with Site(application) as site:
        client = site.connect()
        paths = [f"/{number}" for number in range(10)]
        client.send("".join(f"GET {p} HTTP/1.1\r\nHost: a\r\n\r\n" for p in paths), *["GET"] * 10)
        client.wait(10)
        assert [answer.hints for answer in client.answers] == [[[("x-path", p)]] for p in paths]
        assert [answer.body.decode() for answer in client.answers] == paths


@both
def test_beside_100_continue(buffering: str) -> None:
    """Both are interim: a client that waits for its 100 gets it whatever came before."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        environ["wsgi.early_hints"]([LINK])
        body = environ["wsgi.input"].read()
        environ["wsgi.early_hints"]([SCRIPT])
        start_response("200 OK", [])
        return [body]

    with Site(application, request_buffering=buffering) as site:
        client = site.connect()
        client.ask("/", "Content-Length: 5", "Expect: 100-continue", method="POST")
        site.loop.run_until(lambda: client.partial.continues)
        before = [] if buffering == "full" else [[LINK]]  # collected, it is asked for at once
        assert client.partial.hints == before
        client.send("abcde")
        answer = client.wait()
        assert (answer.hints, answer.continues) == ([[LINK], [SCRIPT]], 1)
        assert answer.body == b"abcde"


@pytest.mark.parametrize("streams", [False, True])
def test_once_the_response_has_begun_nothing_is_sent(streams: bool) -> None:
    kept: list[Callable[..., None]] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        kept.append(environ["wsgi.early_hints"])
        start_response("200 OK", [])
        return chunks(environ["wsgi.early_hints"]) if streams else [HELLO]

    def chunks(hint: Callable[..., None]) -> Iterator[bytes]:
        yield HELLO
        hint([LINK])
        yield HELLO
        hint([LINK])

    with Site(application) as site:
        client = site.connect()
        assert client.get().hints == []
        kept[0]([LINK])
        site.settle()
        assert client.state is ConnectionState.IDLE
        answer = client.get()
        kept[0]([LINK])
        assert (answer.hints, len(client.answers)) == ([], 2)
        assert site.observer.app_errors == []


def test_another_thread_may_give_them_at_any_time() -> None:
    """Whenever it does, they are before a head or nowhere: h11 reads every byte."""
    stop = threading.Event()
    kept: list[Callable[..., None]] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        kept.append(environ["wsgi.early_hints"])
        start_response("200 OK", [])
        return [HELLO] if environ["PATH_INFO"] == "/" else iter([HELLO, HELLO])

    def give() -> None:
        while not stop.is_set():
            for hint in kept[-2:]:
                hint([LINK])

    threads = [threading.Thread(target=give) for _ in range(2)]
    with Site(application) as site:
        for thread in threads:
            thread.start()
        try:
            client = site.connect()
            for number in range(100):
                answer = client.get("/" if number % 2 else "/stream")
                assert answer.status == 200
                assert all(hints == [LINK] for hints in answer.hints)
        finally:
            stop.set()
            for thread in threads:
                thread.join(TIMEOUT)


def test_a_client_that_has_gone_is_sent_nothing() -> None:
    """The call does nothing; the first chunk tells the application."""
    entered, left = threading.Event(), threading.Event()
    after: list[str] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        entered.set()
        assert left.wait(TIMEOUT)
        environ["wsgi.early_hints"]([LINK])
        after.append("went on")
        start_response("200 OK", [])
        return [HELLO]

    with Site(application) as site:
        client = site.connect()
        client.ask()
        assert entered.wait(TIMEOUT)
        client.transport.reset()
        site.loop.run_pending()
        left.set()
        site.settle()
        assert after == ["went on"]
        assert client.transport.sent == b""
        assert (site.observer.app_errors, site.faults) == ([], [])


def test_after_a_504_there_are_none() -> None:
    """The exchange is lost: what its thread still says goes nowhere."""
    application = Held()
    late: list[Callable[..., None]] = []

    def keeping(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        late.append(environ["wsgi.early_hints"])
        environ["wsgi.early_hints"]([LINK])
        return application(environ, start_response)

    with Site(keeping, request_timeout=1) as site:
        client = site.connect()
        client.ask()
        application.wait_entered()
        site.sweep(2)
        answer = client.wait()
        assert (answer.status, answer.hints) == (504, [[LINK]])
        late[0]([SCRIPT])
        application.gate.release()
        site.settle()
        assert b"app.js" not in client.transport.sent


def test_a_timeout_counts_from_the_request_and_not_from_its_hints() -> None:
    """A hint is no chunk: who hints for ever never answers."""
    application = Gated([LINK])
    with Site(application, request_timeout=1) as site:
        client = site.connect()
        client.ask()
        application.wait_entered()
        site.loop.run_until(lambda: client.partial.hints)
        site.sweep(2)
        assert client.wait().status == 504
        application.gate.release()


def test_an_error_after_hints_is_a_500() -> None:
    def raises(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        raise ZeroDivisionError

    with Site(hinting([LINK], then=raises)) as site:
        client = site.connect()
        for _ in range(2):
            answer = client.get()
            assert (answer.hints, answer.status, answer.keeps_alive) == ([[LINK]], 500, True)


def test_split_responses_are_refused_in_the_application() -> None:
    with Site(hinting([("Link", "a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")])) as site:
        answer = site.connect().get()
        assert (answer.hints, answer.status) == ([], 500)
        [(message, _)] = site.observer.app_errors
        assert "control character" in message


# --- who does not read ----------------------------------------------------------------------------


def test_who_does_not_read_holds_no_thread_and_little_memory() -> None:
    """A million hints for a client that takes nothing: those that find no room are left out."""
    value = "x" * 1000
    application = hinting([("x-a", value)], count=2000)
    with Site(application) as site:
        client = site.connect(window=0)
        client.ask()
        site.settle()  # its thread is done with all of them
        held = client.transport.get_write_buffer_size()
        assert held < 64 * 1024 + 2 * 16 * 1024
        [warning] = site.observer.app_warnings
        assert warning.startswith("early hints were not sent")
        client.transport.take(1 << 24)
        answer = client.wait()
        assert answer.body == HELLO
        assert 16 <= len(answer.hints) < 2000
        assert client.get().status == 200


def test_what_waits_goes_out_when_the_client_reads_on() -> None:
    many = [("x-a", "x" * 10_000)]
    gate = threading.Event()
    given = threading.Event()

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if environ["PATH_INFO"] == "/fill":
            for _ in range(20):
                environ["wsgi.early_hints"](many)
                site.loop.call_soon_threadsafe(turned.release)
                assert turned.acquire(timeout=TIMEOUT)
            environ["wsgi.early_hints"]([LINK])
            site.loop.call_soon_threadsafe(given.set)
            assert gate.wait(TIMEOUT)
        start_response("200 OK", [])
        return [HELLO]

    turned = threading.Semaphore(0)
    with Site(application) as site:
        client = site.connect(window=0)
        client.ask("/fill")
        site.loop.run_until(given.is_set)
        site.loop.run_pending()
        assert b"style.css" not in client.transport.sent
        client.transport.take(1 << 24)
        site.loop.run_until(lambda: [LINK] in client.partial.hints)
        gate.set()
        assert client.wait().body == HELLO


def test_who_takes_no_hints_is_dropped_for_it() -> None:
    """The pace of sending is judged as for any response."""
    application = Gated([("x-a", "x" * 10_000)])
    with Site(application, send_timeout=5) as site:
        client = site.connect(window=0)
        client.ask()
        application.wait_entered()
        site.loop.run_pending()
        site.advance(7)
        assert client.transport.is_closing()
        assert "does not take its response" in site.observer.dropped[0]
        application.gate.release()
        site.settle()


def test_who_has_taken_them_waits_for_the_application_as_long_as_it_takes() -> None:
    application = Gated([LINK])
    with Site(application, send_timeout=5, min_rate=500) as site:
        client = site.connect()
        client.ask()
        application.wait_entered()
        site.loop.run_until(lambda: client.partial.hints)
        site.advance(120)
        application.gate.release()
        assert client.wait().body == HELLO


# --- what it costs -------------------------------------------------------------------------------


def test_hints_and_response_are_one_write_each_and_a_wake_more() -> None:
    with Site(hinting([LINK])) as site:
        client = site.connect()
        client.ask()
        site.pool_has_ended()
        client.wait()
        assert site.pool.submitted == 1
        assert site.mailbox.wakes == 1  # the loop was away: both came together
        assert len(client.transport.writes) == 2
