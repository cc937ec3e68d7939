"""The types of PEP 3333, as annotations of this package name them.

Wide where an application may give what it likes: the server looks itself. The middleware, whose
annotations its users' type checkers read, takes the protocols of ``wsgiref.types`` instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

__all__ = ["Application", "Environ", "ExcInfo", "Fields", "OptExcInfo", "StartResponse"]

Environ = dict[str, Any]
Fields = list[tuple[str, str]]
"""Header fields, as ``start_response`` is given them."""
StartResponse = Callable[..., Callable[[bytes], object]]
Application = Callable[..., Iterable[bytes]]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType]
OptExcInfo = ExcInfo | tuple[None, None, None]
"""As of ``sys.exc_info()``."""
