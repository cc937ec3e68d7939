"""uWSGI's ini files: what becomes of their options, and what is said of the rest."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import foreign_files
import pytest

from wsgi_async.config.calls import from_options
from wsgi_async.config.sources import ForeignFile
from wsgi_async.errors import ConfigError
from wsgi_async.foreign import read

THREADS = "uwsgi.ini: threads is not set, where uWSGI has 1: the default here is --threads 8"


def convert(directory: Path, body: str, name: str = "uwsgi.ini", **environ: str) -> ForeignFile:
    (directory / "uwsgi.ini").write_text(f"[uwsgi]\n{body}\n")
    file = read(name, directory, environ)
    assert file is not None
    return file


def options(directory: Path, body: str, **environ: str) -> dict[str, Any]:
    return dict(convert(directory, body, **environ).options)


def test_an_ordinary_file(tmp_path: Path) -> None:
    settings = foreign_files.collect(
        tmp_path,
        "uwsgi.ini",
        """
# for nginx
[uwsgi]
chdir = /srv/site
module = site.wsgi:application
master = true
processes = 4
threads = 2
http-socket = run/site.sock
http = :8080
chmod-socket = 664
vacuum = true
die-on-term
harakiri = 20
max-requests = 5000
static-map = /static=/srv/static
mount = /admin=admin:app
manage-script-name = true
env = A=1
env = B=2
pythonpath = /srv/lib
uid = www-data
gid = www-data
pidfile = /run/site.pid
logto = /var/log/site.log
listen = 128
buffer-size = 32768
enable-threads = true
single-interpreter = true
need-app = true
lazy-apps = true
[other]
processes = 1
""",
    )
    config = settings.config
    assert settings.launch.app == "site.wsgi:application"
    assert settings.notices == ()
    assert (config.workers, config.threads, config.backlog) == (4, 2, 128)
    assert config.bind == ("unix:/srv/site/run/site.sock", ":8080")
    assert (config.socket_mode, config.request_timeout) == (0o664, 20.0)
    assert (config.max_requests, config.max_header_size) == (5000, 32768)
    assert config.error_logfile == "/var/log/site.log"
    assert settings.launch.static == ("/static=/srv/static",)
    assert settings.launch.mount == ("/admin=admin:app",)
    assert settings.launch.env == ("A=1", "B=2")
    assert settings.launch.pythonpath == ("/srv/lib",)
    assert (settings.launch.user, settings.launch.pid) == ("www-data", "/run/site.pid")
    assert settings.launch.chdir == "/srv/site"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "https = :443,a.crt,a.key",
            {"bind": ["https://:443"], "certfile": ["a.crt"], "keyfile": ["a.key"]},
        ),
        (
            "https = :443,a,b\nsocket = :1\nhttp = :2",
            {
                "bind": ["https://:443", "uwsgi://:1", "http://:2"],
                "certfile": ["a"],
                "keyfile": ["b"],
            },
        ),
        (
            # What is not said to be TLS is plain there, also beside it.
            "chdir = /srv\nhttp = :80\nhttps-socket = run/x,a.crt,/k,HIGH,ca.crt",
            {
                "chdir": "/srv",
                "bind": ["http://:80", "https://unix:/srv/run/x"],
                "certfile": ["/srv/a.crt"],
                "keyfile": ["/k"],
                "ciphers": "HIGH",
                "ca_certs": "/srv/ca.crt",
                "cert_reqs": "optional",
            },
        ),
        (
            "https = :1,a,b,,!ca\nhttps = :2,a,b,,!ca\nhttps = :3,c,d,,!ca",
            {
                "bind": ["https://:1", "https://:2", "https://:3"],
                "certfile": ["a", "c"],
                "keyfile": ["b", "d"],
                "ca_certs": "ca",
                "cert_reqs": "required",
            },
        ),
    ],
)
def test_tls(tmp_path: Path, body: str, expected: dict[str, object]) -> None:
    assert options(tmp_path, body) == expected
    from_options(**{name: value for name, value in expected.items() if name != "chdir"})


def test_slow_requests_are_given_in_milliseconds(tmp_path: Path) -> None:
    found = options(tmp_path, "log-slow = 1500")
    assert from_options(**found).slow_request == 1.5


@pytest.mark.parametrize(
    ("body", "app"),
    [
        ("module = a", "a"),
        ("wsgi = a:b", "a:b"),
        ("module = a\ncallable = c", "a:c"),
        ("module = a:b\ncallable = c", "a:c"),
        ("wsgi-file = dir/a.py", "dir/a.py"),
        ("wsgi-file = dir/a.py\ncallable = app", "dir/a.py:app"),
    ],
)
def test_the_application(tmp_path: Path, body: str, app: str) -> None:
    assert options(tmp_path, body) == {"app": app}


def test_references(tmp_path: Path) -> None:
    body = """
