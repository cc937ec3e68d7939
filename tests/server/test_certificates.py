"""One server without a parent: it looks at its certificates itself, beside its loop."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from certificates import LOCAL, Pair, authority
from loops import hello
from rawclient import RawClient
from serving import Served, both_loops, serving

from wsgi_async.errors import ConfigError
from wsgi_async.server import certificates
from wsgi_async.server.server import Server


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return issue(tmp_path, "old")


def issue(directory: Path, version: str) -> Pair:
    own = directory / version
    own.mkdir()
    return authority().issue(own, *LOCAL, f"{version}.example", file="tls")


def shown(served: Served) -> str:
    """The version that a new connection is shown."""
    with RawClient(served.address, tls=authority().client()) as client:
        told = client.socket.tls.getpeercert()  # type: ignore[union-attr]
        [name] = [name for _, name in told["subjectAltName"] if name.endswith(".example")]
        return str(name.removesuffix(".example"))


@both_loops
def test_files_that_have_changed_are_taken_by_itself(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loop: str
) -> None:
    monkeypatch.setattr(certificates, "LOOK_EVERY", 0.02)
    with serving(hello, loop=loop, tls=True, **pair.options) as served:
        [first] = served.recorder.wait_for("certificates")
        assert first[1] is False
        assert shown(served) == "old"
        kept = served.client()
        assert kept.get("/").status == 200
        pair.replace(issue(tmp_path, "new"))
        served.recorder.wait_for("certificates", 2)
        assert shown(served) == "new"
        assert kept.get("/").status == 200
        kept.close()


def test_whoever_knows_of_new_ones_has_them_taken_at_once(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The application may have gone to another directory since.
    monkeypatch.chdir(tmp_path)
    names = {name: os.path.relpath(path) for name, path in pair.options.items()}
    with serving(hello, tls=True, **names) as served:
        monkeypatch.chdir("/")
        for version in ("one", "two"):
            pair.replace(issue(tmp_path, version))
            served.thread.run(renew(served.server))
            served.wait_until(lambda version=version: names_of(served) == version)
            assert shown(served) == version
        pair.key.write_bytes(b"")
        served.thread.run(renew(served.server))
        served.recorder.wait_for("warning")
        assert shown(served) == "two"


async def renew(server: Server) -> None:
    server.renew_certificates()


def names_of(served: Served) -> str:
    """*Loop:* the version in force."""
    running = served.server._running
    assert running is not None
    assert running.certificates is not None
    return running.certificates.current.certificates[0].names[-1].removesuffix(".example")


def test_files_that_are_wrong_end_the_start(pair: Pair) -> None:
    pair.key.write_bytes(b"")
    with (
        pytest.raises(ConfigError, match="no private key in PEM"),
        serving(hello, tls=True, **pair.options),
    ):
        pass
