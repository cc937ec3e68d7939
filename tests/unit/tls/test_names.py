"""Which certificate a server name gets, and how a subject is written."""

from __future__ import annotations

import pytest

from wsgi_async.tls.names import NameTable, distinguished_name, names_of

TABLE = NameTable(
    [
        (("example.org", "www.example.org"), "first"),
        (("*.example.org", "example.org", "*.shop.example.org"), "second"),
        (("xn--bcher-kva.example", "f*.example.net", "10.0.0.1"), "third"),
    ]
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("example.org", "first"),
        ("www.example.org", "first"),
        ("WWW.Example.ORG", "first"),
        ("www.example.org.", "first"),
        ("api.example.org", "second"),
        ("shop.example.org", "second"),
        ("a.shop.example.org", "second"),
        # RFC 9525 §6.3: a wildcard is one whole label, the leftmost.
        ("a.b.example.org", None),
        (".example.org", None),
        ("*.example.org", "second"),
        ("foo.example.net", None),
        ("xn--bcher-kva.example", "third"),
        ("example.com", None),
        ("", None),
        (".", None),
    ],
)
def test_who_has_a_name(name: str, expected: str | None) -> None:
    assert TABLE.find(name) == expected


def test_the_common_name_counts_where_there_are_no_alternatives() -> None:
    subject = ((("commonName", "old.example"),),)
    assert names_of({"subject": subject}) == ("old.example",)
    alternatives = (("DNS", "new.example"), ("IP Address", "10.0.0.1"), ("email", "a@b.example"))
    told = {"subject": subject, "subjectAltName": alternatives}
    assert names_of(told) == ("new.example", "10.0.0.1")
    assert names_of({"subject": subject, "subjectAltName": (("email", "a@b.example"),)}) == ()


def test_a_subject_is_written_as_in_rfc_4514() -> None:
    subject = (
        (("countryName", "DE"),),
        (("organizationName", 'Brot, Käse & "Wein" \n#1 '),),
        (("commonName", "#a b"), ("emailAddress", "a@b.example")),
    )
    assert distinguished_name({"subject": subject}) == (
        'CN=\\#a b+emailAddress=a@b.example,O=Brot\\, Käse & \\"Wein\\" \\0a#1\\ ,C=DE'
    )
    assert distinguished_name({}) == ""
