"""Pages: which type a client gets, and that nothing in them is live."""

from __future__ import annotations

import json

import pytest

from wsgi_async.middleware.pages import TYPES, page, preferred

HTML, JSON, PROBLEM = TYPES


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", HTML),
        ("*/*", HTML),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML),
        ("application/json", JSON),
        ("Application/JSON ; charset=utf-8", JSON),
        ("application/json, text/plain, */*", JSON),
        ("application/json, text/html", HTML),
        ("application/json, text/html;q=0.9", JSON),
        ("text/html;q=0.2, application/*;q=0.3", JSON),
        ("application/problem+json", PROBLEM),
        ("application/problem+json, application/json;q=0.5", PROBLEM),
        ("*/*;q=0.5, text/html;q=0", JSON),
        ("text/*;q=0.1, */*;q=0.001", HTML),
        ("image/png", HTML),
        ("application/json;q=0", HTML),
        ("application/json;q=2", JSON),
        (";;,,q=1,", HTML),
    ],
)
def test_what_the_client_likes_best(accept: str, expected: str) -> None:
    assert preferred(accept, TYPES) == expected


def test_html_is_escaped() -> None:
    fields, body = page({}, "404 <Not> Found", "<script>alert('x')</script> & \ud800")
    assert dict(fields)["Content-Type"] == "text/html; charset=utf-8"
    assert b"<script" not in body
    assert b"<Not>" not in body
    assert b"&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; &amp; &#55296;" in body
    assert body.decode("utf-8")


@pytest.mark.parametrize("detail", ["", 'a "detail" \xe9'])
def test_json_has_the_members_of_rfc_9457(detail: str) -> None:
    fields, body = page({"HTTP_ACCEPT": "application/json"}, "404 Not Found", detail)
    assert ("Vary", "Accept") in fields
    assert dict(fields)["Content-Type"] == JSON
    expected: dict[str, object] = {"status": 404, "title": "Not Found"}
    assert json.loads(body) == (expected | {"detail": detail} if detail else expected)
