"""Another version of HTTP beside ``http1``: a toy framer takes its place, and nothing else changes.

Its frames are a letter, four bytes of length, and that many bytes, in the manner of HTTP/2: fields
and nothing of HTTP/1.1, bodies in pieces whose end is told, and no length that has to be known.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from wire import DATE, HELLO, Answer, Client, Site, hello, responding

from wsgi_async.connection.sendfile import WORTHWHILE
from wsgi_async.errors import HTTPError
from wsgi_async.http.framing import BodyFraming, FramedHead, Framer, Wanted
from wsgi_async.http.response import ResponseHead, error_response
from wsgi_async.http.statuses import BODILESS
from wsgi_async.testing import FakeTransport

HEADER = struct.Struct("!cI")


def frame(kind: bytes, data: bytes = b"") -> bytes:
    return HEADER.pack(kind, len(data)) + data


def frame_body(pieces: list[bytes], last: bool) -> list[bytes]:
    frames = [frame(b"D", piece) for piece in pieces if piece]
    return [*frames, frame(b"E")] if last else frames


class ToyFramer:
    """A :class:`Framer` that shares no line with that of HTTP/1.1."""

    continue_head = frame(b"I", b"100")

    def __init__(self) -> None:
        self._date = ""

    def set_date(self, date: str) -> None:
        self._date = date

    def __getitem__(self, wanted: Wanted, /) -> FramedHead:
        head, _, method, _, persists = wanted
        return self._frame(head, method == "HEAD", persists and not head.closes)

    def _frame(self, head: ResponseHead, head_only: bool, persists: bool) -> FramedHead:
        has_body = not head_only and head.status not in BODILESS
        fields = [(name.lower(), value) for name, value in head.fields]
        data = {
            "status": head.status,
            "fields": [*fields, ("date", self._date), ("server", "toy")],
            "last": not persists,
        }
        framed = frame(b"H", json.dumps(data).encode())
        if not has_body:
            return FramedHead(head.status, framed + frame(b"E"), BodyFraming.NONE, persists)
        return FramedHead(head.status, framed, BodyFraming.FRAMED, persists, frame_body)

    def interim_head(self, head: ResponseHead, version: str) -> bytes:
        return frame(b"I", json.dumps([head.status, *head.fields]).encode())

    def error_answer(
        self, error: HTTPError, *, head_only: bool, fields: tuple[tuple[str, str], ...] = ()
    ) -> bytes:
        head, body = error_response(error, fields)
        framed = self._frame(head, head_only, False)
        return framed.data if head_only else b"".join([framed.data, *frame_body([body], True)])


class ToyJudge:
    """The client's side of the toy; in the place of h11."""

    def __init__(self) -> None:
        self.methods: list[str] = []
        self.answers: list[Answer] = []
        self.pieces: list[bytes] = []
        self.interim: list[Any] = []
        self._seen = 0
        self._rest = b""
        self._continues = 0

    def read(self, transport: FakeTransport) -> None:
        new = transport.sent[self._seen :]
        self._seen += len(new)
        self._rest += new
        while len(self._rest) >= HEADER.size:
            kind, size = HEADER.unpack_from(self._rest)
            end = HEADER.size + size
            if len(self._rest) < end:
                return
            self._take(kind, self._rest[HEADER.size : end])
            self._rest = self._rest[end:]
        if transport.has_ended and self.answers and not self.answers[-1].is_complete:
            self.answers[-1].is_truncated = True

    def _take(self, kind: bytes, data: bytes) -> None:
        if kind == b"I":
            if data == b"100":
                self._continues += 1
            else:
                self.interim.append(json.loads(data))
        elif kind == b"H":
            assert not self.answers or self.answers[-1].is_complete
            told = json.loads(data)
            answer = Answer()
            answer.status = told["status"]
            answer.fields = [(name, value) for name, value in told["fields"]]
            answer.keeps_alive = not told["last"]
            answer.continues, self._continues = self._continues, 0
            self.answers.append(answer)
        elif kind == b"D":
            assert not self.answers[-1].is_complete
            self.pieces.append(data)
            self.answers[-1].body += data
        else:
            assert kind == b"E"
            self.answers[-1].is_complete = True


def toy_site(application: Any = hello, **options: Any) -> Site:
    site = Site(application, **options)
    framer: Framer = ToyFramer()
    site.connections.framer = framer
    framer.set_date(DATE)
    return site


