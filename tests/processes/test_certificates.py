"""Certificates that change while a command line serves: the parent reads them, all processes show
them, and nobody else gets the key."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import EXPIRED, Pair, authority
from processes import Servers, Site, reachable

HEARD = """
import json, os
from wsgi_async import Observer

class Heard(Observer):
    def certificates(self, certificates, *, are_renewed=False):
        names = [name for each in certificates for name in each.names]
        said = json.dumps([os.getpid(), os.getuid(), are_renewed, names])
        os.write(2, f"heard {said}{chr(10)}".encode())
"""

OFTEN = """
from wsgi_async.tls import renewal
renewal.LOOK_EVERY = 0.05
from wsgi_async.cli import main
main(prog_name='wsgi-async')
"""

NOBODY = 65534

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")


@contextlib.contextmanager
def secured(pair: Pair, *args: str, site: Site, program: str | None = OFTEN) -> Iterator[Servers]:
    """A server that shows this pair, and says what its processes hear of it."""
    (site.directory / "heard.py").write_text(HEARD)
    with site.serve(*pair.flags, "--subscriber=heard:Heard", *args, program=program) as servers:
        servers.wait_for("Listening on https://")
        yield servers
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.assert_clean()


def heard(servers: Servers, *, renewed: bool) -> dict[int, list[str]]:
    """The names that each process has last been told of."""
    found = {}
    for line in servers.lines:
        if match := re.fullmatch(r"heard (\[.*\])", line):
            pid, _, are_renewed, names = json.loads(match[1])
            if are_renewed is renewed:
                found[pid] = names
    return found


def shelves(pid: int) -> list[str]:
    """The descriptors of a process that are of files in memory."""
    links = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
    return [link for link in links if "memfd:wsgi_async" in link]


def issue(directory: Path, *names: str, **options: object) -> Pair:
    """A pair in a directory of its own that only its owner may enter."""
    own = directory / f"issued-{names[0]}"
    own.mkdir(mode=0o700)
    return authority().issue(own, *names, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
@pytest.mark.parametrize("user", ["", pytest.param("nobody", marks=root)])
def test_new_certificates_reach_every_process(
    tmp_path: Path, workers: int, preload: tuple[str, ...], user: str
) -> None:
    with reachable() as directory:
        pair, new = issue(tmp_path, "a.example"), issue(tmp_path, "b.example")
        own = ("-u", user) if user else ()
        with secured(
            pair, "--workers", f"{workers}", *preload, *own, site=Site(directory)
        ) as servers:
            servers.wait_for("^heard ", workers)
            first = heard(servers, renewed=False)
            assert list(first.values()) == [["a.example"]] * workers
            pair.replace(new)
            servers.wait_for("^heard .*true", workers)
            assert heard(servers, renewed=True) == {key: ["b.example"] for key in first}
            if user:
                assert servers.count(f"^heard \\[[0-9]+, {NOBODY}, ") == 2 * workers
            # One line for an operator, however many processes there are.
            [line] = [line for line in servers.lines if "Certificates renewed: " in line]
            assert "b.example" in line
            # Who starts later has the newest at once, from the parent or from a loader.
            os.kill(min(first), signal.SIGKILL)
            servers.wait_for("^heard .*false", workers + 1)
            [latest] = heard(servers, renewed=False).keys() - first.keys()
            assert heard(servers, renewed=False)[latest] == ["b.example"]
            assert latest not in heard(servers, renewed=True)


def test_a_pair_that_does_not_match_for_a_while_is_told_once(site: Site, tmp_path: Path) -> None:
    pair, new = issue(tmp_path, "a.example"), issue(tmp_path, "b.example")
    with secured(pair, "--workers=2", site=site) as servers:
        servers.wait_for("^heard ", 2)
        pair.certificate.write_bytes(new.certificate.read_bytes())
        servers.wait_for("Certificates are not renewed, the former ones stay: --certfile ")
        pair.key.write_bytes(new.key.read_bytes())
        servers.wait_for("^heard .*true", 2)
        assert servers.count("Certificates are not renewed") == 1
        assert servers.count("Certificates renewed") == 1


def test_a_reload_reads_them_too(site: Site, tmp_path: Path) -> None:
    # Long before the parent would have looked.
    pair, new = issue(tmp_path, "a.example"), issue(tmp_path, "b.example")
    with secured(pair, "--workers=2", site=site, program=None) as servers:
        servers.wait_for("^heard ", 2)
        first = heard(servers, renewed=False)
        pair.replace(new)
        servers.reload()
        servers.wait_for("^heard .*false", 4)
        later = heard(servers, renewed=False)
        successors = later.keys() - first.keys()
        assert [later[pid] for pid in successors] == [["b.example"]] * 2
        assert servers.count("Certificates renewed") == 1
        # With broken files all stays as it is, and one line says why.
        pair.key.write_bytes(b"")
        servers.signal(signal.SIGHUP)
        servers.wait_for(r"Not reloaded: --keyfile \S+: no private key in PEM is in it$")
        assert heard(servers, renewed=False) == later
        assert not any("are not renewed" in line for line in servers.lines)


def test_other_options_are_followed_at_a_reload(site: Site, tmp_path: Path) -> None:
    old, new = issue(tmp_path, "a.example"), issue(tmp_path, "b.example")
    path = site.directory / "wsgi_async.toml"
    path.write_text(f"certfile = ['{old.certificate}']\nkeyfile = ['{old.key}']\n")
    (site.directory / "heard.py").write_text(HEARD)
    with site.serve("--subscriber=heard:Heard", "-c", path.name) as servers:
        servers.wait_for("^heard ")
        path.write_text(f"certfile = ['{new.certificate}']\nkeyfile = ['{new.key}']\n")
        servers.reload()
        servers.wait_for("^heard .*false", 2)
        assert list(heard(servers, renewed=False).values()) == [["a.example"], ["b.example"]]
        # Each set of options has a file in memory, to write and to read. Those of the start stay,
        # and those in force; what was in between goes with its last process.
        for _ in range(2):
            for pair in (old, new):
                path.write_text(f"certfile = ['{pair.certificate}']\nkeyfile = ['{pair.key}']\n")
                servers.reload()
        servers.reload()
        assert len(shelves(servers.process.pid)) == 4
        path.write_text("certfile = ['nowhere']\n")
        servers.signal(signal.SIGHUP)
        servers.wait_for(r"Not reloaded: --certfile \S+/nowhere: No such file or directory$")
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0


@pytest.mark.parametrize("check", [(), ("--check-config",)], ids=["", "check"])
def test_what_is_wrong_with_them_ends_the_start(
    site: Site, tmp_path: Path, check: tuple[str, ...]
) -> None:
    pair = issue(tmp_path, "a.example")
    other = issue(tmp_path, "b.example")
    files = ("--certfile", str(pair.certificate), "--keyfile", str(other.key))
    with site.serve(*files, *check) as servers:
        assert servers.wait() == 1
        # Before anything is loaded.
        [line] = servers.lines
        assert f"--certfile {pair.certificate}: the key in {other.key} is not that of" in line


@pytest.mark.parametrize("check", [(), ("--check-config",)], ids=["", "check"])
def test_one_that_has_expired_is_told_at_the_start(
    site: Site, tmp_path: Path, check: tuple[str, ...]
) -> None:
    pair = issue(tmp_path, "a.example", valid=EXPIRED)
    with site.serve(*pair.flags, *check) as servers:
        servers.wait_for("the certificate of a.example has expired on .*: clients refuse it")
        if not check:
            servers.wait_for("Listening on ")
            servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        assert servers.count("has expired") == 1


SERVE = """
import sys
from heard import Heard
from process_app import make_application
from wsgi_async import serve
from wsgi_async.tls import renewal
if __name__ == "__main__":
    certfile, keyfile, workers = sys.argv[1:]
    serve(make_application("v"), 0, host="127.0.0.1", certfile=certfile, keyfile=keyfile,
          workers=int(workers), observers=[Heard()])
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_call_of_serve_renews_them_too(site: Site, tmp_path: Path, workers: int) -> None:
    # In its own process, without a parent, where it has one: SIGHUP has it look now.
    pair, new = issue(tmp_path, "a.example"), issue(tmp_path, "b.example")
    (site.directory / "heard.py").write_text(HEARD)
    args = (str(pair.certificate), str(pair.key), str(workers))
    with site.serve(*args, app="", bind="", program=SERVE) as servers:
        servers.wait_for("Listening on https://")
        servers.wait_for("^heard ", workers)
        pair.replace(new)
        servers.signal(signal.SIGHUP)
        servers.wait_for('^heard .*"b.example"', workers)
        servers.wait_for("Certificates renewed: b.example")
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.assert_clean()
