"""The interface of ``tornado.options``: options that a program defines and its command line sets.

``--name=value``, ``-name=value``; a bare ``--name`` is true for a bool; ``-`` and ``_`` in a name
are the same; ``--`` or the first word that is no option ends them.
"""

from __future__ import annotations

import datetime
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TextIO

from wsgi_async.config.option import did_you_mean
from wsgi_async.errors import ConfigError

__all__ = [
    "Error",
    "OptionParser",
    "define",
    "options",
    "parse_command_line",
    "parse_config_file",
    "print_help",
]

_UNITS = {
    **dict.fromkeys(("h", "hour", "hours"), "hours"),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), "minutes"),
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), "seconds"),
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), "milliseconds"),
    **dict.fromkeys(("us", "microsecond", "microseconds"), "microseconds"),
    **dict.fromkeys(("d", "day", "days"), "days"),
    **dict.fromkeys(("w", "week", "weeks"), "weeks"),
}
_PERIOD = re.compile(r"\s*([-+]?[0-9]*\.?[0-9]+)\s*([a-z]*)", re.ASCII)


class Error(ConfigError):
    """An option is defined twice, unknown, or has a value that is not of its type."""


class _Defined:
    """One option."""

    def __init__(
        self,
        name: str,
        default: Any,
        kind: type[Any],
        help: str,
        metavar: str,
        multiple: bool,
        group: str,
        callback: Callable[[Any], object] | None,
    ) -> None:
        self.name, self.default, self.kind, self.help = name, default, kind, help
        self.metavar, self.multiple, self.group, self.callback = metavar, multiple, group, callback
        self.value: Any = [] if default is None and multiple else default

    def parse(self, text: str) -> None:
        if self.multiple:
            value: Any = []
            for part in text.split(","):
                low, colon, high = part.partition(":")
                if colon and self.kind is int:  # 1:4 are 1, 2, 3, 4
                    value += range(self._convert(low), self._convert(high) + 1)
                else:
                    value.append(self._convert(part))
        else:
            value = self._convert(text)
        self.set(value)

    def set(self, value: Any) -> None:
        for item in value if self.multiple and isinstance(value, list) else (value,):
            wrong_list = self.multiple and not isinstance(value, list)
            if wrong_list or (item is not None and not isinstance(item, self.kind)):
                kind = f"a list of {self.kind.__name__}" if self.multiple else self.kind.__name__
                raise Error(f"Option {self.name!r} is required to be {kind}, not {value!r}")
        self.value = value
        if self.callback is not None:
            self.callback(value)

    def _convert(self, text: str) -> Any:
        try:
            if self.kind is bool:
                return text.lower() not in ("false", "0", "f")
            if self.kind is datetime.datetime:
                return datetime.datetime.fromisoformat(text)
            if self.kind is datetime.timedelta:
                return _period(text)
            return self.kind(text)
        except ValueError as error:
            kind = self.kind.__name__
            raise Error(f"--{self.name} takes a value of type {kind}, not {text!r}") from error


def _period(text: str) -> datetime.timedelta:
    """``1h 30min``, ``90``: seconds where there is no unit."""
    total, position = datetime.timedelta(), 0
    while position < len(text):
        match = _PERIOD.match(text, position)
        if match is None or match[2] not in _UNITS:
            raise ValueError(text)
        total += datetime.timedelta(**{_UNITS[match[2]]: float(match[1])})
        position = match.end()
    return total


def _normal(name: str) -> str:
    return name.replace("_", "-")


