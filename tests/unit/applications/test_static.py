"""Files of a directory: what is served, how, and above all what is not."""

from __future__ import annotations

import io
import os
import wsgiref.util
from email.utils import formatdate
from pathlib import Path
from typing import Any, NamedTuple
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from serving import serving

pytest.importorskip("werkzeug")

from wsgi_async.applications.static import StaticFiles
from wsgi_async.errors import ConfigError
from wsgi_async.wsgi.file_wrapper import FileWrapper

TEXT = b"0123456789"


class Answer(NamedTuple):
    status: str
    headers: dict[str, str]
    body: bytes


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"the application's"]


FROM_APPLICATION = ("404 Not Found", b"the application's")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory with files; beside it some that must not be had."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_bytes(TEXT)
    (root / "empty.css").write_bytes(b"")
    (root / "sub" / "b.js").write_text("b")
    (root / "..b").write_text("hidden")
    (root / "a:b ü%2e.html").write_text("name")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "root-too").mkdir()
    (tmp_path / "root-too" / "c").write_text("secret")
    return root


def ask(app: Any, path: str, method: str = "GET", **fields: str) -> Answer:
    """What a server would send."""
    environ: dict[str, Any] = {"REQUEST_METHOD": method}
    setup_testing_defaults(environ)
    environ |= {"PATH_INFO": path, "QUERY_STRING": "", "wsgi.errors": io.StringIO(), **fields}
    environ["wsgi.file_wrapper"] = FileWrapper
    heads: list[tuple[str, dict[str, str]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        names = [name for name, _ in headers]
        assert len(set(names)) == len(names)
        heads.append((status, dict(headers)))

    result = app(environ, start_response)
    body = b"".join(result)
    close = getattr(result, "close", None)
    if close is not None:
        close()
    status, headers = heads[-1]
    return Answer(status, headers, body)


@pytest.fixture
def files(root: Path) -> StaticFiles:
    return StaticFiles(application, [("/static", str(root))])


def test_a_file(files: StaticFiles, root: Path) -> None:
    answer = ask(files, "/static/a.txt")
    assert (answer.status, answer.body) == ("200 OK", TEXT)
    modified = os.stat(root / "a.txt").st_mtime
    assert answer.headers == {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": "10",
        "Last-Modified": formatdate(modified, usegmt=True),
        "ETag": answer.headers["ETag"],
        "Cache-Control": "no-cache",
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
    }
    head = ask(files, "/static/a.txt", "HEAD", HTTP_RANGE="bytes=1-2")
    assert head == Answer("200 OK", answer.headers, b"")
    empty = ask(files, "/static/empty.css", HTTP_RANGE="bytes=0-0")
    assert (empty.status, empty.headers["Content-Length"], empty.body) == ("200 OK", "0", b"")
    assert ask(files, "/static/sub/b.js").headers["Content-Type"].startswith("text/javascript")
    assert ask(files, "/static/a:b \xc3\xbc%2e.html").body == b"name"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("x.woff2", "font/woff2"),
        ("x.tar.gz", "application/gzip"),
        ("x.css.br", "application/octet-stream"),
        ("x.svg", "image/svg+xml; charset=utf-8"),
        ("x", "application/octet-stream"),
        ("X.JS", "text/javascript; charset=utf-8"),
    ],
)
def test_content_types(files: StaticFiles, root: Path, name: str, kind: str) -> None:
    (root / name).write_text("x")
    assert ask(files, f"/static/{name}").headers["Content-Type"] == kind


@pytest.mark.parametrize(
    "path",
    [
        "/static",
        "/static/",
        "/static/none",
        "/static/sub",
        "/static/sub/",
        "/static/a.txt/",
        "/static/a.txt/x",
        "/statical/a.txt",
        "/a.txt",
        "/static/../secret",
        "/static/sub/../../secret",
        "/static/../root/a.txt",
        "/static/../root-too/c",
        "/static/..",
        "/static/..b",
        "/static/./a.txt",
        "/static//a.txt",
        "/static//etc/passwd",
        "/static/..\\secret",
        "/static/a.txt\0",
        "/static/a.txt\0.css",
        "/static/\xff\xfe",
        "/static/" + "x" * 300,
        "/static/" + "x/" * 3000 + "x",
        "",
    ],
)
def test_what_is_no_file_is_the_applications(files: StaticFiles, path: str) -> None:
    answer = ask(files, path)
    assert (answer.status, answer.body) == FROM_APPLICATION


