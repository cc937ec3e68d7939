"""gunicorn's configuration file, which is code: read, and run where ``--execute`` says so."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from wsgi_async.errors import ConfigError
from wsgi_async.foreign.gunicorn import SETTINGS, execute
from wsgi_async.foreign.hooks import HOOKS

from .expressions import Known, NotKnown, evaluate
from .gunicorn import fill
from .gunicorn_fates import Setting
from .report import Plan, Source, Verdict

__all__ = ["read", "settings_in"]

_KEEP = "keep the file, which is run at each start"
_FUNCTIONS = frozenset((*HOOKS, "pre_exec", "ssl_context", "worker_abort", "worker_int"))


def read(source: Source) -> list[Plan]:
    """What the file comes to."""
    plan = Plan(server="gunicorn", kept=source.name)
    fill(plan, settings_in(source), source.name)
    for finding in _imports(source):
        plan.add(*finding, matters=True)
    return [plan]


def settings_in(source: Source) -> list[Setting]:
    """The settings of the file, in its order.

    :raises ConfigError: it is no Python, or raises when it is run.
    """
    tree = _parsed(source)
    found = list(_Reader(source).settings(tree))
    if not source.may_execute:
        return found
    if source.path is None:
        raise ConfigError(f"{source.name} is no file: --execute takes one that is")
    values = execute(source.path.absolute(), source.name)
    return list(_executed(found, values, source))


def _parsed(source: Source) -> ast.Module:
    try:
        return ast.parse(source.text)
    except SyntaxError as error:
        raise ConfigError(f"{source.name}, line {error.lineno}: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f"{source.name} is no Python: {error}") from None


class _Reader:
    """One reading of one file, from its top to its end."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._names: dict[str, Known] = {}

    def settings(self, tree: ast.Module) -> Iterator[Setting]:
        """What is assigned and defined at the top level."""
        for node in tree.body:
            match node:
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        yield from self._assigned(target, value)
                case ast.AnnAssign(target=target, value=ast.expr() as value):
                    yield from self._assigned(target, value)
                case ast.AugAssign(target=ast.Name() as target, op=op, value=value):
                    joined = ast.BinOp(ast.Name(target.id, ast.Load()), op, value)
                    yield from self._assigned(target, ast.copy_location(joined, node), value)
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    if name in _FUNCTIONS:
                        yield self._setting(name, node, f"def {name}(...)", value=name)
                    elif isinstance(node, ast.FunctionDef):
                        self._define(node)
                case ast.If() | ast.Try() | ast.With() | ast.For() | ast.While() | ast.Match():
                    yield from self._nested(node)

    def _assigned(
        self, target: ast.expr, value: ast.expr, written: ast.expr | None = None
    ) -> Iterator[Setting]:
        if isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
            if len(target.elts) == len(value.elts):
                for each, its in zip(target.elts, value.elts, strict=True):
                    yield from self._assigned(each, its)
            return
        if not isinstance(target, ast.Name):
            return
        name = target.id
        known: Known | None = None
        variables: tuple[str, ...] = ()
        shell = ""
        try:
            known = evaluate(value, self._names, self._source.name)
            variables, shell = known.variables, known.shell
            self._names[name] = known
        except NotKnown as error:
            self._names.pop(name, None)
            variables, shell = error.variables, error.shell
        if name not in SETTINGS:
            return
        text = ast.get_source_segment(self._source.text, written or value) or ""
        if name in _FUNCTIONS:
            yield self._setting(name, target, text, value=None if text == "None" else text)
        elif known is None:
            names = ", ".join(f"${variable}" for variable in variables)
            note = f"it comes from {names}" if names and not shell else ""
            if not shell:
                note = note or "it is no constant"
                note += f", so that nobody knows it who does not run it: see --execute, or {_KEEP}"
            yield self._setting(name, target, text, is_known=False, note=note, variable=shell)
        else:
            yield self._setting(
                name, target, text, value=known.value, note=_note(known), variable=shell
            )

    def _define(self, node: ast.FunctionDef) -> None:
        """Keep in mind a function that only returns something, as for the number of workers."""
        self._names.pop(node.name, None)
        match node.body:
            case [ast.Return(value=ast.expr() as value)] | [
                ast.Expr(value=ast.Constant()),
                ast.Return(value=ast.expr() as value),
            ] if not ast.unparse(node.args):
                self._names[node.name] = Known(None, returns=value)

    def _nested(self, node: ast.stmt) -> Iterator[Setting]:
        """What is set in a condition or a loop, which is not followed."""
        seen: dict[str, ast.AST] = {}
        for each in ast.walk(node):
            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
                seen.setdefault(each.id, each)
                self._names.pop(each.id, None)
            elif isinstance(each, ast.FunctionDef):
                seen.setdefault(each.name, each)
        head = ast.get_source_segment(self._source.text, node) or ""
        head = head.split("\n")[0].rstrip(": ")
        note = f"it is set within `{head}`, which is not followed: see --execute, or {_KEEP}"
        for name, each in seen.items():
            if name in SETTINGS:
                yield self._setting(name, each, "...", is_known=False, note=note)

    def _setting(self, name: str, node: ast.AST, written: str, **more: Any) -> Setting:
        line = getattr(node, "lineno", 0)
        more.setdefault("value", None)
        return Setting(name, where=f"{self._source.name}:{line}", written=written, **more)


def _note(known: Known) -> str:
    if known.counts_processors:
        return (
            f"{known.value!r} on this machine: a number does not follow the machine, so write it "
            "for the one that serves"
        )
    if known.variables and not known.shell:
        names = ", ".join(f"${variable}" for variable in known.variables)
        return f"{known.value!r} where {names} says nothing; to say something else {_KEEP}"
    return ""


def _executed(found: list[Setting], values: dict[str, Any], source: Source) -> Iterator[Setting]:
    """The settings with the values that running the file has given."""
    last = {setting.name: setting for setting in found}
    for name, value in values.items():
        if name not in SETTINGS:
            continue
        if name in last:
            setting = last[name]
            yield Setting(name, value, setting.where, setting.written)
        else:
            yield Setting(name, value, source.name, "", note="it is imported")


def _imports(source: Source) -> Iterator[tuple[str, str, str, Verdict, str]]:
    """What may set something, and cannot be seen."""
    if source.may_execute:
        return
    text = f"what it brings is not read: see --execute, or {_KEEP}"
    for node in _parsed(source).body:
        if isinstance(node, ast.ImportFrom):
            names = [each.asname or each.name for each in node.names]
            if any(name == "*" or name in SETTINGS for name in names):
                where = f"{source.name}:{node.lineno}"
                yield where, ast.unparse(node), "", Verdict.CHANGED, text
