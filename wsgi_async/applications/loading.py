"""From what an operator types to a WSGI application.

======================================== =====================================================
``mod``, ``pkg.mod``                     its ``application``, else its ``app``
``mod:obj``, ``mod:obj.attr``            an object of the module
``mod:factory()``, ``mod:Class(arg=1)``  what the call returns; arguments are Python literals
``pkg.mod.obj``                          imported as far as possible, then attributes
``path/file.py[:obj]``, ``file.wsgi``    a file instead of a module
``path/file.ini[#name]``                 [app:name] or [app:main] of a PasteDeploy file
======================================== =====================================================

An application that cannot be had is a :class:`LoadError` whose message says which of these it
was: no such module or file, no such attribute, not callable; or importing or calling raised,
and then that exception is the ``__cause__``.
"""

from __future__ import annotations

import ast
import contextlib
import errno
import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import re
import stat
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MappingProxyType,
    ModuleType,
    TracebackType,
)
from typing import Any, cast

from wsgi_async.config.option import did_you_mean
from wsgi_async.config.paste_spec import PasteSpec, paste_spec
from wsgi_async.errors import ConfigError, LoadError
from wsgi_async.events import Observer, check_subscriber
from wsgi_async.system.own_code import without_ours

from . import factories
from .namesakes import Brought

__all__ = [
    "application_traceback",
    "file_of",
    "load_application",
    "load_middleware",
    "load_subscriber",
]

_DEFAULTS = ("application", "app")

_BROUGHT = Brought()

_LONGEST_MESSAGE = 500
_LONGEST_TRACEBACK = 16_000
"""Characters that are shown: a process tells its parent no more than 64 KiB at once."""

_RECURSION_LIMIT = sys.getrecursionlimit()


