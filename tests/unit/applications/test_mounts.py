"""Several applications, by prefix and method."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from serving import serving

import wsgi_async
from wsgi_async.applications.loading import load_application
from wsgi_async.applications.mounts import Mounts
from wsgi_async.errors import ConfigError

Answer = tuple[str, dict[str, str], bytes]


class Site:
    """Tells which it is, and the paths it was given."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain; charset=latin-1")])
        paths = f"{self.name} {environ['SCRIPT_NAME']!r} {environ['PATH_INFO']!r}"
        return [paths.encode("latin-1")]


def ask(application: Any, path: str = "/", method: str = "GET", script_name: str = "") -> Answer:
    environ: dict[str, Any] = {"REQUEST_METHOD": method}
    setup_testing_defaults(environ)
    environ |= {"SCRIPT_NAME": script_name, "PATH_INFO": path, "QUERY_STRING": ""}
    heads: list[tuple[str, dict[str, str]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        heads.append((status, dict(headers)))
        return None

    result: Iterable[bytes] = application(environ, start_response)
    body = b"".join(result)
    close = getattr(result, "close", None)
    if close is not None:
        close()
    return (*heads[-1], body)


PLACES = Mounts(
    {
        "/": Site("root"),
        "/admin": Site("admin"),
        "/admin/users/": Site("users"),
        "/café": Site("cafe"),
        "/a b": Site("space"),
        "/a=b": Site("equals"),
    }
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "root '' '/'"),
        ("", "root '' ''"),
        ("/x", "root '' '/x'"),
        ("/administrator", "root '' '/administrator'"),
        ("//admin", "root '' '//admin'"),
        ("/x/admin", "root '' '/x/admin'"),
        ("/Admin", "root '' '/Admin'"),
        ("/./admin", "root '' '/./admin'"),
        ("/admin", "admin '/admin' ''"),
        ("/admin/", "admin '/admin' '/'"),
        ("/admin//", "admin '/admin' '//'"),
        ("/admin/x/", "admin '/admin' '/x/'"),
        ("/admin/../x", "admin '/admin' '/../x'"),
        ("/admin/user", "admin '/admin' '/user'"),
        ("/admin/users", "users '/admin/users' ''"),
        ("/admin/users/7", "users '/admin/users' '/7'"),
        ("/caf\xc3\xa9/au lait", "cafe '/caf\xc3\xa9' '/au lait'"),
        ("/a b/c", "space '/a b' '/c'"),
        ("/a=b", "equals '/a=b' ''"),
    ],
)
def test_the_longest_prefix_of_whole_segments_wins(path: str, expected: str) -> None:
    status, _, body = ask(PLACES, path)
    assert (status, body.decode("latin-1")) == ("200 OK", expected)


def test_prefix_goes_behind_what_is_in_script_name() -> None:
    assert ask(PLACES, "/admin/x", script_name="/shop")[2] == b"admin '/shop/admin' '/x'"
    assert ask(PLACES, "", script_name="/shop")[2] == b"root '/shop' ''"
    nested = Mounts({"/outer": Mounts({"/inner": Site("both")})})
    assert ask(nested, "/outer/inner/x")[2] == b"both '/outer/inner' '/x'"


@pytest.mark.parametrize(
    ("root_path", "target", "expected"),
    [
        ("", b"/admin%2Fx%2f", b"admin '/admin' '/x/'"),
        ("", b"/%61dmin/x", b"admin '/admin' '/x'"),
        ("", b"/caf%C3%A9", b"cafe '/caf\xc3\xa9' ''"),
        ("", b"/a%20b/%2520", b"space '/a b' '/%20'"),
        ("", b"//admin", b"root '' '//admin'"),
        ("/shop", b"/shop/admin/x", b"admin '/shop/admin' '/x'"),
        ("/shop", b"/shop", b"root '/shop' ''"),
    ],
)
def test_paths_are_split_as_the_server_decodes_them(
    root_path: str, target: bytes, expected: bytes
) -> None:
    with serving(PLACES, root_path=root_path) as served, served.client() as client:
        client.send(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.response().body == expected


BY_METHOD = Mounts(
    {
        "GET /": Site("get"),
        "POST /": Site("post"),
        "/both": Site("any"),
        "PUT /both": Site("put"),
        "GET /heads": Site("get"),
        "HEAD /heads": Site("head"),
        "POST /posts": Site("post"),
        "OPTIONS /asks": Site("options"),
    }
)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", "get"),
        ("HEAD", "/x", "get"),
        ("POST", "/x", "post"),
        ("GET", "/both", "any"),
        ("HEAD", "/both", "any"),
        ("PUT", "/both", "put"),
        ("BREW", "/both", "any"),
        ("OPTIONS", "/both", "any"),
        ("HEAD", "/heads", "head"),
        ("OPTIONS", "/asks", "options"),
    ],
)
def test_method_chooses_at_a_prefix(method: str, path: str, expected: str) -> None:
    status, _, body = ask(BY_METHOD, path, method)
    assert (status, body.decode().partition(" ")[0]) == ("200 OK", expected)


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/x", "GET, HEAD, OPTIONS, POST"),
        ("get", "/x", "GET, HEAD, OPTIONS, POST"),
        # The longer prefix is it, though "GET /" would take the path.
        ("GET", "/posts", "OPTIONS, POST"),
        ("HEAD", "/posts", "OPTIONS, POST"),
        ("GET", "/asks", "OPTIONS"),
    ],
)
def test_other_methods_are_refused(method: str, path: str, allow: str) -> None:
    status, headers, body = ask(BY_METHOD, path, method)
    assert (status, headers["Allow"]) == ("405 Method Not Allowed", allow)
    assert headers["Content-Length"] == "23"
    assert body == (b"" if method == "HEAD" else b"405 Method Not Allowed\n")


