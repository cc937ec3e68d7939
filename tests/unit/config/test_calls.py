"""The options of a call: short forms, and those that nobody would follow there."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

import wsgi_async
from wsgi_async import Server, serve
from wsgi_async.config.calls import given, make_config, refuse
from wsgi_async.config.option import Scope
from wsgi_async.config.options import OPTIONS, Config
from wsgi_async.errors import ConfigError
from wsgi_async.events import Observer
from wsgi_async.system.sockets import DEFAULT_PORT
from wsgi_async.testing.live import live_server


def test_make_config() -> None:
    assert make_config(None, None, {}).bind == ()
    assert make_config(0, None, {}).bind == ("localhost:0",)
    assert make_config(None, "", {"threads": 2}).bind == (":8000",)
    assert make_config(80, "::1", {}).bind == ("[::1]:80",)
    assert make_config(None, None, {"bind": ("unix:/a",)}).bind == ("unix:/a",)


def test_the_default_port_stands_once() -> None:
    package = Path(wsgi_async.__file__).parent
    places = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value == DEFAULT_PORT:
                places.add(path.relative_to(package).as_posix())
    assert places == {"system/sockets.py", "compat/simple_server.py"}  # the latter is wsgiref's


def test_what_is_given_of_a_scope() -> None:
    options = {"workers": 2, "threads": 2, "log_level": "info", "timeout": 3}
    assert given(options, Scope.FLEET) == ["timeout", "workers"]
    assert given(options, Scope.PROCESS) == ["log_level"]
    assert given(options, Scope.SERVER) == ["threads"]
    assert given({"workers": 1}, Scope.FLEET) == []  # asks for no supervisor
    refuse({"workers": 1, "threads": 1}, Scope.FLEET)


@pytest.mark.parametrize(
    "name", [spec.name for spec in OPTIONS if spec.scope in (Scope.PROCESS, Scope.FLEET)]
)
def test_an_embedded_server_takes_no_option_that_it_would_not_follow(name: str) -> None:
    options: dict[str, Any] = {spec.name: spec.default for spec in OPTIONS if spec.name == name}
    if name == "workers":
        options["workers"] = 2
    with pytest.raises(ConfigError, match=rf"^{name} (needs a supervisor|is for the command line)"):
        Server(lambda environ, start_response: [], **options)
    with (
        pytest.raises(ConfigError, match=rf"^{name} (needs a supervisor|is for the command line)"),
        live_server(lambda environ, start_response: [], **options),
    ):
        pass


def test_no_way_of_giving_it_options_makes_it_follow_them() -> None:
    # Where somebody else takes the log, and where all options come at once.
    with pytest.raises(ConfigError, match=r"^workers needs a supervisor"):
        Server(lambda environ, start_response: [], observer=Observer(), workers=2)
    for name, value in {"timeout": 7, "log_level": "debug"}.items():
        config = Config(**{name: value})  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=f"^{name} "):
            Server(lambda environ, start_response: [], config=config)
    assert Server(lambda environ, start_response: [], config=Config(threads=2)).config.threads == 2


@pytest.mark.parametrize(
    "name",
    [spec.name for spec in OPTIONS if spec.scope is Scope.FLEET and spec.name != "workers"],
)
def test_one_process_alone_is_not_supervised(name: str) -> None:
    options: dict[str, Any] = {spec.name: spec.default for spec in OPTIONS if spec.name == name}
    with pytest.raises(ConfigError, match=rf"^{name} needs a supervisor"):
        serve(lambda environ, start_response: [], 0, **options)
