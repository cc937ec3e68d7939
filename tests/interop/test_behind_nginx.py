"""Debian's nginx with examples/deploy/nginx.conf: it ends TLS, and the application sees https and
the client. No redirect for ever, whichever way the server was started."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

import pytest
from front_ends import DEPLOY, HOST, Certificate, Front, listener, made_certificate, nginx, shipped
from rawclient import TIMEOUT
from serving import APPS, ROOT, Command
from tools import python, require_module, require_program, running

CLIENT = "127.0.0.2"
"""Any address of 127.0.0.0/8 may be a client's here."""
STRANGER = "203.0.113.9"
"""What a client says it is."""


certificate = pytest.fixture(scope="module")(made_certificate)


@contextlib.contextmanager
def in_front(
    directory: Path,
    certificate: Certificate,
    upstream: str,
    changes: dict[str, str] | None = None,
    host: str = "127.0.0.1",
) -> Iterator[Front]:
    """The shipped configuration, before a server at `upstream`."""
    with listener(host) as plain, listener(host) as tls:
        name = f"[{host}]" if ":" in host else host
        ports = {"http": plain.getsockname()[1], "https": tls.getsockname()[1]}
        text = shipped(
            "nginx.conf",
            {
                "listen 80;": f"listen {name}:{ports['http']};",
                "listen 443 ssl http2;": f"listen {name}:{ports['https']} ssl http2;",
                # There is one address of either kind.
                "listen [::]:80;": "",
                "listen [::]:443 ssl http2;": "",
                "/etc/ssl/mysite.pem": str(certificate.path),
                "/etc/ssl/private/mysite.key": str(certificate.key),
                "    server 127.0.0.1:8000;": f"    server {upstream};",
                **(changes or {}),
            },
        )
        with nginx(directory, text, [plain, tls]):
            yield Front(ports, certificate, host)


def fake(scheme: str = "https") -> list[tuple[str, str]]:
    """All that a client may say of itself."""
    return [
        ("X-Forwarded-For", STRANGER),
        ("X-Forwarded-Proto", scheme),
        ("Forwarded", f"for={STRANGER};proto={scheme};host=evil.example"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Port", "1"),
        ("X-Forwarded-Prefix", "/evil"),
        ("X_Forwarded_For", STRANGER),
        ("X-Real-IP", STRANGER),
        ("SCRIPT_NAME", "/page"),
    ]


# --- No redirect for ever

WAYS = {
    "command line": ("-w 2 -k gthread --threads 4", ""),
    "file": ("-c gunicorn.conf.py", "workers = 2\nworker_class = 'sync'\n"),
    "file that says so": (
        "-c gunicorn.conf.py",
        "forwarded_allow_ips = '127.0.0.1'\n"
        "secure_scheme_headers = {'X-FORWARDED-PROTO': 'https'}\n",
    ),
    "gunicorn": ("", ""),
    "gunicorn that says so": ("--forwarded-allow-ips 127.0.0.1", ""),
}
"""How a site was started under gunicorn: flags, and its file; the last with a worker of ours."""


@contextlib.contextmanager
def server(way: str, site: str, directory: Path, bind: str) -> Iterator[str]:
    """The old command line with the new program, or the old program with the new worker; where
    nginx finds it."""
    flags, file = WAYS[way]
    (directory / "gunicorn.conf.py").write_text(file)
    words = [*shlex.split(flags), "--bind", bind, f"{site}:app"]
    path = f"{ROOT}:{APPS}"
    if way.startswith("gunicorn"):
        require_module("gunicorn")
        worker = ("-k", "wsgi_async.gunicorn.Worker", "--no-control-socket")
        command = python("-m", "gunicorn", *worker, *words)
        env = {"PYTHONPATH": path, "GUNICORN_CMD_ARGS": ""}
        with running(*command, cwd=directory, env=env) as process:
            where = process.wait_for(r"Listening at: (?:http://([0-9.:]+)|unix:\S+)")[1]
            yield where or bind
            process.signal(signal.SIGTERM)
            assert process.wait() == 0
            assert "Traceback" not in process.output, process.output
        return
    with Command(*words, directory=directory, env={"PYTHONPATH": path}) as started:
        where = started.wait_for(r"Listening on (?:http://([0-9.:]+)|unix:\S+)")[1]
        yield where or bind
        started.signal(signal.SIGTERM)
        assert started.wait() == 0
        started.assert_clean()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("site", "transport"),
    [
        ("secure_flask", "tcp"),
        ("secure_django", "unix"),
        pytest.param("secure_flask", "unix", marks=pytest.mark.soak),
        pytest.param("secure_django", "tcp", marks=pytest.mark.soak),
    ],
)
def test_no_redirect_for_ever(
    site: str, transport: str, way: str, tmp_path: Path, certificate: Certificate
) -> None:
    """One redirect for who comes by http, none for who comes by https, and the scheme in all that
    is made of it. The application is told nothing."""
    require_module(site.removeprefix("secure_"))
    bind = "127.0.0.1:0" if transport == "tcp" else f"unix:{tmp_path}/mysite.sock"
    with (
        server(way, site, tmp_path, bind) as upstream,
        in_front(tmp_path, certificate, upstream) as front,
    ):
        replies = front.browse(f"http://{HOST}/page?a=%20b")
        assert [reply.status for reply in replies] == [301, 200]
        assert replies[0].headers["Location"] == f"https://{HOST}/page?a=%20b"
        assert replies[1].facts["url"] == f"https://{HOST}/page?a=%20b"
        environ = replies[1].environ
        assert (environ["wsgi.url_scheme"], environ["HTTPS"]) == ("https", "on")
        if transport == "unix":  # as gunicorn has it: there is no port of the socket's own
            assert environ["SERVER_PORT"] == "443"
        [direct] = front.browse(f"https://{HOST}/")
        assert direct.status == 200
        # Another's word for it is none.
        lied = front.ask("http", "/", fake())
        assert (lied.status, lied.headers["Location"]) == (301, f"https://{HOST}/")


