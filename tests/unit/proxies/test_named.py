"""Fields with an underscore in their names, and copies of what only believed peers may say."""

from __future__ import annotations

import pytest
from forwarded_heads import believing, head_of
from hypothesis import given, settings
from hypothesis import strategies as st
from request_heads import parse, with_h11

from wsgi_async.errors import ConfigError, HTTPError
from wsgi_async.http.origin import Origin

NAMES = ("SCRIPT_NAME", "PATH_INFO", "Remote_User")


@pytest.mark.parametrize(
    ("lines", "script_name", "variables"),
    [
        (["SCRIPT_NAME: /shop"], "/shop", {"HTTP_SCRIPT_NAME": "/shop"}),
        (["script_name: /shop/"], "/shop", {"HTTP_SCRIPT_NAME": "/shop/"}),
        (["SCRIPT_NAME: /caf%C3%A9"], "/caf\xc3\xa9", {"HTTP_SCRIPT_NAME": "/caf%C3%A9"}),
        (["SCRIPT_NAME: /"], "", {"HTTP_SCRIPT_NAME": "/"}),
        (["SCRIPT_NAME:"], "", {"HTTP_SCRIPT_NAME": ""}),
        (["SCRIPT_NAME: /a", "Script_Name: /a"], "/a", {"HTTP_SCRIPT_NAME": "/a,/a"}),
        # PATH_INFO itself stays what was asked for, as in gunicorn
        (["PATH_INFO: /x"], None, {"HTTP_PATH_INFO": "/x"}),
        (["REMOTE_USER: a", "remote_user: b"], None, {"HTTP_REMOTE_USER": "a,b"}),
        (["Script-Name: /x", "SCRIPT_NAME: /y"], "/y", {"HTTP_SCRIPT_NAME": "/y"}),
    ],
)
def test_what_a_believed_peer_says(
    lines: list[str], script_name: str | None, variables: dict[str, str]
) -> None:
    for taken in ("proto", "for", "forwarded"):
        origin = believing(taken, named=NAMES).origin(head_of(*lines))
        assert origin is not None
        assert origin == Origin(script_name=script_name, variables=tuple(variables.items()))
    assert believing("off", named=NAMES).origin(head_of(*lines)) is None


@pytest.mark.parametrize(
    "line",
    ["Script-Name: /x", "SCRIPT-NAME: /x", "X_Forwarded_For: 6.6.6.6", "X_Y: z", "REMOTE: a"],
)
def test_other_names_are_as_they_were(line: str) -> None:
    assert believing("for,proto", named=NAMES).origin(head_of(line)) is None


def test_beside_forwarded_fields() -> None:
    forwarding = believing("for,proto")
    head = head_of("X-Forwarded-For: 192.0.2.1", "SCRIPT_NAME: /a", "X-Forwarded-Proto: https")
    for _ in range(2):
        assert forwarding.origin(head) == Origin(
            remote_addr="192.0.2.1",
            remote_port="",
            scheme="https",
            script_name="/a",
            variables=(("HTTP_SCRIPT_NAME", "/a"),),
        )
    without = head_of("X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https")
    assert forwarding.origin(without) == Origin(
        remote_addr="192.0.2.1", remote_port="", scheme="https"
    )


@pytest.mark.parametrize(
    ("lines", "detail"),
    [
        (["SCRIPT_NAME: /a/../b"], "SCRIPT_NAME is not a path that an application could be at"),
        (["SCRIPT_NAME: app"], "SCRIPT_NAME is not a path that an application could be at"),
        (["SCRIPT_NAME: /a", "SCRIPT_NAME: /b"], "There are two SCRIPT_NAME fields that disagree"),
    ],
)
def test_what_is_a_400(lines: list[str], detail: str) -> None:
    with pytest.raises(HTTPError, match=detail):
        believing("proto").origin(head_of(*lines))


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("*", "takes names of fields such as SCRIPT_NAME, not '*'"),
        ("SCRIPT NAME", "not 'SCRIPT NAME'"),
        ("", "not ''"),
        ("X_Forwarded_For", "X_FORWARDED_FOR would pass for X-Forwarded-For"),
        ("X_FORWARDED-ANYTHING", "would pass for X-Forwarded-Anything"),
        ("CONTENT_LENGTH", "CONTENT_LENGTH would pass for Content-Length"),
        ("CLOUDFRONT_PROTO", "CLOUDFRONT_PROTO would pass for Cloudfront-Proto"),
    ],
)
def test_names_that_cannot_be(name: str, error: str) -> None:
    with pytest.raises(ConfigError) as caught:
        believing("for", secure={"CloudFront-Proto": "https"}, named=("SCRIPT_NAME", name))
    assert error in str(caught.value)
    assert str(caught.value).startswith("--forwarder-headers")


@settings(max_examples=200)
@given(
    lines=st.lists(
        st.sampled_from(
            [
                *("A: b", "A: c", "a-B: c", "A_B: c", "Proxy: x", "Cookie: d", "Content-Type: e"),
                *("Content-Length: 3", "Transfer-Encoding: chunked", "SCRIPT_NAME: /s"),
            ]
        ),
        max_size=4,
    ),
    first=st.sampled_from(
        [
            *("GET / HTTP/1.1\r\nHost: a", "GET / HTTP/1.0", "GET http://b/ HTTP/1.1\r\nHost: a"),
            *("GET http://b/ HTTP/1.0", "OPTIONS * HTTP/1.1\r\nHost: a"),
        ]
    ),
)
def test_a_field_that_was_dropped_is_never_overlooked(lines: list[str], first: str) -> None:
    """Whichever parser has read the head."""
    raw = "\r\n".join([first, *lines, "", ""]).encode()
    forwarding = believing("proto")
    for head in (with_h11(raw), parse(raw)):
        if head is None:  # refused, or declined
            continue
        origin = forwarding.origin(head)
        assert (origin is not None) == ("SCRIPT_NAME: /s" in lines)


def test_copies() -> None:
    forwarding = believing("proto", named=NAMES)
    lines = [
        *("X-Forwarded-For: a", "X-Forwarded-Anything: b", "Forwarded: c", "X-Forwarded-Ssl: d"),
        *("X-Forwarded: e", "Script-Name: f", "Remote-User: g", "Path-Info: h"),
    ]
    others = ["X-Forwardedly: a", "X-Real-IP: b", "Forwarded-For: c", "Via: d", "Cookie: e"]
    head = head_of(*lines, *others)
    for _ in range(2):
        assert set(forwarding.copies(head)) == {
            "HTTP_" + line.partition(":")[0].upper().replace("-", "_") for line in lines
        }
    assert forwarding.copies(head_of(*others)) == ()
    operator_s = believing("off", secure={"CloudFront-Forwarded-Proto": "https"}, named=())
    head = head_of("CloudFront-Forwarded-Proto: https", "Script-Name: /")
    assert operator_s.copies(head) == ("HTTP_CLOUDFRONT_FORWARDED_PROTO",)


def test_names_that_clients_invent_do_not_pile_up() -> None:
    forwarding = believing("proto")
    for number in range(1000):
        assert forwarding.copies(head_of(f"X-Forwarded-{number}: a")) == (
            f"HTTP_X_FORWARDED_{number}",
        )
    assert len(forwarding._copies_of) <= 256
    forwarding._copies_of.clear()
    assert forwarding.copies(head_of("X-" + "a" * 4000 + ": b")) == ()
    assert len(forwarding._copies_of) == 0