def connect(site: Site) -> tuple[Client, ToyJudge]:
    client = site.connect()
    judge = ToyJudge()
    client.judge = judge  # type: ignore[assignment]
    return client, judge


def test_nothing_of_http1_is_in_a_response() -> None:
    with toy_site() as site:
        client, judge = connect(site)
        for _ in range(2):
            answer = client.get()
            assert (answer.status, answer.body, answer.keeps_alive) == (200, HELLO, True)
            assert answer.fields == [
                ("content-type", "text/plain"),
                ("date", DATE),
                ("server", "toy"),
            ]
        assert b"HTTP" not in client.transport.sent
        assert b"\r\n" not in client.transport.sent
        assert len(judge.answers) == 2
        assert len(client.transport.writes) == 2, "a response is one write here as well"


@pytest.mark.parametrize("version", ["1.1", "1.0\r\nConnection: keep-alive"])
def test_a_stream_is_framed_and_its_connection_goes_on(version: str) -> None:
    with toy_site(responding(chunks=[b"a", b"", b"bc"], stream=True)) as site:
        client, judge = connect(site)
        for number in (1, 2):
            client.ask(version=version)
            answer = client.wait(number)
            assert (answer.status, answer.body, answer.keeps_alive) == (200, b"abc", True)
        assert judge.pieces == [b"a", b"bc"] * 2


@pytest.mark.parametrize(
    ("status", "method", "body"),
    [
        ("200 OK", "HEAD", b""),
        ("204 No Content", "GET", b""),
        ("304 Not Modified", "GET", b""),
        ("404 Not Found", "GET", HELLO),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_who_has_no_body(status: str, method: str, body: bytes, stream: bool) -> None:
    with toy_site(responding(status, stream=stream)) as site:
        client, _ = connect(site)
        answer = client.get(method=method)
        assert (answer.status, answer.body) == (int(status[:3]), body)
        assert client.get(method=method).body == body


def test_a_file_is_framed_as_well(tmp_path: Path) -> None:
    content = bytes(range(256)) * (WORTHWHILE // 16)
    path = tmp_path / "file"
    path.write_bytes(content)

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](path.open("rb"))

    with toy_site(application, spool_dir=str(tmp_path)) as site:
        client, judge = connect(site)
        assert client.get().body == content
        assert len(judge.pieces) > 1


def test_the_servers_own_answers_are_framed_too() -> None:
    with toy_site(health_path="/healthz") as site:
        client, _ = connect(site)
        answer = client.get("/healthz")
        assert (answer.status, answer.body) == (200, b"ok\n")
        assert ("cache-control", "no-store") in answer.fields
        client.send("GET / HTTP/9.9\r\n\r\n", "GET")
        refusal = client.wait(2)
        assert refusal.status == 505
        assert b"Only HTTP/1.1" in refusal.body
        assert not refusal.keeps_alive
        assert client.ends


def test_the_interim_answer_is_the_framers() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        body = environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [body]

    with toy_site(application) as site:
        client, _ = connect(site)
        client.ask("/", "Content-Length: 5", "Expect: 100-continue", method="POST")
        assert client.transport.sent == ToyFramer.continue_head
        client.send(b"hello")
        answer = client.wait()
        assert (answer.body, answer.continues) == (b"hello", 1)


def test_early_hints_are_the_framers_too() -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        environ["wsgi.early_hints"]([("Link", "</a.css>; rel=preload")])
        start_response("200 OK", [])
        return [HELLO]

    with toy_site(application) as site:
        client, judge = connect(site)
        assert client.get().body == HELLO
        assert judge.interim == [[103, ["Link", "</a.css>; rel=preload"]]]
        assert b"HTTP" not in client.transport.sent


@pytest.mark.parametrize("begins", [False, True])
def test_an_error_is_a_500_or_a_body_without_its_end(begins: bool) -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        if begins:
            yield b"so far"
        raise ZeroDivisionError

    with toy_site(application) as site:
        client, _ = connect(site)
        client.ask()
        answer = client.wait()
        if begins:
            assert (answer.status, answer.body, answer.is_truncated) == (200, b"so far", True)
        else:
            assert (answer.status, answer.body) == (500, b"500 Internal Server Error\n")


def test_an_application_that_says_close_is_obeyed() -> None:
    with toy_site(responding(fields=[("Connection", "close")])) as site:
        client, _ = connect(site)
        answer = client.get()
        assert not answer.keeps_alive
        assert [name for name, _ in answer.fields] == ["date", "server"]
