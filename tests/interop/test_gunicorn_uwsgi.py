"""gunicorn's --protocol uwsgi, with its arbiter and a worker of ours."""

from __future__ import annotations

import contextlib
import re
import signal
from pathlib import Path

import pytest
from front_servers import answer, told, uwsgi
from rawclient import RawClient
from tools import python, require_module, running

SITE = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["REMOTE_ADDR"].encode()]
"""


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ((), "192.0.2.9"),
        (("--uwsgi-allow-from", "*"), "lets everybody say who a client is"),
        (("--uwsgi-allow-from", "10.0.0.1"), "--uwsgi-allow-from does not name its address"),
    ],
)
def test_the_protocol_and_whom_it_trusts_are_gunicorns_options(
    tmp_path: Path, args: tuple[str, ...], line: str
) -> None:
    require_module("gunicorn")
    (tmp_path / "site_of_uwsgi.py").write_text(SITE)
    command = python(
        *("-m", "gunicorn", "-k", "wsgi_async.gunicorn.Worker", "-b", "127.0.0.1:0"),
        *("--no-control-socket", "--protocol", "uwsgi", "--access-logfile", "-", *args),
        "site_of_uwsgi",
    )
    with running(*command, cwd=tmp_path, env={"GUNICORN_CMD_ARGS": ""}) as process:
        port = int(process.wait_for(r"Listening at: http://127\.0\.0\.1:([0-9]+)")[1])
        with RawClient(("127.0.0.1", port)) as client, contextlib.suppress(ConnectionError):
            client.send(uwsgi(told()))
            if "10.0.0.1" in args:
                assert client.is_dropped()
            else:
                assert answer("uwsgi", client).body == b"192.0.2.9"
        process.wait_for(re.escape(line))
        process.signal(signal.SIGQUIT)


def test_with_a_certificate_it_does_not_start(tmp_path: Path) -> None:
    """gunicorn speaks uwsgi in TLS then, which no web server does."""
    require_module("gunicorn")
    (tmp_path / "site_of_uwsgi.py").write_text(SITE)
    (tmp_path / "x.pem").touch()
    command = python(
        *("-m", "gunicorn", "-k", "wsgi_async.gunicorn.Worker", "-b", "127.0.0.1:0"),
        *("--no-control-socket", "--protocol", "uwsgi", "--certfile", "x.pem", "site_of_uwsgi"),
    )
    with running(*command, cwd=tmp_path, env={"GUNICORN_CMD_ARGS": ""}) as process:
        process.wait_for("^Error: --certfile is shown at no address, for each --bind speaks uwsgi")
        assert process.wait() == 1
