"""A project's own tests of streaming views, by Django's runner: transactions and threads hold."""

from __future__ import annotations

from pathlib import Path

from serving import APPS
from tools import python, require_module, running


def test_a_projects_own_tests_pass(tmp_path: Path) -> None:
    require_module("django")
    require_module("whitenoise")
    command = python("-m", "django", "test", "live_django_tests", "--settings", "live_settings")
    env = {
        "LIVE_DATABASE": str(tmp_path / "unused.sqlite3"),
        "LIVE_INSTALLED": "1",
        "LIVE_URLS": "live_django_tests",
    }
    with running(*command, cwd=APPS, env=env) as tests:
        code = tests.wait()
    assert code == 0, tests.output
    assert "Ran 6 tests" in tests.output
