"""What a start imports: no more than is needed to serve, and never a file of the project's."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from rawclient import TIMEOUT, RawClient
from tools import python, running

ROOT = Path(__file__).parents[2]

APPLICATION = """
import json, sys
names = json.dumps(sorted(sys.modules)).encode()

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [names]
"""

FORBIDDEN = {
    *("click", "email", "h11", "importlib.metadata", "platform", "uuid"),
    *("datetime", "difflib", "hashlib", "shlex", "tomllib"),
    *("wsgi_async.flags", "wsgi_async.foreign", "wsgi_async.operations", "wsgi_async.realtime"),
}
MOST = 440
"""Modules, Python's own 40 among them; there were 496 of them."""


def test_a_plain_server_imports_little(tmp_path: Path) -> None:
    """Each module is a quarter of a millisecond, and memory in every process."""
    (tmp_path / "shop.py").write_text(APPLICATION)
    options = ("-S", "-m", "wsgi_async", "shop:app", "-b", "127.0.0.1:0")
    env = {"PYTHONPATH": ":".join([str(ROOT), *(path for path in sys.path if "-packages" in path)])}
    with (
        running(*python(*options), cwd=tmp_path, env=env) as process,
        urllib.request.urlopen(process.url, timeout=TIMEOUT) as response,
    ):
        imported = json.load(response)
    assert FORBIDDEN.isdisjoint(imported), FORBIDDEN.intersection(imported)
    assert len(imported) <= MOST


def test_what_was_found_is_imported_whatever_comes_first_on_the_path(tmp_path: Path) -> None:
    """A path that an application or ``--pythonpath`` puts first, which StandardFirst knows nothing
    of."""
    (tmp_path / "shop.py").write_text(APPLICATION)
    own = tmp_path / "own"
    own.mkdir()
    for name in ("h11", "re", "typing"):
        (own / f"{name}.py").write_text("raise ImportError('a shadow')")
    options = ("-m", "wsgi_async", "shop:app", "-b", "127.0.0.1:0", "--pythonpath", str(own))
    with running(*python(*options), cwd=tmp_path) as process:
        address = ("127.0.0.1", int(process.url.rpartition(":")[2]))
        with RawClient(address) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nA:" + b" b" * 40 + b"\x0c\r\n\r\n")
            assert client.read_until(b"\r\n").startswith(b"HTTP/1.1 400 ")


def test_what_is_imported_late_is_looked_for_in_no_other_order() -> None:
    """The application's threads may import meanwhile, from directories of their own."""
    program = (
        "import sys\n"
        "import wsgi_async.server.running_server\n"
        "from wsgi_async.http1 import reader\n"
        "before, path = set(sys.modules), sys.path[:]\n"
        "with reader._FOUND:\n"
        "    assert sys.path == path\n"
        "reader._h11()\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "assert new == {'h11'}, new\n"  # nothing is left to be found by that path
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=TIMEOUT, cwd=ROOT)


@pytest.mark.parametrize("is_collecting", [True, False])
def test_nothing_is_collected_while_modules_are_imported(is_collecting: bool) -> None:
    """And afterwards as before."""
    program = (
        f"import gc; gc.enable() if {is_collecting} else gc.disable()\n"
        "from wsgi_async._imports import StandardFirst\n"
        "seen = []\n"
        "gc.callbacks.append(lambda phase, info: seen.append(phase))\n"
        "with StandardFirst():\n"
        "    with StandardFirst(): assert not gc.isenabled()\n"
        "    kept = [[] for _ in range(5000)]\n"
        "    assert not gc.isenabled() and not seen\n"
        f"assert gc.isenabled() == {is_collecting}\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=TIMEOUT, cwd=ROOT)
