"""Imports that a project's own modules do not get in the way of.

A project may have a ``queue.py``, and its directory is first on ``sys.path``: that of a script,
the current one with ``python -m`` and ``python -c``, what PYTHONPATH names, and in a process that
serves it by our own doing. What the server and the standard library import is never meant to be
that file.

This module and the package's ``__init__`` import nothing that is not built into the interpreter or
there since its start, not even ``__future__``.
"""

import gc
import os
import sys

__all__ = ["Found", "StandardFirst", "preload"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

_STANDARD = os.path.dirname(os.__file__)
_INSTALLED = os.path.dirname(os.path.dirname(__file__))


class StandardFirst:
    """While it is entered, the standard library comes first on ``sys.path``, and the directories of
    the program and of the process are not there, or, where this package is installed in one of
    them, last: what it needs may be there as well.

    Nor is garbage collected: what is imported stays, and to look for it would take a twentieth of
    the start.

    *Any thread:* what another one imports meanwhile is found in that order.
    """

    def __enter__(self) -> None:
        self._collects = gc.isenabled()
        gc.disable()
        self._before = sys.path[:]
        standard, others, own = [], [], []
        directories = _own_directories()
        for path in self._before:
            if path == _STANDARD or os.path.basename(path) == "lib-dynload":
                standard.append(path)
            elif path in directories:
                own.append(path)
            else:
                others.append(path)
        current = _current_directory()
        vendored = [path for path in own if (path or current) == _INSTALLED]
        self._during = [*standard, *others, *vendored]
        sys.path[:] = self._during

    def __exit__(self, *exc_info: object) -> None:
        added = [path for path in sys.path if path not in self._during]
        sys.path[:] = [*added, *self._before]
        if self._collects:
            gc.enable()


class Found:
    """A module that is found now, and imported when it is needed first: while this is entered, an
    import of it takes what was found, whatever is on the path by then. The path stays as it is, for
    the application's threads import by it meanwhile; so the module may need nothing that is not
    imported yet, but for its own package.

    *Any thread.*

    :param name: of a module that is in no package.
    :raises ModuleNotFoundError: there is none.
    """

    def __init__(self, name: str) -> None:
        from importlib.machinery import PathFinder

        self._name = name
        with StandardFirst():
            self._spec = PathFinder.find_spec(name)
        if self._spec is None:
            __import__(name)  # by another finder; or it is not there, which this says

    def __enter__(self) -> None:
        sys.meta_path.insert(0, self)

    def __exit__(self, *exc_info: object) -> None:
        sys.meta_path.remove(self)

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> "ModuleSpec | None":
        """As a finder of ``sys.meta_path``."""
        return self._spec if name == self._name else None


def _own_directories() -> set[str]:
    current = _current_directory()
    found = {"", current}
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    if main and not sys.flags.safe_path:
        found.add(os.path.dirname(os.path.join(current, main)))
    return found


def _current_directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # it has been removed
        return ""


def preload(*names: str) -> None:
    """Import those of these modules that there are, so that later imports find them."""
    with StandardFirst():
        for name in names:
            try:
                __import__(name)
            except ImportError:
                continue
