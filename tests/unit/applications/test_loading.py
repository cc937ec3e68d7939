"""Every form of an application's name, and what is said when it cannot be had."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wsgi_async.applications.loading import load_application, load_middleware
from wsgi_async.errors import LoadError

SITE = """
def application(environ, start_response): ...
def app(environ, start_response): ...
def make_app(greeting="hello", *, times=1):
    def made(environ, start_response): ...
    made.made_with = (greeting, times)
    return made
def _private(): ...
class App:
    def __init__(self, name="none", **options):
        self.name, self.options = name, options
    def __call__(self, environ, start_response): ...
    def handler(self, environ, start_response): ...
instance = App("instance")
number = 3
async def asynchronous(scope, receive, send): ...
class Asgi:
    async def __call__(self, scope, receive, send): ...
asgi = Asgi()
async def make_async(): ...
def broken_factory():
    raise KeyError("no database")
"""

Write = Callable[[dict[str, str]], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write files into an empty directory, which is the current one and first on the path."""

    def write(files: dict[str, str]) -> None:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def site(write: Write) -> None:
    write({"site_one.py": SITE})


def fails(spec: str, message: str, *, factory: bool = False) -> BaseException | None:
    with pytest.raises(LoadError) as caught:
        load_application(spec, factory=factory)
    assert str(caught.value) == message
    return caught.value.__cause__


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("site_one", "application"),
        ("site_one:", "application"),
        ("site_one:app", "app"),
        ("site_one:make_app()", "made"),
        ("site_one:make_app ( 'a:b' )", "made"),
        ("site_one:instance.handler", "handler"),
        ("site_one:App().handler", "handler"),
        ("site_one.app", "app"),
        ("site_one.instance.handler", "handler"),
        ("site_one.py", "application"),
        ("./site_one.py", "application"),
        ("site_one.py:app", "app"),
        ("site_one.py:make_app()", "made"),
    ],
)
def test_forms(spec: str, name: str) -> None:
    assert load_application(spec).__name__ == name


def test_app_is_the_second_default(write: Write) -> None:
    write({"only_app.py": "def app(environ, start_response): ..."})
    assert load_application("only_app").__name__ == "app"


@pytest.mark.usefixtures("site")
def test_literal_arguments() -> None:
    application = load_application("site_one:make_app('bye', times=[1, {'a': None}])")
    assert application.made_with == ("bye", [1, {"a": None}])  # type: ignore[attr-defined]
    application = load_application("site_one:App(name='x', debug=True)")
    assert (application.name, application.options) == ("x", {"debug": True})  # type: ignore[attr-defined]


@pytest.mark.usefixtures("site")
def test_a_factory() -> None:
    application = load_application("site_one:make_app", factory=True)
    assert application.made_with == ("hello", 1)  # type: ignore[attr-defined]
    # A call that is written out is not called again.
    application = load_application("site_one:make_app('bye')", factory=True)
    assert application.made_with == ("bye", 1)  # type: ignore[attr-defined]


def test_packages(write: Write) -> None:
    write(
        {
            "shop/__init__.py": "",
            "shop/web/__init__.py": "",
            "shop/web/main.py": "from . import views\napp = views.app",
            "shop/web/views.py": "def app(environ, start_response): ...",
        }
    )
    app = load_application("shop.web.main:app")
    assert load_application("shop.web.main") is app
    assert load_application("shop.web.main.app") is app
    # A file within a package is imported as its module: once, and relative imports work.
    assert load_application("shop/web/main.py") is app
    assert "shop.web.main" in sys.modules


def test_a_module_named_wsgi_is_no_file(write: Write) -> None:
    """As ``django-admin startproject mysite`` makes it; a file of that name comes first."""
    write({"mysite/__init__.py": "", "mysite/wsgi.py": SITE})
    application = load_application("mysite.wsgi:application")
    assert application.__module__ == "mysite.wsgi"
    assert load_application("mysite.wsgi") is application
    write({"mysite.wsgi": SITE})
    assert load_application("mysite.wsgi:application") is not application
    with pytest.raises(LoadError, match="No module named 'other'"):
        load_application("other.wsgi")


