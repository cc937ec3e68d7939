"""What `wsgi-asyncctl migrate` tells to write serves as it says, followed to the letter."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rawclient import TIMEOUT
from tools import ReservedPort, python, running

APP = """
import os, time

def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(60)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.environ["SHOP"].encode(), b" ", str(environ["wsgi_async.threads"]).encode()]
"""
GUNICORN = """
import os

wsgi_app = "shop:app"
bind = "127.0.0.1:" + os.environ.get("SHOP_PORT", "8000")
raw_env = ["SHOP=open"]
threads = 1
timeout = 1
"""
PROCFILE = """
web: SHOP=open gunicorn -b 0.0.0.0:$PORT --threads=${THREADS:-3} shop:app
clock: python clock.py
"""


def told(directory: Path, file: str, head: str) -> list[str]:
    """The lines below a heading of the report on the file."""
    ended = subprocess.run(
        python("-m", "wsgi_async.ctl", "migrate", file),
        capture_output=True,
        text=True,
        cwd=directory,
        timeout=TIMEOUT,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    found = re.search(rf"^{head}.*:\n((?:  .*\n)+)", ended.stdout, re.MULTILINE)
    assert found is not None, ended.stdout
    return [line[2:] for line in found[1].splitlines()]


def ask(port: int, path: str = "/") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body


def test_the_toml_serves_what_gunicorns_file_did(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "gunicorn.conf.py").write_text(GUNICORN)
    lines = told(tmp_path, "gunicorn.conf.py", r"Or wsgi_async\.toml")
    (tmp_path / "gunicorn.conf.py").unlink()
    (tmp_path / "wsgi_async.toml").write_text("\n".join(lines))
    with ReservedPort() as reserved:
        # The comment beside bind says how a variable says it.
        env = {"WSGI_ASYNC_BIND": f"127.0.0.1:{reserved.number}"}
        with running(*python("-m", "wsgi_async"), cwd=tmp_path, env=env) as process:
            process.wait_for("Listening on")
            assert ask(reserved.number) == (200, "open 1")
            # A request that gunicorn would have killed its worker for.
            assert ask(reserved.number, "/slow")[0] == 504


@pytest.mark.parametrize("threads", ["3", "2"])
def test_the_line_of_a_procfile_serves_as_the_one_before(tmp_path: Path, threads: str) -> None:
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "Procfile").write_text(PROCFILE)
    (line,) = told(tmp_path, "Procfile", "The command line")
    name, _, command = line.partition(": ")
    assert name == "web"
    command = command.replace("wsgi-async", f"exec {sys.executable} -m wsgi_async", 1)
    with ReservedPort() as reserved:
        env = {"PORT": str(reserved.number), **({"THREADS": threads} if threads != "3" else {})}
        with running("sh", "-c", command, cwd=tmp_path, env=env) as process:
            process.wait_for("Listening on")
            assert ask(reserved.number) == (200, f"open {threads}")
