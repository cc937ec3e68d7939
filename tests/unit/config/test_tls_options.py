"""The options on TLS: what they take, which go together, and that a password is shown nowhere."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from wsgi_async.config.calls import from_options
from wsgi_async.config.options import Config
from wsgi_async.config.tls_options import lowest_version, parse_hosts
from wsgi_async.errors import ConfigError


def tls(**options: Any) -> Config:
    return from_options(**{"certfile": ["a.pem"], **options})


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ("none", "none"),
        ("Optional", "optional"),
        (0, "none"),
        ("1", "optional"),
        (2, "required"),
        (ssl.CERT_REQUIRED, "required"),  # as a gunicorn file in Python has it
        ("CERT_OPTIONAL", "optional"),
        ("VerifyMode.CERT_REQUIRED", "required"),
    ],
)
def test_whether_clients_have_certificates_in_all_words(given: object, word: str) -> None:
    authorities = {} if word == "none" else {"ca_certs": "ca.pem"}
    assert tls(cert_reqs=given, **authorities).cert_reqs == word


@pytest.mark.parametrize("given", [1.2, "1.2", "tls1.2", "TLSv1.2", "TLSv1_2"])
def test_the_lowest_version_in_all_words(given: object) -> None:
    assert Config(tls_min=given).tls_min == "1.2"  # type: ignore[arg-type]


@pytest.mark.parametrize("given", ["1.0", 1.1, "tls1.1", "ssl3", True, 2])
def test_a_version_that_is_too_old_is_refused_and_said_why(given: object) -> None:
    with pytest.raises(ConfigError, match=r"^--tls-min takes 1.2 or 1.3 \(RFC 8996 .*, not "):
        Config(tls_min=given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "version"),
    [
        (ssl.PROTOCOL_TLS_SERVER, None),
        (17, None),
        ("TLS", None),
        ("PROTOCOL_TLS_SERVER", None),
        ("5", "1.2"),
        ("TLSv1_2", "1.2"),
        (str(ssl.PROTOCOL_TLSv1_2), "1.2"),
        (repr(ssl.PROTOCOL_TLSv1_2).partition(":")[0].strip("<"), "1.2"),
    ],
)
def test_ssl_version_of_uvicorn_and_gunicorn(given: object, version: str | None) -> None:
    assert lowest_version(given) == version


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, r"^--ssl-version 3: RFC 8996 .*--tls-min"),
        ("TLSv1_1", r"^--ssl-version TLSv1_1: RFC 8996 .*--tls-min"),
        ("SSLv3", r"^--ssl-version SSLv3: RFC 8996 .*--tls-min"),
        (16, r"^--ssl-version 16: write --tls-min 1.2 or 1.3$"),
        ("x", r"^--ssl-version x: write --tls-min 1.2 or 1.3$"),
    ],
)
def test_an_ssl_version_that_cannot_be_had_says_what_to_write(given: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        lowest_version(given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"certfile": ["a", "b", "c"], "keyfile": ["a"]},
            "--keyfile is given once and --certfile 3 times: each --certfile has its --keyfile, in "
            "their order, or none has one and the keys are in the files of the certificates",
        ),
        ({"certfile": (), "keyfile": ["a"]}, "--keyfile needs --certfile"),
        ({"certfile": (), "keyfile_password": "x"}, "--keyfile-password needs --certfile"),
        ({"certfile": (), "ciphers": "HIGH"}, "--ciphers needs --certfile"),
        (
            {"certfile": (), "ca_certs": "a", "cert_reqs": "required"},
            "--ca-certs needs --certfile",
        ),
        (
            {"cert_reqs": "required"},
            "--cert-reqs required needs --ca-certs, a file of the authorities whose certificates "
            "clients may have",
        ),
        (
            {"ca_certs": "ca.pem"},
            "--ca-certs without --cert-reqs verifies nobody: add --cert-reqs optional or required; "
            "the certificates that lead to your own certificate's authority go into --certfile",
        ),
        (
            {"certfile": (), "bind": [":80", "https://:443"]},
            "--bind https://:443 needs --certfile, the certificate to show there",
        ),
        (
            {"bind": ["http://:80", "http://unix:/x"]},
            "--certfile is shown at no address, for each --bind begins with http://: leave that "
            "out, or add --bind https://:443",
        ),
        (
            {"certfile": (), "redirect_to_https": ["example.org"]},
            "--redirect-to-https needs an address that is served by TLS: add --certfile",
        ),
        (
            {"redirect_to_https": ["example.org"]},
            "--redirect-to-https needs an address to redirect from: add --bind http://:80",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tls(**options)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bind": ["http://:80", "unix:/x"]},
        {"certfile": ["a", "b"], "keyfile": "a.key, b.key"},
        {"keyfile_password": "file:/run/password", "ciphers": "ECDHE+AESGCM:!aNULL"},
        {"bind": ["https://:443", "http://:80"], "redirect_to_https": "example.org"},
        {"bind": ["fd://3", "http://fd://4"], "redirect_to_https": "a.b:8443,[::1]"},
        {"certfile": (), "bind": ["http://:80"]},
    ],
)
def test_what_goes_together(options: dict[str, Any]) -> None:
    tls(**options)


def test_hosts_that_may_be_redirected_to() -> None:
    assert parse_hosts(["Example.org", "a.example.org:8443", "[::1]:1", "127.0.0.1"]) == {
        "example.org": None,
        "a.example.org": 8443,
        "[::1]": 1,
        "127.0.0.1": None,
    }


@pytest.mark.parametrize(
    "host",
    [
        "https://example.org",
        "example.org/",
        "example.org:0",
        "example.org:65536",
        "*.example.org",
        "a b",
        "a\r\nb",
        "user@example.org",
        "::1",
        ":443",
    ],
)
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(ConfigError, match=r"^--redirect-to-https takes hosts such as "):
        Config(redirect_to_https=(host,))


def test_ciphers_are_words() -> None:
    with pytest.raises(ConfigError, match=r"^--ciphers takes a list of OpenSSL's such as "):
        tls(ciphers="HIGH;rm")


@pytest.mark.parametrize("password", ["hunter2", 5, "hun\0ter2"])
def test_a_password_is_in_no_error_and_no_repr(password: Any) -> None:
    """Either of them may end in a log."""
    try:
        shown = repr(tls(keyfile_password=password))
    except ConfigError as error:
        shown = str(error)
        assert shown == "--keyfile-password takes a password, or file:PATH"
    assert "password=" not in shown
    assert "hun" not in shown
