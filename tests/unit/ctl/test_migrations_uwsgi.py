"""What is understood of uWSGI's files and command lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsgi_async.ctl.migrate import servers, uwsgi
from wsgi_async.ctl.migrate.report import COMMAND, Finding, Plan, Source, Verdict
from wsgi_async.errors import ConfigError


def plan(body: str) -> Plan:
    (one,) = uwsgi.read(Source("app.ini", f"[uwsgi]\n{body}\n"))
    return one


def command(text: str, directory: Path = Path()) -> Plan:
    (one,) = servers.read_words(Source(COMMAND, text, directory))
    return one


def found(made: Plan, setting: str) -> Finding:
    (finding,) = [each for each in made.findings if each.setting == setting]
    return finding


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("app.xml", "<uwsgi>\n<module>app</module>\n</uwsgi>"),
        ("app.yaml", "uwsgi:\n  module: app\n"),
        ("app.yml", "uwsgi:\n  module: app\n"),
        ("app.json", '{"uwsgi": {"module": "app"}}'),
    ],
)
def test_other_syntaxes_are_known_and_refused_in_one_line(name: str, text: str) -> None:
    source = Source(name, text)
    assert uwsgi.is_uwsgi(source)
    with pytest.raises(ConfigError, match=rf"^{name}: uWSGI's XML, YAML and JSON are not read: "):
        uwsgi.read(source)


def test_a_name_of_the_file_s_own_is_no_option() -> None:
    made = plan("site = shop\nmodule = %(site).web\nplace = nowhere")
    assert made.application == "shop.web"
    assert [each.setting for each in made.findings if each.where[-1].isdigit()] == [
        "module",
        "place",
    ]
    assert found(made, "place").matters


def test_paths_are_relative_to_chdir_wherever_that_stands() -> None:
    made = plan("logto = app.log\nhttp-socket = app.sock\nvenv = env\nchdir = /srv/app")
    assert made.options["error_logfile"] == "/srv/app/app.log"
    assert made.options["bind"] == ["unix:/srv/app/app.sock"]
    assert made.program == "/srv/app/env/bin/wsgi-async"


def test_what_is_wrong_in_one_line_does_not_hide_the_others() -> None:
    made = plan("processes = many\nmount = nowhere\nthreads = 3\nmodule = app\n%(absent) = 1")
    assert (made.application, made.options["threads"]) == ("app", "3")
    assert found(made, "mount").verdict is Verdict.MISSING
    assert "expected /PREFIX=" in found(made, "mount").text


def test_what_does_not_go_together_is_told_at_the_second_one() -> None:
    # Ciphers are the same at all addresses here.
    made = plan("module = app\nhttps = :1,a,b,HIGH\nhttps-socket = :2,a,b,LOW")
    assert made.options["bind"] == ["https://:1"]
    assert found(made, "https-socket").verdict is Verdict.MISSING
    assert "the same at all addresses" in found(made, "https-socket").text


def test_what_nobody_knows_at_home_is_told_by_a_variable() -> None:
    made = plan("module = app\nhttp-socket = 0.0.0.0:$(PORT)\nprocesses = $(COUNT)")
    assert made.variables == {"bind": "0.0.0.0:${PORT}", "workers": "${COUNT}"}
    assert "bind" not in made.options


def test_switched_off_is_nothing_to_decide() -> None:
    assert not found(plan("module = app\nstats = false"), "stats").matters
    assert found(plan("module = app\nstats = :9191"), "stats").matters


@pytest.mark.parametrize("key", ["harakiri", "max-requests", "catch-exceptions", "log-slow"])
def test_what_is_off_there_and_here_does_not_differ(key: str) -> None:
    assert found(plan(f"module = app\n{key} = 0"), key).text == "off, as here"
    assert found(plan(f"module = app\n{key} = 7"), key).verdict is Verdict.CHANGED


def test_zero_is_no_bound_there_and_something_else_here() -> None:
    made = plan("module = app\nlimit-post = 0\nreload-mercy = 0")
    assert found(made, "limit-post").text.startswith("0 is no bound there; here it is 1G")
    assert made.options["graceful_timeout"] == "1ms"  # 0 would wait for ever


def test_a_file_that_loses_nothing_may_be_kept() -> None:
    assert plan("module = app\nhttp-socket = :8000").kept == "app.ini"
    assert plan("module = app\nhttp-socket = :8000\nspooler = spool").kept == ""


@pytest.mark.parametrize(
    ("text", "application"),
    [
        ("uwsgi -w app", "app"),
        ("uwsgi -w app --callable make", "app:make"),
        ("uwsgi --wsgi-file=app.py -M", "app.py"),
        ("uwsgi app.py", "app.py"),
        ("uwsgi site/app.wsgi:app", "site/app.wsgi:app"),
        ("uwsgi shop.web:app", "shop.web:app"),
        ("/opt/env/bin/uwsgi --master --module app:app", "app:app"),
    ],
)
def test_the_application_on_a_command_line(text: str, application: str) -> None:
    assert command(text).application == application


def test_flags_take_what_they_take_at_home() -> None:
    made = command(
        "uwsgi -M -p4 --http-socket :80 --need-app --threads=2 --die-on-term -l 9 app.py"
    )
    assert made.application == "app.py"
    assert made.options == {
        "backlog": "9",
        "bind": [":80"],
        "threads": "2",
        "workers": "4",
    }
    # An option that is not known takes a value, as most do.
    assert found(command("uwsgi --frobnicate 7 app.py"), "--frobnicate").value == "7"


def test_a_section_of_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.ini").write_text(
        "[uwsgi]\nmodule = one\n[two]\nmodule = two\nlazy-apps = true\n"
    )
    made = command("uwsgi --ini a.ini:two", tmp_path)
    assert (made.application, made.kept, made.files) == ("two", "a.ini:two", ["a.ini"])
    assert found(made, "module").where == "a.ini:4"
    # A file is told by itself: %n is its name, and what was set before it is set in it.
    (tmp_path / "shop.ini").write_text("[uwsgi]\nmodule = %n.%(stage)\nlogto = %d%n.log\n")
    made = command("uwsgi --set-ph stage=live shop.ini", tmp_path)
    assert made.application == "shop.live"
    assert made.options["error_logfile"] == f"{tmp_path}/shop.log"
    absent = command("uwsgi --ini b.ini", tmp_path)
    assert found(absent, "--ini").verdict is Verdict.MISSING


@pytest.mark.parametrize(
    ("name", "verdict", "matters"),
    [
        ("cheaper", Verdict.MISSING, True),
        ("cheaper-step", Verdict.WITHOUT_EFFECT, False),
        ("spooler-processes", Verdict.MISSING, True),
        ("mule", Verdict.MISSING, True),
        ("cache2", Verdict.MISSING, True),
        ("legion-attach-daemon", Verdict.MISSING, True),
        ("gevent-monkey-patch", Verdict.MISSING, True),
        ("route-uri", Verdict.MISSING, True),
        ("static-expires", Verdict.MISSING, True),
        ("static-safe", Verdict.WITHOUT_EFFECT, False),
        ("touch-chain-reload", Verdict.MISSING, True),
        ("exec-as-root", Verdict.MISSING, True),
        ("emperor", Verdict.MISSING, True),
        ("http-harakiri", Verdict.WITHOUT_EFFECT, False),
        ("worker-logger", Verdict.WITHOUT_EFFECT, False),
        ("python-path", Verdict.TAKEN_OVER, False),
        ("py-import", Verdict.MISSING, True),
        ("py-sharedarea", Verdict.WITHOUT_EFFECT, False),
        ("show-config", Verdict.WITHOUT_EFFECT, False),
        ("skip-atexit", Verdict.WITHOUT_EFFECT, False),
        ("frobnicate", Verdict.WITHOUT_EFFECT, True),
        # Options by which others are read may be wrong as well.
        ("protocol", Verdict.MISSING, True),
    ],
)
def test_each_of_a_family_is_told_like_its_neighbours(
    name: str, verdict: Verdict, matters: bool
) -> None:
    finding = found(plan(f"module = app\n{name} = /x"), name)
    assert (finding.verdict, finding.matters) == (verdict, matters)
