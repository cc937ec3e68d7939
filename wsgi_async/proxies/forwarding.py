"""What is taken of the fields that proxies add, and from whom. Any thread.

Only what is used is judged: a field that no option names may say anything, and so may an entry of a
list that is further away than the hop that was chosen, as it is its client's word.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from wsgi_async.errors import HTTPError
from wsgi_async.http.bounded_cache import BoundedCache
from wsgi_async.http.origin import Origin
from wsgi_async.http.request import RequestHead

from .forwarded import read_forwarded
from .named import NamedFields
from .nodes import Node, read_node
from .schemes import SECURE_SCHEME_HEADERS, SchemeField, scheme_fields
from .trust import PeerSet
from .x_forwarded import MOST_HOPS, read_host, read_list, read_port, read_prefix, read_scheme

__all__ = ["FORWARDER_HEADERS", "Forwarding", "Taken"]

FORWARDER_HEADERS = ("SCRIPT_NAME", "PATH_INFO")
"""gunicorn's default."""


class Taken(enum.Enum):
    """What may be taken from a believed peer."""

    FOR = "for"
    PROTO = "proto"
    HOST = "host"
    PORT = "port"
    PREFIX = "prefix"
    FORWARDED = "forwarded"
    """The client, the scheme and the host from Forwarded (RFC 7239), and no X-Forwarded-*."""

    __hash__ = object.__hash__  # Enum's own is Python code


_KEYS = {
    Taken.FOR: "HTTP_X_FORWARDED_FOR",
    Taken.HOST: "HTTP_X_FORWARDED_HOST",
    Taken.PORT: "HTTP_X_FORWARDED_PORT",
    Taken.PREFIX: "HTTP_X_FORWARDED_PREFIX",
    Taken.FORWARDED: "HTTP_FORWARDED",
}
"""Where it is in a head's variables. The scheme has fields of the operator's choice."""

_DEFAULT_PORTS = {"http": "80", "https": "443"}

_MAX_KEPT_SIZE = 512
_MAX_NAMES_SIZE = 2048


Values = tuple[str | None, ...]
"""What the fields say, in the order of their keys; None or empty where there is none."""


class _Hop(NamedTuple):
    """The place of the client in a list of hops."""

    place: int
    """Its index."""
    size: int
    """Entries in the list."""
    node: Node | None
    """Who it is; None where nobody but the peer is known."""


