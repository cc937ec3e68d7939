"""Applications of Python 2, whose bodies are ``str``, on a server of Python 3."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from wsgi_async.errors import ApplicationError, ConfigError
from wsgi_async.wsgi.async_bodies import is_async_body
from wsgi_async.wsgi.file_wrapper import is_wrapped_file
from wsgi_async.wsgi.types import Environ, StartResponse

__all__ = ["EncodeStr"]


class EncodeStr:
    """Encodes what an application gives as ``str`` where PEP 3333 wants bytes.

    :param application: yields, returns or writes ``str``, ``bytes`` or both; bytes stay as they
        are, and so do a file in ``wsgi.file_wrapper`` and an asynchronous body, which no such
        application has.
    :param encoding: one of Python's text encodings, without a mark at the beginning of each text:
        ``utf-8``, ``latin-1``, ``cp1252``, not ``utf-16``.
    :raises ConfigError: it is none.

    A character that the encoding does not have is an :class:`ApplicationError`, so a 500.

    **Status and headers** are native strings (PEP 3333, "Unicode Issues"): ``str`` that latin-1 can
    hold stays as it is, other text becomes its encoded bytes, read as latin-1; ``bytes`` are read
    as latin-1 too. Anything else is left for the server to refuse.

    **Content-Length**, which such an application counts in characters, is held back with the head
    until the body begins. If all is there (a list, a tuple, one ``str``) and it is the number of
    characters, it becomes the number of bytes; any other number is the application's error and
    stays. Of an iterator that begins with ``str``, or of ``write()`` with one, nobody knows the
    number of bytes in advance: the header goes, and the server frames the body, unless each
    character is one byte. What begins with bytes keeps it. Nothing else is held back, and nothing
    is collected.

    *Any thread*, as the application.
    """

    def __init__(self, application: Callable[..., Iterable[Any]], encoding: str) -> None:
        try:
            once, twice = "aa".encode(encoding), "a".encode(encoding) * 2
        except (LookupError, ValueError):  # a NUL in the name
            raise ConfigError(f"--encode-str: there is no text encoding {encoding!r}") from None
        if once != twice:
            raise ConfigError(
                f"--encode-str: {encoding!r} marks the beginning of a text, and would mark that of "
                "each chunk: write utf-8"
            )
        self._application = application
        self._encoding = codecs.lookup(encoding).name
        self._keeps_lengths = self._encoding in ("ascii", "iso8859-1", "cp1252")

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        wrapper = environ.get("wsgi.file_wrapper")
        response = _Response(self._encoding, self._keeps_lengths, start_response)
        result: Any = self._application(environ, response.start)
        if isinstance(result, str):
            result = [result]
        if type(result) in (list, tuple):
            return response.whole(result)
        if is_wrapped_file(result, wrapper) or is_async_body(result) or not _is_chunks(result):
            response.release()
            untouched: Iterable[bytes] = result
            return untouched
        return _Body(result, response)


class _Response:
    """The head of one response, held back where it has a Content-Length."""

    __slots__ = ("_encoding", "_has_begun", "_held", "_keeps_lengths", "_start_response", "_write")

    def __init__(self, encoding: str, keeps_lengths: bool, start_response: StartResponse) -> None:
        self._encoding = encoding
        self._keeps_lengths = keeps_lengths
        self._start_response = start_response
        self._has_begun = False
        self._held: tuple[Any, ...] | None = None
        """Status, headers and exc_info, if that was given."""
        self._write: Callable[[bytes], object] | None = None

    def start(self, status: Any, headers: Any, exc_info: Any = None) -> Callable[[Any], None]:
        """The application's ``start_response``."""
        more = () if exc_info is None else (exc_info,)
        status = self._native(status)
        if type(headers) is list:
            headers = [self._native_field(field) for field in headers]
        if self._held is not None and not exc_info:
            self.release()  # a second call: the server's to refuse
        self._held = None
        if not self._has_begun and type(headers) is list and _length(headers) is not None:
            self._held = (status, headers, *more)
        else:
            self._write = self._start_response(status, headers, *more)
        return self._write_text

    def release(self) -> None:
        """Let the head go as it is."""
        if self._held is not None:
            held, self._held = self._held, None
            self._write = self._start_response(*held)

    def begin(self, chunk: Any) -> None:
        """Let it go before the body's first chunk, which nobody knows the successors of."""
        self._has_begun = True
        if self._held is not None:
            if isinstance(chunk, str) and not self._keeps_lengths:
                status, headers, *rest = self._held
                headers = [field for field in headers if not _is_length(field)]
                self._held = (status, headers, *rest)
            self.release()

    def whole(self, chunks: list[Any] | tuple[Any, ...]) -> list[Any]:
        """All of a body at once."""
        encoded = [self.encode(chunk) for chunk in chunks]
        if self._held is not None:
            status, headers, *rest = self._held
            try:
                count, size = sum(map(len, chunks)), sum(map(len, encoded))
            except TypeError:  # for the server to refuse
                count = size = 0
            if count != size and _length(headers) == str(count):
                length = ("Content-Length", str(size))
                headers = [length if _is_length(field) else field for field in headers]
                self._held = (status, headers, *rest)
            self.release()
        return encoded

    def encode(self, chunk: Any) -> Any:
        if not isinstance(chunk, str):
            return chunk
        try:
            return chunk.encode(self._encoding)
        except UnicodeEncodeError as error:
            missing = chunk[error.start]
            raise ApplicationError(
                f"--encode-str {self._encoding} has no {missing!a}, which is in the body"
            ) from None

    def _write_text(self, data: Any) -> None:
        self.begin(data)
        assert self._write is not None
        self._write(self.encode(data))

    def _native(self, text: Any) -> Any:
        if isinstance(text, bytes):
            return text.decode("latin-1")
        if isinstance(text, str) and not text.isascii():
            try:
                text.encode("latin-1")
            except UnicodeEncodeError:
                return self.encode(text).decode("latin-1")
        return text

    def _native_field(self, field: Any) -> Any:
        return tuple(map(self._native, field)) if type(field) is tuple else field


class _Body:
    """An application's iterable, encoded."""

    __slots__ = ("_iterable", "_iterator", "_response")

    def __init__(self, iterable: Iterable[Any], response: _Response) -> None:
        self._iterable = iterable
        self._iterator: Iterator[Any] | None = None
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._iterator is None:
            self._iterator = iter(self._iterable)
        try:
            chunk = next(self._iterator)
        except StopIteration:
            self._response.release()
            raise
        self._response.begin(chunk)
        encoded: bytes = self._response.encode(chunk)
        return encoded

    def close(self) -> None:
        close = getattr(self._iterable, "close", None)
        if close is not None:
            close()


def _is_chunks(result: object) -> bool:
    """False for what the server refuses, with a message of its own."""
    kind = type(result)
    iterable = hasattr(kind, "__iter__") or hasattr(kind, "__getitem__")
    return iterable and not isinstance(result, bytes | bytearray)


def _is_length(field: Any) -> bool:
    return (
        type(field) is tuple
        and len(field) == 2
        and isinstance(field[0], str)
        and field[0].lower() == "content-length"
    )


def _length(headers: list[Any]) -> Any:
    """The first Content-Length, None without one."""
    return next((field[1] for field in headers if _is_length(field)), None)
