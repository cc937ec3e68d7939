"""One certificate for all servers of a run: EC P-256, signed by itself, for 127.0.0.1."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

__all__ = ["CERTIFICATE", "KEY", "NoCertificate", "copy", "make"]

CERTIFICATE = "certificate.pem"
KEY = "key.pem"
"""Names in the directory in which the servers are started; their options in servers.toml have them.
The key is PKCS #8, the only form that each of them reads."""
DAYS = 30


class NoCertificate(Exception):
    """It cannot be made; the message says why."""


def make(directory: Path) -> None:
    """Make both files, by the program openssl.

    :raises NoCertificate: it is not there, or failed.
    """
    program = shutil.which("openssl")
    if program is None:
        raise NoCertificate("scenarios over TLS need openssl (Debian: apt-get install openssl)")
    command = [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", str(DAYS), "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-keyout", KEY, "-out", CERTIFICATE]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    if done.returncode != 0:
        raise NoCertificate(f"openssl made no certificate: {done.stderr.strip()[-200:]}")


def copy(source: Path, target: Path) -> None:
    """Give another directory the same pair, where there is one."""
    for name in (CERTIFICATE, KEY):
        if (source / name).is_file():
            shutil.copy(source / name, target / name)
