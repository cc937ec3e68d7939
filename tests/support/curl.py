"""The program curl, and what it tells of its work."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from certificates import certificate_of_authority
from rawclient import TIMEOUT
from tools import require_program

__all__ = ["Curl", "curl"]


class Curl(NamedTuple):
    code: int
    out: bytes
    seen: list[str]
    """Lines of the heads that curl received."""
    facts: dict[str, str]
    """What ``--write-out`` told of the last transfer."""
    told: str
    """All that it said of its work."""


def curl(*args: str | Path, stdin: bytes = b"") -> Curl:
    """Run curl without its configuration; ``-q`` has to be the first. It trusts the authority of
    the tests, unless `args` have another ``--cacert``."""
    program = require_program("curl")
    facts = ["http_code", "http_version", "num_connects", "size_upload", "remote_ip"]
    show = "%{stderr}\n" + "".join(f"fact {name}=%{{{name}}}\n" for name in facts)
    done = subprocess.run(
        [
            *(program, "-q", "-sv", "--noproxy", "*", "-m", str(TIMEOUT), "-w", show),
            *("--cacert", str(certificate_of_authority()), *args),
        ],
        input=stdin,
        capture_output=True,
        timeout=2 * TIMEOUT,
        check=False,
    )
    told = done.stderr.decode("latin-1")
    return Curl(
        done.returncode,
        done.stdout,
        re.findall(r"^< (.*?)\r?$", told, re.MULTILINE),
        dict(re.findall(r"^fact (\w+)=(.*)$", told, re.MULTILINE)),
        told,
    )