class Forwarding:
    """The options on forwarded fields. Made once; a head is read by :meth:`origin`.

    :param peers: who is believed.
    :param taken: what is taken from them; nothing at all is *off*: then nobody is believed in
        anything.
    :param secure_scheme_headers: gunicorn's: ``NAME=VALUE`` of fields, with the value by which each
        says https. Where ``proto`` is taken the scheme comes from these.
    :param forwarder_headers: gunicorn's: names with an underscore that may come from believed
        peers, whatever is `taken`; see :class:`.NamedFields`.
    :raises ConfigError: a name that no field has, or one that may not be given here.

    **The client** is found in X-Forwarded-For (or in the elements of Forwarded) from the right:
    each entry is who spoke to the proxy that wrote it, and counts as long as that proxy is
    believed. So the client is the first that is not believed, or the leftmost where all are, of the
    nearest :data:`.MOST_HOPS`. Where `peers` has everyone in it, only the rightmost counts: the
    others are the client's own word.

    An entry that names nobody (``unknown``, ``_hidden``, text that is no address) ends the walk: it
    is the client, without an address. REMOTE_ADDR is then what is known for sure: the believed
    proxy that wrote the entry, which is the peer itself where that entry is the rightmost. It is
    never the text: what rests on REMOTE_ADDR (limits, lists of addresses, logs) could be misled by
    it.

    **Scheme, host, port and prefix** are those of the hop so chosen where their list has as many
    entries as that of the hops, else the rightmost: that is the nearest proxy's word, and the only
    one where there is but one. In Forwarded an element may lack one of them; then the next one
    towards this server that has it says it.

    Values are judged as proxies of trust are to be held to them: a scheme that is neither http nor
    https (nor ws or wss), a host that no Host field may be, a port that is none, a prefix that is
    no path, scheme fields that disagree, and a Forwarded that is not of its grammar are a 400. To
    guess on would be to answer with the wrong links, or for ever with a redirect; gunicorn has http
    for an unknown scheme, waitress a 400. Fields that are empty count as absent.

    **SERVER_PORT** is that of the port's field, else that of the forwarded host, else the scheme's
    own where a host was forwarded. The port also goes behind HTTP_HOST, but for the scheme's own,
    as links are made of it.
    """

    __slots__ = (
        "_copies",
        "_copies_of",
        "_keys",
        "_lists",
        "_named",
        "_needs_host",
        "_origins",
        "_scheme_fields",
        "peers",
    )

    peers: PeerSet
    """Who is believed."""

    def __init__(
        self,
        peers: PeerSet,
        taken: Iterable[Taken],
        *,
        secure_scheme_headers: Iterable[str] = SECURE_SCHEME_HEADERS,
        forwarder_headers: Iterable[str] = FORWARDER_HEADERS,
    ) -> None:
        self.peers = peers
        taken = frozenset(taken)
        fields = scheme_fields(secure_scheme_headers)
        named = NamedFields(forwarder_headers, (field.key for field in fields))
        self._named = named if taken else NamedFields(())
        # What is looked up, and in this order: lists, then the scheme's fields.
        self._lists = tuple(word for word in _KEYS if word in taken)
        self._scheme_fields: tuple[SchemeField, ...] = fields if Taken.PROTO in taken else ()
        keys = [_KEYS[word] for word in self._lists]
        self._keys = (*keys, *(field.key for field in self._scheme_fields))
        self._needs_host = Taken.PORT in taken
        self._copies = frozenset({"HTTP_FORWARDED", "HTTP_X_FORWARDED"}).union(
            (field.key for field in fields), named.keys
        )
        self._copies_of: BoundedCache[tuple[str, ...], tuple[str, ...]] = BoundedCache(256)
        self._origins: BoundedCache[tuple[str | None, ...], Origin] = BoundedCache(1024)

    @property
    def keys(self) -> frozenset[str]:
        """The keys in a head's variables that :meth:`origin` reads. Names with an underscore are
        not among the variables, and so not among these."""
        return frozenset(self._keys)

    def origin(self, head: RequestHead, scheme: str = "http") -> Origin | None:
        """What the head of a request says of where it comes from.

        :param head: from one of :attr:`peers`.
        :param scheme: that of the connection.
        :returns: None where the connection's own facts hold; that is found out by a look-up for
            each of :attr:`keys`.
        :raises HTTPError: 400, see above.
        """
        variables = head.variables
        values = tuple(map(variables.get, self._keys))
        origin = None
        if any(values):
            own_host = variables.get("HTTP_HOST") if self._needs_host else None
            key = (scheme, own_host, *values)
            origin = self._origins.get(key)
            if origin is None:
                origin = self._read(head, scheme, own_host, values, key)
        if head.drops and self._named.keys:
            return self._named.add(head.fields, origin)
        return origin

    def copies(self, head: RequestHead) -> tuple[str, ...]:
        """The keys of a head's variables by which somebody could be misled who believes what no
        believed peer has said: X-Forwarded-*, Forwarded, and the fields that options name. To be
        taken out of the environ where the peer is not believed and one of the options was set by
        hand."""
        names = tuple(head.variables)
        copies = self._copies_of.get(names)
        if copies is None:
            copies = tuple(
                key for key in names if key in self._copies or key.startswith("HTTP_X_FORWARDED_")
            )
            if sum(map(len, names)) <= _MAX_NAMES_SIZE:
                self._copies_of.keep(names, copies)
        return copies

    def _read(
        self,
        head: RequestHead,
        scheme: str,
        own_host: str | None,
        values: Values,
        key: tuple[str | None, ...],
    ) -> Origin:
        if self._lists == (Taken.FORWARDED,):
            value = values[0] or ""
            if "," in value and '"' in value:
                # Perhaps several lines: joined, a quote in one could hide the next. So each is read
                # by itself, and what has been joined is no key.
                return self._by_forwarded(_lines_of(head, "forwarded"), scheme)
            origin = self._by_forwarded([value], scheme)
        else:
            origin = self._by_x_forwarded(values, own_host, scheme)
        if sum(len(part) for part in key if part) <= _MAX_KEPT_SIZE:
            self._origins.keep(key, origin)
        return origin

    def _by_forwarded(self, lines: Sequence[str], scheme: str) -> Origin:
        elements = read_forwarded(lines)[-MOST_HOPS:]
        hop = self._walk([element.get("for", "") for element in elements])
        start = hop.place if hop is not None else 0
        told: dict[str, str] = {}
        for element in reversed(elements[start:]):
            told |= {name: value for name, value in element.items() if value}
        proto, host = told.get("proto"), told.get("host")
        return _origin(
            scheme,
            hop,
            scheme=None if proto is None else read_scheme(proto, "The proto of Forwarded"),
            host=None if host is None else read_host(host, "The host of Forwarded"),
        )

    def _by_x_forwarded(self, values: Values, own_host: str | None, scheme: str) -> Origin:
        count = len(self._lists)
        lists = {
            taken: read_list(value)
            for taken, value in zip(self._lists, values[:count], strict=True)
            if value
        }
        hop = self._walk(lists.get(Taken.FOR, ()))
        host = _chosen(lists.get(Taken.HOST, ()), hop)
        port = _chosen(lists.get(Taken.PORT, ()), hop)
        prefix = _chosen(lists.get(Taken.PREFIX, ()), hop)
        return _origin(
            scheme,
            hop,
            scheme=self._scheme(values[count:], hop),
            host=None if host is None else read_host(host, "X-Forwarded-Host"),
            port=None if port is None else read_port(port, "X-Forwarded-Port"),
            own_host=own_host,
            prefix=None if prefix is None else read_prefix(prefix, "X-Forwarded-Prefix"),
        )

    def _scheme(self, values: Values, hop: _Hop | None) -> str | None:
        said = set()
        for field, value in zip(self._scheme_fields, values, strict=True):
            if not value:
                continue
            entries = [value] if field.is_secure(value) else read_list(value)
            entry = _chosen(entries, hop)
            if entry is not None:
                said.add(field.read(entry))
        if len(said) > 1:
            raise HTTPError(400, "The fields that say the scheme disagree")
        return said.pop() if said else None

    def _walk(self, entries: Sequence[str]) -> _Hop | None:
        """From the nearest hop to the client."""
        node: Node | None = None
        place = len(entries)
        while place:
            place -= 1
            further = read_node(entries[place])
            if further is None:
                break
            node = further
            if self.peers.everyone or not self.peers.has(node.address):
                break
        return _Hop(place, len(entries), node) if entries else None


