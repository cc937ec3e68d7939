"""What is taken of the fields that proxies add: table by table of the issue's sentences."""

from __future__ import annotations

import pytest
from forwarded_heads import believing, head_of
from request_heads import parse

from wsgi_async.errors import HTTPError
from wsgi_async.http.origin import Origin
from wsgi_async.proxies.forwarded import MOST_PARTS
from wsgi_async.proxies.x_forwarded import MOST_HOPS


def said(
    *lines: str,
    taken: str = "for,proto,host,port,prefix",
    peers: str = "10.0.0.0/8,unix",
    scheme: str = "http",
) -> dict[str, str]:
    """What is not as the connection has it."""
    origin = believing(taken, peers).origin(head_of(*lines), scheme) or Origin()
    names = ("remote_addr", "remote_port", "scheme", "host", "server_port", "prefix", "script_name")
    values = {name: getattr(origin, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def client(*lines: str, taken: str = "for", peers: str = "10.0.0.0/8,unix") -> str | None:
    found = said(*lines, taken=taken, peers=peers)
    if "remote_addr" not in found:
        assert "remote_port" not in found
        return None
    return found["remote_addr"] + "|" + found["remote_port"]


@pytest.mark.parametrize(
    ("entries", "found"),
    [
        # from the right, over trusted hops
        ("192.0.2.1", "192.0.2.1|"),
        ("192.0.2.1, 10.0.0.2", "192.0.2.1|"),
        ("6.6.6.6, 192.0.2.1, 10.0.0.3, 10.0.0.2", "192.0.2.1|"),
        ("6.6.6.6, 192.0.2.1", "192.0.2.1|"),
        # all are trusted: the leftmost
        ("10.0.0.4, 10.0.0.3", "10.0.0.4|"),
        ("10.0.0.4:80", "10.0.0.4|80"),
        # every spelling
        ("192.0.2.1:4711", "192.0.2.1|4711"),
        ("2001:DB8::1", "2001:db8::1|"),
        ("[2001:db8::1]", "2001:db8::1|"),
        ("[2001:db8::1]:80, 10.0.0.2:81", "2001:db8::1|80"),
        ('"192.0.2.1:80", "10.0.0.2"', "192.0.2.1|80"),
        ("::ffff:192.0.2.1, ::ffff:10.0.0.2", "192.0.2.1|"),
        ("192.0.2.1, unix:", "192.0.2.1|"),
        ("unix:", "|"),
        # nobody in between
        (" ,192.0.2.1,, 10.0.0.2, ", "192.0.2.1|"),
        (",", None),
        ("", None),
        # an entry that names nobody ends the walk: what is known for sure is who wrote it
        ("unknown", None),
        ("garbage", None),
        ("192.0.2.1, garbage", None),
        ("192.0.2.1, _hidden, 10.0.0.3, 10.0.0.2", "10.0.0.3|"),
        ("unknown, 10.0.0.2:99", "10.0.0.2|99"),
        ("192.0.2.1:70000, 10.0.0.2", "10.0.0.2|"),
        ("<script>, 192.0.2.1", "192.0.2.1|"),
        ("127.0.0.1", "127.0.0.1|"),  # trusted are those of the option, and not this machine
    ],
)
def test_the_client(entries: str, found: str | None) -> None:
    assert client(f"X-Forwarded-For: {entries}") == found
    assert client(f"X-Forwarded-For: {entries}", taken="for,proto") == found
    assert client(f"X-Forwarded-For: {entries}", taken="proto") is None


def test_who_is_further_away_than_any_proxy_is_not_looked_for() -> None:
    """Each entry takes its time, on the loop, and a head has room for thousands."""
    hops = [f"10.0.{number // 250}.{number % 250}" for number in range(600)]
    assert client(f"X-Forwarded-For: {', '.join(hops)}") == f"{hops[-MOST_HOPS]}|"
    elements = ",".join([f"for={hop}" for hop in hops[-2 * MOST_HOPS :]])
    assert client(f"Forwarded: {elements}", taken="forwarded") == f"{hops[-MOST_HOPS]}|"


@pytest.mark.parametrize("part", ["for=10.0.0.1,", "a=1;", ",", ";"])
def test_a_forwarded_that_would_take_too_long_is_refused(part: str) -> None:
    """It must be read from the left, all of it: 64 KiB of parts held up the loop for 15 ms."""
    lines = [f"Forwarded: {part * (MOST_PARTS // 2)}for=192.0.2.1"] * 2
    with pytest.raises(HTTPError) as caught:
        client(*lines, taken="forwarded")
    assert caught.value.status == 400
    assert client(*lines, taken="for") is None


def test_a_forwarded_of_as_many_parts_as_may_be_is_read() -> None:
    line = f"Forwarded: {'for=10.0.0.1,' * (MOST_PARTS - 1)}for=192.0.2.1"
    assert client(line, taken="forwarded") == "192.0.2.1|"


def test_several_lines_are_one_list() -> None:
    assert (
        client("X-Forwarded-For: 6.6.6.6, 192.0.2.1", "x-forwarded-for: 10.0.0.2") == "192.0.2.1|"
    )


@pytest.mark.parametrize("peers", ["*", "10.0.0.1,*", "0.0.0.0/0"])
@pytest.mark.parametrize(
    ("entries", "found"),
    [
        ("192.0.2.1", "192.0.2.1|"),
        ("6.6.6.6, 192.0.2.1", "192.0.2.1|"),
        ("6.6.6.6, 10.0.0.1", "10.0.0.1|"),
        ("6.6.6.6, unknown", None),
    ],
)
def test_with_everyone_only_the_rightmost_counts(
    peers: str, entries: str, found: str | None
) -> None:
    """What is further away is the client's own word."""
    assert client(f"X-Forwarded-For: {entries}", peers=peers) == found


FOR = "X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.0.0.2"


@pytest.mark.parametrize(
    ("lines", "scheme"),
    [
        (["X-Forwarded-Proto: https"], "https"),
        (["X-Forwarded-Proto: http"], "http"),
        (["X-Forwarded-Proto: WSS"], "https"),
        (["X-Forwarded-Proto: ws"], "http"),
        (["X-Forwarded-Proto: https, http"], "http"),  # no hop is chosen: the nearest proxy's
        (["X-Forwarded-Proto: https", "X-Forwarded-Proto: http"], "http"),
        (["X-Forwarded-Proto:"], None),
        (["X-Forwarded-Proto: ,"], None),
        # that of the hop chosen, where there are as many
        ([FOR, "X-Forwarded-Proto: x, https, http"], "https"),
        ([FOR, "X-Forwarded-Proto: x, http, https"], "http"),
        ([FOR, "X-Forwarded-Proto: https"], "https"),
        ([FOR, "X-Forwarded-Proto: https, http"], "http"),
        ([FOR, "X-Forwarded-Proto: https, https, https, http"], "http"),
        (["X-Forwarded-For: unknown, 10.0.0.2", "X-Forwarded-Proto: https, http"], "https"),
        (
            [
                "X-Forwarded-For: 192.0.2.1, 10.0.0.2",
                "X-Forwarded-Proto: x, http",
                "X-Forwarded-Ssl:",
            ],
            400,
        ),
        # gunicorn's others
        (["X-Forwarded-Ssl: on"], "https"),
        (["X-Forwarded-Ssl: off"], "http"),
        (["X-Forwarded-Protocol: ssl"], "https"),
        (["X-Forwarded-Proto: https", "X-Forwarded-Ssl: on", "X-Forwarded-Protocol: ssl"], "https"),
        (["X-Forwarded-Proto: http", "X-Forwarded-Ssl: off"], "http"),
        # fields that disagree
        (["X-Forwarded-Proto: http", "X-Forwarded-Ssl: on"], 400),
        (["X-Forwarded-Proto: https", "X-Forwarded-Ssl: off"], 400),
        (["X-Forwarded-Proto: https", "X-Forwarded-Protocol: tls"], 400),
        ([FOR, "X-Forwarded-Proto: x, https, http", "X-Forwarded-Ssl: on"], "https"),
        ([FOR, "X-Forwarded-Proto: x, https, http", "X-Forwarded-Ssl: off"], 400),
        # what is no scheme
        (["X-Forwarded-Proto: on"], 400),
        (["X-Forwarded-Proto: https, ftp"], 400),
        (["X-Forwarded-Proto: ftp, https"], "https"),  # its client's word is not judged
        # what is not used is not judged
        (["X-Forwarded-Proto: https", "Forwarded: proto=http, }"], "https"),
        (["X-Forwarded-Proto: https", "X-Forwarded-Scheme: http"], "https"),
    ],
)
def test_the_scheme(lines: list[str], scheme: str | int | None) -> None:
    if scheme == 400:
        with pytest.raises(HTTPError):
            said(*lines, taken="for,proto")
        assert "scheme" not in said(*lines, taken="for")
    else:
        assert said(*lines, taken="for,proto").get("scheme") == scheme


def test_secure_scheme_headers_of_the_operator() -> None:
    cloudfront = believing("proto", secure={"CloudFront-Forwarded-Proto": "https"})
    visitor = believing("proto", secure={"CF-Visitor": '{"a":1,"scheme":"https"}'})
    for line, forwarding, scheme in [
        ("CloudFront-Forwarded-Proto: https", cloudfront, "https"),
        ("CloudFront-Forwarded-Proto: http", cloudfront, "http"),
        ("X-Forwarded-Proto: https", cloudfront, None),
        ('CF-Visitor: {"a":1,"scheme":"https"}', visitor, "https"),
        ('CF-Visitor: {"a":1,"scheme":"http"}', visitor, "http"),
    ]:
        origin = forwarding.origin(head_of(line))
        assert (origin.scheme if origin else None) == scheme
    assert believing("proto", secure={}).keys == frozenset()


@pytest.mark.parametrize(
    ("lines", "scheme", "host", "port"),
    [
        (["X-Forwarded-Host: b"], "http", "b", "80"),
        (["X-Forwarded-Host: b"], "https", "b", "443"),
        (["X-Forwarded-Host: b", "X-Forwarded-Proto: https"], "http", "b", "443"),
        (["X-Forwarded-Host: b:8443"], "http", "b:8443", "8443"),
        (["X-Forwarded-Host: [2001:db8::1]"], "http", "[2001:db8::1]", "80"),
        (["X-Forwarded-Host: [2001:db8::1]:8443"], "http", "[2001:db8::1]:8443", "8443"),
        (["X-Forwarded-Host: b:"], "http", "b:", "80"),
        (["X-Forwarded-Host: b, c"], "http", "c", "80"),
        ([FOR, "X-Forwarded-Host: /, b, c"], "http", "b", "80"),
        ([FOR, "X-Forwarded-Host: b, c"], "http", "c", "80"),
        (["X-Forwarded-Host:"], "http", None, None),
        # the port goes behind the host, but for the scheme's own
        (["X-Forwarded-Port: 8443"], "http", "a.example:8443", "8443"),
        (["X-Forwarded-Port: 80"], "http", "a.example", "80"),
        (["X-Forwarded-Port: 80"], "https", "a.example:80", "80"),
        (["X-Forwarded-Port: 443", "X-Forwarded-Proto: https"], "http", "a.example", "443"),
        (["X-Forwarded-Port: 8443", "X-Forwarded-Host: b"], "http", "b:8443", "8443"),
        (["X-Forwarded-Port: 8443", "X-Forwarded-Host: b:99"], "http", "b:8443", "8443"),
        (["X-Forwarded-Port: 80", "X-Forwarded-Host: b:99"], "http", "b", "80"),
        (["X-Forwarded-Port: 81", "X-Forwarded-Host: [::1]:99"], "http", "[::1]:81", "81"),
        (["X-Forwarded-Port: 81", "X-Forwarded-Host: [::1]"], "http", "[::1]:81", "81"),
        (["X-Forwarded-Port: 443, 81"], "http", "a.example:81", "81"),
        ([FOR, "X-Forwarded-Port: no, 82, 81"], "http", "a.example:82", "82"),
        (["X-Forwarded-Port:"], "http", None, None),
        (["X-Forwarded-Proto: https"], "http", None, None),
    ],
)
def test_host_and_port(lines: list[str], scheme: str, host: str | None, port: str | None) -> None:
    found = said(*lines, scheme=scheme)
    assert (found.get("host"), found.get("server_port")) == (host, port)


def test_a_port_where_there_is_no_host() -> None:
    origin = believing("port").origin(head_of("X-Forwarded-Port: 81", host=None))
    assert origin == Origin(server_port="81")


@pytest.mark.parametrize(
    ("lines", "prefix"),
    [
        (["X-Forwarded-Prefix: /shop"], "/shop"),
        (["X-Forwarded-Prefix: /shop/"], "/shop"),
        (["X-Forwarded-Prefix: /"], ""),
        (["X-Forwarded-Prefix:"], None),
        (["X-Forwarded-Prefix: /a, /b"], "/b"),
        ([FOR, "X-Forwarded-Prefix: //, /b, /c"], "/b"),
    ],
)
def test_the_prefix(lines: list[str], prefix: str | None) -> None:
    assert said(*lines).get("prefix") == prefix
    assert "prefix" not in said(*lines, taken="for,proto,host,port")


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("X-Forwarded-Host: a/b", "X-Forwarded-Host is not a host"),
        ("X-Forwarded-Host: a, b c", "X-Forwarded-Host is not a host"),
        ("X-Forwarded-Host: b:0", "The port of the forwarded host is not a port"),
        ("X-Forwarded-Host: b:99999", "The port of the forwarded host is not a port"),
        ("X-Forwarded-Port: 0", "X-Forwarded-Port is not a port"),
        (
            "X-Forwarded-Prefix: //evil",
            "X-Forwarded-Prefix is not a path that an application could",
        ),
        (
            "X-Forwarded-Prefix: /a/../b",
            "X-Forwarded-Prefix is not a path that an application could",
        ),
        ("X-Forwarded-Proto: gopher", "X-Forwarded-Proto is neither http nor https"),
    ],
)
def test_what_is_malformed_is_a_400(line: str, detail: str) -> None:
    for _ in range(2):  # and is not remembered as right
        with pytest.raises(HTTPError, match=detail) as caught:
            said(line)
        assert caught.value.status == 400
    assert said(line, taken="for") == {}


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (
            ['Forwarded: for="[2001:db8::1]:99";proto=https;host="b:8443"'],
            ("2001:db8::1", "99", "https", "b:8443", "8443"),
        ),
        (["Forwarded: for=192.0.2.1"], ("192.0.2.1", "", None, None, None)),
        (["Forwarded: host=b;proto=HTTPS"], (None, None, "https", "b", "443")),
        (["Forwarded: for=unknown;proto=https"], (None, None, "https", None, None)),
        (["Forwarded: for=_gazonk;host=b"], (None, None, None, "b", "80")),
        (["Forwarded: by=_a"], (None, None, None, None, None)),
        # the first that is not trusted; what further ones say counts for nothing
        (
            [
                "Forwarded: for=6.6.6.6;proto=http;host=evil, for=192.0.2.1;proto=https;host=b",
                "Forwarded: for=10.0.0.2;proto=http;host=inner",
            ],
            ("192.0.2.1", "", "https", "b", "443"),
        ),
        # what an element lacks, the next one towards us says
        (
            ["Forwarded: for=192.0.2.1, for=10.0.0.3;proto=https, for=10.0.0.2;proto=http;host=c"],
            ("192.0.2.1", "", "https", "c", "443"),
        ),
        (
            ['Forwarded: for=6.6.6.6;host=evil, for=192.0.2.1;host=""'],
            ("192.0.2.1", "", None, None, None),
        ),
        (
            ["Forwarded: for=192.0.2.1;proto=https, for=unknown, for=10.0.0.2;proto=http"],
            ("10.0.0.2", "", "http", None, None),
        ),
        (
            ["Forwarded: for=192.0.2.1;proto=https, , for=10.0.0.2,"],
            ("192.0.2.1", "", "https", None, None),
        ),
        # X-Forwarded-* count for nothing beside it
        (
            [
                "Forwarded: for=192.0.2.1;proto=https",
                "X-Forwarded-For: 6.6.6.6",
                "X-Forwarded-Proto: http",
                "X-Forwarded-Host: //",
            ],
            ("192.0.2.1", "", "https", None, None),
        ),
        (["X-Forwarded-For: 6.6.6.6"], (None, None, None, None, None)),
    ],
)
def test_forwarded(lines: list[str], found: tuple[str | None, ...]) -> None:
    names = ("remote_addr", "remote_port", "scheme", "host", "server_port")
    made = said(*lines, taken="forwarded")
    assert tuple(map(made.get, names)) == found
    assert "remote_addr" not in said(*lines, taken="proto")


