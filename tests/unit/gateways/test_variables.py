"""Requests as variables: what is passed on, what a front server says, what is refused."""

from __future__ import annotations

import dataclasses

import pytest
from cgi_variables import Asked, encode, nginx
from corpus import DEFAULTS

from wsgi_async.errors import HTTPError, ProtocolFault
from wsgi_async.gateways.variables import OWN_SIZE, GatewayHead, most_bytes, request_head
from wsgi_async.http.limits import Limits
from wsgi_async.http.origin import Origin
from wsgi_async.wsgi.environ import build_environ, server_variables

PLAIN = {
    "REQUEST_METHOD": "GET",
    "REQUEST_URI": "/a%20b?c=d",
    "QUERY_STRING": "c=d",
    "PATH_INFO": "/a b",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "SERVER_NAME": "shop.example",
    "SERVER_PORT": "80",
    "REMOTE_ADDR": "192.0.2.9",
    "REMOTE_PORT": "50000",
    "HTTP_HOST": "shop.example",
}


def read(*more: tuple[str, str], without: tuple[str, ...] = (), **changed: str) -> GatewayHead:
    named = {name: value for name, value in {**PLAIN, **changed}.items() if name not in without}
    return request_head(encode([*named.items(), *more]), DEFAULTS)


def environ_of(head: GatewayHead, root_path: str = "") -> dict[str, object]:
    """What the application finds, on a unix socket."""
    ours = server_variables(
        "/run/app.sock", root_path=root_path, scheme="http", threads=1, file_wrapper=None
    )
    return build_environ(head, ours, "", "", None, None, None, None, head.origin)


def refusal(*more: tuple[str, str], without: tuple[str, ...] = (), **changed: str) -> str:
    with pytest.raises(HTTPError) as caught:
        read(*more, without=without, **changed)
    return f"{caught.value.status} {caught.value.detail}"


def test_a_head() -> None:
    head = read(HTTP_ACCEPT_LANGUAGE="de", CONTENT_LENGTH="5", CONTENT_TYPE="text/plain")
    assert (head.method, head.target, head.version) == ("GET", "/a%20b?c=d", "HTTP/1.1")
    assert (head.path, head.query) == ("/a%20b", "c=d")
    assert (head.content_length, head.chunked, head.has_body) == (5, False, True)
    assert not head.keep_alive, "what is kept is said by the protocol"
    assert head.origin == Origin(
        remote_addr="192.0.2.9", remote_port="50000", scheme="http", server_port="80"
    )
    assert dict(head.fields) == {
        "Host": "shop.example",
        "Accept-Language": "de",
        "Content-Length": "5",
        "Content-Type": "text/plain",
    }


def test_the_environ_is_that_of_http_and_names_the_front_server() -> None:
    environ = environ_of(read())
    assert environ["REQUEST_METHOD"] == "GET"
    assert environ["RAW_URI"] == environ["REQUEST_URI"] == "/a%20b?c=d"
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/a b")
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("shop.example", "80")
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("192.0.2.9", "50000")
    assert environ["wsgi_async.peer"] == "unix"
    assert environ["wsgi.url_scheme"] == "http"
    assert "HTTPS" not in environ
    assert "CONTENT_LENGTH" not in environ


def test_what_the_front_server_has_of_its_own_is_passed_on() -> None:
    own = {
        "REMOTE_USER": "",
        "AUTH_TYPE": "Basic",
        "DOCUMENT_ROOT": "/srv/www",
        "SSL_CLIENT_S_DN": "CN=\xc3\xa9",
        "SSL_CLIENT_CERT": "-----BEGIN CERTIFICATE-----\n\tMIIB\n",
        "GEOIP_COUNTRY_CODE": "DE",
        "proxy-nokeepalive": "1",
        "my.name": "a=b",
        "UWSGI_SCHEME": "http",
    }
    environ = environ_of(read(**own))
    assert {name: environ[name] for name in own} == own


