"""What a service manager and its service tell each other: sd_listen_fds(3) and sd_notify(3).

No library of systemd's is needed: sockets arrive as descriptors from 3 on, counted by two
variables, and the answers are lines in one datagram each. Other managers speak the same protocol
(s6-fdholder, catflap and podman the first half, supervisord-like ones the second).
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from collections.abc import Mapping

from wsgi_async.errors import ConfigError

from .spoken import Spoken

__all__ = ["VARIABLES", "Notifier", "inherited_sockets"]

VARIABLES = frozenset(
    {
        "LISTEN_FDNAMES",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_PIDFDID",
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
    }
)
"""What is meant for the main process alone. An application that saw NOTIFY_SOCKET could report
the service ready or gone; one that saw the rest would take other descriptors for sockets."""

_FIRST_DESCRIPTOR = 3
_SCHEMES = ("https", *(spoken.value for spoken in Spoken))
# "0", a sign, a blank or another script's digits are not what a manager writes; int() takes them.
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")


def inherited_sockets(environ: Mapping[str, str], *, pid: int | None = None) -> tuple[str, ...]:
    """The bind addresses of the sockets that a manager passed: ``fd://3``, ``fd://4``, ...

    Of one that has the name ``http`` or ``https``, ``uwsgi``, ``fastcgi`` or ``scgi``
    (``FileDescriptorName=`` in its unit) that is the scheme: units may pass them in any order.

    Nothing where there are none, or where they are another process's: LISTEN_PID names the one
    they are for, and a child of it inherits the variables (sd_listen_fds(3)).

    :param pid: default this process's.
    :raises ConfigError: where LISTEN_FDS is no number.
    """
    if environ.get("LISTEN_PID") != str(os.getpid() if pid is None else pid):
        return ()
    text = environ.get("LISTEN_FDS", "0")
    if text == "0":
        return ()
    # Nobody passes a million sockets; a typing error must not make as many addresses.
    if not _NUMBER.fullmatch(text) or len(text) > 5:
        raise ConfigError(f"$LISTEN_FDS is the number of sockets passed, not {text!r}")
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    addresses = (f"fd://{_FIRST_DESCRIPTOR + number}" for number in range(int(text)))
    return tuple(
        f"{name}://{address}" if name in _SCHEMES else address
        for address, name in zip(addresses, [*names, *[""] * int(text)], strict=False)
    )


class Notifier:
    """Tells the manager how the service is; without NOTIFY_SOCKET, nobody (sd_notify(3)).

    Every method sends one datagram and returns whether it was taken. None raises or waits: a
    manager that is stuck must not stop the service. Any process may have a copy; unless the unit
    says ``NotifyAccess=all`` the manager believes its main process only. Any thread.

    :param environ: a mapping such as ``os.environ``, read now and not kept.
    :param pid: default this process's.
    """

    def __init__(self, environ: Mapping[str, str], *, pid: int | None = None) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self.watchdog_interval = _watchdog_interval(environ, os.getpid() if pid is None else pid)
        """Seconds from one :meth:`watchdog` to the next, or None where nobody waits for them:
        half of what the manager waits (sd_watchdog_enabled(3)). It kills a service that is late."""

    def ready(self, status: str = "") -> bool:
        """The service has started, or has reloaded: its sockets are served.

        :param status: what ``systemctl status`` shows, one line; empty for nothing new.
        """
        return self._send("READY=1", _status(status))

    def reloading(self, status: str = "") -> bool:
        """It has begun to reload; :meth:`ready` says that it has done so.

        The time is what ``Type=notify-reload`` (systemd 253) tells this reload by from an earlier
        one: CLOCK_MONOTONIC, which is what time.monotonic_ns() reads on Linux.
        """
        now = time.monotonic_ns() // 1000
        return self._send("RELOADING=1", f"MONOTONIC_USEC={now}", _status(status))

    def stopping(self, status: str = "") -> bool:
        """It has begun to stop."""
        return self._send("STOPPING=1", _status(status))

    def watchdog(self) -> bool:
        """It is alive."""
        return self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> bool:
        if self._address is None:
            return False
        message = "\n".join(filter(None, lines)).encode("utf-8", "backslashreplace")
        # A socket for each message, as in sd_notify(3) itself: none is held, none is inherited.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
        ):
            sock.setblocking(False)
            sock.sendto(message, self._address)
            return True
        return False


def _address(text: str) -> bytes | None:
    """The socket's path or, from ``@NAME``, its abstract name; None for anything else.

    ``vsock:CID:PORT`` reaches from a virtual machine to its host, which is the business of the
    manager within.
    """
    if not text.startswith(("/", "@")) or len(text) < 2 or not hasattr(socket, "AF_UNIX"):
        return None
    path = os.fsencode(text)
    return b"\0" + path[1:] if path.startswith(b"@") else path


def _status(text: str) -> str:
    # A line is an assignment: a status that has two would be one of something else.
    line = re.sub(r"[\x00-\x1f\x7f]+", " ", text)
    return f"STATUS={line}" if line else ""


def _watchdog_interval(environ: Mapping[str, str], pid: int) -> float | None:
    text = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid) or not _NUMBER.fullmatch(text):
        return None
    return int(text) / 2e6
