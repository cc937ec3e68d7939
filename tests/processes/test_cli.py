"""The command as a user meets it where it only prints: options, checks, errors."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from certificates import authority

from wsgi_async.cli import main
from wsgi_async.config.option import Group
from wsgi_async.config.options import LAUNCH_OPTIONS, OPTIONS
from wsgi_async.help.tables import options_table

SITE = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]

def make_app():
    return application

number = 3
"""


class Result(NamedTuple):
    code: object
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty current directory with the application `site_cli`, and no variables of ours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    for name in os.environ:
        if name == "PORT" or name.startswith("WSGI_ASYNC_"):
            monkeypatch.delenv(name)
    (tmp_path / "site_cli.py").write_text(SITE)
    yield
    sys.modules.pop("site_cli", None)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*args: str) -> Result:
        with pytest.raises(SystemExit) as caught:
            main(args)
        return Result(caught.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def configured(run: Run) -> Callable[..., dict[str, object]]:
    """The values that --print-config shows."""

    def configured(*args: str) -> dict[str, object]:
        result = run(*args, "--print-config")
        assert (result.code, result.err) == (0, "")
        return tomllib.loads(result.out)

    return configured


# --- Options


def test_help_shows_every_option_and_no_alias(run: Run) -> None:
    result = run("--help")
    assert (result.code, result.err) == (0, "")
    assert run("-h") == result
    words = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", result.out))
    specs = (*LAUNCH_OPTIONS, *OPTIONS)
    shown = {flag for spec in specs for flag in (spec.flag, *spec.flags)}
    others = {
        f"--no-{spec.flag[2:]}" for spec in (*LAUNCH_OPTIONS, *OPTIONS) if spec.kind == "bool"
    }
    assert "--no-preload" in others
    others |= {"--check-config", "--print-config", "--version", "--guide", "-h", "--help"}
    assert words == shown | others


def test_help_has_a_dozen_everyday_options_first_and_the_others_in_groups(run: Run) -> None:
    text = run("--help").out
    headings = re.findall(r"^(\S.*):$", text, re.MULTILINE)
    groups = [group.value for group in Group]
    assert headings == ["Everyday options", *groups, "Instead of serving"]
    sections = re.split(r"^\S.*:$", text, flags=re.MULTILINE)[1:]
    shown = [re.findall(r"^  (?:-\w, )?(--[a-z-]+)", section, re.MULTILINE) for section in sections]
    assert len(shown[0]) == 12
    assert {"--bind", "--workers", "--threads", "--reload"} <= set(shown[0])
    flags = [flag for section in shown for flag in section]
    assert len(flags) == len(set(flags))
    assert shown[-1] == ["--check-config", "--print-config", "--version", "--guide", "--help"]


def test_the_table_of_options() -> None:
    head, rule, *rows = options_table().splitlines()
    assert head == "| Option | Default | Meaning |"
    assert rule == "|---|---|---|"
    assert len(rows) == len(LAUNCH_OPTIONS) + len(OPTIONS)
    assert all(row.count("|") == 4 for row in rows)
    assert "| `--threads` | `8` | Threads of a process that run the application. |" in rows
    assert any(row.startswith("| `-b`, `--bind` |") for row in rows)


GIVEN = {
    "bind": ("127.0.0.1:1", ["127.0.0.1:1"]),
    "workers": ("3", 3),
    "threads": ("3", 3),
    "request_timeout": ("3s", "3s"),
    "timeout": ("3s", "3s"),
    "max_requests": ("3", 3),
    "max_requests_jitter": ("3", 3),
    "worker_lifetime": ("3s", "3s"),
    "max_connections": ("3", 3),
    "keep_alive": ("3s", "3s"),
    "graceful_timeout": ("3s", "3s"),
    "max_body_size": ("3M", "3M"),
    "root_path": ("/shop", "/shop"),
    "error_logfile": ("e.log", "e.log"),
    "log_config": ("log.ini", "log.ini"),
    "socket_mode": ("600", 0o600),
    "limit_request_field_size": ("3K", "3K"),
    "max_header_size": ("3K", "3K"),
    "spool_threshold": ("3K", "3K"),
    "response_buffer": ("3K", "3K"),
    "forwarded_allow_ips": ("10.0.0.1,unix", ["10.0.0.1", "unix"]),
    "proxy_headers": ("x-forwarded-for", ["for"]),
    "proxy_allow_from": ("10.0.0.1,unix", ["10.0.0.1", "unix"]),
    "protocol": ("uwsgi", "uwsgi"),
    "uwsgi_allow_from": ("10.0.0.1", ["10.0.0.1"]),
    "certfile": ("a.pem", ["a.pem"]),
    "keyfile": ("a.key", ["a.key"]),
    "keyfile_password": ("file:p", "file:p"),
    "ca_certs": ("ca.pem", "ca.pem"),
    "cert_reqs": ("2", "required"),
    "ciphers": ("HIGH", "HIGH"),
    "tls_min": ("tls1.3", "1.3"),
}

BESIDE = {
    "keyfile": ("--certfile=a.pem",),
    "keyfile_password": ("--certfile=a.pem",),
    "ca_certs": ("--certfile=a.pem", "--cert-reqs=optional"),
    "cert_reqs": ("--certfile=a.pem", "--ca-certs=ca.pem"),
    "ciphers": ("--certfile=a.pem",),
}
"""What an option cannot be without."""


@pytest.mark.parametrize(
    ("name", "flag"),
    [(spec.name, flag) for spec in OPTIONS for flag in (*spec.flags, *spec.aliases)],
)
def test_other_spellings(
    configured: Callable[..., dict[str, object]], name: str, flag: str
) -> None:
    text, value = GIVEN[name]
    assert configured(flag, text, *BESIDE.get(name, ()))[name] == value


@pytest.mark.parametrize(
    ("args", "name", "value"),
    [
        (["--threads", "3"], "threads", 3),
        (["--threads=3"], "threads", 3),
        (["-b", "a:1", "--bind", "b:2", "--listen=c:3"], "bind", ["a:1", "b:2", "c:3"]),
        (["-b", "a:1", "--uds", "/x", "--fd", "3"], "bind", ["a:1", "unix:/x", "fd://3"]),
        (["--port", "0"], "bind", ["localhost:0"]),
        (["--host", "::1", "--port", "1"], "bind", ["[::1]:1"]),
        ([], "bind", ["localhost:8000"]),
        (["--access-log"], "access_logfile", "-"),
        (["--log-syslog"], "log_syslog_to", "udp://localhost:514"),
        (["--log-syslog", "--log-syslog-to=udp://a:1"], "log_syslog_to", "udp://a:1"),
        (["--access-log", "--access-logfile", "a.log"], "access_logfile", "a.log"),
        (["--no-access-log"], "access_logfile", ""),
        (["--factory"], "factory", True),
        (["--call"], "factory", True),
        (["--factory", "--no-factory"], "factory", False),
        (["site_cli:app"], "app", "site_cli:app"),
        (["--app", "site_cli:app"], "app", "site_cli:app"),
        (["--min-rate", "1000"], "min_rate", 1000),
        (["--socket-mode", "600"], "socket_mode", 0o600),
    ],
)
def test_values(
    configured: Callable[..., dict[str, object]], args: list[str], name: str, value: object
) -> None:
    assert configured(*args)[name] == value


def test_print_config_can_be_a_configuration_file(run: Run, tmp_path: Path) -> None:
    first = run("site_cli", "--threads=3", "-b=unix:a,b", "--keep-alive=90s", "--print-config")
    assert re.search(r"^threads = 3 +# command line$", first.out, re.MULTILINE)
    assert re.search(r"^backlog = 2048 +# default$", first.out, re.MULTILINE)
    (tmp_path / "wsgi_async.toml").write_text(first.out)
    second = run("--print-config")
    assert re.search(r"^threads = 3 +# wsgi_async.toml$", second.out, re.MULTILINE)
    assert tomllib.loads(second.out) == tomllib.loads(first.out)


def test_a_password_is_printed_neither_as_it_is_nor_as_another(run: Run, tmp_path: Path) -> None:
    """What is printed may be kept as a file, whose password must not be a row of stars then."""
    printed = run("site_cli", "--certfile=a", "--keyfile-password=hunter2", "--print-config").out
    assert "hunter2" not in printed
    assert re.search("^# keyfile_password is set, and not shown +# command line$", printed, re.M)
    assert "keyfile_password" not in tomllib.loads(printed)
    for action in ("--help", "--check-config"):
        result = run("site_cli", "--certfile=a", "--keyfile-password=hunter2", action)
        assert "hunter2" not in result.out + result.err
    assert (
        'keyfile_password = "file:p"'
        in run("--certfile=a", "--keyfile-password=file:p", "--print-config").out
    )


def test_print_config_says_whose_certificates_these_are_and_until_when(
    run: Run, tmp_path: Path
) -> None:
    one = authority().issue(tmp_path, "www.example.org", password="hunter2")
    options = (f"--certfile={one.certificate}", f"--keyfile={one.key}")
    printed = run(*options, "--keyfile-password=hunter2", "--print-config").out
    line = rf"^# {one.certificate}: www\.example\.org.*, valid until 20..-..-.. ..:..:.. UTC$"
    assert re.search(line, printed, re.MULTILINE)
    assert "BEGIN" not in printed
    assert "hunter2" not in printed
    tomllib.loads(printed)
    # What is wrong with the files is not what keeps one from seeing the options.
    printed = run(*options, "--keyfile-password=wrong", "--print-config").out
    assert re.search(rf"^# --keyfile-password .* {one.key}$", printed, re.MULTILINE)
    assert "wrong" not in printed


def test_arguments_in_the_environment(
    configured: Callable[..., dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WSGI_ASYNC_CMD_ARGS", "--threads 3 --listen a:1 'site_cli:app'")
    values = configured("--threads", "4")
    assert (values["threads"], values["bind"], values["app"]) == (4, ["a:1"], "site_cli:app")


def test_version(run: Run) -> None:
    result = run("--version")
    assert result.code == 0
    assert re.fullmatch(r"wsgi-async \d+\.\d+\.\d+ \(CPython 3\.\S+, h11 \S+, .*\)\n", result.out)


@pytest.mark.parametrize("action", ["--version", "--help", "--print-config"])
def test_what_only_prints_does_not_import_the_server(action: str) -> None:
    program = (
        "import sys\n"
        "from wsgi_async.cli import main\n"
        "try:\n"
        f"    main([{action!r}])\n"
        "finally:\n"
        "    assert not {'asyncio', 'h11', 'wsgi_async.server.server'} & sys.modules.keys()\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=env, timeout=30
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout


# --- Errors


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--thread", "3"], "No such option: --thread. Did you mean --threads?"),
        (["--keepalive=3"], "No such option: --keepalive. Did you mean --keep-alive?"),
        (["--worker", "3"], "No such option: --worker. Did you mean --workers?"),
        (["-x", "3"], "No such option: -x."),
        (["--threads"], "Option '--threads' requires an argument"),
        (["--version=3"], "Option '--version' does not take a value"),
        (["a", "b"], "Got unexpected extra argument (b)"),
        (["a", "--app", "b"], "APP and --app are the same: give one of them"),
        ([], "Which application? Write wsgi-async module:application"),
        (["--threads=0"], "--threads takes a whole number, from 1 to 10000, not '0'"),
        (["--parser", "x"], "--parser takes auto or h11, not 'x'"),
        (["--bind=a", "--port=1"], "--host and --port are short for --bind: give one or the other"),
        (["-c", "x.yml"], "--config takes a file .toml, .py or .ini, not 'x.yml'"),
        (["site_cli", "--check-config", "-b", "a:http"], "'a:http' has no port from 0 to 65535"),
    ],
)
def test_bad_configuration_is_one_line_and_code_1(run: Run, args: list[str], message: str) -> None:
    assert run(*args) == (1, "", f"wsgi-async: error: {message}\n")


def test_a_misspelt_application_of_another_server_is_shown(run: Run) -> None:
    """uWSGI says nothing of a setting that nobody reads, and the file looks right."""
    Path("uwsgi.ini").write_text("[uwsgi]\nmodul = site_cli\nthreads = 2\n")
    said = "Write wsgi-async module:application (uwsgi.ini: ignored here: modul)"
    assert run("-c", "uwsgi.ini") == (1, "", f"wsgi-async: error: Which application? {said}\n")


def test_the_name_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--x"], prog_name="python -m wsgi_async")
    assert capsys.readouterr().err.startswith("python -m wsgi_async: error: ")


def test_an_error_in_the_environments_arguments(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSGI_ASYNC_CMD_ARGS", "--thread 3")
    assert run("site_cli").err == (
        "wsgi-async: error: $WSGI_ASYNC_CMD_ARGS: "
        "No such option: --thread. Did you mean --threads?\n"
    )


@pytest.mark.parametrize("action", ["--version", "--check-config", "--print-config", "--guide"])
def test_what_is_done_instead_of_serving_is_not_asked_for_by_a_variable(
    run: Run, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    monkeypatch.setenv("WSGI_ASYNC_CMD_ARGS", action)
    assert run("site_cli") == (
        1,
        "",
        f"wsgi-async: error: $WSGI_ASYNC_CMD_ARGS: {action} is for the command line itself\n",
    )


@pytest.mark.parametrize("args", [["site_cli"], ["--factory", "site_cli:make_app"]])
def test_check_config(run: Run, args: list[str]) -> None:
    result = run("--check-config", *args)
    assert result == (0, f"The configuration and the application {args[-1]} are good\n", "")
    assert not logging.getLogger("wsgi_async").handlers


def test_check_config_looks_at_what_is_to_be_watched(run: Run) -> None:
    pytest.importorskip("watchfiles")
    done = run("--check-config", "--reload", "--reload-dir", "nowhere", "site_cli")
    assert done.code == 1
    assert "--reload-dir: there is no directory" in done.err


def test_an_application_that_cannot_be_had_is_code_3(run: Run) -> None:
    assert run("--check-config", "site_cli:number") == (
        3,
        "",
        "wsgi-async: error: 'number' in 'site_cli' is not callable: it is of type int\n",
    )


def test_the_current_directory_is_first_on_the_path(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "path", ["/usr/local/bin", *sys.path])
    assert run("--check-config", "site_cli").code == 0
    assert sys.path[:2] == [str(tmp_path), "/usr/local/bin"]


INTERRUPTED = """
import runpy, sys

class CtrlC:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == sys.argv[1] + "." + sys.argv[2]:
            raise KeyboardInterrupt

sys.meta_path.insert(0, CtrlC)
runpy.run_module(sys.argv[1], run_name="__main__")
"""


@pytest.mark.parametrize(
    ("command", "module"), [("wsgi_async", "cli"), ("wsgi_async.ctl", "command")]
)
def test_ctrl_c_before_anything_has_begun_leaves_no_traceback(command: str, module: str) -> None:
    # The command takes a moment to be imported, and nothing of its own can catch a signal yet.
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, command, module], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
