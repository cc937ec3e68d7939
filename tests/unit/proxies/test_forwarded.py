"""The field Forwarded by the grammar of RFC 7239."""

from __future__ import annotations

import pytest

from wsgi_async.errors import HTTPError
from wsgi_async.proxies.forwarded import read_forwarded


@pytest.mark.parametrize(
    ("lines", "elements"),
    [
        # RFC 7239 §4, its examples
        (['for="_gazonk"'], [{"for": "_gazonk"}]),
        (['For="[2001:db8:cafe::17]:4711"'], [{"for": "[2001:db8:cafe::17]:4711"}]),
        (
            ["for=192.0.2.60;proto=http;by=203.0.113.43"],
            [{"for": "192.0.2.60", "proto": "http", "by": "203.0.113.43"}],
        ),
        (["for=192.0.2.43, for=198.51.100.17"], [{"for": "192.0.2.43"}, {"for": "198.51.100.17"}]),
        # §7.1: lines and lists are one
        (
            ['for=192.0.2.43,for="[2001:db8:cafe::17]"', "for=unknown"],
            [{"for": "192.0.2.43"}, {"for": "[2001:db8:cafe::17]"}, {"for": "unknown"}],
        ),
        ([r'for="a\"b\\c,d;e=f"'], [{"for": 'a"b\\c,d;e=f'}]),
        ([r'x="\a\ "'], [{"x": "a "}]),
        (['x=""'], [{"x": ""}]),
        (['x="\xe9\t"'], [{"x": "\xe9\t"}]),
        (["FOR=a;Proto=B"], [{"for": "a", "proto": "B"}]),
        (["for=a ; proto=b\t,\tfor=c"], [{"for": "a", "proto": "b"}, {"for": "c"}]),
        ([" for=a "], [{"for": "a"}]),
        (["", ",", " , ,", "for=a,,", ",for=b"], [{"for": "a"}, {"for": "b"}]),
        (["for=a;"], [{"for": "a"}]),
        ([";for=a;;proto=b"], [{"for": "a", "proto": "b"}]),
        ([";", "for=a,;"], [{}, {"for": "a"}, {}]),
        ([], []),
        (["!#$%&'*+-.^_`|~=1"], [{"!#$%&'*+-.^_`|~": "1"}]),
    ],
)
def test_grammar(lines: list[str], elements: list[dict[str, str]]) -> None:
    assert read_forwarded(lines) == elements


SENTENCE = "400 Bad Request: The Forwarded field is not of the grammar in RFC 7239"


@pytest.mark.parametrize(
    "line",
    [
        *("for", "for=", "=a", "for=a=b", "for =a", "for= a", "for=a b", "for=a for=b"),
        *('for="a', 'for=a"', 'for="a"b', 'for="a"for=b', 'for=a"b"', '"for"=a', 'for="a\\'),
        *(
            'for="\x01"',
            'for="\\\x01"',
            "for=[::1]",
            "for=192.0.2.1:80",
            "for=\xe9",
            "a,b",
            "for=@",
        ),
        *("for=@", "for=a;proto", "for=a, x", "{}", 'for="\u0100"'),
    ],
)
def test_what_is_not_of_the_grammar(line: str) -> None:
    for lines in ([line], ["for=b", line], [f"for=b, {line}"]):
        with pytest.raises(HTTPError) as caught:
            read_forwarded(lines)
        assert str(caught.value) == SENTENCE  # and nothing that the client sent


@pytest.mark.parametrize("line", ["for=a;for=b", "for=a;x=y;FOR=a"])
def test_a_parameter_twice(line: str) -> None:
    with pytest.raises(HTTPError, match="twice in one element"):
        read_forwarded([line])


def test_a_quote_in_one_line_does_not_hide_the_next() -> None:
    """A client's line must not be able to swallow the proxy's."""
    with pytest.raises(HTTPError):
        read_forwarded(['for="6.6.6.6', 'for=192.0.2.1;by="_a"'])


def test_long_damage_takes_no_longer() -> None:
    """Each character is looked at a bounded number of times: no regular expression runs wild."""
    for line in ('for="' + "\\a" * 50_000, "for=a;" * 50_000 + "=", ", " * 50_000 + "="):
        with pytest.raises(HTTPError):
            read_forwarded([line])
