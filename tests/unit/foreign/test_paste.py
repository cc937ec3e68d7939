"""PasteDeploy's ini files: which they are, and what becomes of the server's section."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import foreign_files
import pytest
from tools import require_module

from wsgi_async.config.sources import ForeignFile, Settings
from wsgi_async.errors import ConfigError
from wsgi_async.foreign import paste_options, read
from wsgi_async.foreign.paste import with_loggers

APP = "[app:main]\npaste.app_factory = site:make\n"


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_module("paste.deploy")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])


def convert(
    directory: Path, text: str, named: str = "site.ini", *variables: str, **environ: str
) -> ForeignFile:
    (directory / "site.ini").write_text(text)
    file = read(named, directory, environ, variables)
    assert file is not None
    return file


def options(directory: Path, body: str, use: str = "egg:wsgi_async#main") -> dict[str, Any]:
    return dict(convert(directory, f"[server:main]\nuse = {use}\n{body}\n").options)


def collect(directory: Path, text: str, **given: object) -> Settings:
    return foreign_files.collect(directory, "site.ini", text, **given)


def test_an_ordinary_file(tmp_path: Path) -> None:
    settings = collect(
        tmp_path,
        """
[DEFAULT]
port = 6542

[app:main]
use = egg:shop
pyramid.includes = pyramid_tm

[server:main]
use = egg:wsgi_async#main
host = 0.0.0.0
port = 6543
threads = 6
workers = 2
keepalive = 5
connection_limit = 300
max-body-size = 2M
pid = %(here)s/shop.pid

