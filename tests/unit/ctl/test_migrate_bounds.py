"""What `migrate` makes of files that mean to be too much: a line that says so, soon."""

from __future__ import annotations

import ast
import io
from pathlib import Path

import pytest

from wsgi_async.ctl.migrate.bounds import LARGEST, TooLarge, bounded
from wsgi_async.ctl.migrate.expressions import NotKnown, evaluate
from wsgi_async.ctl.migrate.masked import HIDDEN, masked
from wsgi_async.ctl.migrate.reporting import report
from wsgi_async.ctl.text import Screen
from wsgi_async.errors import ConfigError

X = "x" * 1000


def lines_of(directory: Path, name: str, text: str) -> list[str]:
    (directory / name).write_text(text)
    return report([name], [], Screen(None, False), directory=directory).lines


@pytest.mark.parametrize(
    "doubling",
    [
        "a = f'{a}{a}{a}{a}'\n",
        "a = '{0}{0}{0}{0}'.format(a)\n",
        "a = '{a}{a}{a}{a}'.format(a=a)\n",
        "a = [a, a, a, a]\n",
        "a = {'a': a, 'b': (a, a, a)}\n",
        "a = ','.join([a, a, a, a])\n",
        "a = str([a, a, a, a])\n",
        "a = a + a + a + a\n",
        "a = a.replace('x', a)\n",
    ],
)
def test_values_that_double_themselves_are_not_known(doubling: str, tmp_path: Path) -> None:
    text = f"a = '{X}'\n{doubling * 40}raw_env = a\nworkers = 2\n"
    lines = lines_of(tmp_path, "gunicorn.conf.py", text)
    assert sum(map(len, lines)) < 10_000
    assert any("see --execute" in " ".join(lines[at : at + 3]) for at in range(len(lines)))


def test_functions_that_call_one_another_are_followed_for_a_while(tmp_path: Path) -> None:
    calls = "".join(f"def f{n + 1}():\n    return f{n}() + f{n}()\n" for n in range(60))
    text = f"def f0():\n    return 1\n{calls}workers = f5()\nthreads = f60()\n"
    shown = "\n".join(lines_of(tmp_path, "gunicorn.conf.py", text))
    assert "workers = 32" in shown
    assert "threads = " not in shown.partition("Taken over")[0]


@pytest.mark.parametrize("text", ["0x" + "f" * 9000, "f'{1:9999999}'", f"[0x{'f' * 99}]"])
def test_numbers_that_are_none_of_a_configuration(text: str) -> None:
    with pytest.raises(NotKnown):
        evaluate(ast.parse(text, mode="eval").body, {})


def test_all_of_a_value_counts() -> None:
    half = "x" * (LARGEST // 2 - 2)
    assert bounded([half, half])
    for value in ([half, half, "xx"], {half: half, "xx": ""}, ["", [half, [half]]], [""] * LARGEST):
        with pytest.raises(TooLarge):
            bounded(value)


@pytest.mark.parametrize(
    ("name", "begin", "doubling", "end"),
    [
        (
            "site.conf",
            f"WSGIScriptAlias / /a.wsgi\nDefine A0 {X}\n",
            "Define A{0} ${{A{1}}}${{A{1}}}${{A{1}}}${{A{1}}}\n",
            "ServerName ${A40}\n",
        ),
        (
            "uwsgi.ini",
            f"[uwsgi]\nmodule = a:b\nset-ph = a0={X}\n",
            "set-ph = a{0}=%(a{1})%(a{1})%(a{1})%(a{1})\n",
            "env = A=%(a40)\n",
        ),
    ],
)
def test_variables_that_double_themselves(
    name: str, begin: str, doubling: str, end: str, tmp_path: Path
) -> None:
    text = begin + "".join(doubling.format(n + 1, n) for n in range(40)) + end
    try:
        lines = lines_of(tmp_path, name, text)
    except ConfigError as error:
        lines = [str(error)]
    assert any("64 KiB" in line or "%(a40) is not set" in line for line in lines)
    assert sum(map(len, lines)) < 100_000


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("\n" * 10_001, "more than 10000 lines"),
        ("x" * 16_385, "a line of more than 16384 letters"),
        ("xxxxxxx\\\n" * 3_000, "a line of more than 16384 letters"),
        ("<Directory /a>\n" * 51, "site.conf:52: more than 50 sections"),
    ],
)
def test_what_no_configuration_has(text: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=why):
        lines_of(tmp_path, "site.conf", f"WSGIScriptAlias / /a.wsgi\n{text}")


@pytest.mark.parametrize("text", ["x" * 2_000_000, "\udcff"])
def test_standard_input_is_held_to_the_same(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = io.BytesIO(text.encode("utf-8", "surrogateescape"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(data, "utf-8"))
    with pytest.raises(ConfigError, match=r"standard input is (larger|not UTF-8)"):
        report(["-"], [], Screen(None, False))


def test_a_pattern_is_not_looked_for_on_all_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "a" / "b" / "one.conf").write_text("ServerName one.example\n")
    (tmp_path / "a" / "b" / "c" / "two.conf").write_text("ServerName two.example\n")
    text = "WSGIScriptAlias / /a.wsgi\nInclude a/**/*.conf\nInclude */*/*/*.conf\n"
    shown = "\n".join(lines_of(tmp_path, "site.conf", text))
    assert "one.example" in shown
    assert "two.example" not in shown


def test_secrets_are_not_looked_for_in_what_nobody_reads() -> None:
    assert masked("raw_env", "A" * 5000) == HIDDEN
    assert masked("raw_env", "A" * 4000) == "A" * 4000