base = %d
name = shop
set-placeholder = lib=lib-%(name)
module = %(name).wsgi
pythonpath = %(base)%(lib)
pidfile = /run/%n-$(STAGE).pid
processes = %k
env = PERCENT=100%%
"""
    file = convert(tmp_path, body, STAGE="live")
    assert file.options == {
        "app": "shop.wsgi",
        "pythonpath": [f"{tmp_path}/lib-shop"],
        "pid": "/run/uwsgi-live.pid",
        "workers": str(os.cpu_count()),
        "env": ["PERCENT=100%"],
    }
    # Keys that only others refer to are variables of the file, and nothing that is ignored.
    assert file.notices == (THREADS,)


def test_what_is_ignored_is_listed_once(tmp_path: Path) -> None:
    body = "stats = /s\nthreads = 2\ncheaper = 1\ncheaper = 2\nmemory-report = false\n;x = 1\n#y"
    assert convert(tmp_path, body).notices == ("uwsgi.ini: ignored here: cheaper, stats",)


def test_a_log_format_has_references_of_its_own(tmp_path: Path) -> None:
    body = "log-format = %(addr) %(ltime) %(uri)\nlog-date = %Y-%m-%d %H\nthreads = 2"
    assert convert(tmp_path, body).notices == ("uwsgi.ini: ignored here: log-date, log-format",)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("http-socket = 127.0.0.1:1", {"bind": ["127.0.0.1:1"]}),
        ("socket = run/x.sock", {"bind": ["uwsgi+unix:run/x.sock"]}),
        ("socket = @x", {"bind": ["uwsgi+unix:@x"]}),
        ("socket = 127.0.0.1:1", {"bind": ["uwsgi://127.0.0.1:1"]}),
        ("socket = :1", {"bind": ["uwsgi://:1"]}),
        ("socket = [::1]:1", {"bind": ["uwsgi://[::1]:1"]}),
        ("socket = fd://0", {"bind": ["uwsgi+fd://0"]}),
        ("http-socket = fd://3", {"bind": ["fd://3"]}),
        ("socket = /a\nsocket = /b", {"bind": ["uwsgi+unix:/a", "uwsgi+unix:/b"]}),
        ("uwsgi-socket = /x\nprotocol = http", {"bind": ["uwsgi+unix:/x"]}),
        ("fastcgi-socket = :1", {"bind": ["fastcgi://:1"]}),
        ("scgi-socket = /x", {"bind": ["scgi+unix:/x"]}),
        ("socket = :1\nprotocol = fastcgi", {"bind": ["fastcgi://:1"]}),
        ("socket-protocol = scgi\nsocket = /x", {"bind": ["scgi+unix:/x"]}),
        ("chdir = /srv\nsocket = x", {"bind": ["uwsgi+unix:/srv/x"], "chdir": "/srv"}),
        # What a service manager has opened does not say what is spoken there.
        ("protocol = uwsgi", {"protocol": "uwsgi"}),
        ("protocol = http", {}),
        ("http-socket = @x", {"bind": ["unix:@x"]}),
        ("http-socket = /x.sock", {"bind": ["unix:/x.sock"]}),
        ("socket = :1\nprotocol = http", {"bind": [":1"]}),
        ("chmod-socket", {"socket_mode": "666"}),
        # What nginx's group is for.
        ("name = shop\nchown-socket = %(name):www-data", {"socket_owner": "shop:www-data"}),
        ("static-map2 = /s=/srv", {"static": ["/s=/srv/s"]}),
        ("check-static = public\nchdir = /srv", {"chdir": "/srv", "static": ["/=/srv/public"]}),
        ("req-logger = file:/a.log", {"access_logfile": "/a.log"}),
        ("py-autoreload = 1", {"reload": True}),
        ("env = A", {"env": ["A="]}),
        ("add-header = A: 1\nadd-header = B: 2, 3", {"header": ["A: 1", "B: 2, 3"]}),
        (f"virtualenv = {sys.prefix}", {}),
        ("limit-post = 0", {}),
        ("mount = /a=a.py\nmount = /b=b:c\ncallable = f", {"mount": ["/a=a.py:f", "/b=b:c"]}),
    ],
)
def test_single_options(tmp_path: Path, body: str, expected: dict[str, object]) -> None:
    assert options(tmp_path, body) == expected


def test_a_virtual_environment(tmp_path: Path) -> None:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = tmp_path / "venv/lib" / version / "site-packages"
    packages.mkdir(parents=True)
    assert options(tmp_path, f"home = {tmp_path}/venv") == {"pythonpath": [str(packages)]}
    with pytest.raises(
        ConfigError, match=r"line 2: venv: there is no .* and run .*/bin/wsgi-async"
    ):
        convert(tmp_path, "venv = /no/such")


def test_another_section(tmp_path: Path) -> None:
    (tmp_path / "uwsgi.ini").write_text("[uwsgi]\nthreads = 1\n[dev]\nthreads = 2\n")
    file = read("uwsgi.ini:dev", tmp_path, {})
    assert file is not None
    assert file.options == {"threads": "2"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "socket = :1\nprotocol = smtp",
            "line 3: protocol: expected uwsgi, http, fastcgi or scgi, not 'smtp'",
        ),
        ("socket = =0", "line 2: socket: write the address itself in the place of a shared"),
        ("puwsgi-socket = :1", "line 2: puwsgi-socket: a connection of the uwsgi protocol has one"),
        ("fastcgi-nph-socket = :1", "line 2: fastcgi-nph-socket: its answers begin with Status "),
        ("https = :443,a", "line 2: https: expected ADDRESS,CERTIFICATE,KEY, not ':443,a'"),
        ("https = =0,a,b", "line 2: https: write the address itself in the place of a shared"),
        (
            "https = :1,a,b,HIGH\nhttps = :2,a,b",
            "line 3: https: ciphers and authorities are the same at all addresses here",
        ),
        ("ssl-socket = :1,a,b", "line 2: ssl-socket: it speaks the uwsgi protocol, which is wi"),
        (
            "http-to-https = :80",
            "line 2: http-to-https: write http-socket = :80 here, and on the command line "
            "--redirect-to-https HOST",
        ),
        ("daemonize = /x.log", "line 2: daemonize: this server stays in the foreground"),
        ("for = a b", "line 2: for: conditions, loops and other files are not read"),
        ("if-env = X", "line 2: if-env: conditions, loops and other files are not read"),
        ("\nmodule = %X", "line 3: module: %X is not understood here, only %% %c %d"),
        ("module = %(no)", "line 2: module: %(no) is not set in a line above"),
        (
            f"a = {'x' * 20_000}\nmodule = %(a)%(a)%(a)%(a)",
            "line 3: module: what it refers to comes to more than 64 KiB",
        ),
        ("module = $(NO)", "line 2: module: there is no $NO in the environment"),
        ("module = @(file)", "line 2: module: other files are not read"),
        ("static-map = x", "line 2: static-map: expected /PREFIX=DIRECTORY, not 'x'"),
        ("add-header = x", "line 2: add-header: expected NAME: VALUE, not 'x'"),
        ("mount = x", "line 2: mount: expected /PREFIX=MODULE:CALLABLE, not 'x'"),
        (" = 3", "line 2: expected [uwsgi], or a line such as processes = 4"),
    ],
)
def test_one_clear_error(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        convert(tmp_path, body)
    text = str(caught.value)
    assert text.startswith(f"uwsgi.ini, {message}")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"threads = 1", "uwsgi.ini, line 1: expected [uwsgi]"),
        (b"", "uwsgi.ini has no section [uwsgi]"),
        (b"\xff", "uwsgi.ini is not UTF-8"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "uwsgi.ini").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read("uwsgi.ini", tmp_path, {})
    assert str(caught.value).startswith(message)
    with pytest.raises(ConfigError, match=r"there is no file 'no.ini'"):
        read("no.ini", tmp_path, {})


def test_a_field_that_the_server_writes_itself_is_ignored_and_said(tmp_path: Path) -> None:
    """Examples for uWSGI's http-socket set `Connection: Keep-Alive`."""
    file = convert(tmp_path, "add-header = Connection: Keep-Alive\nadd-header = A: 1")
    assert file.options["header"] == ["A: 1"]
    assert "uwsgi.ini: ignored here: add-header = Connection: Keep-Alive" in file.notices


