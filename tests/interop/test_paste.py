"""PasteDeploy's ini files: by ``pserve``, and by the command line itself."""

from __future__ import annotations

import http.client
import importlib.metadata
import json
import re
import signal
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from rawclient import TIMEOUT
from tools import ROOT, Process, python, require_module, running

EXAMPLE = ROOT / "examples" / "paste"
PSERVE = python("-m", "pyramid.scripts.pserve")
COMMAND = python("-m", "wsgi_async")
LISTENING = r"Listening on (http://127\.0\.0\.1:[0-9]+)"

SITE = """
import os

def make(global_conf, greeting="hello", **settings):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{greeting} {os.getpid()}".encode()]
    return app

def make_broken(global_conf):
    raise KeyError("no database")
"""
APP = "[app:main]\npaste.app_factory = paste_app:make\n"
LOGGING = """
[loggers]
keys = root
[logger_root]
level = INFO
handlers = console
[handlers]
keys = console
[handler_console]
class = StreamHandler
args = (sys.stdout,)
formatter = plain
[formatters]
keys = plain
[formatter_plain]
format = of the file: %(message)s
"""


@pytest.fixture(autouse=True)
def _packages() -> None:
    require_module("paste.deploy")
    require_module("pyramid")
    found = importlib.metadata.entry_points(group="paste.server_runner", name="main")
    assert any(entry.value == "wsgi_async.paste:server_runner" for entry in found), (
        "this environment has an older installation: pip install --no-deps -e ."
    )


def write(directory: Path, server: str, app: str = APP) -> None:
    if not (directory / "paste_app.py").exists():
        (directory / "paste_app.py").write_text(SITE)
    (directory / "site.ini").write_text(
        f"{app}\n[server:main]\nuse = egg:wsgi-async#main\n{server}\n{LOGGING}"
    )


def ask(url: str, path: str = "/", fields: dict[str, str] | None = None) -> str:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT)
    try:
        data = None if fields is None else urlencode(fields)
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("GET" if data is None else "POST", path, data, kind)
        with connection.getresponse() as response:
            assert response.status == 200
            return response.read().decode()
    finally:
        connection.close()


def url_of(process: Process) -> str:
    return process.wait_for(LISTENING)[1]


def number_of(answer: str) -> int:
    return int(answer.split()[-1])


# --- The example: an ordinary Pyramid project


USE = "use = egg:counter"
"""As in the file of a project that is installed, ``pip install -e .``."""


@pytest.mark.parametrize(
    ("command", "is_installed"),
    [(PSERVE, True), ([*COMMAND, "-c"], False), ([*COMMAND, "-c"], True)],
    ids=["pserve", "wsgi-async", "wsgi-async, installed"],
)
def test_a_pyramid_application(command: list[str], is_installed: bool, tmp_path: Path) -> None:
    for name in ("counter.py", "development.ini"):
        text = (EXAMPLE / name).read_text()
        assert text.count("localhost:6543") == (name == "development.ini")
        (tmp_path / name).write_text(text.replace("localhost:6543", "localhost:0"))
    if is_installed:
        ini = tmp_path / "development.ini"
        ini.write_text(ini.read_text().replace("paste.app_factory = counter:main", USE))
        told = tmp_path / "counter-1.0.dist-info"
        told.mkdir()
        (told / "METADATA").write_text("Metadata-Version: 2.1\nName: counter\nVersion: 1.0\n")
        (told / "entry_points.txt").write_text("[paste.app_factory]\nmain = counter:main\n")
    with running(*command, "development.ini", cwd=tmp_path) as process:
        url = url_of(process)
        assert ask(url, "/hello/Ada") == "Hello, Ada! (1)\n"
        assert ask(url, "/hello/Ada") == "Hello, Ada! (2)\n"
        assert json.loads(ask(url, "/add", {"a": "2", "b": "3"})) == {"sum": 5}
        process.signal(signal.SIGINT)
        assert process.wait() == 0
        assert "Traceback" not in process.output
        assert "4 threads" in process.output


# --- pserve