def test_a_file_elsewhere_does_not_shadow_a_module(write: Write) -> None:
    write({"deploy/json.wsgi": "import json\ndef application(e, s): return json.dumps(1)"})
    application = load_application("deploy/json.wsgi")
    assert application({}, None) == "1"
    assert load_application("deploy/json.wsgi") is application
    import json

    assert json.__name__ == "json"


def test_a_file_that_the_path_hides_is_loaded_all_the_same(write: Write) -> None:
    write({"deploy/random.py": "def app(environ, start_response): ..."})
    application = load_application("deploy/random.py")
    assert application.__module__ != "random"
    assert application.__module__ in sys.modules


def test_an_application_importing_itself_is_loaded_once(write: Write) -> None:
    write(
        {
            "circular.py": "def app(e, s): ...\nimport circular_models",
            "circular_models.py": "from circular import app",
        }
    )
    app = load_application("circular.py")
    assert sys.modules["circular_models"].app is app


# --- What goes wrong


@pytest.mark.parametrize(
    ("spec", "missing"),
    [("nowhere", "nowhere"), ("nowhere:app", "nowhere"), ("nowhere.web.app", "nowhere")],
)
def test_no_such_module(write: Write, tmp_path: Path, spec: str, missing: str) -> None:
    fails(
        spec,
        f"No module named '{missing}' in the current directory {tmp_path} or elsewhere on the path",
    )


@pytest.mark.usefixtures("site")
def test_no_such_submodule(tmp_path: Path) -> None:
    fails(
        "site_one.web:app",
        f"No module named 'site_one.web' in the current directory {tmp_path} "
        "or elsewhere on the path",
    )


def test_no_such_file(write: Write) -> None:
    write({"deploy/a.py": ""})
    fails("deploy/b.py", "No such file: 'deploy/b.py'")
    fails("./deploy", "No such file: './deploy' (a directory)")


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("site_one:maek_app", "There is no 'maek_app' in 'site_one'. Did you mean make_app?"),
        ("site_one.maek_app", "There is no 'maek_app' in 'site_one'. Did you mean make_app?"),
        ("site_one:maek_app()", "There is no 'maek_app' in 'site_one'. Did you mean make_app?"),
        ("site_one:number.x", "There is no 'x' in 'site_one:number'."),
        (
            "site_one:zzz",
            "There is no 'zzz' in 'site_one'. "
            "Callable there: application, app, make_app, App, instance.",
        ),
    ],
)
def test_no_such_attribute(spec: str, message: str) -> None:
    assert fails(spec, message) is None


def test_no_default(write: Write) -> None:
    write({"no_default.py": "from os.path import join\ndef create_app(): ..."})
    fails(
        "no_default",
        "There is no 'application' and no 'app' in 'no_default'; "
        "write no_default:NAME. Callable there: create_app.",
    )


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("site_one:number", "'number' in 'site_one' is not callable: it is of type int"),
        ("site_one:number()", "'number' in 'site_one' is not callable: it is of type int"),
        (
            "site_one:make_async()",
            "'make_async()' in 'site_one' is not callable: it is of type coroutine",
        ),
        (
            "site_one:asynchronous",
            "'asynchronous' in 'site_one' is an asynchronous (ASGI) application, not a WSGI one",
        ),
        (
            "site_one:asgi",
            "'asgi' in 'site_one' is an asynchronous (ASGI) application, not a WSGI one",
        ),
    ],
)
def test_not_an_application(spec: str, message: str) -> None:
    fails(spec, message)


