"""How `migrate` reads: expressions that are not run, words of command lines, secrets."""

from __future__ import annotations

import ast
import os
from typing import Any

import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from wsgi_async.ctl.migrate.bounds import LARGEST
from wsgi_async.ctl.migrate.expressions import Known, NotKnown, evaluate
from wsgi_async.ctl.migrate.masked import masked, masked_pair, masked_prose
from wsgi_async.ctl.migrate.words import Taking, Word, expanded, given, split, with_defaults
from wsgi_async.errors import ConfigError


def evaluated(text: str, **names: Any) -> Known:
    known = {name: Known(value) for name, value in names.items()}
    return evaluate(ast.parse(text, mode="eval").body, known, "etc/gunicorn.conf.py")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2 * 3 + 1", 7),
        ("-1", -1),
        ("2 ** 10", 1024),
        ("['a', *()] if False else ('b',)", ("b",)),
        ("{'a': 1, **{'b': 2}}", {"a": 1, "b": 2}),
        ("f'127.0.0.1:{port}'", "127.0.0.1:8000"),
        ("'{}:{}'.format('localhost', port)", "localhost:8000"),
        ("'a,b'.split(',')", ["a", "b"]),
        ("max(2, min(port, 4))", 4),
        ("not None", True),
        ("port > 80 and 'high'", "high"),
        ("os.path.join(os.path.dirname(__file__), 'log')", "etc/log"),
        ("{'x': 5}['x']", 5),
        ("'%d' if 'a' in 'abc' else ''", "%d"),
    ],
)
def test_a_constant_expression_is_its_value(text: str, value: object) -> None:
    assert evaluated(text, port=8000) == Known(value)


