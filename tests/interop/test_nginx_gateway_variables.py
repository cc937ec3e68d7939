"""What the application is given behind uwsgi_pass, fastcgi_pass and scgi_pass: by Debian's files of
variables as they are, and by what sites add to them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from frameworks import Site
from front_ends import HOST, Certificate, made_certificate
from gateway_nginx import CLIENT, PROTOCOLS, Fronted, Way, binds, fronted, make_application
from rawclient import TIMEOUT
from serving import serving
from tools import require_program

WAYS = [
    *(Way(protocol, transport) for protocol in PROTOCOLS for transport in ("tcp", "unix")),
    Way("fastcgi", "unix", kept=True),
]
STRANGER = "203.0.113.9"
BALANCER = "127.0.0.9"
"""A client of nginx that speaks for others, and is believed."""
PATHS = ["/environ", "//environ", "/a/../b/environ", "/a%20b/environ", "/caf%C3%A9/environ"]

certificate = pytest.fixture(scope="module")(made_certificate)


@contextlib.contextmanager
def behind(
    directory: Path, location: str = "/", more: str = "", *, options: Any = None, **front: Any
) -> Iterator[Fronted]:
    """The application, and nginx with such a ``location`` for each way."""
    with (
        serving(
            make_application(Site(directory / "none")), bind=binds(directory), **(options or {})
        ) as served,
        fronted(
            directory, served.server.addresses, WAYS, location=location, more=more, **front
        ) as nginx,
    ):
        yield nginx


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate) -> Iterator[Fronted]:
    directory = tmp_path_factory.mktemp("nginx")
    options = {"forwarded_allow_ips": BALANCER}
    with behind(directory, options=options, certificate=certificate) as nginx:
        yield nginx


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


def test_who_asks_what(plain: Fronted, way: Way) -> None:
    environ = plain.environ(way, "/environ?q=%20&r", [("X-Some", "thing"), ("Accept", "a/b")])
    expected = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/environ",
        "QUERY_STRING": "q=%20&r",
        "RAW_URI": "/environ?q=%20&r",
        "REQUEST_URI": "/environ?q=%20&r",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": HOST,
        "HTTP_HOST": HOST,
        "HTTP_X_SOME": "thing",
        "HTTP_ACCEPT": "a/b",
        "wsgi.url_scheme": "http",
        "REMOTE_ADDR": CLIENT,
    }
    assert {key: environ.get(key) for key in expected} == expected
    assert environ["REMOTE_PORT"].isdigit()
    assert environ["SERVER_PORT"] == str(plain.front.ports[f"http-{way.name}"])
    assert "HTTPS" not in environ
    # It is nginx that has connected.
    peer = environ["wsgi_async.peer"]
    assert peer.startswith("127.0.0.1:") if way.transport == "tcp" else peer == "unix"


@pytest.mark.parametrize("path", PATHS)
def test_the_path(path: str, plain: Fronted, way: Way) -> None:
    """As nginx has normalised it, and as the client has sent it."""
    environ = plain.environ(way, path)
    normal = path.replace("//", "/").replace("/a/..", "")
    found = environ["PATH_INFO"].encode("latin-1").decode()
    assert (environ["SCRIPT_NAME"], found) == ("", unquote(normal))
    assert environ["RAW_URI"] == path


def test_the_root(plain: Fronted, way: Way) -> None:
    """A page of Flask's, which has none there."""
    assert plain.ask(way, "/").status == 404


def test_https(plain: Fronted, way: Way) -> None:
    environ = plain.environ(way, scheme="https")
    assert (environ["wsgi.url_scheme"], environ["HTTPS"]) == ("https", "on")
    assert environ["SERVER_PORT"] == str(plain.front.ports[f"https-{way.name}"])


