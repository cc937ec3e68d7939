"""The formats of the access log: each atom, what a format may not have, and what none shows."""

from __future__ import annotations

import base64
import os
import re
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from log_lines import REQUEST, RESPONSE, restored
from properties import examples

from wsgi_async.errors import ConfigError
from wsgi_async.events import RequestInfo, ResponseInfo
from wsgi_async.logs.access_atoms import ATOMS, KEYS, Need
from wsgi_async.logs.access_entry import ServerEntry, basic_user, plain_text, variable_of
from wsgi_async.logs.access_format import COMBINED, FORMATS, AccessFormat
from wsgi_async.logs.observer import LogObserver
from wsgi_async.logs.setup import configure

_restore = pytest.fixture(autouse=True)(restored)

CAME = 1_000_000_000.75
HOSTILE = 'a\r\n\x1b[31m\x00\x7f\x85\x9b"\\é\tz'
ESCAPED = r"a\x0d\x0a\x1b[31m\x00\x7f\x85\x9b\x22\x5c\xe9\x09z"


class Own:
    """Of the application: the loop does not run its code."""

    def __str__(self) -> str:
        raise AssertionError

    __repr__ = __str__


FULL = ResponseInfo(
    status=404,
    body_size=0,
    duration=1.0625,
    complete=True,
    fields=(("Content-Type", "text/x"), ("X-Many", "1"), ("x-many", "2"), ("X-Bad", HOSTILE)),
    environ={
        "PATH_INFO": "/caf\xc3\xa9",
        "HTTP_AUTHORIZATION": "Basic YWRhOmxvdmVsYWNl",
        "HTTP_PROXY_AUTHORIZATION": "Basic YWRhOmxvdmVsYWNl",
        "wsgi.version": (1, 0),
        "my.number": 3.5,
        "my.id": uuid.UUID(int=7),
        "my.own": Own(),
        "my.list": ["x"],
        "my.none": None,
    },
    upload=0.25,
    queue=0.5,
    app=0.125,
    first=0.09375,
    cpu=0.0625,
    send=0.1875,
    received=77,
    thread="wsgi_async-1",
    was_spooled=True,
    was_parked=False,
    is_given_up=True,
)
ASKED = REQUEST._replace(
    target="/a%20b/caf%C3%A9?x=1&y=%20",
    fields=(*REQUEST.fields, ("X-Twice", "1"), ("x-twice", "2"), ("X-Bad", HOSTILE), ("X-No", "")),
)


def line_of(
    format: str, request: RequestInfo | None = ASKED, response: ResponseInfo | None = FULL
) -> str:
    status, size = (400, 0) if response is None else (response.status, response.body_size)
    entry = ServerEntry("[2001:db8::7]:81", CAME, request, status, size, response)
    return AccessFormat(format).line(entry)


@pytest.mark.parametrize(
    ("atom", "expected"),
    [
        ("h", "2001:db8::7"),
        ("l", "-"),
        ("u", "ada"),
        ("t", time.strftime("[%d/%b/%Y:%H:%M:%S %z]", time.localtime(CAME))),
        ("r", "GET /a%20b/caf%C3%A9?x=1&y=%20 HTTP/1.1"),
        ("m", "GET"),
        ("U", r"/a b/caf\xc3\xa9"),
        ("q", "x=1&y=%20"),
        ("H", "HTTP/1.1"),
        ("s", "404"),
        ("B", "0"),
        ("b", "-"),
        ("f", "http://a/"),
        ("a", "curl/8"),
        ("T", "1"),
        ("M", "1062"),
        ("D", "1062500"),
        ("L", "1.062500"),
        ("p", "<PID>"),
        ("id", "r-1"),
        ("upload", "0.250000"),
        ("queue", "0.500000"),
        ("app", "0.125000"),
        ("first", "0.093750"),
        ("cpu", "0.062500"),
        ("send", "0.187500"),
        ("received", "77"),
        ("thread", "wsgi_async-1"),
        ("spooled", "yes"),
        ("parked", "no"),
        ("given_up", "yes"),
    ],
)
def test_each_atom(atom: str, expected: str) -> None:
    expected = expected.replace("PID", str(os.getpid()))
    assert line_of(f"<%({atom})s>") == f"<{expected}>"


def test_each_atom_is_tested() -> None:
    mark = next(mark for mark in test_each_atom.pytestmark if mark.name == "parametrize")  # type: ignore[attr-defined]
    assert [atom for atom, _ in mark.args[1]] == list(ATOMS)


