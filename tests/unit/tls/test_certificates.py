"""One pair of files: what is proved of it, what is read, and what is said where it is wrong."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wsgi_async.errors import ConfigError
from wsgi_async.events import CertificateInfo
from wsgi_async.tls.certificates import ServerPair
from wsgi_async.tls.material import PairBytes
from wsgi_async.tls.settings import PairFiles

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

AUTHORITY = trustme.CA()
FILES = PairFiles("/etc/cert.pem", "/etc/key.pem")
ALONE = PairFiles("/etc/both.pem")


def issue(*names: str, **options: object) -> PairBytes:
    leaf = AUTHORITY.issue_cert(*names, **options)  # type: ignore[arg-type]
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    return PairBytes(chain, leaf.private_key_pem.bytes())


def make(
    key: Key, *, name: str = "cn.example", usage: x509.ObjectIdentifier | None = None
) -> bytes:
    """A certificate that is its own authority, without alternative names."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 5)
        .not_valid_before(now - timedelta(days=20))
        .not_valid_after(now - timedelta(days=10))
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(serialization.Encoding.PEM)


def pem(key: Key, password: bytes | None = None, form: str = "PKCS8") -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        getattr(serialization.PrivateFormat, form),
        serialization.NoEncryption()
        if password is None
        else serialization.BestAvailableEncryption(password),
    )


def read(
    content: PairBytes, files: PairFiles = FILES, password: str | None = None
) -> CertificateInfo:
    pair = ServerPair(files, content, password)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair.load_into(context)
    return pair.read(context)