def test_options_is_answered_where_nobody_takes_it() -> None:
    for path in ("/", "/x", ""):
        status, headers, body = ask(BY_METHOD, path, "OPTIONS")
        assert (status, headers) == ("204 No Content", {"Allow": "GET, HEAD, OPTIONS, POST"})
        assert body == b""


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_nothing_there_is_not_found(method: str) -> None:
    application = Mounts({"/a": Site("a")})
    for path in ("/", "", "/b", "/ab"):
        status, headers, body = ask(application, path, method)
        assert (status, headers["Content-Length"]) == ("404 Not Found", "14")
        assert body == (b"" if method == "HEAD" else b"404 Not Found\n")
    assert ask(Mounts({}))[0] == "404 Not Found"


def test_environ_and_result_are_handed_on_themselves() -> None:
    seen: list[Any] = []

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        seen.append((environ, start_response))
        return result

    result = object()
    environ: dict[str, Any] = {"REQUEST_METHOD": "GET", "PATH_INFO": "/a/b", "other": 1}

    def start_response(*args: Any) -> Any:
        raise AssertionError

    assert Mounts({"/a": application})(environ, start_response) is result
    assert seen[0][0] is environ
    assert seen[0][1] is start_response
    assert environ == {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "/a",
        "PATH_INFO": "/b",
        "other": 1,
    }


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("", "does not begin with a slash"),
        ("admin", "does not begin with a slash"),
        ("GET", "does not begin with a slash"),
        (" /a", "METHOD /prefix"),
        ("GET  /a", "METHOD /prefix"),
        ("GET a", "METHOD /prefix"),
        ("G,T /a", "METHOD /prefix"),
        ("get /a", "in capitals: write GET"),
        ("//a", "two slashes"),
        ("/a//b", "two slashes"),
        ("/a/../b", "a segment that clients resolve"),
        ("/.", "a segment that clients resolve"),
        ("/a?b", "a character that no path has"),
        ("/a#b", "a character that no path has"),
        ("/a\n", "a character that no path has"),
        ("/\udc80", "cannot be encoded"),
    ],
)
def test_wrong_keys(key: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        Mounts({key: Site("x")})
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"Wrong mount {key!r}: ")


def test_wrong_applications() -> None:
    with pytest.raises(ConfigError, match="'/a' is not callable: it is of type str"):
        Mounts({"/a": "module:app"})  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match="Two applications at '/a/'"):
        Mounts({"/a": Site("x"), "/a/": Site("y")})


@pytest.mark.parametrize("path", ["/", "/admin", "/nowhere"])
def test_keeps_to_pep_3333_on_both_sides(path: str) -> None:
    application = validator(Mounts({"/": validator(Site("root")), "/admin": validator(Site("b"))}))
    assert ask(application, path)[0] == "200 OK"
    assert ask(validator(Mounts({"GET /a": Site("a")})), "/a", "POST")[0].startswith("405")


def test_is_public() -> None:
    assert wsgi_async.Mounts is Mounts


def test_files_whose_names_differ_in_punctuation_are_two_applications(tmp_path: Path) -> None:
    names = ["my-site/app.wsgi", "my_site/app.wsgi", "my/site_app.wsgi", "my.site/app.wsgi"]
    names += ["my_2d_site/app.wsgi", "my/site/app.wsgi", "my__site/app.wsgi", "my-site-app.wsgi"]
    for number, name in enumerate(names):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"number = {number}\ndef application(e, s): return number")
    applications = [load_application(str(tmp_path / name)) for name in names]
    assert [app({}, None) for app in applications] == list(range(len(names)))
    assert load_application(str(tmp_path / "my/../my-site/app.wsgi")) is applications[0]


@pytest.mark.parametrize("suffix", ["py", "wsgi"])
def test_two_links_to_a_file_are_two_applications(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """As one program that serves several sites, each by the name it was called by."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / f"common_site.{suffix}").write_text("def application(e, s): return __file__")
    for name in ("first_site", "second_site"):
        (tmp_path / f"{name}.{suffix}").symlink_to(f"common_site.{suffix}")
        application = load_application(f"{tmp_path}/{name}.{suffix}")
        assert application({}, None) == f"{tmp_path}/{name}.{suffix}"


def test_a_link_to_a_file_of_a_package_is_that_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    package = tmp_path / "linked_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "web.py").write_text("from . import __name__ as name\ndef app(e, s): return name")
    (tmp_path / "run.py").symlink_to("linked_package/web.py")
    application = load_application(f"{tmp_path}/run.py")
    assert application.__module__ == "linked_package.web"
