"""What `migrate` knows of other servers is what they have: held to gunicorn's and waitress's own
tables, so that a new version of theirs is noticed here."""

from __future__ import annotations

import ast
import contextlib
import multiprocessing
import os
import re
import sys
from pathlib import Path

import pytest
from migrations import FILES, PROCESSORS, Case, run

from wsgi_async.config.option import Option
from wsgi_async.config.options import ALL_OPTIONS
from wsgi_async.ctl import migrate
from wsgi_async.ctl.migrate import (
    apache_rules,
    gunicorn_command,
    gunicorn_file,
    mod_wsgi,
    uwsgi_fates,
    waitress,
)
from wsgi_async.ctl.migrate.checked import KNOWN
from wsgi_async.ctl.migrate.gunicorn_fates import FATES
from wsgi_async.ctl.migrate.gunicorn_judges import JUDGES
from wsgi_async.ctl.migrate.kinds import KINDS
from wsgi_async.ctl.migrate.report import Command, Source, Verdict
from wsgi_async.ctl.migrate.reporting import report
from wsgi_async.ctl.migrate.servers import SERVERS
from wsgi_async.ctl.migrate.words import Word
from wsgi_async.ctl.text import Screen
from wsgi_async.errors import ConfigError
from wsgi_async.foreign import read as read_foreign
from wsgi_async.foreign.gunicorn import OPTIONS, REFUSED, SETTINGS
from wsgi_async.foreign.gunicorn_logs import LOG_SETTINGS
from wsgi_async.foreign.hooks import HOOKS
from wsgi_async.foreign.uwsgi import Line, Reader
from wsgi_async.help import page


def test_gunicorns_flags_are_all_known() -> None:
    config = pytest.importorskip("gunicorn.config")
    theirs = {
        flag: (setting.name, setting.action in ("store", "append", None))
        for setting in config.KNOWN_SETTINGS
        for flag in setting.cli or ()
    }
    ours = {flag: taking[:2] for flag, taking in gunicorn_command.FLAGS.items()}
    assert ours == theirs


def test_gunicorns_settings_are_all_known() -> None:
    config = pytest.importorskip("gunicorn.config")
    assert {setting.name for setting in config.KNOWN_SETTINGS} - SETTINGS == set()


def test_something_is_said_of_each_setting_that_is_no_option_by_another_name() -> None:
    elsewhere = {*OPTIONS, *HOOKS, *LOG_SETTINGS, *REFUSED, "config", "control_socket_disable"}
    assert SETTINGS - elsewhere - FATES.keys() - JUDGES.keys() == set()
    assert (FATES.keys() | JUDGES.keys()) - SETTINGS == set()


def test_waitresss_adjustments_are_all_known() -> None:
    adjustments = pytest.importorskip("waitress.adjustments")
    theirs = {name for name, _ in adjustments.Adjustments._params} - {"sockets"}
    ours = {taking.setting for taking in waitress.FLAGS.values()}
    assert theirs - ours == set()


@pytest.mark.parametrize("flag", sorted(waitress.FLAGS))
def test_each_flag_of_waitress_has_one_line(flag: str) -> None:
    taking = waitress.FLAGS[flag]
    words = [Word(flag, "here")]
    if taking.takes_value:
        words.append(
            Word({"trusted_proxy_headers": "forwarded"}.get(taking.setting, "600"), "here")
        )
    command = Command("waitress-serve", Source("here", ""), "here", words)
    found = [each for each in waitress.read(command).findings if each.setting == flag]
    assert len(found) == 1
    assert found[0].text or found[0].verdict is Verdict.TAKEN_OVER


MODULES = sorted(Path(migrate.__path__[0]).glob("*.py"))
ELSEWHERE = {"--execute", "--guide", "--kind", "--show-config", "--stacks"}
"""Of `wsgi-asyncctl`, of `uwsgi`, and of `wsgi-async` what is no option of a server."""


def test_the_first_page_names_each_module() -> None:
    named = re.findall(r"``(\w+)``", migrate.__doc__ or "")
    assert {path.stem for path in MODULES} - {"__init__", *named} == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_sentence_names_an_option_or_a_guide_that_there_is_not(path: Path) -> None:
    known = {flag for spec in ALL_OPTIONS for flag in _flags(spec)} | ELSEWHERE
    texts = [
        node.value
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
    ]
    if path.stem == "gunicorn_command":
        texts = [text for text in texts if not text.startswith("-")]  # tables of gunicorn's flags
    for text in texts:
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= known
        assert all(map(page, re.findall(r"--guide ([a-z-]+)", text)))


def _flags(spec: Option) -> tuple[str, ...]:
    return spec.flag, f"--no-{spec.flag[2:]}"


