"""Every middleware of the package around one application."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from typing import Any

import pytest
from gateway import App, environ_of

from wsgi_async.middleware import (
    CORS,
    AccessLog,
    BasicAuth,
    ConnectionPool,
    Errors,
    HealthChecks,
    HTTPExceptions,
    Pooled,
    RequestId,
    debugging,
)

ORIGIN = "https://page.example"
ALLOWED = {
    "Authorization": "Basic " + base64.b64encode(b"ada:secret").decode(),
    "Origin": ORIGIN,
    "X-Request-ID": "the-request",
}


VARIABLES = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in ALLOWED.items()}
access_log = logging.Logger("access", logging.INFO)
access_log.addHandler(logging.NullHandler())
error_log = logging.Logger("errors")
error_log.addHandler(logging.NullHandler())


def pooled(application: App) -> App:
    pool = ConnectionPool(object)

    def borrowing(environ: Any, start_response: Any) -> Any:
        environ["wsgi_async.pool"].get()
        return application(environ, start_response)

    def checked(environ: Any, start_response: Any) -> Any:
        assert pool.lent == 0, "the connection of the request before is still lent"
        return outer(environ, start_response)

    outer = Pooled(borrowing, pool)
    return checked


WRAPPERS: dict[str, Callable[[App], App]] = {
    "access": lambda app: AccessLog(app, logger=access_log),
    "basicauth": lambda app: BasicAuth(app, {"ada": "secret"}),
    "cors": lambda app: CORS(app, origins=[ORIGIN], expose=["X-Seen"], credentials=True),
    "errors": lambda app: Errors(app, logger=error_log),
    "debugging": debugging,
    "httpexceptions": HTTPExceptions,
    "healthchecks": lambda app: HealthChecks(app, {"nothing": lambda: None}),
    "pooled": pooled,
    "requestid": RequestId,
}


def all_of_them(application: App) -> App:
    for wrap in SINGLE:
        application = wrap(application)
    return application


SINGLE = tuple(WRAPPERS.values())


WRAPPERS["all of them"] = all_of_them


wrapped = pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)


def environ(method: str = "GET", **variables: Any) -> dict[str, Any]:
    return environ_of("/page?x=1", method, **VARIABLES, **variables)
