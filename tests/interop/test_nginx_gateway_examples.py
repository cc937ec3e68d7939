"""nginx with the files of examples/deploy/ for uwsgi, FastCGI and SCGI; the server as they say."""

from __future__ import annotations

import contextlib
import http.client
import re
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from front_ends import DEPLOY, HOST, Front, listener, nginx, shipped
from gateway_nginx import PROTOCOLS, upstreams
from rawclient import TIMEOUT
from serving import APPS, ROOT, Command

CLIENT = "127.0.0.2"
PLACES = {
    "uwsgi": "unix:/run/mysite.sock",
    "fastcgi": "unix:/run/mysite.sock",
    "scgi": "127.0.0.1:4000",
}
"""Where the files have the server, in nginx's words."""


APPLICATION = """
from secure_facts import app

def application(environ, start_response):
    if environ["PATH_INFO"] != "/endless":
        return app(environ, start_response)
    start_response("200 OK", [])
    return iter(lambda: b"x" * 10_000, b"")
"""


@contextlib.contextmanager
def example(protocol: str, directory: Path) -> Iterator[Front]:
    """The server as the file's comment has it, and nginx with the file."""
    (directory / "mysite").mkdir()
    (directory / "mysite" / "wsgi.py").write_text(APPLICATION)
    name = f"nginx-{protocol}.conf"
    printed = re.findall(r"^# +wsgi-async (.*)$", (DEPLOY / name).read_text(), re.MULTILINE)
    [words] = map(shlex.split, printed)
    words = [word.replace("/run/", f"{directory}/").replace(":4000", ":0") for word in words]
    env = {"PYTHONPATH": f"{ROOT}:{APPS}"}
    with Command(*words, directory=directory, env=env) as site, listener() as inherited:
        [(_, where)] = upstreams(site.wait_for(r"Listening on (.*) \(")[1]).items()
        port = inherited.getsockname()[1]
        text = shipped(
            name,
            {
                "listen 80;": f"listen 127.0.0.1:{port};",
                "listen [::]:80;": "",
                # It would be looked for beside the configuration.
                f"include {protocol}_params;": f"include /etc/nginx/{protocol}_params;",
                f" {PLACES[protocol]};\n": f" {where};\n",
            },
        )
        with nginx(directory, text, [inherited], but_for="buffered to a temporary file"):
            yield Front({"http": port}, None)
        site.signal(signal.SIGTERM)
        assert site.wait() == 0
        site.assert_clean()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_it_serves(protocol: str, tmp_path: Path) -> None:
    """An upload of more than nginx takes by itself; a stream that never ends has a beginning."""
    with example(protocol, tmp_path) as front:
        reply = front.ask("http", "/page?a=1", source=CLIENT, method="POST", body=b"x" * 2_000_000)
        environ = reply.environ
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/page")
        assert (environ["REMOTE_ADDR"], environ["HTTP_HOST"]) == (CLIENT, HOST)
        assert environ["CONTENT_LENGTH"] == "2000000"
        assert reply.facts["url"] == f"http://{HOST}/page"
        connection = http.client.HTTPConnection("127.0.0.1", front.ports["http"], timeout=TIMEOUT)
        with contextlib.closing(connection):
            connection.request("GET", "/endless")
            with connection.getresponse() as response:
                assert response.read(100) == b"x" * 100
