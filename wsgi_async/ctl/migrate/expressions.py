"""What an expression in Python comes to, without running it.

Constants, names that were given one, arithmetic, comparisons, f-strings, and the calls that
configuration files are made of: the number of processors, variables of the environment, paths,
``int()`` and ``str.split()``. Whatever else there is, is not known.

A variable of the environment is never looked up: the default beside it counts, and the text as a
shell would have it is told.
"""

from __future__ import annotations

import ast
import operator
import os
import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .bounds import LARGEST, TooLarge, bounded

__all__ = ["Known", "NotKnown", "evaluate"]

_MOST_STEPS = 10_000
"""Of one expression: functions that only return something may call one another."""

_SPEC = re.compile(r"(?:\D|\d{1,3}(?!\d)){0,8}")
"""Of a format: none that makes much of little."""

_PLAIN_FIELDS = re.compile(r"(?:[^{}]|\{\w*\})*")
"""A text for ``str.format`` that gets at nothing but its arguments."""


class Known(NamedTuple):
    """A value, or a function that only returns something."""

    value: Any
    variables: tuple[str, ...] = ()
    """Of the environment, on which it depends."""
    counts_processors: bool = False
    shell: str = ""
    """Its text as a shell has it, where variables are in it and it can be told."""
    returns: ast.expr | None = None
    """Of a function without arguments: what it returns."""


class NotKnown(Exception):
    """The expression is not understood, or its value is a variable's that has no default.

    :param variables: those on which it depends.
    :param shell: its text as a shell has it; may be empty.
    """

    def __init__(self, variables: tuple[str, ...] = (), shell: str = "") -> None:
        super().__init__()
        self.variables = variables
        self.shell = shell


def evaluate(node: ast.expr, names: Mapping[str, Known], file: str = "") -> Known:
    """What an expression comes to.

    :param names: what was assigned before.
    :param file: what ``__file__`` is.
    :raises NotKnown: that cannot be said.
    """
    reading = _Reading(names, file, is_for_shell=False)
    shell = ""
    try:
        value = reading.value(node)
    except _WithoutDefault:
        raise NotKnown(tuple(reading.variables), _shell(node, names, file)) from None
    except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise NotKnown(tuple(reading.variables)) from None
    except (RecursionError, TooLarge):
        raise NotKnown() from None
    if reading.variables:
        shell = _shell(node, names, file)
    return Known(value, tuple(reading.variables), reading.counts_processors, shell)


class _WithoutDefault(Exception):
    """A variable of the environment has to be there."""


class _Variable(str):
    """A variable in the place of its value, in a text for a shell."""

    __slots__ = ()


def _shell(node: ast.expr, names: Mapping[str, Known], file: str) -> str:
    """The text as a shell has it; empty where a shell cannot make it."""
    try:
        value = _Reading(names, file, is_for_shell=True).value(node)
    except (_WithoutDefault, NotKnown, ArithmeticError, AttributeError, LookupError, TypeError):
        return ""
    except (ValueError, RecursionError, TooLarge):
        return ""
    return value if isinstance(value, str) and "$" in value else ""


_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitOr: operator.or_,
    ast.BitAnd: operator.and_,
}
_COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda part, whole: part in whole,
    ast.NotIn: lambda part, whole: part not in whole,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_CALLS: dict[str, Callable[..., Any]] = {
    "bool": bool,
    "float": float,
    "int": int,
    "len": len,
    "list": list,
    "max": max,
    "min": min,
    "round": round,
    "str": str,
    "tuple": tuple,
    "dict": dict,
    "os.path.abspath": posixpath.normpath,
    "os.path.basename": posixpath.basename,
    "os.path.dirname": posixpath.dirname,
    "os.path.join": posixpath.join,
    "os.path.realpath": posixpath.normpath,
}
_METHODS = ("format", "join", "lower", "lstrip", "replace", "rstrip", "split", "strip", "upper")
_PROCESSORS = (
    *("cpu_count", "multiprocessing.cpu_count", "os.cpu_count", "os.process_cpu_count"),
    "psutil.cpu_count",
)
_AFFINITY = "len(os.sched_getaffinity(0))"
_VARIABLES = ("os.environ.get", "os.getenv", "environ.get", "getenv")
_ENVIRON = ("os.environ", "environ")


