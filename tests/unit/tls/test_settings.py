"""From the options on TLS to what a connection is encrypted with."""

from __future__ import annotations

import ssl

from wsgi_async.config.options import Config
from wsgi_async.tls.settings import ClientCertificates, PairFiles, TLSSettings, tls_settings


def test_without_a_certificate_there_is_no_tls() -> None:
    assert tls_settings(Config()) is None
    assert tls_settings(Config(tls_min="1.3")) is None


def test_what_is_not_given_is_the_default() -> None:
    assert tls_settings(Config(certfile=("a.pem",))) == TLSSettings(
        pairs=(PairFiles("a.pem", None),),
        password=None,
        password_file=None,
        ca_certs=None,
        cert_reqs=ClientCertificates.NONE,
        ciphers=None,
        minimum=ssl.TLSVersion.TLSv1_2,
    )


def test_all_that_can_be_given() -> None:
    config = Config(
        certfile=("a.pem", "b.pem"),
        keyfile=("a.key", "b.key"),
        keyfile_password="hunter2",
        ca_certs="ca.pem",
        cert_reqs="required",
        ciphers="ECDHE+AESGCM",
        tls_min="1.3",
    )
    settings = tls_settings(config)
    assert settings == TLSSettings(
        pairs=(PairFiles("a.pem", "a.key"), PairFiles("b.pem", "b.key")),
        password="hunter2",
        password_file=None,
        ca_certs="ca.pem",
        cert_reqs=ClientCertificates.REQUIRED,
        ciphers="ECDHE+AESGCM",
        minimum=ssl.TLSVersion.TLSv1_3,
    )
    assert "hunter2" not in repr(settings)


def test_the_file_of_a_password_is_its_name() -> None:
    settings = tls_settings(Config(certfile=("a.pem",), keyfile_password="file:/run/p"))
    assert settings is not None
    assert (settings.password, settings.password_file) == (None, "/run/p")


def test_the_modes_are_those_of_ssl() -> None:
    assert [member.mode for member in ClientCertificates] == [
        ssl.CERT_NONE,
        ssl.CERT_OPTIONAL,
        ssl.CERT_REQUIRED,
    ]
