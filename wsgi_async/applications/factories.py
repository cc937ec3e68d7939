"""Whether a callable can be a WSGI application, or rather makes one when it is called.

``wsgi-async shop:create_app``, without the parentheses, would start, and answer each request with
500. Nothing here calls what it looks at.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

__all__ = ["doubt", "refusal"]

_FACTORY = re.compile(
    r"_*(?:(?:create|make|build|get|new|init)_?(?:\w+_)?(?:app|application|wsgi)|\w*factory)",
    re.IGNORECASE,
)
_ENVIRON, _START_RESPONSE = re.compile(r"_*e(nv\w*)?"), re.compile(r"_*(s|sr|start\w*|resp\w*)")


def refusal(found: Callable[..., Any]) -> str:
    """Why `found` can never be called with environ and start_response, as a clause such as ``it
    takes no arguments``; empty where it can, or where nobody knows."""
    signature = _signature(found)
    if signature is None:
        return ""
    try:
        signature.bind(None, None)
    except TypeError:
        names = ", ".join(signature.parameters)
        return f"it takes {names or 'no arguments'}"
    return ""


def doubt(found: Callable[..., Any], name: str) -> bool:
    """Whether `found`, which :func:`refusal` has nothing against, looks like a factory.

    :param name: by which the operator knows it.
    """
    if isinstance(found, type):
        # What a class makes is the response's iterable (PEP 3333, "class AppClass").
        return not hasattr(found, "__iter__") and not hasattr(found, "__getitem__")
    if not isinstance(found, FunctionType):
        return False
    signature = _signature(found)
    if signature is None:
        return False
    named = _FACTORY.fullmatch(name) is not None
    parameters = list(signature.parameters.values())[:2]
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return named  # else, most likely, what a decorator has made
    if all(one.default is not one.empty for one in parameters):
        return True  # nobody calls an application without environ
    environ, start_response = (one.name for one in parameters)
    return named and not (_ENVIRON.fullmatch(environ) or _START_RESPONSE.fullmatch(start_response))


def _signature(found: Any) -> inspect.Signature | None:
    """What it takes when it is called; None where nobody knows."""
    function = _function(found)
    if not isinstance(function, FunctionType | type):
        return None
    for thing in (found, function, getattr(function, "__init__", None)):
        # A decorator copies it from another function, as it does __wrapped__.
        if "__signature__" in getattr(thing, "__dict__", ()):
            return None
    try:
        return inspect.signature(found, follow_wrapped=False)
    except (TypeError, ValueError):  # code in C
        return None


def _function(found: Any) -> Any:
    """What runs when it is called, as far as that is an ordinary function, or a class."""
    if isinstance(found, FunctionType | type):
        return found
    if isinstance(found, MethodType):
        return found.__func__
    if isinstance(found, functools.partial):
        return found.func
    return inspect.getattr_static(type(found), "__call__", None)  # no static or class method
