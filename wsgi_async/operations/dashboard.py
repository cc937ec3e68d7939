"""The dashboard: a page that shows how the server is, live, and what it is made of.

============================ ===================================================================
``/``                        the page, with its files beside it; ``/?token=...`` signs in
``/sign-in``                 POST of the form with the token
``/api/state``               how the server is, with the newest row of the history and the last
                             entries of the journal
``/api/history``             the hour, second by second (:data:`.history.COLUMNS`)
``/api/events``              an event stream: ``state`` each second, as ``/api/state``; 503 where
                             all places are taken
``/api/requests``            those in flight, with ``?stacks=1`` what their threads do
``/api/reload`` and others   POST: what the control socket does, for who has shown the token
============================ ===================================================================

It is a WSGI application on the server's own classes. What many ask for is made once for all of
them, so that asking often costs little; nobody waits for a process that does not answer but who has
asked for the requests in flight.

Nothing of the address or the fields of a request is ever logged here: the token may be in them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from wsgi_async.wsgi.types import Environ, Fields, StartResponse

from .admission import Admission, Visit, Wish
from .history import COLUMNS, STEP, History
from .journal import Journal, without_query
from .json_pages import JsonPages, Pages, Refusal
from .kept import Kept
from .page_files import INDEX, SIGN_IN, PageFile, page_files
from .viewers import Feed, Places

__all__ = ["API", "ERRORS", "DashboardApplication", "Shown"]

API = "/api"
"""What all but the page and its files begin with."""

ERRORS = 50
"""Entries of the journal that are shown."""

_HTML, _JSON, _TEXT = (
    f"{kind}; charset=utf-8" for kind in ("text/html", "application/json", "text/plain")
)

_LONGEST_FORM = 4096

_CHALLENGE = ("WWW-Authenticate", 'Bearer realm="dashboard"')
"""With each 401 (RFC 9110 §15.5.2). No browser asks anybody anything for this one."""

_SECURITY: Fields = [
    (
        "Content-Security-Policy",
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "object-src 'none'",
    ),
    ("X-Frame-Options", "DENY"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
]
"""On every answer: nothing is loaded from elsewhere, and nobody shows it in a frame."""

_SIGNED_IN = (
    b'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Signed in</title></head>'
    b'<body><p><a href="./">Signed in: to the dashboard</a></p></body></html>'
)


class Shown(NamedTuple):
    """What there is to show."""

    state: Callable[[], Mapping[str, Any]]
    """How the server is; asks nobody."""
    history: History
    journal: Journal
    requests: Callable[[bool], Mapping[str, Any]]
    """Those in flight, with stacks or without; waits for the processes."""


class _Answer(NamedTuple):
    """What is answered."""

    status: int
    type: str
    body: bytes = b""
    fields: tuple[tuple[str, str], ...] = ()


class DashboardApplication:
    """A WSGI application. *Pool threads,* several at once.

    :param shown: what it shows.
    :param admission: who may see it, and who may act.
    :param actions: what may be done, by path (without :data:`API`) and method.
    :param shows_queries: ``--dashboard-show-queries``.
    :param own_error: told of errors of its own; nothing of the request is in them.
    :raises OSError: the files of the page cannot be read.
    """

    def __init__(
        self,
        shown: Shown,
        admission: Admission,
        actions: Pages,
        *,
        shows_queries: bool = False,
        own_error: Callable[[BaseException], object],
    ) -> None:
        self._shown = shown
        self._admission = admission
        self._shows_queries = shows_queries
        self._own_error = own_error
        self._files = page_files()
        self._state = Kept(self._make_state)
        self._history = Kept(self._make_history)
        self._requests = {
            stacks: Kept(partial(self._make_requests, stacks), 1.0) for stacks in (False, True)
        }
        self._feed = Feed()
        self._places = Places(self._feed, self._event)
        self._actions = JsonPages({f"{API}{path}": methods for path, methods in actions.items()})
        self._methods = {f"{API}{path}": tuple(methods) for path, methods in actions.items()}
        self._figures: dict[str, Callable[[Environ], _Answer]] = {
            f"{API}/state": lambda environ: _json(self._event()),
            f"{API}/history": lambda environ: _json(self._history.get(self._feed.number)),
            f"{API}/requests": self._answer_requests,
        }

    # --- beside the requests -----------------------------------------------------------------

    def publish(self, *, is_clock_set: bool = False) -> None:
        """*Any thread:* there is a new row of the history: tell who watches.

        :param is_clock_set: whether all other rows have other times now: who watches begins anew.
        """
        if is_clock_set:
            self._places.dismiss()
        self._feed.publish()

    def close(self) -> None:
        """*Any thread:* end the event streams: they would hold up a stop."""
        self._feed.close()

    # --- requests ----------------------------------------------------------------------------

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, fields: Fields) -> Callable[[bytes], object]:
            return start_response(status, [*fields, *_SECURITY])

        path = environ["SCRIPT_NAME"] + environ["PATH_INFO"]
        try:
            if path in self._methods:
                self._admit(Wish.ACTION, environ, self._methods[path])
                return self._actions(environ, start)
            if path == f"{API}/events":
                self._admit(Wish.FIGURES, environ)
                return self._stream(environ, start)
            answer = self._find(path, environ)
        except Refusal as refusal:
            answer = _refused(path, refusal)
        except Exception as error:
            self._own_error(error)
            answer = _refused(path, Refusal(500, "an error inside the server: its log has it"))
        fields = []
        if answer.status != HTTPStatus.NOT_MODIFIED:
            fields += [("Content-Type", answer.type), ("Content-Length", str(len(answer.body)))]
        if not any(name == "Cache-Control" for name, _ in answer.fields):
            fields.append(("Cache-Control", "no-store"))
        start(f"{answer.status} {HTTPStatus(answer.status).phrase}", [*fields, *answer.fields])
        return [answer.body] if environ["REQUEST_METHOD"] != "HEAD" else []

    def _admit(
        self, wish: Wish, environ: Environ, methods: tuple[str, ...] = ("GET", "HEAD")
    ) -> None:
        """:raises Refusal: it is not granted."""
        verdict = self._admission.judge(wish, _visit(environ), methods)
        if not verdict.is_granted:
            raise _Refused(verdict.status, verdict.text, verdict.allow)

    def _find(self, path: str, environ: Environ) -> _Answer:
        figures = self._figures.get(path)
        if figures is not None:
            self._admit(Wish.FIGURES, environ)
            return figures(environ)
        if path == SIGN_IN and environ["REQUEST_METHOD"] == "POST":
            self._admit(Wish.PAGE, environ, ("POST",))
            return self._sign_in(environ, _form_token(environ))
        self._admit(Wish.PAGE, environ)
        if path == INDEX:
            return self._index(environ)
        file = self._files.get(path)
        if file is None:
            raise Refusal(404, "not here: the dashboard is at /")
        return _file(file, environ)

    # --- the page ----------------------------------------------------------------------------

    def _index(self, environ: Environ) -> _Answer:
        query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        if "token" in query:
            return self._sign_in(environ, query["token"][0])
        if not self._admission.is_known(_visit(environ)):
            form = self._files[SIGN_IN]
            return _Answer(401, form.type, form.body, (_CHALLENGE,))
        return _file(self._files[INDEX], environ)

    def _sign_in(self, environ: Environ, token: str) -> _Answer:
        """Have a cookie stand for the token, and the token leave the address."""
        if not self._admission.has_token:
            return _Answer(303, _TEXT, fields=(("Location", "./"),))
        if not self._admission.is_token(token):
            raise Refusal(403, "that is not the token in the file of --dashboard-token-file")
        is_secure = environ["wsgi.url_scheme"] == "https"
        cookie = self._admission.make_cookie(environ.get("HTTP_HOST", ""), is_secure=is_secure)
        if environ.get("HTTP_SEC_FETCH_SITE") in ("cross-site", "same-site"):
            # A link elsewhere was clicked: a cookie that is for our own site alone is not sent
            # where that leads on to, but it is with what our own page asks for.
            fields = (("Set-Cookie", cookie), ("Refresh", "0; url=./"))
            return _Answer(200, _HTML, _SIGNED_IN, fields)
        return _Answer(303, _TEXT, fields=(("Set-Cookie", cookie), ("Location", "./")))

    # --- figures -----------------------------------------------------------------------------

    def _make_state(self) -> bytes:
        journal = self._shown.journal
        state = {
            **self._shown.state(),
            "now_row": self._shown.history.newest(),
            "errors": journal.entries(ERRORS, shows_queries=self._shows_queries),
            "errors_lost": journal.lost,
            "viewers": len(self._places),
            "actions": self._admission.has_token,
        }
        return _dumped(state)

    def _make_history(self) -> bytes:
        rows = self._shown.history.rows()
        return _dumped({"columns": COLUMNS, "step": STEP, "rows": rows})

    def _make_requests(self, stacks: bool) -> bytes:
        found = self._shown.requests(stacks)
        if self._shows_queries:
            return _dumped(found)
        processes = [
            {**answer, "requests": [_masked(each) for each in answer.get("requests", ())]}
            for answer in found["processes"]
        ]
        return _dumped({**found, "processes": processes})

    def _answer_requests(self, environ: Environ) -> _Answer:
        query = parse_qs(environ.get("QUERY_STRING", ""))
        return _json(self._requests[query.get("stacks") == ["1"]].get())

    # --- event streams -----------------------------------------------------------------------

    def _stream(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        from wsgi_async.realtime import sse
        from wsgi_async.realtime.live import live

        fields = list({**sse.headers(), "Cache-Control": "no-store, no-transform"}.items())
        if environ["REQUEST_METHOD"] == "HEAD":
            start("200 OK", fields)
            return []
        viewer = self._places.take()
        if viewer is None:
            raise _Refused(503, "all places are taken: ask for /api/state now and then", after=5)
        start("200 OK", fields)
        return live(viewer, viewer.close)

    def _event(self) -> bytes:
        return self._state.get(self._feed.number)


class _Refused(Refusal):
    """A refusal with a field more.

    :param allow: the methods that there are, where it is for the method.
    :param after: seconds after which to ask again, where it is for now.
    """

    def __init__(self, status: int, text: str, allow: str = "", after: int = 0) -> None:
        super().__init__(status, text)
        self.fields: tuple[tuple[str, str], ...] = ()
        if allow:
            self.fields += (("Allow", allow),)
        if status == HTTPStatus.UNAUTHORIZED:
            self.fields += (_CHALLENGE,)
        if after:
            self.fields += (("Retry-After", str(after)),)


def _refused(path: str, refusal: Refusal) -> _Answer:
    """As JSON for programs, and as text for who looks."""
    fields = refusal.fields if isinstance(refusal, _Refused) else ()
    if path.startswith(API):
        body = _dumped({"error": refusal.text})
        return _Answer(refusal.status, _JSON, body, fields)
    return _Answer(refusal.status, _TEXT, f"{refusal.text}\n".encode(), fields)


def _visit(environ: Environ) -> Visit:
    def field(name: str) -> str:
        return str(environ.get(f"HTTP_{name}", ""))

    return Visit(
        method=environ["REQUEST_METHOD"],
        host=field("HOST"),
        origin=field("ORIGIN"),
        site=field("SEC_FETCH_SITE"),
        cookie=field("COOKIE"),
        authorization=field("AUTHORIZATION"),
        content_type=str(environ.get("CONTENT_TYPE", "")),
    )


def _form_token(environ: Environ) -> str:
    form: bytes = environ["wsgi.input"].read(_LONGEST_FORM)
    return parse_qs(form.decode("latin-1")).get("token", [""])[0].strip()


def _file(file: PageFile, environ: Environ) -> _Answer:
    fields = (("ETag", file.etag), ("Cache-Control", "no-cache"))
    if file.etag in environ.get("HTTP_IF_NONE_MATCH", ""):
        return _Answer(304, file.type, fields=fields)
    return _Answer(200, file.type, file.body, fields)


def _dumped(value: object) -> bytes:
    """JSON on one line, whose text cannot be taken for anything else, wherever it stands."""
    text = json.dumps(value, separators=(",", ":"))
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text.encode()


def _json(body: bytes) -> _Answer:
    return _Answer(200, _JSON, body)


def _masked(request: Mapping[str, Any]) -> dict[str, Any]:
    target = str(request.get("target", ""))
    return {**request, "target": without_query(target, target)}
