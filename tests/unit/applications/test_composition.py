"""From options to one application: the parts, their order, and what is wrong with them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import ROOT, Command, serving

from wsgi_async.applications.composition import compose, describe, names_something
from wsgi_async.config.sources import Settings, gather
from wsgi_async.errors import ConfigError, LoadError

SITE = '''
def application(environ, start_response):
    """Shows where it is, and who called it."""
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    trail = environ.get("trail", "")
    return [f"{environ['SCRIPT_NAME']}|{environ['PATH_INFO']}|{trail}".encode()]

def make(name="made"):
    def made(environ, start_response):
        start_response("200 OK", [])
        return [name.encode()]
    return made

def text(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    return ["gr\\u00fcn"]

def wrong(environ, start_response):
    return [b"no head"]

class Trail:
    """Leaves its mark in the environ, and counts the bytes that pass."""
    def __init__(self, application, mark="t", *, sign="."):
        self.application, self.mark, self.sign = application, mark, sign
    def __call__(self, environ, start_response):
        environ["trail"] = environ.get("trail", "") + self.mark + self.sign
        result = self.application(environ, start_response)
        chunks = list(result)
        if hasattr(result, "close"):
            result.close()
        assert all(type(chunk) is bytes for chunk in chunks), chunks
        return chunks

def old_fashioned(application):
    def wrapped(environ, start_response):
        start_response("200 OK", [])
        return ["gr\\u00fcn"]
    return wrapped

def fails(application):
    raise RuntimeError("not today")

def gives_nothing(application):
    pass

async def asgi(scope, receive, send):
    pass

def gives_asgi(application):
    return asgi

number = 3
'''


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current one, with an application, and files to be served."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "composed.py").write_text(SITE)
    (tmp_path / "plain.wsgi").write_text(SITE)
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "a.txt").write_text("a file")
    yield tmp_path
    sys.modules.pop("composed", None)


def settings(**options: object) -> Settings:
    return gather(options, parse=lambda words: {}, environ={})


def ask(application: Callable[..., Any], path: str = "/") -> tuple[int, str]:
    with serving(application) as served, served.client() as client:
        response = client.get(path)
        return response.status, response.body.decode()


# --- Each part


def test_application_alone_is_served_itself() -> None:
    application = compose(settings(app="composed"))
    assert application is sys.modules["composed"].application
    made = compose(settings(app="composed:make", factory=True))
    assert ask(made) == (200, "made")


@pytest.mark.parametrize(
    ("app", "expected"),
    [
        ("composed", "/x|/y|"),
        ("composed:application", "/x|/y|"),
        ("composed:make(name='a=b, c')", "a=b, c"),
        ("composed.application", "/x|/y|"),
        ("composed.py", "/x|/y|"),
        ("./composed.py:make()", "made"),
        ("plain.wsgi", "/x|/y|"),
        ("./plain.wsgi:make('w')", "w"),
    ],
)
def test_mounts_take_every_form_of_an_application(app: str, expected: str) -> None:
    application = compose(settings(mount=[f"/x={app}"]))
    assert ask(application, "/x/y") == (200, expected)
    assert ask(application, "/z")[0] == 404


def test_argument_is_the_mount_at_the_root() -> None:
    application = compose(
        settings(
            app="composed:make",
            factory=True,
            mount=["/x=composed", "POST /=composed:make('posted')"],
        )
    )
    assert ask(application, "/any") == (200, "made")
    assert ask(application, "/x/") == (200, "/x|/|")


def test_static_files_with_and_without_an_application() -> None:
    pytest.importorskip("werkzeug")
    application = compose(settings(app="composed", static=["/s=public", "/s=./public"]))
    assert ask(application, "/s/a.txt") == (200, "a file")
    assert ask(application, "/s/b.txt") == (200, "|/s/b.txt|")
    alone = compose(settings(static=["/=public"]))
    assert ask(alone, "/a.txt") == (200, "a file")
    assert ask(alone, "/b.txt") == (404, "404 Not Found\n")


def test_first_middleware_is_outermost() -> None:
    application = compose(
        settings(
            app="composed",
            middleware=[
                "composed:Trail",
                "composed.Trail('1')",
                "./composed.py:Trail(mark='2', sign='!')",
            ],
        )
    )
    assert ask(application) == (200, "|/|t.1.2!")


def test_order_of_all() -> None:
    pytest.importorskip("werkzeug")
    application = compose(
        settings(
            app="composed",
            mount=["/x=composed:text", "/s=composed:wrong"],
            static=["/s=public"],
            middleware=["composed:Trail"],
            encode_str="utf-8",
            lint=True,
        )
    )
    # The middleware, which demands bytes, is around the text, the mounts and the files.
    assert ask(application, "/y") == (200, "|/y|t.")
    assert ask(application, "/x") == (200, "grün")
    assert ask(application, "/s/a.txt") == (200, "a file")
    with serving(application) as served:
        with served.client() as client:
            assert client.get("/s/b.txt").status == 500
        ((_, message, _),) = served.recorder.wait_for("app_error")
    assert message.startswith("GET /s/b.txt: the application composed:wrong did not call start_r")


def test_middleware_may_yield_text_too() -> None:
    options: dict[str, object] = {"app": "composed", "middleware": ["composed:old_fashioned"]}
    assert ask(compose(settings(**options, encode_str="utf-8", lint=True))) == (200, "grün")
    with serving(compose(settings(**options, lint=True))) as served:
        with served.client() as client:
            assert client.get().status == 500
        ((_, message, _),) = served.recorder.wait_for("app_error")
    assert "the middleware composed:old_fashioned gave a chunk that is not bytes" in message
    assert "--encode-str utf-8" in message


# --- What is wrong


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"mount": ["x"]}, r"--mount takes a prefix and a value such as /admin=\S+, not 'x'"),
        ({"mount": ["/x="]}, "--mount takes a prefix"),
        ({"mount": ["=composed"]}, "--mount takes a prefix"),
        ({"mount": ["x=composed"]}, r"--mount x=composed: .* begin with a slash"),
        ({"mount": ["get /x=composed"]}, "in capitals: write GET"),
        ({"mount": ["/x=composed", "/x/=b"]}, "--mount /x/=b: --mount /x=composed is there alre"),
        ({"app": "a", "mount": ["/=composed"]}, "--mount /=composed: the argument a is there al"),
        ({"static": ["/s"]}, "--static takes a prefix and a value such as /static=./static"),
        ({"static": ["/s=none"]}, "--static: there is no directory 'none'"),
        ({"static": ["s=public"]}, "--static: the prefix 's' does not begin with a slash"),
        ({"encode_str": "utf-9"}, "--encode-str: there is no text encoding 'utf-9'"),
    ],
)
def test_wrong_options_are_told_before_anything_is_loaded(
    options: dict[str, Any], why: str
) -> None:
    if "static" in options:
        pytest.importorskip("werkzeug")
    with pytest.raises(ConfigError, match=why) as caught:
        compose(settings(**{"app": "no_such_module"} | options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"mount": ["/x=nowhere"]}, "^--mount /x=nowhere: No module named 'nowhere'"),
        ({"mount": ["/x=composed:number"]}, "^--mount .*: 'number' in 'composed' is not callable"),
        ({"mount": ["/x=composed:asgi"]}, "^--mount .* asynchronous"),
        ({"middleware": ["nowhere:X"]}, "^--middleware nowhere:X: No module named 'nowhere'"),
        ({"middleware": ["composed"]}, "^--middleware .* names no factory: write composed:Fact"),
        ({"middleware": ["plain.wsgi"]}, "names no factory"),
        ({"middleware": ["composed:Trial"]}, r"There is no 'Trial' .*Did you mean Trail\?"),
        ({"middleware": ["composed:number"]}, "is not callable: it is of type int"),
        ({"middleware": ["composed:Trail(x)"]}, "call with literal arguments"),
        ({"middleware": ["composed:Trail(*[1])"]}, "call with literal arguments"),
        ({"middleware": ["composed:Trail(none=1)"]}, "Calling 'Trail' in 'composed' raised TypeE"),
        ({"middleware": ["composed:fails"]}, "Calling 'fails' in 'composed' raised RuntimeError"),
        ({"middleware": ["composed:gives_nothing"]}, "what 'gives_nothing' .* is not callable"),
        ({"middleware": ["composed:gives_asgi"]}, "what 'gives_asgi' .* is an asynchronous"),
    ],
)
def test_what_cannot_be_loaded_names_its_option(options: dict[str, Any], why: str) -> None:
    with pytest.raises(LoadError, match=why) as caught:
        compose(settings(**{"app": "composed"} | options))
    assert "\n" not in str(caught.value)


def test_cause_is_kept() -> None:
    with pytest.raises(LoadError) as caught:
        compose(settings(app="composed", middleware=["composed:fails"]))
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_factory_may_refuse_its_arguments(directory: Path) -> None:
    (directory / "refusing.py").write_text(
        "from wsgi_async import ConfigError\n"
        "def Auth(application, realm):\n"
        "    raise ConfigError(f'Auth: the realm {realm!r} will not do')\n"
    )
    spec = "./refusing.py:Auth(realm='x')"
    with pytest.raises(ConfigError) as caught:
        compose(settings(app="composed", middleware=[spec]))
    assert str(caught.value) == f"--middleware {spec}: Auth: the realm 'x' will not do"


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wsgi_async.applications.static", None)
    with pytest.raises(ConfigError, match=r"--static needs werkzeug: pip install 'wsgi_async\["):
        compose(settings(app="composed", static=["/s=public"]))


def test_what_is_served_in_words() -> None:
    assert not names_something(settings(lint=True))
    for options, words in (
        ({"app": "a"}, "the application a"),
        ({"mount": ["/x=b"], "static": ["/s=c"]}, "--mount /x=b, --static /s=c"),
    ):
        assert names_something(settings(**options))
        assert describe(settings(**options)) == words


def test_nothing_is_imported_for_options_that_are_not_used(directory: Path) -> None:
    program = (
        "import sys\n"
        "from wsgi_async.config.sources import gather\n"
        "from wsgi_async.applications.composition import compose\n"
        "compose(gather({'app': 'composed'}, parse=lambda words: {}, environ={}))\n"
        "parts = {'mounts', 'static', 'lint', 'encode_str'}\n"
        "assert not {f'wsgi_async.{part}' for part in parts} & sys.modules.keys()\n"
        "assert 'werkzeug' not in sys.modules\n"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        cwd=directory,
        env={"PYTHONPATH": f"{ROOT}:{directory}"},
        check=True,
        timeout=30,
    )


# --- The command line


def test_everything_on_the_command_line(directory: Path) -> None:
    pytest.importorskip("werkzeug")
    (directory / "site").mkdir()
    (directory / "composed.py").rename(directory / "site" / "composed.py")
    (directory / "public").rename(directory / "site" / "public")
    command = Command(
        *("composed", "--port", "0", "--chdir", "site", "--static", "/s=public"),
        *("--mount", "GET /x=composed:text", "--mount", "/w=composed:wrong"),
        *("--middleware", "composed:Trail", "--middleware", "composed:Trail('2')"),
        *("--encode-str", "utf-8", "--lint", "--workers", "2"),
        directory=directory,
    )
    with command, command.client() as client:
        assert client.get("/y").body == b"|/y|t.2."
        assert client.get("/s/a.txt").body == b"a file"
        assert client.get("/x").body == "grün".encode()
        client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert client.response().status == 405
        assert client.get("/w").status == 500
        command.wait_for(r"\[ERROR\] GET /w \[127.*\]: GET /w: the application composed:wrong did")


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["composed", "--mount", "/x=composed:make()", "--lint"], 0, ""),
        (["--mount", "/x=plain.wsgi"], 0, ""),
        (["composed", "--mount", "x=composed"], 1, "--mount x=composed: .* begin with a slash"),
        (["composed", "--static", "/s=none"], 1, "--static: there is no directory 'none'"),
        (["composed", "--middleware", "composed:fails"], 3, "--middleware composed:fails: Calling"),
        (["composed", "--mount", "/x=nowhere"], 3, "--mount /x=nowhere: No module named"),
        (["--lint"], 1, r"Which application\?"),
    ],
)
def test_check_config(args: list[str], code: int, message: str, directory: Path) -> None:
    with Command(*args, "--check-config", directory=directory) as command:
        assert command.wait() == code
        if code:
            command.wait_for(f"^wsgi-async: error: {message}")
