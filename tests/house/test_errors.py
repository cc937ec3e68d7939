"""The exception tree: who catches what."""

from __future__ import annotations

import pytest

from wsgi_async import errors
from wsgi_async.errors import (
    ApplicationError,
    ClientDisconnected,
    HTTPError,
    RequestTimeout,
    StorageExhausted,
    WsgiAsyncError,
)


def test_an_http_error_tells_its_status_and_reason() -> None:
    error = HTTPError(503, "All threads are busy", retry_after=3)
    assert (error.status, error.reason, error.retry_after) == (503, "Service Unavailable", 3)
    assert str(error) == "503 Service Unavailable: All threads are busy"
    assert HTTPError(400, "x").retry_after is None


@pytest.mark.parametrize(
    ("error", "caught_as"),
    [
        (ApplicationError, AssertionError),  # what wsgiref raises, and middleware catches
        (ApplicationError, WsgiAsyncError),
        (ClientDisconnected, ConnectionError),
        (ClientDisconnected, OSError),
        (StorageExhausted, OSError),
        (RequestTimeout, BaseException),
    ],
)
def test_what_may_catch_it(error: type[BaseException], caught_as: type[BaseException]) -> None:
    assert issubclass(error, caught_as)


def test_what_is_not_the_servers_own_failing() -> None:
    assert not issubclass(ClientDisconnected, WsgiAsyncError)
    assert not issubclass(ApplicationError, OSError)


def test_what_no_application_catches_by_mistake() -> None:
    assert not issubclass(RequestTimeout, Exception)


def test_the_tree_in_the_docstring_is_complete() -> None:
    assert errors.__doc__ is not None
    for name in errors.__all__:
        assert name in errors.__doc__
