"""Which frames are the package's own, by the files they come from."""

from __future__ import annotations

import os
from types import TracebackType

import pytest

import wsgi_async
from wsgi_async.applications.lint import Lint
from wsgi_async.applications.mounts import Mounts
from wsgi_async.applications.static import StaticFiles
from wsgi_async.applications.str_encoding import EncodeStr
from wsgi_async.foreign.hooks import RequestHooks
from wsgi_async.middleware.requestid import RequestId
from wsgi_async.system import own_code
from wsgi_async.system.own_code import CALLER, calls_applications, is_ours, without_ours
from wsgi_async.wsgi.calling import WSGIResponse
from wsgi_async.wsgi.checks import check_chunk


def test_the_caller_is_where_applications_are_called() -> None:
    assert WSGIResponse.begin.__code__.co_filename == CALLER
    assert is_ours(CALLER)
    assert not calls_applications(CALLER)


@pytest.mark.parametrize("between", [Lint, Mounts, StaticFiles, EncodeStr, RequestId, RequestHooks])
def test_what_wraps_an_application_lies_between(between: type) -> None:
    filename = between.__call__.__code__.co_filename
    assert is_ours(filename)
    assert calls_applications(filename)


def test_what_lies_beside_the_package_is_not_ours() -> None:
    package = os.path.dirname(wsgi_async.__file__)
    assert is_ours(os.path.join(package, "cli.py"))
    assert not is_ours(package + "_of_somebody_else.py")
    assert not is_ours(os.path.join(os.path.dirname(package), "views.py"))
    assert not calls_applications(os.path.join(package, "middleware.py"))


def names(trace: TracebackType | None) -> list[str]:
    found = []
    while trace is not None:
        found.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    return found


def trace_of(function: str, *prefixes: str) -> list[str]:
    """What is left of a traceback through code of ours, then code from a file of that name, then
    ours again."""
    source = "def view(check):\n    check('text')\n"
    view: dict[str, object] = {}
    exec(compile(source, function, "exec"), view)
    ours: dict[str, object] = {}
    source = "def call(view, check):\n    view(check)\n"
    exec(compile(source, CALLER, "exec"), ours)
    try:
        ours["call"](view["view"], check_chunk)  # type: ignore[operator]
    except Exception as error:
        here = error.__traceback__
        return names(without_ours(here and here.tb_next, prefixes))
    raise AssertionError


def test_of_a_traceback_only_the_beginning_is_cut_off() -> None:
    assert trace_of("/srv/views.py") == ["view", "check_chunk"]


def test_nothing_is_left_of_one_that_is_all_ours() -> None:
    assert trace_of(own_code.__file__) == []
    assert trace_of("/lib/importlib/__init__.py", "<frozen importlib", "/lib/importlib/") == []
    assert without_ours(None) is None
