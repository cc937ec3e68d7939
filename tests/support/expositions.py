"""What Prometheus reads of a server that has done a little of everything."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from rawclient import request
from serving import serving
from tools import require_module

from wsgi_async.operations.counting import CountingObserver
from wsgi_async.operations.exposition import expose
from wsgi_async.scoreboard import table
from wsgi_async.scoreboard.board import Scoreboard

__all__ = ["OPENMETRICS", "counting_site", "exposition", "filled_board", "parsed"]

OPENMETRICS = "application/openmetrics-text"


def counting_site(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """The status that the path says."""
    environ["wsgi.input"].read()
    start_response(f"{environ['PATH_INFO'][1:]} It Is So", [("Content-Type", "text/plain")])
    return [b"0123456789"]


@functools.cache
def filled_board() -> Scoreboard:
    """Of a server in this process, over TLS, which has stopped since, and its parent."""
    board = Scoreboard(4)
    observer = CountingObserver(board.area(0))
    with serving(counting_site, tls=True, observers=[observer]) as served:
        with served.client() as client:
            for method, status in (("GET", 200), ("POST", 201), ("GET", 503)):
                client.send(request(f"/{status}", method=method, body=b"abc"))
                assert client.response().status == status
            served.thread.run(_sample(observer, served.server))
        with served.client() as client:
            client.send(b"GET no request\r\n\r\n")
            assert client.response().status == 400
        served.wait_until_idle()
    parent = board.parent
    parent.begin()
    parent.set(table.UP, 1.0)
    parent.add(table.RESTARTS, "died")
    reading = board.read()
    for metric in table.METRICS:
        for labels in metric.series if metric.kind is table.Kind.GAUGE else ():
            if not list(reading.gauge(metric, *labels)):  # it is the parent's to tell
                parent.set(metric, 1.0, *labels)
    return board


async def _sample(observer: CountingObserver, server: Any) -> None:
    observer.sample(server.figures())


def exposition(accept: str = "") -> tuple[str, str]:
    """The Content-Type and the text of :func:`filled_board`."""
    require_module("prometheus_client")
    content_type, text = expose(filled_board(), accept)
    return content_type, text.decode()


def parsed(text: str, accept: str = "") -> list[Any]:
    """The families of a text, by prometheus_client's own parsers.

    :param accept: what was accepted: in OpenMetrics, if anything.
    """
    require_module("prometheus_client")
    kind = "openmetrics." if accept else ""
    parser = importlib.import_module(f"prometheus_client.{kind}parser")
    return list(parser.text_string_to_metric_families(text))
