"""What a :class:`~wsgi_async.testing.TestClient` gives back. On the thread that asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from email.message import Message
from typing import Any, Protocol

from .cookies import Cookie
from .request import Request

__all__ = ["Headers", "Response", "Source"]


class Headers(Mapping[str, str]):
    """The fields of a response; names in any case.

    ``headers["Vary"]`` is the value, several of the same name joined by ``, `` (RFC 9110 §5.3);
    :meth:`all` has them one by one, which ``Set-Cookie`` needs; :attr:`pairs` in their order.

    :param pairs: name and value of each field.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.pairs = tuple(pairs)
        """Name and value of each field, as sent."""

    def all(self, name: str) -> list[str]:
        """The values of all fields of that name; none: an empty list."""
        wanted = name.lower()
        return [value for key, value in self.pairs if key.lower() == wanted]

    def __getitem__(self, name: str) -> str:
        values = self.all(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.all(name))

    def __iter__(self) -> Iterator[str]:
        return iter({key.lower(): key for key, _ in reversed(self.pairs)}.values())

    def __len__(self) -> int:
        return len({key.lower() for key, _ in self.pairs})

    def __repr__(self) -> str:
        return f"Headers({list(self.pairs)!r})"


class Source(Protocol):
    """Where a body comes from."""

    is_complete: bool
    errors: list[tuple[str, BaseException | None]]
    stderr: list[str]
    early_hints: list[Headers]

    def next_chunk(self) -> bytes | None:
        """The next chunk; None at the end."""

    def close(self) -> None:
        """Ask for no more, and have the application's iterable closed."""


class Response:
    """The answer to one request.

    Attributes, or the keys of a plain dict as small test clients return it: ``response["status"]``
    is the status line's text (``"200 OK"``), ``response["headers"]``, ``response["body"]`` and
    ``response["text"]`` are the attributes of that name.

    With ``stream=True`` the application stands still between two chunks: see :meth:`chunks`.
    """

    def __init__(
        self,
        request: Request,
        status: int,
        reason: str,
        headers: Headers,
        source: Source,
        cookies: dict[str, Cookie],
        history: tuple[Response, ...] = (),
    ) -> None:
        self.request = request
        """What was asked; after redirects the last one."""
        self.status = status
        """The status code."""
        self.reason = reason
        """The reason phrase, such as ``Not Found``."""
        self.headers = headers
        """As the client of a real server sees them: with Date, Server and the body's framing."""
        self.cookies = cookies
        """What its ``Set-Cookie`` fields set, by name; those that were ignored are not there."""
        self.history = history
        """The redirects that led here, oldest first."""
        self._source = source
        self._chunks: list[bytes] = []
        self._ended = False

    # --- the body ----------------------------------------------------------------------------

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes from the server: a chunk for each non-empty one of an iterator, all
        of a list at once.

        With ``stream=True`` the application is asked for the next chunk when this is, and not
        before. What ``write()`` is given is there as soon as the application returns.

        :raises Exception: what the application raises, unless ``raise_exceptions`` is off: then a
            body that is cut just ends, and :attr:`is_complete` is False.
        """
        number = 0
        while number < len(self._chunks) or self._read():
            yield self._chunks[number]
            number += 1

    def _read(self) -> bool:
        if self._ended:
            return False
        chunk = self._source.next_chunk()
        if chunk is None:
            self._ended = True
            return False
        self._chunks.append(chunk)
        return True

    @property
    def body(self) -> bytes:
        """All of it; read now, where it is not yet."""
        while self._read():
            pass
        if len(self._chunks) > 1:
            return b"".join(self._chunks)
        return self._chunks[0] if self._chunks else b""

    @property
    def text(self) -> str:
        """The body as text, in the charset of its Content-Type; without one in UTF-8.

        :raises UnicodeDecodeError: the body is not what it says.
        :raises LookupError: nobody knows that charset.
        """
        kind = Message()
        kind["Content-Type"] = self.headers.get("Content-Type", "")
        return self.body.decode(kind.get_content_charset("utf-8"))

    def json(self) -> Any:
        """The body read as JSON, whatever its Content-Type.

        :raises json.JSONDecodeError: it is none.
        """
        return json.loads(self.body)

    @property
    def is_complete(self) -> bool:
        """Whether the body ended as its head promised; False while it has not been read."""
        return self._source.is_complete and self._ended

    def close(self) -> None:
        """Leave, as a client does that goes away: what was not read never will be, and the
        application's iterable is closed. Any number of times."""
        self._ended = True
        self._source.close()

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # --- what else happened ------------------------------------------------------------------

    @property
    def errors(self) -> list[tuple[str, BaseException | None]]:
        """What a server would have logged as the application's errors: a line, the exception."""
        return self._source.errors

    @property
    def stderr(self) -> list[str]:
        """The lines that the application wrote to ``wsgi.errors``, without their newlines."""
        return self._source.stderr

    @property
    def early_hints(self) -> list[Headers]:
        """What the application gave to ``wsgi.early_hints``: the fields of each call."""
        return self._source.early_hints

    # --- as a dict ---------------------------------------------------------------------------

    _KEYS = ("status", "headers", "body", "text")
    __iter__ = None  # it would be neither chunks nor keys without doubt

    def keys(self) -> tuple[str, ...]:
        """``status``, ``headers``, ``body`` and ``text``; so ``dict(response)`` works."""
        return self._KEYS

    def __getitem__(self, key: str) -> Any:
        if key not in self._KEYS:
            raise KeyError(key)
        return f"{self.status} {self.reason}" if key == "status" else getattr(self, key)

    def __repr__(self) -> str:
        return f"<{self.status} {self.reason}: {self.request.method} {self.request.url}>"