class OptionParser:
    """The options of a program: each is an attribute, and an item, by its name. *Main thread.*"""

    def __init__(self) -> None:
        self.__dict__["_options"] = {}
        self.__dict__["_callbacks"] = []

    def define(
        self,
        name: str,
        default: Any = None,
        type: type[Any] | None = None,
        help: str | None = None,
        metavar: str | None = None,
        multiple: bool = False,
        group: str | None = None,
        callback: Callable[[Any], object] | None = None,
    ) -> None:
        """Define an option.

        :param name: as it is written after ``--``.
        :param default: its value as long as nobody sets it.
        :param type: str, int, float, bool, datetime, timedelta, or what converts a str; default:
            that of `default`, else str.
        :param help: what ``--help`` says of it.
        :param metavar: how ``--help`` names its value.
        :param multiple: the value is a list, written with commas; of int also as ``1:4``.
        :param group: the headline under which ``--help`` shows it.
        :param callback: called with each value that is set.
        :raises Error: it is defined already.
        """
        if _normal(name) in self._options:
            raise Error(f"Option {name!r} is defined already")
        if type is None:
            type = default.__class__ if default is not None and not multiple else str
        self._options[_normal(name)] = _Defined(
            name=name,
            default=default,
            kind=type,
            help=help or "",
            metavar=metavar or "",
            multiple=multiple,
            group=group or "",
            callback=callback,
        )

    def parse_command_line(self, args: list[str] | None = None, final: bool = True) -> list[str]:
        """Set the options that `args` give, and return the words that are left.

        :param args: a program's name and its arguments; None for the process's own.
        :param final: run the callbacks of :meth:`add_parse_callback`.
        :raises Error: an option is unknown, or its value wrong.
        :raises SystemExit: ``--help`` was among them, and has been answered.
        """
        words = list(sys.argv if args is None else args)[1:]
        while words and words[0].startswith("-"):
            word = words.pop(0)
            if word == "--":
                break
            name, equals, value = word.lstrip("-").partition("=")
            if _normal(name) == "help" and "help" not in self._options:
                self.print_help(sys.stdout)
                sys.exit(0)
            option = self._find(name)
            if not equals:
                if option.kind is not bool:
                    raise Error(f"--{name} needs a value: --{name}=VALUE")
                value = "true"
            option.parse(value)
        if final:
            self.run_parse_callbacks()
        return words

    def parse_config_file(self, path: str, final: bool = True) -> None:
        """Run a Python file, and set the options that it assigns by name.

        :raises Error: it cannot be read, or a value is wrong.
        """
        scope: dict[str, Any] = {"__file__": os.path.abspath(path)}
        try:
            with open(path, "rb") as file:
                source = file.read()
        except OSError as error:
            raise Error(f"{path}: {error.strerror}") from error
        exec(compile(source, path, "exec"), scope)
        for name, value in scope.items():
            option = self._options.get(_normal(name))
            if option is None:
                continue
            if isinstance(value, str) and (option.multiple or option.kind is not str):
                option.parse(value)
            else:
                option.set(value)
        if final:
            self.run_parse_callbacks()

    def print_help(self, file: TextIO | None = None) -> None:
        """Print all options, by their groups."""
        lines = [f"Usage: {sys.argv[0]} [OPTIONS]", "", "Options:", ""]
        groups: dict[str, list[_Defined]] = {}
        for _, option in sorted(self._options.items()):
            groups.setdefault(option.group, []).append(option)
        for group, members in sorted(groups.items()):
            lines += ["", f"{group} options:", ""] if group else []
            for option in members:
                shown = f"--{option.name}" + (f"={option.metavar}" if option.metavar else "")
                text = option.help
                if option.default not in (None, "", []):
                    text += f" (default {option.default})"
                lines.append(f"  {shown:<30} {text}".rstrip(" "))
        lines.append(f"  {'--help':<30} show this help information")
        print("\n".join(lines), file=sys.stderr if file is None else file)

    def add_parse_callback(self, callback: Callable[[], object]) -> None:
        """Have `callback` called once the options are parsed."""
        self._callbacks.append(callback)

    def run_parse_callbacks(self) -> None:
        for callback in self._callbacks:
            callback()

    def as_dict(self) -> dict[str, Any]:
        """All values by name."""
        return {option.name: option.value for option in self._options.values()}

    def group_dict(self, group: str) -> dict[str, Any]:
        """The values of one group by name; of all for ``""``."""
        return {
            option.name: option.value
            for option in self._options.values()
            if not group or option.group == group
        }

    def items(self) -> list[tuple[str, Any]]:
        return list(self.as_dict().items())

    def __iter__(self) -> Iterator[str]:
        return iter(self.as_dict())

    def __contains__(self, name: str) -> bool:
        return _normal(name) in self._options

    def _find(self, name: str) -> _Defined:
        option: _Defined | None = self._options.get(_normal(name))
        if option is None:
            names = [f"--{option.name}" for option in self._options.values()]
            raise Error(f"No such option: --{name}.{did_you_mean(f'--{name}', names)}")
        return option

    def __getattr__(self, name: str) -> Any:
        option = self._options.get(_normal(name))
        if option is None:
            raise AttributeError(f"No such option: {name!r}; define it")
        return option.value

    def __setattr__(self, name: str, value: Any) -> None:
        option = self._options.get(_normal(name))
        if option is None:
            raise AttributeError(f"No such option: {name!r}; define it")
        option.set(value)

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("options cannot be deleted")

    def __getitem__(self, name: str) -> Any:
        return self._find(name).value

    def __setitem__(self, name: str, value: Any) -> None:
        self._find(name).set(value)


options = OptionParser()
"""The options of this process."""

define = options.define
parse_command_line = options.parse_command_line
parse_config_file = options.parse_config_file
print_help = options.print_help
