"""A site by Flask that insists on https, and shows what it was asked."""

from __future__ import annotations

import secure_facts
from flask import Flask, redirect, request
from werkzeug.wrappers import Response

app = Flask(__name__)


@app.before_request
def insist() -> Response | None:
    if request.is_secure:
        return None
    return redirect(request.url.replace("http://", "https://", 1), 301)


@app.get("/", defaults={"path": ""})
@app.get("/<path:path>")
def show(path: str) -> dict[str, object]:
    return secure_facts.of(request.environ, request.url, request.remote_addr or "")
