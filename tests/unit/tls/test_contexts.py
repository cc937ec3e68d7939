"""Contexts: what a client meets who comes with its own, and what it cannot do."""

from __future__ import annotations

import contextlib
import ssl
from functools import cache

import pytest
import trustme

from wsgi_async.errors import ConfigError
from wsgi_async.tls.contexts import Contexts, ServerConnection, make_contexts
from wsgi_async.tls.current import CurrentContexts
from wsgi_async.tls.material import Material, PairBytes
from wsgi_async.tls.settings import ClientCertificates, PairFiles, TLSSettings

AUTHORITY, OTHERS = trustme.CA(), trustme.CA()


@cache
def pair(*names: str) -> PairBytes:
    leaf = AUTHORITY.issue_cert(*names)
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    return PairBytes(chain, leaf.private_key_pem.bytes())


def contexts(*names: str, ca: bytes | None = None, **settings: object) -> Contexts:
    names = names or ("localhost",)
    files = tuple(PairFiles(f"/etc/{name}.pem", f"/etc/{name}.key") for name in names)
    if ca is not None:
        settings.setdefault("cert_reqs", ClientCertificates.REQUIRED)
        settings["ca_certs"] = "/etc/ca.pem"
    made = TLSSettings(pairs=files, **settings)  # type: ignore[arg-type]
    return make_contexts(made, Material(tuple(map(pair, names)), None, ca))


