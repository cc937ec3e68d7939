"""gunicorn's configuration files: what becomes of their settings, and what is said of the rest."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import foreign_files
import pytest

from wsgi_async.config.sources import ForeignFile, Settings
from wsgi_async.errors import ConfigError
from wsgi_async.foreign import read
from wsgi_async.foreign.gunicorn import MOST_FIELDS, UNLIMITED

NAME = "gunicorn.conf.py"
THREADS = f"{NAME}: threads is not set, where gunicorn has 1: the default here is --threads 8"


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])


def convert(directory: Path, source: str, name: str = NAME) -> ForeignFile:
    (directory / NAME).write_text(source)
    file = read(name, directory, {})
    assert file is not None
    return file


def collect(directory: Path, source: str, **given: object) -> Settings:
    return foreign_files.collect(directory, NAME, source, **given)


def test_an_ordinary_file(tmp_path: Path) -> None:
    settings = collect(
        tmp_path,
        """
import multiprocessing
bind = "0.0.0.0:8000"
workers = multiprocessing.cpu_count() * 0 + 3
worker_class = "gevent"
worker_connections = 500
max_requests = 1000
max_requests_jitter = 50
timeout = 20
graceful_timeout = 10
keepalive = 5
preload_app = True
accesslog = "-"
access_log_format = '%(h)s "%(r)s" %({x-forwarded-for}i)s'
errorlog = "/var/log/e.log"
loglevel = "DEBUG"
umask = 0o027
user = 33
group = "www-data"
pidfile = "/run/x.pid"
pythonpath = "/a,/b"
raw_env = ["A=1,2", "B=3"]
limit_request_line = 0
backlog = 64
wsgi_app = "site:app"
threads = 4
""",
    )
    config = settings.config
    assert config.bind == ("0.0.0.0:8000",)
    assert (config.workers, config.threads, config.max_connections) == (3, 4, 500)
    assert (config.max_requests, config.max_requests_jitter) == (1000, 50)
    assert (config.timeout, config.graceful_timeout, config.keep_alive) == (20.0, 10.0, 5.0)
    assert (config.preload, config.backlog) == (True, 64)
    assert (config.access_logfile, config.error_logfile) == ("-", "/var/log/e.log")
    assert config.access_logformat == '%(h)s "%(r)s" %({x-forwarded-for}i)s'
    assert config.log_level == "debug"
    assert config.limit_request_line == UNLIMITED
    assert settings.launch.app == "site:app"
    assert settings.launch.umask == "27"
    assert (settings.launch.user, settings.launch.group) == ("33", "www-data")
    assert settings.launch.pid == "/run/x.pid"
    assert settings.launch.pythonpath == ("/a", "/b")
    assert settings.launch.env == ("A=1,2", "B=3")
    assert settings.notices == (f"{NAME}: ignored here: worker_class",)
    assert settings.values["workers"].origin == NAME


def test_the_command_line_wins(tmp_path: Path) -> None:
    settings = collect(tmp_path, "workers = 3\nbind = ':1'", workers="2", port="5")
    assert settings.config.workers == 2
    assert settings.config.bind == ("localhost:5",)


@pytest.mark.parametrize(
    ("bind", "expected"),
    [
        ("'a:1, b:2'", ["a:1", "b:2"]),
        ("['a:1', 'unix:/x']", ["a:1", "unix:/x"]),
        ("'unix:///x'", ["unix:/x"]),
        ("'tcp://a:1'", ["a:1"]),
        ("'fd://3'", ["fd://3"]),
    ],
)
def test_addresses(tmp_path: Path, bind: str, expected: list[str]) -> None:
    assert convert(tmp_path, f"bind = {bind}").options["bind"] == expected


@pytest.mark.parametrize("umask", ["'0022'", "'0o22'", "'18'", "0o22"])
def test_permissions_are_octal_as_gunicorn_has_them(tmp_path: Path, umask: str) -> None:
    assert convert(tmp_path, f"umask = {umask}").options["umask"] == "22"


def test_no_limit_on_the_number_of_fields_is_gunicorns_highest(tmp_path: Path) -> None:
    settings = collect(tmp_path, "limit_request_fields = 0")
    assert settings.config.limit_request_fields == MOST_FIELDS


def test_files_are_relative_to_chdir(tmp_path: Path) -> None:
    file = convert(
        tmp_path,
        "chdir = '/srv'\nbind = ['unix:a.sock', 'unix:@b']\npidfile = 'x.pid'\n"
        "accesslog = '-'\nerrorlog = 'logs/e.log'",
    )
    assert file.options == {
        "chdir": "/srv",
        "bind": ["unix:/srv/a.sock", "unix:@b"],
        "pid": "/srv/x.pid",
        "access_logfile": "-",
        "error_logfile": "/srv/logs/e.log",
    }


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost:8125", "localhost:8125"),
        (" statsd.example ", "statsd.example"),
        ("tcp://10.0.0.1:1", "10.0.0.1:1"),  # it sends datagrams all the same
        ("unix:///run/statsd.sock", "unix:/run/statsd.sock"),
        ("unix:statsd.sock", "unix:/srv/statsd.sock"),
        ("[::1]:1", "[::1]:1"),
    ],
)
def test_where_statsd_is(tmp_path: Path, host: str, expected: str) -> None:
    settings = collect(
        tmp_path,
        f"chdir = '/srv'\nthreads = 1\nstatsd_host = {host!r}\nstatsd_prefix = ' shop. '\n"
        "dogstatsd_tags = 'a:1, b:2'\nenable_backlog_metric = True",
    )
    config = settings.config
    assert (config.statsd_host, config.statsd_prefix) == (expected, "shop.")
    assert config.dogstatsd_tags == "a:1, b:2"
    assert settings.notices == (f"{NAME}: ignored here: enable_backlog_metric",)


def test_no_statsd(tmp_path: Path) -> None:
    settings = collect(tmp_path, "threads = 1\nstatsd_host = None\nstatsd_prefix = ''")
    assert (settings.config.statsd_host, settings.notices) == ("", ())


def test_tls_is_as_gunicorn_has_it(tmp_path: Path) -> None:
    """All of its settings but the hook; with a certificate each address is served by TLS."""
    settings = collect(
        tmp_path,
        "import ssl\nchdir = '/srv'\nbind = ':443'\ncertfile = 'a,b.pem'\nkeyfile = '/k.pem'\n"
        "ca_certs = 'ca.pem'\ncert_reqs = ssl.CERT_REQUIRED\nciphers = 'HIGH'\n"
        "ssl_version = ssl.PROTOCOL_TLS\ndo_handshake_on_connect = True\n"
        "suppress_ragged_eofs = True\nthreads = 1",
    )
    config = settings.config
    assert (config.certfile, config.keyfile) == (("/srv/a,b.pem",), ("/k.pem",))
    assert (config.ca_certs, config.cert_reqs) == ("/srv/ca.pem", "required")
    assert (config.ciphers, config.tls_min, config.bind) == ("HIGH", "1.2", (":443",))
    assert settings.values["tls_min"].origin == "default"
    assert settings.notices == (
        f"{NAME}: ignored here: do_handshake_on_connect, suppress_ragged_eofs",
    )


def test_no_value_is_no_setting(tmp_path: Path) -> None:
    source = "\n".join(
        f"{name} = None" for name in ("accesslog", "pidfile", "user", "certfile", "post_fork")
    )
    file = convert(tmp_path, f"{source}\nthreads = 1\ndaemon = False\nproxy_protocol = 'off'")
    assert file == ForeignFile({"threads": 1, "proxy_protocol": "off"})


@pytest.mark.parametrize(
    ("value", "mode"),
    [("True", "auto"), ("'AUTO'", "auto"), ("'v1'", "v1"), ("'v2'", "v2"), ("False", "off")],
)
def test_the_proxy_protocol_is_what_gunicorn_means_by_it(
    tmp_path: Path, value: str, mode: str
) -> None:
    source = f"threads = 1\nproxy_protocol = {value}\nproxy_allow_ips = '10.0.0.1, 10.1.0.0/16'"
    settings = collect(tmp_path, source)
    assert settings.config.proxy_protocol == mode
    # gunicorn asks nobody on a unix socket for an address.
    assert settings.config.proxy_allow_from == ("10.0.0.1", "10.1.0.0/16", "unix")
    said = any("without a PROXY header is closed here" in line for line in settings.notices)
    assert said == (mode != "off")


@pytest.mark.parametrize(
    ("source", "protocol", "allowed"),
    [
        ("protocol = 'http'", "http", ("127.0.0.0/8", "::1", "unix")),
        ("protocol = 'uwsgi'", "uwsgi", ("127.0.0.0/8", "::1", "unix")),
        (
            "protocol = 'uwsgi'\nuwsgi_allow_ips = '10.0.0.1, 10.0.0.2'",
            "uwsgi",
            ("10.0.0.1", "10.0.0.2"),
        ),
    ],
)
def test_the_uwsgi_protocol_is_what_gunicorn_means_by_it(
    tmp_path: Path, source: str, protocol: str, allowed: tuple[str, ...]
) -> None:
    settings = collect(tmp_path, f"threads = 1\n{source}")
    assert (settings.config.protocol, settings.config.uwsgi_allow_from) == (protocol, allowed)
    assert settings.notices == ()


@pytest.mark.parametrize(
    ("source", "variables", "path"),
    [
        ("", {"SCRIPT_NAME": "/shop"}, "/shop"),
        ("raw_env = ['A=1', 'SCRIPT_NAME=/shop/']", {"SCRIPT_NAME": "/x"}, "/shop"),
        ("root_path = '/for-asgi'", {"SCRIPT_NAME": "/shop"}, "/shop"),
        ("", {"SCRIPT_NAME": "deploy.sh"}, ""),  # a shell's own, no path
        ("", {}, ""),
    ],
)
def test_the_path_that_gunicorn_is_told_by_a_variable_holds(
    tmp_path: Path, source: str, variables: dict[str, str], path: str
) -> None:
    (tmp_path / NAME).write_text(f"threads = 1\n{source}")
    file = read(NAME, tmp_path, variables)
    assert file is not None
    assert file.options.get("root_path", "") == path


def test_what_is_ignored_is_listed_once(tmp_path: Path) -> None:
    file = convert(tmp_path, "worker_tmp_dir = '/dev/shm'\nworker_int = print\nspew = False")
    assert file.notices == (f"{NAME}: ignored here: worker_int, worker_tmp_dir", THREADS)


def test_gunicorns_variable_is_not_read(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("threads = 1")
    file = read(NAME, tmp_path, {"GUNICORN_CMD_ARGS": "--workers 9"})
    notice = "$GUNICORN_CMD_ARGS is not read: $WSGI_ASYNC_CMD_ARGS is"
    assert file == ForeignFile({"threads": 1}, (notice,))


def test_names_that_are_no_settings_are_the_files_own(tmp_path: Path) -> None:
    assert convert(tmp_path, "import os\nhome = os.getcwd()\nthreads = 1").options == {"threads": 1}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 / 0", f"{NAME} raised ZeroDivisionError: division by zero"),
        ("workers =", f"{NAME} raised SyntaxError: invalid syntax"),
        ("raise SystemExit", f"{NAME} raised SystemExit"),
        ("def ssl_context(a, b): pass", f"{NAME}: ssl_context = <function ssl_context at "),
        ("ssl_version = 3", f"{NAME}: --ssl-version 3: RFC 8996"),
        ("certfile = ['a']", f"{NAME}: certfile cannot be ['a']"),
        ("daemon = True", f"{NAME}: daemon = True: this server stays in the foreground"),
        ("post_fork = 3", f"{NAME}: post_fork takes a function, not 3"),
        ("def post_fork(a): pass", f"{NAME}: post_fork takes 2 arguments, not (a)"),
        ("bind = 8000", f"{NAME}: bind cannot be 8000"),
        ("bind = ['a:1', 8000]", f"{NAME}: bind cannot be ['a:1', 8000]"),
        ("loglevel = 10", f"{NAME}: loglevel cannot be 10"),
        ("umask = 'x'", f"{NAME}: umask cannot be 'x'"),
        ("workers = 'x'", f"{NAME}: --workers takes a whole number"),
    ],
)
def test_one_clear_error(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        collect(tmp_path, source)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_an_error_in_the_file_has_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        collect(tmp_path, "def f():\n    1 / 0\nf()")
    assert "line 2, in f" in caught.value.__notes__[0]


def test_other_ways_to_name_it(tmp_path: Path) -> None:
    (tmp_path / "conf_as_module.py").write_text("threads = 3")
    assert convert(tmp_path, "threads = 2", "file:" + NAME).options == {"threads": 2}
    file = read("python:conf_as_module", tmp_path, {})
    assert file is not None
    assert file.options == {"threads": 3}
    assert read("settings.yaml", tmp_path, {}) is None
    with pytest.raises(ConfigError, match=r"there is no file 'x\.py'"):
        read("x.py", tmp_path, {})


def test_it_may_import_from_the_current_directory(tmp_path: Path) -> None:
    (tmp_path / "shared_numbers.py").write_text("number = 7")
    assert convert(tmp_path, "from shared_numbers import number as threads").options == {
        "threads": 7
    }


@pytest.mark.parametrize("arity", [2, 3, 4])
def test_hooks_know_what_is_in_force(tmp_path: Path, arity: int) -> None:
    arguments: Any = ", ".join("abcd"[:arity])
    settings = collect(
        tmp_path,
        f"workers = 3\nseen = []\ndef post_request({arguments}): pass\n"
        "def on_starting(server): server.seen = server.cfg.workers, server.cfg.bind",
        workers="2",
        bind=["a:1"],
    )
    settings.hooks.starting(2)
    assert settings.hooks._server.seen == (2, ("a:1",))  # type: ignore[attr-defined]


def test_hooks_find_tls_in_gunicorns_form(tmp_path: Path) -> None:
    """A file's name is text there, and not one of several."""
    seen = (
        "def on_starting(server):\n"
        "    cfg = server.cfg\n"
        "    server.seen = cfg.is_ssl, cfg.certfile, cfg.keyfile, cfg.ca_certs, cfg.cert_reqs\n"
    )
    settings = collect(
        tmp_path, f"certfile = 'a.pem'\nca_certs = 'ca.pem'\ncert_reqs = 1\nthreads = 1\n{seen}"
    )
    settings.hooks.starting(1)
    assert settings.hooks._server.seen == (True, "a.pem", None, "ca.pem", 1)  # type: ignore[attr-defined]
    settings = collect(tmp_path, f"threads = 1\n{seen}")
    settings.hooks.starting(1)
    assert settings.hooks._server.seen == (False, None, None, None, 0)  # type: ignore[attr-defined]


def test_its_control_socket_is_ours(tmp_path: Path) -> None:
    source = "control_socket = 'g.ctl'\ncontrol_socket_mode = 0o660\nchdir = 'site'\n"
    config = collect(tmp_path, source).config
    assert (config.control_socket, config.control_socket_mode) == ("site/g.ctl", 0o660)
    settings = collect(tmp_path, source + "control_socket_disable = True\n")
    assert settings.config.control_socket == ""
    assert "--control-socket-mode is of no use without --control-socket" in settings.notices


def test_the_application_of_a_pastedeploy_file(tmp_path: Path) -> None:
    source = "threads = 1\npaste = 'site.ini#admin'\nraw_paste_global_conf = ['a=1', 'b=2']"
    assert convert(tmp_path, source).options == {
        "threads": 1,
        "app": "site.ini#admin",
        "paste_global": ["a=1", "b=2"],
    }
    with pytest.raises(ConfigError, match=r"paste takes FILE\.ini or FILE\.ini#NAME, not 'a:b'"):
        convert(tmp_path, "paste = 'a:b'")
