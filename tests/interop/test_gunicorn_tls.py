"""gunicorn with a worker of ours, and TLS by gunicorn's settings."""

from __future__ import annotations

import contextlib
import signal
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import LOCAL, authority
from rawclient import TIMEOUT
from tools import Process, python, running

pytest.importorskip("gunicorn")

SITE = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['wsgi.url_scheme']} {environ.get('HTTPS')}".encode()]
"""


@contextlib.contextmanager
def gunicorn(directory: Path, *args: str) -> Iterator[Process]:
    (directory / "gunicorn_site.py").write_text(SITE)
    command = python(
        *("-m", "gunicorn", "-k", "wsgi_async.gunicorn.Worker", "-b", "127.0.0.1:0"),
        *("--no-control-socket", "--threads", "2", *args, "gunicorn_site"),
    )
    with running(*command, cwd=directory, env={"GUNICORN_CMD_ARGS": ""}) as process:
        yield process
        process.signal(signal.SIGQUIT)


def get(process: Process, context: ssl.SSLContext) -> str:
    url = process.wait_for(r"Listening at: (https://127\.0\.0\.1:[0-9]+)")[1]
    with urllib.request.urlopen(url, timeout=TIMEOUT, context=context) as response:
        assert response.headers["Server"] == "wsgi_async"
        return str(response.read().decode())


def test_files_are_gunicorns_settings(tmp_path: Path) -> None:
    pair = authority().issue(tmp_path, *LOCAL)
    args = ("--certfile", pair.certificate.name, "--keyfile", str(pair.key))
    with gunicorn(tmp_path, *args, "--do-handshake-on-connect") as process:
        assert get(process, authority().client()) == "https on"


def test_the_hook_that_makes_a_context_is_called(tmp_path: Path) -> None:
    """It may do what no setting can: here it leaves out TLS 1.2."""
    pair = authority().issue(tmp_path, *LOCAL)
    (tmp_path / "gunicorn.conf.py").write_text(
        "import ssl\n"
        f"certfile = {str(pair.certificate)!r}\n"
        f"keyfile = {str(pair.key)!r}\n"
        "def ssl_context(config, default_ssl_context_factory):\n"
        "    context = default_ssl_context_factory()\n"
        "    context.minimum_version = ssl.TLSVersion.TLSv1_3\n"
        "    return context\n"
    )
    with gunicorn(tmp_path) as process:
        assert get(process, authority().client()) == "https on"
        with pytest.raises(OSError, match=r"(?i)protocol"):
            get(process, authority().client(highest=ssl.TLSVersion.TLSv1_2))


def test_what_is_wrong_with_them_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("no certificate")
    with gunicorn(tmp_path, "--certfile", "x.pem") as process:
        process.wait_for(r"^Error: --certfile x.pem: ")
        assert process.wait() == 1