@pytest.mark.parametrize(
    "lines",
    [
        ["Forwarded: for=a b"],
        ["Forwarded: for=192.0.2.1;proto=ftp"],
        ['Forwarded: for=192.0.2.1;host="a/b"'],
        ['Forwarded: for="6.6.6.6', 'Forwarded: for=192.0.2.1;by="_a"'],
        ["Forwarded: garbage, for=192.0.2.1"],
    ],
)
def test_a_malformed_forwarded_is_a_400(lines: list[str]) -> None:
    with pytest.raises(HTTPError):
        said(*lines, taken="forwarded")


def test_lines_of_forwarded_are_read_one_by_one_whatever_is_remembered() -> None:
    """One line and two that are the same when joined are not the same."""
    forwarding = believing("forwarded", "10.0.0.0/8")
    whole = 'Forwarded: x="a,for=192.0.2.1;by=";for=192.0.2.2'
    origin = forwarding.origin(head_of(whole))
    assert origin is not None
    assert origin.remote_addr == "192.0.2.2"
    first, _, second = whole.partition(",")
    for _ in range(2):
        with pytest.raises(HTTPError):
            forwarding.origin(head_of(first, f"Forwarded: {second}"))


def test_off_is_off() -> None:
    assert believing("off", "*").keys == frozenset()