def test_the_proxy_protocol_is_its_first_version(tmp_path: Path) -> None:
    body = "http-socket = :1\nthreads = 1\nenable-proxy-protocol = true"
    file = convert(tmp_path, body)
    assert file.options["proxy_protocol"] == "v1"
    assert "without a PROXY header" in file.notices[0]
    off = convert(tmp_path, body.replace("true", "false"))
    assert "proxy_protocol" not in off.options
    assert off.notices == ()


@pytest.mark.parametrize(
    ("address", "is_told"),
    [
        (":3031", True),
        ("10.0.0.1:3031", True),
        ("127.0.0.1:3031", False),
        ("[::1]:3031", False),
        ("/run/x:1.sock", False),
        ("@x:1", False),
    ],
)
def test_who_is_served_from_other_machines_is_said(
    tmp_path: Path, address: str, is_told: bool
) -> None:
    """uWSGI serves anybody; nginx on another machine would meet closed connections here."""
    notices = convert(tmp_path, f"threads = 2\nsocket = {address}").notices
    told = f"uwsgi.ini: at {address} this machine alone is served, and who is in --uwsgi-allow-from"
    assert [notice.startswith(told) for notice in notices] == [True] * is_told
    assert convert(tmp_path, f"threads = 2\nhttp-socket = {address}").notices == ()


def test_the_file_of_the_guide(tmp_path: Path) -> None:
    """nginx's ``uwsgi_pass`` finds the socket that the file names, with its permissions."""
    body = """
module = app:application
master = true
processes = 4
socket = /tmp/uwsgi.sock
chmod-socket = 666
vacuum = true
die-on-term = true"""
    file = convert(tmp_path, body)
    assert file.options == {
        "app": "app:application",
        "workers": "4",
        "bind": ["uwsgi+unix:/tmp/uwsgi.sock"],
        "socket_mode": "666",
    }
    assert file.notices == (THREADS,)


def test_the_application_of_a_pastedeploy_file(tmp_path: Path) -> None:
    """As Pyramid's users have it: ``%p`` is this very file."""
    path = tmp_path / "uwsgi.ini"
    assert options(tmp_path, "ini-paste-logged = %p")["app"] == str(path)
    assert options(tmp_path, "paste = config:site.ini#admin")["app"] == "site.ini#admin"
    assert options(tmp_path, "paste = config:site.ini\nmodule = app")["app"] == "app"
    with pytest.raises(ConfigError, match=r"line 2: paste: expected FILE\.ini or .*'egg:site'$"):
        options(tmp_path, "paste = egg:site")
