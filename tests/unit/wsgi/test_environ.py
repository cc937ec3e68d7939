"""The environ: PEP 3333, CGI, and nothing that a client could pass off as something else."""

from __future__ import annotations

import io
import os
import sys
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import pytest
from wire import Site

from wsgi_async.http.limits import Limits
from wsgi_async.http.request import RequestHead
from wsgi_async.http1.reader import RequestReader
from wsgi_async.wsgi.environ import build_environ, client_name, remote_address, server_variables


def read(raw: bytes) -> RequestHead:
    reader = RequestReader(Limits(0, 0, 0, 0))
    reader.receive_data(raw)
    head = reader.next_event()
    assert isinstance(head, RequestHead)
    return head


def facts(
    root_path: str = "",
    scheme: str = "http",
    local: object = ("127.0.0.1", 8000),
    threads: int = 8,
) -> dict[str, object]:
    return server_variables(
        local, root_path=root_path, scheme=scheme, threads=threads, file_wrapper=FileWrapper
    )


def build(
    head: RequestHead,
    shared: dict[str, object] | None = None,
    body: object = None,
    body_size: int | None = 0,
    errors: object = sys.stderr,
) -> dict[str, object]:
    shared = facts() if shared is None else shared
    return build_environ(head, shared, "192.0.2.1", "50000", body, body_size, errors, print)


def environ(raw: bytes, body_size: int | None = 0, root_path: str = "") -> dict[str, object]:
    return build(read(raw), facts(root_path), io.BytesIO(), body_size)


def target(path: str, root_path: str = "") -> dict[str, object]:
    return environ(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode(), 0, root_path)


def fields(*lines: bytes) -> dict[str, object]:
    """The keys that the field lines, beside Host, make."""
    plain = target("/")
    raw = b"".join(line + b"\r\n" for line in lines)
    made = environ(b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n" % raw)
    return {key: value for key, value in made.items() if key not in plain}


def test_everything_that_pep_3333_and_cgi_ask_for() -> None:
    body, errors = io.BytesIO(b"hello"), io.StringIO()
    head = read(
        b"POST /a%20b?c=%20d HTTP/1.0\r\nHost: a:8000\r\nContent-Type: text/plain\r\n"
        b"Content-Length: 5\r\nX-Abc: d\r\n\r\n"
    )
    made = build(head, facts(), body, 5, errors)
    assert type(made) is dict
    assert str(made.pop("SERVER_SOFTWARE")).startswith("wsgi_async/")
    assert made == {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b",
        "QUERY_STRING": "c=%20d",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "5",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.0",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REMOTE_ADDR": "192.0.2.1",
        "REMOTE_PORT": "50000",
        "RAW_URI": "/a%20b?c=%20d",
        "REQUEST_URI": "/a%20b?c=%20d",
        "HTTP_HOST": "a:8000",
        "HTTP_X_ABC": "d",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": body,
        "wsgi.errors": errors,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.early_hints": print,
        "wsgi_async.client": print,
        "wsgi_async.threads": 8,
    }


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /\xc3%a9 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n".replace(b"\xc3", b"%c3"),
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nX.Y: \xe9\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://b HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
@pytest.mark.parametrize("root_path", ["", "/", "/app", "/é"])
@pytest.mark.parametrize("body_size", [0, None])
def test_wsgiref_accepts_it(raw: bytes, root_path: str, body_size: int | None) -> None:
    def application(environ, start_response):  # type: ignore[no-untyped-def]
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    result = validator(application)(
        environ(raw, body_size, root_path), lambda status, headers, exc_info=None: print
    )
    assert list(result) == [b""]
    result.close()  # type: ignore[attr-defined]


def test_each_request_has_a_dict_of_its_own() -> None:
    shared = facts()
    before = dict(shared)
    head = read(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    first = build(head, shared)
    first.clear()
    assert shared == before
    assert build(head, shared)["HTTP_HOST"] == "a"


def test_nothing_of_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSGI_ASYNC_CANARY", "x")
    made = target("/")
    assert "WSGI_ASYNC_CANARY" not in made
    assert not set(made) & set(os.environ)


@pytest.mark.parametrize(
    ("path", "root_path", "script_name", "path_info"),
    [
        ("/", "", "", "/"),
        ("/%7Ea", "", "", "/~a"),
        ("/%2525", "", "", "/%25"),
        ("/%zz%4", "", "", "/%zz%4"),
        ("/%c3%a9", "", "", "/\u00c3\u00a9"),
        ("/%e9", "", "", "/\u00e9"),
        ("/a%2Fb", "", "", "/a/b"),
        ("/a+b", "", "", "/a+b"),
        ("//a", "", "", "//a"),
        ("/app/x", "/app", "/app", "/x"),
        ("/app/x", "/app/", "/app", "/x"),
        ("/app", "/app", "/app", ""),
        ("/app/", "/app", "/app", "/"),
        ("/%61pp/x", "/app", "/app", "/x"),
        ("/x", "/app", "/app", "/x"),
        ("/apple", "/app", "/app", "/apple"),
        ("/x", "/", "", "/x"),
        ("/%c3%a9/x", "/é", "/\u00c3\u00a9", "/x"),
        ("/%c3%a9/x", "/%C3%A9", "/\u00c3\u00a9", "/x"),
        ("/app%2Fx", "/app", "/app", "/x"),
        ("/app%2fx%2Fy", "/app/", "/app", "/x/y"),
        ("/app%252Fx", "/app", "/app", "/app%2Fx"),
    ],
)
def test_paths(path: str, root_path: str, script_name: str, path_info: str) -> None:
    made = target(path, root_path)
    assert (made["SCRIPT_NAME"], made["PATH_INFO"]) == (script_name, path_info)
    assert made["RAW_URI"] == made["REQUEST_URI"] == path


def test_asterisk_form() -> None:
    made = environ(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 0, "/app")
    assert (made["SCRIPT_NAME"], made["PATH_INFO"], made["RAW_URI"]) == ("/app", "", "*")


def test_absolute_form() -> None:
    made = environ(b"GET http://b:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (made["HTTP_HOST"], made["PATH_INFO"], made["QUERY_STRING"]) == ("b:81", "/x", "y")
    assert made["wsgi.url_scheme"] == "http"


@pytest.mark.parametrize(
    ("lines", "made"),
    [
        ([b"X-A: b"], {"HTTP_X_A": "b"}),
        ([b"x-a: b", b"X-B:", b"X-A: c"], {"HTTP_X_A": "b,c", "HTTP_X_B": ""}),
        ([b"Cookie: a=b", b"cookie: c=d"], {"HTTP_COOKIE": "a=b; c=d"}),
        ([b"X-A: \xc3\xa9"], {"HTTP_X_A": "\u00c3\u00a9"}),
        ([b"X.A!: b"], {"HTTP_X.A!": "b"}),
        ([b"content-type: text/plain"], {"CONTENT_TYPE": "text/plain"}),
        ([b"X_A: b", b"_: c", b"Content_Length: 5", b"Content_Type: d", b"X_A: e"], {}),
        ([b"Proxy: http://b", b"proxy: http://c"], {}),
        ([b"X-Proxy: b", b"Proxy-A: c"], {"HTTP_X_PROXY": "b", "HTTP_PROXY_A": "c"}),
        ([b"X-Real-IP: 1", b"X_Real_IP: 2", b"X_Real-IP: 3"], {"HTTP_X_REAL_IP": "1"}),
        ([b"Script-Name: /x"], {"HTTP_SCRIPT_NAME": "/x"}),
        ([b"wsgi.input: b"], {"HTTP_WSGI.INPUT": "b"}),
    ],
)
def test_fields(lines: list[bytes], made: dict[str, str]) -> None:
    assert fields(*lines) == made
    assert fields(*lines) == made  # once more, from the memo


LENGTH = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %b\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
NEITHER = b"POST / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "body_size", "length"),
    [
        (LENGTH % b"007", 7, "7"),
        (LENGTH % b"007", None, "7"),
        (LENGTH % b"0", 0, "0"),
        (CHUNKED, 12, "12"),
        (CHUNKED, 0, "0"),
        (CHUNKED, None, None),
        (NEITHER, 0, None),
        (NEITHER, None, None),
    ],
)
def test_length_of_the_body(raw: bytes, body_size: int | None, length: str | None) -> None:
    made = environ(raw, body_size)
    assert made.get("CONTENT_LENGTH") == length
    assert "HTTP_TRANSFER_ENCODING" not in made
    assert "HTTP_CONTENT_LENGTH" not in made


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:1", "::ffff:1"),
        ("", ""),
    ],
)
def test_addresses(address: str, shown: str) -> None:
    peer = remote_address((address, 1234, 0, 0))
    assert peer == (shown, "1234")
    assert client_name(*peer) == (f"[{shown}]:1234" if ":" in shown else f"{shown}:1234")
    assert facts(local=(address, 80, 0, 0))["SERVER_NAME"] == shown


