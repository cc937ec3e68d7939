"""Errors behind uwsgi_pass, fastcgi_pass and scgi_pass: what the client sees, and nginx's log."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from frameworks import Site
from gateway_nginx import (
    PROTOCOLS,
    WAYS,
    Fronted,
    Way,
    binds,
    fronted,
    make_application,
    upstreams,
)
from processes import Site as Deployed
from processes import children
from serving import Served, serving

from wsgi_async.help import page as guide_page

LIMIT = 10_000
CUT = (
    r"upstream prematurely closed|(?:recv|readv)\(\) failed \(104"
    r"|upstream sent unsupported FastCGI protocol version: 0"
)
"""What nginx complains of where a response has no end."""
NOT_EVEN_A_HEAD = r"upstream prematurely closed connection while reading response header"
UNTOLD = {("uwsgi", "unix"), ("scgi", "unix")}
"""Where the connection's end is that of the response, whatever was the cause: there are no resets.
With a Content-Length a cut shows there, too."""


class Behind(NamedTuple):
    site: Site
    served: Served
    nginx: Fronted


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    directory = tmp_path_factory.mktemp("nginx")
    site = Site(directory / "none")
    with (
        serving(make_application(site), bind=binds(directory), max_body_size=LIMIT) as served,
        fronted(
            directory,
            served.server.addresses,
            but_for=rf"{CUT}|FastCGI sent in stderr|temporary file",
        ) as nginx,
    ):
        yield Behind(site, served, nginx)


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


@pytest.fixture(autouse=True)
def _serves_on(behind: Behind, request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever has happened, the next request of the same way is answered."""
    way = request.getfixturevalue("way") if "way" in request.fixturenames else None
    yield
    if way is not None:
        assert behind.nginx.ask(way, "/hello").body == b"Hello, world!"


@pytest.mark.parametrize("target", ["/before", "/started", "/boom"])
def test_an_error_before_the_body(target: str, behind: Behind, way: Way) -> None:
    """A 500 of the server's own, or of the framework's, in the protocol."""
    reply = behind.nginx.ask(way, target)
    assert (reply.status, b"Traceback" in reply.body) == (500, False)
    assert b"Internal Server Error" in reply.body


@pytest.mark.parametrize("says_length", [True, False], ids=["length", "no length"])
def test_an_error_in_the_body_cuts_the_response(
    says_length: bool, behind: Behind, way: Way
) -> None:
    before = len(behind.nginx.complaints.lines)
    response: http.client.HTTPResponse | None = None
    with contextlib.closing(behind.nginx.connect(way)) as connection:
        connection.request("GET", "/cut?length" if says_length else "/cut")
        if way.direct:
            response = connection.getresponse()
            assert response.read1() == b"the beginning"
        behind.site.gate.open()
        if not says_length and (way.protocol, way.transport) in UNTOLD:
            rest = (response or connection.getresponse()).read()
            assert rest == (b"" if way.direct else b"the beginning")
            return
        # Of what nginx has collected the client may not even get the head.
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            (response or connection.getresponse()).read()
    behind.nginx.complaints.wait_for(CUT, after=before)


def test_a_body_that_is_too_large(behind: Behind, way: Way) -> None:
    """Refused in the protocol, and while nginx still sends it: it reads what is said meanwhile."""
    body = b"x" * (3_000_000 if way.streams_uploads else 2 * LIMIT)
    reply = behind.nginx.ask(way, "/digest", "POST", body)
    assert (reply.status, b"too large" in reply.body) == (413, True), reply


def test_what_the_application_complains_of(tmp_path: Path) -> None:
    """With --fastcgi-stderr it is in nginx's log as well."""
    ways = [way for way in WAYS if way.protocol == "fastcgi"]
    with (
        serving(
            make_application(Site(tmp_path / "none")), bind=binds(tmp_path), fastcgi_stderr=True
        ) as served,
        fronted(tmp_path, served.server.addresses, ways, but_for="FastCGI sent in stderr") as nginx,
    ):
        for way in ways:
            before = len(nginx.complaints.lines)
            assert nginx.ask(way, "/complain").body == b"well"
            line = nginx.complaints.wait_for("sent in stderr", after=before)
            assert '"the shelves are empty"' in line