def load_application(
    spec: str,
    *,
    factory: bool = False,
    warn: Callable[[str], object] = lambda _: None,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Callable[..., Any]:
    """Import the application that `spec` names, and call it first where it is a factory.

    ``sys.path`` is used as it is. Runs the application's import on the calling thread.

    :param factory: the named object is called without arguments and returns the application.
    :param warn: is given a sentence where it can be an application and looks like a factory.
    :param variables: for a PasteDeploy file.
    :raises LoadError: see the module's docstring.
    :raises ConfigError: it is in a PasteDeploy file, and PasteDeploy is not installed.
    """
    if (paste := paste_spec(spec)) is not None:
        return _load_paste(paste, variables)
    module, where, expression = _locate(spec)
    if expression:
        node = _parse(expression)
        found = _evaluate(node, module, where)
        called = isinstance(node, ast.Call)
    else:
        expression, found = _default(module, where)
        called = False
    name = f"{expression!r} in {where!r}"
    if factory and not called:
        _check_callable(found, name)
        found = _call(found, (), {}, name)
        name = f"what {name} returned"
    application = _checked(found, name)
    if not called and not factory:
        hint = f"write {where}:{expression}(), or add --factory"
        with _blaming(f"Looking at {name}"):
            if why := factories.refusal(application):
                raise LoadError(
                    f"{name} cannot be called with environ and start_response: {why}. "
                    f"Where it is a factory, which returns the application, {hint}"
                )
            if factories.doubt(application, expression.rpartition(".")[2]):
                warn(f"{name} looks like a factory, not an application. If it is one, {hint}")
    return application


def load_middleware(spec: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Import the factory that `spec` names: given an application, it makes another one.

    ``mod:Factory``, ``mod.Factory`` or ``path/file.py:Factory``; also
    ``mod:Factory(option=1)``, whose arguments, Python literals, are passed after the application.

    :returns: to be called with the application; raises LoadError where the factory raises, or
        what it returns is no WSGI application.
    :raises LoadError: there is no such thing, or it cannot be called.
    """
    module, where, expression = _locate(spec)
    if not expression:
        raise LoadError(f"{spec!r} names no factory: write {spec}:Factory")
    node = _parse(expression)
    arguments: list[Any] = []
    options: dict[str, Any] = {}
    if isinstance(node, ast.Call):
        arguments, options = _literals(node)
        node = node.func
    factory = _evaluate(node, module, where)
    name = f"{ast.unparse(node)!r} in {where!r}"
    _check_callable(factory, name)

    def wrap(application: Callable[..., Any]) -> Callable[..., Any]:
        made = _call(factory, (application, *arguments), options, name)
        return _checked(made, f"what {name} returned")

    return wrap


def load_subscriber(spec: str) -> Observer:
    """Import the factory that `spec` names, and call it: it makes a subscriber.

    ``mod:Factory``, ``mod.Factory`` or ``path/file.py:Factory``; also
    ``mod:Factory(option=1)``, whose arguments are Python literals.

    :raises LoadError: there is no such thing, it raises, or what it returns is no subscriber.
    """
    module, where, expression = _locate(spec)
    if not expression:
        raise LoadError(f"{spec!r} names no factory: write {spec}:Factory")
    node = _parse(expression)
    found = _evaluate(node, module, where)
    if not isinstance(node, ast.Call):
        name = f"{expression!r} in {where!r}"
        _check_callable(found, name)
        found = _call(found, (), {}, name)
    with _blaming(f"Looking at what {expression!r} in {where!r} returned"):
        try:
            check_subscriber(found)
        except ConfigError as error:
            raise LoadError(str(error)) from None
    return cast("Observer", found)


def _load_paste(spec: PasteSpec, variables: Mapping[str, str]) -> Callable[..., Any]:
    name = "#".join(filter(None, spec))
    try:
        from .paste_files import load_paste_application
    except ImportError:
        raise ConfigError(
            f"{spec.file} needs PasteDeploy: pip install 'wsgi_async[paste]'"
        ) from None
    _check_file(spec.file)
    with _blaming(f"Loading {name!r}"):
        found = load_paste_application(spec, variables)
    return _checked(found, f"what is made of {name!r}")


def _locate(spec: str) -> tuple[ModuleType, str, str | None]:
    """Import the module or file that `spec` names.

    :return: the module, what to call it in messages, and the expression for an object in it, None
        where `spec` has none.
    """
    where, expression = _split(spec)
    _BROUGHT.begin()
    if _names_file(where):
        _check_file(where)  # before anything reads it: a pipe would be waited for
        _BROUGHT.check(where)
        module = _load_file(where)
        _BROUGHT.check(where)  # the script may have put directories on the path
        _BROUGHT.end(where)
        return module, where, expression
    module, rest = _import(where, whole=expression is not None)
    _BROUGHT.end(where)
    if rest:  # only where `spec` has no colon
        return module, module.__name__, ".".join(rest)
    return module, where, expression


def _checked(found: Any, name: str) -> Callable[..., Any]:
    _check_callable(found, name)
    with _blaming(f"Looking at {name}"):  # a proxy may raise whatever is asked of it
        if any(map(inspect.iscoroutinefunction, (found, type(found).__call__))):
            raise LoadError(f"{name} is an asynchronous (ASGI) application, not a WSGI one")
    return cast("Callable[..., Any]", found)


def file_of(spec: str, directory: str) -> str | None:
    """The file that `spec` names; None where it names a module.

    :param directory: what a relative name is relative to.
    """
    try:
        where, _ = _split(spec)
    except LoadError:  # whoever loads it says so
        return None
    path = os.path.join(directory, where)
    return path if _names_file(where, path) else None


def _split(spec: str) -> tuple[str, str | None]:
    """(module or file, expression or None). A drive letter's colon divides nothing."""
    drive = re.match(r"[A-Za-z]:[\\/]", spec)
    start = drive.end() if drive else 0
    where, colon, expression = spec[start:].partition(":")
    where = (drive[0] if drive else "") + where
    if not where.strip(" \t"):
        raise LoadError(f"{spec!r} names no module: write module:application")
    return where, expression if colon and expression else None


def _names_file(where: str, path: str = "") -> bool:
    if where.endswith(".py") or "/" in where or os.sep in where:
        return True
    # What Django's startproject makes is the module mysite.wsgi.
    return where.endswith(".wsgi") and os.path.lexists(path or where)


@contextlib.contextmanager
def _blaming(doing: str) -> Iterator[None]:
    """Turn what the application's own code raises, whatever that is, into a LoadError with that
    cause. A process that loads an application is sent no KeyboardInterrupt from outside, but for
    --check-config."""
    try:
        yield
    except LoadError:
        raise
    except BaseException as error:
        raise LoadError(f"{doing} raised {_in_a_line(error)}") from error


def _in_a_line(error: BaseException) -> str:
    kind = type(error).__name__
    try:
        text = str(error)
    except BaseException as another:
        return f"{kind}, whose text cannot be had ({type(another).__name__})"
    line = (text.splitlines() or [""])[0]
    if len(line) > _LONGEST_MESSAGE:
        line = line[:_LONGEST_MESSAGE] + "..."
    return f"{kind}: {line}".removesuffix(": ")


def _import(name: str, *, whole: bool) -> tuple[ModuleType, list[str]]:
    """Import `name`, or (unless `whole`) as much of its front as there are modules.

    :return: the module, and the names that are left to be attributes.
    """
    parts = name.split(".")
    if not all(parts):
        raise LoadError(f"{name!r} is no module's name: write module:application")
    module: ModuleType | None = None
    for count in range(1, len(parts) + 1):
        front = ".".join(parts[:count])
        with _blaming(f"Importing {front!r}"):
            try:
                module = importlib.import_module(front)
            except ModuleNotFoundError as error:
                # Any other name is an import *inside* the module: the application's own fault.
                if error.name != front or _first_frame(error) is not None:
                    raise
                if module is None or whole:
                    raise LoadError(
                        f"No module named {front!r} in the current directory {_directory()} "
                        "or elsewhere on the path"
                    ) from None
                return module, parts[count - 1 :]
    assert module is not None
    return module, []


def _directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # it has been removed
        return "."


def _check_file(name: str) -> Path:
    """Its path, absolute."""
    try:
        path = Path(os.path.abspath(name))
        is_file = path.is_file()
    except OSError as error:  # the current directory is gone, a name is too long
        raise LoadError(f"Cannot find the file {name!r}: {error.strerror}") from None
    if not is_file:
        raise LoadError(f"{_absence(path)}: {name!r}" + (" (a directory)" if path.is_dir() else ""))
    return path


def _load_file(name: str) -> ModuleType:
    path = _check_file(name)
    importable = _importable_name(path)
    if importable is not None:
        return _import(importable, whole=True)[0]
    module_name = _name_of_file(path)
    if module_name in sys.modules:
        return sys.modules[module_name]
    loader = importlib.machinery.SourceFileLoader(module_name, str(path))
    spec = importlib.util.spec_from_file_location(module_name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # pickle and dataclasses look there
    try:
        with _blaming(f"Importing {name!r}"):
            loader.exec_module(module)
    except BaseException:
        sys.modules.pop(module_name, None)
        raise
    return module


def _absence(path: Path) -> str:
    """What to say of a path that is no file to be read."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        return "No such file" if missing else f"Cannot find the file ({error.strerror})"
    return "No such file" if stat.S_ISDIR(mode) else "No ordinary file"


def _name_of_file(path: Path) -> str:
    """The module's name for a file that no import finds: the whole path, so that ``django.wsgi``
    does not become the module ``django``, and different for each path, so that ``my-site.wsgi``
    and ``my_site.wsgi`` are two modules."""
    # "__" is a slash, and between single ones there is a character's number: no two are alike.
    return re.sub(
        r"\W|_", lambda found: "__" if found[0] == "/" else f"_{ord(found[0]):x}_", str(path)
    )


def _importable_name(path: Path) -> str | None:
    """The dotted name under which an ordinary ``import`` finds this very file, if there is one.

    Then it is imported so: ``from app import db`` elsewhere in the project must not run the
    file a second time, and relative imports in a package must work. A link to a file of a package
    is that file; a link elsewhere is a module of its own, by its own name.
    """
    resolved = path.resolve()
    if (resolved.parent / "__init__.py").is_file():
        path = resolved
    parts, directory = [path.stem], path.parent
    while (directory / "__init__.py").is_file():
        parts.insert(0, directory.name)
        directory = directory.parent
    if path.suffix != ".py" or not all(part.isidentifier() for part in parts):
        return None
    with _blaming(f"Looking for {parts[0]!r}"):
        try:
            spec = importlib.util.find_spec(parts[0])  # imports nothing: the name has no dot
        except (ImportError, ValueError):
            return None
    top = path if len(parts) == 1 else directory / parts[0] / "__init__.py"
    if spec is None or spec.origin is None:
        return None
    found = Path(spec.origin)
    if found.name != top.name or found.parent.resolve() != top.parent.resolve():
        return None
    return ".".join(parts)


def _parse(expression: str) -> ast.expr:
    try:
        return ast.parse(expression.strip(" \t"), mode="eval").body
    except (SyntaxError, ValueError):  # ValueError: a NUL
        raise _not_understood(expression) from None


def _not_understood(expression: str) -> LoadError:
    return LoadError(
        f"{expression!r} is no name, attribute or call with literal arguments: "
        "write module:application, module:factory() or module:Class(option=1)"
    )


def _evaluate(node: ast.expr, module: ModuleType, where: str) -> Any:
    """The object an expression of names, attributes and calls with literal arguments means."""
    if isinstance(node, ast.Name):
        return _attribute(module, node.id, where)
    if isinstance(node, ast.Attribute):
        owner = _evaluate(node.value, module, where)
        return _attribute(owner, node.attr, f"{where}:{ast.unparse(node.value)}")
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
        function = _evaluate(node.func, module, where)
        arguments, options = _literals(node)
        name = f"{ast.unparse(node.func)!r} in {where!r}"
        _check_callable(function, name)
        return _call(function, tuple(arguments), options, name)
    raise _not_understood(ast.unparse(node))


def _literals(call: ast.Call) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call, which may be Python literals only."""
    try:
        arguments = [ast.literal_eval(argument) for argument in call.args]
        options = {
            keyword.arg: ast.literal_eval(keyword.value)
            for keyword in call.keywords
            if keyword.arg is not None
        }
    except ValueError:
        raise _not_understood(ast.unparse(call)) from None
    if len(options) < len(call.keywords):
        raise _not_understood(ast.unparse(call))
    return arguments, options


def _attribute(owner: Any, name: str, where: str) -> Any:
    with _blaming(f"Looking up {name!r} in {where!r}"):
        try:
            return getattr(owner, name)
        except AttributeError:
            names = _callables(owner)
            hint = did_you_mean(name, names) or _list(names)
            raise LoadError(f"There is no {name!r} in {where!r}.{hint}") from None


def _default(module: ModuleType, where: str) -> tuple[str, Any]:
    for name in _DEFAULTS:
        with _blaming(f"Looking up {name!r} in {where!r}"):
            if hasattr(module, name):
                return name, getattr(module, name)
    with _blaming(f"Looking into {where!r}"):
        names = _list(_callables(module))
    raise LoadError(
        f"There is no 'application' and no 'app' in {where!r}; write {where}:NAME.{names}"
    )


def _callables(owner: Any) -> list[str]:
    """Public callables that `owner` itself defines, or holds as instances such as an app."""
    names = []
    for name, value in vars(owner).items() if hasattr(owner, "__dict__") else ():
        # type(), not isinstance(): a framework's proxies raise outside a request.
        kind = type(value)
        if name.startswith("_") or kind is BuiltinFunctionType or not callable(value):
            continue
        if issubclass(kind, type | FunctionType) and value.__module__ != getattr(
            owner, "__name__", None
        ):
            continue
        names.append(name)
    return names


def _list(names: list[str]) -> str:
    return f" Callable there: {', '.join(names[:5])}." if names else ""


def _call(function: Any, arguments: tuple[Any, ...], options: dict[str, Any], name: str) -> Any:
    with _blaming(f"Calling {name}"):
        return function(*arguments, **options)


def _check_callable(found: Any, name: str) -> None:
    if not callable(found):
        if inspect.iscoroutine(found):
            found.close()  # else Python warns that it was never awaited
        raise LoadError(f"{name} is not callable: it is of type {type(found).__name__}")


def application_traceback(error: BaseException) -> str:
    """`error` with its traceback from the application's first frame on; of a very long one the
    beginning and the end. Whatever the application has done, as much of it as can be had."""
    # An application may have left next to nothing of it.
    sys.setrecursionlimit(max(sys.getrecursionlimit(), _RECURSION_LIMIT))
    try:
        text = "".join(traceback.format_exception(type(error), error, _first_frame(error)))
    except BaseException as another:
        text = "".join(
            f'  File "{code.co_filename}", line {line}, in {code.co_name}\n'
            for code, line in _calls(error)
        )
        text += f"{_in_a_line(error)}\n(its traceback cannot be shown: {_in_a_line(another)})\n"
    if len(text) <= _LONGEST_TRACEBACK:
        return text
    half = _LONGEST_TRACEBACK // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters ...]\n{text[-half:]}"


def _calls(error: BaseException) -> Iterator[tuple[CodeType, int]]:
    frames = _first_frame(error)
    while frames is not None:
        yield frames.tb_frame.f_code, frames.tb_lineno
        frames = frames.tb_next


def _first_frame(error: BaseException) -> TracebackType | None:
    """The application's first frame in the traceback, None where all are of the import system."""
    importing = ("<frozen importlib", os.path.dirname(importlib.__file__) + os.sep)
    return without_ours(error.__traceback__, importing)
