"""Werkzeug: a response whose body is asynchronous.

::

    @Request.application
    def application(request):
        return LiveResponse(ticker(request.args["symbol"]))

For Flask see :mod:`wsgi_async.flask`: its responses are of a class of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import Any, NoReturn

from .realtime import sse
from .realtime.live import Live, check_body, check_callback

try:
    # As the application itself would import it: the class is to be the same.
    from werkzeug.datastructures import Headers
    from werkzeug.wrappers import Response
except ModuleNotFoundError as error:
    if error.name != "werkzeug":
        raise
    raise ImportError("wsgi_async.werkzeug needs Werkzeug: pip install werkzeug") from None

__all__ = ["LiveResponse"]


class LiveResponse(Response):
    """A response with an asynchronous body, which holds no thread here.

    :param response: an asynchronous iterable of bytes: as a rule what an ``async def`` with
        ``yield`` returns, or ``sse.stream()``, which brings its header fields with it. (Another
        body whose type is said to be ``text/event-stream`` gets the other fields, too.)
    :param status: as for any response; default 200.
    :param headers: as for any response.
    :param mimetype: as for any response.
    :param content_type: as for any response.
    :param close: called once, when the response is over, as with ``call_on_close``.
    :raises TypeError: another kind of body; the message says what to write.

    Functions given to ``call_on_close`` are called once, on a thread that may block, however the
    response ends: also where its body is never begun, as in response to a HEAD. A part of it cannot
    be had: a request with a Range gets all. It is made as it is sent: what would need all of it
    before, as ``get_data`` and ``freeze``, raises RuntimeError, and ``add_etag`` adds none. A tag
    that is known by other means (``set_etag``) is compared as ever.

    Where ``response`` is replaced, as by ``set_data`` in an error handler, it is an ordinary one.
    """

    def __init__(
        self,
        response: AsyncIterable[bytes],
        status: Any = None,
        headers: Mapping[str, Any] | Iterable[tuple[str, str]] | None = None,
        mimetype: str | None = None,
        content_type: str | None = None,
        *,
        close: Callable[[], object] | None = None,
    ) -> None:
        body = check_body(response, type(self).__name__)
        closing = [] if close is None else [check_callback(close)]
        if isinstance(body, Live):
            closing.append(body.close)
            body = body.source
        fields = sse.headers()
        is_stream = isinstance(body, sse.EventStream)
        if is_stream:
            headers = Headers(headers or ())
            if mimetype is None and content_type is None:
                content_type = headers.setdefault("Content-Type", fields["Content-Type"])
        super().__init__(None, status, headers, mimetype, content_type, direct_passthrough=True)
        if is_stream or self.mimetype == fields["Content-Type"]:
            for name, value in fields.items():
                self.headers.setdefault(name, value)
        self._on_close.extend(closing)
        # The body knows what is to be called at the end. It is all that the server gets, also of a
        # response that somebody has made one of another class, as Flask does with a plain one.
        self._live = Live(body, self._on_close)
        self.response: Any = self._live

    @property
    def is_live(self) -> bool:
        """Whether the body is still the asynchronous one that it was made with."""
        return self.response is self._live

    def get_app_iter(self, environ: dict[str, Any]) -> Iterable[bytes]:
        if not self.is_live:
            body = self.response
            if hasattr(type(body), "__aiter__"):
                self.response = Live(getattr(body, "source", body), [self.close])
            else:
                self.direct_passthrough = False  # else nothing would be called at the end
        return super().get_app_iter(environ)

    def close(self) -> None:
        """Close what it has, once; the body, if nobody has begun it, will not be."""
        try:
            if not self.is_live and hasattr(self.response, "close"):
                self.response.close()
        finally:
            self._live.close()

    def make_conditional(
        self,
        request_or_environ: Any,
        accept_ranges: bool | str = False,
        complete_length: int | None = None,
    ) -> Response:
        if self.is_live:
            return super().make_conditional(request_or_environ)
        return super().make_conditional(request_or_environ, accept_ranges, complete_length)

    def add_etag(self, overwrite: bool = False, weak: bool = False) -> None:
        if not self.is_live:
            super().add_etag(overwrite, weak)

    def get_data(self, as_text: bool = False) -> Any:
        if self.is_live:
            self._refuse("get_data()")
        return super().get_data(True) if as_text else super().get_data()

    data = property(get_data, Response.set_data)

    def make_sequence(self) -> None:
        if self.is_live:
            self._refuse("make_sequence()")
        super().make_sequence()

    def freeze(self) -> None:
        if self.is_live:
            self._refuse("freeze()")
        super().freeze()

    def _refuse(self, what: str) -> NoReturn:
        raise RuntimeError(
            f"{what} needs the whole body, and that of a live response is made as it is sent, "
            "perhaps for ever: leave out responses whose is_streamed is true"
        )
