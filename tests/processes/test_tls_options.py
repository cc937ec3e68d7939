"""The options on TLS as a command line has them: addresses, the way to https, and the password."""

from __future__ import annotations

import contextlib
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import authority
from processes import Servers, Site
from rawclient import RawClient

FACTS = """
import json, os
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    facts = {
        "scheme": environ["wsgi.url_scheme"],
        "secrets": sorted(name for name in os.environ if "PASSWORD" in name),
    }
    return [json.dumps(facts).encode()]
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.write_source(FACTS)
    return site


@contextlib.contextmanager
def served(site: Site, *args: str, **options: Any) -> Iterator[tuple[Servers, dict[str, int]]]:
    """The command line, and the port of each scheme that it says it listens on."""
    with site.serve(*args, **options) as servers:
        said = servers.wait_for(r"Listening on .*")[0]
        ports = {scheme: int(port) for scheme, port in re.findall(r"(\w+)://[^ ,]+:(\d+)", said)}
        yield servers, ports
        servers.signal(signal.SIGTERM)
        assert servers.wait() == 0
        servers.assert_clean()


def test_two_addresses_and_the_way_from_the_one_to_the_other(site: Site, tmp_path: Path) -> None:
    """In two processes: each of them answers for itself."""
    pair = authority().issue(tmp_path, "localhost")
    args = (*pair.flags, "--workers", "2")
    addresses = ("-b", "https://127.0.0.1:0", "-b", "http://127.0.0.1:0")
    to = ("--redirect-to-https", "localhost")
    with served(site, *args, *addresses, *to) as (_, ports):
        with RawClient(("127.0.0.1", ports["https"]), tls=authority().client()) as client:
            assert json.loads(client.get("/").body)["scheme"] == "https"
        for _ in range(4):
            with RawClient(("127.0.0.1", ports["http"])) as client:
                client.send(b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n")
                response = client.response()
                assert response.status == 301
                assert response.fields["location"] == f"https://localhost:{ports['https']}/a"


@pytest.mark.parametrize("way", ["variable", "file"])
def test_a_password_opens_the_key_and_is_nobody_elses(site: Site, tmp_path: Path, way: str) -> None:
    """An application that shows its environment, as pages of errors do, has no secret to show."""
    pair = authority().issue(tmp_path, "localhost", password="hunter2")
    (tmp_path / "password").write_text("hunter2\nnot this\n")
    password = "hunter2" if way == "variable" else "file:password"
    args = ("--certfile", pair.certificate.name, "--keyfile", pair.key.name)
    # Names of files are those of the directory in which it was started.
    (tmp_path / "elsewhere").mkdir()
    more = ("--chdir", "elsewhere", "--pythonpath", str(tmp_path))
    env = {"WSGI_ASYNC_KEYFILE_PASSWORD": password}
    with served(site, *args, *more, env=env) as (servers, ports):
        with RawClient(("127.0.0.1", ports["https"]), tls=authority().client()) as client:
            facts = json.loads(client.get("/").body)
        assert facts == {"scheme": "https", "secrets": []}
        servers.signal(signal.SIGHUP)  # the parent still has it
        servers.wait_for("Reloaded")
        with RawClient(("127.0.0.1", ports["https"]), tls=authority().client()) as client:
            assert json.loads(client.get("/").body) == facts
        assert "hunter2" not in "\n".join(servers.lines)