def test_http_2(plain: Fronted, certificate: Certificate, way: Way) -> None:
    """There the host is no field, and a body of unknown length has no chunks."""
    port = plain.front.ports[f"https-{way.name}"]

    def curl(page: str, *words: str) -> str:
        done = subprocess.run(
            [
                *(require_program("curl"), "--silent", "--show-error", "--http2", "--noproxy", "*"),
                *("--cacert", str(certificate.path), f"https://{HOST}/{page}", *words),
                *("--connect-to", f"{HOST}:443:127.0.0.1:{port}"),
                *("--write-out", "\n%{http_version} %{response_code}"),
            ],
            input="a body",
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=True,
        )
        body, _, told = done.stdout.rpartition("\n")
        assert told == "2 200"
        return body

    environ = json.loads(curl("environ"))
    assert (environ["HTTP_HOST"], environ["SERVER_PROTOCOL"]) == (HOST, "HTTP/2.0")
    digest = f"6 {hashlib.sha256(b'a body').hexdigest()}"
    assert curl("digest", "--upload-file", "-", "--request", "POST") == digest


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_a_client_says_of_itself_is_not_believed(
    scheme: str, plain: Fronted, way: Way
) -> None:
    """nginx passes its fields on, and the connection comes from whom all else is believed of: these
    are another's word."""
    other = "https" if scheme == "http" else "http"
    fields = [
        ("X-Forwarded-For", STRANGER),
        ("X-Forwarded-Proto", other),
        ("X-Forwarded-Prefix", "/evil"),
        ("Forwarded", f"for={STRANGER};proto={other};host=evil.example"),
        ("X-Real-IP", STRANGER),
        ("Proxy", "http://evil.example"),
        ("REMOTE_USER", "admin"),
        ("SCRIPT_NAME", "/evil"),
        ("HTTPS", "on"),
    ]
    environ = plain.environ(way, fields=fields, scheme=scheme)
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == (CLIENT, scheme)
    assert (environ["SCRIPT_NAME"], environ["HTTP_HOST"]) == ("", HOST)
    assert environ.get("REMOTE_USER", "") == ""
    assert not {name for name in environ if "FORWARDED" in name or name == "HTTP_PROXY"}
    environ = plain.environ(way, fields=fields[:2], scheme=scheme, source=BALANCER)
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == (STRANGER, other)


NOBODY = [("Authorization", "Basic bWFsbG9yeTp4")]


def test_a_name_that_nobody_has_checked(plain: Fronted, way: Way) -> None:
    """What the guide warns of: fastcgi_params has $remote_user, which is whom the field names."""
    found = plain.environ(way, fields=NOBODY).get("REMOTE_USER", "")
    assert found == ("mallory" if way.protocol == "fastcgi" else "")


def test_a_name_that_nobody_has_checked_can_be_taken_off(tmp_path: Path) -> None:
    with behind(tmp_path, more='PROTOCOL_param REMOTE_USER "";') as nginx:
        for way in WAYS:
            assert nginx.environ(way, fields=NOBODY)["REMOTE_USER"] == ""


def test_fields_that_come_twice_are_lists(plain: Fronted, way: Way) -> None:
    """nginx before 1.23 makes a variable of each."""
    fields = [("X-Some", "a"), ("Accept", "a/b"), ("X-Some", "b"), ("Accept", "c/d;q=0.5")]
    environ = plain.environ(way, fields=fields)
    assert environ["HTTP_X_SOME"].replace(", ", ",") == "a,b"
    assert environ["HTTP_ACCEPT"].replace(", ", ",") == "a/b,c/d;q=0.5"


