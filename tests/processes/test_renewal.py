"""Certificates that change under a load that counts: no handshake and no request is lost."""

from __future__ import annotations

import contextlib
import os
import signal
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from certificates import LOCAL, Authority, Pair, authority
from counting import Load
from encrypted import Encrypted
from processes import Servers, Site, reachable
from rawclient import TIMEOUT, RawClient

OFTEN = """
from wsgi_async.tls import renewal
renewal.LOOK_EVERY = 0.05
from wsgi_async.cli import main
main(prog_name='wsgi-async')
"""

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")


def issue(directory: Path, version: str, by: Authority | None = None) -> Pair:
    """A pair for this machine, its key for its owner alone, which tells its version by a name."""
    own = directory / f"issued-{version}"
    own.mkdir(mode=0o700)
    return (by or authority()).issue(own, *LOCAL, f"{version}.example", file="tls")


def shown(servers: Servers, **options: object) -> str:
    """The version that a new connection is shown."""
    with RawClient(servers.address, **{"tls": authority().client(), **options}) as client:  # type: ignore[arg-type]
        told = client.socket.tls.getpeercert()  # type: ignore[union-attr]
        [version] = [name for _, name in told["subjectAltName"] if name.endswith(".example")]
        return str(version.removesuffix(".example"))


def wait_until_all_show(servers: Servers, version: str, processes: int) -> None:
    _wait(lambda: shown(servers) == version, processes)


@contextlib.contextmanager
def loaded(pair: Pair, *args: str, site: Site) -> Iterator[tuple[Servers, Load]]:
    """A server with this pair, and the load; all answers are right at the end."""
    with site.serve(*pair.flags, *args, program=OFTEN) as servers:
        with servers.load() as load:
            load.wait_for_each(2)
            yield servers, load
            load.wait_for_each(2)
        load.assert_flawless()
        assert not load.notices  # nor has anybody been told to come again
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.assert_clean()


@pytest.mark.parametrize("workers", [1, 2])
def test_renewals_lose_no_handshake(site: Site, tmp_path: Path, workers: int) -> None:
    pair = issue(tmp_path, "v0")
    with loaded(pair, "--workers", f"{workers}", site=site) as (servers, load):
        for number in range(1, 6):
            pair.replace(issue(tmp_path, f"v{number}"))
            wait_until_all_show(servers, f"v{number}", workers)
            load.wait_for_each()
        assert servers.count("Certificates renewed: ") == 5
        assert servers.count("are not renewed") <= 5  # between the renames of the two files


@pytest.mark.parametrize("workers", [1, 2])
def test_a_pair_that_does_not_match_for_a_while_loses_none(
    site: Site, tmp_path: Path, workers: int
) -> None:
    pair, new = issue(tmp_path, "v0"), issue(tmp_path, "v1")
    with loaded(pair, "--workers", f"{workers}", site=site) as (servers, load):
        pair.certificate.write_bytes(new.certificate.read_bytes()[:-100])
        servers.wait_for("are not renewed, the former ones stay: .*: its certificate is cut off")
        pair.certificate.write_bytes(new.certificate.read_bytes())
        servers.wait_for("are not renewed, the former ones stay: .* is not that of the certificate")
        load.wait_for_each(5)
        assert {shown(servers) for _ in range(8)} == {"v0"}
        pair.key.write_bytes(new.key.read_bytes())
        wait_until_all_show(servers, "v1", workers)
        assert servers.count("are not renewed") <= 3


@root
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_a_key_for_root_alone_is_renewed_for_another_user(
    tmp_path: Path, workers: int, preload: tuple[str, ...]
) -> None:
    pair = issue(tmp_path, "v0")
    options = ("--workers", f"{workers}", *preload, "-u", "nobody")
    with (
        reachable() as directory,
        loaded(pair, *options, site=Site(directory)) as (servers, load),
    ):
        assert servers.facts()["uid"] != 0
        pair.replace(issue(tmp_path, "v1"))
        assert pair.key.stat().st_mode & 0o777 == 0o600
        wait_until_all_show(servers, "v1", workers)
        load.wait_for_each()


