"""Debian's Caddy as a front server of FastCGI: another one than nginx, and with other habits."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rawclient import TIMEOUT
from serving import serving
from tools import ReservedPort, require_program, running

CADDYFILE = """{{
	admin off
	auto_https off
	default_bind 127.0.0.1
}}
http://127.0.0.1:{port} {{
	reverse_proxy unix/{path} {{
		transport fastcgi
	}}
}}
"""
TOLD = ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "RAW_URI", "CONTENT_LENGTH")


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "application/json")])
    told = {name: environ.get(name) for name in (*TOLD, "REMOTE_ADDR")}
    return [json.dumps([told, len(body)]).encode()]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    directory: Path = tmp_path_factory.mktemp("caddy")
    path = directory / "socket"
    program = require_program("caddy")
    bind = [f"fastcgi+unix:{path}"]
    with serving(application, bind=bind, threads=2), ReservedPort() as reserved:
        (directory / "Caddyfile").write_text(CADDYFILE.format(port=reserved.number, path=path))
        env = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(directory))
        command = (program, "run", "--config", "Caddyfile", "--adapter", "caddyfile")
        with running(*command, cwd=directory, env=env) as process:
            process.wait_for("serving initial configuration")
            yield reserved.number
            process.signal(signal.SIGTERM)
            process.wait()
        assert '"level":"error"' not in process.output


def ask(port: int, method: str, target: str, body: bytes | Iterable[bytes] | None = None) -> Any:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, TIMEOUT)) as client:
        client.request(method, target, body=body)
        response = client.getresponse()
        assert response.status == 200
        return json.loads(response.read())


def test_its_variables_are_read_as_they_are_meant(port: int) -> None:
    told, _ = ask(port, "GET", "/a%20b/c?d=e")
    assert told == {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b/c",
        "QUERY_STRING": "d=e",
        "RAW_URI": "/a%20b/c?d=e",
        "CONTENT_LENGTH": "0",
        "REMOTE_ADDR": "127.0.0.1",
    }


def test_bodies_of_known_and_of_unknown_length(port: int) -> None:
    assert ask(port, "PUT", "/", bytes(300_000))[1] == 300_000
    # It says that the length is -1.
    told, size = ask(port, "PUT", "/", iter([b"one", b"two"]))
    assert (told["CONTENT_LENGTH"], size) == ("6", 6)
