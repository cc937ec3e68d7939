"""Pages for programs: what is asked and answered, and how an error is told."""

from __future__ import annotations

import json

import pytest

from wsgi_async.operations.json_pages import Asked, JsonPages, Refusal
from wsgi_async.testing import TestClient


def echo(asked: Asked) -> dict[str, object]:
    return {"query": asked.query, "body": asked.body, "stacks": asked.flag("stacks")}


def busy(asked: Asked) -> dict[str, object]:
    raise Refusal(409, "not now")


@pytest.fixture
def client() -> TestClient:
    pages = {"/echo": {"GET": echo, "POST": echo}, "/busy": {"POST": busy}}
    return TestClient(JsonPages(pages))


def test_json_in_and_out(client: TestClient) -> None:
    answer = client.post("/echo?stacks=1&x=", data=b'{"a": [1]}')
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json() == {"query": {"stacks": "1", "x": ""}, "body": {"a": [1]}, "stacks": True}
    assert answer.body.endswith(b"}\n"), "a line, in a terminal too"


def test_no_body_is_an_empty_object(client: TestClient) -> None:
    assert client.post("/echo", data=b" ").json()["body"] == {}
    assert client.get("/echo").json()["body"] == {}
    head = client.head("/echo")
    assert (head.status, head.body) == (200, b"")


@pytest.mark.parametrize(
    "body", [b"[]", b"1", b"null", b"{", b"\xff", b"processes=3", b"[" * 60000, b'{"a": 1}{']
)
def test_what_is_no_object_is_refused_in_a_line(client: TestClient, body: bytes) -> None:
    answer = client.post("/echo", data=body)
    assert (answer.status, answer.json()) == (400, {"error": "the body is a JSON object, or empty"})


def test_what_is_not_there_says_what_is(client: TestClient) -> None:
    answer = client.get("/<script>")
    assert answer.status == 404
    assert answer.json() == {"error": "no such page; there are: /echo, /busy"}
    for method, path, allowed in [("GET", "/busy", "POST"), ("PUT", "/echo", "GET, HEAD, POST")]:
        answer = client.request(method, path)
        assert (answer.status, answer.headers["Allow"]) == (405, allowed)
        assert answer.json() == {"error": f"ask for it by {allowed}"}


def test_a_page_may_refuse(client: TestClient) -> None:
    answer = client.post("/busy")
    assert (answer.status, answer.json()) == (409, {"error": "not now"})


def test_who_may_not_ask_learns_nothing_else() -> None:
    def admit(environ: dict[str, object]) -> None:
        raise Refusal(403, "not you")

    client = TestClient(JsonPages({"/busy": {"POST": busy}}, admit))
    for path in ("/busy", "/none"):
        answer = client.post(path, data=b"[")
        assert (answer.status, answer.json()) == (403, {"error": "not you"})


def asked(body: object) -> Asked:
    return Asked({}, {}, json.loads(json.dumps(body)))


def test_numbers_and_texts_of_a_body() -> None:
    assert asked({"n": 2.5}).number("n", 1, 3) == 2.5
    assert asked({}).number("n", 1, 3, 2) == 2.0
    assert asked({"t": "x"}).text("t") == "x"
    for value in (None, True, "2", 0, 4, [2], float("nan"), float("inf")):
        with pytest.raises(Refusal) as caught:
            asked({"n": value}).number("n", 1, 3)
        assert (caught.value.status, caught.value.text) == (
            400,
            'send {"n": N}, a number from 1 to 3',
        )
    for text in (None, "", 1, ["x"]):
        with pytest.raises(Refusal, match="a text"):
            asked({"t": text}).text("t")
    with pytest.raises(Refusal, match="stacks is 0 or 1"):
        Asked({}, {"stacks": "yes"}, {}).flag("stacks")
