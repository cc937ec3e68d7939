"""A wheel built from the tree, installed elsewhere, serves."""

from __future__ import annotations

import email
import http.client
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from rawclient import TIMEOUT
from tools import ROOT, require_module, running

SITE = """
import wsgi_async

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [wsgi_async.__file__.encode()]
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_module("build")
    require_module("hatchling")
    out = tmp_path_factory.mktemp("wheel")
    run("-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT))
    (path,) = out.iterdir()
    return path


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with nothing but the wheel's content; what it depends on is where it was."""
    require_module("pip")
    target = tmp_path_factory.mktemp("site")
    arguments = ("--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check")
    run("-m", "pip", "install", *arguments, "--target", str(target), str(wheel))
    return target


def run(*args: str) -> None:
    done = subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, timeout=50, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_content(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        text = archive.read(metadata).decode()
        commands = archive.read(metadata.replace("METADATA", "entry_points.txt")).decode()
    assert "wsgi_async/py.typed" in names
    packaged = {name for name in names if name.endswith(".py")}
    package = ROOT / "wsgi_async"
    prose = {name for name in names if name.endswith(".md")}
    assert prose == {str(path.relative_to(ROOT)) for path in package.rglob("*.md")}
    assert "wsgi_async/help/options.md" in prose
    page = {name for name in names if "/operations/page/" in name}
    assert page == {str(path.relative_to(ROOT)) for path in package.glob("operations/page/*")}
    assert "wsgi_async/operations/page/app.js" in page
    assert packaged == {str(path.relative_to(ROOT)) for path in package.rglob("*.py")}
    assert {name.split("/")[0] for name in names} == {"wsgi_async", metadata.split("/")[0]}
    assert "wsgi-asyncctl = wsgi_async.ctl.__main__:main" in commands
    for kind in ("runner", "factory"):
        assert f"[paste.server_{kind}]\nmain = wsgi_async.paste:server_{kind}\n" in commands
    told = email.message_from_string(text)
    assert told["License-Expression"] == "MIT"
    needed = {entry for entry in told.get_all("Requires-Dist", []) if "extra ==" not in entry}
    assert {re.split(r"[<>=;]", entry)[0] for entry in needed} == {"h11", "click", "uvloop"}


@pytest.mark.parametrize("command", ["entry point", "module"])
def test_serves(command: str, site: Path, tmp_path: Path) -> None:
    (tmp_path / "site_app.py").write_text(SITE)
    launch = [str(site / "bin" / "wsgi-async")]
    if command == "module":
        launch = [sys.executable, "-m", "wsgi_async"]
    env = {"PYTHONPATH": str(site)}
    with running(*launch, "site_app", "--port", "0", cwd=tmp_path, env=env) as process:
        connection = http.client.HTTPConnection(urlsplit(process.url).netloc, timeout=TIMEOUT)
        connection.request("GET", "/")
        with connection.getresponse() as response:
            assert response.status == 200
            assert response.read() == str(site / "wsgi_async" / "__init__.py").encode()
        connection.close()
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert "Traceback" not in process.output
