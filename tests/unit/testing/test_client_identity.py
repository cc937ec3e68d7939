"""What a test client shows of a request's id and of its time, as a server with these options."""

from __future__ import annotations

import re
from typing import Any

import pytest

from wsgi_async.errors import ConfigError
from wsgi_async.testing import TestClient

TIMING = re.compile(r"queue;dur=0\.0, app;dur=\d+\.\d, cpu;dur=\d+\.\d")


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [str(environ.get("wsgi_async.request_id")).encode()]


def test_an_id_goes_all_the_way() -> None:
    client = TestClient(application, request_id_header="X-Request-ID")
    response = client.get("/", headers={"X-Request-ID": "a-1"})
    assert (response.text, response.headers["X-Request-ID"]) == ("a-1", "a-1")
    made = client.get("/", headers={"X-Request-ID": "a b"})
    assert made.text == made.headers["X-Request-ID"] != "a b"
    assert made.text not in ("", "None")
    large = TestClient(application, request_id_header="X-Request-ID", max_body_size=1)
    refused = large.post("/", data=b"xx", headers={"X-Request-ID": "a-2"})
    assert (refused.status, refused.headers["X-Request-ID"]) == (413, "a-2")


def test_where_the_time_went() -> None:
    response = TestClient(application, server_timing=True).get("/")
    assert TIMING.fullmatch(response.headers["Server-Timing"])


def test_both_are_off_by_default() -> None:
    response = TestClient(application).get("/", headers={"X-Request-ID": "a-1"})
    assert response.text == "None"
    assert "X-Request-ID" not in response.headers
    assert "Server-Timing" not in response.headers


def test_what_takes_time_is_not_for_it() -> None:
    """Nothing looks at it meanwhile."""
    with pytest.raises(ConfigError, match="slow_request"):
        TestClient(application, slow_request=1.0)
