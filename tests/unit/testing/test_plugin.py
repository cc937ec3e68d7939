"""The fixtures, in a pytest of their own."""

from __future__ import annotations

import tomllib
from importlib import import_module

import pytest
from tools import ROOT

pytest_plugins = ["pytester"]

APP = """
    def application(environ, start_response):
        if environ["PATH_INFO"] == "/broken":
            raise ValueError("the app is broken")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"hello"]
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A directory with an application; its pytest has our plugin, and no other."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makepyfile(app=APP)
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    return pytester


def pytest_of(run: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return run.runpytest_subprocess("-p", "wsgi_async.testing.plugin", *arguments, timeout=50)


def test_the_entry_point_leads_to_the_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"wsgi_async": "wsgi_async.testing.plugin"}
    assert import_module("wsgi_async.testing.plugin").wsgi_server


def test_both_fixtures(run: pytest.Pytester) -> None:
    run.makepyfile(
        """
        import urllib.request
        import threading
        from app import application
        from wsgi_async.testing import TestClient, live_server

        def test_client(wsgi_client):
            client = wsgi_client(application, headers={"X": "y"})
            assert isinstance(client, TestClient)
            assert client.get("/").text == "hello"

        def test_server(wsgi_server):
            one, two = wsgi_server(application, threads=1), wsgi_server(application)
            for server in (one, two):
                with urllib.request.urlopen(server.url) as response:
                    assert response.read() == b"hello"
            assert [r.status for r in one.wait_for_requests(1)] == [200]

        def test_it_has_ended():
            names = [thread.name for thread in threading.enumerate()]
            assert not [name for name in names if name.startswith("wsgi_async")]
        """
    )
    result = pytest_of(run, "-v")
    result.assert_outcomes(passed=3)
    result.stdout.no_fnmatch_line("*wsgi_async log of*")


def test_a_failed_test_shows_what_the_server_said(run: pytest.Pytester) -> None:
    run.makepyfile(
        """
        import urllib.error
        import urllib.request
        import pytest
        from app import application

        def test_fails(wsgi_server):
            server = wsgi_server(application)
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(server.url + "/broken")
            caught.value.close()
            server.wait_for_requests(1)
            assert False

        def test_passes(wsgi_server):
            wsgi_server(application)
        """
    )
    result = pytest_of(run, "-p", "no:logging")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*wsgi_async log of http://127.0.0.1:*",
            "<GET /broken: 500, 26 bytes, * ms, queue *, app *, send *>",
            "*INFO* Listening on http://127.0.0.1:*",
            "*ERROR* GET /broken *: the application raised",
            "*ValueError: the app is broken",
            '*INFO* 127.0.0.1 - - * "GET /broken HTTP/1.1" 500 26 *',
        ]
    )
    text = result.stdout.str()
    assert text.count("wsgi_async log of") == 1
    result = pytest_of(run, "--show-capture=no")
    result.stdout.no_fnmatch_line("*wsgi_async log of*")


def test_nothing_is_loaded_before_it_is_asked_for(run: pytest.Pytester) -> None:
    run.makepyfile(
        """
        import sys

        def test_modules():
            ours = {name for name in sys.modules if name.split(".")[0] == "wsgi_async"}
            assert ours == {
                "wsgi_async", "wsgi_async._imports", "wsgi_async._lazy", "wsgi_async._version",
                "wsgi_async.testing", "wsgi_async.testing.plugin",
            }
            assert not {"asyncio", "h11", "uvloop", "click"} & set(sys.modules)
        """
    )
    pytest_of(run, "-p", "no:faulthandler").assert_outcomes(passed=1)


def test_the_tools_are_not_collected(run: pytest.Pytester) -> None:
    run.makepyfile(
        """
        from wsgi_async.testing import *

        def test_one():
            assert TestClient
        """
    )
    pytest_of(run).assert_outcomes(passed=1)


def test_installed_it_is_there_by_itself(
    run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pip leaves it: pytest finds the entry point, and rewrites the package's assertions."""
    installed = run.mkdir("installed")
    (installed / "wsgi_async").symlink_to(ROOT / "wsgi_async")
    information = installed / "wsgi_async-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: wsgi_async\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(
        "[pytest11]\nwsgi_async = wsgi_async.testing.plugin\n"
    )
    files = [path.relative_to(ROOT) for path in (ROOT / "wsgi_async").rglob("*.py")]
    (information / "RECORD").write_text("".join(f"{path},,\n" for path in files))
    monkeypatch.setenv("PYTHONPATH", str(installed))
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    run.makepyfile(
        """
        from app import application

        def test_one(wsgi_client, wsgi_server):
            assert wsgi_client(application).get().text == "hello"
            wsgi_server(application)
        """
    )
    quiet = ("-p", "no:asyncio")  # it asks for settings of its own
    run.runpytest_subprocess(*quiet, timeout=50).assert_outcomes(passed=1)
    without = run.runpytest_subprocess(*quiet, "-p", "no:wsgi_async", timeout=50)
    without.assert_outcomes(errors=1)
