"""What is spoken on a listening socket, and how an address says so. Any thread."""

from __future__ import annotations

import enum
import re

__all__ = ["GATEWAYS", "Spoken", "scheme_of", "without_scheme"]


class Spoken(enum.Enum):
    """The protocol of the connections to a socket, by the name that options have for it."""

    HTTP = "http"
    """In the clear or in TLS."""
    UWSGI = "uwsgi"
    FASTCGI = "fastcgi"
    SCGI = "scgi"

    __hash__ = object.__hash__  # Enum's own is Python code

    @property
    def title(self) -> str:
        """Its name in a sentence."""
        return _TITLES[self]


_TITLES = {
    Spoken.HTTP: "HTTP",
    Spoken.UWSGI: "uwsgi",
    Spoken.FASTCGI: "FastCGI",
    Spoken.SCGI: "SCGI",
}

GATEWAYS = frozenset(Spoken) - {Spoken.HTTP}
"""Those in which a web server in front speaks of its clients, and whoever is heard is believed."""

_NAMES = "|".join(sorted(spoken.value for spoken in GATEWAYS))
_SCHEME = re.compile(rf"(https?|{_NAMES})://(?=.)|({_NAMES})\+(?=(?:unix|fd):)")


def scheme_of(text: str) -> str:
    """The scheme that an address begins with: ``https``, or the name of a protocol; "" where it
    does not say."""
    match = _SCHEME.match(text)
    return "" if match is None else match[1] or match[2]


def without_scheme(text: str) -> str:
    """The rest of the address."""
    match = _SCHEME.match(text)
    return text if match is None else text[match.end() :]