@pytest.mark.usefixtures("site")
def test_a_factory_that_does_not_return_an_application() -> None:
    fails(
        "site_one:_private",
        "what '_private' in 'site_one' returned is not callable: it is of type NoneType",
        factory=True,
    )


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("spec", ["site_one:broken_factory()", "site_one:broken_factory"])
def test_a_factory_that_raises(spec: str) -> None:
    cause = fails(
        spec,
        "Calling 'broken_factory' in 'site_one' raised KeyError: 'no database'",
        factory=True,
    )
    assert isinstance(cause, KeyError)


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("import nowhere", ModuleNotFoundError, "ModuleNotFoundError: No module named 'nowhere'"),
        ("raise ValueError('one\\ntwo')", ValueError, "ValueError: one"),
        ("raise ValueError", ValueError, "ValueError"),
        ("import sys; sys.exit(2)", SystemExit, "SystemExit: 2"),
        ("x = (", SyntaxError, None),
    ],
)
@pytest.mark.parametrize("spec", ["faulty", "faulty.app", "faulty.py", "deploy/faulty.wsgi"])
def test_what_importing_raises_is_the_cause(
    write: Write, text: str, kind: type[BaseException], said: str | None, spec: str
) -> None:
    write({"faulty.py": text, "deploy/faulty.wsgi": text})
    before = set(sys.modules)
    with pytest.raises(LoadError) as caught:
        load_application(spec)
    assert type(caught.value.__cause__) is kind
    if said is not None:
        name = spec if spec.endswith(".wsgi") else "faulty"
        assert str(caught.value) == f"Importing {name!r} raised {said}"
    assert "\n" not in str(caught.value)
    assert set(sys.modules) == before


def test_an_import_error_within_a_package_is_not_a_missing_module(write: Write) -> None:
    write({"pack/__init__.py": "import pack.gone", "pack/web.py": ""})
    with pytest.raises(LoadError, match=r"^Importing 'pack' raised ModuleNotFoundError") as caught:
        load_application("pack.web:app")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


@pytest.mark.parametrize("spec", ["lazy", "lazy:app", "lazy.app"])
def test_an_attribute_that_raises(write: Write, spec: str) -> None:
    write({"lazy.py": "def __getattr__(name): raise RuntimeError('too early')"})
    with pytest.raises(LoadError, match="raised RuntimeError: too early") as caught:
        load_application(spec)
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("spec", ["", ":app", " :app", ".app", "a..b", "app.:app"])
def test_no_module_name(spec: str) -> None:
    with pytest.raises(LoadError, match="write module:application"):
        load_application(spec)


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    "expression",
    [
        "1",
        "a b",
        "a[0]",
        "(",
        "make_app(x)",
        "make_app(*[1])",
        "make_app(**{})",
        "make_app()()",
        "\0",
    ],
)
def test_expressions_that_are_refused(expression: str) -> None:
    with pytest.raises(LoadError, match="is no name, attribute or call with literal arguments"):
        load_application(f"site_one:{expression}")


# --- Middleware


MIDDLEWARE = """
class Wrapped:
    def __init__(self, *args, **options):
        self.args, self.options = args, options

    def __call__(self, environ, start_response):
        return []
"""


@pytest.mark.parametrize(
    ("expression", "arguments", "options"),
    [
        (":Wrapped", (), {}),
        (".Wrapped", (), {}),
        (":Wrapped()", (), {}),
        (":Wrapped(1, 'a b', sign=[None])", (1, "a b"), {"sign": [None]}),
    ],
)
def test_middleware_gets_the_application_and_its_arguments(
    expression: str,
    arguments: tuple[Any, ...],
    options: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "wrappers", raising=False)
    (tmp_path / "wrappers.py").write_text(MIDDLEWARE)
    (tmp_path / "wrapper.wsgi").write_text(MIDDLEWARE)

    def application(environ: Any, start_response: Any) -> Any:
        raise AssertionError

    specs = [f"wrappers{expression}"]
    if expression.startswith(":"):
        specs.append(f"{tmp_path}/wrapper.wsgi{expression}")
    for spec in specs:
        made: Any = load_middleware(spec)(application)
        assert (made.args, made.options) == ((application, *arguments), options)
    del sys.modules["wrappers"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "names no module"),
        ("json", "'json' names no factory: write json:Factory"),
        ("json:", "names no factory"),
        ("json:dumps(open)", "literal arguments"),
        ("json:__all__", "is not callable: it is of type list"),
        ("json:dumps", "Calling 'dumps' in 'json' raised TypeError"),
    ],
)
def test_middleware_that_cannot_be_had(spec: str, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        load_middleware(spec)(print)
