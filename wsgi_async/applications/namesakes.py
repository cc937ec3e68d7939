"""Scripts whose modules have the same names.

mod_wsgi gives each script an interpreter of its own. In one process there is one module ``app``:
``/srv/b/app.wsgi``, which imports the ``app`` beside it, would get the one that ``/srv/a/app.wsgi``
has brought, and serve another site than its own. That is found here and is an error.
"""

from __future__ import annotations

import ast
import importlib.machinery
import os
import sys
from pathlib import Path

from wsgi_async.errors import LoadError

__all__ = ["Brought"]


class Brought:
    """The modules that applications have brought into this process, and whose they are."""

    def __init__(self) -> None:
        self._modules: dict[str, tuple[str, str]] = {}
        """By name of the top level: what was loaded, in the operator's words, and the file."""
        self._before: set[str] = set()

    def begin(self) -> None:
        """Something is about to be loaded."""
        self._before = set(sys.modules)

    def end(self, what: str) -> None:
        """`what` has been loaded; what is new is its own."""
        for name in set(sys.modules) - self._before:
            is_own = "." not in name and name not in sys.stdlib_module_names
            if is_own and (file := _file_of(name)):
                self._modules[name] = (what, file)

    def check(self, script: str) -> None:
        """Look for a module that the script means, and would get from another application: one
        beside it, or one that is on the path now.

        :param script: its file, in the operator's words.
        :raises LoadError: there is one.
        """
        if not self._modules:
            return
        root, names = _wanted(script)
        for name in names:
            other, file = self._modules.get(name, ("", ""))
            if not other or other == script or _file_of(name) != file:
                continue
            own = _beside(root, name) or _found(name)
            if own is not None and os.path.realpath(own) != os.path.realpath(file):
                raise LoadError(
                    f"{script!r} means {own} by {name!r}, and would get {file}, which {other!r} "
                    "has brought: in one process a name is one module. Rename one of them, or "
                    "serve the two by a server each"
                )


def _wanted(script: str) -> tuple[Path, list[str]]:
    """The directory that the script's own modules are in, and the names that it imports."""
    path = Path(os.path.abspath(script))
    names: dict[str, None] = {}
    root = path.parent
    while (root / "__init__.py").is_file() and root != root.parent:
        names = {root.name: None}
        root = root.parent
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return root, []  # whoever runs it says what is wrong
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0]: None for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names[node.module.partition(".")[0]] = None
    return root, list(names)


def _beside(directory: Path, name: str) -> str | None:
    """The file of the module or package of this name in the directory."""
    candidates = (directory / name / "__init__.py", directory / f"{name}.py")
    return next((str(path) for path in candidates if path.is_file()), None)


def _found(name: str) -> str | None:
    """The file of what an import of `name` would find now, if it were not there already."""
    try:
        spec = importlib.machinery.PathFinder.find_spec(name)
    except Exception:  # a finder of the application's
        return None
    return spec.origin if spec is not None and spec.has_location else None


def _file_of(name: str) -> str:
    """The file of a module that is there; "" where it has none."""
    try:
        file = getattr(sys.modules.get(name), "__file__", None)
    except Exception:  # it may be any object
        return ""
    return file if isinstance(file, str) and os.path.isfile(file) else ""
