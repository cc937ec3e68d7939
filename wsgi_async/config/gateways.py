"""Which options go together with the protocols of web servers in front: uwsgi, FastCGI, SCGI."""

from __future__ import annotations

from collections.abc import Sequence

from wsgi_async.errors import ConfigError
from wsgi_async.proxies.trust import PeerSet
from wsgi_async.system.spoken import GATEWAYS, Spoken, scheme_of

__all__ = ["check_introduced", "speak_to", "stderr_notices", "trust_notices"]

_GATEWAY_NAMES = {spoken.value for spoken in GATEWAYS}


def speak_to(addresses: Sequence[str], protocol: str) -> set[str]:
    """Which of these protocols are spoken, by their names; HTTP is none.

    :param addresses: the values of ``--bind``.
    :param protocol: that of ``--protocol``.
    """
    return _schemes(addresses, protocol) & _GATEWAY_NAMES


def check_introduced(addresses: Sequence[str], protocol: str) -> None:
    """Where ``--proxy-protocol`` is given.

    :raises ConfigError: there is no address for it.
    """
    if _schemes(addresses, protocol) <= _GATEWAY_NAMES:
        raise ConfigError(
            "--proxy-protocol is for HTTP, and no --bind speaks that: leave it out, for the web "
            "server in front says in each request who its client is"
        )


def trust_notices(
    addresses: Sequence[str], protocol: str, allowed: tuple[str, ...], *, is_given: bool
) -> tuple[str, ...]:
    """What to say of ``--uwsgi-allow-from``, in a line or none.

    :param is_given: whether it was set by hand.
    """
    if not speak_to(addresses, protocol):
        if not is_given:
            return ()
        return (
            "--uwsgi-allow-from is of no use here: no --bind speaks uwsgi, FastCGI or SCGI; see "
            "--protocol",
        )
    if PeerSet(allowed, flag="--uwsgi-allow-from").everyone:
        return (
            "--uwsgi-allow-from lets everybody say who a client is, REMOTE_USER included: name the "
            "addresses of your web servers, unless nobody else can reach this port",
        )
    return ()


def stderr_notices(addresses: Sequence[str], protocol: str) -> tuple[str, ...]:
    """What to say of ``--fastcgi-stderr``, in a line or none, where it is given."""
    if Spoken.FASTCGI.value in _schemes(addresses, protocol):
        return ()
    return ("--fastcgi-stderr is of no use here: no --bind speaks FastCGI; see --protocol",)


def _schemes(addresses: Sequence[str], protocol: str) -> set[str]:
    return {scheme_of(address) or protocol for address in addresses or ("",)}