def test_what_is_the_servers_own_stays_so() -> None:
    environ = environ_of(read(SERVER_SOFTWARE="nginx/1.22.1", GATEWAY_INTERFACE="CGI/9"))
    assert str(environ["SERVER_SOFTWARE"]).startswith("wsgi_async/")
    assert environ["GATEWAY_INTERFACE"] == "CGI/1.1"
    for name in ("wsgi.input", "wsgi.url_scheme", "wsgi_async.client"):
        assert refusal((name, "x")) == "400 A variable has a name that only the server may use"


def test_fields_that_no_application_may_see() -> None:
    """HTTP_PROXY would lead its own requests elsewhere (CVE-2016-5385); a coding is taken off."""
    environ = environ_of(
        read(HTTP_PROXY="http://evil/", HTTP_TRANSFER_ENCODING="chunked", CONTENT_LENGTH="5")
    )
    assert not environ.keys() & {"HTTP_PROXY", "HTTP_TRANSFER_ENCODING"}
    assert environ["CONTENT_LENGTH"] == "5"


def test_fields_of_several_lines_are_one() -> None:
    """As nginx sends them until 1.23."""
    head = read(("HTTP_X_A", "1"), ("HTTP_COOKIE", "a=b"), ("HTTP_X_A", "2"), ("HTTP_COOKIE", "c"))
    assert head.variables["HTTP_X_A"] == "1,2"
    assert head.variables["HTTP_COOKIE"] == "a=b; c"


BY_WHOM = ": the web server in front says it twice, maybe once in a file that it includes"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("HTTP_HOST", f"There is more than one Host field, HTTP_HOST{BY_WHOM}"),
        ("HTTP_CONTENT_TYPE", "There is more than one Content-Type field"),
        ("HTTP_CONTENT_LENGTH", "Content-Length is given more than once"),
        *(
            (name, f"The variable {name} is given twice{BY_WHOM}")
            for name in ("REQUEST_METHOD", "QUERY_STRING")
        ),
        *(
            (name, f"The variable {name} is given twice{BY_WHOM}")
            for name in ("CONTENT_LENGTH", "CONTENT_TYPE")
        ),
    ],
)
def test_what_is_there_once(name: str, sentence: str) -> None:
    assert refusal((name, "1"), (name, "1"), without=(name,)) == f"400 {sentence}"


def test_who_says_something_anew_is_heard() -> None:
    """Flask's guide to FastCGI: include fastcgi_params, and then SCRIPT_NAME once more."""
    said = nginx("fastcgi", Asked("/a/b"))
    head = request_head(encode([*said, ("PATH_INFO", "/a/b"), ("SCRIPT_NAME", "")]), DEFAULTS)
    environ = environ_of(head)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/a/b")
    said.append(("REMOTE_USER", "alice"))
    assert environ_of(request_head(encode(said), DEFAULTS))["REMOTE_USER"] == "alice"
    head = read(("HTTPS", ""), ("HTTPS", "on"), ("X", "1"), ("X", "2"), SERVER_PORT="1", X="0")
    assert (head.origin.scheme, head.variables["X"]) == ("https", "2")


@pytest.mark.parametrize("name", ["", "A=B", "=", "A B", "A\nB", "A\0", "\xe9", "\x7f"])
def test_what_is_no_name_is_a_fault_of_the_protocol(name: str) -> None:
    with pytest.raises(ProtocolFault):
        read((name, "x"))