def test_one_thread_is_no_multithreading() -> None:
    assert facts(threads=1)["wsgi.multithread"] is False


def test_a_unix_socket_has_no_address() -> None:
    made = facts(local="/run/app.sock")
    # PEP 3333: SERVER_NAME and SERVER_PORT can never be empty strings
    assert (made["SERVER_NAME"], made["SERVER_PORT"]) == ("localhost", "80")
    assert remote_address("") == ("", "")
    assert client_name("", "") == "unix"


def test_a_client_whose_port_no_proxy_has_told() -> None:
    assert client_name("192.0.2.1", "") == "192.0.2.1"
    assert client_name("2001:db8::1", "") == "[2001:db8::1]"


def test_https() -> None:
    assert facts(scheme="https")["HTTPS"] == "on"
    assert facts(scheme="https")["wsgi.url_scheme"] == "https"
    assert "HTTPS" not in facts()


def test_names_that_clients_invent_do_not_pile_up() -> None:
    from wsgi_async.http import variables as module

    for number in range(3000):
        assert fields(b"X-Invented-%d: y" % number) == {f"HTTP_X_INVENTED_{number}": "y"}
        assert len(module.KEYS) <= module.KEYS.limit
    assert fields(b"X-%b: y" % (b"a" * 5000)) == {"HTTP_X_" + "A" * 5000: "y"}
    assert all(len(name) <= module._MAX_NAME_SIZE for name in module.KEYS)


def test_connections_to_one_address_share_their_variables() -> None:
    """A kilobyte less for each of ten thousand."""
    with Site() as site:
        first, second = site.connect().protocol, site.connect(peername=("192.0.2.7", 5)).protocol
        other = site.connect(sockname=("127.0.0.1", 8001)).protocol
        assert first.server_variables is second.server_variables
        assert (first.client, second.client) == ("127.0.0.1:50312", "192.0.2.7:5")
        assert other.server_variables["SERVER_PORT"] == "8001"