@pytest.mark.parametrize(
    ("atom", "expected"),
    [
        ("{User-Agent}i", "curl/8"),
        ("{USER-AGENT}I", "curl/8"),
        ("{x-twice}i", "1, 2"),
        ("{x-bad}i", ESCAPED),
        ("{x-no}i", "-"),
        ("{x-none}i", "-"),
        ("{content-type}o", "text/x"),
        ("{X-Many}o", "1, 2"),
        ("{x-bad}o", ESCAPED),
        ("{server}o", "-"),
        ("{PATH_INFO}e", r"/caf\xc3\xa9"),
        ("{path_info}e", r"/caf\xc3\xa9"),
        ("{WSGI.Version}e", "(1, 0)"),
        ("{my.number}e", "3.5"),
        ("{my.id}e", "00000000-0000-0000-0000-000000000007"),
        ("{my.own}e", "-"),
        ("{my.list}e", "-"),
        ("{my.none}e", "-"),
        ("{no.such}e", "-"),
    ],
)
def test_what_a_name_goes_before(atom: str, expected: str) -> None:
    assert line_of(f"<%({atom})s>") == f"<{expected}>"


SECRETS = (
    "{Authorization}i",
    "{AUTHORIZATION}o",
    "{proxy-authorization}i",
    "{Proxy-Authorization}o",
    "{HTTP_AUTHORIZATION}e",
    "{http_proxy_authorization}e",
    "{Http-Authorization}e",
)


@pytest.mark.parametrize("atom", SECRETS)
def test_no_atom_shows_the_authorization(atom: str) -> None:
    fields = (("Authorization", "Bearer c2Vjc"), ("Proxy-Authorization", "Bearer c2Vjc"))
    request = REQUEST._replace(fields=fields)
    assert line_of(f"<%({atom})s>", request, FULL._replace(fields=fields)) == "<->"


def test_no_format_shows_the_authorization() -> None:
    every = " ".join(f"%({atom})s" for atom in (*ATOMS, *SECRETS))
    for format in (every, *FORMATS):
        for secret in ("YWRh", "lovelace", "c2Vj"):
            assert secret not in line_of(format)


@pytest.mark.parametrize(
    ("authorization", "user"),
    [
        (b"ada:lovelace", "ada"),
        (b"ada:a:b", "ada"),
        (b":x", ""),
        ("käthe:x".encode(), "käthe"),
        (b"\xff:x", ""),
        (b"no colon, perhaps all of it a password", ""),
    ],
)
def test_whom_basic_names(authorization: bytes, user: str) -> None:
    assert basic_user("Basic " + base64.b64encode(authorization).decode()) == user
    assert basic_user("bASIC  " + base64.b64encode(authorization).decode()) == user


@pytest.mark.parametrize("text", ["", "Basic", "Basic é", "Basic !", "Basic abc", "Bearer YTpi"])
def test_what_names_nobody(text: str) -> None:
    assert basic_user(text) == ""


def test_a_user_cannot_forge_the_fields_behind() -> None:
    """It stands without quotes, so a space would end it."""
    forged = base64.b64encode(b'root [1/Jan/2000] "GET / HTTP/1.1" 200:x').decode()
    fields = (("Authorization", f"Basic {forged}"),)
    for format in ("%(h)s %(l)s %(u)s %(s)s", f"{COMBINED}%%"):
        line = line_of(format, REQUEST._replace(fields=fields))
        assert line.split(" ")[2] == r"root\x20[1/Jan/2000]\x20\x22GET\x20/\x20HTTP/1.1\x22\x20200"


def test_a_value_of_the_applications_is_not_asked() -> None:
    class Text(str):
        def __str__(self) -> str:
            raise AssertionError

        __repr__ = lower = __str__

    assert plain_text(Text("x")) == "x"
    assert plain_text((1, "a")) == "(1, 'a')"
    assert plain_text((Text("x"), (Text("y"),))) == "('x', ('y',))"
    assert plain_text(10**5000) is plain_text((10**5000,)) is None  # str() takes 4300 digits
    assert variable_of({Text("Key"): 1, 5: 2}, "KEY") == "1"  # type: ignore[dict-item]
    assert plain_text((1, Own())) is None
    assert plain_text({"HTTP_AUTHORIZATION": "x"}) is None


# --- What nobody knows


