"""Flags that may stand alone: what follows one is its value only where it can be."""

from __future__ import annotations

import shlex

import pytest

from wsgi_async.config.option import Option
from wsgi_async.errors import ConfigError
from wsgi_async.flags import _filled, _not_taken

VERSION = Option(
    name="version", kind="choice", choices=("off", "v1", "v2", "auto"), bare="auto", flags=("-V",)
)
NUMBERS = Option(
    name="numbers",
    kind="texts",
    bare="one,two",
    check=lambda given: set(given) <= {"one", "two", "off"},
    takes="numbers",
)


@pytest.mark.parametrize(
    ("given", "filled"),
    [
        # The application's name is not swallowed ...
        ("--version app:app", "--version=auto app:app"),
        ("-V app:app", "--version=auto app:app"),
        ("--numbers app", "--numbers=one,two app"),
        ("--numbers 'app:make(1, 2)'", "--numbers=one,two 'app:make(1, 2)'"),
        ("app:app --numbers", "app:app --numbers=one,two"),
        ("--numbers --version", "--numbers=one,two --version=auto"),
        # ... and a value is one, with or without "=".
        ("--version v1 app:app", "--version v1 app:app"),
        ("--version V1 app:app", "--version V1 app:app"),
        ("--version=v3 app:app", "--version=v3 app:app"),
        ("--numbers two app", "--numbers two app"),
        ("--numbers=app app", "--numbers=app app"),
        # A list with a mistake in it is refused as one.
        ("--numbers one,tow app:app", "--numbers one,tow app:app"),
        ("--no-version app", "--version=off app"),
        ("-- --version", "-- --version"),
    ],
)
def test_what_follows_is_a_value_only_where_it_can_be(given: str, filled: str) -> None:
    assert _filled(shlex.split(given), [VERSION, NUMBERS]) == shlex.split(filled)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--version v3 app:app", ["--version takes off, v1, v2 or auto, not 'v3'"]),
        ("-b :0 --numbers three app", ["--numbers takes numbers, not 'three'"]),
        ("--version v1 app:app more", []),
        ("--version --numbers app", ["--numbers takes numbers, not 'app'"]),
        ("app:app -- --version v3", []),
    ],
)
def test_an_argument_too_many_may_be_a_mistaken_value(given: str, said: list[str]) -> None:
    """``--proxy-protocol v3 app:app`` is not told of app:app alone."""
    assert _not_taken(shlex.split(given), [VERSION, NUMBERS]) == said


def test_true_and_false_are_the_flag_and_its_opposite() -> None:
    """In a file of gunicorn's or of ours, and in Python, where there is no flag without a value."""
    assert (VERSION.parse(True), VERSION.parse(False)) == ("auto", "off")
    assert NUMBERS.parse(True) == ("one", "two")
    with pytest.raises(ConfigError, match="--version takes off, v1, v2 or auto, not 1"):
        VERSION.parse(1)