def test_a_head_without_such_fields_is_as_its_connection_has_it() -> None:
    forwarding = believing("for,proto,host,port,prefix")
    assert forwarding.origin(head_of("Accept: */*", "X-Real-IP: 6.6.6.6")) is None
    assert believing("proto").origin(head_of("X-Forwarded-For: 6.6.6.6")) is None


def test_either_parser_gives_the_same() -> None:
    lines = [FOR, "X-Forwarded-Proto: x, https, http"]
    fast = parse("\r\n".join(["GET / HTTP/1.1", "Host: a", *lines, "", ""]).encode())
    assert fast is not None
    forwarding = believing("for,proto", "10.0.0.0/8")
    assert forwarding.origin(fast) == forwarding.origin(head_of(*lines))
    assert forwarding.origin(fast) == Origin(
        remote_addr="192.0.2.1", remote_port="", scheme="https"
    )


def test_what_is_remembered_has_a_bound_and_no_long_values() -> None:
    forwarding = believing("for", "10.0.0.0/8")
    for number in range(3000):
        origin = forwarding.origin(head_of(f"X-Forwarded-For: 192.0.{number >> 8}.{number & 255}"))
        assert origin is not None
    assert 0 < len(forwarding._origins) <= 1024
    forwarding._origins.clear()
    assert forwarding.origin(head_of("X-Forwarded-For: " + "10.0.0.1," * 500)) is not None
    assert len(forwarding._origins) == 0


def test_the_connection_s_scheme_and_host_are_part_of_what_is_remembered() -> None:
    forwarding = believing("port")
    for host, scheme, made in [("b", "http", "b:443"), ("c", "http", "c:443"), ("b", "https", "b")]:
        origin = forwarding.origin(head_of("X-Forwarded-Port: 443", host=host), scheme)
        assert origin is not None
        assert origin.host == made