def test_a_reload_beside_a_renewal_loses_none(site: Site, tmp_path: Path) -> None:
    pair = issue(tmp_path, "v0")
    with site.serve(*pair.flags, "--workers=2") as servers:
        with servers.load() as load:
            load.wait_for_each(2)
            pair.replace(issue(tmp_path, "v1"))
            site.write("new")
            servers.reload()
            assert {shown(servers) for _ in range(8)} == {"v1"}
            load.wait_for_version("new", 20)
        load.assert_flawless()
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.assert_clean()


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_a_session_is_resumed_in_any_process(
    site: Site, tmp_path: Path, preload: tuple[str, ...]
) -> None:
    """As long as they show what the parent has made: who is replaced, and a reload, end none."""
    pair = issue(tmp_path, "v0")
    with site.serve(*pair.flags, "--workers=2", *preload) as servers:
        tls = authority().client()
        session = get_session(servers, tls)
        before = servers.wait_for_pids(2)
        servers.reload()
        missing = {*before, *servers.wait_for_pids(2, others=before)}.difference(before)
        deadline = time.monotonic() + TIMEOUT
        while missing:
            assert time.monotonic() < deadline
            with RawClient(servers.address) as client:
                client.socket = secured = Encrypted(client.socket, tls, session=session)  # type: ignore[arg-type]
                assert secured.tls.session_reused
                missing.discard(int(client.get("/?x").body.split()[0]))


@pytest.mark.parametrize("workers", [1, 2])
def test_authorities_that_change(site: Site, tmp_path: Path, workers: int) -> None:
    """Who is known by a new one is served at once, and who was known by an old one only no longer:
    not by a session either."""
    old, new = Authority(), Authority()
    pair = issue(tmp_path, "v0")
    clients = [each.issue(tmp_path, "me@example.org", file=f"me{id(each)}") for each in (old, new)]
    known, stranger = (authority().client(client) for client in clients)
    ca = old.write(tmp_path)
    options = ("--ca-certs", str(ca), "--cert-reqs", "required", "--workers", f"{workers}")
    with site.serve(*pair.flags, *options, program=OFTEN) as servers:
        session = get_session(servers, known)
        assert is_served(servers, known, session)
        assert not is_served(servers, stranger)
        kept = RawClient(servers.address, tls=known)
        assert kept.get("/?before").status == 200
        with servers.load(tls=known) as load:
            load.wait_for_each(2)
            replace(ca, old.pem + new.pem)
            servers.wait_for("Certificates renewed: ")
            wait_until_served(servers, stranger, workers)
            load.wait_for_each(2)
        load.assert_flawless()
        with servers.load(tls=stranger) as load:
            load.wait_for_each(2)
            replace(ca, new.pem)
            servers.wait_for("Certificates renewed: ", 2)
            wait_until_refused(servers, known, workers)
            assert not is_served(servers, known, session)
            load.wait_for_each(2)
        load.assert_flawless()
        # Who is connected was known when he came.
        assert kept.get("/?after").status == 200
        kept.close()
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.assert_clean()


def replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


def get_session(servers: Servers, tls: ssl.SSLContext) -> ssl.SSLSession:
    with RawClient(servers.address, tls=tls) as client:
        assert client.get("/?session").status == 200  # with TLS 1.3 tickets come with the answer
        session = client.socket.tls.session  # type: ignore[union-attr]
        assert session is not None
        return session


def is_served(servers: Servers, tls: ssl.SSLContext, session: ssl.SSLSession | None = None) -> bool:
    """Whether a new connection gets an answer."""
    try:
        with RawClient(servers.address) as client:
            client.socket = Encrypted(client.socket, tls, session=session)  # type: ignore[arg-type]
            return client.get("/?x").status == 200
    except (OSError, AssertionError):
        return False


def wait_until_served(servers: Servers, tls: ssl.SSLContext, processes: int) -> None:
    _wait(lambda: is_served(servers, tls), processes)


def wait_until_refused(servers: Servers, tls: ssl.SSLContext, processes: int) -> None:
    _wait(lambda: not is_served(servers, tls), processes)


def _wait(holds: Callable[[], bool], processes: int) -> None:
    """Until it holds so often one after the other that each process has been met, as good as
    surely."""
    deadline = time.monotonic() + TIMEOUT
    count = 0
    while count < 8 * processes:
        count = count + 1 if holds() else 0
        assert time.monotonic() < deadline
