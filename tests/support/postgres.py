"""A PostgreSQL of the test's own, on a unix socket in a directory of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rawclient import TIMEOUT
from tools import require_program

__all__ = ["database"]

DEBIAN = Path("/usr/lib/postgresql")
USERS = ("postgres", "nobody")
"""As whom it may run: it refuses to be root."""

QUICK = ("fsync=off", "listen_addresses=", "shared_buffers=16MB", "max_connections=20")


@contextlib.contextmanager
def database() -> Iterator[str]:
    """It runs within the block; a test skips by name where it is not installed.

    :returns: what ``psycopg.connect`` takes.
    """
    server = _program("postgres")
    with tempfile.TemporaryDirectory(prefix="pg-") as place:  # a socket's path must be short
        directory = Path(place) / "data"
        directory.mkdir(mode=0o700)
        account = _account()
        as_whom: dict[str, Any] = {"cwd": place, "env": {**os.environ, "LC_ALL": "C"}}
        if account is not None:
            os.chown(place, account.pw_uid, account.pw_gid)
            os.chown(directory, account.pw_uid, account.pw_gid)
            as_whom |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": ()}
        made = subprocess.run(
            [_program("initdb"), "-D", directory, "-U", "test", "-A", "trust", "--no-sync"],
            capture_output=True,
            text=True,
            timeout=2 * TIMEOUT,
            **as_whom,
        )
        assert made.returncode == 0, made.stderr
        options = [word for option in QUICK for word in ("-c", option)]
        process = subprocess.Popen(
            [server, "-D", directory, "-k", place, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            **as_whom,
        )
        assert process.stderr is not None
        try:
            said = ""
            while "ready to accept connections" not in said:
                line = process.stderr.readline()
                assert line, said
                said += line
            yield f"host={place} user=test dbname=postgres"
        finally:
            process.send_signal(signal.SIGINT)  # a fast shutdown: it ends what its clients do
            try:
                process.communicate(timeout=TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def _program(name: str) -> str:
    """Debian has several versions beside each other, and none in the PATH."""
    for found in sorted(DEBIAN.glob(f"*/bin/{name}"), reverse=True):
        return str(found)
    return shutil.which(name) or require_program(name)


def _account() -> pwd.struct_passwd | None:
    """As whom it is to run, where this is root."""
    if os.geteuid() != 0:
        return None
    for name in USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError(f"there is no user of {USERS}")