def refusal(content: PairBytes, files: PairFiles = FILES, password: str | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        read(content, files, password)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_in_a_certificate_is_read() -> None:
    begins, ends = datetime(2026, 1, 2, 3, 4, 5), datetime(2027, 1, 2, 3, 4, 5)
    told = read(
        issue(
            "example.org",
            "*.example.org",
            "10.0.0.1",
            "::1",
            common_name="other.example",
            organization_name="Example",
            not_before=begins,
            not_after=ends,
        )
    )
    assert told.names == ("example.org", "*.example.org", "10.0.0.1", "0:0:0:0:0:0:0:1")
    assert told.file == "/etc/cert.pem"
    assert told.not_before == begins.replace(tzinfo=UTC).timestamp()
    assert told.not_after == ends.replace(tzinfo=UTC).timestamp()
    assert told.subject.startswith("CN=other.example,OU=")
    assert "O=Example" in told.subject
    assert str(told) == (
        f"example.org, *.example.org, 10.0.0.1, 0:0:0:0:0:0:0:1 ({told.subject}), "
        "valid until 2027-01-02 03:04:05 UTC"
    )


@pytest.mark.parametrize(
    "make_key",
    [
        lambda: ec.generate_private_key(ec.SECP256R1()),
        ed25519.Ed25519PrivateKey.generate,
        lambda: rsa.generate_private_key(65537, 2048),
    ],
    ids=["ec", "ed25519", "rsa"],
)
def test_a_certificate_that_has_expired_is_read_too(make_key: Callable[[], Key]) -> None:
    # Whether to serve with it is not for this module to say.
    key = make_key()
    told = read(PairBytes(make(key), pem(key)))
    assert told.names == ("cn.example",)
    assert told.subject == "CN=cn.example"
    assert told.not_after < datetime.now(UTC).timestamp()


def test_a_chain_with_intermediates_is_loaded_and_its_first_certificate_read() -> None:
    leaf = AUTHORITY.create_child_ca().create_child_ca().issue_cert("deep.example")
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    assert chain.count(b"BEGIN CERTIFICATE") == 3
    assert read(PairBytes(chain, leaf.private_key_pem.bytes())).names == ("deep.example",)


@pytest.mark.parametrize("order", [1, -1])
def test_a_key_may_be_in_the_file_of_its_certificate(order: int) -> None:
    pair = issue("both.example")
    assert pair.key is not None
    data = b"# Ein K\xc3\xa4se\n".join([pair.certificate, pair.key][::order])
    assert read(PairBytes(data, None), ALONE).names == ("both.example",)


def test_each_file_is_read_for_what_it_is_given_for() -> None:
    # HAProxy's files have both. That of the other pair must not win.
    pair, other = issue("right.example"), issue("wrong.example")
    assert pair.key is not None
    assert other.key is not None
    content = PairBytes(pair.certificate + other.key, other.certificate + pair.key)
    assert read(content).names == ("right.example",)


@pytest.mark.parametrize("form", ["PKCS8", "TraditionalOpenSSL"])
def test_a_key_with_a_password(form: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    content = PairBytes(make(key), pem(key, b"open sesame", form))
    assert read(content, password="open sesame").names == ("cn.example",)
    # OpenSSL would ask on the terminal, and wait.
    needed = "--keyfile /etc/key.pem: the key is encrypted: give --keyfile-password"
    for password in (None, ""):
        assert refusal(content, password=password) == needed
    wrong = "--keyfile-password does not open the key in --keyfile /etc/key.pem"
    assert refusal(content, password="geheim") == wrong
    assert refusal(content, password="x" * 1025) == "--keyfile-password is longer than 1024 bytes"
    both = PairBytes(content.certificate + (content.key or b""), None)
    assert "in --certfile /etc/both.pem" in refusal(both, ALONE, "geheim")


def test_a_key_of_another_certificate() -> None:
    one, other = issue("one.example"), issue("two.example")
    other_kind = pem(ed25519.Ed25519PrivateKey.generate())
    for key in (other.key, other_kind):
        line = refusal(PairBytes(one.certificate, key))
        assert line.startswith(
            "--certfile /etc/cert.pem: the key in /etc/key.pem is not that of the certificate"
        )


def test_a_chain_that_begins_with_the_authority() -> None:
    pair = issue("one.example")
    wrong = PairBytes(AUTHORITY.cert_pem.bytes() + pair.certificate, pair.key)
    assert "the server's own certificate comes first in it" in refusal(wrong)


def test_files_that_hold_something_else() -> None:
    pair = issue("one.example")
    key = pair.key
    assert key is not None
    der = ssl.PEM_cert_to_DER_cert(pair.certificate.decode())
    cut = pair.certificate[:-200]
    for content, files, line in (
        (PairBytes(b"", key), FILES, "--certfile /etc/cert.pem: no certificate in PEM is in it"),
        (PairBytes(key, key), FILES, "--certfile /etc/cert.pem: no certificate in PEM is in it"),
        (PairBytes(der, key), FILES, "`openssl x509 -inform der` converts it"),
        (PairBytes(cut, key), FILES, "--certfile /etc/cert.pem: its certificate is cut off"),
        (PairBytes(pair.certificate, b""), FILES, "--keyfile /etc/key.pem: no private key in PEM"),
        (PairBytes(pair.certificate, key[:-40]), FILES, "/etc/key.pem: its private key is cut off"),
        (
            PairBytes(pair.certificate, None),
            ALONE,
            "no private key in PEM is in it; give --keyfile",
        ),
        (
            PairBytes(pair.certificate.replace(b"M", b"N"), key),
            FILES,
            "--certfile /etc/cert.pem, --keyfile /etc/key.pem: OpenSSL cannot read it: ",
        ),
    ):
        assert line in refusal(content, files)


def test_every_cut_of_the_files_is_refused_in_one_line() -> None:
    # A file that is being written is looked at in the middle of it.
    pair = issue("one.example")
    key = pair.key
    assert key is not None
    for size in range(0, len(key) - 40, 17):
        refusal(PairBytes(pair.certificate, key[:size]))
    for size in range(0, len(pair.certificate) - 40, 43):
        refusal(PairBytes(pair.certificate[:size], key))


def test_a_weak_key_is_told_with_what_lets_it_pass() -> None:
    key = rsa.generate_private_key(65537, 1024)
    line = refusal(PairBytes(make(key), pem(key)))
    assert line.startswith("--certfile /etc/cert.pem: the key of its certificate is too small")


def test_a_certificate_that_is_for_no_server() -> None:
    # Each client would refuse it: better at the start than by their complaints.
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = make(key, usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    line = refusal(PairBytes(certificate, pem(key)))
    assert line == (
        "--certfile /etc/cert.pem: no client takes its certificate: unsuitable certificate purpose"
    )