# --- Who asks


FOR_AND_PROTO = ("--proxy-headers", "for,proto")


@contextlib.contextmanager
def plain_site(*words: str, bind: str = "127.0.0.1:0") -> Iterator[Command]:
    """An application that shows what it was given, by either scheme."""
    with Command("secure_facts:app", "--bind", bind, "--access-log", *words) as started:
        started.wait_for("Listening on")
        yield started
        started.assert_clean()


def upstream_of(started: Command) -> str:
    host, port = started.address
    return f"{host}:{port}"


APPENDED = {"X-Forwarded-For $remote_addr;": "X-Forwarded-For $proxy_add_x_forwarded_for;"}


def test_the_printed_command_shows_the_client(tmp_path: Path, certificate: Certificate) -> None:
    """In the environ and in the access log, and the port is nobody's guess."""
    printed = re.findall(r"^# +wsgi-async (.*)$", (DEPLOY / "nginx.conf").read_text(), re.MULTILINE)
    [words] = map(shlex.split, printed)
    assert words[:3] == ["mysite.wsgi:application", "--bind", "127.0.0.1:8000"]
    with (
        plain_site(*words[3:]) as site,
        in_front(tmp_path, certificate, upstream_of(site)) as front,
    ):
        environ = front.ask("https", "/page", fake("http"), source=CLIENT).environ
        assert environ["REMOTE_ADDR"] == CLIENT
        assert environ["wsgi.url_scheme"] == "https"
        assert environ["HTTP_HOST"] == HOST
        assert environ["SCRIPT_NAME"] == ""
        # nginx has put its own word in place of the client's, and the field stays.
        assert environ["HTTP_X_FORWARDED_FOR"] == CLIENT
        assert environ["wsgi_async.peer"]
        site.signal(signal.SIGTERM)
        site.wait()
        assert site.process.stdout is not None
        assert re.search(rf'^{CLIENT} .*"GET /page HTTP/1\.1" 200 ', site.process.stdout.read())


def test_with_nothing_set_the_client_is_nginx(tmp_path: Path, certificate: Certificate) -> None:
    """As gunicorn has it; and one line says what to set, not one for each request."""
    with plain_site() as site, in_front(tmp_path, certificate, upstream_of(site)) as front:
        for _ in range(3):
            environ = front.ask("https", source=CLIENT).environ
            assert environ["REMOTE_ADDR"] == "127.0.0.1"
            assert environ["HTTP_X_FORWARDED_FOR"] == CLIENT
        site.wait_for("X-Forwarded-For.*--proxy-headers")
        assert sum("X-Forwarded-For" in line for line in site.lines) == 1


