"""A command line as a shell, systemd or a Procfile has it: its words, with the line of each, and
the flags among them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from wsgi_async.errors import ConfigError

__all__ = [
    "Given",
    "Taking",
    "Word",
    "expanded",
    "given",
    "has_variable",
    "names_alone",
    "split",
    "with_defaults",
]

_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?-([^}]*))?\}|(\w+))")


class Word(NamedTuple):
    """One word, quotes taken off; variables are still in it."""

    text: str
    where: str
    """``Procfile:1``."""


def split(text: str, name: str, line: int = 0) -> list[Word]:
    r"""The words of a command line, of which some lines may end with ``\``.

    :param name: of the source, for ``where``.
    :param line: the number of its first line; 0 where lines are not told.
    :raises ConfigError: a quote is not closed.
    """
    joined = re.sub(r"\\[ \t]*\r?\n", lambda match: " " * len(match[0]), text)
    lexer = shlex.shlex(joined, posix=True, punctuation_chars=";")
    lexer.whitespace_split = True
    lexer.commenters = ""
    words, at = [], 0
    try:
        for word in lexer:
            found = joined.find(word[:8], at)  # near enough where there are quotes in it
            at = max(found, at)
            number = line + text.count("\n", 0, at)
            words.append(Word(word, f"{name}:{number}" if line else name))
            at += found >= 0
    except ValueError as error:
        raise ConfigError(f"{name}{f':{line}' if line else ''}: {error}") from None
    return words


# --- Variables


def has_variable(text: str) -> bool:
    """Whether a shell would put something else into it."""
    return _VARIABLE.search(text) is not None


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """The text with the variables that are known; ``${NAME:-DEFAULT}`` of another stays."""

    def put(match: re.Match[str]) -> str:
        return variables.get(match[1] or match[3], match[0])

    return _VARIABLE.sub(put, text)


def with_defaults(text: str) -> str | None:
    """The text with the default of each variable; None where one has none."""
    if any(match[2] is None for match in _VARIABLE.finditer(text)):
        return None
    return _VARIABLE.sub(lambda match: match[2], text)


def names_alone(text: str) -> str:
    """The text with each variable as ``$NAME``, without a default."""
    return _VARIABLE.sub(lambda match: f"${match[1] or match[3]}", text)


# --- Flags


class Taking(NamedTuple):
    """A flag of another server's command line."""

    setting: str
    """What it sets, by the other server's name."""
    takes_value: bool = True
    is_value_optional: bool = False
    value: str = "true"
    """What it means where no value follows it."""


class Given(NamedTuple):
    """A flag that was given, or a word that is none."""

    flag: str
    """As it was typed, ``-w``; empty of a word that is none."""
    value: str
    where: str
    taking: Taking | None
    """None of a flag that is not known, and of a word that is none."""


def given(
    words: Iterable[Word],
    flags: Mapping[str, Taking],
    *,
    is_value: Callable[[Taking, str], bool] = lambda taking, word: False,
) -> Iterator[Given]:
    """The flags in the words, and the words that are none.

    :param flags: by all names that they have.
    :param is_value: of a flag whose value is optional, whether the word behind it is one.
    """
    rest = list(words)
    is_over = False
    while rest:
        text, where = rest.pop(0)
        if text == "--" and not is_over:
            is_over = True
        elif is_over or not text.startswith("-") or text == "-":
            yield Given("", text, where, None)
        else:
            flag, value = _parted(text, flags)
            flag = _whole(flag, flags)
            taking = flags.get(flag)
            if value is None and taking is not None and rest:
                follows = rest[0].text
                if taking.is_value_optional:
                    takes = is_value(taking, follows)
                else:
                    takes = taking.takes_value
                if takes:
                    value = rest.pop(0).text
            if value is None:
                value = taking.value if taking is not None else ""
            yield Given(flag, value, where, taking)


def _parted(text: str, flags: Mapping[str, Taking]) -> tuple[str, str | None]:
    if text.startswith("--"):
        flag, equals, value = text.partition("=")
        return flag, value if equals else None
    if text not in flags and text[:2] in flags and flags[text[:2]].takes_value:
        return text[:2], text[2:].removeprefix("=")  # -w4
    return text, None


def _whole(flag: str, flags: Mapping[str, Taking]) -> str:
    """The flag that a beginning of it stands for, as argparse and getopt have it."""
    if flag in flags or not flag.startswith("--"):
        return flag
    setting = {taking.setting for name, taking in flags.items() if name.startswith(flag)}
    names = sorted(name for name in flags if name.startswith(flag))
    return names[0] if len(setting) == 1 else flag
