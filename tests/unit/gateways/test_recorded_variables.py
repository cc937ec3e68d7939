"""What nginx, Apache and lighttpd really sent, by the configurations that people have."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from corpus import DEFAULTS

from wsgi_async.gateways.variables import request_head
from wsgi_async.wsgi.environ import build_environ, server_variables


class Recorded(NamedTuple):
    """One request."""

    title: str
    script_name: str
    variables: list[tuple[bytes, bytes]]

    @property
    def name(self) -> str:
        """The first segment of its path."""
        return dict(self.variables)[b"REQUEST_URI"].decode().split("/")[1]


def load() -> list[Recorded]:
    text = Path(__file__).with_name("recorded_variables.txt").read_text(encoding="utf-8")
    found = []
    for block in text.split("\n== ")[1:]:
        title, place, *lines = block.strip("\n").split("\n")
        pairs = [line.encode("latin-1").partition(b"=")[::2] for line in lines]
        found.append(Recorded(title, place.removeprefix("->").strip(), pairs))
    return found


RECORDED = load()
each = pytest.mark.parametrize("recorded", RECORDED, ids=[one.title for one in RECORDED])


def environ_of(recorded: Recorded, root_path: str) -> dict[str, object]:
    head = request_head(recorded.variables, DEFAULTS)
    ours = server_variables(
        "/run/app.sock", root_path=root_path, scheme="http", threads=1, file_wrapper=None
    )
    return build_environ(head, ours, "", "", None, None, None, None, head.origin)


def test_there_are_all_kinds() -> None:
    assert {recorded.title.split(" ")[0] for recorded in RECORDED} == {
        *("nginx", "Apache", "lighttpd"),
    }
    assert len(RECORDED) == 18


@each
def test_the_application_is_where_it_is_meant(recorded: Recorded) -> None:
    environ = environ_of(recorded, "")
    assert environ["SCRIPT_NAME"] == recorded.script_name
    whole = f"/{recorded.name}/a b/d\xc3\xa9"
    assert environ["PATH_INFO"] == whole.removeprefix(recorded.script_name)


@each
def test_the_root_path_goes_with_each(recorded: Recorded) -> None:
    """Where it is of the same meaning it changes nothing, and where none was given it is taken."""
    environ = environ_of(recorded, f"/{recorded.name}")
    assert environ["SCRIPT_NAME"] == f"/{recorded.name}"
    assert environ["PATH_INFO"] == "/a b/d\xc3\xa9"


@each
def test_the_rest_is_the_clients(recorded: Recorded) -> None:
    environ = environ_of(recorded, "")
    assert environ["REQUEST_URI"] == f"/{recorded.name}/a%20b//c/../d%C3%A9?x=y"
    assert environ["REQUEST_METHOD"] == "GET"
    assert environ["QUERY_STRING"] == "x=y"
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert environ["HTTP_HOST"] == environ["SERVER_NAME"] == "shop.example"
    assert environ["SERVER_PORT"] == "80"
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("127.0.0.1", "50000")
    assert environ["wsgi.url_scheme"] == "http"
    assert str(environ["HTTP_X_A"]).replace(" ", "") == "1,2"
    assert environ.get("CONTENT_LENGTH", "0") == "0"
    assert "CONTENT_TYPE" not in environ
