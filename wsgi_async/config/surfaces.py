"""What the operations process serves, by the options that have it do so, and where.

Any of them starts that process; it is one, however many there are.
"""

from __future__ import annotations

import enum
import ipaddress

from wsgi_async.errors import ConfigError
from wsgi_async.system.sockets import parse_address

from .metrics_address import metrics_address

__all__ = ["CONTROL_TAKES", "Surface", "check_dashboard", "control_address", "is_control_path"]

CONTROL_TAKES = "the path of a socket file such as /run/app/control.sock"

_DASHBOARD = "--dashboard-bind"


class Surface(enum.Enum):
    """What there may be to serve. The values are the options that ask for it."""

    METRICS = "metrics_bind"
    CONTROL = "control_socket"
    DASHBOARD = "dashboard_bind"

    @property
    def flag(self) -> str:
        return "--" + self.value.replace("_", "-")

    def address(self, text: str) -> str:
        """Where it listens, as :func:`~wsgi_async.system.sockets.bind` takes it.

        :param text: the value of the option.
        :raises ConfigError: it is none of those that the option takes.
        """
        if self is Surface.CONTROL:
            return control_address(text)
        return metrics_address(text, self.flag)


def control_address(text: str) -> str:
    """The address of a control socket: a file always, whose mode says who may connect.

    :param text: a path, also behind ``unix:``.
    :raises ConfigError: it is none.
    """
    path = text.removeprefix("unix:")
    if not path or path.startswith("@"):
        raise ConfigError(f"--control-socket takes {CONTROL_TAKES}, not {text!r}")
    parse_address(f"unix:{path}")  # for what is wrong with it
    return f"unix:{path}"


def is_control_path(text: str) -> bool:
    """Whether it can be one, or is empty."""
    try:
        return not text or bool(control_address(text))
    except ConfigError:
        return False


def check_dashboard(bind: str, token_file: str) -> None:
    """Refuse a dashboard that everybody in a network could look at.

    :param bind: the value of ``--dashboard-bind``.
    :param token_file: that of ``--dashboard-token-file``.
    :raises ConfigError: there is no token, and it would be elsewhere than on this machine.
    """
    if bind and not token_file and not _is_of_this_machine(bind):
        raise ConfigError(
            f"{_DASHBOARD} {bind} can be reached from elsewhere: give --dashboard-token-file, or "
            "an address of this machine alone, such as :9180"
        )


def _is_of_this_machine(bind: str) -> bool:
    address = parse_address(metrics_address(bind, _DASHBOARD))
    if address.path is not None:
        return True
    host = str(address.host)
    if host.lower() in ("localhost", "localhost."):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: where it leads to, somebody else says
        return False
