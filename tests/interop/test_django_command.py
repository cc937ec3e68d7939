"""``manage.py runwsgiasync``."""

from __future__ import annotations

import os
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from certificates import LOCAL, authority
from tools import python, running

pytest.importorskip("django")

from django.core.management.base import CommandError

from wsgi_async.django.management.commands.runwsgiasync import Command, command_line

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


def test_it_serves_by_tls_and_django_knows(project: Path, tmp_path: Path) -> None:
    """With no setting of Django's: `is_secure()` decides on cookies, redirects and CSRF."""
    pair = authority().issue(tmp_path, *LOCAL)
    urls = URLS.replace("{request.META['wsgi.multithread']}", "{request.is_secure()}")
    (project / "shop" / "urls.py").write_text(urls)
    command = python("manage.py", "runwsgiasync", "127.0.0.1:0", *pair.flags)
    with running(*command, cwd=project) as process:
        url = process.wait_for(r"https://127\.0\.0\.1:\d+")[0]
        with urllib.request.urlopen(url, context=authority().client()) as response:
            assert response.read() == b"True yes"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("here",), "argument addrport: 'here' is neither a port nor host:port"),
        (("--threads", "x"), "--threads takes a whole number"),
        (("--nonsense",), "unrecognized arguments: --nonsense"),
        (("127.0.0.1:0", "--env-file", "none"), "--env-file: cannot read"),
        (("--check-config", "--static", "/s=none"), "There is no directory|no directory"),
    ],
)
def test_one_clear_error(project: Path, args: tuple[str, ...], message: str) -> None:
    with running(*python("manage.py", "runwsgiasync", *args), cwd=project) as process:
        process.wait_for(f"^manage.py runwsgiasync: error: .*({message})")
        assert process.wait() != 0


def ask(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, b""


@pytest.mark.parametrize(
    ("debug", "flags", "status"),
    [
        (True, (), 200),
        (True, ("--nostatic",), 404),
        (False, (), 404),
        (False, ("--insecure",), 200),
    ],
)
def test_static_files_are_served_as_by_runserver(
    project: Path, debug: bool, flags: tuple[str, ...], status: int
) -> None:
    (project / "shop" / "static").mkdir()
    (project / "shop" / "static" / "site.css").write_text("body {}")
    apps = '["wsgi_async.django", "django.contrib.staticfiles", "shop"]\nSTATIC_URL = "static/"'
    source = SETTINGS.replace('["wsgi_async.django"]', apps).replace("False", str(debug))
    (project / "shop" / "settings.py").write_text(source)
    command = python("manage.py", "runwsgiasync", "127.0.0.1:0", "--access-log", *flags)
    with running(*command, cwd=project) as process:
        assert ask(f"{process.url}/static/site.css") == (
            status,
            b"body {}" if status < 400 else b"",
        )
        assert ask(process.url)[0] == 200
        process.wait_for(f'"GET /static/site.css HTTP/1.1" {status}')
        process.signal(signal.SIGTERM)
        assert process.wait() == 0


def test_the_other_flags_of_the_command_line(project: Path) -> None:
    for args, said in (
        (
            ("--check-config",),
            "the application shop.wsgi.application are good",
        ),
        (("--print-config", "-w", "3", "--processes=4"), r"workers = 4 +# command line"),
        (("--print-config", "--no-access-log"), 'access_logfile = "" +# command line'),
        (("--print-config", "--uds", "a.sock"), r'bind = \["unix:a.sock"\]'),
        (("--print-config", "--listen", ":81", "-k", "sync"), r'bind = \[":81"\]'),
    ):
        with running(*python("manage.py", "runwsgiasync", *args), cwd=project) as process:
            assert process.wait() == 0, process.output
            process.wait_for(said)
    with running(*python("manage.py", "runwsgiasync", "--help"), cwd=project) as process:
        assert process.wait() == 0
        process.wait_for("--print-config")
        assert "--uds" not in process.output
        assert "--listen" not in process.output


def path() -> str:
    return f"--pythonpath={os.path.abspath(sys.path[0])}"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], []),
        (["8001"], ["--bind", "localhost:8001"]),
        (["0:8001"], ["--bind", "0.0.0.0:8001"]),
        (["[::1]:8001"], ["--bind", "[::1]:8001"]),
        (["--reload", "--no-debug"], ["--reload", "--no-debug"]),
        (["--bind", "a:1", "-b", "b:2"], ["--bind=a:1", "--bind=b:2"]),
        (["--threads=4", "-v", "1"], ["--threads=4"]),
    ],
)
def test_the_command_line(words: list[str], expected: list[str]) -> None:
    options = vars(Command().create_parser("manage.py", "runwsgiasync").parse_args(words))
    assert command_line(options, application="a.b") == ["a.b", *expected, path()]
    default = "django.core.wsgi:get_wsgi_application()"
    assert command_line(options, application=None) == [default, *expected, path()]
    static = "--middleware=django.contrib.staticfiles.handlers:StaticFilesHandler"
    assert command_line(options, application="a.b", static=True)[-2:] == [static, path()]


def test_an_address_that_is_none() -> None:
    parser = Command().create_parser("manage.py", "runwsgiasync")
    with pytest.raises(CommandError, match="'x:y' is neither a port nor host:port"):
        parser.parse_args(["x:y"])