def test_pserve_serves_in_its_own_process(tmp_path: Path) -> None:
    """As with waitress: a debugger has its terminal, and the file's logging is the server's."""
    write(tmp_path, "listen = 127.0.0.1:0\nthreads = 2\nasyncore_use_poll = true")
    with running(*PSERVE, "site.ini", cwd=tmp_path) as process:
        own = process.wait_for("Starting server in PID ([0-9]+)")[1]
        assert ask(url_of(process)) == f"hello {own}"
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert "of the file: site.ini: ignored here: asyncore_use_poll\n" in process.output
        assert "of the file: Stopped\n" in process.output
        assert "Traceback" not in process.output


def test_pserve_has_a_supervisor_where_a_setting_needs_one(tmp_path: Path) -> None:
    """gunicorn's settings, which are about processes; and nothing of pserve's runs in these."""
    server = "host = 127.0.0.1\nport = 0\nworkers = 2\npidfile = x.pid\ntimeout = 20\nreload = true"
    write(tmp_path, server)
    with running(*PSERVE, "site.ini", cwd=tmp_path) as process:
        own = int(process.wait_for("Starting server in PID ([0-9]+)")[1])
        url = url_of(process)
        assert int((tmp_path / "x.pid").read_text()) == own
        before = number_of(ask(url))
        assert before != own
        process.signal(signal.SIGHUP)
        process.wait_for("Reloaded")
        assert number_of(ask(url)) not in (own, before)
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert not (tmp_path / "x.pid").exists()
        assert "reload: pserve --reload does that, and it is ignored here" in process.output
        assert "Exiting" not in process.output  # of pserve's, in a process of ours
        assert "Traceback" not in process.output


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ("threads = many", "site.ini: --threads takes a whole number, from 1 to 10000, not 'many'"),
        ("user = nobody-of-that-name", "--user: there is no user 'nobody-of-that-name'"),
    ],
)
def test_pserve_ends_where_a_setting_is_wrong(server: str, said: str, tmp_path: Path) -> None:
    write(tmp_path, server)
    with running(*PSERVE, "site.ini", cwd=tmp_path) as process:
        assert process.wait() == 1
        assert process.output.endswith(f"wsgi_async.errors.ConfigError: {said}\n")


# --- The command line


def test_hooks_of_a_gunicorn_file_are_called_by_pserve_too(tmp_path: Path) -> None:
    (tmp_path / "hooks.py").write_text("def on_starting(server): print('on_starting is called')\n")
    write(tmp_path, "listen = 127.0.0.1:0\nthreads = 2\nconfig = hooks.py")
    with running(*PSERVE, "site.ini", cwd=tmp_path) as process:
        process.wait_for("^on_starting is called$")
        assert ask(url_of(process)).startswith("hello ")
        process.signal(signal.SIGTERM)
        assert process.wait() == 0


def test_logging_and_variables(tmp_path: Path) -> None:
    app = "[app:main]\npaste.app_factory = paste_app:make\ngreeting = %(word)s\n"
    write(tmp_path, "bind = 127.0.0.1:%(number)s", app)
    given = ("--paste-global", "word=ahoy", "--paste-global", "number=0")
    with running(*COMMAND, "-c", "site.ini", *given, cwd=tmp_path) as process:
        assert ask(url_of(process)).startswith("ahoy ")
        process.signal(signal.SIGTERM)
        assert process.wait() == 0


def test_gunicorns_way_takes_the_application_alone(tmp_path: Path) -> None:
    """And the file's logging; [server:main] is another server's, as a rule."""
    write(tmp_path, "threds = 4")
    (tmp_path / "gunicorn.conf.py").write_text("threads = 2\n")
    arguments = ("-c", "gunicorn.conf.py", "--paste", "site.ini#main", "-b", "127.0.0.1:0")
    with running(*COMMAND, *arguments, cwd=tmp_path) as process:
        assert ask(url_of(process)).startswith("hello ")
        assert "(2 threads" in process.output
        process.signal(signal.SIGTERM)
        assert process.wait() == 0