def test_absolute_path(files: StaticFiles, root: Path) -> None:
    for path in (root / "a.txt", root.parent / "secret"):
        answer = ask(files, f"/static/{path}")
        assert (answer.status, answer.body) == FROM_APPLICATION


def test_links_out_of_the_directory_are_not_followed(files: StaticFiles, root: Path) -> None:
    (root / "out").symlink_to(root.parent / "secret")
    (root / "up").symlink_to("..")
    (root / "elsewhere").symlink_to(root.parent / "root-too")
    (root / "round").symlink_to("round")
    (root / "away").symlink_to("nowhere")
    (root / "twice").symlink_to("out")
    for path in ("out", "up/secret", "elsewhere/c", "round", "away", "twice", "up/root/../secret"):
        answer = ask(files, f"/static/{path}")
        assert (answer.status, answer.body) == FROM_APPLICATION, path


def test_links_inside_are_followed(root: Path) -> None:
    (root / "link.txt").symlink_to("a.txt")
    (root / "there").symlink_to("sub")
    (root / "hidden.txt").symlink_to("..b")
    (root.parent / "current").symlink_to("root")
    files = StaticFiles(application, [("/", str(root.parent / "current"))])
    assert ask(files, "/link.txt").body == TEXT
    assert ask(files, "/there/b.js").body == b"b"
    # The root itself may be a link, and be changed while it is served.
    (root.parent / "current").unlink()
    (root.parent / "current").symlink_to("root-too")
    assert ask(files, "/link.txt").body == b"the application's"
    assert ask(files, "/c").body == b"secret"


def test_names_with_a_dot_in_front(files: StaticFiles, root: Path) -> None:
    for name in (".git", ".well-known", ".well-known/.more"):
        (root / name).mkdir()
        (root / name / "config").write_text("x")
    (root / ".env").write_text("x")
    assert ask(files, "/static/.well-known/config").body == b"x"
    for path in (".env", ".git/config", ".well-known/.more/config"):
        assert ask(files, f"/static/{path}").body == b"the application's"


def test_pipes_are_not_opened(files: StaticFiles, root: Path) -> None:
    os.mkfifo(root / "pipe")
    assert ask(files, "/static/pipe").body == b"the application's"


def test_no_permission_is_told(
    files: StaticFiles, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **named: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    errors = io.StringIO()
    answer = ask(files, "/static/a.txt", **{"wsgi.errors": errors})  # type: ignore[arg-type]
    assert (answer.status, answer.body) == ("403 Forbidden", b"403 Forbidden\n")
    assert errors.getvalue() == f"--static: no permission to read '{root}/a.txt'\n"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "get"])
def test_other_methods(files: StaticFiles, method: str) -> None:
    answer = ask(files, "/static/a.txt", method)
    assert answer.status == "405 Method Not Allowed"
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert ask(files, "/static/none", method).body == b"the application's"
    assert ask(files, "/static/a.txt", "OPTIONS").status == "204 No Content"