def test_the_guide_names_all_that_is_read() -> None:
    text = page("migrating")
    assert re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE) == [kind.name for kind in KINDS]
    assert set(re.findall(r"migrate -- ([a-z_-]+) ", text)) == set(SERVERS)
    heads = re.findall(r"^\| ([A-Z][a-z ]+) \| [a-z]", text, re.MULTILINE)
    assert heads == [verdict.value for verdict in Verdict]


def test_the_report_in_the_guide_is_the_real_one(tmp_path: Path) -> None:
    (block,) = re.findall(r"\$ .* gunicorn\.conf\.py\n(.*?)```", page("migrating"), re.DOTALL)
    (tmp_path / "gunicorn.conf.py").write_text(
        'wsgi_app = "shop.wsgi:application"\nbind = "127.0.0.1:8000"\nworkers = 3\ntimeout = 120\n'
    )
    found = report(["gunicorn.conf.py"], [], Screen(None, False), directory=tmp_path)
    assert "\n".join(found.lines) + "\n" == block


@pytest.mark.parametrize("text", ["bind = 8000", "bind = 8.5", "bind = {1: 2}"])
def test_an_address_that_is_none_is_told_of(text: str) -> None:
    (plan,) = gunicorn_file.read(Source("gunicorn.conf.py", text))
    (finding,) = [each for each in plan.findings if each.setting == "bind"]
    assert (finding.verdict, finding.matters) == (Verdict.MISSING, True)


PLAIN = [
    case for case in FILES["gunicorn_files"] if case.name not in ("hooks", "gevent", "conditions")
]
"""Those whose file needs nothing that may not be installed, and no variable."""


@pytest.mark.parametrize("case", PLAIN, ids=lambda case: case.name)
def test_what_is_read_is_what_wsgi_async_takes_from_the_file(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not two ideas of what a setting means: one that is run, and one that is told.
    monkeypatch.setenv("ACCESS_LOG", "-")
    monkeypatch.setattr(os, "cpu_count", lambda: PROCESSORS)
    monkeypatch.setattr(multiprocessing, "cpu_count", lambda: PROCESSORS)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    (plan,) = run(case, tmp_path).plans
    (name,) = case.files
    lost = [
        finding.setting
        for finding in plan.findings
        if finding.setting in REFUSED and finding.matters
    ]
    if lost:  # serving refuses what the report says is missing
        with pytest.raises(ConfigError, match=lost[0]):
            read_foreign(name, tmp_path, {})
        return
    found = read_foreign(name, tmp_path, {})
    assert found is not None
    taken = {option: KNOWN[option].parse(value) for option, value in found.options.items()}
    differs = {option for option in taken if plan.options.get(option) != taken[option]}
    differs -= {
        option
        for option in differs
        if plan.options.get(option, KNOWN[option].default) == taken[option]
    }
    # What is left out for a reason that the report tells, and what a variable says.
    assert differs <= {"keep_alive", "max_connections", "timeout", "app", *plan.variables}
    assert plan.options.keys() - taken.keys() <= plan.besides_kept | plan.variables.keys()


TAKEN = [key for key, rule in uwsgi_fates.OPTIONS.items() if rule.verdict is Verdict.TAKEN_OVER]


@pytest.mark.parametrize("key", TAKEN)
def test_what_of_uwsgis_is_taken_over_is_not_told_as_ignored_by_who_serves(key: str) -> None:
    # Else the report and the first line of the log would contradict each other.
    reader = Reader(Path("/srv/app.ini"), "app.ini", {})
    with contextlib.suppress(ConfigError):  # of most of them 1 is no value
        reader.convert([Line(1, key, "1")])
    assert reader.ignored == []


def test_no_rule_of_apaches_is_hidden_by_one_that_understands_the_directive() -> None:
    understood = set(mod_wsgi.HANDLERS) - {"setenvif", "setenvifnocase"}  # which ask for theirs
    assert understood.isdisjoint(apache_rules.DIRECTIVES)


def test_what_is_instead_of_serving_is_a_flag_and_no_setting_of_a_file() -> None:
    words = [Word("--check-config", "here"), Word("app", "here")]
    typed = gunicorn_command.read(Command("gunicorn", Source("here", ""), "here", words))
    (written,) = gunicorn_file.read(Source("gunicorn.conf.py", "check_config = True"))
    verdicts = [
        finding.verdict
        for plan in (typed, written)
        for finding in plan.findings
        if finding.setting in ("--check-config", "check_config")
    ]
    assert verdicts == [Verdict.TAKEN_OVER, Verdict.WITHOUT_EFFECT]
