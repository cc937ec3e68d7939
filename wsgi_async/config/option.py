"""What an option is: its name, type, default, range, scope and group; its value from text.

Values may be given as Python objects or as the text an operator types: durations ``"500ms"``,
``"30s"``, ``"5m"``, ``"1h"``, ``"1d"`` (a bare number is seconds), sizes ``"512K"``, ``"1M"``,
``"1G"`` (powers of 1024; a bare number is bytes).
"""

from __future__ import annotations

import enum
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeVar

from wsgi_async._imports import StandardFirst
from wsgi_async.errors import ConfigError

__all__ = [
    "OFF",
    "Group",
    "Option",
    "Scope",
    "did_you_mean",
    "option",
    "options_of",
    "parse_bool",
    "parse_duration",
    "parse_size",
]

T = TypeVar("T")

Kind = Literal["text", "texts", "choice", "bool", "number", "duration", "size", "mode"]

# Unicode digits must not pass ('²'.isdigit() is true), and int() refuses more than 4300 digits.
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?) ?(ms|s|m|h|d)?", re.IGNORECASE | re.ASCII)
_SIZE = re.compile(r"([0-9]{1,18}) ?([KMGT]?)(?:i?B)?", re.IGNORECASE | re.ASCII)
_MODE = re.compile(r"(?:0[oO])?[0-7]{1,4}")
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
OFF = "off"
"""The word for nothing of it, in an option whose flag may stand alone."""

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})


def parse_bool(value: object) -> bool:
    """True or False, or one of true/false, 1/0, yes/no, on/off in any case. ValueError else."""
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if isinstance(value, str | int) and word in _TRUE | _FALSE:
        return word in _TRUE
    raise ValueError(value)


def parse_duration(value: object) -> float:
    """Seconds, from a finite number of them or text such as ``"1.5s"``. ValueError else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if math.isfinite(value):
            return float(value)
    elif isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        return float(match[1]) * _SECONDS[(match[2] or "").lower()]
    raise ValueError(value)


def parse_size(value: object) -> int:
    """Bytes, from a number of them or text such as ``"64K"``. ValueError else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        return int(match[1]) * _BYTES[match[2].upper()]
    raise ValueError(value)


def _parse_number(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value)
    raise ValueError(value)


def _parse_mode(value: object) -> int:
    """Permission bits: an int as it is, text as octal digits (``660``, ``0660``, ``0o660``)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _MODE.fullmatch(value):
        return int(value, 8)
    raise ValueError(value)


def _parse_text(value: object) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    # NUL would reach open() and getaddrinfo(), which answer with a bare ValueError.
    if isinstance(value, str) and "\0" not in value:
        return value
    raise ValueError(value)


def _parse_choice(value: object) -> str:
    """A word, in any case; also a number that is one, as TOML has ``1.2`` and `ssl` has its
    constants."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = f"{value + 0}"  # of an enum the number
    return _parse_text(value).lower()


def _parse_texts(value: object) -> tuple[str, ...]:
    """A list of non-empty texts."""
    if not isinstance(value, list | tuple):
        raise ValueError(value)
    texts = tuple(_parse_text(part) for part in value)
    if not all(texts):
        raise ValueError(value)
    return texts


def _split(text: str, separator: str) -> list[str]:
    if separator.isspace():
        text = text.strip(separator)  # the last line may have its end
    return [part.strip(" \t") for part in text.split(separator)] if text else []


_PARSERS: dict[Kind, Callable[[object], Any]] = {
    "text": _parse_text,
    "texts": _parse_texts,
    "choice": _parse_choice,
    "bool": parse_bool,
    "number": _parse_number,
    "duration": parse_duration,
    "size": parse_size,
    "mode": _parse_mode,
}

_TAKES: dict[Kind, str] = {
    "text": "text",
    "texts": "one or more texts",
    "bool": "true or false",
    "number": "a whole number",
    "duration": "a duration such as 500ms, 30s, 5m or 1h",
    "size": "a number of bytes such as 4096, 512K, 1M or 1G",
    "mode": "permissions in octal such as 660",
}