def test_variables_of_the_site(tmp_path: Path) -> None:
    """They arrive as they are, and of one that is said again the last word counts."""
    more = (
        "PROTOCOL_param REMOTE_USER alice; PROTOCOL_param SSL_CLIENT_VERIFY SUCCESS;"
        "PROTOCOL_param My-Own 'a b'; PROTOCOL_param SERVER_NAME other.example;"
        "PROTOCOL_param HTTP_X_REAL_IP $remote_addr; PROTOCOL_param EMPTY '';"
    )
    with behind(tmp_path, more=more) as nginx:
        for way in WAYS:
            environ = nginx.environ(way, fields=[("X-Real-IP", STRANGER)])
            expected = {
                "REMOTE_USER": "alice",
                "SSL_CLIENT_VERIFY": "SUCCESS",
                "My-Own": "a b",
                "SERVER_NAME": "other.example",
                "HTTP_X_REAL_IP": CLIENT,
                "EMPTY": "",
            }
            assert {key: environ.get(key) for key in expected} == expected, way


# --- Below a path

PAGES = ["/environ", "/a/environ", "/a%20b/environ"]


def assert_below(nginx: Fronted, root: str, ways: list[Way]) -> None:
    for way in ways:
        for page in PAGES:
            environ = nginx.environ(way, f"/shop{page}")
            found = (environ["SCRIPT_NAME"], environ["PATH_INFO"])
            assert found == (root, ("" if root else "/shop") + unquote(page)), (way, page)
            assert environ["RAW_URI"] == f"/shop{page}"


def test_a_location_alone_takes_nothing_off(tmp_path: Path) -> None:
    with behind(tmp_path, "/shop") as nginx:
        assert_below(nginx, "", WAYS)


def test_the_root_path(tmp_path: Path) -> None:
    with behind(tmp_path, "/shop", options={"root_path": "/shop"}) as nginx:
        assert_below(nginx, "/shop", WAYS)


SPLIT = r"""
    fastcgi_split_path_info ^(/shop)(.*)$;
    fastcgi_param PATH_INFO $fastcgi_path_info;
"""


@pytest.mark.parametrize("again", ["", "fastcgi_param SCRIPT_NAME $fastcgi_script_name;"])
@pytest.mark.parametrize("root_path", ["", "/shop"])
def test_fastcgi_split_path_info(root_path: str, again: str, tmp_path: Path) -> None:
    """With and without the line of Flask's guide, which says a second time what is said already;
    and with the same path said here too."""
    ways = [way for way in WAYS if way.protocol == "fastcgi"]
    with (
        serving(
            make_application(Site(tmp_path / "none")), bind=binds(tmp_path), root_path=root_path
        ) as served,
        fronted(
            tmp_path, served.server.addresses, ways, location="/shop", more=SPLIT + again
        ) as nginx,
    ):
        assert_below(nginx, "/shop", ways)


OTHERS = {
    "Flask's guide to FastCGI": (
        "fastcgi_param PATH_INFO $fastcgi_script_name; fastcgi_param SCRIPT_NAME '';",
        "fastcgi",
        "",
    ),
    "PATH_INFO": ("PROTOCOL_param PATH_INFO $document_uri;", "uwsgi scgi", ""),
    "both": (
        "PROTOCOL_param PATH_INFO $document_uri; PROTOCOL_param SCRIPT_NAME '';",
        "fastcgi scgi",
        "",
    ),
    "SCRIPT_NAME": ("uwsgi_param SCRIPT_NAME /shop;", "uwsgi", "/shop"),
    "modifier1": ("uwsgi_param SCRIPT_NAME /shop; uwsgi_modifier1 30;", "uwsgi", "/shop"),
}
"""Lines after ``include``, for which protocols, and the SCRIPT_NAME that they come to."""


@pytest.mark.parametrize("lines", OTHERS)
def test_lines_that_say_it_for_other_servers(lines: str, tmp_path: Path) -> None:
    """Whoever had to say PATH_INFO elsewhere goes on saying it."""
    more, protocols, root = OTHERS[lines]
    ways = [way for way in WAYS if way.protocol in protocols.split()]
    with (
        serving(make_application(Site(tmp_path / "none")), bind=binds(tmp_path)) as served,
        fronted(tmp_path, served.server.addresses, ways, location="/shop", more=more) as nginx,
    ):
        assert_below(nginx, root, ways)