# --- Ranges (RFC 9110 §14)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-5", (2, 6)),
        ("bytes=7-", (7, 10)),
        ("bytes=7-100", (7, 10)),
        ("bytes=0-9", (0, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-10", (0, 10)),
        ("bytes=-11", (0, 10)),
        ("BYTES=1-1", (1, 2)),
    ],
)
def test_ranges(files: StaticFiles, field: str, expected: tuple[int, int]) -> None:
    start, stop = expected
    answer = ask(files, "/static/a.txt", HTTP_RANGE=field)
    assert (answer.status, answer.body) == ("206 Partial Content", TEXT[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/10"
    assert answer.headers["Content-Length"] == str(stop - start)


@pytest.mark.parametrize("wrapper", [FileWrapper, wsgiref.util.FileWrapper, None])
def test_who_reads_a_range_gets_no_more_than_it(files: StaticFiles, wrapper: Any) -> None:
    def reading(environ: dict[str, Any], start_response: Any) -> Any:
        environ["wsgi.file_wrapper"] = wrapper
        result = files(environ, start_response)
        try:
            yield from result
        finally:
            result.close()

    assert ask(reading, "/static/a.txt", HTTP_RANGE="bytes=2-4").body == TEXT[2:5]
    assert ask(reading, "/static/a.txt", HTTP_RANGE="bytes=2-").body == TEXT[2:]
    assert ask(reading, "/static/a.txt").body == TEXT


@pytest.mark.parametrize("field", ["bytes=10-", "bytes=10-11", "bytes=99999999999999999999-"])
def test_ranges_outside(files: StaticFiles, field: str) -> None:
    answer = ask(files, "/static/a.txt", HTTP_RANGE=field)
    assert (answer.status, answer.body) == ("416 Range Not Satisfiable", b"")
    assert answer.headers == {"Content-Range": "bytes */10", "Content-Length": "0"}


@pytest.mark.parametrize(
    "field",
    ["bytes=0-1,4-5", "bytes=5-2", "bytes=", "bytes=-", "bytes=-0", "lines=0-1", "0-1", "bytes=²-"],
)
def test_other_ranges_are_ignored(files: StaticFiles, field: str) -> None:
    answer = ask(files, "/static/a.txt", HTTP_RANGE=field)
    assert (answer.status, answer.body) == ("200 OK", TEXT)
    assert "Content-Range" not in answer.headers


def test_if_range(files: StaticFiles) -> None:
    headers = ask(files, "/static/a.txt").headers
    etag, changed = headers["ETag"], headers["Last-Modified"]

    def status(if_range: str) -> str:
        fields = {"HTTP_RANGE": "bytes=1-2", "HTTP_IF_RANGE": if_range}
        return ask(files, "/static/a.txt", **fields).status

    assert status(etag) == status(changed) == "206 Partial Content"
    for other in (
        '"other"',
        f"W/{etag}",
        formatdate(0, usegmt=True),
        "Fri, 01 Jan 2100 00:00:00 GMT",
    ):
        assert status(other) == "200 OK", other


# --- Conditions (RFC 9110 §13)


def test_not_modified(files: StaticFiles) -> None:
    whole = ask(files, "/static/a.txt").headers
    etag, changed = whole["ETag"], whole["Last-Modified"]

    def conditional(method: str = "GET", **fields: str) -> Answer:
        return ask(files, "/static/a.txt", method, **fields)

    expected = {name: whole[name] for name in ("ETag", "Last-Modified", "Cache-Control")}
    for value in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        for method in ("GET", "HEAD"):
            answer = conditional(method, HTTP_IF_NONE_MATCH=value, HTTP_RANGE="bytes=0-1")
            assert answer == Answer("304 Not Modified", expected, b"")
    assert conditional(HTTP_IF_NONE_MATCH='"x"').status == "200 OK"
    assert conditional(HTTP_IF_MODIFIED_SINCE=changed).status == "304 Not Modified"
    assert conditional(HTTP_IF_MODIFIED_SINCE=formatdate(0, usegmt=True)).status == "200 OK"
    for value in (
        "yesterday",
        "Mon, 01 Jan 2020 00:00:00 +9999999999999",
        "Mon, 01 Jan 99999999999 00:00:00 GMT",
    ):
        assert conditional(HTTP_IF_MODIFIED_SINCE=value).status == "200 OK"
    both = conditional(HTTP_IF_NONE_MATCH='"x"', HTTP_IF_MODIFIED_SINCE=changed)
    assert both.status == "200 OK"


def test_if_match(files: StaticFiles) -> None:
    etag = ask(files, "/static/a.txt").headers["ETag"]
    for value, status in ((etag, "200 OK"), ("*", "200 OK"), ('"x"', "412 Precondition Failed")):
        assert ask(files, "/static/a.txt", HTTP_IF_MATCH=value).status == status


def test_changes_on_disk_are_seen(files: StaticFiles, root: Path) -> None:
    path = root / "a.txt"
    etag = ask(files, "/static/a.txt").headers["ETag"]
    times = path.stat()
    path.write_bytes(b"abcdefghij")  # as long as before, and within the same second
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns + 1000))
    answer = ask(files, "/static/a.txt", HTTP_IF_NONE_MATCH=etag)
    assert (answer.status, answer.body) == ("200 OK", b"abcdefghij")
    (root / "new").write_text("new")
    assert ask(files, "/static/new").body == b"new"
    path.unlink()
    assert ask(files, "/static/a.txt").body == b"the application's"


