"""What examples/deploy/ says of TLS by this server: with certbot's files and Caddy's, as root and
with copies that systemd makes, and for clients that have certificates."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pwd
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from certificates import Pair, authority
from front_ends import DEPLOY, HOST, Front
from rawclient import TIMEOUT
from serving import Command
from tools import ROOT, ReservedPort, require_module, require_program, running

APPLICATION = """
import json, os

def application(environ, start_response):
    text = {key: value for key, value in environ.items() if isinstance(value, str)}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"environ": text, "uid": os.getuid()}).encode()]
"""

NOBODY = "nobody"


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where the application is; whoever the processes become may enter it, as not pytest's."""
    with tempfile.TemporaryDirectory(prefix="wsgi-async-test-") as name:
        path = Path(name)
        path.chmod(0o755)
        (path / "mysite").mkdir()
        (path / "mysite" / "wsgi.py").write_text(APPLICATION)
        yield path


def replaced(text: str, changes: Sequence[tuple[str, str]]) -> list[str]:
    """The words of a command, with other values for some: each is in it, once."""
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return shlex.split(text)[1:]


def command_of(service: str) -> str:
    """What a unit starts, on one line."""
    text = (DEPLOY / service).read_text().replace("\\\n", " ")
    [found] = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    return str(found)


def facts_from(port: int, context: ssl.SSLContext | None = None) -> dict[str, Any]:
    """What the application says of a request by TLS, on a connection of its own, by the site's
    name; and the number of the certificate that this was shown."""
    context = context or authority().client()
    plain = socket.create_connection(("127.0.0.1", port), TIMEOUT)
    with context.wrap_socket(plain, server_hostname=HOST) as secured:
        told = secured.getpeercert()
        connection = http.client.HTTPConnection(HOST)
        connection.sock = secured
        connection.request("GET", "/page")
        with connection.getresponse() as response:
            body = response.read()
    assert (response.status, told is not None) == (200, True), body
    return {**json.loads(body), "serial": dict(told or {})["serialNumber"]}


def port_of(command: Command) -> int:
    return int(command.wait_for(r"Listening on https://127\.0\.0\.1:([0-9]+)")[1])


# --- certbot


class Lineage:
    """What certbot keeps of one name: ``live/`` is links into ``archive/``, which root alone reads.

    A renewal makes new files there, and then turns the links one by one.
    """

    def __init__(self, directory: Path) -> None:
        self.live = directory / "letsencrypt" / "live" / HOST
        self.archive = directory / "letsencrypt" / "archive" / HOST
        for path in (self.live, self.archive):
            path.mkdir(parents=True)
            path.parent.chmod(0o700)
        self._number = 0
        self.renew()

    def renew(self) -> None:
        self._number += 1
        made = authority().issue(self.archive, HOST, file=f"made{self._number}", intermediates=1)
        for kind, path in (("privkey", made.key), ("fullchain", made.certificate)):
            target = self.archive / f"{kind}{self._number}.pem"
            path.rename(target)
            target.chmod(0o600 if kind == "privkey" else 0o644)
            link = self.live / f"{kind}.pem"
            with contextlib.suppress(FileNotFoundError):
                link.unlink()
            link.symlink_to(f"../../archive/{HOST}/{target.name}")


