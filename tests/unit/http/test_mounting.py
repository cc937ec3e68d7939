"""Which part of a path is the application's own, whatever proxies have taken off."""

from __future__ import annotations

import pytest

from wsgi_async.http.mounting import path_below, place, script_name


@pytest.mark.parametrize(
    ("root_path", "name"),
    [
        *(("", ""), ("/", ""), ("/app", "/app"), ("/app/", "/app"), ("/a/b//", "/a/b")),
        *(("/caf%C3%A9", "/caf\xc3\xa9"), ("/caf\u00e9", "/caf\xc3\xa9"), ("/a%20b", "/a b")),
        *(("/app%2F", "/app"), ("/100%25", "/100%"), ("/%zz", "/%zz")),
    ],
)
def test_script_name(root_path: str, name: str) -> None:
    assert script_name(root_path) == name


@pytest.mark.parametrize(
    ("path", "rest"),
    [
        # as it was asked for
        *(("/app", ""), ("/app/", "/"), ("/app/x", "/x"), ("/app/x/", "/x/"), ("/app//x", "//x")),
        *(("/app/app", "/app"), ("/app/apple", "/apple")),
        # without it: a proxy has taken it off
        *(("/", "/"), ("/x", "/x"), ("//x", "//x"), ("/x/app/y", "/x/app/y"), ("", "")),
        # beside it
        *(("/apple", "/apple"), ("/app.x", "/app.x"), ("/App/x", "/App/x"), ("/ap", "/ap")),
        ("//app/x", "//app/x"),
    ],
)
def test_below(path: str, rest: str) -> None:
    assert path_below(path, "/app") == rest
    assert place(path, "/app") == ("/app", rest)
    assert place(path, "") == ("", path)


@pytest.mark.parametrize(
    ("path", "root", "prefix", "placed"),
    [
        # the proxy has taken off both, only its own, or nothing
        ("/x", "/app", "/out", ("/out/app", "/x")),
        ("/app/x", "/app", "/out", ("/out/app", "/x")),
        ("/out/app/x", "/app", "/out", ("/out/app", "/x")),
        ("/out/app", "/app", "/out", ("/out/app", "")),
        ("/out/apple", "/app", "/out", ("/out/app", "/out/apple")),
        ("/outer/app/x", "/app", "/out", ("/out/app", "/outer/app/x")),
        ("/out/x", "/app", "/out", ("/out/app", "/out/x")),
        # there is no root path
        ("/x", "", "/out", ("/out", "/x")),
        ("/out/x", "", "/out", ("/out", "/x")),
        ("/out", "", "/out", ("/out", "")),
        ("/outer", "", "/out", ("/out", "/outer")),
        # the proxy says where the application is, root path included
        ("/x", "/app", "/app", ("/app", "/x")),
        ("/app/x", "/app", "/app", ("/app", "/x")),
        ("/x", "/app", "/out/app", ("/out/app", "/x")),
        ("/app/x", "/app", "/out/app", ("/out/app", "/x")),
        ("/out/app/x", "/app", "/out/app", ("/out/app", "/x")),
        # an end that is only alike
        ("/x", "/app", "/myapp", ("/myapp/app", "/x")),
    ],
)
def test_a_prefix_in_front(path: str, root: str, prefix: str, placed: tuple[str, str]) -> None:
    assert place(path, root, prefix) == placed