@pytest.mark.parametrize("name", ["HTTP_", "HTTP_X-A", "HTTP_x_a", "http_proxy", "Http_Host"])
def test_what_is_no_name_of_a_field_is_refused(name: str) -> None:
    assert refusal((name, "x")) == "400 A variable has the name of no header field"


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"X": "\0"}, "A variable contains NUL"),
        ({"REMOTE_USER": "a\0"}, "A variable contains NUL"),
        ({"HTTP_X_A": "a\nb"}, "A header field contains a control character"),
        ({"HTTP_X_A": "a\x7f"}, "A header field contains a control character"),
        ({"CONTENT_TYPE": "a\rb"}, "A header field contains a control character"),
        ({"REQUEST_METHOD": "GE T"}, "REQUEST_METHOD is not a method"),
        ({"REQUEST_METHOD": "G\xcbT"}, "REQUEST_METHOD is not a method"),
        ({"REQUEST_URI": "/a b"}, "REQUEST_URI contains what no request target does"),
        ({"REQUEST_URI": "/a\nb"}, "REQUEST_URI contains what no request target does"),
        ({"REQUEST_URI": "/\xe9"}, "REQUEST_URI contains what no request target does"),
        ({"REQUEST_URI": "/#a"}, "A request target has no fragment"),
        ({"REQUEST_URI": "a"}, "The request target is neither a path nor an http URI"),
        ({"REQUEST_URI": "*"}, "Only OPTIONS may ask for *"),
        ({"QUERY_STRING": "a b"}, "QUERY_STRING contains what no query does"),
        ({"QUERY_STRING": "a\n"}, "QUERY_STRING contains what no query does"),
        ({"SERVER_PROTOCOL": "HTTP/1"}, "SERVER_PROTOCOL is not a version of HTTP"),
        ({"SERVER_PROTOCOL": "INCLUDED"}, "SERVER_PROTOCOL is not a version of HTTP"),
        ({"SERVER_PROTOCOL": ""}, "SERVER_PROTOCOL is not a version of HTTP"),
        ({"HTTP_HOST": "", "SERVER_NAME": ""}, "There is no Host field"),
        ({"HTTP_HOST": "a/b"}, "The Host field is not a host"),
        ({"CONTENT_LENGTH": "5 "}, "Content-Length is not a number of bytes"),
        ({"CONTENT_LENGTH": "-1"}, "Content-Length is not a number of bytes"),
        ({"CONTENT_LENGTH": "1_0"}, "Content-Length is not a number of bytes"),
        ({"CONTENT_LENGTH": "\xb2"}, "Content-Length is not a number of bytes"),
        ({"CONTENT_LENGTH": "1" * 21}, "Content-Length is not a number of bytes"),
        (
            {"CONTENT_LENGTH": "5", "HTTP_CONTENT_LENGTH": "6"},
            "CONTENT_LENGTH is not what the field says",
        ),
        ({"HTTP_CONTENT_LENGTH": "6"}, "CONTENT_LENGTH is missing beside the field"),
        (
            {"CONTENT_TYPE": "a/b", "HTTP_CONTENT_TYPE": "a/c"},
            "CONTENT_TYPE is not what the field says",
        ),
        ({"REMOTE_ADDR": "localhost"}, "REMOTE_ADDR is not an address"),
        ({"REMOTE_ADDR": "1.2.3"}, "REMOTE_ADDR is not an address"),
        ({"REMOTE_ADDR": "fe80::1%\n"}, "REMOTE_ADDR is not an address"),
        ({"REMOTE_ADDR": "1.2.3.4:80"}, "REMOTE_ADDR is not an address"),
        ({"REMOTE_PORT": "65536"}, "REMOTE_PORT is not a port"),
        ({"REMOTE_PORT": "\xb2"}, "REMOTE_PORT is not a port"),
        ({"SERVER_PORT": "http"}, "SERVER_PORT is not a port"),
        ({"HTTPS": "perhaps"}, "HTTPS says neither http nor https"),
        ({"REQUEST_SCHEME": "ftp"}, "REQUEST_SCHEME says neither http nor https"),
    ],
)
def test_values_that_are_refused(changed: dict[str, str], sentence: str) -> None:
    assert refusal(**changed) == f"400 {sentence}"


def test_who_has_forgotten_the_parameters_is_told() -> None:
    """uwsgi_pass without its include: nginx sends the fields alone."""
    assert refusal(without=("REQUEST_METHOD",)) == (
        "400 REQUEST_METHOD is missing: in nginx, include uwsgi_params, fastcgi_params or "
        "scgi_params"
    )


def test_other_refusals() -> None:
    assert refusal(REQUEST_METHOD="CONNECT", REQUEST_URI="a:443") == "501 This is not a proxy"
    assert refusal(SERVER_PROTOCOL="HTTP/0.9") == "505 HTTP/0.9 is not spoken here"
    coding = "501 The only transfer coding understood here is chunked"
    assert refusal(HTTP_TRANSFER_ENCODING="gzip, chunked", CONTENT_LENGTH="5") == coding
    assert refusal(HTTP_TRANSFER_ENCODING="chunked") == (
        "411 The body is chunked, and CONTENT_LENGTH is missing"
    )
    assert refusal(HTTP_TRANSFER_ENCODING="chunked", CONTENT_LENGTH="").startswith("411 ")


