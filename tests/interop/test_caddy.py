"""Debian's Caddy with examples/deploy/Caddyfile: it ends TLS, redirects to https by itself, and
says who asks."""

from __future__ import annotations

import contextlib
import re
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from front_ends import DEPLOY, HOST, Front, make_certificate, shipped
from serving import Command
from tools import ReservedPort, require_module, require_program, running

CLIENT = "127.0.0.2"
STRANGER = "203.0.113.9"

GLOBAL = """
{{
	admin off
	auto_https disable_certs
	skip_install_trust
	http_port {http}
	https_port {https}
	default_bind 127.0.0.1
}}
"""
"""Beside the file: what a test must not touch, and ports."""


@contextlib.contextmanager
def in_front(directory: Path, upstream: str) -> Iterator[Front]:
    program = require_program("caddy")
    certificate = make_certificate(directory)
    with ReservedPort() as http, ReservedPort() as https:
        ports = {"http": http.number, "https": https.number}
        text = GLOBAL.format(**ports) + shipped(
            "Caddyfile",
            {
                "#tls /etc/ssl/mysite.pem /etc/ssl/private/mysite.key": (
                    f"tls {certificate.path} {certificate.key}"
                ),
                "reverse_proxy 127.0.0.1:8000 {": f"reverse_proxy {upstream} {{",
            },
        )
        path = directory / "Caddyfile"
        path.write_text(text)
        env = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(directory))
        command = (program, "run", "--config", str(path), "--adapter", "caddyfile")
        with running(*command, cwd=directory, env=env) as process:
            process.wait_for("serving initial configuration")
            yield Front(ports, certificate)
            process.signal(signal.SIGTERM)
            assert process.wait() == 0
        assert not re.search(r'"level":"(?:error|fatal)"', process.output), process.output


@contextlib.contextmanager
def site(name: str, *more: str, bind: str = "127.0.0.1:0") -> Iterator[Command]:
    """As the comment at the head of the file starts it."""
    printed = re.findall(r"^# +wsgi-async (.*)$", (DEPLOY / "Caddyfile").read_text(), re.MULTILINE)
    [words] = map(shlex.split, printed)
    assert words[:3] == ["mysite.wsgi:application", "--bind", "127.0.0.1:8000"]
    with Command(f"{name}:app", "--bind", bind, *words[3:], *more) as started:
        started.wait_for("Listening on")
        yield started
        started.assert_clean()


FAKE = [
    ("X-Forwarded-For", STRANGER),
    ("X-Forwarded-Proto", "http"),
    ("X-Forwarded-Host", "evil.example"),
    ("Forwarded", f"for={STRANGER};proto=http"),
    ("SCRIPT_NAME", "/page"),
    ("PATH_INFO", "/admin"),
]


@pytest.mark.parametrize("framework", ["flask", "django"])
def test_the_application_sees_https_and_the_client(framework: str, tmp_path: Path) -> None:
    require_module(framework)
    with (
        site(f"secure_{framework}") as started,
        in_front(tmp_path, "{}:{}".format(*started.address)) as front,
    ):
        reply = front.ask("https", "/page?a=1", FAKE, source=CLIENT)
        assert reply.facts["url"] == f"https://{HOST}/page?a=1"
        assert reply.facts["client"] == CLIENT
        assert reply.environ["wsgi.url_scheme"] == "https"
        assert (reply.environ["SCRIPT_NAME"], reply.environ["PATH_INFO"]) == ("", "/page")
        redirected = front.ask("http", "/page?a=1", source=CLIENT)
        assert redirected.status == 308
        assert redirected.headers["Location"].startswith("https://")


def test_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "mysite.sock"
    with site("secure_facts", bind=f"unix:{path}"), in_front(tmp_path, f"unix/{path}") as front:
        environ = front.ask("https", fields=FAKE, source=CLIENT).environ
        assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == (CLIENT, "https")
        assert environ["HTTP_HOST"] == HOST
