"""A command line's server behind front servers: where the site is, its files, its access log."""

from __future__ import annotations

import re
from pathlib import Path

from front_servers import PROTOCOLS, Answer, answer, encode, told
from rawclient import RawClient
from tools import python, running

SHOP = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['SCRIPT_NAME']} {environ['PATH_INFO']}".encode()]
"""
FORMAT = '%(h)s "%(r)s" %(s)s %(B)s %({host}i)s %({REMOTE_USER}e)s'


def test_mounts_files_and_the_access_log(tmp_path: Path) -> None:
    """They go by the variables: the path is that of the front server, and so is the user."""
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_text("a file")
    binds = [word for name in PROTOCOLS for word in ("-b", f"{name}://127.0.0.1:0")]
    options = ("--mount", "/shop=shop", "--static", "/files=files")
    logs = ("--access-logfile", "-", "--access-logformat", FORMAT)
    command = python("-m", "wsgi_async", *binds, *options, *logs)
    with running(*command, cwd=tmp_path) as process:
        listening = process.wait_for(r"Listening on (.*) \(")[1]
        ports = dict(re.findall(r"(\w+)://127\.0\.0\.1:([0-9]+)", listening))

        def ask(name: str, target: str, **more: str) -> Answer:
            with RawClient(("127.0.0.1", int(ports[name]))) as client:
                client.send(encode(name, told(target, **more)))
                return answer(name, client)

        for name in PROTOCOLS:
            assert ask(name, "/shop/b%20c?d").body == b"/shop /b c"
            assert ask(name, "/site/shop/b", SCRIPT_NAME="/site").body == b"/site/shop /b"
            assert ask(name, "/files/a.txt").body == b"a file"
            assert ask(name, f"/{name}", REMOTE_USER="ann").status == 404
            process.wait_for(rf'^192\.0\.2\.9 "GET /{name} HTTP/1\.1" 404 \d+ www\S+ ann$')