def client(
    *, certificate: trustme.LeafCert | None = None, maximum: str = "MAXIMUM_SUPPORTED"
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = ssl.TLSVersion[maximum]
    AUTHORITY.configure_trust(context)
    if certificate is not None:
        certificate.configure_cert(context)
    return context


class Connection:
    """A handshake in memory, and one byte each way: with TLS 1.3 a server says after the handshake
    what it thinks of a client's certificate, and sends its tickets then."""

    def __init__(
        self,
        server: ssl.SSLContext,
        client: ssl.SSLContext,
        name: str = "localhost",
        session: ssl.SSLSession | None = None,
    ) -> None:
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(to_client, to_server, server_hostname=name, session=session)
        self.server = server.wrap_bio(to_server, to_client, server_side=True)
        for _ in range(3):
            for side in (self.client, self.server):
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
        self.server.write(b"s")
        assert self.client.read(1) == b"s"
        self.client.write(b"c")
        assert self.server.read(1) == b"c"


def test_a_client_gets_http_1_1_and_no_compression() -> None:
    asks = client()
    asks.set_alpn_protocols(["h2", "http/1.1"])
    connection = Connection(contexts().context, asks)
    assert connection.server.selected_alpn_protocol() == "http/1.1"
    assert connection.client.compression() is None
    assert connection.server.version() == "TLSv1.3"


def test_a_client_that_speaks_h2_only_is_served_all_the_same() -> None:
    # As nginx does: what it sends then is judged as HTTP.
    asks = client()
    asks.set_alpn_protocols(["h2"])
    assert Connection(contexts().context, asks).server.selected_alpn_protocol() is None


@pytest.mark.parametrize("flag", ["OP_NO_COMPRESSION", "OP_NO_RENEGOTIATION"])
def test_what_is_off(flag: str) -> None:
    assert contexts().context.options & getattr(ssl, flag)


def test_the_lowest_version_is_kept() -> None:
    made = contexts().context
    assert made.minimum_version == ssl.TLSVersion.TLSv1_2
    assert Connection(made, client(maximum="TLSv1_2")).server.version() == "TLSv1.2"
    with pytest.raises(ssl.SSLError):
        Connection(contexts(minimum=ssl.TLSVersion.TLSv1_3).context, client(maximum="TLSv1_2"))


def test_ciphers() -> None:
    # Of a list that is given the order counts, and else the client's.
    wanted = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
    asks = client(maximum="TLSv1_2")
    asks.set_ciphers(":".join(reversed(wanted.split(":"))))
    for settings, expected in (({}, 1), ({"ciphers": wanted}, 0)):
        used = Connection(contexts(**settings).context, asks).server.cipher()
        assert used is not None
        assert used[0] == wanted.split(":")[expected]
    with pytest.raises(ConfigError, match=r"^--ciphers NONSENSE: OpenSSL knows no cipher in it"):
        contexts(ciphers="NONSENSE")


def test_a_security_level_in_the_ciphers_is_that_of_the_certificate() -> None:
    with pytest.raises(ConfigError, match=r"^--certfile /etc/localhost\.pem: the key of its"):
        contexts(ciphers="DEFAULT:@SECLEVEL=5")  # 256 bits, and the key has 128


def subject_alternatives(connection: Connection) -> list[str]:
    told = connection.client.getpeercert()
    assert told is not None
    return [str(value) for _, value in told["subjectAltName"]]  # type: ignore[misc]


@pytest.mark.parametrize("maximum", ["TLSv1_2", "TLSv1_3"])
def test_the_name_a_client_asks_for_chooses_the_certificate(maximum: str) -> None:
    made = contexts("first.example", "*.second.example", "third.example")
    asks = client(maximum=maximum)
    for name, shown in (
        ("first.example", "first.example"),
        ("www.second.example", "*.second.example"),
        ("THIRD.example", "third.example"),
    ):
        assert subject_alternatives(Connection(made.context, asks, name)) == [shown]
    asks.check_hostname = False
    for unknown in ("fourth.example", "10.0.0.1"):
        shown_to_others = subject_alternatives(Connection(made.context, asks, unknown))
        assert shown_to_others == ["first.example"]
    names = [certificate.names for certificate in made.certificates]
    assert names == [("first.example",), ("*.second.example",), ("third.example",)]


def test_each_name_has_the_same_rules() -> None:
    # What is chosen by name takes no rules along: they must hold from the first context on.
    made = contexts("first.example", "second.example", ca=AUTHORITY.cert_pem.bytes())
    for name in ("first.example", "second.example"):
        with pytest.raises(ssl.SSLError):
            Connection(made.context, client(), name)
        known = client(certificate=AUTHORITY.issue_cert("me@example.org"))
        assert Connection(made.context, known, name).server.getpeercert()


@pytest.mark.parametrize("maximum", ["TLSv1_2", "TLSv1_3"])
def test_clients_certificates(maximum: str) -> None:
    ca = AUTHORITY.cert_pem.bytes()
    mine = AUTHORITY.issue_cert("me@example.org", common_name="me")
    foreign = OTHERS.issue_cert("me@example.org", common_name="me")
    optional = contexts(ca=ca, cert_reqs=ClientCertificates.OPTIONAL).context
    required = contexts(ca=ca).context
    both = contexts(ca=ca + b"\n# Und noch einer: \xc3\xa4\n" + OTHERS.cert_pem.bytes()).context
    nothing, known = client(maximum=maximum), client(certificate=mine, maximum=maximum)
    stranger = client(certificate=foreign, maximum=maximum)
    for server, asks in ((optional, known), (required, known), (both, known), (both, stranger)):
        assert Connection(server, asks).server.getpeercert()
    assert not Connection(optional, nothing).server.getpeercert()
    for server, asks in ((required, nothing), (required, stranger), (optional, stranger)):
        with pytest.raises(ssl.SSLError):
            Connection(server, asks)


def test_an_intermediate_authority_can_be_trusted_alone() -> None:
    child = AUTHORITY.create_child_ca()
    server = contexts(ca=child.cert_pem.bytes()).context
    mine = client(certificate=child.issue_cert("me@example.org"))
    assert Connection(server, mine).server.getpeercert()
    with pytest.raises(ssl.SSLError):
        Connection(server, client(certificate=AUTHORITY.issue_cert("you@example.org")))


def test_a_file_of_authorities_that_is_none() -> None:
    for data, line in (
        (b"", "--ca-certs /etc/ca.pem: no certificate in PEM is in it"),
        (AUTHORITY.cert_pem.bytes()[:300], "--ca-certs /etc/ca.pem: OpenSSL cannot read it: "),
    ):
        with pytest.raises(ConfigError) as caught:
            contexts(ca=data)
        assert str(caught.value).startswith(line)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("maximum", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("verifies", [False, True])
def test_sessions_are_resumed_within_one_context_and_with_no_other(
    maximum: str, verifies: bool
) -> None:
    ca = AUTHORITY.cert_pem.bytes() if verifies else None
    current = CurrentContexts(contexts("first.example", "localhost", ca=ca))
    mine = AUTHORITY.issue_cert("me@example.org") if verifies else None
    asks = client(certificate=mine, maximum=maximum)
    first = Connection(current.context, asks)
    assert not first.server.session_reused
    again = Connection(current.context, asks, session=first.client.session)
    assert again.server.session_reused
    assert bool(again.server.getpeercert()) is verifies
    assert current.context.session_stats()["hits"] == 1
    # The authorities are others now: who was verified by the former ones is so no longer.
    current.replace(contexts("first.example", "localhost", ca=ca and OTHERS.cert_pem.bytes()))
    if verifies:
        with pytest.raises(ssl.SSLError):
            Connection(current.context, asks, session=again.client.session)
    else:
        later = Connection(current.context, asks, session=again.client.session)
        assert not later.server.session_reused
    assert current.context.session_stats()["hits"] == 0


def test_who_is_connected_keeps_what_he_has() -> None:
    current = CurrentContexts(contexts("first.example", "second.example"))
    connection = Connection(current.context, client(), "second.example")
    current.replace(contexts("third.example"))
    assert current.certificates[0].names == ("third.example",)
    connection.client.write(b"on")
    assert connection.server.read(2) == b"on"


def test_a_name_that_is_not_ascii_gets_the_default_certificate(
    capfd: pytest.CaptureFixture[str],
) -> None:
    made = contexts("first.example", "second.example")
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    asks = client().wrap_bio(to_client, to_server, server_hostname="second.example")
    answers = made.context.wrap_bio(to_server, to_client, server_side=True)
    with pytest.raises(ssl.SSLWantReadError):
        asks.do_handshake()
    to_server.write(to_server.read().replace(b"second", b"s\xffcond"))
    with pytest.raises(ssl.SSLWantReadError):
        answers.do_handshake()
    assert to_client.pending > 500  # a whole flight, and no alert
    assert capfd.readouterr() == ("", "")


def test_the_name_is_there_for_who_wants_to_know() -> None:
    made = contexts("first.example")
    for name in ("first.example", "10.0.0.1"):
        asks = client()
        asks.check_hostname = False
        server = Connection(made.context, asks, name).server
        assert isinstance(server, ServerConnection)
        assert server.server_name == ("first.example" if name == "first.example" else None)


def test_a_client_that_ends_in_its_hello() -> None:
    asks, server = client(), contexts("first.example", "second.example").context
    for size in (0, 1, 100, 10_000):
        outgoing, incoming = ssl.MemoryBIO(), ssl.MemoryBIO()
        with contextlib.suppress(ssl.SSLWantReadError):
            asks.wrap_bio(
                ssl.MemoryBIO(), outgoing, server_hostname="second.example"
            ).do_handshake()
        answers = server.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True)
        incoming.write(outgoing.read()[:size])
        incoming.write_eof()
        with pytest.raises(ssl.SSLError) as caught:
            answers.do_handshake()
        assert not isinstance(caught.value, ssl.SSLWantReadError)
