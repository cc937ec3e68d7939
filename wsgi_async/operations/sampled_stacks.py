"""Stacks that were seen, by their functions: which ones, and how often. Bounded. One thread.

Of a stack there is the part that is the application's: from its first frame on, to what runs just
then, be it the server's own code again. A frame is ``function (file:line)``, with the line where
the function begins, so that all that was seen in one function is one.
"""

from __future__ import annotations

import enum
import os
import sys
from types import CodeType, FrameType

from wsgi_async.system.own_code import CALLER, calls_applications, is_ours

__all__ = ["OTHER", "Stacks"]

MOST_STACKS = 5000
"""Different stacks that are counted; all others are :data:`OTHER`."""

MOST_FUNCTIONS = 20_000
"""Functions that are known by their names."""

MOST_FRAMES = 400
"""Frames of one stack, the outermost and the innermost ones."""

LONGEST = 120
"""Characters of the name of a function, and of a file."""

OTHER = "(other)"
LEFT_OUT = "(frames left out)"


class _Whose(enum.Enum):
    """Whose code a frame is."""

    OURS = "the server's"
    CALLING = "the server's, where an application is called"
    THEIRS = "anybody else's"


_OURS = _Whose.OURS
_CALLING = _Whose.CALLING
_THEIRS = _Whose.THEIRS


class Stacks:
    """Counts stacks, in bounded memory.

    :param most: how many different ones.
    """

    def __init__(self, most: int = MOST_STACKS) -> None:
        self._most = most
        self._counts: dict[tuple[int, ...], list[float]] = {}
        self._codes: dict[int, tuple[CodeType, int, _Whose]] = {}
        """By its id: a code object, which is kept so that no other one gets that id; the number of
        its name, and whose it is."""
        self._names = [OTHER, LEFT_OUT]

    def key_of(self, frame: FrameType | None) -> tuple[int, ...] | None:
        """A stack from the application's first frame on, as :meth:`add` takes it. None where a
        thread is not in an application: middleware of this package is none.

        :param frame: the innermost one.
        """
        found: list[tuple[CodeType, int, _Whose]] = []
        codes = self._codes
        while frame is not None:
            code = frame.f_code
            found.append(codes.get(id(code)) or self._learn(code))
            frame = frame.f_back
        found.reverse()
        whose = [each for _, _, each in found]
        first = whose.index(_CALLING) if _CALLING in whose else len(whose)
        while first < len(whose) and whose[first] is _CALLING:
            first += 1
        if first == len(whose) or whose[first] is _OURS:
            return None
        if len(found) - first <= MOST_FRAMES:
            return tuple([number for _, number, _ in found[first:]])
        half = MOST_FRAMES // 2
        above, below = found[first : first + half], found[-half:]
        return (*[number for _, number, _ in above], 1, *[number for _, number, _ in below])

    def add(self, key: tuple[int, ...], ticks: int, computing: float) -> None:
        """Count it.

        :param ticks: for how many samples it counts.
        :param computing: the part of that time in which it used a CPU, from 0 to 1.
        """
        count = self._counts.get(key)
        if count is None:
            if len(self._counts) >= self._most:
                key = (0,)
            count = self._counts.setdefault(key, [0, 0.0])
        count[0] += ticks
        count[1] += ticks * computing

    def listed(self) -> list[tuple[str, int, float]]:
        """Each stack as text, ``outermost;...;innermost``; how many samples it is in, and the part
        of those in which it was computing, in samples. The most frequent first."""
        merged: dict[str, list[float]] = {}
        for key, (ticks, computing) in self._counts.items():
            # Different functions may have one name.
            count = merged.setdefault(";".join([self._names[each] for each in key]), [0, 0.0])
            count[0] += ticks
            count[1] += computing
        found = sorted(merged.items(), key=lambda item: (-item[1][0], item[0]))
        return [(text, int(ticks), computing) for text, (ticks, computing) in found]

    def _learn(self, code: CodeType) -> tuple[CodeType, int, _Whose]:
        whose = _THEIRS
        if code.co_filename == CALLER or calls_applications(code.co_filename):
            whose = _CALLING
        elif is_ours(code.co_filename):
            whose = _OURS
        if len(self._codes) >= MOST_FUNCTIONS:
            return code, 0, whose
        self._names.append(_name_of(code))
        learnt = self._codes[id(code)] = (code, len(self._names) - 1, whose)
        return learnt


def _name_of(code: CodeType) -> str:
    function = _clean(code.co_qualname.replace(".<locals>.", "."))
    if len(function) > LONGEST:
        function = function[: LONGEST - 3] + "..."
    file = _clean(_short(code.co_filename))
    if len(file) > LONGEST:
        file = "..." + file[3 - LONGEST :]
    return f"{function} ({file}:{code.co_firstlineno})"


def _short(file: str) -> str:
    """A file as it is imported, without the directory where that was found."""
    places = [path for path in sys.path if isinstance(path, str) and len(path) > 1]
    found = [path for path in places if file.startswith(path.rstrip(os.sep) + os.sep)]
    longest = max(found, key=len, default="")
    return file[len(longest) :].lstrip(os.sep) if longest else file


def _clean(text: str) -> str:
    """What an application calls its functions is its own matter."""
    return "".join(
        ":" if char == ";" else char if char.isprintable() else "?" for char in text[:1000]
    )
