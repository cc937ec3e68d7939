"""Applications of PasteDeploy's files, and what is said where one cannot be had."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tools import require_module

from wsgi_async.applications.composition import compose
from wsgi_async.applications.loading import application_traceback, load_application
from wsgi_async.config.paste_spec import PasteSpec, paste_spec
from wsgi_async.config.sources import gather
from wsgi_async.errors import ConfigError, LoadError

MODULE = """
def make(global_conf, **settings):
    def app(environ, start_response):
        start_response("200 OK", [])
        return [repr((settings, global_conf.get("colour"))).encode()]
    return app

def make_nothing(global_conf):
    return None

def make_broken(global_conf):
    return {}["no database"]

def upper(app, global_conf):
    return lambda environ, start_response: [part.upper() for part in app(environ, start_response)]
"""

INI = """
[app:main]
paste.app_factory = paste_site:make
here_is = %(here)s
tint = %(colour)s

[app:plain]
paste.app_factory = paste_site:make

[filter:upper]
paste.filter_app_factory = paste_site:upper

[pipeline:loud]
pipeline = upper plain

[app:nothing]
paste.app_factory = paste_site:make_nothing
[app:broken]
paste.app_factory = paste_site:make_broken
[app:absent]
paste.app_factory = paste_site:no_such_name
[app:no_name]
paste.app_factory = paste_site make
[app:of_no_module]
paste.app_factory = no_such_paste_module:make
[app:egg]
use = egg:no-such-distribution
[app:lost]
use = nowhere
[app:required]
paste.app_factory = paste_site:make
word = hunter2%(never_said)s
[app:circle]
use = squared
[app:squared]
use = circle
[app:too_much]
paste.app_factory = paste_site:make_nothing
word = 1
"""

Load = Callable[..., Any]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    require_module("paste.deploy")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "paste_site.py").write_text(MODULE)
    (tmp_path / "site.ini").write_text(INI)
    yield lambda spec, **variables: load_application(spec, variables=variables)
    sys.modules.pop("paste_site", None)


def body(application: Callable[..., Any]) -> str:
    return b"".join(application({}, lambda *_: None)).decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("site.ini", PasteSpec("site.ini", "")),
        ("/a b/site.ini#admin", PasteSpec("/a b/site.ini", "admin")),
        ("/a#b/site.ini", PasteSpec("/a#b/site.ini", "")),
        ("site.ini#", PasteSpec("site.ini", "")),
        ("site:ini", None),
        ("site.ini:uwsgi", None),
        ("ini.py", None),
    ],
)
def test_what_names_one(text: str, expected: PasteSpec | None) -> None:
    assert paste_spec(text) == expected


def test_an_application_with_its_settings(load: Load, tmp_path: Path) -> None:
    settings = {"here_is": str(tmp_path), "tint": "red"}
    assert body(load("site.ini", colour="red")) == repr((settings, "red"))
    assert body(load(f"{tmp_path}/site.ini#main", colour="red")) == repr((settings, "red"))
    assert body(load("site.ini#plain")) == "({}, None)"
    assert body(load("site.ini#loud")) == "({}, NONE)"


def test_names_of_directories_are_no_syntax(load: Load, tmp_path: Path) -> None:
    directory = tmp_path / "a #b &?c"
    directory.mkdir()
    (directory / "site.ini").write_text("[app:main]\npaste.app_factory = paste_site:make\n")
    assert body(load(f"{directory}/site.ini")) == "({}, None)"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("site.ini#nix", "site.ini: No section 'nix' (prefixed by 'app' or 'application' or "),
        ("site.ini#lost", "site.ini: No section 'nowhere' (prefixed by "),
        ("site.ini#egg", "site.ini: no distribution 'no-such-distribution' is installed, which"),
        ("site.ini#required", "site.ini: Error in file "),
        ("site.ini#circle", "site.ini: its sections lead to one another in a circle"),
        ("site.ini#absent", "site.ini: module 'paste_site' has no attribute 'no_such_name'"),
        ("site.ini#no_name", "site.ini: a factory is written as MODULE:NAME"),
        ("site.ini#too_much", "site.ini: make_nothing() got an unexpected keyword argument 'word'"),
        ("no.ini", "No such file: 'no.ini'"),
        ("site.ini#nothing", "what is made of 'site.ini#nothing' is not callable: it is of type N"),
    ],
)
def test_what_the_file_says_is_wrong(load: Load, spec: str, message: str) -> None:
    """A sentence, and no traceback: there is no code of the application's in it."""
    with pytest.raises(LoadError) as caught:
        load(spec, colour="red")
    assert message in str(caught.value)
    assert str(caught.value).startswith(message[:9])
    assert caught.value.__cause__ is None
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("site.ini#broken", "KeyError: 'no database'"),
        ("site.ini#of_no_module", "ModuleNotFoundError: No module named 'no_such_paste_module'"),
    ],
)
def test_code_that_raises_shows_where(load: Load, spec: str, message: str) -> None:
    with pytest.raises(LoadError) as caught:
        load(spec, colour="red")
    assert str(caught.value) == f"Loading {spec!r} raised {message}"
    assert caught.value.__cause__ is not None
    if "broken" in spec:
        assert "in make_broken" in application_traceback(caught.value.__cause__)


def test_mounts_have_them_too(load: Load) -> None:
    settings = gather(
        {"app": "site.ini", "mount": ["/loud=site.ini#loud"], "paste_global": ["colour=a=b"]},
        parse=lambda words: {},
        environ={},
    )
    application = compose(settings)
    answers = [
        b"".join(application({"PATH_INFO": path, "REQUEST_METHOD": "GET"}, lambda *_: None))
        for path in ("/", "/loud")
    ]
    assert answers[0].endswith(b"'a=b')")
    assert answers[1] == b"({}, 'A=B')"


def test_the_package_that_is_not_there(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "wsgi_async.applications.paste_files", raising=False)
    monkeypatch.setitem(sys.modules, "paste.deploy", None)
    with pytest.raises(ConfigError) as caught:
        load("site.ini")
    assert str(caught.value) == "site.ini needs PasteDeploy: pip install 'wsgi_async[paste]'"