def test_a_reload_reads_the_file_again(tmp_path: Path) -> None:
    write(tmp_path, "listen = 127.0.0.1:0\nworkers = 1")
    with running(*COMMAND, "-c", "site.ini", cwd=tmp_path) as process:
        url = url_of(process)
        assert ask(url).startswith("hello ")
        write(tmp_path, "listen = 127.0.0.1:0\nworkers = 2", f"{APP}greeting = ahoy\n")
        process.signal(signal.SIGHUP)
        process.wait_for("Reloaded")
        assert ask(url).startswith("ahoy ")
        ready = re.findall(r"Process [0-9]+ is ready", process.output)
        assert len(ready) == 2
        # What is wrong leaves all as it is: in the server's section, and in the application's.
        write(tmp_path, "listen = 127.0.0.1:0\nworkers = many")
        process.signal(signal.SIGHUP)
        process.wait_for("site.ini: --workers takes a whole number")
        write(tmp_path, "listen = 127.0.0.1:0", "[app:main]\nuse = egg:no-such-distribution\n")
        process.signal(signal.SIGHUP)
        process.wait_for("no distribution 'no-such-distribution' is installed")
        assert ask(url).startswith("ahoy ")
        process.signal(signal.SIGTERM)
        assert process.wait() == 0


def test_a_saved_file_reloads(tmp_path: Path) -> None:
    require_module("watchfiles")
    write(tmp_path, "listen = 127.0.0.1:0")
    with running(*COMMAND, "-c", "site.ini", "--reload", cwd=tmp_path) as process:
        url = url_of(process)
        assert ask(url).startswith("hello ")
        write(tmp_path, "listen = 127.0.0.1:0", f"{APP}greeting = ahoy\n")
        process.wait_for(r"Changed: .*site\.ini")
        process.wait_for("Reloaded")
        assert ask(url).startswith("ahoy ")
        process.signal(signal.SIGTERM)
        assert process.wait() == 0


@pytest.mark.parametrize(
    ("app", "code", "said"),
    [
        (f"{APP}more = %(never)s\n", 3, r"Bad value substitution: option 'more' in section"),
        (
            "[app:main]\npaste.app_factory = paste_app:make_broken\n",
            3,
            r"Loading '.*site\.ini#main' raised KeyError: 'no database'$",
        ),
        (
            "[app:main]\nuse = egg:no-such-project\n",
            3,
            r"'no-such-project' is installed, .* needs: install it \(pip install -e \. if",
        ),
        ("", 1, r"Which application\?"),
    ],
)
def test_a_broken_application(app: str, code: int, said: str, tmp_path: Path) -> None:
    write(tmp_path, "listen = 127.0.0.1:0", app)
    with running(*COMMAND, "-c", "site.ini", cwd=tmp_path) as process:
        assert process.wait() == code
        last = process.output.splitlines()[-1]
        assert "error: " in last
        assert re.search(said, last), process.output
        assert ("in make_broken" in process.output) == ("make_broken" in app)


@pytest.mark.parametrize("words", [("-c", "site.ini"), ("--paste", "site.ini")])
def test_the_package_that_is_not_there(words: tuple[str, ...], tmp_path: Path) -> None:
    write(tmp_path, "listen = 127.0.0.1:0")
    # As where nothing of that name is installed: the import finds nothing.
    program = (
        "import sys; sys.modules['paste'] = sys.modules['paste.deploy'] = None\n"
        f"from wsgi_async.cli import main; main({(*words, '-b', '127.0.0.1:0')!r})"
    )
    with running(*python("-c", program), cwd=tmp_path) as process:
        assert process.wait() == 1
        (line,) = process.output.splitlines()
        assert line.startswith("wsgi-async: error: site.ini ")
        assert line.endswith("needs PasteDeploy: pip install 'wsgi_async[paste]'")


def test_a_module_of_the_projects_that_is_called_so(tmp_path: Path) -> None:
    """A project may have its own paste.py; the file is read all the same."""
    write(tmp_path, "listen = 127.0.0.1:0")
    (tmp_path / "paste.py").write_text("raise RuntimeError('not this one')\n")
    with running(*COMMAND, "-c", "site.ini", cwd=tmp_path) as process:
        assert ask(url_of(process)).startswith("hello ")
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
