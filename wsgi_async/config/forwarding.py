"""From the options on forwarded fields to what is done with them."""

from __future__ import annotations

from collections.abc import Iterable

from wsgi_async.errors import ConfigError
from wsgi_async.proxies.forwarding import Forwarding, Taken
from wsgi_async.proxies.trust import NEARBY, PeerSet

from .option import OFF

__all__ = ["BARE", "TAKEN", "believed", "goes_together", "make_forwarding", "taken"]

BARE = "for,proto"
"""What ``--proxy-headers`` alone means, and what is taken once an option is set by hand."""

UNASKED = ("proto",)
"""What is taken where neither is set: as gunicorn does. A plain nginx passes on the X-Forwarded-For
that a client has sent, so that one takes somebody's word."""

_FIELDS = ("for", "proto", "host", "port", "prefix")
TAKEN: dict[str, str] = {
    **{word: word for word in (*_FIELDS, "forwarded", OFF)},
    **{f"x-forwarded-{word}": word for word in _FIELDS},  # waitress names the fields
}
"""What ``--proxy-headers`` takes, and what each word means."""


def goes_together(words: tuple[str, ...]) -> bool:
    """Whether there is one of these words at least.

    :raises ConfigError: one of them excludes the others.
    """
    for alone in (OFF, Taken.FORWARDED.value):
        if alone in words and len(words) > 1:
            raise ConfigError(f"--proxy-headers: {alone} stands alone: leave it or the others out")
    return bool(words)


def believed(peers: tuple[str, ...] | None) -> tuple[str, ...]:
    """Whose word counts.

    :param peers: the value of ``forwarded_allow_ips``; None where it is not set.
    """
    return NEARBY if peers is None else peers


def taken(words: tuple[str, ...] | None, peers: tuple[str, ...] | None) -> tuple[str, ...]:
    """What is taken of them.

    :param words: the value of ``proxy_headers``; None where it is not set.
    :param peers: that of ``forwarded_allow_ips``, likewise.
    """
    if words is not None:
        return words
    return UNASKED if peers is None else tuple(BARE.split(","))


def make_forwarding(
    peers: tuple[str, ...] | None,
    words: tuple[str, ...] | None,
    scheme_fields: Iterable[str],
    forwarder_fields: Iterable[str],
) -> Forwarding:
    """What the four options come to.

    :param scheme_fields: ``NAME=VALUE`` of each field that says the scheme.
    :param forwarder_fields: names of the fields with an underscore that may come in.
    :raises ConfigError: one of them is wrong.
    """
    return Forwarding(
        PeerSet(believed(peers)),
        [Taken(word) for word in taken(words, peers) if word != OFF],
        secure_scheme_headers=scheme_fields,
        forwarder_headers=forwarder_fields,
    )
