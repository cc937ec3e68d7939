"""What a terminal is shown."""

from __future__ import annotations

import io
import re

import pytest

from wsgi_async.ctl.text import (
    Cell,
    Column,
    Paint,
    Screen,
    age,
    amount,
    clean,
    cut,
    shown,
    size,
    table,
)

PLAIN = Screen(None, False)
COLUMNS = (
    Column("N"),
    Column("STATE", is_right=False),
    Column("EXTRA", weight=1),
    Column("TARGET", is_right=False),
)
ROWS: list[list[Cell | str]] = [
    ["1", Cell("ready", Paint.GOOD), "a thousand", "/"],
    ["22", Cell("gone", Paint.BAD), "2", "/a/rather/long/target?with=a&query=too"],
]


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("/a?b=é", "/a?b=é"),
        ("\x1b]0;title\x07\x1b[2J", "\\x1b]0;title\\x07\\x1b[2J"),
        ("a\nb\r\u2028c", "a\\x0ab\\x0d\\u2028c"),
        ("\x9b31m", "\\x9b31m"),
        # A mark that turns the direction can show a path as another one.
        ("/user\u202etxt.exe", "/user\\u202etxt.exe"),
        ("\udc80 \U000e0041", "\\udc80 \\U000e0041"),
        (None, "None"),
    ],
)
def test_nothing_steers_the_terminal(text: object, safe: str) -> None:
    assert clean(text) == safe
    assert clean(text).isprintable()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *[(None, "-"), (0, "0.0s"), (-1, "0.0s"), (0.44, "0.4s"), (9.94, "9.9s"), (9.96, "10s")],
        *[(59.4, "59s"), (59.6, "1m00s"), (192, "3m12s"), (3600, "1h00m"), (7501.5, "2h05m")],
        *[(86399.7, "1d00h"), (360_000, "4d04h")],
    ],
)
def test_ages(seconds: float | None, text: str) -> None:
    assert age(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        *[(None, "-"), (0, "0 B"), (999, "999 B"), (1000, "1.0 K"), (1536, "1.5 K")],
        *[(67_200_000, "64.1 M"), (999 << 20, "999 M"), (1000 << 20, "1.0 G"), (1 << 50, "1024 T")],
    ],
)
def test_sizes(count: float | None, text: str) -> None:
    assert size(count) == text


def test_amounts_and_what_is_not_known() -> None:
    assert (amount(1234567), amount(None), shown(None), shown(0)) == ("1,234,567", "-", "-", "0")
    assert (cut("abcdefgh", 6), cut("abc", 3), cut("abcdef", 2)) == ("abc...", "abc", "..")


def test_without_a_terminal_a_table_is_as_wide_as_it_is() -> None:
    assert table(COLUMNS, ROWS, PLAIN) == [
        " N  STATE       EXTRA  TARGET",
        " 1  ready  a thousand  /",
        "22  gone            2  /a/rather/long/target?with=a&query=too",
    ]


@pytest.mark.parametrize("width", [24, 30, 44, 60, 80])
def test_a_table_is_no_wider_than_its_terminal(width: int) -> None:
    lines = table(COLUMNS, ROWS, Screen(width, False))
    assert max(map(len, lines)) <= width
    assert lines[1].endswith("/")
    # What is light goes before anything that matters is cut further.
    assert ("EXTRA" in lines[0]) == (width >= 36)


def test_colours_do_not_count_as_width() -> None:
    lines = table(COLUMNS, ROWS, Screen(44, True))
    assert "\x1b[32mready\x1b[0m" in lines[1]
    assert [re.sub(r"\x1b\[\d*m", "", line) for line in lines] == table(
        COLUMNS, ROWS, Screen(44, False)
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "has_colours"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_colours_are_for_a_terminal_whose_user_wants_them(
    environ: dict[str, str], has_colours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "97")
    assert Screen.of(Terminal(), environ) == Screen(97, has_colours)
    assert Screen.of(io.StringIO(), environ) == PLAIN
