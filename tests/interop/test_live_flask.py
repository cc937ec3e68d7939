"""Flask's live responses behind what sites put around them, by this server and by others."""

from __future__ import annotations

import asyncio
import contextlib
import socketserver
import threading
import warnings
import wsgiref.simple_server
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import flask
import httpx
import pytest
from application_loops import ending_with_the_test
from event_streams import read
from rawclient import TIMEOUT, Address, RawClient, request
from serving import serving
from tools import require_module

import wsgi_async
from wsgi_async import sse
from wsgi_async.flask import LiveResponse
from wsgi_async.realtime.stepping import ThreadSteps

COMMENT = sse.comment()


@pytest.fixture(autouse=True)
def own_loop() -> Iterator[None]:
    """Other servers know nothing of the application loop, and do not end it."""
    with ending_with_the_test():
        yield


class Ticker:
    """Events that the test sends, and what became of the body."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.notes: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queue: asyncio.Queue[str | None] | None = None

    def note(self, what: str) -> None:
        with self._changed:
            self.notes.append(what)
            self._changed.notify_all()

    def wait_for(self, what: str, count: int = 1) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.notes.count(what) >= count, TIMEOUT)
            assert self.notes.count(what) >= count, self.notes

    def send(self, event: str | None) -> None:
        """None: the end."""
        self.wait_for("begun")
        assert self._loop is not None
        assert self._queue is not None
        self._loop.call_soon_threadsafe(self._queue.put_nowait, event)

    async def events(self) -> AsyncIterator[str]:
        self._queue, self._loop = asyncio.Queue(), asyncio.get_running_loop()
        self.note("begun")
        try:
            while (event := await self._queue.get()) is not None:
                yield event
        finally:
            self.note("ended")


def site(ticker: Ticker, keep_alive: float = 0.05) -> flask.Flask:
    app = flask.Flask("site")
    app.secret_key = "secret"

    @app.get("/events")
    def events() -> Any:
        flask.session["seen"] = 1
        response = LiveResponse(sse.stream(ticker.events(), keep_alive=keep_alive))
        response.call_on_close(lambda: ticker.note("closed"))
        return response

    @app.get("/plain")
    def plain() -> str:
        return "plain"

    @app.after_request
    def after(response: flask.Response) -> flask.Response:
        response.headers["X-After"] = "1"
        return response

    return app


# --- what sites put around an application ----------------------------------------------------


def proxy_fix(app: flask.Flask) -> Any:
    from werkzeug.middleware.proxy_fix import ProxyFix

    return ProxyFix(app, x_for=1)


def white_noise(app: flask.Flask) -> Any:
    require_module("whitenoise")
    from whitenoise import WhiteNoise

    return WhiteNoise(app)


def dispatcher(app: flask.Flask) -> Any:
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    return DispatcherMiddleware(app, {})


def compress(app: flask.Flask) -> Any:
    require_module("flask_compress")
    from flask_compress import Compress

    Compress(app)
    return app


def flask_instrumentor(app: flask.Flask) -> Any:
    require_module("opentelemetry.instrumentation.flask")
    from opentelemetry.instrumentation.flask import FlaskInstrumentor

    FlaskInstrumentor().instrument_app(app)
    return app


def opentelemetry(app: flask.Flask) -> Any:
    require_module("opentelemetry.instrumentation.wsgi")
    from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

    return OpenTelemetryMiddleware(app)


def sentry(app: flask.Flask) -> Any:
    """Version 2 leaves alone what has a ``fileno``."""
    require_module("sentry_sdk")
    from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware

    return SentryWsgiMiddleware(app)


def lint(app: flask.Flask) -> Any:
    from werkzeug.middleware.lint import LintMiddleware

    return LintMiddleware(app)


def unchanged(app: flask.Flask) -> Any:
    return app


ARRIVES = [
    unchanged,
    proxy_fix,
    white_noise,
    dispatcher,
    compress,
    flask_instrumentor,
    sentry,
]
HIDES = {
    lint: "werkzeug.middleware.lint.GuardedIterator.__init__",
    opentelemetry: "opentelemetry.instrumentation.wsgi._end_span_after_iterating",
}

ASKING = request("/events", fields=("Accept-Encoding: gzip, br", "Range: bytes=0-1"))


def open_stream(client: RawClient) -> str:
    client.send(ASKING)
    head = client.read_until(b"\r\n\r\n").decode()
    assert head.startswith("HTTP/1.1 200 ")
    fields = head.lower()
    assert "content-type: text/event-stream\r\n" in fields
    assert "x-after: 1\r\n" in fields
    assert "set-cookie: session=" in fields
    return fields


@pytest.mark.parametrize("around", ARRIVES, ids=lambda around: around.__name__)
def test_it_holds_no_thread_through(around: Callable[[flask.Flask], Any]) -> None:
    ticker = Ticker()
    with serving(around(site(ticker)), threads=1) as served:
        with served.client() as client:
            ticker_opens(client, ticker)
            served.wait_until(lambda: served.pool.busy == 0)
            with served.client() as other:  # the only thread is free
                assert other.get("/plain").body == b"plain"
        ticker.wait_for("closed")
        served.wait_until_idle()
    assert ticker.notes == ["begun", "ended", "closed"]


def ticker_opens(client: RawClient, ticker: Ticker) -> None:
    open_stream(client)
    client.read_until(COMMENT)  # in silence
    for number in range(3):
        ticker.send(str(number))
        client.read_until(f"data: {number}\n\n".encode())


@pytest.mark.parametrize("around", HIDES, ids=lambda around: around.__name__)
def test_who_hides_it_is_named_and_nothing_hangs(around: Callable[[flask.Flask], Any]) -> None:
    """It holds a thread, as any body does elsewhere, and lets it go when its client leaves."""
    ticker = Ticker()
    with serving(around(site(ticker, keep_alive=0))) as served:
        for number in range(2):
            with served.client() as client:
                client.send(ASKING)
                ticker.send("a")
                client.read_until(b"data: a\n\n")
                assert served.pool.busy == 1
                ticker.notes.remove("begun")
            ticker.wait_for("closed", number + 1)  # not by its next word: it has none
            served.wait_until_idle()
        told = [facts[-1] for facts in served.recorder.of("app_warning")]
    assert ticker.notes == ["ended", "closed"] * 2
    (warning,) = told
    assert warning.startswith(f"{HIDES[around]} iterates")


def test_flasks_own_response_is_told_which_to_take_instead() -> None:
    async def letters() -> AsyncIterator[bytes]:
        yield b"ab"

    app = flask.Flask(__name__)
    app.get("/")(lambda: flask.Response(wsgi_async.live(letters())))
    with serving(app) as served:
        with served.client() as client:
            assert client.get().body == b"ab"
        [(_, warning)] = served.recorder.of("app_warning")
    assert "wsgi_async.flask.LiveResponse" in warning


def test_a_thread_behind_a_wrapper_is_given_back_when_its_request_is_given_up() -> None:
    """It waits for the body, and nothing else would wake it."""
    ticker = Ticker()
    with (
        serving(
            opentelemetry(site(ticker, keep_alive=0)), request_timeout=0.2, threads=1
        ) as served,
        served.client() as client,
    ):
        client.send(ASKING)
        assert client.response().status == 504
        served.recorder.wait_for("thread_lost")
        ticker.wait_for("closed")
        served.recorder.wait_for("thread_returned")


def test_a_thread_behind_a_wrapper_is_given_back_when_the_server_ends() -> None:
    ticker = Ticker()
    app = opentelemetry(site(ticker, keep_alive=0))
    with serving(app, graceful_timeout=0.2) as served, served.client() as client:
        client.send(ASKING)
        ticker.send("a")
        client.read_until(b"data: a\n\n")
        assert served.stop() == 0
    assert ticker.notes == ["begun", "ended", "closed"]


def test_its_end_is_the_response_s_end() -> None:
    ticker = Ticker()
    with serving(site(ticker)) as served, served.client() as client:
        client.send(ASKING)
        ticker.send("a")
        ticker.send(None)
        response = client.response()
        assert [event.data for event in read(response.body).events] == ["a"]
        assert client.get("/plain").body == b"plain"
        ticker.wait_for("closed")


def test_a_head_begins_nothing() -> None:
    ticker = Ticker()
    with serving(site(ticker)) as served, served.client() as client:
        client.send(request("/events", "HEAD"))
        response = client.response("HEAD")
        assert response.fields["content-type"] == "text/event-stream"
        ticker.wait_for("closed")
    assert ticker.notes == ["closed"]


def test_an_error_before_the_first_event_is_a_500_with_sentry_too() -> None:
    """A browser that gets a 500 does not come again, and somebody is told."""

    async def broken() -> AsyncIterator[str]:
        raise KeyError("no such symbol")
        yield ""

    for around in (unchanged, sentry):
        app = flask.Flask("site")
        app.get("/events")(lambda: LiveResponse(sse.stream(broken())))
        with serving(around(app)) as served, served.client() as client:
            assert client.get("/events").status == 500
            (facts,) = served.recorder.wait_for("app_error")
            assert isinstance(facts[2], KeyError)


# --- what Flask keeps for a request ------------------------------------------------------------


def test_the_request_is_over_when_the_body_runs() -> None:
    """What is needed of it is taken in the view."""
    notes: list[str] = []
    app = flask.Flask("site")
    app.secret_key = "secret"

    async def body(name: str) -> AsyncIterator[bytes]:
        notes.append(f"body {flask.has_request_context()} {flask.has_app_context()}")
        yield name.encode()

    @app.get("/")
    def view() -> Any:
        flask.g.name = "Ada"
        notes.append("view")
        return LiveResponse(body(flask.g.name), close=lambda: notes.append("close"))

    app.teardown_request(lambda error: notes.append("teardown_request"))
    app.teardown_appcontext(lambda error: notes.append("teardown_appcontext"))
    signals = [
        signal.connected_to(lambda sender, what=name, **more: notes.append(what), app)
        for name, signal in (
            ("request_finished", flask.request_finished),
            ("appcontext_popped", flask.appcontext_popped),
        )
    ]
    with serving(app) as served, served.client() as client, contextlib.ExitStack() as stack:
        for connected in signals:
            stack.enter_context(connected)
        assert client.get("/").body == b"Ada"
        served.recorder.wait_for("request_finished")
    assert notes == [
        "view",
        "request_finished",
        "teardown_request",
        "teardown_appcontext",
        "appcontext_popped",
        "body False False",
        "close",
    ]


def test_a_synchronous_generator_keeps_the_request() -> None:
    """By stream_with_context, on a thread that is none of the pool's."""
    app = flask.Flask("site")
    go_on = threading.Event()

    @app.get("/")
    def view() -> Any:
        @flask.stream_with_context
        def events() -> Iterator[str]:
            for _ in range(2):
                yield flask.request.args["name"]
                go_on.wait(TIMEOUT)

        return LiveResponse(sse.stream(events(), keep_alive=0.05))

    with serving(app, threads=1) as served, served.client() as client:
        client.send(request("/?name=Ada"))
        client.read_until(b"data: Ada\n\n")
        client.read_until(COMMENT)
        served.wait_until(lambda: served.pool.busy == 0)
        go_on.set()
        client.read_until(b"data: Ada\n\n")


