"""Programs written for flup's servers, with our modules in their import lines, behind nginx."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from guide_programs import behind_nginx
from tools import python, running

PROGRAM = """
import sys
from wsgi_async.compat.{module} import WSGIServer

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    keys = ("wsgi.multithread", "wsgi.multiprocess", "x.added", "SCRIPT_NAME", "PATH_INFO")
    return [repr([environ[key] for key in keys]).encode()]

server = WSGIServer(application, environ={{"x.added": 1}}, bindAddress={path!r}, umask=0o002)
sys.exit(3 if server.run() else 0)
"""


@pytest.mark.parametrize(
    ("module", "in_threads", "in_processes"),
    [
        ("fcgi", True, False),
        ("fcgi_fork", False, True),
        ("fcgi_single", False, False),
        ("scgi", True, False),
    ],
)
def test_a_program_is_served_and_ends_as_by_flup(
    tmp_path: Path, module: str, in_threads: bool, in_processes: bool
) -> None:
    path = tmp_path / "program.sock"
    (tmp_path / "program.py").write_text(PROGRAM.format(module=module, path=str(path)))
    protocol = "scgi" if module == "scgi" else "fastcgi"
    with running(*python("program.py"), cwd=tmp_path) as process:
        process.wait_for(rf"Listening on {protocol}\+unix:{path}")
        assert path.stat().st_mode & 0o777 == 0o775
        with behind_nginx(tmp_path, protocol, path, process) as site:
            reply = site.ask("/a/b?c")
            assert (reply.status, reply.text) == (
                200,
                f"{[in_threads, in_processes, 1, '', '/a/b']}",
            )
        # run() tells its caller of SIGHUP, to begin anew; processes are replaced at SIGHUP instead.
        process.signal(signal.SIGTERM if in_processes else signal.SIGHUP)
        assert process.wait() == (0 if in_processes else 3)
        assert "Traceback" not in process.output
    assert not path.exists()