class Scope(enum.Enum):
    """Who can follow an option, and where it may be given therefore."""

    SERVER = "server"
    """Each server, also one that is embedded in a program."""
    PROCESS = "process"
    """A process that is the server's as a whole: the command line and ``serve()``."""
    FLEET = "fleet"
    """Processes under a supervisor: the command line, and ``serve()`` with workers above 1."""
    LAUNCH = "launch"
    """The command line, and the files and variables it reads: how it starts."""


class Group(enum.Enum):
    """What options are about; the headings of ``--help`` and of the guide, in their order."""

    APPLICATION = "The application"
    LISTENING = "Where it listens"
    TLS = "TLS"
    PROXIES = "Behind a proxy"
    CAPACITY = "How much at once"
    DEADLINES = "Deadlines"
    LIVE = "Live responses"
    LIFE = "The life of processes, and their health"
    BOUNDS = "Bounds of one request"
    BUFFERS = "Buffers"
    LOGS = "Logs and events"
    METRICS = "Metrics"
    CONTROL = "Control and dashboard"
    SURROUNDINGS = "Configuration and surroundings"
    DEVELOPMENT = "Development"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """What there is to know about one option. The name is the field's."""

    name: str = ""
    default: Any = None
    help: str = ""
    kind: Kind = "text"
    scope: Scope = Scope.SERVER
    group: Group = Group.APPLICATION
    is_everyday: bool = False
    """Whether it is one of the dozen that ``--help`` shows first."""
    unit: str = ""
    flags: tuple[str, ...] = ()
    """Short flags, shown: ``-b``."""
    aliases: tuple[str, ...] = ()
    """Other servers' spellings, accepted on the command line and not shown: ``--listen``."""
    metavar: str = ""
    words: Mapping[str, str] | None = None
    """Of a list whose texts are words, in any case: each word that is known -> what it means. They
    may be separated by spaces as well, and inside the texts of a list."""
    splits: bool = False
    """Whether a comma separates texts also where they come as a list, as from a flag that is given
    twice: none of them has one."""
    bare: str = ""
    """What the flag means where no value follows it, and what ``true`` means; not empty where it
    may stand alone. Then ``--no-FLAG`` and ``false`` mean :data:`OFF`."""
    choices: tuple[str, ...] = ()
    synonyms: Mapping[str, str] | None = None
    """Of a choice: other ways to write one, in lower case -> the choice."""
    is_secret: bool = False
    """Whether its value is shown nowhere: in no error, no `repr` and no list of options."""
    minimum: float | None = None
    maximum: float | None = None
    check: Callable[[Any], bool] | None = None
    separator: str = ","
    """What is between texts that are given as one, in a variable or a file."""
    takes_table: bool = False
    """Whether a table may be given instead of text, in a file or a call."""
    takes: str = ""
    """What the option takes, where the kind and the range do not say it."""

    @property
    def flag(self) -> str:
        """The long flag: ``--keep-alive``."""
        return "--" + self.name.replace("_", "-")

    @property
    def shown_default(self) -> str:
        """The default as it is shown; empty for an option whose help says what happens without
        it."""
        return "" if self.name in ("host", "factory") else self.format(self.default)

    def parse(self, value: object) -> Any:
        """The value in its type, from a Python object or from text.

        :raises ConfigError: naming the flag and what it takes.
        """
        if self.bare and str(value).lower() in ("true", "false"):
            value = self.bare if parse_bool(value) else OFF
        if value is None and self.default is None:
            return None
        if self.takes_table and isinstance(value, Mapping):
            return dict(value)
        try:
            is_one_text = self.kind == "texts" and isinstance(value, str)
            parts = _split(str(value), self.separator) if is_one_text else value
            if (self.splits or self.words is not None) and isinstance(parts, list | tuple):
                parts = [part for text in parts for part in _split(_parse_text(text), ",")]
            parsed = _PARSERS[self.kind](parts)
            if self.synonyms is not None:
                parsed = self.synonyms.get(parsed, parsed)
            if self.words is not None:
                words = [word.lower() for text in parsed for word in text.split()]
                parsed = tuple(dict.fromkeys(self.words[word] for word in words))
        except (KeyError, ValueError):
            raise self._refuse(value) from None
        if (
            (self.choices and parsed not in self.choices)
            or (self.minimum is not None and parsed < self.minimum)
            or (self.maximum is not None and parsed > self.maximum)
            or (self.check is not None and not self.check(parsed))
        ):
            raise self._refuse(value)
        return parsed

    def takes_word(self, word: str) -> bool:
        """Whether `word`, which follows a flag that may stand alone, is its value, and not the next
        argument."""
        try:
            self.parse(word)
        except ConfigError:
            # A list with a mistake in it: no name of an application has a comma and no colon.
            return self.kind == "texts" and "," in word and ":" not in word
        return True

    def format(self, value: Any) -> str:
        """The value as an operator writes it: ``75s``, ``64K``, ``0o660``; empty text is empty."""
        if value is None:
            return ""
        if self.kind == "duration":
            return _format_duration(value)
        if self.kind == "size":
            return _format_size(value)
        if self.kind == "mode":
            return f"0o{value:03o}"
        if self.kind == "bool":
            return "true" if value else "false"
        if self.kind == "texts":
            return self.separator.join(value)
        return str(value)

    def _refuse(self, value: object) -> ConfigError:
        if isinstance(value, list | tuple) and len(value) == 1 and isinstance(value[0], str):
            value = value[0]  # as it was typed
        found = "" if self.is_secret else f", not {value!r}"
        return ConfigError(f"{self.flag} takes {self.takes or self._describe()}{found}")

    def _describe(self) -> str:
        if self.choices:
            return f"{', '.join(self.choices[:-1])} or {self.choices[-1]}"
        text, low, high = _TAKES[self.kind], self.minimum, self.maximum
        if low is None:
            return text
        if high is not None:
            return f"{text}, from {self.format(low)} to {self.format(high)}"
        return f"{text}, {self.format(low)} or more" if low else text


