"""An application named without the parentheses that would make it: said at the start."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from serving import Command

from wsgi_async.applications.factories import doubt, refusal
from wsgi_async.applications.loading import load_application
from wsgi_async.errors import LoadError


def adapting(function: Callable[..., Any]) -> Callable[..., Any]:
    """As werkzeug's Request.application: what it makes has another signature."""

    @functools.wraps(function)
    def application(*args: Any) -> Any:
        return function(args[0])

    return application


def copying(function: Callable[..., Any]) -> Callable[..., Any]:
    """As decorators of the package `decorator` do it."""

    def application(environ: Any, start_response: Any) -> Any: ...

    application.__signature__ = "anything"  # type: ignore[attr-defined]
    return functools.wraps(function)(application)


class Site:
    def __init__(self) -> None: ...
    def __call__(self, environ: Any, start_response: Any) -> Any: ...
    def view(self, request: Any) -> Any: ...


class Iterable:
    def __init__(self, environ: Any, start_response: Any) -> None: ...
    def __iter__(self) -> Any: ...


class Static:
    @staticmethod
    def __call__(environ: Any, start_response: Any) -> Any: ...


class Made:
    def __init__(self, name: str = "", debug: bool = False) -> None: ...


def test_what_can_be_called_is_not_refused() -> None:
    one: Any = lambda request: None  # noqa: E731
    for found in (
        *(Site(), Iterable, Site().__call__, adapting(one), copying(one), print, max),
        functools.partial(lambda config, environ, start_response: None, {}),
        lambda *args: None,
        lambda environ, start_response, /, more=None, **others: None,
        lambda config=None, debug=False: None,
        Static(),
    ):
        assert refusal(found) == "", found


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (lambda: None, "it takes no arguments"),
        (lambda config: None, "it takes config"),
        (lambda a, b, c: None, "it takes a, b, c"),
        (lambda environ, *, start_response: None, "it takes environ, start_response"),
        (Site, "it takes no arguments"),
        (Site().view, "it takes request"),
    ],
)
def test_what_can_never_be_called_is_refused(found: Callable[..., Any], why: str) -> None:
    with pytest.raises(TypeError):
        found({}, lambda *args: None)
    assert refusal(found) == why


@pytest.mark.parametrize(
    ("found", "name", "expected"),
    [
        (lambda environ, start_response: None, "make_app", False),
        (lambda env, sr: None, "create_app", False),
        (lambda environ, start_response=None: None, "create_app", False),
        (lambda *args: None, "app", False),
        (lambda *args, **options: None, "create_app", True),
        (lambda config=None, debug=False: None, "app", True),
        (lambda config=None, *args: None, "application_factory", True),
        (lambda global_config, settings: None, "create_app", True),
        (lambda global_config, settings: None, "site", False),
        (Made, "Made", True),
        (Iterable, "Iterable", False),
        (Site(), "create_app", False),
        (copying(lambda: None), "create_app", False),
    ],
)
def test_what_looks_like_a_factory(found: Callable[..., Any], name: str, expected: bool) -> None:
    assert doubt(found, name) is expected


SHOP = """
def app(environ, start_response): ...
def create_app(): return app
def make_app(config=None, debug=False): return app
class Shop:
    def create(self, config): return app
shop = Shop()
"""


def test_the_error_says_what_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "shop_of_factories.py").write_text(SHOP)
    for spec in ("shop_of_factories:create_app", "shop_of_factories.create_app"):
        with pytest.raises(
            LoadError, match=r"takes no arguments\. .* write shop_of_factories:create_app\(\), or"
        ):
            load_application(spec)
    with pytest.raises(LoadError, match=r"takes config\. .* shop_of_factories:shop\.create\(\)"):
        load_application("shop_of_factories:shop.create")
    warnings: list[str] = []
    for spec in ("app", "create_app()", "make_app", "make_app()"):
        load_application(f"shop_of_factories:{spec}", warn=warnings.append)
    load_application("shop_of_factories:make_app", factory=True, warn=warnings.append)
    assert warnings == [
        "'make_app' in 'shop_of_factories' looks like a factory, not an application. "
        "If it is one, write shop_of_factories:make_app(), or add --factory"
    ]


def test_it_is_said_once_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    here = ("-b", "127.0.0.1:0")
    with Command("shop:create_app", *here, directory=tmp_path) as command:
        assert command.wait() == 3
        assert command.lines[-1].endswith("write shop:create_app(), or add --factory")
    for preload in ((), ("--preload",)):
        arguments = ("shop:make_app", "--mount", "/a=shop:make_app", "-w", "3", *preload, *here)
        with Command(*arguments, directory=tmp_path) as command:
            command.wait_for("Listening on")
            doubts = [line for line in command.lines if "looks like a factory" in line]
        assert len(doubts) == 2
        assert "[WARNING] 'make_app' in 'shop' looks" in doubts[0]
        assert "[WARNING] --mount /a=shop:make_app: 'make_app' in" in doubts[1]