class _Reading:
    """One reading of one expression."""

    def __init__(self, names: Mapping[str, Known], file: str, *, is_for_shell: bool) -> None:
        self._names = names
        self._file = file
        self._is_for_shell = is_for_shell
        self.variables: dict[str, None] = {}
        self.counts_processors = False
        self._steps = 0

    def value(self, node: ast.expr) -> Any:
        """What it comes to."""
        read = getattr(self, f"_{type(node).__name__}", None)
        self._steps += 1
        if read is None or self._steps > _MOST_STEPS:
            raise NotKnown()
        value = read(node)
        return value if isinstance(node, ast.Name) else bounded(value)

    def _Constant(self, node: ast.Constant) -> Any:
        return node.value

    def _Name(self, node: ast.Name) -> Any:
        if node.id == "__file__":
            return self._file
        known = self._names.get(node.id)
        if known is None or known.returns is not None:
            raise NotKnown()
        self.variables |= dict.fromkeys(known.variables)
        self.counts_processors |= known.counts_processors
        if self._is_for_shell and known.variables:
            if not known.shell:
                raise NotKnown()
            return _Variable(known.shell)
        return known.value

    def _List(self, node: ast.List) -> list[Any]:
        return [self.value(each) for each in node.elts]

    def _Tuple(self, node: ast.Tuple) -> tuple[Any, ...]:
        return tuple(self.value(each) for each in node.elts)

    def _Set(self, node: ast.Set) -> list[Any]:
        return [self.value(each) for each in node.elts]

    def _Dict(self, node: ast.Dict) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                found |= self.value(value)
            else:
                found[self.value(key)] = self.value(value)
        return found

    def _JoinedStr(self, node: ast.JoinedStr) -> str:
        text = ""
        for each in node.values:
            text = bounded(text + str(self.value(each)))
        return text

    def _FormattedValue(self, node: ast.FormattedValue) -> str:
        spec = "" if node.format_spec is None else self.value(node.format_spec)
        if node.conversion != -1 or not _SPEC.fullmatch(spec):
            raise NotKnown()
        return format(self.value(node.value), spec)

    def _UnaryOp(self, node: ast.UnaryOp) -> Any:
        value = self.value(node.operand)
        if isinstance(node.op, ast.Not):
            return not value
        if isinstance(node.op, ast.USub):
            return -value
        raise NotKnown()

    def _BinOp(self, node: ast.BinOp) -> Any:
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(node.op, ast.Mult):
            if not (_is_number(left) and _is_number(right)):
                raise NotKnown()
            return left * right
        if isinstance(node.op, ast.Pow):
            if not (_is_number(left) and _is_number(right) and max(abs(left), abs(right)) <= 1024):
                raise NotKnown()
            return left**right
        work = _BINARY.get(type(node.op))
        if work is None or (isinstance(node.op, ast.Mod) and not _is_number(left)):
            raise NotKnown()
        return work(left, right)

    def _BoolOp(self, node: ast.BoolOp) -> Any:
        first, *others = node.values
        if isinstance(node.op, ast.Or) and isinstance(first, ast.Call) and len(first.args) == 1:
            name = self._variable_name(first)
            if name is not None and len(others) == 1:
                return self._variable(name, others[0])
        value: Any = None
        for each in node.values:
            value = self.value(each)
            if bool(value) is isinstance(node.op, ast.Or):
                break
        return value

    def _Compare(self, node: ast.Compare) -> bool:
        left = self.value(node.left)
        for how, each in zip(node.ops, node.comparators, strict=True):
            right = self.value(each)
            if self._is_for_shell and (_has_shell(left) or _has_shell(right)):
                raise NotKnown()
            if not _COMPARED[type(how)](left, right):
                return False
            left = right
        return True

    def _IfExp(self, node: ast.IfExp) -> Any:
        return self.value(node.body if self.value(node.test) else node.orelse)

    def _Subscript(self, node: ast.Subscript) -> Any:
        if _dotted(node.value) in _ENVIRON:
            return self._variable(str(self.value(node.slice)), None)
        return self.value(node.value)[self.value(node.slice)]

    def _Call(self, node: ast.Call) -> Any:
        name = _dotted(node.func)
        if (variable := self._variable_name(node)) is not None:
            default = node.args[1] if len(node.args) > 1 else None
            for keyword in node.keywords:
                default = keyword.value if keyword.arg == "default" else default
            return self._variable(variable, default, is_needed=False)
        function = self._names.get(name)
        if function is not None and function.returns is not None and not node.args:
            return self.value(function.returns)
        if name in _PROCESSORS or (name == "len" and ast.unparse(node) == _AFFINITY):
            self.counts_processors = True
            return os.cpu_count() or 1
        arguments = [self.value(each) for each in node.args]
        if any(keyword.arg is None for keyword in node.keywords):
            raise NotKnown()
        named = {str(each.arg): self.value(each.value) for each in node.keywords}
        if name in _CALLS:
            if name in ("int", "str") and arguments and _has_shell(arguments[0]):
                return arguments[0]
            return _CALLS[name](*arguments, **named)
        if isinstance(node.func, ast.Attribute) and node.func.attr in _METHODS:
            text = self.value(node.func.value)
            if not isinstance(text, str):
                raise NotKnown()
            return self._method(text, node.func.attr, arguments, named)
        raise NotKnown()

    def _method(self, text: str, method: str, arguments: list[Any], named: dict[str, Any]) -> Any:
        if method == "format" and not _PLAIN_FIELDS.fullmatch(text):
            raise NotKnown()
        if method in ("format", "join", "replace"):  # it may be large before it can be measured
            parts = [*arguments, *named.values()]
            is_of_lists = any(isinstance(part, list | tuple | dict) for part in parts)
            size = sum(len(part) for part in parts if isinstance(part, str | list | tuple))
            if (len(text) + 1) * (size + 1) > LARGEST or (method == "format" and is_of_lists):
                raise NotKnown()
        if self._is_for_shell and method not in ("format", "strip") and _has_shell(text):
            raise NotKnown()
        return getattr(text, method)(*arguments, **named)

    def _variable_name(self, node: ast.expr) -> str | None:
        """Of a call that asks for a variable: which."""
        if not isinstance(node, ast.Call) or _dotted(node.func) not in _VARIABLES or not node.args:
            return None
        name = node.args[0]
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            return name.value
        return None

    def _variable(self, name: str, default: ast.expr | None, *, is_needed: bool = True) -> Any:
        """A variable's value: its default."""
        self.variables[name] = None
        if default is None and is_needed:
            if self._is_for_shell:
                return _Variable(f"${{{name}}}")
            raise _WithoutDefault()
        value = None if default is None else self.value(default)
        if not self._is_for_shell:
            return value
        if value is None or value == "":
            return _Variable(f"${{{name}}}")
        if isinstance(value, str | int) and "}" not in str(value) and not isinstance(value, bool):
            return _Variable(f"${{{name}:-{value}}}")
        raise NotKnown()


def _has_shell(value: object) -> bool:
    return isinstance(value, str) and "$" in value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1 << 40


def _dotted(node: ast.expr) -> str:
    """``os.environ.get`` of such a node; empty of another."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := _dotted(node.value)):
        return f"{base}.{node.attr}"
    return ""