def test_a_protocol_that_ends_bodies_needs_no_length() -> None:
    named = encode({**PLAIN, "HTTP_TRANSFER_ENCODING": "Chunked", "CONTENT_LENGTH": ""})
    head = request_head(named, DEFAULTS, ends_bodies=True)
    assert (head.content_length, head.chunked, head.has_body) == (None, True, True)


def test_an_empty_length_is_none() -> None:
    """nginx has it for a request without a body, and where auth_request passes none on."""
    for more in ({}, {"HTTP_CONTENT_LENGTH": "6"}, {"HTTP_CONTENT_TYPE": "a/b"}):
        head = read(CONTENT_LENGTH="", CONTENT_TYPE="", **more)
        assert (head.content_length, head.has_body) == (None, False)
        assert not environ_of(head).keys() & {"CONTENT_LENGTH", "HTTP_CONTENT_LENGTH"}
    assert environ_of(head)["CONTENT_TYPE"] == "a/b"


def test_of_a_length_one_form_is_passed_on() -> None:
    head = read(CONTENT_LENGTH="005", HTTP_CONTENT_LENGTH="05")
    assert head.content_length == 5
    assert head.variables["CONTENT_LENGTH"] == "5"


@pytest.mark.parametrize(
    ("changed", "scheme"),
    [
        *(({"HTTPS": value}, "https") for value in ("on", "ON", "1", "yes", "true")),
        *(({"HTTPS": value}, "http") for value in ("", "off", "0", "no", "false")),
        *(({name: "https"}, "https") for name in ("REQUEST_SCHEME", "UWSGI_SCHEME")),
        ({"HTTPS": "on", "REQUEST_SCHEME": "http"}, "https"),
        ({"HTTPS": "", "REQUEST_SCHEME": "https"}, "https"),
        ({"REQUEST_SCHEME": "http"}, "http"),
        ({}, "http"),
    ],
)
def test_the_scheme(changed: dict[str, str], scheme: str) -> None:
    environ = environ_of(read(**changed))
    assert environ["wsgi.url_scheme"] == scheme
    assert environ.get("HTTPS") == ("on" if scheme == "https" else None)


@pytest.mark.parametrize(
    ("said", "addr", "port"),
    [
        (("192.0.2.9", "50000"), "192.0.2.9", "50000"),
        (("192.0.2.9", ""), "192.0.2.9", ""),
        (("192.0.2.9", "0"), "192.0.2.9", ""),
        (("2001:db8::1", "1"), "2001:db8::1", "1"),
        (("::ffff:192.0.2.9", "1"), "192.0.2.9", "1"),
        (("fe80::1%eth0", "1"), "fe80::1%eth0", "1"),
        (("unix:", ""), "", ""),
        (("", "7"), "", ""),
    ],
)
def test_the_client(said: tuple[str, str], addr: str, port: str) -> None:
    environ = environ_of(read(REMOTE_ADDR=said[0], REMOTE_PORT=said[1]))
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == (addr, port)


def test_without_a_client_it_is_the_connections() -> None:
    origin = read(without=("REMOTE_ADDR",)).origin
    assert (origin.remote_addr, origin.remote_port) == (None, None)


@pytest.mark.parametrize(
    ("name", "result"),
    [
        *((name, name) for name in ("shop.example", "192.0.2.1", "[::1]", "::1", "my_host")),
        # What nginx says where no server_name is the one, or a pattern is
        *((name, "a") for name in ("_", "", "*.example.com", ".example.com", "~^www", "--", "a/b")),
    ],
)
def test_the_servers_name(name: str, result: str) -> None:
    assert read(SERVER_NAME=name, HTTP_HOST="a:8080").variables["SERVER_NAME"] == result