REFUSED = {
    "combined": ('"GET /path?q=1 HTTP/1.1" 400 - "http://a/" "curl/8"', '"-" 400 - "-" "-"'),
    "common": ('"GET /path?q=1 HTTP/1.1" 400 -', '"-" 400 -'),
    "%(t)s %(m)s|%(U)s|%(q)s|%(id)s|%(s)s|%(L)s|%(queue)s|%(spooled)s|%({a}o)s|%({PATH_INFO}e)s": (
        "GET|/path|q=1|r-1|400|0.000000|-|-|-|-",
        "-|-|-|-|400|0.000000|-|-|-|-",
    ),
}


@pytest.mark.parametrize("format", REFUSED)
def test_what_the_server_refused_has_a_line_in_every_format(format: str, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    configure(error_logfile="-", access_logfile=str(path), log_level="critical")
    observer = LogObserver(access=True, format=format)
    observer.request_refused("[::1]:7", 400, "too large", REQUEST)
    observer.request_refused("[::1]:7", 400, "no request", None)
    lines = path.read_text("ascii").splitlines()
    assert tuple(line.partition("] ")[2] for line in lines) == REFUSED[format]


def test_a_target_for_which_it_was_refused() -> None:
    for target in ("/a#b?c", "", "x", "http://?"):
        line = line_of("%(U)s|%(q)s", REQUEST._replace(target=target), None)
        assert line.count("|") == 1
    assert line_of("%(U)s|%(q)s", REQUEST._replace(target="/a#b?c"), None) == "/a#b|c"
    assert line_of("%(U)s|%(q)s", REQUEST._replace(target="http://h/p?c"), None) == "/p|c"


def test_what_was_not_measured() -> None:
    names = [name for name, atom in ATOMS.items() if atom.need is not None]
    line = line_of(" ".join(f"%({name})s" for name in names), REQUEST, RESPONSE)
    assert line == " ".join("-" * len(names))


# --- The format


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("%(s)s 100%%", "404 100%"),
        ("%(s)6d|", "   404|"),
        ("%(s)-6s|", "404   |"),
        ("%(D)012d", "000001062500"),
        ("%(T).1f", "1.0"),
        ("%(a)10.4s", "      curl"),
        ("%(m)r", "'GET'"),
        ("%(B)ld", "0"),
        ("%(s)s\té%(l)s", "404\té-"),
    ],
)
def test_types_and_widths_are_as_those_of_python(format: str, expected: str) -> None:
    assert line_of(format) == expected


@pytest.mark.parametrize(
    ("format", "message"),
    [
        ("%(x)s", "there is no %(x)s: see --guide logging"),
        ("%(addr)s", "there is no %(addr)s: write %(h)s"),
        ("%(st)s", "there is no %(st)s: write %(s)s"),
        ("%({a}x)s", "there is no %({a}x)s: see --guide logging"),
        ("%({a)s", "there is no %({a)s"),
        ("%s", "each % is %% or begins %(NAME)s, which '%s' does not"),
        ("%(s)s 5%", "which '%' does not"),
        ("%(h)", "which '%(h)' does not"),
        ("%(h)*s", "which '%(h)*s' does not"),
        ("%(h)9999s", "which '%(h)9999s' does not"),
        ("%(h)d", "%(h)d cannot be: write %(h)s"),
        ("%(L)f", "%(L)f cannot be: write %(L)s"),
        ("%(s)c", "%(s)c cannot be"),
        ("%(h", "which '%(h' does not"),
        ("%(h)s\n", r"a line has no '\n' in it"),
        ("%(h)s\x1b[2J", r"a line has no '\x1b' in it"),
        ("short", "'short' is none of combined, common, json, and has no %(NAME)s"),
        ("", "'' is none of combined, common, json"),
        ("100%%", "'100%%' is none of"),
    ],
)
def test_a_bad_format_is_one_clear_line(format: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^--access-logformat: .*{re.escape(message)}") as caught:
        AccessFormat(format)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError):
        LogObserver(access=True, format=format)


TIMINGS, FIELDS, ENVIRON = Need.TIMINGS, Need.FIELDS, Need.ENVIRON