@pytest.mark.parametrize(
    "text",
    ["multiprocessing.cpu_count() * 2 + 1", "(os.cpu_count() or 1) * 2 + 1"],
)
def test_processors_are_counted_and_said_to_be(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert evaluated(text) == Known(9, counts_processors=True)


@pytest.mark.parametrize(
    ("text", "value", "shell"),
    [
        ("os.environ.get('PORT', '80')", "80", "${PORT:-80}"),
        ("int(os.getenv('N', 2))", 2, "${N:-2}"),
        ("'[::]:' + os.environ.get('PORT', '80')", "[::]:80", "[::]:${PORT:-80}"),
        ("f'0.0.0.0:{os.getenv(\"PORT\") or 80}'", "0.0.0.0:80", "0.0.0.0:${PORT:-80}"),
        ("os.environ.get('LOG')", None, "${LOG}"),
        ("int(os.getenv('N', 2)) * 2", 4, ""),
        ("os.getenv('DEBUG', '') == '1'", False, ""),
    ],
)
def test_a_variable_is_its_default_and_told_to_a_shell(
    text: str, value: object, shell: str
) -> None:
    known = evaluated(text)
    assert (known.value, known.shell) == (value, shell)
    assert len(known.variables) == 1


def test_the_environment_is_never_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    # A report is pasted into tickets.
    monkeypatch.setenv("API_KEY", "hunter2")
    assert evaluated("os.environ.get('API_KEY', 'none')").value == "none"
    with pytest.raises(NotKnown) as error:
        evaluated("'x' + os.environ['API_KEY']")
    assert error.value.shell == "x${API_KEY}"


@pytest.mark.parametrize(
    "text",
    [
        "open('/etc/passwd').read()",
        "__import__('os').system('true')",
        "[port for port in range(3)]",
        "unknown",
        "'a' * 10 ** 9",
        "9 ** 9 ** 9",
        "f'{1:>999999999}'",
        "'%999999999d' % 1",
        "1 / 0",
        "().x",
        "'{0.__class__}'.format(1)",
        "'{:>999999999}'.format(1)",
        "('a' + 'b').replace('', 'c' * 5)",
        "'.'.join('" + "a" * 40_000 + "')",
        "int('x')",
        "[][1]",
        "lambda: 0",
        "'a'.encode()",
        "~1",
    ],
)
def test_what_is_not_understood_is_not_known(text: str) -> None:
    with pytest.raises(NotKnown):
        evaluated(text)


@examples(st.text(max_size=40))
def test_no_text_breaks_the_splitter(text: str) -> None:
    try:
        words = split(text, "x", 1)
    except ConfigError:  # a quote that is not closed
        return
    assert all(word.where.startswith("x:") for word in words)


def test_no_expression_takes_the_memory_there_is() -> None:
    names = {"a": Known("a" * (LARGEST // 4))}
    node = ast.parse("a + a", mode="eval").body
    names["a"] = evaluate(node, names)
    with pytest.raises(NotKnown):
        evaluate(node, names)


def test_a_function_that_calls_itself_is_not_known() -> None:
    node = ast.parse("f()", mode="eval").body
    with pytest.raises(NotKnown):
        evaluate(node, {"f": Known(None, returns=node)})


def test_words_know_their_lines() -> None:
    text = "gunicorn \\\n  --bind 'a b' \\\r\n  # --bind\n"
    assert split(text, "f", 7)[:3] == [
        Word("gunicorn", "f:7"),
        Word("--bind", "f:8"),
        Word("a b", "f:8"),
    ]


FLAGS = {
    **dict.fromkeys(("-w", "--workers"), Taking("workers")),
    **dict.fromkeys(("-D", "--daemon"), Taking("daemon", False)),
    "--worker-class": Taking("worker_class"),
    "--proxy": Taking("proxy", True, True, "auto"),
}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("-w4 app", [("-w", "4"), ("", "app")]),
        ("-w=4", [("-w", "4")]),
        ("--workers=4 -D", [("--workers", "4"), ("-D", "true")]),
        ("--workers 4 --dae", [("--workers", "4"), ("--daemon", "true")]),
        ("--work 4", [("--work", ""), ("", "4")]),  # it may be two of them
        ("--proxy --daemon", [("--proxy", "auto"), ("--daemon", "true")]),
        ("--proxy v1", [("--proxy", "v1")]),
        ("--proxy app:app", [("--proxy", "auto"), ("", "app:app")]),
        ("-- -w", [("", "-w")]),
        ("-w", [("-w", "true")]),
        ("-x - --y=1", [("-x", ""), ("", "-"), ("--y", "1")]),
    ],
)
def test_flags_and_their_values(line: str, found: list[tuple[str, str]]) -> None:
    words = split(line, "x")
    seen = given(words, FLAGS, is_value=lambda taking, word: word in ("v1", "v2"))
    assert [(each.flag, each.value) for each in seen] == found


def test_variables_that_are_known_are_put_in() -> None:
    assert expanded("$A-${B}-${C:-3}-$D", {"A": "1", "B": "2"}) == "1-2-${C:-3}-$D"
    assert with_defaults("${C:-3}:${D-4}") == "3:4"
    assert with_defaults("${C:-3}:$D") is None


@pytest.mark.parametrize(
    ("setting", "text", "shown"),
    [
        ("raw_env", '["SECRET_KEY=a b", "LANG=C"]', '["SECRET_KEY=...", "LANG=C"]'),
        ("raw_env", "['DATABASE_URL=postgres://u:p@db/x']", "['DATABASE_URL=postgres://...@db/x']"),
        (
            "logconfig_dict",
            "{'password': 'x', 'level': 'INFO'}",
            "{'password': ..., 'level': 'INFO'}",
        ),
        ("--keyfile-password", "x", "..."),
        ("--keyfile", "/etc/ssl/key.pem", "/etc/ssl/key.pem"),
        (
            "app",
            "shop:create_app(api_key='x', debug=True)",
            "shop:create_app(api_key=..., debug=True)",
        ),
        ("env", "SENTRY_DSN=https://abc@sentry/1", "SENTRY_DSN=..."),
        ("env", "API_KEY=$API_KEY", "API_KEY=$API_KEY"),
        ("env", "API_KEY=${API_KEY:-hunter2}", "API_KEY=..."),
        ("ssl", '{"private_key": "/etc/a.pem"}', '{"private_key": "/etc/a.pem"}'),
        ("aws", '{"secret_key": "/x+y/z"}', '{"secret_key": ...}'),
        ("env", "TOKEN_FILE=/run/token", "TOKEN_FILE=/run/token"),
        ("-e", "API_KEY=a(b)=c", "API_KEY=..."),
        ("statsd", "localhost:8125", "localhost:8125"),
        ("x", "y = PASSWORD=x", "y = PASSWORD=..."),
        ("app", "http://h/?a=b&token=x&c=d", "http://h/?a=b&token=..."),
        ("daemon", "redis --requirepass x --port 1", "redis --requirepass ... --port 1"),
        ("route", "^/ basicauth:site,me:x", "^/ basicauth:site,..."),
        ("RequestHeader", 'set Authorization "Bearer x"', 'set Authorization "Bearer ..."'),
        ("legion", "mysite 225.1.1.1:42 98 bf-cbc:x", "..."),
    ],
)
def test_secrets_are_masked(setting: str, text: str, shown: str) -> None:
    assert masked(setting, text) == shown


def test_what_a_sentence_quotes_is_masked() -> None:
    said = "an operator's --threads takes a number, not 'PASSWORD=x', and the key: here"
    assert masked_prose(said) == said.replace("PASSWORD=x", "PASSWORD=...")


def test_a_pair_is_masked_to_its_end() -> None:
    assert masked_pair("API_TOKEN=a=b c") == "API_TOKEN=..."
    assert masked_pair("GREETING=hello there") == "GREETING=hello there"
