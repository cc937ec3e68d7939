"""Files that change while a server runs: what is taken, what is refused, and what is said of it."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from certificates import EXPIRED, NOT_YET, Authority, Pair, authority

from wsgi_async.errors import ConfigError
from wsgi_async.tls import renewal as module
from wsgi_async.tls.renewal import DAY, Renewal
from wsgi_async.tls.settings import ClientCertificates, PairFiles, TLSSettings


class Site:
    """A server's files, a clock, and what an operator reads."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = time.time()
        self.said: list[str] = []
        self._issued = 0

    def issue(self, *names: str, **options: object) -> Pair:
        """A new pair, elsewhere."""
        self._issued += 1
        directory = self.directory / f"issued{self._issued}"
        directory.mkdir()
        return authority().issue(directory, *names, **options)  # type: ignore[arg-type]

    def start(self, *pairs: Pair, **settings: object) -> Renewal:
        files = tuple(PairFiles(str(pair.certificate), str(pair.key)) for pair in pairs)
        made = TLSSettings(pairs=files, **settings)  # type: ignore[arg-type]
        return Renewal(made, self.said.append, clock=lambda: self.now)

    def heard(self) -> list[str]:
        """What was said since the last time."""
        said, self.said[:] = self.said[:], []
        assert all("\n" not in line for line in said)
        return said


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def names(renewal: Renewal) -> list[tuple[str, ...]]:
    return [certificate.names for certificate in renewal.contexts.certificates]