@pytest.mark.parametrize(
    ("format", "needs", "has_ours"),
    [
        ("combined", set(), True),
        (COMBINED, set(), False),
        ("common", set(), True),
        ("%(h)s %({a}i)s %(id)s", set(), True),
        ("%(L)s %({a}i)s", set(), False),
        ("%({a}o)s", {FIELDS}, False),
        ("%({a}e)s", {ENVIRON}, False),
        ("%({authorization}e)s %({authorization}o)s", set(), False),
        ("%(queue)s", {TIMINGS}, True),
        ("%(thread)s %({a}o)s %({a}e)s", {TIMINGS, FIELDS, ENVIRON}, True),
        ("json", {TIMINGS}, True),
    ],
)
def test_what_a_format_asks_for(format: str, needs: set[Need], has_ours: bool) -> None:
    """And nothing else: the rest is not measured for it."""
    assert AccessFormat(format).needs == needs
    assert AccessFormat(format).has_ours is has_ours
    for access in (True, False):
        observer = LogObserver(access=access, format=format)
        for need in Need:
            assert getattr(observer, need.value) is (access and need in needs)


def test_what_needs_timings_says_so() -> None:
    """Whatever looks at one of the facts that are only there where somebody asks."""
    parts = {"upload", "queue", "app", "first", "cpu", "send", "received", "thread"}
    parts |= {"spooled", "parked", "given_up"}
    for table in (ATOMS, KEYS):
        asking = {name for name, spec in table.items() if spec.need is TIMINGS}  # type: ignore[attr-defined]
        assert asking == parts


# --- One line, two ways


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        (ASKED.fields, 0),
        ((("Referer", ""), ("referer", HOSTILE), ("User-agent", HOSTILE)), 12),
        ((("User-Agent", "a"), ("User-Agent", ""), ("user-agent", "b")), 12),
        ((("Authorization", "Basic OmE="), ("X-Thirteen-An", "a")), 1),
        ((), 7),
    ],
)
def test_combined_is_the_same_by_its_atoms(
    fields: tuple[tuple[str, str], ...], size: int, tmp_path: Path
) -> None:
    """The usual format has a way of its own, which is quicker."""
    path = tmp_path / "access.log"
    configure(error_logfile="-", access_logfile=str(path), log_level="critical")
    response = RESPONSE._replace(body_size=size, duration=60.0)
    request = REQUEST._replace(fields=fields, target=HOSTILE)
    for format in ("combined", COMBINED, f"{COMBINED}%%"):
        LogObserver(access=True, format=format).request_finished(request, response)
    first, second, third = (re.sub(r":\d\d ", " ", line) for line in path.read_text().splitlines())
    assert first == second == third.removesuffix("%")


latin_1 = st.text(st.characters(max_codepoint=0xFF))
COLUMNS = re.compile(
    r'(\S+) - (\S+) \[([^]"]+)\] "([^"]*) ([^ "]*) HTTP/1.1" 200 12 "([^"]*)" "([^"]*)"'
)


def unescaped(text: str) -> str:
    return re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), text)


@examples(500, latin_1, latin_1.filter(lambda text: " " not in text), latin_1, latin_1)
def test_no_text_ends_a_column_or_a_line(user: str, target: str, referer: str, agent: str) -> None:
    """And none is lost: what was sent can be read in the column."""
    credentials = base64.b64encode(f"{user.replace(':', ';')}:x".encode()).decode()
    fields = (
        ("authorization", f"Basic {credentials}"),
        ("referer", referer),
        ("User-Agent", agent),
    )
    request = REQUEST._replace(target=target, fields=fields)
    line = line_of(COMBINED, request, RESPONSE)
    match = COLUMNS.fullmatch(line)
    assert match is not None, line
    assert line.isascii()
    found = [unescaped(match[number]) for number in (2, 5, 6, 7)]
    assert found == [user.replace(":", ";") or "-", target, referer or "-", agent or "-"]


def test_what_middleware_has_logged_is_not_logged_again(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    configure(error_logfile="-", access_logfile=str(path), log_level="critical")
    for format in ("combined", "json", "%(s)s"):
        observer = LogObserver(access=True, format=format)
        observer.request_finished(REQUEST, RESPONSE._replace(is_logged=True))
    assert path.read_text() == ""


def test_a_handler_of_the_applications_gets_the_values(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "wsgi_async.access")
    observer: Any = LogObserver(access=True, format="%(m)s %(s)d %({a}i)s")
    observer.request_finished(REQUEST, RESPONSE)
    [record] = caplog.records
    assert record.args == ("GET", 200, "-")
    assert record.getMessage() == "GET 200 -"