def test_the_servers_port_is_never_empty() -> None:
    """nginx says none on a unix socket; PEP 3333 wants one."""
    for said in ("", "0"):
        assert read(SERVER_PORT=said, HTTP_HOST="a:8080").origin.server_port == "8080"
        assert read(SERVER_PORT=said, HTTP_HOST="[::1]").origin.server_port == "80"
        assert read(SERVER_PORT=said, HTTPS="on").origin.server_port == "443"


def test_without_a_name_there_is_the_servers_own() -> None:
    head = read(without=("SERVER_NAME", "HTTP_HOST"), SERVER_PROTOCOL="HTTP/1.0")
    assert environ_of(head)["SERVER_NAME"] == "localhost"
    assert refusal(without=("SERVER_NAME", "HTTP_HOST")) == "400 There is no Host field"
    assert "HTTP_HOST" not in read(without=("HTTP_HOST",)).variables, "its name will do"
    # nginx's $host where HTTP/1.0 has none, and the server no name
    head = read(HTTP_HOST="", SERVER_NAME="", SERVER_PROTOCOL="HTTP/1.0")
    assert not head.variables.keys() & {"HTTP_HOST", "SERVER_NAME"}


@pytest.mark.parametrize(
    ("said", "version"),
    [
        *(
            (version, version)
            for version in ("HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "HTTP/3.0", "HTTP/2")
        ),
        ("HTTP/1.2", "HTTP/1.1"),
    ],
)
def test_versions(said: str, version: str) -> None:
    head = read(SERVER_PROTOCOL=said)
    assert head.version == head.variables["SERVER_PROTOCOL"] == version


def test_a_target_of_its_own_where_cgi_has_none() -> None:
    head = read(without=("REQUEST_URI",), SCRIPT_NAME="/\xc3\xa4", PATH_INFO="/b c")
    assert head.target == "/%C3%A4/b%20c?c=d"
    assert head.path == "/%C3%A4/b%20c"
    environ = environ_of(head)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/\xc3\xa4", "/b c")
    assert read(without=("REQUEST_URI", "PATH_INFO", "QUERY_STRING")).target == "/"


def test_a_path_that_was_written_anew() -> None:
    """The target stays what was sent, and all that goes by the path goes by the new one."""
    head = read(REQUEST_URI="/old?a=b", PATH_INFO="/n\xc3\xa9w", QUERY_STRING="c=d")
    assert (head.target, head.path, head.query) == ("/old?a=b", "/n%C3%A9w", "c=d")
    assert environ_of(head)["PATH_INFO"] == "/n\xc3\xa9w"


def test_the_query_is_the_targets_where_nobody_says_it() -> None:
    assert read(without=("QUERY_STRING",)).variables["QUERY_STRING"] == "c=d"


def test_options_of_no_path() -> None:
    head = read(REQUEST_METHOD="OPTIONS", REQUEST_URI="*", PATH_INFO="*")
    assert (head.target, head.path, environ_of(head)["PATH_INFO"]) == ("*", "", "")


def test_the_authority_of_a_target_goes_before_the_field() -> None:
    head = read(REQUEST_URI="http://b:1/a%20b", HTTP_HOST="a")
    assert head.variables["HTTP_HOST"] == "b:1"
    assert head.path == "/a%20b"


@pytest.mark.parametrize(
    ("script", "path", "place"),
    [
        ("", "/shop/x", ("/shop", "/x")),
        ("", "/shop", ("/shop", "")),
        ("", "/x", ("/shop", "/x")),
        ("", "/shopping", ("/shop", "/shopping")),
        ("/shop", "/x", ("/shop", "/x")),
        ("/shop", "/shop/x", ("/shop", "/x")),
        ("/site/shop", "/x", ("/site/shop", "/x")),
        ("/site", "/x", ("/site", "/x")),
    ],
)
def test_beside_the_root_path(script: str, path: str, place: tuple[str, str]) -> None:
    """It is taken off where it is there; what the front server says goes before it."""
    uri = path if path.startswith("/shop/") else script + path
    head = read(SCRIPT_NAME=script, PATH_INFO=path, REQUEST_URI=uri)
    environ = environ_of(head, "/shop")
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == place


def test_a_path_that_begins_with_its_place_once_more() -> None:
    """What CGI means is not taken off twice."""
    environ = environ_of(read(SCRIPT_NAME="/a", PATH_INFO="/a/a", REQUEST_URI="/a/a/a"))
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/a", "/a/a")


@pytest.mark.parametrize("protocol", ["uwsgi", "fastcgi", "scgi"])
@pytest.mark.parametrize("root_path", ["", "/shop"])
def test_nginx_with_its_parameters_unchanged(protocol: str, root_path: str) -> None:
    asked = Asked("/shop/a%2Fb//c/../%C3%A9?d=e", https=True)
    head = request_head(encode(nginx(protocol, asked, "/shop/a/b/\xc3\xa9")), DEFAULTS)
    environ = environ_of(head, root_path)
    assert environ["SCRIPT_NAME"] == root_path
    assert root_path + str(environ["PATH_INFO"]) == "/shop/a/b/\xc3\xa9"
    assert environ["QUERY_STRING"] == "d=e"
    assert environ["REQUEST_URI"] == environ["RAW_URI"] == asked.target
    assert environ["wsgi.url_scheme"] == "https"
    assert environ["HTTPS"] == "on"
    assert environ["REMOTE_ADDR"] == "192.0.2.9"


def test_the_limits_are_those_of_heads() -> None:
    cases = [
        (Limits(26, 0, 0, 0), {"REQUEST_URI": "/" + "a" * 13, "QUERY_STRING": ""}, 414),
        (Limits(0, 2, 0, 0), {"HTTP_A": "", "HTTP_B": ""}, 431),
        (Limits(0, 2, 0, 0), {"HTTP_A": "", "CONTENT_LENGTH": "1"}, 431),
        (Limits(0, 3, 0, 0), {"HTTP_A": "", "CONTENT_LENGTH": "1", "CONTENT_TYPE": "a/b"}, 431),
        (Limits(0, 0, 18, 0), {"HTTP_ACCEPT": "12345678901"}, 431),
        (Limits(0, 0, 18, 0), {"CONTENT_TYPE": "12345"}, 431),
    ]
    for limits, changed, status in cases:
        named = encode({**PLAIN, **changed})
        with pytest.raises(HTTPError) as caught:
            request_head(named, limits)
        assert caught.value.status == status
        one_more = Limits(*(limit and limit + 1 for limit in limits))
        assert request_head(named, one_more).method == "GET"


def test_64_kilobytes_of_anything() -> None:
    """What a client can send so is refused; what is not the client's has a bound together."""
    large = "/" + "a" * 65536
    statuses = {
        **dict.fromkeys(("REQUEST_URI", "QUERY_STRING", "PATH_INFO", "SCRIPT_NAME"), 414),
        **dict.fromkeys(("HTTP_COOKIE", "CONTENT_TYPE", "CONTENT_LENGTH"), 431),
        **dict.fromkeys(("REQUEST_METHOD", "SERVER_PROTOCOL", "HTTPS", "REQUEST_SCHEME"), 400),
        **dict.fromkeys(("REMOTE_ADDR", "REMOTE_PORT", "SERVER_PORT"), 400),
    }
    for name, status in statuses.items():
        assert refusal((name, large), without=(name,)).startswith(f"{status} "), name
    assert refusal((f"HTTP_{large[1:].upper()}", "x")).startswith("431 ")
    assert refusal(REQUEST_METHOD=large[1:]).startswith("414 ")
    assert read(SSL_CLIENT_CERT=large).variables["SSL_CLIENT_CERT"] == large
    assert most_bytes(DEFAULTS) == DEFAULTS.header_size + OWN_SIZE
    with pytest.raises(HTTPError, match="431"):
        read(*(("HTTP_X", "a" * 8000) for _ in range(9)))


def test_what_is_taken_off_a_head_is_not_in_its_fields() -> None:
    """As where a proxy's fields are not believed."""
    head = read(HTTP_X_FORWARDED_FOR="192.0.2.1")
    assert ("X-Forwarded-For", "192.0.2.1") in head.fields
    kept = {name: value for name, value in head.variables.items() if "FORWARDED" not in name}
    taken = dataclasses.replace(head, variables=kept)
    assert [name for name, _ in taken.fields] == ["Host"]
    assert taken.origin == head.origin
