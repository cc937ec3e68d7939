"""Names of keys, of the bytes that a terminal sends for them. Pure."""

from __future__ import annotations

import codecs
import re

__all__ = ["Decoder"]

_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[ -~])")
"""CSI with its parameters (ECMA-48 §5.4), and SS3 of the keypad's application mode."""
_BEGINNING = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|O)?")
_LONGEST = 32

_SEQUENCES = {
    **{
        f"\x1b{kind}{letter}": name
        for kind in "[O"
        for letter, name in zip(
            "ABCDHF", ("up", "down", "right", "left", "home", "end"), strict=True
        )
    },
    **{
        f"\x1b[{number}~": name
        for number, name in (
            (1, "home"),
            (4, "end"),
            (7, "home"),
            (8, "end"),
            (5, "page up"),
            (6, "page down"),
            (3, "delete"),
            (11, "f1"),
        )
    },
    "\x1bOP": "f1",
    "\x1bOM": "enter",
}
_CONTROLS = {
    "\r": "enter",
    "\n": "enter",
    "\t": "tab",
    " ": "space",
    "\x7f": "backspace",
    "\b": "backspace",
    "\x1b": "escape",
    "\x00": "ctrl-space",
}


class Decoder:
    """Takes bytes as they come, whatever they are cut into."""

    def __init__(self) -> None:
        self._text = ""
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode

    @property
    def is_waiting(self) -> bool:
        """Whether there is the beginning of a sequence, or the key Esc."""
        return bool(self._text)

    def feed(self, data: bytes) -> list[str]:
        """Names of keys: ``up``, ``enter``, ``ctrl-u``, ``space``; otherwise the character. A
        sequence that is not known is left out."""
        self._text += self._decode(data)
        keys = []
        while self._text:
            if self._text[0] != "\x1b":
                keys.append(_name(self._text[0]))
                self._text = self._text[1:]
            elif found := _SEQUENCE.match(self._text):
                if name := _SEQUENCES.get(found[0]):
                    keys.append(name)
                self._text = self._text[found.end() :]
            elif _BEGINNING.fullmatch(self._text) and len(self._text) < _LONGEST:
                break
            else:
                keys.append("escape")
                self._text = self._text[1:]
        return keys

    def flush(self) -> list[str]:
        """What it was, when nothing more has come for a while."""
        text, self._text = self._text, ""
        return ["escape", *map(_name, text[1:])] if text else []


def _name(char: str) -> str:
    if name := _CONTROLS.get(char):
        return name
    return f"ctrl-{chr(ord(char) + 96)}" if char < " " else char
