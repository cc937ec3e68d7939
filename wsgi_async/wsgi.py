"""PEP 3333: calls the application, keeps its rules, hands its chunks to a writer.

All of it runs on a pool thread. It knows neither sockets nor framing; what it needs of the
outside is the :class:`Writer` and the :class:`Reporter` it is given.
"""

from __future__ import annotations

import enum
import io
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, NoReturn, Protocol

from .errors import ApplicationError, ClientDisconnected
from .framing import ResponseHead

__all__ = ["FileWrapper", "Reporter", "Step", "WSGIResponse", "Writer"]

Environ = dict[str, Any]
Fields = list[tuple[str, str]]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType]
Application = Callable[..., Iterable[bytes]]

JOIN_LIMIT = 256 * 1024
"""Bytes up to which the items of a list are joined into one: beyond it, copying costs more than
the extra writes."""

LARGEST_PAGE = 64 * 1024
"""Bytes of a memory page on any CPU: files of /sys say that they are as large as one."""

# RFC 9110 §7.6.1 and PEP 3333 ("Other HTTP Features"): the server's own business.
HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
    )
)
_STATUS = re.compile(r"([2-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?", re.ASCII)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_DIGITS = re.compile(r"[0-9]{1,19}")

_HEADS: dict[tuple[object, ...], ResponseHead] = {}
_HEADS_LIMIT = 1024
_HEAD_SIZE_LIMIT = 512
"""Checked heads by (status, *headers), because most responses repeat them: at most 1024 of at
most 512 bytes, forgotten all at once when full; none with a Set-Cookie. 2 us a request less."""


class Step(enum.Enum):
    """Where an exchange stands after its thread has done a step."""

    DONE = "finished, its iterable closed"
    PARKED = "suspended until the client has taken what waits"


class Writer(Protocol):
    """Where a response goes. See ``handoff.ResponseWriter``, which documents each method."""

    def respond(self, head: ResponseHead, body: bytes, length: int | None) -> None: ...
    def start(self, head: ResponseHead, length: int | None) -> None: ...
    def write(self, data: bytes) -> bool: ...
    def write_and_wait(self, data: bytes) -> None: ...
    def write_last(self, data: bytes) -> None: ...
    def send_file(self, head: ResponseHead, descriptor: int, offset: int, count: int) -> bool: ...
    def finish(self) -> None: ...
    def cut(self) -> None: ...


Reporter = Callable[[str, BaseException | None], None]
"""Told, on the pool thread, what the application did wrong: one line, and the exception."""


class FileWrapper:
    """``wsgi.file_wrapper`` (PEP 3333, "Optional Platform-Specific File Handling").

    :param filelike: an object with ``read(size)``; its ``close``, if any, is called.
    :param block_size: bytes per read where the file has to be iterated.
    """

    def __init__(self, filelike: Any, block_size: int = 65536) -> None:
        self.filelike = filelike
        self.block_size = block_size
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.filelike.read(self.block_size), b"")

    def regular_file(self) -> tuple[int, int, int] | None:
        """The descriptor, position and remaining size, if this is a plain file on disk.

        Only the classes that ``open`` returns count: a ``GzipFile`` has a descriptor too, of
        compressed bytes, behind a ``BufferedReader`` as well, and a pipe has no size. Nor
        has a file of /proc or /sys: it says 0 or one page, whatever a read gives, and that it has
        no block on disk.
        """
        file = self.filelike
        try:
            raw = file if type(file) is io.FileIO else _raw_of(file)
            if type(raw) is not io.FileIO:
                return None
            if type(file) is io.BufferedRandom:
                file.flush()
            descriptor = file.fileno()
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return None
            if not status.st_blocks and status.st_size <= LARGEST_PAGE:
                return None
            if not file.readable():
                return None
            offset = file.tell()
        except (OSError, ValueError):
            return None
        return descriptor, offset, max(0, status.st_size - offset)


def _raw_of(file: Any) -> object:
    """What the buffer of ``open`` is filled from; None where `file` is no such buffer."""
    return file.raw if type(file) in (io.BufferedReader, io.BufferedRandom) else None