def test_where_nothing_changes_nothing_is_done(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    renewal = site.start(site.issue("a.example"))
    before = renewal.contexts
    for _ in range(3):
        assert not renewal.look()
    assert not renewal.look(asked=True)
    assert renewal.contexts is before
    site.now += 60
    assert not renewal.look()  # for the last time the files looked as if just written
    monkeypatch.setattr(module, "read_material", None)
    assert not renewal.look()
    assert site.heard() == []


def test_a_new_pair_gets_fresh_contexts(site: Site) -> None:
    pair = site.issue("a.example")
    renewal = site.start(pair)
    before = renewal.contexts
    pair.replace(site.issue("a.example", "b.example"))
    assert renewal.look()
    assert names(renewal) == [("a.example", "b.example")]
    assert renewal.contexts.context is not before.context
    assert before.certificates[0].names == ("a.example",)
    assert not renewal.look()
    assert site.heard() == []


def test_names_that_are_lost_are_told(site: Site) -> None:
    # It may be meant so; where it is not, somebody has put another site's files there.
    pair = site.issue("a.example", "b.example")
    renewal = site.start(pair, site.issue("c.example"))
    pair.replace(site.issue("d.example"))
    assert renewal.look()
    assert site.heard() == ["No certificate is for a.example, b.example any more"]


def test_a_pair_that_does_not_match_for_a_while_costs_one_line(site: Site) -> None:
    pair, new = site.issue("a.example"), site.issue("b.example")
    renewal = site.start(pair)
    before = renewal.contexts
    pair.certificate.write_bytes(new.certificate.read_bytes())
    for _ in range(5):
        assert not renewal.look()
        site.now += 10
    [line] = site.heard()
    assert line.startswith(
        "Certificates are not renewed, the former ones stay: --certfile "
        f"{pair.certificate}: the key in {pair.key} is not that of the certificate"
    )
    assert renewal.contexts is before
    with pytest.raises(ConfigError, match="the key in"):
        renewal.take(asked=True)  # an operator who asks is answered
    pair.key.write_bytes(new.key.read_bytes())
    assert renewal.look()
    assert names(renewal) == [("b.example",)]
    assert [line.partition(" any more")[0] for line in site.heard()] == [
        "No certificate is for a.example"
    ]


def test_each_change_that_is_refused_is_told(site: Site) -> None:
    pair = site.issue("a.example")
    renewal = site.start(pair)
    good = pair.certificate.read_bytes()
    for size in (100, 200):
        pair.certificate.write_bytes(good[:size])
        renewal.look()
        renewal.look()
        [line] = site.heard()
        assert line.endswith("its certificate is cut off")
    pair.certificate.unlink()
    renewal.look()
    renewal.look()
    assert [line.rpartition(": ")[2] for line in site.heard()] == ["No such file or directory"]
    # All as it was: that is no renewal, and the next fault is a new one.
    pair.certificate.write_bytes(good)
    assert not renewal.look()
    assert site.heard() == []
    pair.certificate.unlink()
    renewal.look()
    assert len(site.heard()) == 1


def test_a_new_certificate_that_has_expired_is_refused(site: Site) -> None:
    pair, old = site.issue("a.example"), site.issue("b.example", valid=EXPIRED)
    renewal = site.start(pair, old)
    renewal.look()
    site.heard()
    pair.replace(site.issue("a.example", valid=EXPIRED))
    assert not renewal.look()
    [line] = site.heard()
    assert re.search(
        r"--certfile \S+: the certificate there has expired on [-0-9]+ [:0-9]+ UTC", line
    )
    # One that had expired at the start is no reason to refuse another's renewal.
    pair.replace(site.issue("a.example"))
    assert renewal.look()


def test_what_could_not_be_read_for_want_of_something_is_tried_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = site.issue("a.example")
    renewal = site.start(pair)
    pair.replace(site.issue("b.example"))

    def fail(*args: object) -> None:
        raise ConfigError("--certfile: Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(module, "make_contexts", fail)
        for _ in range(3):
            site.now += 10
            assert not renewal.look()
    assert len(site.heard()) == 1
    assert renewal.look()


def test_one_that_is_not_valid_yet_is_taken_when_it_is(site: Site) -> None:
    pair = site.issue("a.example")
    renewal = site.start(pair)
    before = renewal.contexts
    pair.replace(site.issue("a.example", valid=NOT_YET))
    for _ in range(3):
        assert not renewal.look()
        site.now += 3600
    [line] = site.heard()
    assert "is not valid before" in line
    site.now += DAY
    assert renewal.look()
    assert renewal.contexts is not before
    assert site.heard() == []


def test_what_a_link_leads_to_is_looked_at(site: Site) -> None:
    # certbot's live/ and the secrets of Kubernetes are links that are changed.
    versions = [site.issue("a.example", file="tls"), site.issue("b.example", file="tls")]
    live = site.directory / "live"
    live.symlink_to(versions[0].certificate.parent)
    renewal = site.start(Pair(live / "tls.pem", live / "tls.key"))
    new = site.directory / "new"
    new.symlink_to(versions[1].certificate.parent)
    new.rename(live)
    assert renewal.look()
    assert names(renewal) == [("b.example",)]


def test_a_file_that_was_just_written_is_read_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Within a tick of the file system's clock a second change leaves no trace.
    pair = site.issue("a.example")
    fixed = (1, 2, 3, int(site.now * 1e9), int(site.now * 1e9))
    monkeypatch.setattr(module, "_stat", lambda path: fixed)
    renewal = site.start(pair)
    pair.replace(site.issue("b.example"))
    assert renewal.look()
    site.now += 10
    assert not renewal.look()
    pair.replace(site.issue("c.example"))
    assert not renewal.look()
    assert renewal.look(asked=True)


def test_other_authorities_and_passwords_are_changes_too(site: Site) -> None:
    pair = site.issue("a.example", password="one")
    password = site.directory / "password"
    password.write_text("one\n")
    ca = authority().write(site.directory)
    renewal = site.start(
        pair,
        password_file=str(password),
        ca_certs=str(ca),
        cert_reqs=ClientCertificates.REQUIRED,
    )
    ca.write_text(Authority().pem)
    assert renewal.look()
    pair.replace(site.issue("a.example", password="two"))
    assert not renewal.look()
    [line] = site.heard()
    assert "--keyfile-password does not open the key" in line
    password.write_text("two\n")
    assert renewal.look()
    assert site.heard() == []


def test_fourteen_days_before_the_end_there_is_a_warning_a_day(site: Site) -> None:
    renewal = site.start(site.issue("a.example", valid=(-76, 15)), site.issue("b.example"))
    renewal.look()
    assert site.heard() == []
    heard = []
    for _ in range(17 * 24):
        site.now += 3600
        renewal.look()
        heard += site.heard()
    assert len(heard) in (16, 17)
    assert re.fullmatch(
        r"--certfile \S+/a.example.pem: the certificate of a.example expires in 13 days, "
        r"on [-0-9]{10} [:0-9]{8} UTC: renew it",
        heard[0],
    )
    assert "expires in less than a day" in heard[13]
    assert re.search(
        r"of a.example has expired on [-0-9]+ [:0-9]+ UTC: clients refuse it", heard[-1]
    )


def test_one_that_nobody_is_shown_is_told_once(site: Site) -> None:
    # As for nginx, which chooses by the kind of key; OpenSSL does not tell Python of it.
    first = site.issue("a.example", "*.b.example")
    second = site.issue("*.b.example", "a.example")
    renewal = site.start(first, second, site.issue("a.example", "c.example"))
    renewal.look()
    renewal.look()
    line = f"--certfile {second.certificate} is shown to nobody, for those before it have all its"
    assert site.heard() == [f"{line} names"]


def test_one_that_is_short_lived_is_warned_of_in_its_last_third(site: Site) -> None:
    renewal = site.start(site.issue("a.example", valid=(-1, 5)))
    renewal.look()
    assert site.heard() == []
    site.now += 3.5 * DAY
    renewal.look()
    assert "expires in 1 day, on" in site.heard()[0]


@pytest.mark.parametrize(
    ("valid", "expected"),
    [(EXPIRED, "has expired on"), (NOT_YET, "is not valid before")],
)
def test_a_server_starts_with_one_that_clients_refuse_and_says_so(
    site: Site, valid: tuple[float, float], expected: str
) -> None:
    # As nginx does: other clients may not mind, and a renewal will come.
    renewal = site.start(site.issue("a.example", valid=valid))
    renewal.look()
    renewal.look()
    [line] = site.heard()
    assert f"the certificate of a.example {expected}" in line
