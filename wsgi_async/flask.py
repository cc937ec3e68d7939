"""Flask: a response whose body is asynchronous.

::

    from wsgi_async import sse
    from wsgi_async.flask import LiveResponse

    @app.get("/prices/<symbol>")
    def prices(symbol):
        user = session["user"]  # here: there is no request when the body runs
        return LiveResponse(sse.stream(ticker(symbol, user)))
"""

from __future__ import annotations

try:
    from flask import Response  # as the application itself would import it
except ModuleNotFoundError as error:
    if error.name != "flask":
        raise
    raise ImportError("wsgi_async.flask needs Flask: pip install flask") from None

from . import werkzeug  # after Flask, which brings it along: who has neither wants Flask

__all__ = ["LiveResponse"]


class LiveResponse(werkzeug.LiveResponse, Response):
    """See :class:`.werkzeug.LiveResponse`: the same for Flask.

    ``after_request`` functions, sessions and signals see it as any response; those of the request's
    end (``teardown_request``, ``teardown_appcontext``) come before its body runs, which has neither
    ``request`` nor ``g`` nor ``session``, and cannot set a cookie: take what is needed in the view,
    as an argument of the generator.

    With a ``response_class`` of one's own::

        class MyLiveResponse(LiveResponse, MyResponse): ...
    """
