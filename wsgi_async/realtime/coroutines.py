"""What a coroutine is called, and what is given in the place of one, in words that say what to
write. Any thread."""

from __future__ import annotations

import inspect
from collections.abc import Coroutine

__all__ = ["check_coroutine", "name_of"]


def check_coroutine(given: object, caller: str) -> None:
    """Whether it is a coroutine.

    :param caller: the function that it was given to.
    :raises TypeError: it is not.
    """
    if isinstance(given, Coroutine):
        return
    if inspect.iscoroutinefunction(given):
        name = getattr(given, "__name__", "function")
        wanted = f"call it: {caller}({name}(...))"
        raise TypeError(f"{caller}() takes a coroutine, not the function of one: {wanted}")
    if inspect.isasyncgen(given) or inspect.isasyncgenfunction(given):
        raise TypeError(
            f"{caller}() takes a coroutine, and an async generator is none: "
            "go through it in a coroutine, or return it as a body by wsgi_async.live()"
        )
    if inspect.isawaitable(given):
        raise TypeError(
            f"{caller}() takes a coroutine, not {type(given).__name__}, which belongs to a loop "
            "already: await it in an async function, and call that"
        )
    raise TypeError(
        f"{caller}() takes a coroutine, not {type(given).__name__}: "
        f"write an async function, and {caller}(function())"
    )


def name_of(coroutine: object) -> str:
    """What a coroutine is called in a line of the log."""
    return str(getattr(coroutine, "__qualname__", type(coroutine).__qualname__))