def _format_duration(seconds: float) -> str:
    if not seconds:
        return "0"
    return f"{seconds * 1000:g}ms" if seconds < 1 else f"{seconds:.10g}s"


def _format_size(size: int) -> str:
    for suffix in "TGMK":
        if size and size % _BYTES[suffix] == 0:
            return f"{size // _BYTES[suffix]}{suffix}"
    return str(size)


def option(default: T, *, group: Group, help: str, unit: str = "", **more: Any) -> T:
    """A dataclass field that is an option; `more` are further attributes of :class:`Option`.

    :param default: None where it matters whether the option was given at all.
    :param unit: ``s`` makes it a duration, ``bytes`` and ``bytes/s`` a size, ``octal``
        permissions; without one, the default's type says what it is, None being a list.
    """
    kind: Kind
    if unit == "s":
        kind = "duration"
    elif unit.startswith("bytes"):
        kind = "size"
    elif unit == "octal":
        kind = "mode"
    elif more.get("choices"):
        kind = "choice"
    elif default is None or isinstance(default, tuple):
        kind = "texts"
    elif isinstance(default, bool):
        kind = "bool"
    else:
        kind = "number" if isinstance(default, int) else "text"
    if kind in ("duration", "size", "mode", "number"):
        more.setdefault("minimum", 0)
    spec = Option(default=default, group=group, help=help, unit=unit, kind=kind, **more)
    return field(default=default, repr=not spec.is_secret, metadata={"option": spec})


def options_of(table: type[Any], **more: Any) -> tuple[Option, ...]:
    """The options of a dataclass whose fields are made by :func:`option`, in its order.

    :param more: attributes of :class:`Option` that all of them have.
    """
    return tuple(replace(made.metadata["option"], name=made.name, **more) for made in fields(table))


def convert(table: object, options: Iterable[Option]) -> None:
    """Convert the fields of a new one, each to its type.

    :raises ConfigError: see :meth:`Option.parse`.
    """
    for spec in options:
        # The dataclass is frozen; this is its one conversion, before anybody has seen it.
        object.__setattr__(table, spec.name, spec.parse(getattr(table, spec.name)))


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`` Did you mean NAME?`` for the nearest of `names`, or nothing where none is near."""
    with StandardFirst():
        import difflib
    nearest = difflib.get_close_matches(name, list(names), n=1)
    return f" Did you mean {nearest[0]}?" if nearest else ""