def _lines_of(head: RequestHead, name: str) -> list[str]:
    return [value for field, value in head.fields if field.lower() == name]


def _chosen(entries: Sequence[str], hop: _Hop | None) -> str | None:
    """The entry of the hop, or of the nearest proxy; None where there is none."""
    if not entries:
        return None
    return entries[hop.place if hop is not None and len(entries) == hop.size else -1]


def _origin(
    connection_scheme: str,
    hop: _Hop | None,
    *,
    scheme: str | None,
    host: str | None,
    port: str | None = None,
    own_host: str | None = None,
    prefix: str | None = None,
) -> Origin:
    node = hop.node if hop is not None else None
    default_port = _DEFAULT_PORTS[scheme or connection_scheme]
    if port is not None:
        host = host or own_host
        if host is not None:
            bare = _without_port(host)[0]
            host = bare if port == default_port else f"{bare}:{port}"
    elif host is not None:
        told = _without_port(host)[1]
        port = read_port(told, "The port of the forwarded host") if told else default_port
    return Origin(
        remote_addr=None if node is None else str(node.address or ""),
        remote_port=None if node is None else node.port,
        scheme=scheme,
        host=host,
        server_port=port,
        prefix=prefix,
    )


def _without_port(host: str) -> tuple[str, str]:
    if host[-1] == "]":
        return host, ""
    bare, colon, port = host.rpartition(":")
    return (bare, port) if colon else (host, "")
