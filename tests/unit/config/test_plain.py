"""Plain command lines mean the same without click, and whatever is not plain is left to it."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgi_async import flags
from wsgi_async.config.options import ALL_OPTIONS
from wsgi_async.config.plain import plain
from wsgi_async.errors import ConfigError

PLAIN = (
    "",
    "app:app",
    "app:app --threads 8 --bind 127.0.0.1:8000",
    "-w 4 -b :80 --bind=unix:a=b app:app",
    "--threads 1 app:app --threads 2",
    "--reload --no-lint --lint app:app --access-logfile -",
    "--header='' --header 'A: b' --env A=1 -e B=2 --max-requests=1000 --user=",
    "./path/to/site.wsgi --keep-alive '5 s'",
)
FOR_CLICK = (
    *("--help", "--version", "--check-config app:app", "--guide", "app:app -- -x", "a b", "-"),
    *("--threads", "--threads -3", "--thread 3", "-w4", "-w=4", "--lint=yes", "--no-threads 3"),
    *("--app a:b", "a:b --app c:d", "--pythonpath a,b", "--uds a.sock", "-k gevent", "-s a.sock"),
    *("--forwarded-allow-ips", "--proxy-headers x-forwarded", "''", "--metrics", "--listen :80"),
)
FLAGS = [flag for spec in ALL_OPTIONS for flag in (spec.flag, *spec.flags)]
WORDS = st.one_of(
    st.sampled_from([*FLAGS, *(f"--no-{flag[2:]}" for flag in FLAGS if flag[:2] == "--")]),
    st.sampled_from(["app:app", "4", "-", "--", "-4", "", "a=b", "127.0.0.1:80", "off", "x,y"]),
    st.builds("{}={}".format, st.sampled_from(FLAGS), st.sampled_from(["", "1", "a=b", "-x"])),
    st.text(alphabet="-=ab:/ ", max_size=6),
)


def by_click(words: list[str]) -> object:
    try:
        return flags.parse(words, "wsgi-async", [])
    except ConfigError as error:
        return str(error)


@pytest.mark.parametrize("line", PLAIN)
def test_what_is_plain_is_read_as_click_reads_it(line: str) -> None:
    words = shlex.split(line)
    found = plain(words, ALL_OPTIONS)
    assert found is not None
    assert found == by_click(words)


@pytest.mark.parametrize("line", FOR_CLICK)
def test_what_is_not_is_left_to_click(line: str) -> None:
    assert plain(shlex.split(line), ALL_OPTIONS) is None


@given(st.lists(WORDS, max_size=6))
def test_whatever_it_takes_click_takes_for_the_same(words: list[str]) -> None:
    found = plain(words, ALL_OPTIONS)
    assert found is None or found == by_click(words)
