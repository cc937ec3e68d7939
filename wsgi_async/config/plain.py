"""Command lines that are plain: flags as the table of options writes them, their values, and APP.

Most are, and to read them so spares a server's start the import of click, and a parser of some two
hundred flags. What is in any way else is left to click, which also says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .option import Option

__all__ = ["plain"]

_COMPOSED = frozenset({"app", "pythonpath"})
"""What the flags' parser makes one of, of several."""


def plain(words: Sequence[str], options: Iterable[Option]) -> dict[str, object] | None:
    """What the words of a command line give, by the options' names; None where that is for click
    to say.

    :param options: those there are.
    """
    by_flag = {flag: spec for spec in options for flag in (spec.flag, *spec.flags)}
    given: dict[str, object] = {}
    left = iter(words)
    for word in left:
        flag, equals, value = word.partition("=")
        if not word.startswith("-"):
            if not word or "app" in given:
                return None
            given["app"] = word
        elif word.startswith("--no-") and (no := by_flag.get(f"--{word[5:]}")) is not None:
            if no.kind != "bool":
                return None
            given[no.name] = False
        elif (spec := by_flag.get(flag)) is None or spec.bare or spec.name in _COMPOSED:
            return None
        elif spec.kind == "bool":
            if equals:
                return None
            given[spec.name] = True
        elif equals and flag[:2] != "--":
            return None
        else:
            text = value if equals else _value(left)
            if text is None:
                return None
            if spec.kind != "texts":
                given[spec.name] = text
                continue
            texts = given.setdefault(spec.name, [])
            assert isinstance(texts, list)
            texts.append(text)
    return given


def _value(left: Iterator[str]) -> str | None:
    """The next word, where it can only be a value."""
    text = next(left, "-?")
    return None if text.startswith("-") and text != "-" else text
