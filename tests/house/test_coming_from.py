"""Each line of the README's table *Coming from another server*, run for real."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from rawclient import TIMEOUT
from tools import ROOT, ReservedPort, python, running

from wsgi_async.ctl.migrate.reporting import report
from wsgi_async.ctl.text import Screen

README = (ROOT / "README.md").read_text(encoding="utf-8")

APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello from " + environ["SERVER_PORT"].encode()]

application = app

def make(global_conf, **settings):
    return app
"""

FILES = {
    "app.py": APP,
    "app.wsgi": APP,
    "gunicorn.conf.py": 'bind = ":8000"\nworkers = 2\nworker_class = "sync"\n',
    "production.ini": "[app:main]\npaste.app_factory = app:make\n"
    "[server:main]\nuse = egg:waitress#main\nlisten = *:8000\n",
    "uwsgi.ini": "[uwsgi]\nmodule = app\nhttp-socket = :8000\nsocket = app.sock\n"
    "processes = 2\nmaster = true\n",
}

PROGRAMS = {
    "pywsgi": """
server = WSGIServer(("", 8000), app)
server.start()
print("Serving")
server.serve_forever()
""",
    "tornado": """
server = HTTPServer(WSGIContainer(app))
server.listen(8000)
print("Serving")
IOLoop.current().start()
""",
    "simple_server": """
with make_server("", 8000, app) as server:
    print("Serving")
    server.serve_forever()
""",
    "cgi": "CGIHandler().run(app)",
    "fcgi": "WSGIServer(app).run()",  # which no front server has started
}
"""What follows the import line: the rest of a program, as it is for the other server."""


class Row(NamedTuple):
    server: str
    before: str
    here: str
    lost: str


def rows() -> list[Row]:
    found = re.search(
        r"<!-- coming-from:begin -->\n(.*?)\n<!-- coming-from:end -->", README, re.DOTALL
    )
    assert found is not None
    _, _, *lines = found[1].split("\n")
    return [Row(*(cell.strip(" ") for cell in line.strip("|").split(" | "))) for line in lines]


def test_all_servers_are_there() -> None:
    text = " ".join(row.server for row in rows())
    for server in (
        *("gunicorn", "uWSGI", "flup", "waitress", "gevent", "Tornado", "wsgiref", "mod_wsgi"),
        "Pyramid",
        *("hypercorn", "granian", "uvicorn and a2wsgi"),
    ):
        assert server in text
    assert all(row.before.startswith("`") for row in rows())


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.server)
def test_line_serves(row: Row, tmp_path: Path) -> None:
    line = row.here.removeprefix("`").removesuffix("`")
    assert "`" not in line
    with ReservedPort() as reserved:
        port = str(reserved.number)
        for name, text in FILES.items():
            (tmp_path / name).write_text(text.replace("8000", port))
        line = line.replace("8000", port).replace("/srv/app", str(tmp_path))
        if match := re.fullmatch(r"from wsgi_async\.compat\.(\w+) import .*", line):
            program = f"{line}\nfrom app import app\n{PROGRAMS[match[1]]}".replace("8000", port)
            (tmp_path / "program.py").write_text(program)
            if match[1] in ("cgi", "fcgi"):
                check_script(tmp_path)
                return
            command = python("program.py")
            ready = "Serving"
        else:
            words = shlex.split(line)
            assert words[0] == "wsgi-async"
            command = python("-m", "wsgi_async", *words[1:])
            ready = "Listening on"
        with running(*command, cwd=tmp_path) as process:
            process.wait_for(ready)
            for host in ("127.0.0.1", *(["::1"] if "0.0.0.0" not in line else [])):
                assert ask(host, int(port)) == f"hello from {port}"
            process.signal(15)
            process.wait()
            # Ours to end well; a program without a handler of its own for SIGTERM dies of it.
            assert "Traceback" not in process.output, process.output


@pytest.mark.parametrize(
    "row", [row for row in rows() if "#migrate" in row.server], ids=lambda row: row.server
)
def test_what_links_to_the_report_is_read_by_it(row: Row, tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    written = row.before.split("`")[1]
    (tmp_path / "site.conf").write_text(written)
    is_file = written.startswith("WSGI")  # a directive of Apache's
    files, words = (["site.conf"], []) if is_file else ([], shlex.split(written))
    made = report(files, words, Screen(None, False), directory=tmp_path)
    assert "app" in "\n".join(made.lines)


def test_all_that_the_report_reads_is_linked_to_it() -> None:
    linked = " ".join(row.server for row in rows() if "#migrate" in row.server)
    for server in ("gunicorn", "uWSGI", "waitress", "Pyramid", "mod_wsgi"):
        assert f"[{server}" in linked


def check_script(directory: Path) -> None:
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "SERVER_PORT": "8000"},
        capture_output=True,
        timeout=TIMEOUT,
        check=True,
    )
    assert done.stdout.startswith(b"Status: 200 OK\r\n")
    assert done.stdout.endswith(b"\r\n\r\nhello from 8000")


def ask(host: str, port: int) -> str:
    if host == "::1" and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    with contextlib.closing(connection):
        connection.request("GET", "/")
        with connection.getresponse() as response:
            assert response.status == 200
            return response.read().decode()
