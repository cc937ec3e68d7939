"""Pages for programs: JSON in and out, and every error one line that says what to do.

========= ==========================================================================================
Status    Why
========= ==========================================================================================
400       what was sent cannot be read, or is not what the page takes
403       who asks may not
404, 405  there is no such page, or not by this method; which there are is said
409       not as the server stands now
503       nobody is there who could do it, for now
========= ==========================================================================================

An error is ``{"error": "..."}``. What a program sends with POST is a JSON object, or nothing, of
whatever type it says that it is: curl says what it likes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from wsgi_async.wsgi.types import Environ, StartResponse

__all__ = ["Asked", "JsonPages", "Page", "Pages", "Refusal"]

_HEADS = ("GET", "HEAD")


class Refusal(Exception):
    """A page has nothing but an error to give.

    :param status: the status, such as 409.
    :param text: one line.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Asked(NamedTuple):
    """A request to a page."""

    environ: Environ
    query: Mapping[str, str]
    body: Mapping[str, Any]

    def flag(self, name: str) -> bool:
        """Whether the query has ``name=1``; without it not.

        :raises Refusal: it is neither 0 nor 1.
        """
        text = self.query.get(name, "0")
        if text not in ("0", "1"):
            raise Refusal(400, f"{name} is 0 or 1")
        return text == "1"

    def number(self, name: str, low: float, high: float, default: float | None = None) -> float:
        """A number of the body.

        :param default: what it is where it is not given; None: it must be.
        :raises Refusal: it is none, or beyond the bounds.
        """
        value = self.body.get(name, default)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not low <= value <= high:
            raise Refusal(400, f'send {{"{name}": N}}, a number from {low:g} to {high:g}')
        return float(value)

    def text(self, name: str) -> str:
        """A text of the body.

        :raises Refusal: it is none, or empty.
        """
        value = self.body.get(name)
        if not isinstance(value, str) or not value:
            raise Refusal(400, f'send {{"{name}": "..."}}, a text')
        return value


Page = Callable[[Asked], Mapping[str, Any]]
"""*Pool thread.* What it answers; raises :class:`Refusal`."""

Pages = Mapping[str, Mapping[str, Page]]
"""By path, and then by method: ``GET`` or ``POST``. HEAD goes with GET."""


class JsonPages:
    """A WSGI application. *Pool threads,* several at once.

    :param pages: what there is.
    :param admit: called first, and raises :class:`Refusal` for who may not ask.
    """

    def __init__(
        self, pages: Pages, admit: Callable[[Environ], object] = lambda environ: None
    ) -> None:
        self._pages = pages
        self._admit = admit

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        status, more = 200, []
        try:
            self._admit(environ)
            answer: Mapping[str, Any] = self._find(environ)(_asked(environ))
        except Refusal as refusal:
            status, answer = refusal.status, {"error": refusal.text}
            if isinstance(refusal, _NotByMethod):
                more.append(("Allow", refusal.methods))
        body = json.dumps(answer).encode() + b"\n"
        fields = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        start_response(f"{status} {HTTPStatus(status).phrase}", fields + more)
        return [body] if environ["REQUEST_METHOD"] != "HEAD" else []

    def _find(self, environ: Environ) -> Page:
        methods = self._pages.get(environ["SCRIPT_NAME"] + environ["PATH_INFO"])
        if methods is None:
            raise Refusal(404, f"no such page; there are: {', '.join(self._pages)}")
        method = environ["REQUEST_METHOD"]
        page = methods.get("GET" if method == "HEAD" else method)
        if page is None:
            raise _NotByMethod(methods)
        return page


class _NotByMethod(Refusal):
    def __init__(self, methods: Iterable[str]) -> None:
        self.methods = ", ".join("GET, HEAD" if each == "GET" else each for each in methods)
        super().__init__(405, f"ask for it by {self.methods}")


def _asked(environ: Environ) -> Asked:
    body: Any = {}
    if environ["REQUEST_METHOD"] not in _HEADS:
        # All of it has come before the application is called, and it has a bound.
        text = environ["wsgi.input"].read()
        try:
            body = json.loads(text) if text.strip() else {}
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise Refusal(400, "the body is a JSON object, or empty")
    query = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    return Asked(environ, query, body)