[loggers]
keys = root
""",
        threads="3",
    )
    config = settings.config
    # PasteDeploy takes a setting for none of the section's where [DEFAULT] has one of its name.
    assert config.bind == ("0.0.0.0:8000",)
    assert (config.workers, config.keep_alive, config.max_connections) == (2, 5.0, 300)
    assert (config.threads, config.max_body_size) == (3, 2 << 20)
    assert config.log_config == str(tmp_path / "site.ini")
    assert settings.launch.pid == f"{tmp_path}/shop.pid"
    assert settings.launch.app == f"{tmp_path}/site.ini#main"
    assert settings.values["workers"].origin == "site.ini"
    assert settings.notices == ()


WAITRESS = {
    "listen = 127.0.0.1:1 [::1]:2 *:3 localhost": {
        "bind": ["127.0.0.1:1", "[::1]:2", "*:3", "localhost:8080"]
    },
    "listen = a:1\n  b:2": {"bind": ["a:1", "b:2"]},
    "unix_socket = /run/x\nunix_socket_perms = 600": {
        "bind": ["unix:/run/x"],
        "socket_mode": "600",
    },
    "listen = [::1] [::1]:81": {"bind": ["[::1]:8080", "[::1]:81"]},
    "ident = shop": {"header": ["Server: shop"]},
    "ident =": {"server_header": False},
    "url_prefix = shop/": {"root_path": "/shop"},
    "url_prefix =": {"root_path": ""},
    "trusted_proxy = 10.0.0.1\ntrusted_proxy_headers = x-forwarded-for\n  x-forwarded-proto": {
        "forwarded_allow_ips": ["10.0.0.1"],
        "proxy_headers": ["x-forwarded-for", "x-forwarded-proto"],
    },
    "trusted_proxy = 10.0.0.1\ntrusted_proxy_headers = FORWARDED": {
        "forwarded_allow_ips": ["10.0.0.1"],
        "proxy_headers": ["forwarded"],
    },
    "trusted_proxy = localhost\ntrusted_proxy_count = 1": {"forwarded_allow_ips": ["unix"]},
    "channel_timeout = 9\nbacklog = 7": {"keep_alive": "9", "backlog": "7"},
    "inbuf_overflow = 9\noutbuf_overflow = 8": {"spool_threshold": "9", "response_buffer": "8"},
    "max_request_header_size = 9\nmax_request_body_size = 8": {
        "max_header_size": "9",
        "max_body_size": "8",
    },
    "expose_tracebacks = t\nurl_scheme = http": {"debug": True},
}


@pytest.mark.parametrize("body", WAITRESS)
@pytest.mark.parametrize("use", ["egg:wsgi_async#main", "egg:waitress#main"])
def test_waitress_names_are_known_under_either_server(tmp_path: Path, body: str, use: str) -> None:
    found = options(tmp_path, body, use)
    if "bind" not in WAITRESS[body] and "waitress" in use:
        assert (found.pop("host"), found.pop("port")) == ("0.0.0.0", 8080)  # its defaults
    assert found == WAITRESS[body]
    collect(tmp_path, f"[server:main]\nuse = {use}\n{body}\n")  # each is a value that is taken


GUNICORN = {
    "bind = tcp://a:1, unix:/x": {"bind": ["a:1", "unix:/x"]},
    "host = a\nport = 1": {"host": "a", "port": "1"},
    "host = a:1,b:2": {"bind": ["a:1", "b:2"]},
    "host = a:1": {"bind": ["a:1"]},
    "host = a,::1": {"bind": ["a:8000", "[::1]:8000"]},
    "host = ::1": {"host": "::1"},
    "keepalive = 5\npidfile = x": {"keep_alive": "5", "pid": "x"},
    "accesslog = -\nerrorlog = e.log\nloglevel = DEBUG": {
        "access_logfile": "-",
        "error_logfile": "e.log",
        "log_level": "debug",
    },
    "preload_app = True\nworkers = 3": {"preload": True, "workers": "3"},
    "raw_env = A=1,B=2": {"env": ["A=1", "B=2"]},
    "proxy_protocol = true": {"proxy_protocol": "auto"},
    "daemon = false": {},
}


@pytest.mark.parametrize("body", GUNICORN)
@pytest.mark.parametrize("use", ["egg:wsgi-async", "egg:gunicorn#main"])
def test_gunicorns_names_are_known_under_either_server(tmp_path: Path, body: str, use: str) -> None:
    expected = dict(GUNICORN[body])
    found = options(tmp_path, body, use)
    if "proxy_protocol" in expected and "wsgi" in use:
        expected["proxy_protocol"] = "true"  # which is our own word for it too
    assert found == expected
    collect(tmp_path, f"[server:main]\nuse = {use}\n{body}\n")


def test_what_has_no_counterpart_is_told_in_one_line(tmp_path: Path) -> None:
    body = "worker_class = gevent\nproc_name = shop\nasyncore_use_poll = true\nipv6 = false\n"
    body += "trusted_proxy_headers = x-forwarded-for x-forwarded-by\n"
    file = convert(tmp_path, f"[server:main]\nuse = egg:wsgi_async\n{body}")
    assert file.options == {"proxy_headers": ["x-forwarded-for"]}
    label = "site.ini, [server:main]: ignored here: "
    assert sorted(file.notices) == [
        f"{label}asyncore_use_poll, ipv6, x-forwarded-by",
        f"{label}proc_name, worker_class",
    ]


@pytest.mark.parametrize("use", ["egg:waitress#main", "egg:gunicorn", "egg:Paste#http"])
def test_another_server_may_have_settings_that_nobody_here_knows(tmp_path: Path, use: str) -> None:
    file = convert(tmp_path, f"[server:main]\nuse = {use}\nport = 1\nthreads = 2\nmystery = 3\n")
    assert file.options["port"] == "1"
    ignored = "mystery, threads" if "Paste" in use else "mystery"
    assert file.notices == (f"site.ini, [server:main]: ignored here: {ignored}",)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("url_scheme = https", "wsgi.url_scheme is https where a proxy in"),
        ("trusted_proxy = a\ntrusted_proxy_count = 2", "the client is whom the last of the"),
        ("clear_untrusted_proxy_headers = false", "sees no X-Forwarded fields but"),
    ],
)
def test_what_is_lost_with_consequence_says_which(tmp_path: Path, body: str, said: str) -> None:
    (notice,) = convert(tmp_path, f"[server:main]\nuse = egg:wsgi_async\n{body}").notices
    assert notice.startswith(f"site.ini, [server:main]: {body.splitlines()[-1]}: ")
    assert said in notice


def test_gunicorns_single_thread_is_told_of(tmp_path: Path) -> None:
    """As for its own file: an application may count on it."""
    file = convert(tmp_path, "[server:main]\nuse = egg:gunicorn#main\n")
    (notice,) = file.notices
    assert "threads is not set, where gunicorn has 1" in notice


def test_a_gunicorn_file_is_beneath_the_section(tmp_path: Path) -> None:
    (tmp_path / "g.py").write_text("workers = 3\nthreads = 2\nbind = ':9'\ndef on_exit(s): ...\n")
    body = "[server:main]\nuse = egg:gunicorn#main\nconfig = g.py\nworkers = 4\nhost = a\nport = 1"
    file = convert(tmp_path, body)
    assert file.options == {"workers": "4", "threads": 2, "host": "a", "port": "1"}
    assert file.hooks is not None
    (tmp_path / "gunicorn.conf.py").write_text("workers = 3")
    body = "[server:main]\nuse = egg:gunicorn#main\nthreads = 1"
    (notice,) = convert(tmp_path, body).notices
    assert "./gunicorn.conf.py is not read without config = gunicorn.conf.py" in notice


def test_sections_and_files_that_one_refers_to(tmp_path: Path) -> None:
    (tmp_path / "base.ini").write_text(
        "[server:shared]\nuse = egg:not_installed#main\nthreads = 3\nbacklog = 5\n"
    )
    text = """
