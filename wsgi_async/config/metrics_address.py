"""Where ``--metrics-bind`` and ``--dashboard-bind`` listen: an address like those of ``--bind``,
with less of the world."""

from __future__ import annotations

from wsgi_async.errors import ConfigError
from wsgi_async.system.sockets import parse_address

__all__ = ["TAKES", "is_metrics_address", "metrics_address", "other_address"]

TAKES = (
    "one address, without https://: HOST:PORT, :PORT (this machine alone), [V6]:PORT, unix:PATH or "
    "unix:@NAME"
)

_NO_PORT = -1


def metrics_address(text: str, flag: str = "--metrics-bind") -> str:
    """The address as :func:`~wsgi_async.system.sockets.bind` takes it. A port alone is one of this
    machine: what a server tells of itself is for nobody who was not named.

    :param text: see :data:`TAKES`.
    :param flag: the option that has it.
    :raises ConfigError: it is none of these.
    """
    address = parse_address(text, _NO_PORT)
    if address.scheme or address.descriptor is not None or address.port == _NO_PORT:
        raise ConfigError(f"{flag} takes {TAKES}, not {text!r}")
    return f"localhost{text}" if text.startswith(":") else text


def is_metrics_address(text: str) -> bool:
    """Whether it can be read, or is empty."""
    try:
        return not text or bool(metrics_address(text))
    except ConfigError:
        return False


def other_address(host: str | None, port: str | None) -> str:
    """What granian's ``--metrics-address`` and ``--metrics-port`` come to, with its defaults."""
    host = host or "127.0.0.1"
    return f"[{host}]:{port or 9090}" if ":" in host else f"{host}:{port or 9090}"
