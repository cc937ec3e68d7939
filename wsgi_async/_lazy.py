"""Public names of a package that are imported when they are first used (PEP 562)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from ._imports import StandardFirst

__all__ = ["lazy_names"]


def lazy_names(
    package: dict[str, Any], homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and the ``__dir__`` of a package.

    :param package: its ``globals()``, with an ``__all__``.
    :param homes: for each name the module, of this package, that has it, or that has this name.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
        with StandardFirst():
            module = importlib.import_module(f".{homes[name]}", package["__name__"])
        value = module if homes[name] == name else getattr(module, name)
        package[name] = value  # so that it is asked for once only
        return value

    return load, lambda: sorted(package["__all__"])
