"""``--reload``: saved code is served at once, broken code waits, and nobody is ever refused."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from processes import Site

from wsgi_async.errors import ConfigError
from wsgi_async.launch.file_watcher import Watcher, matches

pytest.importorskip("watchfiles")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    directory = tmp_path / "site"
    directory.mkdir()
    return Site(directory)


def write(site: Site, version: str, **more: str) -> None:
    """As an editor saves: a new file in the place of the old one.

    Its time is moved: CPython takes compiled code of the same second and size for that of this.
    """
    before = os.stat(site.directory / "site_app.py").st_mtime
    site.write(version, **more)
    os.utime(site.directory / "site_app.py", (before + 2, before + 2))


def test_saved_code_is_served(site: Site) -> None:
    with site.serve("--reload") as servers:
        servers.wait_for("Listening on ")
        assert "v0" in servers.get("/?x")
        for number in (1, 2):
            write(site, f"v{number}")
            servers.wait_for(r"Changed: .*site_app\.py", number)
            servers.wait_for("Reloaded", number)
            assert f"v{number}" in servers.get("/?x")
        servers.signal(signal.SIGINT)
        assert servers.wait() == 0


@pytest.mark.parametrize("is_first", [True, False])
def test_broken_code_shows_its_traceback_and_waits(site: Site, is_first: bool) -> None:
    broken = "raise RuntimeError('broken')\n"
    if is_first:
        site.write("v0", before=broken)
    with site.serve("--reload") as servers:
        if not is_first:
            servers.wait_for("Listening on ")
            write(site, "v1", before=broken)
        servers.wait_for("RuntimeError: broken")
        servers.wait_for("Waiting for the next change")
        if not is_first:  # else nobody knows the port yet
            # Who asks now is not refused, but answered by the next code that works.
            answers: list[str] = []
            asker = threading.Thread(target=lambda: answers.append(servers.get("/?x")))
            asker.start()
        write(site, "v2")
        servers.wait_for("Listening on ")
        if not is_first:
            asker.join(10)
            assert "v2" in answers[0]
        assert "v2" in servers.get("/?x")
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0


def test_a_change_while_the_first_code_is_being_loaded_is_not_missed(site: Site) -> None:
    """Files are watched before it is: its import takes longer than it takes to begin to watch."""
    said = "import sys, time; print('loading', file=sys.stderr, flush=True); time.sleep(1)\n"
    site.write("v0", before=said)
    with site.serve("--reload") as servers:
        servers.wait_for("^loading")
        write(site, "v1")
        servers.wait_for(r"Changed: .*site_app\.py")
        servers.wait_for("Listening on ")
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0


def test_other_files_are_watched_on_demand(site: Site) -> None:
    page = site.directory / "page.html"
    page.write_text("one")
    ignored = site.directory / "notes.txt"
    with site.serve("--reload", "--reload-include", "*.html") as servers:
        servers.wait_for("Listening on ")
        ignored.write_text("nobody cares")
        page.write_text("two")
        servers.wait_for(r"Changed: .*page\.html")
        servers.wait_for("Reloaded")
        assert not any("notes.txt" in line for line in servers.lines)


def test_a_directory_that_is_not_there_is_one_line_and_code_1(site: Site) -> None:
    with site.serve("--reload", "--reload-dir", "nowhere") as servers:
        assert servers.wait() == 1
        [line] = servers.lines
        assert "--reload-dir: there is no directory" in line


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.html", True),
        ("a.html", True),
        ("pages/a.html", True),
        ("./pages/a.html", True),
        ("/srv/pages/a.html", True),
        ("/pages/a.html", False),
        (".html", False),
    ],
)
def test_files_by_name_and_by_path(pattern: str, expected: bool) -> None:
    assert matches("/srv/pages/a.html", (pattern,)) is expected


def test_watchfiles_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'wsgi_async\[reload\]'"):
        Watcher(["."], ())
