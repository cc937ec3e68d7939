"""Web servers in front that speak uwsgi or SCGI: requests, responses and their ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from front_servers import PROTOCOLS, answer, encode, told
from serving import Served, serving

both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)

FILE_SIZE = 3 << 20


def application(environ: dict[str, Any], start_response: Any) -> Any:
    path = environ["PATH_INFO"]
    if path == "/echo":
        body = environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    if path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([b"one ", b"two ", b"three"])
    if path == "/fails":
        raise RuntimeError("on purpose")
    if path == "/hints":
        environ["wsgi.early_hints"]([("Link", "</a.css>; rel=preload")])
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]
    if path == "/file":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return environ["wsgi.file_wrapper"](open(environ["FILE"], "rb"))
    if path == "/empty":
        start_response("204 No Content", [])
        return [b""]
    names = environ["ASKED"].split()
    body = "\n".join([f"{name}={environ.get(name)!r}" for name in names]).encode()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def served(protocol: str) -> Iterator[Served]:
    with serving(application, bind=[f"{protocol}://127.0.0.1:0"], threads=2) as running:
        yield running


def ask(served: Served, protocol: str, *args: Any, body: bytes = b"", **more: str) -> Any:
    with served.client() as client:
        client.send(encode(protocol, told(*args, body=body, **more), body))
        return answer(protocol, client)


def test_it_says_where_it_listens(served: Served, protocol: str) -> None:
    [(addresses, *_)] = served.recorder.of("started")
    assert addresses == (f"{protocol}://127.0.0.1:{served.server.port}",)


def test_the_client_is_whom_the_front_server_names(served: Served, protocol: str) -> None:
    names = "REMOTE_ADDR REMOTE_PORT SERVER_NAME SERVER_PORT wsgi.url_scheme SCRIPT_NAME PATH_INFO"
    names += " REMOTE_USER QUERY_STRING REQUEST_URI wsgi_async.peer"
    got = ask(served, protocol, "/a%20b?c=d", ASKED=names, REMOTE_USER="ann", HTTPS="on")
    *lines, peer = got.body.decode().splitlines()
    assert peer.startswith("wsgi_async.peer='127.0.0.1:")
    assert lines == [
        "REMOTE_ADDR='192.0.2.9'",
        "REMOTE_PORT='50000'",
        "SERVER_NAME='www.example.org'",
        "SERVER_PORT='80'",
        "wsgi.url_scheme='https'",
        "SCRIPT_NAME=''",
        "PATH_INFO='/a b'",
        "REMOTE_USER='ann'",
        "QUERY_STRING='c=d'",
        "REQUEST_URI='/a%20b?c=d'",
    ]
    request, response = served.recorder.wait_for("request_finished")[0]
    assert request.client == "192.0.2.9:50000"
    assert (response.status, response.complete) == (200, True)


def test_a_body_is_as_long_as_it_says(served: Served, protocol: str) -> None:
    body = bytes(range(256)) * 4000
    with served.client() as client:
        data = encode(protocol, told("/echo", "POST", body), body)
        client.send(data[:7])
        client.send(data[7:1000])
        client.send(data[1000:])
        got = answer(protocol, client)
    assert got.body == body
    assert got.fields["content-length"] == str(len(body))
    served.wait_until_idle()


def test_a_body_of_unknown_length_ends_with_the_connection(served: Served, protocol: str) -> None:
    got = ask(served, protocol, "/stream")
    assert got.body == b"one two three"
    assert "content-length" not in got.fields


def test_head_and_statuses_without_a_body_have_none(served: Served, protocol: str) -> None:
    assert ask(served, protocol, "/stream", "HEAD").body == b""
    got = ask(served, protocol, "/empty")
    assert (got.status, got.body) == (204, b"")
    assert "content-length" not in got.fields


def test_interim_responses_are_left_out(served: Served, protocol: str) -> None:
    got = ask(served, protocol, "/hints")
    assert (got.status, got.body) == (200, b"ok")


def test_an_error_of_the_application_is_a_500(served: Served, protocol: str) -> None:
    assert ask(served, protocol, "/fails").status == 500
    assert len(served.recorder.wait_for("app_error")) == 1


def test_files_go_the_way_of_files(served: Served, protocol: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"0123456789abcdef" * (FILE_SIZE // 16))
    got = ask(served, protocol, "/file", FILE=str(file))
    assert got.fields["content-length"] == str(FILE_SIZE)
    assert got.body == file.read_bytes()


def test_what_a_head_is_refused_for_is_said_in_the_protocol(served: Served, protocol: str) -> None:
    got = ask(served, protocol, REQUEST_METHOD="no method")
    assert got.status == 400
    assert b"REQUEST_METHOD" in got.body
    served.wait_until_idle()


@both_protocols
def test_a_body_that_is_too_large_is_413(protocol: str) -> None:
    with serving(application, bind=[f"{protocol}://127.0.0.1:0"], max_body_size=10) as served:
        assert ask(served, protocol, "/echo", "POST", body=b"x" * 11).status == 413
        assert ask(served, protocol, "/echo", "POST", body=b"x" * 10).body == b"x" * 10
