"""Front servers that do anything, in any order, cut anyhow: each request that comes to its end is
answered, each that is taken back is ended, and nothing is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fastcgi_clients import FakeFront
from fastcgi_peer import ABORT, GET_VALUES, STDIN, Record, begin, request, variables, write
from hypothesis import strategies as st
from properties import examples
from wire import Site

from wsgi_async.connection.states import ConnectionState

KINDS = ("whole", "whole", "stream", "fails", "head", "aborted", "second", "role", "asks", "stray")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        st.lists(st.binary(min_size=1, max_size=40), max_size=4),
        st.sampled_from([b"", b"\xff", b"\xff" * 255]),
        st.integers(0, 6),
    ),
    min_size=1,
    max_size=6,
)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    body = environ["wsgi.input"].read()
    path = environ["PATH_INFO"]
    print(path, file=environ["wsgi.errors"])
    if path == "/fails":
        raise ZeroDivisionError
    start_response("200 OK", [])
    return streamed(body) if path == "/stream" else [path.encode(), body]


def streamed(body: bytes) -> Iterator[bytes]:
    for byte in body:
        yield bytes((byte,))


class Story:
    """One connection, and what is due on it."""

    def __init__(self, site: Site, cuts: list[int]) -> None:
        self._site = site
        self._front = FakeFront(site)
        self._cuts = cuts
        self._expected: list[tuple[int, tuple[int, int]]] = []

    def send(self, records: list[Record]) -> None:
        """In pieces of the sizes that are due, again and again."""
        data = write(records)
        while data:
            size = self._cuts[0]
            self._cuts = [*self._cuts[1:], size]
            self._front.transport.receive(data[:size])
            data = data[size:]

    def take(self, kind: str, body: list[bytes], padding: bytes, number: int) -> None:
        request_id = 1 + number % 3
        target = f"/{kind}"
        if kind == "asks":
            self.send([Record(GET_VALUES, 0, padding=padding), Record(99, 0, b"?", padding)])
            return
        if kind == "stray":
            self.send([Record(STDIN, 7, b"stray", padding), Record(ABORT, 8)])
            return
        if kind == "role":
            self.send([begin(request_id, role=2), Record(STDIN, request_id)])
            self._expect(request_id, protocol=3)
            return
        length = sum(map(len, body)) if body and number % 2 else None
        method = "HEAD" if kind == "head" else "POST"
        records = request(variables(method, target, length), body, request_id, padding=padding)
        if kind == "aborted":
            keep = 1 + number % len(records)
            self.send([*records[:keep], Record(ABORT, request_id, padding=padding)])
            # One that is complete may have been answered before.
            self._site.loop.run_until(lambda: len(self._front.ended) > len(self._expected))
            (_, ended) = self._front.ended[-1]
            self._expect(request_id, app=ended.app_status or 0)
            assert ended.app_status == 1 or keep == len(records)
            self._settled()
            return
        if kind == "second":
            self.send([*records[:1], begin(9, flags=0), *records[1:], *request(request_id=9)[1:]])
            self._expect(9, protocol=1)
        else:
            self.send(records)
        self._expect(request_id)
        answer = self._front.wait(len(self._expected))
        assert answer.status == (500 if kind == "fails" else 200)
        assert answer.stderr == f"{target}\n".encode()
        if kind in ("whole", "second"):
            assert answer.body == target.encode() + b"".join(body)
        elif kind == "stream":
            assert answer.body == b"".join(body)
        self._settled()

    def _expect(self, request_id: int, app: int = 0, protocol: int = 0) -> None:
        self._expected.append((request_id, (app, protocol)))

    def _settled(self) -> None:
        assert [
            (request_id, (ended.app_status, ended.protocol_status))
            for request_id, ended in self._front.ended
        ] == self._expected
        assert self._front.open == {}
        self._site.settle()
        assert self._front.state in (ConnectionState.IDLE, ConnectionState.NEW)


@examples(200, STEPS, st.lists(st.integers(1, 3000), min_size=1, max_size=5), st.booleans())
def test_each_request_has_its_end(steps: Any, cuts: list[int], streams: bool) -> None:
    buffering = "stream" if streams else "full"
    with Site(application, request_buffering=buffering, fastcgi_stderr=True) as site:
        story = Story(site, cuts)
        for step in steps:
            story.take(*step)
        assert site.observer.errors == []
        assert site.observer.dropped == []
        assert site.observer.refused == []
