"""The responses for Werkzeug and Flask: their hooks are called once, and a body that may be endless
is neither cut into ranges nor collected."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import django.http
import flask
import pytest
import werkzeug.wrappers
from application_loops import ending_with_the_test
from gateway import environ_of
from werkzeug.test import Client, run_wsgi_app

import wsgi_async.flask
import wsgi_async.werkzeug
from wsgi_async import sse
from wsgi_async.realtime.application_loop import existing
from wsgi_async.realtime.live import Live, live

KINDS: list[Any] = [wsgi_async.werkzeug.LiveResponse, wsgi_async.flask.LiveResponse]
both = pytest.mark.parametrize("kind", KINDS, ids=["werkzeug", "flask"])


@pytest.fixture(autouse=True)
def own_loop() -> Iterator[None]:
    with ending_with_the_test():
        yield


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"a"


async def letters() -> AsyncIterator[bytes]:
    yield b"a"
    yield b"b"


def called(response: Any, **variables: Any) -> tuple[Any, str, dict[str, str]]:
    """What a server gets: the iterable itself, the status, the headers."""
    told: list[Any] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        told.extend((status, dict(headers)))

    iterable = response(environ_of(**variables), start_response)
    return iterable, told[0], told[1]


@both
def test_the_server_gets_the_body_itself(kind: Any) -> None:
    source = endless()
    iterable, status, headers = called(kind(source, 201, {"X-Mine": "1"}))
    assert iterable.is_async
    assert aiter(iterable) is source
    assert status == "201 CREATED"
    assert headers["X-Mine"] == "1"
    assert "Content-Length" not in headers


def test_a_plain_response_may_pass_a_live_body_through() -> None:
    """Without what it has to do at its end: that is what the other class is for."""
    source = endless()
    iterable, status, _ = called(flask.Response(live(source), direct_passthrough=True))
    assert iterable.is_async
    assert aiter(iterable) is source
    assert status == "200 OK"


@both
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_hooks_are_called_once_in_their_order_also_where_nothing_began(
    kind: Any, method: str
) -> None:
    calls: list[str] = []
    response = kind(endless(), close=lambda: calls.append("close"))
    response.call_on_close(lambda: calls.append("call_on_close"))
    iterable, _, _ = called(response, method=method)
    assert list(iterable) == [] if method == "HEAD" else iterable.is_async
    iterable.close()
    iterable.close()
    response.close()
    assert calls == ["close", "call_on_close"]
    assert existing() is None


@both
def test_hooks_of_a_live_body_are_kept(kind: Any) -> None:
    calls: list[str] = []
    body = wsgi_async.live(endless(), close=lambda: calls.append("body"))
    with kind(body, close=lambda: calls.append("response")):
        pass
    assert calls == ["response", "body"]


@both
@pytest.mark.parametrize("status", [204, 304])
def test_no_body_where_there_is_none(kind: Any, status: int) -> None:
    iterable, _, _ = called(kind(endless(), status))
    assert list(iterable) == []


@both
@pytest.mark.parametrize("fields", [{}, {"HTTP_IF_RANGE": '"a"'}])
def test_a_range_gets_all(kind: Any, fields: dict[str, str]) -> None:
    """Werkzeug would put an iterating wrapper around the body."""
    environ = environ_of(HTTP_RANGE="bytes=2-3", **fields)
    response = kind(endless())
    response.set_etag("a")
    assert response.make_conditional(environ, True, 10) is response
    iterable, status, headers = called(response, HTTP_RANGE="bytes=2-3", **fields)
    assert status == "200 OK"
    assert iterable.is_async
    assert "Content-Range" not in headers


@both
def test_a_tag_that_is_known_is_compared(kind: Any) -> None:
    calls: list[str] = []
    response = kind(endless(), close=lambda: calls.append("close"))
    response.set_etag("a")
    response.make_conditional(environ_of(HTTP_IF_NONE_MATCH='"a"'))
    iterable, status, _ = called(response)
    assert status == "304 NOT MODIFIED"
    assert list(iterable) == []
    iterable.close()
    assert calls == ["close"]


@both
def test_what_needs_all_of_the_body_is_refused(kind: Any) -> None:
    """It would wait for ever."""
    response = kind(endless(), mimetype="application/json")
    for act in (
        response.get_data,
        response.get_json,
        response.freeze,
        response.make_sequence,
        lambda: response.data,
        lambda: response.json,
        lambda: response.get_data(as_text=True),
        lambda: response.stream.write(b"a"),
    ):
        with pytest.raises(RuntimeError) as raised:
            act()
        assert "\n" not in str(raised.value)
    response.add_etag()
    assert "ETag" not in response.headers
    assert response.calculate_content_length() is None
    assert response.is_streamed
    assert not response.is_sequence
    assert "streamed" in repr(response)
    assert existing() is None


@both
def test_iter_encoded_is_the_bridge(kind: Any) -> None:
    response = kind(letters())
    assert list(response.iter_encoded()) == [b"a", b"b"]
    response.close()


@both
def test_an_event_stream_brings_its_fields(kind: Any) -> None:
    assert dict(kind(sse.stream([])).headers) == sse.headers()
    given = kind(wsgi_async.live(sse.stream([])), headers={"cache-control": "no-store"})
    assert given.headers["Cache-Control"] == "no-store"
    assert given.mimetype == "text/event-stream"
    typed = kind(sse.stream([]), mimetype="text/plain")
    assert typed.mimetype == "text/plain"
    assert typed.headers["X-Accel-Buffering"] == "no"
    # Who makes events without it has said so by the type, and proxies are to know as well.
    own = kind(endless(), mimetype="text/event-stream", headers={"X-Accel-Buffering": "yes"})
    assert own.headers["Cache-Control"] == sse.headers()["Cache-Control"]
    assert own.headers["X-Accel-Buffering"] == "yes"
    assert kind(endless()).mimetype == kind.default_mimetype
    mine = werkzeug.datastructures.Headers()
    kind(sse.stream([]), headers=mine)
    assert not mine


def test_responses_that_take_no_asynchronous_body_say_which_do() -> None:
    """Flask's would say that our object is not iterable, and Django's would send its repr."""
    says = r"wsgi_async\.flask\.LiveResponse .* StreamingHttpResponse"
    with pytest.raises(TypeError, match=says):
        called(flask.Response(sse.stream(letters())))[0].__next__()
    with pytest.raises(TypeError, match=says):
        django.http.HttpResponse(sse.stream(letters()), "text/event-stream", charset="utf-8")


@both
@pytest.mark.parametrize("body", ["text", b"bytes", ["a"], None, letters, {"a": 1}])
def test_another_body_is_refused(kind: Any, body: Any) -> None:
    with pytest.raises(TypeError, match=r"^LiveResponse (takes|was given) ") as raised:
        kind(body)
    assert "\n" not in str(raised.value)


@both
def test_a_body_that_is_replaced_is_an_ordinary_one(kind: Any) -> None:
    """As an after_request function may do it."""
    calls: list[str] = []
    response = kind(endless(), close=lambda: calls.append("close"))
    response.data = b"sorry"
    assert not response.is_live
    assert response.get_data() == b"sorry"
    response.add_etag()
    iterable, _, headers = called(response)
    assert list(iterable) == [b"sorry"]
    assert headers["Content-Length"] == "5"
    assert "ETag" in headers
    iterable.close()
    assert calls == ["close"]


@both
def test_a_generator_around_the_body_is_a_live_body_too(kind: Any) -> None:
    calls: list[str] = []
    response = kind(letters(), close=lambda: calls.append("close"))

    async def upper(body: Any) -> AsyncIterator[bytes]:
        async for chunk in body:
            yield chunk.upper()

    response.response = upper(response.response)
    iterable, _, _ = called(response)
    assert iterable.is_async
    assert list(iterable) == [b"A", b"B"]
    iterable.close()
    assert calls == ["close"]


@both
def test_a_synchronous_wrapper_holds_a_thread_and_is_closed(kind: Any) -> None:
    """As compressing extensions make one of iter_encoded()."""
    calls: list[str] = []
    response = kind(endless(), close=lambda: calls.append("close"))
    response.direct_passthrough = False
    response.response = map(bytes.upper, response.iter_encoded())
    iterable, _, _ = called(response)
    assert next(iter(iterable)) == b"A"
    iterable.close()
    assert calls == ["close"]


def test_flask_takes_it_as_it_is() -> None:
    app = flask.Flask(__name__)
    calls: list[str] = []

    @app.get("/")
    def view() -> Any:
        response = wsgi_async.flask.LiveResponse(letters(), close=lambda: calls.append("close"))
        return response, 202, {"X-Mine": "1"}

    with app.test_request_context():
        assert type(app.make_response(view())) is wsgi_async.flask.LiveResponse
    iterable, status, headers = called(app)
    assert isinstance(iterable, Live)
    assert status == "202 ACCEPTED"
    assert headers["X-Mine"] == "1"
    calls.clear()
    iterable.close()
    assert calls == ["close"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_response_class_of_ones_own_keeps_the_hooks(method: str) -> None:
    """Flask changes the class of a response that is not one, and with it its methods."""

    class Mine(flask.Response):
        default_mimetype = "text/x-mine"

    class MineLive(wsgi_async.flask.LiveResponse, Mine):
        pass

    app = flask.Flask(__name__)
    app.response_class = Mine
    calls: list[str] = []
    kinds = {"/plain": wsgi_async.flask.LiveResponse, "/mine": MineLive}

    @app.get("/<name>")
    def view(name: str) -> Any:
        response = kinds[f"/{name}"](letters())
        response.call_on_close(lambda: calls.append(name))
        return response

    for path in kinds:
        iterable, _, _ = called(app, path=path, method=method)
        assert (method == "HEAD") or isinstance(iterable, Live)
        iterable.close()
    assert calls == ["plain", "mine"]
    assert MineLive(letters()).mimetype == "text/x-mine"


def test_a_test_client_gets_chunks() -> None:
    """Flask's own, too, is no server of ours: the bridge."""
    app = flask.Flask(__name__)
    app.get("/")(lambda: wsgi_async.flask.LiveResponse(letters()))
    app.get("/endless", endpoint="endless")(lambda: wsgi_async.flask.LiveResponse(endless()))
    assert app.test_client().get("/").data == b"ab"
    assert Client(wsgi_async.werkzeug.LiveResponse(letters())).get("/").data == b"ab"
    with app.test_client().get("/endless") as response:
        assert next(response.iter_encoded()) == b"a"
    chunks, _, _ = run_wsgi_app(wsgi_async.werkzeug.LiveResponse(letters()), environ_of())
    assert list(chunks) == [b"a", b"b"]


@pytest.mark.parametrize(
    ("module", "absent", "says"),
    [
        ("flask", ["flask"], "wsgi_async.flask needs Flask: pip install flask"),
        ("flask", ["flask", "werkzeug"], "wsgi_async.flask needs Flask: pip install flask"),
        ("werkzeug", ["werkzeug"], "wsgi_async.werkzeug needs Werkzeug: pip install werkzeug"),
    ],
)
def test_absent_frameworks_cost_one_clear_line(
    module: str, absent: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where both are: Werkzeug alone would not do for Flask."""
    for name in list(sys.modules):
        if name.partition(".")[0] in absent or name in ("wsgi_async.flask", "wsgi_async.werkzeug"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Absent(absent), *sys.meta_path])
    with pytest.raises(ImportError) as raised:
        __import__(f"wsgi_async.{module}")
    assert str(raised.value) == says


class _Absent:
    """As if packages were not installed."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