def test_certbot(directory: Path) -> None:
    """No hook: what certbot has renewed is shown to new connections, while it serves. The key is
    root's alone, and the processes are somebody else; the plain port redirects, and proves to the
    authority that the name is ours."""
    require_module("werkzeug")
    lineage = Lineage(directory)
    acme = directory / "acme"
    (acme / ".well-known" / "acme-challenge").mkdir(parents=True)
    with ReservedPort() as https, ReservedPort() as http_port:
        is_root = os.geteuid() == 0
        words = replaced(
            command_of("mysite-tls.service"),
            [
                ("--chdir /srv/mysite/current", f"--chdir {directory}"),
                (
                    "--user mysite --group mysite",
                    f"--user {NOBODY} --group {os.getgid()}" if is_root else "",
                ),
                ("https://:443", f"https://127.0.0.1:{https.number}"),
                ("http://:80", f"http://127.0.0.1:{http_port.number}"),
                ("/etc/letsencrypt/live/mysite.example/fullchain", f"{lineage.live}/fullchain"),
                ("/etc/letsencrypt/live/mysite.example/privkey", f"{lineage.live}/privkey"),
                ("/var/www/acme/", f"{acme}/"),
                ("--workers 4", "--workers 2"),
                ("--spool-dir /var/cache/mysite", "--spool-dir /tmp"),
            ],
        )
        with Command(*words) as command:
            command.wait_for(rf"Listening on https://127\.0\.0\.1:{https.number}, http://")
            facts = facts_from(https.number)
            assert facts["environ"]["wsgi.url_scheme"] == "https"
            assert facts["environ"]["HTTPS"] == "on"
            if is_root:
                assert facts["uid"] == pwd.getpwnam(NOBODY).pw_uid

            plain = Front({"http": http_port.number}, None)
            redirected = plain.ask("http", "/page?a=b")
            assert redirected.status == 301
            location = redirected.headers["Location"]
            assert location == f"https://{HOST}:{https.number}/page?a=b"
            (acme / ".well-known" / "acme-challenge" / "token").write_text("token.thumbprint")
            proof = plain.ask("http", "/.well-known/acme-challenge/token")
            assert (proof.status, proof.body) == (200, b"token.thumbprint")

            lineage.renew()
            command.wait_for("Certificates renewed: mysite.example")
            # The parent says so, and then each process hears of it; all are served meanwhile.
            deadline = time.monotonic() + TIMEOUT
            while facts_from(https.number)["serial"] == facts["serial"]:
                assert time.monotonic() < deadline
            command.signal(signal.SIGTERM)
            assert command.wait() == 0


# --- systemd's credentials


def test_credentials(directory: Path) -> None:
    """The sockets are passed by their names, and the files are where systemd puts its copies."""
    program = require_program("systemd-socket-activate")
    pair = authority().issue(directory, HOST)
    credentials = directory / "credentials"
    credentials.mkdir()
    pair.certificate.rename(credentials / "fullchain.pem")
    pair.key.rename(credentials / "privkey.pem")
    loaded = re.findall(
        r"^LoadCredential=(\S+?):", (DEPLOY / "mysite-credentials.service").read_text(), re.M
    )
    assert sorted(loaded) == sorted(path.name for path in credentials.iterdir())
    words = replaced(
        command_of("mysite-credentials.service").replace(
            "${CREDENTIALS_DIRECTORY}", str(credentials)
        ),
        [
            ("--chdir /srv/mysite/current", f"--chdir {directory}"),
            ("${CACHE_DIRECTORY}", str(directory)),
            ("--workers 4", "--workers 1"),
        ],
    )
    units = (DEPLOY / "mysite-credentials-http.socket", DEPLOY / "mysite-credentials.socket")
    names = [re.findall(r"^FileDescriptorName=(.*)$", path.read_text(), re.M) for path in units]
    with contextlib.ExitStack() as stack:
        with ReservedPort() as other, ReservedPort() as reserved:
            plain, port = other.number, reserved.number
            activate = [program, *(f"--listen=127.0.0.1:{number}" for number in (plain, port))]
            activate += [f"--fdname={':'.join(name for [name] in names)}"]
            activate += [f"--setenv=PYTHONPATH={ROOT}"]
            activate += [sys.executable, "-m", "wsgi_async", *words]
            # Command runs Python; this one becomes that program.
            command = stack.enter_context(
                Command(program=f"import os; os.execv({program!r}, {activate!r})")
            )
            command.wait_for(rf"Listening on 127\.0\.0\.1:{port}")
        assert facts_from(port)["environ"]["HTTPS"] == "on"
        redirected = Front({"http": plain}, None).ask("http", "/page")
        assert redirected.headers["Location"] == f"https://{HOST}:{port}/page"
        command.signal(signal.SIGTERM)
        assert command.wait() == 0


# --- Caddy


