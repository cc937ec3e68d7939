"""A project's own files are never imported by the server, whatever modules they are called like."""

from __future__ import annotations

import signal
import socket
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from front_servers import answer, told, uwsgi
from rawclient import TIMEOUT, RawClient
from tools import python, running

DEPENDENCIES = {
    *("anyio", "click", "colorama", "dotenv", "h11", "idna", "markupsafe", "pytest", "sniffio"),
    *("prometheus_client", "uvloop", "watchfiles", "werkzeug"),
}
SHADOW = """
import posix
posix.write(2, b"SHADOW of {0}\\n")
raise ImportError("the shadow of {0}")
"""
SHOP = """
import wsgi_async

async def awaited():
    yield b"awaited"

def app(environ, start_response):
    if environ["PATH_INFO"] == "/live":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return wsgi_async.live(awaited())
    return chunks(environ, start_response)

def chunks(environ, start_response):
    body = environ["wsgi.input"].read()
    if environ["PATH_INFO"] == "/bad":
        raise ValueError("mine")
    environ["wsgi.errors"].write("said\\n")
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield body or b"served"
"""
MAIN = "import sys\n{}\nimport wsgi_async\nwsgi_async.main()"
SERVE = """
import wsgi_async
from shop import app
wsgi_async.serve(app, 0, workers={}, spool_threshold=1000, access_logfile="-")
"""
ENTRY = "from wsgi_async.__main__ import main; main()"
COMMAND = "from wsgi_async.cli import main; main(prog_name='wsgi-async')"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with a file for each module of the standard library and of what is needed."""
    for name in DEPENDENCIES | sys.stdlib_module_names:
        (tmp_path / f"{name}.py").write_text(SHADOW.format(name))
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "main.py").write_text(MAIN.format(""))
    (tmp_path / "main_asyncio.py").write_text(MAIN.format("sys.modules['uvloop'] = None"))
    for number in (1, 2):
        (tmp_path / f"serve_{number}.py").write_text(SERVE.format(number))
    (tmp_path / "faulty.py").write_text("def app(environ, start_response):\n    x = 'é' + (1 +* 2)")
    (tmp_path / "raising.py").write_text("text = 'é' * len([1 / 0])")
    (tmp_path / "gunicorn.conf.py").write_text("threads = 2\nwsgi_app = 'shop:app'")
    return tmp_path


OPTIONS = ("shop:app", "-b", "127.0.0.1:0", "--access-logfile", "-", "--spool-threshold", "1000")
ALL = (
    *("--static", "/files=.", "--lint", "--debug", "--encode-str", "gb2312", "--env", "TZ=UTC"),
    *("--middleware", "wsgi_async.middleware:RequestId()", "--mount", "/a=shop:app"),
    *("--interrupt-late", "--request-timeout", "9s", "--warmup", "/", "--health-path", "/up"),
)
SERVERS = {
    "command": ("-P", "-c", COMMAND, *OPTIONS),
    "module": ("-m", "wsgi_async", *OPTIONS),
    "module-2": ("-m", "wsgi_async", *OPTIONS, "-w", "2"),
    "module-preload": ("-m", "wsgi_async", *OPTIONS, "--preload"),
    "module-all": ("-m", "wsgi_async", *OPTIONS, *ALL),
    "module-reload": ("-m", "wsgi_async", *OPTIONS, "--reload"),
    "module-uwsgi": ("-m", "wsgi_async", *OPTIONS, "-b", "uwsgi+unix:uwsgi.sock"),
    "module-metrics": ("-m", "wsgi_async", *OPTIONS, "--metrics-bind", "127.0.0.1:0"),
    "module-control": ("-m", "wsgi_async", *OPTIONS, "--control-socket", "control.sock"),
    "gunicorn": ("-m", "wsgi_async", "-c", "gunicorn.conf.py", *OPTIONS[1:]),
    "main": ("main.py", *OPTIONS),
    "asyncio": ("main_asyncio.py", *OPTIONS),
    "serve": ("serve_1.py",),
    "serve-2": ("serve_2.py",),
}


def fetch(url: str, body: bytes | None) -> int:
    """The status of the answer."""
    try:
        with urllib.request.urlopen(url, body, timeout=TIMEOUT) as response:
            assert response.read()
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.parametrize("name", SERVERS)
def test_no_file_of_the_project_is_imported(project: Path, name: str) -> None:
    with running(*python(*SERVERS[name]), cwd=project) as process:
        url = process.url
        assert "asyncio" in process.output if name == "asyncio" else "uvloop" in process.output
        assert fetch(url, None) == fetch(url, b"x" * 100_000) == 200
        assert fetch(f"{url}/bad", None) == 500
        assert fetch(f"{url}/live", None) == 200
        assert fetch(f"{url}/a/", None) == fetch(f"{url}/files/shop.py", None) == 200
        process.wait_for("ValueError: mine")
        if name == "module-metrics":
            found = process.wait_for(r"Metrics and probes .* on (http://\S+)")
            assert fetch(f"{found[1]}/metrics", None) == 200
        if name == "module-uwsgi":
            with RawClient(str(project / "uwsgi.sock")) as client:
                client.send(uwsgi(told()))
                assert answer("uwsgi", client).body == b"served"
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection:
            connection.settimeout(TIMEOUT)
            connection.sendall(b"NONSENSE\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
        process.signal(signal.SIGUSR1)
        process.wait_for("[Rr]equests in flight: ")
        if not name.startswith("serve"):
            process.signal(signal.SIGHUP)
            process.wait_for("Reloaded$")
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert "SHADOW" not in process.output


@pytest.mark.parametrize("start", [("-P", "-c", COMMAND), ("-m", "wsgi_async")])
@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (("faulty:app", "-b", "127.0.0.1:0"), "error: Importing 'faulty' raised SyntaxError", 3),
        (("raising:app", "--check-config"), "error: Importing 'raising' raised ZeroDivision", 3),
        (("shop:ap", "-b", "127.0.0.1:0"), "There is no 'ap' in 'shop'. Did you mean app", 3),
        (("shop:app", "--check-config", *ALL), "the application shop:app, .* are good", 0),
        (("--version",), "h11 [0-9]", 0),
        (("--help",), "--threads", 0),
        (("shop:app", "--print-config"), "threads = 8", 0),
        (("shop:app", "--thread", "9"), "No such option: --thread. Did you mean --threads", 1),
    ],
)
def test_neither_is_any_for_what_else_it_does(
    project: Path, start: tuple[str, ...], arguments: tuple[str, ...], said: str, code: int
) -> None:
    with running(*python(*start, *arguments), cwd=project) as process:
        assert process.wait() == code
        process.wait_for(said)
        assert "SHADOW" not in process.output


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [(("--help",), "status", 0), (("status", "-s", "none"), "There is no none", 4)],
)
def test_nor_by_the_command_that_asks_a_server(
    project: Path, arguments: tuple[str, ...], said: str, code: int
) -> None:
    with running(*python("-m", "wsgi_async.ctl", *arguments), cwd=project) as process:
        assert process.wait() == code
        process.wait_for(said)
        assert "SHADOW" not in process.output


def test_pythonpath_hides_nothing_either(project: Path, tmp_path: Path) -> None:
    """As far as Python itself starts with it."""
    directory = tmp_path / "path"
    directory.mkdir()
    for name in ("queue", "asyncio", "tempfile", "stringprep", "socket", "tomllib", "textwrap"):
        (directory / f"{name}.py").write_text(SHADOW.format(name))
    root = Path(__file__).parents[2]
    env = {"PYTHONPATH": f"{directory}:{root}"}
    for start in (
        ("-m", "wsgi_async"),
        ("-P", "-c", ENTRY),
    ):
        with running(*python(*start, *OPTIONS), cwd=project, env=env) as process:
            with urllib.request.urlopen(process.url, timeout=TIMEOUT) as response:
                assert response.read() == b"served"
            process.signal(signal.SIGTERM)
            assert process.wait() == 0
            assert "SHADOW" not in process.output


def test_what_is_installed_in_the_current_directory_is_found(tmp_path: Path) -> None:
    """``pip install --target .``, as for an archive that is a whole program."""
    root = Path(__file__).parents[2]
    (tmp_path / "wsgi_async").symlink_to(root / "wsgi_async")
    (tmp_path / "click").mkdir()
    (tmp_path / "click" / "__init__.py").write_text("print('the one installed here')\n1 / 0")
    command = python("-m", "wsgi_async", "--version")
    with running(*command, cwd=tmp_path, env={"PYTHONPATH": ""}) as process:
        process.wait()
        # Last of all: where it is installed elsewhere as well, that one is found.
        assert "wsgi-async" in process.output
    with running(*python("-S", *command[3:]), cwd=tmp_path, env={"PYTHONPATH": ""}) as process:
        assert process.wait() == 1
        process.wait_for("the one installed here")


def test_afterwards_the_path_is_as_it_was() -> None:
    code = (
        "import sys; before = sys.path[:]; import wsgi_async; wsgi_async.serve, wsgi_async.main\n"
        "from wsgi_async._imports import StandardFirst\n"
        "with StandardFirst(): sys.path.append('/added')\n"
        "assert sys.path == ['/added', *before], sys.path"
    )
    with running(*python("-c", code), cwd=Path.cwd()) as process:
        assert process.wait() == 0, process.output
