"""The front server's side of FastCGI 1.0, written from the specification and not from what the
package does: records as one sends them, and a strict reader of what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = [
    "ABORT",
    "BEGIN",
    "GET_VALUES",
    "PARAMS",
    "STDIN",
    "STDOUT",
    "UNKNOWN",
    "VALUES",
    "Ended",
    "Record",
    "Responses",
    "begin",
    "number",
    "pair",
    "pairs",
    "request",
    "variables",
    "write",
]

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR, DATA, GET_VALUES, VALUES, UNKNOWN = range(1, 12)


class Record(NamedTuple):
    """One record, sound or not."""

    kind: int
    request_id: int
    content: bytes = b""
    padding: bytes = b""
    version: int = 1

    @property
    def raw(self) -> bytes:
        sizes = number(len(self.content), 2) + number(len(self.padding), 1)
        head = bytes((self.version, self.kind)) + number(self.request_id, 2) + sizes + b"\0"
        return head + self.content + self.padding


def number(value: int, size: int) -> bytes:
    return value.to_bytes(size, "big")


def write(records: Sequence[Record]) -> bytes:
    return b"".join([record.raw for record in records])


def begin(request_id: int = 1, role: int = 1, flags: int = 1) -> Record:
    """A request begins; by default for a responder, on a connection that is kept."""
    return Record(BEGIN, request_id, number(role, 2) + bytes((flags,)) + bytes(5))


def pair(name: bytes, value: bytes, *, long: bool = False) -> bytes:
    """One variable.

    :param long: give its lengths in four bytes also where one would do.
    """

    def length(text: bytes) -> bytes:
        if long or len(text) > 127:
            return number(len(text) + (1 << 31), 4)
        return number(len(text), 1)

    return length(name) + length(value) + name + value


def pairs(given: Mapping[str, str]) -> bytes:
    return b"".join([pair(name.encode(), value.encode("latin-1")) for name, value in given.items()])


def variables(
    method: str = "GET", target: str = "/", length: int | None = None, **more: str
) -> dict[str, str]:
    """What nginx says with its own fastcgi_params, in short."""
    path, _, query = target.partition("?")
    return {
        "QUERY_STRING": query,
        "REQUEST_METHOD": method,
        "CONTENT_TYPE": "",
        "CONTENT_LENGTH": "" if length is None else str(length),
        "SCRIPT_NAME": path,
        "REQUEST_URI": target,
        "DOCUMENT_URI": path,
        "DOCUMENT_ROOT": "/usr/share/nginx/html",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_SCHEME": "http",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_SOFTWARE": "nginx/1.22.1",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "40312",
        "SERVER_ADDR": "192.0.2.1",
        "SERVER_PORT": "80",
        "SERVER_NAME": "shop.example",
        "REDIRECT_STATUS": "200",
        "HTTP_HOST": "shop.example",
        **more,
    }


def request(
    given: Mapping[str, str] | None = None,
    body: Sequence[bytes] | bytes = (),
    request_id: int = 1,
    *,
    keep: bool = True,
    padding: bytes = b"",
) -> list[Record]:
    """All records of one request.

    :param given: its variables; by default those of a GET, or of a POST where there is a body.
    :param body: what its records of STDIN hold.
    """
    pieces = [body] if isinstance(body, bytes) else body
    pieces = [piece for piece in pieces if piece]
    if given is None:
        length = sum(map(len, pieces))
        given = variables("POST", length=length) if length else variables()
    content = pairs(given)
    cut = [content[start : start + 65535] for start in range(0, len(content), 65535)]
    return [
        begin(request_id, flags=int(keep)),
        *[Record(PARAMS, request_id, piece, padding) for piece in cut],
        Record(PARAMS, request_id),
        *[Record(STDIN, request_id, piece, padding) for piece in pieces],
        Record(STDIN, request_id),
    ]


@dataclass
class Ended:
    """One request, as far as it has been answered."""

    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    closed: list[int] = field(default_factory=list)
    """Streams that were ended, in their order."""
    app_status: int | None = None
    protocol_status: int | None = None
    """None: it has not ended."""

    @property
    def fields(self) -> dict[str, str]:
        lines = self.stdout.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        split = [line.split(": ", 1) for line in lines]
        assert len({name.lower() for name, _ in split}) == len(split), split
        return dict(split)  # type: ignore[arg-type]

    @property
    def status(self) -> int:
        return int(self.fields["Status"][:3])

    @property
    def body(self) -> bytes:
        head, empty, body = self.stdout.partition(b"\r\n\r\n")
        assert empty, head
        return bytes(body)


class Responses:
    """Reads what an application sends, strictly; requests may follow each other by one number."""

    def __init__(self) -> None:
        self.ended: list[tuple[int, Ended]] = []
        """Those that have ended, with their numbers, in this order."""
        self.open: dict[int, Ended] = {}
        self.managed: list[Record] = []
        """Records that belong to no request."""
        self.sizes: list[int] = []
        """Bytes of content of each record."""
        self.is_cut = False
        """Whether what came last is no record of FastCGI 1.0."""
        self._rest = b""

    @property
    def is_between_records(self) -> bool:
        return not self._rest

    def take(self, data: bytes) -> None:
        """The next bytes."""
        self._rest += data
        while len(self._rest) >= 8 and not self.is_cut:
            if self._rest[0] != 1:
                assert self._rest == bytes(8), self._rest
                self.is_cut = True
                return
            kind, request_id = self._rest[1], int.from_bytes(self._rest[2:4], "big")
            size, padding = int.from_bytes(self._rest[4:6], "big"), self._rest[6]
            end = 8 + size + padding
            if len(self._rest) < end:
                return
            content, self._rest = self._rest[8 : 8 + size], self._rest[end:]
            self.sizes.append(size)
            self._take(kind, request_id, content)

    def _take(self, kind: int, request_id: int, content: bytes) -> None:
        if not request_id:
            assert kind in (VALUES, UNKNOWN), kind
            self.managed.append(Record(kind, 0, content))
            return
        ended = self.open.setdefault(request_id, Ended())
        if kind == END:
            assert len(content) == 8
            assert content[5:] == bytes(3)
            ended.app_status = int.from_bytes(content[:4], "big")
            ended.protocol_status = content[4]
            self.ended.append((request_id, self.open.pop(request_id)))
            return
        assert kind in (STDOUT, STDERR), kind
        assert kind not in ended.closed, "a stream goes on after its end"
        if not content:
            ended.closed.append(kind)
        elif kind == STDOUT:
            ended.stdout += content
        else:
            ended.stderr += content
