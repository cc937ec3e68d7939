"""The PROXY protocol with several processes, and on the command line."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import pytest
from processes import Site
from proxy_headers import LINE, tcp, with_checksum
from rawclient import request
from serving import Command, serving

from wsgi_async.errors import ConfigError
from wsgi_async.server.server import Server

HEADER = with_checksum(tcp(("203.0.113.7", 1), ("192.0.2.11", 443)))
PAIR = ("--workers", "2", "--proxy-protocol")


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_reloads_lose_no_request(site: Site, preload: tuple[str, ...]) -> None:
    with site.serve(*PAIR, *preload) as servers:
        servers.wait_for("Listening on ")
        with servers.load(kept=6, fresh=6, opening=HEADER) as load:
            load.wait_for_processes(2)
            for number in range(1, 4):
                site.write(f"v{number}")
                servers.reload()
                load.wait_for_version(f"v{number}", 10)
            load.wait_for_each(2)
        load.assert_flawless()
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.assert_clean()


def test_those_that_never_end_their_header_are_shared_and_disturb_nobody(site: Site) -> None:
    """They count as open connections, by which the processes share the others."""
    with site.serve(*PAIR) as servers, contextlib.ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(servers.client()).send(HEADER[:5])
        with servers.load(kept=4, fresh=4, opening=HEADER) as load:
            load.wait_for_processes(2)
            load.wait_for_more(200)
        load.assert_flawless()
        # A stop ends them all: after the time for a header, or at a second signal.
        servers.signal(signal.SIGQUIT)
        assert servers.wait() == 0
        servers.assert_clean()


@pytest.mark.parametrize(
    "args", [("--proxy-protocol", "hello"), ("hello", "--proxy-protocol=v1"), ("hello",)]
)
def test_the_flag_alone_swallows_no_application(args: tuple[str, ...]) -> None:
    env = {"WSGI_ASYNC_PROXY_PROTOCOL": "auto"} if args == ("hello",) else None
    with Command("--bind", "127.0.0.1:0", *args, env=env, directory=EXAMPLES) as command:
        with command.client() as client:
            client.send(LINE + request())
            assert client.response().status == 200
        with command.client() as client, contextlib.suppress(ConnectionError):
            client.send(request())
            assert client.is_dropped()
        command.wait_for("no PROXY header came first: it begins with G")


def test_without_it_a_header_is_refused_and_the_option_named() -> None:
    with Command(
        "--bind", "127.0.0.1:0", "--no-proxy-protocol", "hello", directory=EXAMPLES
    ) as command:
        with command.client() as client:
            client.send(LINE + request())
            assert client.response().status == 400
        command.wait_for("PROXY protocol.*--proxy-protocol")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"proxy_protocol": "v3"}, "--proxy-protocol takes off, v1, v2 or auto, not 'v3'"),
        ({"proxy_allow_from": ["10.0.0.1/8"]}, r"--proxy-allow-from: '10\.0\.0\.1/8' is a host"),
        ({"proxy_allow_from": ["proxy.local"]}, "--proxy-allow-from takes addresses"),
    ],
)
def test_what_is_wrong_is_one_line(options: dict[str, object], line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        Server(lambda environ, start_response: [], **options)


def test_in_python_true_is_the_flag_alone() -> None:
    def application(environ: dict[str, object], start_response: object) -> list[bytes]:
        raise AssertionError

    with serving(application, proxy_protocol=True) as served:
        assert served.server.config.proxy_protocol == "auto"
        assert served.server.config.proxy_allow_from == ("127.0.0.0/8", "::1", "unix")


EXAMPLES = Path(__file__).parents[2] / "examples"
