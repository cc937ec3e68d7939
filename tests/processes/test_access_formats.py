"""``--access-logformat``: lines of real servers, and what is wrong with a format."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest
from processes import Servers, Site
from rawclient import RawClient, request

SOURCE = """
def application(environ, start_response):
    environ["my.own"] = "mine"
    environ["wsgi.input"].read()
    start_response("200 OK", [("X-Out", "out")])
    return [b"hello"]
"""


@pytest.fixture
def logged(site: Site) -> Site:
    site.write_source(SOURCE)
    return site


def lines_of(site: Site, format: str, *, count: int = 3) -> list[str]:
    """Of a request that is answered, one that is refused, and one that nobody can read."""
    path = site.directory / "access.log"
    options = ("--access-logfile", str(path), "--access-logformat", format, "--workers", "1")
    with site.serve(*options, "--max-body-size", "9") as servers:
        for data, status in (
            (request("/a?b=c", "POST", body=b"1234", fields=("User-Agent: x",)), 200),
            (request("/large", "POST", body=b"x" * 10), 413),
            (b"nonsense\r\n\r\n", 400),
        ):
            with RawClient(servers.address) as client:
                client.send(data)
                assert client.response("POST").status == status
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
    lines = path.read_text("ascii").splitlines()
    assert len(lines) == count
    return lines


def test_json(logged: Site) -> None:
    served, refused, nonsense = (json.loads(line) for line in lines_of(logged, "json"))
    assert (served["target"], served["status"], served["body_size"]) == ("/a?b=c", 200, 5)
    assert (served["received"], served["complete"], served["spooled"]) == (4, True, False)
    for part in ("duration", "upload", "queue", "app", "cpu", "send"):
        assert 0 <= served[part] < 60
    assert served["cpu"] > 0
    assert re.fullmatch(r"wsgi_async\S*", served["thread"])
    assert (refused["target"], refused["status"], refused["app"]) == ("/large", 413, None)
    assert (nonsense["method"], nonsense["status"], nonsense["id"]) == (None, 400, None)


def test_atoms(logged: Site) -> None:
    format = "%(s)s|%(U)s|%(queue)s|%(received)s|%({x-out}o)s|%({MY.own}e)s|%({user-agent}i)s"
    served, refused, nonsense = lines_of(logged, format)
    assert re.fullmatch(r"200\|/a\|\d+\.\d{6}\|4\|out\|mine\|x", served), served
    assert refused == "413|/large|-|-|-|-|-"
    assert nonsense == "400|-|-|-|-|-|-"


def test_a_thread_that_is_given_up(logged: Site) -> None:
    """The answer is the server's own: nothing of the application's is in its line."""
    logged.write_source(
        "import threading\n"
        "def application(environ, start_response):\n"
        "    environ['my.own'] = 'mine'\n"
        "    start_response('200 OK', [('X-Out', 'out')])\n"
        "    threading.Event().wait()\n"
    )
    path = logged.directory / "access.log"
    format = "%(s)s|%(given_up)s|%({x-out}o)s|%({my.own}e)s|%(app)s|%(cpu)s"
    options = ("--access-logfile", str(path), "--access-logformat", format)
    with logged.serve(*options, "--request-timeout", "300ms") as servers:
        with RawClient(servers.address) as client:
            assert client.get().status == 504
        servers.signal(signal.SIGTERM)
        servers.wait()
    assert re.fullmatch(r"504\|yes\|-\|mine\|\d+\.\d{6}\|-\n", path.read_text())


def test_common(logged: Site) -> None:
    served, refused, nonsense = lines_of(logged, "common")
    assert served.endswith('"POST /a?b=c HTTP/1.1" 200 5')
    assert refused.endswith('"POST /large HTTP/1.1" 413 -')
    assert nonsense.endswith('"-" 400 -')


@pytest.mark.parametrize("check", [(), ("--check-config",)], ids=["start", "check"])
@pytest.mark.parametrize("how", ["flag", "gunicorn"])
def test_an_unknown_atom_is_one_line(how: str, check: tuple[str, ...], logged: Site) -> None:
    args: tuple[str, ...] = ("--access-logformat", "%(h)s %(addr)s")
    if how == "gunicorn":
        (logged.directory / "g.conf.py").write_text("access_log_format = '%(h)s %(addr)s'\n")
        args = ("-c", "g.conf.py", "--threads", "2")
    with logged.serve(*args, *check) as servers:
        assert servers.wait() == 1
    expected = "wsgi-async: error: --access-logformat: there is no %(addr)s: write %(h)s"
    assert servers.lines == [expected]


def test_a_reload_with_a_wrong_format_changes_nothing(logged: Site) -> None:
    file, log = logged.directory / "wsgi_async.toml", logged.directory / "access.log"
    file.write_text(f"access_logfile = '{log}'\naccess_logformat = 'first %(s)s'\n")
    with logged.serve() as servers:
        ask(servers)
        file.write_text(f"access_logfile = '{log}'\naccess_logformat = 'second %(x)s'\n")
        servers.signal(signal.SIGHUP)
        servers.wait_for(r"\[ERROR\] .*--access-logformat: there is no %\(x\)s")
        ask(servers)
        file.write_text(f"access_logfile = '{log}'\naccess_logformat = 'third %(s)s'\n")
        servers.reload()
        ask(servers)
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
    assert log.read_text().splitlines() == ["first 200", "first 200", "third 200"]


def ask(servers: Servers) -> None:
    with RawClient(servers.address) as client:
        assert client.get().status == 200


def test_serve_takes_it_too(tmp_path: Path, site: Site) -> None:
    program = (
        "import wsgi_async\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [b'x']\n"
        "wsgi_async.serve(app, 0, host='127.0.0.1', access_logfile='access.log',\n"
        "                 access_logformat='%(s)s %(app)s')\n"
    )
    with site.serve(app="", bind="", program=program) as servers:
        ask(servers)
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
    assert re.fullmatch(r"200 \d\.\d{6}\n", (site.directory / "access.log").read_text())