@pytest.mark.parametrize("trusted", ["127.0.0.1", "127.0.0.1/32,10.0.0.0/8", "*"])
def test_what_a_client_says_in_a_list_is_not_believed(
    trusted: str, tmp_path: Path, certificate: Certificate
) -> None:
    """nginx adds to it: the client is the last one that somebody trusted has seen."""
    with (
        plain_site("--forwarded-allow-ips", trusted) as site,
        in_front(tmp_path, certificate, upstream_of(site), APPENDED) as front,
    ):
        environ = front.ask("https", fields=fake("http"), source=CLIENT).environ
        assert environ["HTTP_X_FORWARDED_FOR"] == f"{STRANGER}, {CLIENT}"
        assert environ["REMOTE_ADDR"] == CLIENT
        assert environ["wsgi.url_scheme"] == "https"


def test_over_a_unix_socket_only_its_word_counts(tmp_path: Path, certificate: Certificate) -> None:
    """With `unix` alone even a client on this machine is one of whom nothing is believed."""
    bind = f"unix:{tmp_path}/mysite.sock"
    with (
        plain_site("--forwarded-allow-ips", "unix", bind=bind),
        in_front(tmp_path, certificate, bind, APPENDED) as front,
    ):
        environ = front.ask("https", fields=fake("http")).environ
        assert environ["REMOTE_ADDR"] == "127.0.0.1"
        assert environ["wsgi.url_scheme"] == "https"