[server:main]
use = config:base.ini#shared
backlog = %(waiting)s

[server:admin]
use = main
workers = 2

[app:main]
use = egg:shop
[composite:admin]
use = egg:Paste#urlmap
[app:other]
use = egg:shop
"""
    file = convert(tmp_path, text, "site.ini", "waiting=9")
    assert file.options == {"app": f"{tmp_path}/site.ini#main"}  # its names are not ours to know
    assert file.notices == ("site.ini, [server:main]: ignored here: backlog, threads",)
    (tmp_path / "base.ini").write_text(
        "[server:shared]\nuse = egg:wsgi_async#main\nthreads = 3\nbacklog = 5\n"
    )
    file = convert(tmp_path, text, "site.ini#admin", "waiting=9")
    assert file.options == {
        "app": f"{tmp_path}/site.ini#admin",
        "threads": "3",
        "backlog": "9",
        "workers": "2",
    }
    # As with pserve's -n: an application of its own, and the server of all.
    file = convert(tmp_path, text, "site.ini#other", "waiting=9")
    assert file.options["app"] == f"{tmp_path}/site.ini#other"
    assert file.options["threads"] == "3"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[server:main]\nthreads = 1\n", "No use = ... in the section [server:main]"),
        ("[server:main]\nuse = nowhere\n", "No section 'nowhere' (prefixed by 'server')"),
        ("[server:main]\nuse = config:no.ini\n", "/no.ini: No such file or directory"),
        ("[server:main]\nuse = egg:x\nport = %(p)s\n", "Bad value substitution: option 'port'"),
        ("[server:main]\nuse = egg:x\nuse = egg:y\n", "option 'use' in section 'server:main' alr"),
        ("[server:main]\nuse\n", "Source contains parsing errors"),
        ("[server:main]\nuse = egg:x\nhunter2\n", "/site.ini' [line 3]"),
        ("[server:main]\nuse = egg:x\na = hunter2%(p)s\n", "which is not a valid option name"),
        ("[server:main]\nuse = egg:x\na = %hunter2\n", "'%' must be followed by '%' or '('"),
        ("[server:main]\nuse = egg:x\na = %(hunter2\n", "bad interpolation variable reference"),
        ("[DEFAULT]\na = hunter2%(p)s\n[server:main]\nuse = egg:x\n", "option 'a' in section"),
        ("hunter2\n[server:main]\nuse = egg:x\n", "site.ini', line: 1"),
        ("[server:main]\nuse = main\n", "site.ini: its sections lead to one another in a circle"),
        ("[server:main]\nuse = config:site.ini\n", "its sections lead to one another in a circle"),
        ("[server:main]\nuse = config:/dev/zero\n", "/dev/zero: it is a device, not an ordinary"),
        ("[server:main]\nuse = config:pipe\n", "/pipe: it is a pipe, not an ordinary file"),
        (
            "[server:main]\nuse = egg:x\nrequire = nobody\n",
            "no distribution 'nobody'",
        ),
        (
            "[server:main]\nuse = egg:wsgi_async\nthreds = 1\n",
            "option: threds. Did you mean th",
        ),
        ("[server:main]\nuse = egg:wsgi_async\napp = a:b\n", "No such option: app."),
        ("[server:main]\nuse = egg:gunicorn\ndaemon = true\n", "daemon = True: this server stays"),
        (
            "[server:main]\nuse = egg:gunicorn\nconfig = x.ini\n",
            "config takes a gunicorn file",
        ),
        ("[server:main]\nuse = egg:gunicorn\nconfig = x.py\n", "x.py: No such file or directory"),
        (f"{APP}[composite:main]\nuse = egg:x\n", "Ambiguous section names"),
        (
            f"{APP}[uwsgi]\nmodule = app\n",
            "-c site.ini:uwsgi for the former, -c site.ini#main",
        ),
        (
            "[something]\na = 1\n",
            "no section [uwsgi], nor [app:main] or [server:main]",
        ),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, text: str, expected: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError) as caught:
        convert(tmp_path, text)
    assert expected in str(caught.value)
    assert "hunter2" not in str(caught.value), "what stands in the file may be a password"
    assert str(caught.value).startswith("site.ini") or "x.py" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_values_name_the_option(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^site\.ini: --threads takes a whole number.*'many'$"):
        collect(tmp_path, "[server:main]\nuse = egg:wsgi_async\nthreads = many\n")
    with pytest.raises(ConfigError, match="--host and --port are short for --bind"):
        collect(tmp_path, "[server:main]\nuse = egg:wsgi_async\nlisten = a:1\nport = 2\n")


def test_a_section_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        convert(tmp_path, f"{APP}[composite:api]\nuse = egg:x\n[server:a]\n", "site.ini#admin")
    assert str(caught.value) == (
        "site.ini has no section [app:admin]; write site.ini#NAME, of which there are: main, api"
    )
    with pytest.raises(ConfigError, match=r"^site\.ini has no section \[app:main\]; .*: api$"):
        convert(tmp_path, "[composite:api]\nuse = egg:x\n")
    with pytest.raises(ConfigError, match=r"^site\.ini has no section \[app:main\]$"):
        convert(tmp_path, "[server:other]\nuse = egg:x\n")


def test_a_file_may_have_the_application_alone_or_the_server(tmp_path: Path) -> None:
    assert convert(tmp_path, APP).options == {"app": f"{tmp_path}/site.ini#main"}
    assert options(tmp_path, "threads = 1") == {"threads": "1"}


def test_both_kinds_in_one_file_by_their_names(tmp_path: Path) -> None:
    """As uWSGI's users have it, whose file may be the application's."""
    text = f"{APP}[uwsgi]\nmodule = shop\nthreads = 2\n"
    assert convert(tmp_path, text, "site.ini:uwsgi").options["app"] == "shop"
    assert convert(tmp_path, text, "site.ini#main").options["app"] == f"{tmp_path}/site.ini#main"


def test_the_package_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "wsgi_async.foreign.paste_sections", raising=False)
    monkeypatch.setitem(sys.modules, "paste.deploy", None)
    with pytest.raises(ConfigError) as caught:
        convert(tmp_path, APP)
    assert str(caught.value) == (
        "site.ini is a PasteDeploy file, which needs PasteDeploy: pip install 'wsgi_async[paste]'"
    )


def test_the_logging_of_the_applications_file(tmp_path: Path) -> None:
    """pserve and gunicorn's --paste have it, unless another configuration is named."""
    (tmp_path / "logs.ini").write_text(f"{APP}[loggers]\nkeys = root\n")
    settings = collect(tmp_path, APP, app="logs.ini#main")
    assert settings.config.log_config == ""
    found = with_loggers(settings, tmp_path)
    assert found.config.log_config == str(tmp_path / "logs.ini")
    assert found.values["log_config"].origin == "logs.ini"
    settings = collect(tmp_path, APP, app="logs.ini", log_config="other.ini")
    assert with_loggers(settings, tmp_path) is settings
    settings = collect(tmp_path, APP, app="site.ini")
    assert with_loggers(settings, tmp_path) is settings
    settings = collect(tmp_path, APP, app="logs.ini", chdir="elsewhere")
    assert with_loggers(settings, tmp_path) is settings


def test_values_of_a_program(tmp_path: Path) -> None:
    """The entry points are functions, which may be called without a file."""
    settings = {"threads": 3, "listen": "a:1", "preload_app": True, "ident": None}
    file = paste_options.convert(settings, "egg:wsgi_async", "here", {})
    assert file.options["threads"] == 3
    assert file.options["bind"] == ["a:1"]
    assert file.options["preload"] is True
    assert file.options["server_header"] is False
