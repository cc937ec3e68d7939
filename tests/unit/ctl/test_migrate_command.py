"""`wsgi-asyncctl migrate` as a command: exit codes, one line for what is wrong, code that runs only
when it is told to."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from control_sockets import Ended, run
from rawclient import TIMEOUT
from tools import ROOT

Call = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def migrate(capsys: Call, *args: str) -> Ended:
    return run(capsys, "migrate", *args)


def test_nothing_of_consequence_is_code_0_and_something_is_2(capsys: Call) -> None:
    kept = migrate(capsys, "--", "gunicorn", "-w", "2", "app:app")
    assert (kept.code, kept.error) == (0, "")
    assert "  wsgi-async -w 2 app:app\n" in kept.out
    lost = migrate(capsys, "--", "gunicorn", "-D", "app:app")
    assert lost.code == 2
    assert "\n! command line  -D\n" in lost.out


def test_a_truth_that_is_none_is_missing(capsys: Call) -> None:
    ended = migrate(capsys, "--", "waitress-serve", "--expose-tracebacks=x", "app:app")
    assert "! command line  --expose-tracebacks" in ended.out
    assert "--debug takes true or false, not 'x'." in ended.out


def test_words_and_errors_show_no_secrets(capsys: Call) -> None:
    words = ["env", "TOKEN=hunter-1", "uwsgi", "-w", "a:b", "--strict", "PASSWORD=hunter-2"]
    ended = migrate(capsys, "--", *words, "--workers", "KEY=hunter-3")
    assert "--strict" in ended.out
    assert "hunter" not in ended.out


def test_options_for_a_server_are_refused(capsys: Call) -> None:
    ended = run(capsys, "--json", "migrate", "--", "gunicorn", "app:app")
    assert ended.code == 1
    assert "migrate asks no server" in ended.error


def test_options_behind_the_dashes_are_the_other_servers(capsys: Call) -> None:
    # -s and --kind are options of wsgi-asyncctl too.
    ended = migrate(capsys, "--", "gunicorn", "-s", "--kind", "x", "app:app")
    assert ended.code == 2
    assert "! command line  --kind\n" in ended.out


@pytest.mark.parametrize(
    ("text", "args", "said"),
    [
        (None, ("gunicorn.conf.py",), "There is no file 'gunicorn.conf.py'"),
        (None, (".",), ". is a directory: name a file in it"),
        ("\n", ("notes.txt",), "notes.txt is empty"),
        ("web: gunicorn a\n", ("--kind", "uwsgi", "Procfile"), "Procfile has no section [uwsgi]"),
        ("args:\n- gunicorn\n- app:app\n", ("pod.yml",), "pod.yml: of what kind it is cannot be"),
        (
            "[Socket]\nListenStream=1\n",
            ("a.socket",),
            "a.socket: a socket unit stays as it is, and its service takes its sockets",
        ),
        (None, (), "Give a FILE, or a command line behind --"),
        (None, ("--", "ls", "-l"), "command line: no command line of a server is there; known are"),
        (None, ("--", "gunicorn", "'"), ""),
        (
            "hello\n",
            ("notes.txt",),
            "notes.txt: of what kind it is cannot be seen: say --kind, one of",
        ),
        (
            "hello\n",
            ("--kind", "frob", "notes.txt"),
            "There is no kind 'frob': --kind takes gunicorn-",
        ),
        ("bind = (\n", ("gunicorn.conf.py",), "gunicorn.conf.py, line 1: '(' was never closed"),
        ("web: celery\n", ("Procfile",), "Procfile: no command line of a server is there"),
        ("gunicorn app:app\n", ("Procfile",), "Procfile:1: expected NAME: COMMAND"),
        ("web: gunicorn 'app\n", ("Procfile",), "Procfile:1: No closing quotation"),
        ("[Socket]\nListenStream=1\n", ("a.service",), "a.service is no service"),
        (
            "[Service]\nExecStart=/bin/true\n",
            ("a.service",),
            "a.service: no command line of a server",
        ),
        ("[Service]\nExecStart\n", ("a.service",), "a.service:2: expected KEY=VALUE"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    capsys: Call, text: str | None, args: tuple[str, ...], said: str
) -> None:
    if text is not None:
        Path(args[-1]).write_text(text)
    ended = migrate(capsys, *args)
    if not said:  # a quote is only a word of a command line that a shell has read
        assert ended.code == 0
        return
    assert ended.code == 1
    assert ended.out == ""
    assert ended.error.startswith(f"wsgi-asyncctl: error: {said}")
    assert ended.error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('CMD ["gunicorn", "-w", "2", "app:app"]\n', "CMD exec wsgi-async -w 2 app:app"),
        ('FROM a\nCMD ["gunicorn", \\\n "app:app"]\n', "CMD exec wsgi-async app:app"),
        (
            'services:\n  web:\n    command: ["gunicorn", "app:app"]\n',
            "command: wsgi-async app:app",
        ),
        ('CMD ["sh", "-c", "gunicorn app:app"]\n', "CMD exec sh -c 'wsgi-async app:app'"),
    ],
)
def test_a_list_of_words_is_a_command_line(capsys: Call, text: str, line: str) -> None:
    """As Dockerfiles and docker-compose.yml have it; a shell between would keep SIGTERM."""
    Path("Dockerfile").write_text(text)
    assert f"\nThe command line:\n  {line}\n" in migrate(capsys, "Dockerfile").out


@pytest.mark.parametrize("name", ["daemon", "ssl_context"])
def test_what_a_kept_file_is_refused_with_has_to_go_first(capsys: Call, name: str) -> None:
    """Else the line that is told does not start."""
    Path("gunicorn.conf.py").write_text(f"{name} = print\n")
    assert (
        f"\nOr with the file, once {name} is out of it:\n"
        in migrate(capsys, "gunicorn.conf.py", "--execute").out
    )


def test_bytes_that_are_no_text_are_one_line(capsys: Call) -> None:
    Path("gunicorn.conf.py").write_bytes(b"\xff\xfe")
    ended = migrate(capsys, "gunicorn.conf.py")
    assert (ended.code, ended.error) == (1, "wsgi-asyncctl: error: gunicorn.conf.py is not UTF-8\n")


def test_a_file_is_run_only_when_that_is_asked_for(capsys: Call) -> None:
    Path("gunicorn.conf.py").write_text("open('ran', 'w').close()\nworkers = sum([1, 2])\n")
    ended = migrate(capsys, "gunicorn.conf.py")
    assert ended.code == 2
    assert "it is no constant" in ended.out
    assert not Path("ran").exists()
    ended = migrate(capsys, "--execute", "gunicorn.conf.py")
    assert ended.code == 0
    assert "workers = 3\n" in ended.out
    assert Path("ran").exists()


def test_a_file_that_raises_shows_its_traceback(directory: Path) -> None:
    (directory / "gunicorn.conf.py").write_text("import nowhere_at_all\n")
    file = str(directory / "gunicorn.conf.py")
    ended = subprocess.run(
        [sys.executable, "-m", "wsgi_async.ctl", "migrate", "--execute", file],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        timeout=TIMEOUT,
    )
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
    assert "gunicorn.conf.py raised ModuleNotFoundError" in ended.stderr.splitlines()[-1]


def test_standard_input_is_a_file_too(capsys: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    # As of `systemctl cat`, with what overrides the unit behind it.
    unit = "[Service]\nExecStart=/bin/gunicorn app:app\n# override.conf\n[Service]\nExecStart=\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{unit}ExecStart=/bin/gunicorn -w 3 app:app\n"))
    ended = migrate(capsys, "-")
    assert ended.out.startswith("standard input: systemd unit (by its section [Service])\n")
    assert "  ExecStart=/bin/wsgi-async -w 3 app:app\n" in ended.out
    assert "standard input:6  -w 3\n" in ended.out


def test_a_kind_may_be_said(capsys: Call) -> None:
    Path("settings.txt").write_text("workers = 2\n")
    ended = migrate(capsys, "--kind", "gunicorn-config", "settings.txt")
    assert ended.code == 0
    assert ended.out.startswith("settings.txt: gunicorn's configuration file (as --kind says)\n")


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("bind = ':8000'\nworkers = 2\n", "by what it sets: bind, workers"),
        ("[Service]\nExecStart=/bin/gunicorn app:app\n", "by its section [Service]"),
        ("web: gunicorn app:app\n", "by its lines, each a name and a command"),
        ("#!/bin/sh\nexec gunicorn app:app\n", "by the program that it calls"),
    ],
)
def test_a_kind_is_found_by_content(capsys: Call, text: str, how: str) -> None:
    Path("settings.py").write_text(text)
    ended = migrate(capsys, "settings.py")
    assert f" ({how})\n" in ended.out


def test_a_terminal_obeys_nothing_of_it(capsys: Call) -> None:
    Path("gunicorn.conf.py").write_text("proc_name = '\x1b]0;owned\x07'\nbind = '\x1b[2J'\n")
    ended = migrate(capsys, "gunicorn.conf.py")
    assert "\\x1b" in ended.out
    assert "\x1b" not in ended.out


def test_nothing_is_written(capsys: Call, directory: Path) -> None:
    Path("Procfile").write_text("web: gunicorn app:app\n")
    migrate(capsys, "Procfile")
    assert [path.name for path in directory.iterdir()] == ["Procfile"]
