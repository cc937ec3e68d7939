"""The pytest plugin. Installed with the package; ``-p no:wsgi_async`` turns it off.

``wsgi_client``
    ``wsgi_client(app, **options)``: a :class:`~wsgi_async.testing.TestClient`; responses that
    stand open are closed at the end of the test.

``wsgi_server``
    ``wsgi_server(app, **options)``: a :class:`~wsgi_async.testing.LiveServer` that serves on a real
    socket until the end of the test. Options as for :func:`~wsgi_async.testing.live_server`. If the
    test fails, its report has the requests of each server, with their times, and its logs.

Nothing is loaded and nothing is done before a test asks for one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .client import TestClient
    from .live import LiveServer

__all__ = ["wsgi_client", "wsgi_server"]

_SERVERS = pytest.StashKey["list[LiveServer]"]()


@pytest.fixture
def wsgi_client() -> Iterator[Callable[..., TestClient]]:
    """wsgi_client(app, **options): a wsgi_async.testing.TestClient."""
    from .client import TestClient

    with ExitStack() as stack:
        yield lambda application, **options: stack.enter_context(TestClient(application, **options))


@pytest.fixture
def wsgi_server(request: pytest.FixtureRequest) -> Iterator[Callable[..., LiveServer]]:
    """wsgi_server(app, **options): a live server that ends with the test."""
    from .live import live_server

    servers = request.node.stash.setdefault(_SERVERS, [])
    with ExitStack() as stack:

        def start(application: Callable[..., object], **options: object) -> LiveServer:
            server = stack.enter_context(live_server(application, **options))  # type: ignore[arg-type]
            servers.append(server)
            return server

        yield start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put what the servers of a failed test have to say into its report."""
    report = yield
    if report.failed:
        for server in item.stash.get(_SERVERS, ()):
            lines = [*map(repr, server.requests), server.log_text]
            report.sections.append((f"wsgi_async log of {server.url}", "\n".join(lines)))
    return report