# --- Where


def test_several_directories(root: Path) -> None:
    pairs = [("/", root.parent), ("/s", root), ("/s/", root.parent / "root-too"), ("/s/sub", root)]
    files = StaticFiles(application, [(prefix, str(path)) for prefix, path in pairs])
    assert ask(files, "/s/sub/a.txt").body == TEXT
    assert ask(files, "/s/sub/b.js").body == b"b", "found under the shorter prefix"
    assert ask(files, "/s/c").body == b"secret", "found in the second directory of the prefix"
    assert ask(files, "/root/a.txt").body == TEXT
    assert ask(files, "/s/none").body == b"the application's"


def test_wrong_options(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--static: there is no directory '/no/such'$"):
        StaticFiles(application, [("/s", "/no/such")])
    with pytest.raises(ConfigError, match="there is no directory"):
        StaticFiles(application, [("/s", str(root / "a.txt"))])
    with pytest.raises(
        ConfigError, match=r"^--static: the prefix 's' does not begin with a slash$"
    ):
        StaticFiles(application, [("s", str(root))])


# --- As a citizen of WSGI


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_passes_the_validator(files: StaticFiles, method: str) -> None:
    assert ask(validator(files), "/static/a.txt", method).status[:3] in ("200", "405")
    inside = StaticFiles(validator(application), files._directories)
    assert ask(inside, "/static/none", method).body == b"the application's"


def test_without_a_file_wrapper(files: StaticFiles) -> None:
    def bare(environ: dict[str, Any], start_response: Any) -> Any:
        del environ["wsgi.file_wrapper"]
        return files(environ, start_response)

    assert ask(bare, "/static/a.txt", HTTP_RANGE="bytes=4-").body == TEXT[4:]


def test_every_file_is_closed(
    files: StaticFiles, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    original = open

    def spy(*args: Any, **named: Any) -> Any:
        opened.append(original(*args, **named))
        return opened[-1]

    monkeypatch.setattr("builtins.open", spy)
    etag = ask(files, "/static/a.txt").headers["ETag"]
    ask(files, "/static/a.txt", "HEAD")
    ask(files, "/static/a.txt", "POST")
    ask(files, "/static/a.txt", HTTP_IF_NONE_MATCH=etag)
    ask(files, "/static/a.txt", HTTP_IF_MATCH='"x"')
    ask(files, "/static/a.txt", HTTP_RANGE="bytes=3-4")
    ask(files, "/static/a.txt", HTTP_RANGE="bytes=30-40")
    assert len(opened) == 7
    assert all(file.closed for file in opened)


@pytest.mark.parametrize(
    ("field", "expected"),
    [("", (0, 3_000_000)), ("Range: bytes=1000000-1999999", (10**6, 2 * 10**6))],
)
def test_the_server_sends_the_descriptor(
    root: Path, field: str, expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads the file in the application's thread: it goes by its descriptor."""
    data = os.urandom(3_000_000)
    (root / "large.bin").write_bytes(data)

    def no_reading(self: FileWrapper) -> Any:
        raise AssertionError("the file is iterated")

    monkeypatch.setattr(FileWrapper, "__iter__", no_reading)
    start, stop = expected
    with (
        serving(StaticFiles(application, [("/", str(root))])) as served,
        served.client() as client,
    ):
        lines = ["GET /large.bin HTTP/1.1", "Host: a", *([field] if field else []), "", ""]
        client.send("\r\n".join(lines).encode())
        assert client.response().body == data[start:stop]
        assert served.recorder.of("app_error") == []


@pytest.mark.parametrize(
    "target",
    [
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/%2E%2E%2Fsecret",
        "/sub/%2e%2e/%2e%2e/secret",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/a.txt%00",
        "/%252e%252e/secret",
        "/..%5csecret",
        "/%c0%ae%c0%ae/secret",
    ],
)
def test_traversal_on_the_wire(root: Path, target: str) -> None:
    with (
        serving(StaticFiles(application, [("/", str(root))])) as served,
        served.client() as client,
    ):
        client.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        response = client.response()
        assert (response.status, response.body) == (404, b"the application's")
        client.send(b"GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.response().body == TEXT