def test_a_synchronous_generator_that_blocks_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither the end of its response, when its client leaves, nor that of the server."""
    monkeypatch.setattr(ThreadSteps, "patience", 0.05)
    notes: list[str] = []
    is_closed = threading.Event()
    go_on = [threading.Event(), threading.Event()]
    begun = [threading.Event(), threading.Event()]
    app = flask.Flask("site")

    @app.get("/<int:number>")
    def view(number: int) -> Any:
        def events() -> Iterator[str]:
            begun[number].set()
            go_on[number].wait(TIMEOUT)
            notes.append(f"{number} goes on")
            yield "nobody gets this"

        def close() -> None:
            notes.append(f"{number} closed")
            is_closed.set()

        return LiveResponse(sse.stream(events()), close=close)

    with serving(app, live_grace=0) as served:
        with served.client() as client:
            client.send(request("/0"))
            assert begun[0].wait(TIMEOUT)
        assert is_closed.wait(TIMEOUT)
        served.wait_until_idle()
        client = served.client()
        client.send(request("/1"))
        assert begun[1].wait(TIMEOUT)
        assert served.stop() == 0
        client.close()
        assert served.recorder.of("app_error") == []
        assert served.recorder.of("error") == []
    assert notes == ["0 closed", "1 closed"]
    for event in go_on:
        event.set()


# --- other servers -----------------------------------------------------------------------------


class _Threaded(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    daemon_threads = True


class _Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *args: Any) -> None: ...


@contextlib.contextmanager
def by_wsgiref(app: Any) -> Iterator[Address]:
    server = wsgiref.simple_server.make_server("127.0.0.1", 0, app, _Threaded, _Quiet)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield ("127.0.0.1", server.server_port)
    finally:
        server.shutdown()
        thread.join(TIMEOUT)
        server.server_close()


@contextlib.contextmanager
def by_waitress(app: Any) -> Iterator[Address]:
    require_module("waitress")
    import waitress

    with warnings.catch_warnings():  # it will do so without being told some day
        warnings.simplefilter("ignore", DeprecationWarning)
        server = waitress.create_server(app, host="127.0.0.1", port=0, threads=2, send_bytes=1)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield ("127.0.0.1", int(server.effective_port))
    finally:
        server.trigger.pull_trigger(server.close)  # by its own thread
        thread.join(TIMEOUT)
        assert not thread.is_alive()


@contextlib.contextmanager
def by_wsgi_async(app: Any) -> Iterator[Address]:
    with serving(app) as served:
        yield served.address


@pytest.mark.parametrize(
    "server", [by_wsgi_async, by_wsgiref, by_waitress], ids=lambda server: server.__name__
)
@pytest.mark.parametrize("around", [unchanged, opentelemetry], ids=lambda around: around.__name__)
def test_any_server_streams_it(server: Any, around: Callable[[flask.Flask], Any]) -> None:
    """Chunk by chunk, and its client's going is noticed by the next comment at the latest."""
    ticker = Ticker()
    with server(around(site(ticker))) as address:
        with RawClient(address) as client:
            client.send(request("/events"))
            for number in range(3):
                ticker.send(str(number))
                client.read_until(f"data: {number}\n\n".encode())
            client.read_until(COMMENT)
        ticker.wait_for("closed")
    assert ticker.notes == ["begun", "ended", "closed"]


def test_live_is_what_a_bare_application_returns() -> None:
    async def letters() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return wsgi_async.live(letters())

    for server in (by_wsgi_async, by_wsgiref):
        with server(application) as address:
            assert httpx.get("http://{}:{}/".format(*address), timeout=TIMEOUT).content == b"ab"
