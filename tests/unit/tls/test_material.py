"""The bytes of certificates and keys: read once, handed on, shown nowhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wsgi_async.errors import ConfigError
from wsgi_async.tls.material import Material, PairBytes, read_material
from wsgi_async.tls.settings import PairFiles, TLSSettings

MATERIALS = [
    Material((PairBytes(b"certificate", None),)),
    Material((PairBytes(b"certificate", b"key"),), "", b""),
    Material((PairBytes(b"", b""), PairBytes(b"c" * 70000, None)), "Paßwort", b"authorities"),
]


@pytest.mark.parametrize("material", MATERIALS)
def test_it_survives_its_way_to_another_process(material: Material) -> None:
    assert Material.from_bytes(material.to_bytes()) == material


@pytest.mark.parametrize("material", MATERIALS)
def test_what_is_cut_is_no_material(material: Material) -> None:
    # Where whole pairs are missing nothing is cut: how many there are the settings know.
    data = material.to_bytes()
    for size in range(min(len(data), 60)):
        try:
            less = Material.from_bytes(data[:size])
        except ValueError:
            continue
        assert less != material


def test_no_text_of_it_shows_a_key() -> None:
    material = Material((PairBytes(b"certificate", b"SECRET"),), "SECRET", None)
    assert "SECRET" not in f"{material} {material!r} {material.pairs[0]!r}"


def test_files_are_read(tmp_path: Path) -> None:
    for name in ("cert", "key", "ca", "both"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "password").write_bytes("Paßwort\nmore\n".encode())
    settings = TLSSettings(
        pairs=(
            PairFiles(f"{tmp_path}/cert", f"{tmp_path}/key"),
            PairFiles(f"{tmp_path}/both"),
        ),
        password_file=f"{tmp_path}/password",
        ca_certs=f"{tmp_path}/ca",
    )
    pairs = (PairBytes(b"cert", b"key"), PairBytes(b"both", None))
    assert read_material(settings) == Material(pairs, "Paßwort", b"ca")


def test_a_file_that_cannot_be_read_is_named_with_its_option(tmp_path: Path) -> None:
    cert = tmp_path / "cert"
    cert.write_bytes(b"cert")
    missing = f"{tmp_path}/missing"
    os.mkfifo(tmp_path / "pipe")
    for settings, line in (
        (TLSSettings(pairs=(PairFiles(missing),)), f"--certfile {missing}: No such file"),
        (TLSSettings(pairs=(PairFiles(str(cert), missing),)), f"--keyfile {missing}: No such file"),
        (
            TLSSettings(pairs=(PairFiles(str(cert)),), ca_certs=f"{tmp_path}/pipe"),
            f"--ca-certs {tmp_path}/pipe: it is a pipe",
        ),
        (
            TLSSettings(pairs=(PairFiles(str(cert)),), password_file=str(tmp_path)),
            f"--keyfile-password {tmp_path}: Is a directory",
        ),
    ):
        with pytest.raises(ConfigError) as caught:
            read_material(settings)
        assert str(caught.value).startswith(line)
        assert "\n" not in str(caught.value)
