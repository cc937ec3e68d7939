"""Raises an exception at a chosen point of a thread: each where CPython itself would do so.

``PyThreadState_SetAsyncExc`` has its exception raised where the interpreter looks for one: where a
Python function begins, after a call of a C function, and where a loop jumps back. The first two are
what a profiler is told of, and what it raises is raised there; for the third opcodes are traced,
or, from CPython 3.12 on, jumps are monitored.
"""

from __future__ import annotations

import dis
import itertools
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType, ModuleType
from typing import Any

__all__ = ["Striker", "StruckError"]

TOOL = 3
"""A tool of ``sys.monitoring`` that nobody else is."""

_JUMPS_BACK = {
    dis.opmap[name] for name in ("JUMP_BACKWARD", "JUMP_ABSOLUTE") if name in dis.opmap
} | {number for name, number in dis.opmap.items() if name.startswith("POP_JUMP_BACKWARD")}


_EXTENDED_ARG = dis.opmap["EXTENDED_ARG"]


def _operation(frame: FrameType) -> int:
    """What a frame is about to do."""
    code, at = frame.f_code.co_code, frame.f_lasti
    while code[at] == _EXTENDED_ARG:
        at += 2
    return code[at]


class StruckError(BaseException):
    """What is raised: nothing that anybody expects."""


class Striker:
    """Strikes the threads that are started within :meth:`armed`, at one point of all.

    :param modules: whose code is struck.
    :param at: the number of the point, from 1 on.
    """

    def __init__(self, *modules: ModuleType, at: int) -> None:
        self._files = {module.__file__ for module in modules}
        self._at = at
        self._points = itertools.count(1)
        self._idents: set[int] = set()
        self.is_paused = False
        self.where = ""
        """The function that was struck, or "" as long as none was."""
        self.line = 0
        self.deaths: list[str] = []
        """Of threads that ended by an exception."""

    @contextmanager
    def armed(self) -> Iterator[None]:
        hook = threading.excepthook
        threading.excepthook = lambda args: self.deaths.append(str(args.exc_type))
        threading.setprofile(self._profile)
        self._watch_jumps(True)
        try:
            yield
        finally:
            self._watch_jumps(False)
            threading.setprofile(None)
            threading.excepthook = hook

    def _watch_jumps(self, on: bool) -> None:
        if sys.version_info < (3, 12):
            threading.settrace(self._trace if on else None)  # type: ignore[arg-type]
            return
        monitoring = sys.monitoring
        if on:
            monitoring.use_tool_id(TOOL, "striking")
            monitoring.register_callback(TOOL, monitoring.events.JUMP, self._jump)
            monitoring.set_events(TOOL, monitoring.events.JUMP)
        else:
            monitoring.set_events(TOOL, 0)
            monitoring.register_callback(TOOL, monitoring.events.JUMP, None)
            monitoring.free_tool_id(TOOL)

    def _jump(self, code: CodeType, offset: int, destination: int) -> None:
        if (
            destination < offset
            and code.co_filename in self._files
            and threading.get_ident() in self._idents
        ):
            self._point(sys._getframe(1))

    def _point(self, frame: FrameType) -> None:
        if self.is_paused or next(self._points) != self._at:
            return
        self.where = frame.f_code.co_name
        self.line = frame.f_lineno
        raise StruckError(f"in {self.where}, line {self.line}")

    def _profile(self, frame: FrameType, event: str, arg: object) -> None:
        self._idents.add(threading.get_ident())
        if event in ("call", "c_return") and frame.f_code.co_filename in self._files:
            self._point(frame)

    def _trace(self, frame: FrameType, event: str, arg: object) -> Any:
        if frame.f_code.co_filename not in self._files:
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._trace_opcode

    def _trace_opcode(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "opcode" and _operation(frame) in _JUMPS_BACK:
            self._point(frame)
        return self._trace_opcode

    def __str__(self) -> str:
        return f"struck at point {self._at}, in {self.where}, line {self.line}"