def test_a_client_that_goes_past_nginx_is_not_believed() -> None:
    """Nothing that it says is used; with an option set by hand nothing arrives either."""
    with plain_site("--forwarded-allow-ips", "127.0.0.9") as site:
        head = "".join(f"{name}: {value}\r\n" for name, value in fake())
        with site.client() as client:
            client.send(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n{head}\r\n".encode())
            environ = json.loads(client.response().body)["environ"]
        assert environ["REMOTE_ADDR"] == "127.0.0.1"
        assert environ["wsgi.url_scheme"] == "http"
        assert environ["HTTP_HOST"] == HOST
        assert not {key for key in environ if "FORWARDED" in key}, environ


def test_underscores_never_pass(tmp_path: Path, certificate: Certificate) -> None:
    """nginx drops such names unless told otherwise; where it is told, the server drops them."""
    changes = {
        "    client_max_body_size 0;": "    client_max_body_size 0; underscores_in_headers on;"
    }
    fields = [("X_Forwarded_For", STRANGER), ("X_Forwarded_Proto", "http"), ("X-Here", "yes")]
    with (
        plain_site(*FOR_AND_PROTO) as site,
        in_front(tmp_path, certificate, upstream_of(site), changes) as front,
    ):
        environ = front.ask("https", fields=fields, source=CLIENT).environ
        assert environ["HTTP_X_HERE"] == "yes"
        assert environ["REMOTE_ADDR"] == environ["HTTP_X_FORWARDED_FOR"] == CLIENT
        assert environ["wsgi.url_scheme"] == environ["HTTP_X_FORWARDED_PROTO"] == "https"


@pytest.mark.parametrize(("scheme", "word"), [("http", "on"), ("https", "off")])
def test_a_field_that_contradicts_nginx_is_a_400(
    scheme: str, word: str, tmp_path: Path, certificate: Certificate
) -> None:
    """nginx knows nothing of X-Forwarded-Ssl and passes it on, gunicorn's users may rely on it: who
    makes it up is neither believed nor served."""
    with plain_site() as site, in_front(tmp_path, certificate, upstream_of(site)) as front:
        reply = front.ask(scheme, fields=[("X-Forwarded-Ssl", word)])
        assert reply.status == 400
        assert front.ask(scheme).environ["wsgi.url_scheme"] == scheme


def test_ipv6_clients(tmp_path: Path, certificate: Certificate) -> None:
    with (
        plain_site("--forwarded-allow-ips", "127.0.0.1") as site,
        in_front(tmp_path, certificate, upstream_of(site), APPENDED, host="::1") as front,
    ):
        environ = front.ask("https", fields=fake("http")).environ
        assert environ["HTTP_X_FORWARDED_FOR"] == f"{STRANGER}, ::1"
        assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("::1", "https")


def test_ipv6_between_nginx_and_the_server(tmp_path: Path, certificate: Certificate) -> None:
    """Loopback is loopback, with nothing set too."""
    with plain_site(bind="[::1]:0") as site:
        where = site.wait_for(r"Listening on http://(\[::1\]:[0-9]+)")[1]
        with in_front(tmp_path, certificate, where) as front:
            environ = front.ask("https").environ
            assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == ("::1", "https")


# --- Middleware that was there before


@pytest.mark.parametrize("words", [(), FOR_AND_PROTO], ids=["nothing set", "for,proto"])
def test_middleware_on_top_gives_the_same_answer(
    words: Sequence[str], tmp_path: Path, certificate: Certificate
) -> None:
    """A site that has ProxyFix for one proxy goes on with it, and may drop it later."""
    require_module("werkzeug")
    (tmp_path / "fixed.py").write_text(
        "from secure_facts import app\n"
        "from werkzeug.middleware.proxy_fix import ProxyFix\n"
        "app = ProxyFix(app, x_for=1, x_proto=1)\n"
    )
    env = {"PYTHONPATH": f"{ROOT}:{APPS}"}
    with (
        Command("fixed:app", "-b", "127.0.0.1:0", *words, directory=tmp_path, env=env) as site,
        in_front(tmp_path, certificate, upstream_of(site)) as front,
    ):
        environ = front.ask("https", fields=fake("http"), source=CLIENT).environ
        assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == (CLIENT, "https")
        environ = front.ask("http", fields=fake(), source=CLIENT).environ
        assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == (CLIENT, "http")


# --- The rest of the file


def test_http_2(tmp_path: Path, certificate: Certificate) -> None:
    """There the host is no field of its own; nginx makes one of it."""
    curl = require_program("curl")
    with (
        plain_site(*FOR_AND_PROTO) as site,
        in_front(tmp_path, certificate, upstream_of(site)) as front,
    ):
        done = subprocess.run(
            [
                *(curl, "--silent", "--show-error", "--http2", "--interface", CLIENT),
                *("--cacert", str(certificate.path), "--noproxy", "*"),
                *("--connect-to", f"{HOST}:443:127.0.0.1:{front.ports['https']}"),
                *("--write-out", "\n%{http_version}", f"https://{HOST}/page"),
            ],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=True,
        )
        body, _, version = done.stdout.rpartition("\n")
        assert version == "2"
        facts = json.loads(body)
        assert (facts["url"], facts["client"]) == (f"https://{HOST}/page", CLIENT)


def test_nginx_itself_redirects_where_the_application_does_not(
    tmp_path: Path, certificate: Certificate
) -> None:
    """The line that the file has in a comment."""
    line = "#if ($scheme = http) { return 301 https://$host$request_uri; }"
    with (
        plain_site() as site,
        in_front(tmp_path, certificate, upstream_of(site), {line: line[1:]}) as front,
    ):
        replies = front.browse(f"http://{HOST}/page?a=1")
        assert [reply.status for reply in replies] == [301, 200]
        assert replies[1].facts["url"] == f"https://{HOST}/page"


@pytest.mark.parametrize("strips", [False, True])
def test_a_site_below_a_path(strips: bool, tmp_path: Path, certificate: Certificate) -> None:
    """`--root-path` is right whether or not nginx takes the path off (by the slash at the end of
    proxy_pass), also for a page whose name begins like it."""
    changes = {
        "    location / {": "    location /app/ {",
        "proxy_pass http://mysite;": f"proxy_pass http://mysite{'/' if strips else ''};",
    }
    with (
        plain_site("--root-path", "/app", *FOR_AND_PROTO) as site,
        in_front(tmp_path, certificate, upstream_of(site), changes) as front,
    ):
        for page in ("/", "/page", "/apple", "/a%20b", "/a%2Fb"):
            environ = front.ask("https", f"/app{page}").environ
            found = (environ["SCRIPT_NAME"], environ["PATH_INFO"])
            assert found == ("/app", unquote(page)), page


def test_connections_to_the_server_are_kept(tmp_path: Path, certificate: Certificate) -> None:
    with plain_site() as site, in_front(tmp_path, certificate, upstream_of(site)) as front:
        ports = {front.ask("https").environ["REMOTE_PORT"] for _ in range(5)}
        assert len(ports) == 1
