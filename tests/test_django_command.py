"""``manage.py runwsgiasync``."""

from __future__ import annotations

import os
import signal
import sys
import urllib.request
from pathlib import Path

import pytest
from tools import python, running

pytest.importorskip("django")

from django.core.management.base import CommandError

from wsgi_async.django.management.commands.runwsgiasync import command_line

MANAGE = """
import os, sys
from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
execute_from_command_line(sys.argv)
"""

SETTINGS = """
SECRET_KEY = "x"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["wsgi_async.django"]
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
DEBUG = False
"""

URLS = """
import os, sys
from django.http import HttpResponse
from django.urls import path

def home(request):
    parent = "yes" if "shop.settings" in sys.modules else "no"
    return HttpResponse(f"{request.META['wsgi.multithread']} {parent}")

urlpatterns = [path("", home)]
"""

WSGI = """
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    package = tmp_path / "project" / "shop"
    package.mkdir(parents=True)
    (package.parent / "manage.py").write_text(MANAGE)
    for name, text in (("__init__", ""), ("settings", SETTINGS), ("urls", URLS), ("wsgi", WSGI)):
        (package / f"{name}.py").write_text(text)
    return package.parent


@pytest.mark.parametrize("where", [".", ".."])
def test_it_serves_the_project(project: Path, where: str) -> None:
    command = python(
        str(project / "manage.py"), "runwsgiasync", "127.0.0.1:0", "--threads", "3", "-w", "2"
    )
    with running(*command, cwd=project / where) as process:
        with urllib.request.urlopen(process.url) as response:
            assert response.read() == b"True yes"
        process.wait_for(r"2 processes, 3 threads each")
        # Nothing of the project is in the parent, so a reload reads all of it again.
        (project / "shop" / "urls.py").write_text(URLS.replace('"yes"', '"new"'))
        process.signal(signal.SIGHUP)
        process.wait_for(r"\] Reloaded$")
        with urllib.request.urlopen(process.url) as response:
            assert response.read() == b"True new"
        process.signal(signal.SIGTERM)
        assert process.wait() == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("here",), "CommandError: 'here' is neither a port nor host:port"),
        (("--threads", "x"), "error: --threads takes a whole number"),
        (("--nonsense",), "unrecognized arguments: --nonsense"),
    ],
)
def test_one_clear_error(project: Path, args: tuple[str, ...], message: str) -> None:
    with running(*python("manage.py", "runwsgiasync", *args), cwd=project) as process:
        process.wait_for(message)
        assert process.wait() != 0


PATH = f"--pythonpath={os.path.abspath(sys.path[0])}"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, []),
        ({"addrport": "8001"}, ["--bind", "localhost:8001"]),
        ({"addrport": "0:8001"}, ["--bind", "0.0.0.0:8001"]),
        ({"addrport": "[::1]:8001"}, ["--bind", "[::1]:8001"]),
        ({"reload": True, "debug": False}, ["--reload", "--no-debug"]),
        ({"bind": ["a:1", "b:2"]}, ["--bind=a:1", "--bind=b:2"]),
        ({"threads": 4, "verbosity": 1}, ["--threads=4"]),
    ],
)
def test_the_command_line(options: dict[str, object], expected: list[str]) -> None:
    assert command_line(options, application="a.b") == ["a.b", *expected, PATH]
    default = "django.core.wsgi:get_wsgi_application()"
    assert command_line(options, application=None) == [default, *expected, PATH]


def test_an_address_that_is_none() -> None:
    with pytest.raises(CommandError, match="'x:y' is neither a port nor host:port"):
        command_line({"addrport": "x:y"}, application=None)