@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_only_who_may_is_answered(transport: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """By default this machine; who comes by a unix socket may as the socket's file says."""
    directory = tmp_path_factory.mktemp("nginx")
    ways = [way for way in WAYS if way.transport == transport and way.direct]
    with (
        serving(
            make_application(Site(directory / "none")),
            bind=binds(directory),
            uwsgi_allow_from="192.0.2.1",
        ) as served,
        fronted(
            directory, served.server.addresses, ways, but_for=rf"{NOT_EVEN_A_HEAD}|{CUT}"
        ) as nginx,
    ):
        for way in ways:
            reply = nginx.ask(way, "/hello")
            if transport == "unix":
                assert reply.body == b"Hello, world!", way
            else:
                assert (reply.status, b"Hello" in reply.body) == (502, False), way


def test_a_server_that_vanishes(site: Deployed, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A process that dies with a request is a 502, and the next request is the next process's."""
    directory = tmp_path_factory.mktemp("nginx")
    words = [word for bind in binds(directory) for word in ("-b", bind)]
    ways = [Way("scgi", "unix"), Way("fastcgi", "tcp", kept=True)]
    with site.serve(*words, "-b", "127.0.0.1:0") as servers:
        told = servers.wait_for(r"Listening on (.*) \(")[1]
        with fronted(directory, told, ways, but_for=rf"{NOT_EVEN_A_HEAD}|{CUT}") as nginx:
            for way in ways:
                first = nginx.ask(way, "/?x").body.split()[0]
                assert nginx.ask(way, "/end").status == 502
                nginx.complaints.wait_for(rf"({NOT_EVEN_A_HEAD}|{CUT}).*/end")
                reply = nginx.ask(way, "/?x")
                assert (reply.status, reply.body.split()[0] != first) == (200, True), reply


def test_a_server_that_is_killed(site: Deployed, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Its kernel ends its connections in order: a response that has begun, and has no length, is
    told from a whole one by FastCGI's own end alone, where nginx waits for that."""
    directory = tmp_path_factory.mktemp("nginx")
    words = [word for bind in binds(directory) for word in ("-b", bind)]
    ways = [way for way in WAYS if way.direct or way.kept]
    harmless = rf"{CUT}|{NOT_EVEN_A_HEAD}|connect\(\) .*failed"
    more = "PROTOCOL_max_temp_file_size 0;"
    with site.serve(*words, "-b", "127.0.0.1:0") as servers, contextlib.ExitStack() as stack:
        told = servers.wait_for(r"Listening on (.*) \(")[1]
        nginx = stack.enter_context(fronted(directory, told, ways, more=more, but_for=harmless))
        responses = []
        for way in ways:
            connection = stack.enter_context(contextlib.closing(nginx.connect(way)))
            connection.request("GET", "/stream")
            responses.append(stack.enter_context(connection.getresponse()))
            assert responses[-1].read(10) == b"x" * 10
        os.killpg(servers.process.pid, signal.SIGKILL)
        for way, response in zip(ways, responses, strict=True):
            expected: contextlib.AbstractContextManager[object] = contextlib.nullcontext()
            if way.kept and not way.direct:
                expected = pytest.raises((http.client.IncompleteRead, ConnectionError))
            with expected:
                while response.read(1_000_000):
                    pass
            assert nginx.ask(way, "/").status == 502


def test_a_front_server_that_vanishes(tmp_path: Path) -> None:
    """nginx's own process dies in the middle of everything: nothing is held for it."""
    site = Site(tmp_path / "none")
    ways = [way for way in WAYS if way.direct]
    with (
        serving(make_application(site), bind=binds(tmp_path)) as served,
        fronted(
            tmp_path, served.server.addresses, ways, but_for="exited on signal 9|temporary file"
        ) as nginx,
        contextlib.ExitStack() as stack,
    ):
        for way in ways:
            stream = stack.enter_context(contextlib.closing(nginx.connect(way)))
            stream.request("GET", "/stream?count=3")
            assert stream.getresponse().read1() == b"0\n"
            upload = stack.enter_context(contextlib.closing(nginx.connect(way)))
            upload.putrequest("POST", "/digest")
            upload.putheader("Content-Length", "1000000")
            upload.endheaders(b"x" * 100_000)
        busy = sum(way.streams_uploads for way in ways) + len(ways)
        served.wait_until(lambda: len(served.connections.open) >= busy, "the uploads have come")
        [worker] = children(int((tmp_path / "nginx.pid").read_text()))
        os.kill(worker, signal.SIGKILL)
        for _ in range(2 * len(ways)):
            site.gate.open()
        served.wait_until_idle()
        # Its successor finds the server as it was.
        for way in ways:
            assert nginx.ask(way, "/hello").body == b"Hello, world!"


def test_the_guide_knows_the_complaint_of_who_finds_nobody(tmp_path: Path) -> None:
    """All that the client sees is a 502: the guide goes by what nginx's log says."""
    guide = guide_page("gateways")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    told = [f"uwsgi://127.0.0.1:{port}", f"fastcgi+unix:{tmp_path}/none.sock"]
    ways = [Way("uwsgi", "tcp"), Way("fastcgi", "unix")]
    with fronted(tmp_path, told, ways, but_for=r"connect\(\) .*failed") as nginx:
        for way, number in zip(ways, ("111", "2"), strict=True):
            assert nginx.ask(way, "/hello").status == 502
            line = nginx.complaints.wait_for(rf"failed \({number}: ")
            [complaint] = re.findall(r"failed \(.*?\)", line)
            assert f"| `{complaint}` |" in guide


def test_spoken_to_the_wrong_port(tmp_path: Path) -> None:
    """A directive for one protocol, the port of another: a 502, and the log says what it was."""
    swapped = dict(zip(PROTOCOLS, (*PROTOCOLS[1:], PROTOCOLS[0]), strict=True))
    harmless = rf"{CUT}|{NOT_EVEN_A_HEAD}|(?:recv|readv|sendfile|writev)\(\).*(?:104|32)"
    with serving(make_application(Site(tmp_path / "none")), bind=binds(tmp_path)) as served:
        right = upstreams(served.server.addresses)
        told = [f"{name}://{right[other, 'tcp']}" for name, other in swapped.items()]
        ways = [Way(protocol, "tcp") for protocol in PROTOCOLS]
        with fronted(tmp_path, told, ways, but_for=harmless) as nginx:
            for way in ways:
                assert nginx.ask(way, "/hello").status == 502, way
            dropped = served.recorder.wait_for("connection_dropped", len(ways))
        for (_, why), (name, other) in zip(dropped, swapped.items(), strict=True):
            assert re.search(rf"looks like {name}, .* speaks {other}", why, re.IGNORECASE), why