class WSGIResponse:
    """One call of the application and the response that comes of it.

    :param application: the WSGI application.
    :param environ: its environ; the application owns it from here on.
    :param writer: where the response goes.
    :param report: told what goes wrong.

    ``advance`` is called until it returns :attr:`Step.DONE`. Whatever happens, the iterable's
    ``close`` is called exactly once.
    """

    __slots__ = (
        "_application",
        "_environ",
        "_head",
        "_head_only",
        "_head_sent",
        "_iterable",
        "_iterator",
        "_remaining",
        "_report",
        "_writer",
    )

    def __init__(
        self, application: Application, environ: Environ, writer: Writer, report: Reporter
    ) -> None:
        self._application = application
        self._environ: Environ | None = environ
        self._writer = writer
        self._report = report
        self._head_only = environ["REQUEST_METHOD"] == "HEAD"
        self._head: ResponseHead | None = None
        self._head_sent = False
        self._remaining: int | None = None
        self._iterable: Iterable[bytes] | None = None
        self._iterator: Iterator[bytes] | None = None

    # --- the two sides' entry points ---------------------------------------------------------

    def advance(self) -> Step:
        """Call the application, or go on with its iterable, until the end or a full writer."""
        try:
            if self._iterator is None and self._call():
                return self._close()
            if self._iterate() is Step.PARKED:
                return Step.PARKED
        except BaseException as error:  # SystemExit must not end a pool thread
            self._fail(error)
        return self._close()

    def abandon(self) -> None:
        """Close the iterable without asking it for more: nobody is there to take it."""
        self._close()

    def start_response(
        self, status: str, headers: Fields, exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """PEP 3333, "The start_response() Callable".

        :raises ApplicationError: called twice without `exc_info`, or wrong types or syntax.
        """
        if exc_info:
            try:
                if self._head_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # PEP 3333: avoid a circular reference
        elif self._head is not None:
            raise ApplicationError(
                "start_response was called a second time without exc_info; "
                "pass sys.exc_info() to replace a response that has not been sent"
            )
        try:
            # A list and nothing else: a tuple would find what a list has left there.
            head = _HEADS.get((status, *headers)) if type(headers) is list else None
        except TypeError:  # something in it is not hashable, so not a str either
            head = None
        self._head = _check_head(status, headers) if head is None else head
        return self._write

    # --- steps -------------------------------------------------------------------------------

    def _call(self) -> bool:
        """Call the application. True where that was the whole response."""
        environ, self._environ = self._environ, None
        iterable = self._application(environ, self.start_response)
        self._iterable = iterable
        if type(iterable) is list or type(iterable) is tuple:
            if not self._head_sent and self._respond(iterable):
                return True
        elif type(iterable) is FileWrapper and not self._head_sent and self._send_file(iterable):
            return True
        try:
            self._iterator = iter(iterable)
        except TypeError:
            if hasattr(type(iterable), "__iter__"):
                raise  # an error of its own
            raise ApplicationError(
                f"the application returned {_brief(iterable)}; "
                "it must return an iterable of bytes, such as [b'...']"
            ) from None
        if isinstance(iterable, str):
            raise ApplicationError(
                "the application returned str; encode it and return a list: [text.encode('utf-8')]"
            )
        if isinstance(iterable, bytes | bytearray):
            raise ApplicationError(
                f"the application returned {type(iterable).__name__}; "
                "return a list with it, as [b'...'], else it is sent byte by byte"
            )
        return False

    def _respond(self, items: list[bytes] | tuple[bytes, ...]) -> bool:
        """A list or tuple is all there at once: its length is known (PEP 3333, "Handling the
        Content-Length Header")."""
        for item in items:
            if type(item) is not bytes:
                _check_chunk(item)
        size = len(items[0]) if len(items) == 1 else sum(map(len, items))
        if size > JOIN_LIMIT and len(items) > 1:
            self._remaining = size
            return False
        body = items[0] if len(items) == 1 else b"".join(items)
        head = self._known_head()
        length = head.content_length
        if self._head_only or _is_bodiless(head.status):
            body = b""
        elif length is None:
            length = size
        elif size != length:
            if size < length:
                self._writer.start(head, length)
                self._head_sent = True
                if body:
                    self._writer.write(body)
                self._too_short(length - size)
                return True
            self._report(_TOO_LONG, None)
            body = body[:length]
        self._head_sent = True
        self._writer.respond(head, body, length)
        return True

    def _iterate(self) -> Step:
        iterator = self._iterator
        assert iterator is not None
        if self._head_only and self._head_sent:
            return Step.DONE  # write() has begun, and ended, a response without a body
        write = self._writer.write
        for chunk in iterator:
            if type(chunk) is not bytes:
                _check_chunk(chunk)
            if not chunk:
                continue
            if not self._head_sent and not self._start():
                return Step.DONE  # HEAD, 204, 304: the first chunk told that the head is final
            if self._remaining is None:
                if not write(chunk):
                    return Step.PARKED
            elif not self._write_counted(chunk, write):
                return Step.PARKED
            elif self._remaining < 0:
                return Step.DONE
        self._end()
        return Step.DONE

    def _write_counted(self, chunk: bytes, write: Callable[[bytes], bool]) -> bool:
        """Write under a promised length; `_remaining` is negative once too much has come."""
        remaining = self._remaining
        assert remaining is not None
        size = len(chunk)
        if size < remaining:
            self._remaining = remaining - size
            return write(chunk)
        if remaining > 0:
            # The chunk that completes the length ends the response: no second wake for the end.
            self._writer.write_last(chunk if size == remaining else chunk[:remaining])
        if size == remaining:
            self._remaining = 0
        elif remaining >= 0:
            self._remaining = -1
            # PEP 3333 lets a Content-Length choose how much of a wrapped file is sent.
            if type(self._iterable) is not FileWrapper:
                self._report(_TOO_LONG, None)
        return True

    def _write(self, data: bytes) -> None:
        """The legacy ``write()`` callable (PEP 3333, "The write() Callable")."""
        if type(data) is not bytes:
            _check_chunk(data)
        if not data:
            return
        if not self._head_sent:
            self._start()
        if self._head_only:
            return
        if self._remaining is None:
            self._writer.write_and_wait(data)
        else:
            self._write_counted(data, self._write_waiting)

    def _write_waiting(self, data: bytes) -> bool:
        self._writer.write_and_wait(data)
        return True

    def _start(self) -> bool:
        """Hand over the head, as the first non-empty chunk demands. False: no body follows."""
        head = self._known_head()
        length = head.content_length
        self._head_sent = True
        if self._head_only or _is_bodiless(head.status):
            self._writer.respond(head, b"", length)
            self._head_only = True
            return False
        if length is not None:
            self._remaining = length
        if self._remaining == 0:
            self._writer.respond(head, b"", 0)  # and the chunk at hand is already too much
        else:
            self._writer.start(head, self._remaining)
        return True

    def _end(self) -> None:
        """The iterable is exhausted."""
        if not self._head_sent:
            head = self._known_head()
            length = head.content_length
            self._head_sent = True
            if self._head_only or _is_bodiless(head.status):
                self._writer.respond(head, b"", length)
            elif length:
                self._writer.start(head, length)
                self._too_short(length)
            else:
                self._writer.respond(head, b"", 0)
        elif self._remaining is None:
            if not self._head_only:
                self._writer.finish()
        elif self._remaining > 0 and not self._head_only:
            self._too_short(self._remaining)

    def _send_file(self, wrapper: FileWrapper) -> bool:
        """Give the descriptor of a plain file to the writer. False: iterate it instead."""
        found = wrapper.regular_file()
        if found is None or self._head is None:
            return False
        descriptor, offset, size = found
        head = self._head
        length = head.content_length
        if self._head_only or _is_bodiless(head.status):
            self._head_sent = True
            self._writer.respond(head, b"", length)
            return True
        if length is None:
            length = size
        elif length > size:
            return False  # let the iteration find out and report
        if not self._writer.send_file(head, descriptor, offset, length):
            return False
        self._head_sent = True
        return True

    # --- ends --------------------------------------------------------------------------------

    def _close(self) -> Step:
        iterable, self._iterable, self._iterator = self._iterable, None, None
        self._environ = None
        try:
            close = getattr(iterable, "close", None)
            if close is not None:
                close()
        except BaseException as error:  # SystemExit too
            self._report("the iterable's close() raised", error)
        return Step.DONE

    def _fail(self, error: BaseException) -> None:
        """Answer 500 where nothing is sent yet, else cut: the client must be able to tell."""
        if isinstance(error, ClientDisconnected):
            self._writer.cut()
            return
        broken = isinstance(error, ApplicationError)
        self._report(str(error) if broken else "the application raised", error)
        if self._head_sent:
            self._writer.cut()
            return
        body = b"" if self._head_only else _INTERNAL_ERROR_BODY
        self._head_sent = True
        self._writer.respond(_INTERNAL_ERROR, body, len(_INTERNAL_ERROR_BODY))

    def _too_short(self, missing: int) -> None:
        self._report(f"the body is {missing} bytes shorter than its Content-Length", None)
        self._writer.cut()

    def _known_head(self) -> ResponseHead:
        if self._head is None:
            raise ApplicationError(
                "start_response was not called before the first chunk of the body"
            )
        return self._head


_TOO_LONG = "the body is longer than its Content-Length; the rest was not sent"
_INTERNAL_ERROR = ResponseHead(
    500,
    b"HTTP/1.1 500 Internal Server Error\r\n",
    b"Content-Type: text/plain; charset=utf-8\r\n",
    None,
)
_INTERNAL_ERROR_BODY = b"500 Internal Server Error\n"


def _is_bodiless(status: int) -> bool:
    """RFC 9110 §6.4.1: responses that never have content; and the 205 of §15.3.6."""
    return status in (204, 205, 304)


def _check_head(status: object, headers: object) -> ResponseHead:
    """Judge what ``start_response`` was given, and make the bytes of it.

    :raises ApplicationError: a wrong type or syntax.
    """
    if not isinstance(status, str) or _STATUS.fullmatch(status) is None:
        _refuse_status(status)
    if not isinstance(headers, list):
        raise ApplicationError(
            f"start_response headers must be a list of (name, value) tuples, "
            f"not {type(headers).__name__}"
        )
    lines = []
    length: int | None = None
    names = set()
    for item in headers:
        if type(item) is not tuple or len(item) != 2:
            raise ApplicationError(f"each header must be a (name, value) tuple, not {_brief(item)}")
        _check_field(*item)
        name, value = item
        names.add(name.lower())
        if name.lower() != "content-length":
            lines.append(f"{name}: {value}\r\n")
        elif length is None or length == int(value):
            length = int(value)
        else:
            raise ApplicationError("two Content-Length headers that differ")
    fields = "".join(lines).encode("latin-1")
    start_line = f"HTTP/1.1 {status if len(status) > 3 else status + ' '}\r\n".encode("latin-1")
    head = ResponseHead(
        int(status[:3]), start_line, fields, length, "date" in names, "server" in names
    )
    if len(fields) <= _HEAD_SIZE_LIMIT and "set-cookie" not in names:
        if len(_HEADS) >= _HEADS_LIMIT:
            _HEADS.clear()
        _HEADS[(status, *headers)] = head
    return head


def _check_field(name: object, value: object) -> None:
    if not isinstance(name, str) or not isinstance(value, str):
        raise ApplicationError(
            f"header names and values must be str, not {_brief(name)}: {_brief(value)}"
        )
    if _NAME.fullmatch(name) is None:
        raise ApplicationError(f"{_brief(name)} is not a valid header name (RFC 9110 §5.1)")
    if _VALUE.fullmatch(value) is None:
        raise ApplicationError(
            f"the value of header {name} has a control character or one outside latin-1: "
            f"{_brief(value)}; encode it first (RFC 9110 §5.5)"
        )
    lowered = name.lower()
    if lowered in HOP_BY_HOP:
        raise ApplicationError(
            f"{name} is a hop-by-hop header; it belongs to the server, remove it (PEP 3333)"
        )
    if lowered == "content-length" and _DIGITS.fullmatch(value) is None:
        raise ApplicationError(f"Content-Length must be digits only, not {_brief(value)}")


def _refuse_status(status: object) -> NoReturn:
    if not isinstance(status, str):
        raise ApplicationError(
            f"the status must be str like '200 OK', not {type(status).__name__}: {_brief(status)}"
        )
    raise ApplicationError(
        f"the status must be three digits from 200 to 999, a space and a reason, "
        f"like '200 OK', not {_brief(status)}"
    )


def _check_chunk(chunk: object) -> None:
    """Only ``bytes`` may reach the transport: it keeps references, and a mutable buffer that is
    used again puts wrong bytes on the wire."""
    if isinstance(chunk, bytes):
        return
    if isinstance(chunk, str):
        hint = "encode it: .encode('utf-8'), or write b'...'"
    elif isinstance(chunk, bytearray | memoryview):
        hint = "convert it with bytes(...)"
    else:
        hint = "the body must be bytes"
    raise ApplicationError(f"the application yielded {type(chunk).__name__}; {hint}")


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
