"""The black box: uWSGI's line, a body of str, processes and threads."""

from __future__ import annotations

from pathlib import Path

import pytest
from guide_programs import APPS, behind_nginx, command
from rawclient import RawClient
from tools import python, running

SITE = APPS / "uwsgi_site" / "myapp"


def test_uwsgis_line() -> None:
    """``uwsgi --socket 0.0.0.0:8000 --protocol=http -w app``."""
    line = ("--socket", "0.0.0.0:0", "--protocol=http", "-w", "app")
    with command(*line, bind="", cwd=SITE) as site:
        reply = site.ask()
        assert reply.status == 500
        site.process.wait_for("yielded str; encode it")


def test_page_of_str_on_demand() -> None:
    with command("-b", "0.0.0.0:0", "--encode-str", "utf-8", "app", bind="", cwd=SITE) as site:
        reply = site.ask()
        assert (reply.status, reply.text) == (200, "<h1 style='color:green'>Good day!</h1>")
        assert reply.headers["Content-Type"] == "text/html"


def test_processes_and_threads() -> None:
    with command("app", "--workers", "2", "--threads", "4", cwd=SITE) as site:
        site.process.wait_for("2 processes, 4 threads each")
        address = ("127.0.0.1", site.port)
        with RawClient(address) as client:
            assert client.get("/which").body.endswith(b" 4")
        assert len(_pids(address)) == 2


def _pids(address: tuple[str, int]) -> set[int]:
    import time

    found: set[int] = set()
    deadline = time.monotonic() + 10
    while len(found) < 2 and time.monotonic() < deadline:
        clients = [RawClient(address) for _ in range(4)]
        try:
            found |= {int(client.get("/which").body.split()[0]) for client in clients}
        finally:
            for client in clients:
                client.close()
    return found


@pytest.mark.parametrize("words", [[], ["--protocol=fastcgi"], ["--protocol", "scgi"]])
def test_uwsgis_line_with_a_socket_for_nginx(words: list[str], tmp_path: Path) -> None:
    """Without ``--protocol=http`` that line speaks the uwsgi protocol, which no browser does."""
    protocol = words[-1].removeprefix("--protocol=") if words else "uwsgi"
    path = tmp_path / "app.sock"
    flags = ("--master", "--vacuum", "--die-on-term", "--encode-str", "utf-8")
    line = python("-m", "wsgi_async", "-s", str(path), *words, "-w", "app", *flags)
    with running(*line, cwd=SITE) as process:
        process.wait_for(rf"Listening on {protocol}\+unix:{path} ")
        with behind_nginx(tmp_path, protocol, path, process) as site:
            reply = site.ask("/x?y=z")
            assert (reply.status, reply.text) == (200, "<h1 style='color:green'>Good day!</h1>")
        process.signal(15)
        assert process.wait() == 0
    assert not path.exists()
