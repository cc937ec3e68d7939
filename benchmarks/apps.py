"""The applications that are measured: the same work on every server."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

BODY = b"Hello, world!\n"


def hello(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The least an application can do: what is measured is the server."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))])
    return [BODY]


def __getattr__(name: str) -> Any:
    if name != "flask":
        raise AttributeError(name)
    from flask import Flask, jsonify, request

    app = Flask("benchmark")

    @app.get("/", defaults={"path": ""})
    @app.get("/<path:path>")
    def view(path: str) -> Any:
        return jsonify(path=path, page=request.args.get("page"), user=request.cookies.get("user"))

    return app
