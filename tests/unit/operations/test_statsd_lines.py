"""Lines for statsd: what statsd reads in them is what was meant, whatever an application names."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgi_async.operations.statsd_lines import (
    LARGEST,
    METRICS,
    Kind,
    Lines,
    pack,
    taken_value,
)


@pytest.mark.parametrize(
    ("prefix", "before"),
    [
        ("", b""),
        ("shop", b"shop."),
        ("shop.", b"shop."),
        ("shop.web..", b"shop.web."),
        ("s", b"s."),  # gunicorn forgets the dot of a single letter
        ("..", b""),
        ("100%d.x", b"100%d.x."),
    ],
)
def test_a_dot_follows_the_prefix(prefix: str, before: bytes) -> None:
    lines = Lines(prefix, "")
    assert lines.make("a.b", 1, Kind.COUNTER) == before + b"a.b:1|c|@1.0"
    assert lines.make_timers("a.b", [0.5]) == [before + b"a.b:500.000|ms"]


def test_each_type_has_its_mark() -> None:
    lines = Lines("", "")
    assert lines.make("a", 2, Kind.COUNTER) == b"a:2|c|@1.0"
    assert lines.make("a", 2, Kind.GAUGE) == b"a:2|g"
    assert lines.make("a", 2, Kind.HISTOGRAM) == b"a:2|h"
    assert lines.make("a", 2.5, Kind.TIMER) == b"a:2.5|ms"


def test_tags_end_each_line() -> None:
    lines = Lines("p", "a:1,b:100%")
    assert lines.make("x", 1, Kind.COUNTER) == b"p.x:1|c|@1.0|#a:1,b:100%"
    assert lines.make_timers("x", [0.0001, 2]) == [
        b"p.x:0.100|ms|#a:1,b:100%",
        b"p.x:2000.000|ms|#a:1,b:100%",
    ]


@given(st.text(min_size=1), st.sampled_from(Kind))
def test_a_name_of_the_applications_makes_one_line(name: str, kind: Kind) -> None:
    line = Lines("p", "t").make_measured(name, 3, kind)
    assert line is not None
    match = re.fullmatch(rb"p\.([!-9;-?A-{}~]{1,200}):3\|(.+)\|#t", line)
    assert match is not None
    assert match[2].decode() == kind.value
    if re.fullmatch(r"[a-z._-]+", name):
        assert match[1].decode() == name[:200]


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), "x", "1|c\nx:2", "", None, [], b"1", 10**40, "1e5", "٣"]
)
def test_what_is_no_number_is_left_out(value: Any) -> None:
    assert taken_value(value) is None
    assert Lines("", "").make_measured("a", value, Kind.GAUGE) is None


@pytest.mark.parametrize(("value", "taken"), [(1, 1), (1.5, 1.5), ("+2", "+2"), ("-3.25", "-3.25")])
def test_numbers_are_taken(value: Any, taken: Any) -> None:
    assert taken_value(value) == taken


def test_a_truth_is_a_number() -> None:
    """Its text is none."""
    assert Lines("", "").make_measured("a", True, Kind.GAUGE) == b"a:1|g"


@given(st.lists(st.binary(min_size=1, max_size=80).map(lambda b: b.replace(b"\n", b"_"))))
def test_datagrams_have_all_lines_and_are_small(lines: list[bytes]) -> None:
    datagrams = list(pack(lines, 100))
    assert [line for each in datagrams for line in each.split(b"\n")] == lines
    assert all(len(each) <= 100 for each in datagrams)
    # As few as that: no two neighbours would have fitted into one.
    for one, other in itertools.pairwise(datagrams):
        assert len(one) + 1 + len(other.partition(b"\n")[0]) > 100


def test_a_line_that_is_too_long_is_alone() -> None:
    assert list(pack([b"a", b"b" * 200, b"c"], 100)) == [b"a", b"b" * 200, b"c"]


def test_the_longest_line_that_options_allow_is_a_datagram() -> None:
    longest = Lines("p" * 200, "t" * 800).make_measured("n" * 999, 1e17, Kind.COUNTER)
    assert longest is not None
    assert len(longest) <= LARGEST


def test_each_metric_is_there_once() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    assert all(name.startswith(("gunicorn.", "wsgi_async.")) for name in names)
