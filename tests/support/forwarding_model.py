"""What forwarded fields mean, a second time: from the prose, by other means than the package."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import takewhile
from urllib.parse import unquote

__all__ = ["Refused", "told"]

Fields = Sequence[tuple[str, str]]
Told = dict[str, object]
Hop = dict[str, str]


class Refused(Exception):
    """The request is a 400."""


MAPPED = 0xFFFF << 32
ALL_OF_IPV4 = (MAPPED, MAPPED + 0xFFFFFFFF)


def number(address: str) -> int | None:
    """Any address as a number of IPv6, IPv4 in its mapped form; None where it is none."""
    bare, percent, zone = address.partition("%")
    if percent and not (":" in bare and re.fullmatch(r"[\w.~-]+", zone, re.ASCII)):
        return None
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        return None
    return int(found) + (MAPPED if found.version == 4 else 0)


class Peers:
    """Ranges of numbers."""

    def __init__(self, entries: Iterable[str]) -> None:
        entries = list(entries)
        self.all = "*" in entries
        self.unix = self.all or "unix" in entries
        self.ranges = []
        for entry in entries:
            if entry in ("*", "unix"):
                continue
            address, _, bits = entry.partition("/")
            first = number(address)
            assert first is not None
            width = 32 if ALL_OF_IPV4[0] <= first <= ALL_OF_IPV4[1] and "." in address else 128
            free = width - int(bits) if bits else 0
            self.ranges.append((first, first + 2**free - 1))
        self.everyone = self.all or any(
            last - first + 1 in (2**32, 2**128) for first, last in self.ranges
        )

    def believes(self, address: str) -> bool:
        if self.all or not address:
            return self.unix
        place = number(address)
        if place is None:
            return False
        ipv4 = ALL_OF_IPV4[0] <= place <= ALL_OF_IPV4[1]
        return any(
            first <= place <= last and ipv4 == (ALL_OF_IPV4[0] <= first <= ALL_OF_IPV4[1])
            for first, last in self.ranges
        )


OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
NODE = re.compile(
    rf"(?P<unix>unix:)|(?:(?P<four>{OCTET}(?:\.{OCTET}){{3}})|\[(?P<six>[^\[\]]*:[^\[\]]*)\])"
    r"(?::(?:(?P<port>\d{1,5})|_[\w.-]+))?|(?P<bare>[^\[\]]*:[^\[\]]*:[^\[\]]*)",
    re.ASCII,
)


def who(entry: str) -> tuple[str, str] | None:
    """Address and port."""
    match = NODE.fullmatch(entry)
    if match is None:
        return None
    if match["unix"]:
        return "", ""
    if int(match["port"] or 0) > 65535:
        return None
    port = str(int(match["port"])) if match["port"] else ""
    if match["four"]:
        return match["four"], port
    place = number(text := match["six"] or match["bare"])
    if place is None:
        return None
    if ALL_OF_IPV4[0] <= place <= ALL_OF_IPV4[1]:
        return str(ipaddress.IPv4Address(place - MAPPED)), port
    _, percent, zone = text.partition("%")
    return str(ipaddress.IPv6Address(place)) + percent + zone, port


def client(entries: Sequence[str], peers: Peers) -> tuple[int, tuple[str, str] | None]:
    """The place of the client among the hops, and what is known of it."""
    nearest_first = [who(entry) for entry in reversed(entries)]
    believed = 0
    if not peers.everyone:
        believed = len(
            list(takewhile(lambda hop: hop is not None and peers.believes(hop[0]), nearest_first))
        )
    steps = min(believed, len(entries) - 1)
    found = nearest_first[steps]
    if found is None and steps:
        found = nearest_first[steps - 1]
    return len(entries) - 1 - steps, found


TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
QUOTED = r'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[^\x00-\x08\x0a-\x1f\x7f])*"'
PAIR = rf"{TOKEN}=(?:{TOKEN}|{QUOTED})"
ELEMENT = rf"(?:{PAIR})?(?:[ \t]*;[ \t]*(?:{PAIR})?)*"
LINE = re.compile(rf"[ \t]*{ELEMENT}(?:[ \t]*,[ \t]*{ELEMENT})*[ \t]*")


def elements_of(lines: Iterable[str]) -> list[Hop]:
    elements = []
    for line in lines:
        if not LINE.fullmatch(line):
            raise Refused("grammar")
        parts: list[list[str]] = [[]]
        for part in re.findall(rf"{PAIR}|[,;]", line):
            if part == ",":
                parts.append([])
            else:
                parts[-1].append(part)
        for element in parts:
            pairs = [pair.split("=", 1) for pair in element if pair != ";"]
            names = [name.lower() for name, _ in pairs]
            if len(set(names)) < len(names):
                raise Refused("twice")
            if element:
                values = [
                    re.sub(r"\\(.)", r"\1", value[1:-1]) if value[0] == '"' else value
                    for _, value in pairs
                ]
                elements.append(dict(zip(names, values, strict=True)))
    return elements


def entries_of(value: str) -> list[str]:
    found = re.findall(r"[^,]+", value)
    stripped = [entry.strip(" \t") for entry in found]
    return [re.sub(r'^"(.*)"$', lambda m: m[1].strip(" \t"), e) for e in stripped if e]


def scheme_of(entry: str) -> str:
    if not re.fullmatch(r"(?:http|ws)s?", entry, re.IGNORECASE | re.ASCII):
        raise Refused("scheme")
    return "https" if entry[-1] in "sS" and entry.lower() != "ws" else "http"


def host_of(entry: str) -> tuple[str, str]:
    match = re.fullmatch(
        r"(\[([0-9A-Fa-f:.]+)\]|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::(\d{0,5}))?",
        entry,
        re.ASCII,
    )
    if match is None or (match[2] is not None and number(match[2]) is None):
        raise Refused("host")
    if match[2] is not None and ":" not in match[2]:
        raise Refused("host")
    return match[1], match[3] or ""


def port_of(entry: str) -> str:
    if not re.fullmatch(r"[0-9]{1,5}", entry) or int(entry) not in range(1, 65536):
        raise Refused("port")
    return str(int(entry))


def path_of(entry: str) -> str:
    path = unquote(entry, "latin-1")
    for text in (entry, path):
        segments = text.split("/")
        if segments[0] or len(segments) < 2:
            raise Refused("path")
        if any(segment in ("", ".", "..") for segment in segments[1:-1]):
            raise Refused("path")
        if segments[-1] in (".", "..") or re.search(r"[\x00-\x1f\x7f\\]", text):
            raise Refused("path")
    if re.search(r"[ ?#]", entry):
        raise Refused("path")
    return path[:-1] if path[-1] == "/" else path


def told(
    fields: Fields,
    *,
    taken: Iterable[str],
    peers: Iterable[str],
    secure: Mapping[str, str],
    named: Iterable[str],
    scheme: str,
) -> Told:
    """What a believed peer has said by `fields` (all of the head): attributes of an origin.

    :raises Refused: it is a 400.
    """
    taken = set(taken)
    if taken == {"off"}:
        return {}
    trusted = Peers(peers)
    lines: dict[str, list[str]] = {}
    for name, value in fields:
        lines.setdefault(name.lower(), []).append(value)

    def values(name: str) -> list[str]:
        return entries_of(",".join(lines.get(name, [])))

    found: Told = {}
    hops: list[str] = []
    place = 0
    host: str | None = None
    if "forwarded" in taken:
        elements = elements_of(lines.get("forwarded", []))
        hops = [element.get("for", "") for element in elements]
        if hops:
            place, address = client(hops, trusted)
            found |= _remote(address)
            on_the_way = elements[place:]
            protos = [element["proto"] for element in on_the_way if element.get("proto")]
            hosts = [element["host"] for element in on_the_way if element.get("host")]
            if protos:
                found["scheme"] = scheme_of(protos[0])
            host = hosts[0] if hosts else None
    else:
        hops = values("x-forwarded-for") if "for" in taken else []
        if hops:
            place, address = client(hops, trusted)
            found |= _remote(address)

        def one_of(entries: list[str]) -> str | None:
            if entries and len(entries) == len(hops):
                return entries[place]
            return entries[-1] if entries else None

        if "proto" in taken:
            schemes = [
                _by_field(",".join(lines[name.lower()]), word, one_of)
                for name, word in secure.items()
                if name.lower() in lines
            ]
            schemes = [said for said in schemes if said]
            if len(set(schemes)) == 2:
                raise Refused("disagree")
            if schemes:
                found["scheme"] = schemes[0]
        host = one_of(values("x-forwarded-host")) if "host" in taken else None
        port = one_of(values("x-forwarded-port")) if "port" in taken else None
        prefix = one_of(values("x-forwarded-prefix")) if "prefix" in taken else None
        if prefix is not None:
            found["prefix"] = path_of(prefix)
        if port is not None:
            found["server_port"] = port_of(port)
    usual = {"http": "80", "https": "443"}[str(found.get("scheme", scheme))]
    if host is not None:
        bare, said = host_of(host)
        found["host"] = host
        if "server_port" not in found:
            found["server_port"] = port_of(said) if said else usual
            bare = ""
    else:
        bare = host_of(lines["host"][0])[0] if "host" in lines else ""
    if "server_port" in found and bare:
        behind = "" if found["server_port"] == usual else f":{found['server_port']}"
        found["host"] = bare + behind
    return found | _named(fields, named)


def _remote(address: tuple[str, str] | None) -> Told:
    return {} if address is None else {"remote_addr": address[0], "remote_port": address[1]}


def _by_field(value: str, word: str, one_of: Callable[[list[str]], str | None]) -> str | None:
    if value.lower() == word.lower():
        return "https"
    entry = one_of(entries_of(value))
    if entry is None:
        return None
    if entry.lower() == word.lower():
        return "https"
    try:
        return scheme_of(entry)
    except Refused:
        if word.lower() == "https":
            raise
        return "http"


def _named(fields: Fields, named: Iterable[str]) -> Told:
    wanted = {name.upper() for name in named if "_" in name}
    said = [(name.upper(), value) for name, value in fields if name.upper() in wanted]
    paths = {value for name, value in said if name == "SCRIPT_NAME"}
    found: Told = {}
    if len(paths) > 1:
        raise Refused("disagree")
    for path in paths:
        found["script_name"] = path_of(path) if path else ""
    if said:
        variables: dict[str, str] = {}
        for name, value in said:
            key = "HTTP_" + name.replace("-", "_")
            variables[key] = f"{variables[key]},{value}" if key in variables else value
        found["variables"] = variables
    return found