@contextlib.contextmanager
def certificates_of_caddy(directory: Path, port: int) -> Iterator[Pair]:
    """Have Caddy get a certificate, from its own authority instead of one on the Internet."""
    program = require_program("caddy")
    text = (DEPLOY / "Caddyfile.certificates").read_text()
    with ReservedPort() as own:
        for old, new in (
            (
                "https_port 8443",
                f"https_port {own.number}\n\thttp_port {port}\n\tadmin off\n\tskip_install_trust",
            ),
            ("bind 127.0.0.1\n", "bind 127.0.0.1\n\ttls internal\n"),
            (f"http://{HOST} {{", f"http://{HOST} {{\n\tbind 127.0.0.1"),
        ):
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        path = directory / "Caddyfile"
        path.write_text(text)
        env = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(directory))
        command = (program, "run", "--config", str(path), "--adapter", "caddyfile")
        with running(*command, cwd=directory, env=env) as process:
            process.wait_for("certificate obtained successfully")
            kept = directory / "caddy" / "certificates" / "local" / HOST
            yield Pair(kept / f"{HOST}.crt", kept / f"{HOST}.key")
            process.signal(signal.SIGTERM)
            assert process.wait() == 0


def test_caddys_certificates(directory: Path) -> None:
    """This server shows what Caddy has got; Caddy itself redirects."""
    text = (DEPLOY / "Caddyfile.certificates").read_text().replace("\\\n#", "")
    [printed] = re.findall(r"^# +(wsgi-async .*)$", text, re.M)
    with ReservedPort() as plain, certificates_of_caddy(directory, plain.number) as pair:
        root = directory / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        context = ssl.create_default_context(cafile=str(root))
        printed = re.sub(r"/var/lib/caddy/\S+\.crt", str(pair.certificate), printed)
        printed = re.sub(r"/var/lib/caddy/\S+\.key", str(pair.key), printed)
        changes = [
            ("--bind https://:443", "--bind https://127.0.0.1:0"),
            (" --user mysite", f" --user {NOBODY}" if os.geteuid() == 0 else ""),
        ]
        words = replaced(printed, changes)
        with Command(*words, "--chdir", str(directory)) as command:
            assert facts_from(port_of(command), context)["environ"]["SSL_TLS_SNI"] == HOST
            redirected = Front({"http": plain.number}, None).ask("http", "/page")
            assert redirected.headers["Location"] == f"https://{HOST}/page"
            command.signal(signal.SIGTERM)
            assert command.wait() == 0


# --- Clients with certificates


def test_clients_with_certificates(directory: Path) -> None:
    """As the script's comments say it: with its certificate curl is served, and without it not."""
    curl = require_program("curl")
    require_program("openssl")
    made = directory / "clients"
    script = DEPLOY / "mtls.sh"
    for client in ("alice", "bob"):
        subprocess.run(["sh", str(script), str(made), client], check=True, timeout=TIMEOUT)
    secret = {path.name for path in made.iterdir() if not path.stat().st_mode & 0o077}
    assert {path.name for path in made.glob("*.key")} <= secret
    pair = authority().issue(directory, HOST)
    text = script.read_text().replace("\\\n#", "")
    [printed] = re.findall(r"^# +(wsgi-async .*)$", text, re.M)
    [asking] = re.findall(r"^# +(curl .*)$", text, re.M)
    words = replaced(
        printed,
        [
            (":8443", "127.0.0.1:0"),
            ("cert.pem", str(pair.certificate)),
            ("key.pem", str(pair.key)),
            ("/etc/mysite/clients/clients.pem", str(made / "clients.pem")),
        ],
    )
    with Command(*words, "--chdir", str(directory)) as command:
        port = port_of(command)
        request = replaced(asking, [(f"{HOST}:8443", f"{HOST}:{port}")])
        # Whom to trust, and where the name is: on the Internet both are known.
        trust = ["--cacert", str(authority().write(directory)), "--silent", "--show-error"]
        trust += ["--resolve", f"{HOST}:{port}:127.0.0.1", "--noproxy", "*"]

        def run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [curl, *trust, *words], cwd=made, capture_output=True, text=True, timeout=TIMEOUT
            )

        for client in ("alice", "bob"):
            served = run([word.replace("alice", client) for word in request])
            assert served.returncode == 0, served.stderr
            assert '"SSL_CLIENT_VERIFY": "SUCCESS"' in served.stdout
            assert f'"SSL_CLIENT_S_DN": "CN={client}"' in served.stdout
        without = run(request[-1:])
        assert without.returncode != 0
        assert without.stdout == ""
        command.signal(signal.SIGTERM)
        assert command.wait() == 0
