"""Reloads behind uwsgi_pass, fastcgi_pass and scgi_pass, under a load that counts."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from counting import Load
from gateway_nginx import Way, binds, fronted
from processes import Site

WAYS = [
    Way("uwsgi", "tcp"),
    Way("uwsgi", "unix", direct=False),
    Way("scgi", "tcp"),
    Way("scgi", "unix"),
    Way("fastcgi", "tcp"),
    Way("fastcgi", "tcp", kept=True),
    Way("fastcgi", "unix", kept=True),
]


@pytest.mark.parametrize("reloads", [2, pytest.param(10, marks=pytest.mark.soak)])
def test_reloads_lose_no_request(reloads: int, site: Site, tmp_path: Path) -> None:
    """On connections that nginx keeps as on those that it makes anew; it finds fault with none."""
    words = [word for bind in binds(tmp_path) for word in ("-b", bind)]
    with site.serve(*words, "-b", "127.0.0.1:0", "-w", "2") as servers:
        told = servers.wait_for(r"Listening on (.*) \(")[1]
        with fronted(tmp_path, told, WAYS) as nginx, contextlib.ExitStack() as stack:
            loads = [
                stack.enter_context(Load(("127.0.0.1", port), kept=1, fresh=1))
                for port in nginx.front.ports.values()
            ]
            for load in loads:
                load.wait_for_version("v0", 3)
            for number in range(1, reloads + 1):
                site.write(f"v{number}")
                servers.reload()
                servers.wait_for_version(f"v{number}")
                for load in loads:
                    load.wait_for_version(f"v{number}", 3)
            stack.close()
            for load in loads:
                load.assert_flawless()
        servers.assert_clean()
