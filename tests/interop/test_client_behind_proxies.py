"""``wsgi_async.client`` behind proxies: a tab that is closed there has gone here too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from front_ends import haproxy, listener, nginx
from rawclient import TIMEOUT, RawClient, request
from serving import Served, serving

NGINX = """
    server {{
        listen 127.0.0.1:{listen};
        location / {{
            proxy_pass http://127.0.0.1:{port};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
"""
HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option abortonclose
frontend front
    bind fd@{fd}
    default_backend back
backend back
    server one 127.0.0.1:{port}
"""


class App:
    """Waits for its client to go; one of its responses has begun by then."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.told = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        client = environ["wsgi_async.client"]
        client.on_gone(self.told.set)
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/begun":
            return self.begun(client)
        self.wait(client)
        return []

    def begun(self, client: Any) -> Iterator[bytes]:
        yield b"first"
        self.wait(client)

    def wait(self, client: Any) -> None:
        self.entered.set()
        assert client.wait(TIMEOUT)
        assert self.told.wait(TIMEOUT)


def ask(port: int, app: App, target: str) -> None:
    with RawClient(("127.0.0.1", port)) as client:
        client.send(request(target))
        assert app.entered.wait(TIMEOUT)
        if target == "/begun":
            client.read_until(b"first")
    assert app.told.wait(TIMEOUT)


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def served(app: App) -> Iterator[Served]:
    with serving(app, threads=2) as served:
        yield served
        served.wait_until(lambda: served.pool.busy == 0)


targets = pytest.mark.parametrize("target", ["/waits", "/begun"])


@targets
def test_nginx(target: str, app: App, served: Served, tmp_path: Path) -> None:
    with listener() as front:
        text = NGINX.format(listen=front.getsockname()[1], port=served.address[1])
        with nginx(tmp_path, text, [front]):
            ask(front.getsockname()[1], app, target)


@targets
def test_haproxy(target: str, app: App, served: Served, tmp_path: Path) -> None:
    with listener() as front:
        text = HAPROXY.format(fd=front.fileno(), port=served.address[1])
        with haproxy(tmp_path, text, [front]):
            ask(front.getsockname()[1], app, target)
