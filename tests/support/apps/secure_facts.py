"""What the sites that insist on https tell of a request, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def of(environ: Mapping[str, Any], url: str, client: str) -> dict[str, object]:
    shown = {key: value for key, value in environ.items() if isinstance(value, str)}
    return {"environ": shown, "url": url, "client": client}


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """The same without a framework, by either scheme."""
    import json

    start_response("200 OK", [("Content-Type", "application/json")])
    url = f"{environ['wsgi.url_scheme']}://{environ['HTTP_HOST']}{environ['PATH_INFO']}"
    return [json.dumps(of(environ, url, environ["REMOTE_ADDR"])).encode()]
