"""What another thread is doing just now, and how to break it off. Any thread.

CPython's own means, with their limits: a stack is a snapshot of a thread that goes on meanwhile,
and an exception is raised in a thread only when it comes back to Python code.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from types import CodeType, FrameType
from typing import Any, Generic, TypeVar

from .own_code import CALLER, calls_applications, is_ours

__all__ = [
    "DEPTH",
    "WAITS",
    "RunningMethods",
    "is_in_application",
    "lines_of",
    "raise_in",
    "stack_of",
]

T = TypeVar("T")

DEPTH = 50
"""Frames that are shown, the innermost ones."""

_BENEATH = (threading.__file__, os.path.join(os.path.dirname(threading.__file__), "asyncio", ""))
"""What else is beneath code that a thread of ours runs."""

_IMPORTING = "<frozen importlib"
"""Five frames to each module that imports another. Tracebacks leave them out, too."""

WAITS: dict[int, Callable[[], list[str]]] = {}
"""Of threads that wait for code which runs elsewhere: what gives the stack of that, in such lines.
*Any thread.*"""


def stack_of(ident: int) -> list[str]:
    """The stack of a thread in lines, outermost call first, as a traceback shows it; from the
    application's first frame on, where there is one; then that of what it waits for, see
    :data:`WAITS`. Nothing of a thread that has ended."""
    frame = sys._current_frames().get(ident)
    if frame is None:
        return []
    calls = traceback.extract_stack(frame, DEPTH)
    files = [call.filename for call in calls]
    first = files.index(CALLER) if CALLER in files else 0
    while first < len(files) and (is_ours(files[first]) or files[first].startswith(_BENEATH)):
        first += 1
    lines = _shown(calls[first:] or calls)
    waits_for = WAITS.get(ident)
    if waits_for is not None and (others := waits_for()):
        lines += ["and waits for", *others]
    return lines


def lines_of(frames: Iterable[tuple[FrameType, int]]) -> list[str]:
    """The same of frames that are no thread's, as those of coroutines.

    :param frames: outermost call first, each with the line it is at.
    """
    return _shown(traceback.StackSummary.extract(iter(frames)))


def _shown(calls: Iterable[traceback.FrameSummary]) -> list[str]:
    lines = []
    for call in calls:
        if call.filename.startswith(_IMPORTING):
            continue
        lines.append(f'File "{call.filename}", line {call.lineno}, in {call.name}')
        if call.line:
            lines.append("  " + call.line)
    return list(map(_printable, lines))


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() or char == "\t" else "?" for char in text)


def is_in_application(ident: int) -> bool:
    """Whether a thread is in code that a WSGI application was called for, and not, called from
    there, in the server's own again: what that has begun must not be broken off. Middleware of
    this package may be on the way, as long as it is not what runs."""
    frame = sys._current_frames().get(ident)
    if frame is None or is_ours(frame.f_code.co_filename):
        return False
    while frame is not None:
        filename = frame.f_code.co_filename
        if is_ours(filename) and not calls_applications(filename):
            return filename == CALLER
        frame = frame.f_back
    return False


class RunningMethods(Generic[T]):
    """Methods that run something for somebody, by which it is told from a thread's stack for whom
    that thread works just now. So whoever does not ask pays nothing. *Any thread.*"""

    def __init__(self) -> None:
        # By the identity of its code: the hash of that is the hash of all its constants.
        self._methods: dict[int, tuple[CodeType, Callable[[Any], T]]] = {}

    def add(self, method: Callable[..., Any], whom: Callable[[Any], T]) -> None:
        """From now on this is one of them. Harmless if repeated.

        :param method: a function of a class.
        :param whom: for whom it runs something, by what it is a method of.
        """
        code: CodeType = method.__code__
        self._methods[id(code)] = code, whom

    def of_this_thread(self) -> T | None:
        """For whom the innermost of them runs something here; None where none is at work."""
        methods = self._methods
        frame = sys._getframe()
        while (caller := frame.f_back) is not None:
            frame = caller
            found = methods.get(id(frame.f_code))
            if found is not None:
                return found[1](frame.f_locals["self"])
        return None


def raise_in(ident: int, error: type[BaseException]) -> None:
    """Raise an exception in a thread as soon as it runs Python code again.

    :param error: a class; the interpreter makes the instance.
    """
    import ctypes  # time and memory that nobody else needs

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(error))
